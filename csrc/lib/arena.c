// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The arena: runs of 1 to 16 pages out of two reservations of addresses, lowmem
 * and highmem ('part'). A page's index in its part is its frame.
 *
 * Runs are never joined, and split only when the part cannot grow any more:
 * addresses are cheap, and one size class asks for runs of one length only.
 *
 * A run is in one of these states:
 *  - used  allocated;
 *  - hot   free and mapped, on the list hot[length];
 *  - cold  free and, where its groups allow, given back; on cold[length].
 *
 * Only whole pages of the host can be given back to the system, and one may
 * hold several frames. A group is the frames of one host page, or one frame
 * where that is larger. 'warm' counts a group's frames that are used or hot. A
 * group is given back when its last frame turns cold; its count then reads
 * GIVEN_BACK.
 *
 * Locks: each part has one, which covers all of it; nr_used is also read
 * without it. The highmem part's lock covers 'turn' as well. No lock is taken
 * inside.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "lib/arena.h"
#include "lib/vmalloc.h"

#ifndef MADV_POPULATE_WRITE
/* Linux 5.14. Older kernels return EINVAL, and each page faults by itself. */
#define MADV_POPULATE_WRITE 23
#endif

#define NO_FRAME        UINT32_MAX
#define MIN_FRAMES      256u        /* a smaller arena is not created */
#define OPEN_STEP       (2u << 20)  /* bytes of pages that mprotect() makes usable at once */
#define OPEN_STEP_TABLE (64u << 10) /* the same, for a table */
/*
 * Bytes that are mapped at once when a part grows: a page fault costs more than
 * a store.
 */
#define POPULATE (256u << 10)
/* Freed bytes that stay mapped without a trim, beside 1/8 of the used ones. */
#define HOT_SLACK  (16u << 20)
#define AS_SHARE   4 /* an arena reserves at most 1/4 of what RLIMIT_AS leaves */
#define GIVEN_BACK 0x80

_Static_assert(POPULATE <= ARENA_SLACK && ARENA_MAX_RUN << 16 <= ARENA_SLACK,
	       "a trim may leave all that a part maps ahead, at any page size");
_Static_assert(OPEN_STEP % POPULATE == 0 && OPEN_STEP % (ARENA_MAX_RUN << 16) == 0,
	       "all that a part maps ahead is open, at any page size");

struct part {
	spinlock_t lock;
	struct vm_area pages;
	struct vm_area next; /* u32 by frame: the next free run on its list */
	struct vm_area warm; /* u8 by group */
	unsigned int page_shift, group_shift;
	u32 nr_frames, frontier, populated;
	u32 hot[ARENA_MAX_RUN + 1], cold[ARENA_MAX_RUN + 1];
	u64 nr_hot, nr_given; /* pages */
	_Atomic u64 nr_used;  /* written under the lock, read without */
};

struct arena {
	unsigned int page_shift, highmem, turn;
	struct part low, high;
};

static u32 *next_of(struct part *part, u32 frame)
{
	return (u32 *)part->next.base + frame;
}

static u8 *warm_of(struct part *part, u32 group)
{
	return (u8 *)part->warm.base + group;
}

static void part_deinit(struct part *part)
{
	vm_release(&part->pages);
	vm_release(&part->next);
	vm_release(&part->warm);
}

static bool part_init(struct part *part, u64 nr_frames, unsigned int page_shift,
		      unsigned int group_shift)
{
	*part = (struct part){
		.nr_frames = nr_frames,
		.page_shift = page_shift,
		.group_shift = group_shift,
	};
	for (int k = 0; k <= ARENA_MAX_RUN; k++)
		part->hot[k] = part->cold[k] = NO_FRAME;
	if (!vm_reserve(&part->pages, (size_t)nr_frames << page_shift) ||
	    !vm_reserve(&part->next, nr_frames * sizeof(u32)) ||
	    !vm_reserve(&part->warm, nr_frames >> group_shift)) {
		part_deinit(part);
		return false;
	}
	/*
	 * The system must get back single pages. Huge pages gained nothing
	 * measurable.
	 */
	madvise(part->pages.base, part->pages.size, MADV_NOHUGEPAGE);
	return true;
}

/* Reserves both parts, or none and returns false. */
static bool arena_init(struct arena *arena, u64 nr_frames, unsigned int group_shift)
{
	if (!part_init(&arena->low, nr_frames, arena->page_shift, group_shift))
		return false;
	if (!arena->highmem || part_init(&arena->high, nr_frames, arena->page_shift, group_shift))
		return true;
	part_deinit(&arena->low);
	return false;
}

struct arena *arena_create(unsigned int page_shift, u64 max_pages, unsigned int highmem)
{
	struct arena *arena = calloc(1, sizeof(*arena));
	unsigned int group_shift = 0;
	/* Each run length may be at its peak at a different time. */
	u64 nr_frames = min(max(max_pages, (u64)1 << 16) * 8, (u64)NO_FRAME - 1);

	if (!arena)
		return NULL;
	arena->page_shift = page_shift;
	arena->highmem = highmem;
	while ((size_t)1 << (page_shift + group_shift) < host_page_size())
		group_shift++;
	/*
	 * RLIMIT_AS counts reserved addresses too; leave room to the process.
	 */
	nr_frames = min(nr_frames, (vm_left() / AS_SHARE / (highmem ? 2 : 1)) >> page_shift);
	for (; nr_frames >= MIN_FRAMES; nr_frames /= 2)
		if (arena_init(arena, nr_frames & ~(u64)(MIN_FRAMES - 1), group_shift))
			return arena; /* a multiple of whole groups */
	free(arena);
	return NULL;
}

void arena_destroy(struct arena *arena)
{
	if (!arena)
		return;
	part_deinit(&arena->low);
	part_deinit(&arena->high);
	free(arena);
}

/* ---- cold and warm frames ---- */

static u32 group_end(const struct part *part, u32 frame)
{
	return ((frame - 1) >> part->group_shift) + 1;
}

static void warm_up(struct part *part, u32 frame, unsigned int nr)
{
	for (u32 i = frame; i < frame + nr; i++) {
		u8 *warm = warm_of(part, i >> part->group_shift);

		if (*warm == GIVEN_BACK) {
			part->nr_given -= 1u << part->group_shift;
			*warm = 0;
		}
		(*warm)++;
	}
}

/*
 * Turns a run cold, and gives back its groups that have no warm frame left.
 * These are adjacent: a run shares groups with others only at its ends.
 */
static void cool_down(struct part *part, u32 frame, unsigned int nr)
{
	u32 first = frame >> part->group_shift, end = group_end(part, frame + nr);
	unsigned int shift = part->page_shift + part->group_shift;

	for (u32 i = frame; i < frame + nr; i++)
		(*warm_of(part, i >> part->group_shift))--;
	while (first < end && *warm_of(part, first))
		first++;
	while (first < end && *warm_of(part, end - 1))
		end--;
	if (first == end)
		return;
	if (madvise(part->pages.base + ((size_t)first << shift), (size_t)(end - first) << shift,
		    MADV_DONTNEED))
		return; /* mlocked memory stays mapped */
	memset(warm_of(part, first), GIVEN_BACK, end - first);
	part->nr_given += (u64)(end - first) << part->group_shift;
}

/* ---- runs ---- */

static u32 pop_run(struct part *part, u32 *list)
{
	u32 frame = *list;

	if (frame != NO_FRAME)
		*list = *next_of(part, frame);
	return frame;
}

static void push_run(struct part *part, u32 *list, u32 frame)
{
	*next_of(part, frame) = *list;
	*list = frame;
}

/* Takes a hot run of k frames, of which 'nr' are allocated or cooled. */
static u32 pop_hot(struct part *part, unsigned int nr, unsigned int k)
{
	u32 frame = pop_run(part, &part->hot[k]);

	if (frame != NO_FRAME)
		part->nr_hot -= nr;
	return frame;
}

/* Takes a cold run of k frames, of which 'nr' are allocated. */
static u32 pop_cold(struct part *part, unsigned int nr, unsigned int k)
{
	u32 frame = pop_run(part, &part->cold[k]);

	if (frame != NO_FRAME)
		warm_up(part, frame, nr);
	return frame;
}

/* Splits a longer free run: only when the part cannot grow any more. */
static u32 split_run(struct part *part, unsigned int nr)
{
	for (unsigned int k = nr + 1; k <= ARENA_MAX_RUN; k++) {
		u32 *rest = &part->hot[k - nr], frame = pop_hot(part, nr, k);

		if (frame == NO_FRAME) {
			rest = &part->cold[k - nr];
			frame = pop_cold(part, nr, k);
		}
		if (frame != NO_FRAME) {
			push_run(part, rest, frame + nr);
			return frame;
		}
	}
	return NO_FRAME;
}

/* Makes the first 'nr_frames' usable. Returns false if the system refuses. */
static bool part_open(struct part *part, u32 nr_frames)
{
	return vm_open(&part->pages, (size_t)nr_frames << part->page_shift, OPEN_STEP) &&
	       vm_open(&part->next, nr_frames * sizeof(u32), OPEN_STEP_TABLE) &&
	       vm_open(&part->warm, group_end(part, nr_frames), OPEN_STEP_TABLE);
}

static u32 grow(struct part *part, unsigned int nr)
{
	u32 frame = part->frontier, step = max(POPULATE >> part->page_shift, ARENA_MAX_RUN);

	if (part->nr_frames - frame < nr || !part_open(part, frame + nr))
		return NO_FRAME;
	part->frontier += nr;
	if (part->frontier > part->populated) {
		u32 more = min(step, part->nr_frames - part->populated);

		madvise(part->pages.base + ((size_t)part->populated << part->page_shift),
			(size_t)more << part->page_shift, MADV_POPULATE_WRITE);
		part->populated += more;
	}
	warm_up(part, frame, nr);
	return frame;
}

static void *part_alloc(struct part *part, unsigned int nr)
{
	u32 frame;

	spin_lock(&part->lock);
	frame = pop_hot(part, nr, nr);
	if (frame == NO_FRAME)
		frame = pop_cold(part, nr, nr);
	if (frame == NO_FRAME)
		frame = grow(part, nr);
	if (frame == NO_FRAME)
		frame = split_run(part, nr);
	if (frame != NO_FRAME)
		atomic_fetch_add_explicit(&part->nr_used, nr, memory_order_relaxed);
	spin_unlock(&part->lock);
	return frame == NO_FRAME ? NULL : part->pages.base + ((size_t)frame << part->page_shift);
}

/*
 * Turns hot runs cold until at most 'keep' pages of them are left. The caller
 * holds the lock.
 */
static void part_trim(struct part *part, u64 keep)
{
	for (unsigned int k = ARENA_MAX_RUN; k; k--) {
		while (part->nr_hot > keep) {
			u32 frame = pop_hot(part, k, k);

			if (frame == NO_FRAME)
				break;
			cool_down(part, frame, k);
			push_run(part, &part->cold[k], frame);
		}
	}
}

static void part_free(struct part *part, char *addr, unsigned int nr)
{
	u64 keep;

	spin_lock(&part->lock);
	push_run(part, &part->hot[nr], (addr - part->pages.base) >> part->page_shift);
	part->nr_hot += nr;
	keep = (HOT_SLACK >> part->page_shift) +
	       (atomic_fetch_sub_explicit(&part->nr_used, nr, memory_order_relaxed) - nr) / 8;
	if (unlikely(part->nr_hot > 2 * keep))
		part_trim(part, keep);
	spin_unlock(&part->lock);
}

static bool in_part(const struct part *part, const void *addr)
{
	return (uintptr_t)addr - (uintptr_t)part->pages.base < part->pages.size;
}

void *arena_alloc(struct arena *arena, unsigned int nr_pages)
{
	return part_alloc(&arena->low, nr_pages);
}

void *arena_alloc_page(struct arena *arena)
{
	struct part *part = &arena->low;

	if (arena->highmem) {
		unsigned int turn;

		/* Spread evenly: of each thousand pages 'highmem' are high. */
		spin_lock(&arena->high.lock);
		turn = arena->turn + arena->highmem;
		arena->turn = turn % 1000;
		spin_unlock(&arena->high.lock);
		if (turn >= 1000)
			part = &arena->high;
	}
	return part_alloc(part, 1);
}

void arena_free(struct arena *arena, void *addr, unsigned int nr_pages)
{
	struct part *part = in_part(&arena->low, addr) ? &arena->low : &arena->high;

	part_free(part, addr, nr_pages);
}

void arena_trim(struct arena *arena)
{
	for (int i = 0; i < 2; i++) {
		struct part *part = i ? &arena->high : &arena->low;

		spin_lock(&part->lock);
		part_trim(part, 0);
		spin_unlock(&part->lock);
	}
}

static u64 part_mapped(struct part *part)
{
	u64 pages;

	spin_lock(&part->lock);
	pages = part->populated - part->nr_given;
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
	return !in_part(&arena->high, addr);
}
