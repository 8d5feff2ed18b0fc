.PHONY: check test bench docs pictures

check:
	ruff check . && ruff format --check . && mypy

test:
	pytest

bench:
	python benchmarks/frozen_epoch.py
	python benchmarks/evaluation.py
	python benchmarks/attributes.py

docs:
	PYTHONPATH=. mkdocs build --strict

pictures:
	python -m fashret.data.sample.sheet docs/sample.jpg
	python scripts/screenshots.py outputs/tour/after docs
