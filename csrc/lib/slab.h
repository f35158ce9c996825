/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An instance's memory: every allocation says what it is for and on which node,
 * so that bytes can be counted and failures injected by kind. kmalloc_node() is
 * for the few large things, a kmem_cache for the small ones of which there are
 * millions: no malloc a page.
 */
#ifndef ZSWAP_SLAB_H
#define ZSWAP_SLAB_H

#include "lib/fault.h"

struct kmem {
	struct faults *faults;
	unsigned int nr_nodes, nr_cpus;
	_Atomic int64_t *bytes; /* [kind * nr_nodes + nid], kmalloc_node()'s */
};

int kmem_init(struct kmem *mm, struct faults *faults, unsigned int nr_cpus, unsigned int nr_nodes);
void kmem_deinit(struct kmem *mm);

/*
 * Zeroed memory, aligned to a cache line; NULL if there is none, or on demand.
 * kfree(NULL) is fine.
 */
void *kzalloc_node(struct kmem *mm, enum fault_kind kind, size_t size, unsigned int nid);
void kfree(struct kmem *mm, void *p);
/* The same for large things, by vmalloc.h: pages come when they are touched. */
void *kvzalloc_node(struct kmem *mm, enum fault_kind kind, size_t size, unsigned int nid);
void kvfree(struct kmem *mm, enum fault_kind kind, void *p, size_t size, unsigned int nid);
u64 kmem_bytes(const struct kmem *mm, enum fault_kind kind, unsigned int nid);

/*
 * A cache of equal objects of at least 8 bytes. Each CPU has a stack of free
 * ones, so that threads on different CPUs do not meet. Lock order: a CPU's
 * stack, then the depot.
 */
struct kmem_cache;

struct kmem_cache *kmem_cache_create(struct kmem *mm, enum fault_kind kind, size_t size);
void kmem_cache_destroy(struct kmem_cache *cache);
void *kmem_cache_alloc_node(struct kmem_cache *cache, unsigned int nid);
/* All 'nr' or none: returns nr or 0. */
unsigned int kmem_cache_alloc_bulk(struct kmem_cache *cache, unsigned int nid, unsigned int nr,
				   void **ret);
void kmem_cache_free(struct kmem_cache *cache, void *p, unsigned int nid);
void kmem_cache_free_bulk(struct kmem_cache *cache, const unsigned int *nids, unsigned int nr,
			  void **p);
u64 kmem_cache_bytes(struct kmem_cache *cache, unsigned int nid); /* in use */
u64 kmem_cache_mapped(struct kmem_cache *cache); /* held from the system, whole cache */
/* Give the memory of a cache with no object in use back to the system. */
void kmem_cache_shrink(struct kmem_cache *cache);

#endif
