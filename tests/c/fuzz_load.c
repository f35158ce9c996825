// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * libFuzzer target for loads. The input stands for compressed objects: whatever
 * it is, a load returns a page or -EIO, and touches nothing outside that page.
 *
 *   tests/c/run fuzz_load -max_total_time=60 [a corpus directory]
 *
 * The first byte selects a codec: the C library's own, and those whose
 * functions this system's libraries have. The second selects the number of
 * pages that the input is split into.
 */
#include <dlfcn.h>
#include <string.h>

#include "guarded.h"
#include "zswap_test.h"

#define MAX_ALGS 16
#define NR_CPUS  2

struct target {
	struct acomp_alg *alg;
	struct zswap *z;
};

static struct target targets[MAX_ALGS];
static unsigned int nr_targets;
static struct guarded page, batch;

/* The input. Each stored page "compresses" to its next 'input_step' bytes. */
static const uint8_t *input;
static size_t input_len, input_step;

static int emit_input(struct acomp_req *req)
{
	size_t len = min(min(input_step, input_len), (size_t)req->dlen);

	if (!len)
		return -ENOSPC;
	memcpy(req->dst, input, len);
	input += len;
	input_len -= len;
	req->dlen = len;
	return 0;
}

static bool borrow(struct acomp_alg *alg, unsigned int codec)
{
	static const char *const libraries[] = { "liblz4.so.1", "libzstd.so.1", "libz.so.1",
						 "libdeflate.so.0" };

	for (unsigned int i = 0; codec_symbol(codec, i); i++) {
		void *function = NULL;

		for (unsigned int k = 0; k < ARRAY_SIZE(libraries) && !function; k++) {
			void *library = dlopen(libraries[k], RTLD_NOW);

			function = library ? dlsym(library, codec_symbol(codec, i)) : NULL;
		}
		if (!function)
			return false;
		acomp_alg_set_symbol(alg, i, function);
	}
	return true;
}

static void add_target(struct acomp_alg *alg)
{
	struct zswap_config config = default_config();
	struct target *target = &targets[nr_targets];

	check(nr_targets < MAX_ALGS, "more codecs than MAX_ALGS");
	/*
	 * Some objects of each codec are used in place, some are copied before
	 * they are decompressed.
	 */
	config.highmem = 500;
	config.nr_cpus = NR_CPUS;
	config.nr_nodes = 1;
	alg->compress = emit_input;
	alg->batch_compress = NULL;
	acomp_alg_set_batch_size(alg, nr_targets % 2 ? 8 : 1);
	target->alg = alg;
	target->z = new_zswap(&config);
	zswap_pool_make_current(target->z, new_pool(target->z, alg, NR_CPUS));
	check(!zswap_swapon(target->z, 100), "type 0");
	printf("fuzz_load: %u is %s:%s\n", nr_targets++, alg->cra_name, alg->cra_driver_name);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	guarded_init(&page, PAGE_SIZE);
	guarded_init(&batch, 8 * PAGE_SIZE);
	add_target(new_alg("rle", 1));
	for (unsigned int codec = 0; codec_name(codec); codec++) {
		struct acomp_alg *alg = acomp_alg_create(codec);

		if (borrow(alg, codec))
			add_target(alg);
		else
			acomp_alg_free(alg);
	}
	fflush(stdout);
	return 0;
}

/*
 * Reads each page by itself, twice: both reads must return the same, and the
 * same page if there is one.
 */
static unsigned int peek_each(struct zswap *z, unsigned int nr)
{
	static uint8_t first[PAGE_SIZE];
	unsigned int bad = 0;

	for (uint64_t swp = 0; swp < nr; swp++) {
		int ret = zswap_peek(z, 0, swp, page.start);

		check(!ret || ret == -EIO, "page %ld: %d", (long)swp, ret);
		memcpy(first, page.start, PAGE_SIZE);
		memset(page.start, 0xa5, PAGE_SIZE);
		check(zswap_peek(z, 1, swp, page.start) == ret, "page %ld: not %d again", (long)swp,
		      ret);
		check(ret || !memcmp(page.start, first, PAGE_SIZE), "page %ld: other bytes",
		      (long)swp);
		bad += ret != 0;
	}
	return bad;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint64_t swps[8] = { 0, 1, 2, 3, 4, 5, 6, 7 };
	uint8_t folio[8 * PAGE_SIZE] = { 0 };
	unsigned int nr, bad;
	struct zswap *z;
	int ret[8];

	if (size < 3)
		return 0;
	z = targets[data[0] % nr_targets].z;
	nr = 1 + data[1] % 8;
	input = data + 2;
	input_len = size - 2;
	input_step = (input_len + nr - 1) / nr;
	/*
	 * A page past the input's end, or one that gets a whole page of it, is
	 * stored raw.
	 */
	check(zswap_store(z, 0, 0, folio, nr) == ZSWAP_STORED, "%u pages", nr);
	bad = peek_each(z, nr);
	check(zswap_load_batch(z, 0, swps, nr, batch.start, ret) == (int)bad,
	      "a batch of %u has other errors than its pages", nr);
	for (unsigned int i = 0; i < nr; i++)
		check(zswap_contains(z, 0, i) == (ret[i] != 0), "page %u", i);
	check(!zswap_invalidate(z, 0, 0, nr), "zswap_invalidate");
	return 0;
}
