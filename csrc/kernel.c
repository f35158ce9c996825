// SPDX-License-Identifier: GPL-2.0-or-later
/* Out-of-line parts of kernel.h. */
#include <time.h>

#include "kernel.h"

#define SPIN_TURNS 100	/* about a microsecond: longer than any critical section here */

__thread struct task *current_task;

void spin_lock_slow(spinlock_t *lock)
{
	for (int i = 0;; i++) {
		if (!atomic_load_explicit(&lock->held, memory_order_relaxed) &&
		    !atomic_exchange_explicit(&lock->held, true, memory_order_acquire))
			return;
		if (i < SPIN_TURNS)
			cpu_relax();
		else		/* the holder is not running: let it */
			nanosleep(&(struct timespec){ .tv_nsec = 20000 }, NULL);
	}
}
