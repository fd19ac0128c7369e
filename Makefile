# Everything sets itself up in .venv; a machine with Python 3.11 or newer and make is enough.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
TORCH ?= torch==2.13.0
TORCH_ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
PYTEST := OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=1 $(BIN)/python -m pytest

.PHONY: help demo install test test-slow check lint types capabilities mutate bench clean

help:
	@echo "make demo          base -> SFT -> DPO -> GRPO -> evaluate -> gate -> release, on this machine"
	@echo "make test          every quick test        make test-slow     the slow ones"
	@echo "make check         style, types, layers, tests"
	@echo "make capabilities  which test proves which capability"
	@echo "make mutate        break the mathematics mechanically and see that the tests notice"
	@echo "make bench         side-by-side measurements"
	@echo "TORCH=... and TORCH_ARGS=... choose the torch build: make demo TORCH_ARGS='--index-url URL'"

$(VENV)/torch.installed:
	$(PYTHON) -m venv $(VENV)
	$(PIP) install $(TORCH_ARGS) "$(TORCH)"
	@touch $@

$(VENV)/core.installed: $(VENV)/torch.installed pyproject.toml constraints.txt
	$(PIP) install -c constraints.txt -e .
	@touch $@

$(VENV)/dev.installed: $(VENV)/torch.installed pyproject.toml constraints.txt
	$(PIP) install -c constraints.txt -e ".[dev]"
	@touch $@ $(VENV)/core.installed

install: $(VENV)/core.installed

demo: $(VENV)/core.installed
	$(BIN)/strop run recipes/finance_assistant.toml

test: $(VENV)/dev.installed
	$(PYTEST) -n 2 -m "not slow"

test-slow: $(VENV)/dev.installed
	$(PYTEST) -m slow --timeout 1200

lint: $(VENV)/dev.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/dev.installed
	$(BIN)/mypy

check: lint types test

capabilities: $(VENV)/dev.installed
	@$(BIN)/python tests/capabilities.py

mutate: $(VENV)/dev.installed
	OMP_NUM_THREADS=1 $(BIN)/python tests/mutation.py

bench: $(VENV)/dev.installed
	$(BIN)/python benchmarks/sampler.py
	$(BIN)/python benchmarks/supervised.py
	$(BIN)/python benchmarks/constraints.py
	$(BIN)/python benchmarks/fused_memory.py
	$(BIN)/python benchmarks/sandbox.py

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .strop runs
