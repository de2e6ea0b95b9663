# Every target makes its own environment in .venv: a bare clone needs Python 3.11 or newer,
# nothing else. `make help` lists what there is.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?=
# Pytest workers. Two is what a 2-core machine runs fastest; system tests measure time, so
# a worker never shares its core with a third.
WORKERS ?= 2
# Percent of branches and lines that `make test` must reach.
COVERAGE ?= 94
# How often the system test of crashes kills a daemon (200 is the full run).
KILLS ?= 8
SEEDS ?= 1000
FIRST ?= 0
FUZZ_SECONDS ?= 120

.PHONY: help demo test lint bench sim fuzz clean

help: ## list the targets
	@grep -E '^[a-z]+:.*## ' Makefile | sed -E 's/^([a-z]+):.*## (.*)/\1\t\2/' | expand -t 10

demo: $(VENV)/installed ## two real daemons meet, part, disagree and agree again (under two minutes)
	@$(BIN)/python -m presenced.testing.demo

test: $(VENV)/installed ## every test, with coverage by branch
	@PRESENCED_KILLS=$(KILLS) $(BIN)/pytest -rs -n $(WORKERS) --dist loadfile --cov --cov-report=term:skip-covered \
		--cov-fail-under=$(COVERAGE) $(TESTS)

lint: $(VENV)/installed ## style, types and import directions
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: $(VENV)/benched ## figures beside their yardsticks in one run; a table, and JSON in bench/out/
	@$(BIN)/python bench/run.py $(BENCH)

sim: $(VENV)/installed ## the seeded simulator: SEEDS=1000 runs that many, SEED=7 replays one
	@$(BIN)/python -m presenced.testing.simulate $(if $(SEED),--seed $(SEED),--seeds $(SEEDS) --first $(FIRST))

fuzz: $(VENV)/installed ## Hypothesis on every decoder, for FUZZ_SECONDS=120 in all
	@PRESENCED_FUZZ_SECONDS=$(FUZZ_SECONDS) $(BIN)/pytest -n $(WORKERS) tests/fuzz

clean: ## remove what the other targets made
	rm -rf $(VENV) build dist htmlcov .coverage .coverage.* .hypothesis .mypy_cache .ruff_cache \
		.pytest_cache .import_linter_cache bench/out
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# What is installed depends on the dependency lists alone; packaging/environment.sh does
# nothing when they have not changed, and needs no network then.
$(VENV)/installed: pyproject.toml packaging/environment.sh
	@PYTHON="$(PYTHON)" packaging/environment.sh $(VENV) dev

$(VENV)/benched: $(VENV)/installed
	@PYTHON="$(PYTHON)" packaging/environment.sh $(VENV) dev bench
