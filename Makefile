# Each target sets up what it needs: a virtual environment in .venv with the pinned dependencies.
PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready
export OMP_WAIT_POLICY ?= passive

.PHONY: demo test lint clean

demo: $(READY)
	$(VENV)/bin/seawall demo --out demo

test: export OMP_NUM_THREADS = 1
test: $(READY)
	$(VENV)/bin/python -m pytest --numprocesses 2 --dist loadfile

lint: $(READY)
	$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check .

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) demo
