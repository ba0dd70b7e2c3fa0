# Needs Python 3.11–3.13 (with venv) and make; everything else is set up here.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.8
export UV_PROJECT_ENVIRONMENT := $(VENV)
export UV_PYTHON_DOWNLOADS := never
# Where the machine has a certificate store, pip and uv trust what it trusts (a company's proxy too).
SYSTEM_CERTS := $(wildcard /etc/ssl/certs/ca-certificates.crt)
ifneq ($(SYSTEM_CERTS),)
export SSL_CERT_FILE ?= $(SYSTEM_CERTS)
export PIP_CERT ?= $(SYSTEM_CERTS)
endif
START ?=
END ?=
DOMAIN ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo run up report test test-cluster audit fuzz lint clean doctor benchmark docker-build docker-up docker-run docker-check

help:  ## list the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | column -t -s "$$(printf '\t')" 2>/dev/null || grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST)

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(not ((3, 11) <= sys.version_info < (3, 14)))' || \
	  { echo "Python 3.11, 3.12 or 3.13 is needed; found: $$($(PYTHON) --version 2>&1). Set PYTHON=..."; exit 1; }
	@echo "Setting up, once: about 900 MB of Python packages into $(VENV) (2 GB unpacked), 16 MB of libraries for"
	@echo "Spark, and Java 17 or 21 (about 50 MB, by apt-get, only where there is none and we may). Then all of it"
	@echo "is compiled, so that every run starts fast. This takes two to five minutes and says little meanwhile."
	@$(PYTHON) -m venv $(VENV) || \
	  { echo "The venv module is missing; on Debian: apt-get install python3-venv"; rm -rf $(VENV); exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@touch $@

$(VENV)/.ready: $(VENV)/.python pyproject.toml setup.cfg uv.lock dmp_assets/platform/lake/jars.toml
	@$(BIN)/uv sync --quiet --frozen --inexact --compile-bytecode --no-dev
	@$(BIN)/dmp setup
	@touch $@

$(VENV)/.dev: $(VENV)/.ready
	@$(BIN)/uv sync --quiet --frozen --inexact --compile-bytecode
	@touch $@

setup: $(VENV)/.ready  ## virtual environment, Java, JARs

demo: setup  ## the whole job on a simulated shop, with a stand-in for Slack
	@$(BIN)/dmp demo

run: setup  ## the job on your shop; START=2024-01-01 END=2024-01-31 reads those days again
	@$(BIN)/dmp run --start "$(START)" --end "$(END)"

up: setup  ## Dagster's webserver and daemon; Ctrl-C stops all
	@$(BIN)/dmp up

report: setup  ## render the dashboard and print its path
	@$(BIN)/dmp report promo_abuse

doctor: setup  ## what is missing, and how to get it
	@$(BIN)/dmp doctor

test: $(VENV)/.dev  ## lint, security, types, import contracts and every test; DOMAIN=abuse: its tests alone
	@$(BIN)/python -m tests.check

test-cluster: $(VENV)/.dev  ## what takes other systems beside it, started on loopback: Spark, S3, Kafka, nginx, Redis
	@$(BIN)/uv sync --quiet --frozen --inexact --compile-bytecode --extra cluster --extra connect
	@$(BIN)/dmp setup --s3 --kafka
	@$(BIN)/python -m tests.check --cluster

lint: $(VENV)/.dev  ## lint, security, types and import contracts only
	@$(BIN)/python -m tests.check --static

# Strict, because a package that nobody could look up counts as a good one otherwise.
audit: $(VENV)/.dev  ## known vulnerabilities of the locked packages; asks pypi.org, which must be reached
	@mkdir -p build
	@$(BIN)/uv export --quiet --frozen --all-extras --no-emit-project --output-file build/locked.txt >/dev/null
	@$(BIN)/pip-audit --strict --require-hashes --disable-pip --progress-spinner off -r build/locked.txt

fuzz: $(VENV)/.dev  ## generated requests over the whole API, 20,000 and more
	@FUZZ_REQUESTS=24000 $(BIN)/pytest tests/unit/platform/api/test_fuzz.py

benchmark: $(VENV)/.dev  ## time and memory of the main job at 1x and 10x
	@$(BIN)/python benchmarks/main_job.py

clean:  ## caches and the virtual environment; never DMP_HOME
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache build dist *.egg-info
	find . -name __pycache__ -type d -not -path './var/*' -prune -exec rm -rf {} +

docker-build:  ## the image with Java, JARs and Quarto
	docker build -t dmp_assets .

docker-up:  ## PostgreSQL, webserver and daemon by compose
	docker compose up --build

docker-run:  ## one run of the job in the image; START and END as for `make run`
	docker compose run --rm webserver dmp run --start "$(START)" --end "$(END)"

docker-check: $(VENV)/.dev  ## build and run image and services without a registry; needs root, buildah, podman, runc
	@$(BIN)/python -m tests.image.check
