# `make run` starts a gateway to try, `make demo` one behind nginx, `make check` tests a change. README.md has the rest.

PYTHON ?= $(firstword $(wildcard /usr/bin/python3) python3)
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
COMPILE = $(BIN)/pip-compile --quiet --upgrade --generate-hashes --allow-unsafe --strip-extras \
	--no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-header
RECENT = @$(PYTHON) -c "import sys; sys.version_info >= (3, 11) or sys.exit('Python 3.11 or later is needed: make PYTHON=...')"
CHECKED := authotron tests twisted bench website setup.py client debian/bundled examples
SAMPLE := examples/authotron-robots
export HYPOTHESIS_STORAGE_DIRECTORY := $(CURDIR)/.hypothesis
SOURCES := setup.py pyproject.toml README.md client/setup.py client/README.md $(shell find authotron twisted -type f -not -name '*.pyc')

.PHONY: help run demo check lint types unit project process backends servers functional functional-epoll test fuzz bench bench-quick bench-parts soak performance-page test-plugin deb tested-deb test-package test-deb test-image schema proxy-examples proxy-features threats docs recording pictures lock clean
.PHONY: functional-waiting functional-others unit-1 unit-2 entrances properties replays

# `make test LOOP=epoll` starts the gateways of all tests on epoll; without LOOP they run on uvloop, if it is installed.
LOOP ?= auto
process functional functional-waiting functional-others: export AUTHOTRON_LOOP = $(LOOP)
# What depends on the event loop: sockets, connections, signals, processes. Remotes are asked by Twisted's transports on both.
ON_BOTH_LOOPS := conformance crowds envoy hostile life nginx proxies systemd tls workers

# Tests that kill databases, cut networks and rotate keys mostly wait, so the other functional tests run beside them.
FUNCTIONAL_waiting := test_change_streams test_record_changes test_record_writers test_rotation test_two_nodes
FUNCTIONAL_others := $(filter-out $(FUNCTIONAL_waiting),$(patsubst tests/functional/%.py,%,$(wildcard tests/functional/test_*.py)))

help:  ## what there is to make
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

run: $(VENV)/installed  ## start a gateway to try
	@$(BIN)/authotron quickstart

demo: $(VENV)/installed  ## a gateway behind nginx with a backend, on free ports, and three answers (needs nginx and curl)
	@$(BIN)/python examples/demo.py

check: lint types unit project entrances  ## what a change must pass before anything else (under 40 s)

test: check properties replays process backends docs test-plugin servers functional  ## everything

fuzz: export AUTHOTRON_STREAMS = 30000
fuzz: $(VENV)/tools  ## the front against the site alone, heads found again, and both event loops, for half an hour
	AUTHOTRON_STREAMS=100000 $(BIN)/python -m twisted.trial --temp-directory=$(VENV)/trial-fuzz \
	  tests.policy.test_policies.CompiledTests
	$(BIN)/python -m twisted.trial --temp-directory=$(VENV)/trial-fuzz \
	  tests.web.fastpath.test_protocol.DifferentialTests.test_any_stream \
	  tests.web.fastpath.test_protocol.DifferentialTests.test_any_stream_repeated \
	  tests.web.fastpath.test_repeats.RepeatsTests.test_equal_to_parsing \
	  tests.process.test_transports_agree

lint: $(VENV)/tools
	$(BIN)/ruff check $(CHECKED)
	$(BIN)/ruff format --check $(CHECKED)
	$(BIN)/python bench/page.py --check

types: $(VENV)/tools
	$(BIN)/mypy authotron tests $(SAMPLE)/src
	MYPYPATH=bench $(BIN)/mypy --explicit-package-bases $(filter-out bench/fastapi_app.py,$(wildcard bench/*.py))

unit:  ## the tests without sockets, processes, recordings and random examples (under 10 s on two idle cores)
	@$(MAKE) --no-print-directory --jobs=2 --output-sync unit-1 unit-2

unit-1 unit-2: unit-%: $(VENV)/tools
	$(BIN)/python -m twisted.trial --temp-directory=$(VENV)/trial-unit-$* $(shell tests/units $* 2)

project: $(VENV)/tools  ## what the repository ships beside the code: pages, examples, schemas, packaging
	$(BIN)/python -m twisted.trial --temp-directory=$(VENV)/trial-project tests.project

entrances: $(VENV)/tools  ## requests to a whole gateway in memory, at all entrances: HTTP, FastCGI and gRPC
	$(BIN)/python -m twisted.trial --jobs=2 --temp-directory=$(VENV)/trial-entrances $(shell tests/entrances)

properties: export AUTHOTRON_STREAMS = 1000
properties: $(VENV)/tools  ## the modules of tests that draw random examples, with many of them
	$(BIN)/python -m twisted.trial --jobs=2 --temp-directory=$(VENV)/trial-properties $(shell tests/properties)

replays: $(VENV)/tools  ## what real proxies have sent, and decisions of another policy engine, answered in memory
	$(BIN)/python -m twisted.trial --temp-directory=$(VENV)/trial-replays tests.proxies tests.policy.recorded

process: $(VENV)/tools  ## the commands as processes of their own
	$(BIN)/python -m twisted.trial --temp-directory=$(VENV)/trial-process tests.process

backends: $(VENV)-client/locked  ## authotron-client with every framework that it has a module for
	$(VENV)-client/bin/mypy --config-file client/mypy.ini -p authotron.client -p tests.backends -p tests.client
	$(VENV)-client/bin/mypy --config-file client/mypy.ini examples/backends
	$(VENV)-client/bin/python -m twisted.trial --temp-directory=$(VENV)-client/trial tests.client tests.backends

$(VENV)-client/locked: client/requirements.lock
	$(RECENT)
	$(PYTHON) -m venv $(VENV)-client
	$(VENV)-client/bin/python -m pip --quiet --disable-pip-version-check install --require-hashes -r $<
	touch $@

servers:  ## the Debian packages that the functional tests need
	tests/servers/packages

functional:  ## the daemon with real proxies, databases and directories
	@$(MAKE) --no-print-directory --jobs=2 functional-waiting functional-others

functional-waiting functional-others: functional-%: $(VENV)/tools $(VENV)-client/locked
	$(BIN)/python -m twisted.trial --temp-directory=$(VENV)/trial-functional-$* $(FUNCTIONAL_$*:%=tests.functional.%)

functional-epoll: export AUTHOTRON_LOOP = epoll
functional-epoll: $(VENV)/tools  ## the functional tests of what depends on the event loop, on epoll
	$(BIN)/python -m twisted.trial --temp-directory=$(VENV)/trial-epoll $(ON_BOTH_LOOPS:%=tests.functional.test_%)

bench: $(VENV)/tools $(VENV)-bench/locked  ## how fast, beside Klein, FastAPI, AUTHOTRON_ORIGINAL, AUTHOTRON_BEFORE (half an hour)
	$(BIN)/python bench/bench.py

bench-parts: $(VENV)/tools  ## hanging remotes, LDAP, token stores and the library for backends (a quarter of an hour)
	$(BIN)/python bench/remote.py
	$(BIN)/python bench/ldap.py
	$(BIN)/python bench/tokens.py
	$(BIN)/python bench/client.py

soak: $(VENV)/tools  ## half of the maximum load for 30 minutes: memory, descriptors, errors (SOAK="--workers 2 --direct")
	$(BIN)/python bench/soak.py $(SOAK)

performance-page: $(VENV)/tools  ## docs/performance.md and its picture with the figures of var/bench.json
	$(BIN)/python bench/page.py var/bench.json

bench-quick: $(VENV)/tools $(VENV)-bench/locked  ## the core of it, in two minutes
	$(BIN)/python bench/bench.py --quick --rounds 3

$(VENV)-bench/locked: bench/requirements.lock
	$(RECENT)
	$(PYTHON) -m venv $(VENV)-bench
	$(VENV)-bench/bin/python -m pip --quiet --disable-pip-version-check install --require-hashes -r $<
	touch $@

test-plugin: $(VENV)-plugin/locked  ## install the wheels of gateway, client and sample plugin; test the sample
	rm -rf build client/build $(SAMPLE)/build $(VENV)-plugin/wheels
	$(VENV)-plugin/bin/python -m pip --quiet --disable-pip-version-check wheel \
	  --no-deps --no-build-isolation --wheel-dir $(VENV)-plugin/wheels ./client . ./$(SAMPLE)
	$(VENV)-plugin/bin/python -m pip --quiet --disable-pip-version-check install \
	  --force-reinstall --no-deps $(VENV)-plugin/wheels/*.whl
	cd $(SAMPLE) && $(abspath $(VENV)-plugin)/bin/python -m twisted.trial \
	  --temp-directory=$(abspath $(VENV)-plugin)/trial tests
	cd $(SAMPLE) && JWT_SECRET=$$($(abspath $(VENV)-plugin)/bin/authotron generate-secret) HARVESTER_KEY=let-me-pass \
	  $(abspath $(VENV)-plugin)/bin/authotron check authotron.yaml

$(VENV)-plugin/locked: requirements.lock
	$(RECENT)
	$(PYTHON) -m venv $(VENV)-plugin
	$(VENV)-plugin/bin/python -m pip --quiet --disable-pip-version-check install --require-hashes -r $<
	touch $@

deb:  ## the Debian package, in dist/
	tests/deb/packages
	debian/build dist

tested-deb:
	tests/deb/packages all

test-package: $(VENV)/tools deb tested-deb  ## look at the package as a file
	$(BIN)/python -m tests.deb --file dist/authotron_*.deb

test-deb: $(VENV)/tools deb tested-deb  ## live with the package in a container (root, some 15 min)
	$(BIN)/python -m tests.deb dist/authotron_*.deb

test-image: $(VENV)/tools  ## build the container image and run it (root, one to three minutes)
	tests/image/packages
	$(BIN)/python -m tests.image

schema: $(VENV)/installed  ## write the JSON Schemas in etc/ anew
	$(BIN)/authotron schema > etc/authotron.schema.json
	$(BIN)/authotron schema policy-rules > etc/authotron-policy-rules.schema.json
	$(BIN)/authotron schema policy-tests > etc/authotron-policy-tests.schema.json

proxy-examples: $(VENV)/tools  ## write the examples of proxies in etc/ anew, as `authotron proxy-config` prints them
	$(BIN)/python -m tests.proxy_examples

proxy-features: $(VENV)/tools  ## write the table of proxies and features into docs/proxies.md, as the tests declare it
	$(BIN)/python -m tests.proxy_features

threats: $(VENV)/tools  ## write the names of the tests into docs/threats.md and docs/faults.md
	$(BIN)/python -m tests.threats

docs: export NO_MKDOCS_2_WARNING = 1
docs: $(VENV)-docs/locked  ## the documentation as a site with search, in site/; fails on a broken link
	PYTHONPATH=website $(VENV)-docs/bin/mkdocs build -f website/mkdocs.yml
	@echo "To read it: python3 -m http.server -d site -b 127.0.0.1 8000"

$(VENV)-docs/locked: website/requirements.lock
	$(RECENT)
	$(PYTHON) -m venv $(VENV)-docs
	$(VENV)-docs/bin/python -m pip --quiet --disable-pip-version-check install --require-hashes -r $<
	touch $@

recording: $(VENV)/installed  ## the terminal recording of README.md anew (needs curl)
	$(BIN)/python website/record.py docs/pictures/recording.svg

pictures: $(VENV)/installed  ## the pictures of dashboard and home page anew (needs prometheus and chromium)
	$(BIN)/python website/dashboard.py docs/pictures/dashboard.svg
	$(BIN)/python website/home.py docs/pictures

lock: $(VENV)/tools  ## choose new versions of all dependencies
	$(PIP) install pip-tools
	$(PIP) wheel --no-deps --no-build-isolation --wheel-dir $(VENV)/wheels ./client
	$(COMPILE) --extra=fast --extra=grpc --find-links=$(VENV)/wheels --output-file=requirements.lock setup.py requirements-build.in
	# The client comes from this repository, so it is not among what is installed by hash.
	awk '/^authotron-client==/ {own=1; next} /^[^ ]/ {own=0} !own' requirements.lock > $(VENV)/lock
	cp $(VENV)/lock requirements.lock
	$(COMPILE) --output-file=requirements-dev.lock requirements-dev.in
	$(COMPILE) --output-file=bench/requirements.lock bench/requirements.in
	$(COMPILE) --output-file=website/requirements.lock website/requirements.in
	$(COMPILE) --output-file=client/requirements.lock client/requirements.in

clean:
	rm -rf $(VENV) $(VENV)-bench $(VENV)-client $(VENV)-docs $(VENV)-plugin $(SAMPLE)/build site build client/build dist *.egg-info client/*.egg-info var .mypy_cache .ruff_cache .hypothesis

$(VENV)/locked: requirements.lock
	$(RECENT)
	@echo "Installing $$(grep -c '^[^ #].*==' $<) packages into $(VENV), about half a minute ..."
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --require-hashes -r requirements.lock
	touch $@

$(VENV)/installed: $(VENV)/locked $(SOURCES)
	@echo "Installing authotron into $(VENV) ..."
	rm -rf build client/build
	$(PIP) --quiet uninstall --yes authotron authotron-client
	$(PIP) install --no-deps --no-build-isolation ./client .
	touch $@

$(VENV)/tools: $(VENV)/installed requirements-dev.lock
	$(PIP) install --require-hashes -r requirements-dev.lock
	touch $@
