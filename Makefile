# make demo, make test: both set up what they need in a virtual environment, without root.
# Another Python: make test PYTHON=python3.12
PYTHON ?= python3
VENV ?= $(if $(filter python3,$(PYTHON)),.venv,.venv-$(notdir $(PYTHON)))
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help setup demo test test-all test-lowest lint types clean

help: ## say what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $(READY)

setup: $(READY) ## install dkmeans and its tools into $(VENV)

demo: $(READY) ## run the main job on scikit-image's photos; writes demo/report.html
	$(BIN)/python -m jobs.demo

test: $(READY) ## run the tests
	$(BIN)/python -m pytest

test-all: $(READY) ## run the tests, the slow ones too
	$(BIN)/python -m pytest -m 'not gpu'

test-lowest: ## run the tests with the oldest versions that pyproject.toml allows
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet --disable-pip-version-check uv
	.venv-lowest/bin/uv pip install --quiet --python .venv-lowest/bin/python --resolution lowest-direct -e '.[dev]'
	.venv-lowest/bin/python -m pytest

lint: $(READY) ## check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY) ## check types
	$(BIN)/mypy

clean: ## delete what was installed and built
	rm -rf .venv .venv-* demo build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
