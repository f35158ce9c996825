/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * LZ4HC as the kernel compresses it, at its level 9. Any LZ4 decoder reads the
 * result. liblz4's encoder finds other matches since 1.8.
 */
#ifndef ZSWAP_LZ4HC_H
#define ZSWAP_LZ4HC_H

#include <stddef.h>

/* The longest input: positions are kept in 16 bits. */
#define LZ4HC_MAX_INPUT 65536

/* Bytes of work memory, aligned to 2. Its content does not matter. */
#define LZ4HC_HASH_BITS    15
#define LZ4HC_MEM_COMPRESS (2 * ((1 << LZ4HC_HASH_BITS) + LZ4HC_MAX_INPUT))

/*
 * Compresses src[0..slen). *dlen is the room at dst, and becomes the bytes
 * written; an error leaves it as it was. Returns 0, or -EINVAL if the output
 * does not fit or slen > LZ4HC_MAX_INPUT. Reads and writes nothing outside
 * src[0..slen), dst[0..room) and the work memory. src and dst must not overlap.
 */
int lz4hc_compress(const void *src, size_t slen, void *dst, size_t *dlen, void *wrkmem);

#endif
