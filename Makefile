# The commands of the project. `make` alone lists them; each makes its environment where it is missing.

PYTHON ?= python3
VENV ?= .venv
PEERS ?= .venv-peers
# More arguments of pytest: make test PYTEST_ARGS="tests/engine -x"
PYTEST_ARGS ?=
# More arguments of kernelearn bench: make bench BENCH_ARGS="--quick --training"
BENCH_ARGS ?=
# Two processes; a file belongs to one of them, so that what its tests share is made once. Files come in the order
# of tests/order.py, the longest first, and not as many tests as they have.
IN_TWO = -n 2 --dist loadfile --no-loadscope-reorder
# One BLAS thread for each of the processes that test at the same time.
TEST_THREADS = OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 MKL_NUM_THREADS=1
FUZZ ?= 100000
# The processor that `make test-target` compiles for, and what it runs: networks trained and used.
TARGET ?= avx2
TARGET_TESTS = tests/models/test_zoo.py tests/layers tests/training/test_fit.py tests/training/test_on_batch.py \
	tests/test_tiny.py tests/engine/cpu/test_executable.py tests/engine/cpu/test_random_networks.py
NATIVE = from kernelearn.engine.cpu.machine.target import find_target; print(find_target("native").name)
# Comparisons with other libraries that every change has to pass; `make parity` runs them all.
LIVE_TESTS = $(addprefix tests/parity/,live_delta_paths.py live_onnx.py live_transfer.py live_watch.py live_watch_outside.py \
	live_watch_loops.py live_torch_backend.py live_torch_backend_outside.py live_torch_measuring.py \
	live_torch_bench.py live_torch_steps.py live_pages.py)
# Those that take minutes: where there is time.
LIVE_SWEEPS = $(addprefix tests/parity/,live_watch_keras.py live_torch_random.py \
	live_torch_backend_random.py live_torch_backend_rules.py live_torch_scripts.py)
# Files between Keras, PyTorch and ONNX, with Keras on PyTorch, which compiles nothing.
LIVE_FILES = tests/parity/live_keras_files.py tests/parity/live_circle_files.py tests/parity/live_onnx_training.py \
	'tests/fuzz/test_short.py::test_damage_is_refused_or_harmless[.pt]' \
	'tests/fuzz/test_short.py::test_damage_is_refused_or_harmless[.pt2]'
PIP_INSTALL = python -m pip install --quiet --disable-pip-version-check
# An environment that holds nothing but the wheel, to see that it needs nothing else.
WHEEL_ENV = build/wheel-env
# One with the oldest versions that pyproject.toml allows, and what is tested in it.
LOWEST_ENV = build/lowest-env
LOWEST_EXTRAS = data sklearn plot view interop kernels
LOWEST_TESTS = tests/test_tiny.py tests/test_core_install.py tests/cli tests/data tests/engine/test_operators.py \
	tests/engine/cpu/test_operators.py tests/explain/test_ledger.py tests/formats tests/layers tests/learn tests/recording \
	tests/training tests/view/page/test_server.py

.DEFAULT_GOAL := help
.PHONY: help install install-peers demo test test-slow test-target test-lowest test-peers test-peers-sweeps fuzz kills lint dist check-dist bench \
	bench-alone docs notebooks parity replicate-kernels clean

help: ## list the commands
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' Makefile

install: $(VENV)/.installed-dev ## make .venv with everything the other commands need

# Done again only when pyproject.toml changes.
$(VENV)/.installed-dev: pyproject.toml
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/$(PIP_INSTALL) -e '.[dev]'
	touch $@ $(VENV)/.installed-demo

# The part of it that the demo needs: the core, pictures, and the page.
$(VENV)/.installed-demo: pyproject.toml
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/$(PIP_INSTALL) -e '.[plot,view]'
	touch $@

$(VENV)/.installed-docs: $(VENV)/.installed-dev
	$(VENV)/bin/$(PIP_INSTALL) -e '.[docs]'
	touch $@

# Twenty thousand files, most of which nothing imports: Python compiles those that it needs.
$(PEERS)/.installed: pyproject.toml
	test -x $(PEERS)/bin/python || $(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/$(PIP_INSTALL) --no-compile torch==2.13.0 keras jax tensorflow-cpu onnx onnxruntime \
		lightning pytorch-ignite 'transformers[torch]'
	$(PEERS)/bin/$(PIP_INSTALL) --no-compile -e '.[dev]'
	touch $@

install-peers: $(PEERS)/.installed ## make .venv-peers with Keras, PyTorch, its loops, TensorFlow, JAX, ONNX Runtime (large download)

demo: $(VENV)/.installed-demo ## train on 1,797 real handwritten digits and report how the kernels learned
	$(VENV)/bin/kernelearn train digits --record --record-kernels 20 --record-full conv1 --record-ledger 61 \
		--run runs/demo --overwrite
	$(VENV)/bin/kernelearn report runs/demo
	$(VENV)/bin/kernelearn explain history runs/demo
	@echo
	@echo "The weight above is explained in full: every update that made it what it is."
	@echo "Below, one pixel of a feature map: its window, times the kernel, plus the bias, activated and pooled."
	@echo
	$(VENV)/bin/kernelearn explain unit runs/demo --filter 1 --top 9
	@echo
	@echo "The kernels as a picture:              $(CURDIR)/runs/demo/kernels.png"
	@echo "How all of them learned, in a browser: $(CURDIR)/runs/demo/report.html"
	@echo
	@echo "Next, in this folder:"
	@echo "  $(VENV)/bin/kernelearn view runs/demo                  # the same as a page: ask any weight why it moved"
	@echo "  $(VENV)/bin/kernelearn explain delta runs/demo         # where the error of a pixel comes from"
	@echo "  $(VENV)/bin/kernelearn explain ledger runs/demo        # one gradient, term by term"
	@echo "  $(VENV)/bin/kernelearn explain update runs/demo        # one update: gradient, momentum, decay"
	@echo "  $(VENV)/bin/kernelearn explain history runs/demo --weight 0,0,0,0"
	@echo "  $(VENV)/bin/kernelearn explain --help"

test: install ## run the tests, all but the slow sweeps
	$(TEST_THREADS) $(VENV)/bin/python -m pytest $(IN_TWO) -m "not slow" $(PYTEST_ARGS)

test-slow: install ## run the slow sweeps
	$(TEST_THREADS) $(VENV)/bin/python -m pytest $(IN_TWO) -m slow $(PYTEST_ARGS)

test-target: install ## run what depends on the processor once more, as on another one: TARGET=baseline
	@if [ "$$($(VENV)/bin/python -c '$(NATIVE)')" = "$(TARGET)" ]; then \
		echo "make test compiles for $(TARGET) already: nothing is run once more"; \
	else \
		KERNELEARN_CPU_TARGET=$(TARGET) $(TEST_THREADS) $(VENV)/bin/python -m pytest $(IN_TWO) -m "not slow" \
			$(TARGET_TESTS) $(PYTEST_ARGS); \
	fi

test-lowest: ## run a part of the tests with the oldest versions that pyproject.toml allows (python 3.11 or 3.12)
	test -x $(LOWEST_ENV)/bin/python || $(PYTHON) -m venv $(LOWEST_ENV)
	$(LOWEST_ENV)/bin/$(PIP_INSTALL) pytest pytest-xdist hypothesis httpx $$($(PYTHON) tests/lowest.py $(LOWEST_EXTRAS))
	PYTHONPATH=$(CURDIR)/src $(TEST_THREADS) $(LOWEST_ENV)/bin/python -m pytest $(IN_TWO) -m "not slow" $(LOWEST_TESTS) $(PYTEST_ARGS)

test-peers: $(PEERS)/.installed ## run what a living Keras, PyTorch and ONNX Runtime are needed for, all but the slow sweeps
	$(TEST_THREADS) $(PEERS)/bin/python -m pytest $(IN_TWO) -m "not slow" $(LIVE_TESTS) $(PYTEST_ARGS)
	KERAS_BACKEND=torch $(TEST_THREADS) $(PEERS)/bin/python -m pytest $(IN_TWO) -m "not slow" $(LIVE_FILES) $(PYTEST_ARGS)

fuzz: install ## damage files of every kind that is read, and tell what became of them: FUZZ=1000000 of them
	$(TEST_THREADS) $(VENV)/bin/python -m tests.fuzz --mutations $(FUZZ)

kills: install ## kill a training at each file operation behind its last step, and resume it (the table; minutes)
	$(TEST_THREADS) $(VENV)/bin/python tests/cli/kills.py
	$(TEST_THREADS) $(VENV)/bin/python tests/cli/kills.py --record

lint: install ## ruff (rules and format) and mypy
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

dist: install ## build the wheel and the source archive into dist/
	rm -rf dist
	$(VENV)/bin/python -m build --outdir dist .

check-dist: dist ## install the wheel alone, away from the repository, and train, explain and report with it
	rm -rf $(WHEEL_ENV)
	$(PYTHON) -m venv $(WHEEL_ENV)
	$(WHEEL_ENV)/bin/$(PIP_INSTALL) "$$(ls dist/*.whl)[plot]"
	$(WHEEL_ENV)/bin/python tests/check_wheel.py

bench: $(PEERS)/.installed ## time everything side by side with PyTorch, Keras, JAX, ONNX Runtime (an hour, large download)
	mkdir -p runs
	$(PEERS)/bin/kernelearn bench --json runs/bench.json --figure runs/bench.png --markdown docs/performance.md \
		$(BENCH_ARGS)

bench-alone: install ## time without other libraries: the engines, and kernel machines
	$(VENV)/bin/kernelearn bench --quick --against none $(BENCH_ARGS)
	OPENBLAS_NUM_THREADS=1 $(VENV)/bin/python benchmarks/train_reference.py
	$(VENV)/bin/python benchmarks/kernel_machines_speed.py

docs: $(VENV)/.installed-docs ## draw the pictures anew and build the documentation into site/
	$(VENV)/bin/python docs/_house.py
	$(VENV)/bin/python docs/_pictures.py
	$(VENV)/bin/mkdocs build --strict

notebooks: install ## run the notebooks under examples/ and store what they show
	$(VENV)/bin/python examples/_notebooks.py

test-peers-sweeps: $(PEERS)/.installed ## run random networks, operators and trainings against living libraries (minutes)
	$(TEST_THREADS) $(PEERS)/bin/python -m pytest $(IN_TWO) -m "not slow" $(LIVE_SWEEPS) $(PYTEST_ARGS)

parity: $(PEERS)/.installed ## compare layers with the living Keras and PyTorch (large download)
	$(TEST_THREADS) $(PEERS)/bin/python -m pytest tests/parity/live*.py $(PYTEST_ARGS)
	$(TEST_THREADS) $(PEERS)/bin/python -m pytest -n 2 tests/parity/compositions_live.py $(PYTEST_ARGS)

replicate-kernels: install ## replicate the tables of Lanckriet et al., 2004
	$(VENV)/bin/python benchmarks/replicate_kernels.py

clean: ## delete what the commands made, but no environment and no run
	rm -rf build dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis
