# Two commands for a newcomer: `make run` and `make test`. Nothing but python3 (3.11-3.13), pip and make is needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 8850
PROJECT ?= src/pollux/twins/water
STAMP := $(VENV)/.installed
DEV_STAMP := $(VENV)/.installed-dev
BENCH_STAMP := $(VENV)/.installed-bench

.PHONY: run install test lint format bench dashboard constraints clean

run: install  ## set everything up and show the city water twin at http://127.0.0.1:$(PORT)
	@$(BIN)/pollux demo $(PROJECT) --port $(PORT) $(if $(NO_BROWSER),--no-browser)

install: $(STAMP)  ## the virtual environment alone

$(STAMP): pyproject.toml constraints.txt scripts/install
	@PYTHON=$(PYTHON) scripts/install $(VENV) run
	@touch $@

$(DEV_STAMP): $(STAMP)
	@PYTHON=$(PYTHON) scripts/install $(VENV) dev
	@touch $@

$(BENCH_STAMP): $(DEV_STAMP)
	@PYTHON=$(PYTHON) scripts/install $(VENV) bench
	@touch $@

test: $(DEV_STAMP)  ## all tests; those that need a missing system service are skipped and say so
	$(BIN)/python -m pytest

lint: $(DEV_STAMP)  ## format, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports

format: $(DEV_STAMP)  ## rewrite in the project's format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(BENCH_STAMP)  ## every work item against its peers, one JSON line each
	$(BIN)/python -m benchmarks

dashboard:  ## rebuild the dashboard from web/ (needs Node; users do not)
	cd web && npm ci --no-audit --no-fund && npm run check && npm run build

constraints: $(BENCH_STAMP)  ## rewrite constraints.txt from what is installed
	$(BIN)/python scripts/constraints.py > constraints.tmp && mv constraints.tmp constraints.txt

clean:  ## remove what `make` made
	rm -rf $(VENV) .pytest_cache .ruff_cache web/node_modules
