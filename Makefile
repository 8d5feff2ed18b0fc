.PHONY: check test mutants bench docs pictures

check:
	ruff check . && ruff format --check . && mypy

test:
	pytest

mutants:
	python scripts/mutants.py

# Preparation needs real photos: make bench photos=<folder with styles.csv and images/>
bench:
	python benchmarks/run.py $(if $(photos),photos=$(photos))

docs:
	PYTHONPATH=. mkdocs build --strict

pictures:
	python -m fashret.data.synthetic.sheet docs/sample.jpg
	python scripts/screenshots.py outputs/tour/after docs
	python scripts/board_page.py
