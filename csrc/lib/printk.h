/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernel's log messages, kept until they are read: the latest 16. Any
 * thread may write and read.
 */
#ifndef ZSWAP_PRINTK_H
#define ZSWAP_PRINTK_H

#include "lib/kernel.h"

#define LOG_ALERT    1
#define LOG_ERR      3
#define LOG_WARNING  4
#define LOG_MESSAGES 16
#define LOG_WIDTH    160

struct printk_log {
	spinlock_t lock; /* innermost */
	u64 first, end;  /* messages first .. end - 1 are unread */
	struct {
		int level;
		char text[LOG_WIDTH];
	} message[LOG_MESSAGES];
};

__attribute__((format(printf, 3, 4))) void printk(struct printk_log *log, int level,
						  const char *fmt, ...);
/*
 * Moves the oldest message to 'buf'. Returns its level, or 0 if there is none.
 */
int printk_next(struct printk_log *log, char *buf, size_t len);

#endif
