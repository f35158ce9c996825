// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * zswap_debug.c - what harnesses, tests and reports see of an instance
 *
 * Statistics as in debugfs, vmstat and dmesg; information on pools, contexts
 * and entries, which the kernel does not show; zswap_peek(); faults on demand;
 * the walk over all structures. No store or load passes here.
 *
 * Locks: with_entry() holds a slot, zswap_ctx_info() a context's mutex. The
 * walk takes none: no other call may be inside.
 */
#include <stdlib.h>
#include <string.h>

#include "mm/zswap_internal.h"

/* ---- statistics ---- */

int zswap_stats(struct zswap *z, struct zswap_stats *ret)
{
	struct zswap_call call;
	int err = zswap_enter(z, 0, &call);

	if (err)
		return err;
	*ret = (struct zswap_stats){
		.pool_limit_hit = z->stat[pool_limit_hit],
		.reject_reclaim_fail = z->stat[reject_reclaim_fail],
		.reject_alloc_fail = z->stat[reject_alloc_fail],
		.reject_kmemcache_fail = z->stat[reject_kmemcache_fail],
		.reject_compress_fail = z->stat[reject_compress_fail],
		.reject_compress_poor = z->stat[reject_compress_poor],
		.decompress_fail = z->stat[decompress_fail],
		.written_back_pages = z->stat[written_back_pages],
		.pool_total_size = zswap_total_pages(z) << z->config.page_shift,
		.stored_pages = z->stored_pages,
		.stored_incompressible_pages = z->stored_incompressible_pages,
	};
	zswap_exit(z, &call);
	return 0;
}

int zswap_events(struct zswap *z, struct zswap_events *ret)
{
	struct zswap_call call;
	int err = zswap_enter(z, 0, &call);

	if (err)
		return err;
	*ret = (struct zswap_events){
		.zswpin = z->zswpin,
		.zswpout = z->zswpout,
		.zswap_bytes = z->zswap_bytes,
		.no_context = z->no_context,
		.arena_mapped = arena_mapped(z->host.arena),
		.slab_mapped = kmem_cache_mapped(z->entry_cache) +
			       kmem_cache_mapped(z->host.handles) +
			       kmem_cache_mapped(z->host.zspages),
	};
	zswap_exit(z, &call);
	return 0;
}

const char *zswap_memory_kind(unsigned int kind)
{
	return kind < NR_ALLOC_KINDS ? fault_names[kind] : NULL;
}

int zswap_memory(struct zswap *z, unsigned int kind, unsigned int nid, u64 *ret)
{
	struct zswap_call call;
	int err;

	if (kind >= NR_ALLOC_KINDS || nid >= z->config.nr_nodes)
		return -EINVAL;
	err = zswap_enter(z, 0, &call);
	if (err)
		return err;
	switch (kind) {
	case FAULT_ENTRY:
		*ret = kmem_cache_bytes(z->entry_cache, nid);
		break;
	case FAULT_HANDLE:
		*ret = kmem_cache_bytes(z->host.handles, nid);
		break;
	case FAULT_ZSPAGE:
		*ret = kmem_cache_bytes(z->host.zspages, nid);
		break;
	default:
		*ret = kmem_bytes(&z->mm, kind, nid);
	}
	zswap_exit(z, &call);
	return 0;
}

int zswap_trim(struct zswap *z)
{
	struct zswap_call call;
	int err = zswap_enter(z, 0, &call);

	if (err)
		return err;
	arena_trim(z->host.arena);
	kmem_cache_shrink(z->entry_cache);
	kmem_cache_shrink(z->host.handles);
	kmem_cache_shrink(z->host.zspages);
	zswap_exit(z, &call);
	return 0;
}

int zswap_next_message(struct zswap *z, char *buf, size_t len)
{
	return zswap_dead(z) == -ECHILD ? 0 : printk_next(&z->log, buf, len);
}

/* ---- pools and contexts ---- */

void zswap_pool_info(struct zswap_pool *pool, struct zswap_pool_info *ret)
{
	struct zs_pool *zs = pool->zpool.pool;

	*ret = (struct zswap_pool_info){
		.compr_batch_size = pool->compr_batch_size,
		.batch_size = pool->batch_size,
		.refs = pool->refs,
		.total_pages = zpool_get_total_pages(&pool->zpool),
		.crossing_reads = zs_crossing_reads(zs),
		.huge_class_size = zs_huge_class_size(zs),
	};
}

int zswap_ctx_info(struct zswap_pool *pool, unsigned int cpu, struct zswap_ctx_info *ret)
{
	struct crypto_acomp_ctx *acomp_ctx;

	*ret = (struct zswap_ctx_info){ 0 };
	if (cpu >= pool->zswap->config.nr_cpus)
		return -EINVAL;
	if (zswap_inside(pool->zswap))
		return -EDEADLK;
	if (zswap_dead(pool->zswap) == -ECHILD)
		return -ECHILD;
	acomp_ctx = &pool->acomp_ctx[cpu];
	ret->node = cpu_to_node(pool->zswap, cpu);
	if (!atomic_load_explicit(&acomp_ctx->ready, memory_order_acquire))
		return 0;
	pthread_mutex_lock(&acomp_ctx->mutex);
	ret->acomp = acomp_ctx->acomp;
	ret->req = acomp_ctx->req;
	ret->highmem_copies = acomp_ctx->highmem_copies;
	if (acomp_ctx->buffers) {
		ret->nr_buffers = pool->compr_batch_size;
		for (u8 i = 0; i < pool->compr_batch_size; i++)
			ret->buffers[i] = acomp_ctx->buffers[i];
	}
	pthread_mutex_unlock(&acomp_ctx->mutex);
	return 0;
}

int zswap_class_info(struct zswap_pool *pool, unsigned int i, struct zswap_class_info *ret)
{
	struct zs_class_info info;
	int err = zswap_dead(pool->zswap) == -ECHILD ? -ECHILD :
						       zs_class_info(pool->zpool.pool, i, &info);

	if (!err)
		*ret = (struct zswap_class_info){
			.index = info.index,
			.size = info.size,
			.pages_per_zspage = info.pages_per_zspage,
			.objs_per_zspage = info.objs_per_zspage,
			.zspages = info.zspages,
			.objs_inuse = info.objs_inuse,
		};
	return err;
}

/* ---- entries ---- */

/*
 * Calls 'use' with the entry of a slot, under the slot's lock. Returns what
 * 'use' returns; -ENOENT if the slot holds nothing.
 */
static inline int with_entry(struct zswap *z, unsigned int cpu, u64 swp,
			     int (*use)(struct zswap *z, struct zswap_entry *entry, void *arg),
			     void *arg)
{
	struct swap_file *file;
	struct zswap_entry *entry;
	struct zswap_call call;
	slot_t *slot;
	int ret = zswap_enter(z, cpu, &call);

	if (unlikely(ret))
		return ret;
	file = swap_file_of(&z->index, swp, 1);
	slot = file ? swap_slot(file, swp_offset(swp)) : NULL;
	ret = file ? -ENOENT : -EBADSLT;
	if (slot) {
		entry = slot_lock(slot);
		if (entry)
			ret = use(z, entry, arg);
		slot_unlock(slot);
	}
	zswap_exit(z, &call);
	return ret;
}

static int describe_entry(struct zswap *z, struct zswap_entry *entry, void *arg)
{
	struct zswap_entry_info *ret = arg;

	(void)z;
	*ret = (struct zswap_entry_info){
		.length = entry->length,
		.node = entry->nid,
		.referenced = entry->referenced,
		.pool = entry->pool,
	};
	return 0;
}

int zswap_entry_info(struct zswap *z, unsigned int cpu, u64 swp, struct zswap_entry_info *ret)
{
	return with_entry(z, cpu, swp, describe_entry, ret);
}

int zswap_contains(struct zswap *z, unsigned int cpu, u64 swp)
{
	struct zswap_entry_info info;
	int ret = zswap_entry_info(z, cpu, swp, &info);

	return ret == -ENOENT ? 0 : ret ? ret : 1;
}

static int peek_entry(struct zswap *z, struct zswap_entry *entry, void *page)
{
	return zswap_decompress(z, entry, page);
}

int zswap_peek(struct zswap *z, unsigned int cpu, u64 swp, void *page)
{
	return with_entry(z, cpu, swp, peek_entry, page);
}

struct flip {
	u32 byte;
	u8 mask;
};

static int flip_byte(struct zswap *z, struct zswap_entry *entry, void *arg)
{
	struct zpool *zpool = &entry->pool->zpool;
	const struct flip *flip = arg;
	u8 *local, *obj;

	if (flip->byte >= entry->length)
		return -EINVAL;
	local = malloc(2 * z->page_size);
	if (!local)
		return -ENOMEM;
	obj = zpool_obj_read_begin(zpool, entry->handle, entry->length, local);
	memmove(local, obj, entry->length);
	local[flip->byte] ^= flip->mask;
	zpool_obj_write(zpool, entry->handle, local, entry->length);
	free(local);
	return 0;
}

int zswap_flip(struct zswap *z, unsigned int cpu, u64 swp, u32 byte, u8 mask)
{
	return with_entry(z, cpu, swp, flip_byte, &(struct flip){ .byte = byte, .mask = mask });
}

/* ---- faults ---- */

const char *zswap_fault_kind(unsigned int kind)
{
	return kind < NR_FAULT_KINDS ? fault_names[kind] : NULL;
}

void zswap_fault_arm(struct zswap *z, unsigned int kind, u64 nth, u64 times, int error, int cpu)
{
	if (kind < NR_FAULT_KINDS)
		fault_arm(&z->faults, kind, nth, times, error, cpu);
}

void zswap_fault_disarm(struct zswap *z, unsigned int kind)
{
	if (kind < NR_FAULT_KINDS)
		fault_disarm(&z->faults, kind);
}

u64 zswap_fault_hits(struct zswap *z, unsigned int kind)
{
	return kind < NR_FAULT_KINDS ? atomic_load(&z->faults.fault[kind].hits) : 0;
}

/* ---- the walk ---- */

struct tally {
	u64 entries, incompressible, bytes, on_node[UINT8_MAX];
};

static const char *check_file(struct zswap *z, unsigned int type, struct tally *tally)
{
	struct swap_file *file = swap_file_any(&z->index, type);

	for (u64 offset = 0; file; offset++) {
		struct zswap_entry *entry;
		slot_t *slot;

		offset = swap_next_slot(file, offset);
		if (offset == file->nr_pages)
			break;
		slot = swap_slot(file, offset);
		if (atomic_load(slot) & SLOT_LOCKED)
			return "a slot is locked, but no call is inside";
		entry = slot_get(slot);
		if (!entry)
			continue;
		if (entry->swpentry != swp_entry(type, offset))
			return "an entry is at another slot than its own";
		if (!entry->length || entry->length > z->page_size ||
		    IS_ERR_OR_NULL((void *)entry->handle))
			return "an entry has no object";
		if (list_empty(&entry->lru))
			return "an entry is on no LRU";
		tally->entries++;
		tally->on_node[entry->nid]++;
		tally->incompressible += stored_raw(z, entry);
		tally->bytes += entry->length;
	}
	return NULL;
}

static const char *check_all(struct zswap *z)
{
	struct tally tally = { 0 };
	struct zswap_pool *pool, *current = atomic_load(&z->current_pool);
	const char *wrong = NULL;
	u64 pages = 0;
	int64_t refs = 0;

	for (unsigned int type = 0; type < MAX_SWAPFILES && !wrong; type++)
		wrong = check_file(z, type, &tally);
	if (wrong)
		return wrong;
	for (unsigned int nid = 0; nid < z->config.nr_nodes; nid++)
		if (list_lru_count_node(&z->list_lru, nid) != tally.on_node[nid])
			return "a node's LRU does not hold the entries that the index holds";
	list_for_each_entry(pool, &z->zswap_pools, list) {
		wrong = zs_check(pool->zpool.pool);
		if (wrong)
			return wrong;
		pages += zpool_get_total_pages(&pool->zpool);
		refs += pool->refs;
	}
	if (z->stored_pages != tally.entries ||
	    z->stored_incompressible_pages != tally.incompressible || z->zswap_bytes != tally.bytes)
		return "stored_pages, stored_incompressible_pages or zswap_bytes is wrong";
	if ((u64)refs != tally.entries + (current ? 1 : 0))
		return "the pools' references do not add up";
	if (pages != zswap_total_pages(z))
		return "the pools' pages do not add up";
	return NULL;
}

int zswap_check(struct zswap *z, const char **ret)
{
	struct zswap_call call;
	int err = zswap_enter(z, 0, &call);

	if (err)
		return err;
	*ret = check_all(z);
	zswap_exit(z, &call);
	return 0;
}
