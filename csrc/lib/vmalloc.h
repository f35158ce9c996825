/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory by whole pages of the host, which may be larger than an instance's.
 * fork() copies none of it: a child can use nothing of an instance, and the
 * parent's stores would pay for each page that the child holds.
 */
#ifndef ZSWAP_VMALLOC_H
#define ZSWAP_VMALLOC_H

#include "lib/kernel.h"

size_t host_page_size(void);

/* Zeroed; NULL if there is no memory. vfree(NULL) is fine. */
void *vzalloc(size_t size);
void vfree(void *p, size_t size);

/*
 * The same, but a forked child has it too, zeroed (Linux 4.14; older ones copy
 * it).
 */
void *vzalloc_wiped_by_fork(size_t size);

/*
 * Reserved addresses. The first 'open' bytes can be used; the rest costs
 * nothing, also under mlockall().
 */
struct vm_area {
	char *base;
	size_t size, open;
};

bool vm_reserve(struct vm_area *area, size_t size);
void vm_release(struct vm_area *area);
bool vm_open_slow(struct vm_area *area, size_t upto, size_t step);

/*
 * Makes at least the first 'upto' bytes usable, by steps. False if the system
 * refuses.
 */
static inline bool vm_open(struct vm_area *area, size_t upto, size_t step)
{
	return likely(upto <= area->open) || vm_open_slow(area, upto, step);
}

/*
 * Bytes of addresses that RLIMIT_AS leaves; SIZE_MAX where there is no limit.
 */
size_t vm_left(void);

#endif
