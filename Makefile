# Two commands matter: `make demo` runs the main job from nothing, `make test` checks everything.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Many tests wait for processes that they start, so there are twice as many at a time as cores, and at most 8.
JOBS = $(shell $(BIN)/python -c 'import os; print(min(8, 2 * len(os.sched_getaffinity(0))))')
SOURCES := $(shell find core dlcompare frameworks models inference -type f -not -name '*.pyc')

.PHONY: demo test quick lint types benchmarks clean

demo: $(VENV)/.runtime
	$(BIN)/dlcompare --framework tf-horovod,pytorch-ddp --model resnet50 --workers 2

test: quick  ## what takes long, looks at the clock or wants the frameworks has the machine to itself
	$(BIN)/pytest tests/unit tests/faults -m slow
	$(BIN)/pytest --ignore tests/unit --ignore tests/faults

quick: lint types  ## what a developer runs while working: under 3 minutes on two cores, needs no framework
	PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/pytest tests/unit tests/faults -m 'not slow' -n $(JOBS) --dist worksteal

lint: $(VENV)/.dev
	$(BIN)/ruff check .

types: $(VENV)/.dev
	MYPYPATH=build/view $(BIN)/mypy -p dlcompare.core -p dlcompare.models -p dlcompare.frameworks -p dlcompare.inference

benchmarks: $(VENV)/.dev
	$(BIN)/python tests/benchmarks/overhead.py

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# The demo runs what a user gets; in place (-e) a file that was left out of the package would not be missed. One of the
# two is in $(VENV) at a time. setuptools would also pack what an earlier build left in build/lib.
$(VENV)/.runtime: pyproject.toml setup.py $(SOURCES) | $(BIN)/python
	rm -rf build/lib $(VENV)/.dev
	$(BIN)/pip install --quiet --disable-pip-version-check .
	touch $@

# Type checkers and editors do not follow an editable install, so the folders are linked into a real package as well.
$(VENV)/.dev: pyproject.toml setup.py | $(BIN)/python
	rm -f $(VENV)/.runtime
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	$(BIN)/python -m dlcompare.core.environments.sources build/view
	touch $@

clean:
	rm -rf build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
