/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The memory that zspages are made of: a reservation of addresses with a lowmem
 * and a highmem part, made usable as it grows. A part allocates runs of 1 to 16
 * pages.
 *
 * Freed runs stay mapped for a while, so that a pool that shrinks and grows
 * does not fault each page anew. Runs beyond a limit, and all free runs at
 * arena_trim(), go back to the system by whole pages of the host. A host page
 * may be larger than a simulated one.
 *
 * Any number of threads may call all but arena_destroy() at once.
 */
#ifndef ZSWAP_ARENA_H
#define ZSWAP_ARENA_H

#include "lib/kernel.h"

#define ARENA_MAX_RUN 16
/* Bytes of free memory that a part may keep mapped after a trim. */
#define ARENA_SLACK (2u << 20)

struct arena;

/*
 * Reserves an arena for 'max_pages' pages. 'highmem' is the share, in 1/1000,
 * of arena_alloc_page()'s pages that come from the highmem part, which a
 * compressor cannot address. Returns NULL if the system refuses.
 */
struct arena *arena_create(unsigned int page_shift, u64 max_pages, unsigned int highmem);
/* Unmaps the arena with all that was allocated from it. NULL is fine. */
void arena_destroy(struct arena *arena);

/*
 * Allocates a contiguous run of lowmem, of at most ARENA_MAX_RUN pages. Returns
 * NULL if there is no memory. The content is undefined.
 */
void *arena_alloc(struct arena *arena, unsigned int nr_pages);
/* Allocates one page of either part, in the ratio that 'highmem' sets. */
void *arena_alloc_page(struct arena *arena);
/* Frees a run; nr_pages as it was allocated. */
void arena_free(struct arena *arena, void *addr, unsigned int nr_pages);
/* Gives the free runs that are still mapped back to the system. */
void arena_trim(struct arena *arena);

/* Number of pages that are allocated. */
u64 arena_pages(struct arena *arena);
/* Bytes that the arena has mapped for pages, allocated or free. */
u64 arena_mapped(struct arena *arena);
bool arena_has_highmem(const struct arena *arena);
/* Returns false only for an address in the highmem part. */
bool virt_addr_valid(const struct arena *arena, const void *addr);

#endif
