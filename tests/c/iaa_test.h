/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Shared by the accelerator's C tests: the software codec, devices with their
 * threads, users with a request each.
 */
#ifndef IAA_TEST_H
#define IAA_TEST_H

#include <dlfcn.h>
#include <pthread.h>
#include <unistd.h>

#include "iaa/iaa.h"
#include "zswap_test.h"

#define NR_CPUS     8
#define NR_NODES    2
#define MAX_THREADS 64

/*
 * Returns zlib's deflate-iaa, which does the devices' work here, or zlib's
 * deflate, which decompresses where they fail.
 */
static inline struct acomp_alg *new_software(const char *name)
{
	void *libz = dlopen("libz.so.1", RTLD_NOW);

	check(libz, "%s", dlerror());
	for (unsigned int i = 0; codec_name(i); i++) {
		struct acomp_alg *alg;

		if (strcmp(codec_name(i), name) || strcmp(codec_backend(i), "zlib"))
			continue;
		alg = acomp_alg_create(i);
		check(alg, "no memory");
		for (unsigned int j = 0; codec_symbol(i, j); j++) {
			void *function = dlsym(libz, codec_symbol(i, j));

			check(function, "%s", dlerror());
			acomp_alg_set_symbol(alg, j, function);
		}
		return alg;
	}
	check(false, "no codec %s:zlib", name);
}

/* ---- devices, and in real time their threads ---- */

struct rig {
	struct acomp_alg *engine, *software;
	struct vclock *clock; /* NULL: real time */
	struct iaa *iaa;
	struct faults faults; /* the users' memory */
	struct kmem mm;
	unsigned int nr_devices, nr_threads;
	struct rig_thread {
		struct iaa *iaa;
		unsigned int device;
		unsigned int engine;
		pthread_t thread;
	} threads[MAX_THREADS];
};

/* Costs of which each sum shows its parts. */
static inline struct idxd_profile default_profile(void)
{
	return (struct idxd_profile){
		.host_ns = 300,
		.compress_ns = 3000,
		.decompress_ns = 2000,
		.transfer_ns = 1000,
		.irq_ns = 70,
		.software_ns = 9000,
		.pause_ns = 50,
		.timeout_ns = 50000000,
	};
}

/* The batching series' mode. */
static inline struct iaa_mode default_mode(void)
{
	return (struct iaa_mode){
		.sync_mode = IAA_ASYNC, .any_failure = true, .comp_tries = 1000, .decomp_tries = 500
	};
}

/* One dedicated queue of 'size' entries before 'engines' engines. */
static inline struct idxd_config default_device(unsigned int size, unsigned int engines)
{
	struct idxd_config config = {
		.wq[0] = { .size = size, .priority = 10, .enqcmds_retries = 32 }
	};

	for (unsigned int i = 0; i < IDXD_MAX_ENGINES; i++)
		config.engine_group[i] = i < engines ? 0 : -1;
	return config;
}

static inline void rig_start(struct rig *rig, const struct idxd_profile *profile, bool clock,
			     const struct iaa_mode *mode)
{
	int err;

	*rig = (struct rig){ .engine = new_software("deflate-iaa"),
			     .software = new_software("deflate") };
	if (clock) {
		rig->clock = vclock_create();
		check(rig->clock, "vclock_create");
	}
	rig->iaa = iaa_create(rig->engine, rig->software, profile, rig->clock, NR_CPUS, NR_NODES,
			      &err);
	check(rig->iaa, "iaa_create: %d", err);
	check(!kmem_init(&rig->mm, &rig->faults, NR_CPUS, NR_NODES), "kmem_init");
	iaa_set_mode(rig->iaa, mode);
	iaa_set_enabled(rig->iaa, true);
}

static inline void *rig_thread(void *arg)
{
	struct rig_thread *t = arg;

	iaa_engine_run(t->iaa, t->device, t->engine);
	return NULL;
}

/* Adds a device, and enables it. */
static inline void rig_add_device(struct rig *rig, const struct idxd_config *config)
{
	int id = iaa_device_add(rig->iaa, rig->nr_devices % NR_NODES, config);

	check(id == (int)rig->nr_devices, "iaa_device_add: %d", id);
	rig->nr_devices++;
	for (unsigned int engine = rig->clock ? IDXD_MAX_ENGINES : 0; engine < IDXD_MAX_ENGINES;
	     engine++) {
		struct rig_thread *t = &rig->threads[rig->nr_threads];

		if (config->engine_group[engine] < 0)
			continue;
		check(rig->nr_threads++ < MAX_THREADS, "too many threads");
		*t = (struct rig_thread){ .iaa = rig->iaa, .device = id, .engine = engine };
		check(!pthread_create(&t->thread, NULL, rig_thread, t), "pthread_create");
	}
	check(iaa_device_state(rig->iaa, id) == IDXD_DEV_DISABLED, "a new device is disabled");
	iaa_device_set_state(rig->iaa, id, IDXD_DEV_ENABLED);
}

/* Sets the tables: each CPU uses these queues, in turn, both ways. */
static inline void rig_tables(struct rig *rig, unsigned int nr, const unsigned int *wqs)
{
	const unsigned int start[] = { 0, nr }, tables[NR_CPUS] = { 0 };
	int ret = iaa_set_tables(rig->iaa, 1, start, wqs, tables, tables);

	check(!ret, "iaa_set_tables: %d", ret);
}

/* Starts a driver over 'devices' equal devices, each with queue 0 in the table. */
static inline void rig_start_default(struct rig *rig, bool clock, const struct iaa_mode *mode,
				     unsigned int devices, const struct idxd_config *config)
{
	const struct idxd_profile profile = default_profile();
	unsigned int wqs[IAA_MAX_DEVICES];

	rig_start(rig, &profile, clock, mode);
	for (unsigned int i = 0; i < devices; i++) {
		rig_add_device(rig, config);
		wqs[i] = i << 8;
	}
	rig_tables(rig, devices, wqs);
}

static inline void rig_plan(struct rig *rig, const struct idxd_fault *faults, unsigned int nr)
{
	int ret = iaa_set_plan(rig->iaa, faults, nr);

	check(!ret, "iaa_set_plan: %d", ret);
}

/* Waits until all descriptors are free, ends the threads, frees all. */
static inline void rig_end(struct rig *rig)
{
	for (unsigned int i = 0; i < rig->nr_devices; i++) {
		for (unsigned int wq = 0; wq < IDXD_MAX_WQS; wq++)
			while (!iaa_wq_drain(rig->iaa, i, wq))
				;
		iaa_device_stop(rig->iaa, i);
	}
	for (unsigned int i = 0; i < rig->nr_threads; i++)
		check(!pthread_join(rig->threads[i].thread, NULL), "pthread_join");
	check(!kmem_bytes(&rig->mm, FAULT_ACOMP, 0) && !kmem_bytes(&rig->mm, FAULT_REQUEST, 0),
	      "a user is left");
	iaa_put(rig->iaa);
	kmem_deinit(&rig->mm);
	if (rig->clock) {
		check(!vclock_stalls(rig->clock), "%lu stalls", (long)vclock_stalls(rig->clock));
		vclock_put(rig->clock);
	}
	acomp_alg_free(rig->engine);
	acomp_alg_free(rig->software);
}

/* ---- users ---- */

struct user {
	struct crypto_acomp *tfm;
	struct acomp_req *req;
	struct crypto_wait wait;
};

static inline void user_init(struct user *user, struct rig *rig)
{
	user->tfm = crypto_alloc_acomp_node(&rig->mm, iaa_alg(rig->iaa), 0);
	check(!IS_ERR(user->tfm), "crypto_alloc_acomp_node: %d", PTR_ERR(user->tfm));
	user->req = acomp_request_alloc(user->tfm);
	check(user->req, "acomp_request_alloc");
	crypto_init_wait(&user->wait);
	acomp_request_set_callback(user->req, CRYPTO_TFM_REQ_MAY_BACKLOG, crypto_req_done,
				   &user->wait);
}

static inline void user_exit(struct user *user)
{
	acomp_request_free(user->req);
	crypto_free_acomp(user->tfm);
	crypto_destroy_wait(&user->wait);
}

static inline int user_run(struct user *user, bool compress, const void *src, unsigned int slen,
			   void *dst, unsigned int *dlen)
{
	int ret;

	acomp_request_set_params(user->req, src, dst, slen, *dlen);
	ret = compress ? crypto_acomp_compress(user->req) : crypto_acomp_decompress(user->req);
	ret = crypto_wait_req(ret, &user->wait);
	*dlen = user->req->dlen;
	return ret;
}

/* A batch of up to 8 pages, and their results. */
struct batch {
	unsigned int nr;
	const u8 *srcs[IAA_CRYPTO_MAX_BATCH_SIZE];
	u8 *dsts[IAA_CRYPTO_MAX_BATCH_SIZE];
	unsigned int slens[IAA_CRYPTO_MAX_BATCH_SIZE], dlens[IAA_CRYPTO_MAX_BATCH_SIZE];
	int errors[IAA_CRYPTO_MAX_BATCH_SIZE];
};

/*
 * Compresses pages of slen bytes each, into buffers of dlen each. When it
 * returns all answers are there, in every mode of the driver.
 */
static inline int user_compress_batch(struct user *user, struct batch *b, unsigned int slen,
				      unsigned int dlen)
{
	struct swap_batch_comp_data data = {
		.pages = b->srcs,
		.dsts = b->dsts,
		.dlens = b->dlens,
		.errors = b->errors,
		.nr_comps = b->nr,
	};
	int ret;

	acomp_request_set_params(user->req, NULL, NULL, slen, dlen);
	user->req->kernel_data = &data;
	ret = crypto_acomp_compress(user->req);
	user->req->kernel_data = NULL;
	return ret;
}

static inline int user_decompress_batch(struct user *user, struct batch *b, unsigned int dlen)
{
	struct swap_batch_decomp_data data = {
		.srcs = b->srcs,
		.pages = b->dsts,
		.slens = b->slens,
		.dlens = b->dlens,
		.errors = b->errors,
		.nr_decomps = b->nr,
	};
	int ret;

	acomp_request_set_params(user->req, NULL, NULL, 0, dlen);
	user->req->kernel_data = &data;
	ret = crypto_acomp_decompress(user->req);
	user->req->kernel_data = NULL;
	return ret;
}

#endif
