# Everything a developer does with this project. `make` alone lists the targets.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

VENV := .venv
WEB := node/web/node_modules/.package-lock.json
PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export PATH
# Ansible reads and writes text; a bare machine's locale may not be UTF-8.
export LC_ALL := C.UTF-8

STEP := tests/lab/step
LAB := ansible-playbook -i localhost,
ROLES := $(notdir $(patsubst %/molecule/default/molecule.yml,%,$(wildcard roles/*/molecule/default/molecule.yml)))
HOSTS ?= 3
SHARED ?= no
export LONG ?= no
COUNT ?= 100000
SEED ?= 1
SECONDS ?=
PATIENCE ?= 1
ONLY ?=
QUICK ?=
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | while IFS=$$'\t' read -r target text; do \
	    printf '  make %-10s %s\n' "$$target" "$$text"; done

.PHONY: up
up: $(VENV)/.installed ## start the lab, HOSTS=3 bare hosts, and deploy the chat service on it
	@$(STEP) "Docker engine" $(LAB) tests/lab/engine.yml
	@$(STEP) "Images" $(LAB) tests/lab/images.yml
	@$(STEP) "$(HOSTS) bare hosts" $(LAB) tests/lab/hosts.yml -e lab_hosts=$(HOSTS)
	@$(STEP) "The chat service on them" ansible-playbook playbooks/site.yml
	@tests/lab/connect

.PHONY: down
down: $(VENV)/.installed ## take the lab away; images stay for the next time
	@$(STEP) "Hosts, network, inventory" $(LAB) tests/lab/destroy.yml
	@$(STEP) "Docker engine" $(LAB) tests/lab/engine_stop.yml

.PHONY: clean
clean: $(VENV)/.installed ## down, and the lab's images and package cache too
	@$(STEP) "Hosts, network, inventory" $(LAB) tests/lab/destroy.yml
	@$(STEP) "Images and caches" $(LAB) tests/lab/clean.yml
	@$(STEP) "Docker engine" $(LAB) tests/lab/engine_stop.yml

# The chat itself serves without its page, so where npm's registry is out of reach the node starts all the same.
.PHONY: node
node: $(VENV)/.installed ## run one chat node on SQLite on loopback, without Docker
	@$(MAKE) --no-print-directory web || echo "No web client: its libraries could not be fetched." >&2
	AUTH_MODE=guest DATA_DIR=$${DATA_DIR:-.make/data} WEBSOCKET_HOST=127.0.0.1 HTTP_HOST=127.0.0.1 LOG_FORMAT=text \
	    chat-node serve

.PHONY: web
web: $(WEB) ## fetch the libraries of the web client, which the node serves at its HTTP port

.PHONY: pictures
pictures: tools ## take the pictures of the web client in docs/images anew
	@$(STEP) "Pictures" python -m tests.browser.pictures

.PHONY: check
check: $(VENV)/.installed ## lint, types and unit tests: what fits in a coffee break
	@$(MAKE) --no-print-directory --keep-going --jobs=2 unit lint

# Side by side, for ansible-lint has one processor at most.
.PHONY: lint unit
lint: $(VENV)/.installed
	@$(STEP) "ruff" ruff check
	@$(STEP) "ruff format" ruff format --check
	@$(STEP) "mypy" mypy node tests bench
	@$(STEP) "yamllint" yamllint --strict .
	@$(STEP) "ansible-lint" ansible-lint --offline --strict
	@$(STEP) "roles' variables" python tests/role_tables.py --check

unit: $(VENV)/.installed
	@$(STEP) "unit tests" pytest -q -n 2 tests/unit

.PHONY: fuzz
fuzz: $(VENV)/.installed ## mutated inputs, each must end in an answer or a close code: make fuzz COUNT=1000000 SEED=7
	@$(STEP) "$(COUNT) mutated inputs" nice python -m tests.fuzz $(COUNT) $(SEED)

.PHONY: faults
faults: $(VENV)/.installed ## break the lab while people chat, and judge what they saw: make faults SECONDS=3600 SEED=7
	@$(STEP) "Faults" python -m tests.faults run --seed $(SEED) --patience $(PATIENCE) $(if $(SECONDS),--seconds $(SECONDS)) $(if $(ONLY),--only "$(ONLY)")

.PHONY: bench
bench: $(VENV)/.installed tools ## the node beside its peers on the same work: make bench ONLY=fanout200, or QUICK=yes
	@$(STEP) "Peers" bench/peers/install
	@$(STEP) "Bench" python -m bench $(if $(ONLY),--only "$(ONLY)",$(if $(QUICK),,--docs)) $(if $(QUICK),--quick)
	$(if $(ONLY),,@$(STEP) "Growth" python -m bench.growth $(if $(QUICK),--quick))
	$(if $(ONLY)$(QUICK),,@$(STEP) "Scaling" sh -c 'python -m bench.footprint && python -m bench.scaling --docs')

.PHONY: guards
guards: $(VENV)/.installed ## take each guard of the playbooks out of a copy, and see its test fail: make guards ONLY=lock
	@$(STEP) "Guards" python -m tests.guards "$(ONLY)"

.PHONY: tools
tools: $(WEB) ## what the tests use besides Python: tmux, strace, Chromium, npm packages; installs what is missing
	@$(STEP) "Tools of the tests" tests/tools

.PHONY: test
test: $(VENV)/.installed ## everything: check, log contract, the roles under Molecule, the scenarios on the lab (LONG=yes: all of them)
	@tests/all

.PHONY: molecule
molecule: $(VENV)/.installed ## test one role on hosts of its own: make molecule ROLE=host
	@[ -d "roles/$(ROLE)/molecule" ] && [ -n "$(ROLE)" ] || { echo "Say ROLE= one of: $(ROLES)" >&2; exit 2; }
	@SHARED=$(SHARED) $(STEP) "role $(ROLE)" tests/lab/molecule $(ROLE)

.PHONY: lock
lock: $(VENV)/.installed ## pin what pyproject.toml asks for, with hashes
	UV_CUSTOM_COMPILE_COMMAND="make lock" uv pip compile --quiet --native-tls --generate-hashes \
	    --output-file requirements.txt pyproject.toml
	UV_CUSTOM_COMPILE_COMMAND="make lock" uv pip compile --quiet --native-tls --generate-hashes --extra dev \
	    --constraint requirements.txt --output-file requirements-dev.txt pyproject.toml

$(WEB): node/web/package-lock.json | $(VENV)/.installed
	@$(STEP) "Libraries of the web client" sh -c 'cd node/web && npm ci --silent --ignore-scripts'
	@touch $@

# Remade when the pins or the package's own metadata change.
$(VENV)/.installed: requirements-dev.txt pyproject.toml
	@python3 -c 'import ensurepip' 2>/dev/null || $(SUDO) apt-get install --yes --quiet python3-venv
	@$(STEP) "Python environment" sh -c 'python3 -m venv $(VENV) \
	    && pip install --quiet --require-hashes --requirement requirements-dev.txt \
	    && pip install --quiet --no-deps --editable .'
	@touch $@
