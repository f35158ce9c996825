/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory by whole pages of the host, which may be larger than simulated ones. A
 * forked child gets none of it: an instance is of no use there, and the
 * parent's stores would have to copy each page that the child shares.
 */
#ifndef ZSWAP_VMALLOC_H
#define ZSWAP_VMALLOC_H

#include "lib/kernel.h"

size_t host_page_size(void);

/*
 * Allocates zeroed memory. Returns NULL if there is none. vfree(NULL) is fine.
 */
void *vzalloc(size_t size);
void vfree(void *p, size_t size);

/*
 * Like vzalloc(), but a forked child has it too, zeroed. Linux before 4.14
 * copies it.
 */
void *vzalloc_wiped_by_fork(size_t size);

/*
 * Reserved addresses, of which the first 'open' bytes are usable. The rest
 * costs nothing, even under mlockall().
 */
struct vm_area {
	char *base;
	size_t size, open;
};

/* Reserves addresses. Returns false if the system refuses. */
bool vm_reserve(struct vm_area *area, size_t size);
void vm_release(struct vm_area *area);
bool vm_open_slow(struct vm_area *area, size_t upto, size_t step);

/*
 * Makes at least the first 'upto' bytes usable, in steps of 'step' bytes.
 * Returns false if the system refuses.
 */
static inline bool vm_open(struct vm_area *area, size_t upto, size_t step)
{
	return likely(upto <= area->open) || vm_open_slow(area, upto, step);
}

/*
 * Returns the bytes of addresses that RLIMIT_AS leaves, or SIZE_MAX if there is
 * no limit.
 */
size_t vm_left(void);

#endif
