/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The mirror of mm/list_lru.c: one list for each node, oldest first, each with
 * a lock of its own.
 */
#ifndef ZSWAP_LIST_LRU_H
#define ZSWAP_LIST_LRU_H

#include "lib/slab.h"

struct list_lru_one {
	spinlock_t lock; /* innermost: a walker that holds it may only try slots */
	struct list_head list;
	u64 nr_items;
} ____cacheline_aligned;

struct list_lru {
	struct kmem *mm;
	struct list_lru_one *node;
};

/* Returns 0 or -ENOMEM. */
int list_lru_init(struct list_lru *lru, struct kmem *mm);

/* Frees the lists, but not their items. Works if list_lru_init() failed. */
void list_lru_destroy(struct list_lru *lru);

/* Returns the number of items on a node's list. */
u64 list_lru_count_node(struct list_lru *lru, unsigned int nid);

/*
 * Locks and returns a node's list. Under one hold of the lock a caller adds and
 * deletes any number of items by __list_lru_add() and __list_lru_del(), the
 * kernel's list_lru_add() and list_lru_del() without their lock.
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

/* Deletes an item; does nothing if it is on no list. */
static inline void __list_lru_del(struct list_lru_one *one, struct list_head *item)
{
	if (!list_empty(item)) {
		list_del_init(item);
		one->nr_items--;
	}
}

#endif
