/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * LZ4 as the kernel compresses it. Any LZ4 decodes it; liblz4 from 1.8.2 on
 * finds other matches at a block's end, and so has other sizes. Not named
 * lz4.h, which is liblz4's.
 */
#ifndef LZ4ENC_H
#define LZ4ENC_H

#include <stddef.h>

/* Bytes of work memory, aligned to 2; its content does not matter. */
#define LZ4_MEM_COMPRESS 16384

/* The longest input: positions are kept in 16 bits. */
#define LZ4_MAX_INPUT 65536

/*
 * *dlen: in, the room at dst; out, the bytes made (untouched on an error). 0,
 * or -EINVAL: the room would be passed, or slen > LZ4_MAX_INPUT. Nothing is
 * ever read or written outside src[0, slen) and dst[0, room). src and dst must
 * not overlap.
 */
int lz4_compress(const void *src, size_t slen, void *dst, size_t *dlen, void *wrkmem);

#endif
