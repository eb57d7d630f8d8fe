# The commands of the README, and those of whoever works on spike. `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# The same versions as in requirements.txt, for those who need fewer of them.
PIN_SOME := uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --constraint requirements.txt \
    --no-emit-index-url --no-header --no-annotate

.DEFAULT_GOAL := help
.PHONY: help demo up test browser screenshots lint format soak bench docs requirements clean

help: ## list the commands
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

# One virtual environment, made anew only when what is to be installed changes.
$(STAMP): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v <= (3, 13) else f"spike needs Python 3.11 to 3.13, this is {v[0]}.{v[1]}; say make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	@# requirements.txt names everything, so nothing is to be resolved: pip would trip over extras (gql[requests]).
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --requirement requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(STAMP) ## two years of a simulated market, then the Dagster UI with its schedules running (DEMO_ONCE=1: no UI)
	@$(BIN)/spike demo

up: $(STAMP) ## the Dagster UI and daemon on your own settings
	@$(BIN)/spike up

test: $(STAMP) ## the whole suite
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n 3 --dist worksteal

browser: $(STAMP) ## the dashboard's tests in Debian's chromium, and nothing else
	$(BIN)/python -m pytest -n 2 -m browser spike_assets_tests/dashboard

screenshots: $(STAMP) ## take the pictures of the dashboard in docs/images, in Debian's chromium
	$(BIN)/python -m spike_assets_tests.dashboard.screenshots --readme docs/images

lint: $(STAMP) ## ruff, formatting and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP) ## put the code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

soak: $(STAMP) ## the invariant and fault suites in full; writes docs/soak.md
	$(BIN)/python -m spike_assets_tests.soak

bench: $(STAMP) ## measure; writes bench/RESULTS.md
	$(BIN)/python -m bench

docs: $(STAMP) ## write docs/data.md from the declared tables
	$(BIN)/python -m spike_assets.store.dictionary > docs/data.md

requirements: ## pin everything anew, with hashes and without any index address (needs uv)
	uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --group dev --group build \
	    --no-emit-index-url --no-header --output-file requirements.txt pyproject.toml
	$(PIN_SOME) --group image --group build --output-file deploy/requirements.txt pyproject.toml
	$(PIN_SOME) --group function --output-file deploy/function/requirements.txt

clean: ## remove the virtual environment and the demo
	rm -rf $(VENV) .demo
