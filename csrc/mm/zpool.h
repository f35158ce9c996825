/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernel's zpool calls: all that zswap.c knows of its allocator. A test may
 * put a driver of its own behind them.
 *
 * The kernel's zpool_obj_read_end() has no counterpart. Nothing moves objects
 * yet, so an object stays where it is until it is freed.
 */
#ifndef ZSWAP_ZPOOL_H
#define ZSWAP_ZPOOL_H

#include "lib/arena.h"
#include "lib/slab.h"

/*
 * One allocator; 'pool' is the driver's own.
 *
 *   malloc          returns 0; -EINVAL for no bytes, -ENOSPC for more than a
 *                   page, -ENOMEM
 *   free            frees an object
 *   obj_prefetch    the object will be read soon; may be NULL
 *   obj_read_begin  returns the object's 'len' bytes: where they lie or, if they
 *                   are not contiguous there, in 'local', a buffer of a page
 *   obj_write       writes the object; 'len' is at most the size of malloc
 *   total_pages     returns the pages that the pool holds
 *   destroy         frees the pool; its objects' memory is not given back
 */
struct zpool_driver {
	int (*malloc)(void *pool, size_t size, unsigned long *handle, unsigned int nid);
	void (*free)(void *pool, unsigned long handle);
	void (*obj_prefetch)(void *pool, unsigned long handle, size_t len);
	void *(*obj_read_begin)(void *pool, unsigned long handle, size_t len, void *local);
	void (*obj_write)(void *pool, unsigned long handle, const void *mem, size_t len);
	u64 (*total_pages)(void *pool);
	void (*destroy)(void *pool);
};

struct zpool {
	const struct zpool_driver *driver;
	void *pool;
};

static inline int zpool_malloc(struct zpool *zpool, size_t size, unsigned long *handle,
			       unsigned int nid)
{
	return zpool->driver->malloc(zpool->pool, size, handle, nid);
}

static inline void zpool_free(struct zpool *zpool, unsigned long handle)
{
	zpool->driver->free(zpool->pool, handle);
}

static inline void zpool_obj_prefetch(struct zpool *zpool, unsigned long handle, size_t len)
{
	if (zpool->driver->obj_prefetch)
		zpool->driver->obj_prefetch(zpool->pool, handle, len);
}

static inline void *zpool_obj_read_begin(struct zpool *zpool, unsigned long handle, size_t len,
					 void *local)
{
	return zpool->driver->obj_read_begin(zpool->pool, handle, len, local);
}

static inline void zpool_obj_write(struct zpool *zpool, unsigned long handle, const void *mem,
				   size_t len)
{
	zpool->driver->obj_write(zpool->pool, handle, mem, len);
}

static inline u64 zpool_get_total_pages(struct zpool *zpool)
{
	return zpool->driver->total_pages(zpool->pool);
}

static inline void zpool_destroy_pool(struct zpool *zpool)
{
	if (zpool->driver)
		zpool->driver->destroy(zpool->pool);
	zpool->driver = NULL;
}

#endif
