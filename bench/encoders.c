/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Times two codecs on the same pages, in turns. Both are called through
 * pointers, so neither is inlined, and both see the same caches.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include "crypto/lz4.h"
#include "crypto/lz4hc.h"
#include "crypto/lzo.h"

#define MAX_OUT     (1 << 17)
#define MAX_WORK    (1 << 19)
#define MAX_REPS    1024
#define LZ4HC_LEVEL 9

/* The shapes of the functions under test. */
enum shape {
	OURS_COMPRESS,    /* lzo.h, lz4.h, lz4hc.h */
	OURS_DECOMPRESS,  /* lzo.h */
	LIBLZ4_EXT_STATE, /* LZ4_compress_fast_extState */
	LIBLZ4_HC_STATE,  /* LZ4_compress_HC_extStateHC */
	LIBLZO2,          /* lzo1x_*: with work memory, NULL for a decoder */
};

struct codec {
	void *fn;
	int shape;
};

typedef int (*ours_compress_t)(const void *, size_t, void *, size_t *, void *);
typedef int (*ours_decompress_t)(const void *, size_t, void *, size_t *);
typedef int (*liblz4_t)(void *, const void *, void *, int, int, int);
typedef int (*liblzo2_t)(const void *, unsigned long, void *, unsigned long *, void *);

static union {
	uint64_t align;
	char bytes[MAX_OUT];
} out;

static union {
	uint64_t align;
	char bytes[MAX_WORK];
} work;

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Returns the bytes written, or -1. */
static long run(const struct codec *c, const void *src, size_t slen, size_t room)
{
	size_t dlen = room;
	unsigned long n = room;

	switch (c->shape) {
	case OURS_COMPRESS:
		return ((ours_compress_t)c->fn)(src, slen, out.bytes, &dlen, work.bytes) ?
			       -1 :
			       (long)dlen;
	case OURS_DECOMPRESS:
		return ((ours_decompress_t)c->fn)(src, slen, out.bytes, &dlen) ? -1 : (long)dlen;
	case LIBLZ4_EXT_STATE:
	case LIBLZ4_HC_STATE:
		n = ((liblz4_t)c->fn)(work.bytes, src, out.bytes, slen, room,
				      c->shape == LIBLZ4_HC_STATE ? LZ4HC_LEVEL : 1);
		return n ? (long)n : -1;
	case LIBLZO2:
		return ((liblzo2_t)c->fn)(src, slen, out.bytes, &n, work.bytes) ? -1 : (long)n;
	}
	return -1;
}

static int by_value(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/*
 * Times the codecs of a pair. Item i is src[off[i]..off[i + 1]). A round runs
 * all items of one codec, then all of the other; the next round starts with the
 * other. The median nanoseconds of item i over `reps` rounds go to ns[2 * i]
 * for the first codec and ns[2 * i + 1] for the second.
 *
 * Returns 0, 1 + the index of the first item that a codec rejected, or -1 for a
 * wrong argument or no memory.
 */
long bench_pair(const struct codec pair[2], const char *src, const size_t *off, size_t items,
		size_t room, int reps, double *ns)
{
	double *all;

	if (reps < 1 || reps > MAX_REPS || room > MAX_OUT)
		return -1;
	all = malloc(sizeof(*all) * 2 * items * reps);
	if (!all)
		return -1;
	for (int r = 0; r < reps; r++) {
		for (int k = 0; k < 2; k++) {
			const int which = (k + r) & 1;

			for (size_t i = 0; i < items; i++) {
				const uint64_t t = now();

				if (run(&pair[which], src + off[i], off[i + 1] - off[i], room) <
				    0) {
					free(all);
					return 1 + (long)i;
				}
				all[(2 * i + which) * reps + r] = now() - t;
			}
		}
	}
	for (size_t i = 0; i < 2 * items; i++) {
		qsort(all + i * reps, reps, sizeof(*all), by_value);
		ns[i] = all[i * reps + reps / 2];
	}
	free(all);
	return 0;
}

/*
 * Returns what a measurement adds to each figure: the time between two readings
 * of the clock.
 */
double bench_clock_ns(void)
{
	double all[MAX_REPS];

	for (int r = 0; r < MAX_REPS; r++) {
		const uint64_t t = now();

		all[r] = now() - t;
	}
	qsort(all, MAX_REPS, sizeof(*all), by_value);
	return all[MAX_REPS / 2];
}
