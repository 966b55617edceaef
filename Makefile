# Two commands do all their own set-up on a fresh machine with Python 3.11-3.13, g++ and the Python headers:
#   make quickstart    the whole road, ends with the path of report.html
#   make test          lint, types, import floors and tests
# Further: make test-slurm, jobs, studies and the data stage's tasks under a real Slurm
#          make drills      every promise put to the test by faults, up to 90 minutes; SEED repeats one that failed
# PYTHON       the interpreter that .venv is made with
# TORCH_INDEX  an index of PyTorch's CPU wheels, where pip would otherwise take a CUDA build without a GPU
# OUT          where the quickstart leaves everything

PYTHON ?= python3
TORCH_INDEX ?=
OUT ?= runs/quickstart
SEED ?=

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))

.PHONY: quickstart test test-slurm drills lint clean

quickstart: $(VENV)/.installed
	$(BIN)/loglinear quickstart --out $(OUT)

# Two workers of one thread each; a file's tests stay together, and so share what they set up.
test: $(VENV)/.installed-dev lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

# Wants Debian's slurm-wlm and munge, and root: it starts a cluster of two nodes and ends it again.
test-slurm: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m slurm -rs tests/slurm tests/pipeline/data/test_executors.py

# Two at a time, but for those that are held to seconds: they come last, one by one.
drills: $(VENV)/.installed-dev
	mkdir -p build
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/drills -n 2 --dist loadfile --no-loadscope-reorder -m "not gpu and not slurm" --drills=full $(if $(SEED),--seed $(SEED)) --drills-table build/drills.md

lint: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python .ci/check_torch.py "$(TORCH_INDEX)"
	$(PIP) -e .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache .hypothesis
