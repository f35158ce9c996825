// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * zswap.c - the mirror of mm/zswap.c
 *
 * zswap takes pages that are in the process of being swapped out and attempts
 * to compress them into a dynamically allocated RAM-based memory pool.
 * Functions, labels and banners are those of the kernel with the series "zswap
 * compression batching" (v10) applied, in its order; the bodies are ours. What
 * is Python's (which pool is made when, CPU hotplug, parameters' syntax) is not
 * here.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "crypto/acomp.h"
#include "mm/list_lru.h"
#include "lib/printk.h"
#include "lib/srcu.h"
#include "mm/swap_table.h"
#include "lib/vmalloc.h"
#include "mm/zsmalloc.h"
#include "zswap.h"

/*********************************
* statistics
**********************************/

/* Counters, in the order of struct zswap_stats. */
enum zswap_stat {
	pool_limit_hit,
	reject_reclaim_fail,
	reject_alloc_fail,
	reject_kmemcache_fail,
	reject_compress_fail,
	reject_compress_poor,
	decompress_fail,
	written_back_pages,
	NR_ZSWAP_STATS,
};

/*********************************
* tunables
**********************************/

/*
 * Their values are in struct zswap, by enum zswap_param; their syntax is
 * Python's.
 */

/*********************************
* data structures
**********************************/

struct crypto_acomp_ctx {
	struct crypto_acomp *acomp;
	struct acomp_req *req;
	struct crypto_wait wait;
	u8 **buffers; /* pool->compr_batch_size of two pages each */
	/*
	 * everything here, but for prepare, which nobody else sees; after the
	 * slots
	 */
	pthread_mutex_t mutex;
	bool is_sleepable;
	_Atomic bool ready; /* the mutex is there */
	u64 highmem_copies;
} ____cacheline_aligned;

/*
 * A reference is held for being current, for each entry, and by each store that
 * uses the pool. 'list' and 'empty' are the pools lock's.
 */
struct zswap_pool {
	struct zpool zpool;
	struct crypto_acomp_ctx *acomp_ctx; /* by CPU */
	atomic_uint nr_prepared;            /* contexts made so far, where CPUs also lose theirs */
	_Atomic int64_t refs;
	struct zswap *zswap;
	const struct acomp_alg *alg;
	struct list_head list;
	struct list_head empty;
	u8 compr_batch_size;
	u8 batch_size;
	char tfm_name[CRYPTO_MAX_ALG_NAME]; /* as the user asked for it */
};

/*
 * swpentry, pool, handle, length: written before the entry is in the tree, then
 * read only. length - compressed bytes; page_size where the page is stored raw.
 * referenced - second chance, set at store; the LRU lock's. handle - the
 * allocator's; an error value until there is one. objcg - who pays; NULL:
 * nobody. lru - the LRU lock's; empty where the entry is on no list. The entry
 * itself belongs to its slot: whoever holds the slot's lock may free it.
 */
struct zswap_entry {
	u64 swpentry;
	u32 length;
	bool referenced;
	u8 nid;
	struct zswap_pool *pool;
	unsigned long handle;
	void *objcg;
	struct list_head lru;
};

_Static_assert(sizeof(struct zswap_entry) <= 56,
	       "an entry and its handle's cell are at most 64 bytes");
_Static_assert(_Alignof(struct zswap_entry) > SLOT_LOCKED,
	       "a slot keeps its lock in an entry's lowest bit");

#define ALIVE 1

struct zswap {
	struct zswap_config config;
	size_t page_size;
	pid_t pid; /* whose process this is */
	struct faults faults;
	struct kmem mm;
	struct zs_host host; /* arena, and the caches of handles and zspages */
	struct kmem_cache *entry_cache;
	struct swap_index index;
	struct list_lru list_lru; /* shared by all pools */
	struct srcu srcu;         /* all calls are readers */
	struct printk_log log;

	_Atomic u32 param[ZSWAP_ACCEPT_THRESHOLD_PERCENT + 1];
	_Atomic int *life; /* ALIVE, or the error of every call; fork() zeroes it */
	_Atomic bool pool_reached_full;
	_Atomic bool has_pool; /* false: zswap was never enabled */
	_Atomic bool highmem_warned, batch_warned, batch_size_warned;

	spinlock_t pools_lock;        /* zswap_pools, empty_pools; nothing is taken inside it */
	struct list_head zswap_pools; /* started ones: the first is the latest */
	_Atomic(struct zswap_pool *) current_pool;
	struct list_head empty_pools;  /* killed, and without a reference */
	pthread_mutex_t release_mutex; /* for release_cond; before the pools lock */
	pthread_cond_t release_cond;

	_Atomic u64 stat[NR_ZSWAP_STATS] ____cacheline_aligned;
	_Atomic u64 no_context;
	_Atomic u64 zswpin ____cacheline_aligned, zswpout;
	_Atomic u64 stored_pages, stored_incompressible_pages, zswap_bytes;
};

/*********************************
* helpers and fwd declarations
**********************************/

static bool zswap_never_enabled(struct zswap *z)
{
	return !atomic_load_explicit(&z->has_pool, memory_order_relaxed);
}

static void count(struct zswap *z, enum zswap_stat stat)
{
	atomic_fetch_add_explicit(&z->stat[stat], 1, memory_order_relaxed);
}

/* ---- a call into the library ---- */

/* 0, or the error that a call gives at once. */
static int dead(const struct zswap *z)
{
	int life = atomic_load(z->life);

	return likely(life == ALIVE) ? 0 : life ? life : -ECHILD;
}

struct zswap_call {
	struct task task;
	unsigned int srcu_idx;
};

bool zswap_inside(const struct zswap *z)
{
	for (struct task *task = current_task; unlikely(task != NULL); task = task->outer)
		if (task->owner == z)
			return true;
	return false;
}

/* 0, or the error that the call gives at once. */
static int zswap_enter(struct zswap *z, unsigned int cpu, struct zswap_call *call)
{
	int err;

	if (unlikely(cpu >= z->config.nr_cpus))
		return -EINVAL;
	if (unlikely(zswap_inside(z)))
		return -EDEADLK;
	call->srcu_idx = srcu_read_lock(&z->srcu, cpu);
	err = dead(z);
	if (unlikely(err)) {
		srcu_read_unlock(&z->srcu, cpu, call->srcu_idx);
		return err;
	}
	call->task = (struct task){ .cpu = cpu, .owner = z, .outer = current_task };
	current_task = &call->task;
	return 0;
}

static void zswap_exit(struct zswap *z, struct zswap_call *call)
{
	unsigned int cpu = call->task.cpu;

	current_task = call->task.outer;
	srcu_read_unlock(&z->srcu, cpu, call->srcu_idx);
}

static unsigned int cpu_to_node(const struct zswap *z, unsigned int cpu)
{
	return (u64)cpu * z->config.nr_nodes / z->config.nr_cpus;
}

/* ---- messages ---- */

#define pr_err(z, ...)   printk(&(z)->log, LOG_ERR, __VA_ARGS__)
#define pr_alert(z, ...) printk(&(z)->log, LOG_ALERT, __VA_ARGS__)

/*********************************
* pool functions
**********************************/

/*
 * One cleanup for a context in any state, also a half-made one. Each pointer is
 * cleared with what it stood for: v10 left them, so that a prepare that failed
 * was freed twice, and the next one found its acomp "there".
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
 * The context's mutex and wait live from the first prepare (before the series:
 * from the pool's creation) to the pool's end.
 */
static void acomp_ctx_init_locks(struct crypto_acomp_ctx *acomp_ctx)
{
	if (atomic_load_explicit(&acomp_ctx->ready, memory_order_relaxed))
		return;
	crypto_init_wait(&acomp_ctx->wait);
	pthread_mutex_init(&acomp_ctx->mutex, NULL);
	atomic_store_explicit(&acomp_ctx->ready, true, memory_order_release);
}

static void acomp_ctx_destroy_locks(struct crypto_acomp_ctx *acomp_ctx)
{
	if (!atomic_load_explicit(&acomp_ctx->ready, memory_order_relaxed))
		return;
	pthread_mutex_destroy(&acomp_ctx->mutex);
	crypto_destroy_wait(&acomp_ctx->wait);
}

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
	acomp_ctx->is_sleepable = acomp_is_async(acomp_ctx->acomp);

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
		acomp_ctx->buffers[i] = kzalloc_node(&z->mm, FAULT_BUFFER, z->page_size * 2, nid);
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
	/*
	 * once: where a dead CPU's context is made anew, others read it
	 * meanwhile
	 */
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
	/*
	 * on the CPU that is prepared, whichever runs this: a fault asks which
	 */
	int ret = zswap_enter(z, cpu, &call);

	if (ret)
		return ret;
	acomp_ctx = &pool->acomp_ctx[cpu];
	/*
	 * The context is zero-initialised, so an acomp says that all of it is
	 * there.
	 */
	if (!IS_ERR_OR_NULL(acomp_ctx->acomp))
		goto exit;

	if (!z->config.dead_frees) {
		ret = zswap_cpu_comp_alloc(pool, cpu, acomp_ctx);
		if (!ret)
			acomp_ctx_init_locks(acomp_ctx);
	} else {
		/*
		 * Allocated outside the mutex, which a store that reclaim
		 * starts may want; published under it.
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
		acomp_ctx->is_sleepable = new.is_sleepable;
		atomic_fetch_add_explicit(&pool->nr_prepared, 1, memory_order_release);
		pthread_mutex_unlock(&acomp_ctx->mutex);
	}
exit:
	zswap_exit(z, &call);
	return ret;
}

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
	 * Freed outside the mutex: what frees an acomp may wait for somebody
	 * who wants it.
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

void zswap_pool_destroy(struct zswap_pool *pool)
{
	struct zswap *z;

	if (!pool)
		return;
	z = pool->zswap;
	if (pool->acomp_ctx) {
		for (unsigned int cpu = 0; cpu < z->config.nr_cpus; cpu++) {
			acomp_ctx_dealloc(z, &pool->acomp_ctx[cpu], pool->compr_batch_size);
			acomp_ctx_destroy_locks(&pool->acomp_ctx[cpu]);
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

void zswap_pool_start(struct zswap_pool *pool)
{
	struct zswap *z = pool->zswap;

	/*
	 * The unit of compress batching for large folios: a sequential
	 * compressor takes them in steps of a few pages (v10:
	 * ZSWAP_MAX_BATCH_SIZE/4), each page in turn, for the cache's sake.
	 */
	pool->batch_size = pool->compr_batch_size > 1 ? pool->compr_batch_size :
							z->config.sequential_batch;
	atomic_store(&pool->refs, 1);
	spin_lock(&z->pools_lock);
	list_add(&pool->list, &z->zswap_pools);
	spin_unlock(&z->pools_lock);
}

/*
 * The pool's release waits until every call that may still see it has left:
 * then the owner destroys it.
 */
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

static bool zswap_pool_tryget(struct zswap_pool *pool)
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

/* The caller already has a reference. */
static void zswap_pool_get(struct zswap_pool *pool, unsigned int nr)
{
	atomic_fetch_add_explicit(&pool->refs, nr, memory_order_relaxed);
}

static void zswap_pool_put(struct zswap_pool *pool, unsigned int nr)
{
	if (unlikely(atomic_fetch_sub_explicit(&pool->refs, nr, memory_order_acq_rel) == nr))
		__zswap_pool_empty(pool);
}

static struct zswap_pool *zswap_pool_current_get(struct zswap *z)
{
	struct zswap_pool *pool;

	/*
	 * Inside a call, so the pool stays where it is; another may become
	 * current, and this one die, meanwhile.
	 */
	do {
		pool = atomic_load(&z->current_pool);
	} while (pool && !zswap_pool_tryget(pool));
	return pool;
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

	/* in a forked child a thread of the parent may hold the mutex */
	if (zswap_inside(z) || dead(z) == -ECHILD)
		return NULL;
	pthread_mutex_lock(&z->release_mutex);
	while (list_empty(&z->empty_pools) && !dead(z))
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

static u64 zswap_max_pages(struct zswap *z)
{
	return z->config.totalram_pages * zswap_get_param(z, ZSWAP_MAX_POOL_PERCENT) / 100;
}

static u64 zswap_accept_thr_pages(struct zswap *z)
{
	return zswap_max_pages(z) * zswap_get_param(z, ZSWAP_ACCEPT_THRESHOLD_PERCENT) / 100;
}

/* All pools' pages come from one arena, those of decommissioned pools too. */
static u64 zswap_total_pages(struct zswap *z)
{
	return arena_pages(z->host.arena);
}

static bool zswap_check_limits(struct zswap *z)
{
	u64 cur_pages = zswap_total_pages(z);

	if (cur_pages >= zswap_max_pages(z)) {
		count(z, pool_limit_hit);
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

void zswap_set_param(struct zswap *z, enum zswap_param param, u32 value)
{
	atomic_store_explicit(&z->param[param], value, memory_order_relaxed);
}

u32 zswap_get_param(struct zswap *z, enum zswap_param param)
{
	return atomic_load_explicit(&z->param[param], memory_order_relaxed);
}

/*********************************
* lru functions
**********************************/

/*
 * Entries of one batch: one hold of the list's lock for as many as are on one
 * node.
 */
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
 * Before Linux 6.18 nothing was, and a length of one page is a compressed one.
 */
static bool stored_raw(const struct zswap *z, const struct zswap_entry *entry)
{
	return z->config.check_dlen && entry->length == z->page_size;
}

/*
 * Carries out the common pattern of freeing entries' zsmalloc allocations,
 * freeing the entries themselves, and decrementing the number of stored pages.
 * No slot holds them any more; all are of one pool, at most a batch.
 */
static void zswap_entries_free(struct zswap *z, struct zswap_entry **entries, unsigned int nr)
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

/* A CPU's context, locked; NULL if it has none. */
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
 * Where a dead CPU's context is freed, the task goes on at the next CPU that
 * has one, as the kernel's task would be moved there. A CPU may get its context
 * after the task looked at it, while the others lose theirs: then the task
 * looks again, as in the kernel.
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

/* This CPU's context, locked; NULL if there is none to be had. */
static struct crypto_acomp_ctx *acomp_ctx_get_cpu_lock(struct zswap_pool *pool)
{
	struct crypto_acomp_ctx *acomp_ctx = acomp_ctx_lock(pool, raw_smp_processor_id());

	return likely(acomp_ctx) ? acomp_ctx : acomp_ctx_move_lock(pool);
}

static void acomp_ctx_put_unlock(struct crypto_acomp_ctx *acomp_ctx)
{
	pthread_mutex_unlock(&acomp_ctx->mutex);
}

/*
 * One request for nr pages; each page's result in errors[] and dlens[].
 * Non-zero if the request itself is lost.
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
	int ret;

	/*
	 * Room for a page, though the buffers have two: some compressors
	 * overran what they were given, and one that cannot make the page
	 * smaller is of no use.
	 */
	acomp_request_set_params(req, pages[0], acomp_ctx->buffers[0], z->page_size, z->page_size);
	if (nr == 1) {
		errors[0] = crypto_wait_req(crypto_acomp_compress(req), &acomp_ctx->wait);
		dlens[0] = req->dlen;
		return 0;
	}

	for (u8 i = 0; i < nr; i++)
		errors[i] = -EINVAL; /* for an algorithm that fails without saying where */
	req->kernel_data = &batch;
	ret = crypto_acomp_compress(req);
	if (unlikely(ret == -EINPROGRESS || ret == -EBUSY)) {
		if (first_time(z->batch_warned))
			pr_err(z,
			       "crypto acomp %s answered %d for a batch, which must be done when the call returns",
			       pool->tfm_name, ret);
		crypto_wait_req(ret, &acomp_ctx->wait);
		req->kernel_data = NULL;
		return -EIO;
	}
	req->kernel_data = NULL; /* a later request of one page is no batch */
	return 0;
}

/*
 * Where one page's bytes are, and how many, once it was compressed or must be
 * kept raw; *error if it must be refused.
 */
static const u8 *choose_bytes(struct zswap *z, const u8 *page, const u8 *dst, unsigned int *dlen,
			      int *error)
{
	if (!z->config.check_dlen || (!*error && *dlen && *dlen < z->page_size))
		return dst;
	/*
	 * If a page cannot be compressed into a size smaller than PAGE_SIZE,
	 * save the content as is without a compression, to keep the LRU order;
	 * only where writeback is allowed, else reject.
	 */
	if (!z->config.store_incompressible) {
		*error = *error ? *error : -EINVAL;
		return NULL;
	}
	*error = 0;
	*dlen = z->page_size;
	return page;
}

static enum zswap_reject count_compress_failure(struct zswap *z, int comp_ret, int alloc_ret)
{
	if (comp_ret == -ENOSPC || alloc_ret == -ENOSPC) {
		count(z, reject_compress_poor);
		return ZSWAP_REJECT_COMPRESS_POOR;
	}
	if (comp_ret) {
		count(z, reject_compress_fail);
		return ZSWAP_REJECT_COMPRESS_FAIL;
	}
	count(z, reject_alloc_fail);
	return ZSWAP_REJECT_ALLOC_FAIL;
}

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
 * put into the allocator before the next. ZSWAP_STORED, an enum zswap_reject,
 * or -ENODEV; entries whose handle is no error value own what it names.
 */
static int zswap_compress(struct zswap *z, const u8 *pages, unsigned int nr_pages,
			  struct zswap_entry **entries, struct zswap_pool *pool)
{
	struct crypto_acomp_ctx *acomp_ctx;
	unsigned int nr_comps = min(nr_pages, max(pool->compr_batch_size, 1)),
		     dlens[ZSWAP_MAX_BATCH_SIZE];
	const u8 *srcs[ZSWAP_MAX_BATCH_SIZE], *bytes[ZSWAP_MAX_BATCH_SIZE];
	int errors[ZSWAP_MAX_BATCH_SIZE], ret = ZSWAP_STORED;

	/*
	 * batch_size is compr_batch_size for a compressor that batches: what is
	 * more has no buffers
	 */
	if (unlikely(pool->compr_batch_size > 1 && nr_pages > pool->compr_batch_size)) {
		if (first_time(z->batch_size_warned))
			pr_err(z, "batch of %u pages, crypto acomp %s takes %u", nr_pages,
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
				bytes[i] = choose_bytes(z, srcs[i], acomp_ctx->buffers[i],
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

/*
 * An object's bytes where the compressor can address them, for slot 'i' of a
 * request.
 */
static const u8 *object_source(struct zswap *z, struct crypto_acomp_ctx *acomp_ctx, u8 i,
			       const u8 *obj, unsigned int length)
{
	u8 *buffer = acomp_ctx->buffers[i];

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

static int decompress_result(struct zswap *z, struct zswap_entry *entry, int decomp_ret,
			     unsigned int dlen)
{
	int injected = fault_hit(&z->faults, FAULT_DECOMPRESS, raw_smp_processor_id());

	if (likely(!injected && !decomp_ret && dlen == z->page_size))
		return 0;
	count(z, decompress_fail);
	pr_alert(z, "Decompression error from zswap (%u:%llu %s %u->%u)", swp_type(entry->swpentry),
		 (unsigned long long)swp_offset(entry->swpentry), entry->pool->tfm_name,
		 entry->length, dlen);
	return -EIO;
}

static int decompress_one(struct zswap *z, struct crypto_acomp_ctx *acomp_ctx,
			  struct zswap_entry *entry, u8 *folio)
{
	struct zpool *zpool = &entry->pool->zpool;
	unsigned int dlen = z->page_size;
	int decomp_ret = 0;
	u8 *obj = zpool_obj_read_begin(zpool, entry->handle, acomp_ctx->buffers[0]);

	if (stored_raw(z, entry)) {
		memcpy(folio, obj, z->page_size);
	} else {
		const u8 *src = object_source(z, acomp_ctx, 0, obj, entry->length);

		acomp_request_set_params(acomp_ctx->req, src, folio, entry->length, z->page_size);
		decomp_ret =
			crypto_wait_req(crypto_acomp_decompress(acomp_ctx->req), &acomp_ctx->wait);
		dlen = acomp_ctx->req->dlen;
	}
	zpool_obj_read_end(zpool, entry->handle, obj);
	return decompress_result(z, entry, decomp_ret, dlen);
}

/* 0, -EIO or -ENODEV. */
static int zswap_decompress(struct zswap *z, struct zswap_entry *entry, u8 *folio)
{
	struct crypto_acomp_ctx *acomp_ctx = acomp_ctx_get_cpu_lock(entry->pool);
	int ret;

	if (unlikely(!acomp_ctx))
		return -ENODEV;
	ret = decompress_one(z, acomp_ctx, entry, folio);
	acomp_ctx_put_unlock(acomp_ctx);
	return ret;
}

/* One request for nr objects, none of them raw. */
static void decompress_request(struct zswap *z, struct crypto_acomp_ctx *acomp_ctx,
			       struct zswap_entry **entries, u8 **pages, u8 nr, int *ret)
{
	struct zpool *zpool = &entries[0]->pool->zpool;
	unsigned int slens[ZSWAP_MAX_BATCH_SIZE], dlens[ZSWAP_MAX_BATCH_SIZE] = { 0 };
	const u8 *srcs[ZSWAP_MAX_BATCH_SIZE];
	u8 *objs[ZSWAP_MAX_BATCH_SIZE];
	int errors[ZSWAP_MAX_BATCH_SIZE];
	struct swap_batch_decomp_data batch = {
		.srcs = srcs,
		.pages = pages,
		.slens = slens,
		.dlens = dlens,
		.errors = errors,
		.nr_decomps = nr,
	};
	struct acomp_req *req = acomp_ctx->req;
	int err;

	for (u8 i = 0; i < nr; i++) {
		objs[i] = zpool_obj_read_begin(zpool, entries[i]->handle, acomp_ctx->buffers[i]);
		slens[i] = entries[i]->length;
		srcs[i] = object_source(z, acomp_ctx, i, objs[i], slens[i]);
		errors[i] = -EINVAL;
	}
	acomp_request_set_params(req, srcs[0], pages[0], slens[0], z->page_size);
	req->kernel_data = &batch;
	err = crypto_acomp_decompress(req);
	if (unlikely(err == -EINPROGRESS || err == -EBUSY)) {
		crypto_wait_req(err, &acomp_ctx->wait);
		for (u8 i = 0; i < nr; i++)
			errors[i] = -EIO;
	}
	req->kernel_data = NULL;
	for (u8 i = 0; i < nr; i++) {
		zpool_obj_read_end(zpool, entries[i]->handle, objs[i]);
		ret[i] = decompress_result(z, entries[i], errors[i], dlens[i]);
	}
}

/*
 * Like zswap_decompress(), for entries of one pool under one hold of the mutex.
 */
static void zswap_decompress_batch(struct zswap *z, struct zswap_entry **entries, u8 **pages, u8 nr,
				   int *ret)
{
	struct zswap_pool *pool = entries[0]->pool;
	struct crypto_acomp_ctx *acomp_ctx = acomp_ctx_get_cpu_lock(pool);

	if (unlikely(!acomp_ctx)) {
		for (u8 i = 0; i < nr; i++)
			ret[i] = -ENODEV;
		return;
	}
	/*
	 * Each object is a chain of cache misses, entry to cell to zspage to
	 * object: here they overlap.
	 */
	for (u8 i = 0; i < nr; i++)
		zpool_obj_prefetch(&pool->zpool, entries[i]->handle, i ? 64 : entries[i]->length);
	for (u8 i = 0; i < nr;) {
		u8 run = 0;

		if (i + 1 < nr)
			zpool_obj_prefetch(&pool->zpool, entries[i + 1]->handle,
					   entries[i + 1]->length);
		while (i + run < nr && run < pool->compr_batch_size &&
		       !stored_raw(z, entries[i + run]))
			run++;
		if (run > 1) {
			decompress_request(z, acomp_ctx, entries + i, pages + i, run, ret + i);
			i += run;
		} else {
			ret[i] = decompress_one(z, acomp_ctx, entries[i], pages[i]);
			i++;
		}
	}
	acomp_ctx_put_unlock(acomp_ctx);
}

/*********************************
* main API
**********************************/

/* The batch's entries from index 'from' on, which no slot holds. */
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
 * locked. ZSWAP_STORED, an enum zswap_reject, or -ENODEV.
 */
static int zswap_store_pages(struct zswap *z, struct swap_file *file, u64 swp, const u8 *pages,
			     unsigned int nr, struct zswap_pool *pool)
{
	struct zswap_entry *entries[ZSWAP_MAX_BATCH_SIZE];
	unsigned int nid = cpu_to_node(z, raw_smp_processor_id()), nr_raw = 0, nr_stored = 0;
	u64 bytes = 0;
	int ret = ZSWAP_STORED;

	if (unlikely(!zswap_entry_cache_alloc(z, entries, nr, nid))) {
		count(z, reject_kmemcache_fail);
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
			count(z, reject_alloc_fail);
			free_entries(z, entries, nr_stored, nr);
			ret = ZSWAP_REJECT_ALLOC_FAIL;
			break;
		}
		/*
		 * The slot's lock is held, so what was there can neither be
		 * loaded nor written back any more.
		 */
		old = slot_xchg(slot, entry);
		if (old)
			zswap_entry_free(z, old);
		bytes += entry->length;
		nr_raw += stored_raw(z, entry);
	}
	/* On the list last: from here on a shrinker may see them. */
	zswap_lru_add(z, entries, nr_stored);

	/*
	 * One addition a batch. The entries' slots are locked, so nobody has
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
 * Locks a folio's slots in ascending order. False, and none is locked, if there
 * is no memory for one of their trees, two at most: another thread may make it,
 * and lock its slots, at any time.
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

/* Frees what a slot holds whose lock the caller holds. */
static void erase_slot(struct zswap *z, slot_t *slot)
{
	struct zswap_entry *entry = slot_xchg(slot, NULL);

	if (entry)
		zswap_entry_free(z, entry);
}

/* The same of a folio's slots, all of them locked. */
static void erase_slots(struct zswap *z, struct swap_file *file, u64 offset, unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++)
		erase_slot(z, swap_slot(file, offset + i));
}

/*
 * Frees what the slots hold, under one lock at a time. Passes over missing
 * trees.
 */
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

/* The pool that a store goes to, with a reference; NULL, and why in *ret. */
static struct zswap_pool *pool_to_store_in(struct zswap *z, int *ret)
{
	struct zswap_pool *pool;

	*ret = ZSWAP_REJECT_DISABLED;
	if (!zswap_get_param(z, ZSWAP_ENABLED))
		return NULL;
	*ret = ZSWAP_POOL_LIMIT_HIT;
	if (zswap_check_limits(z))
		return NULL;
	*ret = ZSWAP_REJECT_NO_POOL;
	pool = zswap_pool_current_get(z);
	return pool;
}

/*
 * The slots are locked. 'file' is NULL where one of their trees cannot be had.
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

	pool = pool_to_store_in(z, &ret);
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

/*
 * Finds the slot of a page to be read. NULL and *ret: there is nothing to read.
 */
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
	 * Large folios are not swapped in: nobody knows which part of them
	 * zswap has.
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

int zswap_peek(struct zswap *z, unsigned int cpu, u64 swp, void *page)
{
	struct zswap_entry *entry;
	struct zswap_call call;
	slot_t *slot;
	int ret = zswap_enter(z, cpu, &call);

	if (unlikely(ret))
		return ret;
	slot = slot_to_read(z, swp, &ret);
	if (slot) {
		entry = slot_lock(slot);
		if (entry)
			ret = zswap_decompress(z, entry, page);
		slot_unlock(slot);
	}
	zswap_exit(z, &call);
	return ret;
}

/*
 * What one turn of zswap_load_batch() holds: slots that are locked, with the
 * entries that they hold.
 */
struct load_turn {
	slot_t *slots[ZSWAP_MAX_BATCH_SIZE];
	struct zswap_entry *entries[ZSWAP_MAX_BATCH_SIZE];
	u8 *pages[ZSWAP_MAX_BATCH_SIZE];
	unsigned int which[ZSWAP_MAX_BATCH_SIZE];
	u8 nr;
};

/*
 * Locks the slots of swp[from..) that hold something, up to a batch of one
 * pool. A slot may be waited for only if it is above all that are held; one
 * that is not, and is not free, starts the next turn. Gives back how far it
 * came.
 */
static unsigned int lock_turn(struct zswap *z, const u64 *swp, unsigned int from, unsigned int nr,
			      u8 *out, int *ret, struct load_turn *turn)
{
	u64 highest = 0;
	unsigned int i;

	turn->nr = 0;
	for (i = from; i < nr && turn->nr < ZSWAP_MAX_BATCH_SIZE; i++) {
		struct swap_file *file = swap_file_of(&z->index, swp[i], 1);
		slot_t *slot = file ? swap_slot(file, swp_offset(swp[i])) : NULL;
		struct zswap_entry *entry;

		if (unlikely(!slot)) {
			ret[i] = file ? -ENOENT : -EBADSLT;
			continue;
		}
		if (!turn->nr || swp[i] > highest)
			slot_lock(slot);
		else if (!slot_trylock(slot))
			break;
		entry = slot_get(slot);
		if (!entry) {
			slot_unlock(slot);
			ret[i] = -ENOENT;
			continue;
		}
		/*
		 * both lines of it, but no look yet: the misses of a batch
		 * overlap
		 */
		prefetch(entry);
		prefetch(&entry->lru.prev);
		highest = max(highest, swp[i]);
		turn->slots[turn->nr] = slot;
		turn->entries[turn->nr] = entry;
		turn->pages[turn->nr] = out + i * z->page_size;
		turn->which[turn->nr++] = i;
	}
	for (u8 k = 1; k < turn->nr; k++) {
		if (likely(turn->entries[k]->pool == turn->entries[0]->pool))
			continue;
		i = turn->which[k];
		for (u8 j = k; j < turn->nr; j++)
			slot_unlock(turn->slots[j]);
		turn->nr = k;
	}
	return i;
}

/* How many pages were loaded. */
static unsigned int load_turn(struct zswap *z, struct load_turn *turn, int *ret)
{
	struct zswap_entry *loaded[ZSWAP_MAX_BATCH_SIZE];
	int results[ZSWAP_MAX_BATCH_SIZE];
	unsigned int nr_loaded = 0;

	zswap_decompress_batch(z, turn->entries, turn->pages, turn->nr, results);
	for (u8 i = 0; i < turn->nr; i++) {
		ret[turn->which[i]] = results[i];
		if (likely(!results[i])) {
			slot_xchg(turn->slots[i], NULL);
			loaded[nr_loaded++] = turn->entries[i];
		}
	}
	if (likely(nr_loaded))
		zswap_entries_free(z, loaded, nr_loaded);
	for (u8 i = 0; i < turn->nr; i++)
		slot_unlock(turn->slots[i]);
	atomic_fetch_add_explicit(&z->zswpin, nr_loaded, memory_order_relaxed);
	return nr_loaded;
}

int zswap_load_batch(struct zswap *z, unsigned int cpu, const u64 *swp, unsigned int nr, void *out,
		     int *ret)
{
	struct zswap_call call;
	struct load_turn turn;
	unsigned int nr_loaded = 0;
	int err = zswap_enter(z, cpu, &call);

	if (unlikely(err))
		return err;
	for (unsigned int i = 0; i < nr;) {
		i = lock_turn(z, swp, i, nr, out, ret, &turn);
		if (turn.nr)
			nr_loaded += load_turn(z, &turn, ret);
	}
	zswap_exit(z, &call);
	return nr - nr_loaded;
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

int zswap_is_zero(const void *p, size_t len)
{
	const u8 *bytes = p;

	/*
	 * the last byte first, as the kernel looks at the last word first: most
	 * pages are told apart there
	 */
	return !len || (!bytes[len - 1] && !bytes[0] && !memcmp(bytes, bytes + 1, len - 1));
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

	/* Calls that saw the file alive may still be at work on its slots. */
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
	return dead(z) == -ECHILD ? 0 : printk_next(&z->log, buf, len);
}

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
	if (dead(pool->zswap) == -ECHILD)
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
	int err = dead(pool->zswap) == -ECHILD ? -ECHILD :
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

/*
 * Calls 'use' with what a slot holds, under its lock. -ENOENT if that is
 * nothing.
 */
static int with_entry(struct zswap *z, unsigned int cpu, u64 swp,
		      int (*use)(struct zswap *z, struct zswap_entry *entry, void *arg), void *arg)
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

/*********************************
* module init and exit
**********************************/

static bool config_is_valid(const struct zswap_config *config)
{
	return (config->page_shift == 12 || config->page_shift == 14 || config->page_shift == 16) &&
	       config->chain_size >= ZS_MIN_CHAIN_SIZE && config->chain_size <= ZS_MAX_CHAIN_SIZE &&
	       config->nr_cpus && config->nr_nodes && config->nr_nodes <= config->nr_cpus &&
	       config->nr_nodes <= UINT8_MAX && config->highmem <= 1000 && config->max_batch &&
	       config->max_batch <= ZSWAP_MAX_BATCH_SIZE && config->sequential_batch &&
	       config->sequential_batch <= ZSWAP_MAX_BATCH_SIZE;
}

static int zswap_setup(struct zswap *z)
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
	host->arena = arena_create(config->page_shift, config->totalram_pages, config->highmem);
	if (!host->arena)
		return -ENOMEM;
	host->handles = kmem_cache_create(&z->mm, FAULT_HANDLE, sizeof(u64));
	host->zspages = kmem_cache_create(&z->mm, FAULT_ZSPAGE,
					  zs_zspage_size(host->arena, config->chain_size));
	z->entry_cache = kmem_cache_create(&z->mm, FAULT_ENTRY, sizeof(struct zswap_entry));
	return host->handles && host->zspages && z->entry_cache ? 0 : -ENOMEM;
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

int zswap_shutdown(struct zswap *z)
{
	if (zswap_inside(z))
		return -EDEADLK;
	if (dead(z) == -ECHILD)
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

/*
 * A forked child has none of the instance's memory, and the parent's threads
 * may hold its locks: nothing of it can be freed there.
 */
static bool is_childs_copy(const struct zswap *z)
{
	return z->pid != getpid();
}

/* Nobody is inside: the contents go with the memory that they lie in. */
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
	kmem_cache_destroy(z->host.zspages);
	kmem_cache_destroy(z->host.handles);
	arena_destroy(z->host.arena);
	list_lru_destroy(&z->list_lru);
	kmem_deinit(&z->mm);
	z->entry_cache = z->host.zspages = z->host.handles = NULL;
	z->host.arena = NULL;
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

/*********************************
* faults and checks
**********************************/

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
	obj = zpool_obj_read_begin(zpool, entry->handle, local);
	memmove(local, obj, entry->length);
	zpool_obj_read_end(zpool, entry->handle, obj);
	local[flip->byte] ^= flip->mask;
	zpool_obj_write(zpool, entry->handle, local, entry->length);
	free(local);
	return 0;
}

int zswap_flip(struct zswap *z, unsigned int cpu, u64 swp, u32 byte, u8 mask)
{
	return with_entry(z, cpu, swp, flip_byte, &(struct flip){ .byte = byte, .mask = mask });
}

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
			return "a node's LRU has not the entries that the index has";
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
