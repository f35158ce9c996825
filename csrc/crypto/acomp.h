/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The mirror of crypto_acomp (include/crypto/acompress.h): algorithms,
 * transforms, requests, and waiting. Buffers are plain pointers where the
 * kernel has scatterlists.
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
 * What acomp_req.kernel_data points to where one request carries a batch. A
 * page's result is errors[i] (0 or a negative errno) and dlens[i]; both are
 * written for each i, whatever the request's own result is.
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
 * One page: src[0..slen) to dst, where there is room for dlen; dlen becomes the
 * bytes made. 0, -EINPROGRESS or -EBUSY (the callback follows), or an error;
 * nothing is written past the room.
 */
typedef int (*acomp_fn)(struct acomp_req *req);

#define ACOMP_MAX_SYMBOLS 12

struct acomp_alg {
	char cra_name[CRYPTO_MAX_ALG_NAME];        /* "lz4" */
	char cra_driver_name[CRYPTO_MAX_ALG_NAME]; /* "liblz4" */
	unsigned int batch_size; /* pages that one request may carry; 0 counts as 1 */
	bool async;
	int nospace; /* what the kernel's driver answers where the output does not fit */
	int variant; /* the codec's own choice of parameters, where it has one */
	int (*init)(struct crypto_acomp *tfm);
	void (*exit)(struct crypto_acomp *tfm);
	acomp_fn compress, decompress;
	acomp_fn batch_compress, batch_decompress; /* NULL: page by page */
	int (*custom)(void *priv, bool compress, const void *src, unsigned int slen, void *dst,
		      unsigned int *dlen);
	void *priv; /* custom's */
	/* borrowed functions, in the order that codecs.c names them */
	void *symbol[ACOMP_MAX_SYMBOLS];
};

struct crypto_acomp {
	const struct acomp_alg *alg;
	struct kmem *mm;
	unsigned int node;
	void *ctx; /* the codec's state; one user at a time */
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

/* An error pointer, never NULL: -ENOMEM, or what the algorithm's init said. */
struct crypto_acomp *crypto_alloc_acomp_node(struct kmem *mm, const struct acomp_alg *alg,
					     unsigned int node);
void crypto_free_acomp(struct crypto_acomp *tfm);
bool acomp_is_async(const struct crypto_acomp *tfm);
unsigned int crypto_acomp_batch_size(const struct crypto_acomp *tfm);

/* NULL if there is no memory. One request is used by one thread at a time. */
struct acomp_req *acomp_request_alloc(struct crypto_acomp *tfm);
void acomp_request_free(struct acomp_req *req);
void acomp_request_set_callback(struct acomp_req *req, u32 flags, crypto_completion_t complete,
				void *data);
void acomp_request_set_params(struct acomp_req *req, const void *src, void *dst, unsigned int slen,
			      unsigned int dlen);

/*
 * With kernel_data set, the batch in it: 0, or a negative errno if any page has
 * one. Nothing else is read then.
 */
int crypto_acomp_compress(struct acomp_req *req);
int crypto_acomp_decompress(struct acomp_req *req);

void crypto_init_wait(struct crypto_wait *wait);
void crypto_destroy_wait(struct crypto_wait *wait);
void crypto_req_done(void *data, int err);
/* Waits where 'err' says that the answer comes later, else gives it back. */
int crypto_wait_req(int err, struct crypto_wait *wait);

#endif
