/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Shared by the test drivers of one encoder: a check that counts failures, and
 * pages that compress.
 */
#ifndef ENCODER_TEST_H
#define ENCODER_TEST_H

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "guarded.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof(*(a)))

typedef uint8_t u8;

static int failed;

#define check(cond, ...)                                                  \
	do {                                                              \
		if (!(cond)) {                                            \
			printf("%s:%d: %s: ", __FILE__, __LINE__, #cond); \
			printf(__VA_ARGS__);                              \
			printf("\n");                                     \
			failed++;                                         \
		}                                                         \
	} while (0)

/* Makes a page of random bytes, runs and repetitions. */
static void make_page(u8 *page, size_t n, unsigned int seed)
{
	uint64_t x = seed * 0x9e3779b97f4a7c15u + 1;

	for (size_t i = 0; i < n;) {
		size_t len;

		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		len = 1 + (x >> 32) % (x & 0x100 ? 9 : 300);
		for (; len && i < n; len--, i++) {
			if ((x & 3) == 0)
				page[i] = 0;
			else if ((x & 3) == 1 && i)
				page[i] = page[i - 1 - (x >> 16) % i];
			else
				page[i] = (x = x * 6364136223846793005u + 1442695040888963407u) >>
					  56;
		}
	}
}

#endif
