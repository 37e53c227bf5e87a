# `make` prints this help; every target sets up .venv first when it is not there.
# CONFIG= a preset or a TOML file, RUN= the run's name, ARGS= overrides such as "finetune.epochs=3".

PYTHON      ?= python3
CONSTRAINTS ?= constraints.txt
VENV        ?= .venv
CONFIG      ?= demo
RUN         ?= $(basename $(notdir $(CONFIG)))
ARGS        ?=
AT_ONCE     ?= 2

# tests that compare computed figures, and the CPUs they are run as: less of torch, oneDNN, OpenBLAS and faiss
NUMERIC := $(addprefix tests/, \
  features/encoder/test_encoder.py features/encoder/test_hardware.py features/encoder/test_pooling.py \
  features/extraction/test_encode.py finetune/embeddings/test_sentence_encoder.py $(addprefix finetune/embeddings/, test_retrieval.py test_similarity.py test_translations.py) finetune/freezing/test_mechanism.py \
  finetune/test_baseline.py finetune/test_model.py finetune/test_predict.py pipeline/commands/test_nearest.py \
  $(addprefix search/, fitting/test_representation.py fitting/test_probe.py))
AVX2    := ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 OPENBLAS_CORETYPE=Haswell FAISS_OPT_LEVEL=avx2
SSE41   := ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 OPENBLAS_CORETYPE=Nehalem FAISS_OPT_LEVEL=generic

PACKAGES := $(addprefix mcbert/, __init__.py __main__.py execution.py home.py settings.py files interface) pipeline features search finetune results
BIN      := $(VENV)/bin
MCBERT    = $(BIN)/python -m mcbert
STAGE     = $(MCBERT) $(1) --config $(CONFIG) --run $(RUN) $(ARGS)

.DEFAULT_GOAL := help
.PHONY: help setup demo prepare extract gridsearch tune finetune report export embeddings retrieval test numeric numeric-avx2 numeric-sse41 stress lint types validate bench bench-extract bench-gridsearch bench-finetune bench-embeddings bench-real bench-sentences bench-compared site clean

help: ## print this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "  options: CONFIG=demo RUN=demo ARGS=\"finetune.epochs=3\"; presets:" $$(ls pipeline/presets | sed 's/\.toml//')

setup: $(VENV)/.ready ## make .venv with everything that the other targets need

$(VENV)/.ready: setup.cfg pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -c 'import sys; sys.exit("mcbert needs Python 3.11 or newer, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(CONSTRAINTS) -e '.[dev]'
	touch $@

demo: setup ## samples: prepare, extract, gridsearch, finetune, report
	$(MCBERT) demo

prepare: setup ## raw labelled texts -> texts.csv
	$(call STAGE,prepare)

extract: setup ## texts.csv -> feature cache (every layer x pooling, HDF5)
	$(call STAGE,extract)

gridsearch: setup ## feature cache -> gridsearch.csv, winner.json
	$(call STAGE,gridsearch)

tune: setup ## the settings of finetune, tried on dev -> tune.csv, ARGS="tune.values.epochs=[2,3]"
	$(call STAGE,tune)

finetune: setup ## texts.csv + winner -> finetune.csv, table1.csv, models/
	$(call STAGE,finetune)

report: setup ## the run's CSVs, as far as they exist -> report.html, figures/; RUN="a b" compares runs: results/runs/comparison.html
	$(if $(word 2,$(RUN)),$(MCBERT) runs $(RUN) --html results/runs/comparison.html --replace,$(call STAGE,report))

export: setup ## the search's winner -> models/probe, a transformers model
	$(call STAGE,export)

embeddings: setup ## pairs of English sentences -> models/embeddings, embeddings.csv; sts.csv, tatoeba.csv
	$(call STAGE,embeddings)

retrieval: setup ## Tatoeba pairs -> tatoeba.csv, ARGS="retrieval.tatoeba=FOLDER"
	$(call STAGE,retrieval)

validate: setup ## check the run's CSVs against the schema
	$(MCBERT) validate results/runs/$(RUN)

test: setup ## run the tests, AT_ONCE=2 modules at a time
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(AT_ONCE) --dist loadfile --no-loadscope-reorder $(ARGS)

numeric: setup ## the tests of computed figures as on a CPU with AVX2 alone, and as on an older one with 2 threads
	$(MAKE) --jobs=$(AT_ONCE) --output-sync numeric-avx2 numeric-sse41

numeric-avx2: # one process each: another would import all that the tests need once more
	$(AVX2) OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m "not slow" $(NUMERIC)

numeric-sse41: # threads that wait must not spin: there are more threads than cores
	$(SSE41) OMP_NUM_THREADS=2 OMP_WAIT_POLICY=passive $(BIN)/python -m pytest -q -m "not slow" $(NUMERIC)

stress: setup ## 500 kills of the cache writer, the extraction and the fine-tuning instead of a few
	MCBERT_KILLS=500 $(BIN)/python -m pytest tests/features/cache tests/features/extraction/test_kill.py tests/finetune/test_kill.py -k kill

lint: setup ## ruff, vulture, the tables of the pages against docs/figures/
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python .ci/figures.py --check
	$(BIN)/vulture $(PACKAGES) .vulture.py --ignore-decorators "@model_validator" # alone: what only tests or benchmarks call is dead
	$(BIN)/vulture $(PACKAGES) tests benchmarks samples .vulture.py .vulture_tests.py --ignore-names "test_*,conftest,pytestmark" --ignore-decorators "@model_validator"

types: setup ## mypy, strict
	$(BIN)/mypy

bench: setup ## the quality table of the samples (README quotes it)
	$(BIN)/python benchmarks/demo_quality.py $(ARGS)

bench-extract: setup ## the speed of extraction against the plain ways, ARGS="--stsbenchmark DIR --tatoeba DIR"
	$(BIN)/python benchmarks/extract.py $(ARGS)

bench-gridsearch: setup ## the speed of the search against plain scikit-learn, ARGS="--growth" for its growth
	$(BIN)/python benchmarks/gridsearch.py $(ARGS)

bench-finetune: setup ## the speed of fine-tuning against transformers' plain recipe, and of frozen layers
	$(BIN)/python benchmarks/finetune.py $(ARGS)

bench-embeddings: setup ## sentence embeddings over seeds beside the frozen encoder, and the speed of encoding
	$(BIN)/python benchmarks/embeddings.py $(ARGS)

bench-real: setup ## XNLI, SIB-200, Home Assistant intents with an encoder: ARGS="--encoder DIR --data DIR", docs/benchmarks.md
	$(BIN)/python benchmarks/real.py $(ARGS)

bench-sentences: setup ## sentence embeddings of an encoder by layer, trained on English NLI: ARGS="--encoder DIR --data DIR"
	$(BIN)/python benchmarks/real_sentences.py $(ARGS)

bench-compared: setup ## beside sentence-transformers + logistic regression and SetFit: ARGS="--encoder DIR --data DIR", docs/compared.md
	$(BIN)/python benchmarks/compared.py $(ARGS)

site: $(VENV)/.site ## the pages as a site, with search and the docstrings, in build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	! grep -rE '<(script|link|img|iframe)[^>]+(src|href)="(https?:)?//' build/site --include='*.html' # pages load from here alone

$(VENV)/.site: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(CONSTRAINTS) 'mcbert[docs]' # those alone: mcbert is there
	touch $@

clean: ## remove caches and build leftovers; .venv and results stay
	rm -rf cache build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
