# The two commands of the README: `make run` and `make test`. Everything sets up what it needs by itself (Debian, root).

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DESC ?= cluster-desc.example.yaml
STATE ?= lab-state
ONCE ?=
# Real programs and their time-outs: what failed is run once more, alone, and both results are there to read.
AGAIN = echo "=== what failed, once more and alone: it is to be mended even if it passes now" >&2; \
  $(BIN)/pytest -q --last-failed --last-failed-no-failures none

.PHONY: run test lint interop boots lab-etcd cluster soak image bench clean help

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(VENV)/.ready: pyproject.toml
	@packaging/dependencies.sh python
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

run: $(VENV)/.ready ## the example rack as virtual machines (ONCE=1 ends when every machine got its configuration)
	@packaging/dependencies.sh run
	$(BIN)/bootstrapper lab $(DESC) --state $(STATE) $(if $(ONCE),--once)

test: $(VENV)/.ready ## linter, types, unit tests
	@packaging/dependencies.sh test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -q

interop: $(VENV)/.ready ## real clients and servers in network namespaces
	@packaging/dependencies.sh interop
	@packaging/newer-programs.sh || echo "without containerd 2 and etcd 3.5: the tests that read with them are skipped"
	$(BIN)/pytest -q -m 'interop and not soak' --timeout 300 || { $(AGAIN) -m 'interop and not soak' --timeout 300; }

boots: $(VENV)/.ready ## virtual machines with real firmware
	@packaging/dependencies.sh boots
	$(BIN)/pytest -q -m boots --timeout 900 -s || { $(AGAIN) -m boots --timeout 900 -s; }

lab-etcd: $(VENV)/.ready ## three virtual machines with systemd become an etcd cluster, by Ignition and by cloud-config
	@packaging/dependencies.sh lab-etcd
	@packaging/newer-programs.sh || echo "without etcd 3.5: the test is skipped"
	$(BIN)/pytest -q -m lab_etcd --timeout 2400 -s tests/boots

cluster: $(VENV)/.ready ## a control plane and a node of real programs, from what is generated for the machines
	@packaging/dependencies.sh cluster
	@packaging/build-kubernetes.sh
	$(BIN)/pytest -q -m cluster --timeout 600 tests/cluster_run

soak: $(VENV)/.ready ## a million hostile datagrams per protocol; kill -9 in a lease storm; twenty reboots after one install
	@packaging/dependencies.sh interop
	@packaging/dependencies.sh boots
	$(BIN)/pytest -q -m soak --timeout 900

image: $(VENV)/.ready ## builds the container image without a container engine, and starts it
	@packaging/dependencies.sh image
	packaging/check-image.sh

bench: $(VENV)/.ready ## the figures of the design, ours and the peers' in the same run
	@packaging/dependencies.sh bench
	$(BIN)/python -m bench

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
