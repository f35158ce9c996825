// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Many users of two devices under every fault: stress_iaa [seconds
 * [seed]].
 *
 * Eight submitters, each with a context of its own in one of the sync modes,
 * compress and decompress pages of all sizes, one at a time and in batches, by
 * a dedicated and a shared queue of each device. Meanwhile plans of faults,
 * tables and devices' states change under them. A page that returns 0 must
 * be right, any other must have one of the possible errors. Each call's memory
 * is freed as soon as the call has returned. Run it under AddressSanitizer and
 * ThreadSanitizer.
 */
#define _GNU_SOURCE /* strerrorname_np() */
#include <signal.h>
#include <time.h>

#include "iaa_test.h"

#define NR_SUBMITTERS 8
#define NR_DEVICES    2
#define NR_ENGINES    4 /* of each device */
#define MAX_PAGE      (1 << 16)
#define TIMEOUT_NS    2000000 /* of a descriptor, in device time */
#define HANG_S        120     /* what takes so much longer than it was asked to hangs */

static struct rig rig;
static atomic_bool stop;
static _Atomic u64 nr_pages, nr_batches, nr_right, nr_plans, nr_tables, nr_drains, nr_states,
	nr_disabled, nr_errors[256];

static void add(_Atomic u64 *counter)
{
	atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

static bool stopped(void)
{
	return atomic_load_explicit(&stop, memory_order_relaxed);
}

static unsigned int below(u64 *random, unsigned int n)
{
	return (next_random(random) >> 16) % n;
}

/* ---- submitters ---- */

struct submitter {
	unsigned int cpu;
	u64 random;
	struct iaa_mode mode;
	struct user user;
	pthread_t thread;
	u8 page[MAX_PAGE];
};

static unsigned int any_size(struct submitter *s)
{
	switch (below(&s->random, 8)) {
	case 0:
		return 1 + below(&s->random, MAX_PAGE);
	case 1:
		return 1 + below(&s->random, 64);
	default:
		return PAGE_SIZE;
	}
}

/* Of runs; one in eight of bytes that no compressor makes smaller. */
static void any_page(struct submitter *s, u8 *page, unsigned int size)
{
	unsigned int most = below(&s->random, 8) ? 8 + below(&s->random, 200) : 1;

	for (unsigned int i = 0; i < size;) {
		unsigned int len = 1 + below(&s->random, most);
		u8 byte = next_random(&s->random) >> 32;

		while (len-- && i < size)
			page[i++] = byte;
	}
}

/*
 * Of that size to the byte, and gone after the call: AddressSanitizer sees what
 * is touched behind it, or later.
 */
static u8 *get_memory(unsigned int size)
{
	u8 *p = malloc(size);

	check(p, "malloc");
	return p;
}

static void check_answer(int ret, bool compress, bool irq, unsigned int dlen, unsigned int room)
{
	bool allowed =
		ret == -ENODEV || ret == -EIO || (!(irq && compress) && ret == -EINVAL) ||
		(!irq && (ret == -ETIMEDOUT || ret == -EOVERFLOW || (compress && ret == -E2BIG)));

	if (!ret) {
		check(dlen <= room, "%u bytes in room for %u", dlen, room);
		return;
	}
	check(allowed, "%s%s: %d", compress ? "compress" : "decompress",
	      irq ? ", by interrupt" : "", ret);
	add(&nr_errors[-ret]);
}

static int run(struct submitter *s, bool compress, const u8 *src, unsigned int slen, u8 *dst,
	       unsigned int *dlen)
{
	unsigned int room = *dlen;
	int ret = user_run(&s->user, compress, src, slen, dst, dlen);

	check_answer(ret, compress, s->mode.sync_mode == IAA_ASYNC_IRQ, *dlen, room);
	return ret;
}

static void decompress_page(struct submitter *s, const u8 *compressed, unsigned int slen,
			    unsigned int size)
{
	u8 *stream = get_memory(slen), *back = get_memory(size);
	unsigned int dlen = size;

	memcpy(stream, compressed, slen);
	if (!run(s, false, stream, slen, back, &dlen)) {
		check(dlen == size && !memcmp(back, s->page, size),
		      "%u bytes are not those that were compressed", size);
		add(&nr_right);
	}
	free(stream);
	free(back);
}

static void do_page(struct submitter *s)
{
	unsigned int size = any_size(s), dlen = size + below(&s->random, 2) * 1000;
	u8 *src = get_memory(size), *dst = get_memory(dlen);
	int ret;

	any_page(s, s->page, size);
	memcpy(src, s->page, size);
	ret = run(s, true, src, size, dst, &dlen);
	free(src);
	if (!ret)
		decompress_page(s, dst, dlen, size);
	free(dst);
	add(&nr_pages);
}

/* What is no stream is an error, mostly, and never a byte behind the room. */
static void do_garbage(struct submitter *s)
{
	unsigned int slen = 1 + below(&s->random, 2000), dlen = 1 + below(&s->random, PAGE_SIZE);
	u8 *src = get_memory(slen), *dst = get_memory(dlen);

	for (unsigned int i = 0; i < slen; i++)
		src[i] = next_random(&s->random) >> 32;
	run(s, false, src, slen, dst, &dlen);
	free(src);
	free(dst);
}

static void check_batch(const struct batch *b, bool compress, int ret, unsigned int room)
{
	bool failed = false;

	for (unsigned int i = 0; i < b->nr; i++) {
		check_answer(b->errors[i], compress, false, b->dlens[i], room);
		check(!b->errors[i] || !b->dlens[i], "page %u: %u bytes", i, b->dlens[i]);
		failed |= b->errors[i] != 0;
	}
	check(ret == (failed ? -EINVAL : 0), "a batch: %d", ret);
}

static void decompress_batch(struct submitter *s, const struct batch *made, u8 *const *pages,
			     unsigned int size)
{
	struct batch b = { 0 };
	const u8 *right[IAA_CRYPTO_MAX_BATCH_SIZE];

	for (unsigned int i = 0; i < made->nr; i++) {
		if (made->errors[i])
			continue;
		right[b.nr] = pages[i];
		b.srcs[b.nr] = made->dsts[i];
		b.slens[b.nr] = made->dlens[i];
		b.dsts[b.nr++] = get_memory(size);
	}
	if (b.nr)
		check_batch(&b, false, user_decompress_batch(&s->user, &b, size), size);
	for (unsigned int i = 0; i < b.nr; i++) {
		if (!b.errors[i]) {
			check(b.dlens[i] == size && !memcmp(b.dsts[i], right[i], size),
			      "page %u of %u is another", i, b.nr);
			add(&nr_right);
		}
		free(b.dsts[i]);
	}
}

static void do_batch(struct submitter *s)
{
	struct batch b = { .nr = 1 + below(&s->random, IAA_CRYPTO_MAX_BATCH_SIZE) };
	unsigned int size = any_size(s);
	u8 *pages[IAA_CRYPTO_MAX_BATCH_SIZE];

	for (unsigned int i = 0; i < b.nr; i++) {
		u8 *src = get_memory(size);

		pages[i] = get_memory(size);
		any_page(s, pages[i], size);
		memcpy(src, pages[i], size);
		b.srcs[i] = src;
		b.dsts[i] = get_memory(size);
	}
	check_batch(&b, true, user_compress_batch(&s->user, &b, size, size), size);
	for (unsigned int i = 0; i < b.nr; i++)
		free((void *)b.srcs[i]);
	decompress_batch(s, &b, pages, size);
	for (unsigned int i = 0; i < b.nr; i++) {
		free(b.dsts[i]);
		free(pages[i]);
	}
	add(&nr_batches);
}

static void *submit(void *arg)
{
	struct submitter *s = arg;
	struct task task = { .cpu = s->cpu };

	current_task = &task;
	while (!stopped()) {
		if (!iaa_enabled(rig.iaa) && below(&s->random, 8))
			usleep(100); /* requests fail at once: let other threads run */
		switch (below(&s->random, 8)) {
		case 0:
			do_garbage(s);
			break;
		case 1:
		case 2:
		case 3:
			do_page(s);
			break;
		default:
			if (crypto_acomp_batch_size(s->user.tfm) > 1)
				do_batch(s);
			else
				do_page(s);
		}
	}
	current_task = NULL;
	return NULL;
}

/* ---- trouble ---- */

static struct idxd_fault any_fault(u64 *random)
{
	static const u8 statuses[] = { 0x24, 0x0a, 0x0b, 0x10, 0x11, 0x04, 0x13 };
	struct idxd_fault fault = {
		.kind = below(random, IDXD_FAULT_REMOVE + 1),
		.device = (int)below(random, NR_DEVICES + 1) - 1,
		.wq = (int)below(random, 3) - 1,
		.opcode = below(random, 2) ? -1 :
					     (int)IAX_OPCODE_DECOMPRESS + (int)below(random, 2),
		.nth = 1 + below(random, 30),
		.times = 1 + below(random, 10),
		.status = statuses[below(random, sizeof(statuses))],
		.error_code = below(random, 2) * 0x19,
		.ns = below(random, 3 * TIMEOUT_NS),
	};

	/* holding engines is what takes time */
	if (fault.kind == IDXD_FAULT_DELAY || fault.kind == IDXD_FAULT_NO_ANSWER)
		fault.times = 1 + below(random, 3);
	if (fault.kind == IDXD_FAULT_STOP)
		fault.ns *= below(random, 2); /* 0: until the device is enabled again */
	return fault;
}

static void *plan(void *arg)
{
	u64 random = *(u64 *)arg + 1;

	while (!stopped()) {
		struct idxd_fault faults[6];
		unsigned int nr = below(&random, 2) * below(&random, ARRAY_SIZE(faults) + 1);

		for (unsigned int i = 0; i < nr; i++)
			faults[i] = any_fault(&random);
		rig_plan(&rig, faults, nr);
		add(&nr_plans);
		for (unsigned int i = below(&random, 10); i-- && !stopped();) {
			usleep(1000);
			if (!iaa_enabled(rig.iaa)) {
				add(&nr_disabled);
				iaa_set_enabled(rig.iaa, true);
			}
		}
	}
	return NULL;
}

static void *change_states(void *arg)
{
	u64 random = *(u64 *)arg + 2;

	while (!stopped()) {
		iaa_device_set_state(rig.iaa, below(&random, NR_DEVICES),
				     below(&random, IDXD_DEV_REMOVED + 1));
		usleep(below(&random, 3000));
		for (unsigned int i = 0; i < NR_DEVICES; i++)
			iaa_device_set_state(rig.iaa, i, IDXD_DEV_ENABLED);
		add(&nr_states);
		usleep(below(&random, 30000));
	}
	return NULL;
}

/*
 * All queues, those of one device, or for each CPU another; then those that are
 * in no table have nothing in flight soon.
 */
static void *change_tables(void *arg)
{
	static const unsigned int start[] = { 0, 4, 6, 8 }, wqs[] = { 0x000, 0x001, 0x100, 0x101,
								      0x000, 0x001, 0x100, 0x101 };
	u64 random = *(u64 *)arg + 3;

	while (!stopped()) {
		unsigned int comp[NR_CPUS], decomp[NR_CPUS];
		unsigned int how = below(&random, 8) ? below(&random, 3) : 3;
		int ret;

		for (unsigned int i = 0; i < NR_CPUS; i++) {
			comp[i] = how < 3 ? how : below(&random, 4); /* 3: none */
			decomp[i] = how < 3 ? how : below(&random, 4);
		}
		ret = iaa_set_tables(rig.iaa, 3, start, wqs, comp, decomp);
		check(!ret, "iaa_set_tables: %d", ret);
		add(&nr_tables);
		if (how == 1 || how == 2) {
			while (!iaa_wq_drain(rig.iaa, 2 - how, 0))
				;
			while (!iaa_wq_drain(rig.iaa, 2 - how, 1))
				;
			add(&nr_drains);
		}
		usleep(below(&random, 5000));
	}
	return NULL;
}

static void *look(void *arg)
{
	struct iaa_stats stats;
	struct iaa_wq_stats wq_stats;
	char text[200];

	(void)arg;
	while (!stopped()) {
		iaa_get_stats(rig.iaa, &stats);
		for (unsigned int i = 0; i < 2 * NR_DEVICES; i++)
			iaa_get_wq_stats(rig.iaa, i / 2, i % 2, &wq_stats);
		for (unsigned int i = 0; i < 6; i++)
			iaa_plan_hits(rig.iaa, i);
		while (iaa_next_message(rig.iaa, text, sizeof(text)))
			;
		if (stats.total_comp_calls > 100000)
			iaa_stats_reset(rig.iaa);
		usleep(1000);
	}
	return NULL;
}

/* ---- all together ---- */

static pthread_t start_thread(void *(*body)(void *), void *arg)
{
	pthread_t thread;
	int err = pthread_create(&thread, NULL, body, arg);

	check(!err, "pthread_create: %d", err);
	return thread;
}

/*
 * Each context takes the driver's mode as it is when it is made. Mainline's
 * waits for descriptors, and knows no batches.
 */
static void start_driver(struct submitter *submitters, bool batching, u64 seed)
{
	struct idxd_config config = default_device(8, NR_ENGINES);
	struct idxd_profile profile = default_profile();
	const struct iaa_mode mode = default_mode();
	const unsigned int wqs[] = { 0x000, 0x001, 0x100, 0x101 };

	profile.timeout_ns = TIMEOUT_NS;
	config.pasid = true;
	config.wq[1] = config.wq[0];
	config.wq[1].shared = true;
	config.wq[1].threshold = 6;
	rig_start(&rig, &profile, false, &mode);
	acomp_alg_set_batch_size(iaa_alg(rig.iaa), IAA_CRYPTO_MAX_BATCH_SIZE);
	for (unsigned int i = 0; i < NR_DEVICES; i++)
		rig_add_device(&rig, &config);
	rig_tables(&rig, ARRAY_SIZE(wqs), wqs);
	for (unsigned int i = 0; i < NR_SUBMITTERS; i++) {
		struct submitter *s = &submitters[i];

		s->cpu = i;
		s->random = (seed + i) * 0x9e3779b97f4a7c15u | 1;
		s->mode = (struct iaa_mode){
			.sync_mode = i % 3,
			.verify_compress = i / 2 % 2,
			.any_failure = i / 4,
			.comp_tries = batching ? 1000 : 0,
			.decomp_tries = batching ? 500 : 0,
		};
		iaa_set_mode(rig.iaa, &s->mode);
		user_init(&s->user, &rig);
	}
}

static void print_counters(void)
{
	printf("stress_iaa: pages %lu, batches %lu, right %lu; plans %lu, tables %lu, drained %lu, states %lu; disabled %lu; errors",
	       (long)nr_pages, (long)nr_batches, (long)nr_right, (long)nr_plans, (long)nr_tables,
	       (long)nr_drains, (long)nr_states, (long)nr_disabled);
	for (unsigned int i = 0; i < ARRAY_SIZE(nr_errors); i++)
		if (nr_errors[i])
			printf(" %s %lu", strerrorname_np(i), (long)nr_errors[i]);
	puts("");
	fflush(stdout);
}

static void stress(bool batching, unsigned int ms, u64 seed)
{
	static struct submitter submitters[NR_SUBMITTERS];
	pthread_t trouble[4];

	atomic_store(&stop, false);
	start_driver(submitters, batching, seed);
	for (unsigned int i = 0; i < NR_SUBMITTERS; i++)
		submitters[i].thread = start_thread(submit, &submitters[i]);
	trouble[0] = start_thread(plan, &seed);
	trouble[1] = start_thread(change_states, &seed);
	trouble[2] = start_thread(change_tables, &seed);
	trouble[3] = start_thread(look, NULL);
	for (unsigned int i = 0; i < ms; i += 10)
		usleep(10000);
	atomic_store(&stop, true);
	for (unsigned int i = 0; i < ARRAY_SIZE(trouble); i++)
		pthread_join(trouble[i], NULL);
	/*
	 * with the last plan and the last state a user may still wait for a
	 * descriptor: an empty plan and enabled devices end that
	 */
	rig_plan(&rig, NULL, 0);
	for (unsigned int i = 0; i < NR_DEVICES; i++)
		iaa_device_set_state(rig.iaa, i, IDXD_DEV_ENABLED);
	for (unsigned int i = 0; i < NR_SUBMITTERS; i++) {
		pthread_join(submitters[i].thread, NULL);
		user_exit(&submitters[i].user);
	}
	print_counters();
	rig_end(&rig);
}

static void hangs(int signal)
{
	static const char text[] = "stress_iaa: something hangs\n";

	(void)signal;
	if (write(2, text, sizeof(text) - 1) < 0)
		_exit(1);
	abort();
}

int main(int argc, char **argv)
{
	unsigned int seconds = argc > 1 ? atoi(argv[1]) : 5;
	u64 seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 1;

	signal(SIGALRM, hangs);
	alarm(seconds + HANG_S);
	stress(true, seconds * 500, seed);
	stress(false, seconds * 500, seed + 1000);
	check(nr_pages && nr_batches && nr_right && nr_plans && nr_tables && nr_drains &&
		      nr_states && nr_disabled,
	      "something never happened");
	check(nr_errors[E2BIG] && nr_errors[EINVAL] && nr_errors[EIO] && nr_errors[ENODEV] &&
		      nr_errors[ETIMEDOUT],
	      "an error never came");
	puts("stress_iaa: all is well");
	return 0;
}
