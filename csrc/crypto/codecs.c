// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The software compressors. Each section wraps one library, or the encoders of
 * this directory, as acomp functions: init() makes a transform's context,
 * compress() and decompress() run one page, exit() frees the context. The table
 * at the end names them; codec_*() reads it for Python, which finds the
 * libraries' functions, and acomp_alg_create() makes an algorithm of a row.
 *
 * A library's function is called by its number in the row, BORROWED(). The enum
 * above each section numbers them in the order of the row's 'symbols'. No
 * library's header is included: the few structs and constants that are needed
 * stand here; igzip's offsets are asserted.
 *
 * Every failure to decompress is -EINVAL. If the output does not fit, each
 * returns what the kernel's driver of that name returns ('nospace').
 *
 * Locks: none. A transform is used by one thread at a time.
 */
#include <stdio.h>
#include <stdlib.h>

#include "crypto/codecs.h"
#include "crypto/lz4.h"
#include "crypto/lz4hc.h"
#include "crypto/lzo.h"

/* The borrowed function number 'n', as a pointer of the given type. */
#define BORROWED(tfm, n, type) ((type)(tfm)->alg->symbol[n])

static int nospace(const struct acomp_req *req)
{
	return req->tfm->alg->nospace;
}

static int alloc_ctx(struct crypto_acomp *tfm, size_t size)
{
	tfm->ctx = kzalloc_node(tfm->mm, FAULT_ACOMP, size, tfm->node);
	return tfm->ctx ? 0 : -ENOMEM;
}

static void free_ctx(struct crypto_acomp *tfm)
{
	kfree(tfm->mm, tfm->ctx);
}

/* ---- lz4, lz4hc: liblz4 ---- */

enum { LZ4_COMPRESS, LZ4_SIZEOF_STATE, LZ4_DECOMPRESS };
#define LZ4HC_DEFAULT_CLEVEL 9

typedef int (*lz4_compress_fn)(void *state, const char *src, char *dst, int slen, int room,
			       int acceleration);
typedef int (*lz4_decompress_fn)(const char *src, char *dst, int slen, int room);
typedef int (*lz4_sizeof_fn)(void);

static int liblz4_init(struct crypto_acomp *tfm)
{
	return alloc_ctx(tfm, BORROWED(tfm, LZ4_SIZEOF_STATE, lz4_sizeof_fn)());
}

static int liblz4_run(struct acomp_req *req, int effort)
{
	int n = BORROWED(req->tfm, LZ4_COMPRESS, lz4_compress_fn)(req->tfm->ctx, req->src, req->dst,
								  req->slen, req->dlen, effort);

	if (n <= 0)
		return nospace(req);
	req->dlen = n;
	return 0;
}

static int liblz4_compress(struct acomp_req *req)
{
	return liblz4_run(req, 1);
}

static int liblz4hc_compress(struct acomp_req *req)
{
	return liblz4_run(req, LZ4HC_DEFAULT_CLEVEL);
}

static int lz4_read(struct acomp_req *req, int symbol)
{
	int n = BORROWED(req->tfm, symbol, lz4_decompress_fn)(req->src, req->dst, req->slen,
							      req->dlen);

	if (n < 0)
		return -EINVAL;
	req->dlen = n;
	return 0;
}

static int liblz4_decompress(struct acomp_req *req)
{
	return lz4_read(req, LZ4_DECOMPRESS);
}

/* ---- lz4, lz4hc, lzo, lzo-rle as the kernel encodes them ---- */

enum { LZ4ENC_DECOMPRESS }; /* any LZ4 decoder reads the kernel's streams */

typedef int (*encode_fn)(const void *src, size_t slen, void *dst, size_t *dlen, void *wrkmem);

static int lz4_init(struct crypto_acomp *tfm)
{
	return alloc_ctx(tfm, LZ4_MEM_COMPRESS);
}

static int lz4hc_init(struct crypto_acomp *tfm)
{
	return alloc_ctx(tfm, LZ4HC_MEM_COMPRESS);
}

static int lzo_init(struct crypto_acomp *tfm)
{
	return alloc_ctx(tfm, LZO1X_1_MEM_COMPRESS);
}

static int encode(struct acomp_req *req, encode_fn encoder)
{
	size_t dlen = req->dlen;
	int ret = encoder(req->src, req->slen, req->dst, &dlen, req->tfm->ctx);

	req->dlen = dlen;
	return ret;
}

static int lz4_encode(struct acomp_req *req)
{
	return encode(req, lz4_compress);
}

static int lz4hc_encode(struct acomp_req *req)
{
	return encode(req, lz4hc_compress);
}

static int lz4_decode(struct acomp_req *req)
{
	return lz4_read(req, LZ4ENC_DECOMPRESS);
}

static int lzo_encode(struct acomp_req *req)
{
	return encode(req, lzo1x_1_compress);
}

static int lzorle_encode(struct acomp_req *req)
{
	return encode(req, lzorle1x_1_compress);
}

static int lzo_decode(struct acomp_req *req)
{
	size_t dlen = req->dlen;
	int ret = lzo1x_decompress_safe(req->src, req->slen, req->dst, &dlen);

	req->dlen = dlen;
	return ret;
}

/* ---- zstd ---- */

enum {
	ZSTD_CREATE_C,
	ZSTD_FREE_C,
	ZSTD_SET_PARAMETER,
	ZSTD_COMPRESS2,
	ZSTD_CREATE_D,
	ZSTD_FREE_D,
	ZSTD_DECOMPRESS,
	ZSTD_IS_ERROR,
};

struct zstd_ctx {
	void *cctx, *dctx;
};

typedef void *(*zstd_create_fn)(void);
typedef size_t (*zstd_free_fn)(void *ctx);
typedef size_t (*zstd_set_fn)(void *cctx, int parameter, int value);
typedef size_t (*zstd_run_fn)(void *ctx, void *dst, size_t room, const void *src, size_t slen);
typedef unsigned int (*zstd_is_error_fn)(size_t code);

/*
 * Numbers of ZSTD_cParameter: window, chain, hash, search, minMatch, target,
 * strategy.
 */
static const int zstd_parameters[] = { 101, 103, 102, 104, 105, 106, 107 };
static const int zstd_values[][ARRAY_SIZE(zstd_parameters)] = {
	{ 18, 16, 16, 1, 4, 0, 2 }, /* zswap of Linux 6.17 and later: level 3 for 256 KiB */
	{ 21, 16, 17, 1, 5, 0, 2 }, /* before: level 3 for an unknown size */
};

/*
 * zram's: the level's parameters for a source of one page. libzstd takes the
 * same for a level, since each call compresses one page whole.
 */
#define ZSTD_PAGE_VARIANT  ARRAY_SIZE(zstd_values)
#define ZSTD_LEVEL         100 /* a ZSTD_cParameter */
#define ZSTD_DEFAULT_LEVEL 3

static void zstd_exit(struct crypto_acomp *tfm)
{
	struct zstd_ctx *ctx = tfm->ctx;

	BORROWED(tfm, ZSTD_FREE_C, zstd_free_fn)(ctx->cctx);
	BORROWED(tfm, ZSTD_FREE_D, zstd_free_fn)(ctx->dctx);
	free_ctx(tfm);
}

static void zstd_set_parameters(const struct crypto_acomp *tfm, zstd_set_fn set, void *cctx)
{
	const struct acomp_alg *alg = tfm->alg;

	if (alg->variant == ZSTD_PAGE_VARIANT) {
		set(cctx, ZSTD_LEVEL, alg->level ? alg->level : ZSTD_DEFAULT_LEVEL);
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(zstd_parameters); i++)
		set(cctx, zstd_parameters[i], zstd_values[alg->variant][i]);
}

static int zstd_init(struct crypto_acomp *tfm)
{
	struct zstd_ctx *ctx = kzalloc_node(tfm->mm, FAULT_ACOMP, sizeof(*ctx), tfm->node);

	if (!ctx)
		return -ENOMEM;
	tfm->ctx = ctx;
	ctx->cctx = BORROWED(tfm, ZSTD_CREATE_C, zstd_create_fn)();
	ctx->dctx = BORROWED(tfm, ZSTD_CREATE_D, zstd_create_fn)();
	if (!ctx->cctx || !ctx->dctx) {
		zstd_exit(tfm);
		return -ENOMEM;
	}
	zstd_set_parameters(tfm, BORROWED(tfm, ZSTD_SET_PARAMETER, zstd_set_fn), ctx->cctx);
	return 0;
}

static int zstd_result(struct acomp_req *req, size_t n, int error)
{
	if (BORROWED(req->tfm, ZSTD_IS_ERROR, zstd_is_error_fn)(n))
		return error;
	req->dlen = n;
	return 0;
}

static int zstd_compress(struct acomp_req *req)
{
	struct zstd_ctx *ctx = req->tfm->ctx;
	size_t n = BORROWED(req->tfm, ZSTD_COMPRESS2, zstd_run_fn)(ctx->cctx, req->dst, req->dlen,
								   req->src, req->slen);

	return zstd_result(req, n, nospace(req));
}

static int zstd_decompress(struct acomp_req *req)
{
	struct zstd_ctx *ctx = req->tfm->ctx;
	size_t n = BORROWED(req->tfm, ZSTD_DECOMPRESS, zstd_run_fn)(ctx->dctx, req->dst, req->dlen,
								    req->src, req->slen);

	return zstd_result(req, n, -EINVAL);
}

/* ---- deflate: zlib ---- */

enum {
	Z_DEFLATE_INIT,
	Z_DEFLATE_RESET,
	Z_DEFLATE,
	Z_DEFLATE_END,
	Z_INFLATE_INIT,
	Z_INFLATE_RESET,
	Z_INFLATE,
	Z_INFLATE_END,
	Z_VERSION,
};

/* zlib.h's z_stream. libz checks the size that it is given. */
struct z_stream {
	const u8 *next_in;
	unsigned int avail_in;
	unsigned long total_in;
	u8 *next_out;
	unsigned int avail_out;
	unsigned long total_out;
	const char *msg;
	void *state;
	void *(*zalloc)(void *, unsigned int, unsigned int);
	void (*zfree)(void *, void *);
	void *opaque;
	int data_type;
	unsigned long adler, reserved;
};

struct zlib_ctx {
	struct z_stream deflate, inflate;
};

#define Z_OK         0
#define Z_STREAM_END 1
#define Z_SYNC_FLUSH 2
#define Z_FINISH     4
#define Z_DEFLATED   8
#define Z_FIXED      4 /* a strategy */

/* deflateInit2()'s parameters. A raw stream's window is negative there. */
struct zlib_params {
	int level, window_bits, mem_level, strategy;
};

/* the kernel's crypto/deflate.c: raw, 2 KiB window */
static const struct zlib_params deflate_params = { -1, 11, 8, 0 };

typedef int (*z_deflate_init_fn)(struct z_stream *s, int level, int method, int window_bits,
				 int mem_level, int strategy, const char *version, int stream_size);
typedef int (*z_inflate_init_fn)(struct z_stream *s, int window_bits, const char *version,
				 int stream_size);
typedef int (*z_stream_fn)(struct z_stream *s);
typedef int (*z_run_fn)(struct z_stream *s, int flush);
typedef const char *(*z_version_fn)(void);

static void zlib_exit(struct crypto_acomp *tfm)
{
	struct zlib_ctx *ctx = tfm->ctx;

	/* A stream whose init failed has no state; both functions accept it. */
	BORROWED(tfm, Z_DEFLATE_END, z_stream_fn)(&ctx->deflate);
	BORROWED(tfm, Z_INFLATE_END, z_stream_fn)(&ctx->inflate);
	free_ctx(tfm);
}

static int zlib_init_deflate(struct crypto_acomp *tfm, struct z_stream *s,
			     const struct zlib_params *p)
{
	return BORROWED(tfm, Z_DEFLATE_INIT, z_deflate_init_fn)(
		s, p->level, Z_DEFLATED, -p->window_bits, p->mem_level, p->strategy,
		BORROWED(tfm, Z_VERSION, z_version_fn)(), sizeof(*s));
}

static int zlib_init_inflate(struct crypto_acomp *tfm, struct z_stream *s, int window_bits)
{
	return BORROWED(tfm, Z_INFLATE_INIT, z_inflate_init_fn)(
		s, -window_bits, BORROWED(tfm, Z_VERSION, z_version_fn)(), sizeof(*s));
}

static int zlib_init_as(struct crypto_acomp *tfm, const struct zlib_params *p)
{
	struct zlib_ctx *ctx = kzalloc_node(tfm->mm, FAULT_ACOMP, sizeof(*ctx), tfm->node);

	if (!ctx)
		return -ENOMEM;
	tfm->ctx = ctx;
	if (zlib_init_deflate(tfm, &ctx->deflate, p) != Z_OK ||
	    zlib_init_inflate(tfm, &ctx->inflate, p->window_bits) != Z_OK) {
		zlib_exit(tfm);
		return -ENOMEM;
	}
	return 0;
}

static int zlib_init(struct crypto_acomp *tfm)
{
	struct zlib_params params = deflate_params;

	if (tfm->alg->level)
		params.level = tfm->alg->level;
	return zlib_init_as(tfm, &params);
}

static int zlib_run(struct acomp_req *req, struct z_stream *s, int reset, int run, int error)
{
	BORROWED(req->tfm, reset, z_stream_fn)(s);
	s->next_in = req->src;
	s->avail_in = req->slen;
	s->next_out = req->dst;
	s->avail_out = req->dlen;
	if (BORROWED(req->tfm, run, z_run_fn)(s, Z_FINISH) != Z_STREAM_END)
		return error;
	req->dlen -= s->avail_out;
	return 0;
}

static int zlib_compress(struct acomp_req *req)
{
	struct zlib_ctx *ctx = req->tfm->ctx;

	return zlib_run(req, &ctx->deflate, Z_DEFLATE_RESET, Z_DEFLATE, nospace(req));
}

static int zlib_decompress(struct acomp_req *req)
{
	struct zlib_ctx *ctx = req->tfm->ctx;

	return zlib_run(req, &ctx->inflate, Z_INFLATE_RESET, Z_INFLATE, -EINVAL);
}

/*
 * ---- deflate-iaa: the output of Intel's IAA in its fixed mode ----
 *
 * Raw deflate of a page as one final block of the fixed Huffman codes, in a 4
 * KiB window. No library has the device's search for matches. By the published
 * ratios it finds about what zlib's level 1 does.
 */

#define IAA_WINBITS          12
#define IAA_WINDOW           (1u << IAA_WINBITS)
#define IAA_STEP             256
#define DEFLATE_HEADER       7 /* BFINAL and, above it, BTYPE: the first bits of a stream */
#define DEFLATE_FINAL_STORED 1

/*
 * Decompresses a stream with a window of 4 KiB, and rejects matches from
 * further back to within one step. zlib follows a match back through all that
 * its call has put out, and from there a window further. The first window's
 * worth cannot reach too far, so a page of that size takes one call. Beyond it
 * short calls hold a stream to the window.
 */
static int iaa_inflate(struct acomp_req *req, struct z_stream *s)
{
	unsigned int left = req->dlen, piece = IAA_WINDOW;
	int ret;

	BORROWED(req->tfm, Z_INFLATE_RESET, z_stream_fn)(s);
	s->next_in = req->src;
	s->avail_in = req->slen;
	s->next_out = req->dst;
	do {
		piece = min(left, piece);
		s->avail_out = piece;
		ret = BORROWED(req->tfm, Z_INFLATE,
			       z_run_fn)(s, piece == left ? Z_FINISH : Z_SYNC_FLUSH);
		left -= piece - s->avail_out;
		piece = IAA_STEP;
	} while (ret == Z_OK);
	if (ret != Z_STREAM_END)
		return -EINVAL;
	req->dlen -= left;
	return 0;
}

/* ---- deflate-iaa: zlib ---- */

/*
 * memLevel 9, the largest buffer of symbols. A block ends where it is full,
 * after 32,767 symbols, so up to 32 KiB are one block.
 */
static const struct zlib_params iaa_params = { 1, IAA_WINBITS, 9, Z_FIXED };

static int iaa_zlib_init(struct crypto_acomp *tfm)
{
	return zlib_init_as(tfm, &iaa_params);
}

static int iaa_zlib_compress(struct acomp_req *req)
{
	const u8 *dst = req->dst;
	int ret = zlib_compress(req);

	/*
	 * zlib stores what the codes would make longer. The device has only the
	 * codes, whose output then never fits into a page.
	 */
	if (!ret && (dst[0] & DEFLATE_HEADER) == DEFLATE_FINAL_STORED)
		return nospace(req);
	return ret;
}

static int iaa_zlib_decompress(struct acomp_req *req)
{
	struct zlib_ctx *ctx = req->tfm->ctx;

	return iaa_inflate(req, &ctx->inflate);
}

/* ---- deflate-iaa: igzip, and zlib to read ---- */

/* zlib's follow, at the numbers of the enum above */
enum { ISAL_DEFLATE_INIT, ISAL_SET_HUFFTABLES, ISAL_DEFLATE_RESET, ISAL_DEFLATE };
_Static_assert(ISAL_DEFLATE + 1 == Z_INFLATE_INIT, "zlib's reading half comes next");

/*
 * igzip_lib.h's isal_zstream. The state behind its public head is 82,320 bytes
 * in ISA-L 2.30; this leaves room for later ones.
 */
struct isal_zstream {
	const u8 *next_in;
	u32 avail_in, total_in;
	u8 *next_out;
	u32 avail_out, total_out;
	void *hufftables;
	u32 level, level_buf_size;
	u8 *level_buf;
	u16 end_of_stream, flush, gzip_flag, hist_bits;
	u8 internal_state[256 * 1024 - 64];
};

#if UINTPTR_MAX == UINT64_MAX /* on other machines kernel.h reports the one error */
_Static_assert(offsetof(struct isal_zstream, avail_in) == 8, "as igzip_lib.h");
_Static_assert(offsetof(struct isal_zstream, next_out) == 16, "as igzip_lib.h");
_Static_assert(offsetof(struct isal_zstream, total_out) == 28, "as igzip_lib.h");
_Static_assert(offsetof(struct isal_zstream, hufftables) == 32, "as igzip_lib.h");
_Static_assert(offsetof(struct isal_zstream, level_buf) == 48, "as igzip_lib.h");
_Static_assert(offsetof(struct isal_zstream, end_of_stream) == 56, "as igzip_lib.h");
_Static_assert(offsetof(struct isal_zstream, hist_bits) == 62, "as igzip_lib.h");
_Static_assert(offsetof(struct isal_zstream, internal_state) == 64, "as igzip_lib.h");
#endif

struct isal_ctx {
	struct isal_zstream deflate;
	struct z_stream inflate;
};

#define COMP_OK                0
#define IGZIP_HUFFTABLE_STATIC 2

typedef void (*isal_stream_fn)(struct isal_zstream *s);
typedef int (*isal_set_hufftables_fn)(struct isal_zstream *s, void *hufftables, int type);
typedef int (*isal_deflate_fn)(struct isal_zstream *s);

static void isal_exit(struct crypto_acomp *tfm)
{
	struct isal_ctx *ctx = tfm->ctx;

	BORROWED(tfm, Z_INFLATE_END, z_stream_fn)(&ctx->inflate);
	free_ctx(tfm);
}

static int isal_init(struct crypto_acomp *tfm)
{
	struct isal_ctx *ctx = kzalloc_node(tfm->mm, FAULT_ACOMP, sizeof(*ctx), tfm->node);

	if (!ctx)
		return -ENOMEM;
	tfm->ctx = ctx;
	/* sets level 0, which needs no memory of the caller's */
	BORROWED(tfm, ISAL_DEFLATE_INIT, isal_stream_fn)(&ctx->deflate);
	ctx->deflate.hist_bits = IAA_WINBITS;
	ctx->deflate.end_of_stream = 1; /* each page is a stream of its own, given whole */
	if (BORROWED(tfm, ISAL_SET_HUFFTABLES, isal_set_hufftables_fn)(&ctx->deflate, NULL,
								       IGZIP_HUFFTABLE_STATIC) ||
	    zlib_init_inflate(tfm, &ctx->inflate, IAA_WINBITS) != Z_OK) {
		isal_exit(tfm);
		return -ENOMEM;
	}
	return 0;
}

/*
 * isal_deflate_stateless() does not serve: it stores what does not compress,
 * and has codes of its own for a run of 4 KiB. Where fewer than 8 bytes of room
 * are left igzip cuts matches short, so a page that just fits may be rejected.
 */
static int isal_compress(struct acomp_req *req)
{
	struct isal_ctx *ctx = req->tfm->ctx;
	struct isal_zstream *s = &ctx->deflate;

	BORROWED(req->tfm, ISAL_DEFLATE_RESET, isal_stream_fn)(s);
	s->next_in = req->src;
	s->avail_in = req->slen;
	s->next_out = req->dst;
	s->avail_out = req->dlen;
	if (BORROWED(req->tfm, ISAL_DEFLATE, isal_deflate_fn)(s) != COMP_OK)
		return -EINVAL;
	if (!s->avail_out) /* more may follow; zlib too needs one byte of room left over */
		return nospace(req);
	req->dlen = s->total_out;
	return 0;
}

static int isal_decompress(struct acomp_req *req)
{
	struct isal_ctx *ctx = req->tfm->ctx;

	return iaa_inflate(req, &ctx->inflate);
}

/* ---- deflate: libdeflate ---- */

enum {
	LIBDEFLATE_ALLOC_C,
	LIBDEFLATE_FREE_C,
	LIBDEFLATE_COMPRESS,
	LIBDEFLATE_ALLOC_D,
	LIBDEFLATE_FREE_D,
	LIBDEFLATE_DECOMPRESS,
};
#define LIBDEFLATE_LEVEL 6

struct libdeflate_ctx {
	void *compressor, *decompressor;
};

typedef void *(*libdeflate_alloc_c_fn)(int level);
typedef void *(*libdeflate_alloc_d_fn)(void);
typedef void (*libdeflate_free_fn)(void *p);
typedef size_t (*libdeflate_compress_fn)(void *c, const void *src, size_t slen, void *dst,
					 size_t room);
typedef int (*libdeflate_decompress_fn)(void *d, const void *src, size_t slen, void *dst,
					size_t room, size_t *ret);

static void libdeflate_exit(struct crypto_acomp *tfm)
{
	struct libdeflate_ctx *ctx = tfm->ctx;

	if (ctx->compressor)
		BORROWED(tfm, LIBDEFLATE_FREE_C, libdeflate_free_fn)(ctx->compressor);
	if (ctx->decompressor)
		BORROWED(tfm, LIBDEFLATE_FREE_D, libdeflate_free_fn)(ctx->decompressor);
	free_ctx(tfm);
}

static int libdeflate_init(struct crypto_acomp *tfm)
{
	struct libdeflate_ctx *ctx = kzalloc_node(tfm->mm, FAULT_ACOMP, sizeof(*ctx), tfm->node);

	if (!ctx)
		return -ENOMEM;
	tfm->ctx = ctx;
	ctx->compressor =
		BORROWED(tfm, LIBDEFLATE_ALLOC_C, libdeflate_alloc_c_fn)(LIBDEFLATE_LEVEL);
	ctx->decompressor = BORROWED(tfm, LIBDEFLATE_ALLOC_D, libdeflate_alloc_d_fn)();
	if (!ctx->compressor || !ctx->decompressor) {
		libdeflate_exit(tfm);
		return -ENOMEM;
	}
	return 0;
}

static int libdeflate_compress(struct acomp_req *req)
{
	struct libdeflate_ctx *ctx = req->tfm->ctx;
	size_t n = BORROWED(req->tfm, LIBDEFLATE_COMPRESS, libdeflate_compress_fn)(
		ctx->compressor, req->src, req->slen, req->dst, req->dlen);

	if (!n)
		return nospace(req);
	req->dlen = n;
	return 0;
}

static int libdeflate_decompress(struct acomp_req *req)
{
	struct libdeflate_ctx *ctx = req->tfm->ctx;
	size_t n;

	if (BORROWED(req->tfm, LIBDEFLATE_DECOMPRESS, libdeflate_decompress_fn)(
		    ctx->decompressor, req->src, req->slen, req->dst, req->dlen, &n))
		return -EINVAL;
	req->dlen = n;
	return 0;
}

/* ---- the table ---- */

struct codec {
	const char *name, *backend; /* the kernel's name; the library whose code it is */
	/*
	 * the functions that the caller must find, in this order; none: all is
	 * in this directory
	 */
	const char *symbols[ACOMP_MAX_SYMBOLS];
	int (*init)(struct crypto_acomp *tfm);
	void (*exit)(struct crypto_acomp *tfm);
	acomp_fn compress, decompress;
	/*
	 * The kernel's errno if the output does not fit. It selects the counter
	 * of a reject: zswap counts -ENOSPC as reject_compress_poor. deflate
	 * returns -ENOSPC from Linux 6.16 on, and -EINVAL before, which
	 * acomp_alg_set_nospace() sets.
	 */
	int nospace;
};

/* zlib's decompressor, which igzip's row borrows too. */
#define ZLIB_READS "inflateInit2_", "inflateReset", "inflate", "inflateEnd", "zlibVersion"

/*
 * A bare name means its first backend that is available, so the kernel's own
 * stands before a library's. The bare name deflate-iaa means the accelerator
 * instead.
 */
static const struct codec codecs[] = {
	{
		.name = "lzo", .backend = "kernel", .nospace = -EINVAL,
		.init = lzo_init, .exit = free_ctx,
		.compress = lzo_encode, .decompress = lzo_decode,
	},
	{
		.name = "lzo-rle", .backend = "kernel", .nospace = -EINVAL,
		.init = lzo_init, .exit = free_ctx,
		.compress = lzorle_encode, .decompress = lzo_decode,
	},
	{
		.name = "lz4", .backend = "kernel", .nospace = -EINVAL,
		.symbols = { "LZ4_decompress_safe" },
		.init = lz4_init, .exit = free_ctx,
		.compress = lz4_encode, .decompress = lz4_decode,
	},
	{
		.name = "lz4", .backend = "liblz4", .nospace = -EINVAL,
		.symbols = { "LZ4_compress_fast_extState", "LZ4_sizeofState", "LZ4_decompress_safe" },
		.init = liblz4_init, .exit = free_ctx,
		.compress = liblz4_compress, .decompress = liblz4_decompress,
	},
	{
		.name = "lz4hc", .backend = "kernel", .nospace = -EINVAL,
		.symbols = { "LZ4_decompress_safe" },
		.init = lz4hc_init, .exit = free_ctx,
		.compress = lz4hc_encode, .decompress = lz4_decode,
	},
	{
		.name = "lz4hc", .backend = "liblz4", .nospace = -EINVAL,
		.symbols = { "LZ4_compress_HC_extStateHC", "LZ4_sizeofStateHC", "LZ4_decompress_safe" },
		.init = liblz4_init, .exit = free_ctx,
		.compress = liblz4hc_compress, .decompress = liblz4_decompress,
	},
	{
		.name = "zstd", .backend = "libzstd", .nospace = -EINVAL,
		.symbols = {
			"ZSTD_createCCtx", "ZSTD_freeCCtx", "ZSTD_CCtx_setParameter", "ZSTD_compress2",
			"ZSTD_createDCtx", "ZSTD_freeDCtx", "ZSTD_decompressDCtx", "ZSTD_isError",
		},
		.init = zstd_init, .exit = zstd_exit,
		.compress = zstd_compress, .decompress = zstd_decompress,
	},
	{
		.name = "deflate", .backend = "zlib", .nospace = -ENOSPC,
		.symbols = {
			"deflateInit2_", "deflateReset", "deflate", "deflateEnd",
			ZLIB_READS,
		},
		.init = zlib_init, .exit = zlib_exit,
		.compress = zlib_compress, .decompress = zlib_decompress,
	},
	{
		.name = "deflate", .backend = "libdeflate", .nospace = -ENOSPC,
		.symbols = {
			"libdeflate_alloc_compressor", "libdeflate_free_compressor", "libdeflate_deflate_compress",
			"libdeflate_alloc_decompressor", "libdeflate_free_decompressor", "libdeflate_deflate_decompress",
		},
		.init = libdeflate_init, .exit = libdeflate_exit,
		.compress = libdeflate_compress, .decompress = libdeflate_decompress,
	},
	{
		.name = "deflate-iaa", .backend = "isal", .nospace = -E2BIG,
		.symbols = {
			"isal_deflate_init", "isal_deflate_set_hufftables", "isal_deflate_reset", "isal_deflate",
			ZLIB_READS,
		},
		.init = isal_init, .exit = isal_exit,
		.compress = isal_compress, .decompress = isal_decompress,
	},
	{
		.name = "deflate-iaa", .backend = "zlib", .nospace = -E2BIG,
		.symbols = {
			"deflateInit2_", "deflateReset", "deflate", "deflateEnd",
			ZLIB_READS,
		},
		.init = iaa_zlib_init, .exit = zlib_exit,
		.compress = iaa_zlib_compress, .decompress = iaa_zlib_decompress,
	},
};

#define NR_CODECS ARRAY_SIZE(codecs)

const char *codec_name(unsigned int codec)
{
	return codec < NR_CODECS ? codecs[codec].name : NULL;
}

const char *codec_backend(unsigned int codec)
{
	return codec < NR_CODECS ? codecs[codec].backend : NULL;
}

const char *codec_symbol(unsigned int codec, unsigned int i)
{
	return codec < NR_CODECS && i < ACOMP_MAX_SYMBOLS ? codecs[codec].symbols[i] : NULL;
}

/* ---- algorithms ---- */

static struct acomp_alg *alg_alloc(const char *name, const char *driver)
{
	struct acomp_alg *alg = calloc(1, sizeof(*alg));

	if (!alg)
		return NULL;
	snprintf(alg->cra_name, sizeof(alg->cra_name), "%s", name);
	snprintf(alg->cra_driver_name, sizeof(alg->cra_driver_name), "%s", driver);
	alg->batch_size = 1;
	return alg;
}

struct acomp_alg *acomp_alg_create(unsigned int codec)
{
	const struct codec *row = &codecs[codec];
	struct acomp_alg *alg;

	if (codec >= NR_CODECS)
		return NULL;
	alg = alg_alloc(row->name, row->backend);
	if (!alg)
		return NULL;
	alg->nospace = row->nospace;
	alg->init = row->init;
	alg->exit = row->exit;
	alg->compress = row->compress;
	alg->decompress = row->decompress;
	return alg;
}

void acomp_alg_set_symbol(struct acomp_alg *alg, unsigned int i, void *function)
{
	if (i < ACOMP_MAX_SYMBOLS)
		alg->symbol[i] = function;
}

static int custom_run(struct acomp_req *req, bool compress)
{
	const struct acomp_alg *alg = req->tfm->alg;

	return alg->custom(alg->priv, compress, req->src, req->slen, req->dst, &req->dlen);
}

static int custom_compress(struct acomp_req *req)
{
	return custom_run(req, true);
}

static int custom_decompress(struct acomp_req *req)
{
	return custom_run(req, false);
}

struct acomp_alg *acomp_alg_create_custom(const char *name, const char *driver,
					  acomp_custom_fn function, void *handle)
{
	struct acomp_alg *alg = alg_alloc(name, driver);

	if (!alg)
		return NULL;
	alg->custom = function;
	alg->priv = handle;
	alg->compress = custom_compress;
	alg->decompress = custom_decompress;
	return alg;
}

void acomp_alg_set_batch_size(struct acomp_alg *alg, unsigned int batch_size)
{
	alg->batch_size = batch_size;
}

void acomp_alg_set_variant(struct acomp_alg *alg, int variant)
{
	alg->variant = variant;
}

void acomp_alg_set_level(struct acomp_alg *alg, int level)
{
	alg->level = level;
}

void acomp_alg_set_nospace(struct acomp_alg *alg, int nospace)
{
	alg->nospace = nospace;
}

void acomp_alg_free(struct acomp_alg *alg)
{
	free(alg);
}

int acomp_alg_run(const struct acomp_alg *alg, bool compress, const void *src, unsigned int slen,
		  void *dst, unsigned int *dlen)
{
	struct faults faults = { 0 };
	struct kmem mm;
	struct crypto_acomp *tfm;
	struct crypto_wait wait;
	struct acomp_req *req;
	int ret = kmem_init(&mm, &faults, 1, 1);

	if (ret)
		return ret;
	tfm = crypto_alloc_acomp_node(&mm, alg, 0);
	if (IS_ERR(tfm)) {
		ret = PTR_ERR(tfm);
		goto no_tfm;
	}
	ret = -ENOMEM;
	req = acomp_request_alloc(tfm);
	if (req) {
		crypto_init_wait(&wait);
		acomp_request_set_callback(req, CRYPTO_TFM_REQ_MAY_BACKLOG, crypto_req_done, &wait);
		acomp_request_set_params(req, src, dst, slen, *dlen);
		ret = crypto_wait_req(compress ? crypto_acomp_compress(req) :
						 crypto_acomp_decompress(req),
				      &wait);
		*dlen = req->dlen;
		acomp_request_free(req);
		crypto_destroy_wait(&wait);
	}
	crypto_free_acomp(tfm);
no_tfm:
	kmem_deinit(&mm);
	return ret;
}
