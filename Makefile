# make demo   fly over an invented town, drive through a city; the real node says where
# make test   everything that is checked: style, types, tests
# make quick  the tests that need no running node and no patience: a minute
# make lint   style and types
# All install what they need into .venv first: Python 3.11 or newer, make and a C compiler suffice.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin
# Processes that share the files of tests; every node has a ROS domain of its own.
JOBS ?= 2
PYTEST = OMP_NUM_THREADS=1 $(RUN)/python -m pytest -q -ra -n $(JOBS) --dist loadfile --no-loadscope-reorder

export RMW_IMPLEMENTATION := rmw_fastrtps_cpp
export ROS_AUTOMATIC_DISCOVERY_RANGE := LOCALHOST

.PHONY: help demo test quick lint install clean

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

demo: $(VENV)/.demo
	@echo 'demo: two recordings are drawn and localized by the real node; some minutes each.'
	@echo '      Tables come here, pages and pictures into out/demo and out/street.'
	$(RUN)/justzoom demo -o out/demo
	$(RUN)/justzoom demo --street -o out/street

test: lint
	@echo 'test: real nodes over DDS included; about ten minutes on two cores. Less: make quick'
	$(PYTEST) test

quick: install
	$(PYTEST) -m 'not ros and not slow' test

lint: install
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/mypy

install: $(VENV)/.installed

# Bytecode is left to the first import: most of what is installed is never imported.
$(VENV)/.demo: .ci/requirements-demo.txt setup.py
	@echo 'install: PyTorch and ROS 2 (wheels) go into $(VENV), nothing elsewhere. Once, for a minute'
	@echo '         or a few; 1.7 GB with a PyTorch for CPUs, more with CUDA.'
	$(PYTHON) -m venv $(VENV)
	$(RUN)/python -m pip install --disable-pip-version-check --no-compile \
		--requirement .ci/requirements-demo.txt
	$(RUN)/python -m pip install --quiet --no-build-isolation --no-deps --editable .
	touch $@

$(VENV)/.installed: .ci/requirements.txt $(VENV)/.demo
	@echo 'install: and the tools of the tests.'
	$(RUN)/python -m pip install --disable-pip-version-check --requirement .ci/requirements.txt
	touch $@

clean:
	rm -rf $(VENV) out build install log *.egg-info
