// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * idxd's submission side, as drivers/dma/idxd/submit.c has it: descriptors are
 * allocated, submitted and waited for. wq.c holds the free ones.
 *
 * Whether a descriptor is queued, worked on or aborted is the device's matter:
 * this file reaches it through the portal (see iaa/idxd.h).
 */
#include <linux/futex.h>
#include <sched.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "iaa/idxd.h"

#define SPIN_NS  2000    /* a poller spins for this long, then sleeps */
#define RETRY_NS 50000   /* between two tries of a caller that waits without limit */
#define LOOK_NS  5000000 /* between a sleeper's two looks at the device's time */

/* ---- alloc ---- */

/*
 * Between two tries the caller spins on the CPU's pause instruction for
 * SPIN_NS. After that it lets other threads run, or sleeps if its tries have no
 * limit.
 */
static void pause_between(u64 start, bool endless)
{
	if (ktime_get_ns() - start < SPIN_NS)
		cpu_relax();
	else if (endless)
		nanosleep(&(struct timespec){ .tv_nsec = RETRY_NS }, NULL);
	else
		sched_yield();
}

static void desc_prepare(struct idxd_desc *desc)
{
	memset(&desc->iax_hw, 0, sizeof(desc->iax_hw));
	memset(&desc->iax_completion, 0, sizeof(desc->iax_completion));
	memset(&desc->faults, 0, sizeof(desc->faults));
	desc->submitted_ns = 0;
	desc->waiter = NULL;
	atomic_store_explicit(&desc->device_ns, 0, memory_order_relaxed);
	atomic_store_explicit(&desc->refs, 1, memory_order_relaxed);
	atomic_store_explicit(&desc->state, IDXD_DESC_PREPARED, memory_order_release);
}

/* The virtual time that 'tries' tries take: a pause after each but the last. */
static u64 tries_ns(const struct idxd_wq *wq, unsigned int tries)
{
	return (tries - 1) * wq->profile->pause_ns;
}

/*
 * Returns a free descriptor; NULL after 'tries' tries, or once the device is
 * not enabled. In virtual time each try would be a turn. So the caller sleeps,
 * and the actor that frees a descriptor wakes it; callers are served in the
 * order of asking.
 */
static struct idxd_desc *virtual_await_desc(struct idxd_wq *wq, unsigned int tries)
{
	struct idxd_wq_waiter waiter = { .actor = vclock_current(wq->clock) };
	u64 deadline = tries ? vclock_add(vclock_now(wq->clock), tries_ns(wq, tries)) :
			       VCLOCK_NEVER;
	struct idxd_desc *desc;

	list_add_tail(&waiter.list, &wq->waiters);
	while (!(desc = idxd_wq_get_desc(wq)) && vclock_now(wq->clock) < deadline &&
	       idxd_device_state(wq->device) == IDXD_DEV_ENABLED)
		vclock_park(wq->clock, deadline);
	list_del_init(&waiter.list);
	idxd_wq_wake_waiter(wq); /* a second descriptor may have come free meanwhile */
	return desc;
}

static struct idxd_desc *real_await_desc(struct idxd_wq *wq, unsigned int tries)
{
	u64 start = ktime_get_ns();

	for (unsigned int i = 1;; i++) {
		struct idxd_desc *desc = idxd_wq_get_desc(wq);

		if (likely(desc) || i == tries || idxd_device_state(wq->device) != IDXD_DEV_ENABLED)
			return desc;
		pause_between(start, !tries);
	}
}

struct idxd_desc *idxd_alloc_desc(struct idxd_wq *wq, unsigned int tries)
{
	struct idxd_desc *desc;

	if (unlikely(idxd_device_state(wq->device) != IDXD_DEV_ENABLED))
		return ERR_PTR(-EIO);
	if (unlikely(!wq->config.shared && idxd_portal_is_full(wq))) {
		if (wq->clock && tries)
			vclock_sleep(wq->clock, tries_ns(wq, tries));
		return ERR_PTR(-EAGAIN);
	}
	desc = wq->clock ? virtual_await_desc(wq, tries) : real_await_desc(wq, tries);
	if (unlikely(!desc))
		return ERR_PTR(idxd_device_state(wq->device) == IDXD_DEV_ENABLED ? -EAGAIN : -EIO);
	desc_prepare(desc);
	return desc;
}

void idxd_renew_desc(struct idxd_desc *desc)
{
	desc_prepare(desc);
}

/* ---- submit ---- */

int idxd_submit_desc(struct idxd_desc *desc)
{
	struct idxd_wq *wq = desc->wq;
	bool full = wq->config.shared && idxd_portal_is_full(wq);
	unsigned int tries = wq->config.shared ? 1 + wq->config.enqcmds_retries : 1;
	bool remove;
	int ret;

	desc->submitted_ns = wq->clock ? vclock_now(wq->clock) : ktime_get_ns();
	remove = idxd_portal_open(desc);
	for (;;) {
		ret = full ? -EAGAIN : idxd_portal_write(desc);
		if (ret != -EAGAIN || !--tries)
			break;
		/* time must pass, or the queue never gets room */
		if (wq->clock)
			vclock_sleep(wq->clock, max(wq->profile->pause_ns, 1u));
		else
			pause_between(desc->submitted_ns, false);
	}
	idxd_portal_close(wq, remove);
	return ret;
}

/* ---- wait ---- */

bool idxd_desc_done(struct idxd_desc *desc)
{
	return idxd_desc_state(desc) >= IDXD_DESC_DONE;
}

/* The wait's result; the descriptor may also have just ended by itself. */
static int wait_result(struct idxd_desc *desc)
{
	u32 state = atomic_load_explicit(&desc->state, memory_order_acquire);

	if ((state & IDXD_DESC_STATE) == IDXD_DESC_DONE)
		return 0;
	return state & IDXD_DESC_TIMED_OUT ? -ETIMEDOUT : -EIO;
}

static bool timed_out(struct idxd_desc *desc)
{
	return unlikely(idxd_desc_device_ns(desc) >= desc->wq->profile->timeout_ns) &&
	       idxd_desc_abort(desc, IDXD_DESC_TIMED_OUT);
}

static void virtual_wait(struct idxd_desc *desc)
{
	struct idxd_wq *wq = desc->wq;
	u64 deadline = vclock_add(desc->submitted_ns, wq->profile->timeout_ns);

	desc->waiter = vclock_current(wq->clock);
	while (!idxd_desc_done(desc) && !timed_out(desc))
		vclock_park(wq->clock, deadline);
	desc->waiter = NULL;
}

static void real_wait(struct idxd_desc *desc)
{
	u64 start = ktime_get_ns();

	while (!idxd_desc_done(desc)) {
		u32 state = atomic_load_explicit(&desc->state, memory_order_relaxed);

		if (ktime_get_ns() - start < SPIN_NS) {
			cpu_relax();
			continue;
		}
		if (timed_out(desc))
			break;
		if ((state & IDXD_DESC_STATE) >= IDXD_DESC_DONE ||
		    !atomic_compare_exchange_strong(&desc->state, &state, state | IDXD_DESC_WAITED))
			continue;
		syscall(SYS_futex, &desc->state, FUTEX_WAIT_PRIVATE, state | IDXD_DESC_WAITED,
			&(struct timespec){ .tv_nsec = LOOK_NS }, NULL, 0);
	}
}

int idxd_desc_wait(struct idxd_desc *desc)
{
	if (!idxd_desc_done(desc)) {
		if (desc->wq->clock)
			virtual_wait(desc);
		else
			real_wait(desc);
	}
	if (unlikely(idxd_desc_state(desc) == IDXD_DESC_ABORTED))
		idxd_portal_withdraw(desc);
	return wait_result(desc);
}
