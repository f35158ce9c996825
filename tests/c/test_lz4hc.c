/* SPDX-License-Identifier: GPL-2.0-or-later */
/* csrc/crypto/lz4hc.c alone. */
#include "crypto/lz4hc.h"

#define COMPRESS lz4hc_compress
#define WORK     LZ4HC_MEM_COMPRESS
#include "lz4_test.h"

/* Encodes n bytes; checks that a match of 'length' at 'distance' is the first. */
static void check_first_match(const u8 *data, size_t n, size_t literals, size_t length,
			      size_t distance)
{
	const u8 *out = dst.end - ROOM;

	check(encode(data, n, ROOM) > 0, "%zu bytes", n);
	check(out[0] == (literals << 4 | (length - 4)) &&
		      (out[1 + literals] | out[2 + literals] << 8) == (int)distance,
	      "token %#x, distance %u; %zu literals, length %zu at %zu", out[0],
	      out[1 + literals] | out[2 + literals] << 8, literals, length, distance);
}

/* The longest match is taken, not the nearest. */
static void test_choice(void)
{
	check_first_match((const u8 *)"abcdefghAabcdXabcdefghYZIJKLMNOPQ", 33, 9, 4, 9);
}

/*
 * A longer match that starts at the next byte takes a match's place: bcdefgh,
 * which is behind _, that of abcd.
 */
static void test_overlap(void)
{
	check_first_match((const u8 *)"abcd_bcdefghabcdefghIJKLMNOPQRST", 32, 13, 7, 8);
}

int main(void)
{
	init_buffers();
	test_round_trips();
	test_bytes();
	test_search_limit();
	test_choice();
	test_overlap();
	test_too_long();
	return failed ? 1 : 0;
}
