# Keystone. `make up` makes the cluster of a stack, `make test` runs the tests; `make help` lists the rest.
# Another stack: `make up STACK=NAME`. Another Python: `make up PYTHON=/path/to/python3`.

STACK ?= dev
# How many files of tests run side by side, waiting more than computing; each holds a twin's control plane at times, about 1 GB.
JOBS ?= 3
PYTHON ?= $(shell for p in python3.11 python3 python3.12 python3.13; do \
	if $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then command -v $$p; break; fi; done)
PY := .venv/bin/python
KEYSTONE := $(PY) -m keystone
# Whether the stack runs on the local twin: only then are the tools built, and the twin started.
TWIN = grep -qs '^ *"*twin:network' Pulumi.$(STACK).yaml
# The environment of the stack's engine; computed anew for each command, since starting the twin may change it.
ENV = lines="$$($(PY) -m twin env --stack $(STACK))" && eval "$$lines" && export KEYSTONE_STACK=$(STACK) &&
LOCK = .venv/bin/uv pip compile --quiet --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header
SHELL_FILES = $(shell git grep -lE '^\#!/(usr/)?bin/(env )?(ba)?sh' 2>/dev/null)

.DEFAULT_GOAL := help
.PHONY: help up preview dry-run destroy verify test accept check fix bench env doctor status down policy lock clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

up: .venv/.runtime ## the cluster of the stack, made or brought up to date
	@if $(TWIN); then $(PY) -m toolchain; fi
	@$(ENV) $(KEYSTONE) facts --stack $(STACK)
	@$(PY) -m twin up --stack $(STACK)
	@$(ENV) $(KEYSTONE) up --stack $(STACK)

preview: .venv/.runtime ## what `up` would do
	@if $(TWIN); then $(PY) -m toolchain; fi
	@$(ENV) $(KEYSTONE) facts --stack $(STACK)
	@$(ENV) $(KEYSTONE) preview --stack $(STACK)

# What the engine deletes must answer while it does, so a stopped twin is started first.
destroy: .venv/.runtime ## take down all that the stack has made
	@if $(TWIN) && [ -d .twin/$(STACK) ]; then $(PY) -m toolchain && $(PY) -m twin up --stack $(STACK); fi
	@if ! $(TWIN) || [ -d .twin/$(STACK) ]; then $(ENV) $(KEYSTONE) destroy --stack $(STACK); fi
	@$(PY) -m twin down --stack $(STACK)

verify: .venv/.runtime ## mesh, cluster and names, checked against the settings
	@$(ENV) $(KEYSTONE) verify --stack $(STACK)

test: .venv/.dev ## the tests, those on a twin too
	@$(PY) -m toolchain
	@$(PY) -m pytest -m "not acceptance" --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder --durations 5

accept: .venv/.dev ## the life of whole clusters on twins, through the commands of users; many minutes
	@$(PY) -m toolchain
	@$(PY) -m pytest -m acceptance

check: .venv/.dev ## format, lint, types, shell files, workflows, import directions, rendered files
	@.venv/bin/ruff format --check --quiet .
	@.venv/bin/ruff check --quiet .
	@.venv/bin/pyright
	@$(if $(SHELL_FILES),.venv/bin/shellcheck $(SHELL_FILES),true)
	@$(PY) -m toolchain ensure actionlint
	@PATH="$(CURDIR)/.venv/bin:$$PATH" "$$($(PY) -c 'import toolchain; print(toolchain.bin_dir())')/actionlint"
	@.venv/bin/zizmor --offline --quiet --strict-collection .github
	@$(PY) -m pytest tests/test_imports.py tests/test_frame.py tests/test_docs.py
	@$(KEYSTONE) schema --check
	@for file in Pulumi.*.yaml; do stack=$${file#Pulumi.}; stack=$${stack%.yaml}; \
		lines="$$($(PY) -m twin env --stack $$stack)" && eval "$$lines" && $(KEYSTONE) facts --check --stack $$stack \
		$$(grep -qs '^ *"*twin:network' $$file || echo --no-secrets) || exit 1; done

fix: .venv/.dev ## what the formatter and the linter can mend by themselves
	@.venv/bin/ruff format .
	@.venv/bin/ruff check --fix .

bench: .venv/.runtime ## times and memory against the budgets; takes some minutes
	@$(PY) -m toolchain
	@$(PY) -m bench

env: .venv/.runtime ## shell lines for plain `pulumi`: eval "$(make -s env)"
	@$(PY) -m twin env --stack $(STACK)
	@echo 'export KEYSTONE_STACK=$(STACK) PULUMI_STACK=$(STACK)'

doctor: .venv/.runtime ## what this machine has and lacks
	@$(ENV) $(KEYSTONE) doctor --stack $(STACK)

status: .venv/.runtime ## the twin's machines
	@$(PY) -m twin status --stack $(STACK)

down: .venv/.runtime ## stop the twin and forget it, the stack's state too
	@$(PY) -m twin down --stack $(STACK)

policy: .venv/.runtime ## the verdict of the policy pack alone on what `up` would do
	@if $(TWIN); then $(PY) -m toolchain; fi
	@$(ENV) $(KEYSTONE) policy --stack $(STACK)

dry-run: .venv/.dev ## every kustomization and object of the program, against the definitions
	@$(PY) -m toolchain ensure kubectl
	@$(PY) -m pytest tests/test_dry_run.py

lock: .venv/.dev ## pin requirements anew from the .in files
	@$(LOCK) requirements.in -o requirements.txt
	@$(LOCK) requirements-dev.in -o requirements-dev.txt

clean: ## remove what can be made again; the tools stay (`python -m toolchain clean`)
	@if [ -x $(PY) ]; then for folder in .twin/*/; do \
		if [ -d "$$folder" ]; then $(PY) -m twin down --stack "$$(basename "$$folder")" || exit 1; fi; done; fi
	@rm -rf .venv .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.runtime: requirements.txt
	@[ -n "$(PYTHON)" ] || { echo "python: 3.11 or newer is not on PATH. Install it, or name it: make PYTHON=/path/to/python3." >&2; exit 1; }
	@$(PY) -m pip --version >/dev/null 2>&1 || { rm -rf .venv; said="$$($(PYTHON) -m venv .venv 2>&1)"; } || { rm -rf .venv; \
		echo "python: $(PYTHON) makes no virtual environment ($$(echo "$$said" | tail -n 1)). Install its venv module" \
		"(Debian: apt install python3-venv), or name another Python: make PYTHON=/path/to/python3." >&2; exit 1; }
	@echo "Installing the Python packages into .venv (a minute or two, once)" >&2
	@$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@touch $@

.venv/.dev: requirements-dev.txt .venv/.runtime
	@echo "Installing the packages for tests and checks into .venv (a minute or two, once)" >&2
	@$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@
