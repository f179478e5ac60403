# make demo   fly over an invented town, drive through a city; the real node says where
# make test   everything that is checked: style, types, tests
# make quick  the tests that need no running node and no patience
# make lint   style and types
# All install what they need into .venv first: Python 3.11 or newer, make and a C compiler suffice.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin

export RMW_IMPLEMENTATION := rmw_fastrtps_cpp
export ROS_AUTOMATIC_DISCOVERY_RANGE := LOCALHOST

.PHONY: help demo test quick lint install clean

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

demo: install
	@echo 'demo: two recordings are drawn and localized by the real node; some minutes each.'
	@echo '      Tables come here, pictures into out/demo and out/street.'
	$(RUN)/justzoom demo -o out/demo
	$(RUN)/justzoom demo --street -o out/street

test: lint
	@echo 'test: real nodes over DDS included; about ten minutes on two cores. Less: make quick'
	OMP_NUM_THREADS=1 $(RUN)/python -m pytest -q -ra test

quick: install
	OMP_NUM_THREADS=1 $(RUN)/python -m pytest -q -ra -m 'not ros and not slow' test

lint: install
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/mypy

install: $(VENV)/.installed

$(VENV)/.installed: .ci/requirements.txt setup.py
	@echo 'install: PyTorch, ROS 2 (wheels) and the tools of the tests go into $(VENV), nothing'
	@echo '         elsewhere. Once, for a few minutes; 2.4 GB with a PyTorch for CPUs, more with CUDA.'
	$(PYTHON) -m venv $(VENV)
	$(RUN)/python -m pip install --disable-pip-version-check --requirement .ci/requirements.txt
	$(RUN)/python -m pip install --quiet --no-build-isolation --no-deps --editable .
	touch $@

clean:
	rm -rf $(VENV) out build install log *.egg-info
