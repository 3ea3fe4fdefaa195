# Needs python3 (3.10 or newer, with venv) and make; the Python packages go into .venv, .venv-tools and .venv-docs.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Programs whose dependencies the environment of the tests must not have; see pyproject.toml.
TOOLS := .venv-tools
DOCS := .venv-docs
CORES := $(shell getconf _NPROCESSORS_ONLN)
# Parallel test processes, three for each core: many tests wait for real processes. "make test N=8".
N ?= $(shell expr 3 \* $(CORES))

# Keep bytecode whatever the environment says: without it, every process that a test starts compiles everything.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z_-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

## Environments

# Fail with the remedy if PYTHON cannot be used.
.PHONY: python
python:
	@$(PYTHON) -c '' 2>/dev/null || { \
		echo "$(PYTHON) does not run: install Python 3.10 or newer, or give make PYTHON=..."; exit 1; } >&2
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
		echo "$$($(PYTHON) --version) is too old: 3.10 is needed; give for example make PYTHON=python3.12"; \
		exit 1; } >&2
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) cannot make virtual environments; on Debian: apt-get install python3-venv"; exit 1; } >&2

# An environment whose pip does not run was interrupted while it was made: create it again.
define environment
	@$(@D)/bin/python -m pip --version >/dev/null 2>&1 || { \
		$(MAKE) --no-print-directory python && echo "Making an environment in $(@D)" && \
		$(PYTHON) -m venv --clear $(@D); }
	@echo "Installing into $(@D); with an empty cache this takes about a minute"
	$(@D)/bin/python -m pip install --disable-pip-version-check --editable '.[$(1)]'
endef

# The developer's environment includes what the demo needs.
comma := ,
$(VENV)/.demo: pyproject.toml
	$(call environment,embedded$(comma)otlp)
	@touch $@

$(VENV)/.dev: pyproject.toml
	$(call environment,dev)
	@touch $@ $(VENV)/.demo

$(TOOLS)/.tools: pyproject.toml
	$(call environment,tools)
	@touch $@

$(DOCS)/.docs: pyproject.toml
	$(call environment,docs)
	@touch $@

## Seeing it work

.PHONY: demo demo-serve bench budget
demo: $(VENV)/.demo ## run real tasks on an embedded PostgreSQL, print a summary, keep only the report and logs
	$(BIN)/python -m demo

demo-serve: $(VENV)/.demo ## the same, and keep the site, the manager and steady traffic running
	$(BIN)/python -m demo --serve

.PHONY: up panels
up: ## run the demo, Prometheus, Grafana, ELK and Tempo in containers (not run in our tests)
	docker compose up --build --detach

panels: $(VENV)/.dev ## draw every Grafana panel from real metrics into build/panels; needs Chromium, npm, Prometheus
	$(BIN)/python -m tests.real_parts.draw_panels

bench: $(VENV)/.dev ## measure drain, latency, enqueue and idle; PEERS=DIR measures other task queues too
	$(BIN)/python -m bench $(if $(PEERS),--peers $(PEERS))

budget: $(VENV)/.dev ## count what a task costs and fail if it grew; UPDATE=yes writes bench/budget/budget.md
	$(BIN)/python -m bench.budget $(if $(UPDATE),--update)

## Tests and checks

.PHONY: test test-fast test-real parts chaos game-day coverage check check_mypy black matrix other-pair tables
# With worksteal, the tests of a module stay in one process, which starts their servers once.
test: $(VENV)/.dev ## run every tier but real_parts, in parallel and random order; COVERAGE=yes also does what coverage does
	$(BIN)/pytest tests -n $(N) --dist worksteal $(if $(COVERAGE),--cov --cov-fail-under=100)

# As many processes as cores: these tests compute more than they wait.
test-fast: $(VENV)/.dev ## run the unit tests without the slow ones and without a database: about fifteen seconds
	$(BIN)/pytest tests/unit -m "not slow" -n $(CORES)

# In one process: the tests share one Prometheus and one OpenSearch.
test-real: $(VENV)/.dev ## run real Prometheus, Alertmanager, rsyslog and what "make parts" fetched; skip the rest with a reason
	$(BIN)/pytest tests/real_parts -rs

parts: $(VENV)/.dev ## fetch OpenSearch for test-real into the user's cache; PARTS=all builds every other part, too
	$(BIN)/python -m tools.parts $(PARTS)

# "make chaos SEEDS=3 SECONDS=20"; "make chaos SEED=7" runs one seed again; MANAGERS, RATE and ONLY choose, too.
SEEDS ?= 30
SECONDS ?= 30
chaos: $(VENV)/.dev ## break managers, connections and the server at random, and check that no promise is broken
	$(BIN)/python -m tools.chaos --seconds $(SECONDS) $(if $(SEED),--seed $(SEED),--seeds $(SEEDS)) $(ONLY:%=--only %) $(MANAGERS:%=--managers %) $(RATE:%=--rate %)

# "make game-day ONLY=manager-killed" injects one fault.
game-day: $(VENV)/.dev ## inject each fault for real and check which alerts fire; CUT=yes runs a selection; needs Prometheus and Alertmanager
	$(BIN)/python -m tests.real_parts.game_day $(if $(CUT),--cut) $(ONLY:%=--only %)

coverage: $(VENV)/.dev ## run the unit and db tiers and require that they reach every line and branch
	$(BIN)/pytest tests/unit tests/db -n $(N) --cov --cov-fail-under=100

check: $(VENV)/.dev $(TOOLS)/.tools check_mypy docs ## check style, types, import contracts, migrations, the wheel and the documentation
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(TOOLS)/bin/lint-imports
	$(BIN)/python -m tools.postgres run -- $(BIN)/python tests/manage.py makemigrations --check --dry-run
	$(BIN)/python -m tools.wheel

check_mypy: $(VENV)/.dev ## check types only
	$(BIN)/mypy

black: $(VENV)/.dev ## format the code with ruff (the name is that of the original project)
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

matrix: $(VENV)/.dev ## run the tests on the oldest and newest Python and Django, with psycopg2 and psycopg 3
	$(BIN)/nox

other-pair: $(VENV)/.dev ## run the unit and db tiers on another Python and Django, with psycopg 3
	$(BIN)/nox --session other_pair -- -n $(N)

tables: $(VENV)/.dev ## write the generated tables of the documentation
	$(BIN)/python -m tools.document_tables

## The documentation site

.PHONY: docs docs-serve
# Material for MkDocs reaches its end of life on 2027-05-05; the successor that it names reads the same mkdocs.yml.
docs docs-serve: export NO_MKDOCS_2_WARNING := 1
# Without --quiet, because only warnings that are printed fail the build.
docs: $(DOCS)/.docs ## build the documentation site in build/site; a broken link or anchor fails the build
	$(DOCS)/bin/python -m mkdocs build

docs-serve: $(DOCS)/.docs ## serve the documentation site at http://127.0.0.1:8000/, and rebuild it after each change
	$(DOCS)/bin/python -m mkdocs serve --dev-addr 127.0.0.1:8000

## Releases: commit what changed below "## Unreleased" in CHANGELOG.md first; nothing is pushed

.PHONY: major_release minor_release patch_release
major_release minor_release patch_release: $(TOOLS)/.tools
major_release: ## release the next major version, or the one in development
minor_release: ## release the next minor version, or the one in development
patch_release: ## release the next patch version, or the one in development
major_release minor_release patch_release:
	$(TOOLS)/bin/bump-my-version bump $(if $(shell grep '"[0-9.]*\.dev' django_partisan/__init__.py),stage,$(@:_release=))

.PHONY: clean
clean: ## remove the environments and everything that was built
	rm -rf $(VENV) $(TOOLS) $(DOCS) .nox build dist htmlcov .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
