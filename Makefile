# make run: set everything up and run the main sweep.  make test: set everything up and check it.
# make docs: the documentation as a site in build/site (part of make test).
# make test-portable: kernel and experiment tests as on other processors (part of make test).
# make package: wheel and sdist, and the wheel tried in a fresh environment (part of make test).
PYTHON ?= python3
# Where it is set every start of Python compiles this package again, and pytest every test.
export PYTHONDONTWRITEBYTECODE :=
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -q

.PHONY: run test lint types layers errors docs test-portable tests package slow clean
run: $(VENV)/.installed
	$(BIN)/lawsweep run ntk_width

# Side by side: while tests of Ray wait for its processes, those of the kernels compute.
test: lint types layers docs
	+$(MAKE) --no-print-directory -j 2 test-portable tests package

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

layers: $(VENV)/.installed-dev
	$(BIN)/lint-imports

# docs/errors.md anew, from the source: where a text of an error was added or changed.
errors: $(VENV)/.installed-dev
	$(BIN)/python tests/support/error_page.py

# The site, in build/site: a warning, a link that leads nowhere, a page without a place end it.
docs: $(VENV)/.installed-dev
	rm -rf build/site
	$(BIN)/python -m sphinx -q -W --keep-going -E -d build/doctrees -c docs/site . build/site

test-portable: $(VENV)/.installed-dev
	$(BIN)/python tests/portable.py

tests: $(VENV)/.installed-dev
	LAWSWEEP_TEST_SHARE=rest OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 3 --dist loadfile \
	  --no-loadscope-reorder --durations=15 --durations-min=10

package: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q tests/installed.py

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else \
	  "lawsweep needs Python 3.11 or newer, this is %s; try make PYTHON=python3.12" % sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)

# A stamp a set of packages: installed again when a pin or a dependency changes.
$(VENV)/.installed: $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "installing into $(VENV) (a few minutes the first time)"
	$(PIP) install -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "installing into $(VENV), with the tools of the tests (a few minutes the first time)"
	$(PIP) install -c constraints.txt -e '.[dev]'
	@touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
