# make demo        a short film of the node at work, made here from nothing
# make test        lint and all tests
# make train-nano  train models/c2f_nano again, from nothing; takes hours, and goes on where it was stopped
# make train-nano-video  train models/c2f_nano_video, the model with a memory, after c2f_nano; hours, resumes
# make bench       measure speed side by side (benchmarks/results/); OFFICIAL=DIR: the published code beside it
# make lint        ruff and codespell only
# make clean       remove everything that these made, but for training runs

PYTHON ?= python3
OUT ?= demo_out
# Where training keeps its clips and checkpoints, what it writes, and what other data it reports numbers on.
WORK ?= runs/c2f_nano
MODEL ?= models/c2f_nano
ALSO ?= $(wildcard ../shared/data/movid_a_sample ../shared/data/drive_sample)

# `$(call in,PROFILE) COMMAND` runs COMMAND in .venv, which it makes or mends first.
in = $(PYTHON) scripts/environment.py $(1) --

.PHONY: help bench demo test train-nano train-nano-video lint clean python

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

demo: | python
	@$(call in,demo) python -m c2f_ros.demo --out $(OUT)

# Both run, so that a misspelt word does not hide a failing test; either makes the whole fail. Most tests keep one core
# busy: two processes take whole files in turn, slow ones first (test/conftest.py).
test: | python
	@$(call in,test) true
	@lint=0; $(call in,test) ruff check --output-format concise . || lint=$$?; \
	$(call in,test) python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder test training/test || exit $$?; \
	exit $$lint

bench: | python
	@$(call in,train) python -m benchmarks.bench $(if $(OFFICIAL),--official $(OFFICIAL))

lint: | python
	@$(call in,test) ruff check --output-format concise .
	@$(call in,test) ruff format --check .
	@$(call in,test) codespell

train-nano: | python
	@$(call in,train) c2f-train all --config training/configs/nano.yaml --work $(WORK) --out $(MODEL) \
	  $(if $(strip $(ALSO)),--also $(ALSO))

# The stages of c2f_nano, then the memory; both may share WORK.
train-nano-video: | python
	@$(call in,train) c2f-train all --config training/configs/nano_video.yaml --work $(WORK) --out models/c2f_nano_video \
	  $(if $(strip $(ALSO)),--also $(ALSO))

clean:
	rm -rf .venv build install log $(OUT) .pytest_cache .ruff_cache training/*.egg-info *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

python:
	@command -v $(PYTHON) > /dev/null || { echo "error: $(PYTHON) is missing: apt install python3 python3-venv python3-dev" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "error: $(PYTHON) is older than 3.10: name a newer one, as in make PYTHON=python3.11 demo" >&2; exit 1; }
