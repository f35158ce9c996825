// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * zswap from the inside: contexts that are made by halves, compressors that do
 * not keep to their room or answer later, an allocator that gives the buffer
 * itself, a tree or half a zspage that there is no memory for, objects that end
 * at a page's border. What of this the interface shows, test_zswap.c has.
 */
#include "mm/zswap.c"

#include <limits.h>
#include <semaphore.h>

#include "guarded.h"
#include "zswap_test.h"

#define NR_SLOTS 20000
#define NR_PAGES 8 /* of most folios here */

static struct zswap *start_zswap(const struct zswap_config *config, const struct acomp_alg *alg,
				 struct zswap_pool **pool)
{
	struct zswap *z = new_zswap(config);

	*pool = new_pool(z, alg, config->nr_cpus);
	zswap_pool_make_current(z, *pool);
	check(zswap_swapon(z, NR_SLOTS) == 0, "the first type is 0");
	return z;
}

/*
 * How many of the waiting messages have that in them; none of them waits any
 * more.
 */
static unsigned int messages(struct zswap *z, const char *part)
{
	char text[LOG_WIDTH];
	unsigned int nr = 0;

	while (zswap_next_message(z, text, sizeof(text)))
		nr += strstr(text, part) != NULL;
	return nr;
}

static int store(struct zswap *z, unsigned int cpu, u64 swp, unsigned int nr, u64 generation)
{
	u8 *folio = malloc(nr * PAGE_SIZE);
	int ret;

	for (unsigned int i = 0; i < nr; i++)
		make_page(folio + i * PAGE_SIZE, PAGE_SIZE, swp + i, generation);
	ret = zswap_store(z, cpu, swp, folio, nr);
	free(folio);
	return ret;
}

static void load_each(struct zswap *z, unsigned int cpu, u64 swp, unsigned int nr)
{
	u8 page[PAGE_SIZE];

	for (unsigned int i = 0; i < nr; i++) {
		int ret = zswap_load(z, cpu, swp + i, page, 1, true);

		check(!ret, "slot %lu: %d", (long)swp + i, ret);
		check_page(page, PAGE_SIZE, swp + i);
	}
}

static int load_batch(struct zswap *z, unsigned int cpu, u64 swp, unsigned int nr, int *ret)
{
	u8 *out = malloc(nr * PAGE_SIZE);
	u64 *swps = calloc(nr, sizeof(*swps));
	int failed;

	for (unsigned int i = 0; i < nr; i++)
		swps[i] = swp + i;
	failed = zswap_load_batch(z, cpu, swps, nr, out, ret);
	for (unsigned int i = 0; i < nr; i++)
		if (!ret[i])
			check_page(out + i * PAGE_SIZE, PAGE_SIZE, swp + i);
	free(swps);
	free(out);
	return failed;
}

static void check_held(struct zswap *z, u64 swp, unsigned int nr, bool held)
{
	for (unsigned int i = 0; i < nr; i++)
		check(zswap_contains(z, 0, swp + i) == held, "slot %lu", (long)swp + i);
}

/*
 * Puts other buffers into a CPU's context, and what was there into 'buffers': a
 * second call puts it back.
 */
static void swap_buffers(struct zswap_pool *pool, unsigned int cpu, u8 **buffers)
{
	for (u8 i = 0; i < pool->compr_batch_size; i++) {
		u8 *old = pool->acomp_ctx[cpu].buffers[i];

		pool->acomp_ctx[cpu].buffers[i] = buffers[i];
		buffers[i] = old;
	}
}

/* ---- a context: all of it or nothing, and each thing freed once ---- */

static const enum fault_kind ctx_kinds[] = { FAULT_PREPARE, FAULT_ACOMP, FAULT_REQUEST, FAULT_ARRAY,
					     FAULT_BUFFER };

static u64 ctx_bytes(struct zswap *z)
{
	u64 bytes, all = 0;

	for (unsigned int i = 0; i < ARRAY_SIZE(ctx_kinds); i++)
		for (unsigned int nid = 0;
		     ctx_kinds[i] < NR_ALLOC_KINDS && nid < z->config.nr_nodes; nid++) {
			check(!zswap_memory(z, ctx_kinds[i], nid, &bytes), "kind %u", ctx_kinds[i]);
			all += bytes;
		}
	return all;
}

static void check_empty(struct zswap_pool *pool, unsigned int cpu)
{
	struct crypto_acomp_ctx *acomp_ctx = &pool->acomp_ctx[cpu];

	check(!acomp_ctx->acomp && !acomp_ctx->req && !acomp_ctx->buffers, "cpu %u: %p, %p, %p",
	      cpu, (void *)acomp_ctx->acomp, (void *)acomp_ctx->req, (void *)acomp_ctx->buffers);
	check(atomic_load(&acomp_ctx->ready) == pool->zswap->config.dead_frees,
	      "cpu %u: the mutex comes last", cpu);
	check(!ctx_bytes(pool->zswap), "%lu bytes are left", (long)ctx_bytes(pool->zswap));
}

static void check_whole(struct zswap_pool *pool, unsigned int cpu, unsigned int batch_size)
{
	struct crypto_acomp_ctx *acomp_ctx = &pool->acomp_ctx[cpu];
	u64 bytes = sizeof(*acomp_ctx->acomp) + sizeof(*acomp_ctx->req) +
		    batch_size * (sizeof(u8 *) + 2 * PAGE_SIZE);

	check(acomp_ctx->acomp && acomp_ctx->req && acomp_ctx->buffers &&
		      atomic_load(&acomp_ctx->ready),
	      "cpu %u", cpu);
	check(acomp_ctx->req->tfm == acomp_ctx->acomp && acomp_ctx->req->data == &acomp_ctx->wait,
	      "cpu %u", cpu);
	check(pool->compr_batch_size == batch_size, "%u", pool->compr_batch_size);
	check(ctx_bytes(pool->zswap) == bytes, "%lu bytes, not %lu", (long)ctx_bytes(pool->zswap),
	      (long)bytes);
}

/*
 * Prepare failed: v10 left its pointers, freed them a second time, and took
 * them for a context when it was called again.
 */
static void prepare_again(struct zswap_pool *pool, unsigned int cpu, unsigned int batch_size)
{
	struct crypto_acomp_ctx *acomp_ctx = &pool->acomp_ctx[cpu], before;

	check_empty(pool, cpu);
	acomp_ctx_dealloc(pool->zswap, acomp_ctx, batch_size);
	check_empty(pool, cpu);
	check(!zswap_cpu_comp_prepare(pool, cpu), "nothing fails any more");
	check_whole(pool, cpu, batch_size);
	before = *acomp_ctx;
	check(!zswap_cpu_comp_prepare(pool, cpu), "all is there");
	check(!memcmp(&before, acomp_ctx, sizeof(before)), "prepared again, nothing changes");
	check_whole(pool, cpu, batch_size);
}

static void dealloc_twice(struct zswap_pool *pool, unsigned int cpu)
{
	struct zswap *z = pool->zswap;

	for (int i = 0; i < 2; i++) {
		acomp_ctx_dealloc(z, &pool->acomp_ctx[cpu], pool->compr_batch_size);
		check(!pool->acomp_ctx[cpu].acomp && !pool->acomp_ctx[cpu].req &&
			      !pool->acomp_ctx[cpu].buffers,
		      "cpu %u", cpu);
		check(!ctx_bytes(z), "%lu bytes are left", (long)ctx_bytes(z));
	}
	zswap_pool_destroy(pool); /* once more */
	check(!ctx_bytes(z), "%lu bytes are left", (long)ctx_bytes(z));
}

static void contexts(unsigned int batch_size, bool dead_frees)
{
	struct zswap_config config = default_config();
	struct acomp_alg *alg = new_alg("rle", batch_size);
	struct zswap *z;

	config.dead_frees = dead_frees;
	z = new_zswap(&config);
	for (unsigned int i = 0; i < ARRAY_SIZE(ctx_kinds); i++) {
		enum fault_kind kind = ctx_kinds[i];
		unsigned int tries = kind == FAULT_BUFFER ? batch_size : 1;

		for (unsigned int nth = 1; nth <= tries; nth++) {
			int err, cpu = nth % config.nr_cpus;
			struct zswap_pool *pool = zswap_pool_create(z, alg, "test", &err);

			zswap_fault_arm(z, kind, nth, 1, -EREMOTE, -1);
			err = zswap_cpu_comp_prepare(pool, cpu);
			check(err == (kind == FAULT_PREPARE ? -EREMOTE : -ENOMEM), "%s %u: %d",
			      fault_names[kind], nth, err);
			check(!pool->compr_batch_size, "%s %u: no CPU has a batch size",
			      fault_names[kind], nth);
			prepare_again(pool, cpu, batch_size);
			check(zswap_fault_hits(z, kind) == 1, "%s %u", fault_names[kind], nth);
			zswap_fault_disarm(z, kind);
			dealloc_twice(pool, cpu);
		}
	}
	end_zswap(z);
	acomp_alg_free(alg);
}

static int refuse(struct crypto_acomp *tfm)
{
	(void)tfm;
	return -EUCLEAN;
}

/* The compressor itself says no, or has another batch size on this CPU. */
static void unwilling(bool dead_frees)
{
	struct zswap_config config = default_config();
	struct acomp_alg *alg = new_alg("rle", 4);
	struct zswap_pool *pool;
	struct zswap *z;
	u64 bytes;
	int err;

	config.dead_frees = dead_frees;
	z = new_zswap(&config);
	pool = zswap_pool_create(z, alg, "test", &err);
	alg->init = refuse;
	check(zswap_cpu_comp_prepare(pool, 1) == -EUCLEAN, "the compressor's own error");
	check(messages(z, "could not alloc crypto acomp test : -117") == 1, "a message says so");
	alg->init = NULL;
	prepare_again(pool, 1, 4);

	bytes = ctx_bytes(z);
	alg->batch_size = 5;
	check(zswap_cpu_comp_prepare(pool, 2) == -EINVAL, "all CPUs have one batch size");
	check(!pool->acomp_ctx[2].acomp && !pool->acomp_ctx[2].req && !pool->acomp_ctx[2].buffers,
	      "cpu 2");
	check(ctx_bytes(z) == bytes && pool->compr_batch_size == 4, "what was there stays");
	alg->batch_size = 4;
	check(!zswap_cpu_comp_prepare(pool, 2), "the same batch size");
	zswap_pool_destroy(pool);
	end_zswap(z);
	acomp_alg_free(alg);
}

/* ---- a batch is never longer than the buffers are many ---- */

static void too_many(void)
{
	struct zswap_config config = default_config();
	struct acomp_alg *alg = new_alg("rle", 4);
	struct zswap_pool *pool;
	struct zswap *z = start_zswap(&config, alg, &pool);

	check(store(z, 0, 0, NR_PAGES, 2) == ZSWAP_STORED, "two batches of 4");
	pool->batch_size = 5;
	for (int i = 0; i < 3; i++)
		check(store(z, 0, 0, NR_PAGES, 2) == ZSWAP_REJECT_COMPRESS_FAIL,
		      "5 pages for 4 buffers");
	check_held(z, 0, NR_PAGES, false);
	check(messages(z, "batch of 5 pages") == 1, "told once");
	check(store(z, 0, 0, 4, 2) == ZSWAP_STORED, "4 pages");
	pool->batch_size = 4;
	check(store(z, 0, 0, NR_PAGES, 2) == ZSWAP_STORED, "two batches of 4");
	load_each(z, 0, 0, NR_PAGES);
	end_zswap(z);
	acomp_alg_free(alg);
}

/* ---- compressors that do not keep to their room ---- */

/* or fail: Linux 6.18 and before, with raw pages and without */

#define ODD 1000 /* a page of this generation is compressed as 'odd' says */

static struct odd {
	int ret;
	unsigned int dlen;
} odd;

/*
 * Writes the two pages that a buffer has: first the page, less a byte that is 0
 * in all of them. So what is kept of it, a page or a byte less, is enough to
 * get it back.
 */
static int odd_run(void *handle, bool compress, const void *src, unsigned int slen, void *dst,
		   unsigned int *dlen)
{
	const size_t at = sizeof(struct page_header) - 1;
	struct page_header header;
	const u8 *from = src;
	u8 *to = dst;

	memcpy(&header, src, sizeof(header));
	if (compress && header.generation == ODD) {
		memset(to, 0xee, 2 * PAGE_SIZE);
		memcpy(to, from, at);
		memcpy(to + at, from + at + 1, PAGE_SIZE - at - 1);
		*dlen = odd.dlen;
		return odd.ret;
	}
	if (!compress && slen >= PAGE_SIZE - 1) {
		memcpy(to, from, at);
		to[at] = 0;
		memcpy(to + at + 1, from + at, PAGE_SIZE - at - 1);
		*dlen = PAGE_SIZE;
		return 0;
	}
	return rle(handle, compress, src, slen, dst, dlen);
}

enum outcome {
	KEPT = ZSWAP_STORED, /* what the compressor made */
	ALLOC = ZSWAP_REJECT_ALLOC_FAIL,
	FAIL = ZSWAP_REJECT_COMPRESS_FAIL,
	POOR = ZSWAP_REJECT_COMPRESS_POOR,
	RAW = 100, /* the page itself */
};

static const struct answer {
	int ret;
	unsigned int dlen;
	enum outcome raw, no_raw, before; /* 6.18, 6.18 where writeback is not allowed, 6.16 */
} answers[] = {
	{ 0, PAGE_SIZE - 1, KEPT, KEPT, KEPT },
	{ 0, PAGE_SIZE, RAW, FAIL, KEPT },
	{ 0, PAGE_SIZE + 1, RAW, FAIL, POOR },
	{ 0, 2 * PAGE_SIZE, RAW, FAIL, POOR },
	{ 0, UINT_MAX, RAW, FAIL, POOR },
	{ 0, 0, RAW, FAIL, ALLOC },
	{ -ENOSPC, 0, RAW, POOR, POOR },
	{ -ENOSPC, 100, RAW, POOR, POOR },
	{ -ENOSPC, 2 * PAGE_SIZE, RAW, POOR, POOR },
	{ -EINVAL, 0, RAW, FAIL, FAIL },
	{ -EINVAL, PAGE_SIZE, RAW, FAIL, FAIL },
	{ -EIO, 100, RAW, FAIL, FAIL },
};

/* A folio whose pages 2 and 5 are odd, over an older one. */
static int store_odd(struct zswap *z, unsigned int cpu)
{
	u8 folio[NR_PAGES * PAGE_SIZE];

	check(store(z, cpu, 0, NR_PAGES, 2) == ZSWAP_STORED, "no page is odd");
	for (unsigned int i = 0; i < NR_PAGES; i++)
		make_page(folio + i * PAGE_SIZE, PAGE_SIZE, i, i == 2 || i == 5 ? ODD : 4);
	return zswap_store(z, cpu, 0, folio, NR_PAGES);
}

static void check_stored(struct zswap *z, unsigned int cpu, unsigned int length, bool raw)
{
	struct zswap_entry_info info;
	struct zswap_stats stats;

	for (unsigned int i = 2; i <= 5; i += 3)
		check(!zswap_entry_info(z, 0, i, &info) && info.length == length,
		      "page %u: %u bytes, not %u", i, info.length, length);
	check(!zswap_stats(z, &stats) && stats.stored_incompressible_pages == (raw ? 2 : 0),
	      "stored_incompressible_pages");
	load_each(z, cpu, 0, NR_PAGES);
}

static void check_refused(struct zswap *z, const struct zswap_stats *before, enum outcome outcome,
			  unsigned int times)
{
	struct zswap_stats now;

	check(!zswap_stats(z, &now), "zswap_stats");
	check(now.reject_compress_poor - before->reject_compress_poor ==
		      (outcome == POOR ? times : 0),
	      "reject_compress_poor");
	check(now.reject_compress_fail - before->reject_compress_fail ==
		      (outcome == FAIL ? times : 0),
	      "reject_compress_fail");
	check(now.reject_alloc_fail - before->reject_alloc_fail == (outcome == ALLOC ? times : 0),
	      "reject_alloc_fail");
	if (times) {
		check_held(z, 0, NR_PAGES, false);
		check(!now.stored_pages && !now.pool_total_size, "%lu pages are left",
		      (long)now.stored_pages);
	}
}

static void one_answer(struct zswap *z, unsigned int cpu, unsigned int batch_size,
		       const struct answer *answer)
{
	enum outcome outcome = !z->config.check_dlen          ? answer->before :
			       z->config.store_incompressible ? answer->raw :
								answer->no_raw;
	bool stored = outcome == KEPT || outcome == RAW,
	     by_allocator = !z->config.check_dlen && !answer->ret;
	/*
	 * a failed page of a batch counts, an object that there is no room for
	 * ends the store at once
	 */
	unsigned int times = stored ? 0 : batch_size == NR_PAGES && !by_allocator ? 2 : 1;
	struct zswap_stats before;
	int ret;

	odd = (struct odd){ answer->ret, answer->dlen };
	check(!zswap_stats(z, &before), "zswap_stats");
	ret = store_odd(z, cpu);
	check(ret == (stored ? ZSWAP_STORED : (int)outcome), "%d, %u bytes: %d", answer->ret,
	      answer->dlen, ret);
	check_refused(z, &before, outcome, times);
	if (stored)
		check_stored(z, cpu, outcome == RAW ? PAGE_SIZE : answer->dlen, outcome == RAW);
	check(store(z, cpu, 0, NR_PAGES, 6) == ZSWAP_STORED, "the buffers are as good as before");
	load_each(z, cpu, 0, NR_PAGES);
}

static void odd_answers(unsigned int batch_size, bool check_dlen, bool store_incompressible)
{
	const unsigned int cpu = 1;
	struct zswap_config config = default_config();
	struct acomp_alg *alg = acomp_alg_create_custom("odd", "test", odd_run, NULL);
	struct guarded guarded[ZSWAP_MAX_BATCH_SIZE];
	u8 *buffers[ZSWAP_MAX_BATCH_SIZE];
	struct zswap_pool *pool;
	struct zswap *z;

	config.check_dlen = check_dlen;
	config.store_incompressible = store_incompressible;
	acomp_alg_set_batch_size(alg, batch_size);
	z = start_zswap(&config, alg, &pool);
	/*
	 * a byte before or behind the two pages of a buffer cannot be touched
	 */
	for (unsigned int i = 0; i < batch_size; i++) {
		guarded_init(&guarded[i], 2 * PAGE_SIZE);
		buffers[i] = guarded[i].start;
	}
	swap_buffers(pool, cpu, buffers);
	for (unsigned int i = 0; i < ARRAY_SIZE(answers); i++)
		one_answer(z, cpu, batch_size, &answers[i]);
	swap_buffers(pool, cpu, buffers);
	for (unsigned int i = 0; i < batch_size; i++)
		munmap(guarded[i].start, 2 * PAGE_SIZE);
	end_zswap(z);
	acomp_alg_free(alg);
}

/* ---- compressors that answer later, from another thread ---- */

static struct engine {
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	pthread_t thread;
	struct acomp_req *req; /* submitted, not yet taken */
	bool compress, stop;
	atomic_uint submitted, completed;
	atomic_bool batches; /* batches answer later too */
} engine = { .mutex = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER };

static int run_single(struct acomp_req *req, bool compress)
{
	return rle(NULL, compress, req->src, req->slen, req->dst, &req->dlen);
}

static int run_batch(struct acomp_req *req, bool compress)
{
	struct swap_batch_decomp_data *decomp = req->kernel_data;
	struct swap_batch_comp_data *comp = req->kernel_data;

	for (u8 i = 0; i < (compress ? comp->nr_comps : decomp->nr_decomps); i++) {
		if (compress) {
			comp->dlens[i] = PAGE_SIZE;
			comp->errors[i] = rle(NULL, true, comp->pages[i], PAGE_SIZE, comp->dsts[i],
					      &comp->dlens[i]);
		} else {
			decomp->dlens[i] = PAGE_SIZE;
			decomp->errors[i] = rle(NULL, false, decomp->srcs[i], decomp->slens[i],
						decomp->pages[i], &decomp->dlens[i]);
		}
	}
	return 0;
}

static void *run_engine(void *arg)
{
	(void)arg;
	pthread_mutex_lock(&engine.mutex);
	while (!engine.stop || engine.req) {
		struct acomp_req *req = engine.req;
		bool compress = engine.compress;
		int err;

		if (!req) {
			pthread_cond_wait(&engine.cond, &engine.mutex);
			continue;
		}
		engine.req = NULL;
		pthread_cond_broadcast(&engine.cond);
		pthread_mutex_unlock(&engine.mutex);
		if (req->kernel_data)
			usleep(2000); /* who does not wait is gone by now */
		err = req->kernel_data ? run_batch(req, compress) : run_single(req, compress);
		if (atomic_fetch_add(&engine.completed, 1) % 2)
			req->complete(req->data, -EINPROGRESS); /* out of the backlog */
		req->complete(req->data, err);
		pthread_mutex_lock(&engine.mutex);
	}
	pthread_mutex_unlock(&engine.mutex);
	return NULL;
}

static int submit(struct acomp_req *req, bool compress)
{
	unsigned int nth = atomic_fetch_add(&engine.submitted, 1);

	pthread_mutex_lock(&engine.mutex);
	while (engine.req)
		pthread_cond_wait(&engine.cond, &engine.mutex);
	engine.req = req;
	engine.compress = compress;
	pthread_cond_broadcast(&engine.cond);
	pthread_mutex_unlock(&engine.mutex);
	return nth % 2 ? -EBUSY : -EINPROGRESS;
}

static int submit_compress(struct acomp_req *req)
{
	return submit(req, true);
}

static int submit_decompress(struct acomp_req *req)
{
	return submit(req, false);
}

static int batch_compress(struct acomp_req *req)
{
	return atomic_load(&engine.batches) ? submit(req, true) : run_batch(req, true);
}

static int batch_decompress(struct acomp_req *req)
{
	return atomic_load(&engine.batches) ? submit(req, false) : run_batch(req, false);
}

static struct acomp_alg *start_engine(bool with_batches)
{
	struct acomp_alg *alg = new_alg("rle", NR_PAGES);

	alg->async = true;
	alg->compress = submit_compress;
	alg->decompress = submit_decompress;
	if (with_batches) {
		alg->batch_compress = batch_compress;
		alg->batch_decompress = batch_decompress;
	}
	engine.stop = false;
	check(!pthread_create(&engine.thread, NULL, run_engine, NULL), "pthread_create");
	return alg;
}

static void stop_engine(struct acomp_alg *alg)
{
	pthread_mutex_lock(&engine.mutex);
	engine.stop = true;
	pthread_cond_broadcast(&engine.cond);
	pthread_mutex_unlock(&engine.mutex);
	pthread_join(engine.thread, NULL);
	acomp_alg_free(alg);
}

struct user {
	struct zswap *z;
	unsigned int cpu;
	u64 swp;
	pthread_t thread;
};

static void *store_and_load(void *arg)
{
	struct user *user = arg;

	for (u64 generation = 1; generation <= 20; generation++) {
		check(store(user->z, user->cpu, user->swp, 2 * NR_PAGES, generation) ==
			      ZSWAP_STORED,
		      "generation %lu", (long)generation);
		load_each(user->z, user->cpu, user->swp, 2 * NR_PAGES);
	}
	return NULL;
}

/*
 * One page a request; what has no batches of its own gets none, for a request
 * cannot be given anew before it is done.
 */
static void late_singles(void)
{
	struct zswap_config config = default_config();
	struct acomp_alg *alg = start_engine(false);
	struct zswap_pool *pool;
	struct zswap *z = start_zswap(&config, alg, &pool);
	struct user users[3];

	check(pool->compr_batch_size == 1, "%u", pool->compr_batch_size);
	for (unsigned int i = 0; i < ARRAY_SIZE(users); i++) {
		users[i] = (struct user){ .z = z, .cpu = i / 2, .swp = 100 * i };
		check(!pthread_create(&users[i].thread, NULL, store_and_load, &users[i]),
		      "pthread_create");
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(users); i++)
		pthread_join(users[i].thread, NULL);
	check(engine.submitted == engine.completed && engine.completed > 1000, "%u requests",
	      engine.completed);
	end_zswap(z);
	stop_engine(alg);
}

/*
 * A batch must be complete when the call returns: one that is not is waited
 * for, and lost.
 */
static void late_batches(void)
{
	struct zswap_config config = default_config();
	struct acomp_alg *alg = start_engine(true);
	struct zswap_pool *pool;
	struct zswap *z = start_zswap(&config, alg, &pool);
	int ret[NR_PAGES];

	check(pool->compr_batch_size == NR_PAGES, "%u", pool->compr_batch_size);
	check(store(z, 0, 0, NR_PAGES, 2) == ZSWAP_STORED, "batches are done at once");
	check(!pool->acomp_ctx[0].req->kernel_data,
	      "the batch is over: the next request is none by itself");
	atomic_store(&engine.batches, true);
	for (unsigned int i = 0; i < 4; i++) {
		struct zswap_stats stats;

		check(store(z, 0, 0, NR_PAGES, 2) == ZSWAP_REJECT_COMPRESS_FAIL, "%u", i);
		check(engine.submitted == engine.completed, "not waited for");
		check_held(z, 0, NR_PAGES, false);
		check(!zswap_stats(z, &stats) && stats.reject_compress_fail == (i + 1) * NR_PAGES,
		      "each page is counted");
		check(!stats.stored_pages && !pool->acomp_ctx[0].req->kernel_data, "%u", i);
		/* a single request is done by the same context, and no batch */
		check(store(z, 0, i, 1, i) == ZSWAP_STORED, "%u", i);
		load_each(z, 0, i, 1);
	}
	check(messages(z, "must be complete when the call returns") == 1, "told once");

	atomic_store(&engine.batches, false);
	check(store(z, 0, 0, NR_PAGES, 2) == ZSWAP_STORED, "batches are done at once");
	atomic_store(&engine.batches, true);
	check(load_batch(z, 0, 0, NR_PAGES, ret) == NR_PAGES &&
		      engine.submitted == engine.completed,
	      "all are lost");
	for (unsigned int i = 0; i < NR_PAGES; i++)
		check(ret[i] == -EIO, "page %u: %d", i, ret[i]);
	check_held(z, 0, NR_PAGES, true);
	load_each(z, 0, 0, NR_PAGES);
	end_zswap(z);
	stop_engine(alg);
}

/* ---- a page that is not whole, and a batch of which nothing is said ---- */

static unsigned int short_by; /* bytes of a decompressed page that are missing */

static int short_rle(void *handle, bool compress, const void *src, unsigned int slen, void *dst,
		     unsigned int *dlen)
{
	int ret = rle(handle, compress, src, slen, dst, dlen);

	if (!compress && !ret)
		*dlen -= short_by;
	return ret;
}

/* A page that comes out short, with success, is no page. */
static void short_pages(unsigned int batch_size)
{
	struct zswap_config config = default_config();
	struct acomp_alg *alg = acomp_alg_create_custom("short", "test", short_rle, NULL);
	struct zswap_stats stats;
	struct zswap_pool *pool;
	struct zswap *z;
	u8 page[PAGE_SIZE];
	int ret[NR_PAGES];

	acomp_alg_set_batch_size(alg, batch_size);
	z = start_zswap(&config, alg, &pool);
	check(store(z, 0, 0, NR_PAGES, 2) == ZSWAP_STORED, "none of them is raw");
	for (short_by = 1; short_by <= PAGE_SIZE; short_by = short_by * PAGE_SIZE) {
		check(zswap_load(z, 0, 1, page, 1, true) == -EIO &&
			      zswap_peek(z, 0, 1, page) == -EIO,
		      "%u bytes less", short_by);
		check(load_batch(z, 0, 0, NR_PAGES, ret) == NR_PAGES, "%u bytes less", short_by);
		for (unsigned int i = 0; i < NR_PAGES; i++)
			check(ret[i] == -EIO, "page %u: %d", i, ret[i]);
	}
	short_by = 0;
	check(!zswap_stats(z, &stats) && stats.decompress_fail == 2 * (2 + NR_PAGES),
	      "%lu failures", (long)stats.decompress_fail);
	check(messages(z, "->4095)"), "a message has the length");
	load_each(z, 0, 0, NR_PAGES);
	end_zswap(z);
	acomp_alg_free(alg);
}

static int silent_compress(struct acomp_req *req)
{
	struct swap_batch_comp_data *batch = req->kernel_data;

	for (u8 i = 0; i < batch->nr_comps; i++)
		check(batch->errors[i] == -EINVAL,
		      "page %u: %d before the compressor says anything", i, batch->errors[i]);
	return -EIO;
}

static int silent_decompress(struct acomp_req *req)
{
	struct swap_batch_decomp_data *batch = req->kernel_data;

	for (u8 i = 0; i < batch->nr_decomps; i++)
		check(batch->errors[i] == -EINVAL,
		      "page %u: %d before the compressor says anything", i, batch->errors[i]);
	return -EIO;
}

/*
 * A compressor that fails a batch without a word on its pages has failed them
 * all.
 */
static void silent_batches(void)
{
	struct zswap_config config = default_config();
	struct acomp_alg *alg = new_alg("rle", NR_PAGES);
	struct zswap_stats stats;
	struct zswap_pool *pool;
	struct zswap *z;
	int ret[NR_PAGES];

	config.store_incompressible = false;
	z = start_zswap(&config, alg, &pool);
	for (unsigned int i = 1; i <= 3; i++) {
		/*
		 * what a batch that went well leaves behind must not be taken
		 * for this one's
		 */
		check(store(z, 0, 0, NR_PAGES, 2) == ZSWAP_STORED, "%u", i);
		alg->batch_decompress = silent_decompress;
		check(load_batch(z, 0, 0, NR_PAGES, ret) == NR_PAGES, "%u", i);
		for (unsigned int k = 0; k < NR_PAGES; k++)
			check(ret[k] == -EIO, "page %u: %d", k, ret[k]);
		alg->batch_decompress = NULL;
		check(!load_batch(z, 0, 0, NR_PAGES, ret), "%u", i);
		alg->batch_compress = silent_compress;
		check(store(z, 0, 0, NR_PAGES, 2) == ZSWAP_REJECT_COMPRESS_FAIL, "%u", i);
		alg->batch_compress = NULL;
		check(!zswap_stats(z, &stats) && stats.reject_compress_fail == i * NR_PAGES,
		      "each page is counted");
		check_held(z, 0, NR_PAGES, false);
	}
	end_zswap(z);
	acomp_alg_free(alg);
}

/* ---- pages of two nodes, let go of together ---- */

static void nodes(void)
{
	struct zswap_config config = default_config();
	struct acomp_alg *alg = new_alg("rle", NR_PAGES);
	struct zswap_pool *pool;
	struct zswap *z = start_zswap(&config, alg, &pool);
	u64 on_node[2] = { 0 };
	int ret[NR_PAGES];

	for (u64 swp = 0; swp < 3 * NR_PAGES; swp++) {
		unsigned int cpu = swp / 3 % 2 * 4;

		check(store(z, cpu, swp, 1, 2) == ZSWAP_STORED, "slot %lu", (long)swp);
		on_node[cpu_to_node(z, cpu)]++;
	}
	for (u64 swp = 0; swp < 3 * NR_PAGES; swp += NR_PAGES) {
		for (unsigned int nid = 0; nid < 2; nid++)
			check(list_lru_count_node(&z->list_lru, nid) == on_node[nid],
			      "node %u has %lu entries, not %lu", nid,
			      (long)list_lru_count_node(&z->list_lru, nid), (long)on_node[nid]);
		check(!load_batch(z, 0, swp, NR_PAGES, ret), "slot %lu", (long)swp);
		for (u64 gone = swp; gone < swp + NR_PAGES; gone++)
			on_node[gone / 3 % 2]--;
		check(!what_is_wrong(z), "%s", what_is_wrong(z));
	}
	end_zswap(z);
	acomp_alg_free(alg);
}

/* ---- a dead pool is not released while a call is inside ---- */

/* which may have seen it */

static struct {
	sem_t inside, leave;
	atomic_bool released;
} reader;

static int waiting_rle(void *handle, bool compress, const void *src, unsigned int slen, void *dst,
		       unsigned int *dlen)
{
	if (compress) {
		sem_post(&reader.inside);
		sem_wait(&reader.leave);
	}
	return rle(handle, compress, src, slen, dst, dlen);
}

static void *store_one(void *arg)
{
	check(store(arg, 0, 1, 1, 1) == ZSWAP_STORED, "slot 1");
	return NULL;
}

static void *release_one(void *arg)
{
	struct zswap_pool *pool = zswap_pool_wait_empty(arg);

	atomic_store(&reader.released, true);
	zswap_pool_destroy(pool);
	return NULL;
}

static void readers_are_waited_for(void)
{
	struct zswap_config config = default_config();
	struct acomp_alg *alg = acomp_alg_create_custom("waiting", "test", waiting_rle, NULL);
	struct zswap_pool *pool, *dying;
	struct zswap *z = start_zswap(&config, alg, &pool);
	pthread_t store_thread, release_thread;

	sem_init(&reader.inside, 0, 0);
	sem_init(&reader.leave, 0, 0);
	check(!pthread_create(&store_thread, NULL, store_one, z), "pthread_create");
	sem_wait(&reader.inside);
	dying = new_pool(z, alg, config.nr_cpus);
	zswap_pool_kill(dying);
	check(!pthread_create(&release_thread, NULL, release_one, z), "pthread_create");
	usleep(100000);
	check(!atomic_load(&reader.released), "a call is still inside");
	sem_post(&reader.leave);
	pthread_join(store_thread, NULL);
	pthread_join(release_thread, NULL);
	check(atomic_load(&reader.released), "it has left");
	sem_destroy(&reader.inside);
	sem_destroy(&reader.leave);
	end_zswap(z);
	acomp_alg_free(alg);
}

/* ---- zsmalloc ---- */

static unsigned int pages_left = UINT_MAX; /* that the arena gives one by one */

void *__real_arena_alloc_page(struct arena *arena);
void *__wrap_arena_alloc_page(struct arena *arena);

void *__wrap_arena_alloc_page(struct arena *arena)
{
	if (!pages_left)
		return NULL;
	pages_left -= pages_left != UINT_MAX;
	return __real_arena_alloc_page(arena);
}

/*
 * A zspage of highmem pages takes them one by one: where one is missing, those
 * before it go back.
 */
static void half_a_zspage(void)
{
	struct zswap_config config = default_config();
	struct acomp_alg *alg = new_alg("rle", 1);
	struct zswap_pool *pool;
	struct zswap_stats stats;
	struct zswap *z;
	unsigned int most = 0;

	config.highmem = 500;
	z = start_zswap(&config, alg, &pool);
	for (unsigned int size = 100; size <= PAGE_SIZE; size += 100) {
		unsigned long handle;

		for (unsigned int nr = 0;; nr++) {
			int ret;

			pages_left = nr;
			ret = zpool_malloc(&pool->zpool, size, &handle, 0);
			pages_left = UINT_MAX;
			if (!ret)
				break;
			check(ret == -ENOMEM, "%d", ret);
			check(!arena_pages(z->host.arena), "%lu pages are left after %u",
			      (long)arena_pages(z->host.arena), nr);
			check(!zpool_get_total_pages(&pool->zpool), "the pool has none");
			most = max(most, nr);
		}
		zpool_free(&pool->zpool, handle);
		check(!arena_pages(z->host.arena), "%lu pages are left",
		      (long)arena_pages(z->host.arena));
	}
	check(most == config.chain_size - 1, "at most %u pages", most);

	pages_left = 1;
	check(store(z, 0, 0, NR_PAGES, 1) == ZSWAP_REJECT_ALLOC_FAIL, "no zspage");
	pages_left = UINT_MAX;
	check(!zswap_stats(z, &stats) && !stats.pool_total_size && stats.reject_alloc_fail == 1,
	      "%lu bytes are left", (long)stats.pool_total_size);
	end_zswap(z);
	acomp_alg_free(alg);
}

static u64 crossing_reads(struct zswap_pool *pool)
{
	struct zswap_pool_info info;

	zswap_pool_info(pool, &info);
	return info.crossing_reads;
}

/*
 * The first length that has a page of its own is told, and is not one too many
 * or too few.
 */
static void huge_objects(unsigned int page_shift, unsigned int chain_size, u64 expected)
{
	struct zswap_config config = default_config();
	struct acomp_alg *alg = new_alg("rle", 1);
	struct zswap_pool_info info;
	struct zswap_pool *pool;
	unsigned long handle[2];
	struct zswap *z;

	config.page_shift = page_shift;
	config.chain_size = chain_size;
	z = start_zswap(&config, alg, &pool);
	zswap_pool_info(pool, &info);
	check(info.huge_class_size == expected, "%lu, not %lu", (long)info.huge_class_size,
	      (long)expected);
	for (unsigned int i = 0; i < 2; i++) {
		check(!zpool_malloc(&pool->zpool, info.huge_class_size - i, &handle[i], 0),
		      "%lu bytes", (long)info.huge_class_size - i);
		check((zpool_get_total_pages(&pool->zpool) > i + 1) == (i == 1),
		      "%lu bytes: %lu pages", (long)info.huge_class_size - i,
		      (long)zpool_get_total_pages(&pool->zpool));
	}
	for (unsigned int i = 0; i < 2; i++)
		zpool_free(&pool->zpool, handle[i]);
	end_zswap(z);
	acomp_alg_free(alg);
}

/*
 * Objects of 2,048 bytes with their handles end at each border and cross none;
 * of three in two pages the second crosses.
 */
static void border_objects(unsigned int highmem)
{
	static const struct {
		unsigned int size;
		bool crosses[4];
	} objects[] = {
		{ 2048 - 8, { false, false, false, false } },
		{ 1024 - 8, { false, false, false, false } },
		{ 2720 - 8, { false, true, false, false } },
	};
	struct zswap_config config = default_config();
	struct acomp_alg *alg = new_alg("rle", 1);
	struct zswap_pool *pool;
	struct zswap *z;

	config.highmem = highmem;
	z = start_zswap(&config, alg, &pool);
	for (unsigned int i = 0; i < ARRAY_SIZE(objects); i++) {
		unsigned int size = objects[i].size;
		unsigned long handle[4];
		u8 bytes[PAGE_SIZE], local[2 * PAGE_SIZE];

		for (unsigned int k = 0; k < 4; k++) {
			check(!zpool_malloc(&pool->zpool, size, &handle[k], 0), "%u bytes", size);
			memset(bytes, k, size);
			zpool_obj_write(&pool->zpool, handle[k], bytes, size);
		}
		for (unsigned int k = 0; k < 4; k++) {
			u64 before = crossing_reads(pool);
			u8 *obj = zpool_obj_read_begin(&pool->zpool, handle[k], size, local);
			bool copied = obj >= local && obj < local + sizeof(local);

			memset(bytes, k, size);
			check(!memcmp(obj, bytes, size), "object %u of %u bytes", k, size);
			check(crossing_reads(pool) - before == objects[i].crosses[k],
			      "object %u of %u bytes", k, size);
			check(copied == (highmem && objects[i].crosses[k]),
			      "object %u of %u bytes is copied", k, size);
		}
		for (unsigned int k = 0; k < 4; k++)
			zpool_free(&pool->zpool, handle[k]);
	}
	end_zswap(z);
	acomp_alg_free(alg);
}

/* ---- the order of refusal ---- */

/* what has a reason of its own asks for no tree */

static void refused_without_a_tree(void)
{
	struct zswap_config config = default_config();
	struct acomp_alg *alg = acomp_alg_create_custom("odd", "test", odd_run, NULL);
	struct zswap_stats stats;
	struct zswap_pool *pool;
	struct zswap *z;

	config.store_incompressible = false;
	z = start_zswap(&config, alg, &pool);
	zswap_fault_arm(z, FAULT_TREE, 1, 0, -ENOMEM, -1);
	zswap_set_param(z, ZSWAP_ENABLED, false);
	check(store(z, 0, 0, NR_PAGES, 1) == ZSWAP_REJECT_DISABLED, "disabled");
	zswap_set_param(z, ZSWAP_ENABLED, true);
	zswap_pool_make_current(z, NULL);
	check(store(z, 0, 0, NR_PAGES, 1) == ZSWAP_REJECT_NO_POOL, "no pool");
	zswap_pool_make_current(z, pool);
	zswap_set_param(z, ZSWAP_MAX_POOL_PERCENT, 0);
	check(store(z, 0, 0, NR_PAGES, 1) == ZSWAP_POOL_LIMIT_HIT, "the limit");
	zswap_set_param(z, ZSWAP_MAX_POOL_PERCENT, 20);
	check(!zswap_fault_hits(z, FAULT_TREE), "%lu trees were asked for",
	      (long)zswap_fault_hits(z, FAULT_TREE));

	/*
	 * the tree takes an entry only once there is one, and once it has an
	 * object
	 */
	zswap_fault_arm(z, FAULT_ENTRY, 1, 1, -ENOMEM, -1);
	check(store(z, 0, 0, NR_PAGES, 1) == ZSWAP_REJECT_KMEMCACHE_FAIL, "no entry");
	zswap_fault_disarm(z, FAULT_ENTRY);
	odd = (struct odd){ -EIO, 0 };
	check(store(z, 0, 0, NR_PAGES, ODD) == ZSWAP_REJECT_COMPRESS_FAIL, "no object");
	check(!zswap_stats(z, &stats) && stats.pool_limit_hit == 1 &&
		      stats.reject_kmemcache_fail == 1 && stats.reject_compress_fail == 1 &&
		      !stats.reject_alloc_fail,
	      "%lu failures", (long)stats.reject_alloc_fail);
	check(store(z, 0, 0, NR_PAGES, 2) == ZSWAP_REJECT_ALLOC_FAIL, "no tree");
	check(!zswap_stats(z, &stats) && stats.reject_alloc_fail == 1 && !stats.pool_total_size,
	      "%lu failures", (long)stats.reject_alloc_fail);
	zswap_fault_disarm(z, FAULT_TREE);
	check(store(z, 0, 0, NR_PAGES, 2) == ZSWAP_STORED, "nothing fails any more");
	load_each(z, 0, 0, NR_PAGES);
	end_zswap(z);
	acomp_alg_free(alg);
}

/* ---- highmem: an allocator that gives the buffer that it was lent ---- */

struct object {
	size_t size;
	u8 bytes[];
};

static int lend_malloc(void *pool, size_t size, unsigned long *handle, unsigned int nid)
{
	struct object *object = malloc(sizeof(*object) + size);

	(void)pool, (void)nid;
	object->size = size;
	*handle = (unsigned long)object;
	return 0;
}

static void lend_free(void *pool, unsigned long handle)
{
	(void)pool;
	free((void *)handle);
}

static void *lend_read_begin(void *pool, unsigned long handle, size_t len, void *local)
{
	struct object *object = (void *)handle;

	(void)pool;
	check(len == object->size, "%zu bytes", len);
	return memcpy(local, object->bytes, object->size);
}

static void lend_write(void *pool, unsigned long handle, const void *mem, size_t len)
{
	struct object *object = (void *)handle;

	(void)pool;
	check(len <= object->size, "%zu bytes", len);
	memcpy(object->bytes, mem, len);
}

static u64 no_pages(void *pool)
{
	(void)pool;
	return 0;
}

static const struct zpool_driver lend = {
	.malloc = lend_malloc,
	.free = lend_free,
	.obj_read_begin = lend_read_begin,
	.obj_write = lend_write,
	.total_pages = no_pages,
};

/*
 * Loads one by one and by batches; how many pages came from an object that was
 * no raw one.
 */
static u64 load_all_ways(struct zswap *z, unsigned int cpu)
{
	struct zswap_stats stats;
	int ret[32];
	u64 raw;

	check(store(z, cpu, 0, 96, 1) == ZSWAP_STORED, "96 pages");
	check(!zswap_stats(z, &stats) && stats.stored_incompressible_pages, "some do not shrink");
	raw = stats.stored_incompressible_pages;
	load_each(z, cpu, 0, 64);
	check(!load_batch(z, cpu, 64, 32, ret), "32 pages");
	return 96 - raw;
}

static void highmem(unsigned int batch_size)
{
	const unsigned int cpu = 1;
	struct zswap_config config = default_config();
	struct acomp_alg *alg = new_alg("rle", batch_size);
	u8 *pages[2 * ZSWAP_MAX_BATCH_SIZE], *buffers[ZSWAP_MAX_BATCH_SIZE];
	struct zswap_pool *pool;
	struct zpool zsmalloc;
	struct zswap *z;
	u64 copied = 0;

	config.highmem = 1000;
	z = start_zswap(&config, alg, &pool);
	zsmalloc = pool->zpool;
	pool->zpool = (struct zpool){ .driver = &lend };
	load_all_ways(z, cpu);
	check(!messages(z, "acomp_ctx->buffers") && !pool->acomp_ctx[cpu].highmem_copies,
	      "a buffer in lowmem is used in place");

	for (unsigned int i = 0; i < 2 * batch_size; i++)
		pages[i] = arena_alloc_page(z->host.arena);
	for (unsigned int i = 0; i < batch_size; i++) {
		buffers[i] = pages[2 * i];
		check(pages[2 * i + 1] == buffers[i] + PAGE_SIZE &&
			      !virt_addr_valid(z->host.arena, buffers[i]),
		      "buffer %u", i);
	}
	swap_buffers(pool, cpu, buffers);
	for (unsigned int i = 0; i < 3; i++)
		copied += load_all_ways(z, cpu);
	swap_buffers(pool, cpu, buffers);
	check(messages(z, "WARNING: obj == acomp_ctx->buffers[0] in highmem") == 1, "told once");
	check(pool->acomp_ctx[cpu].highmem_copies == copied, "%lu of %lu",
	      (long)pool->acomp_ctx[cpu].highmem_copies, (long)copied);

	for (unsigned int i = 0; i < 2 * batch_size; i++)
		arena_free(z->host.arena, pages[i], 1);
	pool->zpool = zsmalloc;
	end_zswap(z);
	acomp_alg_free(alg);
}

/* ---- a store that has no memory for a tree ---- */

/* while another thread makes it and locks the same slots */

static struct race {
	struct zswap *z;
	u64 swp;
	unsigned int fails; /* which of the first store's trees there is no memory for */
	sem_t failing, locked;
	atomic_bool waited, returned;
} race;

static __thread unsigned int my_trees;
static __thread bool is_first;

slot_t *__real_swap_slot_create(struct swap_index *index, struct swap_file *file, u64 offset);
slot_t *__wrap_swap_slot_create(struct swap_index *index, struct swap_file *file, u64 offset);

slot_t *__wrap_swap_slot_create(struct swap_index *index, struct swap_file *file, u64 offset)
{
	if (!is_first || ++my_trees != race.fails)
		return __real_swap_slot_create(index, file, offset);
	sem_post(&race.failing);
	sem_wait(&race.locked);
	return NULL;
}

/*
 * The second store's compressor: its first page takes long enough for the first
 * store to do harm, which it must not.
 */
static int slow_rle(void *handle, bool compress, const void *src, unsigned int slen, void *dst,
		    unsigned int *dlen)
{
	struct swap_file *file = swap_file_any(&race.z->index, 0);

	if (compress && !atomic_exchange(&race.waited, true)) {
		sem_post(&race.locked);
		usleep(50000);
		check(!atomic_load(&race.returned),
		      "it did not wait for slots that another thread had locked");
		for (u64 swp = race.swp; swp < race.swp + NR_PAGES; swp++)
			check(atomic_load(swap_slot(file, swp)) & SLOT_LOCKED,
			      "slot %lu was given up", (long)swp);
	}
	return rle(handle, compress, src, slen, dst, dlen);
}

static void *second_store(void *arg)
{
	(void)arg;
	sem_wait(&race.failing);
	check(store(race.z, 1, race.swp, NR_PAGES, 2) == ZSWAP_STORED,
	      "the second store has its trees");
	return NULL;
}

static void tree_race(u64 swp, unsigned int fails)
{
	struct zswap_config config = default_config();
	struct acomp_alg *alg = acomp_alg_create_custom("slow", "test", slow_rle, NULL);
	struct zswap_stats stats;
	struct zswap_pool *pool;
	pthread_t second;

	race.z = start_zswap(&config, alg, &pool);
	race.swp = swp;
	race.fails = fails;
	race.waited = race.returned = false;
	sem_init(&race.failing, 0, 0);
	sem_init(&race.locked, 0, 0);
	check(!pthread_create(&second, NULL, second_store, NULL), "pthread_create");

	is_first = true;
	my_trees = 0;
	check(store(race.z, 0, swp, NR_PAGES, 1) == ZSWAP_REJECT_ALLOC_FAIL,
	      "no memory for a tree");
	is_first = false;
	atomic_store(&race.returned, true);
	pthread_join(second, NULL);

	/* the refused store was the last to have the slots */
	check_held(race.z, swp, NR_PAGES, false);
	check(!zswap_stats(race.z, &stats) && stats.reject_alloc_fail == 1 && !stats.stored_pages,
	      "%lu pages", (long)stats.stored_pages);
	sem_destroy(&race.failing);
	sem_destroy(&race.locked);
	end_zswap(race.z);
	acomp_alg_free(alg);
}

int main(void)
{
	for (unsigned int dead_frees = 0; dead_frees <= 1; dead_frees++) {
		contexts(1, dead_frees);
		contexts(ZSWAP_MAX_BATCH_SIZE, dead_frees);
		unwilling(dead_frees);
	}
	too_many();
	for (unsigned int i = 0; i < 4; i++) {
		odd_answers(1, i & 1, i & 2);
		odd_answers(NR_PAGES, i & 1, i & 2);
	}
	short_pages(1);
	short_pages(NR_PAGES);
	silent_batches();
	late_singles();
	late_batches();
	nodes();
	readers_are_waited_for();
	half_a_zspage();
	huge_objects(12, 8, 3625);
	huge_objects(14, 8, 14553);
	huge_objects(16, 8, 58137);
	border_objects(0);
	border_objects(1000);
	refused_without_a_tree();
	highmem(1);
	highmem(ZSWAP_MAX_BATCH_SIZE);
	tree_race(100, 1);
	tree_race(SWAP_ADDRESS_SPACE_PAGES - NR_PAGES / 2, 1);
	tree_race(SWAP_ADDRESS_SPACE_PAGES - NR_PAGES / 2, 2);
	puts("test_zswap_inside: all is well");
	return 0;
}
