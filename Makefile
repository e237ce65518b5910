# make demo    a real chat model aligned to real people's ratings, with a report (five to eighteen minutes on 2 cores)
# make test    all tests but make test-long's: training to an optimum, kills, races, PostgreSQL, all over four seconds;
#              make test-fast leaves out those that need the real model or a browser
#              make test-avx2 runs models, rollouts and parity as a processor without AVX-512 would,
#              make test-newest algorithms, training and core on the newest Python that is installed
# make check   lint, format, types, layers, recipes, links in the docs
# make docs    the documentation as a site with a search, English and Chinese, in site/
# make bench   speed and memory beside TRL and transformers (an hour on 2 cores that have bfloat16, over two else)
# Each makes the virtual environment first if need be. Nothing is downloaded or trained twice.

VENV ?= .venv
PYTHON ?= python3
RECIPE ?= recipes/film-reviews.yaml
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help demo demo-full test test-fast test-long test-avx2 test-newest test-core install-dev processor check docs bench format clean

help:
	@sed -n 's/^# \{0,1\}//p' Makefile | head -10

demo: $(VENV)/.installed
	@echo "==> running $(RECIPE); stop it with Ctrl-C, and make demo goes on where it was"
	@$(BIN)/gnomon run $(RECIPE)

demo-full: RECIPE := recipes/film-reviews-full.yaml
demo-full: demo

test: $(VENV)/.installed-dev
	@echo "==> all tests; the first time, the model (93 MB) and the ratings (2.5 MB) are fetched"
	@$(BIN)/python -m pytest -n auto --dist worksteal -m "not long"

test-fast: $(VENV)/.installed-dev
	@$(BIN)/python -m pytest -n auto --dist worksteal -m "not slow and not long"

test-long: $(VENV)/.installed-dev
	@echo "==> training to known optima, runs that are killed, compared and raced, PostgreSQL"
	@$(BIN)/python -m pytest -n auto --dist worksteal -m long

test-avx2: export ONEDNN_MAX_CPU_ISA = AVX2
test-avx2: export ATEN_CPU_CAPABILITY = avx2
test-avx2: processor
	@echo "==> models, rollouts and parity, with matrix products as on a processor without AVX-512"
	@$(BIN)/python -m pytest -n auto --dist worksteal -m "not long" tests/models tests/rollouts tests/parity

test-newest:
	@bash .ci/newest

test-core: $(VENV)/.installed-dev
	@PYTHONPATH=. $(BIN)/python -m pytest -n auto --dist worksteal -m "not slow and not long" \
	  tests/algorithms tests/training tests/core

install-dev: $(VENV)/.installed-dev

processor: $(VENV)/.installed-dev
	@$(BIN)/python -c 'from gnomon.models.engine.device import processor; print("==> processor:", processor())'

check: $(VENV)/.installed-dev
	@echo "==> lint, format, types"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@echo "==> layers, words, recipes, links"
	@$(BIN)/python -m pytest -q -m "not slow and not long" tests/test_layers.py tests/test_words.py tests/test_recipes.py \
	  tests/test_docs.py

docs: $(VENV)/.installed-docs
	@echo "==> the site: English in site/, Chinese in site/zh/; to read it: python3 -m http.server -d site"
	@$(BIN)/python docs/site_pages.py build/pages
	@$(BIN)/zensical build --strict --clean
	@$(BIN)/zensical build --strict --clean --config-file mkdocs.zh.yml

bench: $(VENV)/.installed-dev
	@echo "==> Gnomon beside TRL: leave the machine alone meanwhile, or the times mean nothing"
	@GOMP_SPINCOUNT=20000 $(BIN)/python -W ignore benchmarks/versus_peers.py

format: $(VENV)/.installed-dev
	@$(BIN)/ruff check --fix . && $(BIN)/ruff format .

clean:
	rm -rf $(VENV)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is older than Python 3.11; name a newer one: make PYTHON=python3.12 demo"; exit 2; }
	@echo "==> making a virtual environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 2; }

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "==> installing gnomon and what it needs (once, a few minutes)"
	@$(PIP) install --quiet --progress-bar on -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	@echo "==> installing what builds the site"
	@$(PIP) install --quiet --progress-bar on -c constraints.txt -e ".[docs]"
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@echo "==> installing what the tests need"
	@$(PIP) install --quiet --progress-bar on -c constraints.txt -e ".[dev]"
	@touch $@
