/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernel primitives that the other files are written in: types, lists, a
 * spinlock that sleeps, the time, the current CPU, one-time warnings. They know
 * nothing of zswap.
 */
#ifndef ZSWAP_KERNEL_H
#define ZSWAP_KERNEL_H

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

_Static_assert(sizeof(void *) == 8,
	       "zswap_py is for 64-bit machines: a swap entry, and a handle's cell, need 64 bits");

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

#define likely(x)                       __builtin_expect(!!(x), 1)
#define unlikely(x)                     __builtin_expect(!!(x), 0)
#define noinline                        __attribute__((noinline))
#define prefetch(p)                     __builtin_prefetch((p), 0)
#define prefetchw(p)                    __builtin_prefetch((p), 1)
#define ARRAY_SIZE(a)                   (sizeof(a) / sizeof((a)[0]))
#define DIV_ROUND_UP(n, d)              (((n) + (d) - 1) / (d))
#define min(a, b)                       ((a) < (b) ? (a) : (b))
#define max(a, b)                       ((a) > (b) ? (a) : (b))
#define container_of(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))
#define ____cacheline_aligned           __attribute__((aligned(64)))

/* Error pointers, as <linux/err.h> has them. */
#define MAX_ERRNO         4095
#define ERR_PTR(err)      ((void *)(intptr_t)(err))
#define PTR_ERR(p)        ((int)(intptr_t)(p))
#define IS_ERR_VALUE(x)   unlikely((uintptr_t)(x) >= (uintptr_t)-MAX_ERRNO)
#define IS_ERR(p)         IS_ERR_VALUE(p)
#define IS_ERR_OR_NULL(p) (unlikely(!(p)) || IS_ERR(p))

/*
 * Returns true to the first caller and false to every later one. The kernel's
 * WARN_ONCE() differs: it returns its condition each time.
 */
#define first_time(flag) (!atomic_exchange_explicit(&(flag), true, memory_order_relaxed))

#if defined(__x86_64__) || defined(__i386__)
#define cpu_relax() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define cpu_relax() __asm__ volatile("yield" ::: "memory")
#else
#define cpu_relax() __asm__ volatile("" ::: "memory")
#endif

/* ---- lists ---- */

struct list_head {
	struct list_head *next, *prev;
};

static inline void INIT_LIST_HEAD(struct list_head *list)
{
	list->next = list->prev = list;
}

static inline bool list_empty(const struct list_head *head)
{
	return head->next == head;
}

static inline void __list_add(struct list_head *new, struct list_head *prev, struct list_head *next)
{
	next->prev = new;
	new->next = next;
	new->prev = prev;
	prev->next = new;
}

static inline void list_add(struct list_head *new, struct list_head *head)
{
	__list_add(new, head, head->next);
}

static inline void list_add_tail(struct list_head *new, struct list_head *head)
{
	__list_add(new, head->prev, head);
}

static inline void list_del_init(struct list_head *entry)
{
	entry->next->prev = entry->prev;
	entry->prev->next = entry->next;
	INIT_LIST_HEAD(entry);
}

#define list_entry(ptr, type, member)        container_of(ptr, type, member)
#define list_first_entry(head, type, member) list_entry((head)->next, type, member)
#define list_for_each_entry(pos, head, member)                                               \
	for (pos = list_first_entry(head, __typeof__(*pos), member); &pos->member != (head); \
	     pos = list_entry(pos->member.next, __typeof__(*pos), member))

/* ---- a spinlock ---- */

/*
 * Critical sections are some ten instructions long, but for the rare ones that
 * ask the system for memory.
 */

typedef struct {
	atomic_bool held;
} spinlock_t;

void spin_lock_slow(spinlock_t *lock);

static inline void spin_lock(spinlock_t *lock)
{
	if (unlikely(atomic_exchange_explicit(&lock->held, true, memory_order_acquire)))
		spin_lock_slow(lock);
}

/* A plain store: a waiting thread polls. */
static inline void spin_unlock(spinlock_t *lock)
{
	atomic_store_explicit(&lock->held, false, memory_order_release);
}

/* ---- the time, and waits that end at one ---- */

u64 ktime_get_ns(void);
/*
 * Returns false if there is no memory. The condition is for cond_wait_until()
 * and pthread_cond_wait() only.
 */
bool cond_init(pthread_cond_t *cond);
/*
 * Waits for a signal until ktime_get_ns() is 'ns'. Returns true if that time
 * has come.
 */
bool cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *lock, u64 ns);

/* ---- this thread's CPU ---- */

/* Set by each call that enters the library, from its arguments. */

struct task {
	unsigned int cpu;
	const void *owner;  /* the instance that was called */
	struct task *outer; /* the calling task: a callback may enter another instance */
};

extern __thread struct task *current_task;

static inline unsigned int raw_smp_processor_id(void)
{
	return current_task ? current_task->cpu : 0;
}

#endif
