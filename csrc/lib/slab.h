/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An instance's memory. Every allocation names its purpose and its node, so
 * that bytes can be counted and failures injected by kind. kzalloc_node()
 * serves the few large objects; a kmem_cache serves the small ones, of which
 * there are millions, without a malloc() each.
 */
#ifndef ZSWAP_SLAB_H
#define ZSWAP_SLAB_H

#include "lib/fault.h"

struct kmem {
	struct faults *faults;
	unsigned int nr_nodes, nr_cpus;
	_Atomic int64_t *bytes; /* [kind * nr_nodes + nid], without those of caches */
};

/* Returns 0 or -ENOMEM. */
int kmem_init(struct kmem *mm, struct faults *faults, unsigned int nr_cpus, unsigned int nr_nodes);
void kmem_deinit(struct kmem *mm);

/*
 * Allocates zeroed memory, aligned to a cache line. Returns NULL if there is no
 * memory or an armed fault hits. kfree(NULL) is fine.
 */
void *kzalloc_node(struct kmem *mm, enum fault_kind kind, size_t size, unsigned int nid);
void kfree(struct kmem *mm, void *p);
/*
 * Like kzalloc_node(), but by vmalloc.h: a page is backed when it is first
 * touched. kvfree() takes the kind, size and node of the allocation.
 */
void *kvzalloc_node(struct kmem *mm, enum fault_kind kind, size_t size, unsigned int nid);
void kvfree(struct kmem *mm, enum fault_kind kind, void *p, size_t size, unsigned int nid);
/* Bytes that are allocated, without those of caches. */
u64 kmem_bytes(const struct kmem *mm, enum fault_kind kind, unsigned int nid);

/*
 * A cache of equal objects of at least 8 bytes. Each CPU has a stack of free
 * objects, so that threads on different CPUs do not contend; the depot holds
 * the rest. Lock order: a CPU's stack, then the depot.
 */
struct kmem_cache;

/* Returns NULL if there is no memory. */
struct kmem_cache *kmem_cache_create(struct kmem *mm, enum fault_kind kind, size_t size);
/* Frees the cache with every object in it. NULL is fine. */
void kmem_cache_destroy(struct kmem_cache *cache);
/* Returns an object with undefined content, or NULL. */
void *kmem_cache_alloc_node(struct kmem_cache *cache, unsigned int nid);
/* Allocates 'nr' objects or none. Returns nr or 0. */
unsigned int kmem_cache_alloc_bulk(struct kmem_cache *cache, unsigned int nid, unsigned int nr,
				   void **ret);
void kmem_cache_free(struct kmem_cache *cache, void *p, unsigned int nid);
void kmem_cache_free_bulk(struct kmem_cache *cache, const unsigned int *nids, unsigned int nr,
			  void **p);
/* Bytes of a node's objects that are in use. */
u64 kmem_cache_bytes(struct kmem_cache *cache, unsigned int nid);
/* Bytes that the whole cache has from the system. */
u64 kmem_cache_mapped(struct kmem_cache *cache);
/*
 * Gives the memory of a cache without an object in use back to the system; does
 * nothing to any other.
 */
void kmem_cache_shrink(struct kmem_cache *cache);

#endif
