// SPDX-License-Identifier: GPL-2.0-or-later
/* Out-of-line parts of kernel.h. */
#include <time.h>

#include "lib/kernel.h"

#define NSEC_PER_SEC 1000000000
#define SPIN_TURNS   100 /* about a microsecond: longer than a usual critical section */

__thread struct task *current_task;

void spin_lock_slow(spinlock_t *lock)
{
	for (int i = 0;; i++) {
		if (!atomic_load_explicit(&lock->held, memory_order_relaxed) &&
		    !atomic_exchange_explicit(&lock->held, true, memory_order_acquire))
			return;
		if (i < SPIN_TURNS)
			cpu_relax();
		else /* the holder is not running: leave it the CPU */
			nanosleep(&(struct timespec){ .tv_nsec = 20000 }, NULL);
	}
}

u64 ktime_get_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (u64)ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
}

bool cond_init(pthread_cond_t *cond)
{
	pthread_condattr_t attr;
	bool ok;

	if (pthread_condattr_init(&attr))
		return false;
	ok = !pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) && !pthread_cond_init(cond, &attr);
	pthread_condattr_destroy(&attr);
	return ok;
}

bool cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *lock, u64 ns)
{
	struct timespec ts = { .tv_sec = ns / NSEC_PER_SEC, .tv_nsec = ns % NSEC_PER_SEC };

	return pthread_cond_timedwait(cond, lock, &ts) == ETIMEDOUT;
}
