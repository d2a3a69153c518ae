# `make demo` runs the main job, `make test` runs every check that needs no GPU. Both set up .venv/ first.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
RUN := $(VENV)/bin
AS_ROOT := $(if $(filter 0,$(shell id -u)),,sudo)
INSTALL := PIP_CONSTRAINT=$(CURDIR)/requirements.lock $(RUN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test test-gpu test-wheel test-versions gpu-results check lint docs browser lock clean
.DELETE_ON_ERROR:

demo: $(VENV)/.demo
	$(RUN)/steadydecay compare gpt --optimizers adamw,scion,scionc --out runs/demo steps=400 evaluation_batches=8

# Threads that wait for their next work had better sleep: two workers of pytest share the cores.
# Pyright and the stand-ins for a GPU take one core each.
test: $(VENV)/.dev browser lint
	$(RUN)/pyright & types=$$!; OMP_NUM_THREADS=1 $(RUN)/pytest gpu_tests --device cpu; stand_ins=$$?; wait $$types && exit $$stand_ins
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive $(RUN)/pytest --numprocesses 2 --dist worksteal

# Needs a CUDA device and a torch built for it; `--device cpu` above runs the same tests on what stands for one.
test-gpu: $(VENV)/.dev
	$(RUN)/pytest gpu_tests

# The wheel in empty environments, with torch alone and with the extras that its commands and the examples name.
test-wheel: $(VENV)/.dev
	PIP_CONSTRAINT=$(CURDIR)/requirements.lock $(RUN)/python benchmarks/installed_wheel.py

# The core tests on every torch and Python that can be had here, which takes an hour and many GB; writes docs/versions.md.
test-versions: $(VENV)/.dev
	$(INSTALL) uv
	PATH="$(CURDIR)/$(RUN):$$PATH" $(RUN)/python benchmarks/versions.py

# All that needs a GPU, in under ten minutes: tests, benchmarks, and the result files that docs are made of.
gpu-results: $(VENV)/.dev
	$(RUN)/python benchmarks/on_gpu.py

check: lint
	$(RUN)/pyright

lint: $(VENV)/.dev
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .

# The site in site/; it needs no network, and a broken link is an error (mkdocs.yml).
docs: $(VENV)/.dev
	NO_MKDOCS_2_WARNING=1 $(RUN)/mkdocs build --quiet
	@echo 'The site is in site/. To read it with its search: $(RUN)/python -m http.server --directory site'

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(VENV)/bin/python pyproject.toml requirements.lock
	$(INSTALL) --editable '.[recipes,report]'
	touch $@

$(VENV)/.dev: $(VENV)/.demo
	$(INSTALL) --editable '.[recipes,vit,prepare,report,sweep,hf,lightning,jax,explore,loggers,bench,docs,dev]'
# Tests import timm's models without torchvision (tests/timm_models.py), whose build from PyPI does not fit torch's for CPUs.
	$(INSTALL) --no-deps timm
	touch $@

# The tests of pages drive a real browser (tests/browser.py).
browser:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null \
		|| { $(AS_ROOT) apt-get update -q && $(AS_ROOT) apt-get install -q -y --no-install-recommends chromium; } \
		|| { echo 'The tests need chromium, chromium-browser or google-chrome: install one, then run make again.'; false; }

# Versions of every package, without builds: the same file serves a CPU, a CUDA and a ROCm machine.
lock: $(VENV)/.dev
	$(RUN)/python -m pip freeze --all --exclude-editable --exclude pip 2>/dev/null \
		| sed -e 's/+.*//' -e '/^nvidia-/d' > requirements.lock.new
	mv requirements.lock.new requirements.lock

clean:
	rm -rf $(VENV) runs site
