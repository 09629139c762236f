# Each target makes the virtual environment and installs when needed; nothing else is ever required.
.PHONY: demo test test-all lint fmt bench docs chaos ablation results clean install
.DEFAULT_GOAL := test

PYTHON ?= $(shell for p in python3.12 python3.13 python3.11 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "mechlab needs Python 3.11 or newer; install it, or give make PYTHON=/path/to/python"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[train,can,dev]'
	touch $@

install: $(STAMP)

demo: $(STAMP)
	$(BIN)/mechlab demo

test: $(STAMP)
	$(BIN)/python -m pytest -q -n 2 --dist loadfile

test-all: $(STAMP)
	$(BIN)/python -m pytest -q -n 2 --dist loadfile -m "not gpu and not slurm" --timeout 3000

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fmt: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# A peer that cannot be installed is told as absent.
bench: $(STAMP)
	-$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	$(BIN)/python -m benchmarks --write docs/benchmarks.md

# The parts of MoLE-Flow over three seeds on bottle and screw below ROOT; given again, it goes on.
ablation: $(STAMP)
	@test -n "$(ROOT)" || { echo "the ablation needs images: give make ablation ROOT=/path/to/mvtec"; exit 1; }
	$(BIN)/mechlab sweep run ablation --root "$(ROOT)"
	$(BIN)/python scripts/sweep-table ablation --command "make ablation ROOT=MVTEC"

# From the runs and studies at hand; what is of other folders stays as it was.
results: $(STAMP)
	$(BIN)/python scripts/results runs studies --out docs/results.md

chaos: $(STAMP)
	$(BIN)/python -m pytest -q -s -m slow tests/recording/test_chaos.py tests/train/test_resume.py --timeout 3000

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
