// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/srcu.h"

int srcu_init(struct srcu *srcu, unsigned int nr_cpus)
{
	srcu->nr_cpus = nr_cpus;
	srcu->cpus = aligned_alloc(64, nr_cpus * sizeof(*srcu->cpus));
	if (!srcu->cpus)
		return -ENOMEM;
	memset(srcu->cpus, 0, nr_cpus * sizeof(*srcu->cpus));
	atomic_init(&srcu->idx, 0);
	pthread_mutex_init(&srcu->mutex, NULL);
	return 0;
}

void srcu_deinit(struct srcu *srcu)
{
	if (!srcu->cpus)
		return;
	pthread_mutex_destroy(&srcu->mutex);
	free(srcu->cpus);
	srcu->cpus = NULL;
}

static bool readers(struct srcu *srcu, unsigned int idx)
{
	for (unsigned int cpu = 0; cpu < srcu->nr_cpus; cpu++)
		if (atomic_load(&srcu->cpus[cpu].nr[idx]))
			return true;
	return false;
}

/*
 * Waits twice. A reader may have read idx and not yet counted itself when the
 * first round looked at the counts. A reader that counts itself after a look
 * sees all that was written before it.
 */
void synchronize_srcu(struct srcu *srcu)
{
	pthread_mutex_lock(&srcu->mutex);
	for (int turn = 0; turn < 2; turn++) {
		unsigned int idx = atomic_fetch_xor(&srcu->idx, 1) & 1;

		for (int i = 0; readers(srcu, idx); i++) {
			if (i < 100)
				cpu_relax();
			else
				nanosleep(&(struct timespec){ .tv_nsec = 50000 }, NULL);
		}
	}
	pthread_mutex_unlock(&srcu->mutex);
}
