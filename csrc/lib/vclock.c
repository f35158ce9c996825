// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Virtual time: one heap holds the events and the turns that actors wait for.
 *
 * An actor is in one of these states:
 *  - running    clock->running: it holds the turn, or passes it on;
 *  - queued     its event is in the heap, at the time of its next turn;
 *  - parked     as queued, or in no heap if it parked without a deadline;
 *  - preempted  'lost': it had the turn past the stall limit; it gets no other.
 *
 * The actor that starts to wait passes the turn on. It takes events off the
 * heap and fires them, in its own thread, until the next entry is an actor's
 * turn; that actor it wakes by its condition. If no actor waits, or the heap is
 * empty, the clock stops with no actor running until a thread asks for a turn.
 *
 * A waiting actor also waits, in real time, for the stall limit of the one that
 * runs, and preempts it.
 *
 * Locks: clock->lock covers the clock and its actors, but not 'outer' and
 * 'attached', which are the thread's. It is the innermost, and free while an
 * event fires or an actor runs.
 */
#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#include "lib/vclock.h"

#define NSEC_PER_SEC 1000000000ull
#define STALL_NS     (10 * NSEC_PER_SEC)
#define MIN_ROOM     16

struct vclock_actor {
	struct vclock_event event; /* its next turn; has no fire() */
	struct vclock *clock;
	struct vclock_actor *outer; /* the thread's next actor, of another clock */
	unsigned int depth;         /* of nested vclock_enter() calls */
	bool attached;              /* vclock_detach() ends it, not its last vclock_leave() */
	bool lost;                  /* preempted: it gets no other turn */
	pthread_cond_t turn;
	bool waiting; /* for its turn: queued, or parked without a deadline */
	bool parked, woken;
};

struct vclock {
	pthread_mutex_t lock;       /* innermost; not held while an event fires or an actor runs */
	struct vclock_event **heap; /* from index 1, ordered by time and seq */
	size_t nr, room, reserved;  /* nr <= reserved <= room */
	u64 now, seq, stall_ns, stalls;
	struct vclock_actor *running; /* holds the turn, or is passing it on */
	u64 turn_since;               /* in real time */
	bool firing;                  /* an event fires, in the thread of 'running' */
	size_t nr_waiting;            /* actors */
	atomic_uint refs;
};

/* The calling thread's actors, each of another clock. */
static __thread struct vclock_actor *current_actor;

/* ---- the heap ---- */

static bool before(const struct vclock_event *a, const struct vclock_event *b)
{
	return a->time != b->time ? a->time < b->time : a->seq < b->seq;
}

static void place(struct vclock *clock, struct vclock_event *event, size_t i)
{
	clock->heap[i] = event;
	event->index = i;
}

static void sift_up(struct vclock *clock, struct vclock_event *event, size_t i)
{
	for (; i > 1 && before(event, clock->heap[i / 2]); i /= 2)
		place(clock, clock->heap[i / 2], i);
	place(clock, event, i);
}

static void sift_down(struct vclock *clock, struct vclock_event *event, size_t i)
{
	for (size_t child; (child = 2 * i) <= clock->nr; i = child) {
		if (child < clock->nr && before(clock->heap[child + 1], clock->heap[child]))
			child++;
		if (before(event, clock->heap[child]))
			break;
		place(clock, clock->heap[child], i);
	}
	place(clock, event, i);
}

static void heap_remove(struct vclock *clock, struct vclock_event *event)
{
	size_t i = event->index;
	struct vclock_event *last;

	if (!i)
		return;
	event->index = 0;
	last = clock->heap[clock->nr--];
	if (last == event)
		return;
	if (i > 1 && before(last, clock->heap[i / 2]))
		sift_up(clock, last, i);
	else
		sift_down(clock, last, i);
}

static void heap_add(struct vclock *clock, struct vclock_event *event, u64 time)
{
	heap_remove(clock, event);
	if (time == VCLOCK_NEVER)
		return;
	assert(clock->nr < clock->reserved);
	event->time = max(time, clock->now);
	event->seq = clock->seq++;
	sift_up(clock, event, ++clock->nr);
}

int vclock_reserve(struct vclock *clock, size_t nr)
{
	int ret = 0;

	pthread_mutex_lock(&clock->lock);
	if (clock->room - clock->reserved < nr) {
		size_t room = max(clock->reserved + nr, 2 * clock->room);
		void *heap = realloc(clock->heap, (room + 1) * sizeof(*clock->heap));

		if (heap) {
			clock->heap = heap;
			clock->room = room;
		} else {
			ret = -ENOMEM;
		}
	}
	if (!ret)
		clock->reserved += nr;
	pthread_mutex_unlock(&clock->lock);
	return ret;
}

void vclock_unreserve(struct vclock *clock, size_t nr)
{
	pthread_mutex_lock(&clock->lock);
	assert(clock->reserved - clock->nr >= nr);
	clock->reserved -= nr;
	pthread_mutex_unlock(&clock->lock);
}

/* ---- turns; the caller holds the lock ---- */

static void queue(struct vclock *clock, struct vclock_actor *actor, u64 time)
{
	heap_add(clock, &actor->event, time);
	clock->nr_waiting += !actor->waiting;
	actor->waiting = true;
}

static void dequeue(struct vclock *clock, struct vclock_actor *actor)
{
	heap_remove(clock, &actor->event);
	clock->nr_waiting -= actor->waiting;
	actor->waiting = false;
}

static void give_turn(struct vclock *clock, struct vclock_actor *actor)
{
	dequeue(clock, actor);
	clock->running = actor;
	clock->turn_since = ktime_get_ns();
	pthread_cond_signal(&actor->turn);
}

static void fire(struct vclock *clock, struct vclock_event *event)
{
	heap_remove(clock, event);
	clock->firing = true;
	pthread_mutex_unlock(&clock->lock);
	event->fire(event);
	pthread_mutex_lock(&clock->lock);
	clock->firing = false;
}

/*
 * Fires events until an actor's turn is next, and gives it the turn. That may
 * be 'me' itself. 'me' holds the turn meanwhile, so that no other thread does
 * the same.
 */
static void pass_turn(struct vclock *clock, struct vclock_actor *me)
{
	clock->running = me;
	while (clock->nr && clock->nr_waiting) {
		struct vclock_event *event = clock->heap[1];

		clock->now = event->time;
		if (!event->fire) {
			give_turn(clock, container_of(event, struct vclock_actor, event));
			return;
		}
		fire(clock, event);
	}
	clock->running = NULL;
}

/*
 * Passes the turn on if 'me' holds it, or if no actor does and time may have to
 * go on.
 */
static void give_up_turn(struct vclock *clock, struct vclock_actor *me)
{
	if (!clock->running || clock->running == me)
		pass_turn(clock, me);
}

/*
 * Returns true if the actor that runs can be preempted. It cannot while it
 * fires an event, or between vclock_enter() and vclock_leave(): there it waits
 * for no other actor, and relies on being the only one that runs.
 */
static bool can_be_lost(const struct vclock *clock)
{
	return clock->nr && clock->running && !clock->firing && !clock->running->depth;
}

static bool stalled(const struct vclock *clock, u64 ns)
{
	return can_be_lost(clock) && ktime_get_ns() >= vclock_add(clock->turn_since, ns);
}

static void take_turn(struct vclock *clock, struct vclock_actor *me)
{
	clock->stalls++;
	clock->running->lost = true;
	pass_turn(clock, me);
}

/*
 * Passes the turn on and waits for the next one. Returns 0, or -EDEADLK if 'me'
 * was preempted before this thread saw its turn.
 */
static int wait_for_turn(struct vclock *clock, struct vclock_actor *me)
{
	give_up_turn(clock, me);
	while (clock->running != me && !me->lost) {
		u64 since = can_be_lost(clock) ? clock->turn_since : ktime_get_ns();

		if (cond_wait_until(&me->turn, &clock->lock, vclock_add(since, clock->stall_ns)) &&
		    clock->running != me && stalled(clock, clock->stall_ns))
			take_turn(clock, me);
	}
	return me->lost ? -EDEADLK : 0;
}

/* ---- actors ---- */

struct vclock_actor *vclock_current(struct vclock *clock)
{
	struct vclock_actor *actor = current_actor;

	while (actor && actor->clock != clock)
		actor = actor->outer;
	return actor;
}

static struct vclock_actor *actor_create(struct vclock *clock, unsigned int depth)
{
	struct vclock_actor *actor = calloc(1, sizeof(*actor));

	if (!actor)
		return NULL;
	if (!cond_init(&actor->turn))
		goto err_free;
	if (vclock_reserve(clock, 1))
		goto err_turn;
	actor->clock = clock;
	actor->depth = depth;
	pthread_mutex_lock(&clock->lock);
	queue(clock, actor, clock->now);
	pthread_mutex_unlock(&clock->lock);
	return actor;

err_turn:
	pthread_cond_destroy(&actor->turn);
err_free:
	free(actor);
	return NULL;
}

struct vclock_actor *vclock_actor_create(struct vclock *clock)
{
	return actor_create(clock, 0);
}

static void forget_current(struct vclock_actor *me)
{
	for (struct vclock_actor **p = &current_actor; *p; p = &(*p)->outer) {
		if (*p == me) {
			*p = me->outer;
			return;
		}
	}
}

static int attach(struct vclock *clock, struct vclock_actor *me)
{
	int ret = 0;

	assert(!vclock_current(clock));
	me->outer = current_actor;
	current_actor = me;
	pthread_mutex_lock(&clock->lock);
	if (clock->running != me)
		ret = wait_for_turn(clock, me);
	pthread_mutex_unlock(&clock->lock);
	if (ret)
		forget_current(me);
	return ret;
}

int vclock_attach(struct vclock *clock, struct vclock_actor *me)
{
	me->attached = true;
	return attach(clock, me);
}

/* The thread may still fire events here, so it keeps its actor until then. */
void vclock_detach(struct vclock *clock, struct vclock_actor *me)
{
	pthread_mutex_lock(&clock->lock);
	dequeue(clock, me);
	give_up_turn(clock, me);
	pthread_mutex_unlock(&clock->lock);
	forget_current(me);
	vclock_unreserve(clock, 1);
	pthread_cond_destroy(&me->turn);
	free(me);
}

int vclock_enter(struct vclock *clock)
{
	struct vclock_actor *me = vclock_current(clock);
	bool lost;

	if (!me) {
		me = actor_create(clock, 1);
		if (!me)
			return -ENOMEM;
		return attach(clock, me);
	}
	pthread_mutex_lock(&clock->lock);
	lost = me->lost;
	me->depth += !lost;
	pthread_mutex_unlock(&clock->lock);
	if (!lost)
		return 0;
	forget_current(me);
	return -EDEADLK;
}

void vclock_leave(struct vclock *clock)
{
	struct vclock_actor *me = vclock_current(clock);

	if (me->depth == 1 && !me->attached) {
		vclock_detach(clock, me);
		return;
	}
	pthread_mutex_lock(&clock->lock); /* waiting actors read the depth */
	me->depth--;
	pthread_mutex_unlock(&clock->lock);
}

/* ---- what actors do ---- */

int vclock_sleep(struct vclock *clock, u64 ns)
{
	int ret = vclock_enter(clock);
	struct vclock_actor *me;

	if (ret)
		return ret;
	me = vclock_current(clock);
	pthread_mutex_lock(&clock->lock);
	queue(clock, me, vclock_add(clock->now, ns));
	wait_for_turn(clock, me);
	pthread_mutex_unlock(&clock->lock);
	vclock_leave(clock);
	return 0;
}

void vclock_park(struct vclock *clock, u64 deadline)
{
	struct vclock_actor *me = vclock_current(clock);

	pthread_mutex_lock(&clock->lock);
	assert(clock->running == me);
	if (!me->woken) {
		me->parked = true;
		queue(clock, me, deadline);
		wait_for_turn(clock, me);
		me->parked = false;
	}
	me->woken = false;
	pthread_mutex_unlock(&clock->lock);
}

void vclock_wake(struct vclock *clock, struct vclock_actor *actor)
{
	pthread_mutex_lock(&clock->lock);
	if (actor->parked && actor->waiting && !actor->woken)
		queue(clock, actor, clock->now);
	actor->woken = true;
	pthread_mutex_unlock(&clock->lock);
}

void vclock_schedule(struct vclock *clock, struct vclock_event *event, u64 time)
{
	pthread_mutex_lock(&clock->lock);
	heap_add(clock, event, time);
	pthread_mutex_unlock(&clock->lock);
}

void vclock_cancel(struct vclock *clock, struct vclock_event *event)
{
	vclock_schedule(clock, event, VCLOCK_NEVER);
}

/* ---- the clock ---- */

struct vclock *vclock_create(void)
{
	struct vclock *clock = calloc(1, sizeof(*clock));

	if (!clock)
		return NULL;
	clock->room = MIN_ROOM;
	clock->heap = malloc((clock->room + 1) * sizeof(*clock->heap));
	if (!clock->heap) {
		free(clock);
		return NULL;
	}
	pthread_mutex_init(&clock->lock, NULL);
	clock->stall_ns = STALL_NS;
	atomic_init(&clock->refs, 1);
	return clock;
}

struct vclock *vclock_get(struct vclock *clock)
{
	atomic_fetch_add(&clock->refs, 1);
	return clock;
}

void vclock_put(struct vclock *clock)
{
	if (atomic_fetch_sub(&clock->refs, 1) > 1)
		return;
	pthread_mutex_destroy(&clock->lock);
	free(clock->heap);
	free(clock);
}

static u64 read_locked(struct vclock *clock, const u64 *value)
{
	u64 ret;

	pthread_mutex_lock(&clock->lock);
	ret = *value;
	pthread_mutex_unlock(&clock->lock);
	return ret;
}

u64 vclock_now(struct vclock *clock)
{
	return read_locked(clock, &clock->now);
}

u64 vclock_stalls(struct vclock *clock)
{
	return read_locked(clock, &clock->stalls);
}

void vclock_set_stall(struct vclock *clock, u64 ns)
{
	pthread_mutex_lock(&clock->lock);
	clock->stall_ns = ns;
	pthread_mutex_unlock(&clock->lock);
}

bool vclock_actor_lost(struct vclock *clock, struct vclock_actor *actor)
{
	bool ret;

	pthread_mutex_lock(&clock->lock);
	ret = actor->lost;
	pthread_mutex_unlock(&clock->lock);
	return ret;
}

struct vclock_actor *vclock_stalling(struct vclock *clock, u64 ns)
{
	struct vclock_actor *ret;

	pthread_mutex_lock(&clock->lock);
	ret = stalled(clock, ns) ? clock->running : NULL;
	pthread_mutex_unlock(&clock->lock);
	return ret;
}
