# Every target sets up .venv by itself, with pip and nothing else.

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: install demo test coverage lint format docs sbom lowest newest clean
.DELETE_ON_ERROR:

# Searches a pruned model for handwritten digits; the result lies in runs/digits.
demo: $(INSTALLED)
	$(BIN)/autoprune search examples/digits/search.yaml --if-exists overwrite

# Many tests wait for processes of their own: two at a time take half as long, on two threads of one core, too.
test: lint
	$(BIN)/pytest --numprocesses logical --maxprocesses 4 --dist worksteal --durations 20

# Which lines no test runs; twice as slow.
coverage: $(INSTALLED)
	$(BIN)/pytest --cov --cov-report=term-missing:skip-covered

lint: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(INSTALLED)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# The site, in build/site: python -m http.server --directory build/site
docs: $(INSTALLED)
	$(BIN)/python docs/site/references.py
	$(BIN)/mkdocs build --quiet --strict

# All that is installed in .venv, tools of development too, as CycloneDX.
sbom: $(INSTALLED)
	mkdir -p build
	$(BIN)/cyclonedx-py environment --pyproject pyproject.toml --mc-type library --output-reproducible \
		--validate --output-file build/sbom.json $(BIN)/python

# The unit tests with the oldest versions that pyproject.toml allows, in a venv of its own.
lowest:
	PYTHON=$(PYTHON) .ci/versions lowest

# The same with the newest ones.
newest:
	PYTHON=$(PYTHON) .ci/versions newest

install: $(INSTALLED)

# Dependency groups need pip 25.1.
$(INSTALLED): pyproject.toml constraints-dev.txt
	@echo "Installing autoprune, PyTorch and the tools of development into .venv: about 7 GB, some minutes."
	test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --constraint constraints-dev.txt --editable . --group dev
	touch $@

clean:
	rm -rf .venv build dist runs .coverage .hypothesis
	rm -rf .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
