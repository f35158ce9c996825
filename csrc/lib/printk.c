// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdarg.h>
#include <stdio.h>

#include "lib/printk.h"

void printk(struct printk_log *log, int level, const char *fmt, ...)
{
	va_list args;

	spin_lock(&log->lock);
	if (log->end - log->first == LOG_MESSAGES)
		log->first++;
	va_start(args, fmt);
	vsnprintf(log->message[log->end % LOG_MESSAGES].text, LOG_WIDTH, fmt, args);
	va_end(args);
	log->message[log->end++ % LOG_MESSAGES].level = level;
	spin_unlock(&log->lock);
}

int printk_next(struct printk_log *log, char *buf, size_t len)
{
	int level = 0;

	spin_lock(&log->lock);
	if (log->first != log->end) {
		snprintf(buf, len, "%s", log->message[log->first % LOG_MESSAGES].text);
		level = log->message[log->first++ % LOG_MESSAGES].level;
	}
	spin_unlock(&log->lock);
	return level;
}
