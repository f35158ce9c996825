/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * csrc/crypto/lzo.c alone: streams written by hand, each room there is, damage, all
 * between guard pages.
 */
#include "encoder_test.h"
#include "crypto/lzo.h"

#define MOST 65536
#define ROOM (MOST + MOST / 8 + 64)

typedef int (*compress_t)(const void *, size_t, void *, size_t *, void *);

static const compress_t variants[] = { lzo1x_1_compress, lzorle1x_1_compress };
static struct guarded src, dst, back, work;

static u8 *put(struct guarded *g, const void *data, size_t n)
{
	u8 *p = guarded_get(g, n);

	if (n)
		memcpy(p, data, n);
	return p;
}

/* ---- decoding ---- */

struct stream {
	const char *what;
	const char *bytes;
	size_t slen;
	const char *text; /* NULL: -EINVAL */
	size_t len;
};

#define S(bytes) bytes, sizeof(bytes) - 1
#define END      "\x11\0\0"
#define BAD      NULL, 100

static const struct stream streams[] = {
	{ "nothing", S(END), S("") },
	{ "nothing, lzo-rle", S("\x11\1" END), S("") },
	{ "one literal",
	  S("\x12"
	    "a" END),
	  S("a") },
	{ "three literals",
	  S("\x14"
	    "abc" END),
	  S("abc") },
	{ "four literals",
	  S("\x15"
	    "abcd" END),
	  S("abcd") },
	{ "literals, long form",
	  S("\x01"
	    "abcd" END),
	  S("abcd") },
	{ "19 literals, counted",
	  S("\0\1"
	    "abcdefghijklmnopqrs" END),
	  S("abcdefghijklmnopqrs") },
	{ "M2, overlapping",
	  S("\x15"
	    "abcd\x60\0" END),
	  S("abcddddd") },
	{ "M2, 3 literals behind",
	  S("\x15"
	    "abcd\x4f\0xyz" END),
	  S("abcdabcxyz") },
	{ "M2, 8 bytes from 4",
	  S("\x15"
	    "abcd\xec\0" END),
	  S("abcdabcdabcd") },
	{ "M3",
	  S("\x15"
	    "abcd\x22\x0c\0" END),
	  S("abcdabcd") },
	{ "M3, counted",
	  S("\x15"
	    "abcd\x20\1\x0c\0" END),
	  S("abcdabcdabcdabcdabcdabcdabcdabcdabcdab") },
	{ "M1, two bytes",
	  S("\x14"
	    "abc\x08\0" END),
	  S("abcab") },
	{ "M1, a literal behind",
	  S("\x14"
	    "abc\x09\0x" END),
	  S("abcabx") },
	{ "run of 4 zeros",
	  S("\x11\1\x12"
	    "a\x18\xfc\xff\0" END),
	  S("a\0\0\0\0") },
	{ "run of 13, 2 literals",
	  S("\x11\1\x12"
	    "a\x19\xfe\xff\1xy" END),
	  S("a\0\0\0\0\0\0\0\0\0\0\0\0\0xy") },
	{ "version 0 has no runs",
	  S("\x11\0\x12"
	    "a\x18\xfc\xff\0" END),
	  BAD },
	{ "no version, no runs",
	  S("\x12"
	    "a\x18\xfc\xff\0" END),
	  BAD },

	{ "no bytes", S(""), BAD },
	{ "half an end mark", S("\x11\0"), BAD },
	{ "no end mark",
	  S("\x15"
	    "abcd"),
	  BAD },
	{ "bytes behind the end",
	  S("\x15"
	    "abcd" END "\0"),
	  BAD },
	{ "end mark of length 4",
	  S("\x15"
	    "abcd\x12\0\0"),
	  BAD },
	{ "M2 from before the start",
	  S("\x15"
	    "abcd\x50\0" END),
	  BAD },
	{ "M3 from before the start",
	  S("\x15"
	    "abcd\x22\x10\0" END),
	  BAD },
	{ "M4 from before the start",
	  S("\x15"
	    "abcd\x12\4\0" END),
	  BAD },
	{ "M1 from before the start",
	  S("\x14"
	    "abc\x0c\0" END),
	  BAD },
	{ "M1 of 3 from before it",
	  S("\x15"
	    "abcd\0\0" END),
	  BAD },
	{ "literals that are not there",
	  S("\x40"
	    "abcd" END),
	  BAD },
	{ "a count without an end",
	  S("\x15"
	    "abcd\x20\0\0\0\0\0\0\0"),
	  BAD },
};

/* -EINVAL or the length; the room ends at a guard page. */
static long decode(const void *stream, size_t slen, size_t room)
{
	size_t n = room;
	const int err =
		lzo1x_decompress_safe(put(&src, stream, slen), slen, guarded_get(&dst, room), &n);

	check(err == 0 || (err == -EINVAL && n == room), "err %d, dlen %zu, room %zu", err, n,
	      room);
	return err ? err : (long)n;
}

static void test_streams(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(streams); i++) {
		const struct stream *s = &streams[i];
		long n;

		if (!s->text) {
			n = decode(s->bytes, s->slen, s->len);
			check(n == -EINVAL, "%s: %ld", s->what, n);
			continue;
		}
		for (size_t room = 0; room < s->len + 40; room++) {
			n = decode(s->bytes, s->slen, room);
			if (room < s->len)
				check(n == -EINVAL, "%s, room %zu: %ld", s->what, room, n);
			else
				check(n == (long)s->len && !memcmp(dst.end - room, s->text, s->len),
				      "%s, room %zu: %ld", s->what, room, n);
		}
		for (size_t cut = 0; cut < s->slen; cut++) {
			n = decode(s->bytes, cut, s->len);
			check(n == -EINVAL, "%s, %zu bytes of it: %ld", s->what, cut, n);
		}
	}
}

/* The tokens whose offset or length no short stream can hold. */
static void test_far_tokens(void)
{
	static u8 data[49152 + 2100], stream[sizeof(data) + 1000];
	static const struct {
		const char *what, *token;
		size_t token_len, at, off, len;
	} tokens[] = {
		{ "M1 of 3 from 2,049", S("\0\0"), 3000, 2049, 3 },
		{ "M1 of 3 from 3,072", S("\x0c\xff"), 4000, 3072, 3 },
		{ "M2 from 2,048", S("\x7c\xff"), 3000, 2048, 4 },
		{ "M3 from 16,384", S("\x3f\xfc\xff"), 17000, 16384, 33 },
		{ "M4 from 16,385", S("\x11\4\0"), 17000, 16385, 3 },
		{ "M4 from 49,150", S("\x1f\xf8\xff"), 49151, 49150, 9 },
		{ "M4, counted twice", S("\x10\0\1\4\0"), 17000, 16385, 265 },
	};

	/* no two neighbours alike: an offset that is wrong by one shows */
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = i * 2654435761u >> 13;
	for (size_t i = 0; i < ARRAY_SIZE(tokens); i++) {
		const size_t at = tokens[i].at, total = at + tokens[i].len;
		u8 *p = stream;
		size_t count = at - 18;
		long n;

		for (*p++ = 0; count > 255; count -= 255)
			*p++ = 0;
		*p++ = count;
		memcpy(p, data, at);
		p += at;
		memcpy(p, tokens[i].token, tokens[i].token_len);
		p += tokens[i].token_len;
		memcpy(p, END, 3);
		n = decode(stream, p + 3 - stream, total);
		check(n == (long)total, "%s: %ld", tokens[i].what, n);
		check(n != (long)total || (!memcmp(dst.end - total, data, at) &&
					   !memcmp(dst.end - tokens[i].len,
						   data + at - tokens[i].off, tokens[i].len)),
		      "%s: other bytes", tokens[i].what);
	}
}

/*
 * A count long enough to pass any room, over and over: must not overflow, must
 * not take long.
 */
static void test_long_count(void)
{
	static u8 stream[ROOM];

	stream[0] = 0;
	check(decode(stream, sizeof(stream), 4096) == -EINVAL, "only zeros");
	stream[0] = 0x15;
	stream[5] = 0x20;
	check(decode(stream, sizeof(stream), 4096) == -EINVAL, "a match of only zeros");
}

/* ---- encoding ---- */

static long encode(compress_t fn, const u8 *data, size_t n, size_t room)
{
	size_t made = room;
	int err;

	/* what an earlier call left there must not matter */
	memset(guarded_get(&work, LZO1X_1_MEM_COMPRESS), room & 0xff, LZO1X_1_MEM_COMPRESS);
	err = fn(put(&src, data, n), n, guarded_get(&dst, room), &made,
		 work.end - LZO1X_1_MEM_COMPRESS);
	check(err == 0 || (err == -EINVAL && made == room), "err %d, dlen %zu, room %zu", err, made,
	      room);
	check(err || made <= room, "%zu bytes in %zu", made, room);
	return err ? err : (long)made;
}

/*
 * Computed by hand from the rules: the first probe is at 5 and finds position
 * 0.
 */
static void test_bytes(void)
{
	static const u8 zeros[40];
	static const char plain[] = "\2\0\0\0\0\0"
				    "\x32\x10\0"
				    "\x0c\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0" END;
	static const char rle[] = "\x11\1"
				  "\2\0\0\0\0\0"
				  "\x1b\xfc\xff\1"
				  "\0\2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0" END;
	long n = encode(lzo1x_1_compress, zeros, sizeof(zeros), ROOM);

	check(n == sizeof(plain) - 1 && !memcmp(dst.end - ROOM, plain, n), "lzo: %ld", n);
	n = encode(lzorle1x_1_compress, zeros, sizeof(zeros), ROOM);
	check(n == sizeof(rle) - 1 && !memcmp(dst.end - ROOM, rle, n), "lzo-rle: %ld", n);
}

static void round_trip(compress_t fn, const u8 *data, size_t n, bool each_room)
{
	static u8 whole[ROOM];
	const long made = encode(fn, data, n, ROOM);
	size_t got = n;

	check(made > 0, "%zu bytes: %ld", n, made);
	if (made <= 0)
		return;
	memcpy(whole, dst.end - ROOM, made);
	check(encode(fn, data, n, made) == made && !memcmp(dst.end - made, whole, made),
	      "%zu into just %ld", n, made);
	for (long room = each_room ? 0 : made - 1; room < made; room++)
		check(encode(fn, data, n, room) == -EINVAL, "%zu bytes, %ld of %ld", n, room, made);
	check(!lzo1x_decompress_safe(put(&src, whole, made), made, guarded_get(&back, n), &got) &&
		      got == n && !memcmp(back.end - n, data, n),
	      "%zu bytes do not come back", n);
}

static void test_round_trips(void)
{
	static const size_t large[] = { 4096,  16384, 49151, 49152, 49153,
					49172, 49173, 49180, 65535, 65536 };
	static u8 data[MOST];

	for (size_t v = 0; v < ARRAY_SIZE(variants); v++) {
		for (size_t n = 0; n < 320; n++) {
			make_page(data, n, n);
			round_trip(variants[v], data, n, n % 16 < 3);
		}
		for (size_t i = 0; i < ARRAY_SIZE(large); i++) {
			for (unsigned int seed = 0; seed < 8; seed++) {
				make_page(data, large[i], seed);
				round_trip(variants[v], data, large[i], false);
			}
			memset(data, 0, large[i]);
			round_trip(variants[v], data, large[i], false);
		}
		make_page(data, 4096, 99);
		round_trip(variants[v], data, 4096, true);
	}
}

/*
 * Any one byte of a stream changed: decoded or refused, in bounds either way.
 */
static void test_damage(void)
{
	static u8 data[4096], whole[ROOM];
	size_t refused = 0;

	make_page(data, sizeof(data), 5);
	for (size_t v = 0; v < ARRAY_SIZE(variants); v++) {
		const long made = encode(variants[v], data, sizeof(data), ROOM);

		memcpy(whole, dst.end - ROOM, made);
		for (long i = 0; i < made; i++) {
			for (int bit = 0; bit < 8; bit++) {
				whole[i] ^= 1 << bit;
				refused += decode(whole, made, sizeof(data)) < 0;
				whole[i] ^= 1 << bit;
			}
		}
	}
	check(refused > 100, "only %zu refused", refused);
}

int main(void)
{
	guarded_init(&src, ROOM);
	guarded_init(&dst, ROOM);
	guarded_init(&back, MOST);
	guarded_init(&work, LZO1X_1_MEM_COMPRESS);
	test_streams();
	test_far_tokens();
	test_long_count();
	test_bytes();
	test_round_trips();
	test_damage();
	return failed ? 1 : 0;
}
