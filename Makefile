# Needs python3 (3.10 or newer, with venv) and make; everything else goes into .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CORES := $(shell getconf _NPROCESSORS_ONLN)
# Parallel test processes, twice the cores: many tests wait for real processes. "make test N=8".
N ?= $(shell expr 2 \* $(CORES))

# Keep bytecode whatever the environment says: without it, every process that a test starts compiles everything.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z_-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

## Environments

# Whether PYTHON will do.
.PHONY: python
python:
	@$(PYTHON) -c '' 2>/dev/null || { \
		echo "$(PYTHON) does not run: install Python 3.10 or newer, or say make PYTHON=..."; exit 1; } >&2
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
		echo "$$($(PYTHON) --version) is too old: 3.10 is needed, say make PYTHON=python3.12 or the like"; \
		exit 1; } >&2
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) cannot make virtual environments; on Debian: apt-get install python3-venv"; exit 1; } >&2

# A pip that answers is the sign of a whole environment: an interrupted one is made anew.
define environment
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { \
		$(MAKE) --no-print-directory python && $(PYTHON) -m venv --clear $(VENV); }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$(1)]'
endef

# The demo's needs are a part of the developer's: whoever has these has those.
comma := ,
$(VENV)/.demo: pyproject.toml
	$(call environment,embedded$(comma)otlp)
	@touch $@

$(VENV)/.dev: pyproject.toml
	$(call environment,dev)
	@touch $@ $(VENV)/.demo

## Seeing it work

.PHONY: demo demo-serve bench
demo: $(VENV)/.demo ## do real work on an embedded PostgreSQL, print a summary, leave nothing behind
	$(BIN)/python -m demo

demo-serve: $(VENV)/.demo ## the same, but keep the site, the manager and steady traffic running
	$(BIN)/python -m demo --serve

.PHONY: up panels
up: ## everything at once in containers: the demo, Prometheus, Grafana, ELK, Tempo (not run in our tests)
	docker compose up --build --detach

panels: $(VENV)/.dev ## draw every Grafana panel from real figures into build/panels; needs Chromium, npm, Prometheus
	$(BIN)/python -m tests.real_parts.draw_panels

bench: $(VENV)/.dev ## measure drain, latency, enqueue and idle; PEERS=DIR measures the peers as well
	$(BIN)/python -m bench $(if $(PEERS),--peers $(PEERS))

## Tests and checks

.PHONY: test test-fast test-real coverage check check_mypy black matrix other-pair tables
# Stolen work rather than small chunks: a module stays together, and starts its servers once.
test: $(VENV)/.dev ## every tier of tests but real_parts, in parallel and random order; COVERAGE=yes as below
	$(BIN)/pytest tests -n $(N) --dist worksteal $(if $(COVERAGE),--cov --cov-fail-under=100)

# As many processes as cores: these tests compute more than they wait.
test-fast: $(VENV)/.dev ## the unit tests that start no program: some fifteen seconds, no database
	$(BIN)/pytest tests/unit -m "not slow" -n $(CORES)

# One process: the tests share one Prometheus, and each looks for the programs it needs.
test-real: $(VENV)/.dev ## with Prometheus, Alertmanager and rsyslog where installed; the rest is skipped, with a reason
	$(BIN)/pytest tests/real_parts -rs

coverage: $(VENV)/.dev ## the unit and db tiers must reach every line and branch
	$(BIN)/pytest tests/unit tests/db -n $(N) --cov --cov-fail-under=100

check: $(VENV)/.dev check_mypy ## style, types, import contracts, migrations, the wheel
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports
	$(BIN)/python -m tools.postgres run -- $(BIN)/python tests/manage.py makemigrations --check --dry-run
	$(BIN)/python -m tools.wheel

check_mypy: $(VENV)/.dev ## types alone
	$(BIN)/mypy

black: $(VENV)/.dev ## format the code (by ruff; the name is the original project's)
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

matrix: $(VENV)/.dev ## the oldest and newest Python and Django, with psycopg2 and psycopg 3, by nox
	$(BIN)/nox

other-pair: $(VENV)/.dev ## the unit and db tiers on another Python and Django, with psycopg 3, by nox
	$(BIN)/nox --session other_pair -- -n $(N)

tables: $(VENV)/.dev ## write the generated tables of the documentation anew
	$(BIN)/python -m tools.document_tables

## Releases: write CHANGELOG.md first; the version is committed and tagged, nothing is pushed

.PHONY: major_release minor_release patch_release
major_release minor_release patch_release: $(VENV)/.dev
major_release: ## release the next major version, or the one in development
minor_release: ## release the next minor version, or the one in development
patch_release: ## release the next patch version, or the one in development
major_release minor_release patch_release:
	$(BIN)/bump-my-version bump $(if $(shell grep '"[0-9.]*\.dev' django_partisan/__init__.py),stage,$(@:_release=))

.PHONY: clean
clean: ## remove the environments and all that was built
	rm -rf $(VENV) .nox build dist htmlcov .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
