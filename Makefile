# Everything runs from .venv, which 'make venv' fills; what a target needs first, it makes.
SHELL := /bin/bash
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export PYTHONPATH := $(CURDIR)/molecule
export MOLECULE_COMMAND_BORDERS := 0
LAB := .venv/bin/python -m lab
VERSION = $(shell sed -n 's/^version: *//p' galaxy.yml)

RELEASES ?= 0.12.0 0.22.1

.DEFAULT_GOAL := help
.PHONY: help venv machine demo demo-down lint unit integration page docs site sanity test acceptance bench bench-proxies catalogue build clean

help:
	@echo "make demo                 a lab cluster on this machine that serves a real model (root, Debian 12)"
	@echo "make demo-down            remove every trace of the lab"
	@echo "make test                 lint, unit tests and the scenarios, with a table of durations"
	@echo "make lint                 ruff, mypy, yamllint, ansible-lint, changelog, ansible-test sanity"
	@echo "make unit                 unit tests"
	@echo "make integration          the installed collection, its playbooks and the real parser of vLLM"
	@echo "make docs                 the pages made from the code's data"
	@echo "make site                 the documentation as a site in .cache/site/html; dead links are errors"
	@echo "make page                 the audit's page in a real browser: chromium and npm, a minute"
	@echo "make sanity               ansible-test sanity, a part of lint"
	@echo "make molecule-lifecycle   upgrades and rollbacks under load, too slow for make test"
	@echo "make molecule-operations  the runbooks as they stand, likewise"
	@echo "make molecule-bundle      a release for nodes without an index, likewise"
	@echo "make molecule-certificates  a private authority and ACME, likewise"
	@echo "make molecule-change     two replicas of a real vLLM changed under load, likewise"
	@echo "make molecule-coexist    the firewall beside others, likewise"
	@echo "make molecule-images      media by URL with a real vision model, likewise"
	@echo "make molecule-matrix     the reachability of every topology, likewise"
	@echo "make molecule-media       the proxy for media by URL, likewise"
	@echo "make molecule-quadlet    vLLM from a container image by digest, likewise"
	@echo "make molecule-scan        scanners (nmap, sslyze, testssl.sh, schemathesis) against the gateway, likewise"
	@echo "make molecule-sample      the sample of an audit in docs/, collected again, likewise"
	@echo "make molecule-spanning   an engine over two nodes: upgrades, deaths of its ranks, likewise"
	@echo "make molecule-socket      gateway and engine on one host with a socket between them, likewise"
	@echo "make molecule-wheels    a real release of vLLM carried to nodes without an index, likewise"
	@echo "TESTS=all make molecule-audit    every planted fault, not the quick ones only"
	@echo "TESTS=all make molecule-default  TLS to a real vLLM turned on and off, and tensor parallelism, as well"
	@echo "make molecule-SCENARIO    one scenario of: $(patsubst molecule/%/molecule.yml,%,$(wildcard molecule/*/molecule.yml))"
	@echo "make acceptance           plans of every topology before the real parsers of other releases: RELEASES='0.12.0 0.22.1'"
	@echo "make bench                benchmarks with their table"
	@echo "make bench-proxies        vllm-router and LiteLLM in .cache/bench, for make bench to compare with"
	@echo "make catalogue            rebuild the catalogue from the source of every release and say what is undecided"
	@echo "make build                the collection's archive"
	@echo "make venv                 .venv with pinned Python packages"
	@echo "make clean                remove caches and archives; .venv and the lab stay"

venv:
	@scripts/bootstrap venv

machine:
	@scripts/bootstrap

demo: machine
	@$(LAB) demo

demo-down: venv
	@$(LAB) demo-down

lint: venv
	@scripts/suite lint

unit: venv
	@scripts/suite unit

integration: machine
	@scripts/suite integration

docs: venv
	@PYTHONPATH=.cache:tests .venv/bin/python tools/make_docs.py && PYTHONPATH=.cache .venv/bin/python tools/make_rules.py

site:
	@scripts/site

page: venv
	@command -v chromium chromium-browser google-chrome >/dev/null || { echo "make page: there is no chromium; apt-get install chromium" >&2; exit 1; }
	@command -v npm >/dev/null || { echo "make page: there is no npm, which brings axe-core; apt-get install npm" >&2; exit 1; }
	@mkdir -p .cache/axe && cd .cache/axe && npm pack --silent axe-core@4.14.1 >/dev/null && tar xzf axe-core-4.14.1.tgz package/axe.min.js
	@.venv/bin/python -m pytest -q tests/browser

sanity: venv
	@scripts/sanity

test: machine
	@scripts/suite

molecule-%: machine
	@scripts/suite molecule/$*

acceptance: machine
	@$(LAB) assets vllm tiny
	@.venv/bin/python tools/acceptance.py $(RELEASES)

bench: venv
	@for file in tests/benchmarks/bench_*.py; do PYTHONPATH=.cache:tests .venv/bin/python $$file || exit 1; done

bench-proxies:
	@for name in vllm-router litellm; do \
		python3 -m venv .cache/bench/$$name && \
		.cache/bench/$$name/bin/pip install --quiet --requirement tests/benchmarks/proxies/$$name.txt || exit 1; \
	done

catalogue: venv
	@.venv/bin/python tools/catalogue && $(MAKE) --no-print-directory docs

build: venv
	@ansible-galaxy collection build --force
	@echo "install it with: ansible-galaxy collection install hardened-vllm-$(VERSION).tar.gz"

clean:
	@rm -rf .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis .ansible tests/output hardened-vllm-*.tar.gz
	@find . -path ./.venv -prune -o -path ./.lab -prune -o -name __pycache__ -type d -exec rm -rf {} +
