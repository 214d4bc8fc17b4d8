# Two commands are enough: `make demo` and `make test`. Each makes .venv if it is missing.
VENV := .venv
PY := $(VENV)/bin/python
SYSTEM_PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)

# Two busy cores make OpenMP spin: 15.9 s instead of 0.09 s for one forward, unless it waits passively.
export OMP_WAIT_POLICY ?= PASSIVE
export OMP_NUM_THREADS ?= 2
export OPENBLAS_NUM_THREADS ?= 1
export MPLBACKEND ?= Agg
export BRAINFM_DATA ?= $(HOME)/brainfm_data

.PHONY: help install demo test test-slow lint parity bench clean
help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

install: $(VENV)/.installed ## make .venv with everything
$(VENV)/.installed: pyproject.toml constraints.txt
	@test -n "$(SYSTEM_PYTHON)" || { echo "brainfm needs Python 3.11 or newer on PATH; none was found"; exit 1; }
	@echo "installing into $(VENV) (two to four minutes, about 7 GB)"
	$(SYSTEM_PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[all]"
	@touch $@

demo: install ## real recordings to a probed encoder: runs/demo/report.html
	$(PY) -m eval.demo

test: install ## ruff, mypy, pytest: runs/test/report.html
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(PY) -m pytest

test-slow: install ## also what takes minutes or many processes
	$(PY) -m pytest -m slow

lint: install ## only ruff and mypy
	$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check . && $(VENV)/bin/mypy

parity: install ## published numbers, array by array: runs/parity/report.html
	$(PY) -m eval.parity $(wildcard tests/golden/*.npz)

bench: install ## speed as ratios in one run: runs/bench/report.html
	$(PY) -m eval.bench all

clean: ## remove runs and caches, keep .venv and data
	rm -rf runs .pytest_cache .mypy_cache .ruff_cache build dist *.egg-info
