/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernel's zpool calls, all that zswap.c knows of its allocator. A test may
 * put a driver of its own behind them.
 */
#ifndef ZSWAP_ZPOOL_H
#define ZSWAP_ZPOOL_H

#include "lib/arena.h"
#include "lib/slab.h"

struct zpool_driver {
	/*
	 * malloc: 0; -EINVAL for no bytes, -ENOSPC for more than a page,
	 * -ENOMEM. obj_read_begin: the object's bytes, where they lie or, if
	 * they are not contiguous there, in 'local', a buffer of a page or
	 * more; obj_read_end ends the use of what it gave. obj_write: 'len' is
	 * at most what malloc was asked for.
	 */
	int (*malloc)(void *pool, size_t size, unsigned long *handle, unsigned int nid);
	void (*free)(void *pool, unsigned long handle);
	/* will be read soon; may be NULL */
	void (*obj_prefetch)(void *pool, unsigned long handle, size_t len);
	void *(*obj_read_begin)(void *pool, unsigned long handle, void *local);
	void (*obj_read_end)(void *pool, unsigned long handle, void *obj);
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

static inline void *zpool_obj_read_begin(struct zpool *zpool, unsigned long handle, void *local)
{
	return zpool->driver->obj_read_begin(zpool->pool, handle, local);
}

static inline void zpool_obj_read_end(struct zpool *zpool, unsigned long handle, void *obj)
{
	zpool->driver->obj_read_end(zpool->pool, handle, obj);
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
