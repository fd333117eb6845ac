# SPDX-License-Identifier: Apache-2.0
# `make demo` and `make test` do all their own set-up; a second call finds it done.

VENV  := .venv
BIN   := $(VENV)/bin
# The first Python from 3.10 on that can make a virtual environment; or: make PYTHON=/path/to/python
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3.10 python3; do \
	"$$python" -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null \
	&& echo "$$python" && break; done)
# Installs print nothing but errors; one -q would let warnings through
INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check --no-warn-script-location \
	--constraint constraints.txt
CORE  := $(VENV)/.core-installed
DEV   := $(VENV)/.dev-installed
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --quiet

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow torture bench-streamed bench-coverage paper findings audit lock release lint types mypy pyright venv clean

help:
	@echo "make demo       train MonoCon beside its rivals on real images; table and figures in demo/"
	@echo "make test       style, types and the fast tests"
	@echo "make test-slow  the tests that take minutes"
	@echo "make torture    break it on purpose: a table of faults, what was lost, what was wrong"
	@echo "make bench-streamed  time and memory of a scorecard of 5 million rows (hours; ROWS=, QUERIES=)"
	@echo "make bench-coverage  how often the certificate of shrink is wrong (an hour; TASKS=)"
	@echo "make paper      ask the paper's claims of pretrained encoders; resumes (hours; DATA=, MINUTES=, WHOLE=--whole)"
	@echo "make findings   show again what surprised us in other software; needs a package index"
	@echo "make audit      known weaknesses of the pinned dependencies (asks an advisory service)"
	@echo "make release    wheel and sdist with tools installed by hash, and their sha256; make lock: those hashes"
	@echo "make lint       style alone;  make types: types alone"
	@echo "make venv       the development environment in $(VENV)"
	@echo "make clean      remove the environment, caches and build products"

demo: $(CORE)
	@$(BIN)/monocon compare --config digits --out demo --arms encoder mlp monotonic linear-4

test: lint types
	@$(PYTEST) -n 2 -m "not slow"

test-slow: $(DEV)
	@$(PYTEST) -m slow

torture: $(DEV)
	@PYTHONPATH=tests $(BIN)/python -m reliability.torture

ROWS ?= 5000000
QUERIES ?= 10000
bench-streamed: $(DEV)
	@$(BIN)/python benchmarks/streamed_scorecard.py $(ROWS) $(QUERIES)

TASKS ?= 1000
bench-coverage: $(DEV)
	@$(BIN)/python benchmarks/shrink_coverage.py --tasks $(TASKS)

DATA ?= data
MINUTES ?= 1000000
paper: $(DEV)
	@OMP_NUM_THREADS=1 $(BIN)/python benchmarks/paper.py --data $(DATA) --scratch build/paper --minutes $(MINUTES) $(WHOLE)

findings:
	@wrong=; for script in findings/*.sh; do echo "== $$script"; PYTHON="$(PYTHON)" bash "$$script" \
		|| wrong="$$wrong $$script"; done; \
		test -z "$$wrong" || { echo "make findings: no longer as stated:$$wrong" >&2; exit 1; }

# strict: a package that could not be asked about is no package without weaknesses
audit: $(DEV)
	@$(BIN)/python -m pip_audit --version >/dev/null 2>&1 || $(INSTALL) pip-audit
	@$(BIN)/python -m pip_audit --requirement constraints.txt --no-deps --disable-pip --strict --progress-spinner off \
		|| { echo "make audit: not passed: a weakness is named above, or the advisory service could not be" \
		"asked about every package (offline?)" >&2; exit 1; }

lock: $(DEV)
	@$(BIN)/python .ci/lock.py

release:
	@test -n "$(PYTHON)" || { echo "make: no Python >= 3.10 found; name one: make PYTHON=/path/to/python" >&2; exit 1; }
	@rm -rf build/tools dist
	@"$(PYTHON)" -m venv build/tools
	@build/tools/bin/python -m pip install -qq --disable-pip-version-check --require-hashes --no-deps \
		--only-binary :all: --requirement .ci/build-requirements.txt
	@SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) build/tools/bin/python -m build --no-isolation --outdir dist >/dev/null
	@cd dist && sha256sum *.whl *.tar.gz > SHA256SUMS && cat SHA256SUMS

lint: $(DEV)
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet .
	@report=$$($(BIN)/lint-imports --no-cache) || { echo "$$report" >&2; exit 1; }

types: $(DEV)
	@$(MAKE) --no-print-directory --jobs=2 mypy pyright

mypy: $(DEV)
	@$(BIN)/mypy --no-error-summary

# it says what an editor shows; its summary of no errors is not printed
pyright: $(DEV)
	@found=$$(PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright --pythonpath $(BIN)/python) || { echo "$$found"; exit 1; }

venv: $(DEV)

# torch first and alone: one resolver run that cannot trade its build for another package's wish
$(CORE): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "make: no Python >= 3.10 with venv found (Debian, Ubuntu: apt install python3-venv);" \
		"or name one: make PYTHON=/path/to/python" >&2; exit 1; }
	@echo "installing lightning-monocon into $(VENV) (once, a minute or more) ..."
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || "$(PYTHON)" -m venv $(VENV)
	@$(INSTALL) torch
	@$(INSTALL) --editable .
	@touch $@

$(DEV): $(CORE)
	@echo "installing the development tools into $(VENV) (once, a minute or more) ..."
	@$(INSTALL) --editable '.[dev]'
	@touch $@

clean:
	@rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage
	@find . -name __pycache__ -prune -exec rm -rf {} +
