# Each target sets up what it needs: a virtual environment in .venv with the pinned dependencies.
PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready
LATEST := .venv-latest
export OMP_WAIT_POLICY ?= passive

.PHONY: demo test lint check docs figures campaign latest clean

demo: $(READY)
	$(VENV)/bin/seawall demo --out demo

test: export OMP_NUM_THREADS = 1
test: $(READY)
	$(VENV)/bin/python -m pytest --numprocesses 2 --dist loadscope --no-loadscope-reorder

lint: $(READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

# Lint and the fast tests, in under a minute.
check: export OMP_NUM_THREADS = 1
check: lint
	$(VENV)/bin/python -m pytest --numprocesses 2 --dist loadscope --no-loadscope-reorder -m "not slow"

# The site, in site/. A broken link, a warning or anything loaded from another host fails the build.
docs: export NO_MKDOCS_2_WARNING = 1
docs: $(READY)
	$(VENV)/bin/python -m mkdocs build --strict

# The picture and the table of the README, drawn again from benchmarks/data/. For the figures of a new demo:
# python benchmarks/figures.py --results demo/results.json
figures: $(READY)
	$(VENV)/bin/python benchmarks/figures.py

# Small runs are killed at random moments and resumed, and every figure is compared with an undisturbed run.
# About 20 seconds a round on two quiet cores; ROUNDS=10 for fewer of them.
ROUNDS ?= 100
campaign: $(READY)
	$(VENV)/bin/python tests/campaign/kill.py --how group --rounds $(ROUNDS)
	$(VENV)/bin/python tests/campaign/kill.py --how term demo worker rank actor --rounds $$(( ($(ROUNDS) + 9) / 10 ))

# The newest release of each dependency, in its own environment: do private names and families still work?
latest:
	$(PYTHON) -m venv $(LATEST)
	$(LATEST)/bin/python -m pip install --quiet torch==2.13.0
	$(LATEST)/bin/python -m pip install --quiet --editable ".[dev]"
	$(LATEST)/bin/python -m pip install --quiet --upgrade transformers trl peft inspect_ai
	OMP_NUM_THREADS=1 $(LATEST)/bin/python -m pytest --numprocesses 2 tests/test_compat.py tests/conformance \
		--deselect tests/test_compat.py::test_the_installed_dependencies_are_within_the_bounds

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) $(LATEST) demo site
