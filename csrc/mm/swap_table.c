// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * swap_table.c - the index of swap slots, see swap_table.h
 *
 * Readers take no lock: trees and directories are published by
 * compare-and-swap, and freed when no call can see their file.
 */
#include <time.h>

#include "mm/swap_table.h"

#define SLOT_SPINS     50
#define SLOT_SLEEP_MIN 20000 /* ns */
#define SLOT_SLEEP_MAX 1000000

/*
 * Two threads want one slot only if they work on the same page, and the holder
 * compresses or decompresses it meanwhile. So the waiter spins SLOT_SPINS
 * times, then sleeps between tries.
 */
void slot_lock_slow(slot_t *slot)
{
	struct timespec sleep = { .tv_nsec = SLOT_SLEEP_MIN };

	for (int i = 0;; i++) {
		if (!(atomic_load_explicit(slot, memory_order_relaxed) & SLOT_LOCKED) &&
		    slot_trylock(slot))
			return;
		if (i < SLOT_SPINS) {
			cpu_relax();
		} else {
			nanosleep(&sleep, NULL);
			sleep.tv_nsec = min(2 * sleep.tv_nsec, SLOT_SLEEP_MAX);
		}
	}
}

/* ---- directories ---- */

/* Cells of level 1 hold trees, those of level n directories of level n - 1. */

#define TREE_BYTES (SWAP_ADDRESS_SPACE_PAGES * sizeof(slot_t))
#define DIR_CELLS  (1u << SWAP_DIR_SHIFT)

/* Returns log2 of the slots below one cell of a directory. */
static unsigned int cell_shift(unsigned int level)
{
	return SWAP_ADDRESS_SPACE_SHIFT + (level - 1) * SWAP_DIR_SHIFT;
}

static _Atomic(void *) *dir_cell(_Atomic(void *) *dir, unsigned int level, u64 offset)
{
	return &dir[offset >> cell_shift(level) & (DIR_CELLS - 1)];
}

static u64 nr_cells(u64 nr_pages, unsigned int level)
{
	return ((nr_pages - 1) >> cell_shift(level)) + 1;
}

/*
 * Returns the tree of a slot; NULL if the cell at level *level is empty: then
 * no slot below that cell has a tree.
 */
static slot_t *find_tree(struct swap_file *file, u64 offset, unsigned int *level)
{
	_Atomic(void *) *dir = file->dir;

	for (*level = file->height; *level; --*level) {
		dir = atomic_load_explicit(dir_cell(dir, *level, offset), memory_order_acquire);
		if (!dir)
			return NULL;
	}
	return (slot_t *)dir;
}

slot_t *swap_tree_slow(struct swap_file *file, u64 offset)
{
	unsigned int level;

	return find_tree(file, offset, &level);
}

u64 swap_next_slot(struct swap_file *file, u64 offset)
{
	unsigned int level;

	while (offset < file->nr_pages && !find_tree(file, offset, &level))
		offset = ((offset >> cell_shift(level)) + 1) << cell_shift(level);
	return min(offset, file->nr_pages);
}

static void *alloc_below(struct swap_index *index, unsigned int level)
{
	return level == 1 ? kvzalloc_node(index->mm, FAULT_TREE, TREE_BYTES, 0) :
			    kzalloc_node(index->mm, FAULT_TREE, DIR_CELLS * sizeof(void *), 0);
}

static void free_below(struct swap_index *index, unsigned int level, void *below)
{
	if (level == 1)
		kvfree(index->mm, FAULT_TREE, below, TREE_BYTES, 0);
	else
		kfree(index->mm, below);
}

static void free_dir(struct swap_index *index, unsigned int level, _Atomic(void *) *dir, u64 nr)
{
	for (u64 i = 0; i < nr; i++) {
		void *below = atomic_load(&dir[i]);

		if (below && level > 1)
			free_dir(index, level - 1, below, DIR_CELLS);
		free_below(index, level, below);
	}
}

static noinline slot_t *create_slow(struct swap_index *index, struct swap_file *file, u64 offset)
{
	_Atomic(void *) *dir = file->dir;

	for (unsigned int level = file->height; level; level--) {
		_Atomic(void *) *cell = dir_cell(dir, level, offset);
		void *below = atomic_load_explicit(cell, memory_order_acquire), *none = NULL;

		if (!below) {
			below = alloc_below(index, level);
			if (!below)
				return NULL;
			if (!atomic_compare_exchange_strong(cell, &none, below)) {
				free_below(index, level, below); /* another thread was first */
				below = none;
			}
		}
		dir = below;
	}
	return (slot_t *)dir + (offset & (SWAP_ADDRESS_SPACE_PAGES - 1));
}

slot_t *swap_slot_create(struct swap_index *index, struct swap_file *file, u64 offset)
{
	slot_t *slot = swap_slot(file, offset);

	return likely(slot) ? slot : create_slow(index, file, offset);
}

/* ---- files ---- */

int swap_index_add(struct swap_index *index, u64 nr_pages)
{
	struct swap_file *file;
	unsigned int height = 1;

	if (!nr_pages || nr_pages >> SWP_TYPE_SHIFT)
		return -EINVAL;
	while (nr_cells(nr_pages, height) > DIR_CELLS)
		height++;
	file = kzalloc_node(index->mm, FAULT_TREE,
			    sizeof(*file) + nr_cells(nr_pages, height) * sizeof(file->dir[0]), 0);
	if (!file)
		return -ENOMEM;
	file->nr_pages = nr_pages;
	file->height = height;
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
	struct swap_file *file =
		(struct swap_file *)(atomic_exchange(&index->files[type], 0) & ~SWAP_FILE_DYING);

	if (!file)
		return;
	free_dir(index, file->height, file->dir, nr_cells(file->nr_pages, file->height));
	kfree(index->mm, file);
}
