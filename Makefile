# The main job by name: make plan, make apply, make destroy. `make help` lists everything.

STACK ?= ecs-poc
CLOUD ?= local
ENV   ?=
YES   ?=
ARGS  ?=
SEEDS ?= 10000
KILLS ?= 54
FUZZ  ?= 900
# How many tests run at once. Most of their time they wait for what a cloud would need time for.
TESTS ?= 8

CARGO     := cargo
COFFERDAM := $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),target)/debug/cofferdam
OPTIONS    = $(STACK) --cloud $(CLOUD) $(if $(ENV),--env $(ENV)) $(ARGS)
APPROVAL   = $(if $(filter-out 0,$(YES)),--yes)

.DEFAULT_GOAL := help

.PHONY: build
build: ## build the binary
	@$(CARGO) build $(if $(wildcard $(COFFERDAM)),--quiet)

.PHONY: validate
validate: build ## check the stack without a cloud
	@$(COFFERDAM) validate $(OPTIONS)

.PHONY: plan
plan: build ## show what an apply would do
	@$(COFFERDAM) plan $(OPTIONS)

.PHONY: apply
apply: build ## make what exists what the stack says
	@$(COFFERDAM) apply $(OPTIONS) $(APPROVAL)

.PHONY: destroy
destroy: build ## delete everything of the stack
	@$(COFFERDAM) destroy $(OPTIONS) $(APPROVAL)

.PHONY: test
test: ## run all tests (the emulators they need are installed on first use)
	@RUST_TEST_THREADS=$(TESTS) $(CARGO) test

.PHONY: prove
prove: ## prove that nothing is lost: every moment, 10,000 seeds, 50 kills (SEEDS=…, KILLS=…; an hour)
	@COFFERDAM_EVERY=1 COFFERDAM_SEEDS=$(SEEDS) COFFERDAM_KILLS=$(KILLS) $(CARGO) test --test it -- proof:: permissions:: --nocapture

.PHONY: fuzz
fuzz: ## feed bad stacks, states, journals and plans to their readers for an hour (FUZZ=seconds for each)
	@COFFERDAM_FUZZ=$(FUZZ) $(CARGO) test --test it fuzz:: -- --nocapture --test-threads 1

.PHONY: bench
bench: ## measure: inner loops, whole processes, API calls, first applies
	@$(CARGO) bench --profile dev
	@$(CARGO) test --quiet --test it refresh_calls -- --nocapture

.PHONY: lint
lint: ## formatting and lints, warnings are errors
	@$(CARGO) fmt --check
	@$(CARGO) clippy --all-targets -- -D warnings

.PHONY: schema
schema: build ## write what is made from the types: editors' JSON Schema, docs/reference.md
	@$(COFFERDAM) schema --out stacks/.schema.json
	@$(COFFERDAM) schema --markdown --out docs/reference.md

.PHONY: help
help: ## this list
	@echo "make TARGET [STACK=ecs-poc] [CLOUD=local|aws] [ENV=name] [YES=1] [ARGS='…']"
	@echo
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
