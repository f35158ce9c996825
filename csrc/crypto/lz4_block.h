/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An LZ4 block, as both encoders write it: a row of sequences. A sequence is:
 *  - a token, literals << 4 | match length - 4; 15 in either means that a count
 *    follows, as bytes of 255 and a last one below;
 *  - the literals' count, if any, and the literals;
 *  - the offset in 16 bits, little endian, and the match's count, if any.
 * The last sequence has literals only, at least 5.
 */
#ifndef ZSWAP_LZ4_BLOCK_H
#define ZSWAP_LZ4_BLOCK_H

#include <string.h>

#include "crypto/unaligned.h"

#define MINMATCH     4
#define MFLIMIT      12 /* no match is searched for in the last 12 bytes */
#define LASTLITERALS 5  /* no match reaches into the last 5 bytes */
#define RUN_MASK     15
#define ML_MASK      15

static inline u32 get32(const void *p)
{
	u32 v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static inline void put_le16(u8 *p, unsigned int v)
{
	p[0] = v;
	p[1] = v >> 8;
}

/* Hashes four bytes in the machine's byte order, as the kernel reads them. */
static inline u32 lz4_hash(u32 v, unsigned int bits)
{
	return v * 2654435761u >> (32 - bits);
}

/* Returns the number of equal bytes, with pos not going past limit. */
static inline size_t match_length(const u8 *pos, const u8 *m, const u8 *limit)
{
	const u8 *start = pos;

	while (likely(limit - pos >= 8)) {
		const u64 differ = get64(pos) ^ get64(m);

		if (differ)
			return pos - start + first_set_byte(differ);
		pos += 8;
		m += 8;
	}
	while (pos < limit && *pos == *m) {
		pos++;
		m++;
	}
	return pos - start;
}

static inline u8 *put_count(u8 *op, size_t v)
{
	for (; v >= 255; v -= 255)
		*op++ = 255;
	*op++ = v;
	return op;
}

/*
 * The size of a sequence without its match, and the size that a match adds
 * beside the token.
 */
static inline size_t literals_size(size_t t)
{
	return 1 + t + (t + 255 - RUN_MASK) / 255;
}

static inline size_t match_size(size_t code)
{
	return 2 + (code + 255 - ML_MASK) / 255;
}

static inline u8 *put_literals_head(u8 *op, size_t t)
{
	if (t < RUN_MASK) {
		*op++ = t << 4;
		return op;
	}
	*op++ = RUN_MASK << 4;
	return put_count(op, t - RUN_MASK);
}

/*
 * Writes the token and literals in front of a match. 8 bytes past the literals
 * can be read. Returns NULL if they do not fit.
 */
static inline u8 *put_literals(u8 *op, const u8 *end, const u8 *lit, size_t t)
{
	const size_t room = end - op;

	if (unlikely(room < t + t / 128 + 10)) {
		if (room < literals_size(t))
			return NULL;
		op = put_literals_head(op, t);
		memcpy(op, lit, t);
		return op + t;
	}
	op = put_literals_head(op, t);
	memcpy(op, lit, 8);
	for (size_t done = 8; unlikely(done < t); done += 8)
		memcpy(op + done, lit + done, 8);
	return op + t;
}

/*
 * Writes the match of the sequence whose token is given. code is the match's
 * length - MINMATCH. Returns NULL if it does not fit.
 */
static inline u8 *put_match(u8 *op, const u8 *end, u8 *token, size_t off, size_t code)
{
	const size_t room = end - op;

	if (unlikely(room < code / 128 + 4) && room < match_size(code))
		return NULL;
	put_le16(op, off);
	op += 2;
	if (code < ML_MASK) {
		*token += code;
		return op;
	}
	*token += ML_MASK;
	return put_count(op, code - ML_MASK);
}

/* Writes the last sequence. Returns NULL if it does not fit. */
static inline u8 *put_last_literals(u8 *op, const u8 *end, const u8 *lit, size_t t)
{
	if ((size_t)(end - op) < literals_size(t))
		return NULL;
	op = put_literals_head(op, t);
	if (t)
		memcpy(op, lit, t);
	return op + t;
}

#endif
