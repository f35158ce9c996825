// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The C interface from C, one thread: all that zswap.h promises of stores and
 * loads, damage, and each failure that there can be of a pool's making and a
 * store. Run it under AddressSanitizer, which also sees what is not freed.
 */
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guarded.h"
#include "zswap_test.h"

#define MAX_NR ZSWAP_MAX_FOLIO

static void check_zswap(struct zswap *z)
{
	const char *wrong = what_is_wrong(z);

	check(!wrong, "%s", wrong);
}

static struct zswap_stats stats_of(struct zswap *z)
{
	struct zswap_stats stats;

	check(!zswap_stats(z, &stats), "zswap_stats");
	return stats;
}

static uint8_t *make_folio(size_t page_size, uint64_t swp, unsigned int nr, uint64_t generation)
{
	uint8_t *folio = malloc(nr * page_size);

	check(folio, "malloc");
	for (unsigned int i = 0; i < nr; i++)
		make_page(folio + i * page_size, page_size, swp + i, generation);
	return folio;
}

static int store(struct zswap *z, unsigned int cpu, size_t page_size, uint64_t swp, unsigned int nr,
		 uint64_t generation)
{
	uint8_t *folio = make_folio(page_size, swp, nr, generation);
	int ret = zswap_store(z, cpu, swp, folio, nr);

	free(folio);
	return ret;
}

/* ---- the walk: each size of folio, each way out ---- */

struct machine {
	const char *alg;
	unsigned int batch_size;
	unsigned int page_shift, highmem;
	unsigned int compr_batch_size, pool_batch_size; /* what the pool must have */
};

static const struct machine machines[] = {
	{ "rle", 0, 12, 0, 1, 2 },    { "rle", 1, 12, 300, 1, 2 },     { "rle", 3, 12, 0, 3, 3 },
	{ "rle", 8, 12, 500, 8, 8 },  { "rle", 20, 12, 1000, 8, 8 },   { "lzo", 1, 12, 0, 1, 2 },
	{ "lzo", 8, 12, 1000, 8, 8 }, { "lzo-rle", 5, 14, 500, 5, 5 }, { "lzo", 8, 16, 0, 8, 8 },
};

static const unsigned int folios[] = { 1, 2, 3, 7, 8, 9, 15, 16, 17, 511, 512 };

static void load_one_by_one(struct zswap *z, unsigned int cpu, size_t page_size, uint64_t swp,
			    unsigned int nr)
{
	uint8_t *page = malloc(page_size);

	for (unsigned int i = 0; i < nr; i++) {
		check(!zswap_load(z, cpu, swp + i, page, 1, false), "page %u of %u", i, nr);
		check_page(page, page_size, swp + i);
		check(zswap_contains(z, cpu, swp + i) == 1,
		      "a synchronous device's load keeps the page");
		check(!zswap_load(z, cpu, swp + i, page, 1, true), "page %u of %u", i, nr);
		check_page(page, page_size, swp + i);
		check(zswap_load(z, cpu, swp + i, page, 1, true) == -ENOENT,
		      "a page can be loaded once");
		check(zswap_contains(z, cpu, swp + i) == 0, "loads are exclusive");
	}
	free(page);
}

/* Slots last to first, each one twice, one of none before and behind them. */
static void load_by_batch(struct zswap *z, unsigned int cpu, size_t page_size, uint64_t swp,
			  unsigned int nr)
{
	unsigned int n = 2 * nr + 2, found = 0;
	uint64_t *swps = malloc(n * sizeof(*swps));
	uint8_t *out = malloc(n * page_size);
	int *ret = malloc(n * sizeof(*ret));

	swps[0] = swp + 100000;
	swps[n - 1] = SWP(7, 3);
	for (unsigned int i = 0; i < 2 * nr; i++)
		swps[i + 1] = swp + nr - 1 - i / 2;
	check(zswap_load_batch(z, cpu, swps, n, out, ret) == (int)(n - nr), "each slot but once");
	check(ret[0] == -ENOENT && ret[n - 1] == -EBADSLT, "%d, %d", ret[0], ret[n - 1]);
	for (unsigned int i = 1; i < n - 1; i++) {
		check(!ret[i] || ret[i] == -ENOENT, "page %u: %d", i, ret[i]);
		if (ret[i])
			continue;
		check_page(out + i * page_size, page_size, swps[i]);
		found++;
	}
	check(found == nr, "%u pages of %u", found, nr);
	free(swps);
	free(out);
	free(ret);
}

/*
 * Stores the folio twice over, so that each slot's old entry goes; a page in
 * the middle is let go before they are loaded.
 */
static void walk_folio(struct zswap *z, const struct machine *m, unsigned int cpu, uint64_t swp,
		       unsigned int nr, bool by_batch)
{
	size_t page_size = (size_t)1 << m->page_shift;
	uint64_t before = stats_of(z).stored_pages;
	uint8_t *page = malloc(page_size);
	struct zswap_entry_info info;

	check(store(z, cpu, page_size, swp, nr, 1) == ZSWAP_STORED, "%u pages", nr);
	check(store(z, cpu, page_size, swp, nr, 2) == ZSWAP_STORED, "%u pages", nr);
	check(stats_of(z).stored_pages == before + nr, "%u pages", nr);
	for (unsigned int i = 0; i < nr; i++) {
		check(!zswap_peek(z, (cpu + 1) % 5, swp + i, page), "page %u of %u", i, nr);
		check(check_page(page, page_size, swp + i) == 2,
		      "page %u of %u: what was stored before", i, nr);
		check(!zswap_entry_info(z, cpu, swp + i, &info), "page %u of %u", i, nr);
		check(info.length && info.length <= page_size && info.node == cpu * 2 / 5,
		      "page %u of %u", i, nr);
	}
	check_zswap(z);

	check(!zswap_invalidate(z, cpu, swp + nr / 2, 1), "page %u", nr / 2);
	check(!zswap_invalidate(z, cpu, swp + nr / 2, 1), "page %u, which is not there", nr / 2);
	check(zswap_peek(z, cpu, swp + nr / 2, page) == -ENOENT, "page %u", nr / 2);
	check(store(z, cpu, page_size, swp + nr / 2, 1, 2) == ZSWAP_STORED, "page %u", nr / 2);
	(by_batch ? load_by_batch : load_one_by_one)(z, cpu, page_size, swp, nr);
	check(stats_of(z).stored_pages == before, "%u pages", nr);
	check_zswap(z);
	free(page);
}

static void walk(const struct machine *m)
{
	struct zswap_config config = default_config();
	struct acomp_alg *alg = new_alg(m->alg, m->batch_size);
	struct zswap_pool_info info;
	struct zswap_pool *pool;
	struct zswap *z;

	config.page_shift = m->page_shift;
	config.highmem = m->highmem;
	z = new_zswap(&config);
	pool = new_pool(z, alg, config.nr_cpus);
	zswap_pool_make_current(z, pool);
	zswap_pool_info(pool, &info);
	check(info.compr_batch_size == m->compr_batch_size, "%u", info.compr_batch_size);
	check(info.batch_size == m->pool_batch_size, "%u", info.batch_size);
	check(zswap_swapon(z, 200000) == 0, "the first type is 0");

	for (unsigned int i = 0; i < ARRAY_SIZE(folios); i++) {
		if (folios[i] << m->page_shift > 4u << 20)
			continue;
		/* across the border of two trees, and within one */
		walk_folio(z, m, i % 5, (1 << 14) - folios[i] / 2, folios[i], i % 2);
		walk_folio(z, m, (i + 3) % 5, 50000, folios[i], !(i % 2));
	}
	/* left behind, for the end to free */
	check(store(z, 0, (size_t)1 << m->page_shift, 3, 17, 1) == ZSWAP_STORED, "17 pages");
	end_zswap(z);
	acomp_alg_free(alg);
}

/* ---- what is answered instead ---- */

static struct zswap *small_zswap(const struct zswap_config *config, const struct acomp_alg *alg,
				 struct zswap_pool **pool)
{
	struct zswap *z = new_zswap(config);

	*pool = new_pool(z, alg, config->nr_cpus);
	zswap_pool_make_current(z, *pool);
	check(zswap_swapon(z, 5000) == 0, "the first type is 0");
	return z;
}

/*
 * What a compressor's own function gets from the instance that has called it.
 */
static struct {
	struct zswap *z;
	struct zswap_pool *pool;
	int contains, prepare, dead, ctx_info, create;
	bool inside, pool_made, pool_empty;
} nested_calls;

static int reenter(void *handle, bool compress, const void *src, unsigned int slen, void *dst,
		   unsigned int *dlen)
{
	struct zswap_ctx_info ctx;

	(void)handle;
	nested_calls.inside = zswap_inside(nested_calls.z);
	nested_calls.contains = zswap_contains(nested_calls.z, 0, 1);
	nested_calls.prepare = zswap_cpu_comp_prepare(nested_calls.pool, 0);
	nested_calls.dead = zswap_cpu_comp_dead(nested_calls.pool, 0);
	nested_calls.ctx_info = zswap_ctx_info(nested_calls.pool, 0, &ctx);
	nested_calls.pool_made =
		zswap_pool_create(nested_calls.z, NULL, "nested", &nested_calls.create);
	nested_calls.pool_empty = zswap_pool_wait_empty(nested_calls.z);
	return rle(NULL, compress, src, slen, dst, dlen);
}

static void answers(void)
{
	struct zswap_config config = default_config();
	struct acomp_alg *alg = new_alg("rle", 8), *nested;
	uint8_t page[PAGE_SIZE];
	struct zswap_pool *pool;
	struct zswap *z;
	pid_t child;
	int status, err = 0;

	config.page_shift = 13;
	check(!zswap_create(&config, &err) && err == -EINVAL, "8 KiB pages: %d", err);
	config.page_shift = 12;
	z = new_zswap(&config);
	check(zswap_swapon(z, 5000) == 0, "the first type is 0");
	check(store(z, 0, PAGE_SIZE, 1, 1, 1) == ZSWAP_REJECT_NO_POOL, "no pool");
	check(zswap_load(z, 0, 1, page, 1, true) == -ENOENT, "never enabled");
	end_zswap(z);

	z = small_zswap(&config, alg, &pool);
	check(zswap_store(z, 5, 1, page, 1) == -EINVAL, "no CPU 5");
	check(zswap_store(z, 0, 1, page, 0) == -EINVAL &&
		      zswap_store(z, 0, 1, page, 513) == -EINVAL,
	      "0 or 513 pages");
	check(zswap_store(z, 0, 4999, page, 2) == -EBADSLT, "past the end");
	check(zswap_store(z, 0, SWP(1, 0), page, 1) == -EBADSLT, "no type 1");
	check(zswap_load(z, 0, 1, page, 2, true) == -EINVAL, "large folios are not swapped in");
	check(zswap_swapoff(z, 1) == -EBADSLT && zswap_swapoff(z, 99) == -EBADSLT,
	      "no type 1 or 99");

	/*
	 * a refused store leaves nothing behind, not even what was there before
	 */
	check(store(z, 0, PAGE_SIZE, 1, 3, 1) == ZSWAP_STORED, "3 pages");
	zswap_set_param(z, ZSWAP_ENABLED, false);
	check(store(z, 0, PAGE_SIZE, 2, 1, 2) == ZSWAP_REJECT_DISABLED, "disabled");
	check(zswap_contains(z, 0, 1) == 1 && zswap_contains(z, 0, 2) == 0 &&
		      zswap_contains(z, 0, 3) == 1,
	      "slots 1 to 3");
	zswap_set_param(z, ZSWAP_ENABLED, true);

	/* swapoff lets go of all that the file held */
	check(!zswap_swapoff(z, 0), "type 0");
	check(zswap_load(z, 0, 1, page, 1, true) == -EBADSLT && !stats_of(z).stored_pages,
	      "type 0 is gone");
	check(zswap_swapon(z, 5000) == 0 && zswap_contains(z, 0, 1) == 0, "a new type 0");

	/* a CPU without a context, and the copy that a forked child has */
	zswap_cpu_comp_dead(pool, 2);
	check(store(z, 2, PAGE_SIZE, 1, 1, 1) == -ENODEV, "CPU 2 has no context");
	check(store(z, 1, PAGE_SIZE, 1, 1, 1) == ZSWAP_STORED &&
		      zswap_peek(z, 2, 1, page) == -ENODEV,
	      "nor for loads");
	check(!zswap_cpu_comp_prepare(pool, 2) && !zswap_peek(z, 2, 1, page), "and has again");
	child = fork();
	if (!child) {
		zswap_forked(z);
		_exit(zswap_contains(z, 0, 1) != -ECHILD);
	}
	check(waitpid(child, &status, 0) == child && !status, "the child: %#x", status);
	check_zswap(z);
	zswap_shutdown(z);
	check(zswap_contains(z, 0, 1) == -ESHUTDOWN && !zswap_pool_wait_empty(z),
	      "after zswap_shutdown()");
	check(zswap_cpu_comp_prepare(pool, 1) == -ESHUTDOWN, "nor is a context made");
	zswap_release(z);
	check(!zswap_pool_create(z, alg, "late", &err) && err == -ESHUTDOWN, "nor a pool: %d", err);
	zswap_destroy(z);

	nested = acomp_alg_create_custom("nested", "test", reenter, NULL);
	z = nested_calls.z = small_zswap(&config, nested, &pool);
	nested_calls.pool = pool;
	check(store(z, 0, PAGE_SIZE, 1, 1, 1) == ZSWAP_STORED && nested_calls.inside &&
		      !zswap_inside(z),
	      "inside");
	check(nested_calls.contains == -EDEADLK && nested_calls.prepare == -EDEADLK &&
		      nested_calls.dead == -EDEADLK && nested_calls.ctx_info == -EDEADLK &&
		      nested_calls.create == -EDEADLK,
	      "what takes a lock");
	check(!nested_calls.pool_made && !nested_calls.pool_empty, "and what waits");
	end_zswap(z);
	acomp_alg_free(nested);
	acomp_alg_free(alg);
}

/*
 * Before Linux 6.18 a page that does not shrink refused its folio; the answer
 * is what the compressor says.
 */
static void refusals(const char *name, enum zswap_reject answer)
{
	struct zswap_config config = default_config();
	struct acomp_alg *alg = new_alg(name, 1);
	uint8_t *folio = make_folio(PAGE_SIZE, 0, 6, 1);
	uint64_t x = 1;
	struct zswap_pool *pool;
	struct zswap_stats stats;
	struct zswap *z;

	config.store_incompressible = config.check_dlen = false;
	z = small_zswap(&config, alg, &pool);
	memset(folio, 7, 6 * PAGE_SIZE);
	check(zswap_store(z, 0, 0, folio, 6) == ZSWAP_STORED, "6 pages of one byte");
	for (unsigned int i = 0; i < PAGE_SIZE; i++)
		folio[4 * PAGE_SIZE + i] = next_random(&x) >> 32;
	check(zswap_store(z, 0, 0, folio, 6) == (int)answer, "page 4 does not shrink");
	stats = stats_of(z);
	check(stats.reject_compress_poor == (answer == ZSWAP_REJECT_COMPRESS_POOR),
	      "reject_compress_poor");
	check(stats.reject_compress_fail == (answer == ZSWAP_REJECT_COMPRESS_FAIL),
	      "reject_compress_fail");
	check(!stats.stored_pages, "%lu pages of a refused folio", (long)stats.stored_pages);
	end_zswap(z);
	free(folio);
	acomp_alg_free(alg);
}

/* A full pool takes stores again only once it is below the accept threshold. */
static void limits(void)
{
	struct zswap_config config = default_config();
	struct acomp_alg *alg = new_alg("lzo", 1);
	struct zswap_pool *pool;
	uint64_t limit, swp;
	struct zswap *z;

	config.totalram_pages = 500;
	limit = config.totalram_pages * 20 / 100 * PAGE_SIZE;
	z = small_zswap(&config, alg, &pool);
	for (swp = 0; store(z, 0, PAGE_SIZE, swp, 1, 1) == ZSWAP_STORED; swp++)
		check(stats_of(z).pool_total_size < limit + 8 * PAGE_SIZE, "%lu pages", (long)swp);
	check(stats_of(z).pool_limit_hit == 1 && stats_of(z).pool_total_size >= limit,
	      "the limit is hit");
	while (stats_of(z).pool_total_size > limit * 90 / 100) {
		check(store(z, 0, PAGE_SIZE, 4000, 1, 1) == ZSWAP_POOL_LIMIT_HIT,
		      "above the accept threshold");
		check(swp, "all %lu pages are gone, the pool is not", (long)swp);
		zswap_invalidate(z, 0, --swp, 1);
	}
	check(store(z, 0, PAGE_SIZE, 4000, 1, 1) == ZSWAP_STORED, "below the accept threshold");
	end_zswap(z);
	acomp_alg_free(alg);
}

/*
 * A pool lives as long as its entries, may be called back before, and is
 * released after.
 */
static void pools(void)
{
	struct zswap_config config = default_config();
	struct acomp_alg *lzo = new_alg("lzo", 1), *toy = new_alg("rle", 8);
	struct zswap_pool *old, *new;
	struct zswap_entry_info info;
	struct zswap_pool_info pool;
	uint8_t page[PAGE_SIZE];
	struct zswap *z = small_zswap(&config, lzo, &old);

	check(store(z, 0, PAGE_SIZE, 10, 4, 1) == ZSWAP_STORED, "4 pages");
	new = new_pool(z, toy, config.nr_cpus);
	zswap_pool_make_current(z, new);
	zswap_pool_kill(old);
	check(store(z, 0, PAGE_SIZE, 20, 4, 1) == ZSWAP_STORED, "4 pages");
	zswap_pool_info(old, &pool);
	check(pool.refs == 4, "%ld references", (long)pool.refs);
	check(!zswap_entry_info(z, 0, 10, &info) && info.pool == old, "an old entry");
	check(!zswap_entry_info(z, 0, 20, &info) && info.pool == new, "a new entry");
	check_zswap(z);

	check(zswap_pool_resurrect(old), "it has entries");
	zswap_pool_make_current(z, old);
	zswap_pool_kill(new);
	for (uint64_t swp = 20; swp < 24; swp++)
		check(!zswap_load(z, 0, swp, page, 1, true) &&
			      check_page(page, PAGE_SIZE, swp) == 1,
		      "slot %lu", (long)swp);
	check(zswap_pool_wait_empty(z) == new, "its last entry is gone");
	check(!zswap_pool_resurrect(new), "too late");
	zswap_pool_destroy(new);

	/*
	 * one that is destroyed while it waits for its release is on no list
	 * any more
	 */
	new = new_pool(z, toy, config.nr_cpus);
	zswap_pool_kill(new);
	zswap_pool_destroy(new);
	new = new_pool(z, toy, config.nr_cpus);
	zswap_pool_kill(new);
	check(zswap_pool_wait_empty(z) == new, "the other one");
	zswap_pool_destroy(new);
	end_zswap(z);
	acomp_alg_free(lzo);
	acomp_alg_free(toy);
}

/*
 * A fault for a CPU strikes where that CPU's context is made, on whichever CPU
 * the caller is.
 */
static void prepare_faults(void)
{
	struct zswap_config config = default_config();
	struct acomp_alg *alg = new_alg("rle", 8);
	struct zswap *z = new_zswap(&config);
	unsigned int kind;
	int err;

	for (kind = 0; strcmp(zswap_fault_kind(kind), "acomp"); kind++)
		;
	for (; strcmp(zswap_fault_kind(kind), "entry"); kind++) {
		struct zswap_pool *pool = zswap_pool_create(z, alg, "test", &err);

		check(pool, "%d", err);
		zswap_fault_arm(z, kind, 1, 0, -ENOMEM, 2);
		check(!zswap_cpu_comp_prepare(pool, 1) && !zswap_fault_hits(z, kind), "CPU 1, %s",
		      zswap_fault_kind(kind));
		check(zswap_cpu_comp_prepare(pool, 2) == -ENOMEM && zswap_fault_hits(z, kind) == 1,
		      "CPU 2, %s", zswap_fault_kind(kind));
		zswap_fault_disarm(z, kind);
		zswap_pool_destroy(pool);
	}
	end_zswap(z);
	acomp_alg_free(alg);
}

/* ---- damage: each byte of each object ---- */

static void damage(const char *name, unsigned int batch_size, unsigned int highmem)
{
	static const uint8_t masks[] = { 0x01, 0x80, 0xff };
	enum { NR = 16 };
	struct zswap_config config = default_config();
	struct acomp_alg *alg = new_alg(name, batch_size);
	struct guarded one, many;
	struct zswap_entry_info info;
	struct zswap_pool *pool;
	struct zswap *z;
	uint64_t fails = 0;

	config.highmem = highmem;
	z = small_zswap(&config, alg, &pool);
	guarded_init(&one, PAGE_SIZE); /* nothing can be touched before it or behind it */
	guarded_init(&many, 8 * PAGE_SIZE);
	check(store(z, 0, PAGE_SIZE, 0, NR, 1) == ZSWAP_STORED, "%u pages", NR);

	for (uint64_t swp = 0; swp < NR; swp++) {
		check(!zswap_entry_info(z, 0, swp, &info), "slot %lu", (long)swp);
		check(zswap_flip(z, 0, swp, info.length, 1) == -EINVAL, "past the object's end");
		for (uint32_t i = 0; i < info.length * ARRAY_SIZE(masks); i++) {
			uint32_t byte = i / ARRAY_SIZE(masks);
			uint8_t mask = masks[i % ARRAY_SIZE(masks)];
			int ret;

			check(!zswap_flip(z, 0, swp, byte, mask), "byte %u", byte);
			ret = zswap_peek(z, 0, swp, one.start);
			check(!ret || ret == -EIO, "byte %u: %d", byte, ret);
			fails += ret == -EIO;
			check(!zswap_flip(z, 0, swp, byte, mask), "byte %u", byte);
		}
		check(!zswap_peek(z, 0, swp, one.start) &&
			      check_page(one.start, PAGE_SIZE, swp) == 1,
		      "slot %lu", (long)swp);
	}
	check(stats_of(z).decompress_fail == fails && fails, "%lu failures", (long)fails);

	/*
	 * In a batch the damage is the one page's: it stays, and the others are
	 * loaded.
	 */
	for (uint64_t bad = 0; bad < 8; bad++) {
		uint64_t swps[8];
		int ret[8];

		for (unsigned int i = 0; i < 8; i++)
			swps[i] = 8 + i;
		check(store(z, 0, PAGE_SIZE, 8, 8, 2) == ZSWAP_STORED, "8 pages");
		zswap_fault_arm(z, 12 /* decompress */, bad + 1, 1, -EIO, -1);
		check(!strcmp(zswap_fault_kind(12), "decompress"), "%s", zswap_fault_kind(12));
		check(zswap_load_batch(z, 0, swps, 8, many.start, ret) == 1, "one is lost");
		zswap_fault_disarm(z, 12);
		for (unsigned int i = 0; i < 8; i++) {
			check(ret[i] == (i == bad ? -EIO : 0), "page %u: %d", i, ret[i]);
			check(zswap_contains(z, 0, swps[i]) == (i == bad), "page %u", i);
			if (!ret[i])
				check_page(many.start + i * PAGE_SIZE, PAGE_SIZE, swps[i]);
		}
		check_zswap(z);
	}
	end_zswap(z);
	acomp_alg_free(alg);
	munmap(one.start, PAGE_SIZE);
	munmap(many.start, 8 * PAGE_SIZE);
}

/* ---- failures on demand: each try of each kind ---- */

#define NR_CPUS   5
#define NR_STORED 16

static const unsigned int prepared[] = { 0, NR_CPUS / 2, NR_CPUS - 1 };

struct memory {
	uint64_t bytes[32][2];
};

static struct memory memory_of(struct zswap *z)
{
	struct memory memory = { 0 };

	for (unsigned int kind = 0; zswap_memory_kind(kind); kind++)
		for (unsigned int nid = 0; nid < 2; nid++)
			check(!zswap_memory(z, kind, nid, &memory.bytes[kind][nid]), "kind %u",
			      kind);
	return memory;
}

static void check_memory(struct zswap *z, const struct memory *before, const char *what,
			 uint64_t nth)
{
	struct memory now = memory_of(z);

	for (unsigned int kind = 0; zswap_memory_kind(kind); kind++)
		for (unsigned int nid = 0; nid < 2; nid++)
			check(now.bytes[kind][nid] == before->bytes[kind][nid],
			      "%s number %lu failed: %s on node %u: %lu, not %lu", what, (long)nth,
			      zswap_memory_kind(kind), nid, (long)now.bytes[kind][nid],
			      (long)before->bytes[kind][nid]);
}

static void check_ctx(struct zswap_pool *pool, unsigned int cpu, bool there,
		      unsigned int batch_size)
{
	struct zswap_ctx_info ctx;

	zswap_ctx_info(pool, cpu, &ctx);
	check(!ctx.acomp == !there && !ctx.req == !there, "cpu %u", cpu);
	check(ctx.nr_buffers == (there ? batch_size : 0), "cpu %u: %u buffers", cpu,
	      ctx.nr_buffers);
}

/*
 * Prepares the first, a middle and the last CPU. False if one failed: then it
 * has nothing, and can be prepared again.
 */
static bool prepare(struct zswap *z, struct zswap_pool *pool, unsigned int kind,
		    unsigned int batch_size, int error)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(prepared); i++) {
		int ret = zswap_cpu_comp_prepare(pool, prepared[i]);

		check(!ret || ret == error, "cpu %u: %d", prepared[i], ret);
		check_ctx(pool, prepared[i], !ret, batch_size);
		if (!ret)
			continue;
		zswap_fault_disarm(z, kind);
		check(!zswap_cpu_comp_prepare(pool, prepared[i]), "cpu %u, again", prepared[i]);
		check_ctx(pool, prepared[i], true, batch_size);
		return false;
	}
	return true;
}

/*
 * The store of a folio over an old one: true if it was stored; if not, no slot
 * may hold anything.
 */
static bool store_over(struct zswap *z)
{
	int ret = store(z, NR_CPUS - 1, PAGE_SIZE, 0, NR_STORED, 2);

	for (uint64_t swp = 0; swp < NR_STORED; swp++)
		check(zswap_contains(z, 0, swp) == (ret == ZSWAP_STORED), "slot %lu after %d",
		      (long)swp, ret);
	check_zswap(z);
	return ret == ZSWAP_STORED;
}

/*
 * From an instance with nothing to a stored folio and back. True if all of it
 * was done.
 */
static bool whole_life(struct zswap *z, const struct acomp_alg *alg, unsigned int kind,
		       unsigned int batch_size, int error)
{
	int err, type = zswap_swapon(z, 100);
	struct zswap_pool *pool;
	bool done = false;

	if (type < 0) {
		check(type == -ENOMEM, "%d", type);
		return false;
	}
	pool = zswap_pool_create(z, alg, "test", &err);
	check(pool || err == -ENOMEM, "%d", err);
	if (pool && prepare(z, pool, kind, batch_size, error)) {
		zswap_pool_start(pool);
		zswap_pool_make_current(z, pool);
		done = store_over(z) && store_over(z);
		zswap_pool_make_current(z, NULL);
		check(!zswap_invalidate(z, 0, 0, NR_STORED), "zswap_invalidate");
		zswap_pool_kill(pool);
		check(zswap_pool_wait_empty(z) == pool, "nothing uses it");
	}
	zswap_pool_destroy(pool);
	check(!zswap_swapoff(z, type), "type %d", type);
	return done;
}

/*
 * How many tries of a kind one life has; the others' number depends on
 * zsmalloc.
 */
static uint64_t tries_of(const char *kind, unsigned int batch_size)
{
	const struct {
		const char *kind;
		uint64_t nr;
	} known[] = {
		{ "prepare", ARRAY_SIZE(prepared) },
		{ "request", ARRAY_SIZE(prepared) },
		{ "array", ARRAY_SIZE(prepared) },
		{ "buffer", ARRAY_SIZE(prepared) * batch_size },
		/*
		 * the folio is stored twice; a page's place in the tree is a
		 * try too, behind the file and its one tree
		 */
		{ "entry", 2 * NR_STORED },
		{ "handle", 2 * NR_STORED },
		{ "compress", 2 * NR_STORED },
		{ "tree", 2 + 2 * NR_STORED },
		{ "percpu", 2 },
		{ "lru", 0 },
		{ "decompress", 0 },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(known); i++)
		if (!strcmp(known[i].kind, kind))
			return known[i].nr;
	return UINT64_MAX;
}

static void failures(const char *name, unsigned int batch_size, int error)
{
	struct zswap_config config = default_config();
	struct acomp_alg *alg = new_alg(name, batch_size);
	struct memory before;
	struct zswap *z;

	/* else a page that fails to be compressed is kept as it is */
	config.store_incompressible = false;
	z = new_zswap(&config);
	before = memory_of(z);
	for (unsigned int kind = 0; zswap_fault_kind(kind); kind++) {
		const char *what = zswap_fault_kind(kind);
		/*
		 * memory that is not there is -ENOMEM, whatever the fault says
		 */
		int answer = strcmp(what, "prepare") ? -ENOMEM : error;
		uint64_t nth = 1, expected = tries_of(what, batch_size);
		bool done;

		for (;; nth++) {
			zswap_fault_arm(z, kind, nth, 1, error, -1);
			done = whole_life(z, alg, kind, batch_size, answer);
			check(done == !zswap_fault_hits(z, kind), "%s number %lu", what, (long)nth);
			zswap_fault_disarm(z, kind);
			check_memory(z, &before, what, nth);
			check_zswap(z);
			if (done)
				break;
		}
		check(expected == UINT64_MAX || nth == expected + 1, "%s: %lu tries, not %lu", what,
		      (long)nth - 1, (long)expected);
		check(nth > 1 || !expected, "%s was never tried", what);
	}
	end_zswap(z);
	acomp_alg_free(alg);
}

/* ---- the system's own allocations ---- */

/* each of them fails once, from the instance's first to its last */

static uint64_t nr_allocations, failing;

static bool fails_now(void)
{
	return ++nr_allocations == failing;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t nr, size_t size);
void *__real_aligned_alloc(size_t align, size_t size);
void *__real_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t nr, size_t size);
void *__wrap_aligned_alloc(size_t align, size_t size);
void *__wrap_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off);

void *__wrap_malloc(size_t size)
{
	return fails_now() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t nr, size_t size)
{
	return fails_now() ? NULL : __real_calloc(nr, size);
}

void *__wrap_aligned_alloc(size_t align, size_t size)
{
	return fails_now() ? NULL : __real_aligned_alloc(align, size);
}

void *__wrap_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	return fails_now() ? MAP_FAILED : __real_mmap(addr, len, prot, flags, fd, off);
}

/*
 * A life that takes what it gets; the pages are made before, for they are no
 * part of it.
 */
static void frugal_life(const struct acomp_alg *alg, const uint8_t *folio, uint8_t *page)
{
	struct zswap_config config = default_config();
	int err;
	struct zswap *z = zswap_create(&config, &err);
	struct zswap_pool *pool;

	if (!z) {
		check(err == -ENOMEM, "%d", err);
		return;
	}
	pool = zswap_pool_create(z, alg, "test", &err);
	check(pool || err == -ENOMEM, "%d", err);
	if (pool && !zswap_cpu_comp_prepare(pool, 0)) {
		zswap_pool_start(pool);
		zswap_pool_make_current(z, pool);
		if (zswap_swapon(z, 100) == 0 &&
		    zswap_store(z, 0, 0, folio, NR_STORED) == ZSWAP_STORED) {
			check(!zswap_load(z, 0, 5, page, 1, true), "slot 5");
			check_page(page, PAGE_SIZE, 5);
		}
		check_zswap(z);
	} else {
		zswap_pool_destroy(pool);
	}
	zswap_shutdown(z);
	zswap_destroy(z);
}

static void system_failures(const char *name)
{
	struct acomp_alg *alg = new_alg(name, 8);
	uint8_t *folio = make_folio(PAGE_SIZE, 0, NR_STORED, 1), page[PAGE_SIZE];
	uint64_t nth = 0;

	do {
		nr_allocations = 0;
		failing = ++nth;
		frugal_life(alg, folio, page);
	} while (nr_allocations >= nth);
	failing = 0;
	check(nth > 30, "only %lu allocations", (long)nth - 1);
	free(folio);
	acomp_alg_free(alg);
}

int main(void)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(machines); i++)
		walk(&machines[i]);
	answers();
	refusals("rle", ZSWAP_REJECT_COMPRESS_POOR);
	refusals("lzo", ZSWAP_REJECT_COMPRESS_FAIL);
	limits();
	pools();
	prepare_faults();
	damage("rle", 8, 0);
	damage("rle", 1, 1000);
	damage("lzo", 1, 0);
	damage("lzo-rle", 8, 500);
	failures("rle", 8, -ENOENT);
	failures("lzo", 1, -EBUSY);
	failures("lzo-rle", 4, -ENODEV);
	system_failures("rle");
	system_failures("lzo");
	puts("test_zswap: all is well");
	return 0;
}
