/* SPDX-License-Identifier: GPL-2.0-or-later */
/* csrc/crypto/lz4.c alone. */
#include "crypto/lz4.h"

#define COMPRESS lz4_compress
#define WORK     LZ4_MEM_COMPRESS
#include "lz4_test.h"

/*
 * By hand: the first probe, at 1, finds position 0; the match ends 5 bytes
 * before the end.
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
 * The border that liblz4 1.8.2 moved. In 17 bytes the last probe may look at 5,
 * being able to go on at 6 too, which is 11 from the end: the search stops
 * before. A match at 4 is found, one at 5 not.
 */
static void test_search_limit(void)
{
	long found = encode((const u8 *)"abcdabcdabcdabcdz", 17, ROOM), missed;

	missed = encode((const u8 *)"abcdeabcdeabcdeaz", 17, ROOM);
	check(found < 18, "a match at 4: %ld", found);
	check(missed == 19, "a match at 5: %ld", missed);
}

int main(void)
{
	init_buffers();
	test_round_trips();
	test_bytes();
	test_search_limit();
	test_too_long();
	return failed ? 1 : 0;
}
