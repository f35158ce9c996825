// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The virtual clock: what fires when, which actor has its turn when, and that
 * this is so each time; what becomes of an actor that keeps its turn for too
 * long. Run it under ThreadSanitizer too: that two actors never run at once is
 * what it sees.
 */
#include <pthread.h>
#include <semaphore.h>
#include <unistd.h>

#include "lib/vclock.h"
#include "zswap_test.h"

#define MAX_TRACE (16 * 10000)
#define STALL_NS  300000000 /* where an actor is meant to stay away */

/* What happened when; written by whoever has the turn, so it needs no lock. */
static struct {
	unsigned int nr;
	struct {
		unsigned int who;
		u64 time;
	} of[MAX_TRACE];
} trace, other_trace;

static void note(struct vclock *clock, unsigned int who)
{
	check(trace.nr < MAX_TRACE, "too much happens");
	trace.of[trace.nr].who = who;
	trace.of[trace.nr++].time = vclock_now(clock);
}

static void check_note(unsigned int i, unsigned int who, u64 time)
{
	check(i < trace.nr, "only %u things happened", trace.nr);
	check(trace.of[i].who == who && trace.of[i].time == time, "%u: %u at %lu, not %u at %lu", i,
	      trace.of[i].who, (long)trace.of[i].time, who, (long)time);
}

static struct vclock *new_clock(void)
{
	struct vclock *clock = vclock_create();

	check(clock, "vclock_create");
	trace.nr = 0;
	return clock;
}

/* A driver whose turns were taken from it has not tested what it says. */
static void end_clock(struct vclock *clock)
{
	check(!vclock_stalls(clock), "%lu stalls", (long)vclock_stalls(clock));
	vclock_put(clock);
}

static void enter(struct vclock *clock)
{
	check(!vclock_enter(clock), "vclock_enter");
}

static void sleep_for(struct vclock *clock, u64 ns)
{
	check(!vclock_sleep(clock, ns), "vclock_sleep");
}

/* ---- threads ---- */

struct player {
	struct vclock *clock;
	struct vclock_actor *actor;
	unsigned int who;
	void (*play)(struct player *player);
	void *shared;
	bool loses; /* it loses its turn */
	pthread_t thread;
};

static void *player_main(void *arg)
{
	struct player *player = arg;
	int ret = vclock_attach(player->clock, player->actor);

	if (ret) {
		check(ret == -EDEADLK && player->loses, "vclock_attach: %d", ret);
		check(!vclock_current(player->clock), "it is no actor");
	} else {
		check(vclock_current(player->clock) == player->actor, "attached");
		player->play(player);
	}
	check(vclock_actor_lost(player->clock, player->actor) == player->loses, "lost");
	vclock_detach(player->clock, player->actor);
	check(!vclock_current(player->clock), "detached");
	return NULL;
}

/* Threads are started last to first: it is not for them to say who is first. */
static void start(struct vclock *clock, struct player *players, unsigned int nr)
{
	enter(clock);
	for (unsigned int i = 0; i < nr; i++) {
		players[i].clock = clock;
		players[i].who = i;
		players[i].actor = vclock_actor_create(clock);
		check(players[i].actor, "vclock_actor_create");
	}
	for (unsigned int i = nr; i--;)
		check(!pthread_create(&players[i].thread, NULL, player_main, &players[i]),
		      "pthread_create");
	vclock_leave(clock);
}

static void play(struct vclock *clock, struct player *players, unsigned int nr)
{
	start(clock, players, nr);
	for (unsigned int i = 0; i < nr; i++)
		pthread_join(players[i].thread, NULL);
}

/* ---- events ---- */

struct happening {
	struct vclock_event event;
	struct vclock *clock;
	unsigned int who;
	struct happening *next; /* is scheduled by this one, so much later */
	u64 later;
	struct vclock_actor *wakes;
};

static void happen(struct vclock_event *event)
{
	struct happening *h = container_of(event, struct happening, event);

	note(h->clock, h->who);
	if (h->next)
		vclock_schedule(h->clock, &h->next->event, vclock_now(h->clock) + h->later);
	if (h->wakes)
		vclock_wake(h->clock, h->wakes);
}

static void reserve(struct vclock *clock, struct happening *h, unsigned int nr)
{
	memset(h, 0, nr * sizeof(*h));
	for (unsigned int i = 0; i < nr; i++) {
		h[i].event.fire = happen;
		h[i].clock = clock;
		h[i].who = i;
	}
	check(!vclock_reserve(clock, nr), "vclock_reserve");
}

/*
 * A thousand events at 50 times, some moved, some cancelled: against the order
 * that a sort gives.
 */
static void test_order(void)
{
	enum { NR = 1000 };
	static struct happening h[NR];
	struct expected {
		u64 time, seq;
		unsigned int who;
	} expected[NR];
	unsigned int nr = 0;
	u64 x = 88172645463325252, seq = 0;
	struct vclock *clock = new_clock();

	reserve(clock, h, NR);
	enter(clock);
	sleep_for(clock, 7);
	for (unsigned int i = 0; i < NR; i++) {
		expected[i] = (struct expected){ 10 + next_random(&x) % 50, seq++, i };
		vclock_schedule(clock, &h[i].event, expected[i].time);
	}
	for (unsigned int i = 0; i < NR; i++) {
		unsigned int who = next_random(&x) % NR;

		if (next_random(&x) % 4) {
			expected[who].time = 10 + next_random(&x) % 50;
			vclock_schedule(clock, &h[who].event, expected[who].time);
		} else {
			expected[who].time = VCLOCK_NEVER;
			vclock_cancel(clock, &h[who].event);
		}
		expected[who].seq = seq++;
	}
	check(vclock_now(clock) == 7 && !trace.nr, "nothing happens while an actor runs");
	sleep_for(clock, 1000);
	check(vclock_now(clock) == 1007, "%lu", (long)vclock_now(clock));
	vclock_leave(clock);

	for (unsigned int i = 0; i < NR; i++)
		if (expected[i].time != VCLOCK_NEVER)
			expected[nr++] = expected[i];
	check(nr > NR / 2 && nr < NR, "%u", nr);
	for (unsigned int i = 1; i < nr; i++)
		for (unsigned int j = i; j; j--) {
			struct expected a = expected[j - 1], b = expected[j];

			if (a.time < b.time || (a.time == b.time && a.seq < b.seq))
				break;
			expected[j - 1] = b;
			expected[j] = a;
		}
	check(trace.nr == nr, "%u of %u", trace.nr, nr);
	for (unsigned int i = 0; i < nr; i++)
		check_note(i, expected[i].who, expected[i].time);

	/* all that there is room for */
	enter(clock);
	for (unsigned int i = NR; i--;)
		vclock_schedule(clock, &h[i].event, 2000 + i);
	sleep_for(clock, 2000);
	vclock_leave(clock);
	check(trace.nr == nr + NR, "%u", trace.nr);
	for (unsigned int i = 0; i < NR; i++)
		check_note(nr + i, i, 2000 + i);
	vclock_unreserve(clock, NR);
	end_clock(clock);
}

/*
 * Each schedules the next, the last one the first. What is scheduled for the
 * past comes now, behind what is there.
 */
static void test_fire_schedules(void)
{
	struct happening h[3];
	struct vclock *clock = new_clock();

	reserve(clock, h, 3);
	for (unsigned int i = 0; i < 3; i++) {
		h[i].next = &h[(i + 1) % 3];
		h[i].later = 10;
	}
	enter(clock);
	vclock_schedule(clock, &h[0].event, 100);
	sleep_for(clock, 155);
	check(trace.nr == 6, "%u", trace.nr);
	for (unsigned int i = 0; i < 6; i++)
		check_note(i, i % 3, 100 + 10 * i);
	vclock_cancel(clock, &h[0].event);
	trace.nr = 0;
	h[1].next = h[2].next = NULL;
	vclock_schedule(clock, &h[1].event, 155);
	vclock_schedule(clock, &h[2].event, 3);
	sleep_for(clock, 0);
	check(trace.nr == 2 && vclock_now(clock) == 155, "%u at %lu", trace.nr,
	      (long)vclock_now(clock));
	check_note(0, 1, 155);
	check_note(1, 2, 155);
	vclock_leave(clock);
	vclock_unreserve(clock, 3);
	end_clock(clock);
}

/*
 * Without an actor time stands still: a time set for a fault does not come
 * because a thread leaves.
 */
static void test_still_without_actors(void)
{
	struct happening h[1];
	struct vclock *clock = new_clock();

	reserve(clock, h, 1);
	enter(clock);
	vclock_schedule(clock, &h[0].event, 1000);
	vclock_leave(clock);
	check(!trace.nr && vclock_now(clock) == 0, "%u at %lu", trace.nr, (long)vclock_now(clock));
	sleep_for(clock, 999);
	check(!trace.nr && vclock_now(clock) == 999, "%u at %lu", trace.nr,
	      (long)vclock_now(clock));
	sleep_for(clock, 1);
	check(trace.nr == 1 && vclock_now(clock) == 1000, "%u at %lu", trace.nr,
	      (long)vclock_now(clock));
	check_note(0, 0, 1000);
	vclock_unreserve(clock, 1);
	end_clock(clock);
}

/* ---- one actor ---- */

static void test_nesting(void)
{
	struct vclock *clock = new_clock(), *other = new_clock();
	struct vclock_actor *me;

	check(!vclock_current(clock), "none yet");
	enter(clock);
	me = vclock_current(clock);
	check(me, "entered");
	enter(clock);
	enter(other);
	check(vclock_current(clock) == me && vclock_current(other) && vclock_current(other) != me,
	      "one actor a clock");
	sleep_for(clock, 5);
	sleep_for(other, 70);
	vclock_leave(clock);
	check(vclock_current(clock) == me, "still in");
	vclock_leave(clock);
	check(!vclock_current(clock) && vclock_current(other), "the inner one stays");
	vclock_leave(other);
	check(!vclock_current(other), "out of both");
	check(vclock_now(clock) == 5 && vclock_now(other) == 70, "%lu, %lu",
	      (long)vclock_now(clock), (long)vclock_now(other));
	sleep_for(clock, VCLOCK_NEVER);
	check(vclock_now(clock) == VCLOCK_NEVER - 1, "time does not wrap");
	end_clock(clock);
	end_clock(other);
}

static void test_park(void)
{
	struct happening h[1];
	struct vclock *clock = new_clock();

	reserve(clock, h, 1);
	enter(clock);
	h[0].wakes = vclock_current(clock);

	vclock_park(clock, 100);
	check(vclock_now(clock) == 100, "the deadline: %lu", (long)vclock_now(clock));

	vclock_schedule(clock, &h[0].event, 150);
	vclock_park(clock, 1000);
	check(vclock_now(clock) == 150, "woken: %lu", (long)vclock_now(clock));
	vclock_schedule(clock, &h[0].event, 160);
	vclock_park(clock, VCLOCK_NEVER);
	check(vclock_now(clock) == 160, "woken, without a deadline: %lu", (long)vclock_now(clock));
	vclock_park(clock, 200);
	check(vclock_now(clock) == 200, "a wake is for one park: %lu", (long)vclock_now(clock));

	vclock_wake(clock, h[0].wakes);
	vclock_park(clock, 300);
	check(vclock_now(clock) == 200, "a wake that came before: %lu", (long)vclock_now(clock));
	vclock_park(clock, 300);
	check(vclock_now(clock) == 300, "and once only: %lu", (long)vclock_now(clock));

	vclock_schedule(clock, &h[0].event, 350);
	sleep_for(clock, 100);
	check(vclock_now(clock) == 400, "a wake shortens no sleep: %lu", (long)vclock_now(clock));
	vclock_park(clock, 500);
	check(vclock_now(clock) == 400, "but is not lost: %lu", (long)vclock_now(clock));
	vclock_leave(clock);
	vclock_unreserve(clock, 1);
	end_clock(clock);
}

/* ---- several ---- */

/* 0 waits without end, 1 until 50, 2 wakes both at 20 and 1 again at 30. */
static void play_wake(struct player *player)
{
	struct vclock *clock = player->clock;
	struct player *players = player->shared;

	if (player->who < 2) {
		enter(clock);
		vclock_park(clock, player->who ? 50 : VCLOCK_NEVER);
		note(clock, player->who);
		if (player->who) {
			vclock_park(clock, 50);
			note(clock, player->who);
		}
		vclock_leave(clock);
		return;
	}
	sleep_for(clock, 20);
	vclock_wake(clock, players[1].actor);
	vclock_wake(clock, players[0].actor);
	vclock_wake(clock, players[1].actor); /* which does not cost it its place */
	note(clock, player->who);
	sleep_for(clock, 10);
	vclock_wake(clock, players[1].actor);
}

static void test_wake(void)
{
	struct vclock *clock = new_clock();
	struct player players[3];

	for (unsigned int i = 0; i < 3; i++)
		players[i] = (struct player){ .play = play_wake, .shared = players };
	play(clock, players, 3);
	check(trace.nr == 4, "%u", trace.nr);
	check_note(0, 2, 20);
	check_note(1, 1, 20);
	check_note(2, 0, 20);
	check_note(3, 1, 30);
	end_clock(clock);
}

static void play_at_once(struct player *player)
{
	for (int i = 0; i < 3; i++) {
		note(player->clock, player->who);
		sleep_for(player->clock, i == 0 ? 0 : 10);
	}
}

/*
 * At equal times the order is that of asking, which at first is that of their
 * making.
 */
static void test_turns(void)
{
	enum { NR = 20 };
	struct vclock *clock = new_clock();
	struct player players[NR];

	for (unsigned int i = 0; i < NR; i++)
		players[i] = (struct player){ .play = play_at_once };
	play(clock, players, NR);
	check(trace.nr == 3 * NR, "%u", trace.nr);
	for (unsigned int i = 0; i < 3 * NR; i++)
		check_note(i, i % NR, i < 2 * NR ? 0 : 10);
	check(vclock_now(clock) == 20, "%lu", (long)vclock_now(clock));
	end_clock(clock);
}

/* One that no thread ever attached does not hold up the others. */
static void test_never_attached(void)
{
	struct vclock *clock = new_clock();
	struct vclock_actor *first, *second;

	enter(clock);
	first = vclock_actor_create(clock);
	second = vclock_actor_create(clock);
	vclock_detach(clock, second);
	vclock_leave(clock); /* the turn is first's */
	vclock_detach(clock, first);
	sleep_for(clock, 10);
	check(vclock_now(clock) == 10, "%lu", (long)vclock_now(clock));
	end_clock(clock);
}

static unsigned int rounds;

static void play_random(struct player *player)
{
	u64 x = (player->who + 1) * 0x9e3779b97f4a7c15u;

	for (unsigned int i = 0; i < rounds; i++) {
		sleep_for(player->clock, next_random(&x) % 100);
		note(player->clock, player->who);
	}
}

static void test_same_each_time(void)
{
	enum { NR = 16 };
	struct player players[NR];

	for (int turn = 0; turn < 2; turn++) {
		struct vclock *clock = new_clock();

		for (unsigned int i = 0; i < NR; i++)
			players[i] = (struct player){ .play = play_random };
		play(clock, players, NR);
		check(trace.nr == NR * rounds, "%u", trace.nr);
		for (unsigned int i = 1; i < trace.nr; i++)
			check(trace.of[i].time >= trace.of[i - 1].time, "%u: time went back", i);
		if (!turn)
			other_trace = trace;
		end_clock(clock);
	}
	for (unsigned int i = 0; i < trace.nr; i++)
		check_note(i, other_trace.of[i].who, other_trace.of[i].time);
}

/* ---- threads that are no actors, each in a call now and then ---- */

static void *strange_main(void *arg)
{
	struct vclock *clock = arg;

	for (int i = 0; i < 200; i++) {
		u64 before;

		enter(clock);
		before = vclock_now(clock);
		trace.nr++;
		sleep_for(clock, i % 7);
		trace.nr++;
		check(vclock_now(clock) == before + i % 7, "%lu after %lu", (long)vclock_now(clock),
		      (long)before);
		vclock_leave(clock);
	}
	return NULL;
}

static void play_among_strangers(struct player *player)
{
	for (int i = 0; i < 1000; i++) {
		trace.nr++;
		sleep_for(player->clock, 3);
	}
}

static void test_strangers(void)
{
	struct vclock *clock = new_clock();
	struct player players[2];
	pthread_t threads[3];

	for (unsigned int i = 0; i < 2; i++)
		players[i] = (struct player){ .play = play_among_strangers };
	start(clock, players, 2);
	for (unsigned int i = 0; i < 3; i++)
		check(!pthread_create(&threads[i], NULL, strange_main, clock), "pthread_create");
	for (unsigned int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	for (unsigned int i = 0; i < 2; i++)
		pthread_join(players[i].thread, NULL);
	check(trace.nr == 2 * 1000 + 3 * 2 * 200, "%u", trace.nr);
	check(vclock_now(clock) >= 3000, "%lu", (long)vclock_now(clock));
	end_clock(clock);
}

static void happen_alone(struct vclock_event *event)
{
	static atomic_uint inside;

	check(!atomic_fetch_add(&inside, 1), "two at once");
	usleep(1000);
	happen(event);
	atomic_fetch_sub(&inside, 1);
}

static void *visitor_main(void *arg)
{
	struct vclock *clock = arg;

	enter(clock);
	check(trace.nr == 20, "a turn after %u of 20 that are due", trace.nr);
	vclock_leave(clock);
	return NULL;
}

/*
 * Of threads that find nobody there one lets happen what is due, and the others
 * wait for that.
 */
static void test_visitors(void)
{
	enum { NR = 20 };
	struct vclock *clock = new_clock();
	struct happening h[NR];
	pthread_t threads[4];

	reserve(clock, h, NR);
	enter(clock);
	for (unsigned int i = 0; i < NR; i++) {
		h[i].event.fire = happen_alone;
		vclock_schedule(clock, &h[i].event, 0);
	}
	vclock_leave(clock);
	for (unsigned int i = 0; i < 4; i++)
		check(!pthread_create(&threads[i], NULL, visitor_main, clock), "pthread_create");
	for (unsigned int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	for (unsigned int i = 0; i < NR; i++)
		check_note(i, i, 0);
	vclock_unreserve(clock, NR);
	end_clock(clock);
}

/* ---- turns that are lost ---- */

/*
 * 0 sleeps with a lock held that 1 waits for in its turn, which 1 loses. Its
 * next call says so, once.
 */
static void play_deadlock(struct player *player)
{
	struct vclock *clock = player->clock;
	pthread_mutex_t *lock = player->shared;

	pthread_mutex_lock(lock);
	if (player->who) {
		check(vclock_current(clock) == player->actor, "it does not know yet");
		check(vclock_sleep(clock, 10) == -EDEADLK, "a turn that was lost");
		check(!vclock_current(clock), "it is no actor any more");
		pthread_mutex_unlock(lock);
		return;
	}
	note(clock, 0);
	sleep_for(clock, 10);
	note(clock, 0);
	pthread_mutex_unlock(lock);
	sleep_for(clock, 10);
	note(clock, 0);
}

static void test_stall(void)
{
	struct vclock *clock = new_clock();
	pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	struct player players[2];
	u64 began = ktime_get_ns(), took;

	vclock_set_stall(clock, STALL_NS);
	for (unsigned int i = 0; i < 2; i++)
		players[i] =
			(struct player){ .play = play_deadlock, .shared = &lock, .loses = i == 1 };
	play(clock, players, 2);
	took = ktime_get_ns() - began;
	check(took >= STALL_NS, "%lu ns", (long)took);
	check(vclock_stalls(clock) == 1, "%lu stalls", (long)vclock_stalls(clock));
	check(trace.nr == 3, "%u", trace.nr);
	for (unsigned int i = 0; i < 3; i++)
		check_note(i, 0, 10 * i);
	vclock_put(clock);
}

/*
 * A thread that has lost its turn has others as any thread has that is no
 * actor.
 */
static void play_stranger_then(struct player *player)
{
	struct vclock *clock = player->clock;

	if (player->who) {
		sleep_for(clock, 10);
		sem_post(player->shared);
		return;
	}
	sem_wait(player->shared);
	check(vclock_enter(clock) == -EDEADLK, "a turn that was lost");
	enter(clock);
	check(vclock_current(clock) && vclock_current(clock) != player->actor, "another actor");
	sleep_for(clock, 5);
	note(clock, 0);
	vclock_leave(clock);
}

static void test_stranger_then(void)
{
	struct vclock *clock = new_clock();
	struct player players[2];
	sem_t come;

	sem_init(&come, 0, 0);
	vclock_set_stall(clock, STALL_NS);
	for (unsigned int i = 0; i < 2; i++)
		players[i] = (struct player){ .play = play_stranger_then,
					      .shared = &come,
					      .loses = i == 0 };
	play(clock, players, 2);
	check(vclock_stalls(clock) == 1, "%lu stalls", (long)vclock_stalls(clock));
	check_note(0, 0, 15);
	sem_destroy(&come);
	vclock_put(clock);
}

/* Away until the driver says so. */
static void play_away(struct player *player)
{
	sem_wait(player->shared);
	note(player->clock, player->who); /* without a turn, but alone: all others have ended */
}

static void play_one_sleep(struct player *player)
{
	sleep_for(player->clock, 10);
	note(player->clock, player->who);
}

/* 0 loses its turn, and ends without another call. */
static void test_lost_ends(void)
{
	struct vclock *clock = new_clock();
	struct player players[2];
	sem_t come;

	sem_init(&come, 0, 0);
	vclock_set_stall(clock, STALL_NS);
	players[0] = (struct player){ .play = play_away, .shared = &come, .loses = true };
	players[1] = (struct player){ .play = play_one_sleep };
	start(clock, players, 2);
	pthread_join(players[1].thread, NULL);
	check(vclock_stalls(clock) == 1, "%lu stalls", (long)vclock_stalls(clock));
	check_note(0, 1, 10);
	sem_post(&come);
	pthread_join(players[0].thread, NULL);
	check_note(1, 0, 10);
	sleep_for(clock, 5);
	check(vclock_now(clock) == 15, "%lu", (long)vclock_now(clock));
	sem_destroy(&come);
	vclock_put(clock);
}

/* Others can tell that an actor keeps its turn, before it is lost. */
static void test_stalling(void)
{
	struct vclock *clock = new_clock();
	struct player players[2];
	struct vclock_actor *stalling;
	sem_t come;

	sem_init(&come, 0, 0);
	players[0] = (struct player){ .play = play_away, .shared = &come };
	players[1] = (struct player){ .play = play_one_sleep };
	start(clock, players, 2);
	while (!(stalling = vclock_stalling(clock, STALL_NS)))
		usleep(1000);
	check(stalling == players[0].actor, "who stalls");
	check(!vclock_stalling(clock, 1000 * (u64)STALL_NS), "not for so long");
	sem_post(&come);
	for (unsigned int i = 0; i < 2; i++)
		pthread_join(players[i].thread, NULL);
	check(!vclock_stalling(clock, 0), "no actor");
	sem_destroy(&come);
	end_clock(clock);
}

static void play_long_turn(struct player *player)
{
	struct player *players = player->shared;

	if (player->who == 0) {
		enter(player->clock);
		vclock_park(player->clock, VCLOCK_NEVER);
		vclock_leave(player->clock);
		return;
	}
	usleep(3 * STALL_NS / 1000);
	check(!vclock_stalling(player->clock, 0), "none waits that could have the turn");
	vclock_wake(player->clock, players[0].actor);
}

/* A turn that no other actor could have is not lost. */
static void test_long_turn(void)
{
	struct vclock *clock = new_clock();
	struct player players[2];

	vclock_set_stall(clock, STALL_NS);
	for (unsigned int i = 0; i < 2; i++)
		players[i] = (struct player){ .play = play_long_turn, .shared = players };
	play(clock, players, 2);
	end_clock(clock);
}

static void play_long_section(struct player *player)
{
	if (player->who == 0) {
		enter(player->clock);
		usleep(3 * STALL_NS / 1000);
		check(!vclock_stalling(player->clock, 0), "it is inside");
		note(player->clock, 0);
		vclock_leave(player->clock);
	}
	sleep_for(player->clock, 10);
	note(player->clock, player->who);
}

/* Nor is one between vclock_enter() and vclock_leave(). */
static void test_long_section(void)
{
	struct vclock *clock = new_clock();
	struct player players[2];

	vclock_set_stall(clock, STALL_NS);
	for (unsigned int i = 0; i < 2; i++)
		players[i] = (struct player){ .play = play_long_section };
	play(clock, players, 2);
	check_note(0, 0, 0);
	check(trace.nr == 3, "%u", trace.nr);
	end_clock(clock);
}

/* One whose thread comes when its turn was given and lost is told so. */
static void test_lost_before_it_came(void)
{
	struct vclock *clock = new_clock();
	struct player late = { .clock = clock, .who = 7, .play = play_one_sleep, .loses = true };

	vclock_set_stall(clock, STALL_NS);
	enter(clock);
	late.actor = vclock_actor_create(clock);
	check(late.actor, "vclock_actor_create");
	sleep_for(clock, 5);
	vclock_leave(clock);
	check(vclock_stalls(clock) == 1 && vclock_now(clock) == 5, "%lu", (long)vclock_now(clock));
	check(!pthread_create(&late.thread, NULL, player_main, &late), "pthread_create");
	pthread_join(late.thread, NULL);
	check(!trace.nr, "it played");
	sleep_for(clock, 5);
	check(vclock_now(clock) == 10, "%lu", (long)vclock_now(clock));
	vclock_put(clock);
}

static void happen_slowly(struct vclock_event *event)
{
	usleep(4 * STALL_NS / 1000);
	happen(event);
}

/*
 * The turn is not taken from one that fires an event, however long it takes:
 * none fires during another's turn.
 */
static void test_slow_event(void)
{
	struct vclock *clock = new_clock();
	struct happening h[1];
	struct player players[3];

	reserve(clock, h, 1);
	h[0].event.fire = happen_slowly;
	enter(clock);
	vclock_schedule(clock, &h[0].event, 5);
	vclock_leave(clock);
	vclock_set_stall(clock, STALL_NS);
	for (unsigned int i = 0; i < 3; i++)
		players[i] = (struct player){ .play = play_one_sleep };
	play(clock, players, 3);
	check(trace.nr == 4, "%u", trace.nr);
	check_note(0, 0, 5); /* the event */
	for (unsigned int i = 0; i < 3; i++)
		check_note(1 + i, i, 10);
	vclock_unreserve(clock, 1);
	end_clock(clock);
}

static void play_first_sleeps(struct player *player)
{
	if (player->who == 0)
		play_one_sleep(player);
}

/* Nor from one that does so while it ends. */
static void test_slow_event_at_an_end(void)
{
	struct vclock *clock = new_clock();
	struct happening h[1];
	struct player players[2];

	reserve(clock, h, 1);
	h[0].event.fire = happen_slowly;
	enter(clock);
	vclock_schedule(clock, &h[0].event, 5);
	vclock_leave(clock);
	vclock_set_stall(clock, STALL_NS);
	for (unsigned int i = 0; i < 2; i++)
		players[i] = (struct player){ .play = play_first_sleeps };
	play(clock, players, 2);
	check_note(0, 0, 5);
	check_note(1, 0, 10);
	vclock_unreserve(clock, 1);
	end_clock(clock);
}

/* ---- memory ---- */

static atomic_int allocations_left = -1; /* -1: no end */
static atomic_uint reallocations;

static bool none_left(void)
{
	int left = atomic_load(&allocations_left);

	if (left > 0)
		atomic_store(&allocations_left, left - 1);
	return !left;
}

void *__real_calloc(size_t nmemb, size_t size);
void *__real_malloc(size_t size);
void *__real_realloc(void *p, size_t size);

void *__wrap_calloc(size_t nmemb, size_t size)
{
	return none_left() ? NULL : __real_calloc(nmemb, size);
}

void *__wrap_malloc(size_t size)
{
	return none_left() ? NULL : __real_malloc(size);
}

void *__wrap_realloc(void *p, size_t size)
{
	atomic_fetch_add(&reallocations, 1);
	return none_left() ? NULL : __real_realloc(p, size);
}

static void test_no_memory(void)
{
	struct happening h[2];
	struct vclock *clock;

	for (int left = 0; left < 2; left++) {
		atomic_store(&allocations_left, left);
		check(!vclock_create(), "%d", left);
	}
	atomic_store(&allocations_left, -1);
	clock = new_clock();
	reserve(clock, h, 2);
	atomic_store(&allocations_left, 0);
	check(vclock_enter(clock) == -ENOMEM && vclock_sleep(clock, 1) == -ENOMEM &&
		      !vclock_current(clock),
	      "no actor");
	check(!vclock_actor_create(clock), "no actor");
	check(vclock_reserve(clock, 1000) == -ENOMEM, "no room");
	atomic_store(&allocations_left, -1);
	check(!vclock_reserve(clock, 14), "the heap is full");
	atomic_store(&allocations_left, 1);
	check(vclock_enter(clock) == -ENOMEM, "the actor, but no room for its event");
	atomic_store(&allocations_left, -1);
	vclock_unreserve(clock, 14);

	enter(clock);
	atomic_store(&allocations_left, 0); /* what has room needs no memory */
	enter(clock);
	vclock_schedule(clock, &h[0].event, 10);
	vclock_schedule(clock, &h[1].event, 5);
	sleep_for(clock, 20);
	vclock_leave(clock);
	vclock_leave(clock);
	atomic_store(&allocations_left, -1);
	check_note(0, 1, 5);
	check_note(1, 0, 10);
	vclock_unreserve(clock, 2);
	end_clock(clock);
}

/* What is gone has given back its place. */
static void test_no_growth(void)
{
	struct vclock *clock = new_clock();
	unsigned int before = atomic_load(&reallocations);
	struct happening h[10];

	for (int i = 0; i < 100; i++) {
		reserve(clock, h, 10);
		sleep_for(clock, 1);
		vclock_unreserve(clock, 10);
	}
	check(atomic_load(&reallocations) == before, "%u times more room",
	      atomic_load(&reallocations) - before);
	end_clock(clock);
}

static void test_references(void)
{
	struct vclock *clock = new_clock();

	check(vclock_get(clock) == clock, "vclock_get");
	vclock_put(clock);
	sleep_for(clock, 1);
	check(vclock_now(clock) == 1, "it is still there");
	end_clock(clock);
}

int main(int argc, char **argv)
{
	rounds = argc > 1 ? strtoul(argv[1], NULL, 0) : 10000; /* of each actor's random sleeps */
	check(rounds > 0 && rounds <= 10000, "1 to 10000 rounds, not %s", argv[1]);
	alarm(600); /* what hangs ends */
	test_order();
	test_fire_schedules();
	test_still_without_actors();
	test_nesting();
	test_park();
	test_wake();
	test_turns();
	test_never_attached();
	test_same_each_time();
	test_strangers();
	test_visitors();
	test_stall();
	test_stranger_then();
	test_lost_ends();
	test_lost_before_it_came();
	test_stalling();
	test_long_turn();
	test_long_section();
	test_slow_event();
	test_slow_event_at_an_end();
	test_no_memory();
	test_no_growth();
	test_references();
	puts("ok");
	return 0;
}
