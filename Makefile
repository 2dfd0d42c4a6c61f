# The commands of this checkout; `make help` lists them. Each works alone on a fresh machine.

# Where it is set, each of the many processes would compile all that it imports, at every start.
unexport PYTHONDONTWRITEBYTECODE
SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help run test chaos bench lint model lock clean rabbitmq

PIP := .venv/bin/python -m pip --disable-pip-version-check --no-input
# One venv: what `make test` installed is enough for `make run`.
RUNNABLE := $(if $(wildcard .venv/dev.stamp),.venv/dev.stamp,.venv/local.stamp)
MODEL := $(or $(BRIGADE_MODEL_DIR),var/models/multilingual-e5-small)/manifest.json

help: ## This list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(RUNNABLE) $(MODEL) rabbitmq ## Start everything; DEMO=0 leaves the sample out. Ctrl-C stops it
	@exec .venv/bin/brigade up $(if $(filter 0,$(DEMO)),--no-demo)

# The tests use servers of their own, whatever the environment names. Without RabbitMQ those that need it are skipped
# on a laptop; in CI that is a failure.
test: .venv/dev.stamp $(MODEL) ## Every test that needs no GPU and no cloud; ARGS go to pytest
	@env -u BRIGADE_AMQP_URL .venv/bin/python -m deploy.local.install || [ -z "$$CI" ]
	@exec .venv/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder tests/chaos tests/integration tests/unit $(ARGS)

chaos: .venv/dev.stamp $(MODEL) rabbitmq ## Break everything for long; SEED=1 ROUNDS=20, ARGS: python -m tests.chaos --help
	@exec env -u BRIGADE_AMQP_URL .venv/bin/python -m tests.chaos --seed $(or $(SEED),1) --rounds $(or $(ROUNDS),20) \
	    $(if $(SABOTAGE),--sabotage $(SABOTAGE)) $(ARGS)

bench: .venv/dev.stamp $(MODEL) rabbitmq ## Measure; ARGS choose sizes
	@exec .venv/bin/python -m tests.bench $(ARGS)

lint: .venv/dev.stamp ## Style, types and the rules between the rooms
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

model: $(RUNNABLE) ## Build the embedding model, if it is not there
	.venv/bin/python -m deploy.models

lock: ## Pin all requirements anew, with hashes (needs uv)
	@command -v uv >/dev/null || { echo 'uv is missing. Type: pip install uv' >&2; exit 1; }
	$(LOCK) --output-file requirements/server.txt
	$(LOCK) --extra local --output-file requirements/local.txt
	$(LOCK) --extra dev --output-file requirements/dev.txt
LOCK = uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --quiet

clean: ## Remove the venv and caches; your data in var/ stays
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(MODEL): | $(RUNNABLE)
	.venv/bin/python -m deploy.models

rabbitmq: $(RUNNABLE)
	@.venv/bin/python -m deploy.local.install

# pip is the last thing that venv makes.
.venv/bin/pip:
	@python=; for name in python3.11 python3.12 python3.13 python3; do \
	    if $$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$$name; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	    echo 'Python 3.11 or newer is missing. Install it, on Debian: sudo apt-get install python3 python3-venv' >&2; exit 1; \
	fi; \
	if ! $$python -c 'import ensurepip, venv' 2>/dev/null; then \
	    echo "$$python cannot make virtual environments. Type: sudo apt-get install python3-venv" >&2; exit 1; \
	fi; \
	echo "Making .venv with $$($$python --version) …"; $$python -m venv .venv

# What is used is compiled when it is first used; all of it would take half a minute.
# The stamp is written last: an interrupted installation is taken up again.
.venv/%.stamp: requirements/%.txt pyproject.toml | .venv/bin/pip
	@echo 'Installing what requirements/$*.txt lists …'
	$(PIP) install --no-compile --require-hashes -r requirements/$*.txt
	$(PIP) install --no-deps -e .
	@touch $@
