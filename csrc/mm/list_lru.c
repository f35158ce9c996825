// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * list_lru.c - the mirror of mm/list_lru.c, see list_lru.h
 */
#include "mm/list_lru.h"

int list_lru_init(struct list_lru *lru, struct kmem *mm)
{
	lru->mm = mm;
	lru->node = kzalloc_node(mm, FAULT_LRU, mm->nr_nodes * sizeof(*lru->node), 0);
	if (!lru->node)
		return -ENOMEM;
	for (unsigned int nid = 0; nid < mm->nr_nodes; nid++)
		INIT_LIST_HEAD(&lru->node[nid].list);
	return 0;
}

void list_lru_destroy(struct list_lru *lru)
{
	if (lru->node)
		kfree(lru->mm, lru->node);
	lru->node = NULL;
}

u64 list_lru_count_node(struct list_lru *lru, unsigned int nid)
{
	u64 nr;

	spin_lock(&lru->node[nid].lock);
	nr = lru->node[nid].nr_items;
	spin_unlock(&lru->node[nid].lock);
	return nr;
}
