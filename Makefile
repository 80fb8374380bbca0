# Everything runs from .venv, which is made from a hash-locked list of packages.
PYTHON ?= python3
BIN := .venv/bin
export PYTHONDONTWRITEBYTECODE :=
export UV_SYSTEM_CERTS ?= 1
PIP_UV := $(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode --require-hashes

.DEFAULT_GOAL := help
.PHONY: help run test lint bench bench-quick bench-product lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: .venv/run.stamp ## install, start the embedded Postgres, fill it with a simulated CRM, run one night
	@$(BIN)/leadscore run

# Kernels are compiled once, before two workers could do it at the same time, and kept for every home of a test.
test: export NUMBA_CACHE_DIR ?= $(CURDIR)/.venv/var/numba
test: .venv/dev.stamp lint ## everything CI runs: lint, types, import contracts, tests
	@$(BIN)/leadscore warmup
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder
	@echo "once more without the compiler:"
	@NUMBA_DISABLE_JIT=1 $(BIN)/python -m pytest --quiet $(INTERPRETED)

INTERPRETED := $(addprefix tests/pkboost_core/test_, oracle.py histogram.py binning.py machines.py \
	explain.py::test_values_equal_brute_force_shapley_values \
	explain.py::test_values_of_a_fitted_model_equal_brute_force_shapley_values \
	explain.py::test_linear_leaves_and_crosses_are_attributed_by_convention \
	leafmasks.py::test_lowest_bit leafmasks.py::test_masks_lead_to_the_leaves_that_walking_finds[5-2] \
	linear_leaves.py::test_one_leaf_holds_the_ridge_regression_of_its_gradients \
	multiclass.py::test_attributions_add_up_for_every_class)

lint: .venv/dev.stamp ## ruff, mypy, import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

.venv/bin/uv: requirements/bootstrap.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "leadscore needs Python >= 3.11, found " + sys.version.split()[0])'
	@echo "installing into .venv ..."
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bootstrap.txt
	@touch $@

# The project itself is installed editable, without touching the network.
.venv/run.stamp: .venv/bin/uv requirements/run.txt pyproject.toml
	@$(PIP_UV) -r requirements/run.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --offline --no-deps --no-build-isolation -e .
	@touch $@

.venv/dev.stamp: .venv/run.stamp requirements/dev.txt
	@$(PIP_UV) -r requirements/dev.txt
	@touch $@

.venv/bench.stamp: .venv/dev.stamp requirements/bench.txt
	@$(PIP_UV) -r requirements/bench.txt
	@touch $@

BENCH := $(BIN)/python benchmarks/

bench: .venv/bench.stamp ## measure PKBoost beside its peers and rewrite its tables (three quarters of an hour)
	@$(BENCH)quality.py --anew --json .bench/quality.jsonl --write
	@$(BENCH)quality.py --ablation --anew --json .bench/ablation.jsonl --write
	@$(BENCH)perturbation.py --anew --json .bench/perturbation.jsonl --write
	@$(BENCH)speed.py --write
	@$(BENCH)overview.py --write

bench-quick: .venv/bench.stamp ## a glance at the same, writing nothing (two minutes)
	@$(BENCH)speed.py --quick
	@$(BENCH)quality.py --quick
	@$(BENCH)perturbation.py --quick

bench-product: .venv/bench.stamp ## measure nights, monitors, drift and worklists and rewrite their tables (hours)
	@$(BENCH)first_run.py --write
	@$(BENCH)nights.py --write
	@$(BENCH)retrain.py --write
	@$(BENCH)rescore.py --write
	@$(BENCH)worklist.py --leads 1000000 --write
	@$(BENCH)monitors.py --write
	@$(BENCH)drift.py --json .bench/drift.json --anew --write
	@$(BENCH)fade.py --write
	@$(BENCH)uplift.py --write
	@$(BENCH)worth.py --json .bench/worth.json --write

LOCK := $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --python-version 3.11 pyproject.toml

lock: .venv/bin/uv ## resolve the newest allowed versions and write requirements/*.txt
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --python-version 3.11 --group pyproject.toml:bootstrap -o requirements/bootstrap.txt
	@$(LOCK) --group build -o requirements/run.txt
	@$(LOCK) --group build --group dev -c requirements/run.txt -o requirements/dev.txt
	@$(LOCK) --group build --group dev --group bench -c requirements/dev.txt -o requirements/bench.txt

clean: ## remove the virtual environment and caches (state under LEADSCORE_HOME stays)
	@rm -rf .venv .pytest_cache .mypy_cache .ruff_cache
