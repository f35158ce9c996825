/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sleepable RCU: readers that may sleep, and a writer that waits until every
 * reader that was inside has left. It stands for the kernel's RCU, and for the
 * references by which the kernel keeps pools and swap files alive. A reader
 * writes only its CPU's cache line.
 */
#ifndef ZSWAP_SRCU_H
#define ZSWAP_SRCU_H

#include <pthread.h>

#include "lib/kernel.h"

struct srcu_cpu {
	_Atomic long nr[2];
} ____cacheline_aligned;

struct srcu {
	atomic_uint idx;
	unsigned int nr_cpus;
	struct srcu_cpu *cpus;
	pthread_mutex_t mutex; /* one writer at a time; outside of every other lock */
};

/* Returns 0 or -ENOMEM. */
int srcu_init(struct srcu *srcu, unsigned int nr_cpus);
void srcu_deinit(struct srcu *srcu);
/*
 * Waits until every reader that entered before the call has left. A reader must
 * not call it.
 */
void synchronize_srcu(struct srcu *srcu);

static inline unsigned int srcu_read_lock(struct srcu *srcu, unsigned int cpu)
{
	unsigned int idx = atomic_load(&srcu->idx) & 1;

	atomic_fetch_add(&srcu->cpus[cpu].nr[idx], 1);
	return idx;
}

static inline void srcu_read_unlock(struct srcu *srcu, unsigned int cpu, unsigned int idx)
{
	atomic_fetch_sub_explicit(&srcu->cpus[cpu].nr[idx], 1, memory_order_release);
}

#endif
