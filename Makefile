# `make demo` and `make test` need Python 3.11 or newer with venv, and make; they build .venv by themselves.
# PYTHON=/path/to/python chooses the interpreter, TESTS="tests/contract -x" the tests.

.DELETE_ON_ERROR:
.PHONY: demo test test-sdks lint format clean

VENV := .venv
BIN := $(VENV)/bin
TESTS ?=
UV := $(shell command -v uv 2>/dev/null)

# A name on PATH proves nothing (a pyenv shim may stand there and fail), so each candidate has to run.
RUNS := -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))'
PYTHON ?= $(shell for candidate in python3.13 python3.12 python3.11 python3; do \
	if "$$candidate" $(RUNS) >/dev/null 2>&1; then echo "$$candidate"; break; fi; done)

define NO_PYTHON
Python 3.11 or newer with its venv module is needed$(if $(PYTHON),; '$(PYTHON)' is not that,).
Install it (Debian, Ubuntu: apt-get install python3 python3-venv; Fedora: dnf install python3; macOS: brew install python)
or point to it: make PYTHON=/path/to/python3
endef
export NO_PYTHON

ifdef UV
INSTALL = "$(UV)" pip install --quiet --python $(@D)/bin/python
else
INSTALL = $(@D)/bin/python -m pip install --quiet --disable-pip-version-check
endif

DEV_REQUIREMENTS := import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["dependency-groups"]["dev"], sep="\n")

demo: $(VENV)/.installed-runtime
	$(BIN)/looopy-otel demo

# Tests that share one LiteLLM proxy are one group, so that one worker starts it once.
test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 2 --dist loadgroup $(TESTS)

# The same behaviour with the oldest SDKs that are supported, and with those that do not fit beside the newest ones.
SDK_SETS := $(filter-out newest,$(notdir $(basename $(wildcard tests/sdks/*.txt))))
test-sdks: $(SDK_SETS:%=test-sdks-%)

test-sdks-%: $(VENV)-%/.installed
	LOOOPY_OTEL_SDKS=$* $(VENV)-$*/bin/python -m pytest -n 2 --dist loadgroup $(or $(TESTS),$(addprefix tests/instrument/,clients functions frameworks))

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) $(VENV)-* .pytest_cache .ruff_cache .hypothesis dist

$(BIN)/python:
	@"$(or $(PYTHON),false)" $(RUNS) 2>/dev/null || { printf '%s\n' "$$NO_PYTHON" >&2; exit 1; }
	"$(PYTHON)" -m venv --clear $(VENV)

$(VENV)/.installed-runtime: pyproject.toml $(BIN)/python
	$(INSTALL) --editable .
	@touch $@

# The pip of a fresh Python 3.11 does not know dependency groups; tomllib reads them for it.
$(VENV)/.installed-dev: $(VENV)/.installed-runtime tests/sdks/newest.txt
	$(BIN)/python -c '$(DEV_REQUIREMENTS)' > $(VENV)/dev-requirements.txt
	$(INSTALL) --requirement $(VENV)/dev-requirements.txt --requirement tests/sdks/newest.txt
	@touch $@

$(VENV)-%/.installed: pyproject.toml tests/sdks/%.txt
	@"$(or $(PYTHON),false)" $(RUNS) 2>/dev/null || { printf '%s\n' "$$NO_PYTHON" >&2; exit 1; }
	"$(PYTHON)" -m venv --clear $(@D)
	$(@D)/bin/python -c '$(DEV_REQUIREMENTS)' > $(@D)/dev-requirements.txt
	$(INSTALL) --editable . --requirement $(@D)/dev-requirements.txt --requirement tests/sdks/$*.txt
	@touch $@
