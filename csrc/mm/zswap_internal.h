/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Shared by the files that implement zswap.h. No other file includes it.
 *
 *   zswap.c           the mirror of mm/zswap.c
 *   zswap_batch.c     loads in batches
 *   zswap_call.c      the shell of a call
 *   zswap_instance.c  the life of an instance and of its pools; parameters
 *   zswap_debug.c     statistics, information, faults, checks
 *
 * Here are the structures and the shell of a call: zswap_enter() marks the
 * calling thread as inside, so that zswap_shutdown() waits for it, a compressor
 * cannot call back into its own instance, and raw_smp_processor_id() is the
 * simulated CPU.
 */
#ifndef ZSWAP_INTERNAL_H
#define ZSWAP_INTERNAL_H

#include <pthread.h>
#include <sys/types.h>

#include "crypto/acomp.h"
#include "lib/printk.h"
#include "lib/srcu.h"
#include "mm/list_lru.h"
#include "mm/swap_table.h"
#include "mm/zsmalloc.h"
#include "zswap.h"

/* The counters that a call increments, in the order of struct zswap_stats. */
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

/* ---- structures ---- */

struct crypto_acomp_ctx {
	struct crypto_acomp *acomp;
	struct acomp_req *req;
	struct crypto_wait wait;
	u8 **buffers; /* pool->compr_batch_size, of config.buffer_pages each */
	/*
	 * Protects all fields, but not while prepare fills a context that no
	 * other thread sees yet. Taken after the slots.
	 */
	pthread_mutex_t mutex;
	_Atomic bool ready; /* the mutex is initialised */
	u64 highmem_copies;
} ____cacheline_aligned;

/*
 * A pool has one reference while it is current, one for each entry, and one for
 * each store that uses it.
 */
struct zswap_pool {
	struct zpool zpool;
	struct crypto_acomp_ctx *acomp_ctx; /* by CPU */
	atomic_uint nr_prepared;            /* contexts made so far, where CPUs also lose theirs */
	_Atomic int64_t refs;
	struct zswap *zswap;
	const struct acomp_alg *alg;
	struct list_head list;  /* in zswap_pools; under pools_lock */
	struct list_head empty; /* in empty_pools; under pools_lock */
	u8 compr_batch_size;
	u8 batch_size;
	char tfm_name[CRYPTO_MAX_ALG_NAME]; /* as the user asked for it */
};

/*
 * swpentry, pool, handle, length are written before the entry is in the tree,
 * and only read afterwards. The entry itself belongs to its slot: the thread
 * that holds the slot's lock may free it.
 *
 *   length      compressed bytes; page_size where the page is stored raw
 *   referenced  second chance, set by a store; under the LRU lock
 *   nid         the node of the entry's memory and LRU list
 *   handle      the allocator's; an error value until it has one
 *   objcg       always NULL: cgroups are not modelled
 *   lru         under the LRU lock; empty while the entry is on no list
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
	pid_t pid; /* the process that created the instance */
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

/* ---- the shell of a call ---- */

struct zswap_call {
	struct task task;
	unsigned int srcu_idx;
};

/* Returns 0 while the instance is alive, else the error of every call. */
static inline int zswap_dead(const struct zswap *z)
{
	int life = atomic_load(z->life);

	return likely(life == ALIVE) ? 0 : life ? life : -ECHILD;
}

/*
 * Returns 0, and zswap_exit() must follow; -EINVAL, -EDEADLK, -ESHUTDOWN or
 * -ECHILD, which the call must return at once.
 */
int zswap_enter(struct zswap *z, unsigned int cpu, struct zswap_call *call);

static inline void zswap_exit(struct zswap *z, struct zswap_call *call)
{
	unsigned int cpu = call->task.cpu;

	current_task = call->task.outer;
	srcu_read_unlock(&z->srcu, cpu, call->srcu_idx);
}

/* ---- helpers ---- */

static inline void zswap_count(struct zswap *z, enum zswap_stat stat)
{
	atomic_fetch_add_explicit(&z->stat[stat], 1, memory_order_relaxed);
}

static inline u32 zswap_param(struct zswap *z, enum zswap_param param)
{
	return atomic_load_explicit(&z->param[param], memory_order_relaxed);
}

static inline unsigned int cpu_to_node(const struct zswap *z, unsigned int cpu)
{
	return (u64)cpu * z->config.nr_nodes / z->config.nr_cpus;
}

/*
 * Returns true if the entry's page is stored raw. Before Linux 6.18 none was:
 * there a length of one page is a compressed length.
 */
static inline bool stored_raw(const struct zswap *z, const struct zswap_entry *entry)
{
	return z->config.check_dlen && entry->length == z->page_size;
}

/* ---- zswap.c ---- */

/* Returns 0 or -ENOMEM; the caller then destroys what there is. */
int zswap_setup(struct zswap *z);

/* Pages of all pools, killed ones too. */
u64 zswap_total_pages(struct zswap *z);

/* Takes a reference; returns false if the pool has lost its last one. */
bool zswap_pool_tryget(struct zswap_pool *pool);

/* Drops nr references. A pool that has none left waits for its destruction. */
void zswap_pool_put(struct zswap_pool *pool, unsigned int nr);

/*
 * Frees up to a batch of entries of one pool, which no slot holds any more,
 * with their objects.
 */
void zswap_entries_free(struct zswap *z, struct zswap_entry **entries, unsigned int nr);

/* Locks and returns this CPU's context; NULL if there is none to be had. */
struct crypto_acomp_ctx *acomp_ctx_get_cpu_lock(struct zswap_pool *pool);

static inline void acomp_ctx_put_unlock(struct crypto_acomp_ctx *acomp_ctx)
{
	pthread_mutex_unlock(&acomp_ctx->mutex);
}

/*
 * Returns an object's bytes where the compressor can address them: 'obj'
 * itself, or a copy in buffer i of the context.
 */
const u8 *object_source(struct zswap *z, struct crypto_acomp_ctx *acomp_ctx, u8 i, const u8 *obj,
			unsigned int length);

/* Returns 0; -EIO, counted and logged, if the entry did not become one page. */
int decompress_result(struct zswap *z, struct zswap_entry *entry, int decomp_ret,
		      unsigned int dlen);

/* Decompresses or copies one entry to a page. Returns 0 or -EIO. */
int decompress_one(struct zswap *z, struct crypto_acomp_ctx *acomp_ctx, struct zswap_entry *entry,
		   u8 *folio);

/* Decompresses an entry by this CPU's context. Returns 0, -EIO or -ENODEV. */
int zswap_decompress(struct zswap *z, struct zswap_entry *entry, u8 *folio);

#endif
