/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An Intel analytics accelerator (IAX), as drivers/dma/idxd sees one: groups
 * tie work queues to engines, descriptors of 64 bytes go in, completion records
 * of 64 bytes come out. The work is done truly, by a software deflate-iaa.
 *
 * A descriptor's way, in its state:
 *
 *	alloc       submit        an engine claims it     works in memory of its own
 *	 FREE ─> PREPARED ─> SUBMITTED ─> FETCHING ─> RUNNING ─> COMMITTING ─> DONE ─> FREE
 *	                         │           └─ src is copied in    │      └─ dst and record are copied out
 *	                         └────────────> ABORTED <───────────┘   by its owner's timeout, or the device's removal
 *
 * Who aborts waits while it is FETCHING or COMMITTING, a page's copy; so the
 * caller's memory is touched in these two states only, and by nobody once a
 * call has returned. Two hold a descriptor that was submitted, its owner and
 * the device: it is free again when both have let go.
 *
 * Two clocks. Real (clock NULL): engines are threads, in idxd_engine_run().
 * Virtual: the work is done by whoever has the turn, and takes the time that
 * the profile gives it.
 */
#ifndef ZSWAP_IDXD_H
#define ZSWAP_IDXD_H

#include "crypto/acomp.h"
#include "lib/vclock.h"

/* cffi: begin */

/* ---- the device ---- */

#define IDXD_MAX_GROUPS  4
#define IDXD_MAX_ENGINES 8
#define IDXD_MAX_WQS     8
#define IDXD_MAX_WQ_SIZE 128 /* entries of a device, all its queues together */
#define IDXD_MAX_RETRIES 64  /* of a submission to a shared queue */

/*
 * What things cost in virtual time, in nanoseconds; the timeout holds in real
 * time too.
 */
struct idxd_profile {
	uint64_t host_ns; /* the submitting CPU's, a job */
	/* an engine's, for a job of 4 KiB that it has to itself */
	uint64_t compress_ns, decompress_ns;
	/*
	 * of these, where the device's engines take turns: its bandwidth limit,
	 * per 4 KiB
	 */
	uint64_t transfer_ns;
	uint64_t irq_ns;      /* the CPU's, a completion interrupt */
	uint64_t software_ns; /* the CPU's, a page that software decompresses */
	uint64_t pause_ns;    /* between two tries */
	uint64_t timeout_ns;  /* in device time: how long a descriptor may take */
	unsigned int jitter;  /* engines' times vary by so many thousandths, up or down */
	uint64_t seed;
};

/*
 * What shall go wrong, for descriptors nth .. nth + times - 1 (from 1; times 0:
 * all from nth on) of those that match.
 */
enum idxd_fault_kind {
	IDXD_FAULT_STATUS,     /* the record has this status and error code; nothing is written */
	IDXD_FAULT_CRC,        /* the record's crc is wrong */
	IDXD_FAULT_DELAY,      /* the engine holds it for ns of device time, then goes on */
	IDXD_FAULT_NO_ANSWER,  /* the engine holds it until it is aborted */
	IDXD_FAULT_QUEUE_FULL, /* the queue has no room for it: no descriptor, or "retry" */
	/*
	 * from here on the device takes nothing up, for ns of device time; 0:
	 * for good
	 */
	IDXD_FAULT_STOP,
	IDXD_FAULT_REMOVE, /* the device is gone, until it is enabled again */
};

struct idxd_fault {
	enum idxd_fault_kind kind;
	int device, wq; /* -1: any */
	int opcode;     /* -1: any, else enum iax_opcode */
	uint64_t nth, times;
	uint8_t status, error_code;
	uint64_t ns;
};

enum iax_opcode {
	IAX_OPCODE_DECOMPRESS = 0x42,
	IAX_OPCODE_COMPRESS = 0x43,
};

enum idxd_device_state {
	IDXD_DEV_DISABLED,
	IDXD_DEV_ENABLED,
	IDXD_DEV_REMOVED,
};

struct idxd_wq_config {
	unsigned int size;      /* entries; 0: there is no such queue */
	unsigned int threshold; /* a shared queue takes no more than so many */
	bool shared;
	unsigned int group, priority; /* priority 1 .. 15: the higher is served first */
	unsigned int enqcmds_retries;
};

struct idxd_config {
	struct idxd_wq_config wq[IDXD_MAX_WQS];
	int engine_group[IDXD_MAX_ENGINES]; /* -1: not in use */
	bool pasid;                         /* scalable IOMMU mode: shared queues are possible */
};

/* cffi: end */

/* ---- hardware's structures ---- */

#define IDXD_OP_FLAG_CRAV         0x0004 /* the record's address is valid */
#define IDXD_OP_FLAG_RCR          0x0008 /* a record is requested */
#define IDXD_OP_FLAG_RCI          0x0010 /* completion interrupt */
#define IDXD_OP_FLAG_CC           0x0100 /* cache control */
#define IDXD_OP_FLAG_RD_SRC2_AECS 0x010000
#define IDXD_OP_FLAG_VALID                                                           \
	(IDXD_OP_FLAG_CRAV | IDXD_OP_FLAG_RCR | IDXD_OP_FLAG_RCI | IDXD_OP_FLAG_CC | \
	 IDXD_OP_FLAG_RD_SRC2_AECS)

#define IAX_DECOMP_SUPPRESS_OUTPUT 0x0200
#define IAX_FILTER_CRC             0x1 /* ours: somebody will look at the crc */

#define IDXD_COMP_NONE              0x00
#define IDXD_COMP_SUCCESS           0x01
#define IDXD_COMP_PAGE_FAULT_NOBOF  0x04
#define IDXD_COMP_ANALYTICS_ERROR   0x0a
#define IDXD_COMP_OUTPUT_OVERFLOW   0x0b
#define IDXD_COMP_BAD_OPCODE        0x10
#define IDXD_COMP_INVALID_FLAGS     0x11
#define IDXD_COMP_XFER_ERANGE       0x13
#define IDXD_COMP_WATCHDOG_EXPIRED  0x24
#define IAA_ERROR_COMP_BUF_OVERFLOW 0x19
/* the least telling of the decoder's codes; drivers look at the status alone */
#define IAA_ERROR_BAD_STREAM 0x0b

struct iax_hw_desc {
	u32 pasid:20, rsvd:11, priv:1;
	u32 flags:24, opcode:8;
	u64 completion_addr;
	u64 src1_addr;
	u64 dst_addr;
	u32 src1_size;
	u16 int_handle;
	u16 compr_flags; /* or decompr_flags */
	u64 src2_addr;
	u32 max_dst_size;
	u32 src2_size;
	u32 filter_flags;
	u32 num_inputs;
};

struct iax_completion_record {
	u8 status, error_code, fault_info, rsvd;
	u32 bytes_completed;
	u64 fault_addr;
	u32 invalid_flags, rsvd2;
	u32 output_size;
	u8 output_bits, rsvd3;
	u16 xor_csum;
	u32 crc;
	u32 min, max, sum;
	u64 rsvd4[2];
};

_Static_assert(sizeof(struct iax_hw_desc) == 64, "a descriptor is 64 bytes");
_Static_assert(sizeof(struct iax_completion_record) == 64, "a completion record is 64 bytes");

/* ---- the device, for its driver ---- */

struct idxd_device;
struct idxd_wq;

enum idxd_desc_state {
	IDXD_DESC_FREE,
	IDXD_DESC_PREPARED,
	IDXD_DESC_SUBMITTED,
	IDXD_DESC_FETCHING,
	IDXD_DESC_RUNNING,
	IDXD_DESC_COMMITTING,
	IDXD_DESC_DONE,
	IDXD_DESC_ABORTED,
	IDXD_DESC_STATE = 0xff,
	IDXD_DESC_WAITED = 0x100,    /* flags: its owner sleeps on the state; */
	IDXD_DESC_TIMED_OUT = 0x200, /* why it was aborted */
};

struct idxd_desc {
	struct iax_hw_desc iax_hw ____cacheline_aligned;
	struct iax_completion_record iax_completion; /* the owner's to read once it is DONE */
	_Atomic u32 state;
	_Atomic u32 refs;
	struct idxd_wq *wq;
	unsigned int id;
	/* What the plan has for it. */
	bool faulty, flip_crc, no_answer;
	u8 status, error_code;
	u64 delay_ns;
	/* Its time. */
	u64 submitted_ns;
	_Atomic u64 device_ns; /* real: so long a fault has held it in an engine */
	struct list_head list; /* its queue's; the group's lock */
	/* Virtual time. */
	struct vclock_event event;
	struct vclock_actor *waiter;
	struct idxd_engine *engine;
};

/* The plan for all devices of a driver, and the clock. */
struct idxd_plan;

struct idxd_plan *idxd_plan_create(void);
void idxd_plan_free(struct idxd_plan *plan);
/* Takes the place of the one before. Counting begins anew. */
int idxd_plan_set(struct idxd_plan *plan, const struct idxd_fault *faults, unsigned int nr);
u64 idxd_plan_hits(struct idxd_plan *plan, unsigned int i);
/*
 * A descriptor that is being submitted gets what is planned for it. True: so
 * does its whole device, *device_fault.
 */
bool idxd_plan_apply(struct idxd_plan *plan, struct idxd_desc *desc,
		     struct idxd_fault *device_fault);
/* A request to a queue that has no room for it, however often it is tried. */
bool idxd_plan_is_full(struct idxd_plan *plan, struct idxd_wq *wq);

/*
 * NULL and *err: -EINVAL for a configuration that no device takes, -EOPNOTSUPP
 * for a shared queue without pasid, -ENOMEM.
 */
struct idxd_device *idxd_device_create(struct kmem *mm, unsigned int id, unsigned int nid,
				       const struct idxd_config *config,
				       const struct idxd_profile *profile,
				       const struct acomp_alg *software, struct idxd_plan *plan,
				       struct vclock *clock, int *err);
/* Nobody is inside, no engine runs. */
void idxd_device_free(struct idxd_device *device);
/* NULL: there is none */
struct idxd_wq *idxd_device_wq(struct idxd_device *device, unsigned int wq);
unsigned int idxd_device_id(const struct idxd_device *device);
enum idxd_device_state idxd_device_state(struct idxd_device *device);
/* Removing aborts what is in flight; each owner is told. */
void idxd_device_set_state(struct idxd_device *device, enum idxd_device_state state);

/* Bodies of threads, in real time: until idxd_device_stop(). */
void idxd_engine_run(struct idxd_device *device, unsigned int engine);
void idxd_device_stop(struct idxd_device *device);

struct idxd_device *idxd_wq_device(struct idxd_wq *wq);
unsigned int idxd_wq_id(const struct idxd_wq *wq);
/*
 * Waits until all its descriptors are free; in real time for some 20 ms. True:
 * they are.
 */
bool idxd_wq_drain(struct idxd_wq *wq);

/*
 * A zeroed descriptor. ERR_PTR(-EIO): the device is not enabled; -EAGAIN: after
 * so many tries none was free; tries 0: waits for one as long as the device is
 * enabled.
 */
struct idxd_desc *idxd_alloc_desc(struct idxd_wq *wq, unsigned int tries);
void idxd_free_desc(struct idxd_desc *desc);
/* One that is DONE, zeroed for its owner to submit again. */
void idxd_renew_desc(struct idxd_desc *desc);
/*
 * 0; -EIO: the device is not enabled; -EAGAIN: a shared queue was full, all
 * retries long. After an error the descriptor is the caller's as before.
 */
int idxd_submit_desc(struct idxd_desc *desc);
/* True once there is an answer, or it is aborted. */
bool idxd_desc_done(struct idxd_desc *desc);
/*
 * Waits for that: 0, -ETIMEDOUT (aborted; after the profile's timeout in device
 * time), or -EIO (aborted by the device's removal).
 */
int idxd_desc_wait(struct idxd_desc *desc);

#endif
