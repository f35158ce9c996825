/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Faults on demand: the nth time something of a kind is tried, it fails. A
 * check costs one load while nothing is armed. Any thread may check; arming and
 * disarming is for one thread at a time.
 */
#ifndef ZSWAP_FAULT_H
#define ZSWAP_FAULT_H

#include "lib/kernel.h"

enum fault_kind {
	/*
	 * allocations, by what they are for: slab.h counts bytes by the same
	 * names
	 */
	FAULT_POOL,
	FAULT_PERCPU,
	FAULT_ACOMP,
	FAULT_REQUEST,
	FAULT_ARRAY,
	FAULT_BUFFER,
	FAULT_ENTRY,
	FAULT_TREE,
	FAULT_HANDLE,
	FAULT_ZSPAGE,
	FAULT_LRU,
	NR_ALLOC_KINDS,
	/* work */
	FAULT_COMPRESS = NR_ALLOC_KINDS,
	FAULT_DECOMPRESS,
	FAULT_PREPARE,
	NR_FAULT_KINDS
};

struct fault {
	/*
	 * atomic: a check that saw the fault before armed may read what the
	 * next one is being given
	 */
	_Atomic u64 nth, times; /* tries nth .. nth + times - 1 fail; times 0: all from nth on */
	atomic_int error;       /* negative errno */
	atomic_int cpu;         /* only there; -1: anywhere */
	_Atomic u64 seen, hits;
};

struct faults {
	atomic_uint armed; /* bit mask of kinds */
	struct fault fault[NR_FAULT_KINDS];
};

extern const char *const fault_names[NR_FAULT_KINDS];

void fault_arm(struct faults *faults, enum fault_kind kind, u64 nth, u64 times, int error, int cpu);
void fault_disarm(struct faults *faults, enum fault_kind kind);
int __fault_hit(struct fault *fault, int cpu);

static inline bool fault_armed(struct faults *faults, enum fault_kind kind)
{
	return unlikely(atomic_load_explicit(&faults->armed, memory_order_acquire) & (1u << kind));
}

/* 0, or the negative errno that this try must fail with. */
static inline int fault_hit(struct faults *faults, enum fault_kind kind, int cpu)
{
	if (!fault_armed(faults, kind))
		return 0;
	return __fault_hit(&faults->fault[kind], cpu);
}

#endif
