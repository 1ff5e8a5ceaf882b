# The two commands that a newcomer needs are `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: bench demo release test test-all check mutants docs pictures clean setup

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	@echo 'Installing PyTorch and what else the zoo needs: about 6 GB, 2 to 10 minutes.'
	$(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt --editable '.[train,dev]'
	touch $(READY)

demo: $(READY)
	rm -rf runs/demo
	$(BIN)/wbczoo demo --out runs/demo

check: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

# Two processes of one thread each are quicker than one of two, and share what they train once.
# Each takes whole files, in the order of tests/conftest.py.
TWO := -n 2 --dist loadfile --no-loadscope-reorder

test: $(READY) check
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(TWO) -m 'not nightly'

test-all: $(READY) check
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(TWO) --kills 10

# Small faults are planted in the core; quick tests must notice nine of ten (docs/decisions/mutants.md).
mutants: $(READY)
	rm -rf mutants
	OMP_NUM_THREADS=1 $(BIN)/python tools/mutants.py

# Ratios of speed, which docs/benchmarks.jsonl keeps and docs/benchmarks.md shows; on an idle machine.
bench: $(READY)
	$(BIN)/python tools/speed_history.py

# A site in build/site, without a network; a warning is an error.
docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet

# What would be published, with its bill of materials; each licence is one of licences.toml.
release: $(READY)
	rm -rf dist
	$(BIN)/python -m build --outdir dist
	$(BIN)/python -m twine check --strict dist/*
	$(BIN)/python -m cyclonedx_py environment --pyproject pyproject.toml --output-reproducible --output-file dist/sbom.json
	$(BIN)/python tools/licences.py dist/sbom.json

pictures: $(READY)
	$(BIN)/python tools/make_pictures.py

clean:
	rm -rf $(VENV) runs build dist mutants
