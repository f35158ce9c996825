// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Threads on the same slots while pools are switched and a swap file comes and
 * goes: stress_zswap [seconds [seed]].
 *
 * Each page carries its slot and a generation, so that a page of another slot,
 * one that is not whole, one that was loaded twice and one that a later store
 * had replaced are noticed. The second half of the time CPUs lose their
 * contexts and get them back meanwhile, as before the batching series, and
 * faults are armed and disarmed. Run it under AddressSanitizer and
 * ThreadSanitizer.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "zswap_test.h"

#define NR_WORKERS 4
#define NR_CPUS    3 /* fewer than workers: two meet at a context */
#define NR_SLOTS   96
#define MOST       24 /* pages of a folio */
#define NR_TYPES   2
#define LOADED     (1 << 14)

/*
 * ThreadSanitizer must see the library's ordering, not one that the bookkeeping
 * here brings in; then only what needs none is checked.
 */
#if defined(__SANITIZE_THREAD__)
#define ORDERED 0
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define ORDERED 0
#endif
#endif
#ifndef ORDERED
#define ORDERED 1
#endif
#define ORDER (ORDERED ? memory_order_seq_cst : memory_order_relaxed)

/*
 * What is known of a slot. A store's floor is the oldest generation that was
 * being stored when it began: all before that had ended. Once it is stored, a
 * load that begins then must give nothing older than its floor.
 */
struct slot {
	_Atomic uint64_t issued; /* the latest generation */
	/* by thread: no later than what it is storing, or UINT64_MAX */
	_Atomic uint64_t storing[NR_WORKERS];
	_Atomic uint64_t floor;
	_Atomic uint64_t loaded[LOADED]; /* generations that a load has taken, as a ring */
};

static struct slot slots[NR_TYPES][NR_SLOTS];
static struct zswap *z;
static atomic_bool stop;
static bool trouble; /* CPUs come and go, and faults are armed */
static _Atomic uint64_t nr_stored, nr_refused, nr_loaded, nr_peeked, nr_switches, nr_resurrected,
	nr_released, nr_swapoffs;
static _Atomic uint64_t nr_dead, nr_prepared, nr_unprepared, nr_faults, nr_corrupt, nr_no_entry;

static void count(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static bool stopped(void)
{
	return atomic_load_explicit(&stop, memory_order_relaxed);
}

static struct slot *slot_of(uint64_t swp)
{
	return &slots[swp >> 58][swp & 0xffff];
}

/* ---- bookkeeping ---- */

struct store {
	uint64_t generation, floor;
};

static struct store begin_store(struct slot *slot, unsigned int thread)
{
	struct store store;

	atomic_store_explicit(&slot->storing[thread],
			      atomic_load_explicit(&slot->issued, ORDER) + 1, ORDER);
	store.generation = atomic_fetch_add_explicit(&slot->issued, 1, ORDER) + 1;
	store.floor = store.generation;
	for (unsigned int i = 0; i < NR_WORKERS; i++) {
		uint64_t other = atomic_load_explicit(&slot->storing[i], ORDER);

		if (other < store.floor)
			store.floor = other;
	}
	return store;
}

static void end_store(struct slot *slot, unsigned int thread, const struct store *store,
		      bool stored)
{
	uint64_t floor = atomic_load_explicit(&slot->floor, ORDER);

	while (stored && floor < store->floor &&
	       !atomic_compare_exchange_weak_explicit(&slot->floor, &floor, store->floor, ORDER,
						      ORDER))
		;
	atomic_store_explicit(&slot->storing[thread], UINT64_MAX, ORDER);
}

/* A page that was read for a slot whose floor was that when the read began. */
static void check_read(const uint8_t *page, uint64_t swp, uint64_t floor, bool taken)
{
	uint64_t generation = check_page(page, PAGE_SIZE, swp);
	struct slot *slot = slot_of(swp);

	check(!ORDERED || generation >= floor,
	      "slot %#lx: generation %ld came after %ld was stored", (long)swp, (long)generation,
	      (long)floor);
	if (taken)
		check(atomic_exchange_explicit(&slot->loaded[generation % LOADED], generation,
					       memory_order_relaxed) != generation,
		      "slot %#lx: generation %ld was loaded twice", (long)swp, (long)generation);
}

/* ---- workers ---- */

struct worker {
	unsigned int thread;
	uint64_t random;
	uint8_t pages[MOST * PAGE_SIZE];
};

static unsigned int below(struct worker *w, unsigned int n)
{
	return (next_random(&w->random) >> 16) % n;
}

static uint64_t any_slots(struct worker *w, unsigned int nr)
{
	unsigned int type = below(w, 4) == 0;

	return SWP(type, below(w, NR_SLOTS - nr + 1));
}

/* The second swap file may be gone at any time; all else must be. */
static bool is_gone(uint64_t swp, int ret)
{
	return swp >> 58 && ret == -EBADSLT;
}

static bool is_refused(int ret)
{
	if (ret == ZSWAP_REJECT_KMEMCACHE_FAIL)
		count(&nr_no_entry, 1);
	return trouble && (ret == ZSWAP_REJECT_ALLOC_FAIL || ret == ZSWAP_REJECT_KMEMCACHE_FAIL);
}

static bool is_corrupt(int ret)
{
	if (ret == -EIO)
		count(&nr_corrupt, 1);
	return trouble && ret == -EIO;
}

static void do_store(struct worker *w)
{
	unsigned int nr = 1 + below(w, MOST);
	uint64_t swp = any_slots(w, nr);
	struct store stores[MOST];
	int ret;

	for (unsigned int i = 0; i < nr; i++) {
		stores[i] = begin_store(slot_of(swp + i), w->thread);
		make_page(w->pages + i * PAGE_SIZE, PAGE_SIZE, swp + i, stores[i].generation);
	}
	ret = zswap_store(z, below(w, NR_CPUS), swp, w->pages, nr);
	check(ret == ZSWAP_STORED || is_gone(swp, ret) || is_refused(ret), "zswap_store: %d", ret);
	count(ret ? &nr_refused : &nr_stored, nr);
	for (unsigned int i = 0; i < nr; i++)
		end_store(slot_of(swp + i), w->thread, &stores[i], ret == ZSWAP_STORED);
}

static void do_read(struct worker *w, bool taken)
{
	uint64_t swp = any_slots(w, 1), floor = atomic_load_explicit(&slot_of(swp)->floor, ORDER);
	unsigned int cpu = below(w, NR_CPUS);
	int ret = taken ? zswap_load(z, cpu, swp, w->pages, 1, true) :
			  zswap_peek(z, cpu, swp, w->pages);

	check(!ret || ret == -ENOENT || is_gone(swp, ret) || is_corrupt(ret), "slot %#lx: %d",
	      (long)swp, ret);
	if (ret)
		return;
	check_read(w->pages, swp, floor, taken);
	count(taken ? &nr_loaded : &nr_peeked, 1);
}

static void do_load_batch(struct worker *w)
{
	unsigned int nr = 1 + below(w, MOST);
	uint64_t swps[MOST], floors[MOST];
	int ret[MOST], rc;

	for (unsigned int i = 0; i < nr; i++) {
		swps[i] = any_slots(w, 1);
		floors[i] = atomic_load_explicit(&slot_of(swps[i])->floor, ORDER);
	}
	rc = zswap_load_batch(z, below(w, NR_CPUS), swps, nr, w->pages, ret);
	check(rc >= 0, "zswap_load_batch: %d", rc);
	for (unsigned int i = 0; i < nr; i++) {
		check(!ret[i] || ret[i] == -ENOENT || is_gone(swps[i], ret[i]) ||
			      is_corrupt(ret[i]),
		      "slot %#lx: %d", (long)swps[i], ret[i]);
		if (!ret[i]) {
			check_read(w->pages + i * PAGE_SIZE, swps[i], floors[i], true);
			count(&nr_loaded, 1);
		}
	}
}

static void do_invalidate(struct worker *w)
{
	unsigned int nr = 1 + below(w, 4);
	uint64_t swp = any_slots(w, nr);
	int ret = zswap_invalidate(z, below(w, NR_CPUS), swp, nr);

	check(!ret || is_gone(swp, ret), "zswap_invalidate: %d", ret);
}

static void *work(void *arg)
{
	struct worker *w = arg;

	while (!stopped()) {
		switch (below(w, 8)) {
		case 0:
		case 1:
		case 2:
			do_store(w);
			break;
		case 3:
		case 4:
			do_read(w, true);
			break;
		case 5:
			do_load_batch(w);
			break;
		case 6:
			do_read(w, false);
			break;
		default:
			do_invalidate(w);
		}
	}
	return NULL;
}

/* ---- the pools' owner ---- */

/* one thread switches, another releases; both keep the list */

#define NR_ALGS 4

static struct acomp_alg *algs[NR_ALGS];
static pthread_mutex_t pools_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct zswap_pool *pools[NR_ALGS]; /* one for each compressor, current, killed or none */
static unsigned int current;

static struct zswap_pool *find_get(unsigned int which)
{
	if (!pools[which] || !zswap_pool_resurrect(pools[which]))
		return NULL;
	count(&nr_resurrected, 1);
	return pools[which];
}

/*
 * Killed, but not released yet, and not to be had any more: its place is wanted
 * later.
 */
static bool is_leaving(unsigned int which)
{
	struct zswap_pool_info info;

	if (!pools[which])
		return false;
	zswap_pool_info(pools[which], &info);
	return !info.refs;
}

/* NULL if something failed on demand. */
static struct zswap_pool *try_new_pool(const struct acomp_alg *alg)
{
	int err;
	struct zswap_pool *pool = zswap_pool_create(z, alg, "test", &err);

	check(pool || (trouble && err == -ENOMEM), "zswap_pool_create: %d", err);
	for (unsigned int cpu = 0; pool && cpu < NR_CPUS; cpu++) {
		err = zswap_cpu_comp_prepare(pool, cpu);
		if (!err)
			continue;
		check(trouble && (err == -ENOMEM || err == -ENODEV), "cpu %u: %d", cpu, err);
		zswap_pool_destroy(pool);
		count(&nr_unprepared, 1);
		return NULL;
	}
	if (pool)
		zswap_pool_start(pool);
	return pool;
}

static void switch_to(unsigned int which)
{
	struct zswap_pool *old = pools[current], *new;

	if (which == current || is_leaving(which))
		return;
	new = find_get(which);
	if (!new && pools[which])
		return;
	if (!new)
		new = pools[which] = try_new_pool(algs[which]);
	if (!new)
		return;
	zswap_pool_make_current(z, new);
	current = which;
	zswap_pool_kill(old);
	count(&nr_switches, 1);
}

static void *switch_pools(void *arg)
{
	uint64_t random = *(uint64_t *)arg;

	while (!stopped()) {
		pthread_mutex_lock(&pools_mutex);
		switch_to(next_random(&random) % NR_ALGS);
		pthread_mutex_unlock(&pools_mutex);
		/*
		 * mostly at once, so that pools die that nothing was stored in
		 */
		if (next_random(&random) % 16 == 0)
			usleep(next_random(&random) % 4000);
	}
	return NULL;
}

static void *release_pools(void *arg)
{
	struct zswap_pool *pool;

	(void)arg;
	while ((pool = zswap_pool_wait_empty(z))) {
		pthread_mutex_lock(&pools_mutex);
		for (unsigned int i = 0; i < NR_ALGS; i++)
			if (pools[i] == pool)
				pools[i] = NULL;
		pthread_mutex_unlock(&pools_mutex);
		zswap_pool_destroy(pool);
		count(&nr_released, 1);
	}
	return NULL;
}

/* ---- trouble ---- */

static unsigned int nr_contexts(struct zswap_pool *pool)
{
	struct zswap_ctx_info ctx;
	unsigned int nr = 0;

	for (unsigned int cpu = 0; cpu < NR_CPUS; cpu++) {
		zswap_ctx_info(pool, cpu, &ctx);
		nr += ctx.acomp != NULL;
	}
	return nr;
}

/*
 * Any CPU, but never the last that has a context: so a call always finds one,
 * though it may move on as fast as a call looks. Pools are made and released
 * under the same mutex.
 */
static void *hotplug(void *arg)
{
	uint64_t random = *(uint64_t *)arg + 1;

	while (!stopped()) {
		unsigned int which = next_random(&random) % NR_ALGS,
			     steps = next_random(&random) % 200;

		pthread_mutex_lock(&pools_mutex);
		while (pools[which] && steps--) {
			unsigned int cpu = next_random(&random) % NR_CPUS;
			int err = zswap_cpu_comp_prepare(pools[which], cpu);

			check(!err || err == -ENOMEM || err == -ENODEV, "cpu %u: %d", cpu, err);
			count(err ? &nr_unprepared : &nr_prepared, 1);
			while (!err && nr_contexts(pools[which]) > 1) {
				zswap_cpu_comp_dead(
					pools[which],
					(cpu + 1 + next_random(&random) % (NR_CPUS - 1)) % NR_CPUS);
				count(&nr_dead, 1);
			}
		}
		pthread_mutex_unlock(&pools_mutex);
		usleep(next_random(&random) % 100);
	}
	return NULL;
}

static void *arm_faults(void *arg)
{
	uint64_t random = *(uint64_t *)arg + 2;
	unsigned int nr_kinds = 0;

	while (zswap_fault_kind(nr_kinds))
		nr_kinds++;
	while (!stopped()) {
		unsigned int kind = next_random(&random) % nr_kinds,
			     times = next_random(&random) % 4;

		zswap_fault_arm(z, kind, 1 + next_random(&random) % 20, times, -ENODEV,
				next_random(&random) % 2 ? -1 : 0);
		usleep(next_random(&random) % 1000);
		zswap_fault_disarm(z, kind);
		count(&nr_faults, zswap_fault_hits(z, kind));
	}
	return NULL;
}

/* Each failure that a caller saw is in the counters, once. */
static void check_failures(void)
{
	struct zswap_stats stats;

	check(!zswap_stats(z, &stats), "zswap_stats");
	check(stats.decompress_fail == nr_corrupt, "%ld failures, %ld were told",
	      (long)stats.decompress_fail, (long)nr_corrupt);
	check(stats.reject_kmemcache_fail == nr_no_entry, "%ld failures, %ld were told",
	      (long)stats.reject_kmemcache_fail, (long)nr_no_entry);
	check(!stats.reject_compress_fail && !stats.reject_compress_poor,
	      "a page that does not shrink is stored raw");
	check(trouble || !(stats.decompress_fail | stats.reject_kmemcache_fail |
			   stats.reject_alloc_fail),
	      "nothing may fail");
}

/* ---- the second swap file, and who looks at the figures ---- */

static void *swap_on_off(void *arg)
{
	uint64_t random = *(uint64_t *)arg;
	int type;

	while (!stopped()) {
		check(!zswap_swapoff(z, 1), "type 1 is on");
		count(&nr_swapoffs, 1);
		do {
			type = zswap_swapon(z, NR_SLOTS);
		} while (trouble && type == -ENOMEM);
		check(type == 1, "type 1 is free: %d", type);
		usleep(next_random(&random) % 1000);
	}
	return NULL;
}

static void *look(void *arg)
{
	struct zswap_stats stats;
	struct zswap_events events;
	uint64_t bytes;

	(void)arg;
	while (!stopped()) {
		check(!zswap_stats(z, &stats) && !zswap_events(z, &events), "statistics");
		check(stats.stored_pages <= NR_TYPES * NR_SLOTS + NR_WORKERS * MOST, "%ld pages",
		      (long)stats.stored_pages);
		check(trouble || stats.decompress_fail == 0, "decompress_fail");
		for (unsigned int kind = 0; zswap_memory_kind(kind); kind++)
			check(!zswap_memory(z, kind, 0, &bytes), "zswap_memory");
		check(!zswap_trim(z), "zswap_trim");
		usleep(500);
	}
	return NULL;
}

/* ---- all together ---- */

static pthread_t start(void *(*body)(void *), void *arg)
{
	pthread_t thread;
	int err = pthread_create(&thread, NULL, body, arg);

	check(!err, "pthread_create: %d", err);
	return thread;
}

static void check_memory(void)
{
	uint64_t bytes;

	for (unsigned int kind = 0; zswap_memory_kind(kind); kind++) {
		const char *name = zswap_memory_kind(kind);

		if (strcmp(name, "entry") && strcmp(name, "handle") && strcmp(name, "zspage") &&
		    strcmp(name, "tree"))
			continue;
		check(!zswap_memory(z, kind, 0, &bytes) && !bytes, "%ld bytes of %s are left",
		      (long)bytes, name);
	}
}

static void print_counters(void)
{
	printf("stress_zswap: pages stored %lu, refused %lu, loaded %lu, peeked %lu; pools switched %lu, brought back %lu, released %lu; "
	       "swapoffs %lu\n",
	       (long)nr_stored, (long)nr_refused, (long)nr_loaded, (long)nr_peeked,
	       (long)nr_switches, (long)nr_resurrected, (long)nr_released, (long)nr_swapoffs);
	if (trouble)
		printf("stress_zswap: contexts freed %lu, prepared %lu, not %lu; faults %lu, of these decompress %lu, entry %lu\n",
		       (long)nr_dead, (long)nr_prepared, (long)nr_unprepared, (long)nr_faults,
		       (long)nr_corrupt, (long)nr_no_entry);
	fflush(stdout);
	check(nr_stored && nr_loaded && nr_peeked && nr_switches && nr_resurrected && nr_released &&
		      nr_swapoffs,
	      "something never happened");
	check(!trouble || (nr_dead && nr_prepared && nr_faults), "trouble never happened");
	nr_stored = nr_refused = nr_loaded = nr_peeked = nr_switches = nr_resurrected =
		nr_released = nr_swapoffs = 0;
}

static void start_zswap(void)
{
	struct zswap_config config = default_config();

	config.nr_cpus = NR_CPUS;
	config.nr_nodes = 1;
	config.highmem = 200;
	config.dead_frees = trouble;
	z = new_zswap(&config);
	pools[0] = new_pool(z, algs[0], NR_CPUS);
	current = 0;
	zswap_pool_make_current(z, pools[0]);
	check(zswap_swapon(z, NR_SLOTS) == 0 && zswap_swapon(z, NR_SLOTS) == 1, "types 0 and 1");
	memset(slots, 0, sizeof(slots));
	for (unsigned int type = 0; type < NR_TYPES; type++)
		for (unsigned int i = 0; i < NR_SLOTS; i++)
			for (unsigned int thread = 0; thread < NR_WORKERS; thread++)
				slots[type][i].storing[thread] = UINT64_MAX;
}

static void stress(unsigned int ms, uint64_t random)
{
	static void *(*const others[])(void *) = { switch_pools, swap_on_off, look, hotplug,
						   arm_faults };
	static struct worker workers[NR_WORKERS];
	unsigned int nr_threads = NR_WORKERS + (trouble ? 5 : 3);
	pthread_t threads[NR_WORKERS + 5], releaser;
	const char *wrong;

	start_zswap();
	atomic_store(&stop, false);
	releaser = start(release_pools, NULL);
	for (unsigned int i = 0; i < nr_threads; i++) {
		if (i < NR_WORKERS) {
			workers[i].thread = i;
			workers[i].random = random + 1000 * i;
		}
		threads[i] = i < NR_WORKERS ? start(work, &workers[i]) :
					      start(others[i - NR_WORKERS], &random);
	}
	for (unsigned int slept = 0; slept < ms; slept += 100)
		usleep(100000);
	atomic_store(&stop, true);
	for (unsigned int i = 0; i < nr_threads; i++)
		pthread_join(threads[i], NULL);

	wrong = what_is_wrong(z);
	check(!wrong, "%s", wrong);
	check_failures();
	check(!zswap_swapoff(z, 0) && !zswap_swapoff(z, 1), "types 0 and 1");
	check_memory();
	zswap_shutdown(z);
	pthread_join(releaser, NULL);
	zswap_destroy(z);
	memset(pools, 0, sizeof(pools));
	print_counters();
}

int main(int argc, char **argv)
{
	unsigned int seconds = argc > 1 ? atoi(argv[1]) : 5;
	uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : (uint64_t)time(NULL);

	check(seconds, "%s: not a number of seconds", argv[1]);
	printf("stress_zswap: %u s, seed %lu\n", seconds, (long)seed);
	fflush(stdout);
	algs[0] = new_alg("rle", 8);
	algs[1] = new_alg("lzo", 1);
	algs[2] = new_alg("rle", 1);
	algs[3] = new_alg("lzo-rle", 4);
	stress(seconds * 500, seed * 2 + 1);
	trouble = true;
	stress(seconds * 500, seed * 2 + 1);
	for (unsigned int i = 0; i < NR_ALGS; i++)
		acomp_alg_free(algs[i]);
	return 0;
}
