# `make help` lists what there is.  Everything runs in .venv, made from hashed requirements.
SHELL := /bin/sh
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
# Three processes, whatever the machine has: each starts a Kafka and a ClickHouse engine of its own, and
# spends much of its time waiting for servers and their time-outs.
WORKERS ?= --numprocesses 3 --dist loadscope --no-loadscope-reorder
PIP := $(BIN)/python -m pip --disable-pip-version-check

# uv installs in seconds what takes pip a minute and a half, but does not read pip's own configuration:
# where it cannot reach an index, pip does the work.
define install
{ $(PIP) install --quiet --require-hashes -r requirements/uv.txt && \
  $(BIN)/uv pip install --compile-bytecode --python $(BIN)/python --require-hashes -r $(1); } || \
  $(PIP) install --progress-bar on --require-hashes -r $(1)
@$(PIP) install --quiet --no-deps --no-build-isolation -e .
endef

.PHONY: help up status unit test compose-test clients chaos fuzz planted bench lint format screenshots generate requirements clean audit

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: .venv/local ## run the whole stack in the foreground: Kafka, ClickHouse's engine, all services
	@exec $(BIN)/afterword up

status: .venv/local ## show the running stack: parts, lag, rows, dead letters
	@$(BIN)/afterword status

# Two processes: without servers the tests are bound by the processor.
unit: .venv/dev ## run the tests that need no server
	@PYTHONDONTWRITEBYTECODE= $(BIN)/pytest --numprocesses 2 --dist loadscope -m "not servers" \
	  tests/unit tests/property tests/contract tests/counters $(ARGS)

# Bytecode is kept, whatever the environment says: tests start some hundreds of processes.
test: .venv/dev ## run every test, on a real Kafka, a real ClickHouse engine and in a real browser
	@scripts/browser.sh > /dev/null
	@scripts/nginx.sh > /dev/null
	@scripts/typescript.sh
	@scripts/clients.sh > /dev/null
	@PYTHONDONTWRITEBYTECODE= $(BIN)/pytest $(WORKERS) $(ARGS)

compose-test: .venv/dev ## run the compose files on a Docker engine, from no image, and tests/e2e on containers: 12 minutes
	@scripts/browser.sh > /dev/null
	@COMPOSE_TEST=1 $(BIN)/pytest tests/e2e/containers $(ARGS)
	@AFTERWORD_TEST_STACK=docker $(BIN)/pytest tests/e2e --ignore tests/e2e/containers $(ARGS)

clients: .venv/dev ## run the clients of other systems, as their users install them, against the whole stack
	@AFTERWORD_REQUIRE_CLIENTS=1 scripts/clients.sh > /dev/null
	@AFTERWORD_REQUIRE_CLIENTS=1 $(BIN)/pytest tests/e2e/clients $(ARGS)

chaos: .venv/dev ## inject faults into whole stacks for an hour and judge the results; SEED=, FAULTS=, ONLY=kill,freeze
	@$(BIN)/python -m chaos $(if $(SEED),--seed $(SEED)) $(if $(FAULTS),--faults $(FAULTS)) \
	  $(if $(ONLY),--only "$(ONLY)")

fuzz: .venv/dev ## fuzz parsers and services for MINUTES=10 a target, two hours in all; TARGETS="socket-ingest parser-bodies"
	@$(BIN)/python -m fuzz $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED)) $(TARGETS)

planted: .venv/dev ## plant bugs in the services and show that the judge of `make chaos` finds each of them
	@PLANTED=1 $(BIN)/pytest tests/chaos/test_planted.py $(ARGS)

bench: .venv/dev ## measure every stage against its alternatives: an hour; QUICK=1 five minutes; STAGES=
	@$(BIN)/python -m bench $(STAGES) $(if $(QUICK),--quick) $(ARGS)

lint: .venv/dev ## check style, types, import rules and spelling
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell
	@$(BIN)/python -m scripts.audit --if-possible

audit: .venv/dev ## check the pinned packages for known vulnerabilities; fails without a connection
	@$(BIN)/python -m scripts.audit

format: .venv/dev ## let ruff fix what it can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

screenshots: .venv/dev ## retake the pictures of the dashboard in docs/images
	@AFTERWORD_REQUIRE_BROWSER=1 scripts/browser.sh > /dev/null
	@$(BIN)/python -m scripts.screenshots

generate: .venv/dev ## write the generated files: JSON Schemas, and parts of pages
	$(BIN)/python -m schemas.generate
	$(BIN)/python -m scripts.reference
	$(BIN)/python -m bench.files

requirements: .venv/dev ## pin all dependencies again, with hashes, from pyproject.toml
	$(BIN)/python scripts/requirements.py

clean: ## remove the virtual environment and caches; the stack's data stays in .afterword
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Afterword needs Python 3.11 or newer; name one: make PYTHON=python3.12 ..."; exit 2; }
	@$(PYTHON) -m venv .venv

.venv/local: requirements/local.txt pyproject.toml | .venv/bin/python
	@echo "Installing Afterword and its stack into .venv (once; about 1 GB) ..."
	@$(call install,requirements/local.txt)
	@touch $@

.venv/dev: requirements/dev.txt pyproject.toml | .venv/bin/python
	@echo "Installing Afterword, its stack and the test tools into .venv (once; about 1.3 GB) ..."
	@$(call install,requirements/dev.txt)
	@touch .venv/local $@
