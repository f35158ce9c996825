// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What shall go wrong: which descriptor, in the order of submission, gets which
 * fault.
 */
#include <stdlib.h>

#include "hw/idxd.h"

#define MAX_FAULTS 256

struct idxd_plan {
	pthread_mutex_t lock; /* everything here, but for nr, which it is read without */
	_Atomic unsigned int nr;
	struct planned {
		struct idxd_fault fault;
		u64 seen, hits;
	} planned[MAX_FAULTS];
};

struct idxd_plan *idxd_plan_create(void)
{
	struct idxd_plan *plan = calloc(1, sizeof(*plan));

	if (plan)
		pthread_mutex_init(&plan->lock, NULL);
	return plan;
}

void idxd_plan_free(struct idxd_plan *plan)
{
	if (!plan)
		return;
	pthread_mutex_destroy(&plan->lock);
	free(plan);
}

int idxd_plan_set(struct idxd_plan *plan, const struct idxd_fault *faults, unsigned int nr)
{
	if (nr > MAX_FAULTS)
		return -ENOSPC;
	pthread_mutex_lock(&plan->lock);
	for (unsigned int i = 0; i < nr; i++)
		plan->planned[i] = (struct planned){ .fault = faults[i] };
	plan->nr = nr;
	pthread_mutex_unlock(&plan->lock);
	return 0;
}

u64 idxd_plan_hits(struct idxd_plan *plan, unsigned int i)
{
	u64 hits = 0;

	pthread_mutex_lock(&plan->lock);
	if (i < plan->nr)
		hits = plan->planned[i].hits;
	pthread_mutex_unlock(&plan->lock);
	return hits;
}

/* True if this is one of those that the fault is for. */
static bool planned_hit(struct planned *planned, struct idxd_wq *wq, int opcode)
{
	const struct idxd_fault *fault = &planned->fault;

	if ((fault->device >= 0 &&
	     (unsigned int)fault->device != idxd_device_id(idxd_wq_device(wq))) ||
	    (fault->wq >= 0 && (unsigned int)fault->wq != idxd_wq_id(wq)) ||
	    (fault->opcode >= 0 && fault->opcode != opcode))
		return false;
	planned->seen++;
	if (planned->seen < fault->nth ||
	    (fault->times && planned->seen - fault->nth >= fault->times))
		return false;
	planned->hits++;
	return true;
}

bool idxd_plan_apply(struct idxd_plan *plan, struct idxd_desc *desc,
		     struct idxd_fault *device_fault)
{
	bool found = false;

	if (likely(!plan->nr))
		return false;
	pthread_mutex_lock(&plan->lock);
	for (unsigned int i = 0; i < plan->nr; i++) {
		const struct idxd_fault *fault = &plan->planned[i].fault;

		if (fault->kind == IDXD_FAULT_QUEUE_FULL ||
		    !planned_hit(&plan->planned[i], desc->wq, desc->iax_hw.opcode))
			continue;
		switch (fault->kind) {
		case IDXD_FAULT_STATUS:
			desc->faulty = true;
			desc->status = fault->status;
			desc->error_code = fault->error_code;
			break;
		case IDXD_FAULT_CRC:
			desc->flip_crc = true;
			break;
		case IDXD_FAULT_DELAY:
			desc->delay_ns = vclock_add(desc->delay_ns, fault->ns);
			break;
		case IDXD_FAULT_NO_ANSWER:
			desc->no_answer = true;
			break;
		default:
			*device_fault = *fault;
			found = true;
		}
	}
	pthread_mutex_unlock(&plan->lock);
	return found;
}

bool idxd_plan_is_full(struct idxd_plan *plan, struct idxd_wq *wq)
{
	bool full = false;

	if (likely(!plan->nr))
		return false;
	pthread_mutex_lock(&plan->lock);
	for (unsigned int i = 0; i < plan->nr; i++)
		if (plan->planned[i].fault.kind == IDXD_FAULT_QUEUE_FULL)
			full |= planned_hit(&plan->planned[i], wq, -1);
	pthread_mutex_unlock(&plan->lock);
	return full;
}
