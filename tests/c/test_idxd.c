// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The device and its submission side from the inside, without threads. An
 * engine, an owner and a removal take their steps one at a time, in every
 * order. Then the device's answer to each descriptor, the order of service of
 * queues, plans and configurations.
 */
#include "hw/idxd.c"
#include "iaa/submit.c"
#include "iaa/wq.c"

#include "iaa_test.h"

#define ROOM       (2 * PAGE_SIZE)
#define UNTOUCHED  0xa5
#define TIMEOUT_NS 1000000

struct bed {
	struct acomp_alg *software;
	struct faults faults;
	struct kmem mm;
	struct idxd_plan *plan;
	struct idxd_device *device;
	struct idxd_wq *wq; /* the device's first */
	struct idxd_engine *engine;
	u8 page[PAGE_SIZE], stream[PAGE_SIZE];
	unsigned int slen;
};

static void bed_start(struct bed *bed, const struct idxd_config *config)
{
	struct idxd_profile profile = default_profile();
	int err;

	profile.timeout_ns = TIMEOUT_NS;
	*bed = (struct bed){ .software = new_software("deflate-iaa"), .plan = idxd_plan_create() };
	check(bed->plan && !kmem_init(&bed->mm, &bed->faults, 1, 1), "no memory");
	bed->device = idxd_device_create(&bed->mm, 3, 0, config, &profile, bed->software, bed->plan,
					 NULL, &err);
	check(bed->device, "idxd_device_create: %d", err);
	check(idxd_device_state(bed->device) == IDXD_DEV_DISABLED &&
		      idxd_device_id(bed->device) == 3,
	      "a new device");
	idxd_device_set_state(bed->device, IDXD_DEV_ENABLED);
	bed->wq = idxd_device_wq(bed->device, 0);
	bed->engine = &bed->device->engines[0];
	make_page(bed->page, PAGE_SIZE, 1, 0);
	bed->slen = PAGE_SIZE;
	check(!acomp_alg_run(bed->software, true, bed->page, PAGE_SIZE, bed->stream, &bed->slen),
	      "the page is compressed");
}

static void bed_end(struct bed *bed)
{
	idxd_device_free(bed->device);
	idxd_plan_free(bed->plan);
	check(!kmem_bytes(&bed->mm, FAULT_ACOMP, 0), "memory is left");
	kmem_deinit(&bed->mm);
	acomp_alg_free(bed->software);
}

static void bed_plan(struct bed *bed, const struct idxd_fault *faults, unsigned int nr)
{
	check(!idxd_plan_set(bed->plan, faults, nr), "idxd_plan_set");
}

static struct idxd_desc *new_desc(struct idxd_wq *wq, bool compress, const u8 *src,
				  unsigned int slen, u8 *dst)
{
	struct idxd_desc *desc = idxd_alloc_desc(wq, 1);

	check(!IS_ERR(desc), "idxd_alloc_desc: %d", PTR_ERR(desc));
	desc->iax_hw = (struct iax_hw_desc){
		.opcode = compress ? IAX_OPCODE_COMPRESS : IAX_OPCODE_DECOMPRESS,
		.src1_addr = (uintptr_t)src,
		.src1_size = slen,
		.dst_addr = (uintptr_t)dst,
		.max_dst_size = PAGE_SIZE,
	};
	return desc;
}

static struct idxd_desc *pop(struct bed *bed)
{
	struct idxd_desc *desc;

	pthread_mutex_lock(&bed->engine->group->lock);
	desc = group_pop(bed->device, bed->engine->group);
	pthread_mutex_unlock(&bed->engine->group->lock);
	return desc;
}

/* ---- all orders of the steps ---- */

enum step {
	POP,
	FETCH,
	WORK,
	COMMIT, /* the engine's */
	TIME_OUT,
	LET_GO, /* the owner's */
	REMOVE, /* the administrator's */
	NR_STEPS
};

struct world {
	struct bed *bed;
	bool compress, early; /* the owner frees its memory when its wait returns */
	u8 *src, *dst;
	struct idxd_desc *desc, *taken;
	int ret;
	/* the expected result, and the holders of the descriptor */
	int expected;
	bool decided, aborted, owner, device, queued;
};

static void decide(struct world *w, int ret)
{
	if (w->decided)
		return;
	w->decided = true;
	w->aborted = ret != 0;
	w->expected = ret;
}

/* A removal that empties the queue drops the device's reference: no engine has it. */
static void thrown_out(struct world *w)
{
	if (w->queued && w->aborted)
		w->queued = w->device = false;
}

static void check_dst(struct world *w)
{
	const u8 *right = w->compress ? w->bed->stream : w->bed->page;
	unsigned int len = w->compress ? w->bed->slen : PAGE_SIZE;

	if (w->decided && !w->aborted) {
		check(!memcmp(w->dst, right, len), "done, but not right");
		check(w->desc->iax_completion.status == IDXD_COMP_SUCCESS &&
			      w->desc->iax_completion.output_size == len,
		      "its record");
	}
	for (unsigned int i = w->decided && !w->aborted ? len : 0; i < ROOM; i++)
		check(w->dst[i] == UNTOUCHED, "byte %u was written", i);
}

static void engine_step(struct world *w, enum step step)
{
	if (step == POP) {
		w->taken = pop(w->bed);
		check(w->taken == (w->queued ? w->desc : NULL),
		      "it is in the queue unless it was thrown out");
		w->queued = false;
		return;
	}
	if (!w->taken) /* the queue was emptied, or the descriptor was aborted */
		return;
	if (step == FETCH) {
		bool fetched = engine_fetch(w->bed->engine, w->taken);

		check(fetched == !w->aborted, "fetched: %d", fetched);
		if (!fetched) {
			w->taken = NULL;
			w->device = false;
		}
	} else if (step == WORK) {
		engine_work(w->bed->engine, w->taken);
	} else {
		engine_commit(w->bed->engine, w->taken);
		decide(w, 0);
		w->device = false;
	}
}

static void owner_step(struct world *w, enum step step)
{
	if (step == TIME_OUT) {
		decide(w, -ETIMEDOUT);
		atomic_store(&w->desc->device_ns, TIMEOUT_NS);
		w->ret = idxd_desc_wait(w->desc);
		thrown_out(w);
		check_dst(w);
		if (w->early) {
			free(w->src);
			free(w->dst);
			w->src = w->dst = NULL;
		}
		return;
	}
	idxd_free_desc(w->desc);
	check(w->ret == w->expected, "%d, not %d", w->ret, w->expected);
	w->owner = false;
}

static void take_step(struct world *w, enum step step)
{
	u32 state;

	if (step == REMOVE) {
		decide(w, -EIO);
		idxd_device_set_state(w->bed->device, IDXD_DEV_REMOVED);
		thrown_out(w);
	} else if (step >= TIME_OUT) {
		owner_step(w, step);
	} else {
		engine_step(w, step);
	}
	state = idxd_desc_state(w->desc);
	check((state == IDXD_DESC_FREE) == (!w->owner && !w->device), "step %d: state %u", step,
	      state);
	check(state == IDXD_DESC_FREE ||
		      atomic_load(&w->desc->refs) == (unsigned int)w->owner + w->device,
	      "step %d: %u references", step, atomic_load(&w->desc->refs));
	check(!w->decided || !w->owner ||
		      state == (w->aborted ? IDXD_DESC_ABORTED : IDXD_DESC_DONE),
	      "step %d: state %u", step, state);
	check(w->bed->wq->nr_free == w->bed->wq->config.size - (state != IDXD_DESC_FREE),
	      "step %d: free ones", step);
}

static void one_order(struct world world, const enum step *steps)
{
	struct world *w = &world;

	idxd_device_set_state(w->bed->device, IDXD_DEV_ENABLED);
	w->src = malloc(PAGE_SIZE);
	w->dst = malloc(ROOM);
	check(w->src && w->dst, "malloc");
	memcpy(w->src, w->compress ? w->bed->page : w->bed->stream,
	       w->compress ? PAGE_SIZE : w->bed->slen);
	memset(w->dst, UNTOUCHED, ROOM);
	w->desc = new_desc(w->bed->wq, w->compress, w->src, w->compress ? PAGE_SIZE : w->bed->slen,
			   w->dst);
	check(!idxd_submit_desc(w->desc), "idxd_submit_desc");
	w->owner = w->device = w->queued = true;
	for (unsigned int i = 0; i < NR_STEPS; i++)
		take_step(w, steps[i]);
	check(idxd_desc_state(w->desc) == IDXD_DESC_FREE, "it is not free");
	if (w->dst)
		check_dst(w);
	free(w->src);
	free(w->dst);
}

/* Merges the three programs in each way. */
static unsigned int all_orders(const struct world *w, enum step *steps, unsigned int engine,
			       unsigned int owner, unsigned int remove)
{
	unsigned int nr = engine + owner + remove, orders = 0;

	if (nr == NR_STEPS) {
		one_order(*w, steps);
		return 1;
	}
	if (engine < 4) {
		steps[nr] = POP + engine;
		orders += all_orders(w, steps, engine + 1, owner, remove);
	}
	if (owner < 2) {
		steps[nr] = TIME_OUT + owner;
		orders += all_orders(w, steps, engine, owner + 1, remove);
	}
	if (remove < 1) {
		steps[nr] = REMOVE;
		orders += all_orders(w, steps, engine, owner, remove + 1);
	}
	return orders;
}

static void test_orders(void)
{
	const struct idxd_config config = default_device(1, 1);
	enum step steps[NR_STEPS];
	struct bed bed;

	bed_start(&bed, &config);
	for (unsigned int how = 0; how < 4; how++) {
		const struct world w = { .bed = &bed, .compress = how & 1, .early = how & 2 };
		unsigned int orders = all_orders(&w, steps, 0, 0, 0);

		check(orders == 105, "%u orders", orders); /* 7! / (4! 2! 1!) */
	}
	bed_end(&bed);
}

/* ---- an abort waits for a copy ---- */

struct aborter {
	struct idxd_desc *desc;
	atomic_bool ended;
	u32 old;
};

static void *abort_one(void *arg)
{
	struct aborter *a = arg;

	a->old = idxd_desc_abort(a->desc, IDXD_DESC_TIMED_OUT);
	atomic_store(&a->ended, true);
	return NULL;
}

/* 'from' is the state of a copy, 'to' the state after it. */
static void abort_waits(struct bed *bed, u32 before, u32 from, u32 to, u32 old, u32 end)
{
	u8 dst[PAGE_SIZE];
	struct idxd_desc *desc = new_desc(bed->wq, true, bed->page, PAGE_SIZE, dst);
	struct aborter a = { .desc = desc };
	pthread_t thread;

	check(!idxd_submit_desc(desc) && pop(bed) == desc, "submitted");
	check(before == IDXD_DESC_SUBMITTED || engine_fetch(bed->engine, desc), "fetched");
	check(desc_move(desc, before, from), "in a copy");
	check(!pthread_create(&thread, NULL, abort_one, &a), "pthread_create");
	usleep(20000);
	check(!atomic_load(&a.ended), "it did not wait");
	check(desc_move(desc, from, to), "the copy ends");
	pthread_join(thread, NULL);
	check((a.old & IDXD_DESC_STATE) == old && idxd_desc_state(desc) == end, "%#x, then %u",
	      a.old, idxd_desc_state(desc));
	idxd_free_desc(desc);
	idxd_free_desc(desc);
}

static void test_abort_waits(void)
{
	const struct idxd_config config = default_device(1, 1);
	struct bed bed;

	bed_start(&bed, &config);
	abort_waits(&bed, IDXD_DESC_SUBMITTED, IDXD_DESC_FETCHING, IDXD_DESC_RUNNING,
		    IDXD_DESC_RUNNING, IDXD_DESC_ABORTED);
	abort_waits(&bed, IDXD_DESC_RUNNING, IDXD_DESC_COMMITTING, IDXD_DESC_DONE, 0,
		    IDXD_DESC_DONE);
	bed_end(&bed);
}

/* ---- a sleeping owner is woken ---- */

struct sleeper {
	struct idxd_desc *desc;
	pthread_t thread;
	int ret;
	u64 woken;
};

static void *sleep_on(void *arg)
{
	struct sleeper *s = arg;

	s->ret = idxd_desc_wait(s->desc);
	s->woken = ktime_get_ns();
	return NULL;
}

/* Returns the ns from the answer, or the removal, until the owner is awake. */
static u64 wake_one(struct bed *bed, bool removal)
{
	u8 dst[PAGE_SIZE];
	struct sleeper s = { .desc = new_desc(bed->wq, true, bed->page, PAGE_SIZE, dst) };
	u64 start;

	check(!idxd_submit_desc(s.desc) && pop(bed) == s.desc && engine_fetch(bed->engine, s.desc),
	      "fetched");
	engine_work(bed->engine, s.desc);
	check(!pthread_create(&s.thread, NULL, sleep_on, &s), "pthread_create");
	while (!(atomic_load(&s.desc->state) & IDXD_DESC_WAITED))
		sched_yield();
	start = ktime_get_ns();
	if (removal)
		idxd_device_set_state(bed->device, IDXD_DEV_REMOVED);
	else
		engine_commit(bed->engine, s.desc);
	pthread_join(s.thread, NULL);
	check(s.ret == (removal ? -EIO : 0), "%d", s.ret);
	if (removal)
		engine_commit(bed->engine, s.desc);
	idxd_free_desc(s.desc);
	check(bed->wq->nr_free == 1, "it is free");
	idxd_device_set_state(bed->device, IDXD_DEV_ENABLED);
	return s.woken > start ? s.woken - start : 0;
}

/*
 * The owner wakes at once, not when it next looks at the time. The least of many
 * counts, since the host runs other threads too.
 */
static void test_wakes(bool removal)
{
	const struct idxd_config config = default_device(1, 1);
	u64 least = UINT64_MAX;
	struct bed bed;

	bed_start(&bed, &config);
	for (int i = 0; i < 50; i++) {
		u64 ns = wake_one(&bed, removal);

		least = min(least, ns);
	}
	check(least < LOOK_NS / 2, "%lu ns", (long)least);
	bed_end(&bed);
}

/* ---- the device's time ---- */

/*
 * The time of a Stop counts while the descriptor is queued. The host's delays
 * before and after do not.
 */
static void test_device_time(void)
{
	const struct idxd_config config = default_device(1, 1);
	const u64 ms = 1000000, start = ktime_get_ns();
	struct idxd_desc *desc;
	struct bed bed;
	u8 dst[PAGE_SIZE];

	bed_start(&bed, &config);
	desc = new_desc(bed.wq, true, bed.page, PAGE_SIZE, dst);
	check(!idxd_submit_desc(desc), "idxd_submit_desc");
	desc->submitted_ns = start - 900 * ms;
	check(idxd_desc_device_ns(desc) == 0, "it waits for an engine: %lu",
	      (long)idxd_desc_device_ns(desc));
	atomic_store(&bed.device->stopped_since, start - 800 * ms);
	atomic_store(&bed.device->stopped_until, start - 700 * ms);
	check(idxd_desc_device_ns(desc) == 100 * ms, "it stood still: %lu",
	      (long)idxd_desc_device_ns(desc));
	atomic_store(&bed.device->stopped_since, start - 2000 * ms);
	check(idxd_desc_device_ns(desc) == 200 * ms, "of which this was there: %lu",
	      (long)idxd_desc_device_ns(desc));
	atomic_store(&bed.device->stopped_until, VCLOCK_NEVER);
	check(idxd_desc_device_ns(desc) >= 900 * ms, "it stands still: %lu",
	      (long)idxd_desc_device_ns(desc));
	atomic_store(&desc->device_ns, 5 * ms);
	check(pop(&bed) == desc && engine_fetch(bed.engine, desc) &&
		      idxd_desc_device_ns(desc) == 5 * ms,
	      "an engine has it: %lu", (long)idxd_desc_device_ns(desc));
	engine_work(bed.engine, desc);
	engine_commit(bed.engine, desc);
	idxd_free_desc(desc);
	bed_end(&bed);
}

/* ---- a device's answers ---- */

/* Returns the device's record for one descriptor. */
static struct iax_completion_record answer(struct bed *bed, const struct iax_hw_desc *hw)
{
	struct idxd_desc *desc = idxd_alloc_desc(bed->wq, 1);
	struct iax_completion_record record;

	check(!IS_ERR(desc), "idxd_alloc_desc: %d", PTR_ERR(desc));
	for (unsigned int i = 0; i < sizeof(desc->iax_hw); i++)
		check(!((u8 *)&desc->iax_hw)[i] && !((u8 *)&desc->iax_completion)[i],
		      "a new descriptor is zeroed");
	desc->iax_hw = *hw;
	check(!idxd_submit_desc(desc) && pop(bed) == desc && engine_fetch(bed->engine, desc),
	      "fetched");
	engine_work(bed->engine, desc);
	engine_commit(bed->engine, desc);
	check(!idxd_desc_wait(desc), "done");
	record = desc->iax_completion;
	idxd_free_desc(desc);
	return record;
}

static void check_status(struct bed *bed, struct iax_hw_desc hw, u8 status, u8 error_code,
			 const char *what)
{
	struct iax_completion_record record;
	u8 *dst = (u8 *)(uintptr_t)hw.dst_addr;

	if (dst)
		memset(dst, UNTOUCHED, 1 << 17);
	record = answer(bed, &hw);
	check(record.status == status && record.error_code == error_code,
	      "%s: status %#x, error %#x", what, record.status, record.error_code);
	check(status == IDXD_COMP_SUCCESS || (!record.output_size && !record.bytes_completed),
	      "%s: %u bytes", what, record.output_size);
	check((status == IDXD_COMP_PAGE_FAULT_NOBOF) == (what[0] == 'n' || record.fault_addr), "%s",
	      what);
	check(record.invalid_flags == (status == IDXD_COMP_INVALID_FLAGS ? 0x800000 : 0),
	      "%s: flags %#x", what, record.invalid_flags);
	for (unsigned int i = 0; dst && status != IDXD_COMP_SUCCESS && i < 1 << 17; i++)
		check(dst[i] == UNTOUCHED, "%s: byte %u was written", what, i);
}

static void test_descriptors(void)
{
	static u8 src[(1 << 16) + 1], dst[1 << 17], random[PAGE_SIZE];
	const struct idxd_config config = default_device(2, 1);
	struct iax_hw_desc comp = {
		.opcode = IAX_OPCODE_COMPRESS, .flags = IDXD_OP_FLAG_VALID,
		.src1_addr = (uintptr_t)src, .src1_size = 1 << 16,
		.dst_addr = (uintptr_t)dst, .max_dst_size = 1 << 17,
	}, decomp, hw;
	struct iax_completion_record record;
	struct bed bed;
	u64 x = 1;

	bed_start(&bed, &config);
	for (unsigned int i = 0; i < sizeof(random); i++)
		random[i] = next_random(&x) >> 32;
	decomp = comp;
	decomp.opcode = IAX_OPCODE_DECOMPRESS;
	decomp.src1_addr = (uintptr_t)bed.stream;
	decomp.src1_size = bed.slen;

	check_status(&bed, comp, IDXD_COMP_SUCCESS, 0, "64 KiB");
	check_status(&bed, decomp, IDXD_COMP_SUCCESS, 0, "a page");
	check(!memcmp(dst, bed.page, PAGE_SIZE), "a page");
#define OTHER(of, change, status, error, what)               \
	do {                                                 \
		hw = of;                                     \
		hw.change;                                   \
		check_status(&bed, hw, status, error, what); \
	} while (0)
	OTHER(comp, opcode = 0x44, IDXD_COMP_BAD_OPCODE, 0, "opcode 0x44");
	OTHER(comp, opcode = 0, IDXD_COMP_BAD_OPCODE, 0, "opcode 0");
	OTHER(comp, flags |= 0x800000, IDXD_COMP_INVALID_FLAGS, 0, "flags");
	OTHER(decomp, flags |= 0x800000, IDXD_COMP_INVALID_FLAGS, 0, "flags");
	OTHER(comp, src1_size = 0, IDXD_COMP_XFER_ERANGE, 0, "src size 0");
	OTHER(comp, src1_size = (1 << 16) + 1, IDXD_COMP_XFER_ERANGE, 0, "src size");
	OTHER(decomp, max_dst_size = (1 << 17) + 1, IDXD_COMP_XFER_ERANGE, 0, "dst size");
	OTHER(comp, src1_addr = 0, IDXD_COMP_PAGE_FAULT_NOBOF, 0, "no src");
	OTHER(decomp, src1_addr = 0, IDXD_COMP_PAGE_FAULT_NOBOF, 0, "no src");
	OTHER(comp, dst_addr = 0, IDXD_COMP_PAGE_FAULT_NOBOF, 0, "no dst");
	OTHER(decomp, max_dst_size = PAGE_SIZE - 1, IDXD_COMP_OUTPUT_OVERFLOW, 0, "a byte too few");
	OTHER(decomp, max_dst_size = PAGE_SIZE, IDXD_COMP_SUCCESS, 0, "just enough");
	OTHER(decomp, src1_size = bed.slen - 1, IDXD_COMP_ANALYTICS_ERROR, IAA_ERROR_BAD_STREAM,
	      "half a stream");
	OTHER(decomp, src1_addr = (uintptr_t)random, IDXD_COMP_ANALYTICS_ERROR,
	      IAA_ERROR_BAD_STREAM, "a random stream");
	hw = comp;
	hw.src1_addr = (uintptr_t)random;
	hw.src1_size = hw.max_dst_size = PAGE_SIZE;
	check_status(&bed, hw, IDXD_COMP_ANALYTICS_ERROR, IAA_ERROR_COMP_BUF_OVERFLOW,
		     "a random page");

	/* the record's figures; the crc is the uncompressed page's, on request */
	hw = comp;
	memcpy(src, "123456789", 9);
	hw.src1_size = 9;
	record = answer(&bed, &hw);
	check(record.bytes_completed == 9 && record.output_size && !record.crc,
	      "no crc was asked for: %#x", record.crc);
	hw.filter_flags = IAX_FILTER_CRC;
	record = answer(&bed, &hw);
	check(record.crc == 0xcbf43926, "crc-32 of 123456789: %#x", record.crc);
	hw = decomp;
	hw.filter_flags = IAX_FILTER_CRC;
	hw.src1_size = record.output_size;
	memcpy(src, dst, record.output_size);
	hw.src1_addr = (uintptr_t)src;
	hw.dst_addr = 0;
	hw.compr_flags = IAX_DECOMP_SUPPRESS_OUTPUT;
	record = answer(&bed, &hw);
	check(record.status == IDXD_COMP_SUCCESS && record.output_size == 9 &&
		      record.crc == 0xcbf43926,
	      "suppressed: %#x", record.crc);
	bed_end(&bed);
}

/* ---- alloc, submit, free ---- */

static void test_alloc(void)
{
	const struct idxd_config config = default_device(3, 1);
	struct idxd_desc *descs[3];
	struct bed bed;
	u8 dst[PAGE_SIZE];

	bed_start(&bed, &config);
	check(bed.wq->device == bed.device && bed.wq->id == 0 && !idxd_device_wq(bed.device, 1) &&
		      !idxd_device_wq(bed.device, IDXD_MAX_WQS),
	      "the queue");
	for (unsigned int i = 0; i < 3; i++) {
		descs[i] = new_desc(bed.wq, true, bed.page, PAGE_SIZE, dst);
		check(!((uintptr_t)descs[i] % 64) && !((uintptr_t)&descs[i]->iax_completion % 32),
		      "its alignment");
		check(descs[i]->iax_hw.pasid == 0 && !idxd_desc_done(descs[i]), "new");
	}
	check(PTR_ERR(idxd_alloc_desc(bed.wq, 1)) == -EAGAIN &&
		      PTR_ERR(idxd_alloc_desc(bed.wq, 20)) == -EAGAIN,
	      "none is left");
	idxd_free_desc(descs[1]);
	check(idxd_alloc_desc(bed.wq, 1) == descs[1], "the one that came back");

	/* after a failure the caller still owns it */
	idxd_device_set_state(bed.device, IDXD_DEV_DISABLED);
	check(idxd_submit_desc(descs[0]) == -EIO && idxd_desc_state(descs[0]) == IDXD_DESC_PREPARED,
	      "disabled");
	check(PTR_ERR(idxd_alloc_desc(bed.wq, 1)) == -EIO &&
		      PTR_ERR(idxd_alloc_desc(bed.wq, 0)) == -EIO,
	      "disabled");
	idxd_device_set_state(bed.device, IDXD_DEV_ENABLED);
	idxd_device_set_state(bed.device, IDXD_DEV_REMOVED);
	check(idxd_submit_desc(descs[0]) == -EIO && idxd_desc_state(descs[0]) == IDXD_DESC_PREPARED,
	      "removed");
	for (unsigned int i = 0; i < 3; i++)
		idxd_free_desc(descs[i]);
	while (!idxd_wq_drain(bed.wq))
		;
	bed_end(&bed);
}

/*
 * A shared queue's threshold limits the descriptors that are queued, not those
 * that are allocated.
 */
static void test_threshold(void)
{
	struct idxd_config config = default_device(8, 1);
	struct idxd_desc *descs[8];
	struct bed bed;
	u8 dst[PAGE_SIZE];

	config.pasid = config.wq[0].shared = true;
	config.wq[0].threshold = 2;
	bed_start(&bed, &config);
	for (unsigned int i = 0; i < 8; i++) {
		descs[i] = new_desc(bed.wq, true, bed.page, PAGE_SIZE, dst);
		check(idxd_submit_desc(descs[i]) == (i < 2 ? 0 : -EAGAIN), "%u", i);
		check(idxd_desc_state(descs[i]) ==
			      (i < 2 ? IDXD_DESC_SUBMITTED : IDXD_DESC_PREPARED),
		      "%u", i);
	}
	check(pop(&bed) == descs[0], "first in, first out");
	check(!idxd_submit_desc(descs[5]) && idxd_submit_desc(descs[6]) == -EAGAIN,
	      "room for one more");
	idxd_device_set_state(bed.device, IDXD_DEV_REMOVED);
	check(!engine_fetch(bed.engine, descs[0]), "aborted");
	for (unsigned int i = 0; i < 8; i++)
		idxd_free_desc(descs[i]);
	while (!idxd_wq_drain(bed.wq))
		;
	bed_end(&bed);
}

/* ---- the order of service ---- */

/*
 * 'each' descriptors wait in each queue; 'order' is the one in which an
 * engine takes them.
 */
static void check_service(const struct idxd_config *config, unsigned int each, unsigned int engine,
			  const char *order)
{
	struct bed bed;
	struct idxd_desc *desc;
	u8 dst[PAGE_SIZE];

	bed_start(&bed, config);
	for (unsigned int wq = 0; wq < IDXD_MAX_WQS; wq++)
		for (unsigned int i = 0; config->wq[wq].size && i < each; i++)
			check(!idxd_submit_desc(new_desc(idxd_device_wq(bed.device, wq), true,
							 bed.page, PAGE_SIZE, dst)),
			      "queue %u", wq);
	bed.engine = &bed.device->engines[engine];
	for (; (desc = pop(&bed)); order++) {
		check(*order == (char)('0' + desc->wq->id), "queue %u, not %s", desc->wq->id,
		      order);
		check(engine_fetch(bed.engine, desc), "it is fetched");
		engine_work(bed.engine, desc);
		engine_commit(bed.engine, desc);
		idxd_free_desc(desc);
	}
	check(!*order, "these are left: %s", order);
	idxd_device_set_state(bed.device, IDXD_DEV_DISABLED);
	bed_end(&bed);
}

static void test_service(void)
{
	struct idxd_config config = default_device(4, 2);

	config.wq[1] = config.wq[2] = config.wq[5] = config.wq[0];
	check_service(&config, 3, 0, "012501250125"); /* equals in turn */
	config.wq[2].priority = 15;
	config.wq[5].priority = 1;
	check_service(&config, 3, 0, "222010101555"); /* the higher priority first */
	config.wq[1].group = 3;
	config.engine_group[1] = 3;
	check_service(&config, 2, 0, "220055"); /* only queues of the engine's group */
	check_service(&config, 2, 1, "11");
}

/* ---- plans ---- */

static u8 status_of(struct bed *bed, unsigned int wq, u8 opcode)
{
	u8 dst[PAGE_SIZE];
	const struct iax_hw_desc hw = {
		.opcode = opcode,
		.src1_addr = (uintptr_t)bed->page,
		.src1_size = PAGE_SIZE,
		.dst_addr = (uintptr_t)dst,
		.max_dst_size = PAGE_SIZE,
	};

	bed->wq = idxd_device_wq(bed->device, wq);
	return answer(bed, &hw).status;
}

/*
 * Checks the statuses, as letters, of ten descriptors for queues 0, 1, 0, 1,
 * ...
 */
static void check_plan(struct bed *bed, struct idxd_fault fault, const char *statuses)
{
	unsigned int hits = 0;

	fault.kind = IDXD_FAULT_STATUS;
	fault.status = 0x13;
	bed_plan(bed, &fault, 1);
	for (unsigned int i = 0; i < 10; i++) {
		u8 status = status_of(bed, i % 2, IAX_OPCODE_COMPRESS);

		check(status == (statuses[i] == 'x' ? 0x13 : IDXD_COMP_SUCCESS), "%s: %u: %#x",
		      statuses, i, status);
	}
	for (unsigned int i = 0; i < 10; i++)
		hits += statuses[i] == 'x';
	check(idxd_plan_hits(bed->plan, 0) == hits && !idxd_plan_hits(bed->plan, 1), "%s: %lu hits",
	      statuses, (long)idxd_plan_hits(bed->plan, 0));
}

static void test_plan(void)
{
	static const struct idxd_fault none;
	struct idxd_config config = default_device(2, 1);
	struct bed bed;

	config.wq[1] = config.wq[0];
	bed_start(&bed, &config);
#define ANY .device = -1, .wq = -1, .opcode = -1
	check_plan(&bed, (struct idxd_fault){ ANY, .nth = 1, .times = 1 }, "x.........");
	check_plan(&bed, (struct idxd_fault){ ANY, .nth = 3, .times = 2 }, "..xx......");
	check_plan(&bed, (struct idxd_fault){ ANY, .nth = 7, .times = 0 }, "......xxxx");
	check_plan(&bed,
		   (struct idxd_fault){ .device = 3, .wq = 1, .opcode = -1, .nth = 2, .times = 2 },
		   "...x.x....");
	check_plan(&bed,
		   (struct idxd_fault){ .device = 2, .wq = -1, .opcode = -1, .nth = 1, .times = 0 },
		   "..........");
	check_plan(&bed,
		   (struct idxd_fault){ .device = -1,
					.wq = 0,
					.opcode = IAX_OPCODE_COMPRESS,
					.nth = 5,
					.times = 9 },
		   "........x.");
	check_plan(&bed,
		   (struct idxd_fault){ .device = -1,
					.wq = -1,
					.opcode = IAX_OPCODE_DECOMPRESS,
					.nth = 1,
					.times = 0 },
		   "..........");
	bed_plan(&bed, &none, 0);
	check(status_of(&bed, 0, IAX_OPCODE_COMPRESS) == IDXD_COMP_SUCCESS, "nothing is planned");
	bed_end(&bed);
}

/* ---- configurations ---- */

static void check_config(const struct idxd_config *config, int expected, const char *what)
{
	const struct idxd_profile profile = default_profile();
	struct acomp_alg *software = new_software("deflate-iaa");
	struct faults faults = { 0 };
	struct idxd_plan *plan = idxd_plan_create();
	struct idxd_device *device;
	struct kmem mm;
	int err = 1;

	check(plan && !kmem_init(&mm, &faults, 1, 1), "no memory");
	device = idxd_device_create(&mm, 0, 0, config, &profile, software, plan, NULL, &err);
	check(!device == !!expected && err == expected, "%s: %d, not %d", what, err, expected);
	idxd_device_free(device);
	idxd_plan_free(plan);
	kmem_deinit(&mm);
	acomp_alg_free(software);
}

static void test_configs(void)
{
	struct idxd_config good = default_device(64, 8), c;

	good.wq[3] = good.wq[0];
	good.wq[3].shared = good.pasid = true;
	good.wq[3].threshold = 64;
	good.wq[3].enqcmds_retries = 64;
	check_config(&good, 0, "good");
#define WITH(change, expected)                       \
	do {                                         \
		c = good;                            \
		c.change;                            \
		check_config(&c, expected, #change); \
	} while (0)
	WITH(wq[3].size = 65, -EINVAL); /* 129 entries together */
	WITH(wq[0].size = 63, 0);
	WITH(wq[0].size = UINT32_MAX - 63, -EINVAL); /* the sum wraps to 0 */
	WITH(wq[0].size = 0, 0);
	WITH(pasid = false, -EOPNOTSUPP);
	WITH(wq[3].threshold = 0, -EINVAL);
	WITH(wq[3].threshold = 65, -EINVAL);
	WITH(wq[0].threshold = 65, 0); /* a dedicated queue has none */
	WITH(wq[3].enqcmds_retries = 65, -EINVAL);
	WITH(wq[0].priority = 0, -EINVAL);
	WITH(wq[0].priority = 15, 0);
	WITH(wq[0].priority = 16, -EINVAL);
	WITH(wq[0].group = 1, -EINVAL); /* no engine is there */
	WITH(wq[0].group = 4, -EINVAL);
	WITH(engine_group[0] = 4, -EINVAL);
	WITH(engine_group[0] = -1, 0);
	c = good;
	c.wq[0].size = c.wq[3].size = 0;
	check_config(&c, -EINVAL, "no queue");
	c = good;
	for (unsigned int i = 0; i < IDXD_MAX_ENGINES; i++)
		c.engine_group[i] = -1;
	check_config(&c, -EINVAL, "no engine");
	c = good;
	c.engine_group[7] = 3;
	c.wq[0].group = 3;
	check_config(&c, 0, "two groups");
}

int main(void)
{
	alarm(300); /* a hang ends the test */
	test_orders();
	test_abort_waits();
	test_wakes(false);
	test_wakes(true);
	test_device_time();
	test_descriptors();
	test_alloc();
	test_threshold();
	test_service();
	test_plan();
	test_configs();
	puts("test_idxd: all is well");
	return 0;
}
