# Everything runs in .venv, which `make setup` makes; targets that need it call it, so one command does all.
SOURCE ?= examples/face.mp4
PY := .venv/bin/python

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-live loop-demo test test-images test-kube lint check bench bench-stream bench-serve bench-plan bench-scale bench-ingest bench-overload bench-web chaos fuzz kafka \
	kafka-stop influxdb influxdb-stop servers constraints clip docs dist clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## make .venv and install the project into it
	@scripts/setup

demo: setup ## play a face video as a live stream and watch its scores (SOURCE=file or folder)
	@.venv/bin/fvq up --source "$(SOURCE)"

demo-live: setup ## follow a small HLS origin that breaks in three ways, and show what is seen and how soon (90 seconds)
	@$(PY) examples/live_demo.py

loop-demo: setup ## score, queue, rate (by script), train, promote and score anew: the whole loop in some minutes
	@$(PY) examples/loop.py

# Two at a time, each with servers of its own: much of a test of the real ones is waiting. A file's tests stay together.
# A test that hangs past its own time-out, as in its end, shows where it stands and fails by its name.
test: lint servers ## lint, then all tests: unit, integration, end to end
	@$(PY) -m pytest --numprocesses 2 --dist loadfile --durations 10 --max-worker-restart 1 \
	  -o faulthandler_timeout=1000 -o faulthandler_exit_on_timeout=true

test-kube: setup ## the Helm chart on a real Kubernetes API server, which is built the first time (some 10 minutes)
	@scripts/kube/kube build
	@$(PY) -m pytest tests/kube

test-images: setup ## the tests of deploy/: Dockerfiles, compose, rules, dashboards, and the core image's contents run
	@$(PY) -m pytest tests/unit/deploy tests/integration/test_core_image.py tests/integration/test_dashboards.py

lint: setup ## ruff, mypy and the import contracts
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/lint-imports --no-logo
	@.venv/bin/mypy

check: setup ## lint and the fast unit tests, in about a minute
	@scripts/check

bench: setup ## what a segment costs, each figure as a ratio to the full decode: looks, start-up, memory (5 minutes)
	@$(PY) -m tests.bench.performance

bench-stream: setup servers ## events per second of the Kafka path, as a ratio to a bare consume-produce loop
	@$(PY) -m tests.bench.stream

bench-ingest: setup servers ## 2,000 live sources in one `fvq ingest hls` on one core: CPU, memory, delay; with hanging sources too (2 minutes)
	@$(PY) -m tests.bench.ingest --write

bench-overload: setup servers ## give a worker twice what it can score for 5 minutes: who is served, how late, how soon all is well again
	@$(PY) -m tests.bench.overload --write

bench-serve: setup ## the served scorer's rate as a ratio to the bare model's, latency, CPU of the layer, overload (3 minutes)
	@$(PY) -m tests.bench.serve
bench-plan: setup ## lag and capacity that fvq plan predicts, against a real worker (6 minutes, on an idle machine)
	@$(PY) -m tests.bench.plan --write

bench-scale: setup servers ## two workers on a core each against one, on a real Kafka (4 minutes, on an idle machine)
	@$(PY) -m tests.bench.scale --write

bench-web: setup ## the wall's page with 2,000 streams in Chromium: frames, long tasks, from an event to its pixel (2 minutes, on an idle machine)
	@scripts/browser
	@$(PY) -m tests.bench.web --write

chaos: setup servers ## kill, hang and fill what the workers rely on; account for every segment (10 minutes on two free cores)
	@$(PY) -m tests.chaos

fuzz: setup ## answer 20,000 mutated events, 5,000 bodies, 20,000 streams of units and 2,000 media files, within limits (1 minute on two free cores)
	@$(PY) -m tests.fuzz

kafka: setup ## start a real Apache Kafka here (FVQ_KAFKA_PORT, FVQ_KAFKA_DIR)
	@scripts/kafka/kafka start

kafka-stop: ## stop it
	@scripts/kafka/kafka stop

influxdb: ## start a real InfluxDB 2.7 here (FVQ_INFLUXDB_PORT, FVQ_INFLUXDB_DIR)
	@scripts/influxdb/influxdb start

influxdb-stop: ## stop it
	@scripts/influxdb/influxdb stop

# Here and not in the tests, so that the progress shows. Code 3, a missing tool, is the tests' to answer: they skip, or fail with CI=true.
servers: ## fetch Kafka and promtool, build InfluxDB and helm, install Chromium, for the tests that use the real ones
	@scripts/kafka/kafka fetch || [ $$? = 3 ]
	@scripts/influxdb/influxdb build || [ $$? = 3 ]
	@scripts/browser || [ $$? = 3 ]
	@scripts/promtool > /dev/null || [ $$? = 3 ]
	@scripts/kube/kube tools || [ $$? = 3 ]
	@scripts/compose-loader > /dev/null || [ $$? = 3 ]

constraints: ## move constraints.txt to the newest versions that fit together
	@scripts/constraints

clip: setup ## make the demo clip again
	@$(PY) examples/make_clip.py examples/face.mp4

docs: setup ## the documentation as a site that needs no network, in build/docs/site; links and anchors are checked
	@$(PY) scripts/docs

dist: setup ## a wheel and an sdist in dist/
	@$$(command -v uv || echo .venv/bin/uv) build --quiet --build-constraint constraints.txt --out-dir dist .

clean: ## remove .venv, caches and what demos and tests left
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis fvq-data demo-out
	find streams scorer training tests examples scripts -name __pycache__ -type d -prune -exec rm -rf {} +
