/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * LZO1X as the kernel writes it: crypto's lzo and lzo-rle. No library gives the
 * same sizes.
 */
#ifndef ZSWAP_LZO_H
#define ZSWAP_LZO_H

#include <stddef.h>

/* Bytes of work memory, aligned to 2. Its content does not matter. */
#define LZO1X_1_MEM_COMPRESS (8192 * 2)

/*
 * Compress src[0..slen) as lzo and as lzo-rle. *dlen is the room at dst, and
 * becomes the bytes written; an error leaves it as it was. Return 0, or -EINVAL
 * if the output does not fit. They read and write nothing outside src[0..slen),
 * dst[0..room) and the work memory. src and dst must not overlap.
 */
int lzo1x_1_compress(const void *src, size_t slen, void *dst, size_t *dlen, void *wrkmem);
int lzorle1x_1_compress(const void *src, size_t slen, void *dst, size_t *dlen, void *wrkmem);

/*
 * Decompresses what either function above, or liblzo2, has written. Like them,
 * but -EINVAL also means that the stream is damaged.
 */
int lzo1x_decompress_safe(const void *src, size_t slen, void *dst, size_t *dlen);

#endif
