// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * zswap_instance.c - the life of an instance and of its pools; parameters
 *
 * The kernel has one zswap, for ever. It sets parameters as a module does and
 * releases pools on a work queue. Here an owner makes instances and decides on
 * their pools, by these functions.
 *
 * An instance is alive from zswap_create() to zswap_shutdown(), then closed;
 * in a forked child it is dead. z->life holds that state, and every call reads
 * it after it has become a reader of z->srcu. So zswap_shutdown() changes it
 * and waits for the readers.
 *
 * A pool is created, prepared CPU by CPU, started, made current, and killed
 * once another one is. When its last reference goes, zswap_pool_put() moves it
 * to z->empty_pools, where zswap_pool_wait_empty() takes it for its owner to
 * destroy.
 *
 * Locks: release_mutex, then pools_lock.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/vmalloc.h"
#include "mm/zswap_internal.h"

/* ---- an instance ---- */

/*
 * A forked child has none of the instance's memory, and threads of the parent
 * may hold its locks: the child cannot free it.
 */
static bool is_childs_copy(const struct zswap *z)
{
	return z->pid != getpid();
}

void zswap_release(struct zswap *z)
{
	if (is_childs_copy(z))
		return;
	while (!list_empty(&z->zswap_pools))
		zswap_pool_destroy(list_first_entry(&z->zswap_pools, struct zswap_pool, list));
	while (!list_empty(&z->empty_pools))
		zswap_pool_destroy(list_first_entry(&z->empty_pools, struct zswap_pool, empty));
	for (unsigned int type = 0; type < MAX_SWAPFILES; type++)
		swap_index_free(&z->index, type);
	kmem_cache_destroy(z->entry_cache);
	zs_host_deinit(&z->host);
	list_lru_destroy(&z->list_lru);
	kmem_deinit(&z->mm);
	z->entry_cache = NULL;
}

static bool config_is_valid(const struct zswap_config *config)
{
	return (config->page_shift == 12 || config->page_shift == 14 || config->page_shift == 16) &&
	       config->chain_size >= ZS_MIN_CHAIN_SIZE && config->chain_size <= ZS_MAX_CHAIN_SIZE &&
	       config->nr_cpus && config->nr_nodes && config->nr_nodes <= config->nr_cpus &&
	       config->nr_nodes <= UINT8_MAX && config->highmem <= 1000 && config->max_batch &&
	       config->max_batch <= ZSWAP_MAX_BATCH_SIZE && config->sequential_batch &&
	       config->sequential_batch <= ZSWAP_MAX_BATCH_SIZE && config->buffer_pages >= 1 &&
	       config->buffer_pages <= 2;
}

struct zswap *zswap_create(const struct zswap_config *config, int *err)
{
	struct zswap *z;

	*err = -EINVAL;
	if (!config_is_valid(config))
		return NULL;
	*err = -ENOMEM;
	z = aligned_alloc(64, DIV_ROUND_UP(sizeof(*z), 64) * 64);
	if (!z)
		return NULL;
	memset(z, 0, sizeof(*z));
	z->config = *config;
	z->pid = getpid();
	z->page_size = (size_t)1 << config->page_shift;
	z->param[ZSWAP_ENABLED] = true;
	z->param[ZSWAP_MAX_POOL_PERCENT] = 20;
	z->param[ZSWAP_ACCEPT_THRESHOLD_PERCENT] = 90;
	INIT_LIST_HEAD(&z->zswap_pools);
	INIT_LIST_HEAD(&z->empty_pools);
	pthread_mutex_init(&z->release_mutex, NULL);
	pthread_cond_init(&z->release_cond, NULL);
	*err = zswap_setup(z);
	if (*err) {
		zswap_destroy(z);
		return NULL;
	}
	return z;
}

void zswap_destroy(struct zswap *z)
{
	if (!z || is_childs_copy(z))
		return;
	zswap_release(z);
	vfree(z->life, sizeof(*z->life));
	srcu_deinit(&z->srcu);
	pthread_cond_destroy(&z->release_cond);
	pthread_mutex_destroy(&z->release_mutex);
	free(z);
}

int zswap_shutdown(struct zswap *z)
{
	if (zswap_inside(z))
		return -EDEADLK;
	if (zswap_dead(z) == -ECHILD)
		return -ECHILD;
	pthread_mutex_lock(&z->release_mutex);
	atomic_store(z->life, -ESHUTDOWN);
	pthread_cond_broadcast(&z->release_cond);
	pthread_mutex_unlock(&z->release_mutex);
	synchronize_srcu(&z->srcu);
	return 0;
}

size_t zswap_page_size(const struct zswap *z)
{
	return z->page_size;
}

void zswap_forked(struct zswap *z)
{
	atomic_store(z->life, -ECHILD);
}

/* ---- parameters ---- */

void zswap_set_param(struct zswap *z, enum zswap_param param, u32 value)
{
	atomic_store_explicit(&z->param[param], value, memory_order_relaxed);
}

u32 zswap_get_param(struct zswap *z, enum zswap_param param)
{
	return zswap_param(z, param);
}

/* ---- pools ---- */

void zswap_pool_start(struct zswap_pool *pool)
{
	struct zswap *z = pool->zswap;

	/*
	 * The unit of compress batching for large folios. A sequential
	 * compressor takes a few pages a step, one after another, which the
	 * cache likes (v10: ZSWAP_MAX_BATCH_SIZE/4).
	 */
	pool->batch_size = pool->compr_batch_size > 1 ? pool->compr_batch_size :
							z->config.sequential_batch;
	atomic_store(&pool->refs, 1);
	spin_lock(&z->pools_lock);
	list_add(&pool->list, &z->zswap_pools);
	spin_unlock(&z->pools_lock);
}

void zswap_pool_make_current(struct zswap *z, struct zswap_pool *pool)
{
	if (pool)
		atomic_store(&z->has_pool, true);
	atomic_store(&z->current_pool, pool);
}

bool zswap_pool_resurrect(struct zswap_pool *pool)
{
	return zswap_pool_tryget(pool);
}

void zswap_pool_kill(struct zswap_pool *pool)
{
	zswap_pool_put(pool, 1);
}

struct zswap_pool *zswap_pool_wait_empty(struct zswap *z)
{
	struct zswap_pool *pool = NULL;

	/* In a forked child the mutex may be held for ever. */
	if (zswap_inside(z) || zswap_dead(z) == -ECHILD)
		return NULL;
	pthread_mutex_lock(&z->release_mutex);
	while (list_empty(&z->empty_pools) && !zswap_dead(z))
		pthread_cond_wait(&z->release_cond, &z->release_mutex);
	spin_lock(&z->pools_lock);
	if (!list_empty(&z->empty_pools)) {
		pool = list_first_entry(&z->empty_pools, struct zswap_pool, empty);
		list_del_init(&pool->empty);
	}
	spin_unlock(&z->pools_lock);
	pthread_mutex_unlock(&z->release_mutex);
	if (pool)
		synchronize_srcu(&z->srcu);
	return pool;
}
