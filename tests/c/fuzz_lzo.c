/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libFuzzer target for csrc/crypto/lzo.c, input and output up against guard pages.
 *
 *   clang -std=gnu11 -O1 -g -fsanitize=fuzzer,address,undefined
 *   -fno-sanitize-recover=all -Icsrc \
 *         tests/c/fuzz_lzo.c csrc/crypto/lzo.c -o fuzz_lzo && ./fuzz_lzo -max_len=4096
 *         -runs=10000000
 *
 * The first byte of an input chooses: decode the rest as it is, into a room
 * that the next two bytes give; or compress the rest with either encoder and
 * decode it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "guarded.h"
#include "crypto/lzo.h"

#define MOST 65536
#define ROOM (MOST + MOST / 8 + 64)

typedef int (*compress_t)(const void *, size_t, void *, size_t *, void *);

static struct guarded src, dst, again, work;

static void must(int cond)
{
	if (!cond)
		abort();
}

static int decode(struct guarded *to, const uint8_t *stream, size_t slen, size_t room, size_t *n)
{
	uint8_t *p = guarded_get(&src, slen);
	int err;

	if (slen)
		memcpy(p, stream, slen);
	*n = room;
	err = lzo1x_decompress_safe(p, slen, guarded_get(to, room), n);
	must(err ? err == -EINVAL && *n == room : *n <= room);
	return err;
}

/*
 * What can be decoded needs just its own length, and gives the same whatever
 * the room is.
 */
static void any_stream(const uint8_t *stream, size_t slen, size_t room)
{
	size_t n, m;

	if (decode(&dst, stream, slen, room, &n))
		return;
	must(!decode(&again, stream, slen, n, &m) && m == n);
	must(!memcmp(dst.end - room, again.end - n, n));
	must(!n || decode(&again, stream, slen, n - 1, &m) == -EINVAL);
}

static int encode(compress_t fn, const uint8_t *data, size_t n, size_t room, size_t *made)
{
	uint8_t *p = guarded_get(&src, n);
	int err;

	if (n)
		memcpy(p, data, n);
	*made = room;
	err = fn(p, n, guarded_get(&dst, room), made, guarded_get(&work, LZO1X_1_MEM_COMPRESS));
	must(err ? err == -EINVAL && *made == room : *made <= room);
	return err;
}

static void any_page(compress_t fn, const uint8_t *data, size_t n)
{
	static uint8_t whole[ROOM];
	size_t made, got;

	must(!encode(fn, data, n, ROOM, &made));
	memcpy(whole, dst.end - ROOM, made);
	must(encode(fn, data, n, made - 1, &got) == -EINVAL);
	must(!encode(fn, data, n, made, &got) && got == made &&
	     !memcmp(dst.end - made, whole, made));
	must(!decode(&again, whole, made, n, &got) && got == n &&
	     (!n || !memcmp(again.end - n, data, n)));
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	guarded_init(&src, ROOM);
	guarded_init(&dst, ROOM);
	guarded_init(&again, ROOM);
	guarded_init(&work, LZO1X_1_MEM_COMPRESS);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 3 || size > MOST)
		return 0;
	switch (data[0] & 3) {
	case 0:
		any_page(lzo1x_1_compress, data + 1, size - 1);
		break;
	case 1:
		any_page(lzorle1x_1_compress, data + 1, size - 1);
		break;
	default:
		any_stream(data + 3, size - 3, (data[1] | data[2] << 8) % (MOST + 1));
	}
	return 0;
}
