/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * zswap in user space: the interface of the C library.
 *
 * A struct zswap is one simulated machine's zswap: its pools, its swap slots,
 * its counters. There are no globals, so a process may have as many as it
 * likes. The library makes no threads and calls nobody back, but for
 * compressors that were registered with a function of their own.
 *
 * Conventions
 *   - What can fail gives 0 or a negative errno, or NULL where it gives a
 *     pointer.
 *   - 'cpu' is the simulated CPU that the call runs on, 0 .. nr_cpus - 1: it
 *     decides which context compresses and which node pays. Any number of
 *     threads may say the same one; they take turns at its context.
 *   - 'swp' is a swap entry, type << 58 | offset. A page is page_size bytes; a
 *     folio is 1 to ZSWAP_MAX_FOLIO pages for as many consecutive slots.
 *   - Every call on an instance may run at the same time as every other, unless
 *     it says otherwise. A call that starts after zswap_shutdown() gives
 *     -ESHUTDOWN (but for those of parameters and faults, and for arguments
 *     that are wrong anyway); one made by a compressor's own function on the
 *     instance that is calling it gives -EDEADLK.
 *   - -EBADSLT: the slots are not all inside one swap file. -EINVAL besides
 *     what a function says: no such CPU.
 *
 * Lock order: slots (ascending), a context's mutex, a zsmalloc class, the LRU;
 * each file says what its own locks cover.
 */
#ifndef ZSWAP_H
#define ZSWAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* cffi: begin */

/* Limit the batch size to limit per-CPU memory usage for dst buffers. */
#define ZSWAP_MAX_BATCH_SIZE 8
#define ZSWAP_MAX_FOLIO      512

struct zswap;
struct zswap_pool;
struct acomp_alg;

/* ---- an instance ---- */

struct zswap_config {
	unsigned int page_shift;        /* 12, 14 or 16 */
	unsigned int chain_size;        /* CONFIG_ZSMALLOC_CHAIN_SIZE, 4 .. 16 */
	unsigned int nr_cpus, nr_nodes; /* possible CPUs; cpu n is on node n * nr_nodes / nr_cpus */
	unsigned int highmem; /* how many of a thousand pages the compressor cannot address */
	uint64_t totalram_pages;
	/*
	 * a page that does not shrink is stored raw (Linux 6.18), not refused
	 */
	bool store_incompressible;
	/*
	 * dlen 0 or >= page_size is a failed compression (6.18), not the
	 * allocator's concern
	 */
	bool check_dlen;
	/*
	 * a CPU's context is freed when it goes offline (before the batching
	 * series)
	 */
	bool dead_frees;
	/*
	 * the most pages a compressor's request may carry, 1 ..
	 * ZSWAP_MAX_BATCH_SIZE
	 */
	unsigned int max_batch;
	/*
	 * pages that a store takes in one step where the compressor does not
	 * batch, likewise
	 */
	unsigned int sequential_batch;
};

/*
 * A new instance: enabled, with no pool yet and the kernel's default
 * parameters. NULL and *err on failure: -EINVAL, -ENOMEM.
 */
struct zswap *zswap_create(const struct zswap_config *config, int *err);

/*
 * From now on every call gives -ESHUTDOWN; returns when those that are inside
 * have left. Idempotent. 0, or -EDEADLK where the calling thread is inside
 * itself, in a compressor of its own, -ECHILD in a forked child: nothing has
 * changed then.
 */
int zswap_shutdown(struct zswap *z);

/* A page's bytes, for as long as the instance is there. */
size_t zswap_page_size(const struct zswap *z);

/*
 * True where the calling thread is in a compressor's own function, which a call
 * on the instance has called. It holds a context's mutex then, and must not
 * wait for a lock under which another thread waits for that.
 */
bool zswap_inside(const struct zswap *z);

/*
 * A forked child has none of an instance's memory, and every call there gives
 * -ECHILD. Linux 4.14 and later tell the instance so; older ones do not, and
 * this must.
 */
void zswap_forked(struct zswap *z);

/*
 * Frees all that the instance holds, pools too. Only after zswap_shutdown(),
 * once, and after the last use of any pointer that came from it. The calls
 * under "pages" go on to give -ESHUTDOWN. In a forked child nothing is freed.
 */
void zswap_release(struct zswap *z);

/*
 * Frees the instance itself, released or not; nobody may call it any more. In a
 * forked child nothing is freed. NULL is fine.
 */
void zswap_destroy(struct zswap *z);

/* ---- parameters ---- */

/* no range checks, as the kernel has none; take effect at the next store */

enum zswap_param {
	ZSWAP_ENABLED,                  /* 0: stores are refused, and erase what their slots held */
	ZSWAP_MAX_POOL_PERCENT,         /* of totalram_pages */
	ZSWAP_ACCEPT_THRESHOLD_PERCENT, /* of that, below which a full pool takes stores again */
};

void zswap_set_param(struct zswap *z, enum zswap_param param, uint32_t value);
uint32_t zswap_get_param(struct zswap *z, enum zswap_param param);

/* ---- pools ---- */

/*
 * A pool for one compressor: its allocator and its per-CPU contexts, all zero.
 * 'alg' must outlive it. Messages name the compressor 'tfm_name', as the user
 * asked for it. The pool is not on the instance's list until
 * zswap_pool_start(). NULL and *err on failure: -ENOMEM, or what every call
 * gives.
 */
struct zswap_pool *zswap_pool_create(struct zswap *z, const struct acomp_alg *alg,
				     const char *tfm_name, int *err);

/*
 * Frees every possible CPU's resources and the pool, started, killed or
 * neither, once nothing of it is used any more.
 */
void zswap_pool_destroy(struct zswap_pool *pool);

/*
 * Makes a CPU's context: acomp, request, buffers, mutex. 0, also where it is
 * there already; -ENOMEM, or what the compressor says: then the CPU has
 * nothing. -EINVAL if this CPU's compressor has another batch size than the
 * pool's first one. The callers are serialised, as the CPU hotplug lock does
 * it. It runs on 'cpu', as faults see it.
 */
int zswap_cpu_comp_prepare(struct zswap_pool *pool, unsigned int cpu);

/*
 * Takes a CPU's context away under its mutex, then frees it: the callback that
 * the batching series did away with. Only where the configuration says
 * dead_frees. 0, or what every call gives: -EDEADLK from a compressor's own
 * function, which may hold that mutex.
 */
int zswap_cpu_comp_dead(struct zswap_pool *pool, unsigned int cpu);

/*
 * The last step of creation, after one prepare at least: sets batch_size, takes
 * the reference that stands for "current", puts the pool on the list.
 */
void zswap_pool_start(struct zswap_pool *pool);

/*
 * The pool that new stores go to; the one before keeps its entries, and dies
 * with the last of them. NULL: none. The instance's pools are switched by one
 * thread at a time.
 */
void zswap_pool_make_current(struct zswap *z, struct zswap_pool *pool);

/*
 * Brings a decommissioned pool back to hold the "current" reference. False if
 * its last reference is gone.
 */
bool zswap_pool_resurrect(struct zswap_pool *pool);

/*
 * Drops the "current" reference, once another pool is current: the pool lives
 * on while it holds entries.
 */
void zswap_pool_kill(struct zswap_pool *pool);

/*
 * Sleeps until a killed pool has lost its last reference and no call uses it
 * any more; the caller then destroys it. NULL after zswap_shutdown(), when no
 * such pool is left, in a compressor's own function, and in a forked child.
 */
struct zswap_pool *zswap_pool_wait_empty(struct zswap *z);

struct zswap_pool_info {
	unsigned int compr_batch_size, batch_size;
	int64_t refs;         /* 1 while current, 1 a stored entry, 1 a store that is under way */
	uint64_t total_pages; /* of its allocator */
	/*
	 * objects read that cross pages: the kernel copies these to buffers[0]
	 */
	uint64_t crossing_reads;
	uint64_t huge_class_size; /* the smallest length that saves nothing */
};

void zswap_pool_info(struct zswap_pool *pool, struct zswap_pool_info *ret);

struct zswap_ctx_info {
	const void *acomp, *req; /* NULL: this CPU has no context */
	unsigned int nr_buffers, node;
	const void *buffers[ZSWAP_MAX_BATCH_SIZE];
	/*
	 * objects that were copied to buffers[0] because the compressor cannot
	 * address them
	 */
	uint64_t highmem_copies;
};

/*
 * What a CPU's context has. Not while a prepare of it runs. 0; -EINVAL if there
 * is no such CPU; -EDEADLK from a compressor's own function, which may hold the
 * context's mutex.
 */
int zswap_ctx_info(struct zswap_pool *pool, unsigned int cpu, struct zswap_ctx_info *ret);

struct zswap_class_info {
	uint32_t index, size, pages_per_zspage, objs_per_zspage;
	uint64_t zspages, objs_inuse;
};

/*
 * zsmalloc's class of slot i; slots that share a class tell the same. -ENOENT
 * past the last one; -ECHILD.
 */
int zswap_class_info(struct zswap_pool *pool, unsigned int i, struct zswap_class_info *ret);

/* ---- swap files ---- */

/*
 * A new swap file of 1 to 2^58 - 1 slots, which cost memory once they are used.
 * Its type, from 0; -EINVAL; -ENOMEM; -EPERM if all 32 types are in use.
 */
int zswap_swapon(struct zswap *z, uint64_t nr_pages);

/*
 * Drops all that the file's slots hold, and waits for calls that are inside.
 * -EBADSLT if there is no such type.
 */
int zswap_swapoff(struct zswap *z, unsigned int type);

/* ---- pages ---- */

/*
 * Why a store was refused: the counter that it moved, in the order of struct
 * zswap_stats, or what has none.
 */
enum zswap_reject {
	ZSWAP_STORED,
	ZSWAP_POOL_LIMIT_HIT,
	ZSWAP_REJECT_ALLOC_FAIL,
	ZSWAP_REJECT_KMEMCACHE_FAIL,
	ZSWAP_REJECT_COMPRESS_FAIL,
	ZSWAP_REJECT_COMPRESS_POOR,
	ZSWAP_REJECT_DISABLED,
	ZSWAP_REJECT_NO_POOL,
};

/*
 * Compresses and stores a folio of nr_pages. ZSWAP_STORED, or another enum
 * zswap_reject: then none of its slots holds anything, not even what was there
 * before, and the page is the caller's to keep. -ENODEV: this CPU has no
 * context; the same holds then. Nothing keeps a pointer to 'folio'.
 */
int zswap_store(struct zswap *z, unsigned int cpu, uint64_t swp, const void *folio,
		unsigned int nr_pages);

/*
 * Decompresses the page at 'swp' into 'folio'; with 'swapcache' it then leaves
 * zswap: loads are exclusive. 0; -ENOENT if zswap does not hold it (read the
 * swap device); -EIO if the object does not decompress to exactly one page: it
 * stays stored, and decompress_fail is incremented; -ENODEV as for a store;
 * -EINVAL if nr_pages is not 1. The bytes in 'folio' are undefined after an
 * error other than -ENOENT and -EINVAL, and nothing is written outside of them.
 *
 * Of two loads of one 'swp' at once one gets the page and one -ENOENT.
 */
int zswap_load(struct zswap *z, unsigned int cpu, uint64_t swp, void *folio, unsigned int nr_pages,
	       bool swapcache);

/*
 * Like zswap_load(), but the page stays and no event is counted: no call of the
 * kernel's does this.
 */
int zswap_peek(struct zswap *z, unsigned int cpu, uint64_t swp, void *page);

/*
 * Like zswap_load() for each of 'nr' slots in any order, swp[i] to the i-th
 * page of 'out', but up to compr_batch_size objects of a pool are one request
 * to its compressor. ret[i] is each page's result. How many of them are not 0,
 * or an error for the whole call.
 */
int zswap_load_batch(struct zswap *z, unsigned int cpu, const uint64_t *swp, unsigned int nr,
		     void *out, int *ret);

/*
 * Frees what the slots hold; takes time for what there is, not for 'nr'. 0,
 * whether or not they held anything.
 */
int zswap_invalidate(struct zswap *z, unsigned int cpu, uint64_t swp, uint64_t nr);

/* 1 if zswap holds the slot, 0 if not. */
int zswap_contains(struct zswap *z, unsigned int cpu, uint64_t swp);

struct zswap_entry_info {
	uint32_t length; /* compressed bytes; page_size: stored raw */
	uint32_t node;
	bool referenced;
	const struct zswap_pool *pool;
};

/* -ENOENT if the slot holds nothing. */
int zswap_entry_info(struct zswap *z, unsigned int cpu, uint64_t swp, struct zswap_entry_info *ret);

/*
 * 1 if all bytes are zero: such folios never reach zswap (the kernel's
 * swap_zeromap).
 */
int zswap_is_zero(const void *p, size_t len);

/* ---- measuring: many pages by one call, timed ---- */

/*
 * Folios that lie one after another, for consecutive slots; the last one may be
 * shorter.
 */
struct zswap_span {
	uint64_t swp; /* the first page's slot */
	uint8_t *pages;
	uint64_t nr_pages;
	size_t page_size; /* the instance's */
	unsigned int folio_pages;
	/*
	 * between two reads of the clock: a multiple of folio_pages,
	 * ZSWAP_MAX_FOLIO at most
	 */
	unsigned int run_pages;
};

/* What one run took, and how many pages it was of. */
struct zswap_run {
	/*
	 * the calling thread's CPU time, user and system: no sleep, no other
	 * thread's turn
	 */
	uint64_t ns;
	uint64_t pages;
};

/*
 * Moves the folios that are not all zero together, in order; the span then is
 * these. 0 or -EINVAL.
 */
int zswap_drop_zero_folios(struct zswap_span *span);

/*
 * zswap_store() for each folio; runs[] has a cell for each run of the span, the
 * last of which may be shorter. What was refused is counted in the statistics.
 * 0, or the error that ended it.
 */
int zswap_store_runs(struct zswap *z, unsigned int cpu, const struct zswap_span *span,
		     struct zswap_run *runs);

/*
 * zswap_peek() for each page into 'out', which has room for a run; then, off
 * the clock, each is compared. A run's pages are those that zswap holds; *wrong
 * of all are corrupt or have other bytes than the span. 0, or the error that
 * ended it.
 */
int zswap_peek_runs(struct zswap *z, unsigned int cpu, const struct zswap_span *span, void *out,
		    struct zswap_run *runs, uint64_t *wrong);

/* ---- counters ---- */

/* debugfs' zswap directory. */
struct zswap_stats {
	uint64_t pool_limit_hit;      /* +1: a store call saw the pool at or over its limit */
	uint64_t reject_reclaim_fail; /* +1: a writeback attempt failed */
	/*
	 * +1: the allocator had no memory, or the tree could not take the entry
	 */
	uint64_t reject_alloc_fail;
	uint64_t reject_kmemcache_fail; /* +1: no entry */
	/*
	 * +1: the compressor failed, other than by -ENOSPC, and raw storing is not allowed
	 */
	uint64_t reject_compress_fail;
	uint64_t reject_compress_poor;        /* +1: -ENOSPC from the compressor or the allocator */
	uint64_t decompress_fail;             /* +1: a load or writeback could not decompress */
	uint64_t written_back_pages;          /* +1: a page went to the swap device */
	uint64_t pool_total_size;             /* bytes, gauge: pages of all pools, dying ones too */
	uint64_t stored_pages;                /* gauge: entries */
	uint64_t stored_incompressible_pages; /* gauge: entries that are stored raw */
};

/* 0 or -ESHUTDOWN, as all calls of this section but the last. */
int zswap_stats(struct zswap *z, struct zswap_stats *ret);

/*
 * What the kernel counts elsewhere (vmstat, cgroups), and what only a simulated
 * machine can count.
 */
struct zswap_events {
	uint64_t zswpin, zswpout; /* pages loaded; pages of folios stored whole */
	uint64_t zswap_bytes;     /* gauge: compressed bytes, as a cgroup is charged for */
	uint64_t no_context;      /* stores and loads on a CPU that had no context */
	uint64_t arena_mapped;    /* gauge: bytes that this process really has for the pools */
	/*
	 * gauge: bytes that this process really has for entries, handles and
	 * zspages
	 */
	uint64_t slab_mapped;
};

int zswap_events(struct zswap *z, struct zswap_events *ret);

/*
 * Bytes that are allocated for a kind of thing on a node; kinds are numbered
 * from 0, NULL is past the last name. -EINVAL: no such.
 */
const char *zswap_memory_kind(unsigned int kind);
int zswap_memory(struct zswap *z, unsigned int kind, unsigned int nid, uint64_t *ret);

/* Gives freed memory back to the system. */
int zswap_trim(struct zswap *z);

/*
 * The oldest message that was not fetched yet, as the kernel would log it,
 * NUL-terminated into buf. Its syslog level (3: error, 1: alert), or 0 if there
 * is none. The newest are kept when too many wait.
 */
int zswap_next_message(struct zswap *z, char *buf, size_t len);

/* ---- faults and checks, for tests ---- */

/*
 * Names of the kinds of fault; the first ones are zswap_memory()'s. NULL is
 * past the last.
 */
const char *zswap_fault_kind(unsigned int kind);

/*
 * The nth try from now of a kind fails with 'error', and so do the 'times' - 1
 * after it (times 0: all). cpu -1: on any CPU. One fault a kind, one caller at
 * a time.
 */
void zswap_fault_arm(struct zswap *z, unsigned int kind, uint64_t nth, uint64_t times, int error,
		     int cpu);
void zswap_fault_disarm(struct zswap *z, unsigned int kind);
uint64_t zswap_fault_hits(struct zswap *z, unsigned int kind);

/*
 * XORs a byte of the object stored at 'swp'. -ENOENT; -EINVAL past its length;
 * -ENOMEM.
 */
int zswap_flip(struct zswap *z, unsigned int cpu, uint64_t swp, uint32_t byte, uint8_t mask);

/*
 * Walks index, LRU and pools: *ret is NULL, or what does not hold. Only while
 * no other call is inside. 0, or an error of the call.
 */
int zswap_check(struct zswap *z, const char **ret);

/* cffi: end */

#endif
