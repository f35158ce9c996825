/* SPDX-License-Identifier: GPL-2.0-or-later */
/* csrc/crypto/lz4.c alone. */
#include "crypto/lz4.h"

#define COMPRESS lz4_compress
#define WORK     LZ4_MEM_COMPRESS
#include "lz4_test.h"

int main(void)
{
	init_buffers();
	test_round_trips();
	test_bytes();
	test_search_limit();
	test_too_long();
	return failed ? 1 : 0;
}
