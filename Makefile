# make demo: set everything up and locate a real photo. make test: set up and test.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt
# Any photo of yours: make demo PHOTO=path
PHOTO ?=
OUT ?= out
DEV_EXTRAS ?= dev,train,demo,openai,anthropic,google,ollama,otel,web,postgres
# All but `gpu`, whose packages pin a torch of their own.
LOCKED_EXTRAS = anthropic demo dev evals faiss gazetteer google ollama openai otel postgres ray remote server train web

# make test JOBS=8: so many processes, each with the tests of a file at a time; about 1.5 GB of memory each.
JOBS ?= 2

# make fuzz: damaged files of every kind for ten minutes; make fuzz SECONDS=60 SEED=7.
SECONDS ?= 600
SEED ?= 0

.PHONY: demo test fuzz lint types wheel docs-check bench constraints setup-demo setup-dev clean

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
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile

# Each failure is saved under $(OUT)/fuzz with the command that makes it again; tests/test_fuzz.py runs a part of it.
fuzz: setup-dev
	$(BIN)/python -m tests.fuzz --seconds $(SECONDS) --seed $(SEED) --out $(OUT)/fuzz

lint: setup-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup-dev
	$(BIN)/mypy

wheel: setup-dev
	$(BIN)/python -m tests.check_wheel

# Whether README and docs show what their commands print, and prompts as they are sent; `python -m examples.refresh_docs`
# and `python -m examples.refresh_prompts` write them again.
docs-check: setup-dev
	$(BIN)/python -m examples.refresh_docs --check
	$(BIN)/python -m examples.refresh_prompts --check

bench: setup-dev
	$(BIN)/python -m benchmarks

# Exact versions for every Python and system, without any index address; torch by hand, so that no CUDA build is forced.
constraints: setup-dev
	$(PIP) uv
	$(BIN)/uv pip compile pyproject.toml $(foreach extra,$(LOCKED_EXTRAS),--extra $(extra)) --universal \
	  --python-version 3.11 --no-header --no-annotate --no-emit-package torch -q -o constraints.txt
	echo "torch==2.13.0" >> constraints.txt

clean:
	rm -rf $(VENV) build dist *.egg-info $(OUT)
