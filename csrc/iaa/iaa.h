/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The driver: deflate-iaa as an acomp algorithm over IAX devices, as
 * drivers/crypto/intel/iaa with the series "zswap compression batching" (v10)
 * applied, and as mainline has it without.
 *
 * Which devices there are, which queue serves which CPU, and the threads that
 * are the engines: all this is the caller's decision, who lays it down by the
 * functions below. A device is a number, 0 .. IAA_MAX_DEVICES - 1, in the order
 * of adding; it lives as long as the driver does.
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
	IAA_SYNC, /* submit, poll */
	/*
	 * likewise, but for a batch, whose requests are polled for after the
	 * last was submitted
	 */
	IAA_ASYNC,
	/*
	 * a request of one page is answered by its callback, as after an
	 * interrupt
	 */
	IAA_ASYNC_IRQ,
};

/* Taken up by each context when it is made. */
struct iaa_mode {
	enum iaa_sync_mode sync_mode;
	bool verify_compress; /* each result is decompressed again, and the crc compared */
	/*
	 * software decompresses after whatever went wrong (v10); else after
	 * status 0x0a alone
	 */
	bool any_failure;
	/* for a descriptor; 0: wait for one, and there are no batches */
	unsigned int comp_tries, decomp_tries;
};

struct iaa_stats {
	uint64_t total_comp_calls, total_decomp_calls, total_sw_decomp_calls, total_comp_bytes_out,
		total_decomp_bytes_in;
	uint64_t total_completion_einval_errors, total_completion_timeout_errors,
		total_completion_comp_buf_overflow_errors;
	/*
	 * No kernel counts these: requests that no queue took, as none is
	 * bound, or the driver or the device is disabled.
	 */
	uint64_t total_no_wq_errors;
};

struct iaa_wq_stats {
	uint64_t comp_calls, comp_bytes, decomp_calls, decomp_bytes;
	/*
	 * no kernel counts these by queue: -E2BIG; requests that it had no room
	 * for
	 */
	uint64_t comp_buf_overflows, no_descriptor;
};

/*
 * 'engine' does the devices' work, 'software' decompresses where a device has
 * failed; 'clock': virtual time, or NULL. All must be there as long as the
 * driver. CPUs from nr_cpus on are counted from 0 again. NULL and *err:
 * -EINVAL, -ENOMEM.
 */
struct iaa *iaa_create(const struct acomp_alg *engine, const struct acomp_alg *software,
		       const struct idxd_profile *profile, struct vclock *clock,
		       unsigned int nr_cpus, unsigned int nr_nodes, int *err);
/* Each context has a reference too. Engines must have ended. */
void iaa_put(struct iaa *iaa);
/* In a forked child: nothing here can be used. */
void iaa_forked(struct iaa *iaa);
struct acomp_alg *iaa_alg(struct iaa *iaa);
/* before the first context: tries stay as they are then */
void iaa_set_mode(struct iaa *iaa, const struct iaa_mode *mode);
/*
 * Not enabled: every call gives -ENODEV. A descriptor that timed out disables
 * it.
 */
void iaa_set_enabled(struct iaa *iaa, bool enabled);
bool iaa_enabled(struct iaa *iaa);

/*
 * The number of the new device, which is disabled; -EINVAL for a configuration
 * that none takes, -EOPNOTSUPP, -ENOSPC, -ENOMEM.
 */
int iaa_device_add(struct iaa *iaa, unsigned int nid, const struct idxd_config *config);
enum idxd_device_state iaa_device_state(struct iaa *iaa, unsigned int device);
/*
 * What is in flight on a device that does not stay enabled is aborted, and its
 * owners are told.
 */
void iaa_device_set_state(struct iaa *iaa, unsigned int device, enum idxd_device_state state);
/*
 * Threads' bodies, in real time: until iaa_device_stop(), after which it cannot
 * be enabled again.
 */
void iaa_engine_run(struct iaa *iaa, unsigned int device, unsigned int engine);
void iaa_device_stop(struct iaa *iaa, unsigned int device);
/*
 * Waits until nothing is in flight on a queue, which must be in no table; in
 * real time for some 20 ms. True: nothing is.
 */
bool iaa_wq_drain(struct iaa *iaa, unsigned int device, unsigned int wq);

/*
 * Which queues serve which CPU. Table t is wqs[start[t]] .. wqs[start[t + 1] -
 * 1], each device << 8 | wq; its queues are taken in turn. comp and decomp give
 * a CPU's tables; what is not below nr_tables is none. When this returns nobody
 * chooses by the tables before. -EINVAL for a queue that is not there, -ENOMEM.
 */
int iaa_set_tables(struct iaa *iaa, unsigned int nr_tables, const unsigned int *start,
		   const unsigned int *wqs, const unsigned int *comp, const unsigned int *decomp);

/*
 * What shall go wrong; the devices count from here. -ENOSPC for more than 256.
 */
int iaa_set_plan(struct iaa *iaa, const struct idxd_fault *faults, unsigned int nr);
uint64_t iaa_plan_hits(struct iaa *iaa, unsigned int i);

void iaa_get_stats(struct iaa *iaa, struct iaa_stats *ret);
void iaa_get_wq_stats(struct iaa *iaa, unsigned int device, unsigned int wq,
		      struct iaa_wq_stats *ret);
void iaa_stats_reset(struct iaa *iaa);
/* As zswap_next_message(). */
int iaa_next_message(struct iaa *iaa, char *buf, size_t len);

/* cffi: end */

#endif
