.PHONY: check test bench bench-preparation docs pictures

check:
	ruff check . && ruff format --check . && mypy

test:
	pytest

bench:
	python benchmarks/frozen_epoch.py
	python benchmarks/evaluation.py
	python benchmarks/attributes.py
	python benchmarks/decoding.py
	python benchmarks/million.py

# Needs real photos: make bench-preparation photos=<folder with styles.csv and images/>
bench-preparation:
	python benchmarks/preparation.py $(photos)

docs:
	PYTHONPATH=. mkdocs build --strict

pictures:
	python -m fashret.data.sample.sheet docs/sample.jpg
	python scripts/screenshots.py outputs/tour/after docs
