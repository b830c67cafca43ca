# The course in a few commands; needs python3 (3.11 to 3.13), make and git.

PYTHON ?= python3
PORT ?= 8000
BIN := .venv/bin
PINNED := .venv/.pinned
READY := .venv/.ready
OTTER := _build/otter
# Whom the speed is compared with; their environments need an older Python than ours may have.
PEERS := neural-tangents netket
PEERS_PYTHON ?= $(PYTHON)

# What runs without a reader draws no widgets, stays on the processor and repeats itself.
export NTKLAB_STATIC = 1
export JAX_PLATFORMS = cpu
export JAX_ENABLE_X64 = 0
export PYTHONHASHSEED = 0
# Most of the time goes into compiling the same small programs again: keep them.
export JAX_COMPILATION_CACHE_DIR = $(CURDIR)/_build/compiled
export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS = 0
export JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES = -1
export PYDEVD_DISABLE_FILE_VALIDATION = 1

COMPILE = UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile --quiet --universal \
  --python-version 3.11 --no-emit-index-url --generate-hashes $(if $(UPGRADE),--upgrade)
LOCK = $(COMPILE) pyproject.toml --extra book

.DEFAULT_GOAL := help
.PHONY: help env book pdf epub serve notebooks tries test fix problem-sets public-tree grade experiments benchmark \
  lock canary adopt publish clean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

env: $(READY) ## make .venv from requirements.lock

$(PINNED): requirements.lock
	@$(PYTHON) -c 'import sys, venv; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || { \
	  echo "make env: $(PYTHON) must be Python 3.11 to 3.13 with venv;" \
	    "found: $$($(PYTHON) --version 2>&1). Name another one: make env PYTHON=python3.12" >&2; \
	  exit 1; }
	@echo "Installing the pinned packages into .venv: a few minutes."
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --only-binary :all: --require-hashes -r requirements.lock
	@touch $@

$(READY): $(PINNED) pyproject.toml lib/ntklab/__init__.py
	@$(BIN)/python -m pip install --quiet --no-index --no-deps --no-build-isolation \
	  --editable .
	@touch $@

book: env ## execute the notebooks that changed, render the site to _build/html
	@$(BIN)/python tools/book.py

pdf: env ## print the rendered site, page by page and as a book, to _build/html/paper
	@PYTHONPATH=tools $(BIN)/python -m paper pdf

epub: env ## make one EPUB of the rendered site, in _build/html/paper
	@PYTHONPATH=tools $(BIN)/python -m paper epub

serve: env ## show the rendered site (PORT=8000)
	@test -f _build/html/index.html || { echo "make serve: run make book first" >&2; exit 1; }
	@(sleep 1; $(BIN)/python -m webbrowser http://127.0.0.1:$(PORT)) > /dev/null 2>&1 &
	@$(BIN)/python -m http.server $(PORT) --bind 127.0.0.1 --directory _build/html

notebooks: env ## execute the notebooks in place (NOTEBOOK=book/x.ipynb: one)
	@$(BIN)/python tools/notebooks.py $(NOTEBOOK)

tries: env ## run the Tries and the solutions' code of the notebooks (NOTEBOOK=book/x.ipynb: of one)
	@$(BIN)/python tools/tries.py $(NOTEBOOK)

test: env $(OTTER)/.pinned ## check everything (PARTS="lint types": some)
	@$(BIN)/python tools/check.py $(PARTS)

fix: env ## mend lint and format
	@$(BIN)/ruff check --fix --exit-zero .
	@$(BIN)/ruff format .

$(OTTER)/.pinned: locks/otter.lock $(PINNED)
	@echo "Installing otter-grader into $(OTTER)."
	@rm -rf $(OTTER) && $(BIN)/python -m venv --without-pip $(OTTER)
	@$(BIN)/uv pip install --quiet --python $(OTTER)/bin/python --no-build --require-hashes \
	  -r locks/otter.lock
	@touch $@

problem-sets: env $(OTTER)/.pinned ## build the problem sets (SET=set-1: one; TERM_SEED=…: its variants)
	@PYTHONPATH=tools $(BIN)/python -m problem_sets $(SET)

public-tree: env $(OTTER)/.pinned ## write the tree that students may see (OUT=folder TERM_SEED=…)
	@PYTHONPATH=tools $(BIN)/python -m problem_sets.public_tree "$(OUT)"

grade: env ## grade a class (SET=set-1 IN=folder-or-zip OUT=folder CANVAS=export.csv); Linux
	@SET="$(SET)" IN="$(IN)" OUT="$(OUT)" CANVAS="$(CANVAS)" COLUMN="$(COLUMN)" \
	  PYTHONPATH=tools $(BIN)/python -m grading

experiments: env ## compute book/data/, some hours (EXPERIMENT=name: one); goes on where it stopped
	@PYTHONPATH=tools $(BIN)/python -m experiments $(EXPERIMENT)

benchmark: env $(PEERS:%=_build/peers/%/.ready) ## compare speeds with public tools, half an hour
	@PYTHONPATH=tools $(BIN)/python -m benchmark $(CASE)

_build/peers/%/.ready: locks/%.lock
	@$(PEERS_PYTHON) -c 'import sys, venv; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' || { \
	  echo "make benchmark: the peers need Python 3.11 or 3.12, found:" \
	    "$$($(PEERS_PYTHON) --version 2>&1). Name one: make benchmark PEERS_PYTHON=python3.11" >&2; \
	  exit 1; }
	@$(PEERS_PYTHON) -m venv $(@D)
	@$(@D)/bin/python -m pip install --quiet --only-binary :all: --no-deps --require-hashes -r $<
	@touch $@

lock: env ## renew the locks, ours, Colab's and the peers' (UPGRADE=1: to the newest releases)
	@$(LOCK) --group dev -o requirements.lock
	@$(LOCK) --group colab --group build -o locks/colab.lock
	@$(COMPILE) --group otter -o locks/otter.lock
	@$(COMPILE) --group neural-tangents --no-deps -o locks/neural-tangents.lock
	@$(COMPILE) --group netket -c requirements.lock -o locks/netket.lock

canary: env ## try the newest releases, every Python, links to the outside: hours (LOOKS="links")
	@$(BIN)/python tools/canary.py $(LOOKS)

adopt: env ## make this copy your own (URL=https://github.com/you/your-fork)
	@$(BIN)/python tools/adopt.py "$(URL)"

publish: book ## put the rendered site and its editions on the branch gh-pages of origin
	@PYTHONPATH=tools $(BIN)/python -m paper pdf
	@PYTHONPATH=tools $(BIN)/python -m paper epub
	@PYTHONPATH=tools $(BIN)/python -m problem_sets.gate _build/html
	$(BIN)/ghp-import --no-jekyll --push --force --remote origin --branch gh-pages _build/html

clean: ## remove what was built (.venv stays)
	rm -rf _build .pytest_cache .mypy_cache .ruff_cache .hypothesis
