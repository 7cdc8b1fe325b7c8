# make demo | test | lint | fuzz | bench. Each makes .venv from the pins when it is missing or out of date;
# `make PYTHON=python test` uses the environment that is already active instead.
BASE_PYTHON ?= python3
ifdef PYTHON
environment :=
else
PYTHON := $(CURDIR)/.venv/bin/python
environment := .venv/.complete
endif
export PYTHON

.PHONY: demo test lint fuzz bench clean
demo: $(environment)
	bash all-train-all.sh --dataset digits --defense undefended
	bash digits/evaluate_MIAs/evaluate_mia.sh --defense undefended

test: $(environment)
	"$(PYTHON)" -m pytest

lint: $(environment)
	"$(PYTHON)" -m ruff check .
	"$(PYTHON)" -m ruff format --check .
	"$(PYTHON)" -m mypy

# every reader of files and settings, a hundred times as many tries as in `make test`
fuzz: $(environment)
	"$(PYTHON)" -m pytest tests/test_fuzz.py --hypothesis-profile=fuzz

bench: $(environment)
	"$(PYTHON)" -m tests.benchmarks

.venv/.complete: requirements.txt requirements-diffusers.txt requirements-test.txt
	$(BASE_PYTHON) -m venv .venv
	.venv/bin/python -m pip install -r requirements-test.txt
	touch $@

clean:
	rm -rf .venv
