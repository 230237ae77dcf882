// SPDX-License-Identifier: MIT
// curl's multi interface on a libuv loop, and on its own poll where descriptors are not safe.
#include "export/loop.h"

#include "export/gate.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <uv.h>

struct faa_loop {
    CURLM *multi;
    int uses_uv, is_wreck;
    int is_within;   // The gate.
    int failed;      // curl could not go on in the middle: nothing would wake the transfer.
    jmp_buf way_out; // Of libuv, for the thread that is in it.
    uv_loop_t uv;
    uv_timer_t timer; // curl's.
    uv_timer_t tick;
};

// A socket that curl wants watched.
struct watch {
    uv_poll_t poll;
    struct faa_loop *loop;
    curl_socket_t socket;
};

char **faa_loop_environ;
FILE *faa_loop_stderr;
const struct in6_addr faa_loop_in6addr_any;

int faa_loop_no_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void))
{
    (void)prepare;
    (void)parent;
    (void)child;
    return 0;
}

// ---- libuv's last words -----------------------------------------------------------------------

// The loop in whose libuv a thread is. A key and no thread-local variable, which a library that is
// loaded late cannot always have.
static pthread_key_t inside;
static pthread_once_t inside_once = PTHREAD_ONCE_INIT;
static int has_inside;
static atomic_int uv_is_broken; // Relaxed: it is true of one thread's loop, and a hint for others.

static void make_inside(void)
{
    has_inside = pthread_key_create(&inside, NULL) == 0;
}

static int may_use_uv(void)
{
    return pthread_once(&inside_once, make_inside) == 0 && has_inside &&
           !atomic_load_explicit(&uv_is_broken, memory_order_relaxed);
}

_Noreturn void faa_loop_abort(void)
{
    struct faa_loop *loop = has_inside ? pthread_getspecific(inside) : NULL;
    if (!loop)
        abort();
    atomic_store_explicit(&uv_is_broken, 1, memory_order_relaxed);
    longjmp(loop->way_out, 1);
}

_Noreturn void faa_loop_assert_fail(const char *expression, const char *file, unsigned line,
                                    const char *function)
{
    (void)expression, (void)file, (void)line, (void)function;
    faa_loop_abort();
}

// The gate, which must be left also where libuv leaves curl in the middle.
static void enter(struct faa_loop *loop)
{
    faa_gate_enter();
    loop->is_within = 1;
}

static void leave(struct faa_loop *loop)
{
    if (loop->is_within)
        faa_gate_leave();
    loop->is_within = 0;
}

// Calls a function that calls libuv. Returns what it returns, or -1 when libuv gave up: then the
// function was left in the middle.
static int call(int (*function)(struct faa_loop *loop, void *arg), struct faa_loop *loop, void *arg)
{
    int result = -1;
    if (pthread_setspecific(inside, loop) != 0)
        return -1;
    if (setjmp(loop->way_out) == 0)
        result = function(loop, arg);
    else {
        loop->is_wreck = 1;
        leave(loop);
    }
    pthread_setspecific(inside, NULL);
    return result;
}

// ---- curl and libuv ---------------------------------------------------------------------------

static void socket_action(struct faa_loop *loop, curl_socket_t s, int flags)
{
    int running;
    enter(loop);
    if (curl_multi_socket_action(loop->multi, s, flags, &running) != CURLM_OK)
        loop->failed = 1;
    leave(loop);
}

static void free_watch(uv_handle_t *handle)
{
    free(handle->data);
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
    struct watch *watch = poll->data;
    int flags = status < 0 ? CURL_CSELECT_ERR : 0;
    if (events & UV_READABLE)
        flags |= CURL_CSELECT_IN;
    if (events & UV_WRITABLE)
        flags |= CURL_CSELECT_OUT;
    socket_action(watch->loop, watch->socket, flags);
}

static struct watch *watch_new(struct faa_loop *loop, curl_socket_t s)
{
    struct watch *watch = calloc(1, sizeof(*watch));
    if (!watch)
        return NULL;
    watch->loop = loop;
    watch->socket = s;
    if (uv_poll_init_socket(&loop->uv, &watch->poll, s) != 0) {
        free(watch);
        return NULL;
    }
    watch->poll.data = watch;
    curl_multi_assign(loop->multi, s, watch);
    return watch;
}

// An error here makes curl fail the transfer.
static int on_socket(CURL *easy, curl_socket_t s, int what, void *userp, void *socketp)
{
    struct faa_loop *loop = userp;
    struct watch *watch = socketp;
    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (watch) {
            curl_multi_assign(loop->multi, s, NULL);
            uv_close((uv_handle_t *)&watch->poll, free_watch);
        }
        return 0;
    }
    if (!watch && !(watch = watch_new(loop, s)))
        return -1;
    int events = (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);
    return uv_poll_start(&watch->poll, events, on_ready) == 0 ? 0 : -1;
}

static void on_timer(uv_timer_t *timer)
{
    socket_action(timer->data, CURL_SOCKET_TIMEOUT, 0);
}

static int on_curl_timer(CURLM *multi, long timeout_ms, void *userp)
{
    struct faa_loop *loop = userp;
    (void)multi;
    if (timeout_ms < 0)
        uv_timer_stop(&loop->timer);
    else
        uv_timer_start(&loop->timer, on_timer, (uint64_t)timeout_ms, 0);
    return 0;
}

static void on_tick(uv_timer_t *timer)
{
    (void)timer; // It has ended uv_run, which is all it is for.
}

static int init_uv(struct faa_loop *loop, void *arg)
{
    (void)arg;
    faa_loop_stderr = stderr;
    int rc = uv_loop_init(&loop->uv);
    // libuv keeps two descriptors for signal handlers, which nobody here uses. It closes their
    // numbers in a destructor at exit and in every forked child: in the application's table.
    // Closed here and now, they are forgotten.
    uv_library_shutdown();
    return rc;
}

static void use_uv(struct faa_loop *loop)
{
    uv_timer_init(&loop->uv, &loop->timer);
    uv_timer_init(&loop->uv, &loop->tick);
    loop->timer.data = loop;
    loop->uses_uv = 1;
    curl_multi_setopt(loop->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(loop->multi, CURLMOPT_SOCKETDATA, loop);
    curl_multi_setopt(loop->multi, CURLMOPT_TIMERFUNCTION, on_curl_timer);
    curl_multi_setopt(loop->multi, CURLMOPT_TIMERDATA, loop);
}

struct faa_loop *faa_loop_new(int private_fds)
{
    struct faa_loop *loop = calloc(1, sizeof(*loop));
    if (!loop)
        return NULL;
    loop->multi = curl_multi_init();
    if (!loop->multi) {
        free(loop);
        return NULL;
    }
    if (private_fds && may_use_uv() && call(init_uv, loop, NULL) == 0)
        use_uv(loop);
    loop->is_wreck = 0; // curl has seen nothing of it yet.
    return loop;
}

// Closes kept connections, and their watches with them.
static void free_multi(struct faa_loop *loop)
{
    enter(loop);
    curl_multi_cleanup(loop->multi);
    leave(loop);
}

static int close_uv(struct faa_loop *loop, void *arg)
{
    (void)arg;
    free_multi(loop);
    uv_close((uv_handle_t *)&loop->timer, NULL);
    uv_close((uv_handle_t *)&loop->tick, NULL);
    uv_run(&loop->uv, UV_RUN_DEFAULT); // Until the handles above are closed.
    return uv_loop_close(&loop->uv);
}

void faa_loop_free(struct faa_loop *loop)
{
    if (!loop || loop->is_wreck)
        return;
    if (!loop->uses_uv)
        free_multi(loop);
    else if (call(close_uv, loop, NULL) != 0)
        return; // Something still points to it.
    free(loop);
}

int faa_loop_is_wreck(const struct faa_loop *loop)
{
    return loop->is_wreck;
}

// One step of the transfer, at most a tick long.
static void step(struct faa_loop *loop)
{
    if (loop->uses_uv) {
        uv_run(&loop->uv, UV_RUN_ONCE);
        return;
    }
    int running = 0, fds = 0;
    enter(loop);
    if (curl_multi_perform(loop->multi, &running) != CURLM_OK)
        loop->failed = 1;
    leave(loop);
    if (running && !loop->failed) {
        // Not curl_multi_poll: that reads a descriptor of its own, which may by now be the
        // application's. Without one, curl waits for a name to be resolved.
        curl_multi_wait(loop->multi, NULL, 0, FAA_LOOP_TICK_MS, &fds);
        if (fds == 0)
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
}

static int is_done(struct faa_loop *loop, CURLcode *result)
{
    int left;
    const CURLMsg *message = curl_multi_info_read(loop->multi, &left);
    if (!message || message->msg != CURLMSG_DONE)
        return 0;
    *result = message->data.result;
    return 1;
}

static CURLMcode add_handle(struct faa_loop *loop, CURL *easy)
{
    enter(loop);
    CURLMcode code = curl_multi_add_handle(loop->multi, easy);
    leave(loop);
    return code;
}

static void remove_handle(struct faa_loop *loop, CURL *easy)
{
    enter(loop);
    curl_multi_remove_handle(loop->multi, easy);
    leave(loop);
}

struct transfer {
    CURL *easy;
    int (*give_up)(void *arg);
    void *arg;
};

static int run(struct faa_loop *loop, void *arg)
{
    const struct transfer *transfer = arg;
    CURLcode result = CURLE_ABORTED_BY_CALLBACK;
    loop->failed = 0;
    if (loop->uses_uv) {
        uv_update_time(&loop->uv); // It stood still while the thread slept.
        uv_timer_start(&loop->tick, on_tick, FAA_LOOP_TICK_MS, FAA_LOOP_TICK_MS);
    }
    if (add_handle(loop, transfer->easy) != CURLM_OK)
        result = CURLE_OUT_OF_MEMORY;
    else
        while (!is_done(loop, &result) && !loop->failed && !transfer->give_up(transfer->arg))
            step(loop);
    if (loop->failed && result == CURLE_ABORTED_BY_CALLBACK)
        result = CURLE_OUT_OF_MEMORY;
    remove_handle(loop, transfer->easy);
    if (loop->uses_uv)
        uv_timer_stop(&loop->tick);
    return (int)result;
}

CURLcode faa_loop_run(struct faa_loop *loop, CURL *easy, int (*give_up)(void *arg), void *arg)
{
    struct transfer transfer = {easy, give_up, arg};
    if (!loop->uses_uv)
        return (CURLcode)run(loop, &transfer);
    int result = call(run, loop, &transfer);
    return result < 0 ? CURLE_OUT_OF_MEMORY : (CURLcode)result;
}
