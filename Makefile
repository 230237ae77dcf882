# fastapi-auto-agent. `make help` lists the targets; everything built lies in build/.

VERSION = 0.1.0

PREFIX ?= /usr/local
BINDIR ?= $(PREFIX)/bin
LIBDIR ?= $(PREFIX)/lib
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
ALL_CFLAGS = -std=c11 -D_GNU_SOURCE -DFAA_VERSION='"$(VERSION)"' -fPIC -fvisibility=hidden $(WARN) \
             -MMD -MP $(CFLAGS)
HARDEN = -Wl,-z,relro,-z,now,-z,noexecstack,-z,defs

# Asked once, and only when something is compiled that needs the answer.
pkg = $(eval $(1) := $$(shell pkg-config $(2)))$($(1))
PY_CFLAGS = $(call pkg,PY_CFLAGS,--cflags python3)
EXPORT_LIBS = $(call pkg,EXPORT_LIBS,--libs libcurl libuv libprotobuf-c)
CHECK_LIBS = $(call pkg,CHECK_LIBS,--libs check)

sources = $(patsubst %.c,$(OBJ)/%.o,$(wildcard $(1)/*.c))
PROTOS = $(shell cd proto && find . -name '*.proto' | sed 's|^\./||')
PROTO_C = $(PROTOS:%.proto=$(GEN)/%.pb-c.c)

# Each layer sees only what it may use: Python's headers are on the path of python/,
# instrumentors/ and agent/ alone; tests/layers checks the rest.
CORE_OBJS = $(foreach d,base span ring export,$(call sources,preload/$d)) $(PROTO_C:.c=.o)
PYTHON_OBJS = $(foreach d,python instrumentors,$(call sources,preload/$d))
AGENT_OBJS = $(call sources,preload/agent)
SHIM_OBJS = $(call sources,preload/shim)
LAUNCHER_OBJS = $(call sources,launcher)

CORE = $(OBJ)/libfaa-core.a
SHIM = $(BUILD)/lib/libfaa.so
AGENT = $(BUILD)/lib/libfaa-agent.so
LAUNCHER = $(BUILD)/bin/fastapi-auto-agent

.PHONY: all
all: $(SHIM) $(AGENT) $(LAUNCHER) ## Build the libraries and the command (default)

$(CORE_OBJS) $(PYTHON_OBJS) $(AGENT_OBJS): $(OBJ)/layers.ok

$(OBJ)/layers.ok: tests/layers $(wildcard preload/*/*.[ch])
	@mkdir -p $(@D)
	@tests/layers
	@touch $@

$(OBJ)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(SANFLAGS) -Ipreload -c $< -o $@

$(OBJ)/preload/export/%.o: preload/export/%.c | $(PROTO_C)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(SANFLAGS) -Ipreload -isystem $(GEN) -c $< -o $@

$(PYTHON_OBJS) $(AGENT_OBJS): $(OBJ)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(SANFLAGS) $(patsubst -I%,-isystem %,$(PY_CFLAGS)) -Ipreload -c $< -o $@

# The shim lives in every process: nothing but what libc has everywhere, no sanitizer.
$(SHIM_OBJS): $(OBJ)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -fno-stack-protector -Ipreload -c $< -o $@

$(GEN)/%.pb-c.c: proto/%.proto
	@mkdir -p $(GEN)
	protoc-c --proto_path=proto --c_out=$(GEN) $<

$(GEN)/%.pb-c.o: $(GEN)/%.pb-c.c | $(PROTO_C)
	$(CC) -std=c11 -fPIC -fvisibility=hidden $(CFLAGS) $(SANFLAGS) -I$(GEN) -c $< -o $@

$(CORE): $(CORE_OBJS)
	@rm -f $@
	$(AR) rcs $@ $^

$(SHIM): $(SHIM_OBJS) preload/shim/libfaa.map
	@mkdir -p $(@D)
	$(CC) -shared -nostdlib -Wl,-soname,libfaa.so -Wl,--version-script=preload/shim/libfaa.map \
	    -Wl,-z,relro,-z,now,-z,noexecstack -Wl,--build-id=sha1 $(SHIM_OBJS) -o $@

# Python's symbols come from the interpreter that loads the agent: everything else must be defined.
$(AGENT): $(AGENT_OBJS) $(PYTHON_OBJS) $(CORE) preload/agent/libfaa-agent.map
	@mkdir -p $(@D)
	$(CC) -shared $(SANFLAGS) -Wl,-soname,libfaa-agent.so \
	    -Wl,--version-script=preload/agent/libfaa-agent.map -Wl,-z,relro,-z,now,-z,noexecstack \
	    -Wl,-z,nodelete -Wl,--exclude-libs,ALL -Wl,--build-id=sha1 \
	    $(AGENT_OBJS) $(PYTHON_OBJS) $(CORE) $(EXPORT_LIBS) -lpthread -o $@

$(LAUNCHER): $(LAUNCHER_OBJS) $(CORE)
	@mkdir -p $(@D)
	$(CC) $(SANFLAGS) -pie $(HARDEN) $^ -o $@

# ---- tests ------------------------------------------------------------------------------------

UNIT_TESTS = $(patsubst tests/unit/%.c,$(BUILD)/tests/%,$(wildcard tests/unit/test_*.c))

$(OBJ)/tests/unit/%.o: tests/unit/%.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -Wno-error=unused-parameter $(SANFLAGS) -I. -Ipreload -isystem $(GEN) -c $< -o $@

$(BUILD)/tests/test_%: $(OBJ)/tests/unit/test_%.o $(filter-out %/main.o,$(LAUNCHER_OBJS)) $(CORE)
	@mkdir -p $(@D)
	$(CC) $(SANFLAGS) $^ $(CHECK_LIBS) $(EXPORT_LIBS) -lpthread -o $@

.PHONY: help
help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-22s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: clean
clean: ## Remove everything built (the cache of tests' tools stays)
	rm -rf build

-include $(shell find $(OBJ) -name '*.d' 2>/dev/null)
.SECONDARY:
