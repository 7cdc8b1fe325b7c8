# make demo | test | lint | fuzz | null | hosts | results | shadows | bench. Each makes .venv from the pins when it is missing or out of date;
# `make PYTHON=python test` uses the environment that is already active instead.
BASE_PYTHON ?= python3
ifdef PYTHON
environment :=
else
PYTHON := $(CURDIR)/.venv/bin/python
environment := .venv/.complete
endif
export PYTHON

.PHONY: demo test lint fuzz null hosts results shadows bench clean
demo: $(environment)
	bash all-train-all.sh --dataset digits --defense undefended
	bash digits/evaluate_MIAs/evaluate_mia.sh --defense undefended

test: $(environment)
	"$(PYTHON)" -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal

lint: $(environment)
	"$(PYTHON)" -m ruff check .
	"$(PYTHON)" -m ruff format --check .
	"$(PYTHON)" -m mypy
	"$(PYTHON)" -m mypy --python-version 3.13

# every reader of files and settings, a hundred times as many tries as in `make test`
fuzz: $(environment)
	"$(PYTHON)" -m pytest tests/test_fuzz.py --hypothesis-profile=fuzz

# torchrun over two hosts, network namespaces of this machine; needs root, and nothing else running
hosts: $(environment)
	TWO_HOSTS=1 "$(PYTHON)" -m pytest tests/test_hosts.py

# attacks on membership that was permuted a hundred times: none may know what is not there
null: $(environment)
	"$(PYTHON)" -m tests.null

# the tables over seeds of docs/results.md; stopped at any instant it goes on when it is started again
results: $(environment)
	bash digits/evaluate_MIAs/evaluate_mia.sh --defense undefended --seeds 0 1 2 3 4
	bash digits/evaluate_MIAs/evaluate_mia.sh --defense all --seeds 0 1 2
	"$(PYTHON)" -m common.summary --dataset digits --seeds --into docs/results.md

# the table by shadow models of docs/results.md: 64 of the undefended classifier, 16 of each other; it goes on in the same way
shadows: $(environment)
	bash all-train-all.sh --dataset digits --defense undefended
	for defense in undefended selena advreg hamp relaxloss dpsgd memguard; do \
		count=16; test $$defense != undefended || count=64; \
		(cd digits && "$(PYTHON)" train_shadows.py --defense $$defense --count $$count --canaries 32 --nproc 2) || exit 1; \
		bash digits/evaluate_MIAs/evaluate_mia.sh --defense $$defense --shadows 32 || exit 1; \
	done
	own="--set evaluation.shadows.diffusion=own"; \
		(cd digits && "$(PYTHON)" train_shadows.py --defense undefended --count 16 --canaries 32 --nproc 2 $$own) && \
		bash digits/evaluate_MIAs/evaluate_mia.sh --defense undefended --shadows 32 $$own
	"$(PYTHON)" -m common.summary --dataset digits --shadows --into docs/results.md

bench: $(environment)
	"$(PYTHON)" -m tests.benchmarks

.venv/.complete: $(wildcard requirements*.txt)
	$(BASE_PYTHON) -m venv .venv
	.venv/bin/python -m pip install -r requirements-test.txt
	touch $@

clean:
	rm -rf .venv
