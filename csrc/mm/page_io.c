// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * page_io.c - what mm/page_io.c does above zswap
 */
#include <string.h>

#include "lib/kernel.h"
#include "zswap.h"

/* The kernel's is_folio_zero_filled(). */
int zswap_is_zero(const void *p, size_t len)
{
	const u8 *bytes = p;

	/*
	 * The last byte first, as the kernel looks at the last word first: it
	 * tells most pages apart.
	 */
	return !len || (!bytes[len - 1] && !bytes[0] && !memcmp(bytes, bytes + 1, len - 1));
}
