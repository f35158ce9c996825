// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The iaa_crypto driver: an acomp request becomes a descriptor of a queue of
 * the CPU's table, and a completion record becomes the request's result.
 *
 * struct iaa is the driver: devices, tables, mode, counters. Each context and
 * the caller hold a reference to it. struct iaa_ctx is a context's: one user at
 * a time, with one struct iaa_req for each page of a batch. A request is either
 * with the device (it has a descriptor) or at its end; no call returns before
 * all its requests are at their end.
 *
 * Locks: readers of the wq tables are in the driver's srcu, and a cursor is one
 * atomic. Counters are atomics, relaxed. No lock is held while a request is
 * with the device.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "iaa/iaa.h"
#include "lib/printk.h"
#include "lib/srcu.h"

/* Queues that are taken in turn; cur_wq counts, modulo n_wqs. */
struct wq_table {
	_Atomic u32 cur_wq;
	unsigned int n_wqs;
	struct idxd_wq **wqs;
};

struct wq_tables {
	unsigned int nr;
	unsigned int *comp, *decomp; /* by CPU */
	struct wq_table *table;
};

struct wq_counters {
	_Atomic u64 comp_calls, comp_bytes, decomp_calls, decomp_bytes, comp_buf_overflows,
		no_descriptor;
};

struct iaa {
	struct acomp_alg alg;
	const struct acomp_alg *engine, *software;
	struct idxd_profile profile;
	struct vclock *clock;
	struct faults faults;
	struct kmem mm;
	pid_t pid;
	unsigned int nr_cpus;
	_Atomic u32 refs;
	_Atomic int dead; /* -ECHILD */
	_Atomic bool enabled;
	_Atomic bool refusal_said; /* since tables or a state last changed */
	struct iaa_mode mode;      /* not set while a context is being made */
	struct idxd_plan *plan;
	_Atomic unsigned int nr_devices;
	struct idxd_device *devices[IAA_MAX_DEVICES];
	struct srcu srcu; /* readers choose a queue by the tables */
	_Atomic(struct wq_tables *) tables;
	struct printk_log log;
	_Atomic u64 total_comp_calls, total_decomp_calls, total_sw_decomp_calls;
	_Atomic u64 total_comp_bytes_out, total_decomp_bytes_in;
	_Atomic u64 total_completion_einval_errors, total_completion_timeout_errors;
	_Atomic u64 total_completion_comp_buf_overflow_errors;
	_Atomic u64 total_no_wq_errors;
	struct wq_counters wq[IAA_MAX_DEVICES][IDXD_MAX_WQS];
};

/* The request of one page. */
struct iaa_req {
	const void *src;
	void *dst;
	unsigned int slen, dlen;
	bool compress;
	struct idxd_wq *wq;
	struct idxd_desc *desc; /* while it is with the device */
};

/* A tfm's context; one user at a time. */
struct iaa_ctx {
	struct iaa *iaa;
	struct iaa_mode mode;
	struct crypto_acomp *software;
	struct iaa_req reqs[IAA_CRYPTO_MAX_BATCH_SIZE];
};

#define pr_err(iaa, ...)  printk(&(iaa)->log, LOG_ERR, __VA_ARGS__)
#define pr_warn(iaa, ...) printk(&(iaa)->log, LOG_WARNING, __VA_ARGS__)

static void add(_Atomic u64 *counter, u64 n)
{
	atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static struct wq_counters *counters(struct iaa *iaa, const struct iaa_req *req)
{
	return &iaa->wq[idxd_device_id(req->wq->device)][req->wq->id];
}

/* ---- wq tables ---- */

static void free_tables(struct wq_tables *tables)
{
	if (!tables)
		return;
	for (unsigned int i = 0; tables->table && i < tables->nr; i++)
		free(tables->table[i].wqs);
	free(tables->table);
	free(tables->comp);
	free(tables->decomp);
	free(tables);
}

static int fill_table(struct iaa *iaa, struct wq_table *table, const unsigned int *wqs,
		      unsigned int nr)
{
	table->n_wqs = nr;
	table->wqs = calloc(max(nr, 1u), sizeof(*table->wqs));
	if (!table->wqs)
		return -ENOMEM;
	for (unsigned int i = 0; i < nr; i++) {
		unsigned int device = wqs[i] >> 8;

		table->wqs[i] = device < iaa->nr_devices ?
					idxd_device_wq(iaa->devices[device], wqs[i] & 0xff) :
					NULL;
		if (!table->wqs[i])
			return -EINVAL;
	}
	return 0;
}

int iaa_set_tables(struct iaa *iaa, unsigned int nr_tables, const unsigned int *start,
		   const unsigned int *wqs, const unsigned int *comp, const unsigned int *decomp)
{
	struct wq_tables *tables = calloc(1, sizeof(*tables));
	size_t size = iaa->nr_cpus * sizeof(*comp);
	int ret = -ENOMEM;

	if (!tables)
		return -ENOMEM;
	tables->nr = nr_tables;
	tables->table = calloc(max(nr_tables, 1u), sizeof(*tables->table));
	tables->comp = malloc(size);
	tables->decomp = malloc(size);
	if (!tables->table || !tables->comp || !tables->decomp)
		goto fail;
	memcpy(tables->comp, comp, size);
	memcpy(tables->decomp, decomp, size);
	for (unsigned int i = 0; i < nr_tables; i++) {
		ret = fill_table(iaa, &tables->table[i], wqs + start[i], start[i + 1] - start[i]);
		if (ret)
			goto fail;
	}
	tables = atomic_exchange(&iaa->tables, tables);
	atomic_store(&iaa->refusal_said, false);
	synchronize_srcu(&iaa->srcu);
	free_tables(tables);
	return 0;

fail:
	free_tables(tables);
	return ret;
}

/*
 * Returns the next queue of this CPU's table; NULL if it has none. The cursor
 * moves before it is used, so the second queue comes first (as in the kernel).
 */
static struct idxd_wq *wq_table_next_wq(struct iaa *iaa, bool compress)
{
	unsigned int cpu = raw_smp_processor_id() % iaa->nr_cpus;
	unsigned int idx = srcu_read_lock(&iaa->srcu, cpu);
	struct wq_tables *tables = atomic_load(&iaa->tables);
	unsigned int t = tables ? (compress ? tables->comp : tables->decomp)[cpu] : 0;
	struct idxd_wq *wq = NULL;

	if (likely(tables && t < tables->nr && tables->table[t].n_wqs)) {
		struct wq_table *table = &tables->table[t];
		unsigned int next =
			atomic_fetch_add_explicit(&table->cur_wq, 1, memory_order_relaxed) + 1;

		wq = table->wqs[next % table->n_wqs];
	}
	srcu_read_unlock(&iaa->srcu, cpu, idx);
	return wq;
}

/* ---- one request: submit, check, verify, software ---- */

/* The CPU spends ns of virtual time. */
static void spend(struct iaa *iaa, u64 ns)
{
	if (iaa->clock && ns)
		vclock_sleep(iaa->clock, ns);
}

/*
 * Counts a request that no queue takes. Logs the first one since tables or a
 * state last changed. Returns 'ret', the reason.
 */
static int refuse(struct iaa *iaa, const struct iaa_req *req, int ret)
{
	const char *job = req->compress ? "compressing" : "decompressing";

	add(&iaa->total_no_wq_errors, 1);
	if (likely(atomic_exchange(&iaa->refusal_said, true)))
		return ret;
	if (!iaa_enabled(iaa))
		pr_warn(iaa, "iaa_crypto disabled, not %s", job);
	else if (!req->wq)
		pr_warn(iaa, "no wq configured for cpu=%u, not %s", raw_smp_processor_id(), job);
	else
		pr_warn(iaa, "iax%u is not enabled, not %s",
			2 * idxd_device_id(req->wq->device) + 1, job);
	return ret;
}

/*
 * Submits the request's descriptor, and allocates it first if the request has
 * none. Returns 0; -ENODEV if no descriptor was free, or the queue was full,
 * after all tries (v10); -EIO if the device is not enabled.
 */
static int submit(struct iaa_ctx *ctx, struct iaa_req *req, const struct iax_hw_desc *hw)
{
	struct iaa *iaa = ctx->iaa;
	struct idxd_desc *desc = req->desc;
	int ret;

	spend(iaa, iaa->profile.host_ns);
	if (desc)
		idxd_renew_desc(desc);
	else
		desc = idxd_alloc_desc(req->wq, req->compress ? ctx->mode.comp_tries :
								ctx->mode.decomp_tries);
	if (IS_ERR(desc)) {
		ret = PTR_ERR(desc);
		goto out;
	}
	desc->iax_hw = *hw;
	desc->iax_hw.flags |= IDXD_OP_FLAG_CRAV | IDXD_OP_FLAG_RCR | IDXD_OP_FLAG_CC;
	desc->iax_hw.completion_addr = (uintptr_t)&desc->iax_completion;
	req->desc = desc;
	ret = idxd_submit_desc(desc);
	if (ret) {
		req->desc = NULL;
		idxd_free_desc(desc);
	}
out:
	if (likely(!ret))
		return 0;
	if (ret != -EAGAIN)
		return refuse(iaa, req, ret);
	add(&counters(iaa, req)->no_descriptor, 1);
	return -ENODEV;
}

/*
 * Returns a completion record's errno, and counts it. The caller decides
 * whether software decompresses.
 */
static int check_completion(struct iaa *iaa, const struct iax_completion_record *comp,
			    bool compress)
{
	if (likely(comp->status == IDXD_COMP_SUCCESS))
		return 0;
	if (comp->status == IDXD_COMP_WATCHDOG_EXPIRED) {
		add(&iaa->total_completion_timeout_errors, 1);
		return -ETIMEDOUT;
	}
	if (comp->status == IDXD_COMP_ANALYTICS_ERROR &&
	    comp->error_code == IAA_ERROR_COMP_BUF_OVERFLOW && compress) {
		add(&iaa->total_completion_comp_buf_overflow_errors, 1);
		return -E2BIG;
	}
	if (comp->status == IDXD_COMP_OUTPUT_OVERFLOW)
		return -EOVERFLOW;
	add(&iaa->total_completion_einval_errors, 1);
	pr_warn(iaa, "iaa %s status=0x%x, error=0x%x, size=0x%x, fault=0x%llx, invalid flags=0x%x",
		compress ? "compress" : "decompress", comp->status, comp->error_code,
		comp->output_size, (unsigned long long)comp->fault_addr, comp->invalid_flags);
	return -EINVAL;
}

/*
 * Waits for the device's answer, and returns its errno. *status is the record's
 * status, IDXD_COMP_NONE without a record. A timeout disables the driver.
 */
static int wait_completion(struct iaa *iaa, struct idxd_desc *desc, bool compress, u8 *status)
{
	int ret = idxd_desc_wait(desc);

	*status = IDXD_COMP_NONE;
	if (unlikely(ret == -ETIMEDOUT)) {
		atomic_store(&iaa->enabled, false);
		pr_err(iaa, "%s completion timed out - assuming broken hw, iaa_crypto now DISABLED",
		       compress ? "compress" : "decompress");
	}
	if (unlikely(ret))
		return ret;
	*status = desc->iax_completion.status;
	return check_completion(iaa, &desc->iax_completion, compress);
}

static int deflate_generic_decompress(struct iaa_ctx *ctx, struct iaa_req *req)
{
	struct acomp_req software = {
		.tfm = ctx->software,
		.src = req->src,
		.dst = req->dst,
		.slen = req->slen,
		.dlen = req->dlen,
	};
	int ret = crypto_acomp_decompress(&software);

	spend(ctx->iaa, ctx->iaa->profile.software_ns);
	add(&ctx->iaa->total_sw_decomp_calls, 1);
	if (!ret)
		req->dlen = software.dlen;
	return ret;
}

/*
 * Decompresses the result by the same queue, without an output: its crc must be
 * that of the input. Uses the same descriptor too: if every holder of one
 * waited for another, none would come free.
 */
static int iaa_compress_verify(struct iaa_ctx *ctx, struct iaa_req *req)
{
	const struct iax_hw_desc hw = {
		.opcode = IAX_OPCODE_DECOMPRESS,
		.src1_addr = (uintptr_t)req->dst,
		.src1_size = req->dlen,
		.max_dst_size = req->slen,
		.compr_flags = IAX_DECOMP_SUPPRESS_OUTPUT,
		.filter_flags = IAX_FILTER_CRC,
	};
	u32 crc = req->desc->iax_completion.crc;
	u8 status;
	int ret = submit(ctx, req, &hw);

	if (ret)
		return ret;
	ret = wait_completion(ctx->iaa, req->desc, false, &status);
	if (!ret && req->desc->iax_completion.crc != crc)
		ret = -EINVAL;
	return ret;
}

/*
 * Returns -EINPROGRESS if the request is with the device, 0 if software has
 * done it, else an error.
 */
static int queue_or_fall_back(struct iaa_ctx *ctx, struct iaa_req *req, bool irq)
{
	struct iaa *iaa = ctx->iaa;
	const struct iax_hw_desc hw = {
		.opcode = req->compress ? IAX_OPCODE_COMPRESS : IAX_OPCODE_DECOMPRESS,
		.flags = (req->compress ? IDXD_OP_FLAG_RD_SRC2_AECS : 0) |
			 (irq ? IDXD_OP_FLAG_RCI : 0),
		.src1_addr = (uintptr_t)req->src,
		.dst_addr = (uintptr_t)req->dst,
		.src1_size = req->slen,
		.max_dst_size = req->dlen,
		.filter_flags = req->compress && ctx->mode.verify_compress ? IAX_FILTER_CRC : 0,
	};
	struct wq_counters *wq;
	int ret;

	if (unlikely(!atomic_load(&iaa->enabled)))
		return refuse(iaa, req, -ENODEV);
	if (unlikely(!req->src || !req->slen))
		return -EINVAL;
	req->wq = wq_table_next_wq(iaa, req->compress);
	ret = likely(req->wq) ? submit(ctx, req, &hw) : refuse(iaa, req, -ENODEV);
	if (unlikely(ret))
		return req->compress || !ctx->mode.any_failure ?
			       ret :
			       deflate_generic_decompress(ctx, req);

	wq = counters(iaa, req);
	add(req->compress ? &iaa->total_comp_calls : &iaa->total_decomp_calls, 1);
	add(req->compress ? &wq->comp_calls : &wq->decomp_calls, 1);
	return -EINPROGRESS;
}

/*
 * Like queue_or_fall_back(), but a request that fails at once takes virtual
 * time too: a CPU that tries again and again must not stop the clock.
 */
static int iaa_submit(struct iaa_ctx *ctx, struct iaa_req *req, bool irq)
{
	struct iaa *iaa = ctx->iaa;
	u64 start = iaa->clock ? vclock_now(iaa->clock) : 0;
	int ret = atomic_load(&iaa->dead);

	if (unlikely(ret))
		return ret;
	ret = queue_or_fall_back(ctx, req, irq);
	if (unlikely(ret && ret != -EINPROGRESS) && iaa->clock && vclock_now(iaa->clock) == start)
		spend(iaa, max(iaa->profile.host_ns, 1u));
	return ret;
}

/*
 * Waits for a request that is with the device, frees its descriptor, and
 * returns its result. Software decompresses only where it is not of a batch.
 */
static int iaa_finish(struct iaa_ctx *ctx, struct iaa_req *req, bool batch)
{
	struct iaa *iaa = ctx->iaa;
	struct wq_counters *wq = counters(iaa, req);
	u8 status;
	int ret = wait_completion(iaa, req->desc, req->compress, &status);

	if (ret == -E2BIG)
		add(&wq->comp_buf_overflows, 1);
	if (!ret) {
		req->dlen = req->desc->iax_completion.output_size;
		add(req->compress ? &iaa->total_comp_bytes_out : &iaa->total_decomp_bytes_in,
		    req->compress ? req->dlen : req->slen);
		add(req->compress ? &wq->comp_bytes : &wq->decomp_bytes,
		    req->compress ? req->dlen : req->slen);
		if (req->compress && ctx->mode.verify_compress)
			ret = iaa_compress_verify(ctx, req);
	} else if (!req->compress && !batch &&
		   (ctx->mode.any_failure || status == IDXD_COMP_ANALYTICS_ERROR)) {
		ret = deflate_generic_decompress(ctx, req);
	}
	if (req->desc)
		idxd_free_desc(req->desc);
	req->desc = NULL;
	return ret;
}

/* ---- acomp: a page ---- */

/* An interrupt reports no errno but -EIO. */
static int irq_error(int ret)
{
	return ret ? -EIO : 0;
}

static int iaa_run(struct acomp_req *areq, bool compress)
{
	struct iaa_ctx *ctx = areq->tfm->ctx;
	struct iaa *iaa = ctx->iaa;
	struct iaa_req *req = &ctx->reqs[0];
	bool irq = ctx->mode.sync_mode == IAA_ASYNC_IRQ && areq->complete;
	int ret;

	*req = (struct iaa_req){
		.src = areq->src,
		.dst = areq->dst,
		.slen = areq->slen,
		.dlen = areq->dlen,
		.compress = compress,
	};
	ret = iaa->clock ? vclock_enter(iaa->clock) : 0;
	if (ret)
		return ret;
	ret = iaa_submit(ctx, req, irq);
	irq = irq && ret == -EINPROGRESS;
	if (ret == -EINPROGRESS)
		ret = iaa_finish(ctx, req, false);
	areq->dlen = req->dlen;
	if (irq) {
		/* the answer is here: only its delivery waits */
		spend(iaa, iaa->profile.irq_ns);
		areq->complete(areq->data, irq_error(ret));
		ret = -EINPROGRESS;
	}
	if (iaa->clock)
		vclock_leave(iaa->clock);
	return ret;
}

static int iaa_comp_acompress(struct acomp_req *areq)
{
	return iaa_run(areq, true);
}

static int iaa_comp_adecompress(struct acomp_req *areq)
{
	return iaa_run(areq, false);
}

/* ---- acomp: a batch ---- */

/*
 * Submits all requests in 'order', then waits for all of them, also after an
 * error: no call returns with a descriptor in flight. Returns 0; -EINVAL if any
 * of errors[] is set.
 */
static int iaa_run_batch(struct iaa_ctx *ctx, const u8 *order, u8 nr, unsigned int *dlens,
			 int *errors)
{
	struct iaa *iaa = ctx->iaa;
	int ret = iaa->clock ? vclock_enter(iaa->clock) : 0;

	if (ret) {
		for (u8 i = 0; i < nr; i++)
			errors[i] = ret;
		return ret;
	}
	for (u8 i = 0; i < nr; i++)
		errors[order[i]] = iaa_submit(ctx, &ctx->reqs[order[i]], false);
	for (u8 i = 0; i < nr; i++) {
		if (errors[i] == -EINPROGRESS)
			errors[i] = iaa_finish(ctx, &ctx->reqs[i], true);
		dlens[i] = errors[i] ? 0 : ctx->reqs[i].dlen;
		if (errors[i])
			ret = -EINVAL;
	}
	if (iaa->clock)
		vclock_leave(iaa->clock);
	return ret;
}

static int iaa_comp_acompress_batch(struct acomp_req *areq)
{
	struct swap_batch_comp_data *batch = areq->kernel_data;
	struct iaa_ctx *ctx = areq->tfm->ctx;
	u8 order[IAA_CRYPTO_MAX_BATCH_SIZE];

	if (batch->nr_comps > IAA_CRYPTO_MAX_BATCH_SIZE)
		return -EINVAL;
	for (u8 i = 0; i < batch->nr_comps; i++) {
		order[i] = i;
		ctx->reqs[i] = (struct iaa_req){
			.src = batch->pages[i],
			.dst = batch->dsts[i],
			.slen = areq->slen,
			.dlen = areq->dlen,
			.compress = true,
		};
	}
	return iaa_run_batch(ctx, order, batch->nr_comps, batch->dlens, batch->errors);
}

/*
 * The order of submission. First the two streams that take longest: the
 * largest, then the largest of the rest; of equals the last. Then the others in
 * their own order.
 */
static void order_by_size(const struct swap_batch_decomp_data *batch, u8 *order)
{
	u8 nr = batch->nr_decomps, first = 0, second = 0, n = 0;

	for (u8 i = 0; i < nr; i++)
		if (batch->slens[i] >= batch->slens[first])
			first = i;
	second = first ? 0 : nr - 1;
	for (u8 i = 0; i < nr; i++)
		if (i != first && batch->slens[i] >= batch->slens[second])
			second = i;
	order[n++] = first;
	if (nr > 1)
		order[n++] = second;
	for (u8 i = 0; i < nr; i++)
		if (i != first && i != second)
			order[n++] = i;
}

static int iaa_comp_adecompress_batch(struct acomp_req *areq)
{
	struct swap_batch_decomp_data *batch = areq->kernel_data;
	struct iaa_ctx *ctx = areq->tfm->ctx;
	u8 order[IAA_CRYPTO_MAX_BATCH_SIZE];

	if (!batch->nr_decomps || batch->nr_decomps > IAA_CRYPTO_MAX_BATCH_SIZE)
		return -EINVAL;
	for (u8 i = 0; i < batch->nr_decomps; i++)
		ctx->reqs[i] = (struct iaa_req){
			.src = batch->srcs[i],
			.dst = batch->pages[i],
			.slen = batch->slens[i],
			.dlen = areq->dlen,
		};
	order_by_size(batch, order);
	return iaa_run_batch(ctx, order, batch->nr_decomps, batch->dlens, batch->errors);
}

/* ---- contexts ---- */

static int iaa_comp_init_fixed(struct crypto_acomp *tfm)
{
	struct iaa *iaa = tfm->alg->priv;
	struct iaa_ctx *ctx = kzalloc_node(tfm->mm, FAULT_ACOMP, sizeof(*ctx), tfm->node);

	if (!ctx)
		return -ENOMEM;
	ctx->software = crypto_alloc_acomp_node(tfm->mm, iaa->software, tfm->node);
	if (IS_ERR(ctx->software)) {
		int ret = PTR_ERR(ctx->software);

		kfree(tfm->mm, ctx);
		return ret;
	}
	ctx->iaa = iaa;
	ctx->mode = iaa->mode;
	atomic_fetch_add(&iaa->refs, 1);
	tfm->ctx = ctx;
	return 0;
}

static void iaa_comp_exit(struct crypto_acomp *tfm)
{
	struct iaa_ctx *ctx = tfm->ctx;
	struct iaa *iaa = ctx->iaa;

	crypto_free_acomp(ctx->software);
	kfree(tfm->mm, ctx);
	iaa_put(iaa);
}

/* ---- create and destroy ---- */

static void iaa_free(struct iaa *iaa)
{
	free_tables(iaa->tables);
	for (unsigned int i = 0; i < iaa->nr_devices; i++)
		idxd_device_free(iaa->devices[i]);
	idxd_plan_free(iaa->plan);
	srcu_deinit(&iaa->srcu);
	kmem_deinit(&iaa->mm);
	if (iaa->clock)
		vclock_put(iaa->clock);
	free(iaa);
}

struct iaa *iaa_create(const struct acomp_alg *engine, const struct acomp_alg *software,
		       const struct idxd_profile *profile, struct vclock *clock,
		       unsigned int nr_cpus, unsigned int nr_nodes, int *err)
{
	struct iaa *iaa;

	*err = -EINVAL;
	if (!nr_cpus || !nr_nodes || profile->jitter > 1000)
		return NULL;
	*err = -ENOMEM;
	iaa = calloc(1, sizeof(*iaa));
	if (!iaa)
		return NULL;
	iaa->engine = engine;
	iaa->software = software;
	iaa->profile = *profile;
	iaa->clock = clock ? vclock_get(clock) : NULL;
	iaa->pid = getpid();
	iaa->nr_cpus = nr_cpus;
	iaa->refs = 1;
	iaa->plan = idxd_plan_create();
	if (srcu_init(&iaa->srcu, nr_cpus) ||
	    kmem_init(&iaa->mm, &iaa->faults, nr_cpus, nr_nodes) || !iaa->plan) {
		iaa_free(iaa);
		return NULL;
	}
	snprintf(iaa->alg.cra_name, sizeof(iaa->alg.cra_name), "deflate-iaa");
	snprintf(iaa->alg.cra_driver_name, sizeof(iaa->alg.cra_driver_name), "iaa");
	iaa->alg.async = true;
	iaa->alg.nospace = -E2BIG;
	iaa->alg.batch_size = 1;
	iaa->alg.init = iaa_comp_init_fixed;
	iaa->alg.exit = iaa_comp_exit;
	iaa->alg.compress = iaa_comp_acompress;
	iaa->alg.decompress = iaa_comp_adecompress;
	iaa->alg.priv = iaa;
	*err = 0;
	return iaa;
}

void iaa_put(struct iaa *iaa)
{
	/* in a forked child a lock may be held by a thread that is not there */
	if (!iaa || iaa->pid != getpid() || atomic_fetch_sub(&iaa->refs, 1) > 1)
		return;
	iaa_free(iaa);
}

void iaa_forked(struct iaa *iaa)
{
	atomic_store(&iaa->dead, -ECHILD);
}

struct acomp_alg *iaa_alg(struct iaa *iaa)
{
	return &iaa->alg;
}

void iaa_set_mode(struct iaa *iaa, const struct iaa_mode *mode)
{
	bool batch = mode->comp_tries && mode->decomp_tries;

	iaa->mode = *mode;
	/* a batch that waits for a descriptor without limit may wait for its own */
	iaa->alg.batch_compress = batch ? iaa_comp_acompress_batch : NULL;
	iaa->alg.batch_decompress = batch ? iaa_comp_adecompress_batch : NULL;
}

void iaa_set_enabled(struct iaa *iaa, bool enabled)
{
	atomic_store(&iaa->enabled, enabled);
	atomic_store(&iaa->refusal_said, false);
}

bool iaa_enabled(struct iaa *iaa)
{
	return atomic_load(&iaa->enabled);
}

/* ---- devices ---- */

int iaa_device_add(struct iaa *iaa, unsigned int nid, const struct idxd_config *config)
{
	unsigned int id = iaa->nr_devices;
	int err;

	if (id == IAA_MAX_DEVICES)
		return -ENOSPC;
	if (nid >= iaa->mm.nr_nodes)
		return -EINVAL;
	iaa->devices[id] = idxd_device_create(&iaa->mm, id, nid, config, &iaa->profile, iaa->engine,
					      iaa->plan, iaa->clock, &err);
	if (!iaa->devices[id])
		return err;
	iaa->nr_devices = id + 1;
	return id;
}

/* Returns NULL if there is no such device. */
static struct idxd_device *device_of(struct iaa *iaa, unsigned int device)
{
	return device < iaa->nr_devices ? iaa->devices[device] : NULL;
}

enum idxd_device_state iaa_device_state(struct iaa *iaa, unsigned int device)
{
	struct idxd_device *idxd = device_of(iaa, device);

	return idxd ? idxd_device_state(idxd) : IDXD_DEV_REMOVED;
}

void iaa_device_set_state(struct iaa *iaa, unsigned int device, enum idxd_device_state state)
{
	struct idxd_device *idxd = device_of(iaa, device);

	if (!idxd)
		return;
	idxd_device_set_state(idxd, state);
	atomic_store(&iaa->refusal_said, false);
}

void iaa_engine_run(struct iaa *iaa, unsigned int device, unsigned int engine)
{
	struct idxd_device *idxd = device_of(iaa, device);

	if (idxd)
		idxd_engine_run(idxd, engine);
}

void iaa_device_stop(struct iaa *iaa, unsigned int device)
{
	struct idxd_device *idxd = device_of(iaa, device);

	if (idxd)
		idxd_device_stop(idxd);
}

bool iaa_wq_drain(struct iaa *iaa, unsigned int device, unsigned int wq)
{
	struct idxd_device *idxd = device_of(iaa, device);
	struct idxd_wq *idxd_wq = idxd ? idxd_device_wq(idxd, wq) : NULL;

	return !idxd_wq || idxd_wq_drain(idxd_wq);
}

int iaa_set_plan(struct iaa *iaa, const struct idxd_fault *faults, unsigned int nr)
{
	return idxd_plan_set(iaa->plan, faults, nr);
}

uint64_t iaa_plan_hits(struct iaa *iaa, unsigned int i)
{
	return idxd_plan_hits(iaa->plan, i);
}

/* ---- debugfs ---- */

void iaa_get_stats(struct iaa *iaa, struct iaa_stats *ret)
{
	*ret = (struct iaa_stats){
		.total_comp_calls = iaa->total_comp_calls,
		.total_decomp_calls = iaa->total_decomp_calls,
		.total_sw_decomp_calls = iaa->total_sw_decomp_calls,
		.total_comp_bytes_out = iaa->total_comp_bytes_out,
		.total_decomp_bytes_in = iaa->total_decomp_bytes_in,
		.total_completion_einval_errors = iaa->total_completion_einval_errors,
		.total_completion_timeout_errors = iaa->total_completion_timeout_errors,
		.total_completion_comp_buf_overflow_errors =
			iaa->total_completion_comp_buf_overflow_errors,
		.total_no_wq_errors = iaa->total_no_wq_errors,
	};
}

void iaa_get_wq_stats(struct iaa *iaa, unsigned int device, unsigned int wq,
		      struct iaa_wq_stats *ret)
{
	const struct wq_counters *c;

	*ret = (struct iaa_wq_stats){ 0 };
	if (device >= IAA_MAX_DEVICES || wq >= IDXD_MAX_WQS)
		return;
	c = &iaa->wq[device][wq];
	*ret = (struct iaa_wq_stats){
		.comp_calls = c->comp_calls,
		.comp_bytes = c->comp_bytes,
		.decomp_calls = c->decomp_calls,
		.decomp_bytes = c->decomp_bytes,
		.comp_buf_overflows = c->comp_buf_overflows,
		.no_descriptor = c->no_descriptor,
	};
}

void iaa_stats_reset(struct iaa *iaa)
{
	iaa->total_comp_calls = iaa->total_decomp_calls = iaa->total_sw_decomp_calls = 0;
	iaa->total_comp_bytes_out = iaa->total_decomp_bytes_in = 0;
	iaa->total_completion_einval_errors = iaa->total_completion_timeout_errors = 0;
	iaa->total_completion_comp_buf_overflow_errors = iaa->total_no_wq_errors = 0;
	for (unsigned int i = 0; i < IAA_MAX_DEVICES; i++) {
		for (unsigned int j = 0; j < IDXD_MAX_WQS; j++) {
			struct wq_counters *c = &iaa->wq[i][j];

			c->comp_calls = c->comp_bytes = c->decomp_calls = c->decomp_bytes = 0;
			c->comp_buf_overflows = c->no_descriptor = 0;
		}
	}
}

int iaa_next_message(struct iaa *iaa, char *buf, size_t len)
{
	return printk_next(&iaa->log, buf, len);
}
