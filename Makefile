# Every line is a command that a person could type. Nothing is installed outside this folder.
PYTHON ?= python3
BIN := .venv/bin
export GLASSLINE_HOME ?= .glassline
export GLASSLINE_PORT ?= 3000

.PHONY: demo test test-fast lint bench bench-explain install clean

demo: install
	$(BIN)/glassline train cnn --arch lenet5 --data digits --if-missing
	$(BIN)/glassline train imagenet-example --if-missing
	$(BIN)/glassline serve

test: install
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

test-fast: install
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow"

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: install
	$(BIN)/python tests/bench/codec.py
	$(BIN)/python tests/bench/audit.py
	$(BIN)/python tests/bench/serving.py

bench-explain: install
	OPENBLAS_NUM_THREADS=1 $(BIN)/python tests/bench/explain_modalities.py
	$(BIN)/python tests/bench/explain_images.py

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --progress-bar on --constraint constraints.txt --editable ".[cpu,postgres,otel,batch,mqtt,similar,timestamp,train,dev]"
	touch .venv/installed

clean:
	rm -rf .venv .glassline build *.egg-info
