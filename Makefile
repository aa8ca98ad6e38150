# make demo, make test: both set up what they need in a virtual environment, without root.
# Another Python: make test PYTHON=python3.12
PYTHON ?= python3
VENV ?= $(if $(filter python3,$(PYTHON)),.venv,.venv-$(notdir $(PYTHON)))
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PEERS := $(VENV)/.peers
CUPY := --only-binary :all: --no-deps 'cupy-cuda12x>=13.4' nvidia-cuda-nvrtc-cu12 cuda-pathfinder
# Test processes at a time: make test JOBS=4
JOBS ?= 3
PYTEST := -m pytest -n $(JOBS) --dist loadfile
# Options of a benchmark: make bench BENCH='--data FILE --n 2000000 --k 1000'; BENCH=--help lists them.
BENCH ?=

.PHONY: help setup demo studies test test-all test-gpu test-lowest soak bench bench-pixels bench-quality bench-overhead bench-storage bench-scaling bench-rate bench-gpu lint types clean

help: ## say what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

# Two for the tests alone, not among the packages: Dask's operator for its schemas, as it needs 30 more, and
# CuPy to compile the CUDA kernels, as every program would look for a GPU with it.
$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade --target $(VENV)/operator 'dask-kubernetes>=2026.3'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade --target $(VENV)/cuda $(CUPY) \
	  || echo "no CuPy for this machine: the CUDA kernels are not compiled"
	touch $(READY)

setup: $(READY) ## install dkmeans and its tools into $(VENV)

demo: $(READY) ## run the main job on scikit-image's photos; writes demo/report.html
	$(BIN)/python -m jobs.demo

studies: $(READY) ## run the three studies on embedded images; writes studies/*/index.html
	$(BIN)/dkmeans run jobs/studies/palette.toml
	$(BIN)/dkmeans run jobs/studies/faces.toml
	$(BIN)/dkmeans run jobs/studies/mnist_patches.toml

test: $(READY) ## run the tests
	$(BIN)/python $(PYTEST)

test-all: $(READY) ## run the tests, the slow ones too
	$(BIN)/python $(PYTEST) -m 'not gpu'

test-gpu: $(READY) ## run the tests that need a GPU; pip install '.[gpu-cuda12]' before it
	$(BIN)/python $(PYTEST) -n 1 -m gpu

test-lowest: ## run the tests with the oldest versions that pyproject.toml allows
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet --disable-pip-version-check uv
	.venv-lowest/bin/uv pip install --quiet --python .venv-lowest/bin/python --resolution lowest-direct -e '.[dev]'
	.venv-lowest/bin/python $(PYTEST)

# Ten minutes on Ceph, from a seed that it tells: make soak MINUTES=60 SEED=1 STORE=local FAULTS=driver,store.kill
SOAK_OPTIONS := $(foreach name,MINUTES ROUNDS SEED STORE FAULTS WAIT LOGS,$(if $($(name)),\
  --$(shell echo $(name) | tr A-Z a-z) $($(name))))
soak: $(READY) ## disturb random pipelines and compare their bytes; MINUTES=10 SEED=1 STORE=local
	PYTHONPATH=tests $(BIN)/python -m soak $(SOAK_OPTIONS)

$(PEERS): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	touch $(PEERS)

bench: $(PEERS) ## seconds of an iteration beside other libraries; BENCH='--data FILE --n 2000000 --k 1000'
	$(BIN)/python tests/benchmarks/bench_lloyd.py $(BENCH)

bench-pixels: $(PEERS) ## one palette for a folder of images, beside scikit-learn; BENCH='--data FOLDER --double'
	$(BIN)/python tests/benchmarks/bench_pixels.py $(BENCH)

bench-quality: $(PEERS) ## seeding, and seconds until the inertia is within 0.1 % of the best; BENCH='--k 1000'
	$(BIN)/python tests/benchmarks/bench_quality.py $(BENCH)

bench-storage: $(PEERS) ## small images and arrays on an S3 server of its own; BENCH='--objects 10000' or --arrays
	$(BIN)/python tests/benchmarks/bench_storage.py $(BENCH)

bench-scaling: $(PEERS) ## what an iteration costs driver and scheduler; BENCH='--tasks 16 256 4096'
	$(BIN)/python tests/benchmarks/bench_scaling.py $(BENCH)

bench-rate: $(PEERS) ## bits and quality beside other tools; BENCH='--data FOLDER'
	$(BIN)/python tests/benchmarks/bench_rate.py $(BENCH)

bench-gpu: $(READY) ## iterations on a GPU beside CuPy, PyTorch, flash-kmeans; pip install '.[gpu-cuda12]' before it
	$(BIN)/python tests/benchmarks/bench_gpu.py $(BENCH)

bench-overhead: $(PEERS) ## what Dask costs beside a plain loop of threads; BENCH='--blocks 16'
	$(BIN)/python tests/benchmarks/bench_overhead.py $(BENCH)

lint: $(READY) ## check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY) ## check types
	$(BIN)/mypy

clean: ## delete what was installed and built
	rm -rf .venv .venv-* demo studies build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
