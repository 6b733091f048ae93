# Each target creates its virtual environment if there is none.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

PYTHONS := 3.11 3.12 3.13
# The interpreter of a version: on the path, or from pyenv; empty if none starts.
interpreter = $(firstword $(foreach p,python$(1) $(wildcard $(HOME)/.pyenv/versions/$(1).*/bin/python),$(if $(shell $(p) -V 2>&1 | grep '^Python $(1)\.'),$(p))))

ON_DEVICE := seeds gallery nn modules optim
ON_GPU := devices device_tensors device_replays streams dlpack amp

.PHONY: demo docs examples test test-device test-slow test-fuzz test-pythons $(PYTHONS:%=test-%) test-oldest-numba lint types stubs bench programs conformance \
	kernels-cuda test-gpu bench-gpu clean

demo: $(VENV)/.demo
	$(BIN)/tracer demo

# All examples, with the figures that are in the repository.
examples: $(VENV)/.examples
	for file in $(filter-out examples/common.py,$(wildcard examples/*.py)); do $(BIN)/python $$file --out examples || exit 1; done

# The documentation, in docs/_build/html/index.html. A warning is an error.
docs: $(VENV)/.docs
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

test: $(VENV)/.test
	$(BIN)/python -m pytest -n 2 $(ARGS)
	$(if $(ARGS),,$(MAKE) test-device)

# Programs, modules and optimizers again, with all tensors on the emulated CUDA device.
test-device: $(VENV)/.test
	TRACER_TEST_DEVICE=cuda $(BIN)/python -m pytest -n 2 $(ON_DEVICE:%=tests/test_%.py) $(ARGS)

test-slow: $(VENV)/.test
	$(BIN)/python -m pytest -n 2 -m slow $(ARGS)

# 200,000 random texts for the parser; 20,000 random programs, eager and traced (seeds 1,000 to 20,999); and 20,000 random changes
# between calls (2,600 programs, seeds 1,000 to 3,599): two hours of processor time.
test-fuzz: $(VENV)/.test
	$(BIN)/python -m pytest -n 2 -m fuzz tests/test_parser_fuzz.py tests/test_trace_fuzz.py tests/test_stale_fuzz.py $(ARGS)

# The suite on each supported Python that is installed, in a separate virtual environment.
test-pythons: $(PYTHONS:%=test-%)

$(PYTHONS:%=test-%): test-%:
	$(if $(call interpreter,$*),$(MAKE) test VENV=.venv-$* PYTHON=$(call interpreter,$*),@echo "there is no Python $*")

# The tests that compile, with the oldest supported version of Numba (runtime/compiler/numba_version.py).
OLDEST_NUMBA := 0.65
COMPILING := lower rows jam primitives math gemm runtime threads dialect cpus cli docs numba_functions numba_functions_in_c
test-oldest-numba:
	$(MAKE) .venv-oldest/.test VENV=.venv-oldest
	.venv-oldest/bin/python -m pip install --quiet 'numba==$(OLDEST_NUMBA).*'
	.venv-oldest/bin/python -m pytest -n 2 $(COMPILING:%=tests/test_%.py) $(ARGS)

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# The library and the examples; and what type checkers and editors know of the library, installed editable and from a wheel. Pyright
# is that of basedpyright, which needs no Node.js.
types: $(VENV)/.test
	$(BIN)/mypy -p tracer
	MYPYPATH=examples $(BIN)/mypy examples
	$(BIN)/basedpyright --pythonpath $(BIN)/python
	$(BIN)/python tests/editors.py

# The type stubs, after a change of a public name, signature or docstring.
stubs: $(VENV)/.test
	$(BIN)/python tests/stubs.py

bench: $(VENV)/.bench
	$(BIN)/python -m benchmarks.suite $(or $(ARGS),--write)
	$(BIN)/python -m benchmarks.eager
	$(BIN)/python -m benchmarks.numba_calls
	$(BIN)/python -m benchmarks.outside
	$(BIN)/python -m benchmarks.whole_programs $(or $(ARGS),--write)
	$(BIN)/python -m benchmarks.first_calls $(or $(ARGS),--write)

# Public programs for PyTorch, on PyTorch and here; clones of pytorch/examples, nanoGPT, minGPT and makemore are in build/clones, or in
# the folder of ARGS='--write --clones FOLDER'. ARGS='--write --resume' continues a run.
programs: $(VENV)/.programs
	$(BIN)/python -m benchmarks.programs $(or $(ARGS),--write)

# On a machine with a GPU, in less than ten minutes: tensors, models, optimizers, streams, the tutorials' programs and the gallery there,
# the kernels' results, compute-sanitizer if it is installed, and the reached memory bandwidth.
test-gpu: $(VENV)/.test
	$(BIN)/pip install --quiet -e '.[cuda]'
	TRACER_TEST_CUDA=gpu $(BIN)/python -m pytest -p no:xdist -o addopts= $(ON_GPU:%=tests/test_%.py)
	TRACER_TEST_CUDA=gpu TRACER_TEST_DEVICE=cuda $(BIN)/python -m pytest -p no:xdist -o addopts= tests/test_seeds.py tests/test_gallery.py
	$(BIN)/python -m pytest -m gpu tests/test_gpu.py
	if command -v compute-sanitizer; then for tool in memcheck racecheck; do compute-sanitizer --tool $$tool --error-exitcode 1 \
		$(BIN)/python -m pytest -m gpu tests/test_gpu.py -k extents || exit 1; done; else echo "compute-sanitizer is not installed"; fi
	$(BIN)/python -m benchmarks.gpu_bandwidth --write

# The workloads on a GPU, beside the peers that are installed with CUDA.
bench-gpu: $(VENV)/.test
	$(BIN)/pip install --quiet -e '.[cuda]'
	$(BIN)/python -m benchmarks.gpu $(or $(ARGS),--write)

# The GPU resources of the workloads' kernels, from their machine code; no GPU is needed.
kernels-cuda: $(VENV)/.test
	$(BIN)/python -m benchmarks.kernels_cuda $(or $(ARGS),--write)

# PyTorch's own samples in all dtypes, eager and traced: an hour on one core. `make conformance ARGS='--dtype int64 --mode eager'`
# runs a part; `ARGS='--rest --write'` resumes a run.
conformance: $(VENV)/.conformance
	$(BIN)/python -m conformance $(or $(ARGS),--write)

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet -e '.[demo]'
	touch $@

$(VENV)/.docs: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet -e '.[docs]'
	touch $@

$(VENV)/.examples: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet -e '.[examples]'
	touch $@

$(VENV)/.test: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet -e '.[test]'
	touch $@

$(VENV)/.conformance: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet -e '.[conformance]'
	touch $@

$(VENV)/.bench: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet -e '.[bench]'
	touch $@

$(VENV)/.programs: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet -e '.[programs]'
	touch $@

clean:
	rm -rf $(VENV) .venv-* build src/*.egg-info demo-output examples-output docs/_build docs/api docs/copied docs/ir.md
