# Everything a person or CI runs. Each target does its own set-up; nothing is installed twice.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
# Tests mostly wait, for Terraform and for hosts; PYTEST holds more options for it.
WORKERS ?= 4
PYTEST ?=

export PIPENV_VENV_IN_PROJECT := 1
export PIPENV_IGNORE_VIRTUALENVS := 1
export PIPENV_VERBOSITY := -1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Most of the provider package's 1,400 modules are never imported: compiling them all costs half the install.
export PIP_NO_COMPILE := 1
export CHECKPOINT_DISABLE := 1
export DISABLE_VERSION_CHECK := 1

RUN := .venv/bin/
# `npx cdktf` runs `python main.py`: the python with the project's packages has to come first.
export PATH := $(CURDIR)/.venv/bin:$(CURDIR)/node_modules/.bin:$(PATH)

# What booting a host takes, and building its images; what the tests take on top.
HOST_PACKAGES := mmdebstrap iproute2 g++ make
TEST_PACKAGES := chromium shellcheck

.PHONY: help
help:
	@echo "make rehearse          the whole main job against an AWS on this machine; Ctrl-C ends it"
	@echo "make rehearse ONCE=1   the same, ends by itself after checking the login"
	@echo "make rehearse SCENARIO=wrong-zone   one of what can go wrong; a name that is none shows them all"
	@echo "make rehearse STATE=DIR             keep the rehearsal in a folder, and take it up again"
	@echo "make test              every check and test"
	@echo "make check             ruff, mypy, shellcheck only"
	@echo "make check-faults      kills and faults at random, for forty minutes; SEED=2 for others, PART=setup for one part"
	@echo "make check-attacks     every attack that must fail, against a booted rehearsal, and a table of what held"
	@echo "make bench             what README claims about speed, measured here; ROUNDS=9 for more rounds than 5"
	@echo "make setup             the Python environment and cdktf-cli only"
	@echo "make lock              lock the packages anew"
	@echo "make clean             remove what the targets made in this folder"

.PHONY: setup
setup: .venv/.synced node_modules/.synced

.PHONY: programs
programs:
	@PYTHON=$(PYTHON) tools/check-programs.sh

.tools/.synced: tools/pipenv.txt | programs
	@echo "Making the environment for pipenv"
	@$(PYTHON) -m venv .tools
	@.tools/bin/pip install -qq --require-hashes -r tools/pipenv.txt
	@touch $@

.venv/.synced: Pipfile Pipfile.lock | .tools/.synced
	@echo "Installing the Python packages of Pipfile.lock (about a minute the first time)"
	@.tools/bin/pipenv --python "$$(.tools/bin/python -c 'import sys; print(sys.executable)')" sync --dev >.tools/sync.log 2>&1 \
		|| { cat .tools/sync.log; exit 1; }
	@touch $@

# An environment of its own: it pins older releases of boto3 and others.
.tools/checkov/.synced: tools/checkov.txt | programs
	@echo "Installing checkov (half a minute)"
	@$(PYTHON) -m venv .tools/checkov
	@.tools/checkov/bin/pip install -qq --require-hashes -r tools/checkov.txt
	@touch $@

node_modules/.synced: package.json package-lock.json | programs
	@echo "Installing cdktf-cli (npm ci)"
	@npm ci --silent
	@touch $@

# The three take minutes the first time, and mostly wait for different things.
.PHONY: rehearse
rehearse: programs
	@tools/debian-packages.sh $(HOST_PACKAGES) || [ $$? -eq 3 ]
	@if [ "$$(id -u)" -eq 0 ] && command -v mmdebstrap >/dev/null; then images=images-trixie; fi; \
		$(MAKE) -s --no-print-directory -j3 .venv/.synced node_modules/.synced $${images:-}
	@$(RUN)python -m rehearsal.rehearse $(if $(ONCE),--once) $(if $(SCENARIO),--scenario $(SCENARIO)) $(if $(STATE),--state $(STATE))

.PHONY: images-trixie images-all
images-trixie images-all:
	@$(PYTHON) -m rehearsal.hosts.images build $(if $(filter %-all,$@),,--suite trixie)

.PHONY: check
check: .venv/.synced
	@tools/debian-packages.sh shellcheck
	@$(RUN)ruff check .
	@$(RUN)ruff format --check .
	@$(RUN)mypy
	@shellcheck tools/*.sh setup_tasks/scripts/*.sh rehearsal/hosts/image/*.sh torchneuron/setup/*.sh .ci/run

.PHONY: test
test: programs
	@tools/debian-packages.sh $(HOST_PACKAGES) $(TEST_PACKAGES)
	@$(MAKE) -s --no-print-directory -j3 .venv/.synced node_modules/.synced .tools/checkov/.synced images-all
	@$(MAKE) -s --no-print-directory check
	@$(RUN)python -m pytest -n $(WORKERS) --dist loadscope --no-loadscope-reorder $(PYTEST)

# What `make test` does in short, at length: kills and faults at every point, and at many random ones. PART is one of
# tests/faults/test_*.py, with ONLY one of its runs by itself.
.PHONY: check-faults
check-faults: programs .venv/.synced
	@TORCHNEURON_THOROUGH=1 TORCHNEURON_SEED=$(or $(SEED),1) TORCHNEURON_ONLY=$(ONLY) \
		$(RUN)python -m pytest -q -s tests/faults$(if $(PART),/test_$(PART).py)

# The short attacks are in `make test` as well.
.PHONY: check-attacks
check-attacks: programs
	@tools/debian-packages.sh $(HOST_PACKAGES) chromium
	@$(MAKE) -s --no-print-directory -j3 .venv/.synced node_modules/.synced images-all
	@TORCHNEURON_THOROUGH=1 $(RUN)python -m pytest -q -m attack -n $(WORKERS) --dist loadscope --no-loadscope-reorder $(PYTEST)

# Not of `make test`: what it finds depends on the machine and the hour.
.PHONY: bench
bench: .venv/.synced
	@$(RUN)python -m benchmarks $(if $(ROUNDS),--rounds $(ROUNDS))

.PHONY: lock
lock: .tools/.synced
	@tools/lock.sh

.PHONY: clean
clean:
	rm -rf .venv .tools node_modules cdktf.out .artifacts .pytest_cache .mypy_cache .ruff_cache .hypothesis
