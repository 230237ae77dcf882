// SPDX-License-Identifier: MIT
// Views and messages.
#include "tests/model/memory.h"

#include <stdlib.h>
#include <string.h>

void memory_copy(struct memory *to, const struct memory *from)
{
    memcpy(to, from, offsetof(struct memory, messages) + from->count * sizeof(struct message));
}

void view_join(struct view *view, const struct view *other)
{
    for (size_t i = 0; i < LOCATIONS_MAX; i++)
        view->writes[i] = view->writes[i] > other->writes[i] ? view->writes[i] : other->writes[i];
    for (size_t i = 0; i < THREADS_ROOM; i++)
        view->reads[i] = view->reads[i] > other->reads[i] ? view->reads[i] : other->reads[i];
}

static const struct message *find(const struct memory *memory, int location, int stamp)
{
    for (size_t i = 0; i < memory->count; i++)
        if (memory->messages[i].location == location && memory->messages[i].stamp == stamp)
            return &memory->messages[i];
    return NULL; // What lay there at first.
}

uint64_t memory_value(const struct memory *memory, int location, int stamp, uint64_t initial)
{
    const struct message *message = find(memory, location, stamp);
    return message ? message->value : initial;
}

// A plain write that this thread does not know of races with whatever it does here.
static int races_with_plain_write(const struct memory *memory, const struct view *view,
                                  int location)
{
    for (size_t i = 0; i < memory->count; i++) {
        const struct message *m = &memory->messages[i];
        if (m->location == location && m->is_plain && m->stamp > view->writes[location])
            return 1;
    }
    return 0;
}

static int races_with_read(const uint8_t reads[THREADS_ROOM], const struct view *view)
{
    for (size_t i = 0; i < THREADS_ROOM; i++)
        if (reads[i] > view->reads[i])
            return 1;
    return 0;
}

static struct message *append(struct memory *memory, struct view *view, int location)
{
    if (memory->count == MESSAGES_MAX || memory->latest[location] == UINT8_MAX)
        abort(); // The scenario is too large for the model.
    struct message *message = &memory->messages[memory->count++];
    *message = (struct message){0};
    message->location = (uint8_t)location;
    message->stamp = ++memory->latest[location];
    view->writes[location] = message->stamp;
    return message;
}

enum memory_result memory_read(struct memory *memory, struct view *view, int thread, int location,
                               int stamp, struct memory_order order)
{
    if (races_with_plain_write(memory, view, location))
        return MEMORY_RACE;
    const struct message *message = find(memory, location, stamp);
    if (message && order.acquires)
        view_join(view, &message->view);
    if (view->writes[location] < stamp)
        view->writes[location] = (uint8_t)stamp;
    if (thread >= 0)
        memory->reads[location][thread] = ++view->reads[thread];
    return MEMORY_OK;
}

enum memory_result memory_write(struct memory *memory, struct view *view, int location,
                                uint64_t value, struct memory_order order, int as_update,
                                int may_be_unordered)
{
    int before = memory->latest[location];
    if (races_with_plain_write(memory, view, location) ||
        races_with_read(memory->plain_reads[location], view))
        return MEMORY_RACE;
    if (view->writes[location] != before && !may_be_unordered)
        return MEMORY_UNORDERED;
    const struct message *read = as_update ? find(memory, location, before) : NULL;
    struct view passed_on = {0};
    if (read) // It continues the release sequence of what it read.
        passed_on = read->view;
    struct message *message = append(memory, view, location);
    message->value = value;
    message->view = passed_on;
    if (order.releases)
        view_join(&message->view, view);
    message->view.writes[location] = message->stamp;
    return MEMORY_OK;
}

enum memory_result memory_read_plain(struct memory *memory, struct view *view, int thread,
                                     int location)
{
    if (view->writes[location] != memory->latest[location])
        return MEMORY_RACE;
    memory->reads[location][thread] = memory->plain_reads[location][thread] = ++view->reads[thread];
    return MEMORY_OK;
}

enum memory_result memory_write_plain(struct memory *memory, struct view *view, int location,
                                      struct message **written)
{
    if (view->writes[location] != memory->latest[location] ||
        races_with_read(memory->reads[location], view))
        return MEMORY_RACE;
    *written = append(memory, view, location);
    (*written)->is_plain = 1;
    (*written)->view.writes[location] = (*written)->stamp;
    return MEMORY_OK;
}

void memory_prune(struct memory *memory, const struct view *oldest)
{
    size_t kept = 0;
    for (size_t i = 0; i < memory->count; i++) {
        const struct message *m = &memory->messages[i];
        if (m->stamp < oldest->writes[m->location] && m->stamp != memory->latest[m->location])
            continue;
        if (kept != i)
            memory->messages[kept] = *m;
        kept++;
    }
    memory->count = (uint16_t)kept;
}

uint64_t view_hash(const struct view *view, uint64_t hash)
{
    uint64_t words[sizeof(*view) / 8];
    memcpy(words, view, sizeof(words));
    for (size_t i = 0; i < sizeof(words) / 8; i++)
        hash = hash_mix(hash, words[i]);
    return hash;
}

uint64_t memory_hash(const struct memory *memory, const struct view *oldest)
{
    // A sum, so that the order in which locations were written does not matter.
    uint64_t sum = 0;
    for (size_t i = 0; i < memory->count; i++) {
        const struct message *m = &memory->messages[i];
        struct view view = m->view;
        view_join(&view, oldest); // What everybody knows teaches nobody.
        uint64_t where = (uint64_t)m->location << 16 | (uint64_t)m->stamp << 8 | m->is_plain;
        sum += view_hash(&view, hash_mix(where, m->value));
    }
    for (size_t i = 0; i < LOCATIONS_MAX; i++) {
        static const uint8_t none[THREADS_ROOM];
        if (memcmp(memory->reads[i], none, sizeof(none)) == 0)
            continue;
        for (size_t t = 0; t < THREADS_MAX; t++)
            if (memory->reads[i][t] > oldest->reads[t]) // As the plain ones are, then.
                sum += hash_mix(i << 16 | t << 8 | memory->plain_reads[i][t], memory->reads[i][t]);
    }
    return sum;
}
