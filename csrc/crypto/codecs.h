/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The software compressors as acomp algorithms, over functions borrowed from
 * libraries that the process has loaded. codecs.c has one table: a row is a
 * name, a backend, and the symbols that it borrows.
 */
#ifndef ZSWAP_CODECS_H
#define ZSWAP_CODECS_H

#include "crypto/acomp.h"

/* cffi: begin */

/* ---- compressors ---- */

struct acomp_alg;

/*
 * The table's rows, numbered from 0: the name ("lz4"), the backend ("liblz4"),
 * and the symbols of the functions that the row borrows, also numbered from 0.
 * Each returns NULL past the last.
 */
const char *codec_name(unsigned int codec);
const char *codec_backend(unsigned int codec);
const char *codec_symbol(unsigned int codec, unsigned int i);

/*
 * Creates an algorithm from a row. Give it each of the row's functions before
 * it is used. Returns NULL if there is no memory or no such row. Free it by
 * acomp_alg_free(), after the last pool that uses it.
 */
struct acomp_alg *acomp_alg_create(unsigned int codec);
void acomp_alg_set_symbol(struct acomp_alg *alg, unsigned int i, void *function);

/*
 * A compressor of the caller's: compresses or decompresses src[0..slen) to dst,
 * where there is room for *dlen bytes; *dlen becomes the bytes written. Returns
 * 0 or a negative errno. The thread that stores or loads calls it, with its
 * slots and its context's mutex held.
 */
typedef int (*acomp_custom_fn)(void *handle, bool compress, const void *src, unsigned int slen,
			       void *dst, unsigned int *dlen);
/*
 * Creates an algorithm over such a function. 'handle' is the first argument of
 * each call. Returns NULL if there is no memory.
 */
struct acomp_alg *acomp_alg_create_custom(const char *name, const char *driver,
					  acomp_custom_fn function, void *handle);

/* Sets the pages that one request may carry. Call it before the first pool. */
void acomp_alg_set_batch_size(struct acomp_alg *alg, unsigned int batch_size);
/*
 * Select the parameters, where kernels differ; call them before the first pool.
 *
 *   variant  zstd: 0 is level 3 for 256 KiB, as zswap has it since Linux 6.17;
 *            1 is level 3 for a source of unknown size, as before; 2 is a level
 *            for a source of one page, as zram has it
 *   level    of zstd's variant 2, and of deflate; 0 is the default
 *   nospace  a negative errno: what compress() returns if the output does not
 *            fit
 */
void acomp_alg_set_variant(struct acomp_alg *alg, int variant);
void acomp_alg_set_level(struct acomp_alg *alg, int level);
void acomp_alg_set_nospace(struct acomp_alg *alg, int nospace);
void acomp_alg_free(struct acomp_alg *alg);

/*
 * Compresses or decompresses one page outside any pool, with a context of its
 * own. Returns as acomp_custom_fn. On an error *dlen is undefined.
 */
int acomp_alg_run(const struct acomp_alg *alg, bool compress, const void *src, unsigned int slen,
		  void *dst, unsigned int *dlen);

/* cffi: end */

#endif
