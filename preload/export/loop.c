// SPDX-License-Identifier: MIT
// curl's multi interface on a libuv loop, and on its own poll where descriptors are not safe.
#include "export/loop.h"

#include "export/gate.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <uv.h>

struct faa_loop {
    CURLM *multi;
    int uses_uv;
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

static void socket_action(struct faa_loop *loop, curl_socket_t s, int flags)
{
    int running;
    faa_gate_enter();
    curl_multi_socket_action(loop->multi, s, flags, &running);
    faa_gate_leave();
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

static int init_uv(struct faa_loop *loop)
{
    faa_loop_stderr = stderr;
    if (uv_loop_init(&loop->uv) != 0)
        return -1;
    // libuv keeps two descriptors for signal handlers, which nobody here uses. It closes their
    // numbers in a destructor at exit and in every forked child: in the application's table.
    // Closed here and now, they are forgotten.
    uv_library_shutdown();
    uv_timer_init(&loop->uv, &loop->timer);
    uv_timer_init(&loop->uv, &loop->tick);
    loop->timer.data = loop;
    loop->uses_uv = 1;
    curl_multi_setopt(loop->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(loop->multi, CURLMOPT_SOCKETDATA, loop);
    curl_multi_setopt(loop->multi, CURLMOPT_TIMERFUNCTION, on_curl_timer);
    curl_multi_setopt(loop->multi, CURLMOPT_TIMERDATA, loop);
    return 0;
}

struct faa_loop *faa_loop_new(int private_fds)
{
    struct faa_loop *loop = calloc(1, sizeof(*loop));
    if (!loop)
        return NULL;
    loop->multi = curl_multi_init();
    if (!loop->multi || (private_fds && init_uv(loop) != 0)) {
        faa_loop_free(loop);
        return NULL;
    }
    return loop;
}

void faa_loop_free(struct faa_loop *loop)
{
    if (!loop)
        return;
    faa_gate_enter();
    curl_multi_cleanup(loop->multi); // Closes kept connections, and their watches with them.
    faa_gate_leave();
    if (loop->uses_uv) {
        uv_close((uv_handle_t *)&loop->timer, NULL);
        uv_close((uv_handle_t *)&loop->tick, NULL);
        uv_run(&loop->uv, UV_RUN_DEFAULT); // Until the handles above are closed.
        uv_loop_close(&loop->uv);
    }
    free(loop);
}

// One step of the transfer, at most a tick long.
static void step(struct faa_loop *loop)
{
    if (loop->uses_uv) {
        uv_run(&loop->uv, UV_RUN_ONCE);
        return;
    }
    int running, fds = 0;
    faa_gate_enter();
    curl_multi_perform(loop->multi, &running);
    faa_gate_leave();
    if (running) {
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
    faa_gate_enter();
    CURLMcode code = curl_multi_add_handle(loop->multi, easy);
    faa_gate_leave();
    return code;
}

static void remove_handle(struct faa_loop *loop, CURL *easy)
{
    faa_gate_enter();
    curl_multi_remove_handle(loop->multi, easy);
    faa_gate_leave();
}

CURLcode faa_loop_run(struct faa_loop *loop, CURL *easy, int (*give_up)(void *arg), void *arg)
{
    CURLcode result = CURLE_ABORTED_BY_CALLBACK;
    if (loop->uses_uv) {
        uv_update_time(&loop->uv); // It stood still while the thread slept.
        uv_timer_start(&loop->tick, on_tick, FAA_LOOP_TICK_MS, FAA_LOOP_TICK_MS);
    }
    if (add_handle(loop, easy) != CURLM_OK)
        result = CURLE_FAILED_INIT;
    else
        while (!is_done(loop, &result) && !give_up(arg))
            step(loop);
    remove_handle(loop, easy);
    if (loop->uses_uv)
        uv_timer_stop(&loop->tick);
    return result;
}
