// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "lib/vmalloc.h"

size_t host_page_size(void)
{
	return sysconf(_SC_PAGESIZE);
}

static void *map(size_t size, int prot, int advice)
{
	void *p = mmap(NULL, size, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	madvise(p, size, advice);
	return p;
}

void *vzalloc(size_t size)
{
	return map(size, PROT_READ | PROT_WRITE, MADV_DONTFORK);
}

void *vzalloc_wiped_by_fork(size_t size)
{
	return map(size, PROT_READ | PROT_WRITE, MADV_WIPEONFORK);
}

void vfree(void *p, size_t size)
{
	if (p)
		munmap(p, size);
}

bool vm_reserve(struct vm_area *area, size_t size)
{
	size_t host = host_page_size();

	area->size = DIV_ROUND_UP(size, host) * host;
	area->open = 0;
	area->base = map(area->size, PROT_NONE, MADV_DONTFORK);
	return area->base;
}

void vm_release(struct vm_area *area)
{
	vfree(area->base, area->size);
	*area = (struct vm_area){ 0 };
}

bool vm_open_slow(struct vm_area *area, size_t upto, size_t step)
{
	size_t open = min(DIV_ROUND_UP(upto, step) * step, area->size);

	if (mprotect(area->base + area->open, open - area->open, PROT_READ | PROT_WRITE))
		return false;
	area->open = open;
	return true;
}

size_t vm_left(void)
{
	struct rlimit limit;
	unsigned long used = 0;
	FILE *statm;

	if (getrlimit(RLIMIT_AS, &limit) || limit.rlim_cur == RLIM_INFINITY)
		return SIZE_MAX;
	statm = fopen("/proc/self/statm", "re");
	if (statm) {
		if (fscanf(statm, "%lu", &used) != 1)
			used = 0;
		fclose(statm);
	}
	used *= host_page_size();
	return limit.rlim_cur > used ? limit.rlim_cur - used : 0;
}
