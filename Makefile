# make demo: install and quantize the embedded network; make test; make check: linters, types and tests;
# make bench: what quantization costs, as ratios (DATA=… for more than the embedded network); make docs: the manual as a
# site, in site/; make package: what would be published, in dist/, checked.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

# Tests run side by side, a process for every core; `make test WORKERS=` runs them one after the other.
WORKERS ?= --numprocesses auto --maxprocesses 8

.PHONY: demo test check lint install bench docs package clean

demo: $(INSTALLED)
	$(BIN)/dfsq demo

test: $(INSTALLED)
	$(BIN)/python -m pytest $(WORKERS)

check: lint
	$(BIN)/python -m pytest $(WORKERS)

lint: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

install: $(INSTALLED)

# The constraints pin a CPU torch; `make CONSTRAINTS= …` takes whatever pip chooses.
CONSTRAINTS ?= constraints.txt
$(INSTALLED): setup.cfg pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(if $(CONSTRAINTS),--constraint $(CONSTRAINTS)) --editable '.[dev,docs,zoo,onnx,openvino]'
	touch $@

bench: $(INSTALLED)
	$(BIN)/python -m benchmarks.performance $(if $(DATA),--data $(DATA))

SITE ?= site
docs: $(INSTALLED)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict --site-dir $(SITE)

package: $(INSTALLED)
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/python -m twine check --strict dist/*

clean:
	rm -rf $(VENV) $(SITE) build dist *.egg-info
