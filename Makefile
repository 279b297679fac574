# Every target sets up what it needs: Python >= 3.11, git and make are enough.
# Override on the command line: make test PYTHON=python3.12 VENV=/elsewhere/venv OUT=my-folder

VENV ?= .venv
OUT ?= quickstart
JOBS ?= 2
EXTRAS ?= dev,train,medical,metrics

ifeq ($(origin PYTHON), undefined)
PYTHON := $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
endif

BIN := $(VENV)/bin
READY := $(VENV)/.echoflow-ready
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS)

.DEFAULT_GOAL := help
.PHONY: help setup quickstart test test-slow test-gpu lint train-nano benchmarks clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(READY)  ## make .venv and install the package with its tested dependencies

$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "No Python >= 3.11 was found; name one: make PYTHON=/path/to/python3.12" >&2; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -e ".[$(EXTRAS)]" "pyright[nodejs]" -c constraints.txt
	@touch $@

quickstart: $(READY)  ## a synthetic dataset, an EF sweep and a report in ./quickstart
	$(BIN)/echoflow quickstart --out $(OUT)

test: $(READY)  ## the fast tests
	$(PYTEST)

test-slow: $(READY)  ## the tests that take longer than a few seconds
	$(PYTEST) -m "slow and not gpu"

test-gpu: $(READY)  ## the tests that need a GPU
	$(PYTEST) -n 0 -m gpu tests/test_gpu.py

lint: $(READY)  ## ruff (lint and format) and pyright
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

train-nano: $(READY)  ## rebuild the embedded nano bundle from nothing, and measure it
	$(BIN)/echoflow train nano --out runs/nano
	$(BIN)/python benchmarks/bundle.py --weights runs/nano/bundle --latents runs/nano/latents \
		--out runs/nano/report.json

benchmarks: $(READY)  ## print every benchmark table and write benchmarks/results/*.json
	@status=0; for script in benchmarks/*.py; do \
		echo "== $$script"; $(BIN)/python $$script || status=1; done; exit $$status

clean:  ## remove the environment and the caches, never a run or a dataset
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis build dist
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
