/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The swap-slot index: for each swap type trees of 2^14 slots, a word a slot,
 * under a directory of up to 2^12 trees. A file of more than 2^26 slots has
 * directories of directories. All but the topmost are made when a slot needs
 * them.
 *
 * The word holds what is stored at the slot and, in its lowest bit, the slot's
 * lock, which stands for the lock of the swap-cache folio in the kernel: the
 * thread that changes a slot holds it. Several are taken in ascending order.
 */
#ifndef ZSWAP_TREE_H
#define ZSWAP_TREE_H

#include "lib/slab.h"

#define SWAP_ADDRESS_SPACE_SHIFT 14
#define SWAP_ADDRESS_SPACE_PAGES (1u << SWAP_ADDRESS_SPACE_SHIFT)
#define SWAP_DIR_SHIFT           12
#define MAX_SWAPFILES_SHIFT      5
#define MAX_SWAPFILES            (1u << MAX_SWAPFILES_SHIFT)
#define SWP_TYPE_SHIFT           58

/*
 * In the pointer, not in what it points to: who reads it late must not look at
 * a file that is freed.
 */
#define SWAP_FILE_DYING 1ul

#define SLOT_LOCKED 1ul

typedef _Atomic u64 slot_t;

struct swap_file {
	u64 nr_pages;
	unsigned int height;   /* directories from the topmost to a tree */
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

/* The new type, -ENOMEM, or -EPERM if all types are in use. */
int swap_index_add(struct swap_index *index, u64 nr_pages);
/*
 * Takes a file out of callers' sight, whose slots nobody uses any more once
 * those that are inside have left; then it may be freed. NULL if there is none,
 * or another was first.
 */
struct swap_file *swap_index_kill(struct swap_index *index, unsigned int type);
void swap_index_free(struct swap_index *index, unsigned int type);

/* The file of a type, a dying one too; NULL if there is none. */
static inline struct swap_file *swap_file_any(struct swap_index *index, unsigned int type)
{
	return (struct swap_file *)(atomic_load(&index->files[type]) & ~SWAP_FILE_DYING);
}

/*
 * The swap file of slots swp .. swp + nr - 1, or NULL if they are not all in
 * one.
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

slot_t *swap_tree_slow(struct swap_file *file, u64 offset);

/* The slot's word, or NULL if its tree was never needed. */
static inline slot_t *swap_slot(struct swap_file *file, u64 offset)
{
	slot_t *tree = likely(file->height == 1) ?
			       atomic_load_explicit(&file->dir[offset >> SWAP_ADDRESS_SPACE_SHIFT],
						    memory_order_acquire) :
			       swap_tree_slow(file, offset);

	return likely(tree) ? &tree[offset & (SWAP_ADDRESS_SPACE_PAGES - 1)] : NULL;
}

/* The same, making the tree; NULL if there is no memory for it. */
slot_t *swap_slot_create(struct swap_index *index, struct swap_file *file, u64 offset);

/*
 * The first slot from 'offset' on that has a word; nr_pages if there is none.
 */
u64 swap_next_slot(struct swap_file *file, u64 offset);

void slot_lock_slow(slot_t *slot);

/* What is stored at a slot whose lock the caller holds. */
static inline void *slot_get(slot_t *slot)
{
	return (void *)(uintptr_t)(atomic_load_explicit(slot, memory_order_relaxed) & ~SLOT_LOCKED);
}

static inline bool slot_trylock(slot_t *slot)
{
	return !(atomic_fetch_or_explicit(slot, SLOT_LOCKED, memory_order_acquire) & SLOT_LOCKED);
}

/* What is stored at the slot, NULL if nothing. */
static inline void *slot_lock(slot_t *slot)
{
	if (unlikely(!slot_trylock(slot)))
		slot_lock_slow(slot);
	return slot_get(slot);
}

/*
 * Replace what is stored at a slot whose lock the caller holds; gives back the
 * old.
 */
static inline void *slot_xchg(slot_t *slot, void *new)
{
	void *old = slot_get(slot);

	/*
	 * plain stores, here and below: only a holder changes more than the
	 * lock's bit, which is set
	 */
	atomic_store_explicit(slot, (uintptr_t)new | SLOT_LOCKED, memory_order_relaxed);
	return old;
}

static inline void slot_unlock(slot_t *slot)
{
	atomic_store_explicit(slot, (uintptr_t)slot_get(slot), memory_order_release);
}

#endif
