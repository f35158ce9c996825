// SPDX-License-Identifier: GPL-2.0-or-later
#include <string.h>

#include "tree.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "a slot's low half, which waiters sleep on, is taken to come first"
#endif

#define SLOT_SPINS 50

void slot_lock_slow(slot_t *slot)
{
	for (int i = 0; i < SLOT_SPINS; i++) {
		cpu_relax();
		if (!(atomic_load_explicit(slot, memory_order_relaxed) & SLOT_LOCKED) && slot_trylock(slot))
			return;
	}
	for (;;) {
		u64 old = atomic_fetch_or_explicit(slot, SLOT_LOCKED | SLOT_WAITERS, memory_order_acquire);

		if (!(old & SLOT_LOCKED))
			return;		/* with the waiters' bit left on: one wake-up too many at most */
		futex_wait(slot, (u32)(old | SLOT_LOCKED | SLOT_WAITERS));
	}
}

static u64 nr_trees(u64 nr_pages)
{
	return DIV_ROUND_UP(nr_pages, SWAP_ADDRESS_SPACE_PAGES);
}

int swap_index_add(struct swap_index *index, u64 nr_pages)
{
	for (unsigned int type = 0; type < MAX_SWAPFILES; type++) {
		struct swap_file *file;

		if (atomic_load(&index->files[type]))
			continue;
		file = kzalloc_node(index->mm, FAULT_TREE,
				    sizeof(*file) + nr_trees(nr_pages) * sizeof(file->trees[0]), 0);
		if (!file)
			return -ENOMEM;
		file->nr_pages = nr_pages;
		atomic_store_explicit(&index->files[type], file, memory_order_release);
		return type;
	}
	return -EPERM;
}

void swap_index_free(struct swap_index *index, unsigned int type)
{
	struct swap_file *file = atomic_exchange(&index->files[type], NULL);

	if (!file)
		return;
	for (u64 i = 0; i < nr_trees(file->nr_pages); i++)
		kfree(index->mm, (void *)atomic_load(&file->trees[i]));
	kfree(index->mm, file);
}

slot_t *swap_slot_create(struct swap_index *index, struct swap_file *file, u64 offset)
{
	slot_t *slot = swap_slot(file, offset), *tree, *none = NULL;

	if (likely(slot))
		return slot;
	tree = kzalloc_node(index->mm, FAULT_TREE, SWAP_ADDRESS_SPACE_PAGES * sizeof(*tree), 0);
	if (!tree)
		return NULL;
	if (!atomic_compare_exchange_strong(&file->trees[offset >> SWAP_ADDRESS_SPACE_SHIFT], &none, tree))
		kfree(index->mm, tree);		/* another thread was first */
	return swap_slot(file, offset);
}
