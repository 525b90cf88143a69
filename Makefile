# `make` alone prints what can be made.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
OUT ?= runs/demo

.DEFAULT_GOAL := help
.PHONY: help setup test lint typecheck imports pytest test-faults format demo server clean

help: ## print this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## create .venv and install everything, pinned (once; about two minutes)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; name one with: make PYTHON=python3.12 …"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev,s3,detector]'
	@touch $@

test: lint typecheck imports pytest ## every check that CI makes

lint: $(STAMP) ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

typecheck: $(STAMP) ## mypy
	$(BIN)/mypy

imports: $(STAMP) ## the import rule: flows → tasks → {styleclip, storage}
	$(BIN)/lint-imports

pytest: $(STAMP) ## the tests alone; narrow with ARGS="-k resume"
	$(BIN)/pytest $(ARGS)

test-faults: $(STAMP) ## the tests that break things for minutes: servers, disks, second runs
	$(BIN)/pytest -m faults $(ARGS)

format: $(STAMP) ## let ruff reformat and mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

demo: $(STAMP) ## edit a folder of avatars by words (≤ 6 minutes on two cores); results in OUT=runs/demo
	$(BIN)/styleclip demo --output $(OUT)

server: $(STAMP) ## a Prefect server to watch runs in, on http://127.0.0.1:4200
	PREFECT_SERVER_ANALYTICS_ENABLED=false DO_NOT_TRACK=1 $(BIN)/prefect server start

clean: ## remove the environment and caches (runs/ stays)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info
