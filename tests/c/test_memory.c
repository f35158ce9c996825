// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * An instance's memory: the arena, the slot index, what fork() leaves of them,
 * and what the system may refuse. The system calls are wrapped, so that hosts
 * with pages of 16 and 64 KiB are emulated: such a host refuses an address that
 * is not a page's, and rounds a length up.
 */
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/arena.h"
#include "lib/slab.h"
#include "mm/swap_table.h"
#include "lib/vmalloc.h"
#include "zswap_test.h"

/* ---- the host ---- */

static struct host {
	size_t page_size; /* 0: this machine's */
	size_t left;      /* what vm_left() says */
	bool no_mprotect;
	size_t writable, opened, given_back; /* bytes of mmap(), mprotect() and MADV_DONTNEED */
} host = { .left = SIZE_MAX };

long __real_sysconf(int name);
void *__real_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off);
int __real_munmap(void *addr, size_t len);
int __real_mprotect(void *addr, size_t len, int prot);
int __real_madvise(void *addr, size_t len, int advice);
long __wrap_sysconf(int name);
void *__wrap_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off);
int __wrap_munmap(void *addr, size_t len);
int __wrap_mprotect(void *addr, size_t len, int prot);
int __wrap_madvise(void *addr, size_t len, int advice);
size_t __wrap_vm_left(void);

static size_t host_size(void)
{
	return host.page_size ? host.page_size : (size_t)__real_sysconf(_SC_PAGESIZE);
}

static size_t round_up(size_t len)
{
	return DIV_ROUND_UP(len, host_size()) * host_size();
}

static bool misplaced(const void *addr)
{
	if (!((uintptr_t)addr % host_size()))
		return false;
	errno = EINVAL;
	return true;
}

long __wrap_sysconf(int name)
{
	return name == _SC_PAGESIZE ? (long)host_size() : __real_sysconf(name);
}

void *__wrap_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	size_t size = round_up(len), before;
	char *p = __real_mmap(addr, size + host_size(), prot, flags, fd, off);

	if (p == MAP_FAILED)
		return p;
	before = round_up((uintptr_t)p) - (uintptr_t)p;
	if (before)
		__real_munmap(p, before);
	__real_munmap(p + before + size, host_size() - before);
	if (prot & PROT_WRITE)
		host.writable += size;
	return p + before;
}

int __wrap_munmap(void *addr, size_t len)
{
	return misplaced(addr) ? -1 : __real_munmap(addr, round_up(len));
}

int __wrap_mprotect(void *addr, size_t len, int prot)
{
	if (host.no_mprotect) {
		errno = ENOMEM;
		return -1;
	}
	if (misplaced(addr))
		return -1;
	host.opened += round_up(len);
	return __real_mprotect(addr, round_up(len), prot);
}

int __wrap_madvise(void *addr, size_t len, int advice)
{
	if (misplaced(addr))
		return -1;
	if (advice == MADV_DONTNEED)
		host.given_back += round_up(len);
	return __real_madvise(addr, round_up(len), advice);
}

size_t __wrap_vm_left(void)
{
	return host.left;
}

/* ---- an instance on such a host ---- */

static struct zswap *start(const struct zswap_config *config, struct acomp_alg **alg)
{
	struct zswap *z = new_zswap(config);

	*alg = new_alg("rle", 8);
	zswap_pool_make_current(z, new_pool(z, *alg, config->nr_cpus));
	check(zswap_swapon(z, 1 << 20) == 0, "the first type is 0");
	return z;
}

static void end(struct zswap *z, struct acomp_alg *alg)
{
	end_zswap(z);
	acomp_alg_free(alg);
}

static void store(struct zswap *z, size_t page_size, uint64_t swp, uint64_t generation)
{
	static uint8_t page[1 << 16];

	make_page(page, page_size, swp, generation);
	check(zswap_store(z, 0, swp, page, 1) == ZSWAP_STORED, "slot %lu", (long)swp);
}

static void check_peek(struct zswap *z, size_t page_size, uint64_t swp, uint64_t generation)
{
	static uint8_t page[1 << 16];

	check(!zswap_peek(z, 0, swp, page), "slot %lu", (long)swp);
	check(check_page(page, page_size, swp) == generation, "slot %lu: generation %lu", (long)swp,
	      (long)generation);
}

static uint64_t mapped(struct zswap *z)
{
	struct zswap_events events;

	check(!zswap_events(z, &events), "zswap_events");
	return events.arena_mapped;
}

static void trim(struct zswap *z)
{
	uint64_t before = mapped(z);

	host.given_back = 0;
	check(!zswap_trim(z), "zswap_trim");
	check(before - mapped(z) == host.given_back, "%lu bytes less, %lu were given back",
	      (long)(before - mapped(z)), (long)host.given_back);
}

/*
 * One page in four stays, 512 of 4 KiB, while the others go and the pool is
 * trimmed.
 */
static void live_pages_stay(size_t host_page_size, unsigned int page_shift, unsigned int highmem)
{
	const uint64_t all = 2048 >> (page_shift - 12);
	size_t page_size = (size_t)1 << page_shift;
	struct zswap_config config = default_config();
	struct acomp_alg *alg;
	struct zswap_stats stats;
	struct zswap *z;

	host.page_size = host_page_size;
	config.page_shift = page_shift;
	config.highmem = highmem;
	z = start(&config, &alg);
	for (uint64_t round = 1; round <= 4; round++) {
		for (uint64_t swp = 0; swp < all; swp++)
			if (round == 1 || swp % 4)
				store(z, page_size, swp, round);
		for (uint64_t swp = 0; swp < all; swp++)
			if (swp % 4)
				check(!zswap_invalidate(z, 0, swp, 1), "slot %lu", (long)swp);
		trim(z);
		for (uint64_t swp = 0; swp < all; swp += 4)
			check_peek(z, page_size, swp, 1);
	}
	check(!zswap_invalidate(z, 0, 0, all), "all slots");
	trim(z);
	check(!zswap_stats(z, &stats) && !stats.pool_total_size, "nothing is stored");
	check(host.given_back, "nothing went back");
	check(mapped(z) <= 2 * (ARENA_SLACK + host_page_size), "%lu bytes are left",
	      (long)mapped(z));
	end(z, alg);
	host.page_size = 0;
}

/* ---- the arena: a frame has one owner ---- */

#define FRAMES    1024
#define MOST_RUNS FRAMES

static struct arena *small_arena(unsigned int highmem)
{
	struct arena *arena;

	host.left = (size_t)FRAMES * 4 << 12;
	arena = arena_create(12, 1 << 20, highmem);
	check(arena, "arena_create");
	host.left = SIZE_MAX;
	return arena;
}

/*
 * Fills the room with long runs, gives one up, and asks for shorter ones: they
 * are cut from it, and lie side by side.
 */
static void longer_runs_are_cut(bool cold)
{
	struct arena *arena = small_arena(0);
	char *run, *last = NULL, *a, *b;
	unsigned int nr = 0;

	for (; (run = arena_alloc(arena, ARENA_MAX_RUN)); nr++)
		last = run;
	check(nr == FRAMES / ARENA_MAX_RUN, "%u runs", nr);
	check(!arena_alloc(arena, 1), "there is no room left");
	arena_free(arena, last, ARENA_MAX_RUN);
	if (cold)
		arena_trim(arena);
	a = arena_alloc(arena, 5);
	b = arena_alloc(arena, 11);
	check(a == last && b == last + 5 * PAGE_SIZE, "%p and %p of %p", (void *)a, (void *)b,
	      (void *)last);
	check(!arena_alloc(arena, 1), "there is no room left");
	check(arena_pages(arena) == FRAMES && arena_mapped(arena) == FRAMES * PAGE_SIZE,
	      "%lu pages", (long)arena_pages(arena));
	arena_destroy(arena);
}

struct run {
	uint8_t *start;
	unsigned int nr;
	uint8_t mark;
};

static void fill_run(const struct run *run)
{
	memset(run->start, run->mark, (size_t)run->nr * PAGE_SIZE);
}

static void check_run(const struct run *run)
{
	for (size_t i = 0; i < (size_t)run->nr * PAGE_SIZE; i += 512)
		check(run->start[i] == run->mark, "a run of %u has another's bytes", run->nr);
}

/*
 * Runs of all lengths come and go in a room that is often full, and are trimmed
 * meanwhile.
 */
static void frames_have_one_owner(size_t host_page_size, uint64_t random)
{
	static struct run runs[MOST_RUNS];
	struct arena *arena;
	unsigned int nr = 0, used = 0, refused = 0;

	host.page_size = host_page_size;
	arena = small_arena(0);
	for (unsigned int step = 0; step < 20000; step++) {
		unsigned int way = next_random(&random) % 64, filling = step / 2000 % 2;

		if (way == 0) {
			arena_trim(arena);
		} else if (nr < MOST_RUNS && way < (filling ? 44 : 24)) {
			struct run *run = &runs[nr];

			run->nr = 1 + next_random(&random) % ARENA_MAX_RUN;
			run->mark = step;
			run->start = arena_alloc(arena, run->nr);
			if (!run->start) {
				refused++;
				continue;
			}
			fill_run(run);
			used += run->nr;
			nr++;
		} else if (nr) {
			struct run *run = &runs[next_random(&random) % nr];

			check_run(run);
			arena_free(arena, run->start, run->nr);
			used -= run->nr;
			*run = runs[--nr];
		}
		check(arena_pages(arena) == used, "%lu pages, not %u", (long)arena_pages(arena),
		      used);
		check(arena_mapped(arena) >= (size_t)used * PAGE_SIZE, "%lu bytes mapped",
		      (long)arena_mapped(arena));
	}
	check(refused, "the room was never full");
	for (; nr; nr--) {
		check_run(&runs[nr - 1]);
		arena_free(arena, runs[nr - 1].start, runs[nr - 1].nr);
	}
	arena_trim(arena);
	check(!arena_pages(arena) && !arena_mapped(arena), "%lu bytes mapped",
	      (long)arena_mapped(arena));
	arena_destroy(arena);
	host.page_size = 0;
}

/* ---- what is only reserved ---- */

static size_t resident(void)
{
	unsigned long pages = 0;
	FILE *statm = fopen("/proc/self/statm", "r");

	check(statm && fscanf(statm, "%*u %lu", &pages) == 1, "/proc/self/statm");
	fclose(statm);
	return pages * __real_sysconf(_SC_PAGESIZE);
}

static void opened_as_it_grows(void)
{
	struct zswap_config config = default_config();
	struct acomp_alg *alg;
	struct zswap *z;
	struct zswap_stats stats;

	config.totalram_pages = 1 << 23;
	host.writable = host.opened = 0;
	z = start(&config, &alg);
	check(host.writable < 1 << 20 && !host.opened, "%lu and %lu bytes are writable",
	      (long)host.writable, (long)host.opened);
	for (uint64_t swp = 0; swp < 10000; swp++)
		store(z, PAGE_SIZE, swp, 1);
	check(!zswap_stats(z, &stats), "zswap_stats");
	check(host.opened >= stats.pool_total_size &&
		      host.opened < stats.pool_total_size + (4 << 20),
	      "%lu bytes for %lu", (long)host.opened, (long)stats.pool_total_size);
	end(z, alg);
}

/*
 * The system refuses: the store is the caller's to keep, and the next one finds
 * the room.
 */
static void refused_room_is_no_memory(void)
{
	struct zswap_config config = default_config();
	uint8_t page[PAGE_SIZE];
	struct acomp_alg *alg;
	struct zswap *z = start(&config, &alg);
	struct zswap_stats stats;
	uint64_t swp;
	int ret;

	host.no_mprotect = true;
	for (swp = 0; swp < 10; swp++) {
		make_page(page, PAGE_SIZE, swp, 1);
		ret = zswap_store(z, 0, swp, page, 1);
		check(ret == ZSWAP_REJECT_ALLOC_FAIL, "%d", ret);
	}
	host.no_mprotect = false;
	check(!zswap_stats(z, &stats) && stats.reject_alloc_fail == 10 && !stats.stored_pages &&
		      !stats.pool_total_size,
	      "%lu failures", (long)stats.reject_alloc_fail);
	store(z, PAGE_SIZE, 1, 2);
	host.no_mprotect = true;
	store(z, PAGE_SIZE, 2, 2); /* there is room in what is open */
	host.no_mprotect = false;
	end(z, alg);
}

static void room_of_an_address_limit(void)
{
	struct zswap_config config = default_config();
	struct acomp_alg *alg;
	struct zswap *z;
	uint64_t stored = 0;
	uint8_t page[PAGE_SIZE];
	int ret, err;

	host.left = 64 << 10;
	check(!zswap_create(&config, &err) && err == -ENOMEM, "%d", err);
	host.left = 16 << 20; /* 4 MiB of it are the arena's, in two halves */
	config.highmem = 500;
	z = start(&config, &alg);
	for (uint64_t swp = 0;; swp++) {
		make_page(page, PAGE_SIZE, swp, 1);
		ret = zswap_store(z, 0, swp, page, 1);
		if (ret)
			break;
		stored++;
	}
	check(ret == ZSWAP_REJECT_ALLOC_FAIL && stored > 1000, "%d after %lu pages", ret,
	      (long)stored);
	check(mapped(z) > 3 << 20 && mapped(z) <= 4 << 20, "%lu bytes", (long)mapped(z));
	for (uint64_t swp = 0; swp < stored; swp++)
		check_peek(z, PAGE_SIZE, swp, 1);
	end(z, alg);
	host.left = SIZE_MAX;
}

/* In a child of its own, which stays locked. */
static void locking_all_maps_nothing(void)
{
	pid_t child = fork();
	int status;

	if (!child) {
		struct zswap_config config = default_config();
		struct acomp_alg *alg;
		struct zswap *z;
		size_t before;

		config.totalram_pages = 1 << 23;
		if (geteuid() || mlockall(MCL_FUTURE))
			_exit(77);
		before = resident();
		z = start(&config, &alg);
		check(resident() < before + (16 << 20), "%lu bytes are resident, %lu before",
		      (long)resident(), (long)before);
		for (uint64_t swp = 0; swp < 2000; swp++)
			store(z, PAGE_SIZE, swp, 1);
		for (uint64_t swp = 0; swp < 2000; swp++)
			if (swp % 50)
				zswap_invalidate(z, 0, swp, 1);
		check(!zswap_trim(z), "zswap_trim");
		for (uint64_t swp = 0; swp < 2000; swp += 50)
			check_peek(z, PAGE_SIZE, swp, 1);
		end(z, alg);
		_exit(0);
	}
	check(waitpid(child, &status, 0) == child && WIFEXITED(status), "%#x", status);
	check(!WEXITSTATUS(status) || WEXITSTATUS(status) == 77, "%d", WEXITSTATUS(status));
	if (WEXITSTATUS(status))
		puts("test_memory: mlockall() needs root, not tried");
}

/* ---- fork ---- */

static bool is_there(const void *p)
{
	uintptr_t page = (uintptr_t)p & ~(uintptr_t)(__real_sysconf(_SC_PAGESIZE) - 1);

	return !msync((void *)page, 1, MS_ASYNC);
}

/* What 'p' points to is mapped here, and not in a child. */
static void check_not_in_child(const void *p, const char *what)
{
	pid_t child;
	int status;

	check(is_there(p), "%s", what);
	child = fork();
	if (!child)
		_exit(is_there(p));
	check(waitpid(child, &status, 0) == child && !status, "a child has the %s", what);
}

static void child_has_no_copy(void)
{
	struct faults faults = { 0 };
	struct swap_index index = { 0 };
	struct kmem mm = { 0 };
	struct kmem_cache *cache;
	struct arena *arena;
	void *page, *object;

	check(!kmem_init(&mm, &faults, 1, 1), "kmem_init");
	arena = arena_create(12, 1 << 20, 0);
	page = arena_alloc(arena, 1);
	check_not_in_child(page, "arena");
	arena_free(arena, page, 1);
	arena_destroy(arena);

	cache = kmem_cache_create(&mm, FAULT_ENTRY, 64);
	object = kmem_cache_alloc_node(cache, 0);
	check_not_in_child(object, "slab");
	kmem_cache_free(cache, object, 0);
	kmem_cache_destroy(cache);

	index.mm = &mm;
	check(swap_index_add(&index, 100) == 0, "the first type is 0");
	check_not_in_child(swap_slot_create(&index, swap_file_any(&index, 0), 5), "tree");
	swap_index_free(&index, 0);
	kmem_deinit(&mm);
}

/*
 * Each call says so, whoever made the child and whether or not it was told; and
 * the instance can be let go of.
 */
static int use_in_child(struct zswap *z, struct zswap_pool *pool)
{
	struct zswap_class_info class;
	struct zswap_ctx_info ctx;
	char text[160];
	uint8_t page[PAGE_SIZE] = { 1 };
	struct zswap_events events;
	struct zswap_stats stats;
	const char *wrong;
	int ret[1];

	check(zswap_store(z, 0, 1, page, 1) == -ECHILD &&
		      zswap_load(z, 0, 1, page, 1, true) == -ECHILD,
	      "store, load");
	check(zswap_peek(z, 0, 1, page) == -ECHILD && zswap_contains(z, 0, 1) == -ECHILD,
	      "peek, contains");
	check(zswap_load_batch(z, 0, (uint64_t[]){ 1 }, 1, page, ret) == -ECHILD, "load_batch");
	check(zswap_invalidate(z, 0, 1, 1) == -ECHILD && zswap_flip(z, 0, 1, 0, 1) == -ECHILD,
	      "invalidate, flip");
	check(zswap_swapon(z, 10) == -ECHILD && zswap_swapoff(z, 0) == -ECHILD, "swapon, swapoff");
	check(zswap_stats(z, &stats) == -ECHILD && zswap_events(z, &events) == -ECHILD,
	      "stats, events");
	check(zswap_trim(z) == -ECHILD && zswap_check(z, &wrong) == -ECHILD, "trim, check");
	check(!zswap_pool_wait_empty(z) && zswap_shutdown(z) == -ECHILD, "wait_empty, shutdown");
	zswap_ctx_info(pool, 0, &ctx);
	check(!ctx.acomp && zswap_class_info(pool, 0, &class) == -ECHILD &&
		      !zswap_next_message(z, text, sizeof(text)),
	      "%s", text);
	zswap_release(z);
	zswap_destroy(z);
	return 0;
}

static void child_gets_an_error(bool told)
{
	struct zswap_config config = default_config();
	struct acomp_alg *alg;
	struct zswap *z = start(&config, &alg);
	struct zswap_entry_info info;
	pid_t child;
	int status;

	store(z, PAGE_SIZE, 1, 1);
	check(!zswap_entry_info(z, 0, 1, &info), "slot 1");
	child = fork();
	if (!child) {
		if (told)
			zswap_forked(z);
		_exit(use_in_child(z, (struct zswap_pool *)info.pool));
	}
	check(waitpid(child, &status, 0) == child && !status, "the child: %#x", status);
	check_peek(z, PAGE_SIZE, 1, 1);
	end(z, alg);
}

/* ---- the slot index: what was never used costs nothing ---- */

static const uint64_t file_sizes[] = {
	1,          SWAP_ADDRESS_SPACE_PAGES, SWAP_ADDRESS_SPACE_PAGES + 1,
	1ull << 26, (1ull << 26) + 1,         1ull << 38,
	1ull << 42, (1ull << 58) - 1,
};

static void slots_of_any_file(uint64_t nr_pages)
{
	struct faults faults = { 0 };
	struct kmem mm = { 0 };
	struct swap_index index = { .mm = &mm };
	struct swap_file *file;
	uint64_t random = nr_pages | 1, at[64], nr = 0, seen = 0;

	check(!kmem_init(&mm, &faults, 1, 1), "kmem_init");
	check(swap_index_add(&index, nr_pages) == 0, "the first type is 0");
	check(kmem_bytes(&mm, FAULT_TREE, 0) <= 40 << 10, "%lu bytes for no slot",
	      (long)kmem_bytes(&mm, FAULT_TREE, 0));
	file = swap_file_any(&index, 0);
	check(swap_next_slot(file, 0) == nr_pages, "no slot has a word");
	while (nr < ARRAY_SIZE(at)) {
		uint64_t offset = nr == 0 ? 0 :
				  nr == 1 ? nr_pages - 1 :
					    next_random(&random) % nr_pages;
		slot_t *slot = swap_slot_create(&index, file, offset);

		check(slot && slot == swap_slot(file, offset), "slot %lu", (long)offset);
		if (!slot_get(slot))
			slot_xchg(slot, (void *)(uintptr_t)(8 * (offset + 1)));
		at[nr++] = offset;
	}
	for (unsigned int i = 0; i < nr; i++)
		check(slot_get(swap_slot(file, at[i])) == (void *)(uintptr_t)(8 * (at[i] + 1)),
		      "slot %lu", (long)at[i]);

	/* each tree is come to, in order, and nothing else */
	for (uint64_t offset = 0; (offset = swap_next_slot(file, offset)) < nr_pages; seen++) {
		bool used = false;

		for (unsigned int i = 0; i < nr; i++)
			used |= at[i] >> SWAP_ADDRESS_SPACE_SHIFT ==
				offset >> SWAP_ADDRESS_SPACE_SHIFT;
		check(used && swap_slot(file, offset), "slot %lu", (long)offset);
		offset = (offset | (SWAP_ADDRESS_SPACE_PAGES - 1)) + 1;
	}
	check(seen && seen <= nr, "%lu trees", (long)seen);
	swap_index_free(&index, 0);
	check(!kmem_bytes(&mm, FAULT_TREE, 0), "%lu bytes are left",
	      (long)kmem_bytes(&mm, FAULT_TREE, 0));
	kmem_deinit(&mm);
}

/* A directory or the tree cannot be had, at each level. */
static void no_memory_for_a_slot(uint64_t nr_pages)
{
	struct faults faults = { 0 };
	struct kmem mm = { 0 };
	struct swap_index index = { .mm = &mm };

	check(!kmem_init(&mm, &faults, 1, 1), "kmem_init");
	for (unsigned int nth = 1; nth <= 5; nth++) {
		struct swap_file *file;

		check(swap_index_add(&index, nr_pages) == 0, "the first type is 0");
		file = swap_file_any(&index, 0);
		fault_arm(&faults, FAULT_TREE, nth, 1, -ENOMEM, -1);
		check(!swap_slot_create(&index, file, nr_pages / 3) == (nth <= file->height),
		      "allocation %u", nth);
		fault_disarm(&faults, FAULT_TREE);
		check(!swap_slot(file, nr_pages / 3) == (nth <= file->height), "allocation %u",
		      nth);
		check(swap_slot_create(&index, file, nr_pages / 3), "allocation %u", nth);
		swap_index_free(&index, 0);
		check(!kmem_bytes(&mm, FAULT_TREE, 0), "%lu bytes are left",
		      (long)kmem_bytes(&mm, FAULT_TREE, 0));
	}
	kmem_deinit(&mm);
}

/* All of a file's slots at once: one after another would take years. */
static void empty_slots_are_not_walked(void)
{
	const uint64_t nr_pages = (1ull << 58) - 1,
		       at[] = { 0, 1ull << 30, 1ull << 45, nr_pages - 1 };
	struct zswap_config config = default_config();
	struct acomp_alg *alg;
	struct zswap *z = start(&config, &alg);
	struct zswap_stats stats;

	check(zswap_swapon(z, nr_pages) == 1, "the second type is 1");
	for (int round = 0; round < 2; round++) {
		for (unsigned int i = 0; i < ARRAY_SIZE(at); i++)
			store(z, PAGE_SIZE, SWP(1, at[i]), 1);
		check(!zswap_invalidate(z, 0, SWP(1, 1), nr_pages - 2),
		      "all but the first and the last");
		check(zswap_contains(z, 0, SWP(1, 0)) == 1 &&
			      zswap_contains(z, 0, SWP(1, at[1])) == 0,
		      "slots 0 and %lu", (long)at[1]);
		check(!zswap_stats(z, &stats) && stats.stored_pages == 2, "%lu pages",
		      (long)stats.stored_pages);
		check(!what_is_wrong(z), "%s", what_is_wrong(z));
	}
	check(!zswap_invalidate(z, 0, SWP(1, 0), nr_pages), "all");
	check(!zswap_stats(z, &stats) && !stats.stored_pages, "%lu pages",
	      (long)stats.stored_pages);
	store(z, PAGE_SIZE, SWP(1, at[2]), 1);
	check(!zswap_swapoff(z, 1) && !zswap_stats(z, &stats) && !stats.stored_pages, "%lu pages",
	      (long)stats.stored_pages);
	end(z, alg);
}

int main(void)
{
	static const size_t host_page_sizes[] = { 4096, 16384, 65536 };

	for (unsigned int i = 0; i < ARRAY_SIZE(host_page_sizes); i++) {
		for (unsigned int page_shift = 12; page_shift <= 16; page_shift += 2)
			live_pages_stay(host_page_sizes[i], page_shift, 0);
		live_pages_stay(host_page_sizes[i], 12, 500);
		frames_have_one_owner(host_page_sizes[i], 1 + i);
	}
	longer_runs_are_cut(false);
	longer_runs_are_cut(true);
	opened_as_it_grows();
	refused_room_is_no_memory();
	room_of_an_address_limit();
	locking_all_maps_nothing();
	child_has_no_copy();
	child_gets_an_error(false);
	child_gets_an_error(true);
	for (unsigned int i = 0; i < ARRAY_SIZE(file_sizes); i++)
		slots_of_any_file(file_sizes[i]);
	for (unsigned int i = 0; i < ARRAY_SIZE(file_sizes); i++)
		no_memory_for_a_slot(file_sizes[i]);
	empty_slots_are_not_walked();
	puts("test_memory: all is well");
	return 0;
}
