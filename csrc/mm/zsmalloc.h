/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The mirror of mm/zsmalloc.c. Objects are allocated through zpool.h. Here are
 * the creation of pools and the information on them.
 */
#ifndef ZSWAP_ZSMALLOC_H
#define ZSWAP_ZSMALLOC_H

#include "mm/zpool.h"

#define ZS_MAX_CHAIN_SIZE ARENA_MAX_RUN
#define ZS_MIN_CHAIN_SIZE 4

struct zs_pool;

/* The memory that the pools of one instance share. */
struct zs_host {
	struct kmem *mm;
	struct arena *arena;
	struct kmem_cache *handles; /* cells of 8 bytes */
	struct kmem_cache *zspages; /* descriptors */
	unsigned int page_shift, chain_size;
	bool sg_reads; /* Linux 7.0: a reader gets an object's pieces */
};

/*
 * Allocates what the pools share. The caller has set 'mm', page_shift,
 * chain_size and sg_reads. Returns 0; -ENOMEM, and zs_host_deinit() must follow
 * all the same.
 */
int zs_host_init(struct zs_host *host, u64 max_pages, unsigned int highmem);
/* Frees it, once there is no pool any more, with all pages and handles. */
void zs_host_deinit(struct zs_host *host);

/*
 * Creates a pool in *zpool, which zpool_destroy_pool() frees. Returns 0;
 * -ENOMEM, and *zpool is unchanged.
 */
int zs_create_pool(struct zs_host *host, struct zpool *zpool);

struct zs_class_info {
	u32 index, size, pages_per_zspage, objs_per_zspage;
	u64 zspages, objs_inuse;
};

/*
 * Fills *ret with the class of slot i; slots that share a class give the same.
 * Returns 0, or -ENOENT past the last slot.
 */
int zs_class_info(struct zs_pool *pool, unsigned int i, struct zs_class_info *ret);

/*
 * Returns the number of reads of objects that cross pages: the kernel copies or,
 * since Linux 7.0, hands over two pieces.
 */
u64 zs_crossing_reads(struct zs_pool *pool);

/*
 * Returns the smallest length whose class has one object a page, so that it
 * saves nothing.
 */
size_t zs_huge_class_size(struct zs_pool *pool);

/*
 * Walks classes, zspages and free lists. Returns NULL, or a static string that
 * names the broken rule. No other thread may use the pool meanwhile.
 */
const char *zs_check(struct zs_pool *pool);

#endif
