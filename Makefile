# Every target builds .venv first if it must. `make lock` renews the lock files.
SHELL := /bin/sh
PYTHON ?= python3
PORT ?= 8000
BIN := .venv/bin

.PHONY: help demo run test check bench provider lock clean
help:
	@echo "make demo    see it work: serve on an embedded PostgreSQL, send three signed notifications, show the opt-ins"
	@echo "make run     serve on 127.0.0.1:$(PORT) (PORT=… for another)"
	@echo "make test    every test"
	@echo "make check   lint, types, layers"
	@echo "make bench   events a second beside one statement an event and beside COPY"
	@echo "make provider NAME=acme   the beginnings of an adapter"

demo: .venv/.installed
	@$(BIN)/python -m examples.demo

run: .venv/.installed
	@exec $(BIN)/webhooks serve --port $(PORT)

test: .venv/.installed-dev
	$(BIN)/pytest

check: .venv/.installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/.installed-dev
	$(BIN)/python -m bench

provider: .venv/.installed-dev
	@$(BIN)/python -m tests.new_provider "$(NAME)"

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed, this is " + sys.version.split()[0] + ": make PYTHON=python3.x …" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv

# pip checks every download against the hashes in the lock; the project itself is then linked in with its own build tool.
.venv/.installed: requirements.lock pyproject.toml | .venv/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

.venv/.installed-dev: requirements-dev.lock .venv/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

UV := uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	--no-emit-index-url --no-emit-find-links --extra embedded
lock:
	printf 'hatchling\neditables\n' | $(UV) - -o requirements.lock
	printf 'hatchling\neditables\n' | $(UV) - --group dev -c requirements.lock -o requirements-dev.lock

clean:
	rm -rf .venv .webhooks .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
