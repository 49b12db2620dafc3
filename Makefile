# make demo: install and quantize the embedded network; make test; make check: linters, types and tests;
# make bench: what quantization costs, as ratios (DATA=… for more than the embedded network).
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

# Tests run side by side, a process for every core; `make test WORKERS=` runs them one after the other.
WORKERS ?= --numprocesses auto --maxprocesses 8

.PHONY: demo test check lint install bench clean

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
	$(BIN)/python -m pip install --quiet $(if $(CONSTRAINTS),--constraint $(CONSTRAINTS)) --editable '.[dev,zoo,onnx,openvino]'
	touch $@

bench: $(INSTALLED)
	$(BIN)/python -m benchmarks.performance $(if $(DATA),--data $(DATA))

clean:
	rm -rf $(VENV) build dist *.egg-info
