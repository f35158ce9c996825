/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Readers that may sleep, and a writer that waits until all who were inside
 * have left: what RCU and the pools' and swap files' life in the kernel rest
 * on. A reader touches only its CPU's line.
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
	pthread_mutex_t mutex; /* one writer at a time; taken outside of every other lock */
};

int srcu_init(struct srcu *srcu, unsigned int nr_cpus);
void srcu_deinit(struct srcu *srcu);
/* Not from within a reader. */
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
