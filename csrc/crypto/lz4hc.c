/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * LZ4HC as the kernel compresses it: the search of LZ4 1.7 at level 9, over all
 * earlier positions of a hash of 15 bits. Of up to three matches that overlap it
 * writes those that leave the fewest literals.
 */
#include "crypto/lz4_block.h"
#include "crypto/lz4hc.h"

#define MAX_ATTEMPTS 256    /* 2^(level - 1) */
#define NONE         0xffff /* no earlier position has the hash */
#define OPTIMAL_ML   18     /* the longest match whose length fits in the token */

/* Bytes start..end-1 are those dist before. Moving the start leaves the others. */
struct match {
	u32 start, end, dist;
};

/* An input in which each position is linked to the last one with its hash. */
struct input {
	const u8 *data;
	const u16 *older;
	u32 stop;  /* no search from here on */
	u32 reach; /* no match goes past it */
};

/* The block that is written, and the first input byte that is not in it. */
struct output {
	u8 *op;
	const u8 *end, *lit;
};

static inline u32 length(const struct match *m)
{
	return m->end - m->start;
}

/*
 * Links all positions that are searched. A search at a position sees all
 * earlier ones, those inside of matches too.
 */
static void link_positions(const struct input *in, u16 *older, u16 *last)
{
	memset(last, 0xff, sizeof(*last) << LZ4HC_HASH_BITS);
	for (u32 pos = 0; pos < in->stop; pos++) {
		const u32 slot = lz4_hash(get32(in->data + pos), LZ4HC_HASH_BITS);

		older[pos] = last[slot];
		last[slot] = pos;
	}
}

/* Returns the number of bytes before pos that equal byte, up to limit. */
static inline u32 run_before(const struct input *in, u32 pos, u8 byte, u32 limit)
{
	u32 n = 0;

	limit = min(limit, pos);
	while (n < limit && in->data[pos - 1 - n] == byte)
		n++;
	return n;
}

/*
 * Returns the number of bytes from end on that equal all of pos..end-1, up to
 * limit; 0 if those differ among themselves.
 */
static inline u32 run_after(const struct input *in, u32 pos, u32 end, u32 limit)
{
	const u32 run = 1 + match_length(in->data + pos + 1, in->data + pos,
					 in->data + min(end + limit, in->reach));

	return pos + run > end ? pos + run - end : 0;
}

/*
 * Skips candidates that need no look, to save time: pos, and the candidate that
 * gave m, stand in runs of one byte, so the next candidates are the positions
 * just before 'older'. In the run of pos itself none gives a longer match. In
 * an earlier run, if m starts at pos, each gives a match longer by one than the
 * last: takes the longest. Returns the candidates skipped, at most limit.
 */
static u32 skip_run(const struct input *in, u32 pos, u32 *older, struct match *m, u32 limit)
{
	u32 n = run_before(in, *older, in->data[pos], limit);

	if (m->dist != 1) {
		n = run_after(in, pos, m->end, n);
		m->dist += n;
		m->end += n;
		m->end += match_length(in->data + m->end, in->data + m->end - m->dist,
				       in->data + in->reach);
	}
	*older -= n;
	return n;
}

/*
 * Finds the longest match that covers pos..pos+3, starts at low or later and is
 * longer than len; the nearest of equals. Returns false if there is none.
 * low + len must lie in pos..pos+3.
 */
static bool find_wider(const struct input *in, u32 pos, u32 low, u32 len, struct match *found)
{
	const u8 *const here = in->data + pos, *const reach = in->data + in->reach;
	const u32 word = get32(here);
	const bool run = word == *here * 0x01010101u;
	/* A longer match than the best so far has the 4 bytes that end at low + best, too. */
	const u8 *probe = here;
	u32 probe_word = word, best = len, older = pos;

	for (u32 attempts = MAX_ATTEMPTS; attempts; attempts--) {
		struct match m = { .start = pos };

		older = in->older[older];
		if (older == NONE)
			break;
		m.dist = pos - older;
		if (get32(probe - m.dist) != probe_word || get32(here - m.dist) != word)
			continue;
		m.end = pos + MINMATCH +
			match_length(here + MINMATCH, here + MINMATCH - m.dist, reach);
		while (m.start > low && m.start > m.dist &&
		       in->data[m.start - 1] == in->data[m.start - 1 - m.dist])
			m.start--;
		if (length(&m) <= best)
			continue;
		if (unlikely(run) && (m.dist == 1 || low == pos))
			attempts -= skip_run(in, pos, &older, &m, attempts - 1);
		*found = m;
		best = length(&m);
		if (low + best >= in->reach)
			break; /* none is longer */
		probe = in->data + low + best - 3;
		probe_word = get32(probe);
	}
	return best > len;
}

/* A match wider than m, around its end. */
static inline bool find_next(const struct input *in, const struct match *m, u32 overlap,
			     struct match *found)
{
	return m->end < in->stop && find_wider(in, m->end - overlap, m->start, length(m), found);
}

/* Writes a match and the literals in front of it. Returns false if they do not fit. */
static bool put_sequence(struct output *out, const struct input *in, const struct match *m)
{
	u8 *token = out->op;

	out->op = put_literals(token, out->end, out->lit, in->data + m->start - out->lit);
	if (!out->op)
		return false;
	out->lit = in->data + m->end;
	out->op = put_match(out->op, out->end, token, m->dist, length(m) - MINMATCH);
	return out->op;
}

/* Writes m up to where next starts. */
static bool put_up_to(struct output *out, const struct input *in, struct match *m,
		      const struct match *next)
{
	m->end = min(m->end, next->start);
	return put_sequence(out, in, m);
}

/*
 * Writes all matches. Returns false if they do not fit.
 *
 * a, b and c are matches in hand, each longer than the one before when it was
 * found. An a that was replaced by a longer one waits in first: it comes back
 * if the next match leaves room for it.
 */
static bool put_matches(struct output *out, const struct input *in)
{
	struct match a, b, c, first;
	u32 pos = 1;

	while (pos < in->stop) {
		if (!find_wider(in, pos, pos, 0, &a)) {
			pos++;
			continue;
		}
		first = a;
	two:
		if (!find_next(in, &a, 2, &b)) {
			if (!put_sequence(out, in, &a))
				return false;
			pos = a.end;
			continue;
		}
		/* The kernel measures first's length from a's start. */
		if (first.start < a.start && b.start < a.start + length(&first))
			a = first;
		if (b.start - a.start < 3) {
			a = b;
			goto two;
		}
	three:
		b.start = max(b.start, min(min(a.start + OPTIMAL_ML, a.end), b.end - MINMATCH));
		if (!find_next(in, &b, 3, &c)) {
			if (!put_up_to(out, in, &a, &b) || !put_sequence(out, in, &b))
				return false;
			pos = b.end;
			continue;
		}
		if (c.start < a.end) {
			b = c;
			goto three;
		}
		if (c.start < a.end + 3) {
			/* No room for b: a whole, then c, or b if a c to come leaves room. */
			if (!put_sequence(out, in, &a))
				return false;
			b.start = max(b.start, a.end);
			first = length(&b) < MINMATCH ? c : b;
			a = c;
			goto two;
		}
		if (!put_up_to(out, in, &a, &b))
			return false;
		a = b;
		b = c;
		goto three;
	}
	return true;
}

int lz4hc_compress(const void *src, size_t slen, void *dst, size_t *dlen, void *wrkmem)
{
	u16 *last = wrkmem, *older = last + (1 << LZ4HC_HASH_BITS);
	struct output out = { .op = dst, .end = (u8 *)dst + *dlen, .lit = src };

	if (slen > LZ4HC_MAX_INPUT)
		return -EINVAL;
	if (slen > MFLIMIT) {
		const struct input in = {
			.data = src,
			.older = older,
			.stop = slen - MFLIMIT,
			.reach = slen - LASTLITERALS,
		};

		link_positions(&in, older, last);
		if (!put_matches(&out, &in))
			return -EINVAL;
	}
	out.op = put_last_literals(out.op, out.end, out.lit, (const u8 *)src + slen - out.lit);
	if (!out.op)
		return -EINVAL;
	*dlen = out.op - (u8 *)dst;
	return 0;
}
