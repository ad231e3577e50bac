# The commands of this repository. Each one sets up what it needs and says what is missing.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
VENV ?= .venv
export VENV

.PHONY: help run manage test chaos fuzz audit check bench clean

help: ## List these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## Start everything on this machine until Ctrl-C (PORT=8000, NOTIFIER_DATA_DIR=var)
	@scripts/setup_venv.sh run && exec "$(VENV)/bin/python" -m config.embedded run --with-parent

manage: ## Run manage.py beside `make run`: make manage ARGS='create_api_key ci --scope notify:write'
	@scripts/setup_venv.sh run && exec "$(VENV)/bin/python" -m config.embedded manage $(ARGS)

test: ## Run the whole suite on private MariaDB and Valkey servers
	@exec scripts/test.sh $(ARGS)

MINUTES ?= 5
chaos: ## Break real processes for a while and prove that nothing is lost (MINUTES=30 SEED=7; docs/reliability.md)
	@exec scripts/chaos.sh --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

EXAMPLES ?= 200
fuzz: ## Thousands of generated requests, each answer held to the OpenAPI document (EXAMPLES=200 SEED=1)
	@exec scripts/fuzz.sh --examples $(EXAMPLES) $(if $(SEED),--seed $(SEED))

audit: ## Look the pinned versions up in the advisory database (docs/operations.md says what it needs)
	@exec scripts/audit.sh

check: ## Format, lint, types, import contracts, migrations, deployment checks
	@exec scripts/check.sh

bench: ## Measure on private servers: make bench ARGS='backlog', 'fairness', 'soak' or 'pages'
	@scripts/setup_venv.sh dev && exec "$(VENV)/bin/python" -m benchmarks $(ARGS)

clean: ## Remove the virtual environment and all caches; the data under var/ stays
	rm -rf "$(VENV)" .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
