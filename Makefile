# make demo: set everything up and locate a real photo. make test: set up and test.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt
# The default answers nothing but "where": any photo of yours works too, `make demo PHOTO=path`.
PHOTO ?=
OUT ?= out
DEV_EXTRAS ?= dev,train,demo

.PHONY: demo test lint types wheel bench setup-demo setup-dev clean

setup-demo: $(VENV)/.demo
setup-dev: $(VENV)/.dev

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) -e ".[demo]"
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) -e ".[$(DEV_EXTRAS)]"
	@touch $@ $(VENV)/.demo

demo: setup-demo
	$(BIN)/python -m examples.demo --out $(OUT) $(if $(PHOTO),--photo "$(PHOTO)")

test: setup-dev
	$(BIN)/python -m pytest

lint: setup-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup-dev
	$(BIN)/mypy

wheel: setup-dev
	$(BIN)/python -m tests.check_wheel

bench: setup-dev
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) build dist *.egg-info $(OUT)
