# Everything a developer does with this repository. `make help` lists it.

PYTHON ?= $(shell scripts/find-python)
PORT ?= 8000
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
PYTEST := $(BIN)/python -m pytest -n auto --dist loadgroup

.DEFAULT_GOAL := help
.PHONY: help demo test test-all coverage mutants bench docs lint types format clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  PYTHON=python3.13 chooses an interpreter, PORT=9000 the demo's port, ARGS=\"-k chat\" is handed to pytest (-n 0: one process)."

demo: $(VENV)/.demo ## Run the demos on http://localhost:8000/ (Ctrl-C stops it)
	@$(BIN)/python scripts/run_demo.py $(PORT)

test: $(VENV)/.dev ## Run the tests, without those that take minutes; asks before it installs what they need
	@scripts/test-needs $(BIN)/python
	$(PYTEST) -m "not slow" $(ARGS)

test-all: $(VENV)/.dev ## Run every test
	@scripts/test-needs $(BIN)/python
	$(PYTEST) $(ARGS)

coverage: $(VENV)/.dev ## Run every test and write into build/coverage which lines no test reaches
	@scripts/test-needs $(BIN)/python
	$(PYTEST) --cov --cov-report=html --cov-report=term:skip-covered $(ARGS)

mutants: $(VENV)/.dev ## Put small faults into the code and see which no test notices; ARGS="--count 20 workers"
	@$(BIN)/python scripts/mutants.py $(ARGS)

bench: $(VENV)/.demo ## Measure beside Channels 1, Channels 4 and nchan; ARGS="--only echo": benchmarks/README.md
	@$(BIN)/python -m benchmarks $(ARGS)

docs: $(VENV)/.dev ## Build the documentation into build/docs; a warning is an error
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs build/docs

lint: $(VENV)/.dev ## Check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev ## Check types
	$(BIN)/mypy

format: $(VENV)/.dev ## Put the code into the house's form
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

clean: ## Remove the environment and what the tools left behind
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache

$(BIN)/python:
	@scripts/new-environment "$(PYTHON)" $(VENV)

$(VENV)/.demo: setup.cfg pyproject.toml | $(BIN)/python
	@echo "Installing Millrace and what the demo needs ..."
	@$(PIP) --editable '.[demo]'
	@touch $@

$(VENV)/.dev: setup.cfg pyproject.toml | $(BIN)/python
	@echo "Installing Millrace and what the tests and checks need ..."
	@$(PIP) --editable '.[dev]'
	@touch $@ $(VENV)/.demo
