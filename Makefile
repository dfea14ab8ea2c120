# Two commands are enough on a fresh machine: `make quickstart` and `make test`. Both install first what is missing.
# make install|test|lint STACK=onedl: the same on the maintained forks, in an environment of its own.
# make install STACK=onedl DENSE=1: there, detectors and segmentors too; builds mmcv's compiled operators once (15 minutes on two cores).
PYTHON ?= python3
STACK ?= openmmlab
DENSE ?=
PYTEST ?=

VENV := $(if $(filter onedl,$(STACK)),.venv-onedl,.venv)
PINS := $(if $(filter onedl,$(STACK)),requirements/onedl.txt,requirements.txt)
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
WHEELS := .wheels
MMCV := $(shell grep '^onedl-mmcv==' requirements/onedl.txt)
INSTALL_MMCV = $(PIP) install --no-deps --no-index --force-reinstall --find-links $(WHEELS) $(MMCV)

ifeq ($(filter openmmlab onedl,$(STACK)),)
$(error STACK=$(STACK): expected openmmlab or onedl)
endif
ifneq ($(DENSE),)
ifneq ($(STACK),onedl)
$(error DENSE=1 needs STACK=onedl: upstream's mmcv does not build any more, and mmdet and mmseg need its operators)
endif
endif

.PHONY: install quickstart test lint format clean

install: $(VENV)/.installed $(if $(DENSE),$(VENV)/.installed-dense)

# again only when the pins change
$(VENV)/.installed: $(PINS) requirements/common.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' || \
		{ echo "error: Python 3.10 to 3.12 is needed, $$($(PYTHON) --version) was found; run make PYTHON=python3.11" >&2; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install -r $(PINS)
	$(PIP) install --no-deps --no-build-isolation -e .
	touch $@

# --no-cache-dir, for pip's cache may hold a wheel of it without operators
$(VENV)/.installed-dense: requirements/dense.txt $(VENV)/.installed
	$(PIP) install --no-deps ninja==1.13.2
	$(INSTALL_MMCV) || { MMCV_WITH_OPS=1 FORCE_CUDA=0 PATH="$(abspath $(BIN)):$$PATH" $(PIP) wheel --no-cache-dir \
		--no-build-isolation --no-deps -w $(WHEELS) $(MMCV) && $(INSTALL_MMCV); }
	$(PIP) install --no-deps -r requirements/dense.txt
	$(BIN)/python -c 'import mmcv.ops, mmdet.datasets, mmdet.models, mmseg.datasets, mmseg.models'
	touch $@

# teacher, student alone and distilled student on scikit-learn's digits; ends in a table and a chart
quickstart: install
	$(BIN)/python tools/quickstart.py

# one thread a process: two processes run at once; PYTEST='-m "not slow"' leaves out what trains for long
test: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 $(PYTEST)

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	@twice=$$(find tests -name 'test_*.py' -printf '%f ' | tr ' ' '\n' | sort | uniq -d); \
		test -z "$$twice" || { echo "error: pytest cannot tell apart test files of one name: $$twice" >&2; exit 1; }

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv .venv-onedl $(WHEELS) build *.egg-info .pytest_cache .mypy_cache .ruff_cache
