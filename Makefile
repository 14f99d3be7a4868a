# Every command makes what it needs in .venv, and does nothing twice.
.SHELLFLAGS := -eu -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# The first of these that is new enough and can make an environment; `make PYTHON=... test` chooses.
PYTHON ?=
PYTHONS := python3.11 python3.12 python3.13 python3.14 python3 python
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install -qq -c constraints.txt

# pytest's own arguments: make test ARGS="-k mailbox -x"
ARGS ?=
# What `make bench` replays: your own files of the public data set, if you like.
REPLAY ?= ../shared/data/sgd_dev_a.jsonl.gz
TIMING ?= ../shared/data/slack_timing_a.csv.gz
# make explore SCHEDULES=20000 SEED=1, for each of our agents
SCHEDULES ?=
SEED ?=
# make bench BENCH_ARGS="--case D --runs 9"
BENCH_ARGS ?=
# Where make bench-full writes its figures, and make docs reads them.
FIGURES := docs/benchmarks.json

# The package's folders as mypy wants them; tests/test_house.py holds pyproject's list to the tree.
FOLDERS := $(patsubst %/__init__.py,%,$(wildcard actors/__init__.py journal/__init__.py \
	messages/__init__.py service/__init__.py supervisors/__init__.py testing/__init__.py tools/__init__.py))
MODULES := wavebreak $(patsubst %.py,wavebreak.%,$(filter-out __init__.py,$(wildcard *.py)))

.PHONY: help run demo test test-fast explore check format bench bench-full bench-guard docs clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)$$/\1 \2/p' Makefile | while read -r name what; do \
		printf '  make %-11s %s\n' "$$name" "$$what"; done

run: $(VENV)/run.stamp ## the main job: the hotel concierge as a service, with its page
	@$(BIN)/wavebreak serve examples/concierge.py:service

demo: $(VENV)/run.stamp ## the hotel concierge in the terminal; without one it plays a conversation
	@$(BIN)/python examples/concierge.py

test: $(VENV)/dev.stamp $(VENV)/browser.stamp ## all of the tests
	@$(BIN)/pytest $(ARGS)

test-fast: $(VENV)/dev.stamp ## in under ten seconds: the core's tests that are not marked slow
	@$(BIN)/pytest -m "not slow" --hypothesis-profile=quick tests/actors tests/messages tests/supervisors tests/tools $(ARGS)

check: $(VENV)/dev.stamp .types/wavebreak ## format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy $(addprefix -m ,$(MODULES)) $(addprefix -p wavebreak.,$(FOLDERS))
	$(BIN)/mypy tests examples benchmarks docs
	PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright

format: $(VENV)/dev.stamp ## put the format right, and what else can be mended by itself
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

explore: $(VENV)/dev.stamp ## the explorer on our own agents and on all known defects; SCHEDULES=20000 SEED=1
	@$(BIN)/pytest tests/testing/test_explorer.py tests/testing/test_defects.py \
		-k "promise or defect" --timeout=0 --durations=10 \
		$(if $(SCHEDULES),--wavebreak-schedules=$(SCHEDULES)) \
		$(if $(SEED),--wavebreak-seed=$(SEED)) $(ARGS)

bench: $(VENV)/bench.stamp ## beside asyncio by hand, in a minute; BENCH_ARGS="--case D --peers"
	@$(BIN)/python benchmarks/suite.py --replay "$(REPLAY)" --timing "$(TIMING)" $(BENCH_ARGS)
	@$(BIN)/python benchmarks/http_service.py --quick

bench-full: $(VENV)/bench.stamp ## all sizes, and beside what others made; writes docs/benchmarks.json
	@$(BIN)/python benchmarks/suite.py --full --peers --json $(FIGURES) \
		--replay "$(REPLAY)" --timing "$(TIMING)" $(BENCH_ARGS)
	@$(BIN)/python benchmarks/where_time_goes.py --sampled --json docs/where_time_goes.json
	@$(BIN)/python benchmarks/http_service.py

bench-guard: $(VENV)/bench.stamp ## fails when the hot path has become dearer by more than a third
	@$(BIN)/python benchmarks/guard.py

docs: $(VENV)/bench.stamp ## draw the pictures and tables of the documentation from the code
	@$(BIN)/python docs/draw_states.py
	@$(BIN)/python docs/draw_benchmarks.py --plots

# The tests of the page need Debian's chromium, and are skipped without it.
$(VENV)/browser.stamp: $(VENV)/made.stamp
	@if ! command -v chromium >/dev/null && command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
		echo "installing chromium, for the tests of the page"; \
		{ apt-get install -qq -y chromium || { apt-get update -qq && apt-get install -qq -y chromium; }; } \
			>/dev/null 2>&1 || echo "chromium cannot be installed: the tests of the page are skipped"; \
	fi
	@touch $@

clean: ## remove all that make has made
	rm -rf $(VENV) .venv-peers .types build dist wavebreak.egg-info
	rm -rf .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Type checkers do not follow an editable install to a package that is called otherwise than its
# folder; this link gives them the name.
.types/wavebreak:
	@mkdir -p .types
	@ln -sfn .. $@

$(VENV)/made.stamp:
	@for python in $(PYTHON) $(if $(PYTHON),,$(PYTHONS)); do \
		if "$$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' \
			2>/dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$${found:-}" ]; then \
		echo "no Python of 3.11 or newer with venv among: $(or $(PYTHON),$(PYTHONS))." >&2; \
		echo "Install one (on Debian: python3.11 and python3.11-venv), or name it:" >&2; \
		echo "make PYTHON=/path/to/python3.11" >&2; \
		exit 1; \
	fi; \
	echo "making $(VENV) with $$($$found --version)"; \
	rm -rf $(VENV); \
	"$$found" -m venv $(VENV)
	@$(PIP) 'setuptools>=77'
	@touch $@

# Without isolation the build takes the pinned setuptools from above, and fetches nothing more.
$(VENV)/run.stamp: $(VENV)/made.stamp pyproject.toml constraints.txt
	@echo "installing what the examples need"
	@$(PIP) --no-build-isolation --editable '.[demo,service]'
	@touch $@

$(VENV)/bench.stamp: $(VENV)/run.stamp
	@echo "installing what the benchmarks need"
	@$(PIP) --no-build-isolation --editable '.[bench,demo,service]'
	@touch $@

$(VENV)/dev.stamp: $(VENV)/made.stamp pyproject.toml constraints.txt
	@echo "installing what the tests need"
	@$(PIP) --no-build-isolation --editable '.[dev]'
	@touch $(VENV)/run.stamp $(VENV)/bench.stamp $@
