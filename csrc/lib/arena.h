/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The memory that zspages are made of: a reservation with a lowmem and a
 * highmem part, opened as it grows. A part hands out runs of 1 to 16 pages.
 * Freed runs stay mapped for a while, so that a pool that breathes does not
 * fault each page anew. Beyond that, and by arena_trim(), they go back to the
 * system by whole pages of the host, which may be larger than an instance's.
 */
#ifndef ZSWAP_ARENA_H
#define ZSWAP_ARENA_H

#include "lib/kernel.h"

#define ARENA_MAX_RUN 16
/* bytes that a part may keep mapped after a trim, beyond those in use */
#define ARENA_SLACK (2u << 20)

struct arena;

/*
 * 'highmem' is the share of pages that come from the part that a compressor
 * cannot address, in 1/1000.
 */
struct arena *arena_create(unsigned int page_shift, u64 max_pages, unsigned int highmem);
void arena_destroy(struct arena *arena);

/* lowmem, contiguous; NULL if there is none */
void *arena_alloc(struct arena *arena, unsigned int nr_pages);
void *arena_alloc_page(struct arena *arena); /* of either part, in the ratio that 'highmem' says */
void arena_free(struct arena *arena, void *addr, unsigned int nr_pages);
void arena_trim(struct arena *arena);

u64 arena_pages(struct arena *arena);  /* handed out */
u64 arena_mapped(struct arena *arena); /* bytes that the process really has for them */
bool arena_has_highmem(const struct arena *arena);
/* false only inside the highmem part */
bool virt_addr_valid(const struct arena *arena, const void *addr);

#endif
