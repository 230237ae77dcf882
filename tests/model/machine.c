// SPDX-License-Identifier: MIT
// Runs one thread for one step.
#include "tests/model/machine.h"
#include "tests/model/places.h"

#include <linux/futex.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include "tests/model/hooks.h"

const char *machine_failure;

// What threads do with the locations, one bit each, from some number of notes on.
static struct future {
    uint64_t reads, writes;
} futures[THREADS_MAX][EXPLORE_NOTES_MAX + 1];
static uint64_t plainly_written;
static int has_learned;

void explore_reset(void)
{
    places_reset();
    memset(futures, 0, sizeof(futures));
    plainly_written = 0;
}

// ---- the thread that runs now -----------------------------------------------------------------

static struct state *now;
static const struct explore_scenario *current;
static struct thread *running; // NULL: the check runs, or nothing.
static int self;
static int replayed, armed, is_new, choice_taken, impossible;
static jmp_buf stop;
static struct message *open_write; // A plain write whose value is not there yet.

void explore_fail(const char *what)
{
    if (!machine_failure)
        machine_failure = what;
    if (running)
        longjmp(stop, 1);
}

static void require(enum memory_result result)
{
    if (result != MEMORY_OK)
        explore_fail(result == MEMORY_RACE ? "a data race" : "two stores in no order");
}

static void settle_write(void)
{
    if (!open_write)
        return;
    open_write->value = place_bytes(open_write->location);
    open_write = NULL;
}

static uint64_t value_at(int location, int stamp)
{
    return memory_value(&now->memory, location, stamp, place_initial(location));
}

static uint64_t cut(uint64_t value, size_t size)
{
    return size == 8 ? value : value & ((UINT64_C(1) << size * 8) - 1);
}

// Whose read this is, for a plain write that may come.
static int reader(const struct op *op)
{
    return plainly_written >> op->location & 1 ? self : -1;
}

static void read_latest(const struct op *op, struct memory_order order)
{
    int latest = now->memory.latest[op->location];
    require(memory_read(&now->memory, &running->view, reader(op), op->location, latest, order));
}

static void write_value(const struct op *op, uint64_t value, int as_update)
{
    int may_be_unordered = place_flags(op->location) & EXPLORE_UNORDERED;
    require(memory_write(&now->memory, &running->view, op->location, cut(value, op->size),
                         op->order, as_update, may_be_unordered));
}

static struct answer compare_and_swap(const struct op *op)
{
    int latest = now->memory.latest[op->location];
    int oldest = running->view.writes[op->location];
    uint64_t last = value_at(op->location, latest);
    if (choice_taken == 0 && last == op->expected) {
        read_latest(op, op->order);
        write_value(op, op->operand, 1);
        return (struct answer){last, 1};
    }
    int is_early = choice_taken == (current->is_sequential ? 1 : latest - oldest + 1);
    int stamp = is_early ? latest : latest - choice_taken;
    uint64_t value = value_at(op->location, stamp);
    if ((value == op->expected) != is_early) {
        impossible = 1;
        longjmp(stop, 1);
    }
    now->failures = (uint8_t)(now->failures + is_early);
    require(
        memory_read(&now->memory, &running->view, reader(op), op->location, stamp, op->on_failure));
    return (struct answer){value, 0};
}

// The kernel looks at the word under a lock that each call takes.
static struct answer futex_wait(const struct op *op)
{
    view_join(&running->view, &now->kernel);
    int latest = now->memory.latest[op->location];
    if (latest - choice_taken < running->view.writes[op->location]) {
        impossible = 1;
        longjmp(stop, 1);
    }
    uint64_t value = value_at(op->location, latest - choice_taken);
    require(memory_read(&now->memory, &running->view, reader(op), op->location,
                        latest - choice_taken, (struct memory_order){0}));
    view_join(&now->kernel, &running->view);
    if (value == op->expected) {
        running->status = ASLEEP;
        running->next = *op;
        running->next.kind = WAKE_UP;
        longjmp(stop, 1);
    }
    return (struct answer){0};
}

static void futex_wake(const struct op *op)
{
    view_join(&running->view, &now->kernel);
    now->kernel = running->view;
    for (size_t i = 0; i < current->thread_count; i++) {
        struct thread *t = &now->threads[i];
        if (t->status == ASLEEP && t->next.location == op->location) {
            t->status = READY;
            view_join(&t->view, &now->kernel);
        }
    }
}

static struct answer perform(const struct op *op)
{
    struct answer answer = {0};
    int stamp;
    switch ((enum kind)op->kind) {
    case LOAD:
        stamp = now->memory.latest[op->location] - choice_taken;
        answer.value = value_at(op->location, stamp);
        require(
            memory_read(&now->memory, &running->view, reader(op), op->location, stamp, op->order));
        break;
    case STORE:
        write_value(op, op->operand, 0);
        break;
    case EXCHANGE:
    case ADD:
        answer.value = value_at(op->location, now->memory.latest[op->location]);
        read_latest(op, op->order);
        write_value(op, op->kind == ADD ? answer.value + op->operand : op->operand, 1);
        break;
    case CAS:
    case CAS_WEAK:
        return compare_and_swap(op);
    case PLAIN_READ:
        require(memory_read_plain(&now->memory, &running->view, self, op->location));
        answer.value = value_at(op->location, now->memory.latest[op->location]);
        break;
    case PLAIN_WRITE:
        require(memory_write_plain(&now->memory, &running->view, op->location, &open_write));
        break;
    case SLEEP:
        return futex_wait(op);
    case WAKE_UP:
        break;
    case WAKE:
        futex_wake(op);
        break;
    case JOIN:
        for (size_t i = 0; i < current->thread_count; i++)
            if (op->operand >> i & 1)
                view_join(&running->view, &now->threads[i].view);
        break;
    case AWAIT_DEATH:
        view_join(&running->view, &now->death);
        break;
    }
    return answer;
}

static int is_step(const struct op *op)
{
    if (op->kind == PLAIN_READ)
        return 0;
    return op->kind != PLAIN_WRITE || (current->kills && current->threads[self].process == 1);
}

static void learn(const struct op *op)
{
    static const uint8_t reads[] = {
        [LOAD] = 1,  [EXCHANGE] = 1, [ADD] = 1,     [CAS] = 1,        [CAS_WEAK] = 1,
        [SLEEP] = 1, [WAKE] = 1,     [WAKE_UP] = 1, [PLAIN_READ] = 1, [AWAIT_DEATH] = 0};
    if (op->location < 0)
        return;
    uint64_t bit = UINT64_C(1) << op->location;
    uint64_t read = reads[op->kind] ? bit : 0;
    uint64_t written = op->kind == LOAD || op->kind == PLAIN_READ ? 0 : bit;
    if (op->kind == PLAIN_WRITE && !(plainly_written & bit)) {
        plainly_written |= bit;
        has_learned = 1;
    }
    for (int n = running->note_count; n >= 0; n--) {
        struct future *f = &futures[self][n];
        if (!(read & ~f->reads) && !(written & ~f->writes))
            return; // Nor is it new before.
        f->reads |= read;
        f->writes |= written;
        has_learned = 1;
    }
}

static void begin_step(const struct op *op)
{
    armed = 0;
    is_new = 1;
    now->last_thread = (uint8_t)self;
    now->last_op = *op;
    now->last_answer = (struct answer){0};
}

// An access of the running thread: told again, made now, or left for the next step.
static struct answer act(const struct op *op)
{
    struct thread *t = running;
    settle_write();
    if (replayed < t->log_count)
        return t->log[replayed++];
    if (is_step(op)) {
        if (!armed) {
            t->next = *op;
            longjmp(stop, 1);
        }
        if (t->next.kind == WAKE_UP)
            op = &t->next;
        begin_step(op);
    }
    learn(op);
    struct answer answer = perform(op);
    if (is_step(op))
        now->last_answer = answer;
    if (t->log_count == LOG_MAX)
        place_die("so long a thread");
    t->log[t->log_count++] = answer;
    replayed++;
    t->history = hash_mix(t->history, answer.value << 1 | (uint64_t)answer.succeeded);
    return answer;
}

// Runs the thread from its beginning; with `arm` the step after what it has made is made.
static void run(struct state *state, int thread, int arm, int choice)
{
    now = state;
    self = thread;
    running = &state->threads[thread];
    replayed = 0;
    armed = arm;
    is_new = !arm;
    choice_taken = choice;
    impossible = 0;
    if (setjmp(stop) == 0) {
        current->threads[thread].run();
        settle_write();
        running->status = DONE;
    }
    settle_write();
    running = NULL;
}

void machine_start(struct state *state, const struct explore_scenario *scenario, int thread)
{
    current = scenario;
    run(state, thread, 0, 0);
}

int machine_has_learned(void)
{
    int learned = has_learned;
    has_learned = 0;
    return learned;
}

int machine_is_alone(const struct state *state, const struct explore_scenario *scenario, int thread)
{
    const struct op *op = &state->threads[thread].next;
    if (scenario->kills && scenario->threads[thread].process == 1)
        return 0; // It and a kill matter to each other.
    if (op->kind == JOIN || op->kind == AWAIT_DEATH)
        return 1;
    if (op->kind >= SLEEP)
        return 0;
    for (size_t i = 0; i < scenario->thread_count; i++) {
        const struct thread *other = &state->threads[i];
        if ((int)i == thread || other->status >= DONE ||
            (other->next.kind == JOIN && other->next.operand >> thread & 1))
            continue; // It does nothing before this thread has ended.
        const struct future *f = &futures[i][other->note_count];
        uint64_t matters = op->kind == LOAD ? f->writes : f->reads | f->writes;
        if (matters >> op->location & 1)
            return 0;
    }
    return 1;
}

int machine_choices(const struct state *state, const struct explore_scenario *scenario, int thread)
{
    const struct thread *t = &state->threads[thread];
    if (t->status != READY)
        return 0;
    // Writes that it may still read; a futex looks at them under the kernel's lock.
    int location = t->next.location, writes = 0;
    if (location >= 0)
        writes = scenario->is_sequential
                     ? 1
                     : state->memory.latest[location] - t->view.writes[location] + 1;
    switch ((enum kind)t->next.kind) {
    case LOAD:
    case CAS:
    case SLEEP:
        return writes;
    case CAS_WEAK:
        return writes + (state->failures < scenario->early_failures);
    case JOIN:
        for (size_t i = 0; i < scenario->thread_count; i++)
            if (t->next.operand >> i & 1 && state->threads[i].status < DONE)
                return 0;
        return 1;
    case AWAIT_DEATH:
        return state->is_dead;
    default:
        return 1;
    }
}

int machine_step(struct state *state, const struct explore_scenario *scenario, int thread,
                 int choice)
{
    current = scenario;
    run(state, thread, 1, choice);
    return impossible ? -1 : 0;
}

void machine_wake_early(struct state *state, int thread)
{
    state->threads[thread].status = READY;
    state->wakeups++;
}

void machine_kill(struct state *state, const struct explore_scenario *scenario)
{
    state->is_dead = 1;
    state->last_thread = THREADS_MAX;
    for (size_t i = 0; i < scenario->thread_count; i++) {
        struct thread *t = &state->threads[i];
        if (scenario->threads[i].process != 1)
            continue;
        view_join(&state->death, &t->view);
        if (t->status != DONE)
            t->status = DEAD;
    }
}

// ---- what threads and checks call -------------------------------------------------------------

void explore_note(uint32_t value)
{
    if (!is_new || replayed < running->log_count)
        return;
    if (running->note_count == EXPLORE_NOTES_MAX)
        place_die("so many notes");
    running->notes[running->note_count++] = value;
    running->noted = hash_mix(running->noted, value + 1u);
}

int explore_peek(const void *address, size_t size, uint64_t *value)
{
    int location = place_of((void *)(uintptr_t)address, size);
    if (location < 0)
        place_die("a look outside of all regions");
    *value = value_at(location, now->memory.latest[location]);
    return is_new && replayed == running->log_count;
}

void explore_checkpoint(uint64_t locals)
{
    settle_write();
    if (is_new && replayed == running->log_count)
        running->history = hash_mix(running->noted, locals);
}

void explore_join(unsigned threads)
{
    act(&(struct op){.kind = JOIN, .location = -1, .operand = threads});
}

void explore_await_death(void)
{
    act(&(struct op){.kind = AWAIT_DEATH, .location = -1});
}

long explore_futex(long number, _Atomic uint32_t *word, int operation, uint32_t value, ...)
{
    (void)number;
    int location = place_of((void *)word, sizeof(*word));
    if (location < 0)
        place_die("a futex that is in no region");
    int waits = operation == FUTEX_WAIT_BITSET;
    act(&(struct op){
        .kind = waits ? SLEEP : WAKE, .location = (int16_t)location, .expected = value});
    return 0;
}

void machine_look_at(struct state *state)
{
    now = state;
}

size_t explore_note_count(int thread)
{
    return now->threads[thread].note_count;
}

uint32_t explore_note_at(int thread, size_t index)
{
    return now->threads[thread].notes[index];
}

int explore_is_stuck(int thread)
{
    return now->threads[thread].status < DONE;
}

// ---- what the compiler calls, by hooks.c ------------------------------------------------------

static const char *const kind_names[] = {"load", "store", "exchange", "add", "cas", "cas"};

void machine_plain(void *address, size_t size, int is_write)
{
    int location = running ? place_of(address, size) : -1;
    if (location < 0)
        return;
    if (place_flags(location) & EXPLORE_ATOMIC)
        place_die("a plain access to what is atomic");
    struct op op = {.kind = is_write ? PLAIN_WRITE : PLAIN_READ,
                    .location = (int16_t)location,
                    .size = (uint8_t)size};
    struct answer answer = act(&op);
    if (!is_write) // It is read from there now.
        memcpy(address, &answer.value, size);
}

int machine_atomic(struct machine_access *access)
{
    int location = running ? place_of(access->address, access->size) : -1;
    if (location < 0)
        return 0;
    struct op op = {.kind = (uint8_t)access->kind,
                    .size = (uint8_t)access->size,
                    .location = (int16_t)location,
                    .operand = access->operand,
                    .expected = access->expected};
    if (access->order == __ATOMIC_SEQ_CST)
        place_die("seq_cst");
    op.order = (struct memory_order){
        .acquires = access->order == __ATOMIC_ACQUIRE || access->order == __ATOMIC_ACQ_REL,
        .releases = access->order == __ATOMIC_RELEASE || access->order == __ATOMIC_ACQ_REL};
    op.on_failure.acquires = access->on_failure == __ATOMIC_ACQUIRE;
    struct memory_order kept = place_order(op.order, access->code, kind_names[op.kind], location);
    if (kept.acquires != op.order.acquires || kept.releases != op.order.releases)
        op.on_failure.acquires = 0;
    op.order = kept;
    struct answer answer = act(&op);
    access->result = answer.value;
    access->succeeded = answer.succeeded;
    return 1;
}
