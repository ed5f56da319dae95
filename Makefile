# Two commands on a fresh clone: `make demo` and `make test`. Everything else is for those who work on Regrow.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt
READY := $(VENV)/.ready
# Workers, each with its own share of the tests in their order, a third for while two wait; PYTEST_ARGS="-n 0" runs them in one
# process. Slow tests start engines and services of their own, and keep to a file.
WORKERS := -n 3 --dist worksteal

# The tests and the demo start many processes: compiled modules are kept, whatever the shell says.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test slow lint baseline protos check setup clean help

help: ## what there is
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

demo: $(READY) ## the whole loop on real data; ends at Ctrl-C, or by itself with EXIT=1
	@$(BIN)/python examples/demo.py $(if $(EXIT),--exit) $(DEMO_ARGS)

test: $(READY) ## the tests, under a minute of them
	@$(BIN)/python -m pytest -q $(WORKERS) $(PYTEST_ARGS)

slow: $(READY) ## the tests that take longer: end to end, kill -9, many processes
	@$(BIN)/python -m pytest -q -m slow -n 2 --dist loadfile $(PYTEST_ARGS)

setup: $(READY) ## the environment alone

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v < (3, 13) else "Regrow needs Python 3.11 or 3.12; this is %d.%d. Say which with: make PYTHON=python3.11 ..." % v)'
	@echo "Creating the environment in $(VENV): a download of about 0.7 GB (2.2 GB on disk)."
	@echo "Where pip takes PyTorch's CUDA build (PyPI's default on Linux) it is about 3 GB (6 GB on disk); README.md, 'Size', shows how to avoid it."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP_INSTALL) -e '.[all,dev]'
	@touch $@

lint: $(READY) ## style, types, import rules, protos
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/buf lint regrow/api.binpb --config protos/buf.yaml
	@$(BIN)/buf breaking regrow/api.binpb --against protos/baseline.binpb --config protos/buf.yaml
	@$(BIN)/python protos/generate.py --check

baseline: $(READY) ## take the protos as they are for what the next ones mustn't break; in the commit of a release
	@$(BIN)/python protos/baseline.py

protos: $(READY) ## generate the stubs in regrow/ from protos/
	@$(BIN)/python protos/generate.py

clean: ## remove what was built and the demo's data
	rm -rf $(VENV) .regrow build *.egg-info .pytest_cache .mypy_cache .ruff_cache
