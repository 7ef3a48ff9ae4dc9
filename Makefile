# Two commands do everything on a fresh machine: make demo, make test.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
CONSTRAINTS := requirements/constraints.txt
OUT ?= runs/demo
SETUP := pyproject.toml hatch_build.py src/lossmith/torch/compiled.c  # what an installation is made of
JOBS ?= 2

.PHONY: demo test test-frameworks test-peers lint docs bench bench-frameworks crackforest clean

# The demo needs no tests' tools, the tests need everything: each is installed once, and again when its list changes.
$(VENV)/.python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1,<26.2"
	touch $@

$(VENV)/.lab: $(VENV)/.python $(SETUP) $(CONSTRAINTS)
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --editable ".[lab]"
	touch $@

$(VENV)/.test: $(VENV)/.lab
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --group test
	touch $@

$(VENV)/.docs: $(VENV)/.lab
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --group docs
	touch $@

demo: $(VENV)/.lab
	$(BIN)/lossmith compare "cracks" --loss ce --loss wce --loss mse --loss "dice + ce" \
		--seeds 3 --steps 60 --crop 128 --out $(OUT)

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(BIN)/pytest -n $(JOBS)

docs: $(VENV)/.docs
	$(BIN)/mkdocs build --strict

# NumPy, JAX, and Keras on TensorFlow, JAX and torch: one environment has them all.
.venv-frameworks/.ready: $(SETUP) requirements/frameworks-constraints.txt
	$(PYTHON) -m venv .venv-frameworks
	.venv-frameworks/bin/python -m pip install --quiet --upgrade "pip>=25.1,<26.2"
	.venv-frameworks/bin/python -m pip install --quiet --constraint requirements/frameworks-constraints.txt \
		--group frameworks --editable .
	touch $@

test-frameworks: .venv-frameworks/.ready
	.venv-frameworks/bin/python -m pytest -n $(JOBS) tests/frameworks docs/frameworks.md src/lossmith/jax src/lossmith/keras
	for backend in jax torch; do \
		KERAS_BACKEND=$$backend .venv-frameworks/bin/python -m pytest -n $(JOBS) tests/frameworks/test_keras.py || exit 1; \
	done

# The benchmark against other libraries has an environment of its own: they need torchvision.
.venv-bench/.ready: $(SETUP) benchmarks/constraints.txt
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet --upgrade "pip>=25.1,<26.2"
	.venv-bench/bin/python -m pip install --quiet --constraint benchmarks/constraints.txt --group bench --editable .
	touch $@

# Presets against the libraries that they stand for; what those say is kept by tests/against_peers/libraries.py, run as a program.
test-peers: .venv-bench/.ready
	.venv-bench/bin/python -m pytest -o pythonpath="tests tests/against_peers" -o filterwarnings=default -q tests/against_peers

# Every benchmark in turn, going on where an interrupted run stopped; BENCH is for benchmarks/run.py, such as --quick.
bench: .venv-bench/.ready
	.venv-bench/bin/python benchmarks/run.py $(BENCH)
	$(MAKE) bench-frameworks

# The same losses written by hand in JAX and TensorFlow, beside ours.
bench-frameworks: .venv-frameworks/.ready
	.venv-frameworks/bin/python benchmarks/frameworks.py $(filter --quick,$(BENCH))

# The comparison of docs/crackforest.md; DATA is a folder of the CrackForest data set.
DATA ?= crackforest
crackforest: $(VENV)/.lab
	$(BIN)/lossmith compare $(DATA) --loss mse --loss "mse(foreground_weight=8)" --loss 'wce(balance="batch")' \
		--loss ce --loss "dice + ce" --seeds 3 --steps 450 --jobs $(JOBS) --out runs/crackforest

clean:
	rm -rf $(VENV) .venv-bench .venv-frameworks site
