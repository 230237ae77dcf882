# fastapi-auto-agent. `make help` lists the targets; everything built lies in build/.

VERSION = 0.1.0

.DEFAULT_GOAL = all

PREFIX ?= /usr/local
BINDIR ?= $(PREFIX)/bin
LIBDIR ?= $(PREFIX)/lib
LIBEXECDIR ?= $(PREFIX)/libexec
MANDIR ?= $(PREFIX)/share/man
PYTHON ?= /usr/bin/python3

# Sanitized builds live beside the plain one: make SAN=address,undefined test-unit
SAN ?=
comma := ,
BUILD ?= build$(if $(SAN),/san-$(subst $(comma),-,$(SAN)))
OBJ = $(BUILD)/obj
GEN = $(OBJ)/gen

CC ?= cc
CFLAGS ?= -O2 -g
WARN = -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wwrite-strings -Wformat=2 \
       -Wundef -Wvla -Werror
SANFLAGS = $(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=all)
ALL_CFLAGS = -std=c11 -D_GNU_SOURCE -DFAA_VERSION='"$(VERSION)"' -fPIC -fno-plt -fvisibility=hidden $(WARN) \
             -MMD -MP $(CFLAGS)
HARDEN = -Wl,-z,relro,-z,now,-z,noexecstack,-z,defs

# Asked once, and only when something is compiled that needs the answer.
pkg = $(eval $(1) := $$(shell pkg-config $(2)))$($(1))
PY_CFLAGS = $(call pkg,PY_CFLAGS,--cflags python3)
EXPORT_LIBS = $(UV) $(call pkg,CURL_LIBS,--libs libcurl libprotobuf-c zlib) -lpthread -ldl -lrt
CHECK_LIBS = $(call pkg,CHECK_LIBS,--libs check)

# A libuv of our own: the shared one would close descriptors of the application in every forked
# child (its fork handler knows their numbers from our table, where they are other files). The
# archive is made for programs: the variables of libc that it names are given in loop.c.
UV = $(OBJ)/libuv.a
UV_ARCHIVE = $(call pkg,UV_LIBDIR,--variable=libdir libuv)/libuv_a.a

$(UV): Makefile
	@mkdir -p $(@D)
	objcopy --redefine-sym pthread_atfork=faa_loop_no_atfork --redefine-sym environ=faa_loop_environ \
	    --redefine-sym in6addr_any=faa_loop_in6addr_any --redefine-sym stderr=faa_loop_stderr \
	    --redefine-sym abort=faa_loop_abort --redefine-sym __assert_fail=faa_loop_assert_fail \
	    $(UV_ARCHIVE) $@

sources = $(patsubst %.c,$(OBJ)/%.o,$(wildcard $(1)/*.c))
PROTOS = $(shell cd proto && find . -name '*.proto' | sed 's|^\./||')
PROTO_C = $(PROTOS:%.proto=$(GEN)/%.pb-c.c)

# Each layer sees only what it may use: Python's headers are on the path of python/,
# instrumentors/ and agent/ alone; tests/layers checks the rest.
EXPORT_OBJS = $(call sources,preload/export)
CORE_OBJS = $(foreach d,base span ring,$(call sources,preload/$d)) $(EXPORT_OBJS) $(PROTO_C:.c=.o)
PYTHON_OBJS = $(foreach d,python instrumentors,$(call sources,preload/$d))
AGENT_OBJS = $(call sources,preload/agent)
SHIM_OBJS = $(call sources,preload/shim) $(OBJ)/preload/shim/log.o
LAUNCHER_OBJS = $(call sources,launcher)
DOCTOR_OBJS = $(call sources,launcher/doctor)
PROBE_OBJS = $(call sources,launcher/probe) $(filter $(OBJ)/preload/agent/config% %/env.o,$(AGENT_OBJS)) \
             $(OBJ)/preload/instrumentors/settings.o
GUARD_OBJS = $(call sources,launcher/guard) $(OBJ)/launcher/message.o $(OBJ)/launcher/become.o \
             $(addprefix $(OBJ)/preload/agent/,config_exporter.o env.o)

CORE = $(OBJ)/libfaa-core.a
SHIM = $(BUILD)/lib/libfaa.so
AGENT = $(BUILD)/lib/libfaa-agent.so
LAUNCHER = $(BUILD)/bin/fastapi-auto-agent
GUARD = $(BUILD)/libexec/fastapi-auto-agent-guard
PROBE = $(BUILD)/libexec/fastapi-auto-agent-probe

.PHONY: all
all: $(SHIM) $(AGENT) $(LAUNCHER) $(GUARD) $(PROBE) ## Build the libraries and the command (default)

$(CORE_OBJS) $(PYTHON_OBJS) $(AGENT_OBJS): $(OBJ)/layers.ok

$(OBJ)/layers.ok: tests/layers $(wildcard preload/*/*.[ch])
	@mkdir -p $(@D)
	@tests/layers
	@touch $@

$(OBJ)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(SANFLAGS) -Ipreload -c $< -o $@

$(EXPORT_OBJS): $(OBJ)/%.o: %.c | $(PROTO_C)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(SANFLAGS) -Ipreload -isystem $(GEN) -c $< -o $@

$(PYTHON_OBJS) $(AGENT_OBJS): $(OBJ)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(SANFLAGS) $(patsubst -I%,-isystem %,$(PY_CFLAGS)) -Ipreload -c $< -o $@

# The shim lives in every process: nothing but what libc has everywhere, no sanitizer.
$(filter-out %/log.o,$(SHIM_OBJS)): $(OBJ)/%.o: %.c
$(OBJ)/preload/shim/log.o: preload/base/log.c
$(SHIM_OBJS):
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -fno-stack-protector -Ipreload -c $< -o $@

$(PROTO_C): $(GEN)/%.pb-c.c: proto/%.proto
	@mkdir -p $(GEN)
	protoc-c --proto_path=proto --c_out=$(GEN) $<

$(PROTO_C:.c=.o): $(GEN)/%.o: $(GEN)/%.c | $(PROTO_C)
	$(CC) -std=c11 -fPIC -fvisibility=hidden $(CFLAGS) $(SANFLAGS) -I$(GEN) -c $< -o $@

$(CORE): $(CORE_OBJS)
	@rm -f $@
	$(AR) rcs $@ $^

$(SHIM): $(SHIM_OBJS) preload/shim/libfaa.map
	@mkdir -p $(@D)
	$(CC) -shared -nostdlib -Wl,-soname,libfaa.so -Wl,--version-script=preload/shim/libfaa.map \
	    -Wl,-z,relro,-z,now,-z,noexecstack -Wl,--build-id=sha1 $(SHIM_OBJS) -o $@

# Python's symbols come from the interpreter that loads the agent: everything else must be defined.
$(AGENT): $(AGENT_OBJS) $(PYTHON_OBJS) $(CORE) $(UV) preload/agent/libfaa-agent.map
	@mkdir -p $(@D)
	$(CC) -shared $(SANFLAGS) -Wl,-soname,libfaa-agent.so \
	    -Wl,--version-script=preload/agent/libfaa-agent.map -Wl,-z,relro,-z,now,-z,noexecstack \
	    -Wl,-z,nodelete -Wl,--exclude-libs,ALL -Wl,--build-id=sha1 \
	    $(AGENT_OBJS) $(PYTHON_OBJS) $(CORE) $(EXPORT_LIBS) -o $@

$(LAUNCHER): $(LAUNCHER_OBJS) $(DOCTOR_OBJS) $(CORE)
	@mkdir -p $(@D)
	$(CC) $(SANFLAGS) -pie $(HARDEN) $^ -ldl -o $@

$(LAUNCHER_OBJS) $(foreach d,doctor guard probe,$(call sources,launcher/$d)): $(OBJ)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(SANFLAGS) -Ipreload -Ilauncher -c $< -o $@

$(GUARD): $(GUARD_OBJS) $(CORE) $(UV)
	@mkdir -p $(@D)
	$(CC) $(SANFLAGS) -pie $(HARDEN) $(GUARD_OBJS) $(CORE) $(EXPORT_LIBS) -o $@

$(PROBE): $(PROBE_OBJS) $(CORE) $(UV)
	@mkdir -p $(@D)
	$(CC) $(SANFLAGS) -pie $(HARDEN) $(PROBE_OBJS) $(CORE) $(EXPORT_LIBS) -o $@

# ---- documentation ----------------------------------------------------------------------------

# The descriptors are data: the program that prints them calls none of the functions beside them,
# and what those would need of Python may stay undefined.
LIBRARIES = $(OBJ)/docs/libraries
DOCTOR_TABLE = launcher/doctor/libraries.inc

$(LIBRARIES): $(LIBRARIES).o $(call sources,preload/instrumentors)
	$(CC) -static -Wl,--unresolved-symbols=ignore-all $^ -o $@

$(LIBRARIES).o: docs/libraries.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(patsubst -I%,-isystem %,$(PY_CFLAGS)) -Ipreload -c $< -o $@

.PHONY: docs
docs: $(LIBRARIES) ## Write docs/LIBRARIES.md, and what doctor knows, from the instrumentors' descriptors
	$(LIBRARIES) >docs/LIBRARIES.md.new && mv docs/LIBRARIES.md.new docs/LIBRARIES.md
	$(LIBRARIES) table >$(DOCTOR_TABLE).new && mv $(DOCTOR_TABLE).new $(DOCTOR_TABLE)

.PHONY: new-instrumentor
new-instrumentor: ## The skeleton for one more library: make new-instrumentor NAME=x MODULE=y
	@NAME='$(subst ','\'',$(value NAME))' MODULE='$(subst ','\'',$(value MODULE))' \
	    $(if $(FUNCTION),FUNCTION='$(subst ','\'',$(value FUNCTION))') preload/instrumentors/new

# ---- tests ------------------------------------------------------------------------------------

# tests/unit/test_*.c are Check suites; tests/fuzz/fuzz_*.c are libFuzzer targets, whose corpora a
# small driver replays.
UNIT_TESTS = $(patsubst tests/unit/%.c,$(BUILD)/tests/%,$(wildcard tests/unit/test_*.c)) \
             $(patsubst tests/model/%.c,$(BUILD)/tests/%,$(wildcard tests/model/test_*.c))
FUZZERS = $(patsubst tests/fuzz/%.c,$(BUILD)/tests/%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_SECONDS ?= 60

BENCH = $(BUILD)/tests/bench_exporter

TEST_OBJS = $(foreach d,unit fuzz bench,$(call sources,tests/$d))

$(TEST_OBJS): $(OBJ)/%.o: %.c | $(PROTO_C)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(SANFLAGS) -I. -Ipreload -Ilauncher -isystem $(GEN) -c $< -o $@

$(BUILD)/tests/test_%: $(OBJ)/tests/unit/test_%.o $(filter-out %/main.o,$(LAUNCHER_OBJS)) $(DOCTOR_OBJS) $(CORE) | $(UV)
	@mkdir -p $(@D)
	$(CC) $(SANFLAGS) $^ $(CHECK_LIBS) $(EXPORT_LIBS) -o $@

$(BUILD)/tests/fuzz_%: $(OBJ)/tests/fuzz/fuzz_%.o $(OBJ)/tests/fuzz/replay.o $(OBJ)/launcher/guard/report.o $(CORE) | $(UV)
	@mkdir -p $(@D)
	$(CC) $(SANFLAGS) $^ $(EXPORT_LIBS) -o $@

# tests/model runs the lock-free sources through all interleavings (explore.h): by the calls that the
# compiler makes for -fsanitize=thread, without that sanitizer's library, and without any other one.
# Nothing is inlined, so that one place in the source is one in the program.
MODEL_OBJS = $(patsubst %.c,$(OBJ)/model/%.o,$(filter-out tests/model/test_%,$(wildcard tests/model/*.c)) \
               preload/base/clock.c preload/base/random.c preload/ring/memfd.c)

$(OBJ)/model/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -I. -Ipreload -c $< -o $@

$(OBJ)/model/tests/model/test_%.o: tests/model/test_%.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -Og -fno-inline -fsanitize=thread -I. -Ipreload -c $< -o $@

$(BUILD)/tests/test_model_%: $(OBJ)/model/tests/model/test_model_%.o $(MODEL_OBJS)
	@mkdir -p $(@D)
	$(CC) $^ $(CHECK_LIBS) -o $@

$(BENCH): $(OBJ)/tests/bench/exporter.o $(CORE) | $(UV)
	@mkdir -p $(@D)
	$(CC) $(SANFLAGS) $^ $(EXPORT_LIBS) -o $@

.PHONY: test test-unit test-e2e test-matrix
test: ## Install what is missing, build, run every test; ends with "N passed, N failed"
	@tests/setup/system test
	@$(MAKE) --no-print-directory all test-programs
	@BUILD=$(BUILD) tests/run unit e2e

test-unit: test-programs ## Check suites and fuzz corpora (try SAN=address,undefined or SAN=thread)
	@BUILD=$(BUILD) tests/run unit

test-e2e: all ## pytest against real servers and a real Jaeger (ARGS='-k name' for some of it)
	@BUILD=$(BUILD) tests/run e2e $(ARGS)

test-matrix: all ## The tests of servers and of clients over every set of libraries in tests/matrix (ARGS='-k name')
	@FAA_TEST_MATRIX=$${FAA_TEST_MATRIX:-all} BUILD=$(BUILD) tests/run matrix $(ARGS)

model-check: test-programs ## All interleavings of the lock-free parts, of the large scenarios too
	@for t in $(BUILD)/tests/test_model_*; do FAA_TEST_MODEL=large $$t || exit 1; done

leak-check: all ## 100,000 calls of each client library leave nothing behind (ARGS='-k redis')
	@FAA_TEST_LEAK_CALLS=$${FAA_TEST_LEAK_CALLS:-100000} BUILD=$(BUILD) tests/run leaks $(ARGS)

kill-check: all ## Workers killed at random under load, 200 times: nothing is lost, nothing comes twice
	@FAA_TEST_KILLS=$${FAA_TEST_KILLS:-200} BUILD=$(BUILD) tests/run e2e -s -k killed_at_random

fork-check: all ## Forks by the thousand under load: nothing is lost, nothing comes twice, nothing hangs
	@FAA_TEST_FORKS=$${FAA_TEST_FORKS:-5000} BUILD=$(BUILD) tests/run e2e --durations 0 -k test_forks.py

soak-check: all ## A server and an hour's worth of requests, a hundred a second: it does not grow
	@FAA_TEST_SOAK=$${FAA_TEST_SOAK:-360000} BUILD=$(BUILD) tests/run e2e -s -k test_memory_server.py

.PHONY: model-check leak-check kill-check fork-check soak-check test-programs
test-programs: $(UNIT_TESTS) $(FUZZERS)

# clang's libFuzzer on one target: make fuzz TARGET=url
.PHONY: fuzz
fuzz: $(PROTO_C) $(UV) ## Fuzz one parser for FUZZ_SECONDS, e.g. make fuzz TARGET=url
	@mkdir -p $(BUILD)/fuzz/$(TARGET)
	clang -std=c11 -D_GNU_SOURCE -DFAA_VERSION='"$(VERSION)"' -g -O1 \
	    -fsanitize=fuzzer,address,undefined -Ipreload -Ilauncher -isystem $(GEN) tests/fuzz/fuzz_$(TARGET).c \
	    $(filter-out $(if $(filter ring,$(TARGET)),preload/ring/ring.c),$(wildcard preload/base/*.c preload/span/*.c preload/ring/*.c preload/export/*.c)) \
	    launcher/guard/report.c \
	    $(PROTO_C) $(EXPORT_LIBS) -o $(BUILD)/fuzz/fuzz_$(TARGET)
	$(BUILD)/fuzz/fuzz_$(TARGET) -max_total_time=$(FUZZ_SECONDS) $(BUILD)/fuzz/$(TARGET) \
	    tests/fuzz/corpus/$(TARGET)

.PHONY: bench
bench: all $(BENCH) ## What tracing costs, as ratios side by side in one run
	@BUILD=$(BUILD) tests/bench/run

# ---- use --------------------------------------------------------------------------------------

.PHONY: demo
demo: ## Install what is missing, build, trace the sample application (KEEP=1 leaves it running)
	@tests/setup/system demo
	@$(MAKE) --no-print-directory all
	@BUILD=$(BUILD) PYTHON=$(PYTHON) KEEP=$(KEEP) docs/sample-fastapi-app/demo

# LD_PRELOAD=libfaa.so is found by its name when LIBDIR is one that the dynamic linker searches.
.PHONY: install uninstall
install: all ## Install to PREFIX (default /usr/local); DESTDIR is honoured
	install -d $(DESTDIR)$(BINDIR) $(DESTDIR)$(LIBDIR) $(DESTDIR)$(LIBEXECDIR) $(DESTDIR)$(MANDIR)/man1
	install -m 755 $(LAUNCHER) $(DESTDIR)$(BINDIR)/
	install -m 755 $(GUARD) $(PROBE) $(DESTDIR)$(LIBEXECDIR)/
	install -m 755 $(SHIM) $(AGENT) $(DESTDIR)$(LIBDIR)/
	install -m 644 docs/fastapi-auto-agent.1 $(DESTDIR)$(MANDIR)/man1/
	$(if $(DESTDIR),,-ldconfig)

uninstall: ## Remove what `make install` put there
	rm -f $(DESTDIR)$(BINDIR)/$(notdir $(LAUNCHER)) $(DESTDIR)$(LIBEXECDIR)/$(notdir $(GUARD)) \
	    $(DESTDIR)$(LIBEXECDIR)/$(notdir $(PROBE)) $(DESTDIR)$(LIBDIR)/$(notdir $(SHIM)) \
	    $(DESTDIR)$(LIBDIR)/$(notdir $(AGENT)) $(DESTDIR)$(MANDIR)/man1/fastapi-auto-agent.1
	$(if $(DESTDIR),,-ldconfig)

.PHONY: compdb
compdb: ## compile_commands.json for editors and clang-tidy
	$(MAKE) --always-make --dry-run all | grep -E '^[a-z]*cc .* -c ' | \
	    awk -v dir="$(CURDIR)" 'BEGIN { printf "[" } { file = $$0; sub(/.* -c /, "", file); \
	        sub(/ .*/, "", file); gsub(/"/, "\\\""); \
	        printf "%s\n{\"directory\":\"%s\",\"file\":\"%s\",\"command\":\"%s\"}", \
	        (NR > 1 ? "," : ""), dir, file, $$0 } END { print "\n]" }' >compile_commands.json

.PHONY: help
help: ## This list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: clean
clean: ## Remove everything built (what the tests' set-up fetched stays)
	rm -rf build

-include $(shell find $(OBJ) -name '*.d' 2>/dev/null)
.SECONDARY:
