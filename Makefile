# The menu. `make run` and `make test` need a Debian machine with Rust and root, and install the rest.

CARGO ?= cargo
PREFIX ?= /usr/local
DESTDIR ?=
TARGET := x86_64-unknown-linux-gnu
SHIM := target/$(TARGET)/shim/containerd-shim-runc-v2
# One profile for everything that `make test` builds; users run release.
TEST_PROFILE ?= dev
TEST_DIR := target/$(if $(filter dev,$(TEST_PROFILE)),debug,$(TEST_PROFILE))

.PHONY: help
help: ## Show this menu
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 16

.PHONY: run
run: ## The main job: build, start a private daemon, make a Debian image, run containers, leave nothing behind
	scripts/packages.sh build run
	$(MAKE) build
	scripts/demo.sh target/release $(SHIM)

.PHONY: build
build: shim ## Build the release binaries
	$(CARGO) build --release -p containerd -p ctr

.PHONY: shim
shim: ## Build the static, size-optimised shim
	RUSTFLAGS='-C target-feature=+crt-static' $(CARGO) build -p shim --profile shim --target $(TARGET)

.PHONY: test
test: ## Pass all tests: units, black-box tests beside Go containerd, the demonstration
	scripts/packages.sh build run test vm
	scripts/peers.sh target/peers
	scripts/venv.sh target/venv
	scripts/youki.sh target/youki
	scripts/kernel.sh target/kernel
	$(MAKE) shim
	$(CARGO) build --profile $(TEST_PROFILE) -p containerd -p ctr
	$(CARGO) test --profile $(TEST_PROFILE) --workspace
	scripts/demo.sh $(TEST_DIR) $(SHIM)

.PHONY: test-vm
test-vm: ## Only the tests in a virtual machine, all of execution among them: power cuts, cgroup v2, checkpoints
	scripts/packages.sh build vm
	scripts/peers.sh target/peers
	scripts/youki.sh target/youki
	scripts/kernel.sh target/kernel
	$(MAKE) shim
	$(CARGO) build --profile $(TEST_PROFILE) -p containerd -p ctr
	$(CARGO) test --profile $(TEST_PROFILE) -p tests --test blackbox --no-run
	CONTAINERD_EXECUTION=$${CONTAINERD_EXECUTION:-ours} $(CARGO) test --profile $(TEST_PROFILE) -p tests --test vm

.PHONY: bench
bench: ## Measure beside Go containerd and print the ratios (docs/benchmarks.md)
	scripts/packages.sh build bench
	scripts/peers.sh target/peers
	$(MAKE) build
	scripts/bench-image.sh target/bench-image
	scripts/bench-registry.sh target/bench-registry
	CONTAINERD_BIN=$(CURDIR)/target/release $(CARGO) bench -p tests --bench compare

.PHONY: lint
lint: ## Formatting and clippy, warnings as errors
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings

.PHONY: fuzz
fuzz: ## Run every fuzz target under libFuzzer (nightly Rust); `make test` has a short run of each
	scripts/fuzz.sh

.PHONY: install
install: build ## Install binaries and the systemd unit under PREFIX
	install -D -m 0755 -t $(DESTDIR)$(PREFIX)/bin target/release/containerd target/release/ctr $(SHIM)
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/lib/systemd/system packaging/containerd.service

.PHONY: uninstall
uninstall: ## Remove what install put there
	cd $(DESTDIR)$(PREFIX) && rm -f bin/containerd bin/ctr bin/containerd-shim-runc-v2 lib/systemd/system/containerd.service
