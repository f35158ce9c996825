/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * zswap in user space: the interface of the C library, and its manual.
 *
 * A struct zswap is the zswap of one simulated machine: its pools, its swap
 * slots, its counters. The library has no globals, so a process may hold any
 * number of instances. It starts no threads. It calls back only into
 * compressors that were registered with a function of their own.
 *
 * Conventions
 *
 *   - A call that can fail returns 0 or a negative errno. A call that returns a
 *     pointer returns NULL and sets *err.
 *   - 'cpu' is the simulated CPU that a call runs on, 0 to nr_cpus - 1. It
 *     selects the context that compresses, and the node on which the call
 *     allocates. Any number of threads may pass the same CPU: they take turns
 *     at its context.
 *   - 'swp' is a swap entry, type << 58 | offset. A page is page_size bytes. A
 *     folio is 1 to ZSWAP_MAX_FOLIO pages for as many consecutive slots.
 *   - Any number of threads may call into one instance at once, unless a
 *     function says otherwise.
 *
 * Errors of every call on an instance
 *
 *   -EINVAL     there is no such CPU
 *   -EBADSLT    the slots are not all inside one swap file
 *   -EDEADLK    a compressor's own function calls the instance that called it
 *   -ESHUTDOWN  zswap_shutdown() was called before
 *   -ECHILD     the caller is a forked child of the process that made it
 *
 * After zswap_shutdown() every call but the parameter and fault ones returns
 * -ESHUTDOWN, once its arguments are valid. zswap_next_message() and the
 * information on pools (zswap_pool_info() to zswap_class_info()) still work.
 *
 * Lock order: slots in ascending order, then a context's mutex, then a zsmalloc
 * class, then the LRU. Each file says what its own locks protect.
 */
#ifndef ZSWAP_H
#define ZSWAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* cffi: begin */

/* Limit the batch size to limit per-CPU memory usage for dst buffers. */
#define ZSWAP_MAX_BATCH_SIZE 8
/* Pages of the largest folio. */
#define ZSWAP_MAX_FOLIO 512

struct zswap;
struct zswap_pool;
struct acomp_alg;

/* ---- an instance ---- */

struct zswap_config {
	/* log2 of the page size: 12, 14 or 16 */
	unsigned int page_shift;
	/* CONFIG_ZSMALLOC_CHAIN_SIZE, pages: 4 to 16 */
	unsigned int chain_size;
	/*
	 * possible CPUs; nodes, at most 255; CPU n is on node n * nr_nodes /
	 * nr_cpus
	 */
	unsigned int nr_cpus, nr_nodes;
	/* pages of a thousand that the compressor cannot address: 0 to 1000 */
	unsigned int highmem;
	/* the machine's memory in pages, for max_pool_percent */
	uint64_t totalram_pages;
	/* an incompressible page is stored raw (Linux 6.18), else rejected */
	bool store_incompressible;
	/*
	 * Linux 6.18: a dlen of 0 or of page_size and more is a failed
	 * compression; before: the allocator decides
	 */
	bool check_dlen;
	/* up to Linux 6.12: a folio of several pages is refused */
	bool small_folios_only;
	/*
	 * Linux 7.0: the compressor gets an object as the pieces in which it
	 * lies; before: one that crosses a page is copied
	 */
	bool sg_reads;
	/* pages of a context's buffer: 2, or 1 since Linux 7.0 */
	unsigned int buffer_pages;
	/* up to Linux 7.0: a CPU that goes offline loses its context */
	bool dead_frees;
	/* most pages of one request: 1 to ZSWAP_MAX_BATCH_SIZE */
	unsigned int max_batch;
	/*
	 * pages that a store takes in one step where the compressor does not
	 * batch: 1 to ZSWAP_MAX_BATCH_SIZE
	 */
	unsigned int sequential_batch;
};

/*
 * zswap_create() allocates an instance. It is enabled, has the kernel's default
 * parameters, and has neither a pool nor a swap file.
 *
 * Returns the instance; or NULL and *err: -EINVAL if a field of 'config' is out
 * of its range, -ENOMEM. The caller frees it with zswap_shutdown() and then
 * zswap_destroy().
 */
struct zswap *zswap_create(const struct zswap_config *config, int *err);

/*
 * zswap_shutdown() closes an instance to new calls and waits for the calls that
 * are inside. It also wakes zswap_pool_wait_empty(). A second shutdown changes
 * nothing.
 *
 * Returns 0; -EDEADLK if the calling thread itself is inside a call, in a
 * compressor's own function; -ECHILD. After an error the instance is open as
 * before.
 */
int zswap_shutdown(struct zswap *z);

/*
 * zswap_release() frees all contents of an instance, its pools too. Call it
 * once, after zswap_shutdown() and after the last use of every pointer that
 * came from the instance. The calls under "pages" return -ESHUTDOWN afterwards,
 * as before. In a forked child it frees nothing.
 */
void zswap_release(struct zswap *z);

/*
 * zswap_destroy() releases an instance, if zswap_release() has not, and frees
 * it. No thread may use 'z' any more. In a forked child it frees nothing.
 * zswap_destroy(NULL) does nothing.
 */
void zswap_destroy(struct zswap *z);

/*
 * zswap_page_size() returns the bytes of a page, until zswap_destroy(). It
 * cannot fail.
 */
size_t zswap_page_size(const struct zswap *z);

/*
 * zswap_inside() returns true if the calling thread is in a compressor's own
 * function that a call on this instance has called. Such a thread holds a
 * context's mutex, so it must not wait for a lock under which another thread
 * waits for that mutex.
 */
bool zswap_inside(const struct zswap *z);

/*
 * zswap_forked() tells an instance that it is now in a forked child: every call
 * returns -ECHILD from then on, since the child has none of the instance's
 * memory. The child must call it on kernels before Linux 4.14; later ones tell
 * the instance by themselves (MADV_WIPEONFORK).
 */
void zswap_forked(struct zswap *z);

/* ---- parameters ---- */

enum zswap_param {
	/* 0: stores are rejected, and erase what their slots held */
	ZSWAP_ENABLED,
	/* limit of all pools together, in percent of totalram_pages */
	ZSWAP_MAX_POOL_PERCENT,
	/*
	 * once the limit was hit, stores are rejected until the pools are at
	 * this percentage of it
	 */
	ZSWAP_ACCEPT_THRESHOLD_PERCENT,
};

/*
 * zswap_set_param() sets a parameter, which takes effect at the next store;
 * zswap_get_param() returns it. Both work at any time and cannot fail. No value
 * is rejected, as the kernel rejects none.
 */
void zswap_set_param(struct zswap *z, enum zswap_param param, uint32_t value);
uint32_t zswap_get_param(struct zswap *z, enum zswap_param param);

/* ---- pools ---- */

/*
 * zswap_pool_create() allocates a pool for one compressor: its allocator and an
 * empty context for each CPU. The pool is not on the instance's list before
 * zswap_pool_start(). 'alg' must outlive the pool. 'tfm_name' is copied:
 * messages name the compressor by it, as the user asked for it.
 *
 * Returns the pool, which the caller or zswap_release() destroys; or NULL and
 * *err: -ENOMEM, -EDEADLK, -ESHUTDOWN, -ECHILD.
 */
struct zswap_pool *zswap_pool_create(struct zswap *z, const struct acomp_alg *alg,
				     const char *tfm_name, int *err);

/*
 * zswap_pool_destroy() frees a pool and the contexts of all possible CPUs,
 * whether or not the pool was started or killed. No thread may use the pool any
 * more. zswap_pool_destroy(NULL) does nothing.
 */
void zswap_pool_destroy(struct zswap_pool *pool);

/*
 * zswap_cpu_comp_prepare() allocates a CPU's context: acomp, request, buffers,
 * mutex. It does nothing if the CPU has a context. The caller must serialise
 * these calls, as the kernel's CPU hotplug lock does. Faults see the call on
 * 'cpu'.
 *
 * Returns 0; -ENOMEM; the error of the compressor's init; -EINVAL if there is
 * no such CPU, or if the compressor's batch size differs from that of the
 * pool's first context; -EDEADLK, -ESHUTDOWN, -ECHILD. After an error the CPU
 * has no context.
 */
int zswap_cpu_comp_prepare(struct zswap_pool *pool, unsigned int cpu);

/*
 * zswap_cpu_comp_dead() takes a CPU's context away under the context's mutex,
 * then frees it. It is the hotplug callback that the batching series removed:
 * call it only where the configuration says dead_frees.
 *
 * Returns 0, also if the CPU has no context; -EINVAL if there is no such CPU;
 * -EDEADLK, since a compressor's own function may hold the mutex; -ESHUTDOWN,
 * -ECHILD.
 */
int zswap_cpu_comp_dead(struct zswap_pool *pool, unsigned int cpu);

/*
 * zswap_pool_start() is the last step of a pool's creation. It sets batch_size,
 * takes the reference that stands for "current", and puts the pool on the
 * instance's list. At least one CPU must have been prepared.
 */
void zswap_pool_start(struct zswap_pool *pool);

/*
 * zswap_pool_make_current() directs new stores to a pool, or to none if 'pool'
 * is NULL. The pool that was current keeps its entries; zswap_pool_kill() then
 * drops its "current" reference. One thread at a time may switch an instance's
 * pools.
 */
void zswap_pool_make_current(struct zswap *z, struct zswap_pool *pool);

/*
 * zswap_pool_resurrect() takes the "current" reference again for a pool that
 * was killed. Returns false if the pool has lost its last reference.
 */
bool zswap_pool_resurrect(struct zswap_pool *pool);

/*
 * zswap_pool_kill() drops the "current" reference, once another pool is
 * current. The pool lives as long as it holds entries.
 */
void zswap_pool_kill(struct zswap_pool *pool);

/*
 * zswap_pool_wait_empty() sleeps until a killed pool has lost its last
 * reference and no call uses it, and returns that pool. The caller must destroy
 * it. Several threads may wait.
 *
 * Returns NULL after zswap_shutdown() once no such pool is left, in a
 * compressor's own function, and in a forked child.
 */
struct zswap_pool *zswap_pool_wait_empty(struct zswap *z);

struct zswap_pool_info {
	unsigned int compr_batch_size; /* pages that one request carries at most */
	unsigned int batch_size;       /* pages that a store takes in one step */
	int64_t refs;                  /* 1 while current, 1 an entry, 1 a store under way */
	uint64_t total_pages;          /* pages that its allocator holds */
	/* objects read that cross pages: the kernel copies them */
	uint64_t crossing_reads;
	uint64_t huge_class_size; /* bytes: the smallest length that saves nothing */
};

/* zswap_pool_info() fills *ret. It cannot fail. */
void zswap_pool_info(struct zswap_pool *pool, struct zswap_pool_info *ret);

struct zswap_ctx_info {
	const void *acomp, *req; /* NULL: this CPU has no context */
	unsigned int nr_buffers, node;
	const void *buffers[ZSWAP_MAX_BATCH_SIZE]; /* two pages each */
	/* objects copied since the compressor cannot address them */
	uint64_t highmem_copies;
};

/*
 * zswap_ctx_info() fills *ret with what a CPU's context has. It waits for the
 * context's mutex. It must not run while zswap_cpu_comp_prepare() runs for that
 * CPU.
 *
 * Returns 0; -EINVAL if there is no such CPU; -EDEADLK, since a compressor's
 * own function may hold the mutex; -ECHILD.
 */
int zswap_ctx_info(struct zswap_pool *pool, unsigned int cpu, struct zswap_ctx_info *ret);

struct zswap_class_info {
	uint32_t index; /* of the largest slot that the class serves */
	uint32_t size;  /* bytes of an object */
	uint32_t pages_per_zspage, objs_per_zspage;
	uint64_t zspages, objs_inuse;
};

/*
 * zswap_class_info() fills *ret with the zsmalloc class that serves slot i.
 * Slots that share a class give the same.
 *
 * Returns 0; -ENOENT past the last slot; -ECHILD.
 */
int zswap_class_info(struct zswap_pool *pool, unsigned int i, struct zswap_class_info *ret);

/* ---- swap files ---- */

/*
 * zswap_swapon() adds a swap file of nr_pages slots, 1 to 2^58 - 1. A slot
 * costs memory only once it is used.
 *
 * Returns the file's type, 0 to 31; -EINVAL if nr_pages is out of range;
 * -ENOMEM; -EPERM if all 32 types are in use; -EDEADLK, -ESHUTDOWN, -ECHILD.
 */
int zswap_swapon(struct zswap *z, uint64_t nr_pages);

/*
 * zswap_swapoff() removes a swap file: it waits for the calls that are inside,
 * then frees all that the file's slots hold.
 *
 * Returns 0; -EBADSLT if there is no such file, or another thread removes it;
 * -EDEADLK, -ESHUTDOWN, -ECHILD.
 */
int zswap_swapoff(struct zswap *z, unsigned int type);

/* ---- pages ---- */

/*
 * What became of a store. A reject is named after the counter that it
 * increments, in the order of struct zswap_stats. As in the kernel,
 * pool_limit_hit is not incremented by stores that are rejected below the limit
 * because the pools are not yet down to the accept threshold.
 */
enum zswap_reject {
	ZSWAP_STORED,
	ZSWAP_POOL_LIMIT_HIT,
	ZSWAP_REJECT_ALLOC_FAIL,
	ZSWAP_REJECT_KMEMCACHE_FAIL,
	ZSWAP_REJECT_COMPRESS_FAIL,
	ZSWAP_REJECT_COMPRESS_POOR,
	ZSWAP_REJECT_DISABLED,    /* no counter */
	ZSWAP_REJECT_NO_POOL,     /* no counter */
	ZSWAP_REJECT_LARGE_FOLIO, /* no counter */
};

/*
 * zswap_store() compresses the nr_pages pages at 'folio' and stores them at the
 * slots from 'swp' on. All are stored or none is. The library keeps no pointer
 * to 'folio'.
 *
 * Returns ZSWAP_STORED; another enum zswap_reject; -ENODEV if this CPU has no
 * context; -EINVAL if nr_pages is not 1 to ZSWAP_MAX_FOLIO, or if there is no
 * such CPU; -EBADSLT, -EDEADLK, -ESHUTDOWN, -ECHILD. After a reject and after
 * -ENODEV all slots are empty, also those that held a page before, and the
 * caller must keep the pages.
 */
int zswap_store(struct zswap *z, unsigned int cpu, uint64_t swp, const void *folio,
		unsigned int nr_pages);

/*
 * zswap_load() decompresses the page at 'swp' into 'folio', a buffer of one
 * page. With 'swapcache' the load is exclusive, as in the kernel: the page
 * leaves zswap. Without it the page stays, as for a synchronous swap device.
 * 'nr_pages' must be 1, since large folios are not swapped in.
 *
 * Returns 0; -ENOENT if zswap does not hold the page (read the swap device);
 * -EIO if the object does not decompress to exactly one page: it stays stored,
 * and decompress_fail is incremented; -ENODEV if this CPU has no context;
 * -EINVAL if nr_pages is not 1 and zswap has had a pool, or if there is no such
 * CPU; -EBADSLT, -EDEADLK, -ESHUTDOWN, -ECHILD. After -ENOENT and -EINVAL
 * 'folio' is unchanged; after any other error its bytes are undefined. Nothing
 * is ever written outside of it.
 *
 * Of two exclusive loads of one page at once, one returns 0 and one -ENOENT.
 */
int zswap_load(struct zswap *z, unsigned int cpu, uint64_t swp, void *folio, unsigned int nr_pages,
	       bool swapcache);

/*
 * zswap_peek() decompresses the page at 'swp' into 'page', a buffer of one
 * page. The page stays stored and zswpin is not incremented. The kernel has no
 * such call.
 *
 * Returns what zswap_load() of one page returns.
 */
int zswap_peek(struct zswap *z, unsigned int cpu, uint64_t swp, void *page);

/*
 * zswap_load_batch() is an exclusive zswap_load() of each of 'nr' slots, in any
 * order: swp[i] to the i-th page of 'out'. One request to the compressor
 * carries up to compr_batch_size objects of one pool. The kernel has no such
 * call.
 *
 * Returns the number of pages that were not loaded, with each page's result in
 * ret[i]: 0, -ENOENT, -EIO, -ENODEV or -EBADSLT, as of zswap_load(). An error
 * for the whole call changes neither 'out' nor 'ret': -EINVAL if there is no
 * such CPU, -EDEADLK, -ESHUTDOWN, -ECHILD.
 */
int zswap_load_batch(struct zswap *z, unsigned int cpu, const uint64_t *swp, unsigned int nr,
		     void *out, int *ret);

/*
 * zswap_invalidate() frees what the 'nr' slots from 'swp' on hold. It skips
 * slots that were never used, so a whole file may be passed.
 *
 * Returns 0, whether or not the slots held anything; -EINVAL if there is no
 * such CPU; -EBADSLT, -EDEADLK, -ESHUTDOWN, -ECHILD.
 */
int zswap_invalidate(struct zswap *z, unsigned int cpu, uint64_t swp, uint64_t nr);

/*
 * zswap_contains() returns 1 if zswap holds the page at 'swp' and 0 if it does
 * not; or -EINVAL if there is no such CPU, -EBADSLT, -EDEADLK, -ESHUTDOWN,
 * -ECHILD. It waits for a store or load of that slot.
 */
int zswap_contains(struct zswap *z, unsigned int cpu, uint64_t swp);

struct zswap_entry_info {
	uint32_t length; /* compressed bytes; page_size: stored raw */
	uint32_t node;   /* of the entry's memory and LRU list */
	bool referenced; /* has its second chance on the LRU */
	const struct zswap_pool *pool;
};

/*
 * zswap_entry_info() fills *ret with the entry at 'swp'. The pool is for
 * comparing only: it may be freed once the call has returned.
 *
 * Returns 0; -ENOENT if the slot holds nothing; else as zswap_contains().
 */
int zswap_entry_info(struct zswap *z, unsigned int cpu, uint64_t swp, struct zswap_entry_info *ret);

/*
 * zswap_is_zero() returns 1 if all 'len' bytes at 'p' are zero, else 0. The
 * kernel keeps such folios from zswap: their slots have a bit in swap_zeromap.
 */
int zswap_is_zero(const void *p, size_t len);

/* ---- measuring: many pages by one call, timed ---- */

/*
 * A cluster: consecutive pages that a sample drew together. A row adds up
 * clusters of one cell, the set of pages that they were drawn from.
 */
struct zswap_cluster {
	/* not the cluster's of the same cell before, unless it goes on */
	uint32_t number;
	uint32_t cell, row; /* their numbers */
	uint32_t pages;     /* of the cluster, in this span */
};

/*
 * Folios that lie one after another, for consecutive slots; the last one may be
 * shorter.
 */
struct zswap_span {
	uint64_t swp; /* the first page's slot */
	uint8_t *pages;
	uint64_t nr_pages;
	size_t page_size;         /* the instance's */
	unsigned int folio_pages; /* pages of a folio, at least 1 */
	/*
	 * pages between two reads of the clock: a multiple of folio_pages, at
	 * most ZSWAP_MAX_FOLIO
	 */
	unsigned int run_pages;
	/* the pages' clusters, in their order; may be NULL if nr_clusters is 0 */
	struct zswap_cluster *clusters;
	uint64_t nr_clusters;
};

/* One run: the pages between two reads of the clock. */
struct zswap_run {
	/*
	 * CPU time of the calling thread, user and system: neither sleep nor
	 * other threads
	 */
	uint64_t ns;
	uint64_t pages;
};

/*
 * zswap_drop_zero_folios() moves the folios that are not all zero together, in
 * their order, and shortens the span and its clusters to these.
 *
 * Returns 0; -EINVAL if the span's folio_pages or run_pages is out of range.
 */
int zswap_drop_zero_folios(struct zswap_span *span);

/*
 * zswap_store_runs() calls zswap_store() for each folio of a span. runs[] has a
 * cell for each run of the span, the last of which may be shorter. Rejects are
 * counted in the statistics.
 *
 * Returns 0; -EINVAL if the span is not valid; the first error of
 * zswap_store(), after which the rest is not stored.
 */
int zswap_store_runs(struct zswap *z, unsigned int cpu, const struct zswap_span *span,
		     struct zswap_run *runs);

/*
 * zswap_peek_runs() calls zswap_peek() for each page of a span into 'out', a
 * buffer for run_pages pages, and then compares each with the span, untimed. A
 * run counts the pages that were peeked; pages that zswap does not hold are
 * skipped. *wrong is the number of pages that are corrupt or differ.
 *
 * Returns 0; -EINVAL if the span is not valid; the first error of zswap_peek()
 * other than -ENOENT and -EIO.
 */
int zswap_peek_runs(struct zswap *z, unsigned int cpu, const struct zswap_span *span, void *out,
		    struct zswap_run *runs, uint64_t *wrong);

/* What zswap holds of a row's clusters. */
struct zswap_tally {
	double stored; /* pages */
	double raw;    /* of these, pages stored raw */
	double bytes;  /* their compressed lengths */
	/* the parts of zspages that they fill: in bytes, and in zspages */
	double pool, zspages;
};

/* What zswap holds of a cell in one size class. */
struct zswap_class_tally {
	uint64_t objects;
	uint32_t clusters; /* that have such an object */
	uint32_t latest;   /* the number of the latest of these, plus 1 */
};

/* Where and how zswap_tally_span() adds up. */
struct zswap_tallies {
	/* by compressed length, 0 to page_size: the number of the class */
	const uint16_t *class_of;
	/* by class: an object's part of a zspage, in bytes and in zspages */
	const double *pool, *zspages;
	uint32_t nr_classes;
	struct zswap_tally *rows;          /* by row */
	struct zswap_class_tally *classes; /* by cell * nr_classes + class */
};

/*
 * zswap_tally_span() adds what zswap holds of a span to the rows and cells of
 * its clusters. Pages that zswap does not hold add nothing.
 *
 * Returns 0; -EINVAL if the span is not valid, or if its clusters have fewer
 * pages than it has; the first error of zswap_entry_info() other than -ENOENT.
 */
int zswap_tally_span(struct zswap *z, unsigned int cpu, const struct zswap_span *span,
		     const struct zswap_tallies *tallies);

/* ---- counters ---- */

/* The kernel's debugfs directory zswap. Only a gauge can fall. */
struct zswap_stats {
	uint64_t pool_limit_hit;      /* +1: a store saw the pools at or over their limit */
	uint64_t reject_reclaim_fail; /* 0: there is no writeback yet */
	/*
	 * +1: the allocator had no memory, or the tree could not take the entry
	 */
	uint64_t reject_alloc_fail;
	uint64_t reject_kmemcache_fail; /* +1: no memory for an entry */
	/*
	 * +1: the compressor failed, not with -ENOSPC, and raw storing is not
	 * allowed
	 */
	uint64_t reject_compress_fail;
	/* +1: the compressor or the allocator failed with -ENOSPC */
	uint64_t reject_compress_poor;
	uint64_t decompress_fail;    /* +1: a load or peek could not decompress */
	uint64_t written_back_pages; /* 0: there is no writeback yet */
	uint64_t pool_total_size;    /* gauge, bytes: pages of all pools, killed ones too */
	uint64_t stored_pages;       /* gauge: entries */
	uint64_t stored_incompressible_pages; /* gauge: entries that are stored raw */
};

/*
 * zswap_stats() fills *ret. The counters are read one after another while other
 * calls run.
 *
 * Returns 0; -EDEADLK, -ESHUTDOWN, -ECHILD.
 */
int zswap_stats(struct zswap *z, struct zswap_stats *ret);

/*
 * What the kernel counts elsewhere (vmstat, cgroups), and what only a simulated
 * machine can count.
 */
struct zswap_events {
	uint64_t zswpin, zswpout; /* pages loaded; pages of folios that were stored */
	uint64_t zswap_bytes;     /* gauge, bytes: compressed, as a cgroup is charged */
	uint64_t no_context;      /* +1: a store or load had no context */
	uint64_t arena_mapped;    /* gauge, bytes: mapped by this process for the pools' pages */
	/*
	 * gauge, bytes: mapped by this process for entries, handles and zspages
	 */
	uint64_t slab_mapped;
};

/* zswap_events() fills *ret as zswap_stats() does, and returns the same. */
int zswap_events(struct zswap *z, struct zswap_events *ret);

/*
 * zswap_memory_kind() returns the name of a kind of allocation; NULL past the
 * last. Kinds are numbered from 0.
 */
const char *zswap_memory_kind(unsigned int kind);

/*
 * zswap_memory() sets *ret to the bytes that are allocated for a kind on node
 * nid.
 *
 * Returns 0; -EINVAL if there is no such kind or node; -EDEADLK, -ESHUTDOWN,
 * -ECHILD.
 */
int zswap_memory(struct zswap *z, unsigned int kind, unsigned int nid, uint64_t *ret);

/*
 * zswap_trim() gives freed memory back to the system, as the kernel's
 * drop_caches does.
 *
 * Returns 0; -EDEADLK, -ESHUTDOWN, -ECHILD.
 */
int zswap_trim(struct zswap *z);

/*
 * zswap_next_message() takes the oldest message that the kernel would have
 * logged and writes it to buf, cut to len - 1 bytes and NUL-terminated. The
 * latest 16 are kept.
 *
 * Returns the message's syslog level, 3 (error) or 1 (alert); 0 if there is no
 * message, and in a forked child.
 */
int zswap_next_message(struct zswap *z, char *buf, size_t len);

/* ---- faults and checks, for tests ---- */

/*
 * zswap_fault_kind() returns the name of a kind of fault; NULL past the last.
 * The first kinds are zswap_memory_kind()'s: their allocations fail. The rest
 * are kinds of work.
 */
const char *zswap_fault_kind(unsigned int kind);

/*
 * zswap_fault_arm() makes tries nth to nth + times - 1 of a kind, counted from
 * 1, fail with 'error', a negative errno; with times 0 all tries from the nth
 * on. It counts the tries on 'cpu', or on every CPU if 'cpu' is -1. It replaces
 * the fault of that kind that was armed before. Any kind but those of
 * zswap_fault_kind() is ignored.
 *
 * zswap_fault_disarm() removes a kind's fault. zswap_fault_hits() returns the
 * number of tries that have failed by a kind's fault since it was armed.
 *
 * One thread at a time may arm and disarm.
 */
void zswap_fault_arm(struct zswap *z, unsigned int kind, uint64_t nth, uint64_t times, int error,
		     int cpu);
void zswap_fault_disarm(struct zswap *z, unsigned int kind);
uint64_t zswap_fault_hits(struct zswap *z, unsigned int kind);

/*
 * zswap_flip() corrupts the object stored at 'swp': it XORs the object's byte
 * number 'byte' with 'mask'.
 *
 * Returns 0; -ENOENT if the slot holds nothing; -EINVAL if 'byte' is past the
 * object's length, or if there is no such CPU; -ENOMEM; -EBADSLT, -EDEADLK,
 * -ESHUTDOWN, -ECHILD.
 */
int zswap_flip(struct zswap *z, unsigned int cpu, uint64_t swp, uint32_t byte, uint8_t mask);

/*
 * zswap_check() walks index, LRU and pools. It sets *ret to NULL if all rules
 * hold, else to a static string that names the broken one. No other call may be
 * inside meanwhile.
 *
 * Returns 0; -EDEADLK, -ESHUTDOWN, -ECHILD, and then *ret is as it was.
 */
int zswap_check(struct zswap *z, const char **ret);

/* cffi: end */

#endif
