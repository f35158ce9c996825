// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdlib.h>
#include <sys/mman.h>

#include "arena.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23	/* Linux 5.14; older ones say EINVAL, and each page faults by itself */
#endif

#define NO_FRAME	UINT32_MAX
#define POPULATE	(256u << 10)	/* bytes mapped at once where the part grows: a fault a page costs more than the store */
#define HOT_SLACK	(16u << 20)	/* freed bytes that stay mapped without a trim, and 1/8 of those in use */

_Static_assert(POPULATE <= ARENA_SLACK && ARENA_MAX_RUN << 16 <= ARENA_SLACK,
	       "what a part maps ahead, at any page size, is what a trim may leave");

/*
 * Runs are never split or joined: virtual room is cheap, and one size class asks for one length only.
 * So a freed run of k pages waits on the list for k, hot (mapped) or cold (given back). When the room is
 * used up a longer run is cut.
 */
struct part {
	spinlock_t lock;
	char *base;
	u32 *next;			/* by frame: the next free run of this length */
	u32 nr_frames, frontier, populated;
	u32 hot[ARENA_MAX_RUN + 1], cold[ARENA_MAX_RUN + 1];
	u64 nr_hot, nr_cold;		/* pages */
	_Atomic u64 nr_used;		/* written under the lock, read without */
};

struct arena {
	unsigned int page_shift, highmem, turn;
	struct part low, high;
};

static char *reserve(size_t size, int prot)
{
	void *p = mmap(NULL, size, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static bool part_init(struct part *part, u64 nr_frames, unsigned int page_shift)
{
	part->nr_frames = nr_frames;
	part->base = reserve((size_t)nr_frames << page_shift, PROT_READ | PROT_WRITE);
	part->next = (u32 *)reserve(nr_frames * sizeof(u32), PROT_READ | PROT_WRITE);
	for (int k = 0; k <= ARENA_MAX_RUN; k++)
		part->hot[k] = part->cold[k] = NO_FRAME;
	if (!part->base || !part->next)
		return false;
	/* what is freed in small runs must really go back; huge pages gained nothing measurable */
	madvise(part->base, (size_t)nr_frames << page_shift, MADV_NOHUGEPAGE);
	return true;
}

static void part_deinit(struct part *part, unsigned int page_shift)
{
	if (part->base)
		munmap(part->base, (size_t)part->nr_frames << page_shift);
	if (part->next)
		munmap(part->next, part->nr_frames * sizeof(u32));
}

struct arena *arena_create(unsigned int page_shift, u64 max_pages, unsigned int highmem)
{
	struct arena *arena = calloc(1, sizeof(*arena));
	/* a page for each run length that may be at its peak at some time, as far as 32-bit frames go */
	u64 nr_frames = min(max(max_pages, (u64)1 << 16) * 8, (u64)NO_FRAME - 1);

	if (!arena)
		return NULL;
	arena->page_shift = page_shift;
	arena->highmem = highmem;
	while (!part_init(&arena->low, nr_frames, page_shift) ||
	       (highmem && !part_init(&arena->high, nr_frames, page_shift))) {
		/* RLIMIT_AS, or vm.overcommit_memory = 2: less room */
		part_deinit(&arena->low, page_shift);
		part_deinit(&arena->high, page_shift);
		arena->low = arena->high = (struct part){ 0 };
		nr_frames /= 2;
		if (nr_frames < 1 << 10) {
			free(arena);
			return NULL;
		}
	}
	return arena;
}

void arena_destroy(struct arena *arena)
{
	if (!arena)
		return;
	part_deinit(&arena->low, arena->page_shift);
	part_deinit(&arena->high, arena->page_shift);
	free(arena);
}

static u32 pop_run(struct part *part, u32 *list)
{
	u32 frame = *list;

	if (frame != NO_FRAME)
		*list = part->next[frame];
	return frame;
}

static void push_run(struct part *part, u32 *list, u32 frame)
{
	part->next[frame] = *list;
	*list = frame;
}

/* Cut a longer free run: only once the part has no room left to grow. */
static u32 split_run(struct part *part, unsigned int nr)
{
	for (unsigned int k = nr + 1; k <= ARENA_MAX_RUN; k++) {
		u32 frame = pop_run(part, &part->hot[k]);

		if (frame != NO_FRAME) {
			part->nr_hot -= nr;
			push_run(part, &part->hot[k - nr], frame + nr);
			return frame;
		}
		frame = pop_run(part, &part->cold[k]);
		if (frame != NO_FRAME) {
			part->nr_cold -= nr;
			push_run(part, &part->cold[k - nr], frame + nr);
			return frame;
		}
	}
	return NO_FRAME;
}

static u32 grow(struct part *part, unsigned int nr, unsigned int page_shift)
{
	u32 frame = part->frontier, step = max(POPULATE >> page_shift, ARENA_MAX_RUN);

	if (part->nr_frames - frame < nr)
		return NO_FRAME;
	part->frontier += nr;
	if (part->frontier > part->populated) {
		u32 more = min(step, part->nr_frames - part->populated);

		madvise(part->base + ((size_t)part->populated << page_shift), (size_t)more << page_shift,
			MADV_POPULATE_WRITE);
		part->populated += more;
	}
	return frame;
}

static void *part_alloc(struct part *part, unsigned int nr, unsigned int page_shift)
{
	u32 frame;

	spin_lock(&part->lock);
	frame = pop_run(part, &part->hot[nr]);
	if (frame != NO_FRAME) {
		part->nr_hot -= nr;
	} else {
		frame = pop_run(part, &part->cold[nr]);
		if (frame != NO_FRAME)
			part->nr_cold -= nr;
		else
			frame = grow(part, nr, page_shift);
		if (frame == NO_FRAME)
			frame = split_run(part, nr);
	}
	if (frame != NO_FRAME)
		atomic_fetch_add_explicit(&part->nr_used, nr, memory_order_relaxed);
	spin_unlock(&part->lock);
	return frame == NO_FRAME ? NULL : part->base + ((size_t)frame << page_shift);
}

/* Give hot runs back until at most 'keep' pages of them are mapped. Called with the lock held. */
static void part_trim(struct part *part, u64 keep, unsigned int page_shift)
{
	for (unsigned int k = ARENA_MAX_RUN; k; k--) {
		while (part->nr_hot > keep) {
			u32 frame = pop_run(part, &part->hot[k]);

			if (frame == NO_FRAME)
				break;
			madvise(part->base + ((size_t)frame << page_shift), (size_t)k << page_shift, MADV_DONTNEED);
			push_run(part, &part->cold[k], frame);
			part->nr_hot -= k;
			part->nr_cold += k;
		}
	}
}

static void part_free(struct part *part, char *addr, unsigned int nr, unsigned int page_shift)
{
	u64 keep;

	spin_lock(&part->lock);
	push_run(part, &part->hot[nr], (u32)((size_t)(addr - part->base) >> page_shift));
	part->nr_hot += nr;
	keep = (HOT_SLACK >> page_shift) +
		(atomic_fetch_sub_explicit(&part->nr_used, nr, memory_order_relaxed) - nr) / 8;
	if (unlikely(part->nr_hot > 2 * keep))
		part_trim(part, keep, page_shift);
	spin_unlock(&part->lock);
}

static bool in_part(const struct part *part, const void *addr, unsigned int page_shift)
{
	uintptr_t off = (uintptr_t)addr - (uintptr_t)part->base;

	return part->base && off < (size_t)part->nr_frames << page_shift;
}

void *arena_alloc(struct arena *arena, unsigned int nr_pages)
{
	return part_alloc(&arena->low, nr_pages, arena->page_shift);
}

void *arena_alloc_page(struct arena *arena)
{
	struct part *part = &arena->low;

	if (arena->highmem) {
		unsigned int turn;

		/* spread evenly: every thousand pages hold 'highmem' high ones */
		spin_lock(&arena->high.lock);
		turn = arena->turn + arena->highmem;
		arena->turn = turn % 1000;
		spin_unlock(&arena->high.lock);
		if (turn >= 1000)
			part = &arena->high;
	}
	return part_alloc(part, 1, arena->page_shift);
}

void arena_free(struct arena *arena, void *addr, unsigned int nr_pages)
{
	struct part *part = in_part(&arena->low, addr, arena->page_shift) ? &arena->low : &arena->high;

	part_free(part, addr, nr_pages, arena->page_shift);
}

void arena_trim(struct arena *arena)
{
	for (int i = 0; i < 2; i++) {
		struct part *part = i ? &arena->high : &arena->low;

		spin_lock(&part->lock);
		part_trim(part, 0, arena->page_shift);
		spin_unlock(&part->lock);
	}
}

static u64 part_mapped(struct part *part)
{
	u64 pages;

	spin_lock(&part->lock);
	pages = part->populated - part->nr_cold;
	spin_unlock(&part->lock);
	return pages;
}

u64 arena_mapped(struct arena *arena)
{
	return (part_mapped(&arena->low) + part_mapped(&arena->high)) << arena->page_shift;
}

u64 arena_pages(struct arena *arena)
{
	return atomic_load_explicit(&arena->low.nr_used, memory_order_relaxed) +
	       atomic_load_explicit(&arena->high.nr_used, memory_order_relaxed);
}

bool arena_has_highmem(const struct arena *arena)
{
	return arena->highmem != 0;
}

bool virt_addr_valid(const struct arena *arena, const void *addr)
{
	return !in_part(&arena->high, addr, arena->page_shift);
}
