# Every target builds .venv first if it must. `make lock` renews the lock files.
SHELL := /bin/sh
PYTHON ?= python3
PORT ?= 8000
STAGE ?= dev
REGION ?= eu-west-1
PARAMS ?=
BIN := .venv/bin

.PHONY: help demo run test check bench provider package test-package deploy lock clean
help:
	@echo "make demo    see it work: serve on an embedded PostgreSQL, send three signed notifications, show the opt-ins"
	@echo "make run     serve on 127.0.0.1:$(PORT) (PORT=… for another)"
	@echo "make test    every test"
	@echo "make check   lint, types, layers"
	@echo "make bench   events a second beside one statement an event and beside COPY"
	@echo "make provider NAME=acme   the beginnings of an adapter"
	@echo "make package the Lambda package and its CloudFormation template (needs Node; STAGE=, REGION=, PARAMS=)"
	@echo "make deploy  all of it on AWS: read deploy/README.md first"

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

# Tested apart from the rest: it takes Node, and the network for what the package is made of.
package: build/lambda.zip node_modules/.installed
	npx serverless package --stage $(STAGE) --region $(REGION) $(PARAMS)
	$(BIN)/cfn-lint --template .serverless/cloudformation-template-update-stack.json --regions $(REGION) \
		--ignore-checks W1001 W3005 W8003 # a cluster that is given stands where ours is made; what osls adds twice

test-package: package
	$(BIN)/python -m deploy.package --architecture "$$(uname -m | sed s/aarch64/arm64/)" --python "$$($(BIN)/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')" --output build/here.zip
	$(BIN)/pytest -m package

deploy: package
	npx serverless deploy --stage $(STAGE) --region $(REGION) $(PARAMS)

SHIPPED := $(shell find webhooks providers db deploy -name '*.py' -o -name '*.sql' 2>/dev/null)
build/lambda.zip: requirements-lambda.lock $(SHIPPED) | .venv/.installed-dev
	$(BIN)/python -m deploy.package --output $@

node_modules/.installed: package-lock.json package.json
	@command -v npm >/dev/null || { echo "Node 20 or later with npm is needed to make the template: https://nodejs.org"; exit 1; }
	npm ci --ignore-scripts --no-audit --no-fund
	@touch $@

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

UV := $(BIN)/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	--no-emit-index-url --no-emit-find-links --extra embedded --extra local-data-api
lock: .venv/.installed-dev
	printf 'hatchling\neditables\n' | $(UV) - -o requirements.lock
	printf 'hatchling\neditables\n' | $(UV) - --group dev -c requirements.lock -o requirements-dev.lock
	$(BIN)/uv pip compile --quiet --group lambda -c requirements.lock --python-version 3.13 --python-platform aarch64-manylinux_2_28 \
		--generate-hashes --no-header --no-emit-index-url --no-emit-find-links -o requirements-lambda.lock

clean:
	rm -rf .venv .webhooks node_modules .serverless .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
