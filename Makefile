# Two commands for a new machine: `make demo` and `make test`. `make help` lists the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
ARGS ?=

.PHONY: help demo coverage test stages test-all test-influx lint format bench chaos fuzz prove pictures firmware wheelhouse lock setup clean
.DEFAULT_GOAL := help

help:  ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(STAMP)  ## create .venv from the hash-locked requirements

# the packages first: a bare Debian has no venv module
$(STAMP): requirements/dev.txt pyproject.toml deploy/apt-packages.txt
	@sh deploy/apt-install.sh deploy/apt-packages.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "cellguard needs Python 3.11 or newer: $$($(PYTHON) -V) was found; set PYTHON=…" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(STAMP)  ## the whole system on a simulated rig; Ctrl-C ends it (ARGS="--modules 15 …")
	@$(BIN)/cellguard demo $(ARGS)

test: $(STAMP)  ## every test that needs no emulator
	@$(BIN)/python -m pytest $(ARGS)

stages: $(STAMP)  ## the agent on real SocketCAN and with a clock that jumps in virtual machines, under real systemd in a container; the images of docker compose
	@$(BIN)/python tests/stages

test-all: test stages  ## both

test-influx: $(STAMP)  ## the storage suite; against any InfluxDB 2 with CELLGUARD_INFLUX_URL=… _TOKEN=… _ORG=… _BUCKET=…
	@$(BIN)/python -m pytest tests/conformance/sinks $(ARGS)

coverage: $(STAMP)  ## the tests of the safety core, which must reach every branch of it
	@$(BIN)/python -m coverage run -m pytest -q tests/safety $(ARGS)
	@$(BIN)/python -m coverage report

lint: $(STAMP)  ## style, types and the arrows between the rooms
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(STAMP)  ## let ruff format and mend what it can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(STAMP)  ## the hot paths as ratios against the obvious library way
	@$(BIN)/python -m bench

chaos: $(STAMP)  ## kill, cut, stop and starve everything, then compare store and ledger cell by cell (SEEDS=3)
	@$(BIN)/python -m tests.chaos --seeds $(or $(SEEDS),3)

fuzz: $(STAMP)  ## broken messages at every door of link and collector (MESSAGES=1000000)
	@$(BIN)/python -m tests.fuzz --messages $(or $(MESSAGES),1000000)

prove: $(STAMP)  ## every state of the supervisor up to 3 faults, and the seeded defects, each of which must be noticed
	@$(BIN)/python -m tests.prove

pictures: $(STAMP)  ## draw the README's pictures from a running demo
	@$(BIN)/python docs/pictures/draw.py

firmware:  ## build the Arduino's sketch and print its size (needs gcc-avr avr-libc arduino-core-avr)
	@$(MAKE) --no-print-directory -C firmware

wheelhouse: $(STAMP)  ## everything a Pi needs to install without a network: build/pi (aarch64, Python 3.11 and 3.13)
	@sh deploy/wheelhouse.sh build/pi aarch64 3.11 3.13

lock:  ## renew requirements/*.txt (needs uv)
	@for extra in edge collector certs build dev; do \
	  uv pip compile --quiet --universal --generate-hashes --no-header --no-emit-index-url --python-version 3.11 \
	    --extra $$extra pyproject.toml --output-file requirements/$$extra.txt || exit 1; done

clean:  ## remove .venv and caches
	@$(MAKE) --no-print-directory -C firmware clean
	rm -rf build $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
