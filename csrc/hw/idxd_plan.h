/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A fault plan, as the device asks it: which faults a submission gets, by the
 * numbers of its device and queue and by its opcode. A plan knows no device and
 * no descriptor; iaa/idxd.h has the calls that create and set one.
 *
 * Any number of threads may ask at once; the plan's own lock orders them.
 */
#ifndef ZSWAP_IDXD_PLAN_H
#define ZSWAP_IDXD_PLAN_H

#include "iaa/idxd.h"

/*
 * Counts one submission to 'device' and 'wq', and returns all faults planned
 * for it. Of Stop and Remove the later one in the plan holds.
 */
struct idxd_desc_faults idxd_plan_next(struct idxd_plan *plan, unsigned int device, unsigned int wq,
				       int opcode);
/*
 * Counts one request to 'wq', and returns true if the plan has it that the
 * queue has no room for the request, however often it is tried.
 */
bool idxd_plan_is_full(struct idxd_plan *plan, unsigned int device, unsigned int wq);

#endif
