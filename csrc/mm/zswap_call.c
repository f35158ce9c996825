// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * zswap_call.c - the shell of a call, which the kernel has no need of
 *
 * A call into the library marks its thread as inside the instance: it is a
 * reader of z->srcu, and current_task names the instance and the simulated CPU.
 */
#include "mm/zswap_internal.h"

bool zswap_inside(const struct zswap *z)
{
	for (struct task *task = current_task; unlikely(task != NULL); task = task->outer)
		if (task->owner == z)
			return true;
	return false;
}

int zswap_enter(struct zswap *z, unsigned int cpu, struct zswap_call *call)
{
	int err;

	if (unlikely(cpu >= z->config.nr_cpus))
		return -EINVAL;
	if (unlikely(zswap_inside(z)))
		return -EDEADLK;
	call->srcu_idx = srcu_read_lock(&z->srcu, cpu);
	err = zswap_dead(z);
	if (unlikely(err)) {
		srcu_read_unlock(&z->srcu, cpu, call->srcu_idx);
		return err;
	}
	call->task = (struct task){ .cpu = cpu, .owner = z, .outer = current_task };
	current_task = &call->task;
	return 0;
}
