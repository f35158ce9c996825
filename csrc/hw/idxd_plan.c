// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Fault plans: which submission, counted in their order, gets which fault.
 */
#include <stdlib.h>

#include "hw/idxd_plan.h"

#define MAX_FAULTS 256

struct idxd_plan {
	pthread_mutex_t lock; /* guards all; nr is also read without it */
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

/*
 * Counts the submission if the fault is for such a one. Returns true if it is
 * one of those that the fault hits.
 */
static bool planned_hit(struct planned *planned, unsigned int device, unsigned int wq, int opcode)
{
	const struct idxd_fault *fault = &planned->fault;

	if ((fault->device >= 0 && (unsigned int)fault->device != device) ||
	    (fault->wq >= 0 && (unsigned int)fault->wq != wq) ||
	    (fault->opcode >= 0 && fault->opcode != opcode))
		return false;
	planned->seen++;
	if (planned->seen < fault->nth ||
	    (fault->times && planned->seen - fault->nth >= fault->times))
		return false;
	planned->hits++;
	return true;
}

static void add_fault(struct idxd_desc_faults *faults, const struct idxd_fault *fault)
{
	switch (fault->kind) {
	case IDXD_FAULT_STATUS:
		faults->has_status = true;
		faults->status = fault->status;
		faults->error_code = fault->error_code;
		break;
	case IDXD_FAULT_CRC:
		faults->flip_crc = true;
		break;
	case IDXD_FAULT_DELAY:
		faults->delay_ns = vclock_add(faults->delay_ns, fault->ns);
		break;
	case IDXD_FAULT_NO_ANSWER:
		faults->no_answer = true;
		break;
	case IDXD_FAULT_STOP:
		faults->stop = true;
		faults->stop_ns = fault->ns;
		faults->remove = false;
		break;
	case IDXD_FAULT_REMOVE:
		faults->remove = true;
		faults->stop = false;
		break;
	case IDXD_FAULT_QUEUE_FULL:
		break;
	}
}

struct idxd_desc_faults idxd_plan_next(struct idxd_plan *plan, unsigned int device, unsigned int wq,
				       int opcode)
{
	struct idxd_desc_faults faults = { 0 };

	if (likely(!plan->nr))
		return faults;
	pthread_mutex_lock(&plan->lock);
	for (unsigned int i = 0; i < plan->nr; i++) {
		struct planned *planned = &plan->planned[i];

		if (planned->fault.kind != IDXD_FAULT_QUEUE_FULL &&
		    planned_hit(planned, device, wq, opcode))
			add_fault(&faults, &planned->fault);
	}
	pthread_mutex_unlock(&plan->lock);
	return faults;
}

bool idxd_plan_is_full(struct idxd_plan *plan, unsigned int device, unsigned int wq)
{
	bool full = false;

	if (likely(!plan->nr))
		return false;
	pthread_mutex_lock(&plan->lock);
	for (unsigned int i = 0; i < plan->nr; i++)
		if (plan->planned[i].fault.kind == IDXD_FAULT_QUEUE_FULL)
			full |= planned_hit(&plan->planned[i], device, wq, -1);
	pthread_mutex_unlock(&plan->lock);
	return full;
}
