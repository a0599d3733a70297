# Every target needs only make, a python3 of at least 3.11 and a package index that pip can reach.
# `make` alone lists the targets.

VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/installed.stamp
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { command -v "$$p"; break; }; done)
# Both cores help; one file stays in one process, so that its fixtures are built once.
PARALLEL ?= -n 2 --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-fast check lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | while IFS='	' read -r name text; do \
		printf '  make %-10s %s\n' "$$name" "$$text"; done

setup: $(STAMP) ## create .venv with everything in requirements.txt, and this project in it

# The lock names the exact uv; pip fetches that one, and uv the rest. An index that only pip's own
# configuration names is out of uv's sight: then pip installs the same files under the same hashes.
$(STAMP): requirements.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "no python3 of at least 3.11 on PATH: install one, or name it with make PYTHON=/path/to/python3" >&2; exit 1; }
	@test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV)
	@sed -n '/^uv==/,/[^\\]$$/p' requirements.txt > $(VENV)/uv.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(VENV)/uv.txt
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements.txt \
		|| { echo "uv could not install the lock; trying pip" >&2; \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt; }
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --offline --editable .
	@touch $@

demo: ## install if needed, then run the demo; both times are printed
	@start=$$(date +%s); $(MAKE) --no-print-directory setup; echo "installed in $$(( $$(date +%s) - start )) s"
	@start=$$(date +%s); $(BIN)/sagacity demo; code=$$?; echo "the demo took $$(( $$(date +%s) - start )) s"; exit $$code

test: setup ## run the whole suite
	@$(BIN)/python -m pytest $(PARALLEL)

test-fast: setup ## run the suite without the tests that start real processes, train models or play thousands of runs
	@$(BIN)/python -m pytest $(PARALLEL) -m "not slow"

check: setup ## lint, format check, types (mypy and pyright), import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/basedpyright
	@$(BIN)/lint-imports

lock: setup ## renew requirements.txt from pyproject.toml
	@$(BIN)/uv pip compile --quiet --upgrade pyproject.toml --all-extras --group dev --universal --python-version 3.11 \
		--no-strip-extras --generate-hashes --no-emit-index-url --custom-compile-command "make lock" \
		--output-file requirements.txt
	@rm -f $(STAMP)
	@$(MAKE) --no-print-directory setup

clean: ## remove .venv and everything that tools cache
	@rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .coverage htmlcov build dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
