// SPDX-License-Identifier: MIT
// Notices that a step of a request holds the event loop for longer than a threshold while it still
// does, and takes the stack that holds it.
//
// A thread of its own, `faa-watch`, looks at the clock. When a step is too old it asks the
// interpreter (Py_AddPendingCall) to call us on the main thread as soon as that one runs Python
// code again, which is where a blocking C function has been called. So only loops on the main
// thread have stacks; on any other thread nothing is watched, and a caller who measures the step's
// time still knows its duration.
//
// The thread starts with the first step, polls while there are steps, and sleeps without a wake-up
// when there have been none for a while. No lock is taken, and no application thread waits for it
// but before a fork and at the end of the process, for the nanoseconds of one Py_AddPendingCall;
// and where a step computes on CPython before 3.13, which hears nothing then, the thread asks for
// the GIL once in that step and gives it back at once.
//
// This file and watch.c know of Python only what faa_watch_init is given.
#ifndef FAA_PYTHON_WATCH_H
#define FAA_PYTHON_WATCH_H

#include "base/str.h"

#include <stdint.h>

enum {
    FAA_WATCH_STACK_MAX = 8192, ///< Bytes of a stack.
    FAA_WATCH_DEPTH_MAX = 8     ///< Steps inside steps that are watched; the ones within are not.
};

/// What the watch asks of the interpreter.
struct faa_watch_ops {
    /// Has `function(arg)` called on the main thread, soon; 0, or -1 when there is no room for it.
    /// Called on the watch's thread: Py_AddPendingCall.
    int (*ask)(int (*function)(void *arg), void *arg);
    /// True while that may be asked; called on the watch's thread: Py_IsInitialized.
    int (*is_alive)(void);
    /// Makes the main thread, which computes, look at what was asked of it; NULL where it does so
    /// by itself. Called on the watch's thread, once for what was asked; may wait for the main
    /// thread, which never waits for it.
    void (*nudge)(void);
    /// Writes the running thread's stack, at most `cap` bytes; returns the length. Called on the
    /// main thread, by the function that was asked for: faa_stack_format.
    size_t (*format)(char *out, size_t cap);
};

/// Sets up the watch, which is off; `ops` is static. Called once, on the interpreter's main thread.
void faa_watch_init(const struct faa_watch_ops *ops);

/// How long a step may take; 0 turns the watch off. Main thread, while no step runs.
void faa_watch_set_threshold(uint64_t ns);

/// The threshold in nanoseconds; 0: off. Any thread.
uint64_t faa_watch_threshold(void);

/// A step begins on this thread at this monotonic time. Steps may nest, and end in reverse order.
/// Costs some plain stores; a system call only when the watch's thread has to be woken, and in the
/// first step, which starts it. errno is preserved.
void faa_watch_begin(uint64_t mono_ns);

/// The stack that was taken during this thread's innermost step so far, or empty. Valid until the
/// next faa_watch_begin.
struct faa_str faa_watch_stack(void);

/// The innermost step of this thread is over: the same, a last time.
struct faa_str faa_watch_end(void);

/// The interpreter is about to end: when this returns, nothing is asked of it any more. Any thread;
/// waits for the nanoseconds of one Py_AddPendingCall, and for 100 ms at most.
void faa_watch_stop(void);

/// Around a fork, on the thread that forks: the watch's thread is in no function of the interpreter
/// then, so that the child inherits no lock that it holds. faa_watch_hold waits as faa_watch_stop.
void faa_watch_hold(void);
void faa_watch_release(void);

/// In the child of a fork, whose only thread, now its main thread, this is: the next step starts a
/// watch of its own. Async-signal-safe.
void faa_watch_forget(void);

#endif
