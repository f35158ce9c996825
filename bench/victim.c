// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * victim.c - a process that touches its pages at random, and times each touch
 *
 * Usage: victim BYTES. Fills BYTES of anonymous memory, prints "ready", and
 * then, for each number of seconds on standard input, touches pages for so long
 * and prints a line: touches, and the median, 99th and 99.9th percentile and
 * maximum of a touch, in nanoseconds. A touch reads and writes a byte of a
 * page. The reads of the clock, some 20 ns, are in each.
 */
#define _GNU_SOURCE
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define PAGE 4096
/* Buckets: 128 to each power of two, so a percentile is right to 0.8%. */
#define STEPS   128
#define BUCKETS (64 * STEPS)

static uint64_t histogram[BUCKETS];

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	return *state ^= *state << 17;
}

static unsigned int bucket_of(uint64_t ns)
{
	unsigned int octave;

	if (ns < STEPS)
		return ns;
	octave = 63 - __builtin_clzll(ns) - 7;
	return (octave + 1) * STEPS + ((ns >> octave) & (STEPS - 1));
}

/* Returns the least latency of a bucket. */
static uint64_t latency_of(unsigned int bucket)
{
	unsigned int octave = bucket / STEPS;

	if (!octave)
		return bucket;
	return (uint64_t)(STEPS + bucket % STEPS) << (octave - 1);
}

static uint64_t percentile(uint64_t touches, double share)
{
	uint64_t left = touches * share;

	for (unsigned int i = 0; i < BUCKETS; i++) {
		if (histogram[i] > left)
			return latency_of(i);
		left -= histogram[i];
	}
	return 0;
}

/* Fills a page as a heap: a quarter is random, the rest repeats. */
static void fill(uint8_t *page, uint64_t *state)
{
	for (int i = 0; i < PAGE / 8; i++) {
		uint64_t word = i % 4 ? (uintptr_t)page >> 12 : next_random(state);

		memcpy(page + 8 * i, &word, 8);
	}
}

static void touch(uint8_t *memory, uint64_t pages, uint64_t *state, double seconds)
{
	uint64_t began = now(), end = began + seconds * 1e9, touches = 0, worst = 0;

	memset(histogram, 0, sizeof(histogram));
	for (uint64_t before = began; before < end; touches++) {
		volatile uint8_t *page = memory + next_random(state) % pages * PAGE;
		uint64_t after, ns;

		before = now();
		page[64] ^= 1;
		after = now();
		ns = after - before;
		histogram[bucket_of(ns)]++;
		worst = ns > worst ? ns : worst;
	}
	printf("%" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", touches,
	       percentile(touches, 0.5), percentile(touches, 0.99), percentile(touches, 0.999),
	       worst);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	uint64_t bytes = argc == 2 ? strtoull(argv[1], NULL, 10) / PAGE * PAGE : 0, state = 1;
	uint8_t *memory;
	double seconds;

	if (!bytes) {
		fprintf(stderr, "usage: victim BYTES\n");
		return 2;
	}
	memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED) {
		perror("victim");
		return 1;
	}
	for (uint64_t i = 0; i < bytes; i += PAGE)
		fill(memory + i, &state);
	puts("ready");
	fflush(stdout);
	while (scanf("%lf", &seconds) == 1)
		touch(memory, bytes / PAGE, &state, seconds);
	return 0;
}
