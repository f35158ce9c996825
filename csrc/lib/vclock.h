/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Virtual time: discrete events on a heap, and threads that take turns.
 *
 *  - An actor is a thread that works with the clock.
 *  - The turn is the right to run. At most one actor holds it. Turns are given
 *    by virtual time, and at equal times in the order in which they were asked
 *    for.
 *  - An actor waits when it sleeps, parks or asks for its first turn. It then
 *    passes the turn on, and gets it back at the time that it waits for.
 *  - Time passes only while every actor waits: it then jumps to the next event
 *    or turn. What an actor computes takes no virtual time, so a run gives the
 *    same nanoseconds on any machine.
 *  - While there is no actor, time stands still and scheduled events wait.
 *  - A stall is a turn that is kept, in real time, past the stall limit while
 *    others wait. The actor that holds it is then preempted: it loses the turn,
 *    and its next vclock_enter() or vclock_sleep() fails with -EDEADLK. Without
 *    this a run would hang when the actor that runs blocks on a lock that a
 *    waiting actor holds.
 *
 * Every function locks the clock by itself. The clock's lock is the innermost:
 * a caller may hold any other lock.
 */
#ifndef ZSWAP_VCLOCK_H
#define ZSWAP_VCLOCK_H

#include "lib/kernel.h"

#define VCLOCK_NEVER UINT64_MAX

/* The sum of two times, at most VCLOCK_NEVER - 1: times do not wrap. */
static inline u64 vclock_add(u64 time, u64 ns)
{
	return ns < VCLOCK_NEVER - 1 - time ? time + ns : VCLOCK_NEVER - 1;
}

struct vclock;
struct vclock_actor;

/*
 * An event, embedded in the object that it concerns. Zero all but 'fire' before
 * the first use.
 *
 * The thread that passes the turn on calls fire(), at the event's time and with
 * the clock's lock free. fire() may schedule, cancel and wake. It must not wait
 * on the clock, nor for a lock that an actor holds while it waits.
 */
struct vclock_event {
	u64 time, seq;
	size_t index; /* position in the heap, from 1; 0: not scheduled */
	void (*fire)(struct vclock_event *event);
};

/* cffi: begin */

/* ---- virtual time ---- */

struct vclock;
struct vclock_actor;

/*
 * Creates a clock at time 0, on which the caller holds a reference. Returns
 * NULL if there is no memory.
 */
struct vclock *vclock_create(void);
/* Drops a reference. The last one frees the clock. */
void vclock_put(struct vclock *clock);
/* Returns the virtual time in nanoseconds. */
uint64_t vclock_now(struct vclock *clock);

/*
 * Makes the calling thread an actor until vclock_leave(), and returns when it
 * has the turn. Its turn is asked for at the present time, behind all that were
 * asked for before. Calls nest: in a thread that is an actor already the call
 * does not wait, and the actor cannot be preempted before the matching
 * vclock_leave().
 *
 * Returns 0; -ENOMEM, only in a thread that is no actor; or -EDEADLK if the
 * actor was preempted. After -EDEADLK the thread is no actor any more.
 */
int vclock_enter(struct vclock *clock);
void vclock_leave(struct vclock *clock);
/* Returns the calling thread's actor, or NULL if it is none. */
struct vclock_actor *vclock_current(struct vclock *clock);

/*
 * Actors in an order that their creator sets, whatever order their threads
 * start in. Create them one after the other between vclock_enter() and
 * vclock_leave(), then let a thread attach each.
 *
 * vclock_actor_create() returns NULL if there is no memory. vclock_attach()
 * makes the calling thread the actor, waits for its turn and returns 0, or
 * -EDEADLK if the actor was preempted before the thread saw its turn.
 * vclock_detach() passes the turn on and frees the actor. The thread that
 * attached it must call it, also if vclock_attach() failed or the actor was
 * preempted later. Any thread may call it if none attached the actor.
 */
struct vclock_actor *vclock_actor_create(struct vclock *clock);
int vclock_attach(struct vclock *clock, struct vclock_actor *actor);
void vclock_detach(struct vclock *clock, struct vclock_actor *actor);

/*
 * Waits until 'ns' nanoseconds of virtual time have passed. A thread that is no
 * actor is one for just this call. Returns as vclock_enter().
 */
int vclock_sleep(struct vclock *clock, uint64_t ns);

/*
 * Sets the stall limit, in nanoseconds of real time; it starts at 10 s. An
 * actor that keeps its turn past the limit while others wait is preempted: the
 * turn passes on, and the actor's next vclock_enter() or vclock_sleep() fails
 * with -EDEADLK. Only an attached actor can be preempted, and not between
 * vclock_enter() and vclock_leave(), where it relies on being the only one that
 * runs.
 */
void vclock_set_stall(struct vclock *clock, uint64_t ns);
/* Number of actors preempted for holding the turn past the stall limit. */
uint64_t vclock_stalls(struct vclock *clock);
/* Returns true if the actor was preempted. */
bool vclock_actor_lost(struct vclock *clock, struct vclock_actor *actor);
/*
 * Returns the actor that has held the turn for at least 'ns' of real time and
 * can be preempted, or NULL.
 */
struct vclock_actor *vclock_stalling(struct vclock *clock, uint64_t ns);

/* cffi: end */

/* Takes a reference, and returns the clock. */
struct vclock *vclock_get(struct vclock *clock);

/*
 * Reserves room in the heap for 'nr' events of the caller's, so that
 * vclock_schedule() cannot fail. Returns 0 or -ENOMEM. Unreserve it once those
 * events are neither scheduled nor needed. Any thread may call both.
 */
int vclock_reserve(struct vclock *clock, size_t nr);
void vclock_unreserve(struct vclock *clock, size_t nr);

/*
 * Schedules an event, or moves one that is scheduled already. A time in the
 * past counts as the present; VCLOCK_NEVER cancels the event. Only the actor
 * that holds the turn, or a fire(), may schedule, cancel and wake.
 */
void vclock_schedule(struct vclock *clock, struct vclock_event *event, u64 time);
void vclock_cancel(struct vclock *clock, struct vclock_event *event);

/*
 * Waits for vclock_wake() or until the virtual time 'deadline' (VCLOCK_NEVER:
 * none). Returns at once if the actor was woken since its last park. Call it
 * between vclock_enter() and vclock_leave().
 */
void vclock_park(struct vclock *clock, u64 deadline);
/*
 * Wakes an actor: a parked one asks for its turn at the present time; the next
 * park of any other returns at once.
 */
void vclock_wake(struct vclock *clock, struct vclock_actor *actor);

#endif
