// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The accelerator's driver from C: each way to ask it, in real and in virtual time.
 */
#include "iaa_test.h"

#define ROOM	(2 * PAGE_SIZE)

/* ---- all goes well ---- */

static void round_trip(struct user *user, unsigned int size)
{
	static u8 page[1 << 16], back[1 << 16], compressed[1 << 17];
	unsigned int dlen = size + 64, blen = size;
	int ret;

	make_page(page, size, 1, 0);
	ret = user_run(user, true, page, size, compressed, &dlen);
	check(!ret && dlen, "%u bytes: %d", size, ret);
	ret = user_run(user, false, compressed, dlen, back, &blen);
	check(!ret && blen == size && !memcmp(page, back, size), "%u bytes of %u: %d", blen, size, ret);
}

static void batch_round_trip(struct user *user, unsigned int nr)
{
	static u8 pages[8][PAGE_SIZE], compressed[8][ROOM], back[8][PAGE_SIZE];
	struct batch b = { .nr = nr };
	int ret;

	for (unsigned int i = 0; i < nr; i++) {
		make_page(pages[i], PAGE_SIZE, i, 0);
		b.srcs[i] = pages[i];
		b.dsts[i] = compressed[i];
		b.errors[i] = 1;
	}
	ret = user_compress_batch(user, &b, PAGE_SIZE, PAGE_SIZE);
	check(!ret, "%d", ret);
	for (unsigned int i = 0; i < nr; i++) {
		check(!b.errors[i] && b.dlens[i] && b.dlens[i] < PAGE_SIZE, "page %u: %d", i, b.errors[i]);
		b.srcs[i] = compressed[i];
		b.dsts[i] = back[i];
		b.slens[i] = b.dlens[i];
		b.errors[i] = 1;
	}
	ret = user_decompress_batch(user, &b, PAGE_SIZE);
	check(!ret, "%d", ret);
	for (unsigned int i = 0; i < nr; i++) {
		check(!b.errors[i] && b.dlens[i] == PAGE_SIZE, "page %u: %d", i, b.errors[i]);
		check_page(back[i], PAGE_SIZE, i);
	}
}

static void round_trips(bool clock, enum iaa_sync_mode sync_mode, bool verify, bool shared)
{
	struct idxd_config config = default_device(8, 2);
	struct iaa_mode mode = default_mode();
	struct rig rig;
	struct user user;

	config.pasid = shared;
	config.wq[0].shared = shared;
	config.wq[0].threshold = 8;
	mode.sync_mode = sync_mode;
	mode.verify_compress = verify;
	rig_start_default(&rig, clock, &mode, 2, &config);
	user_init(&user, &rig);
	for (unsigned int size = 16; size <= 1 << 16; size *= 4)
		round_trip(&user, size);
	for (unsigned int nr = 1; nr <= 8; nr++)
		batch_round_trip(&user, nr);
	user_exit(&user);
	rig_end(&rig);
}

int main(void)
{
	alarm(300);
	for (unsigned int i = 0; i < 2 * 3 * 2 * 2; i++)
		round_trips(i % 2, i / 2 % 3, i / 6 % 2, i / 12);
	puts("test_iaa: all is well");
	return 0;
}
