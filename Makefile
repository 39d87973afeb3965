# The commands for people and for CI. `make` alone lists them.
#
# Everything that is downloaded or built is kept outside the checkout, in TRIPLINE_CACHE, so a clean clone builds only Tripline
# itself. One cargo profile (release) is used everywhere, so the dependencies are built once.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

TRIPLINE_CACHE ?= $(HOME)/.cache/tripline
CARGO_TARGET_DIR ?= $(TRIPLINE_CACHE)/target
KAFKA_VERSION := $(shell sed -n 's:.*<kafka.version>\(.*\)</kafka.version>.*:\1:p' tests/kafka/pom.xml)
TRIPLINE_KAFKA_LIB ?= $(TRIPLINE_CACHE)/kafka-$(KAFKA_VERSION)/lib
export TRIPLINE_CACHE CARGO_TARGET_DIR TRIPLINE_KAFKA_LIB

CARGO := cargo
PROFILE := --release --locked
TRIPLINE := $(CARGO_TARGET_DIR)/release/tripline
# Folder of recorded traffic with its truth, if this machine has one.
TRACES ?= ../shared/traces

.PHONY: help setup setup-build build demo test check check-format check-links check-circles check-deny check-docs check-lint check-core bench evaluate models cards cuts adversary

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 22

setup: ## install what building and testing need, if it is missing
	@scripts/setup.sh

setup-build:
	@scripts/setup.sh --build-only

build: setup-build ## build the program
	$(CARGO) build $(PROFILE) --bin tripline
	@echo "built $(TRIPLINE)"

demo: setup-build ## show how an attack is told from a drift, on this machine alone (http://127.0.0.1:8080; Ctrl-C ends it)
	@$(CARGO) build $(PROFILE) --bin tripline
	@exec $(TRIPLINE) demo $(DEMO_ARGS)

test: setup ## run every test, with a real Kafka, Prometheus and Alertmanager on free loopback ports
	$(CARGO) test $(PROFILE) --doc
	$(CARGO) test $(PROFILE) --lib --bins --tests

check: setup check-format check-links check-circles check-deny check-docs check-lint check-core test ## run everything that CI runs, the fastest first

check-format:
	@! git grep -nE '^(<<<<<<<|>>>>>>>)( |$$)' || { echo "make: a merge was committed unfinished, see above"; exit 1; }
	@for script in scripts/*.sh .ci/run; do bash -n "$$script"; done
	$(CARGO) fmt --check

check-links:
	python3 scripts/check_links.py

check-circles: # the files of src/ import each other in one direction
	python3 scripts/check_circles.py

check-deny:
	@scripts/cargo_deny.sh

check-docs: setup-build # private items are documented too, so links to them are checked
	RUSTDOCFLAGS="-D warnings -A rustdoc::private-intra-doc-links" $(CARGO) doc $(PROFILE) --no-deps --lib --document-private-items

check-lint: setup-build
	$(CARGO) clippy $(PROFILE) --all-targets -- -D warnings
	$(CARGO) clippy $(PROFILE) --no-default-features --lib -- -D warnings

check-core: setup-build # the pure core builds and passes its tests without Kafka, HTTP, files or clock
	$(CARGO) test $(PROFILE) --no-default-features --lib

bench: setup-build ## measure the hot paths, and the replay of a million events
	$(CARGO) bench --locked --benches
	$(CARGO) build $(PROFILE) --bin tripline
	python3 scripts/measure_replay.py $(TRIPLINE)

evaluate: setup-build ## fit, replay and score the recorded traffic in TRACES, or the output of 'tripline simulate --matrix' in MATRIX
	@[ -x "$(TRACES)/evaluate" ] || { echo "make: no recorded traffic at $(TRACES); set TRACES=DIR"; exit 1; }
	$(CARGO) build $(PROFILE) --bin tripline
	TRACES=$(or $(MATRIX),$(TRACES)) $(TRACES)/evaluate $(TRIPLINE) $(or $(OUT),out)

models: setup-build ## make the shipped profiles (models/) from tests/data, and sign them if they changed
	$(CARGO) build $(PROFILE) --bin tripline
	@scripts/make_models.sh $(TRIPLINE)

cards: setup-build ## drill the shipped profiles and write the results into models/*/CARD.md
	$(CARGO) build $(PROFILE) --bin tripline
	@scripts/make_cards.sh $(TRIPLINE)

cuts: setup ## make tests/data from the recorded traffic in TRACES
	python3 scripts/cut_traces.py "$(TRACES)" tests/data

adversary: setup-build ## simulate the adversary who read the source, all seeds; writes docs/adversary.md (some minutes)
	TRIPLINE_UPDATE=1 $(CARGO) test $(PROFILE) --test system adversary::the_committed_table
