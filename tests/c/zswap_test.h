/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Shared by the test drivers of the whole library: checks, pages, a toy
 * compressor, instances and pools.
 */
#ifndef ZSWAP_TEST_H
#define ZSWAP_TEST_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/codecs.h"
#include "zswap.h"

#define PAGE_SIZE         4096u
#define SWP(type, offset) ((uint64_t)(type) << 58 | (offset))

/* A failed check ends the driver: the checks after it would mean nothing. */
#define check(cond, ...)                                                           \
	do {                                                                       \
		if (!(cond)) {                                                     \
			fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #cond); \
			fprintf(stderr, __VA_ARGS__);                              \
			fprintf(stderr, "\n");                                     \
			abort();                                                   \
		}                                                                  \
	} while (0)

static inline uint64_t next_random(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

struct page_header {
	uint64_t swp, generation;
};

/*
 * Makes the page of a slot in a generation: a header, then runs of bytes. In
 * odd generations one page in eight has bytes that no compressor makes smaller.
 */
static inline void make_page(uint8_t *page, size_t size, uint64_t swp, uint64_t generation)
{
	struct page_header header = { swp, generation };
	uint64_t x = (swp * 0x9e3779b97f4a7c15u ^ (generation + 1) * 0xbf58476d1ce4e5b9u) | 1;
	size_t i = sizeof(header), most;

	for (int warm = 0; warm < 4; warm++)
		next_random(&x);
	most = next_random(&x) % 8 || generation % 2 == 0 ? 8 + next_random(&x) % 200 : 1;
	memcpy(page, &header, sizeof(header));
	while (i < size) {
		size_t len = 1 + next_random(&x) % most;
		uint8_t byte = next_random(&x) >> 32;

		while (len-- && i < size)
			page[i++] = byte;
	}
}

/*
 * Returns the generation of a page that was read for a slot. Ends the driver if
 * the page is not that slot's, whole.
 */
static inline uint64_t check_page(const uint8_t *page, size_t size, uint64_t swp)
{
	uint8_t expected[1 << 16];
	struct page_header header;

	memcpy(&header, page, sizeof(header));
	check(header.swp == swp, "slot %#lx has the page of slot %#lx", (long)swp,
	      (long)header.swp);
	make_page(expected, size, swp, header.generation);
	check(!memcmp(page, expected, size), "slot %#lx, generation %ld: other bytes", (long)swp,
	      (long)header.generation);
	return header.generation;
}

/* ---- run-length code: pairs of a count, 1 to 255, and a byte ---- */

static inline int rle_compress(const uint8_t *src, unsigned int slen, uint8_t *dst,
			       unsigned int *dlen)
{
	unsigned int made = 0;

	for (unsigned int i = 0, run; i < slen; i += run) {
		for (run = 1; run < 255 && i + run < slen && src[i + run] == src[i]; run++)
			;
		if (*dlen - made < 2)
			return -ENOSPC;
		dst[made++] = run;
		dst[made++] = src[i];
	}
	*dlen = made;
	return 0;
}

static inline int rle_decompress(const uint8_t *src, unsigned int slen, uint8_t *dst,
				 unsigned int *dlen)
{
	unsigned int made = 0;

	for (unsigned int i = 0; i < slen; i += 2) {
		if (slen - i < 2 || !src[i] || src[i] > *dlen - made)
			return -EINVAL;
		memset(dst + made, src[i + 1], src[i]);
		made += src[i];
	}
	*dlen = made;
	return 0;
}

static inline int rle(void *handle, bool compress, const void *src, unsigned int slen, void *dst,
		      unsigned int *dlen)
{
	(void)handle;
	return compress ? rle_compress(src, slen, dst, dlen) : rle_decompress(src, slen, dst, dlen);
}

/* ---- compressors, instances, pools ---- */

/* Creates "rle", or a codec that borrows nothing, such as "lzo". */
static inline struct acomp_alg *new_alg(const char *name, unsigned int batch_size)
{
	struct acomp_alg *alg = NULL;

	if (!strcmp(name, "rle")) {
		alg = acomp_alg_create_custom("rle", "test", rle, NULL);
	} else {
		for (unsigned int i = 0; codec_name(i) && !alg; i++)
			if (!strcmp(codec_name(i), name) && !codec_symbol(i, 0))
				alg = acomp_alg_create(i);
	}
	check(alg, "no compressor %s", name);
	acomp_alg_set_batch_size(alg, batch_size);
	return alg;
}

/* Linux 6.18 with the batching series, on a machine of 5 CPUs and 2 nodes. */
static inline struct zswap_config default_config(void)
{
	return (struct zswap_config){
		.page_shift = 12,
		.chain_size = 8,
		.nr_cpus = 5,
		.nr_nodes = 2,
		.totalram_pages = 1 << 20,
		.store_incompressible = true,
		.check_dlen = true,
		.max_batch = ZSWAP_MAX_BATCH_SIZE,
		.sequential_batch = 2,
		.buffer_pages = 2,
	};
}

static inline struct zswap *new_zswap(const struct zswap_config *config)
{
	int err;
	struct zswap *z = zswap_create(config, &err);

	check(z, "zswap_create: %d", err);
	return z;
}

/* Creates a pool with each CPU's context, started but not current. */
static inline struct zswap_pool *new_pool(struct zswap *z, const struct acomp_alg *alg,
					  unsigned int nr_cpus)
{
	int err;
	struct zswap_pool *pool = zswap_pool_create(z, alg, "test", &err);

	check(pool, "zswap_pool_create: %d", err);
	for (unsigned int cpu = 0; cpu < nr_cpus; cpu++)
		check(!zswap_cpu_comp_prepare(pool, cpu), "cpu %u", cpu);
	zswap_pool_start(pool);
	return pool;
}

/* Returns NULL, or the invariant that zswap_check() found broken. */
static inline const char *what_is_wrong(struct zswap *z)
{
	const char *wrong = "zswap_check() did not come to it";

	zswap_check(z, &wrong);
	return wrong;
}

/* Checks an instance, and destroys it with its pools. */
static inline void end_zswap(struct zswap *z)
{
	const char *wrong = what_is_wrong(z);

	check(!wrong, "%s", wrong);
	zswap_shutdown(z);
	zswap_release(z);
	zswap_destroy(z);
}

#endif
