// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The silicon: devices, their groups and engines, and the portal that takes
 * descriptors from the driver (csrc/iaa/submit.c).
 *
 * A group's queues hold submitted descriptors. An engine takes the next one
 * (group_pop), copies the page in (engine_fetch), works in its own memory
 * (engine_work), and copies the result and the record out (engine_commit). In
 * real time each engine is a thread (idxd_engine_run). In virtual time an
 * engine is a flag: virtual_dispatch() does the work at once, and an event
 * commits it when the profile's time has passed.
 *
 * A descriptor's state is one atomic, which the engine, the owner's abort and
 * the device's removal move by compare-and-exchange (desc_move). group->lock
 * guards a group's queues. A queue's free_lock may be taken inside it; the
 * plan's lock is taken with no other held. In virtual time the turn guards the
 * rest.
 */
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "hw/idxd_plan.h"
#include "iaa/idxd.h"

#define HOLD_STEP_NS 1000000 /* between two looks of an engine that a fault holds */
/* the largest page; a configured limit, as a queue's max_transfer_size is */
#define MAX_TRANSFER 65536
#define MAX_OUTPUT   (2 * MAX_TRANSFER)

#define SIZE_4K 4096

struct idxd_group {
	pthread_mutex_t lock; /* guards its queues, idle, turn */
	pthread_cond_t work;
	unsigned int idle; /* engines that sleep on 'work' */
	unsigned int turn; /* the queue after the one that was served last */
};

struct idxd_engine {
	struct idxd_device *device;
	struct idxd_group *group; /* NULL: not in use */
	struct crypto_acomp *tfm;
	bool busy;             /* virtual time: it has a descriptor */
	struct iax_hw_desc hw; /* its own copy of the descriptor, and below of the data */
	struct iax_completion_record record;
	u8 *src, *dst;
};

struct idxd_device {
	struct kmem *mm;
	unsigned int id, nid;
	struct idxd_config config;
	struct idxd_profile profile;
	struct idxd_plan *plan;
	struct vclock *clock;
	_Atomic int state; /* enum idxd_device_state */
	_Atomic bool stopping;
	_Atomic u64 stopped_since, stopped_until; /* engines take no work; until 0: they do */
	struct idxd_group groups[IDXD_MAX_GROUPS];
	struct idxd_engine engines[IDXD_MAX_ENGINES];
	struct idxd_wq wqs[IDXD_MAX_WQS];
	/* virtual time */
	u64 transfer_free; /* the time at which the bandwidth is free again */
	u64 random;
	struct vclock_event resume;
	size_t events; /* reserved in the clock */
};

static u64 device_now(const struct idxd_device *device)
{
	return device->clock ? vclock_now(device->clock) : ktime_get_ns();
}

/*
 * Waits for the turn, and retries while there is no memory for an actor, which
 * is small. For a thread that has lost its turn the first try fails; after that
 * it waits like any other.
 */
static void enter(struct idxd_device *device)
{
	while (vclock_enter(device->clock))
		sched_yield();
}

/* ---- a descriptor's state ---- */

static void wake_sleepers(struct idxd_desc *desc)
{
	syscall(SYS_futex, &desc->state, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

/*
 * Moves a descriptor from one state to another, and keeps its flags. Returns
 * the old state with its flags; 0 if it was in another state.
 */
static u32 desc_move(struct idxd_desc *desc, u32 from, u32 to)
{
	u32 old = atomic_load_explicit(&desc->state, memory_order_relaxed);

	do {
		if ((old & IDXD_DESC_STATE) != from)
			return 0;
	} while (!atomic_compare_exchange_weak_explicit(
		&desc->state, &old, (old & ~IDXD_DESC_STATE) | to, memory_order_acq_rel,
		memory_order_relaxed));
	return old;
}

u32 idxd_desc_abort(struct idxd_desc *desc, u32 why)
{
	struct vclock *clock = desc->wq->device->clock;

	for (;;) {
		u32 state = idxd_desc_state(desc), old;

		switch (state) {
		case IDXD_DESC_SUBMITTED:
		case IDXD_DESC_RUNNING:
			old = desc_move(desc, state, IDXD_DESC_ABORTED | why);
			if (!old)
				continue;
			if (clock && state == IDXD_DESC_RUNNING && desc->faults.no_answer)
				vclock_schedule(clock, &desc->event, vclock_now(clock));
			return old;
		case IDXD_DESC_FETCHING:
		case IDXD_DESC_COMMITTING:
			sched_yield();
			continue;
		default:
			return 0;
		}
	}
}

/*
 * Wakes the owner of a descriptor that is DONE or ABORTED. 'old', the state
 * before, says whether the owner sleeps: the descriptor itself may belong to
 * another owner by now.
 */
static void tell_owner(struct idxd_desc *desc, u32 old)
{
	struct idxd_device *device = desc->wq->device;

	if (device->clock) {
		if (desc->waiter)
			vclock_wake(device->clock, desc->waiter);
	} else if (old & IDXD_DESC_WAITED) {
		wake_sleepers(desc);
	}
}

/* Aborts a descriptor, which its owner did not ask for, and wakes the owner. */
static void desc_cancel(struct idxd_desc *desc, u32 why)
{
	u32 old = idxd_desc_abort(desc, why);

	if (old)
		tell_owner(desc, old);
}

u64 idxd_desc_device_ns(struct idxd_desc *desc)
{
	struct idxd_device *device = desc->wq->device;
	u64 ns = atomic_load_explicit(&desc->device_ns, memory_order_relaxed);
	u64 since = atomic_load(&device->stopped_since),
	    until = atomic_load(&device->stopped_until), now;

	if (device->clock) {
		now = vclock_now(device->clock);
		/* at the end of time everything has timed out */
		return now < VCLOCK_NEVER - 1 ? now - desc->submitted_ns : VCLOCK_NEVER;
	}
	if (likely(!until) || idxd_desc_state(desc) != IDXD_DESC_SUBMITTED)
		return ns;
	now = ktime_get_ns();
	now = min(now, until); /* after that only the host is late */
	since = max(since, desc->submitted_ns);
	return ns + (now > since ? now - since : 0);
}

/* ---- the work: a descriptor is fetched, worked on, committed ---- */

static u32 crc32(const u8 *p, size_t len)
{
	u32 crc = ~0u;

	while (len--) {
		crc ^= *p++;
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
	}
	return ~crc;
}

/*
 * Copies the descriptor and its page into the engine. Returns false, and drops
 * the device's reference, if it was aborted.
 */
static bool engine_fetch(struct idxd_engine *engine, struct idxd_desc *desc)
{
	if (!desc_move(desc, IDXD_DESC_SUBMITTED, IDXD_DESC_FETCHING)) {
		idxd_free_desc(desc);
		return false;
	}
	engine->hw = desc->iax_hw;
	if (engine->hw.src1_addr && engine->hw.src1_size <= MAX_TRANSFER)
		memcpy(engine->src, (const void *)(uintptr_t)engine->hw.src1_addr,
		       engine->hw.src1_size);
	desc_move(desc, IDXD_DESC_FETCHING, IDXD_DESC_RUNNING);
	return true;
}

static u8 check_descriptor(const struct iax_hw_desc *hw)
{
	if (hw->opcode != IAX_OPCODE_COMPRESS && hw->opcode != IAX_OPCODE_DECOMPRESS)
		return IDXD_COMP_BAD_OPCODE;
	if (hw->flags & ~IDXD_OP_FLAG_VALID)
		return IDXD_COMP_INVALID_FLAGS;
	if (!hw->src1_size || hw->src1_size > MAX_TRANSFER || hw->max_dst_size > MAX_OUTPUT)
		return IDXD_COMP_XFER_ERANGE;
	if (!hw->src1_addr || (!hw->dst_addr && !(hw->compr_flags & IAX_DECOMP_SUPPRESS_OUTPUT)))
		return IDXD_COMP_PAGE_FAULT_NOBOF;
	return IDXD_COMP_SUCCESS;
}

static void engine_compress(struct idxd_engine *engine, struct acomp_req *req,
			    struct iax_completion_record *record)
{
	req->dlen = engine->hw.max_dst_size;
	if (engine->tfm->alg->compress(req)) {
		record->status = IDXD_COMP_ANALYTICS_ERROR;
		record->error_code = IAA_ERROR_COMP_BUF_OVERFLOW;
		return;
	}
	record->output_size = req->dlen;
}

/*
 * Gives the decoder more room than the descriptor does, to tell a page that is
 * too long from a stream that is bad.
 */
static void engine_decompress(struct idxd_engine *engine, struct acomp_req *req,
			      struct iax_completion_record *record)
{
	req->dlen = MAX_OUTPUT;
	if (engine->tfm->alg->decompress(req)) {
		record->status = IDXD_COMP_ANALYTICS_ERROR;
		record->error_code = IAA_ERROR_BAD_STREAM;
	} else if (req->dlen > engine->hw.max_dst_size) {
		record->status = IDXD_COMP_OUTPUT_OVERFLOW;
	} else {
		record->output_size = req->dlen;
	}
}

/* Works from the engine's own memory to the engine's own memory. */
static void engine_work(struct idxd_engine *engine, const struct idxd_desc *desc)
{
	const struct iax_hw_desc *hw = &engine->hw;
	struct iax_completion_record *record = &engine->record;
	bool compress = hw->opcode == IAX_OPCODE_COMPRESS;
	struct acomp_req req = {
		.tfm = engine->tfm, .src = engine->src, .dst = engine->dst, .slen = hw->src1_size
	};

	*record = (struct iax_completion_record){ .status = check_descriptor(hw) };
	if (record->status == IDXD_COMP_PAGE_FAULT_NOBOF)
		record->fault_addr = hw->src1_addr ? hw->dst_addr : hw->src1_addr;
	if (record->status == IDXD_COMP_INVALID_FLAGS)
		record->invalid_flags = hw->flags & ~IDXD_OP_FLAG_VALID;
	if (desc->faults.has_status) {
		record->status = desc->faults.status;
		record->error_code = desc->faults.error_code;
	}
	if (record->status != IDXD_COMP_SUCCESS)
		return;

	if (compress)
		engine_compress(engine, &req, record);
	else
		engine_decompress(engine, &req, record);
	if (record->status != IDXD_COMP_SUCCESS)
		return;
	record->bytes_completed = hw->src1_size;
	/*
	 * The crc is of the uncompressed page, either way. It costs more than
	 * the compression, so a descriptor must ask for it.
	 */
	if (hw->filter_flags & IAX_FILTER_CRC)
		record->crc = compress ? crc32(engine->src, hw->src1_size) :
					 crc32(engine->dst, record->output_size);
	/* by the opcode, or two wrong crcs of one page would agree */
	if (desc->faults.flip_crc)
		record->crc ^= hw->opcode;
}

/*
 * Copies result and record out, unless the descriptor was aborted. No other
 * function writes to the owner's memory.
 */
static void engine_commit(struct idxd_engine *engine, struct idxd_desc *desc)
{
	u32 old = desc_move(desc, IDXD_DESC_RUNNING, IDXD_DESC_COMMITTING);

	if (!old) {
		idxd_free_desc(desc);
		return;
	}
	if (engine->record.status == IDXD_COMP_SUCCESS &&
	    !(engine->hw.compr_flags & IAX_DECOMP_SUPPRESS_OUTPUT))
		memcpy((void *)(uintptr_t)engine->hw.dst_addr, engine->dst,
		       engine->record.output_size);
	desc->iax_completion = engine->record;

	/*
	 * Drop the device's reference first: once the descriptor is DONE its
	 * owner may submit it again.
	 */
	atomic_fetch_sub_explicit(&desc->refs, 1, memory_order_acq_rel);
	old = atomic_exchange_explicit(&desc->state, IDXD_DESC_DONE, memory_order_acq_rel);
	tell_owner(desc, old);
}

/* ---- queues, from the engines' side ---- */

/*
 * Takes the next descriptor out of the group's queues: from the one with the
 * highest priority, equals in turn. Returns NULL if all are empty.
 */
static struct idxd_desc *group_pop(struct idxd_device *device, struct idxd_group *group)
{
	struct idxd_wq *best = NULL;
	struct idxd_desc *desc;

	for (unsigned int i = 0; i < IDXD_MAX_WQS; i++) {
		struct idxd_wq *wq = &device->wqs[(group->turn + i) % IDXD_MAX_WQS];

		if (wq->group == group && wq->queued &&
		    (!best || wq->config.priority > best->config.priority))
			best = wq;
	}
	if (!best)
		return NULL;
	group->turn = (best->id + 1) % IDXD_MAX_WQS;
	desc = list_first_entry(&best->queue, struct idxd_desc, list);
	list_del_init(&desc->list);
	best->queued--;
	return desc;
}

/* Returns true while engines take no work; *until is the end of that time. */
static bool device_stopped(struct idxd_device *device, u64 *until)
{
	*until = atomic_load(&device->stopped_until);
	if (likely(!*until))
		return false;
	if (device_now(device) < *until)
		return true;
	atomic_compare_exchange_strong(&device->stopped_until, until, 0);
	return false;
}

/* ---- real time: engines are threads ---- */

/* Sleeps until there is work. Returns NULL once the device is being stopped. */
static struct idxd_desc *engine_take(struct idxd_device *device, struct idxd_group *group)
{
	struct idxd_desc *desc = NULL;
	u64 until;

	pthread_mutex_lock(&group->lock);
	while (!atomic_load(&device->stopping)) {
		bool stopped = device_stopped(device, &until);

		if (!stopped) {
			desc = group_pop(device, group);
			if (desc)
				break;
		}
		group->idle++;
		if (stopped && until != VCLOCK_NEVER)
			cond_wait_until(&group->work, &group->lock, until);
		else
			pthread_cond_wait(&group->work, &group->lock);
		group->idle--;
	}
	pthread_mutex_unlock(&group->lock);
	return desc;
}

/*
 * Holds the descriptor for the time that a fault takes. A delay of the
 * host does not count as the device's time.
 */
static void engine_hold(struct idxd_device *device, struct idxd_desc *desc)
{
	u64 left = desc->faults.no_answer ? VCLOCK_NEVER : desc->faults.delay_ns;

	while (left && !atomic_load(&device->stopping)) {
		u64 step = min(left, HOLD_STEP_NS), start = ktime_get_ns(), held;

		nanosleep(&(struct timespec){ .tv_nsec = step }, NULL);
		held = min(ktime_get_ns() - start, 2 * step);
		atomic_fetch_add_explicit(&desc->device_ns, held, memory_order_relaxed);
		left -= min(left, held);
		/*
		 * the owner may be waiting for another descriptor, behind this
		 * one: so the engine aborts it at the timeout
		 */
		if (left && idxd_desc_device_ns(desc) >= device->profile.timeout_ns)
			desc_cancel(desc, IDXD_DESC_TIMED_OUT);
		/* a delay lasts, also after an abort */
		if (desc->faults.no_answer && idxd_desc_state(desc) == IDXD_DESC_ABORTED)
			break;
	}
}

void idxd_engine_run(struct idxd_device *device, unsigned int nr)
{
	struct idxd_engine *engine = nr < IDXD_MAX_ENGINES ? &device->engines[nr] : NULL;
	struct idxd_desc *desc;

	if (!engine || !engine->group || device->clock)
		return;
	while ((desc = engine_take(device, engine->group))) {
		if (!engine_fetch(engine, desc))
			continue;
		engine_work(engine, desc);
		engine_hold(device, desc);
		engine_commit(engine, desc);
	}
}

static void wake_engines(struct idxd_device *device)
{
	for (unsigned int i = 0; i < IDXD_MAX_GROUPS; i++) {
		pthread_mutex_lock(&device->groups[i].lock);
		pthread_cond_broadcast(&device->groups[i].work);
		pthread_mutex_unlock(&device->groups[i].lock);
	}
}

void idxd_device_stop(struct idxd_device *device)
{
	/* first: a device that is enabled meanwhile must take no descriptor */
	atomic_store(&device->stopping, true);
	idxd_device_set_state(device, IDXD_DEV_DISABLED);
}

/* ---- virtual time: the actor that has the turn does the work ---- */

static u64 device_random(struct idxd_device *device)
{
	u64 z = device->random += 0x9e3779b97f4a7c15; /* splitmix64 */

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static u64 service_ns(struct idxd_device *device, const struct iax_hw_desc *hw, unsigned int pages)
{
	const struct idxd_profile *profile = &device->profile;
	u64 ns = hw->opcode == IAX_OPCODE_COMPRESS ? profile->compress_ns : profile->decompress_ns;

	ns += (pages - 1) * profile->transfer_ns;
	if (profile->jitter)
		ns = ns *
		     (1000 - profile->jitter + device_random(device) % (2 * profile->jitter + 1)) /
		     1000;
	return ns;
}

/*
 * Returns the time at which the engine, which begins now, is done. The transfer
 * waits for those of the device's other engines.
 */
static u64 engine_end(struct idxd_engine *engine, const struct idxd_desc *desc)
{
	struct idxd_device *device = engine->device;
	const struct iax_hw_desc *hw = &engine->hw;
	unsigned int bytes = hw->opcode == IAX_OPCODE_COMPRESS ? hw->src1_size : hw->max_dst_size;
	unsigned int pages = max(DIV_ROUND_UP(bytes, SIZE_4K), 1u);
	u64 start = max(vclock_now(device->clock), device->transfer_free);

	device->transfer_free = vclock_add(start, pages * device->profile.transfer_ns);
	return vclock_add(vclock_add(start, service_ns(device, hw, pages)), desc->faults.delay_ns);
}

static void virtual_dispatch(struct idxd_device *device)
{
	u64 until;

	if (device_stopped(device, &until))
		return;
	for (unsigned int i = 0; i < IDXD_MAX_ENGINES; i++) {
		struct idxd_engine *engine = &device->engines[i];
		struct idxd_desc *desc;

		while (engine->group && !engine->busy &&
		       (desc = group_pop(device, engine->group))) {
			if (!engine_fetch(engine, desc))
				continue;
			engine->busy = true;
			desc->engine = engine;
			engine_work(engine, desc);
			if (!desc->faults.no_answer)
				vclock_schedule(device->clock, &desc->event,
						engine_end(engine, desc));
		}
	}
}

static void virtual_done(struct vclock_event *event)
{
	struct idxd_desc *desc = container_of(event, struct idxd_desc, event);
	struct idxd_engine *engine = desc->engine;

	engine_commit(engine, desc);
	engine->busy = false;
	virtual_dispatch(engine->device);
}

static void virtual_resume(struct vclock_event *event)
{
	virtual_dispatch(container_of(event, struct idxd_device, resume));
}

/* ---- create, destroy, enable, remove ---- */

static int config_check(const struct idxd_config *config)
{
	unsigned int entries = 0, engines = 0;

	for (unsigned int i = 0; i < IDXD_MAX_ENGINES; i++) {
		if (config->engine_group[i] >= IDXD_MAX_GROUPS)
			return -EINVAL;
		engines += config->engine_group[i] >= 0;
	}
	for (unsigned int i = 0; i < IDXD_MAX_WQS; i++) {
		const struct idxd_wq_config *wq = &config->wq[i];
		bool served = false;

		if (!wq->size)
			continue;
		entries += wq->size;
		for (unsigned int j = 0; j < IDXD_MAX_ENGINES; j++)
			served |= config->engine_group[j] >= 0 &&
				  (unsigned int)config->engine_group[j] == wq->group;
		if (wq->size > IDXD_MAX_WQ_SIZE || wq->group >= IDXD_MAX_GROUPS || !wq->priority ||
		    wq->priority > 15 || wq->enqcmds_retries > IDXD_MAX_RETRIES || !served ||
		    (wq->shared && (!wq->threshold || wq->threshold > wq->size)))
			return -EINVAL;
		if (wq->shared && !config->pasid)
			return -EOPNOTSUPP;
	}
	return entries && entries <= IDXD_MAX_WQ_SIZE && engines ? 0 : -EINVAL;
}

static int engine_init(struct idxd_device *device, struct idxd_engine *engine,
		       const struct acomp_alg *software)
{
	struct crypto_acomp *tfm = crypto_alloc_acomp_node(device->mm, software, device->nid);

	if (IS_ERR(tfm))
		return PTR_ERR(tfm);
	engine->tfm = tfm;
	engine->src = malloc(MAX_TRANSFER + MAX_OUTPUT);
	if (!engine->src)
		return -ENOMEM;
	engine->dst = engine->src + MAX_TRANSFER;
	return 0;
}

static int queue_init(struct idxd_device *device, struct idxd_wq *wq)
{
	int ret = idxd_wq_init(wq);

	if (ret)
		return ret;
	for (unsigned int i = 0; i < wq->config.size; i++)
		wq->descs[i].event.fire = virtual_done;
	wq->group = &device->groups[wq->config.group];
	return 0;
}

static int device_init(struct idxd_device *device, const struct acomp_alg *software)
{
	unsigned int entries = 0;
	int ret;

	for (unsigned int i = 0; i < IDXD_MAX_ENGINES; i++) {
		struct idxd_engine *engine = &device->engines[i];

		engine->device = device;
		if (device->config.engine_group[i] < 0)
			continue;
		ret = engine_init(device, engine, software);
		if (ret)
			return ret;
		engine->group = &device->groups[device->config.engine_group[i]];
	}
	for (unsigned int i = 0; i < IDXD_MAX_WQS; i++) {
		if (!device->wqs[i].config.size)
			continue;
		entries += device->wqs[i].config.size;
		ret = queue_init(device, &device->wqs[i]);
		if (ret)
			return ret;
	}
	if (!device->clock)
		return 0;
	ret = vclock_reserve(device->clock, entries + 1);
	if (!ret)
		device->events = entries + 1;
	return ret;
}

struct idxd_device *idxd_device_create(struct kmem *mm, unsigned int id, unsigned int nid,
				       const struct idxd_config *config,
				       const struct idxd_profile *profile,
				       const struct acomp_alg *software, struct idxd_plan *plan,
				       struct vclock *clock, int *err)
{
	struct idxd_device *device;

	*err = config_check(config);
	if (*err)
		return NULL;
	*err = -ENOMEM;
	device = calloc(1, sizeof(*device));
	if (!device)
		return NULL;
	device->mm = mm;
	device->id = id;
	device->nid = nid;
	device->config = *config;
	device->profile = *profile;
	device->plan = plan;
	device->clock = clock;
	device->random = profile->seed + id;
	device->resume.fire = virtual_resume;
	for (unsigned int i = 0; i < IDXD_MAX_GROUPS; i++) {
		pthread_mutex_init(&device->groups[i].lock, NULL);
		cond_init(&device->groups[i].work);
	}
	for (unsigned int i = 0; i < IDXD_MAX_WQS; i++) {
		device->wqs[i].device = device;
		device->wqs[i].id = i;
		device->wqs[i].config = config->wq[i];
		device->wqs[i].profile = &device->profile;
		device->wqs[i].clock = clock;
		INIT_LIST_HEAD(&device->wqs[i].queue);
		INIT_LIST_HEAD(&device->wqs[i].waiters);
	}
	*err = device_init(device, software);
	if (*err) {
		idxd_device_free(device);
		return NULL;
	}
	return device;
}

static void cancel_events(struct idxd_device *device)
{
	for (unsigned int i = 0; i < IDXD_MAX_WQS; i++)
		for (unsigned int j = 0; device->wqs[i].descs && j < device->wqs[i].config.size;
		     j++)
			vclock_cancel(device->clock, &device->wqs[i].descs[j].event);
	vclock_cancel(device->clock, &device->resume);
}

void idxd_device_free(struct idxd_device *device)
{
	if (!device)
		return;
	if (device->clock) {
		enter(device);
		cancel_events(device);
		vclock_leave(device->clock);
		vclock_unreserve(device->clock, device->events);
	}
	for (unsigned int i = 0; i < IDXD_MAX_WQS; i++)
		idxd_wq_deinit(&device->wqs[i]);
	for (unsigned int i = 0; i < IDXD_MAX_ENGINES; i++) {
		crypto_free_acomp(device->engines[i].tfm);
		free(device->engines[i].src);
	}
	for (unsigned int i = 0; i < IDXD_MAX_GROUPS; i++) {
		pthread_cond_destroy(&device->groups[i].work);
		pthread_mutex_destroy(&device->groups[i].lock);
	}
	free(device);
}

struct idxd_wq *idxd_device_wq(struct idxd_device *device, unsigned int wq)
{
	return wq < IDXD_MAX_WQS && device->wqs[wq].config.size ? &device->wqs[wq] : NULL;
}

unsigned int idxd_device_id(const struct idxd_device *device)
{
	return device->id;
}

enum idxd_device_state idxd_device_state(struct idxd_device *device)
{
	return atomic_load(&device->state);
}

/*
 * Empties the queues and aborts all descriptors. An engine cannot commit one
 * that is aborted.
 */
static void abort_all(struct idxd_device *device)
{
	for (unsigned int i = 0; i < IDXD_MAX_GROUPS; i++) {
		struct idxd_group *group = &device->groups[i];
		struct idxd_desc *desc;

		pthread_mutex_lock(&group->lock);
		while ((desc = group_pop(device, group))) {
			desc_cancel(desc, 0);
			idxd_free_desc(desc);
		}
		pthread_mutex_unlock(&group->lock);
	}
	for (unsigned int i = 0; i < IDXD_MAX_WQS; i++) {
		for (unsigned int j = 0; j < device->wqs[i].config.size; j++)
			desc_cancel(&device->wqs[i].descs[j], 0);
		idxd_wq_wake_all(&device->wqs[i]);
	}
}

void idxd_device_set_state(struct idxd_device *device, enum idxd_device_state state)
{
	if (device->clock)
		enter(device);
	atomic_store(&device->state, state);
	if (state == IDXD_DEV_ENABLED)
		atomic_store(&device->stopped_until, 0);
	else
		abort_all(device);
	if (device->clock) {
		virtual_dispatch(device);
		vclock_leave(device->clock);
	} else {
		wake_engines(device);
	}
}

/* ---- the portal ---- */

static void device_stall(struct idxd_device *device, u64 ns)
{
	u64 now = device_now(device), until = ns ? vclock_add(now, ns) : VCLOCK_NEVER;

	atomic_store(&device->stopped_since, now);
	atomic_store(&device->stopped_until, until);
	if (device->clock)
		vclock_schedule(device->clock, &device->resume, until);
}

bool idxd_portal_is_full(struct idxd_wq *wq)
{
	return idxd_plan_is_full(wq->device->plan, wq->device->id, wq->id);
}

bool idxd_portal_open(struct idxd_desc *desc)
{
	struct idxd_wq *wq = desc->wq;
	struct idxd_device *device = wq->device;

	desc->faults = idxd_plan_next(device->plan, device->id, wq->id, desc->iax_hw.opcode);
	/* before an engine can take it */
	if (unlikely(desc->faults.stop))
		device_stall(device, desc->faults.stop_ns);
	return desc->faults.remove;
}

int idxd_portal_write(struct idxd_desc *desc)
{
	struct idxd_wq *wq = desc->wq;
	struct idxd_group *group = wq->group;
	int ret = 0;

	pthread_mutex_lock(&group->lock);
	if (atomic_load(&wq->device->state) != IDXD_DEV_ENABLED ||
	    atomic_load(&wq->device->stopping)) {
		ret = -EIO;
	} else if (wq->config.shared && wq->queued >= wq->config.threshold) {
		ret = -EAGAIN;
	} else {
		atomic_store_explicit(&desc->refs, 2, memory_order_relaxed);
		atomic_store_explicit(&desc->state, IDXD_DESC_SUBMITTED, memory_order_release);
		list_add_tail(&desc->list, &wq->queue);
		wq->queued++;
		if (group->idle)
			pthread_cond_signal(&group->work);
	}
	pthread_mutex_unlock(&group->lock);
	return ret;
}

void idxd_portal_close(struct idxd_wq *wq, bool remove)
{
	if (unlikely(remove))
		idxd_device_set_state(wq->device, IDXD_DEV_REMOVED);
	if (wq->clock)
		virtual_dispatch(wq->device);
}

void idxd_portal_withdraw(struct idxd_desc *desc)
{
	struct idxd_wq *wq = desc->wq;
	bool queued;

	pthread_mutex_lock(&wq->group->lock);
	queued = !list_empty(&desc->list);
	if (queued) {
		list_del_init(&desc->list);
		wq->queued--;
	}
	pthread_mutex_unlock(&wq->group->lock);
	if (queued)
		idxd_free_desc(desc);
}
