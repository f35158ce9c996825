/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Eight bytes at a time, at any alignment: shared by the encoders. */
#ifndef ZSWAP_UNALIGNED_H
#define ZSWAP_UNALIGNED_H

#include <string.h>

#include "lib/kernel.h"

static inline u64 get64(const void *p)
{
	u64 v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/*
 * Returns the index, in memory order, of the first of eight bytes that is not
 * zero. v must not be 0.
 */
static inline unsigned int first_set_byte(u64 v)
{
	if (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__)
		return __builtin_clzll(v) >> 3;
	return __builtin_ctzll(v) >> 3;
}

#endif
