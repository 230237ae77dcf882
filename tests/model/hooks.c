// SPDX-License-Identifier: MIT
// The functions that code compiled with -fsanitize=thread calls, in place of that sanitizer's. Only
// those that the code under test needs are here: what is not modelled does not link.
#include "tests/model/hooks.h"
#include "tests/model/machine.h"

// Their prototypes stand in no header.
#pragma GCC diagnostic ignored "-Wmissing-prototypes"

void __tsan_init(void)
{
}

void __tsan_func_entry(void *caller)
{
    (void)caller;
}

void __tsan_func_exit(void)
{
}

void __tsan_read_range(void *address, size_t size)
{
    machine_plain(address, size, 0);
}

void __tsan_write_range(void *address, size_t size)
{
    machine_plain(address, size, 1);
}

#define PLAIN(bytes)                                                                               \
    void __tsan_read##bytes(void *address)                                                         \
    {                                                                                              \
        machine_plain(address, bytes, 0);                                                          \
    }                                                                                              \
    void __tsan_write##bytes(void *address)                                                        \
    {                                                                                              \
        machine_plain(address, bytes, 1);                                                          \
    }

PLAIN(1)
PLAIN(2)
PLAIN(4)
PLAIN(8)
PLAIN(16)

#define HERE __builtin_return_address(0)

#define ATOMIC(bits)                                                                               \
    uint##bits##_t __tsan_atomic##bits##_load(const volatile uint##bits##_t *p, int order)         \
    {                                                                                              \
        struct machine_access a = {                                                                \
            .kind = LOAD, .size = bits / 8, .address = (void *)p, .code = HERE, .order = order};   \
        return machine_atomic(&a) ? (uint##bits##_t)a.result                                       \
                                  : __atomic_load_n(p, __ATOMIC_SEQ_CST);                          \
    }                                                                                              \
    void __tsan_atomic##bits##_store(volatile uint##bits##_t *p, uint##bits##_t v, int order)      \
    {                                                                                              \
        struct machine_access a = {.kind = STORE,                                                  \
                                   .size = bits / 8,                                               \
                                   .address = (void *)p,                                           \
                                   .code = HERE,                                                   \
                                   .operand = v,                                                   \
                                   .order = order};                                                \
        if (!machine_atomic(&a))                                                                   \
            __atomic_store_n(p, v, __ATOMIC_SEQ_CST);                                              \
    }                                                                                              \
    uint##bits##_t __tsan_atomic##bits##_exchange(volatile uint##bits##_t *p, uint##bits##_t v,    \
                                                  int order)                                       \
    {                                                                                              \
        struct machine_access a = {.kind = EXCHANGE,                                               \
                                   .size = bits / 8,                                               \
                                   .address = (void *)p,                                           \
                                   .code = HERE,                                                   \
                                   .operand = v,                                                   \
                                   .order = order};                                                \
        return machine_atomic(&a) ? (uint##bits##_t)a.result                                       \
                                  : __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST);                   \
    }                                                                                              \
    uint##bits##_t __tsan_atomic##bits##_fetch_add(volatile uint##bits##_t *p, uint##bits##_t v,   \
                                                   int order)                                      \
    {                                                                                              \
        struct machine_access a = {.kind = ADD,                                                    \
                                   .size = bits / 8,                                               \
                                   .address = (void *)p,                                           \
                                   .code = HERE,                                                   \
                                   .operand = v,                                                   \
                                   .order = order};                                                \
        return machine_atomic(&a) ? (uint##bits##_t)a.result                                       \
                                  : __atomic_fetch_add(p, v, __ATOMIC_SEQ_CST);                    \
    }                                                                                              \
    static int compare_exchange##bits(volatile uint##bits##_t *p, uint##bits##_t *expected,        \
                                      struct machine_access a)                                     \
    {                                                                                              \
        a.address = (void *)p;                                                                     \
        a.size = bits / 8;                                                                         \
        a.expected = *expected;                                                                    \
        if (!machine_atomic(&a))                                                                   \
            return __atomic_compare_exchange_n(p, expected, (uint##bits##_t)a.operand, 0,          \
                                               __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);                \
        if (!a.succeeded)                                                                          \
            *expected = (uint##bits##_t)a.result;                                                  \
        return a.succeeded;                                                                        \
    }                                                                                              \
    int __tsan_atomic##bits##_compare_exchange_strong(volatile uint##bits##_t *p,                  \
                                                      uint##bits##_t *expected, uint##bits##_t v,  \
                                                      int order, int on_failure)                   \
    {                                                                                              \
        return compare_exchange##bits(p, expected,                                                 \
                                      (struct machine_access){.kind = CAS,                         \
                                                              .code = HERE,                        \
                                                              .operand = v,                        \
                                                              .order = order,                      \
                                                              .on_failure = on_failure});          \
    }                                                                                              \
    int __tsan_atomic##bits##_compare_exchange_weak(volatile uint##bits##_t *p,                    \
                                                    uint##bits##_t *expected, uint##bits##_t v,    \
                                                    int order, int on_failure)                     \
    {                                                                                              \
        return compare_exchange##bits(p, expected,                                                 \
                                      (struct machine_access){.kind = CAS_WEAK,                    \
                                                              .code = HERE,                        \
                                                              .operand = v,                        \
                                                              .order = order,                      \
                                                              .on_failure = on_failure});          \
    }

ATOMIC(32)
ATOMIC(64)
