/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The mirror of mm/list_lru.c: a list a node, oldest first, each with a lock of
 * its own.
 */
#ifndef ZSWAP_LRU_H
#define ZSWAP_LRU_H

#include "lib/slab.h"

struct list_lru_one {
	spinlock_t lock; /* innermost: nothing is taken inside it; a walker only tries slots */
	struct list_head list;
	u64 nr_items;
} ____cacheline_aligned;

struct list_lru {
	struct kmem *mm;
	struct list_lru_one *node;
};

int list_lru_init(struct list_lru *lru, struct kmem *mm);
void list_lru_destroy(struct list_lru *lru);
u64 list_lru_count_node(struct list_lru *lru, unsigned int nid);

/*
 * Locked around any number of the two below, which are the kernel's
 * list_lru_add() and list_lru_del() without their lock.
 */
static inline struct list_lru_one *list_lru_lock(struct list_lru *lru, unsigned int nid)
{
	struct list_lru_one *one = &lru->node[nid];

	spin_lock(&one->lock);
	return one;
}

static inline void list_lru_unlock(struct list_lru_one *one)
{
	spin_unlock(&one->lock);
}

static inline void __list_lru_add(struct list_lru_one *one, struct list_head *item)
{
	list_add_tail(item, &one->list);
	one->nr_items++;
}

static inline void __list_lru_del(struct list_lru_one *one, struct list_head *item)
{
	if (!list_empty(item)) {
		list_del_init(item);
		one->nr_items--;
	}
}

#endif
