/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * LZ4 as the kernel compresses it. Any LZ4 decoder reads the result. liblz4
 * from 1.8.2 on finds other matches at a block's end, so its sizes differ.
 */
#ifndef ZSWAP_LZ4_H
#define ZSWAP_LZ4_H

#include <stddef.h>

/* Bytes of work memory, aligned to 2. Its content does not matter. */
#define LZ4_MEM_COMPRESS 16384

/* The longest input: positions are kept in 16 bits. */
#define LZ4_MAX_INPUT 65536

/*
 * Compresses src[0..slen). *dlen is the room at dst, and becomes the bytes
 * written; an error leaves it as it was. Returns 0, or -EINVAL if the output
 * does not fit or slen > LZ4_MAX_INPUT. Reads and writes nothing outside
 * src[0..slen), dst[0..room) and the work memory. src and dst must not overlap.
 */
int lz4_compress(const void *src, size_t slen, void *dst, size_t *dlen, void *wrkmem);

#endif
