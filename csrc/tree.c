// SPDX-License-Identifier: GPL-2.0-or-later
#include <time.h>

#include "tree.h"

#define SLOT_SPINS	50
#define SLOT_SLEEP_MIN	20000	/* ns */
#define SLOT_SLEEP_MAX	1000000

/* A slot is fought for only where two do the same page at once, and is held while it is compressed: so sleep, and look again. */
void slot_lock_slow(slot_t *slot)
{
	struct timespec sleep = { .tv_nsec = SLOT_SLEEP_MIN };

	for (int i = 0;; i++) {
		if (!(atomic_load_explicit(slot, memory_order_relaxed) & SLOT_LOCKED) && slot_trylock(slot))
			return;
		if (i < SLOT_SPINS) {
			cpu_relax();
		} else {
			nanosleep(&sleep, NULL);
			sleep.tv_nsec = min(2 * sleep.tv_nsec, SLOT_SLEEP_MAX);
		}
	}
}

static u64 nr_trees(u64 nr_pages)
{
	return DIV_ROUND_UP(nr_pages, SWAP_ADDRESS_SPACE_PAGES);
}

int swap_index_add(struct swap_index *index, u64 nr_pages)
{
	struct swap_file *file;

	if (!nr_pages || nr_pages >> SWP_TYPE_SHIFT)
		return -EINVAL;
	file = kzalloc_node(index->mm, FAULT_TREE, sizeof(*file) + nr_trees(nr_pages) * sizeof(file->trees[0]), 0);
	if (!file)
		return -ENOMEM;
	file->nr_pages = nr_pages;
	for (unsigned int type = 0; type < MAX_SWAPFILES; type++) {
		uintptr_t none = 0;

		if (atomic_compare_exchange_strong(&index->files[type], &none, (uintptr_t)file))
			return type;
	}
	kfree(index->mm, file);
	return -EPERM;
}

struct swap_file *swap_index_kill(struct swap_index *index, unsigned int type)
{
	uintptr_t file = atomic_load(&index->files[type]);

	if (!file || file & SWAP_FILE_DYING ||
	    !atomic_compare_exchange_strong(&index->files[type], &file, file | SWAP_FILE_DYING))
		return NULL;
	return (struct swap_file *)file;
}

void swap_index_free(struct swap_index *index, unsigned int type)
{
	struct swap_file *file = (struct swap_file *)(atomic_exchange(&index->files[type], 0) & ~SWAP_FILE_DYING);

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
