// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A queue's descriptors: the driver's submission takes free ones, and the last
 * reference, the driver's or the device's, puts a descriptor back.
 *
 * struct idxd_wq holds the free descriptors in a stack. wq->free_lock guards
 * it, and no other lock is taken inside it. In virtual time the actors that
 * wait for a descriptor stand in wq->waiters, which only the actor that holds
 * the turn touches.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "iaa/idxd.h"

int idxd_wq_init(struct idxd_wq *wq)
{
	unsigned int size = wq->config.size;

	wq->descs = aligned_alloc(64, size * sizeof(*wq->descs));
	if (!wq->descs)
		return -ENOMEM;
	memset(wq->descs, 0, size * sizeof(*wq->descs));
	for (unsigned int i = 0; i < size; i++) {
		struct idxd_desc *desc = &wq->descs[i];

		desc->wq = wq;
		desc->id = i;
		INIT_LIST_HEAD(&desc->list);
		wq->free[size - 1 - i] = i;
	}
	wq->nr_free = size;
	return 0;
}

void idxd_wq_deinit(struct idxd_wq *wq)
{
	free(wq->descs);
}

struct idxd_desc *idxd_wq_get_desc(struct idxd_wq *wq)
{
	struct idxd_desc *desc = NULL;

	spin_lock(&wq->free_lock);
	if (wq->nr_free)
		desc = &wq->descs[wq->free[--wq->nr_free]];
	spin_unlock(&wq->free_lock);
	return desc;
}

void idxd_wq_wake_waiter(struct idxd_wq *wq)
{
	if (wq->clock && wq->nr_free && !list_empty(&wq->waiters))
		vclock_wake(wq->clock,
			    list_first_entry(&wq->waiters, struct idxd_wq_waiter, list)->actor);
}

void idxd_wq_wake_all(struct idxd_wq *wq)
{
	struct idxd_wq_waiter *waiter;

	list_for_each_entry(waiter, &wq->waiters, list)
		vclock_wake(wq->clock, waiter->actor);
}

static void wq_put_desc(struct idxd_wq *wq, struct idxd_desc *desc)
{
	spin_lock(&wq->free_lock);
	wq->free[wq->nr_free++] = desc->id;
	spin_unlock(&wq->free_lock);
	idxd_wq_wake_waiter(wq);
}

void idxd_free_desc(struct idxd_desc *desc)
{
	if (atomic_fetch_sub_explicit(&desc->refs, 1, memory_order_acq_rel) > 1)
		return;
	atomic_store_explicit(&desc->state, IDXD_DESC_FREE, memory_order_release);
	wq_put_desc(desc->wq, desc);
}

static bool wq_drained(struct idxd_wq *wq)
{
	bool drained;

	spin_lock(&wq->free_lock);
	drained = wq->nr_free == wq->config.size;
	spin_unlock(&wq->free_lock);
	return drained;
}

bool idxd_wq_drain(struct idxd_wq *wq)
{
	u64 ns = 1000;

	if (!wq->clock) {
		for (int i = 0; i < 200 && !wq_drained(wq); i++)
			nanosleep(&(struct timespec){ .tv_nsec = 100000 }, NULL);
		return wq_drained(wq);
	}
	for (; !wq_drained(wq); ns += ns / 8) /* a fault may hold an engine for a virtual year */
		vclock_sleep(wq->clock, ns);
	return true;
}
