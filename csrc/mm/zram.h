/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A zram device: pages compressed in memory, by the rules of
 * drivers/block/zram/zram_drv.c over the same zsmalloc and compressors as
 * zswap. It has a fixed number of slots and rejects nothing: a page that does
 * not compress is kept raw. A page of one repeated word takes no memory.
 *
 * Any number of threads may call all but zram_destroy() at once. Every call
 * returns -EDEADLK in a compressor's own function that the same device runs,
 * -ESHUTDOWN after zram_shutdown(), -ECHILD in a forked child.
 */
#ifndef ZSWAP_ZRAM_H
#define ZSWAP_ZRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "crypto/codecs.h"

/* cffi: begin */

/* ---- zram ---- */

struct zram;

struct zram_config {
	unsigned int page_shift; /* log2 of the page size: 12, 14 or 16 */
	unsigned int chain_size; /* CONFIG_ZSMALLOC_CHAIN_SIZE, pages: 4 to 16 */
	unsigned int nr_cpus;    /* possible CPUs: each has a stream */
	uint64_t nr_slots;       /* the device's size in pages, 1 to 2^40 */
	uint64_t totalram_pages; /* the most pages that the pool may take: this machine's */
};

/*
 * zram_create() returns a device whose slots are empty. 'alg' must outlive it.
 * Returns NULL and sets *err: -EINVAL for a value out of its range, -ENOMEM, or
 * the error of the algorithm's init().
 */
struct zram *zram_create(const struct zram_config *config, const struct acomp_alg *alg, int *err);
/*
 * zram_shutdown() waits for running calls and frees the pages. Returns 0, also
 * a second time; -EDEADLK.
 */
int zram_shutdown(struct zram *zram);
/* zram_destroy() frees the device. zram_destroy(NULL) does nothing. */
void zram_destroy(struct zram *zram);

/*
 * zram_write() stores a page at a slot. Returns 0; -EINVAL if there is no such
 * slot or CPU; -ENOMEM; the compressor's error. After an error the slot is empty
 * or holds its old page.
 */
int zram_write(struct zram *zram, unsigned int cpu, uint64_t index, const void *page);
/*
 * zram_read() reads a slot's page, zeros if the slot is empty. Returns 0;
 * -EINVAL as above; -EIO if the object does not decompress to a page.
 */
int zram_read(struct zram *zram, unsigned int cpu, uint64_t index, void *page);
/* zram_discard() empties 'nr' slots. Returns 0; -EINVAL as above. */
int zram_discard(struct zram *zram, unsigned int cpu, uint64_t index, uint64_t nr);
/*
 * zram_length() returns the bytes that a slot's page takes in the pool: a page
 * if it is kept raw, 0 if it is one repeated word; -ENOENT if the slot is
 * empty; -EINVAL as above.
 */
int64_t zram_length(struct zram *zram, unsigned int cpu, uint64_t index);

/* The fields of mm_stat that pages make, in its order. Only gauges can fall. */
struct zram_mm_stat {
	uint64_t orig_data_size;   /* gauge, bytes: pages held, each counts whole */
	uint64_t compr_data_size;  /* gauge, bytes: their lengths in the pool */
	uint64_t mem_used_total;   /* gauge, bytes: pages of the pool */
	uint64_t mem_used_max;     /* bytes: the most that it was after a write */
	uint64_t same_pages;       /* gauge: pages of one repeated word */
	uint64_t huge_pages;       /* gauge: pages kept raw */
	uint64_t huge_pages_since; /* +1: a page was kept raw */
};

/*
 * zram_mm_stat() fills *ret; one value is read after another while other calls
 * run. Returns 0.
 */
int zram_mm_stat(struct zram *zram, struct zram_mm_stat *ret);

/* What the device takes besides the pool, and its pool's rule, in bytes. */
struct zram_info {
	uint64_t table;           /* 16 bytes a slot, used or not */
	uint64_t handle, zspage;  /* of the objects; zspages' descriptors */
	uint64_t huge_class_size; /* from this length on a page is kept raw */
	uint64_t mapped;          /* mapped by this process for all of it */
};

/* zram_info() fills *ret. Returns 0. */
int zram_info(struct zram *zram, struct zram_info *ret);

/* zram_page_size() returns the bytes of a page. */
size_t zram_page_size(const struct zram *zram);

struct zram_class_info {
	uint32_t index; /* of the largest slot that the class serves */
	uint32_t size;  /* bytes of an object */
	uint32_t pages_per_zspage, objs_per_zspage;
	uint64_t zspages, objs_inuse;
};

/*
 * zram_class_info() fills *ret with the zsmalloc class that serves slot i. Slots
 * that share a class give the same. Returns 0, or -ENOENT past the last slot.
 */
int zram_class_info(struct zram *zram, unsigned int i, struct zram_class_info *ret);

struct zswap_span;
struct zswap_run;
struct zswap_tallies;

/*
 * The counterparts of zswap_store_runs(), zswap_peek_runs() and
 * zswap_tally_span(). A page of one repeated word is stored, but in no class.
 */
int zram_write_runs(struct zram *zram, unsigned int cpu, const struct zswap_span *span,
		    struct zswap_run *runs);
int zram_read_runs(struct zram *zram, unsigned int cpu, const struct zswap_span *span, void *out,
		   struct zswap_run *runs, uint64_t *wrong);
int zram_tally_span(struct zram *zram, unsigned int cpu, const struct zswap_span *span,
		    const struct zswap_tallies *tallies);

/* cffi: end */

#endif
