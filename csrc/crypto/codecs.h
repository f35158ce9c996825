/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The software compressors as acomp algorithms, over functions borrowed from
 * libraries that the process has loaded. One table in codecs.c: a row is a
 * name, a backend, and the symbols that it needs.
 */
#ifndef ZSWAP_CODECS_H
#define ZSWAP_CODECS_H

#include "crypto/acomp.h"

/* cffi: begin */

/* ---- compressors ---- */

struct acomp_alg;

/*
 * The table's rows, from 0: name ("lz4"), backend ("liblz4"), and the functions
 * that it borrows; NULL past the last.
 */
const char *codec_name(unsigned int codec);
const char *codec_backend(unsigned int codec);
const char *codec_symbol(unsigned int codec, unsigned int i);

/*
 * An algorithm of that row, to be given each of its functions before use; NULL:
 * no memory. Freed after the last pool that uses it.
 */
struct acomp_alg *acomp_alg_create(unsigned int codec);
void acomp_alg_set_symbol(struct acomp_alg *alg, unsigned int i, void *function);

/*
 * A compressor of the caller's own: src[0..slen) to dst, where there is room
 * for *dlen; *dlen becomes the bytes made. 0 or a negative errno. Called on the
 * thread that stores or loads, which holds its slots and its context's mutex.
 */
typedef int (*acomp_custom_fn)(void *handle, bool compress, const void *src, unsigned int slen,
			       void *dst, unsigned int *dlen);
struct acomp_alg *acomp_alg_create_custom(const char *name, const char *driver,
					  acomp_custom_fn function, void *handle);

/* How many pages one request may carry; before the first pool. */
void acomp_alg_set_batch_size(struct acomp_alg *alg, unsigned int batch_size);
/*
 * The codec's own choice of parameters: zstd 0 as Linux 6.17 and later, 1 as
 * before. Before the first pool.
 */
void acomp_alg_set_variant(struct acomp_alg *alg, int variant);
void acomp_alg_free(struct acomp_alg *alg);

/*
 * One page there or back, with a context made for it: for tries. 0 or a
 * negative errno.
 */
int acomp_alg_run(const struct acomp_alg *alg, bool compress, const void *src, unsigned int slen,
		  void *dst, unsigned int *dlen);

/* cffi: end */

#endif
