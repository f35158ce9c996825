// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * An instance's memory. kzalloc_node() is aligned_alloc() behind a header that
 * says what to uncount at kfree().
 *
 * A kmem_cache takes chunks of 64 KiB and cuts objects off the newest one
 * ('fresh'). A free object is on a CPU's stack or in the depot, a list through
 * the objects themselves. An empty stack takes 32 objects from the depot; a
 * full one gives half of its objects back. Chunks are freed only all together,
 * when no object is in use.
 *
 * Locks: a stack's covers that stack and its counts, the depot's covers the
 * depot, 'fresh' and the chunks. Order: stacks by CPU, then the depot. Only
 * kmem_cache_shrink() holds several stacks.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/slab.h"
#include "lib/vmalloc.h"

#define CHUNK_SIZE   (64u << 10)
#define STACK_REFILL 32  /* objects that a refill moves to a CPU's stack */
#define STACK_MAX    128 /* a stack's size; a full one gives half back to the depot */
#define STACK_AHEAD  8   /* the next objects to be allocated are prefetched */

/* ---- kmalloc ---- */

struct kmem_header {
	size_t size;
	enum fault_kind kind;
	unsigned int nid;
} ____cacheline_aligned;

int kmem_init(struct kmem *mm, struct faults *faults, unsigned int nr_cpus, unsigned int nr_nodes)
{
	mm->faults = faults;
	mm->nr_cpus = nr_cpus;
	mm->nr_nodes = nr_nodes;
	mm->bytes = calloc((size_t)NR_ALLOC_KINDS * nr_nodes, sizeof(*mm->bytes));
	return mm->bytes ? 0 : -ENOMEM;
}

void kmem_deinit(struct kmem *mm)
{
	free(mm->bytes);
	mm->bytes = NULL;
}

void *kzalloc_node(struct kmem *mm, enum fault_kind kind, size_t size, unsigned int nid)
{
	size_t total = (sizeof(struct kmem_header) + size + 63) & ~(size_t)63;
	struct kmem_header *header;

	if (fault_hit(mm->faults, kind, raw_smp_processor_id()))
		return NULL;
	header = aligned_alloc(64, total);
	if (!header)
		return NULL;
	memset(header, 0, total);
	*header = (struct kmem_header){ .size = size, .kind = kind, .nid = nid };
	atomic_fetch_add(&mm->bytes[kind * mm->nr_nodes + nid], size);
	return header + 1;
}

void kfree(struct kmem *mm, void *p)
{
	struct kmem_header *header = p;

	if (!p)
		return;
	header--;
	atomic_fetch_sub(&mm->bytes[header->kind * mm->nr_nodes + header->nid], header->size);
	free(header);
}

void *kvzalloc_node(struct kmem *mm, enum fault_kind kind, size_t size, unsigned int nid)
{
	void *p = fault_hit(mm->faults, kind, raw_smp_processor_id()) ? NULL : vzalloc(size);

	if (p)
		atomic_fetch_add(&mm->bytes[kind * mm->nr_nodes + nid], size);
	return p;
}

void kvfree(struct kmem *mm, enum fault_kind kind, void *p, size_t size, unsigned int nid)
{
	if (!p)
		return;
	atomic_fetch_sub(&mm->bytes[kind * mm->nr_nodes + nid], size);
	vfree(p, size);
}

u64 kmem_bytes(const struct kmem *mm, enum fault_kind kind, unsigned int nid)
{
	return atomic_load(&mm->bytes[kind * mm->nr_nodes + nid]);
}

/* ---- kmem_cache ---- */

struct kmem_stack {
	spinlock_t lock;
	unsigned int nr;
	void *objects[STACK_MAX]; /* pointers: a pop does not touch the object */
	/*
	 * By node: allocated minus freed on this CPU. Only the sum over CPUs is
	 * >= 0.
	 */
	int64_t *inuse;
} ____cacheline_aligned;

struct kmem_chunk {
	struct kmem_chunk *next;
};

struct kmem_cache {
	struct kmem *mm;
	enum fault_kind kind;
	size_t size;
	struct kmem_stack *stacks;
	int64_t *inuse;
	spinlock_t depot_lock;
	void *depot;
	char *fresh, *fresh_end; /* the part of the newest chunk that was never allocated */
	struct kmem_chunk *chunks;
	size_t nr_chunks;
};

struct kmem_cache *kmem_cache_create(struct kmem *mm, enum fault_kind kind, size_t size)
{
	struct kmem_cache *cache = calloc(1, sizeof(*cache));
	/* each CPU's counts are on cache lines of their own */
	size_t stride = DIV_ROUND_UP(mm->nr_nodes, 8) * 8;

	if (!cache)
		return NULL;
	cache->mm = mm;
	cache->kind = kind;
	cache->size = size;
	cache->stacks = aligned_alloc(64, mm->nr_cpus * sizeof(*cache->stacks));
	cache->inuse = aligned_alloc(64, mm->nr_cpus * stride * sizeof(*cache->inuse));
	if (!cache->stacks || !cache->inuse) {
		kmem_cache_destroy(cache);
		return NULL;
	}
	memset(cache->stacks, 0, mm->nr_cpus * sizeof(*cache->stacks));
	memset(cache->inuse, 0, mm->nr_cpus * stride * sizeof(*cache->inuse));
	for (unsigned int cpu = 0; cpu < mm->nr_cpus; cpu++)
		cache->stacks[cpu].inuse = cache->inuse + cpu * stride;
	return cache;
}

static void free_chunks(struct kmem_cache *cache)
{
	while (cache->chunks) {
		struct kmem_chunk *chunk = cache->chunks;

		cache->chunks = chunk->next;
		vfree(chunk, CHUNK_SIZE);
	}
	cache->nr_chunks = 0;
	cache->fresh = cache->fresh_end = NULL;
	cache->depot = NULL;
}

void kmem_cache_destroy(struct kmem_cache *cache)
{
	if (!cache)
		return;
	free_chunks(cache);
	free(cache->inuse);
	free(cache->stacks);
	free(cache);
}

static bool add_chunk(struct kmem_cache *cache)
{
	struct kmem_chunk *chunk = vzalloc(CHUNK_SIZE);

	if (!chunk)
		return false;
	chunk->next = cache->chunks;
	cache->chunks = chunk;
	cache->nr_chunks++;
	cache->fresh = (char *)chunk + max(sizeof(*chunk), cache->size);
	cache->fresh_end = (char *)chunk + CHUNK_SIZE;
	return true;
}

static void push(struct kmem_stack *stack, void *p)
{
	stack->objects[stack->nr++] = p;
}

static void *pop(struct kmem_stack *stack)
{
	return stack->objects[--stack->nr];
}

static void refill(struct kmem_cache *cache, struct kmem_stack *stack)
{
	spin_lock(&cache->depot_lock);
	for (int i = 0; i < STACK_REFILL; i++) {
		void *p = cache->depot;

		if (p) {
			cache->depot = *(void **)p;
		} else {
			if ((size_t)(cache->fresh_end - cache->fresh) < cache->size &&
			    !add_chunk(cache))
				break;
			p = cache->fresh;
			cache->fresh += cache->size;
		}
		push(stack, p);
	}
	spin_unlock(&cache->depot_lock);
}

static void spill(struct kmem_cache *cache, struct kmem_stack *stack)
{
	spin_lock(&cache->depot_lock);
	while (stack->nr > STACK_MAX / 2) {
		void *p = pop(stack);

		*(void **)p = cache->depot;
		cache->depot = p;
	}
	spin_unlock(&cache->depot_lock);
}

unsigned int kmem_cache_alloc_bulk(struct kmem_cache *cache, unsigned int nid, unsigned int nr,
				   void **ret)
{
	unsigned int cpu = raw_smp_processor_id(), i;
	struct kmem_stack *stack = &cache->stacks[cpu];

	for (i = 0; fault_armed(cache->mm->faults, cache->kind) && i < nr; i++)
		if (fault_hit(cache->mm->faults, cache->kind, cpu))
			return 0;
	spin_lock(&stack->lock);
	for (i = 0; i < nr; i++) {
		if (!stack->nr)
			refill(cache, stack);
		if (!stack->nr)
			break;
		ret[i] = pop(stack);
	}
	for (unsigned int ahead = 1; ahead <= min(STACK_AHEAD, stack->nr); ahead++)
		prefetchw(stack->objects[stack->nr - ahead]);
	if (i < nr) {
		while (i)
			push(stack, ret[--i]);
		nr = 0;
	}
	stack->inuse[nid] += nr;
	spin_unlock(&stack->lock);
	return nr;
}

void *kmem_cache_alloc_node(struct kmem_cache *cache, unsigned int nid)
{
	void *p;

	return kmem_cache_alloc_bulk(cache, nid, 1, &p) ? p : NULL;
}

void kmem_cache_free_bulk(struct kmem_cache *cache, const unsigned int *nids, unsigned int nr,
			  void **p)
{
	struct kmem_stack *stack = &cache->stacks[raw_smp_processor_id()];

	spin_lock(&stack->lock);
	for (unsigned int i = 0; i < nr; i++) {
		if (unlikely(stack->nr == STACK_MAX))
			spill(cache, stack);
		push(stack, p[i]);
		stack->inuse[nids[i]]--;
	}
	spin_unlock(&stack->lock);
}

void kmem_cache_free(struct kmem_cache *cache, void *p, unsigned int nid)
{
	kmem_cache_free_bulk(cache, &nid, 1, &p);
}

u64 kmem_cache_bytes(struct kmem_cache *cache, unsigned int nid)
{
	int64_t nr = 0;

	for (unsigned int cpu = 0; cpu < cache->mm->nr_cpus; cpu++) {
		spin_lock(&cache->stacks[cpu].lock);
		nr += cache->stacks[cpu].inuse[nid];
		spin_unlock(&cache->stacks[cpu].lock);
	}
	return max(nr, 0) * cache->size;
}

u64 kmem_cache_mapped(struct kmem_cache *cache)
{
	u64 bytes;

	spin_lock(&cache->depot_lock);
	bytes = (u64)cache->nr_chunks * CHUNK_SIZE;
	spin_unlock(&cache->depot_lock);
	return bytes;
}

void kmem_cache_shrink(struct kmem_cache *cache)
{
	unsigned int nr_cpus = cache->mm->nr_cpus;
	int64_t nr = 0;

	/* In CPU order. No other function holds two of them. */
	for (unsigned int cpu = 0; cpu < nr_cpus; cpu++) {
		spin_lock(&cache->stacks[cpu].lock);
		for (unsigned int nid = 0; nid < cache->mm->nr_nodes; nid++)
			nr += cache->stacks[cpu].inuse[nid];
	}
	spin_lock(&cache->depot_lock);
	if (!nr) {
		free_chunks(cache);
		for (unsigned int cpu = 0; cpu < nr_cpus; cpu++) {
			cache->stacks[cpu].nr = 0;
		}
	}
	spin_unlock(&cache->depot_lock);
	for (unsigned int cpu = nr_cpus; cpu-- > 0;)
		spin_unlock(&cache->stacks[cpu].lock);
}
