/* SPDX-License-Identifier: GPL-2.0-or-later */
/* csrc/crypto/lz4hc.c alone. */
#include "crypto/lz4hc.h"

#define COMPRESS lz4hc_compress
#define WORK     LZ4HC_MEM_COMPRESS
#include "lz4_test.h"

/*
 * By hand: the search at 1 finds position 0, and the match ends 5 bytes before
 * the end.
 */
static void test_bytes(void)
{
	static const u8 zeros[40];
	static const char expected[] = "\x1f\0\1\0\x0f"
				       "\x50\0\0\0\0\0";
	long n = encode(zeros, sizeof(zeros), ROOM);

	check(n == sizeof(expected) - 1 && !memcmp(dst.end - ROOM, expected, n), "%ld", n);
	n = encode((const u8 *)"abcdefghijklm", 13, ROOM);
	check(n == 14 && dst.end[-ROOM] == 13 << 4, "13 literals: %ld", n);
}

/*
 * The last search is 13 bytes before the end. In 17 bytes a match at 4 is
 * found, one at 5 not.
 */
static void test_search_limit(void)
{
	long found = encode((const u8 *)"abcdabcdabcdabcdz", 17, ROOM), missed;

	missed = encode((const u8 *)"abcdeabcdeabcdeaz", 17, ROOM);
	check(found < 18, "a match at 4: %ld", found);
	check(missed == 19, "a match at 5: %ld", missed);
}

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
