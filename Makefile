.PHONY: check test bench docs

check:
	ruff check . && ruff format --check . && mypy

test:
	pytest

bench:
	python benchmarks/frozen_epoch.py
	python benchmarks/evaluation.py
	python benchmarks/attributes.py

docs:
	python -m fashret.data.sample.sheet docs/sample.jpg
