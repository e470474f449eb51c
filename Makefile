# Every target sets itself up first: virtual environment, packages, MicroPython image, the emulator's core. That is
# cached and done again when pyproject.toml changes.
PYTHON ?= python3
CONFIG ?= sodium_rack
VENV := .venv
RUN := $(VENV)/bin/
READY := $(VENV)/halite.ready

.DEFAULT_GOAL := help
.PHONY: help demo test scenarios bench bitflips lies duty mutants lint flash console generate clean

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "error: $(PYTHON) is older than 3.11 (give another: make PYTHON=python3.12 ...)" >&2; exit 1; }
	@echo "setting up $(VENV) (once; some minutes, about 1.1 GB)"
	@test -x $(RUN)python || $(PYTHON) -m venv $(VENV) \
		|| { echo "error: $(PYTHON) cannot make a virtual environment (Debian: apt install python3-venv)" >&2; exit 1; }
	@$(RUN)python -m pip install -qq --disable-pip-version-check -e '.[test]' \
		|| { echo "error: the packages cannot be installed: is there a network? (pip's reason is above; run make again)" >&2; exit 1; }
	@$(RUN)halite image > /dev/null
	@$(RUN)halite dev native-core
	@$(RUN)halite dev kernels
	@touch $@

demo: $(READY)  ## flash an emulated rack, run the demonstration, write its report
	@$(RUN)halite demo

test: lint  ## run lint, types and every test
	@$(RUN)pytest -n 2 --dist loadfile --durations=12

scenarios: $(READY)  ## play every scenario whole on the emulated board (about an hour)
	@$(RUN)halite simulate --suite board

bench: $(READY)  ## measure the project's figures into build/bench.json
	@$(RUN)halite bench

bitflips: $(READY)  ## flip 20 000 single bits in the control core of a closed rack: it must still see every danger
	@PYTHONPATH=host_tools:tests $(RUN)python tests/bitflips/run.py

lies: $(READY)  ## play 1 000 random stories with one or two lying inputs: no danger may last (about 12 minutes)
	@PYTHONPATH=host_tools:tests $(RUN)python tests/lies/run.py

duty: $(READY)  ## play 24 seeded hours of normal duty: no alarm may come (about 20 minutes)
	@PYTHONPATH=host_tools:tests $(RUN)python tests/duty/run.py

mutants: $(READY)  ## break the control core in every listed way: the tests must notice each
	@PYTHONPATH=host_tools $(RUN)python tests/mutation/run.py

lint: $(READY)  ## check style, types, import rules and generated files
	@$(RUN)ruff check -q
	@$(RUN)mypy --no-error-summary
	@mkdir -p build
	@PYTHONPATH=firmware:host_tools/halite/shim $(RUN)lint-imports --no-cache > build/imports.log 2>&1 \
		|| { cat build/imports.log; exit 1; }
	@$(RUN)halite dev generate --check
	@$(RUN)python tests/style/plain_english.py
	@$(RUN)python tests/style/layout.py

flash: $(READY)  ## put firmware and config on a board: make flash PORT=/dev/ttyACM0 CONFIG=sodium_rack
	@$(RUN)halite flash --config $(CONFIG) $(if $(PORT),--port $(PORT))

console: $(READY)  ## watch a running rack: make console PORT=/dev/ttyACM0
	@$(RUN)halite console $(if $(PORT),--port $(PORT))

generate: $(READY)  ## write the files that are generated from the lists of the firmware
	@$(RUN)halite dev generate
	@$(RUN)halite dev reaction-times

clean:  ## remove everything that was built
	@rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
