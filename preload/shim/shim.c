// SPDX-License-Identifier: MIT
// Finding the interpreter and handing over to the agent.
//
// Two roads lead into an interpreter. `python` itself, static or shared, is reached by the audit
// hook of audit.c: it tells when the program is about to run, with the interpreter ready. Programs
// that embed Python are reached by the functions of embed.c. Whichever comes first starts the
// agent.
#include "shim/shim.h"

#include "agent/entry.h"
#include "base/log.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/auxv.h>
#include <unistd.h>

#pragma weak dlsym
#pragma weak dlopen
#pragma weak dladdr
#pragma weak dlerror

static atomic_int settled; // The agent runs, or never will: a hint, `started` decides.
static atomic_flag started = ATOMIC_FLAG_INIT;
static _Atomic(const struct faa_agent_ops *) agent; // Release in start, acquire in flush.

static void complain(const char *why)
{
    faa_warn("cannot load the agent: %s; this process is not traced", why ? why : "unknown error");
}

// The agent reads the settings in full; here it matters only what is said in its place.
static void read_log_level(void)
{
    const char *level = getenv("FAA_LOG_LEVEL");
    if (level && strcasecmp(level, "debug") == 0)
        faa_log_set_level(FAA_LOG_DEBUG);
}

// CPython 3.9 or newer: the agent needs its stable ABI.
static int version_is_known(const char *v)
{
    if (!v || strncmp(v, "3.", 2) != 0)
        return 0;
    return v[2] >= '1' && v[2] <= '9' && (v[2] == '9' || (v[3] >= '0' && v[3] <= '9'));
}

// libfaa-agent.so lies beside libfaa.so.
static int agent_path(char *path, size_t cap)
{
    static const char name[] = "libfaa-agent.so";
    Dl_info info;
    if (!dladdr((const void *)(size_t)&faa_shim_start, &info) || !info.dli_fname)
        return -1;
    const char *slash = strrchr(info.dli_fname, '/');
    size_t dir = slash ? (size_t)(slash - info.dli_fname) + 1 : 0;
    if (dir + sizeof(name) > cap)
        return -1;
    memcpy(path, info.dli_fname, dir);
    memcpy(path + dir, name, sizeof(name));
    return 0;
}

// A file that was cut short (a full disk, an upgrade that runs) is mapped all the same, and then
// kills the process by SIGBUS. Its last part is the table of sections.
static int is_cut(const char *path)
{
    ElfW(Ehdr) head;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0; // dlopen says why.
    int cut = read(fd, &head, sizeof(head)) != (ssize_t)sizeof(head) ||
              lseek(fd, 0, SEEK_END) <
                  (off_t)head.e_shoff + (off_t)head.e_shnum * (off_t)head.e_shentsize;
    close(fd);
    return cut;
}

// The agent and the libraries behind it stay out of the global scope: modules of the application
// carry other versions of the same libraries, and must not find ours.
static void load_agent(const char *road)
{
    char path[PATH_MAX];
    if (agent_path(path, sizeof(path)))
        return;
    if (is_cut(path)) {
        complain("libfaa-agent.so is not whole");
        return;
    }
    void *object = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    faa_agent_start_fn *start =
        object ? (faa_agent_start_fn *)dlsym(object, FAA_ENTRY_SYMBOL) : NULL;
    if (!start) {
        complain(dlerror ? dlerror() : NULL);
        return;
    }
    atomic_store_explicit(&agent, start(FAA_ENTRY_VERSION, road), memory_order_release);
}

void faa_shim_start(const char *road)
{
    // No dlsym from here on: a thread in dlopen may wait for the GIL that we hold.
    if (atomic_load_explicit(&settled, memory_order_relaxed) || !dlsym || !dlopen || !dladdr)
        return;
    int (*ready)(void) = (int (*)(void))dlsym(RTLD_DEFAULT, "Py_IsInitialized");
    if (!ready || !ready() || atomic_flag_test_and_set(&started))
        return;
    int saved = errno;
    read_log_level();
    const char *(*version)(void) = (const char *(*)(void))dlsym(RTLD_DEFAULT, "Py_GetVersion");
    if (version && version_is_known(version()))
        load_agent(road);
    else
        faa_debug("standing down: no CPython 3.9 or newer, but interpreter %s",
                  version ? version() : "without a version");
    atomic_store_explicit(&settled, 1, memory_order_relaxed);
    errno = saved;
}

void faa_shim_flush(void)
{
    const struct faa_agent_ops *ops = atomic_load_explicit(&agent, memory_order_acquire);
    if (!ops)
        return;
    int saved = errno;
    ops->flush();
    errno = saved;
}

__attribute__((constructor)) static void on_load(void)
{
    faa_shim_find_process_functions();
    if (getauxval(AT_SECURE)) {
        atomic_store_explicit(&settled, 1, memory_order_relaxed);
        return;
    }
    faa_shim_arm_at_load();
}
