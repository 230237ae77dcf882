// SPDX-License-Identifier: MIT
// Tables of regions, locations and places in the code.
#include "tests/model/places.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/model/explore.h"

enum { REGIONS_MAX = 24, REGION_SIZE_MAX = 4096, SITES_MAX = 64, SITE_NAME_MAX = 64 };

static struct region {
    const char *name;
    char *start;
    size_t size;
    int flags;
    uint8_t location_of[REGION_SIZE_MAX / 4]; // Plus one; 0: not met yet.
} regions[REGIONS_MAX];
static size_t region_count;

static struct location {
    const struct region *region;
    char *address;
    size_t size;
    uint64_t initial;
} locations[LOCATIONS_MAX];
static int location_count;

static struct site {
    const void *code;
    char name[SITE_NAME_MAX];
} sites[SITES_MAX];
static size_t site_count;
static int weakened = -1;

_Noreturn void place_die(const char *what)
{
    fprintf(stderr, "the model cannot do this: %s\n", what);
    abort();
}

// ---- memory -----------------------------------------------------------------------------------

void explore_region(const char *name, void *start, size_t size, int flags)
{
    if (region_count == REGIONS_MAX || size > REGION_SIZE_MAX || (uintptr_t)start % 4)
        place_die("a region of this size or alignment, or so many");
    regions[region_count++] = (struct region){name, start, size, flags, {0}};
}

void places_reset(void)
{
    region_count = 0;
    location_count = 0;
}

// The low bytes come first on all that the agent runs on.
static uint64_t load_bytes(const void *address, size_t size)
{
    uint64_t value = 0;
    memcpy(&value, address, size);
    return value;
}

static struct region *region_of(const void *address)
{
    const char *p = address;
    for (size_t i = 0; i < region_count; i++)
        if (p >= regions[i].start && p < regions[i].start + regions[i].size)
            return &regions[i];
    return NULL;
}

int place_of(void *address, size_t size)
{
    struct region *region = region_of(address);
    if (!region)
        return -1;
    size_t offset = (size_t)((char *)address - region->start);
    if (offset % 4 || size > 8)
        place_die("an access of this size or alignment");
    uint8_t *found = &region->location_of[offset / 4];
    if (*found == 0) {
        if (location_count == LOCATIONS_MAX)
            place_die("so many locations");
        locations[location_count] =
            (struct location){region, address, size, load_bytes(address, size)};
        *found = (uint8_t)++location_count;
    }
    if (locations[*found - 1].size != size)
        place_die("accesses of different sizes to one address");
    return *found - 1;
}

int place_flags(int location)
{
    return locations[location].region->flags;
}

uint64_t place_initial(int location)
{
    return locations[location].initial;
}

uint64_t place_bytes(int location)
{
    return load_bytes(locations[location].address, locations[location].size);
}

void place_name(int location, char *out, size_t cap)
{
    const struct location *l = &locations[location];
    snprintf(out, cap, "%s+%zu", l->region->name, (size_t)(l->address - l->region->start));
}

// ---- code -------------------------------------------------------------------------------------

struct memory_order place_order(struct memory_order order, const void *code, const char *kind,
                                int location)
{
    size_t i = 0;
    if (!order.acquires && !order.releases)
        return order;
    while (i < site_count && sites[i].code != code)
        i++;
    if (i == SITES_MAX)
        place_die("so many places with an order");
    if (i == site_count) {
        struct site *site = &sites[site_count++];
        site->code = code;
        snprintf(site->name, sizeof(site->name), "%s %s of %s",
                 order.acquires && order.releases ? "acquire-release"
                 : order.acquires                 ? "acquire"
                                                  : "release",
                 kind, locations[location].region->name);
    }
    return (int)i == weakened ? (struct memory_order){0} : order;
}

size_t explore_site_count(void)
{
    return site_count;
}

const char *explore_site_name(size_t site)
{
    return sites[site].name;
}

void explore_weaken(int site)
{
    weakened = site;
}
