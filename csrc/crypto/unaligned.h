/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Eight bytes at a time, wherever they lie: what the encoders share. */
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
 * Which of eight bytes, in memory order, is the first that is not zero; v is
 * not 0.
 */
static inline unsigned int first_set_byte(u64 v)
{
	if (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__)
		return __builtin_clzll(v) >> 3;
	return __builtin_ctzll(v) >> 3;
}

#endif
