// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The accelerator's driver from C, in real and in virtual time: every kind of
 * request, every answer of a device, planned or its own; and that an abandoned
 * descriptor never writes. Run it under AddressSanitizer and ThreadSanitizer.
 */
#include <sys/mman.h>
#include <time.h>

#include "iaa_test.h"

#define ROOM       (2 * PAGE_SIZE)
#define MAX_BATCH  IAA_CRYPTO_MAX_BATCH_SIZE
#define MS         1000000ull
#define TIMEOUT_NS (5 * MS) /* of tests that wait for a timeout */
#define UNTOUCHED  0xa5

/*
 * A page in which the first 'parts' times 200 bytes are random: the more, the
 * longer its stream.
 */
static void make_parts(u8 *page, unsigned int parts)
{
	u64 x = 88172645463325252u;

	for (unsigned int i = 0; i < PAGE_SIZE; i++)
		page[i] = i < parts * 200 ? next_random(&x) >> 32 : 0;
}

static u64 clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (u64)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static bool is_untouched(const u8 *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (p[i] != UNTOUCHED)
			return false;
	return true;
}

/* Reads all messages, and returns how many contain 'part'. */
static unsigned int messages(struct rig *rig, const char *part)
{
	char text[200];
	unsigned int nr = 0;

	while (iaa_next_message(rig->iaa, text, sizeof(text)))
		nr += strstr(text, part) != NULL;
	return nr;
}

static struct iaa_stats stats_of(struct rig *rig)
{
	struct iaa_stats stats;

	iaa_get_stats(rig->iaa, &stats);
	return stats;
}

static void check_stats(struct rig *rig, const struct iaa_stats *expected, const char *what)
{
	const struct iaa_stats stats = stats_of(rig);

	for (unsigned int i = 0; i < sizeof(stats) / sizeof(u64); i++)
		check(((const u64 *)&stats)[i] == ((const u64 *)expected)[i],
		      "%s: counter %u is %lu, not %lu", what, i, (long)((const u64 *)&stats)[i],
		      (long)((const u64 *)expected)[i]);
}

/* Pages and their streams, with a device and a user. */
struct bench {
	struct rig rig;
	struct user user;
	u8 pages[MAX_BATCH][PAGE_SIZE], streams[MAX_BATCH][ROOM], out[MAX_BATCH][ROOM];
	unsigned int slens[MAX_BATCH];
	struct batch batch;
};

static int run(struct bench *b, bool compress, unsigned int i, unsigned int *dlen)
{
	const void *src = compress ? b->pages[i] : b->streams[i];

	memset(b->out[i], UNTOUCHED, ROOM);
	*dlen = PAGE_SIZE;
	return user_run(&b->user, compress, src, compress ? PAGE_SIZE : b->slens[i], b->out[i],
			dlen);
}

static int run_batch(struct bench *b, bool compress, unsigned int nr)
{
	b->batch.nr = nr;
	for (unsigned int i = 0; i < nr; i++) {
		memset(b->out[i], UNTOUCHED, ROOM);
		b->batch.srcs[i] = compress ? b->pages[i] : b->streams[i];
		b->batch.slens[i] = b->slens[i];
		b->batch.dsts[i] = b->out[i];
		b->batch.errors[i] = 1;
		b->batch.dlens[i] = 77;
	}
	return compress ? user_compress_batch(&b->user, &b->batch, PAGE_SIZE, PAGE_SIZE) :
			  user_decompress_batch(&b->user, &b->batch, PAGE_SIZE);
}

/* A page that returned 0 is right, any other is untouched. */
static void check_result(struct bench *b, bool compress, unsigned int i, int ret, unsigned int dlen,
			 const char *what)
{
	const u8 *right = compress ? b->streams[i] : b->pages[i];
	unsigned int len = compress ? b->slens[i] : PAGE_SIZE;

	if (ret) {
		check(is_untouched(b->out[i], ROOM), "%s: page %u failed, but was written", what,
		      i);
		return;
	}
	check(dlen == len && !memcmp(b->out[i], right, len),
	      "%s: page %u has %u bytes, not %u, or others", what, i, dlen, len);
	check(is_untouched(b->out[i] + len, ROOM - len), "%s: page %u was written behind its end",
	      what, i);
}

static void bench_compress(struct bench *b, unsigned int i, unsigned int parts)
{
	unsigned int dlen;

	make_parts(b->pages[i], parts);
	check(!run(b, true, i, &dlen), "page %u", i);
	memcpy(b->streams[i], b->out[i], dlen);
	b->slens[i] = dlen;
}

/* Page i's stream is longer than that of page i + 1. */
static struct bench *bench_start(const struct idxd_profile *profile, bool clock,
				 const struct iaa_mode *mode, unsigned int devices,
				 const struct idxd_config *config)
{
	struct bench *b = calloc(1, sizeof(*b));
	unsigned int wqs[IAA_MAX_DEVICES];

	check(b, "calloc");
	rig_start(&b->rig, profile, clock, mode);
	for (unsigned int i = 0; i < devices; i++) {
		rig_add_device(&b->rig, config);
		wqs[i] = i << 8;
	}
	rig_tables(&b->rig, devices, wqs);
	user_init(&b->user, &b->rig);
	for (unsigned int i = 0; i < MAX_BATCH; i++)
		bench_compress(b, i, MAX_BATCH - i);
	iaa_stats_reset(b->rig.iaa);
	return b;
}

static void bench_end(struct bench *b)
{
	user_exit(&b->user);
	rig_end(&b->rig);
	free(b);
}

/*
 * For any device and queue, and where it says nothing else for any opcode, and
 * the first descriptor.
 */
static void bench_plan(struct bench *b, struct idxd_fault fault)
{
	struct idxd_fault faults[2];

	if (!fault.nth)
		fault.nth = fault.times = 1;
	fault.device = fault.wq = -1;
	if (!fault.opcode)
		fault.opcode = -1;
	faults[0] = faults[1] = fault;
	/* a descriptor that takes its device away must not be done before */
	faults[1].kind = IDXD_FAULT_NO_ANSWER;
	rig_plan(&b->rig, faults, fault.kind == IDXD_FAULT_REMOVE ? 2 : 1);
}

/* ---- without a fault ---- */

static void round_trip(struct user *user, unsigned int size)
{
	static u8 page[1 << 16], back[1 << 16], compressed[1 << 17];
	unsigned int dlen = size + 64, blen = size;
	int ret;

	make_page(page, size, 1, 0);
	ret = user_run(user, true, page, size, compressed, &dlen);
	check(!ret && dlen, "%u bytes: %d", size, ret);
	ret = user_run(user, false, compressed, dlen, back, &blen);
	check(!ret && blen == size && !memcmp(page, back, size), "%u bytes of %u: %d", blen, size,
	      ret);
}

static void round_trips(bool clock, enum iaa_sync_mode sync_mode, bool verify, bool shared)
{
	const struct idxd_profile profile = default_profile();
	struct idxd_config config = default_device(8, 2);
	struct iaa_mode mode = default_mode();
	struct bench *b;

	config.pasid = shared;
	config.wq[0].shared = shared;
	config.wq[0].threshold = 8;
	mode.sync_mode = sync_mode;
	mode.verify_compress = verify;
	b = bench_start(&profile, clock, &mode, 2, &config);
	for (unsigned int size = 16; size <= 1 << 16; size *= 4)
		round_trip(&b->user, size);
	for (unsigned int nr = 1; nr <= MAX_BATCH; nr++) {
		for (int compress = 0; compress < 2; compress++) {
			check(!run_batch(b, compress, nr), "a batch of %u", nr);
			for (unsigned int i = 0; i < nr; i++) {
				check(!b->batch.errors[i], "page %u of %u: %d", i, nr,
				      b->batch.errors[i]);
				check_result(b, compress, i, 0, b->batch.dlens[i], "batch");
			}
		}
	}
	bench_end(b);
}

/* ---- faults, row by row ---- */

struct row {
	const char *what;
	bool compress;
	struct idxd_fault fault;
	int ret; /* the driver's error, before software decompresses */
	unsigned int einval, timeout, overflow; /* expected counters */
	bool disables, refused;                 /* the driver; the submission */
};

#define COMPRESS     .compress = true
#define DECOMPRESS   .compress = false
#define STATUS(s, e) .fault = { .kind = IDXD_FAULT_STATUS, .status = (s), .error_code = (e) }
#define EINVAL_ROWS(s, e)                                            \
	{ #s "/" #e, COMPRESS, STATUS(s, e), -EINVAL, .einval = 1 }, \
		{ #s "/" #e, DECOMPRESS, STATUS(s, e), -EINVAL, .einval = 1 }

static const struct row rows[] = {
	{ "watchdog", COMPRESS, STATUS(0x24, 0), -ETIMEDOUT, .timeout = 1 },
	{ "watchdog", DECOMPRESS, STATUS(0x24, 0), -ETIMEDOUT, .timeout = 1 },
	{ "0x0a/0x19", COMPRESS, STATUS(0x0a, 0x19), -E2BIG, .overflow = 1 },
	{ "0x0a/0x18", COMPRESS, STATUS(0x0a, 0x18), -EINVAL, .einval = 1 },
	{ "0x0a/0x19", DECOMPRESS, STATUS(0x0a, 0x19), -EINVAL, .einval = 1 },
	{ "0x0a/0x03", DECOMPRESS, STATUS(0x0a, 0x03), -EINVAL, .einval = 1 },
	{ "0x0b", COMPRESS, STATUS(0x0b, 0), -EOVERFLOW },
	{ "0x0b", DECOMPRESS, STATUS(0x0b, 0), -EOVERFLOW },
	EINVAL_ROWS(0x10, 0),
	EINVAL_ROWS(0x11, 0),
	EINVAL_ROWS(0x04, 0),
	EINVAL_ROWS(0x13, 0),
	EINVAL_ROWS(0x10, 0x19),
	{ "no answer", COMPRESS, .fault = { .kind = IDXD_FAULT_NO_ANSWER }, .ret = -ETIMEDOUT,
	  .disables = true },
	{ "no answer", DECOMPRESS, .fault = { .kind = IDXD_FAULT_NO_ANSWER }, .ret = -ETIMEDOUT,
	  .disables = true },
	{ "a late answer", COMPRESS, .fault = { .kind = IDXD_FAULT_DELAY, .ns = 4 * TIMEOUT_NS },
	  .ret = -ETIMEDOUT, .disables = true },
	{ "a late answer", DECOMPRESS, .fault = { .kind = IDXD_FAULT_DELAY, .ns = 4 * TIMEOUT_NS },
	  .ret = -ETIMEDOUT, .disables = true },
	{ "queue full", COMPRESS, .fault = { .kind = IDXD_FAULT_QUEUE_FULL }, .ret = -ENODEV,
	  .refused = true },
	{ "queue full", DECOMPRESS, .fault = { .kind = IDXD_FAULT_QUEUE_FULL }, .ret = -ENODEV,
	  .refused = true },
	{ "removed", COMPRESS, .fault = { .kind = IDXD_FAULT_REMOVE }, .ret = -EIO },
	{ "removed", DECOMPRESS, .fault = { .kind = IDXD_FAULT_REMOVE }, .ret = -EIO },
};

static bool is_status(const struct row *row, unsigned int status)
{
	return row->fault.kind == IDXD_FAULT_STATUS && row->fault.status == status;
}

/*
 * Software decompresses after any failure (v10), or after an analytics error
 * alone; of a batch only pages that were not submitted.
 */
static bool software_helps(const struct row *row, bool any_failure, bool batch)
{
	if (row->compress)
		return false;
	return any_failure ? !batch || row->refused : !batch && is_status(row, 0x0a);
}

static struct bench *row_start(const struct row *row, bool clock, enum iaa_sync_mode sync_mode,
			       bool any_failure, bool shared, u64 nth)
{
	struct idxd_profile profile = default_profile();
	struct idxd_config config = default_device(8, 2);
	struct iaa_mode mode = default_mode();
	struct idxd_fault fault = row->fault;
	struct bench *b;

	profile.timeout_ns = fault.kind == IDXD_FAULT_REMOVE ? 10000 * MS : TIMEOUT_NS;
	config.pasid = shared;
	config.wq[0].shared = shared;
	config.wq[0].threshold = 8;
	mode.sync_mode = sync_mode;
	mode.any_failure = any_failure;
	mode.comp_tries = mode.decomp_tries = 5;
	b = bench_start(&profile, clock, &mode, 1, &config);
	fault.nth = nth;
	fault.times = 1;
	if (fault.kind != IDXD_FAULT_QUEUE_FULL)
		fault.opcode = row->compress ? IAX_OPCODE_COMPRESS : IAX_OPCODE_DECOMPRESS;
	bench_plan(b, fault);
	return b;
}

static void count(struct iaa_stats *stats, const struct bench *b, bool compress, unsigned int i)
{
	if (compress) {
		stats->total_comp_calls++;
		stats->total_comp_bytes_out += b->slens[i];
	} else {
		stats->total_decomp_calls++;
		stats->total_decomp_bytes_in += b->slens[i];
	}
}

static void count_failure(struct iaa_stats *stats, const struct row *row, bool software)
{
	if (!row->refused)
		*(row->compress ? &stats->total_comp_calls : &stats->total_decomp_calls) += 1;
	stats->total_sw_decomp_calls += software;
	stats->total_completion_einval_errors += row->einval;
	stats->total_completion_timeout_errors += row->timeout;
	stats->total_completion_comp_buf_overflow_errors += row->overflow;
}

/* Checks counters, messages, the driver's state and the device's. */
static void check_traces(struct bench *b, const struct row *row, const struct iaa_stats *stats,
			 const char *what)
{
	struct iaa_wq_stats wq;
	char text[32];

	check_stats(&b->rig, stats, what);
	iaa_get_wq_stats(b->rig.iaa, 0, 0, &wq);
	check(wq.comp_calls == stats->total_comp_calls &&
		      wq.comp_bytes == stats->total_comp_bytes_out &&
		      wq.decomp_calls == stats->total_decomp_calls &&
		      wq.decomp_bytes == stats->total_decomp_bytes_in &&
		      wq.comp_buf_overflows == stats->total_completion_comp_buf_overflow_errors,
	      "%s: the queue's counters", what);
	check(iaa_plan_hits(b->rig.iaa, 0) == 1, "%s: %lu hits", what,
	      (long)iaa_plan_hits(b->rig.iaa, 0));
	check(iaa_enabled(b->rig.iaa) == !row->disables, "%s: enabled", what);
	check(iaa_device_state(b->rig.iaa, 0) ==
		      (row->fault.kind == IDXD_FAULT_REMOVE ? IDXD_DEV_REMOVED : IDXD_DEV_ENABLED),
	      "%s", what);
	snprintf(text, sizeof(text), "status=0x%x,", row->fault.status);
	check(messages(&b->rig, row->disables ? "iaa_crypto now DISABLED" : text) ==
		      row->einval + row->disables,
	      "%s: the messages", what);
}

/*
 * A page well, one that fails, one after it, and one when all is in order
 * again.
 */
static void fail_page(const struct row *row, bool clock, enum iaa_sync_mode sync_mode,
		      bool any_failure, bool shared)
{
	struct bench *b = row_start(row, clock, sync_mode, any_failure, shared, 2);
	bool software = software_helps(row, any_failure, false),
	     removed = row->fault.kind == IDXD_FAULT_REMOVE;
	struct iaa_stats stats = { 0 };
	unsigned int dlen;
	int ret, expected = software ? 0 : row->ret;
	char what[100];

	snprintf(what, sizeof(what), "%s, %s, clock %d, sync mode %d, any failure %d, shared %d",
		 row->what, row->compress ? "compress" : "decompress", clock, sync_mode,
		 any_failure, shared);
	if (sync_mode == IAA_ASYNC_IRQ && expected && !row->refused)
		expected = -EIO;
	ret = run(b, row->compress, 0, &dlen);
	check(!ret, "%s: %d", what, ret);
	check_result(b, row->compress, 0, ret, dlen, what);
	count(&stats, b, row->compress, 0);

	ret = run(b, row->compress, 1, &dlen);
	check(ret == expected, "%s: %d, not %d", what, ret, expected);
	check_result(b, row->compress, 1, ret, dlen, what);
	count_failure(&stats, row, software);
	check_traces(b, row, &stats, what);

	ret = run(b, row->compress, 2, &dlen);
	expected = 0;
	if (row->disables)
		expected = -ENODEV;
	else if (removed && (row->compress || !any_failure))
		expected = -EIO;
	check(ret == expected, "%s: the next: %d, not %d", what, ret, expected);
	check_result(b, row->compress, 2, ret, dlen, what);
	stats.total_no_wq_errors += removed || row->disables;
	if (removed)
		stats.total_sw_decomp_calls += !expected;
	else if (!expected)
		count(&stats, b, row->compress, 2);

	iaa_set_enabled(b->rig.iaa, true);
	iaa_device_set_state(b->rig.iaa, 0, IDXD_DEV_ENABLED);
	ret = run(b, row->compress, 3, &dlen);
	check(!ret, "%s: the last: %d", what, ret);
	check_result(b, row->compress, 3, ret, dlen, what);
	count(&stats, b, row->compress, 3);
	check_stats(&b->rig, &stats, what);
	bench_end(b);
}

/*
 * The third of eight fails, which is the third to be submitted, since the
 * longer ones come first.
 */
static void fail_in_batch(const struct row *row, bool clock, enum iaa_sync_mode sync_mode,
			  bool any_failure, bool shared)
{
	struct bench *b = row_start(row, clock, sync_mode, any_failure, shared, 3);
	bool software = software_helps(row, any_failure, true),
	     removed = row->fault.kind == IDXD_FAULT_REMOVE, failed = false;
	struct iaa_stats stats = { 0 };
	char what[100];
	int ret;

	snprintf(what, sizeof(what),
		 "a batch: %s, %s, clock %d, sync mode %d, any failure %d, shared %d", row->what,
		 row->compress ? "compress" : "decompress", clock, sync_mode, any_failure, shared);
	ret = run_batch(b, row->compress, MAX_BATCH);
	for (unsigned int i = 0; i < MAX_BATCH; i++) {
		int error = b->batch.errors[i], expected = i != 2 || software ? 0 : row->ret;

		if (removed && i < 2 && !clock)
			expected = error == -EIO ? -EIO : 0; /* in time, or not */
		else if (removed)
			expected = i < 3 || row->compress || !any_failure ? -EIO : 0;
		check(error == expected, "%s: page %u: %d, not %d", what, i, error, expected);
		check(!error || !b->batch.dlens[i], "%s: page %u: %u bytes", what, i,
		      b->batch.dlens[i]);
		check_result(b, row->compress, i, error, b->batch.dlens[i], what);
		failed |= error != 0;
		if (i == 2)
			count_failure(&stats, row, software);
		else if (!removed || (i < 2 && !error))
			count(&stats, b, row->compress, i);
		else if (i < 2)
			*(row->compress ? &stats.total_comp_calls : &stats.total_decomp_calls) += 1;
		else
			stats.total_sw_decomp_calls += !error;
		stats.total_no_wq_errors += removed && i > 2;
	}
	check(ret == (failed ? -EINVAL : 0), "%s: %d", what, ret);
	check_traces(b, row, &stats, what);

	ret = run_batch(b, row->compress, MAX_BATCH);
	for (unsigned int i = 0; i < MAX_BATCH && row->disables; i++)
		check(ret == -EINVAL && b->batch.errors[i] == -ENODEV,
		      "%s: page %u of the next: %d", what, i, b->batch.errors[i]);
	iaa_set_enabled(b->rig.iaa, true);
	iaa_device_set_state(b->rig.iaa, 0, IDXD_DEV_ENABLED);
	/* the engine may still have the abandoned descriptor */
	while (!iaa_wq_drain(b->rig.iaa, 0, 0))
		;
	ret = run_batch(b, row->compress, MAX_BATCH);
	for (unsigned int i = 0; i < MAX_BATCH; i++) {
		check(!ret && !b->batch.errors[i], "%s: page %u of the last: %d", what, i,
		      b->batch.errors[i]);
		check_result(b, row->compress, i, 0, b->batch.dlens[i], what);
	}
	bench_end(b);
}

static void test_rows(void)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(rows); i++) {
		for (unsigned int how = 0; how < 2 * 3 * 2; how++) {
			bool clock = how % 2, any_failure = how / 6, shared = (i + how) % 2;

			fail_page(&rows[i], clock, how / 2 % 3, any_failure, shared);
			fail_in_batch(&rows[i], clock, how / 2 % 3, any_failure, shared);
		}
	}
}

/* ---- errors that the device finds ---- */

static void test_findings(bool clock, bool any_failure)
{
	const struct idxd_profile profile = default_profile();
	const struct idxd_config config = default_device(8, 2);
	struct iaa_mode mode = default_mode();
	struct iaa_stats stats = { 0 };
	struct bench *b;
	unsigned int dlen, sw = any_failure;
	u8 random[PAGE_SIZE], *none = NULL;
	u64 x = 1;
	int ret;

	mode.any_failure = any_failure;
	b = bench_start(&profile, clock, &mode, 1, &config);
	for (unsigned int i = 0; i < PAGE_SIZE; i++)
		random[i] = next_random(&x) >> 32;

	/* a page that does not shrink */
	memset(b->out[0], UNTOUCHED, ROOM);
	dlen = PAGE_SIZE;
	ret = user_run(&b->user, true, random, PAGE_SIZE, b->out[0], &dlen);
	check(ret == -E2BIG, "random: %d", ret);
	check(is_untouched(b->out[0], ROOM), "random: written");
	stats.total_comp_calls++;
	stats.total_completion_comp_buf_overflow_errors++;
	check_stats(&b->rig, &stats, "random");

	/* a bad stream: in either mode software tries, and fails too */
	memset(b->out[0], 0xff, PAGE_SIZE);
	dlen = PAGE_SIZE;
	ret = user_run(&b->user, false, b->out[0], 100, b->out[1], &dlen);
	check(ret == -EINVAL, "no stream: %d", ret);
	check(messages(&b->rig, "status=0xa, error=0xb") == 1, "no stream: its message");
	stats.total_decomp_calls++;
	stats.total_completion_einval_errors++;
	stats.total_sw_decomp_calls++;
	check_stats(&b->rig, &stats, "no stream");

	/* more than there is room for */
	memset(b->out[0], UNTOUCHED, ROOM);
	dlen = PAGE_SIZE - 1;
	ret = user_run(&b->user, false, b->streams[0], b->slens[0], b->out[0], &dlen);
	check(ret == (any_failure ? -EINVAL : -EOVERFLOW), "no room: %d", ret);
	check(is_untouched(b->out[0] + PAGE_SIZE - 1, ROOM - PAGE_SIZE + 1),
	      "no room: written behind it");
	stats.total_decomp_calls++;
	stats.total_sw_decomp_calls += sw;
	check_stats(&b->rig, &stats, "no room");

	/* a request that gets no descriptor */
	dlen = PAGE_SIZE;
	check(user_run(&b->user, true, NULL, PAGE_SIZE, b->out[0], &dlen) == -EINVAL, "no src");
	check(user_run(&b->user, true, random, 0, b->out[0], &dlen) == -EINVAL, "no slen");
	check(user_run(&b->user, false, NULL, PAGE_SIZE, b->out[0], &dlen) == -EINVAL, "no src");
	check_stats(&b->rig, &stats, "nothing");

	/* and a descriptor that the device rejects */
	dlen = PAGE_SIZE;
	check(user_run(&b->user, true, b->pages[0], PAGE_SIZE, none, &dlen) == -EINVAL, "no dst");
	check(messages(&b->rig, "status=0x4") == 1, "no dst: its message");
	dlen = 1 << 18;
	check(user_run(&b->user, true, b->pages[0], PAGE_SIZE, b->out[0], &dlen) == -EINVAL,
	      "much room");
	check(messages(&b->rig, "status=0x13") == 1, "much room: its message");
	stats.total_comp_calls += 2;
	stats.total_completion_einval_errors += 2;
	check_stats(&b->rig, &stats, "refused");
	bench_end(b);
}

/* ---- verify ---- */

static void test_verify(bool clock, enum iaa_sync_mode sync_mode)
{
	const struct idxd_profile profile = default_profile();
	const struct idxd_config config = default_device(4, 2);
	const struct idxd_fault each = { .kind = IDXD_FAULT_DELAY, .nth = 1, .times = 0 };
	const struct idxd_fault verify = { .kind = IDXD_FAULT_STATUS,
					   .status = 0x0a,
					   .opcode = IAX_OPCODE_DECOMPRESS,
					   .nth = 2,
					   .times = 1 };
	struct idxd_fault crc = { .kind = IDXD_FAULT_CRC, .nth = 2, .times = 1 };
	int einval = sync_mode == IAA_ASYNC_IRQ ? -EIO : -EINVAL;
	struct iaa_mode mode = default_mode();
	struct bench *b;
	unsigned int dlen;

	mode.verify_compress = true;
	mode.sync_mode = sync_mode;
	b = bench_start(&profile, clock, &mode, 1, &config);
	bench_plan(b, each);
	check(!run(b, true, 0, &dlen) && !run(b, false, 0, &dlen), "there and back");
	check(iaa_plan_hits(b->rig.iaa, 0) == 3, "%lu descriptors",
	      (long)iaa_plan_hits(b->rig.iaa, 0));
	check(stats_of(&b->rig).total_decomp_calls == 1, "a verification is no call");
	run_batch(b, true, 4);
	check(iaa_plan_hits(b->rig.iaa, 0) == 3 + 8, "%lu descriptors",
	      (long)iaa_plan_hits(b->rig.iaa, 0));

	/* one of the two, or both; of the first page, or the second */
	for (crc.times = 0; crc.times < 2; crc.times++) {
		for (int opcode = 0; opcode < 3; opcode++) {
			crc.nth = opcode ? 2 : 3;
			crc.opcode = opcode ? IAX_OPCODE_DECOMPRESS + opcode - 1 : 0;
			bench_plan(b, crc);
			check(!run(b, true, 0, &dlen), "opcode %d: the first", opcode);
			check(run(b, true, 1, &dlen) == einval, "opcode %d: the second", opcode);
			check(run(b, true, 2, &dlen) == (crc.times ? 0 : einval),
			      "opcode %d: the third", opcode);
		}
	}
	check(!stats_of(&b->rig).total_completion_einval_errors, "a crc is no completion's");

	bench_plan(b, verify);
	check(!run(b, true, 0, &dlen), "the first");
	check(run(b, true, 1, &dlen) == einval, "the second");
	check(stats_of(&b->rig).total_completion_einval_errors == 1, "an answer that is none");
	bench_plan(b, verify);
	check(run_batch(b, true, 4) == -EINVAL && !b->batch.errors[0] &&
		      b->batch.errors[1] == -EINVAL && !b->batch.errors[2],
	      "%d", b->batch.errors[1]);
	bench_end(b);
}

/*
 * More users than the queue has descriptors, waiting without limit: each must
 * get one.
 */
static void *verify_each(void *arg)
{
	struct rig *rig = arg;
	u8 page[PAGE_SIZE], out[PAGE_SIZE];
	struct user user;

	user_init(&user, rig);
	make_parts(page, 3);
	for (int i = 0; i < 50; i++) {
		unsigned int dlen = PAGE_SIZE;
		int ret = user_run(&user, true, page, PAGE_SIZE, out, &dlen);

		check(!ret, "%d", ret);
	}
	user_exit(&user);
	return NULL;
}

static void test_verify_few(bool clock, enum iaa_sync_mode sync_mode)
{
	const struct idxd_config config = default_device(2, 2);
	struct iaa_mode mode = { .sync_mode = sync_mode, .verify_compress = true }; /* mainline's */
	pthread_t threads[5];
	struct rig rig;

	rig_start_default(&rig, clock, &mode, 1, &config);
	for (unsigned int i = 0; i < ARRAY_SIZE(threads); i++)
		check(!pthread_create(&threads[i], NULL, verify_each, &rig), "pthread_create");
	for (unsigned int i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_join(threads[i], NULL);
	rig_end(&rig);
}

/* ---- no call waits for ever ---- */

/*
 * The only engine is held by the descriptor that the batch submitted first and
 * waits for last, or a verification waits behind it.
 */
static void held_batch(bool compress, bool verify)
{
	struct idxd_profile profile = default_profile();
	const struct idxd_config config = default_device(16, 1);
	struct idxd_fault fault = { .kind = IDXD_FAULT_NO_ANSWER,
				    .nth = compress ? 8 : 1,
				    .times = 1 };
	struct iaa_mode mode = default_mode();
	struct bench *b;

	profile.timeout_ns = TIMEOUT_NS;
	mode.verify_compress = verify;
	b = bench_start(&profile, false, &mode, 1, &config);
	for (unsigned int i = 0; i < MAX_BATCH; i++)
		bench_compress(b, i, 1 + i);
	bench_plan(b, fault);
	check(run_batch(b, compress, MAX_BATCH) == -EINVAL, "it has a failure");
	for (unsigned int i = 0; i < MAX_BATCH; i++)
		check(b->batch.errors[i] == (i == MAX_BATCH - 1 ? -ETIMEDOUT : 0), "page %u: %d", i,
		      b->batch.errors[i]);
	check(!iaa_enabled(b->rig.iaa), "a timeout disables");
	bench_end(b);
}

/* ---- an abandoned descriptor never writes ---- */

enum end { FREED, NO_ACCESS, WATCHED, NR_ENDS };

/* A request, and its memory's fate as soon as the call has returned. */
struct given_up {
	struct bench *b;
	bool compress;
	enum end end;
	u8 *src, *dst;
	pthread_t thread;
	int ret;
};

static void *get_memory(enum end end)
{
	void *p = end == NO_ACCESS ? mmap(NULL, ROOM, PROT_READ | PROT_WRITE,
					  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) :
				     malloc(ROOM);

	check(p && p != MAP_FAILED, "no memory");
	return p;
}

static void *give_up_one(void *arg)
{
	struct given_up *g = arg;
	unsigned int slen = g->compress ? PAGE_SIZE : g->b->slens[0], dlen = PAGE_SIZE;

	g->src = get_memory(g->end);
	g->dst = get_memory(g->end);
	memcpy(g->src, g->compress ? g->b->pages[0] : g->b->streams[0], slen);
	memset(g->dst, UNTOUCHED, ROOM);
	g->ret = user_run(&g->b->user, g->compress, g->src, slen, g->dst, &dlen);
	if (g->end == FREED) {
		free(g->src);
		free(g->dst);
	} else if (g->end == NO_ACCESS) {
		check(!mprotect(g->src, ROOM, PROT_NONE) && !mprotect(g->dst, ROOM, PROT_NONE),
		      "mprotect");
	}
	return NULL;
}

static void look_at_memory(struct given_up *g)
{
	if (g->end == NO_ACCESS) {
		check(!mprotect(g->dst, ROOM, PROT_READ) && is_untouched(g->dst, ROOM),
		      "it was written");
		munmap(g->src, ROOM);
		munmap(g->dst, ROOM);
	} else if (g->end == WATCHED) {
		check(is_untouched(g->dst, ROOM), "it was written");
		free(g->src);
		free(g->dst);
	}
}

/*
 * Engines are held for much longer than the timeout. When they go on, the
 * owners' memory is gone.
 */
static void test_given_up(enum iaa_sync_mode sync_mode, bool removal)
{
	struct idxd_profile profile = default_profile();
	const struct idxd_config config = default_device(16, 8);
	const struct idxd_fault fault = {
		.kind = IDXD_FAULT_DELAY, .ns = 2000 * MS, .nth = 1, .times = 2 * NR_ENDS
	};
	struct iaa_mode mode = default_mode();
	struct given_up g[2 * NR_ENDS];
	struct bench *b;
	unsigned int dlen;
	int expected = removal || sync_mode == IAA_ASYNC_IRQ ? -EIO : -ETIMEDOUT;
	u64 start;

	mode.sync_mode = sync_mode;
	mode.any_failure = false;
	profile.timeout_ns = removal ? 100000 * MS : TIMEOUT_NS;
	b = bench_start(&profile, false, &mode, 1, &config);
	bench_plan(b, fault);
	start = clock_ns(CLOCK_MONOTONIC);
	for (unsigned int i = 0; i < ARRAY_SIZE(g); i++) {
		g[i] = (struct given_up){ .b = b, .compress = i / NR_ENDS, .end = i % NR_ENDS };
		check(!pthread_create(&g[i].thread, NULL, give_up_one, &g[i]), "pthread_create");
		while (removal && iaa_plan_hits(b->rig.iaa, 0) == i)
			usleep(1000);
		if (removal) {
			usleep(5000); /* for the engine to have fetched it */
			iaa_device_set_state(b->rig.iaa, 0, IDXD_DEV_REMOVED);
		}
		pthread_join(g[i].thread, NULL);
		check(g[i].ret == expected, "%u: %d", i, g[i].ret);
		iaa_device_set_state(b->rig.iaa, 0, IDXD_DEV_ENABLED);
		iaa_set_enabled(b->rig.iaa, true);
	}
	check(!run(b, true, 1, &dlen), "two engines are free");
	check(clock_ns(CLOCK_MONOTONIC) - start < fault.ns,
	      "the calls took as long as the engines");
	check(!iaa_wq_drain(b->rig.iaa, 0, 0), "the engines have ended already");
	while (!iaa_wq_drain(b->rig.iaa, 0, 0))
		;
	check(clock_ns(CLOCK_MONOTONIC) - start >= fault.ns, "the engines had ended by then");
	for (unsigned int i = 0; i < ARRAY_SIZE(g); i++)
		look_at_memory(&g[i]);
	check(!run_batch(b, true, MAX_BATCH), "all are free");
	bench_end(b);
}

/* ---- full queues ---- */

static u64 now(struct bench *b)
{
	return b->rig.clock ? vclock_now(b->rig.clock) : 0;
}

/* In virtual time it is that long ago. */
static void check_took(struct bench *b, u64 since, u64 ns, const char *what)
{
	check(!b->rig.clock || now(b) - since == ns, "%s: %lu ns, not %lu", what,
	      (long)(now(b) - since), (long)ns);
}

/*
 * A batch frees its descriptors only with its answers: a queue of four is too
 * small for eight.
 */
static void test_dedicated_is_full(bool clock, bool any_failure)
{
	const struct idxd_profile profile = default_profile();
	const struct idxd_config config = default_device(4, 2);
	struct iaa_mode mode = default_mode();
	struct iaa_stats stats = { 0 };
	struct bench *b;

	mode.any_failure = any_failure;
	mode.comp_tries = 10;
	mode.decomp_tries = 4;
	b = bench_start(&profile, clock, &mode, 1, &config);
	for (int compress = 0; compress < 2; compress++) {
		int expected = compress || !any_failure ? -ENODEV : 0;
		u64 start = now(b);

		check(run_batch(b, compress, MAX_BATCH) == (expected ? -EINVAL : 0), "the batch");
		for (unsigned int i = 0; i < MAX_BATCH; i++) {
			check(b->batch.errors[i] == (i < 4 ? 0 : expected), "page %u: %d", i,
			      b->batch.errors[i]);
			check_result(b, compress, i, b->batch.errors[i], b->batch.dlens[i], "full");
			if (i < 4)
				count(&stats, b, compress, i);
			else
				stats.total_sw_decomp_calls += !expected;
		}
		check_stats(&b->rig, &stats, "full");
		/*
		 * two engines, two pages each; the second began when the
		 * bandwidth was free
		 */
		if (compress)
			check_took(b, start, 300 + 1000 + 2 * 3000, "compress");
		else if (!any_failure)
			check_took(b, start, 300 + 1000 + 2 * 2000, "decompress");
		/*
		 * the CPU is the slowest: three pauses between four tries, then
		 * it does the work
		 */
		else
			check_took(b, start, 8 * 300 + 4 * (3 * 50 + 9000), "software");
	}
	bench_end(b);
}

/*
 * One page is in the engine and two are in the queue, of eight entries but with
 * a threshold.
 */
static void test_shared_is_full(bool clock, unsigned int retries)
{
	const struct idxd_fault full = { .kind = IDXD_FAULT_QUEUE_FULL };
	static const bool patient[MAX_BATCH] = { 1, 1, 1, 0, 1, 0, 1, 0 },
			  hasty[MAX_BATCH] = { 1, 1, 1 };
	/* on a busy host each retry lets other threads run */
	const struct idxd_fault held = {
		.kind = IDXD_FAULT_DELAY, .ns = retries ? 2000 * MS : 200 * MS, .nth = 1, .times = 1
	};
	struct idxd_profile profile = default_profile();
	struct idxd_config config = default_device(8, 1);
	const struct iaa_mode mode = default_mode();
	unsigned int done = 0, dlen;
	struct bench *b;
	u64 start;

	config.pasid = true;
	config.wq[0].shared = true;
	config.wq[0].threshold = 2;
	config.wq[0].enqcmds_retries = retries;
	profile.timeout_ns = 100000 * MS;
	b = bench_start(&profile, clock, &mode, 1, &config);
	if (!clock)
		bench_plan(b, held);
	start = now(b);
	check(run_batch(b, true, MAX_BATCH) == -EINVAL, "the batch");
	for (unsigned int i = 0; i < MAX_BATCH; i++) {
		int error = b->batch.errors[i];

		check(!error || error == -ENODEV, "page %u: %d", i, error);
		check_result(b, true, i, error, b->batch.dlens[i], "shared");
		check(!clock || !error == (retries ? patient : hasty)[i], "page %u: %d", i, error);
		done += !error;
	}
	/*
	 * while 32 tries are made, 50 ns apart, now and then the engine takes
	 * the next, each 3000 ns
	 */
	check_took(b, start, 300 + (retries ? 5 : 3) * 3000, "shared");
	/* the engine has taken the first by the third, or not */
	check(clock || done == 2 || done == 3, "%u pages", done);

	bench_plan(b, full);
	start = now(b);
	check(run(b, true, 0, &dlen) == -ENODEV, "the queue says that it is full");
	check_took(b, start, 300 + retries * 50, "so many retries");
	bench_end(b);
}

/* ---- virtual time ---- */

/* The cost of a page and of a batch. */
static void costs(const char *what, unsigned int devices, unsigned int engines, bool batch, u64 ns)
{
	const struct idxd_profile profile = default_profile();
	const struct idxd_config config = default_device(32, engines);
	const struct iaa_mode mode = default_mode();
	struct bench *b = bench_start(&profile, true, &mode, devices, &config);
	u64 start = now(b);
	unsigned int dlen;

	if (batch) {
		check(!run_batch(b, true, MAX_BATCH), "%s", what);
	} else {
		for (unsigned int i = 0; i < MAX_BATCH; i++)
			check(!run(b, true, i, &dlen), "%s", what);
	}
	check_took(b, start, ns, what);
	bench_end(b);
}

static void test_costs(void)
{
	/* h + s each; h + 7b + s; 8h + s; and where engines are few, these */
	costs("one by one", 1, 8, false, 8 * (300 + 3000));
	costs("one by one, four devices", 4, 8, false, 8 * (300 + 3000));
	costs("a batch", 1, 8, true, 300 + 7 * 1000 + 3000);
	costs("a batch, four devices", 4, 8, true, 8 * 300 + 3000);
	costs("a batch, one engine", 1, 1, true, 300 + 8 * 3000);
	costs("a batch, two engines", 1, 2, true, 300 + 1000 + 4 * 3000);
}

/* Decompressing, interrupts, verifying, software, larger pages. */
static void test_single_costs(void)
{
	static u8 page[4 * PAGE_SIZE], out[4 * PAGE_SIZE];
	const struct idxd_fault stream = { .kind = IDXD_FAULT_STATUS,
					   .status = 0x0a,
					   .opcode = IAX_OPCODE_DECOMPRESS };
	const struct idxd_fault full = { .kind = IDXD_FAULT_QUEUE_FULL };
	const struct idxd_fault delay = { .kind = IDXD_FAULT_DELAY, .ns = 12345 };
	const struct idxd_profile profile = default_profile();
	const struct idxd_config config = default_device(8, 1);

	for (unsigned int how = 0; how < 3 * 2; how++) {
		struct iaa_mode mode = default_mode();
		struct bench *b;
		unsigned int dlen;
		u64 start, irq;

		mode.sync_mode = how % 3;
		mode.verify_compress = how / 3;
		irq = mode.sync_mode == IAA_ASYNC_IRQ ? 70 : 0;
		b = bench_start(&profile, true, &mode, 1, &config);
		start = now(b);
		check(!run(b, true, 0, &dlen), "compress");
		check_took(b, start, 300 + 3000 + (how / 3) * (300 + 2000) + irq, "compress");
		start = now(b);
		check(!run(b, false, 0, &dlen), "decompress");
		check_took(b, start, 300 + 2000 + irq, "decompress");
		bench_plan(b, stream);
		start = now(b);
		check(!run(b, false, 0, &dlen), "software");
		check_took(b, start, 300 + 2000 + 9000 + irq, "software");
		bench_plan(b, full);
		start = now(b);
		check(!run(b, false, 0, &dlen), "software at once");
		check_took(b, start, 300 + 499 * 50 + 9000, "software at once");
		bench_plan(b, delay);
		start = now(b);
		check(!run(b, false, 0, &dlen), "delayed");
		check_took(b, start, 300 + 2000 + 12345 + irq, "delayed");
		start = now(b);
		dlen = sizeof(out);
		check(!user_run(&b->user, true, page, sizeof(page), out, &dlen), "16 KiB");
		check_took(b, start,
			   300 + 3000 + 3 * 1000 + (how / 3) * (300 + 2000 + 3 * 1000) + irq,
			   "16 KiB");
		bench_end(b);
	}
}

/*
 * The wait for a descriptor ends the timeout after its submission; the engine
 * is held to the end.
 */
static void test_virtual_timeout(void)
{
	const struct idxd_fault none = { .kind = IDXD_FAULT_NO_ANSWER };
	const struct idxd_fault late = { .kind = IDXD_FAULT_DELAY, .ns = TIMEOUT_NS + 20000 };
	const struct idxd_fault in_time = { .kind = IDXD_FAULT_DELAY, .ns = TIMEOUT_NS - 3000 - 1 };
	struct idxd_profile profile = default_profile();
	const struct idxd_config config = default_device(8, 1);
	const struct iaa_mode mode = default_mode();
	struct bench *b;
	unsigned int dlen;
	u64 start;

	profile.timeout_ns = TIMEOUT_NS;
	b = bench_start(&profile, true, &mode, 1, &config);
	bench_plan(b, none);
	start = now(b);
	check(run(b, true, 0, &dlen) == -ETIMEDOUT, "no answer");
	check_took(b, start, 300 + TIMEOUT_NS, "no answer");
	check(run(b, true, 0, &dlen) == -ENODEV, "disabled");
	iaa_set_enabled(b->rig.iaa, true);
	start = now(b);
	check(!run(b, true, 0, &dlen), "the engine is free at once");
	check_took(b, start, 300 + 3000, "the engine is free at once");

	bench_plan(b, in_time);
	check(!run(b, true, 0, &dlen), "in time");
	bench_plan(b, late);
	start = now(b);
	check(run(b, true, 0, &dlen) == -ETIMEDOUT, "late");
	check_took(b, start, 300 + TIMEOUT_NS, "late");
	iaa_set_enabled(b->rig.iaa, true);
	check(!run(b, true, 1, &dlen), "after it");
	check_took(b, start, 300 + 3000 + TIMEOUT_NS + 20000 + 3000, "after it");
	bench_end(b);
}

static void test_stop(bool clock)
{
	const struct idxd_fault pause = { .kind = IDXD_FAULT_STOP, .ns = 100 * MS };
	const struct idxd_fault for_good = { .kind = IDXD_FAULT_STOP };
	struct idxd_profile profile = default_profile();
	const struct idxd_config config = default_device(8, 1);
	const struct iaa_mode mode = default_mode();
	struct bench *b;
	unsigned int dlen;
	u64 start, real;

	profile.timeout_ns = 200 * MS;
	b = bench_start(&profile, clock, &mode, 1, &config);
	bench_plan(b, pause);
	start = now(b);
	real = clock_ns(CLOCK_MONOTONIC);
	check(!run(b, true, 0, &dlen), "it goes on");
	check_took(b, start, 300 + 100 * MS + 3000, "it goes on");
	check(clock || clock_ns(CLOCK_MONOTONIC) - real >= 100 * MS, "it did not stand still");

	bench_plan(b, for_good);
	start = now(b);
	check(run(b, true, 0, &dlen) == -ETIMEDOUT && !iaa_enabled(b->rig.iaa), "it stands still");
	check_took(b, start, 300 + 200 * MS, "it stands still");
	/* though no engine meets the abandoned descriptor */
	while (!iaa_wq_drain(b->rig.iaa, 0, 0))
		;
	iaa_set_enabled(b->rig.iaa, true);
	check(run(b, true, 0, &dlen) == -ETIMEDOUT, "it still does");
	iaa_set_enabled(b->rig.iaa, true);
	iaa_device_set_state(b->rig.iaa, 0, IDXD_DEV_ENABLED);
	start = now(b);
	check(!run(b, true, 0, &dlen), "it was switched on");
	check_took(b, start, 300 + 3000, "it was switched on");
	bench_end(b);
}

/* Gone with the third of eight pages, and back when it is enabled. */
static void test_back(bool clock)
{
	const struct idxd_fault removed = { .kind = IDXD_FAULT_REMOVE, .nth = 3, .times = 1 };
	struct idxd_profile profile = default_profile();
	const struct idxd_config config = default_device(8, 8);
	const struct iaa_mode mode = default_mode();
	struct bench *b;
	unsigned int dlen;

	profile.timeout_ns = 10000 * MS;
	b = bench_start(&profile, clock, &mode, 1, &config);
	bench_plan(b, removed);
	check(run_batch(b, true, MAX_BATCH) == -EINVAL, "the batch");
	for (unsigned int i = 0; i < MAX_BATCH; i++) {
		int error = b->batch.errors[i];

		check(error == -EIO || (i < 2 && !clock && !error), "page %u: %d", i, error);
		check_result(b, true, i, error, b->batch.dlens[i], "gone");
	}
	check(iaa_device_state(b->rig.iaa, 0) == IDXD_DEV_REMOVED, "it is gone");
	for (int i = 0; i < 3; i++)
		check(run(b, true, 0, &dlen) == -EIO, "gone until it is enabled");
	check(messages(&b->rig, "iax1 is not enabled, not compressing") == 1,
	      "the first refusal is logged");
	iaa_device_set_state(b->rig.iaa, 0, IDXD_DEV_ENABLED);
	check(!run(b, true, 0, &dlen), "here");
	iaa_device_set_state(b->rig.iaa, 0, IDXD_DEV_REMOVED);
	check(!run(b, false, 0, &dlen), "software");
	check(messages(&b->rig, "iax1 is not enabled, not decompressing") == 1,
	      "and the first after that");
	bench_end(b);
}

/*
 * A refused request takes the CPU's time: otherwise no other actor would have a
 * turn while the CPU tries again and again.
 */
static void test_refused_costs(void)
{
	const struct idxd_config config = default_device(8, 1);

	for (unsigned int how = 0; how < 4; how++) {
		struct idxd_profile profile = default_profile();
		struct iaa_mode mode = default_mode();
		struct bench *b;
		unsigned int dlen;
		u64 start, ns;

		profile.host_ns *= how % 2;
		ns = max(profile.host_ns, 1u);
		mode.any_failure = how / 2;
		b = bench_start(&profile, true, &mode, 1, &config);
		iaa_device_set_state(b->rig.iaa, 0, IDXD_DEV_REMOVED);
		start = now(b);
		check(run(b, true, 0, &dlen) == -EIO, "a device that is gone");
		check_took(b, start, ns, "a device that is gone");
		start = now(b);
		check(run(b, false, 0, &dlen) == (mode.any_failure ? 0 : -EIO),
		      "a device that is gone");
		check_took(b, start, mode.any_failure ? profile.host_ns + 9000 : ns, "decompress");
		rig_tables(&b->rig, 0, NULL);
		start = now(b);
		check(run(b, true, 0, &dlen) == -ENODEV, "no queue");
		check_took(b, start, ns, "no queue");
		check(messages(&b->rig, "no wq configured for cpu=0, not compressing") == 1,
		      "no queue");
		iaa_set_enabled(b->rig.iaa, false);
		start = now(b);
		check(run(b, true, 0, &dlen) == -ENODEV && run(b, false, 0, &dlen) == -ENODEV,
		      "disabled");
		check_took(b, start, 2 * ns, "disabled");
		check(messages(&b->rig, "iaa_crypto disabled, not compressing") == 1, "disabled");
		start = now(b);
		check(run_batch(b, true, 3) == -EINVAL, "a batch");
		check_took(b, start, 3 * ns, "a batch");
		check(stats_of(&b->rig).total_no_wq_errors == 8, "%lu refused",
		      (long)stats_of(&b->rig).total_no_wq_errors);
		bench_end(b);
	}
}

/* Without a pause time passes nevertheless. */
static void test_no_pause(void)
{
	struct idxd_profile profile = default_profile();
	const struct idxd_config config = default_device(1, 1);
	struct iaa_mode mode = default_mode();
	pthread_t threads[3];
	struct rig rig;
	const unsigned int wqs[] = { 0 };

	profile.pause_ns = profile.host_ns = 0;
	profile.compress_ns = 40;
	profile.transfer_ns = 10;
	mode.comp_tries = 0;
	rig_start(&rig, &profile, true, &mode);
	rig_add_device(&rig, &config);
	rig_tables(&rig, 1, wqs);
	for (unsigned int i = 0; i < ARRAY_SIZE(threads); i++)
		check(!pthread_create(&threads[i], NULL, verify_each, &rig), "pthread_create");
	for (unsigned int i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_join(threads[i], NULL);
	check(vclock_now(rig.clock) >= 3 * 50 * 40, "%lu ns", (long)vclock_now(rig.clock));
	rig_end(&rig);
}

/* ---- the same each time ---- */

#define NR_PLAYERS 4
#define NR_ROUNDS  60

struct player {
	struct rig *rig;
	struct vclock_actor *actor;
	unsigned int who;
	u64 times[NR_ROUNDS]; /* when each call returned, and its result */
	int ret[NR_ROUNDS];
	pthread_t thread;
};

static void *play(void *arg)
{
	struct player *player = arg;
	u64 x = 1000 + player->who;
	u8 page[PAGE_SIZE], out[ROOM];
	struct user user;

	user_init(&user, player->rig);
	check(!vclock_attach(player->rig->clock, player->actor), "vclock_attach");
	for (unsigned int i = 0; i < NR_ROUNDS; i++) {
		unsigned int dlen = PAGE_SIZE;

		make_parts(page, next_random(&x) % 12);
		player->ret[i] = user_run(&user, true, page, PAGE_SIZE, out, &dlen);
		player->times[i] = vclock_now(player->rig->clock);
		check(!vclock_sleep(player->rig->clock, next_random(&x) % 2000), "vclock_sleep");
	}
	vclock_detach(player->rig->clock, player->actor);
	user_exit(&user);
	return NULL;
}

static void play_all(struct player *players, unsigned int jitter, u64 seed)
{
	const struct idxd_fault faults[] = {
		{ .kind = IDXD_FAULT_STATUS,
		  .device = 1,
		  .wq = -1,
		  .opcode = -1,
		  .nth = 5,
		  .times = 3,
		  .status = 0x10 },
		{ .kind = IDXD_FAULT_DELAY,
		  .device = -1,
		  .wq = -1,
		  .opcode = -1,
		  .nth = 20,
		  .times = 50,
		  .ns = 700 },
		{ .kind = IDXD_FAULT_REMOVE,
		  .device = 0,
		  .wq = -1,
		  .opcode = -1,
		  .nth = 40,
		  .times = 1 },
		{ .kind = IDXD_FAULT_STOP,
		  .device = 1,
		  .wq = -1,
		  .opcode = -1,
		  .nth = 60,
		  .times = 1,
		  .ns = 4321 },
	};
	struct idxd_profile profile = default_profile();
	const struct idxd_config config = default_device(2, 2);
	struct iaa_mode mode = default_mode();
	const unsigned int wqs[] = { 0x000, 0x100 };
	struct rig rig;

	profile.jitter = jitter;
	profile.seed = seed;
	mode.comp_tries = 20;
	rig_start(&rig, &profile, true, &mode);
	rig_add_device(&rig, &config);
	rig_add_device(&rig, &config);
	rig_tables(&rig, 2, wqs);
	rig_plan(&rig, faults, ARRAY_SIZE(faults));
	check(!vclock_enter(rig.clock), "vclock_enter");
	for (unsigned int i = 0; i < NR_PLAYERS; i++) {
		players[i] = (struct player){ .rig = &rig,
					      .who = i,
					      .actor = vclock_actor_create(rig.clock) };
		check(players[i].actor, "vclock_actor_create");
	}
	for (unsigned int i = NR_PLAYERS; i--;)
		check(!pthread_create(&players[i].thread, NULL, play, &players[i]),
		      "pthread_create");
	vclock_leave(rig.clock);
	for (unsigned int i = 0; i < NR_PLAYERS; i++)
		pthread_join(players[i].thread, NULL);
	for (unsigned int i = 0; i < ARRAY_SIZE(faults); i++)
		check(iaa_plan_hits(rig.iaa, i), "fault %u never happened", i);
	rig_end(&rig);
}

static bool all_same(const struct player *a, const struct player *b)
{
	for (unsigned int i = 0; i < NR_PLAYERS; i++)
		if (memcmp(a[i].times, b[i].times, sizeof(a[i].times)) ||
		    memcmp(a[i].ret, b[i].ret, sizeof(a[i].ret)))
			return false;
	return true;
}

static void test_same_each_time(void)
{
	static struct player first[NR_PLAYERS], again[NR_PLAYERS], other[NR_PLAYERS],
		exact[NR_PLAYERS];

	play_all(first, 100, 7);
	play_all(again, 100, 7);
	check(all_same(first, again), "not the same");
	play_all(other, 100, 8);
	check(!all_same(first, other), "the seed makes no difference");
	play_all(exact, 0, 7);
	check(!all_same(first, exact), "jitter makes no difference");
}

/* An engine's time varies by no more than it may, and by that. */
static void test_jitter(void)
{
	struct idxd_profile profile = default_profile();
	const struct idxd_config config = default_device(1, 1);
	const struct iaa_mode mode = default_mode();
	u64 least = UINT64_MAX, most = 0;
	struct bench *b;
	unsigned int dlen;

	profile.jitter = 100;
	b = bench_start(&profile, true, &mode, 1, &config);
	for (unsigned int i = 0; i < 400; i++) {
		u64 start = now(b), ns;

		check(!run(b, true, 0, &dlen), "%u", i);
		ns = now(b) - start - 300;
		least = min(least, ns);
		most = max(most, ns);
	}
	check(least >= 2700 && least < 2760 && most <= 3300 && most > 3240, "%lu to %lu ns",
	      (long)least, (long)most);
	bench_end(b);
}

/* ---- a batch's order ---- */

static void check_order(const char *parts, const char *order)
{
	const struct idxd_profile profile = default_profile();
	const struct idxd_config config = default_device(8, 1);
	const struct iaa_mode mode = default_mode();
	struct bench *b = bench_start(&profile, true, &mode, 1, &config);
	unsigned int nr = strlen(parts);

	for (unsigned int i = 0; i < nr; i++)
		bench_compress(b, i, parts[i] - '0');
	for (unsigned int nth = 1; nth <= nr; nth++) {
		unsigned int who = order[nth - 1] - '0';
		const struct idxd_fault fault = {
			.kind = IDXD_FAULT_STATUS,
			.status = 0x24,
			.opcode = IAX_OPCODE_DECOMPRESS,
			.nth = nth,
			.times = 1,
		};

		bench_plan(b, fault);
		check(run_batch(b, false, nr) == -EINVAL, "%s", parts);
		for (unsigned int i = 0; i < nr; i++)
			check(b->batch.errors[i] == (i == who ? -ETIMEDOUT : 0),
			      "%s: the %uth is not page %u", parts, nth, who);
	}
	bench_end(b);
}

/*
 * The largest first, then the largest of the rest, of equals the later one;
 * then the others as they come.
 */
static void test_order(void)
{
	check_order("37712754", "52013467");
	check_order("44444444", "76012345");
	check_order("12345678", "76012345");
	check_order("87654321", "01234567");
	check_order("5", "0");
	check_order("21", "01");
	check_order("12", "10");
	check_order("11", "10");
	check_order("599", "210");
	check_order("919", "201");
	check_order("991", "102");
	check_order("911", "021");
}

/* ---- tables ---- */

static void test_tables(bool clock)
{
	const struct idxd_profile profile = default_profile();
	struct idxd_config config = default_device(8, 1);
	const struct iaa_mode mode = default_mode();
	/*
	 * CPU 0: three queues; CPU 1: one; CPU 2: none; CPU 3: a table that is
	 * not there. To decompress: one for all
	 */
	const unsigned int start[] = { 0, 3, 4, 4 }, wqs[] = { 0x000, 0x102, 0x001, 0x102 };
	const unsigned int comp[NR_CPUS] = { 0, 1, 2, 99 },
			   decomp[NR_CPUS] = { 1, 1, 1, 1, 1, 1, 1, 1 };
	const unsigned int bad_wqs[][1] = {
		{ 0x003 }, { 0x108 }, { 0x1ff }, { 0x200 }, { 0xffff00 }
	};
	struct iaa_wq_stats stats;
	struct bench *b;
	unsigned int dlen;

	config.wq[1] = config.wq[2] = config.wq[0];
	b = bench_start(&profile, clock, &mode, 2, &config);
	for (unsigned int i = 0; i < ARRAY_SIZE(bad_wqs); i++) {
		const unsigned int bad_start[] = { 0, 1 };

		check(iaa_set_tables(b->rig.iaa, 1, bad_start, bad_wqs[i], comp, decomp) == -EINVAL,
		      "%#x", bad_wqs[i][0]);
	}
	check(!run(b, true, 0, &dlen), "the old ones hold");
	iaa_stats_reset(b->rig.iaa);
	check(!iaa_set_tables(b->rig.iaa, 3, start, wqs, comp, decomp), "iaa_set_tables");
	for (unsigned int i = 0; i < 3; i++) {
		/* the cursor moves before it is used */
		static const unsigned int turn[] = { 0x102, 0x001, 0x000 };

		check(!run(b, true, 0, &dlen), "CPU 0");
		iaa_get_wq_stats(b->rig.iaa, turn[i] >> 8, turn[i] & 7, &stats);
		check(stats.comp_calls == 1 && stats.comp_bytes == b->slens[0], "%u: %lu", i,
		      (long)stats.comp_calls);
	}
	for (unsigned int cpu = 1; cpu < 4 + NR_CPUS; cpu++) {
		struct task task = { .cpu = cpu };
		int ret;

		current_task = &task;
		ret = run(b, true, 0, &dlen);
		check(ret == (cpu % NR_CPUS == 2 || cpu % NR_CPUS == 3 ? -ENODEV : 0), "CPU %u: %d",
		      cpu, ret);
		check(!run(b, false, 0, &dlen), "CPU %u", cpu);
		current_task = NULL;
	}
	iaa_get_wq_stats(b->rig.iaa, 1, 2, &stats);
	check(stats.decomp_calls == 4 + NR_CPUS - 1 &&
		      stats.decomp_bytes == (4 + NR_CPUS - 1) * b->slens[0],
	      "%lu", (long)stats.decomp_calls);
	check(!iaa_set_tables(b->rig.iaa, 0, start, wqs, comp, decomp), "none");
	check(run(b, true, 0, &dlen) == -ENODEV && !run(b, false, 0, &dlen), "no queues");
	check(stats_of(&b->rig).total_sw_decomp_calls == 1, "software");
	bench_end(b);
}

/* ---- create and destroy ---- */

static void test_refusals(void)
{
	static const struct idxd_fault faults[257];
	const struct idxd_profile profile = default_profile();
	struct idxd_profile too_much = profile;
	struct idxd_config config = default_device(129, 1);
	struct iaa_mode mode = default_mode();
	struct acomp_alg *engine = new_software("deflate-iaa"), *software = new_software("deflate");
	struct rig rig;
	struct user user;
	int err;

	too_much.jitter = 1001;
	check(!iaa_create(engine, software, &too_much, NULL, 1, 1, &err) && err == -EINVAL,
	      "jitter");
	check(!iaa_create(engine, software, &profile, NULL, 0, 1, &err) && err == -EINVAL,
	      "no CPU");
	check(!iaa_create(engine, software, &profile, NULL, 1, 0, &err) && err == -EINVAL,
	      "no node");
	acomp_alg_free(engine);
	acomp_alg_free(software);

	rig_start(&rig, &profile, true, &mode);
	check(iaa_device_add(rig.iaa, 0, &config) == -EINVAL, "129 entries");
	config.wq[0].size = 128;
	check(iaa_device_add(rig.iaa, NR_NODES, &config) == -EINVAL, "no such node");
	config.wq[0].shared = true;
	config.wq[0].threshold = 1;
	check(iaa_device_add(rig.iaa, 0, &config) == -EOPNOTSUPP, "shared without pasid");
	config.pasid = true;
	for (unsigned int i = 0; i < IAA_MAX_DEVICES; i++)
		rig_add_device(&rig, &config);
	check(iaa_device_add(rig.iaa, 0, &config) == -ENOSPC, "one too many");
	check(iaa_device_state(rig.iaa, IAA_MAX_DEVICES) == IDXD_DEV_REMOVED, "no such device");
	check(iaa_set_plan(rig.iaa, faults, 256) == 0 &&
		      iaa_set_plan(rig.iaa, faults, 257) == -ENOSPC,
	      "256 faults");

	/* mainline's way: a batch might wait for itself */
	user_init(&user, &rig);
	check(crypto_acomp_batch_size(user.tfm) == 1, "it does not say that it batches");
	user_exit(&user);
	acomp_alg_set_batch_size(iaa_alg(rig.iaa), 8);
	user_init(&user, &rig);
	check(crypto_acomp_batch_size(user.tfm) == 8, "it batches");
	mode.comp_tries = 0;
	iaa_set_mode(rig.iaa, &mode);
	check(crypto_acomp_batch_size(user.tfm) == 1, "it does not any more");
	user_exit(&user);
	rig_end(&rig);
}

/*
 * A stopped device fails at once, also if it is enabled again. A driver lives as
 * long as its contexts, but not in a forked child.
 */
static void test_life(bool clock)
{
	const struct idxd_profile profile = default_profile();
	const struct idxd_config config = default_device(8, 2);
	const struct iaa_mode mode = default_mode();
	struct bench *b = bench_start(&profile, clock, &mode, 1, &config);
	struct iaa *iaa = b->rig.iaa;
	unsigned int dlen;

	iaa_device_set_state(iaa, 0, IDXD_DEV_DISABLED);
	check(run(b, true, 0, &dlen) == -EIO && !run(b, false, 0, &dlen), "disabled");
	iaa_device_set_state(iaa, 0, IDXD_DEV_ENABLED);
	check(!run(b, true, 0, &dlen), "enabled");
	iaa_set_enabled(iaa, false);
	check(run(b, true, 0, &dlen) == -ENODEV && run(b, false, 0, &dlen) == -ENODEV,
	      "the driver is disabled");
	check(run_batch(b, true, 2) == -EINVAL && b->batch.errors[0] == -ENODEV &&
		      b->batch.errors[1] == -ENODEV,
	      "likewise");
	iaa_set_enabled(iaa, true);
	iaa_device_stop(iaa, 0);
	check(run(b, true, 0, &dlen) == -EIO, "stopped");
	iaa_device_set_state(iaa, 0, IDXD_DEV_ENABLED);
	check(run(b, true, 0, &dlen) == -EIO && !run(b, false, 0, &dlen), "stopped for good");
	iaa_forked(iaa);
	check(run(b, true, 0, &dlen) == -ECHILD && run(b, false, 0, &dlen) == -ECHILD, "a child");

	for (unsigned int i = 0; i < b->rig.nr_threads; i++)
		check(!pthread_join(b->rig.threads[i].thread, NULL), "pthread_join");
	iaa_put(iaa);
	check(run(b, true, 0, &dlen) == -ECHILD, "it is still there");
	user_exit(&b->user);
	kmem_deinit(&b->rig.mm);
	if (b->rig.clock)
		vclock_put(b->rig.clock);
	acomp_alg_free(b->rig.engine);
	acomp_alg_free(b->rig.software);
	free(b);
}

/* ---- memory: each allocation fails once ---- */

static u64 failing, nr_allocations; /* 0: none fails */

static bool fails(void)
{
	return failing && ++nr_allocations == failing;
}

void *__real_calloc(size_t nmemb, size_t size);
void *__real_malloc(size_t size);
void *__real_realloc(void *p, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);

void *__wrap_calloc(size_t nmemb, size_t size)
{
	return fails() ? NULL : __real_calloc(nmemb, size);
}

void *__wrap_malloc(size_t size)
{
	return fails() ? NULL : __real_malloc(size);
}

void *__wrap_realloc(void *p, size_t size)
{
	return fails() ? NULL : __real_realloc(p, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
	return fails() ? NULL : __real_aligned_alloc(alignment, size);
}

static void frugal_life(const struct acomp_alg *engine, const struct acomp_alg *software,
			struct vclock *clock, struct kmem *mm)
{
	const struct idxd_profile profile = default_profile();
	const struct idxd_config config = default_device(8, 2);
	const struct iaa_mode mode = default_mode();
	const unsigned int start[] = { 0, 1 }, wqs[] = { 0 }, tables[NR_CPUS] = { 0 };
	u8 page[PAGE_SIZE] = { 0 }, out[PAGE_SIZE];
	struct crypto_acomp *tfm;
	struct acomp_req *req;
	struct iaa *iaa;
	int err;

	iaa = iaa_create(engine, software, &profile, clock, NR_CPUS, NR_NODES, &err);
	check(iaa || err == -ENOMEM, "iaa_create: %d", err);
	if (!iaa)
		return;
	iaa_set_mode(iaa, &mode);
	iaa_set_enabled(iaa, true);
	err = iaa_device_add(iaa, 0, &config);
	check(!err || err == -ENOMEM, "iaa_device_add: %d", err);
	if (!err) {
		iaa_device_set_state(iaa, 0, IDXD_DEV_ENABLED);
		err = iaa_set_tables(iaa, 1, start, wqs, tables, tables);
		check(!err || err == -ENOMEM, "iaa_set_tables: %d", err);
	}
	tfm = crypto_alloc_acomp_node(mm, iaa_alg(iaa), 0);
	check(!IS_ERR(tfm) || PTR_ERR(tfm) == -ENOMEM, "crypto_alloc_acomp_node: %d", PTR_ERR(tfm));
	iaa_put(iaa);
	req = IS_ERR(tfm) ? NULL : acomp_request_alloc(tfm);
	if (req) {
		acomp_request_set_params(req, page, out, PAGE_SIZE, PAGE_SIZE);
		if (!err) {
			err = crypto_acomp_compress(req);
			check(!err || err == -ENOMEM, "crypto_acomp_compress: %d", err);
		}
		acomp_request_free(req);
	}
	crypto_free_acomp(tfm);
}

static void test_no_memory(void)
{
	struct acomp_alg *engine = new_software("deflate-iaa"), *software = new_software("deflate");
	struct vclock *clock = vclock_create();
	struct faults faults = { 0 };
	struct kmem mm;
	u64 nth = 0;

	check(clock && !kmem_init(&mm, &faults, NR_CPUS, NR_NODES), "no memory");
	do {
		nr_allocations = 0;
		failing = ++nth;
		frugal_life(engine, software, clock, &mm);
	} while (nr_allocations >= nth);
	failing = 0;
	check(nth > 20, "only %lu allocations", (long)nth - 1);
	kmem_deinit(&mm);
	vclock_put(clock);
	acomp_alg_free(engine);
	acomp_alg_free(software);
}

/* ---- no thread spins ---- */

static void *wait_for_page(void *arg)
{
	struct bench *b = arg;
	unsigned int dlen;

	check(!run(b, true, 0, &dlen), "a page");
	return NULL;
}

/*
 * The CPU time that this process takes in two seconds: while it is idle, while
 * an engine holds a descriptor, and while a user waits for one.
 */
static void test_idle(void)
{
	struct idxd_profile profile = default_profile();
	const struct idxd_config config = default_device(1, 8);
	const struct idxd_fault held = {
		.kind = IDXD_FAULT_DELAY, .ns = 2000 * MS, .nth = 1, .times = 1
	};
	struct iaa_mode mode = { .sync_mode = IAA_SYNC };
	struct bench *b, *other;
	pthread_t threads[2];
	u64 cpu;

	profile.timeout_ns = 10000 * MS;
	b = bench_start(&profile, false, &mode, 4, &config);
	cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	usleep(2000000);
	cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	check(cpu < 20 * MS, "32 engines at rest took %lu us", (long)cpu / 1000);
	bench_end(b);

	b = bench_start(&profile, false, &mode, 1, &config);
	other = calloc(1, sizeof(*other));
	*other = *b;
	user_init(&other->user, &b->rig);
	bench_plan(b, held);
	cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	check(!pthread_create(&threads[0], NULL, wait_for_page, b), "pthread_create");
	while (!iaa_plan_hits(b->rig.iaa, 0))
		usleep(1000);
	check(!pthread_create(&threads[1], NULL, wait_for_page, other), "pthread_create");
	for (unsigned int i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_join(threads[i], NULL);
	cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	check(cpu < 1000 * MS, "two that wait took %lu us", (long)cpu / 1000);
	user_exit(&other->user);
	free(other);
	bench_end(b);
}

int main(void)
{
	alarm(600); /* a hang ends the test */
	for (unsigned int i = 0; i < 2 * 3 * 2 * 2; i++)
		round_trips(i % 2, i / 2 % 3, i / 6 % 2, i / 12);
	test_rows();
	for (unsigned int i = 0; i < 2 * 2; i++) {
		test_findings(i % 2, i / 2);
		test_dedicated_is_full(i % 2, i / 2);
		test_shared_is_full(i % 2, i / 2 * 32);
	}
	for (unsigned int i = 0; i < 2 * 3; i++) {
		test_verify(i % 2, i / 2);
		test_verify_few(i % 2, i / 2);
	}
	held_batch(false, false);
	held_batch(true, false);
	held_batch(true, true);
	for (unsigned int i = 0; i < 2 * 2; i++)
		test_given_up(i % 2 ? IAA_ASYNC_IRQ : IAA_SYNC, i / 2);
	test_costs();
	test_single_costs();
	test_refused_costs();
	test_virtual_timeout();
	test_no_pause();
	for (int clock = 0; clock < 2; clock++) {
		test_stop(clock);
		test_back(clock);
		test_tables(clock);
		test_life(clock);
	}
	test_same_each_time();
	test_jitter();
	test_order();
	test_refusals();
	test_no_memory();
	test_idle();
	puts("test_iaa: all is well");
	return 0;
}
