# Two commands set everything up: `make demo` and `make test`. Both need only Python 3.11 or newer.
PYTHON ?= python3
EXTRAS ?= cpu,dev
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo
export OMP_WAIT_POLICY := passive

.PHONY: venv demo test test-long check bench serve clean

venv: $(VENV)/.ready

# torch first and alone: a pinned torch keeps other requirements from choosing another build.
$(VENV)/.ready: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[$(EXTRAS)]"
	touch $@

demo: venv
	$(BIN)/python -m referent.main demo --out $(DEMO)

test: venv
	$(BIN)/python -m pytest -m "not long" -n 3 --dist loadfile

test-long: venv
	$(BIN)/python -m pytest -m long --timeout 7200

check: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy -p model -p indexer -p search_api -p workers -p training -p referent
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -m "not long" -n 3 --dist loadfile

bench: venv
	$(BIN)/python -m benchmarks

serve: venv
	$(BIN)/referent serve

clean:
	rm -rf $(VENV) $(DEMO)
