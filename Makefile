# Every target sets up .venv first where it is missing or the lock has changed.
EXPERIMENT ?= digits_resnet_20
ROOT ?= runs
VENV := .venv
BIN := $(VENV)/bin
# The tfx command calls a bare `pip`, and Beam a bare `python`.
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: run install test lint format lock

run: install
	slimline run $(EXPERIMENT) --root $(ROOT)
	slimline predict --root $(ROOT) --run latest

install: $(VENV)/.installed

$(VENV)/.installed: requirements.lock setup.py scripts/install.sh
	sh scripts/install.sh $(VENV)

test: install
	pytest

lint: install
	ruff check .
	ruff format --check .
	mypy

format: install
	ruff check --fix .
	ruff format .

# Names, versions and hashes only: no address of any registry.
lock: $(VENV)/.installed
	$(VENV)/uv/bin/uv pip compile setup.py --extra dev --python-version 3.11 \
		--generate-hashes --no-header --no-emit-index-url --quiet \
		--upgrade --output-file requirements.lock
