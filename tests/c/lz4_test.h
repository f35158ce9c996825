/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Shared by the test drivers of the LZ4 encoders: each input against a plain
 * decoder that also holds the format's end rules, each room there is. A driver
 * defines COMPRESS, its function, and WORK, the bytes of its work memory.
 */
#ifndef LZ4_TEST_H
#define LZ4_TEST_H

#include "encoder_test.h"

#define MAX_INPUT 65536
#define ROOM      (MAX_INPUT + MAX_INPUT / 128 + 64)

static struct guarded src, dst, work;

static bool get_count(const u8 **ip, const u8 *end, size_t *v)
{
	u8 b;

	do {
		if (*ip == end)
			return false;
		b = *(*ip)++;
		*v += b;
	} while (b == 255);
	return true;
}

/*
 * Byte by byte; -1 if it is not a block of n bytes as the format's description
 * has it.
 */
static int decode(const u8 *ip, size_t slen, u8 *out, size_t n)
{
	const u8 *end = ip + slen;
	size_t made = 0;

	while (ip < end) {
		const u8 token = *ip++;
		size_t literals = token >> 4, len = token & 15, off;

		if (literals == 15 && !get_count(&ip, end, &literals))
			return -1;
		if (literals > (size_t)(end - ip) || literals > n - made)
			return -1;
		for (; literals; literals--)
			out[made++] = *ip++;
		if (ip == end)
			return made == n && len == 0 && (n < 5 || token >> 4 >= 5 || slen == 1) ?
				       0 :
				       -1;
		if (end - ip < 2)
			return -1;
		off = ip[0] | ip[1] << 8;
		ip += 2;
		if (len == 15 && !get_count(&ip, end, &len))
			return -1;
		len += 4;
		if (!off || off > made || made + 12 > n || made + len + 5 > n)
			return -1;
		for (; len; len--, made++)
			out[made] = out[made - off];
	}
	return -1;
}

static long encode(const u8 *data, size_t n, size_t room)
{
	size_t made = room;
	u8 *from = guarded_get(&src, n);
	int err;

	if (n)
		memcpy(from, data, n);
	/* what an earlier call left there must not matter */
	memset(guarded_get(&work, WORK), room & 0xff, WORK);
	err = COMPRESS(from, n, guarded_get(&dst, room), &made, work.end - WORK);
	check(err == 0 || (err == -EINVAL && made == room), "err %d, dlen %zu, room %zu", err, made,
	      room);
	check(err || made <= room, "%zu bytes in %zu", made, room);
	return err ? err : (long)made;
}

static void round_trip(const u8 *data, size_t n, bool each_room)
{
	static u8 whole[ROOM], back[MAX_INPUT];
	const long made = encode(data, n, ROOM);

	check(made > 0, "%zu bytes: %ld", n, made);
	if (made <= 0)
		return;
	memcpy(whole, dst.end - ROOM, made);
	check(!decode(whole, made, back, n) && !memcmp(back, data, n), "%zu bytes do not come back",
	      n);
	check(encode(data, n, made) == made && !memcmp(dst.end - made, whole, made),
	      "%zu into just %ld", n, made);
	for (long room = each_room ? 0 : made - 1; room < made; room++)
		check(encode(data, n, room) == -EINVAL, "%zu bytes, %ld of %ld", n, room, made);
}

static void test_round_trips(void)
{
	static const size_t large[] = { 4096, 16384, 65535, 65536 };
	static u8 data[MAX_INPUT];

	for (size_t n = 0; n < 320; n++) {
		make_page(data, n, n);
		round_trip(data, n, n % 16 < 3);
	}
	for (size_t i = 0; i < ARRAY_SIZE(large); i++) {
		for (unsigned int seed = 0; seed < 8; seed++) {
			make_page(data, large[i], seed);
			round_trip(data, large[i], false);
		}
		memset(data, 0, large[i]);
		round_trip(data, large[i], false);
	}
	make_page(data, 4096, 99);
	round_trip(data, 4096, true);
}

/*
 * By hand: the search at 1 finds position 0; the match ends 5 bytes before the
 * end.
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
 * The last search is 13 bytes before the end: in 17 bytes a match at 4 is found,
 * one at 5 not. liblz4 1.8.2 moved this border of lz4. Its probe at 5 would have
 * to be able to go on at 6, which is 11 from the end.
 */
static void test_search_limit(void)
{
	long found = encode((const u8 *)"abcdabcdabcdabcdz", 17, ROOM), missed;

	missed = encode((const u8 *)"abcdeabcdeabcdeaz", 17, ROOM);
	check(found < 18, "a match at 4: %ld", found);
	check(missed == 19, "a match at 5: %ld", missed);
}

static void test_too_long(void)
{
	static u8 data[MAX_INPUT + 1], out[16384], table[WORK] __attribute__((aligned(8)));
	size_t n = sizeof(out);

	check(!COMPRESS(data, MAX_INPUT, out, &n, table), "64 KiB");
	n = sizeof(out);
	check(COMPRESS(data, MAX_INPUT + 1, out, &n, table) == -EINVAL, "64 KiB and a byte");
}

static void init_buffers(void)
{
	guarded_init(&src, MAX_INPUT);
	guarded_init(&dst, ROOM);
	guarded_init(&work, WORK);
}

#endif
