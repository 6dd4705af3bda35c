# A thin front to CMake and scripts/. `make help` lists what there is.
BUILD ?= build
BUILD_TYPE ?= Release
PREFIX ?= /usr/local
JOBS ?= $(shell nproc)
MODEL ?= smollm2
MAKEFLAGS += --no-print-directory
export MOBIEDIT_CACHE ?= $(shell bash -c "echo ~/.cache/mobiedit")

CMAKE_FLAGS += -DCMAKE_BUILD_TYPE=$(BUILD_TYPE) -DCMAKE_INSTALL_PREFIX=$(PREFIX)

.PHONY: help setup checks-setup models build demo test test-long test-all test-tables test-newer bench format lint sanitize fuzz aarch64 vulkan install uninstall deb wheel dist clean

help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

setup: ## install the Debian packages that are missing (as root, or with sudo)
	@scripts/setup.sh

checks-setup:
	@scripts/setup.sh --checks

models: ## get models: MODEL="smollm2 gemma3 qwen05 qwen15", or "all"
	@scripts/get_models.sh $(MODEL)

build: setup ## the library and the command, in build/
	@cmake -S . -B $(BUILD) $(CMAKE_FLAGS)
	@cmake --build $(BUILD) --parallel $(JOBS)

demo: build ## edit a fact of a real model; before and after
	@scripts/get_models.sh smollm2
	@scripts/demo.sh $(BUILD)/mobiedit

# Two at a time: each takes what processors it can use, and some only wait. libgomp's threads spin while they wait, and
# take what the other test could use.
CTEST = ctest --output-on-failure --parallel 2
test test-long test-tables test-newer sanitize aarch64 vulkan: export OMP_WAIT_POLICY ?= passive

test: build ## the tests, on real models
	@scripts/get_models.sh smollm2 gemma3 qwen05
	@$(CTEST) --test-dir $(BUILD) --label-exclude long

test-long: build ## what `make test` leaves out because it takes minutes
	@scripts/get_models.sh smollm2 qwen15
	@scripts/setup.sh --browser
	@scripts/setup.sh --deb
	@$(CTEST) --test-dir $(BUILD) --label-regex long

test-all: test test-long ## every test

test-tables: build ## the tests under each table of kernels that the processor has
	@scripts/get_models.sh smollm2 gemma3 qwen05
	@scripts/kernel_tables.sh $(BUILD)

# What stands on libllama's own graph, files and vocabularies. It leaves out what needs more models.
NEWER_TESTS = engine.*|runtime.*|adapter|merge|vocab|chat_template|trial|spoilt_models|architectures|rpc_.*|said_real|merge_real|cli_model
test-newer: setup ## the tests of what stands on libllama, with the newer libllama 0.6
	@scripts/get_models.sh smollm2
	@cmake -S . -B $(BUILD)-newer $(CMAKE_FLAGS) -DMOBIEDIT_BUNDLE="$$(MOBIEDIT_LLAMA=0.6 scripts/libllama.sh)"
	@cmake --build $(BUILD)-newer --parallel $(JOBS)
	@$(CTEST) --test-dir $(BUILD)-newer -R '^($(NEWER_TESTS))$$'

bench: build ## kernels, and whole edits
	@scripts/get_models.sh smollm2
	@bench/run.sh $(BUILD)

format: checks-setup ## lay out all sources with clang-format
	@scripts/lint.sh --format

lint: build checks-setup ## layout, clang-tidy, shell syntax, Python, Markdown; any finding is an error
	@scripts/lint.sh $(BUILD)

# The trials of layers on a real model take ten minutes there; test_calibration has them on a small one. A chat
# template is run in a child process, and the sanitizer's allocator does not survive a fork beside busy threads.
sanitize: setup ## the tests and an edit under the address and undefined-behaviour sanitizers
	@cmake -S . -B $(BUILD)-sanitize -DCMAKE_BUILD_TYPE=RelWithDebInfo -DMOBIEDIT_SANITIZE=ON
	@cmake --build $(BUILD)-sanitize --parallel $(JOBS)
	@scripts/get_models.sh smollm2
	@$(CTEST) --test-dir $(BUILD)-sanitize --label-exclude slow --exclude-regex '^(layers_real|chat_real|serve_.*)$$'
	@scripts/demo.sh $(BUILD)-sanitize/mobiedit

FUZZ_RUNS ?= 100000
fuzz: checks-setup ## FUZZ_RUNS executions of each fuzz target
	@CC=clang CXX=clang++ cmake -S . -B $(BUILD)-fuzz -DCMAKE_BUILD_TYPE=RelWithDebInfo -DMOBIEDIT_FUZZ=ON
	@cmake --build $(BUILD)-fuzz --parallel $(JOBS) --target fuzz
	@scripts/fuzz.sh $(BUILD)-fuzz $(FUZZ_RUNS)

aarch64: ## cross-build for aarch64; the kernels' tests and an edit under qemu
	@scripts/setup.sh --aarch64
	@scripts/get_models.sh smollm2
	@scripts/aarch64.sh $(BUILD)-aarch64 $(JOBS)

vulkan: ## the engines' tests and an edit on Vulkan, by a driver that needs no GPU
	@scripts/setup.sh --vulkan
	@scripts/get_models.sh smollm2
	@VULKAN_TESTS="$(VULKAN_TESTS)" scripts/vulkan.sh $(BUILD)-vulkan $(JOBS)

install: build ## into PREFIX (/usr/local), below DESTDIR if set
	@cmake --install $(BUILD)

uninstall: ## remove what `make install` of BUILD put there, below DESTDIR if set
	@scripts/uninstall.sh $(BUILD)

deb: ## Debian packages, in build/deb/packages/
	@scripts/setup.sh --deb
	@scripts/deb.sh $(BUILD)/deb

wheel: setup ## a wheel of the Python package, in build/
	@scripts/wheel.sh $(BUILD)

dist: setup ## a source archive of the last commit, in build/
	@scripts/dist.sh $(BUILD)

clean: ## remove what was built here; the cache stays
	@rm -rf $(BUILD) $(BUILD)-sanitize $(BUILD)-fuzz $(BUILD)-aarch64 $(BUILD)-vulkan $(BUILD)-newer
