.DEFAULT_GOAL := help
.PHONY: help env install lavis lavisinstall system table1 all slurm-demo test slurm-test lint clean

VENV := .venv
PY := $(VENV)/bin/python
LAVIS := .venv-lavis
LAVIS_PINS := baselines/lavis/requirements.txt baselines/lavis/without-dependencies.txt
# What goes on to the command behind a target: make table1 ARGS="--tiny"
ARGS ?=

help:  ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

# Compared by content, not by date: a fresh checkout of the same files must not need the network. The interpreter is asked as well: after an
# upgrade of the system it may be a link to nothing. What an interrupted pip leaves behind is not believed.
env:  ## make the environment in .venv, or bring it up to date (Python 3.11 or newer, about 2 GB)
	@cat pyproject.toml constraints.txt | cmp -s - $(VENV)/.installed && $(PY) -c '' 2>/dev/null || $(MAKE) --no-print-directory install

install:
	@$(PY) -m pip --version >/dev/null 2>&1 || { \
	  for candidate in $(PYTHON) python3.11 python3.12 python3.13 python3.14 python3; do \
	    if $$candidate -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
	      echo "making $(VENV) with $$candidate"; exec $$candidate -m venv --clear $(VENV); fi; \
	  done; \
	  echo "vokenbench needs Python 3.11 or newer; if it is not on PATH: make PYTHON=/path/to/python3.11 env" >&2; exit 1; }
	@rm -f $(VENV)/.installed
	$(PY) -m pip install --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@cat pyproject.toml constraints.txt > $(VENV)/.installed

lavis:  ## make the environment of BLIP through salesforce-lavis in .venv-lavis (Python 3.11, about 2 GB)
	@cat $(LAVIS_PINS) | cmp -s - $(LAVIS)/.installed && $(LAVIS)/bin/python -c '' 2>/dev/null || $(MAKE) --no-print-directory lavisinstall

lavisinstall:
	@rm -f $(LAVIS)/.installed
	@for candidate in $(PYTHON) python3.11; do \
	  if $$candidate -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' >/dev/null 2>&1; then \
	    echo "making $(LAVIS) with $$candidate"; exec $$candidate -m venv --clear $(LAVIS); fi; \
	done; \
	echo "salesforce-lavis needs Python 3.11; if it is not on PATH: make PYTHON=/path/to/python3.11 lavis" >&2; exit 1
	$(LAVIS)/bin/python -m pip install --disable-pip-version-check -c baselines/lavis/requirements.txt setuptools wheel
	$(LAVIS)/bin/python -m pip install --disable-pip-version-check --no-build-isolation -r baselines/lavis/requirements.txt
	$(LAVIS)/bin/python -m pip install --disable-pip-version-check --no-build-isolation --no-deps -r baselines/lavis/without-dependencies.txt
	@cat $(LAVIS_PINS) > $(LAVIS)/.installed

# Where they cannot be installed, the tests that need them fail and say so; everything else still runs.
system:  ## install the Debian packages that `make test` needs (.ci/packages.txt), those that are not there; as root
	@for what in latex browser; do .ci/packages $$what || echo "tests that need these packages will fail and say so" >&2; done

table1: env  ## Table 1: every generative method, from data to results/ (ARGS="--help" lists the options)
	@$(PY) -m benchmarks.run table1 $(ARGS)

all: env  ## every table and figure, claims and report on the default data set; prints the plan first
	@$(PY) -m benchmarks.run all $(ARGS)

slurm-demo: env  ## table1 --tiny (or ARGS, as in ARGS=all) through a real SLURM on this machine (Debian, as root): up, watched, collected, down
	@slurm/cluster/demo.sh $(PY) $(ARGS)

# loadfile: tests of one file go to one worker, so that what its fixtures train is trained once (pytest 9.2 ignores pytest-xdist's groups)
test: env lavis system  ## all tests, one worker a core
	@$(PY) -m pytest -n auto --dist loadfile $(ARGS)

# Apart from `make test`: they wait for real daemons, some of them for minutes.
slurm-test: env  ## only the tests against a real SLURM on this machine (Debian, as root)
	@.ci/packages slurm
	@$(PY) -m pytest -m 'cluster and not whole' -o cache_dir=.pytest_cache/cluster $(ARGS)

lint: env  ## ruff and mypy
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy

clean:  ## remove the environments and what tools cached; the store (.vokenbench) and results/ stay
	rm -rf $(VENV) $(LAVIS) build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find avg baselines methods benchmarks slurm tests -name __pycache__ -type d -prune -exec rm -rf {} +
