/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Virtual time: discrete events on a heap, and threads that take turns in it. A
 * thread that works with the clock is an actor; at most one actor runs at a
 * time, the one whose turn comes first, by time and then by order of asking.
 * Time passes only while all actors wait, so that a run gives the same
 * nanoseconds whatever the machine is doing. While there is no actor it stands
 * still, and what is scheduled waits.
 */
#ifndef ZSWAP_VCLOCK_H
#define ZSWAP_VCLOCK_H

#include "lib/kernel.h"

#define VCLOCK_NEVER UINT64_MAX

/* Times do not go round, and what is to come comes before that. */
static inline u64 vclock_add(u64 time, u64 ns)
{
	return ns < VCLOCK_NEVER - 1 - time ? time + ns : VCLOCK_NEVER - 1;
}

struct vclock;
struct vclock_actor;

/*
 * Embedded in what is to happen; zeroed but for 'fire' before its first use.
 * fire() is called by whichever thread is about to wait, at the event's time
 * and with no lock held. It may schedule, cancel and wake; it must not wait
 * here, nor for a lock that an actor holds while it waits.
 */
struct vclock_event {
	u64 time, seq;
	size_t index; /* in the heap, from 1; 0: not there */
	void (*fire)(struct vclock_event *event);
};

/* cffi: begin */

/* ---- virtual time ---- */

struct vclock;
struct vclock_actor;

struct vclock *vclock_create(void); /* NULL: no memory. The caller's reference is counted already */
void vclock_put(struct vclock *clock);     /* the clock goes with its last reference */
uint64_t vclock_now(struct vclock *clock); /* nanoseconds, from 0 */

/*
 * A thread that is no actor becomes one, at the present time and behind all who
 * asked before, until vclock_leave(); these nest, and cost an actor next to
 * nothing. Returns 0, -ENOMEM for a thread that is no actor, or -EDEADLK for an
 * actor that has lost its turn; after that the thread is no actor any more.
 */
int vclock_enter(struct vclock *clock);
void vclock_leave(struct vclock *clock);
struct vclock_actor *vclock_current(struct vclock *clock); /* this thread's; NULL: it is none */

/*
 * Actors whose order is their maker's, not that of threads that start: made one
 * after the other between vclock_enter() and vclock_leave(), then each attached
 * by a thread of its own, which returns from it when its turn comes: with 0, or
 * with -EDEADLK if the turn was lost before. Detach frees it: from that thread,
 * or from any if none attached it.
 */
struct vclock_actor *vclock_actor_create(struct vclock *clock); /* NULL: no memory */
int vclock_attach(struct vclock *clock, struct vclock_actor *actor);
void vclock_detach(struct vclock *clock, struct vclock_actor *actor);

/*
 * This thread does something else for so long; it is an actor for just that
 * time if it was none. As vclock_enter().
 */
int vclock_sleep(struct vclock *clock, uint64_t ns);

/*
 * An actor that keeps its turn for 10 s of real time (unless set) while others
 * wait may be waiting for what one of them holds. It loses the turn, which then
 * is theirs, and its next call fails with -EDEADLK. Only an attached actor can,
 * and not between vclock_enter() and vclock_leave(), where no other may have a
 * turn.
 */
void vclock_set_stall(struct vclock *clock, uint64_t ns);
uint64_t vclock_stalls(struct vclock *clock); /* turns that were lost */
bool vclock_actor_lost(struct vclock *clock, struct vclock_actor *actor);
/*
 * The actor that has kept its turn for so long, and may lose it; NULL: there is
 * none.
 */
struct vclock_actor *vclock_stalling(struct vclock *clock, uint64_t ns);

/* cffi: end */

struct vclock *vclock_get(struct vclock *clock);

/*
 * Room for so many more events of one's own, 0 or -ENOMEM; so that to schedule
 * one of them cannot fail. Give it back when they are gone. Any thread.
 */
int vclock_reserve(struct vclock *clock, size_t nr);
void vclock_unreserve(struct vclock *clock, size_t nr);

/*
 * From the actor that runs, or from a fire(). What lies in the past happens
 * now; what comes NEVER is cancelled.
 */
/* also one that is there: moved */
void vclock_schedule(struct vclock *clock, struct vclock_event *event, u64 time);
void vclock_cancel(struct vclock *clock, struct vclock_event *event);

/*
 * Between vclock_enter() and vclock_leave(): waits for vclock_wake(), or that
 * time (VCLOCK_NEVER: none). Not at all if a wake came since the actor's last
 * park.
 */
void vclock_park(struct vclock *clock, u64 deadline);
/*
 * The turn of an actor that is parked comes now; one that is not will not park
 * the next time. From where one may schedule.
 */
void vclock_wake(struct vclock *clock, struct vclock_actor *actor);

#endif
