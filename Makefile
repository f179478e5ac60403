# make demo   fly over an invented town, drive through a city; the real node says where
# make test   everything that is checked, in under ten minutes
# Both install what they need into .venv: Python 3.11 or newer, make and a C compiler suffice.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin

export RMW_IMPLEMENTATION := rmw_fastrtps_cpp
export ROS_AUTOMATIC_DISCOVERY_RANGE := LOCALHOST

.PHONY: help demo test lint install clean

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

demo: install
	$(RUN)/justzoom demo -o out/demo
	$(RUN)/justzoom demo --street -o out/street

test: lint
	OMP_NUM_THREADS=1 $(RUN)/python -m pytest -q -ra test

lint: install
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .

install: $(VENV)/.installed

$(VENV)/.installed: .ci/requirements.txt setup.py
	$(PYTHON) -m venv $(VENV)
	$(RUN)/python -m pip install --quiet --requirement .ci/requirements.txt
	$(RUN)/python -m pip install --quiet --no-build-isolation --no-deps --editable .
	touch $@

clean:
	rm -rf $(VENV) out build install log *.egg-info
