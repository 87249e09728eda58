# Every target sets up .venv first where it is missing or the lock has changed.
EXPERIMENT ?= digits_resnet_20
ROOT ?= runs
VENV := .venv
BIN := $(VENV)/bin
# The tfx command calls a bare `pip`, and Beam a bare `python`.
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: run install test test-nightly lint docs format lock

run: install
	slimline run $(EXPERIMENT) --root $(ROOT)
	slimline predict --root $(ROOT) --run latest

install: $(VENV)/.installed

$(VENV)/.installed: requirements.lock setup.py scripts/install.sh
	sh scripts/install.sh $(VENV)

# Files stay whole: their fixtures are what takes long. They keep their order, too, which
# tests/conftest.py makes: the long ones first.
# Three for two cores: each of them waits now and then, for processes and for time limits.
PYTEST := pytest -n 3 --dist loadfile --no-loadscope-reorder

test: install
	@command -v chromium >/dev/null || command -v google-chrome >/dev/null || \
		echo "note: no Chromium, the report is not opened in one (Debian: apt install chromium)" >&2
	@command -v promtool >/dev/null || \
		echo "note: no promtool, the alert rules are not checked (Debian: apt install prometheus)" >&2
	$(PYTEST) --durations=25

# What takes too long for every change: whole sweeps of kills and nets, whole data sets,
# Airflow and the environment of the image.
test-nightly: install airflow-env
	$(PYTEST) -m nightly --durations=25

lint: install
	ruff check .
	ruff format --check .
	mypy
	NO_MKDOCS_2_WARNING=1 mkdocs build --strict --quiet

# The site, in site/.
docs: install
	NO_MKDOCS_2_WARNING=1 mkdocs build --strict

format: install
	ruff check --fix .
	ruff format .

# Names, versions and hashes only: no address of any registry.
lock: $(VENV)/.installed
	$(VENV)/uv/bin/uv pip compile setup.py --extra dev --python-version 3.11 \
		--generate-hashes --no-header --no-emit-index-url --quiet \
		--upgrade --output-file requirements.lock

# DOCKER=podman builds it as well.
DOCKER ?= docker
VERSION = $(shell sed -n 's/^ *version="\(.*\)",/\1/p' setup.py)
IMAGE ?= slimline:$(VERSION)

.PHONY: image

image:
	@command -v $(DOCKER) >/dev/null || { echo >&2 "error: an image needs '$(DOCKER)'," \
		"which is not on this machine"; exit 1; }
	@$(DOCKER) version >/dev/null 2>&1 || { echo >&2 "error: '$(DOCKER)' reaches no daemon" \
		"that could build an image; start one, or build where one runs"; exit 1; }
	$(DOCKER) build --tag $(IMAGE) \
		--build-arg VERSION=$(VERSION) \
		--build-arg REVISION=$$(git describe --always --abbrev=40 --dirty 2>/dev/null) \
		--build-arg SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct 2>/dev/null) .

# Where PyTorch is not installed, it is left out.
RESULTS ?= benchmarks/results
PEERS := .venv-peers
comma := ,

.PHONY: bench bench-peers

bench: install
	python benchmarks/train_step.py --json $(RESULTS)/train_step.json \
		--peers keras,tf_keras$(if $(wildcard $(PEERS)/bin/python),$(comma)torch)
	python benchmarks/input_pipeline.py --json $(RESULTS)/input_pipeline.json

# pip's folder of wheels, where one is set, is taken too: it may hold torch without CUDA.
bench-peers: $(VENV)/.installed
	$(VENV)/uv/bin/uv venv --quiet --allow-existing --python $(BIN)/python $(PEERS)
	VIRTUAL_ENV=$(CURDIR)/$(PEERS) $(VENV)/uv/bin/uv pip install --quiet \
		$(foreach folder,$(PIP_FIND_LINKS),--find-links $(folder)) \
		--requirement benchmarks/peers/requirements.txt

# Airflow has an environment of its own, without TFX (docs/adr/0011).
AIRFLOW := .venv-airflow

.PHONY: airflow-env airflow-test airflow-lock

airflow-env: $(AIRFLOW)/.installed

$(AIRFLOW)/.installed: $(VENV)/.installed requirements-airflow.lock
	$(VENV)/uv/bin/uv venv --quiet --allow-existing --python $(BIN)/python $(AIRFLOW)
	VIRTUAL_ENV=$(CURDIR)/$(AIRFLOW) $(VENV)/uv/bin/uv pip sync --quiet --require-hashes \
		--compile-bytecode requirements-airflow.lock
	touch $@

airflow-test: airflow-env
	pytest -m "nightly or not nightly" tests/pipeline/test_airflow.py

airflow-lock: $(VENV)/.installed
	echo 'apache-airflow>=2.11,<2.12' | $(VENV)/uv/bin/uv pip compile - \
		--python-version 3.11 --generate-hashes --no-header --no-emit-index-url --quiet \
		--output-file requirements-airflow.lock
