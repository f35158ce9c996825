/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * LZO1X as the kernel writes it, and a decoder.
 *
 * A stream is a row of instructions. The first byte tells which one; L are bits
 * of the length, O of the offset, and S is the number of literals, 0 to 3, that
 * follow the instruction:
 *
 *   LLLOOOSS O             L >= 2   M2: L + 1 bytes from at most 2,048 back
 *   001LLLLL OOOOOOSS O             M3: L + 2 bytes from at most 16,384 back
 *   0001OLLL OOOOOOSS O             M4: L + 2 bytes from 16,385 to 49,151 back
 *   00010001 00 00                  the end
 *   00011LLL 111111SS FF LLLLLLLL   lzo-rle: L + 4 zeros
 *   0000LLLL               after an instruction with S = 0: L + 3 literals
 *   0000OOSS O             else M1: 2 bytes; right after a long run of
 *                          literals: 3 bytes, from 2,048 further back
 *
 * L = 0 where a length is due means that a count follows: a zero byte for each
 * 255, then the rest. A first byte over 17 stands for that byte less 17
 * literals. lzo-rle streams begin with 17, 1.
 *
 * The encoder works block by block. 'dict' is the kernel's table of 2^13 16-bit
 * positions in the block. Every function that writes returns NULL once the room
 * is passed, and lzo_out.op is then NULL.
 *
 * The decoder trusts nothing: it checks each offset against the bytes that are
 * written, and each length against the room and the input.
 *
 * Locks: none. All state is in the caller's buffers.
 */
#include <string.h>

#include "crypto/lzo.h"
#include "crypto/unaligned.h"

#define D_BITS 13
/*
 * A block's last bytes are never searched: a read before them may run past the
 * bytes that it needs.
 */
#define TAIL            20
#define M2_MAX_LEN      8
#define M2_MAX_OFFSET   0x0800
#define M3_MAX_LEN      33
#define M3_MAX_OFFSET   0x4000
#define M3_MARKER       32
#define M4_MAX_LEN      9
#define M4_MARKER       16
#define BLOCK_LZO       0xc000
#define BLOCK_LZORLE    0xbfff /* one less: the longest offset would read as a run of zeros */
#define MIN_ZERO_RUN    4
#define MAX_ZERO_RUN    (2047 + MIN_ZERO_RUN)
#define RUN_INSTRUCTION 0xfffc18
#define VERSION_MARKER  17
#define AFTER_LITERALS  4 /* decoder: the last instruction was a long run of literals */

static inline u32 get_le32(const void *p)
{
	u32 v;

	memcpy(&v, p, sizeof(v));
	return __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? __builtin_bswap32(v) : v;
}

static inline u32 get_le16(const u8 *p)
{
	return p[0] | (u32)p[1] << 8;
}

static inline void copy8(u8 *to, const u8 *from)
{
	memcpy(to, from, 8);
}

static inline void copy16(u8 *to, const u8 *from)
{
	memcpy(to, from, 16);
}

/*********************************
* encoder
**********************************/

struct lzo_out {
	u8 *op; /* the next byte; NULL once the room is passed */
	u8 *end;
	u8 *state; /* the byte that holds S of the last instruction */
};

static inline size_t count_size(size_t v)
{
	return (v - 1) / 255 + 1;
}

static inline u8 *put_count(u8 *op, size_t v)
{
	for (; v > 255; v -= 255)
		*op++ = 0;
	*op++ = v;
	return op;
}

static inline size_t literals_size(size_t t)
{
	if (t <= 3)
		return t;
	return t <= 18 ? 1 + t : 1 + count_size(t - 18) + t;
}

/* Writes a run of literals but for the literals themselves. */
static inline u8 *put_literals_head(u8 *op, u8 *state, size_t t)
{
	if (t <= 3) {
		if (t)
			*state |= t;
		return op;
	}
	if (t <= 18) {
		*op++ = t - 3;
		return op;
	}
	*op++ = 0;
	return put_count(op, t - 18);
}

/*
 * Writes the literals in front of a match. 16 bytes past them can be read.
 * Returns NULL if they do not fit.
 */
static inline u8 *put_literals(u8 *op, const u8 *end, u8 *state, const u8 *lit, size_t t)
{
	const size_t room = end - op;

	if (unlikely(room < t + t / 128 + 18)) {
		if (room < literals_size(t))
			return NULL;
		op = put_literals_head(op, state, t);
		memcpy(op, lit, t);
		return op + t;
	}
	op = put_literals_head(op, state, t);
	copy16(op, lit);
	for (size_t done = 16; unlikely(done < t); done += 16)
		copy16(op + done, lit + done);
	return op + t;
}

static inline size_t match_size(size_t len, size_t off)
{
	const size_t max = off <= M3_MAX_OFFSET ? M3_MAX_LEN : M4_MAX_LEN;

	if (len <= M2_MAX_LEN && off <= M2_MAX_OFFSET)
		return 2;
	return len <= max ? 3 : 3 + count_size(len - max);
}

static inline u8 *put_match(u8 *op, const u8 *end, size_t len, size_t off)
{
	const size_t room = end - op;
	size_t max = M3_MAX_LEN;
	u8 marker = M3_MARKER;

	if (unlikely(room < len / 128 + 5) && room < match_size(len, off))
		return NULL;

	off--;
	if (len <= M2_MAX_LEN && off < M2_MAX_OFFSET) {
		*op++ = (len - 1) << 5 | (off & 7) << 2;
		*op++ = off >> 3;
		return op;
	}
	if (off >= M3_MAX_OFFSET) {
		off -= M3_MAX_OFFSET - 1;
		max = M4_MAX_LEN;
		marker = M4_MARKER | (off >> 11 & 8);
	}
	if (len <= max) {
		*op++ = marker | (len - 2);
	} else {
		*op++ = marker;
		op = put_count(op, len - max);
	}
	*op++ = off << 2;
	*op++ = off >> 6;
	return op;
}

static inline u8 *put_zero_run(u8 *op, const u8 *end, size_t run)
{
	const u32 l = run - MIN_ZERO_RUN, v = l << 21 | RUN_INSTRUCTION | (l & 7);

	if (unlikely(end - op < 4))
		return NULL;
	*op++ = v;
	*op++ = v >> 8;
	*op++ = v >> 16;
	*op++ = v >> 24;
	return op;
}

/*
 * Returns the number of zeros from p on, at most max. The first four bytes are
 * known to be zero.
 */
static inline size_t zero_run(const u8 *p, size_t max)
{
	size_t run = MIN_ZERO_RUN;

	if (max > MAX_ZERO_RUN)
		max = MAX_ZERO_RUN;
	while (run < max) {
		const u64 v = get64(p + run);

		if (v) {
			run += first_set_byte(v);
			break;
		}
		run += 8;
	}
	if (run > max)
		run = max;
	return run < MIN_ZERO_RUN ? MIN_ZERO_RUN : run;
}

/*
 * Returns the number of equal bytes. The first four are known to be equal.
 * Compares eight at a time, up to end at least.
 */
static inline size_t match_length(const u8 *pos, const u8 *m, const u8 *end)
{
	size_t len = 4;
	u64 differ = get64(pos + len) ^ get64(m + len);

	while (!differ) {
		len += 8;
		if (unlikely(pos + len >= end))
			return len;
		differ = get64(pos + len) ^ get64(m + len);
	}
	return len + first_set_byte(differ);
}

/*
 * Compresses one block of more than TAIL bytes, in front of which `carried`
 * literals are pending. Returns the number that is pending at its end.
 */
static inline __attribute__((always_inline)) size_t compress_block(const u8 *in, size_t n,
								   size_t carried,
								   struct lzo_out *out, u16 *dict,
								   bool rle)
{
	const u8 *end = in + n - TAIL, *lit = in, *pos = in + (carried < 4 ? 4 - carried : 0) + 1;
	u8 *op = out->op, *state = out->state;

	memset(dict, 0, LZO1X_1_MEM_COMPRESS);
	while (likely(pos < end)) {
		const u32 w = get_le32(pos);
		size_t len = 0, off = 0;

		if (rle && !w) {
			len = zero_run(pos, end - pos);
		} else {
			u16 *slot = &dict[w * 0x1824429du >> (32 - D_BITS)];
			const u8 *m = in + *slot;

			*slot = pos - in;
			if (get_le32(m) != w) {
				pos += 1 + ((pos - lit) >> 5);
				continue;
			}
			off = pos - m;
			len = match_length(pos, m, end);
			/* Such a match would read as a run of zeros. */
			if (rle && unlikely(off > M3_MAX_OFFSET) && len >= 261 && len <= 264 &&
			    ((off - M3_MAX_OFFSET) & 0x403f) == 0x403f)
				len = 260;
		}
		op = put_literals(op, out->end, state, lit - carried, pos - lit + carried);
		if (unlikely(!op))
			break;
		carried = 0;
		op = off ? put_match(op, out->end, len, off) : put_zero_run(op, out->end, len);
		if (unlikely(!op))
			break;
		state = op - (off ? 2 : 3);
		pos += len;
		lit = pos;
	}
	out->op = op;
	out->state = state;
	return in + n - lit + carried;
}

/* Writes the literals at the end, which no instruction follows. */
static u8 *put_last(struct lzo_out *out, const u8 *start, const u8 *lit, size_t t)
{
	u8 *op = out->op;
	const bool alone = op == start && t <= 238;
	const size_t room = out->end - op;

	if (!t)
		return op;
	if (room < (alone ? 1 + t : literals_size(t)))
		return NULL;
	if (alone)
		*op++ = VERSION_MARKER + t;
	else
		op = put_literals_head(op, out->state, t);
	memcpy(op, lit, t);
	return op + t;
}

static inline __attribute__((always_inline)) int compress(const u8 *in, size_t n, u8 *dst,
							  size_t *dlen, u16 *dict, bool rle)
{
	struct lzo_out out = { .op = dst, .end = dst + *dlen };
	const size_t block = rle ? BLOCK_LZORLE : BLOCK_LZO;
	const u8 *in_end = in + n, *start;
	size_t t = 0;

	if (rle) {
		if (*dlen < 2)
			return -EINVAL;
		*out.op++ = VERSION_MARKER;
		*out.op++ = 1;
	}
	start = out.op;

	while (n > TAIL) {
		const size_t len = n < block ? n : block;

		t = compress_block(in, len, t, &out, dict, rle);
		if (!out.op)
			return -EINVAL;
		in += len;
		n -= len;
	}
	t += n;

	out.op = put_last(&out, start, in_end - t, t);
	if (!out.op || out.end - out.op < 3)
		return -EINVAL;
	*out.op++ = M4_MARKER | 1;
	*out.op++ = 0;
	*out.op++ = 0;
	*dlen = out.op - dst;
	return 0;
}

int lzo1x_1_compress(const void *src, size_t slen, void *dst, size_t *dlen, void *wrkmem)
{
	return compress(src, slen, dst, dlen, wrkmem, false);
}

int lzorle1x_1_compress(const void *src, size_t slen, void *dst, size_t *dlen, void *wrkmem)
{
	return compress(src, slen, dst, dlen, wrkmem, true);
}

/*********************************
* decoder
**********************************/

/*
 * Copies len bytes from off back. The caller has checked both. May write past
 * them, up to end.
 */
static inline void copy_match(u8 *op, const u8 *end, size_t off, size_t len)
{
	const u8 *m = op - off, *stop = op + len;

	if (unlikely((size_t)(end - op) < len + 16)) {
		while (op < stop)
			*op++ = *m++;
		return;
	}
	if (likely(off >= 16)) {
		do {
			copy16(op, m);
			op += 16;
			m += 16;
		} while (op < stop);
		return;
	}
	if (off < 8) {
		/*
		 * The first eight one by one. From then on the pattern repeats
		 * a multiple of off back.
		 */
		for (int i = 0; i < 8; i++)
			op[i] = m[i];
		op += 8;
		m = op - off * ((7 + off) / off);
	}
	while (op < stop) {
		copy8(op, m);
		op += 8;
		m += 8;
	}
}

/*
 * Reads a count: the value so far is in *v, *ip is behind the instruction's
 * first byte. Returns false above `most`, so that a long row of zero bytes
 * cannot overflow it, or where the input ends.
 */
static inline bool get_count(const u8 **ip, const u8 *end, size_t *v, size_t most)
{
	while (*ip < end && !**ip) {
		*v += 255;
		++*ip;
		if (*v > most)
			return false;
	}
	if (*ip == end)
		return false;
	*v += *(*ip)++;
	return true;
}

int lzo1x_decompress_safe(const void *src, size_t slen, void *dst, size_t *dlen)
{
	const u8 *ip = src, *ip_end = ip + slen;
	u8 *op = dst, *op_end = op + *dlen;
	size_t len, off, literals, state = 0;
	bool rle = false;

	if (slen >= 5 && *ip == VERSION_MARKER) {
		rle = ip[1];
		ip += 2;
	}
	if (slen >= 3 && *ip > VERSION_MARKER) {
		literals = *ip++ - VERSION_MARKER;
		if (literals > 3) {
			len = literals;
			goto long_run;
		}
		goto short_run;
	}

	for (;;) {
		unsigned int t, next;

		/*
		 * Each instruction is the end mark, of three bytes, or is
		 * followed by it.
		 */
		if (unlikely(ip_end - ip < 3))
			return -EINVAL;
		t = *ip++;
		if (t >= 64) {
			literals = t & 3;
			off = 1 + (t >> 2 & 7) + (*ip++ << 3);
			len = (t >> 5) + 1;
		} else if (t >= M4_MARKER) {
			const bool m3 = t >= M3_MARKER;

			off = 1;
			len = t & (m3 ? M3_MAX_LEN - 2 : M4_MAX_LEN - 2);
			next = get_le16(ip);
			if (!m3) {
				if (rle && (next & 0xfffc) == 0xfffc && t >= (M4_MARKER | 8)) {
					if (unlikely(ip_end - ip < 3))
						return -EINVAL;
					len = (len | ip[2] << 3) + MIN_ZERO_RUN;
					ip += 3;
					if (unlikely(len > (size_t)(op_end - op)))
						return -EINVAL;
					memset(op, 0, len);
					op += len;
					literals = next & 3;
					goto short_run;
				}
				off = (t & 8) << 11;
			}
			if (!len) {
				len = m3 ? M3_MAX_LEN - 2 : M4_MAX_LEN - 2;
				if (unlikely(!get_count(&ip, ip_end, &len, op_end - op) ||
					     ip_end - ip < 2))
					return -EINVAL;
				next = get_le16(ip);
			}
			len += 2;
			ip += 2;
			off += next >> 2;
			literals = next & 3;
			if (!m3) {
				if (!off)
					break;
				off += M3_MAX_OFFSET;
			}
		} else if (!state) {
			len = t;
			if (!len) {
				len = 15;
				if (unlikely(!get_count(&ip, ip_end, &len, op_end - op)))
					return -EINVAL;
			}
			len += 3;
		long_run:
			if (unlikely(len > (size_t)(op_end - op) || len > (size_t)(ip_end - ip)))
				return -EINVAL;
			if (likely((size_t)(op_end - op) >= len + 16 &&
				   (size_t)(ip_end - ip) >= len + 16)) {
				const u8 *stop = op + len;
				const u8 *from = ip;

				do {
					copy16(op, from);
					op += 16;
					from += 16;
				} while (op < stop);
				op = (u8 *)stop;
			} else {
				memcpy(op, ip, len);
				op += len;
			}
			ip += len;
			state = AFTER_LITERALS;
			continue;
		} else {
			literals = t & 3;
			off = 1 + (t >> 2) + (*ip++ << 2);
			len = 2;
			if (state == AFTER_LITERALS) {
				off += M2_MAX_OFFSET;
				len = 3;
			}
		}

		if (unlikely(off > (size_t)(op - (u8 *)dst) || len > (size_t)(op_end - op)))
			return -EINVAL;
		copy_match(op, op_end, off, len);
		op += len;
	short_run:
		state = literals;
		if (likely(op_end - op >= 4 && ip_end - ip >= 4)) {
			memcpy(op, ip, 4);
			op += literals;
			ip += literals;
			continue;
		}
		if (unlikely(literals > (size_t)(op_end - op) || literals > (size_t)(ip_end - ip)))
			return -EINVAL;
		while (literals--)
			*op++ = *ip++;
	}

	/* The end mark's own length is 3. */
	if (len != 3 || ip != ip_end)
		return -EINVAL;
	*dlen = op - (u8 *)dst;
	return 0;
}
