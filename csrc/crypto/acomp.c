// SPDX-License-Identifier: GPL-2.0-or-later
#include "crypto/acomp.h"

/* ---- transforms ---- */

struct crypto_acomp *crypto_alloc_acomp_node(struct kmem *mm, const struct acomp_alg *alg,
					     unsigned int node)
{
	struct crypto_acomp *tfm = kzalloc_node(mm, FAULT_ACOMP, sizeof(*tfm), node);
	int ret;

	if (!tfm)
		return ERR_PTR(-ENOMEM);
	tfm->alg = alg;
	tfm->mm = mm;
	tfm->node = node;
	ret = alg->init ? alg->init(tfm) : 0;
	if (ret) {
		kfree(mm, tfm);
		return ERR_PTR(ret);
	}
	return tfm;
}

void crypto_free_acomp(struct crypto_acomp *tfm)
{
	if (IS_ERR_OR_NULL(tfm))
		return;
	if (tfm->alg->exit)
		tfm->alg->exit(tfm);
	kfree(tfm->mm, tfm);
}

unsigned int crypto_acomp_batch_size(const struct crypto_acomp *tfm)
{
	const struct acomp_alg *alg = tfm->alg;

	/*
	 * Without batch functions a request runs page by page and is in use
	 * until each result is there. That needs results that are there when
	 * the call returns.
	 */
	if (alg->async && !(alg->batch_compress && alg->batch_decompress))
		return 1;
	return max(alg->batch_size, 1u);
}

/* ---- requests ---- */

struct acomp_req *acomp_request_alloc(struct crypto_acomp *tfm)
{
	struct acomp_req *req = kzalloc_node(tfm->mm, FAULT_REQUEST, sizeof(*req), tfm->node);

	if (req)
		req->tfm = tfm;
	return req;
}

void acomp_request_free(struct acomp_req *req)
{
	if (!IS_ERR_OR_NULL(req))
		kfree(req->tfm->mm, req);
}

void acomp_request_set_callback(struct acomp_req *req, u32 flags, crypto_completion_t complete,
				void *data)
{
	req->flags = flags;
	req->complete = complete;
	req->data = data;
}

void acomp_request_set_params(struct acomp_req *req, const void *src, void *dst, unsigned int slen,
			      unsigned int dlen)
{
	req->src = src;
	req->dst = dst;
	req->slen = slen;
	req->dlen = dlen;
	req->kernel_data = NULL;
}

/*
 * Run a batch page by page, for an algorithm without batch functions, with the
 * room and the page size of the request.
 */
static int compress_each(struct acomp_req *req)
{
	struct swap_batch_comp_data *batch = req->kernel_data;
	unsigned int page_size = req->slen, room = req->dlen;
	int ret = 0;

	for (u8 i = 0; i < batch->nr_comps; i++) {
		acomp_request_set_params(req, batch->pages[i], batch->dsts[i], page_size, room);
		batch->errors[i] = req->tfm->alg->compress(req);
		batch->dlens[i] = batch->errors[i] ? 0 : req->dlen;
		if (batch->errors[i])
			ret = -EINVAL;
	}
	return ret;
}

static int decompress_each(struct acomp_req *req)
{
	struct swap_batch_decomp_data *batch = req->kernel_data;
	unsigned int page_size = req->dlen;
	int ret = 0;

	for (u8 i = 0; i < batch->nr_decomps; i++) {
		acomp_request_set_params(req, batch->srcs[i], batch->pages[i], batch->slens[i],
					 page_size);
		batch->errors[i] = req->tfm->alg->decompress(req);
		batch->dlens[i] = batch->errors[i] ? 0 : req->dlen;
		if (batch->errors[i])
			ret = -EINVAL;
	}
	return ret;
}

int crypto_acomp_compress(struct acomp_req *req)
{
	const struct acomp_alg *alg = req->tfm->alg;

	if (!req->kernel_data)
		return alg->compress(req);
	return alg->batch_compress ? alg->batch_compress(req) : compress_each(req);
}

int crypto_acomp_decompress(struct acomp_req *req)
{
	const struct acomp_alg *alg = req->tfm->alg;

	if (!req->kernel_data)
		return alg->decompress(req);
	return alg->batch_decompress ? alg->batch_decompress(req) : decompress_each(req);
}

/* ---- waiting ---- */

void crypto_init_wait(struct crypto_wait *wait)
{
	pthread_mutex_init(&wait->lock, NULL);
	pthread_cond_init(&wait->cond, NULL);
	wait->done = false;
	wait->err = 0;
}

void crypto_destroy_wait(struct crypto_wait *wait)
{
	pthread_cond_destroy(&wait->cond);
	pthread_mutex_destroy(&wait->lock);
}

void crypto_req_done(void *data, int err)
{
	struct crypto_wait *wait = data;

	if (err == -EINPROGRESS) /* off the backlog: the result follows */
		return;
	pthread_mutex_lock(&wait->lock);
	wait->err = err;
	wait->done = true;
	pthread_cond_signal(&wait->cond);
	pthread_mutex_unlock(&wait->lock);
}

int crypto_wait_req(int err, struct crypto_wait *wait)
{
	if (likely(err != -EINPROGRESS && err != -EBUSY))
		return err;
	pthread_mutex_lock(&wait->lock);
	while (!wait->done)
		pthread_cond_wait(&wait->cond, &wait->lock);
	err = wait->err;
	wait->done = false;
	pthread_mutex_unlock(&wait->lock);
	return err;
}
