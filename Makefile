# What a user of a clone calls. Needs python3, make and the package registry; everything else is fetched.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help install demo serve test check format lock bench soak tour faults release mutate clean debian

# TensorFlow and friends import several times slower without their byte code.
unexport PYTHONDONTWRITEBYTECODE
# One thread for each process: the worker processes are the parallelism.
export OMP_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1

UV := .tools/uv/bin/uv
BIN := .venv/bin
DISTS := core plugins/resource plugins/cost plugins/scaling plugins/tuning plugins/latency api
EDITABLE := $(foreach dist,$(DISTS),-e $(dist))
DEBIAN := prometheus victoria-metrics chromium

help: ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

demo: .venv/.installed ## recommendations for real services, end to end, then stops
	@$(BIN)/perfopt demo --exit

serve: .venv/.installed ## the service with an embedded PostgreSQL and NATS; stays up
	@$(BIN)/perfopt serve --embedded

test: .venv/.training debian ## all tests
	@$(BIN)/pytest -q -n auto --maxprocesses 4 --dist loadgroup $(PYTEST_ARGS)

check: .venv/.installed ## ruff, mypy (strict), import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/.installed ## rewrite the sources in the project's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/.installed debian ## speed and memory; TRACES=<folder of traces> adds those on the full fleet
	@$(BIN)/python benchmarks/run.py $(if $(TRACES),--traces $(TRACES))

soak: .venv/.installed ## the service under idle connections, load and faults, for two minutes
	@$(BIN)/python benchmarks/soak.py

tour: .venv/.installed debian ## the pictures of the dashboard in docs, taken of the demonstration in Chromium
	@$(BIN)/python tests/support/tour.py

faults: DEBIAN += faketime
faults: .venv/.installed debian ## everything that may fail, failing: what is lost or doubled; SHORT=1 takes one minute
	@$(BIN)/python benchmarks/faults.py $(if $(SHORT),--short)

release: .venv/.installed ## wheels, chart, SBOM, licences and checksums into dist/; SIGN=<SSH key> signs them
	@rm -rf dist
	@$(BIN)/python image/release.py dist $(if $(SIGN),--sign $(SIGN))

mutate: .venv/.training ## which changes of PATHS=<modules> their tests do not notice; TESTS=<tests> names others, SAMPLE=<n> tries so many
	@$(BIN)/python tests/support/mutate.py $(PATHS) $(if $(TESTS),--tests $(TESTS)) $(if $(SAMPLE),--sample $(SAMPLE))

# uv.lock names registry addresses, so only its exports, with hashes, are kept.
lock: $(UV) ## resolve all dependencies anew into the two lock files
	rm -f uv.lock
	$(UV) lock -q
	$(UV) export --no-emit-workspace --no-header --no-annotate -q -o requirements.lock
	$(UV) export --no-emit-workspace --no-header --no-annotate -q --only-group train -o requirements-train.lock

install: .venv/.training ## the development environment

clean: ## remove what was installed or generated
	rm -rf .venv .tools .perfopt .mutmut uv.lock dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis

# uv may be on the path as a shim that does not run, so it is asked for its version.
$(UV):
	@if uv --version >/dev/null 2>&1; then \
	  mkdir -p $(@D) && ln -sf "$$(command -v uv)" $@; \
	else \
	  python3 -m venv .tools/uv && .tools/uv/bin/pip install -q uv; \
	fi

.venv/.installed: $(UV) requirements.lock .python-version $(DISTS:%=%/pyproject.toml)
	@echo "installing into .venv" >&2
	@[ -x $(BIN)/python ] || $(UV) venv -q --seed .venv # with pip, for plugins
	@$(UV) pip sync -q --require-hashes --compile-bytecode requirements.lock
	@$(UV) pip install -q --no-deps --no-build-isolation $(EDITABLE)
	@touch $@

# What trains models is installed beside the rest, and stays out of what shows and serves recommendations.
.venv/.training: .venv/.installed requirements-train.lock
	@echo "installing the training extra into .venv" >&2
	@$(UV) pip install -q --require-hashes --compile-bytecode -r requirements-train.lock
	@touch $@

# Some tests need Debian packages; without the right to install them they are left out, and said so.
debian:
	@missing=""; for tool in $(DEBIAN); do command -v $$tool >/dev/null || missing="$$missing $$tool"; done; \
	if [ -n "$$missing" ]; then \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $$missing >/dev/null; \
	  else \
	    echo "not installed:$$missing (apt-get install$$missing); the tests that need it are left out" >&2; \
	  fi; \
	fi
