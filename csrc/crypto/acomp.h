/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The mirror of crypto_acomp (include/crypto/acompress.h): algorithms,
 * transforms, requests, and waiting for a result. Buffers are plain pointers
 * where the kernel has scatterlists.
 *
 * An algorithm (acomp_alg) is a compressor's functions. A transform
 * (crypto_acomp) is an algorithm with the state that one CPU's context needs. A
 * request (acomp_req) is one compression or decompression by a transform. A
 * transform and its requests are used by one thread at a time.
 */
#ifndef ZSWAP_ACOMP_H
#define ZSWAP_ACOMP_H

#include <pthread.h>

#include "lib/slab.h"

#define CRYPTO_MAX_ALG_NAME        128
#define CRYPTO_TFM_REQ_MAY_BACKLOG 0x400

struct acomp_req;
struct crypto_acomp;

/*
 * What acomp_req.kernel_data points to when one request carries a batch, as in
 * the kernel's IAA batching series. A page's result is errors[i], 0 or a
 * negative errno, and dlens[i]. Both are written for every i, whatever the
 * request returns.
 */
struct swap_batch_comp_data {
	const u8 **pages;
	u8 **dsts;
	unsigned int *dlens;
	int *errors;
	u8 nr_comps;
};

struct swap_batch_decomp_data {
	const u8 **srcs;
	u8 **pages;
	unsigned int *slens;
	unsigned int *dlens;
	int *errors;
	u8 nr_decomps;
};

/*
 * Compresses or decompresses one page: src[0..slen) to dst, where there is room
 * for dlen bytes; dlen becomes the bytes written. Returns 0 or a negative
 * errno, or -EINPROGRESS or -EBUSY if the callback delivers the result later.
 * Never writes past the room.
 */
typedef int (*acomp_fn)(struct acomp_req *req);

#define ACOMP_MAX_SYMBOLS 12

struct acomp_alg {
	char cra_name[CRYPTO_MAX_ALG_NAME];        /* "lz4" */
	char cra_driver_name[CRYPTO_MAX_ALG_NAME]; /* "liblz4" */
	unsigned int batch_size; /* pages that one request may carry; 0 counts as 1 */
	bool async;
	int nospace; /* what the kernel's driver returns if the output does not fit */
	int variant; /* selects the codec's parameters, where it has several sets */
	int level;   /* the codec's effort, where a caller may set it; 0: its default */
	int (*init)(struct crypto_acomp *tfm);
	void (*exit)(struct crypto_acomp *tfm);
	acomp_fn compress, decompress;
	acomp_fn batch_compress, batch_decompress; /* NULL: one page at a time */
	int (*custom)(void *priv, bool compress, const void *src, unsigned int slen, void *dst,
		      unsigned int *dlen);
	void *priv; /* custom()'s first argument */
	/* borrowed functions, in the order in which codecs.c names them */
	void *symbol[ACOMP_MAX_SYMBOLS];
};

struct crypto_acomp {
	const struct acomp_alg *alg;
	struct kmem *mm;
	unsigned int node;
	void *ctx; /* the codec's state */
};

typedef void (*crypto_completion_t)(void *data, int err);

struct acomp_req {
	struct crypto_acomp *tfm;
	const void *src;
	void *dst;
	unsigned int slen, dlen;
	void *kernel_data;
	u32 flags;
	crypto_completion_t complete;
	void *data;
};

struct crypto_wait {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool done;
	int err;
};

/*
 * Allocates a transform on a node. Returns an error pointer on failure, never
 * NULL: -ENOMEM, or the error of the algorithm's init(). crypto_free_acomp()
 * takes NULL and error pointers.
 */
struct crypto_acomp *crypto_alloc_acomp_node(struct kmem *mm, const struct acomp_alg *alg,
					     unsigned int node);
void crypto_free_acomp(struct crypto_acomp *tfm);
/* Returns the pages that one request may carry, at least 1. */
unsigned int crypto_acomp_batch_size(const struct crypto_acomp *tfm);

/*
 * Allocates a request. Returns NULL if there is no memory. acomp_request_free()
 * takes NULL and error pointers.
 */
struct acomp_req *acomp_request_alloc(struct crypto_acomp *tfm);
void acomp_request_free(struct acomp_req *req);
void acomp_request_set_callback(struct acomp_req *req, u32 flags, crypto_completion_t complete,
				void *data);
/* Sets the buffers of one page, and clears kernel_data. */
void acomp_request_set_params(struct acomp_req *req, const void *src, void *dst, unsigned int slen,
			      unsigned int dlen);

/*
 * Run a request. With kernel_data set they run its batch, and return 0, or a
 * negative errno if any page failed. Of the request's own fields only slen and
 * dlen count then, as page size and room. Without it they return as acomp_fn.
 */
int crypto_acomp_compress(struct acomp_req *req);
int crypto_acomp_decompress(struct acomp_req *req);

void crypto_init_wait(struct crypto_wait *wait);
void crypto_destroy_wait(struct crypto_wait *wait);
/* The callback for requests that crypto_wait_req() waits for. */
void crypto_req_done(void *data, int err);
/*
 * Waits for the callback if 'err' is -EINPROGRESS or -EBUSY, and returns its
 * result. Returns any other 'err' at once.
 */
int crypto_wait_req(int err, struct crypto_wait *wait);

#endif
