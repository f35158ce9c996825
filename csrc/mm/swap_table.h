/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The index of swap slots: which entry is stored at a slot.
 *
 * A swap file has trees of 2^14 slots, one word for each slot, below a
 * directory of up to 2^12 trees. A file of more than 2^26 slots has directories
 * of directories. A tree is allocated when a store first needs it, and freed
 * with its file; so are all directories but the topmost.
 *
 * A slot's word holds the entry and, in the lowest bit, the slot's lock. The
 * lock stands for that of the kernel's swap-cache folio: a thread that reads or
 * changes the entry holds it. Several slots are locked in ascending order.
 */
#ifndef ZSWAP_SWAP_TABLE_H
#define ZSWAP_SWAP_TABLE_H

#include "lib/slab.h"

#define SWAP_ADDRESS_SPACE_SHIFT 14
#define SWAP_ADDRESS_SPACE_PAGES (1u << SWAP_ADDRESS_SPACE_SHIFT)
#define SWAP_DIR_SHIFT           12
#define MAX_SWAPFILES_SHIFT      5
#define MAX_SWAPFILES            (1u << MAX_SWAPFILES_SHIFT)
#define SWP_TYPE_SHIFT           58

/*
 * A bit of the pointer, not of the file: a thread that reads the pointer late
 * must not read a file that is freed.
 */
#define SWAP_FILE_DYING 1ul

#define SLOT_LOCKED 1ul

typedef _Atomic u64 slot_t;

struct swap_file {
	u64 nr_pages;
	unsigned int height;   /* levels of directories above a tree */
	_Atomic(void *) dir[]; /* the topmost */
};

struct swap_index {
	struct kmem *mm;
	_Atomic uintptr_t files[MAX_SWAPFILES]; /* struct swap_file *, and SWAP_FILE_DYING */
};

static inline unsigned int swp_type(u64 swp)
{
	return swp >> SWP_TYPE_SHIFT;
}

static inline u64 swp_offset(u64 swp)
{
	return swp & (((u64)1 << SWP_TYPE_SHIFT) - 1);
}

static inline u64 swp_entry(unsigned int type, u64 offset)
{
	return (u64)type << SWP_TYPE_SHIFT | offset;
}

/*
 * Adds a swap file of nr_pages slots. Returns its type, -EINVAL, -ENOMEM, or
 * -EPERM if all types are in use.
 */
int swap_index_add(struct swap_index *index, u64 nr_pages);

/*
 * Unpublishes a swap file. Free it after synchronize_srcu(). Returns the file;
 * NULL if there is none, or if another thread unpublished it.
 */
struct swap_file *swap_index_kill(struct swap_index *index, unsigned int type);

/*
 * Frees a file, its trees and directories, but not the entries. Does nothing if
 * there is no file of that type.
 */
void swap_index_free(struct swap_index *index, unsigned int type);

/* Returns the file of a type, unpublished or not; NULL if there is none. */
static inline struct swap_file *swap_file_any(struct swap_index *index, unsigned int type)
{
	return (struct swap_file *)(atomic_load(&index->files[type]) & ~SWAP_FILE_DYING);
}

/*
 * Returns the swap file of slots swp to swp + nr - 1; NULL if they are not all
 * in one.
 */
static inline struct swap_file *swap_file_of(struct swap_index *index, u64 swp, u64 nr)
{
	unsigned int type = swp_type(swp);
	u64 offset = swp_offset(swp);
	struct swap_file *file;
	uintptr_t word;

	if (unlikely(type >= MAX_SWAPFILES))
		return NULL;
	word = atomic_load(&index->files[type]);
	if (unlikely(!word || word & SWAP_FILE_DYING))
		return NULL;
	file = (struct swap_file *)word;
	return offset < file->nr_pages && nr <= file->nr_pages - offset ? file : NULL;
}

/* Returns the tree of a slot in a file with several levels, or NULL. */
slot_t *swap_tree_slow(struct swap_file *file, u64 offset);

/* Returns the slot's word; NULL if its tree is not allocated. */
static inline slot_t *swap_slot(struct swap_file *file, u64 offset)
{
	slot_t *tree = likely(file->height == 1) ?
			       atomic_load_explicit(&file->dir[offset >> SWAP_ADDRESS_SPACE_SHIFT],
						    memory_order_acquire) :
			       swap_tree_slow(file, offset);

	return likely(tree) ? &tree[offset & (SWAP_ADDRESS_SPACE_PAGES - 1)] : NULL;
}

/* Returns the slot's word and allocates its tree; NULL without memory. */
slot_t *swap_slot_create(struct swap_index *index, struct swap_file *file, u64 offset);

/* Returns the first slot from 'offset' on with a word, or nr_pages. */
u64 swap_next_slot(struct swap_file *file, u64 offset);

void slot_lock_slow(slot_t *slot);

/* Returns the entry at a slot, or NULL. The caller holds the slot's lock. */
static inline void *slot_get(slot_t *slot)
{
	return (void *)(uintptr_t)(atomic_load_explicit(slot, memory_order_relaxed) & ~SLOT_LOCKED);
}

/* Returns true if it locked the slot. */
static inline bool slot_trylock(slot_t *slot)
{
	return !(atomic_fetch_or_explicit(slot, SLOT_LOCKED, memory_order_acquire) & SLOT_LOCKED);
}

/* Locks a slot and returns its entry, or NULL. */
static inline void *slot_lock(slot_t *slot)
{
	if (unlikely(!slot_trylock(slot)))
		slot_lock_slow(slot);
	return slot_get(slot);
}

/*
 * Replaces the entry at a slot and returns the old one, or NULL. The caller
 * holds the slot's lock.
 */
static inline void *slot_xchg(slot_t *slot, void *new)
{
	void *old = slot_get(slot);

	/*
	 * Plain stores here and in slot_unlock(): the lock's bit is set, and
	 * only its holder changes the rest of the word.
	 */
	atomic_store_explicit(slot, (uintptr_t)new | SLOT_LOCKED, memory_order_relaxed);
	return old;
}

static inline void slot_unlock(slot_t *slot)
{
	atomic_store_explicit(slot, (uintptr_t)slot_get(slot), memory_order_release);
}

#endif
