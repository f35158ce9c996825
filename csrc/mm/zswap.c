// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * zswap.c - the mirror of mm/zswap.c
 *
 * zswap takes pages that are in the process of being swapped out and attempts
 * to compress them into a dynamically allocated RAM-based memory pool.
 *
 * Functions, labels and banners are those of Linux 6.16 with the series "zswap
 * compression batching" (v10) applied, in its order; the bodies are ours. Where
 * the kernel has a function that is not here, a comment names it and says why.
 * What mm/zswap.c does not have is in the files that zswap_internal.h lists. A
 * function that only this file has helps the kernel's function below it.
 *
 * Structures: zswap_internal.h. A page's slot holds a struct zswap_entry, which
 * names its pool and the object in the pool's allocator; the LRU links entries.
 *
 * Locks, in this order:
 *
 *   a slot's lock    its entry; several slots in ascending order
 *   acomp_ctx.mutex  a CPU's context of one pool
 *   class->lock      a size class (zsmalloc.c)
 *   list_lru_one     a node's LRU (list_lru.h)
 *
 * A pool's last reference takes release_mutex, then pools_lock, under a slot's
 * lock.
 *
 * Every call is a reader of z->srcu, so a pool or swap file that it found stays
 * until it has left.
 */
#include <stdio.h>
#include <string.h>

#include "lib/vmalloc.h"
#include "mm/zswap_internal.h"

/*********************************
* statistics
**********************************/

/* z->stat[], by enum zswap_stat. */

/*********************************
* tunables
**********************************/

/* z->param[], by enum zswap_param; Python parses what users write. */

/*********************************
* data structures
**********************************/

/* zswap_internal.h has them. */

/*********************************
* helpers and fwd declarations
**********************************/

/* zswap_is_enabled() is zswap_param(z, ZSWAP_ENABLED). */

static bool zswap_never_enabled(struct zswap *z)
{
	return !atomic_load_explicit(&z->has_pool, memory_order_relaxed);
}

#define pr_err(z, ...)   printk(&(z)->log, LOG_ERR, __VA_ARGS__)
#define pr_alert(z, ...) printk(&(z)->log, LOG_ALERT, __VA_ARGS__)

/*********************************
* pool functions
**********************************/

/*
 * Frees a context in any state, also a half-made one, and clears each pointer
 * to what it frees. v10 leaves the pointers: a prepare that fails there is
 * freed twice, and the next prepare finds an acomp and returns 0.
 */
static void acomp_ctx_dealloc(struct zswap *z, struct crypto_acomp_ctx *acomp_ctx, u8 nr_buffers)
{
	if (IS_ERR_OR_NULL(acomp_ctx))
		return;

	acomp_request_free(acomp_ctx->req);
	acomp_ctx->req = NULL;

	crypto_free_acomp(acomp_ctx->acomp);
	acomp_ctx->acomp = NULL;

	if (acomp_ctx->buffers) {
		for (u8 i = 0; i < nr_buffers; ++i)
			kfree(&z->mm, acomp_ctx->buffers[i]);
		kfree(&z->mm, acomp_ctx->buffers);
		acomp_ctx->buffers = NULL;
	}
}

/*
 * The context's mutex and wait live from the first prepare to the pool's end.
 * Before the series they lived from the pool's creation.
 */
static void acomp_ctx_init_locks(struct crypto_acomp_ctx *acomp_ctx)
{
	if (atomic_load_explicit(&acomp_ctx->ready, memory_order_relaxed))
		return;
	crypto_init_wait(&acomp_ctx->wait);
	pthread_mutex_init(&acomp_ctx->mutex, NULL);
	atomic_store_explicit(&acomp_ctx->ready, true, memory_order_release);
}

/* Allocates a context's resources; after an error it has none. */
static int zswap_cpu_comp_alloc(struct zswap_pool *pool, unsigned int cpu,
				struct crypto_acomp_ctx *acomp_ctx)
{
	struct zswap *z = pool->zswap;
	unsigned int nid = cpu_to_node(z, cpu);
	u8 compr_batch_size;
	int ret = fault_hit(&z->faults, FAULT_PREPARE, cpu);

	if (ret)
		return ret;

	acomp_ctx->acomp = crypto_alloc_acomp_node(&z->mm, pool->alg, nid);
	if (IS_ERR_OR_NULL(acomp_ctx->acomp)) {
		ret = PTR_ERR(acomp_ctx->acomp);
		pr_err(z, "could not alloc crypto acomp %s : %d", pool->tfm_name, ret);
		goto fail;
	}

	ret = -ENOMEM;
	acomp_ctx->req = acomp_request_alloc(acomp_ctx->acomp);
	if (IS_ERR_OR_NULL(acomp_ctx->req)) {
		pr_err(z, "could not alloc crypto acomp_request %s", pool->tfm_name);
		goto fail;
	}

	/*
	 * Up to ZSWAP_MAX_BATCH_SIZE dst buffers if the compressor supports
	 * batching.
	 */
	compr_batch_size = min(z->config.max_batch, crypto_acomp_batch_size(acomp_ctx->acomp));
	if (pool->compr_batch_size && pool->compr_batch_size != compr_batch_size) {
		pr_err(z, "batch size of crypto acomp %s is %u on cpu %u, %u before",
		       pool->tfm_name, compr_batch_size, cpu, pool->compr_batch_size);
		ret = -EINVAL;
		goto fail;
	}

	acomp_ctx->buffers =
		kzalloc_node(&z->mm, FAULT_ARRAY, compr_batch_size * sizeof(u8 *), nid);
	if (!acomp_ctx->buffers)
		goto fail;

	for (u8 i = 0; i < compr_batch_size; ++i) {
		acomp_ctx->buffers[i] = kzalloc_node(&z->mm, FAULT_BUFFER,
						     z->config.buffer_pages * z->page_size, nid);
		if (!acomp_ctx->buffers[i]) {
			acomp_ctx_dealloc(z, acomp_ctx, i);
			return ret;
		}
	}

	/*
	 * If the backend of acomp is async, crypto_req_done() wakes up
	 * crypto_wait_req(); if it is synchronous, the callback is not called
	 * and crypto_wait_req() returns without blocking.
	 */
	acomp_request_set_callback(acomp_ctx->req, CRYPTO_TFM_REQ_MAY_BACKLOG, crypto_req_done,
				   &acomp_ctx->wait);
	/* Written once: threads read it while a dead CPU is prepared again. */
	if (!pool->compr_batch_size)
		pool->compr_batch_size = compr_batch_size;
	return 0;

fail:
	acomp_ctx_dealloc(z, acomp_ctx, 0);
	return ret;
}

int zswap_cpu_comp_prepare(struct zswap_pool *pool, unsigned int cpu)
{
	struct zswap *z = pool->zswap;
	struct crypto_acomp_ctx *acomp_ctx;
	struct zswap_call call;
	/* As on the CPU that is prepared: a fault may be for one CPU. */
	int ret = zswap_enter(z, cpu, &call);

	if (ret)
		return ret;
	acomp_ctx = &pool->acomp_ctx[cpu];
	/* The context starts all zero: with an acomp it is whole. */
	if (!IS_ERR_OR_NULL(acomp_ctx->acomp))
		goto exit;

	if (!z->config.dead_frees) {
		ret = zswap_cpu_comp_alloc(pool, cpu, acomp_ctx);
		if (!ret)
			acomp_ctx_init_locks(acomp_ctx);
	} else {
		/*
		 * Allocated outside the mutex, since the allocation may start
		 * a store that takes it. Published under the mutex.
		 */
		struct crypto_acomp_ctx new = { 0 };

		ret = zswap_cpu_comp_alloc(pool, cpu, &new);
		if (ret)
			goto exit;
		new.req->data = &acomp_ctx->wait;
		pthread_mutex_lock(&acomp_ctx->mutex);
		acomp_ctx->acomp = new.acomp;
		acomp_ctx->req = new.req;
		acomp_ctx->buffers = new.buffers;
		atomic_fetch_add_explicit(&pool->nr_prepared, 1, memory_order_release);
		pthread_mutex_unlock(&acomp_ctx->mutex);
	}
exit:
	zswap_exit(z, &call);
	return ret;
}

/*
 * The callback of CPU hotplug in Linux 6.16 and before: a CPU that goes offline
 * loses its context.
 */
int zswap_cpu_comp_dead(struct zswap_pool *pool, unsigned int cpu)
{
	struct crypto_acomp_ctx *acomp_ctx, old;
	struct zswap_call call;
	int ret = zswap_enter(pool->zswap, cpu, &call);

	if (ret)
		return ret;
	acomp_ctx = &pool->acomp_ctx[cpu];
	if (!atomic_load_explicit(&acomp_ctx->ready, memory_order_acquire))
		goto exit;
	pthread_mutex_lock(&acomp_ctx->mutex);
	old.acomp = acomp_ctx->acomp;
	old.req = acomp_ctx->req;
	old.buffers = acomp_ctx->buffers;
	acomp_ctx->acomp = NULL;
	acomp_ctx->req = NULL;
	acomp_ctx->buffers = NULL;
	pthread_mutex_unlock(&acomp_ctx->mutex);

	/*
	 * Freed outside the mutex: freeing an acomp may wait for a thread that
	 * waits for the mutex.
	 */
	acomp_ctx_dealloc(pool->zswap, &old, pool->compr_batch_size);
exit:
	zswap_exit(pool->zswap, &call);
	return ret;
}

struct zswap_pool *zswap_pool_create(struct zswap *z, const struct acomp_alg *alg,
				     const char *tfm_name, int *err)
{
	struct zswap_pool *pool;
	struct zswap_call call;

	*err = zswap_enter(z, 0, &call);
	if (*err)
		return NULL;
	*err = -ENOMEM;
	/* Many things rely on the zero-initialization. */
	pool = kzalloc_node(&z->mm, FAULT_POOL, sizeof(*pool), 0);
	if (!pool)
		goto exit;
	pool->zswap = z;
	pool->alg = alg;
	snprintf(pool->tfm_name, sizeof(pool->tfm_name), "%s", tfm_name);
	INIT_LIST_HEAD(&pool->list);
	INIT_LIST_HEAD(&pool->empty);

	if (zs_create_pool(&z->host, &pool->zpool))
		goto error;
	pool->acomp_ctx =
		kzalloc_node(&z->mm, FAULT_PERCPU, z->config.nr_cpus * sizeof(*pool->acomp_ctx), 0);
	if (!pool->acomp_ctx)
		goto error;
	if (z->config.dead_frees)
		for (unsigned int cpu = 0; cpu < z->config.nr_cpus; cpu++)
			acomp_ctx_init_locks(&pool->acomp_ctx[cpu]);
	*err = 0;
	goto exit;

error:
	zswap_pool_destroy(pool);
	pool = NULL;
exit:
	zswap_exit(z, &call);
	return pool;
}

/*
 * No __zswap_pool_create_fallback(): a missing compressor is an error that
 * names it, and no other one takes its place.
 */

void zswap_pool_destroy(struct zswap_pool *pool)
{
	struct zswap *z;

	if (!pool)
		return;
	z = pool->zswap;
	if (pool->acomp_ctx) {
		for (unsigned int cpu = 0; cpu < z->config.nr_cpus; cpu++) {
			struct crypto_acomp_ctx *acomp_ctx = &pool->acomp_ctx[cpu];

			acomp_ctx_dealloc(z, acomp_ctx, pool->compr_batch_size);
			if (atomic_load_explicit(&acomp_ctx->ready, memory_order_relaxed)) {
				pthread_mutex_destroy(&acomp_ctx->mutex);
				crypto_destroy_wait(&acomp_ctx->wait);
			}
		}
		kfree(&z->mm, pool->acomp_ctx);
	}
	spin_lock(&z->pools_lock);
	list_del_init(&pool->list);
	list_del_init(&pool->empty);
	spin_unlock(&z->pools_lock);
	zpool_destroy_pool(&pool->zpool);
	kfree(&z->mm, pool);
}

/*
 * No __zswap_pool_release(): zswap_pool_wait_empty() waits until each call that
 * may see the pool has left, and its owner then destroys the pool (pool.py:
 * Pools._release()).
 */

/* Hands a pool without references to zswap_pool_wait_empty(). */
static void __zswap_pool_empty(struct zswap_pool *pool)
{
	struct zswap *z = pool->zswap;

	pthread_mutex_lock(&z->release_mutex);
	spin_lock(&z->pools_lock);
	list_del_init(&pool->list);
	list_add_tail(&pool->empty, &z->empty_pools);
	spin_unlock(&z->pools_lock);
	pthread_cond_broadcast(&z->release_cond);
	pthread_mutex_unlock(&z->release_mutex);
}

bool zswap_pool_tryget(struct zswap_pool *pool)
{
	int64_t refs;

	if (!pool)
		return false;
	refs = atomic_load_explicit(&pool->refs, memory_order_relaxed);
	do {
		if (!refs)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(
		&pool->refs, &refs, refs + 1, memory_order_acquire, memory_order_relaxed));
	return true;
}

/* The caller holds a reference already. */
static void zswap_pool_get(struct zswap_pool *pool, unsigned int nr)
{
	atomic_fetch_add_explicit(&pool->refs, nr, memory_order_relaxed);
}

void zswap_pool_put(struct zswap_pool *pool, unsigned int nr)
{
	if (unlikely(atomic_fetch_sub_explicit(&pool->refs, nr, memory_order_acq_rel) == nr))
		__zswap_pool_empty(pool);
}

/*
 * No __zswap_pool_current() and zswap_pool_current(): the first pool of a list
 * is current in the kernel, a pointer names it here.
 */

static struct zswap_pool *zswap_pool_current_get(struct zswap *z)
{
	struct zswap_pool *pool;

	/*
	 * The caller is a reader of srcu, so the pool's memory stays. The pool
	 * may lose its last reference meanwhile: then another one is current.
	 */
	do {
		pool = atomic_load(&z->current_pool);
	} while (pool && !zswap_pool_tryget(pool));
	return pool;
}

/* zswap_pool_find_get() is Python's: pool.py, Pools._find_get(). */

static u64 zswap_max_pages(struct zswap *z)
{
	return z->config.totalram_pages * zswap_param(z, ZSWAP_MAX_POOL_PERCENT) / 100;
}

static u64 zswap_accept_thr_pages(struct zswap *z)
{
	return zswap_max_pages(z) * zswap_param(z, ZSWAP_ACCEPT_THRESHOLD_PERCENT) / 100;
}

/* All pools' pages come from one arena, those of killed pools too. */
u64 zswap_total_pages(struct zswap *z)
{
	return arena_pages(z->host.arena);
}

static bool zswap_check_limits(struct zswap *z)
{
	u64 cur_pages = zswap_total_pages(z);

	if (cur_pages >= zswap_max_pages(z)) {
		zswap_count(z, pool_limit_hit);
		atomic_store_explicit(&z->pool_reached_full, true, memory_order_relaxed);
	} else if (atomic_load_explicit(&z->pool_reached_full, memory_order_relaxed) &&
		   cur_pages <= zswap_accept_thr_pages(z)) {
		atomic_store_explicit(&z->pool_reached_full, false, memory_order_relaxed);
	}
	return atomic_load_explicit(&z->pool_reached_full, memory_order_relaxed);
}

/*********************************
* param callback functions
**********************************/

/*
 * zswap_pool_changed(), zswap_compressor_param_set(), zswap_zpool_param_set(),
 * __zswap_param_set() and zswap_enabled_param_set() are Python's: zswap.py. The
 * values are set by zswap_set_param(). zsmalloc is the only allocator.
 */

/*********************************
* lru functions
**********************************/

/* entry_to_nid() is entry->nid; no mem_cgroup_from_entry(), without cgroups. */

/* Adds a batch of entries of one node under one hold of the lock. */
static void zswap_lru_add(struct zswap *z, struct zswap_entry **entries, unsigned int nr)
{
	struct list_lru_one *one;

	if (!nr)
		return;
	one = list_lru_lock(&z->list_lru, entries[0]->nid);
	for (unsigned int i = 0; i < nr; i++)
		__list_lru_add(one, &entries[i]->lru);
	list_lru_unlock(one);
}

/* Takes the lock once for each run of entries on one node. */
static void zswap_lru_del(struct zswap *z, struct zswap_entry **entries, unsigned int nr)
{
	for (unsigned int i = 0; i < nr;) {
		unsigned int nid = entries[i]->nid;
		struct list_lru_one *one = list_lru_lock(&z->list_lru, nid);

		for (; i < nr && entries[i]->nid == nid; i++)
			__list_lru_del(one, &entries[i]->lru);
		list_lru_unlock(one);
	}
}

/*
 * No zswap_lruvec_state_init() and zswap_folio_swapin() without a shrinker, no
 * zswap_memcg_offline_cleanup() without cgroups.
 */

/*********************************
* zswap entry functions
**********************************/

static bool zswap_entry_cache_alloc(struct zswap *z, struct zswap_entry **entries, unsigned int nr,
				    unsigned int nid)
{
	return kmem_cache_alloc_bulk(z->entry_cache, nid, nr, (void **)entries) == nr;
}

static void zswap_entry_cache_free(struct zswap *z, struct zswap_entry *entry)
{
	kmem_cache_free(z->entry_cache, entry, entry->nid);
}

/*
 * Carries out the common pattern of freeing entries' zsmalloc allocations,
 * freeing the entries themselves, and decrementing the number of stored pages.
 */
void zswap_entries_free(struct zswap *z, struct zswap_entry **entries, unsigned int nr)
{
	struct zswap_pool *pool = entries[0]->pool;
	unsigned int nids[ZSWAP_MAX_BATCH_SIZE] = { 0 }, nr_raw = 0;
	u64 bytes = 0;

	zswap_lru_del(z, entries, nr);
	for (unsigned int i = 0; i < nr; i++) {
		zpool_free(&pool->zpool, entries[i]->handle);
		bytes += entries[i]->length;
		nr_raw += stored_raw(z, entries[i]);
		nids[i] = entries[i]->nid;
	}
	kmem_cache_free_bulk(z->entry_cache, nids, nr, (void **)entries);
	atomic_fetch_sub_explicit(&z->zswap_bytes, bytes, memory_order_relaxed);
	if (nr_raw)
		atomic_fetch_sub_explicit(&z->stored_incompressible_pages, nr_raw,
					  memory_order_relaxed);
	atomic_fetch_sub_explicit(&z->stored_pages, nr, memory_order_relaxed);
	zswap_pool_put(pool, nr);
}

static void zswap_entry_free(struct zswap *z, struct zswap_entry *entry)
{
	zswap_entries_free(z, &entry, 1);
}

/*********************************
* compressed storage functions
**********************************/

/* Locks and returns a CPU's context; NULL if the CPU has none. */
static struct crypto_acomp_ctx *acomp_ctx_lock(struct zswap_pool *pool, unsigned int cpu)
{
	struct crypto_acomp_ctx *acomp_ctx = &pool->acomp_ctx[cpu];

	if (unlikely(!atomic_load_explicit(&acomp_ctx->ready, memory_order_acquire)))
		return NULL;
	pthread_mutex_lock(&acomp_ctx->mutex);
	if (likely(acomp_ctx->req))
		return acomp_ctx;
	pthread_mutex_unlock(&acomp_ctx->mutex);
	return NULL;
}

/*
 * Locks and returns the context of the next CPU that has one, if the
 * configuration says dead_frees: the kernel moves the task of a dead CPU there.
 * A CPU may get its context after the loop has passed it, while the others lose
 * theirs; then the loop starts again, as in the kernel.
 */
static noinline struct crypto_acomp_ctx *acomp_ctx_move_lock(struct zswap_pool *pool)
{
	struct zswap *z = pool->zswap;
	unsigned int cpu = raw_smp_processor_id(), nr_cpus = z->config.nr_cpus, nr_prepared;

	do {
		nr_prepared = atomic_load_explicit(&pool->nr_prepared, memory_order_acquire);
		for (unsigned int i = 0; i < nr_cpus && z->config.dead_frees; i++) {
			struct crypto_acomp_ctx *acomp_ctx =
				acomp_ctx_lock(pool, (cpu + i) % nr_cpus);

			if (acomp_ctx)
				return acomp_ctx;
		}
	} while (nr_prepared != atomic_load_explicit(&pool->nr_prepared, memory_order_acquire));
	atomic_fetch_add_explicit(&z->no_context, 1, memory_order_relaxed);
	return NULL;
}

/*
 * Linux 6.14 to 6.16 have this function before the series. Here it also finds
 * CPUs without a context.
 */
struct crypto_acomp_ctx *acomp_ctx_get_cpu_lock(struct zswap_pool *pool)
{
	struct crypto_acomp_ctx *acomp_ctx = acomp_ctx_lock(pool, raw_smp_processor_id());

	return likely(acomp_ctx) ? acomp_ctx : acomp_ctx_move_lock(pool);
}

/*
 * Compresses nr pages by one request. Returns 0, and each page's result in
 * errors[] and dlens[]; -EIO if the request itself is lost.
 */
static int compress_request(struct zswap_pool *pool, struct crypto_acomp_ctx *acomp_ctx,
			    const u8 **pages, u8 nr, int *errors, unsigned int *dlens)
{
	struct zswap *z = pool->zswap;
	struct acomp_req *req = acomp_ctx->req;
	struct swap_batch_comp_data batch = {
		.pages = pages,
		.dsts = acomp_ctx->buffers,
		.dlens = dlens,
		.errors = errors,
		.nr_comps = nr,
	};
	bool late;
	int ret;

	/*
	 * Room for one page, though up to Linux 6.18 the buffers have two: some
	 * compressors write past what they were given, and a result of a page
	 * or more is of no use.
	 */
	acomp_request_set_params(req, pages[0], acomp_ctx->buffers[0], z->page_size, z->page_size);
	if (nr == 1) {
		errors[0] = crypto_wait_req(crypto_acomp_compress(req), &acomp_ctx->wait);
		dlens[0] = req->dlen;
		return 0;
	}

	for (u8 i = 0; i < nr; i++)
		errors[i] = -EINVAL; /* stays if the algorithm fails without naming pages */
	req->kernel_data = &batch;
	ret = crypto_acomp_compress(req);
	late = ret == -EINPROGRESS || ret == -EBUSY;
	if (unlikely(late)) {
		if (first_time(z->batch_warned))
			pr_err(z,
			       "crypto acomp %s returned %d for a batch, which must be complete when the call returns",
			       pool->tfm_name, ret);
		crypto_wait_req(ret, &acomp_ctx->wait);
	}
	req->kernel_data = NULL; /* the next request may be one of a single page */
	return likely(!late) ? 0 : -EIO;
}

/*
 * Returns the bytes to store of a page: 'dst', where it was compressed, or the
 * page itself, with *dlen one page. Sets *error if the page must be rejected.
 */
static const u8 *compressed_or_raw(struct zswap *z, const u8 *page, const u8 *dst,
				   unsigned int *dlen, int *error)
{
	if (!z->config.check_dlen || (!*error && *dlen && *dlen < z->page_size))
		return dst;
	/*
	 * Linux 6.18: if a page cannot be compressed into a size smaller than
	 * PAGE_SIZE, save the content as is without a compression, to keep the
	 * LRU order, but only where writeback is allowed; else reject.
	 */
	if (!z->config.store_incompressible) {
		*error = *error ? *error : -EINVAL;
		return NULL;
	}
	*error = 0;
	*dlen = z->page_size;
	return page;
}

/* Counts a failed page and returns its reject. */
static enum zswap_reject count_compress_failure(struct zswap *z, int comp_ret, int alloc_ret)
{
	if (comp_ret == -ENOSPC || alloc_ret == -ENOSPC) {
		zswap_count(z, reject_compress_poor);
		return ZSWAP_REJECT_COMPRESS_POOR;
	}
	if (comp_ret) {
		zswap_count(z, reject_compress_fail);
		return ZSWAP_REJECT_COMPRESS_FAIL;
	}
	zswap_count(z, reject_alloc_fail);
	return ZSWAP_REJECT_ALLOC_FAIL;
}

/* Returns ZSWAP_STORED, or the reject, and the entry owns no object. */
static int store_bytes(struct zswap *z, struct zswap_pool *pool, struct zswap_entry *entry,
		       const u8 *bytes, unsigned int len)
{
	int alloc_ret = zpool_malloc(&pool->zpool, len, &entry->handle, entry->nid);

	if (unlikely(alloc_ret)) {
		entry->handle = (unsigned long)ERR_PTR(alloc_ret);
		return count_compress_failure(z, 0, alloc_ret);
	}
	zpool_obj_write(&pool->zpool, entry->handle, bytes, len);
	entry->length = len;
	return ZSWAP_STORED;
}

/*
 * Compresses nr_pages from 'pages' into their entries, under one hold of the
 * context's mutex. A compressor that does not batch gets page after page, each
 * written to the allocator before the next.
 *
 * Returns ZSWAP_STORED, another enum zswap_reject, or -ENODEV. After an error,
 * an entry owns an object if its handle is not an error value.
 */
static int zswap_compress(struct zswap *z, const u8 *pages, unsigned int nr_pages,
			  struct zswap_entry **entries, struct zswap_pool *pool)
{
	struct crypto_acomp_ctx *acomp_ctx;
	unsigned int nr_comps = min(nr_pages, max(pool->compr_batch_size, 1)),
		     dlens[ZSWAP_MAX_BATCH_SIZE];
	const u8 *srcs[ZSWAP_MAX_BATCH_SIZE], *bytes[ZSWAP_MAX_BATCH_SIZE];
	int errors[ZSWAP_MAX_BATCH_SIZE], ret = ZSWAP_STORED;

	/* The context has no buffers for more than compr_batch_size. */
	if (unlikely(pool->compr_batch_size > 1 && nr_pages > pool->compr_batch_size)) {
		if (first_time(z->batch_size_warned))
			pr_err(z, "batch of %u pages, but crypto acomp %s takes %u", nr_pages,
			       pool->tfm_name, pool->compr_batch_size);
		return count_compress_failure(z, -EINVAL, 0);
	}
	acomp_ctx = acomp_ctx_get_cpu_lock(pool);
	if (unlikely(!acomp_ctx))
		return -ENODEV;

	for (unsigned int start = 0; start < nr_pages && !ret; start += nr_comps) {
		u8 nr = min(nr_comps, nr_pages - start);
		int lost;

		for (u8 i = 0; i < nr; i++)
			srcs[i] = pages + (start + i) * z->page_size;
		lost = compress_request(pool, acomp_ctx, srcs, nr, errors, dlens);

		for (u8 i = 0; i < nr; i++) {
			int injected =
				fault_hit(&z->faults, FAULT_COMPRESS, raw_smp_processor_id());

			if (unlikely(injected))
				errors[i] = injected;
			if (likely(!lost))
				bytes[i] = compressed_or_raw(z, srcs[i], acomp_ctx->buffers[i],
							     &dlens[i], &errors[i]);
			if (unlikely(lost || errors[i]))
				ret = count_compress_failure(z, lost ? lost : errors[i], 0);
		}
		for (u8 i = 0; i < nr && !ret; i++)
			ret = store_bytes(z, pool, entries[start + i], bytes[i], dlens[i]);
	}

	acomp_ctx_put_unlock(acomp_ctx);
	return ret;
}

const u8 *object_source(struct zswap *z, struct crypto_acomp_ctx *acomp_ctx, u8 i, const u8 *obj,
			unsigned int length)
{
	u8 *buffer = acomp_ctx->buffers[i];

	/* Linux 7.0 and later: the compressor maps the object's pieces itself. */
	if (z->config.sg_reads)
		return obj;
	/*
	 * zpool_obj_read_begin() might return an address of highmem when the
	 * buffer is not used. A compressor does not handle highmem addresses,
	 * so copy the object to the buffer.
	 */
	if (likely(virt_addr_valid(z->host.arena, obj)))
		return obj;
	if (unlikely(obj == buffer) && first_time(z->highmem_warned))
		pr_err(z, "WARNING: obj == acomp_ctx->buffers[%u] in highmem", i);
	memmove(buffer, obj, length);
	acomp_ctx->highmem_copies++;
	return buffer;
}

int decompress_result(struct zswap *z, struct zswap_entry *entry, int decomp_ret, unsigned int dlen)
{
	int injected = fault_hit(&z->faults, FAULT_DECOMPRESS, raw_smp_processor_id());

	if (likely(!injected && !decomp_ret && dlen == z->page_size))
		return 0;
	zswap_count(z, decompress_fail);
	pr_alert(z, "Decompression error from zswap (%u:%llu %s %u->%u)", swp_type(entry->swpentry),
		 (unsigned long long)swp_offset(entry->swpentry), entry->pool->tfm_name,
		 entry->length, dlen);
	return -EIO;
}

int decompress_one(struct zswap *z, struct crypto_acomp_ctx *acomp_ctx, struct zswap_entry *entry,
		   u8 *folio)
{
	unsigned int dlen = z->page_size;
	int decomp_ret = 0;
	const u8 *obj = zpool_obj_read_begin(&entry->pool->zpool, entry->handle, entry->length,
					     acomp_ctx->buffers[0]);

	if (stored_raw(z, entry)) {
		memcpy(folio, obj, z->page_size);
	} else {
		const u8 *src = object_source(z, acomp_ctx, 0, obj, entry->length);

		acomp_request_set_params(acomp_ctx->req, src, folio, entry->length, z->page_size);
		decomp_ret =
			crypto_wait_req(crypto_acomp_decompress(acomp_ctx->req), &acomp_ctx->wait);
		dlen = acomp_ctx->req->dlen;
	}
	return decompress_result(z, entry, decomp_ret, dlen);
}

int zswap_decompress(struct zswap *z, struct zswap_entry *entry, u8 *folio)
{
	struct crypto_acomp_ctx *acomp_ctx = acomp_ctx_get_cpu_lock(entry->pool);
	int ret;

	if (unlikely(!acomp_ctx))
		return -ENODEV;
	ret = decompress_one(z, acomp_ctx, entry, folio);
	acomp_ctx_put_unlock(acomp_ctx);
	return ret;
}

/*
 * No writeback yet: zswap_writeback_entry(), shrink_memcg_cb(), shrink_memcg(),
 * shrink_worker(). No shrinker yet: zswap_shrinker_scan(),
 * zswap_shrinker_count(), zswap_alloc_shrinker().
 */

/*********************************
* main API
**********************************/

/* Frees entries[from..nr), which no slot holds, and their objects. */
static void free_entries(struct zswap *z, struct zswap_entry **entries, unsigned int from,
			 unsigned int nr)
{
	for (unsigned int i = from; i < nr; i++) {
		if (!IS_ERR_VALUE(entries[i]->handle))
			zpool_free(&entries[i]->pool->zpool, entries[i]->handle);
		zswap_entry_cache_free(z, entries[i]);
	}
}

/*
 * Stores nr pages of a folio, at most a pool's batch_size, whose slots are
 * locked. Returns ZSWAP_STORED, another enum zswap_reject, or -ENODEV.
 */
static int zswap_store_pages(struct zswap *z, struct swap_file *file, u64 swp, const u8 *pages,
			     unsigned int nr, struct zswap_pool *pool)
{
	struct zswap_entry *entries[ZSWAP_MAX_BATCH_SIZE];
	unsigned int nid = cpu_to_node(z, raw_smp_processor_id()), nr_raw = 0, nr_stored = 0;
	u64 bytes = 0;
	int ret = ZSWAP_STORED;

	if (unlikely(!zswap_entry_cache_alloc(z, entries, nr, nid))) {
		zswap_count(z, reject_kmemcache_fail);
		return ZSWAP_REJECT_KMEMCACHE_FAIL;
	}
	for (unsigned int i = 0; i < nr; i++) {
		*entries[i] = (struct zswap_entry){
			.swpentry = swp + i,
			.referenced = true,
			.nid = nid,
			.pool = pool,
			.handle = (unsigned long)ERR_PTR(-EINVAL),
		};
		INIT_LIST_HEAD(&entries[i]->lru);
	}

	ret = zswap_compress(z, pages, nr, entries, pool);
	if (unlikely(ret)) {
		free_entries(z, entries, 0, nr);
		return ret;
	}

	for (; nr_stored < nr; nr_stored++) {
		struct zswap_entry *entry = entries[nr_stored], *old;
		slot_t *slot = likely(file) ? swap_slot(file, swp_offset(swp) + nr_stored) : NULL;

		if (unlikely(!slot || fault_hit(&z->faults, FAULT_TREE, raw_smp_processor_id()))) {
			zswap_count(z, reject_alloc_fail);
			free_entries(z, entries, nr_stored, nr);
			ret = ZSWAP_REJECT_ALLOC_FAIL;
			break;
		}
		/*
		 * Under the slot's lock no thread can load or write back the
		 * old entry.
		 */
		old = slot_xchg(slot, entry);
		if (old)
			zswap_entry_free(z, old);
		bytes += entry->length;
		nr_raw += stored_raw(z, entry);
	}
	/* Added last: from here on a shrinker may see the entries. */
	zswap_lru_add(z, entries, nr_stored);

	/*
	 * One addition a batch. The entries' slots are locked, so no thread has
	 * freed one meanwhile.
	 */
	zswap_pool_get(pool, nr_stored);
	atomic_fetch_add_explicit(&z->stored_pages, nr_stored, memory_order_relaxed);
	atomic_fetch_add_explicit(&z->zswap_bytes, bytes, memory_order_relaxed);
	if (nr_raw)
		atomic_fetch_add_explicit(&z->stored_incompressible_pages, nr_raw,
					  memory_order_relaxed);
	return ret;
}

/*
 * Locks a folio's slots in ascending order, and allocates their trees, of which
 * there are two at most. Returns false, with no slot locked, if there is no
 * memory for a tree: another thread may allocate it at any time and lock its
 * slots.
 */
static bool lock_slots(struct zswap *z, struct swap_file *file, u64 offset, unsigned int nr)
{
	u64 last = offset + nr - 1;

	if (unlikely(!swap_slot_create(&z->index, file, offset)))
		return false;
	if (unlikely((offset ^ last) >> SWAP_ADDRESS_SPACE_SHIFT) &&
	    !swap_slot_create(&z->index, file, last))
		return false;
	for (unsigned int i = 0; i < nr; i++)
		slot_lock(swap_slot(file, offset + i));
	return true;
}

static void unlock_slots(struct swap_file *file, u64 offset, unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++)
		slot_unlock(swap_slot(file, offset + i));
}

/* Frees what a slot holds, under the slot's lock. */
static void erase_slot(struct zswap *z, slot_t *slot)
{
	struct zswap_entry *entry = slot_xchg(slot, NULL);

	if (entry)
		zswap_entry_free(z, entry);
}

/* Frees what a folio's slots hold, all of them locked. */
static void erase_slots(struct zswap *z, struct swap_file *file, u64 offset, unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++)
		erase_slot(z, swap_slot(file, offset + i));
}

/* Frees what the slots hold, under one lock at a time. Skips missing trees. */
static void drop_slots(struct zswap *z, struct swap_file *file, u64 offset, u64 nr)
{
	u64 end = offset + nr;

	while (offset < end) {
		slot_t *slot = swap_slot(file, offset);

		if (unlikely(!slot)) {
			offset = swap_next_slot(file, offset);
			continue;
		}
		slot_lock(slot);
		erase_slot(z, slot);
		slot_unlock(slot);
		offset++;
	}
}

/* Returns the current pool, with a reference; NULL, and the reject in *ret. */
static struct zswap_pool *pool_to_store_in(struct zswap *z, unsigned int nr_pages, int *ret)
{
	struct zswap_pool *pool;

	*ret = ZSWAP_REJECT_LARGE_FOLIO;
	if (nr_pages > 1 && z->config.small_folios_only)
		return NULL;
	*ret = ZSWAP_REJECT_DISABLED;
	if (!zswap_param(z, ZSWAP_ENABLED))
		return NULL;
	*ret = ZSWAP_POOL_LIMIT_HIT;
	if (zswap_check_limits(z))
		return NULL;
	*ret = ZSWAP_REJECT_NO_POOL;
	pool = zswap_pool_current_get(z);
	return pool;
}

/*
 * Stores a folio batch by batch. Its slots are locked. 'file' is NULL if there
 * is no memory for one of their trees: the store then fails at the first page.
 */
static int store_folio(struct zswap *z, struct swap_file *file, u64 swp, const u8 *folio,
		       unsigned int nr_pages, struct zswap_pool *pool)
{
	int ret = ZSWAP_STORED;

	for (unsigned int start = 0; start < nr_pages && !ret; start += pool->batch_size)
		ret = zswap_store_pages(z, file, swp + start, folio + start * z->page_size,
					min(pool->batch_size, nr_pages - start), pool);
	return ret;
}

int zswap_store(struct zswap *z, unsigned int cpu, u64 swp, const void *folio,
		unsigned int nr_pages)
{
	struct swap_file *file = NULL;
	struct zswap_pool *pool;
	struct zswap_call call;
	bool locked = false;
	int ret;

	if (!nr_pages || nr_pages > ZSWAP_MAX_FOLIO)
		return -EINVAL;
	ret = zswap_enter(z, cpu, &call);
	if (unlikely(ret))
		return ret;
	file = swap_file_of(&z->index, swp, nr_pages);
	if (unlikely(!file)) {
		ret = -EBADSLT;
		goto exit;
	}

	pool = pool_to_store_in(z, nr_pages, &ret);
	if (unlikely(!pool))
		goto check_old;
	locked = lock_slots(z, file, swp_offset(swp), nr_pages);
	ret = store_folio(z, locked ? file : NULL, swp, folio, nr_pages, pool);
	zswap_pool_put(pool, 1);
	if (likely(!ret))
		atomic_fetch_add_explicit(&z->zswpout, nr_pages, memory_order_relaxed);
check_old:
	/*
	 * If the store failed in the middle, or zswap is disabled, or full, no
	 * slot may keep anything: a stale entry would be written back over
	 * newer data.
	 */
	if (unlikely(ret && locked))
		erase_slots(z, file, swp_offset(swp), nr_pages);
	if (likely(locked))
		unlock_slots(file, swp_offset(swp), nr_pages);
	else
		drop_slots(z, file, swp_offset(swp), nr_pages);
exit:
	zswap_exit(z, &call);
	return ret;
}

/* Returns the slot of a page, not locked; NULL, and the error in *ret. */
static slot_t *slot_to_read(struct zswap *z, u64 swp, int *ret)
{
	struct swap_file *file = swap_file_of(&z->index, swp, 1);
	slot_t *slot;

	*ret = file ? -ENOENT : -EBADSLT;
	if (unlikely(!file || zswap_never_enabled(z)))
		return NULL;
	slot = swap_slot(file, swp_offset(swp));
	return slot;
}

int zswap_load(struct zswap *z, unsigned int cpu, u64 swp, void *folio, unsigned int nr_pages,
	       bool swapcache)
{
	struct zswap_entry *entry;
	struct zswap_call call;
	slot_t *slot;
	int ret = zswap_enter(z, cpu, &call);

	if (unlikely(ret))
		return ret;
	slot = slot_to_read(z, swp, &ret);
	/*
	 * Large folios should not be swapped in while zswap is being used, as
	 * they are not properly handled: zswap may hold a part of them.
	 */
	if (unlikely(nr_pages != 1 && ret == -ENOENT && !zswap_never_enabled(z))) {
		ret = -EINVAL;
		goto exit;
	}
	if (!slot)
		goto exit;

	entry = slot_lock(slot);
	if (entry) {
		ret = zswap_decompress(z, entry, folio);
		if (likely(!ret)) {
			atomic_fetch_add_explicit(&z->zswpin, 1, memory_order_relaxed);
			if (swapcache) {
				slot_xchg(slot, NULL);
				zswap_entry_free(z, entry);
			}
		}
	}
	slot_unlock(slot);
exit:
	zswap_exit(z, &call);
	return ret;
}

int zswap_invalidate(struct zswap *z, unsigned int cpu, u64 swp, u64 nr)
{
	struct swap_file *file;
	struct zswap_call call;
	int ret = zswap_enter(z, cpu, &call);

	if (unlikely(ret))
		return ret;
	file = swap_file_of(&z->index, swp, nr);
	if (likely(file))
		drop_slots(z, file, swp_offset(swp), nr);
	else
		ret = -EBADSLT;
	zswap_exit(z, &call);
	return ret;
}

int zswap_swapon(struct zswap *z, u64 nr_pages)
{
	struct zswap_call call;
	int ret = zswap_enter(z, 0, &call);

	if (unlikely(ret))
		return ret;
	ret = swap_index_add(&z->index, nr_pages);
	if (ret == -ENOMEM)
		pr_err(z, "alloc failed, zswap disabled for swap type");
	zswap_exit(z, &call);
	return ret;
}

int zswap_swapoff(struct zswap *z, unsigned int type)
{
	struct swap_file *file;
	struct zswap_call call;
	int ret;

	if (type >= MAX_SWAPFILES)
		return -EBADSLT;
	ret = zswap_enter(z, 0, &call);
	if (unlikely(ret))
		return ret;
	file = swap_index_kill(&z->index, type);
	zswap_exit(z, &call);
	if (!file)
		return -EBADSLT;

	/* Calls that found the file may still use its slots. */
	synchronize_srcu(&z->srcu);
	ret = zswap_enter(z, 0, &call);
	if (unlikely(ret))
		return ret;
	drop_slots(z, file, 0, file->nr_pages);
	swap_index_free(&z->index, type);
	zswap_exit(z, &call);
	return 0;
}

/*********************************
* debugfs functions
**********************************/

/*
 * No debugfs_get_total_size(), debugfs_get_stored_pages() and
 * zswap_debugfs_init(): zswap_stats() gives all counters at once
 * (zswap_debug.c).
 */

/*********************************
* module init and exit
**********************************/

int zswap_setup(struct zswap *z)
{
	const struct zswap_config *config = &z->config;
	struct zs_host *host = &z->host;

	z->life = vzalloc_wiped_by_fork(sizeof(*z->life));
	if (!z->life)
		return -ENOMEM;
	atomic_store(z->life, ALIVE);
	if (srcu_init(&z->srcu, config->nr_cpus) ||
	    kmem_init(&z->mm, &z->faults, config->nr_cpus, config->nr_nodes) ||
	    list_lru_init(&z->list_lru, &z->mm))
		return -ENOMEM;
	z->index.mm = &z->mm;
	host->mm = &z->mm;
	host->page_shift = config->page_shift;
	host->chain_size = config->chain_size;
	host->sg_reads = config->sg_reads;
	if (zs_host_init(host, config->totalram_pages, config->highmem))
		return -ENOMEM;
	z->entry_cache = kmem_cache_create(&z->mm, FAULT_ENTRY, sizeof(struct zswap_entry));
	return z->entry_cache ? 0 : -ENOMEM;
}

/* zswap_init() is zswap_create(), of an instance (zswap_instance.c). */
