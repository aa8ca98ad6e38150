# make demo, make test: both set up what they need in a virtual environment, without root.
# Another Python: make test PYTHON=python3.12
PYTHON ?= python3
VENV ?= $(if $(filter python3,$(PYTHON)),.venv,.venv-$(notdir $(PYTHON)))
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PEERS := $(VENV)/.peers
# Only what lock/ names is installed, file by file; make lock chooses anew.
LOCKS := lock/dev.txt lock/operator.txt lock/cuda.txt
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
LOCKED := $(PIP) --require-hashes --requirement
LOCK := $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
  --no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock'
# The machine code of Numba, for every process and every later run; each environment has its own Numba.
export NUMBA_CACHE_DIR = $(abspath $(VENV))/numba
# Test processes at a time: make test JOBS=4
JOBS ?= 3
# Each process has the libraries of its neighbors to share the cores with.
test test-all test-lowest test-latest: export OMP_NUM_THREADS = 1
# In the order of tests/conftest.py: files that take long first.
PYTEST := -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder
# Where: make test TESTS=tests/images. QUICK=1: only what the versions of other packages break first.
QUICK ?=
TESTS ?= $(if $(QUICK),tests/storage tests/compute tests/artefacts \
  tests/clustering tests/estimators tests/images tests/stages tests/features tests/kernels/test_nearest.py)

# An environment made anew, of versions that are chosen now.
define test_versions
	$(PYTHON) -m venv --clear $(1)
	$(BIN)/uv pip install --quiet --python $(1)/bin/python --resolution $(2) --editable '.[dev]'
	NUMBA_CACHE_DIR=$(abspath $(1))/numba $(1)/bin/python $(PYTEST) $(TESTS)
endef
# Options of a benchmark: make bench BENCH='--data FILE --n 2000000 --k 1000'; BENCH=--help lists them.
BENCH ?=

.PHONY: help setup lock demo studies test test-all test-gpu test-lowest test-latest soak bench bench-floats bench-pixels bench-quality bench-relaxation bench-seeds bench-starts bench-perceptual bench-overhead bench-storage bench-billion bench-checksums bench-scaling bench-rate bench-start bench-dither bench-png bench-folder bench-gpu gpu-day stubs architecture schemas docs coverage lint types clean

help: ## say what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

$(READY): pyproject.toml $(LOCKS)
	$(PYTHON) -m venv $(VENV)
	$(LOCKED) lock/dev.txt
	$(PIP) --no-deps --no-build-isolation --editable .
	$(LOCKED) lock/operator.txt --no-deps --upgrade --target $(VENV)/operator
	$(LOCKED) lock/cuda.txt --no-deps --upgrade --target $(VENV)/cuda --only-binary :all: \
	  || echo "no CuPy for this machine: the CUDA kernels are not compiled"
	$(BIN)/python -m dkmeans.kernels.warm
	touch $(READY)

setup: $(READY) ## install dkmeans and its tools into $(VENV)

lock: $(READY) ## choose the newest versions that pyproject.toml allows, for lock/
	$(LOCK) pyproject.toml --extra dev --extra deploy --group build --output-file lock/dev.txt
	$(LOCK) --no-deps --group operator --output-file lock/operator.txt
	$(LOCK) --no-deps --group cuda --output-file lock/cuda.txt

demo: $(READY) ## run the main job on scikit-image's photos; writes demo/report.html
	$(BIN)/python jobs/demo.py

studies: $(READY) ## run the three studies on embedded images; writes studies/*/index.html
	$(BIN)/dkmeans run jobs/studies/palette.toml
	$(BIN)/dkmeans run jobs/studies/faces.toml
	$(BIN)/dkmeans run jobs/studies/mnist_patches.toml

test: $(READY) ## run the tests
	$(BIN)/python $(PYTEST) $(TESTS)

test-all: $(READY) ## run the tests, the slow ones too
	$(BIN)/python $(PYTEST) -m 'not gpu' $(TESTS)

test-gpu: $(READY) ## run the tests that need a GPU; pip install '.[gpu-cuda12]' before it
	$(BIN)/python $(PYTEST) -n 1 -m gpu $(TESTS)

test-lowest: $(READY) ## run the tests with the oldest versions that pyproject.toml allows
	$(call test_versions,.venv-lowest,lowest-direct)

test-latest: $(READY) ## run the tests with the newest versions that pyproject.toml allows
	$(call test_versions,.venv-latest,highest)

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

bench-floats: $(READY) ## whole fits of float rows of many shapes, beside scikit-learn; BENCH='--features 128 --clusters 256'
	$(BIN)/python tests/benchmarks/bench_floats.py $(BENCH)

bench-pixels: $(PEERS) ## one palette for a folder of images, beside scikit-learn; BENCH='--data FOLDER --double'
	$(BIN)/python tests/benchmarks/bench_pixels.py $(BENCH)

bench-quality: $(PEERS) ## seeding, and seconds until the inertia is within 0.1 % of the best; BENCH='--k 1000'
	$(BIN)/python tests/benchmarks/bench_quality.py $(BENCH)

bench-relaxation: $(READY) ## iterations of relaxed steps to the inertia of plain ones; BENCH='--k 1000' or '--data FOLDER --colors --k 64'
	$(BIN)/python tests/benchmarks/bench_relaxation.py $(BENCH)

bench-seeds: $(READY) ## seconds of each part of seeding, and what the seeds are worth; BENCH='--data FILE --k 1000'
	$(BIN)/python tests/benchmarks/bench_seeds.py $(BENCH)

bench-starts: $(READY) ## inertia of one start and of the best of several, beside scikit-learn; BENCH='--rounds 20'
	$(BIN)/python tests/benchmarks/bench_starts.py $(BENCH)

bench-perceptual: $(PEERS) ## mean CIEDE2000, PSNR, SSIM beside pngquant and libimagequant; BENCH='--data FOLDER' or --alpha
	$(BIN)/python tests/benchmarks/bench_perceptual.py $(BENCH)

bench-storage: $(PEERS) ## small images and arrays on an S3 server of its own; BENCH='--objects 10000' or --arrays
	$(BIN)/python tests/benchmarks/bench_storage.py $(BENCH)

bench-billion: $(PEERS) ## a bucket of a billion pixels, to a palette and back; BENCH='--small 100000'
	$(BIN)/python tests/benchmarks/bench_billion.py $(BENCH)

bench-checksums: $(READY) ## what checksums cost ingest and a streamed step; BENCH='--data FOLDER'
	$(BIN)/python tests/benchmarks/bench_checksums.py $(BENCH)

bench-scaling: $(PEERS) ## what an iteration costs beside the kernels; BENCH='--workers 2 200'
	$(BIN)/python tests/benchmarks/bench_scaling.py $(BENCH)

bench-rate: $(PEERS) ## bits and quality beside other tools; BENCH='--data FOLDER'
	$(BIN)/python tests/benchmarks/bench_rate.py $(BENCH)

bench-start: $(READY) ## whole commands beside pngquant; BENCH='--data FOLDER --beside CHECKOUT'
	$(BIN)/python tests/benchmarks/bench_start.py $(BENCH)

bench-dither: $(PEERS) ## dithered palettes beside other tools; BENCH='--data FOLDER'
	$(BIN)/python tests/benchmarks/bench_dither.py $(BENCH)

bench-folder: $(READY) ## a folder of 10,000 files of many kinds, changed and updated; BENCH='--files 1000'
	$(BIN)/python tests/benchmarks/bench_folder.py $(BENCH)

bench-png: $(PEERS) ## bytes of PNG files of few colors beside pngquant; BENCH='--data FOLDER'
	$(BIN)/python tests/benchmarks/bench_png.py $(BENCH)

bench-gpu: $(READY) ## iterations on a GPU beside flashlib, cuVS, PyTorch, CuPy; pip install '.[gpu-cuda12]' before it
	$(BIN)/python tests/benchmarks/bench_gpu.py $(BENCH)

gpu-day: $(READY) ## 25 minutes on a GPU: sanitizers, tests, bench-gpu, ncu, into one folder; DATA=FILE OUT=gpu-day
	$(BIN)/python tests/gpu_day.py --out $(or $(OUT),gpu-day)$(if $(DATA), --data $(DATA))

bench-overhead: $(PEERS) ## what Dask costs beside a plain loop of threads; BENCH='--blocks 16'
	$(BIN)/python tests/benchmarks/bench_overhead.py $(BENCH)

stubs: $(READY) ## write the public names for type checkers anew, from the registry
	$(BIN)/python -m dkmeans.command.stubs

architecture: $(READY) ## draw docs/architecture.md anew, from the code
	PYTHONPATH=tests $(BIN)/python tests/architecture.py

schemas: $(READY) ## write the JSON schemas of docs/schemas anew, from the models of the manifests
	PYTHONPATH=tests $(BIN)/python tests/schemas.py

docs: $(READY) ## build the site into docs/_build/html, run every cell of it, and look at every page and link
	$(BIN)/python -m sphinx --builder html --fail-on-warning --keep-going --nitpicky --jobs auto --quiet docs docs/_build/html
	$(BIN)/python -m pytest -q -m 'not gpu' tests/docs

coverage: $(READY) ## run the tests and name the lines that none has run
	$(BIN)/python $(PYTEST) --cov=dkmeans --cov-report=term-missing:skip-covered $(TESTS)

lint: $(READY) ## check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY) ## check types
	$(BIN)/mypy

clean: ## delete what was installed and built
	rm -rf .venv .venv-* demo studies gpu-day docs/_build docs/reference/generated build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
