# Set-up, checks, tests, benchmarks and the demo; needs Python >= 3.11, a C++20 compiler and make, nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
NATIVE := CMakeLists.txt pyproject.toml $(wildcard guidance/kernels/native/*) $(wildcard drivers/native/*) \
  $(wildcard guidance/*/__init__.py guidance/*/*/__init__.py drivers/*/__init__.py)
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo serve test test-oracle test-native check format bench pictures plots page schemas lock system clean

help: ## show the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "guidance needs Python 3.11 or later; name one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "python venv is missing: apt-get install python3-venv" >&2; exit 1; }
	@touch $@

$(VENV)/.runtime: deploy/lock/runtime.txt deploy/lock/build.txt | $(VENV)/.made
	@echo "installing the locked dependencies ..."
	@$(PIP) install --quiet --require-hashes -r deploy/lock/build.txt
	@$(PIP) install --quiet --require-hashes -r deploy/lock/runtime.txt
	@touch $@

$(VENV)/.dev: deploy/lock/dev.txt $(VENV)/.runtime
	@echo "installing the locked development dependencies ..."
	@$(PIP) install --quiet --require-hashes -r deploy/lock/dev.txt
	@touch $@

$(VENV)/.native: $(NATIVE) $(VENV)/.runtime
	@command -v $${CXX:-c++} >/dev/null || { echo "a C++ compiler is missing: apt-get install g++" >&2; exit 1; }
	@echo "building the native core ..."
	@PATH="$(abspath $(BIN)):$$PATH" $(PIP) install --quiet --no-build-isolation --no-deps --editable .
	@touch $@

setup: $(VENV)/.runtime $(VENV)/.native ## environment, locked dependencies, native build

demo: setup ## server, simulated suite and page on a real CT; Ctrl-C ends all
	@$(BIN)/guidance demo $(ARGS)

serve: setup ## the server alone
	@$(BIN)/guidance serve $(ARGS)

system: ## the outside peers of the tests: dcmtk, Mosquitto, Chromium
	@sh deploy/test-peers.sh

test: setup $(VENV)/.dev system ## the default tests
	@$(BIN)/python -m pytest -q $(ARGS)

test-oracle: setup $(VENV)/.dev ## the tests against heavy independent libraries (RTK, SimpleITK, highdicom, xraydb)
	@$(PIP) install --quiet --require-hashes -r deploy/lock/oracle.txt
	@$(BIN)/python -m pytest -q -m oracle $(ARGS)

test-native: $(VENV)/.runtime ## the kernels without Python, warnings as errors, under address and undefined-behaviour sanitizers
	@PATH="$(abspath $(BIN)):$$PATH" sh deploy/check-native.sh

check: setup $(VENV)/.dev ## format, lint, strict types, import contracts
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/clang-format --dry-run --Werror guidance/kernels/native/*.cpp guidance/kernels/native/*.hpp
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(VENV)/.dev ## rewrite to the house's format
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .
	@$(BIN)/clang-format -i guidance/kernels/native/*.cpp guidance/kernels/native/*.hpp

bench: setup ## every benchmark; one: make bench ARGS="latency --json"
	@$(BIN)/guidance bench $(ARGS)

pictures: setup $(VENV)/.dev system ## make docs/pictures anew from the running demonstration
	@$(BIN)/python -m tests.make_pictures

plots: setup $(VENV)/.dev ## make docs/plots anew from the benchmarks of geometry trust; some: make plots ARGS="faults drr"
	@$(BIN)/python -m tests.make_plots $(ARGS)

page: ## rebuild the page's bundle (needs Node.js)
	@sh drivers/page/build.sh

schemas: setup ## rewrite docs/schemas from the code
	@$(BIN)/guidance schemas docs/schemas

lock: $(VENV)/.dev ## renew deploy/lock from pyproject.toml
	@sh deploy/lock.sh

clean: ## forget the environment and all builds
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache .hypothesis
