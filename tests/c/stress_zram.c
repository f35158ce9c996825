// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Threads on one zram device: they write, read, discard and measure the same
 * slots, with allocations that fail now and then, until it is shut down under
 * them. A page that is read is a whole page of its slot, or zeros.
 *
 * usage: stress_zram [seconds] [seed]
 */
#include <pthread.h>
#include <time.h>

#include "mm/zram.c"
#include "zswap_test.h"

#define NR_THREADS 5
#define NR_CPUS    3 /* two threads share a stream */
#define NR_SLOTS   64

static struct zram *zram;
static _Atomic bool stop;
static _Atomic u64 no_memory, generation;

static u64 seconds_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec;
}

static void write_slot(unsigned int cpu, u64 slot, u64 *x)
{
	u8 page[PAGE_SIZE];
	int ret;

	if (next_random(x) % 8)
		make_page(page, PAGE_SIZE, slot, atomic_fetch_add(&generation, 1));
	else
		memset(page, 0, PAGE_SIZE);
	ret = zram_write(zram, cpu, slot, page);
	check(!ret || ret == -ENOMEM || ret == -ESHUTDOWN, "%d", ret);
	if (ret == -ENOMEM)
		atomic_fetch_add(&no_memory, 1);
}

static bool is_zero(const u8 *page)
{
	return !page[0] && !memcmp(page, page + 1, PAGE_SIZE - 1);
}

static void read_slot(unsigned int cpu, u64 slot)
{
	u8 page[PAGE_SIZE];
	int ret = zram_read(zram, cpu, slot, page);

	check(!ret || ret == -ESHUTDOWN, "%d", ret);
	if (!ret && !is_zero(page))
		check_page(page, PAGE_SIZE, slot);
}

static void *work(void *arg)
{
	unsigned int number = (uintptr_t)arg & 0xff, cpu = number % NR_CPUS;
	u64 x = (uintptr_t)arg * 0x9e3779b97f4a7c15u | 1;

	while (!atomic_load(&stop)) {
		u64 slot = next_random(&x) % NR_SLOTS;
		struct zram_mm_stat stat;
		int64_t length;

		switch (next_random(&x) % 8) {
		case 0 ... 3:
			write_slot(cpu, slot, &x);
			break;
		case 4 ... 5:
			read_slot(cpu, slot);
			break;
		case 6:
			zram_discard(zram, cpu, slot, min(2, NR_SLOTS - slot));
			break;
		default:
			length = zram_length(zram, cpu, slot);
			check(length <= PAGE_SIZE, "%ld", (long)length);
			if (!zram_mm_stat(zram, &stat))
				check(stat.orig_data_size <= (u64)NR_SLOTS * PAGE_SIZE, "%lu",
				      (unsigned long)stat.orig_data_size);
		}
	}
	return NULL;
}

static void start(pthread_t *threads, u64 seed)
{
	atomic_store(&stop, false);
	for (uintptr_t i = 0; i < NR_THREADS; i++)
		check(!pthread_create(&threads[i], NULL, work, (void *)(seed << 8 | i)), "thread");
}

static void join(pthread_t *threads)
{
	for (unsigned int i = 0; i < NR_THREADS; i++)
		pthread_join(threads[i], NULL);
}

/* What is held agrees with the counters; discarded, nothing is left. */
static void add_up(void)
{
	struct zram_mm_stat stat;
	u64 pages = 0, bytes = 0, same = 0, huge = 0;

	for (u64 slot = 0; slot < NR_SLOTS; slot++) {
		int64_t length = zram_length(zram, 0, slot);

		if (length == -ENOENT)
			continue;
		pages++;
		bytes += length;
		same += !length;
		huge += length == PAGE_SIZE;
		read_slot(0, slot);
	}
	check(!zram_mm_stat(zram, &stat), "mm_stat");
	check(stat.orig_data_size == pages * PAGE_SIZE && stat.compr_data_size == bytes &&
		      stat.same_pages == same && stat.huge_pages == huge,
	      "%lu pages, %lu bytes", (unsigned long)pages, (unsigned long)bytes);
	check(!zs_check(zram->pool.pool), "%s", zs_check(zram->pool.pool));
	check(!zram_discard(zram, 0, 0, NR_SLOTS), "discard");
	check(!zram_mm_stat(zram, &stat) && !stat.orig_data_size && !stat.compr_data_size &&
		      !stat.mem_used_total && !stat.same_pages && !stat.huge_pages,
	      "%lu bytes are left", (unsigned long)stat.mem_used_total);
}

static void run(const struct acomp_alg *alg, u64 seed, u64 seconds)
{
	struct zram_config config = {
		.page_shift = 12,
		.chain_size = 8,
		.nr_cpus = NR_CPUS,
		.nr_slots = NR_SLOTS,
		.totalram_pages = 1 << 20,
	};
	static const enum fault_kind kinds[] = { FAULT_HANDLE, FAULT_ZSPAGE };
	pthread_t threads[NR_THREADS];
	u64 end = seconds_now() + seconds;
	int err;

	zram = zram_create(&config, alg, &err);
	check(zram, "%d", err);
	start(threads, seed);
	for (unsigned int i = 0; seconds_now() < end; i++) {
		fault_arm(&zram->faults, kinds[i % ARRAY_SIZE(kinds)], 1 + i % 50, 1, -ENOMEM, -1);
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	}
	atomic_store(&stop, true);
	join(threads);
	for (unsigned int i = 0; i < ARRAY_SIZE(kinds); i++)
		fault_disarm(&zram->faults, kinds[i]);
	check(atomic_load(&no_memory), "no allocation has failed");
	add_up();

	start(threads, seed + 1);
	nanosleep(&(struct timespec){ .tv_nsec = 50000000 }, NULL);
	check(!zram_shutdown(zram), "shutdown");
	check(!zram_shutdown(zram), "a second shutdown");
	check(zram_write(zram, 0, 0, "") == -ESHUTDOWN, "closed");
	atomic_store(&stop, true);
	join(threads);
	zram_destroy(zram);
}

int main(int argc, char **argv)
{
	u64 seconds = argc > 1 ? strtoul(argv[1], NULL, 10) : 2;
	u64 seed = argc > 2 ? strtoul(argv[2], NULL, 10) : 1;
	static const char *const names[] = { "lzo", "rle" };

	for (unsigned int i = 0; i < ARRAY_SIZE(names); i++) {
		struct acomp_alg *alg = new_alg(names[i], 1);

		run(alg, seed, max(seconds / ARRAY_SIZE(names), 1));
		acomp_alg_free(alg);
	}
	zram_destroy(NULL);
	puts("stress_zram: all is well");
	return 0;
}
