// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/fault.h"

const char *const fault_names[NR_FAULT_KINDS] = {
	[FAULT_POOL] = "pool",
	[FAULT_PERCPU] = "percpu",
	[FAULT_ACOMP] = "acomp",
	[FAULT_REQUEST] = "request",
	[FAULT_ARRAY] = "array",
	[FAULT_BUFFER] = "buffer",
	[FAULT_ENTRY] = "entry",
	[FAULT_TREE] = "tree",
	[FAULT_HANDLE] = "handle",
	[FAULT_ZSPAGE] = "zspage",
	[FAULT_LRU] = "lru",
	[FAULT_COMPRESS] = "compress",
	[FAULT_DECOMPRESS] = "decompress",
	[FAULT_PREPARE] = "prepare",
};

void fault_arm(struct faults *faults, enum fault_kind kind, u64 nth, u64 times, int error, int cpu)
{
	struct fault *fault = &faults->fault[kind];

	fault_disarm(faults, kind);
	fault->nth = nth;
	fault->times = times;
	fault->error = error;
	fault->cpu = cpu;
	atomic_store(&fault->seen, 0);
	atomic_store(&fault->hits, 0);
	atomic_fetch_or_explicit(&faults->armed, 1u << kind, memory_order_release);
}

void fault_disarm(struct faults *faults, enum fault_kind kind)
{
	atomic_fetch_and_explicit(&faults->armed, ~(1u << kind), memory_order_release);
}

int __fault_hit(struct fault *fault, int cpu)
{
	u64 n, nth = fault->nth, times = fault->times;
	int only = fault->cpu;

	if (only >= 0 && only != cpu)
		return 0;
	n = atomic_fetch_add(&fault->seen, 1) + 1;
	if (n < nth || (times && n >= nth + times))
		return 0;
	atomic_fetch_add(&fault->hits, 1);
	return fault->error;
}
