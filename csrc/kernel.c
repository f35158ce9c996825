// SPDX-License-Identifier: GPL-2.0-or-later
/* Out-of-line parts of kernel.h. */
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kernel.h"

#define SPIN_TURNS 100	/* about a microsecond: longer than any critical section here */

__thread struct task *current_task;

void futex_wait(void *word, u32 value)
{
	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

void futex_wake(void *word, int nr)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, nr, NULL, NULL, 0);
}

void spin_lock_slow(spinlock_t *lock)
{
	for (int i = 0; i < SPIN_TURNS; i++) {
		unsigned int free = 0;

		if (!atomic_load_explicit(&lock->v, memory_order_relaxed) &&
		    atomic_compare_exchange_strong_explicit(&lock->v, &free, 1, memory_order_acquire,
							    memory_order_relaxed))
			return;
		cpu_relax();
	}
	while (atomic_exchange_explicit(&lock->v, 2, memory_order_acquire) != 0)
		futex_wait(&lock->v, 2);
}
