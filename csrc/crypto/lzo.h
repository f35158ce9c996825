/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * LZO1X as the kernel writes it: crypto's lzo and lzo-rle, whose sizes no
 * library gives.
 */
#ifndef LZO_H
#define LZO_H

#include <stddef.h>

/* Bytes of work memory, aligned to 2; its content does not matter. */
#define LZO1X_1_MEM_COMPRESS (8192 * 2)

/*
 * *dlen: in, the room at dst; out, the bytes made (untouched on an error). 0,
 * or -EINVAL: the room would be passed, or what is to be decoded is damaged.
 * Nothing is ever read or written outside src[0, slen) and dst[0, room). src
 * and dst must not overlap.
 */
int lzo1x_1_compress(const void *src, size_t slen, void *dst, size_t *dlen, void *wrkmem);
int lzorle1x_1_compress(const void *src, size_t slen, void *dst, size_t *dlen, void *wrkmem);

/* Reads what both have written, and what liblzo2 writes. */
int lzo1x_decompress_safe(const void *src, size_t slen, void *dst, size_t *dlen);

#endif
