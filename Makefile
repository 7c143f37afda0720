# Two commands do everything: `make run` (the main job) and `make test`. Each makes its own virtual environment first.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: run test test-gpu lint docs soak audit clean

# One seed of a decision-pretrained Mamba on Pusher-Goal under the laptop protocol; interrupted, the same command continues.
run: $(VENV)/.installed
	$(BIN)/icrl-bench run --method dpt-mamba --env pusher-goal --seeds 0

test: $(VENV)/.installed-dev lint
	$(BIN)/pytest -n 2 --dist loadfile --durations=15

# What needs a CUDA device, on a machine that has one; with the extra `cuda` its kernels are held to the formulas too.
test-gpu: $(VENV)/.installed-dev
	$(BIN)/pytest -m gpu -rA

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

EXECUTORS := $(addprefix tests/harness/executors/,test_ray_cluster.py test_scale.py test_overhead.py)

# The campaigns of tests/soak at full length, two tests at a time, for half an hour to an hour, and executors at full size. soak.md
# is the table of what was tried, survived and found so far.
soak: $(VENV)/.installed-soak
	$(BIN)/pytest tests/soak --soak full --soak-table soak.md -m 'not gpu' -n 2 --dist worksteal -v
	$(BIN)/pytest tests/soak/conftest.py $(EXECUTORS) --soak full -m 'not gpu' -v  # timed: one after the other

# Known vulnerabilities of constraints.txt, and docs/licences.md.
audit: $(VENV)/.installed-dev
	$(BIN)/python .ci/audit.py

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -c constraints.txt -e .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/pip install --quiet -c constraints.txt -e ".[dev]"
	touch $@

# The site, below build/site; a broken link or an undocumented public name fails. Needs no network once it is installed.
docs: $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

$(VENV)/.installed-docs: $(VENV)/.installed
	$(BIN)/pip install --quiet -c constraints.txt -e ".[docs]"
	touch $@

$(VENV)/.installed-soak: $(VENV)/.installed-dev
	$(BIN)/pip install --quiet -c constraints.txt -e ".[soak]"
	touch $@

clean:
	rm -rf $(VENV) build dist
