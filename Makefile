PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test test-all readme hostile lint costs bench bench-variants clean

demo: $(VENV)/demo
	@$(BIN)/convert recipe pann --to coreml --weights synthetic

test: $(VENV)/test
	$(BIN)/python -m pytest -n 2 --dist worksteal

test-all: $(VENV)/test
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "slow or not slow"

# All hostile files, ten minutes of fuzzing among them; writes docs/hostile.md.
hostile: $(VENV)/test
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "slow or not slow" tests/hostile --page docs/hostile.md

# The commands that README shows, run as they stand there.
readme: $(VENV)/test
	$(BIN)/python -m pytest -m slow tests/test_readme.py

lint: $(VENV)/test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# What `convert list` says of each network, counted again.
costs: $(VENV)/test
	$(BIN)/python -m recipes.base.cost

# Some twenty minutes; `python -m benchmarks pann --quick` is one figure of it.
bench: $(VENV)/test
	$(BIN)/python -m benchmarks

bench-variants: $(VENV)/test
	$(BIN)/python -m benchmarks.variants

clean:
	rm -rf $(VENV) artifacts build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

# One environment for all: the tested set of versions, and this checkout installed in place.
$(VENV)/demo: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[tract]"
	@touch $@

$(VENV)/test: pyproject.toml constraints.txt $(VENV)/demo
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[test]"
	@touch $@
