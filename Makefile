# Studio. `make` alone lists the targets.

PYTHON ?= python3
PORT ?= 8000
VENV := .venv
BIN := $(VENV)/bin
RUN_READY := $(VENV)/run-ready
DEV_READY := $(VENV)/dev-ready

# The service's malloc: two arenas instead of eight per core keep a threaded process small.
export MALLOC_ARENA_MAX ?= 2

.DEFAULT_GOAL := help
.PHONY: help setup run test test-gradio check format contract fault-matrix bench bench-jobs bench-composer eval-failures docs pictures lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(DEV_READY) ## make .venv with everything, the `studio` command included

run: $(RUN_READY) ## serve on the embedded composer (PORT=8000)
	@echo "Studio is starting on http://127.0.0.1:$(PORT)  (documentation: /docs/, stop: Ctrl-C). Open it, or try:"
	@echo "  curl -sS -f -X POST http://127.0.0.1:$(PORT)/studio-generate -H 'Content-Type: application/json' -d '{\"prompt\":\"calm piano\",\"duration\":10}' -o calm.wav"
	@STUDIO_ENGINE=$${STUDIO_ENGINE:-composer} STUDIO_LOG_FORMAT=$${STUDIO_LOG_FORMAT:-text} STUDIO_HOST=$${STUDIO_HOST:-127.0.0.1} PORT=$(PORT) exec $(BIN)/gunicorn wsgi:app

test: $(DEV_READY) ## run the tests, with the coverage gate (needs postgresql, redis, slowhttptest and chromium)
	$(BIN)/python -m pytest -m "not real and not gradio and not browser" -n auto --cov --cov-report=term --cov-report=json:.coverage.json
	$(BIN)/python tools/coverage_gate.py .coverage.json
	$(BIN)/python -m pytest -m "real and not gradio"
	$(BIN)/python -m pytest -m browser

test-gradio: $(DEV_READY) ## run the tests against real Gradio servers (needs ffmpeg; makes their environments once)
	$(BIN)/python tests/real/environments.py
	$(BIN)/python -m pytest -m gradio

contract: $(DEV_READY) ## hold the running service to its description (CASES=50000; the tests make 2,000 requests)
	TEST_CONTRACT_CASES=$(or $(CASES),50000) $(BIN)/python -m pytest --log-cli-level=INFO tests/real/test_contract.py

fault-matrix: $(DEV_READY) ## put every fault of an upstream to the test, into docs/faults.md (five minutes; the tests run a part)
	$(BIN)/python -m tools.fault_matrix

check: $(DEV_READY) ## lint and type-check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(DEV_READY) ## put the code into its layout
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(DEV_READY) ## measure side by side, into docs/performance.md (all six parts take 15 minutes; PARTS="a b")
	$(BIN)/python -m bench $(PARTS)

bench-jobs: $(DEV_READY) ## kill the service in mid-run, hundreds of jobs long, and measure it at work (needs postgresql)
	$(BIN)/python -m bench.jobs

bench-composer: $(DEV_READY) ## measure what a piece of the embedded composer costs
	$(BIN)/python -m bench.composer

eval-failures: $(RUN_READY) ## say how often the failure analyser is right (LABELLED=file.jsonl)
	@test -n "$(LABELLED)" || { echo "Name a labelled file: make eval-failures LABELLED=labelled.jsonl"; exit 2; }
	$(BIN)/python -m tools.eval_failures $(if $(WRONG),--wrong) "$(LABELLED)"

pictures: $(DEV_READY) ## draw the pictures of docs/composer.md, and take those of the pages (needs chromium)
	$(BIN)/python -m tools.draw_pieces
	$(BIN)/python -m tools.pictures

docs: $(RUN_READY) ## write the generated pages of docs/
	$(BIN)/python -m tools.docs

lock: $(DEV_READY) ## pin the dependencies of pyproject.toml, with hashes, for Python 3.11 and later
	$(BIN)/uv pip compile -q --universal --generate-hashes --python-version 3.11 --no-emit-index-url --no-emit-find-links \
		--custom-compile-command "make lock" pyproject.toml -o requirements.txt
	$(BIN)/uv pip compile -q --universal --generate-hashes --python-version 3.11 --no-emit-index-url --no-emit-find-links \
		--custom-compile-command "make lock" --group dev pyproject.toml -o requirements-dev.txt

clean: ## remove what make made
	rm -rf $(VENV) .coverage .coverage.json .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit("Studio needs Python 3.11 or later; this is " + sys.version.split()[0] + ". Try: make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

# -P: else code in the folder that it is called in would be run.
$(BIN)/studio: Makefile | $(BIN)/python
	@printf '#!/bin/sh\nPYTHONPATH="%s" exec "%s/bin/python" -P -m app.cli "$$@"\n' "$(CURDIR)" "$(CURDIR)/$(VENV)" > $@
	@chmod +x $@

$(RUN_READY): requirements.txt | $(BIN)/studio
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.txt
	@touch $@

$(DEV_READY): requirements-dev.txt | $(RUN_READY)
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@
