/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Buffers that end at a guard page: an access past the end faults. Under
 * AddressSanitizer an access before the start is reported too.
 */
#ifndef GUARDED_H
#define GUARDED_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define GUARDED_ASAN
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define GUARDED_ASAN
#endif
#endif

#ifdef GUARDED_ASAN
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, n)   ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif

struct guarded {
	uint8_t *start, *end;
};

static inline void guarded_init(struct guarded *g, size_t most)
{
	const size_t page = sysconf(_SC_PAGESIZE), size = (most + page - 1) / page * page;
	uint8_t *p = mmap(NULL, size + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED || mprotect(p + page, size, PROT_READ | PROT_WRITE)) {
		perror("guarded_init");
		exit(1);
	}
	g->start = p + page;
	g->end = g->start + size;
}

/*
 * Returns the last n bytes in front of the guard page. It invalidates what an
 * earlier call returned.
 */
static inline uint8_t *guarded_get(struct guarded *g, size_t n)
{
	ASAN_UNPOISON_MEMORY_REGION(g->start, g->end - g->start);
	ASAN_POISON_MEMORY_REGION(g->start, g->end - n - g->start);
	return g->end - n;
}

#endif
