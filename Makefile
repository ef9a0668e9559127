# The two commands for a newcomer are `make demo` and `make test`.
#
# Everything happens in a virtual environment, $(VENV), that the first call creates. Files named
# .stamp-… in it remember what has been installed, so that a second call goes straight to work; they
# grow stale when pyproject.toml changes. The C compiler is found at run time: `autodiffc doctor`.

VENV        ?= .venv
BENCH_VENV  ?= .venv-bench
PYTHON      ?= python3
TEST_ARGS   ?= --numprocesses=auto --maxprocesses=4 --dist=worksteal
BENCH_ARGS  ?=
TORCH_INDEX ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := help
.PHONY: help demo test bench lint format wheel clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.stamp-demo ## compile LeNet-5 to C and train it on MNIST digits
	$(BIN)/autodiffc compile examples/lenet5.py
	$(BIN)/autodiffc train examples/lenet5.py --data mnist5k --epochs 10 --set batch=32

test: $(VENV)/.stamp-test ## run all tests (TEST_ARGS="-k name" for some of them)
	$(BIN)/python -m pytest $(TEST_ARGS)

bench: $(BENCH_VENV)/.stamp ## time everything beside PyTorch, JAX, NumPy, CasADi (BENCH_ARGS="lenet5-*")
	$(BENCH_VENV)/bin/python -m benchmarks $(BENCH_ARGS)
	$(if $(BENCH_ARGS),,$(BENCH_VENV)/bin/python -m benchmarks.kernels)

lint: $(VENV)/.stamp-lint ## check style, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict

format: $(VENV)/.stamp-lint ## repair style and format where a tool can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

wheel: $(VENV)/.stamp-test ## build dist/autodiffc-*.whl and the source archive
	rm -rf dist
	$(BIN)/python -m hatchling build

clean: ## remove the environment and everything that was built
	rm -rf $(VENV) $(BENCH_VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find autodiffc tests examples -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# The peers come in an environment of their own. PyPI's PyTorch brings CUDA along, which is not used
# here; TORCH_INDEX=https://download.pytorch.org/whl/cpu gets the one without.
$(BENCH_VENV)/.stamp: pyproject.toml
	$(PYTHON) -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/python -m pip --disable-pip-version-check --quiet install \
	    $(addprefix --extra-index-url ,$(TORCH_INDEX)) --editable '.[bench]'
	@touch $@

$(VENV)/.stamp-demo: pyproject.toml | $(BIN)/python
	$(PIP) install --editable '.[demo]'
	@touch $@

$(VENV)/.stamp-test: pyproject.toml | $(BIN)/python
	$(PIP) install --editable '.[test,demo]'
	@touch $@

$(VENV)/.stamp-lint: pyproject.toml | $(BIN)/python
	$(PIP) install --editable '.[lint]'
	@touch $@
