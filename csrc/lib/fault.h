/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Faults on demand: the nth attempt of a kind fails. A check costs one load
 * while no fault is armed. Any thread may check. Arming and disarming is for
 * one thread at a time.
 */
#ifndef ZSWAP_FAULT_H
#define ZSWAP_FAULT_H

#include "lib/kernel.h"

enum fault_kind {
	/* allocations, by purpose; slab.h counts bytes by the same kinds */
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
	 * Attempts nth .. nth + times - 1 fail; times 0: every attempt from nth
	 * on. All fields are atomic: a check that found the fault armed may run
	 * while the next fault of this kind is being set up.
	 */
	_Atomic u64 nth, times;
	atomic_int error;       /* negative errno */
	atomic_int cpu;         /* attempts on this CPU only; -1: on any */
	_Atomic u64 seen, hits; /* attempts since it was armed; those that failed */
};

struct faults {
	atomic_uint armed; /* bit mask of kinds */
	struct fault fault[NR_FAULT_KINDS];
};

extern const char *const fault_names[NR_FAULT_KINDS];

/*
 * Arms a fault and clears its counts. 'error' is a negative errno; 'cpu' is -1
 * for any.
 */
void fault_arm(struct faults *faults, enum fault_kind kind, u64 nth, u64 times, int error, int cpu);
void fault_disarm(struct faults *faults, enum fault_kind kind);
int __fault_hit(struct fault *fault, int cpu);

static inline bool fault_armed(struct faults *faults, enum fault_kind kind)
{
	return unlikely(atomic_load_explicit(&faults->armed, memory_order_acquire) & (1u << kind));
}

/*
 * Counts an attempt. Returns 0, or the negative errno that it must fail with.
 */
static inline int fault_hit(struct faults *faults, enum fault_kind kind, int cpu)
{
	if (!fault_armed(faults, kind))
		return 0;
	return __fault_hit(&faults->fault[kind], cpu);
}

#endif
