/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An Intel analytics accelerator (IAX), as drivers/dma/idxd sees one. Groups
 * tie work queues to engines. Descriptors of 64 bytes go in, completion records
 * of 64 bytes come out. A software deflate-iaa really does the work.
 *
 * csrc/hw/ is the silicon; csrc/iaa/ is its driver. This header is all that
 * they share: submit.c calls the device through the portal below.
 *
 * A descriptor's states:
 *
 *  alloc       submit        an engine claims it     works in memory of its own
 *   FREE ─> PREPARED ─> SUBMITTED ─> FETCHING ─> RUNNING ─> COMMITTING ─> DONE ─> FREE
 *                           │           └─ src is copied in    │      └─ dst, record are copied out
 *                           └────────────> ABORTED <───────────┘   by a timeout or a removal
 *
 * An abort waits out FETCHING and COMMITTING, so the caller's buffers are never
 * touched after a call has returned. After submission the owner and the device
 * each hold a reference to the descriptor. Dropping the last one frees it.
 *
 * There are two clocks. In real time (clock NULL) engines are threads, in
 * idxd_engine_run(). In virtual time the actor that holds the turn does the
 * work, which takes the time that the profile gives.
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
 * Costs in nanoseconds of virtual time. Only the timeout holds in real time
 * too.
 */
struct idxd_profile {
	uint64_t host_ns; /* the submitting CPU's part of a job */
	/* an engine's part, for a job of 4 KiB that has the device to itself */
	uint64_t compress_ns, decompress_ns;
	/*
	 * the part of these that only one engine of a device can do at a time,
	 * per 4 KiB: the device's bandwidth limit
	 */
	uint64_t transfer_ns;
	uint64_t irq_ns;      /* the CPU's part of a completion interrupt */
	uint64_t software_ns; /* the CPU's, for a page that software decompresses */
	uint64_t pause_ns;    /* between two tries */
	uint64_t timeout_ns;  /* the device time that a descriptor may take */
	unsigned int jitter;  /* engines' times vary by this many thousandths, up or down */
	uint64_t seed;
};

enum idxd_fault_kind {
	IDXD_FAULT_STATUS,     /* the record has this status and error code; no output is written */
	IDXD_FAULT_CRC,        /* the record's crc is wrong */
	IDXD_FAULT_DELAY,      /* the engine holds the descriptor for ns of device time */
	IDXD_FAULT_NO_ANSWER,  /* the engine holds the descriptor until it is aborted */
	IDXD_FAULT_QUEUE_FULL, /* no descriptor is free, or a shared queue answers "retry" */
	/*
	 * from this descriptor on engines take up no work, for ns of device
	 * time; 0: until the device is enabled again
	 */
	IDXD_FAULT_STOP,
	IDXD_FAULT_REMOVE, /* the device is removed, until it is enabled again */
};

/*
 * One fault of a plan. It hits submissions nth .. nth + times - 1, counted from
 * 1, of those that match device, wq and opcode; with times 0 all from nth on.
 */
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
	unsigned int threshold; /* the entries that a shared queue fills */
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
#define IAX_FILTER_CRC             0x1 /* zswap_py's own: the driver reads the crc */

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
/* the most general of the decoder's codes; drivers read the status alone */
#define IAA_ERROR_BAD_STREAM 0x0b

struct iax_hw_desc {
	u32 pasid:20, rsvd:11, priv:1;
	u32 flags:24, opcode:8;
	u64 completion_addr;
	u64 src1_addr;
	u64 dst_addr;
	u32 src1_size;
	u16 int_handle;
	u16 compr_flags; /* decompr_flags of a decompression */
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

/* ---- descriptors ---- */

struct idxd_device;
struct idxd_engine;
struct idxd_group;
struct idxd_plan;
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
	IDXD_DESC_STATE = 0xff,      /* the mask of the states above; flags follow */
	IDXD_DESC_WAITED = 0x100,    /* the owner sleeps on the state */
	IDXD_DESC_TIMED_OUT = 0x200, /* the abort's reason; without it, the device's removal */
};

/* The faults that the plan has for one submission. */
struct idxd_desc_faults {
	bool has_status, flip_crc, no_answer;
	u8 status, error_code;
	u64 delay_ns;
	bool stop, remove; /* of the whole device; at most one */
	u64 stop_ns;       /* 0: until the device is enabled again */
};

struct idxd_desc {
	struct iax_hw_desc iax_hw ____cacheline_aligned;
	struct iax_completion_record iax_completion; /* the owner may read it once it is DONE */
	_Atomic u32 state;
	_Atomic u32 refs;
	struct idxd_wq *wq;
	unsigned int id;
	u64 submitted_ns;
	struct vclock_actor *waiter; /* virtual time: the owner, while it waits */
	/* The device's: */
	struct idxd_desc_faults faults;
	_Atomic u64 device_ns; /* real time: how long a fault has held it in an engine */
	struct list_head list; /* its queue's; wq->group->lock */
	struct vclock_event event;
	struct idxd_engine *engine;
};

static inline u32 idxd_desc_state(const struct idxd_desc *desc)
{
	return atomic_load_explicit(&desc->state, memory_order_acquire) & IDXD_DESC_STATE;
}

/* ---- work queues ---- */

struct idxd_wq {
	struct idxd_device *device;
	unsigned int id;
	struct idxd_wq_config config;
	const struct idxd_profile *profile;
	struct vclock *clock; /* NULL: real time */
	spinlock_t free_lock; /* nr_free, free; no lock is taken inside it */
	unsigned int nr_free;
	u8 free[IDXD_MAX_WQ_SIZE];
	struct list_head waiters; /* actors that wait for a descriptor; the turn's */
	struct idxd_desc *descs;
	/* The device's, under group->lock: */
	struct idxd_group *group;
	struct list_head queue;
	unsigned int queued;
};

/* An actor that waits for a descriptor, in wq->waiters. */
struct idxd_wq_waiter {
	struct list_head list;
	struct vclock_actor *actor;
};

/* Allocates the queue's descriptors, all free. Returns 0 or -ENOMEM. */
int idxd_wq_init(struct idxd_wq *wq);
void idxd_wq_deinit(struct idxd_wq *wq);
/* Takes a free descriptor; NULL if there is none. */
struct idxd_desc *idxd_wq_get_desc(struct idxd_wq *wq);
/* Wakes the actor that has waited longest, if a descriptor is free. */
void idxd_wq_wake_waiter(struct idxd_wq *wq);
/* Wakes all actors that wait for a descriptor: the device is not enabled. */
void idxd_wq_wake_all(struct idxd_wq *wq);
/*
 * Waits until all descriptors of the queue are free; in real time for some 20
 * ms. Returns true if they are.
 */
bool idxd_wq_drain(struct idxd_wq *wq);

/*
 * Returns a zeroed descriptor. Fails with ERR_PTR(-EIO) if the device is not
 * enabled, and with ERR_PTR(-EAGAIN) if none was free in 'tries' tries. With
 * tries 0 it waits for one as long as the device is enabled.
 */
struct idxd_desc *idxd_alloc_desc(struct idxd_wq *wq, unsigned int tries);
/*
 * Drops a reference, the owner's or the device's. The last one puts the
 * descriptor back among its queue's free ones.
 */
void idxd_free_desc(struct idxd_desc *desc);
/* Zeroes a descriptor that is DONE, so that its owner can submit it again. */
void idxd_renew_desc(struct idxd_desc *desc);
/*
 * Returns 0; -EIO if the device is not enabled; -EAGAIN if a shared queue
 * answered "retry" to all enqcmds_retries. After an error the caller still owns
 * the descriptor, and no engine has it.
 */
int idxd_submit_desc(struct idxd_desc *desc);
/* Returns true once the descriptor is DONE or ABORTED. */
bool idxd_desc_done(struct idxd_desc *desc);
/*
 * Waits until the descriptor is DONE, and returns 0. Aborts it after the
 * profile's timeout, in device time, and returns -ETIMEDOUT. Returns -EIO if
 * the device's removal aborted it.
 */
int idxd_desc_wait(struct idxd_desc *desc);

/* ---- the portal: the device, for submit.c ---- */

/* Counts a request. Returns true if the plan keeps the queue full for it. */
bool idxd_portal_is_full(struct idxd_wq *wq);
/*
 * Begins a submission: takes its faults from the plan, and stops the device if
 * Stop is one of them. Returns true if the submission's end removes the device.
 */
bool idxd_portal_open(struct idxd_desc *desc);
/*
 * One MOVDIR64B, or one ENQCMDS to a shared queue. Returns 0; -EIO if the
 * device is not enabled; -EAGAIN for a shared queue's "retry".
 */
int idxd_portal_write(struct idxd_desc *desc);
/* Ends a submission. In virtual time idle engines take up work. */
void idxd_portal_close(struct idxd_wq *wq, bool remove);
/*
 * Takes an aborted descriptor out of its queue, and drops the device's
 * reference, if no engine has met it: a stopped device would not.
 */
void idxd_portal_withdraw(struct idxd_desc *desc);

/*
 * Aborts a descriptor that is SUBMITTED or RUNNING. Waits while it is FETCHING
 * or COMMITTING. 'why' is IDXD_DESC_TIMED_OUT, or 0 if its device was disabled
 * or removed. Returns the state before, with its flags; 0 if the descriptor is
 * DONE or ABORTED already.
 */
u32 idxd_desc_abort(struct idxd_desc *desc, u32 why);
/*
 * Returns the device time that the descriptor has taken. In real time that is
 * only the time for which a fault holds it, so a busy host causes no timeout.
 */
u64 idxd_desc_device_ns(struct idxd_desc *desc);

/* ---- devices and plans, for iaa.c ---- */

/* Creates an empty plan, for all devices of a driver. NULL: no memory. */
struct idxd_plan *idxd_plan_create(void);
void idxd_plan_free(struct idxd_plan *plan);
/*
 * Replaces the plan's faults, and counts from 0 again. Returns 0; -ENOSPC for
 * more than 256.
 */
int idxd_plan_set(struct idxd_plan *plan, const struct idxd_fault *faults, unsigned int nr);
/* Returns the number of submissions that fault i has hit. */
u64 idxd_plan_hits(struct idxd_plan *plan, unsigned int i);

/*
 * Returns a device, which is disabled; NULL and *err: -EINVAL for a
 * configuration that no device takes, -EOPNOTSUPP for a shared queue without
 * pasid, -ENOMEM.
 */
struct idxd_device *idxd_device_create(struct kmem *mm, unsigned int id, unsigned int nid,
				       const struct idxd_config *config,
				       const struct idxd_profile *profile,
				       const struct acomp_alg *software, struct idxd_plan *plan,
				       struct vclock *clock, int *err);
/* Frees a device. No call may use it, and no engine may run. */
void idxd_device_free(struct idxd_device *device);
/* Returns queue 'wq'; NULL if the device has none of that number. */
struct idxd_wq *idxd_device_wq(struct idxd_device *device, unsigned int wq);
unsigned int idxd_device_id(const struct idxd_device *device);
enum idxd_device_state idxd_device_state(struct idxd_device *device);
/*
 * Sets the state. A device that is disabled or removed aborts its descriptors,
 * and wakes their owners.
 */
void idxd_device_set_state(struct idxd_device *device, enum idxd_device_state state);

/* Runs an engine in the calling thread, until idxd_device_stop(). Real time. */
void idxd_engine_run(struct idxd_device *device, unsigned int engine);
void idxd_device_stop(struct idxd_device *device);

#endif
