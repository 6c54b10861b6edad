# What people and CI run. Each target installs what it needs, once.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
# Two workers per core: tests mostly wait for Terraform and hosts. PYTEST adds options.
WORKERS ?= 4
PYTEST ?=

export PIPENV_VENV_IN_PROJECT := 1
export PIPENV_IGNORE_VIRTUALENVS := 1
export PIPENV_VERBOSITY := -1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Most of the provider package's 1,400 modules are never imported; compiling them takes half of the install.
export PIP_NO_COMPILE := 1
export CHECKPOINT_DISABLE := 1
export DISABLE_VERSION_CHECK := 1

RUN := .venv/bin/
# `npx cdktf` runs `python main.py`, which needs the project's packages.
export PATH := $(CURDIR)/.venv/bin:$(CURDIR)/node_modules/.bin:$(PATH)

# Debian packages that build images and boot hosts, and those that only tests need.
HOST_PACKAGES := mmdebstrap iproute2 g++ make
TEST_PACKAGES := chromium shellcheck

.PHONY: help
help:
	@echo "make rehearse          the main job against a simulated AWS on this machine, until Ctrl-C"
	@echo "make rehearse ONCE=1   the same; ends after checking the login"
	@echo "make rehearse SCENARIO=wrong-zone   a failure scenario; an unknown name lists them"
	@echo "make rehearse STATE=DIR             save the rehearsal in a folder, or resume it"
	@echo "make test              every check and test"
	@echo "make test-fast         the unit tests, for the edit loop"
	@echo "make check             ruff, mypy and shellcheck only"
	@echo "make check-faults      random interruptions and faults for 40 minutes; SEED=2, PART=setup"
	@echo "make check-attacks     every attack that must fail, and a table of the results"
	@echo "make bench             measure the speed claims of README; ROUNDS=9 [default: 5]"
	@echo "make setup             the Python environment and cdktf-cli only"
	@echo "make lock              update Pipfile.lock and the lists in tools/"
	@echo "make clean             delete what the targets created in this folder"

.PHONY: setup
setup: .venv/.synced node_modules/.synced

.PHONY: programs
programs:
	@PYTHON=$(PYTHON) tools/check-programs.sh

.tools/.synced: tools/pipenv.txt | programs
	@echo "Creating the environment for pipenv"
	@$(PYTHON) -m venv .tools
	@.tools/bin/pip install -qq --require-hashes -r tools/pipenv.txt
	@touch $@

.venv/.synced: Pipfile Pipfile.lock | .tools/.synced
	@echo "Installing the Python packages of Pipfile.lock (about a minute the first time)"
	@.tools/bin/pipenv --python "$$(.tools/bin/python -c 'import sys; print(sys.executable)')" sync --dev >.tools/sync.log 2>&1 \
		|| { cat .tools/sync.log; exit 1; }
	@touch $@

# A separate environment: checkov pins older releases of boto3 and others.
.tools/checkov/.synced: tools/checkov.txt | programs
	@echo "Installing checkov (half a minute)"
	@$(PYTHON) -m venv .tools/checkov
	@.tools/checkov/bin/pip install -qq --require-hashes -r tools/checkov.txt
	@touch $@

# A separate environment: where cdktf is not installed, the stack uses CDK Terrain.
.tools/cdktn/.synced: tools/cdktn.txt | programs
	@echo "Installing CDK Terrain (a minute)"
	@$(PYTHON) -m venv .tools/cdktn
	@.tools/cdktn/bin/pip install -qq --require-hashes -r tools/cdktn.txt
	@touch $@

node_modules/.synced: package.json package-lock.json | programs
	@echo "Installing cdktf-cli (npm ci)"
	@npm ci --silent
	@touch $@

# The three take minutes the first time and wait for different things.
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
	@$(MAKE) -s --no-print-directory -j3 .venv/.synced node_modules/.synced .tools/checkov/.synced .tools/cdktn/.synced images-all
	@$(MAKE) -s --no-print-directory check
	@$(RUN)python -m pytest -n $(WORKERS) --dist loadscope --no-loadscope-reorder $(PYTEST)

.PHONY: test-fast
test-fast: .venv/.synced
	@$(RUN)python -m pytest -q tests/unit -n $(WORKERS) $(PYTEST)

# The long form of what `make test` runs: faults at every point and at many random ones. PART names one of
# tests/faults/test_*.py, ONLY one of its runs.
.PHONY: check-faults
check-faults: programs .venv/.synced
	@TORCHNEURON_THOROUGH=1 TORCHNEURON_SEED=$(or $(SEED),1) TORCHNEURON_ONLY=$(ONLY) \
		$(RUN)python -m pytest -q -s tests/faults$(if $(PART),/test_$(PART).py)

# `make test` runs the short attacks as well.
.PHONY: check-attacks
check-attacks: programs
	@tools/debian-packages.sh $(HOST_PACKAGES) chromium
	@$(MAKE) -s --no-print-directory -j3 .venv/.synced node_modules/.synced images-all
	@TORCHNEURON_THOROUGH=1 $(RUN)python -m pytest -q -m attack -n $(WORKERS) --dist loadscope --no-loadscope-reorder $(PYTEST)

# Not part of `make test`: the results depend on the machine and its load.
.PHONY: bench
bench: .venv/.synced
	@$(RUN)python -m benchmarks $(if $(ROUNDS),--rounds $(ROUNDS))

.PHONY: lock
lock: .tools/.synced
	@tools/lock.sh

.PHONY: clean
clean:
	rm -rf .venv .tools node_modules cdktf.out .artifacts .pytest_cache .mypy_cache .ruff_cache .hypothesis
