/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The driver: deflate-iaa as an acomp algorithm over IAX devices, as
 * drivers/crypto/intel/iaa has it with the series "zswap compression batching"
 * (v10), and as mainline has it without.
 *
 * The caller decides which devices there are and which queue serves which CPU,
 * and runs the engines' threads, by the functions below. A device is a number,
 * 0 .. IAA_MAX_DEVICES - 1, in the order of adding. It lives as long as the
 * driver does.
 */
#ifndef ZSWAP_IAA_H
#define ZSWAP_IAA_H

#include "iaa/idxd.h"

/* cffi: begin */

/* ---- the accelerator's driver ---- */

#define IAA_CRYPTO_MAX_BATCH_SIZE 8
#define IAA_MAX_DEVICES           64

struct iaa;

enum iaa_sync_mode {
	IAA_SYNC,      /* submits a request, then polls for its answer */
	IAA_ASYNC,     /* as IAA_SYNC; a batch polls after its last request is submitted */
	IAA_ASYNC_IRQ, /* as IAA_ASYNC; the callback of a request of one page answers it */
};

/* A context copies the driver's mode when it is made. */
struct iaa_mode {
	enum iaa_sync_mode sync_mode;
	bool verify_compress; /* a device decompresses each result again; the crc must agree */
	/*
	 * software decompresses after any failure (v10); without it, only after
	 * status 0x0a
	 */
	bool any_failure;
	/* tries to get a descriptor; 0: no limit, and no batches */
	unsigned int comp_tries, decomp_tries;
};

struct iaa_stats {
	uint64_t total_comp_calls, total_decomp_calls, total_sw_decomp_calls, total_comp_bytes_out,
		total_decomp_bytes_in;
	uint64_t total_completion_einval_errors, total_completion_timeout_errors,
		total_completion_comp_buf_overflow_errors;
	/*
	 * zswap_py's own: requests that no queue took, because none is bound,
	 * or the driver or the device is disabled
	 */
	uint64_t total_no_wq_errors;
};

struct iaa_wq_stats {
	uint64_t comp_calls, comp_bytes, decomp_calls, decomp_bytes;
	/* zswap_py's own: results that are -E2BIG; requests that found no descriptor */
	uint64_t comp_buf_overflows, no_descriptor;
};

/*
 * Creates a driver. 'engine' does the devices' work. 'software' decompresses
 * where a device has failed. 'clock' is NULL in real time. All three must
 * outlive the driver. nr_cpus is the size of a CPU table: CPU c uses entry c %
 * nr_cpus.
 *
 * Returns the driver, with a reference for the caller; NULL and *err: -EINVAL,
 * -ENOMEM.
 */
struct iaa *iaa_create(const struct acomp_alg *engine, const struct acomp_alg *software,
		       const struct idxd_profile *profile, struct vclock *clock,
		       unsigned int nr_cpus, unsigned int nr_nodes, int *err);
/*
 * Drops a reference; each context holds one too. All engines must have ended
 * before the last.
 */
void iaa_put(struct iaa *iaa);
/* Call it in a forked child: from then on every request fails with -ECHILD. */
void iaa_forked(struct iaa *iaa);
struct acomp_alg *iaa_alg(struct iaa *iaa);
/*
 * Sets the mode of the contexts that are made later. A context keeps its mode.
 * Must not run while a context is being made. The tries must not change after
 * the first context.
 */
void iaa_set_mode(struct iaa *iaa, const struct iaa_mode *mode);
/*
 * Enables or disables the driver. A disabled driver fails every request with
 * -ENODEV. A descriptor that times out disables it.
 */
void iaa_set_enabled(struct iaa *iaa, bool enabled);
bool iaa_enabled(struct iaa *iaa);

/*
 * Adds a device, which is disabled. Returns its number; -EINVAL for a
 * configuration that no device takes, -EOPNOTSUPP for a shared queue without
 * pasid, -ENOSPC for more than IAA_MAX_DEVICES, -ENOMEM.
 */
int iaa_device_add(struct iaa *iaa, unsigned int nid, const struct idxd_config *config);
enum idxd_device_state iaa_device_state(struct iaa *iaa, unsigned int device);
/*
 * Sets the state. A device that is disabled or removed aborts its descriptors,
 * and wakes their owners.
 */
void iaa_device_set_state(struct iaa *iaa, unsigned int device, enum idxd_device_state state);
/*
 * Runs an engine in the calling thread, in real time, until iaa_device_stop().
 * A stopped device takes no descriptor, also if it is enabled again.
 */
void iaa_engine_run(struct iaa *iaa, unsigned int device, unsigned int engine);
void iaa_device_stop(struct iaa *iaa, unsigned int device);
/*
 * Waits until all descriptors of a queue are free; in real time for some 20 ms.
 * The queue must be in no table. Returns true if they are.
 */
bool iaa_wq_drain(struct iaa *iaa, unsigned int device, unsigned int wq);

/*
 * Sets which queues serve which CPU. Table t is wqs[start[t]] .. wqs[start[t +
 * 1] - 1], each device << 8 | wq, and its queues are taken in turn. comp[c] and
 * decomp[c] are the numbers of CPU c's tables; a number from nr_tables on means
 * no table. The call waits for all readers of the tables before.
 *
 * Returns 0; -EINVAL for a queue that is not there; -ENOMEM.
 */
int iaa_set_tables(struct iaa *iaa, unsigned int nr_tables, const unsigned int *start,
		   const unsigned int *wqs, const unsigned int *comp, const unsigned int *decomp);

/*
 * Sets the fault plan of all devices, and counts submissions from 0 again.
 * Returns 0; -ENOSPC for more than 256 faults.
 */
int iaa_set_plan(struct iaa *iaa, const struct idxd_fault *faults, unsigned int nr);
/* Returns the number of submissions that fault i has hit. */
uint64_t iaa_plan_hits(struct iaa *iaa, unsigned int i);

void iaa_get_stats(struct iaa *iaa, struct iaa_stats *ret);
void iaa_get_wq_stats(struct iaa *iaa, unsigned int device, unsigned int wq,
		      struct iaa_wq_stats *ret);
void iaa_stats_reset(struct iaa *iaa);
/* Like zswap_next_message(), for the driver's messages. */
int iaa_next_message(struct iaa *iaa, char *buf, size_t len);

/* cffi: end */

#endif
