// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The bare codec loops that zswap is measured against: the same functions over
 * the same bytes, page after page, and nothing else. harness.py builds them.
 * compress_one() and decompress_one() return the bytes written, or 0 if the
 * page failed.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "crypto/lz4.h"
#include "crypto/lzo.h"

typedef int (*lz4_compress_fn)(void *state, const char *src, char *dst, int slen, int room,
			       int acceleration);
typedef int (*lz4_decompress_fn)(const char *src, char *dst, int slen, int room);
typedef size_t (*zstd_run_fn)(void *ctx, void *dst, size_t room, const void *src, size_t slen);

struct z_stream {
	const uint8_t *next_in;
	unsigned int avail_in;
	unsigned long total_in;
	uint8_t *next_out;
	unsigned int avail_out;
	unsigned long total_out;
	const char *msg;
	void *state, *zalloc, *zfree, *opaque;
	int data_type;
	unsigned long adler, reserved;
};

typedef int (*z_stream_fn)(struct z_stream *s);
typedef int (*z_run_fn)(struct z_stream *s, int flush);

enum kind { LZ4_LIB, LZ4, LZO, LZO_RLE, ZSTD, DEFLATE };

struct bare {
	int kind;
	void *ctx;         /* state, wrkmem, ZSTD_CCtx or ZSTD_DCtx, z_stream */
	void *run, *reset; /* the codec's function, and zlib's reset */
	size_t page_size;
};

static size_t run_zlib(const struct bare *b, const void *src, size_t slen, void *dst, size_t room)
{
	struct z_stream *s = b->ctx;

	((z_stream_fn)b->reset)(s);
	s->next_in = src;
	s->avail_in = slen;
	s->next_out = dst;
	s->avail_out = room;
	return ((z_run_fn)b->run)(s, 4) == 1 ? room - s->avail_out : 0;
}

static size_t compress_one(const struct bare *b, const uint8_t *src, uint8_t *dst)
{
	size_t n = b->page_size;
	int len;

	switch (b->kind) {
	case LZ4_LIB:
		len = ((lz4_compress_fn)b->run)(b->ctx, (const char *)src, (char *)dst, n, n, 1);
		return len > 0 ? len : 0;
	case LZ4:
		return lz4_compress(src, b->page_size, dst, &n, b->ctx) ? 0 : n;
	case LZO:
		return lzo1x_1_compress(src, b->page_size, dst, &n, b->ctx) ? 0 : n;
	case LZO_RLE:
		return lzorle1x_1_compress(src, b->page_size, dst, &n, b->ctx) ? 0 : n;
	case ZSTD:
		n = ((zstd_run_fn)b->run)(b->ctx, dst, n, src, n);
		return n <= b->page_size ? n : 0;
	default:
		return run_zlib(b, src, n, dst, n);
	}
}

static size_t decompress_one(const struct bare *b, const uint8_t *src, size_t slen, uint8_t *dst)
{
	size_t n = b->page_size;
	int len;

	switch (b->kind) {
	case LZ4_LIB:
	case LZ4:
		len = ((lz4_decompress_fn)b->run)((const char *)src, (char *)dst, slen, n);
		return len > 0 ? len : 0;
	case LZO:
	case LZO_RLE:
		return lzo1x_decompress_safe(src, slen, dst, &n) ? 0 : n;
	case ZSTD:
		n = ((zstd_run_fn)b->run)(b->ctx, dst, n, src, slen);
		return n <= b->page_size ? n : 0;
	default:
		return run_zlib(b, src, slen, dst, n);
	}
}

/*
 * Compresses nr pages, each into 'dst', as a store does into its context's
 * buffer. A page that does not shrink counts as page_size. Returns the bytes of
 * all.
 */
size_t bare_compress(const struct bare *b, const uint8_t *pages, size_t nr, uint8_t *dst)
{
	size_t total = 0;

	for (size_t i = 0; i < nr; i++) {
		size_t n = compress_one(b, pages + i * b->page_size, dst);

		total += n ? n : b->page_size;
	}
	return total;
}

/*
 * Like bare_compress(), but keeps the objects one behind the other, and raw
 * pages as they are: lens[i] is then page_size.
 */
size_t bare_pack(const struct bare *b, const uint8_t *pages, size_t nr, uint8_t *objs,
		 uint32_t *lens, uint8_t *scratch)
{
	size_t total = 0;

	for (size_t i = 0; i < nr; i++) {
		const uint8_t *page = pages + i * b->page_size;
		size_t n = compress_one(b, page, scratch);

		lens[i] = n ? n : b->page_size;
		memcpy(objs + total, n ? scratch : page, lens[i]);
		total += lens[i];
	}
	return total;
}

/*
 * Decompresses nr objects that lie one behind the other into nr pages. Returns
 * the bytes of the objects, or 0 if one failed.
 */
size_t bare_decompress(const struct bare *b, const uint8_t *objs, const uint32_t *lens, size_t nr,
		       uint8_t *pages)
{
	size_t total = 0;

	for (size_t i = 0; i < nr; i++) {
		uint8_t *page = pages + i * b->page_size;

		if (lens[i] == b->page_size)
			memcpy(page, objs + total, lens[i]);
		else if (decompress_one(b, objs + total, lens[i], page) != b->page_size)
			return 0;
		total += lens[i];
	}
	return total;
}

/* zswap's calls in a C loop: the cost without Python. */

typedef int (*zswap_store_fn)(void *z, unsigned int cpu, uint64_t swp, const void *folio,
			      unsigned int nr_pages);
typedef int (*zswap_load_batch_fn)(void *z, unsigned int cpu, const uint64_t *swp, unsigned int nr,
				   void *out, int *ret);

/*
 * Stores 'nr' pages from slot 'first' on, in folios. Returns the number of
 * folios that were rejected.
 */
size_t whole_store(zswap_store_fn store, void *z, const uint8_t *pages, size_t first, size_t nr,
		   size_t folio, size_t page_size)
{
	size_t refused = 0;

	for (size_t i = 0; i < nr; i += folio)
		refused += !!store(z, 0, first + i, pages + i * page_size, folio);
	return refused;
}

/*
 * Loads them in batches of at most 64. Returns the number of pages that were
 * not loaded.
 */
size_t whole_load(zswap_load_batch_fn load, void *z, uint8_t *out, size_t first, size_t nr,
		  size_t batch, size_t page_size)
{
	uint64_t swp[64];
	size_t missed = 0;
	int ret[64];

	for (size_t i = 0; i < nr; i += batch) {
		for (size_t j = 0; j < batch; j++)
			swp[j] = first + i + j;
		missed += load(z, 0, swp, batch, out + i * page_size, ret);
	}
	return missed;
}
