/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The mirror of mm/zsmalloc.c. Its users reach it through zpool.h; what else it
 * tells is here.
 */
#ifndef ZSWAP_ZSMALLOC_H
#define ZSWAP_ZSMALLOC_H

#include "mm/zpool.h"

#define ZS_MAX_CHAIN_SIZE ARENA_MAX_RUN
#define ZS_MIN_CHAIN_SIZE 4

struct zs_pool;

/* What several pools of one instance share. */
struct zs_host {
	struct kmem *mm;
	struct arena *arena;
	struct kmem_cache *handles; /* cells of 8 bytes */
	struct kmem_cache *zspages; /* zs_zspage_size() each */
	unsigned int page_shift, chain_size;
};

size_t zs_zspage_size(const struct arena *arena, unsigned int chain_size);

/* 0, or -ENOMEM and *zpool as it was. */
int zs_create_pool(struct zs_host *host, struct zpool *zpool);

struct zs_class_info {
	u32 index, size, pages_per_zspage, objs_per_zspage;
	u64 zspages, objs_inuse;
};

/*
 * The class of the i-th slot, -ENOENT past the last one; slots that share a
 * class tell the same.
 */
int zs_class_info(struct zs_pool *pool, unsigned int i, struct zs_class_info *ret);
/* reads for which the kernel would copy: the object crosses pages */
u64 zs_crossing_reads(struct zs_pool *pool);
/*
 * The smallest length that goes to a class of one object a page, where nothing
 * is saved.
 */
size_t zs_huge_class_size(struct zs_pool *pool);
/*
 * Walks everything. NULL, or what does not hold. Only while no other thread
 * uses the pool.
 */
const char *zs_check(struct zs_pool *pool);

#endif
