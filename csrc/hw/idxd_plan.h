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
 * for it. If both Stop and Remove hit, the later one in the plan takes effect.
 */
struct idxd_desc_faults idxd_plan_next(struct idxd_plan *plan, unsigned int device, unsigned int wq,
				       int opcode);
/*
 * Counts one request to 'wq'. Returns true if the plan keeps the queue full for
 * all tries of the request.
 */
bool idxd_plan_is_full(struct idxd_plan *plan, unsigned int device, unsigned int wq);

#endif
