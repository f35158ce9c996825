/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * LZ4 as the kernel compresses it: the greedy search of LZ4 1.7, with a table
 * of 2^13 16-bit positions. The search ends where the next probe would lie in
 * the last 12 bytes.
 */
#include <string.h>

#include "crypto/lz4.h"
#include "crypto/lz4_block.h"

#define HASH_BITS    13
#define SKIP_TRIGGER 6 /* the step grows by one after each 2^6 misses */

static inline u32 hash(u32 v)
{
	return lz4_hash(v, HASH_BITS);
}

int lz4_compress(const void *src, size_t slen, void *dst, size_t *dlen, void *wrkmem)
{
	const u8 *in = src, *in_end = in + slen, *lit = in, *pos = in;
	const u8 *mflimit, *limit;
	u8 *op = dst, *end = op + *dlen;
	u16 *table = wrkmem;

	if (slen > LZ4_MAX_INPUT)
		return -EINVAL;
	if (slen <= MFLIMIT)
		goto last;

	mflimit = in_end - MFLIMIT;
	limit = in_end - LASTLITERALS;
	/* An empty slot is position 0, a candidate like any other. */
	memset(table, 0, LZ4_MEM_COMPRESS);
	pos++;
	for (;;) {
		const u8 *m, *next = pos;
		u32 h = hash(get32(pos));
		unsigned int misses = 1 << SKIP_TRIGGER, step = 1;
		u8 *token;

		do {
			const u32 slot = h;

			pos = next;
			next += step;
			step = misses++ >> SKIP_TRIGGER;
			if (unlikely(next > mflimit))
				goto last;
			m = in + table[slot];
			h = hash(get32(next));
			table[slot] = pos - in;
		} while (get32(m) != get32(pos));

		while (pos > lit && m > in && pos[-1] == m[-1]) {
			pos--;
			m--;
		}
		token = op;
		op = put_literals(op, end, lit, pos - lit);
		if (unlikely(!op))
			return -EINVAL;

		for (;;) {
			const size_t code = match_length(pos + MINMATCH, m + MINMATCH, limit);
			u32 slot;

			op = put_match(op, end, token, pos - m, code);
			if (unlikely(!op))
				return -EINVAL;
			pos += MINMATCH + code;
			lit = pos;
			if (pos > mflimit)
				goto last;

			/* Right behind a match: another, with no literals. */
			table[hash(get32(pos - 2))] = pos - 2 - in;
			slot = hash(get32(pos));
			m = in + table[slot];
			table[slot] = pos - in;
			if (get32(m) != get32(pos))
				break;
			if (unlikely(op == end))
				return -EINVAL;
			token = op++;
			*token = 0;
		}
		pos++;
	}

last:
	op = put_last_literals(op, end, lit, in_end - lit);
	if (!op)
		return -EINVAL;
	*dlen = op - (u8 *)dst;
	return 0;
}
