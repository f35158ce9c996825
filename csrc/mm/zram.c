// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * zram.c - the rules of drivers/block/zram/zram_drv.c
 *
 * The table has an entry for each slot: the handle of an object and its size,
 * or the repeated word. A CPU's stream has a transform and its buffer, as
 * zcomp's.
 *
 * Locks, in this order:
 *
 *   life          read by every call; written by shutdown
 *   strm->mutex   a CPU's stream
 *   entry->lock   a slot
 *   class->lock   a size class (zsmalloc.c)
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "crypto/acomp.h"
#include "mm/zram.h"
#include "mm/zsmalloc.h"

#define ZRAM_MAX_SLOTS (1ull << 40)

/* A slot's state. The kernel's flags are bits of a word with the size. */
enum zram_flags {
	ZRAM_EMPTY,
	ZRAM_SAME,
	ZRAM_HUGE,
	ZRAM_COMPRESSED,
};

struct zram_table_entry {
	unsigned long handle; /* of an object; the word that ZRAM_SAME repeats */
	u32 size;             /* bytes of the object */
	u8 flags;
	spinlock_t lock;
};

_Static_assert(sizeof(struct zram_table_entry) == 16, "as in the kernel");

struct zcomp_strm {
	pthread_mutex_t mutex;
	struct crypto_acomp *tfm;
	struct acomp_req *req;
	struct crypto_wait wait;
	u8 *buffer; /* two pages: output may be larger than its page */
	u8 *local;  /* a page: an object that is not contiguous */
} ____cacheline_aligned;

struct zram {
	struct zram_config config;
	size_t page_size, huge_class_size;
	pid_t pid;
	pthread_rwlock_t life;
	bool closed; /* under life */
	struct faults faults;
	struct kmem mm;
	struct zs_host host;
	struct zpool pool;
	struct zram_table_entry *table;
	struct zcomp_strm *strm; /* by CPU */
	_Atomic u64 pages_stored, compr_data_size, mem_used_max, same_pages, huge_pages,
		huge_pages_since;
};

/* ---- the shell of a call ---- */

static int zram_enter(struct zram *zram, unsigned int cpu, struct task *task)
{
	for (struct task *t = current_task; t; t = t->outer)
		if (t->owner == zram)
			return -EDEADLK;
	if (zram->pid != getpid())
		return -ECHILD;
	if (cpu >= zram->config.nr_cpus)
		return -EINVAL;
	pthread_rwlock_rdlock(&zram->life);
	if (zram->closed) {
		pthread_rwlock_unlock(&zram->life);
		return -ESHUTDOWN;
	}
	*task = (struct task){ .cpu = cpu, .owner = zram, .outer = current_task };
	current_task = task;
	return 0;
}

static void zram_exit(struct zram *zram, struct task *task)
{
	current_task = task->outer;
	pthread_rwlock_unlock(&zram->life);
}

/* ---- streams ---- */

static int strm_init(struct zram *zram, struct zcomp_strm *strm, const struct acomp_alg *alg)
{
	pthread_mutex_init(&strm->mutex, NULL);
	crypto_init_wait(&strm->wait);
	strm->tfm = crypto_alloc_acomp_node(&zram->mm, alg, 0);
	if (IS_ERR(strm->tfm))
		return PTR_ERR(strm->tfm);
	strm->req = acomp_request_alloc(strm->tfm);
	strm->buffer = kzalloc_node(&zram->mm, FAULT_BUFFER, 2 * zram->page_size, 0);
	strm->local = kzalloc_node(&zram->mm, FAULT_BUFFER, zram->page_size, 0);
	if (!strm->req || !strm->buffer || !strm->local)
		return -ENOMEM;
	acomp_request_set_callback(strm->req, CRYPTO_TFM_REQ_MAY_BACKLOG, crypto_req_done,
				   &strm->wait);
	return 0;
}

/* Frees a stream in any state after strm_init(). */
static void strm_deinit(struct zram *zram, struct zcomp_strm *strm)
{
	acomp_request_free(strm->req);
	crypto_free_acomp(strm->tfm);
	kfree(&zram->mm, strm->buffer);
	kfree(&zram->mm, strm->local);
	crypto_destroy_wait(&strm->wait);
	pthread_mutex_destroy(&strm->mutex);
}

static struct zcomp_strm *strm_lock(struct zram *zram)
{
	struct zcomp_strm *strm = &zram->strm[raw_smp_processor_id()];

	pthread_mutex_lock(&strm->mutex);
	return strm;
}

/* Compresses a page into the stream's buffer. Returns 0 or a negative errno. */
static int zcomp_compress(struct zram *zram, struct zcomp_strm *strm, const u8 *page,
			  unsigned int *dlen)
{
	int ret;

	acomp_request_set_params(strm->req, page, strm->buffer, zram->page_size,
				 2 * zram->page_size);
	ret = crypto_wait_req(crypto_acomp_compress(strm->req), &strm->wait);
	*dlen = strm->req->dlen;
	return ret;
}

static int zcomp_decompress(struct zram *zram, struct zcomp_strm *strm, const u8 *src,
			    unsigned int slen, u8 *page)
{
	int ret;

	acomp_request_set_params(strm->req, src, page, slen, zram->page_size);
	ret = crypto_wait_req(crypto_acomp_decompress(strm->req), &strm->wait);
	return ret || strm->req->dlen != zram->page_size ? -EIO : 0;
}

/* ---- slots ---- */

/* Returns true, and the word, if a page is that word repeated. */
static bool page_same_filled(const struct zram *zram, const u8 *page, unsigned long *word)
{
	memcpy(word, page, sizeof(*word));
	return !memcmp(page, page + zram->page_size - sizeof(*word), sizeof(*word)) &&
	       !memcmp(page, page + sizeof(*word), zram->page_size - sizeof(*word));
}

/* Empties a slot, which is locked. */
static void zram_free_page(struct zram *zram, struct zram_table_entry *entry)
{
	switch (entry->flags) {
	case ZRAM_EMPTY:
		return;
	case ZRAM_SAME:
		atomic_fetch_sub_explicit(&zram->same_pages, 1, memory_order_relaxed);
		break;
	case ZRAM_HUGE:
		atomic_fetch_sub_explicit(&zram->huge_pages, 1, memory_order_relaxed);
		/* fall through */
	default:
		zpool_free(&zram->pool, entry->handle);
		atomic_fetch_sub_explicit(&zram->compr_data_size, entry->size,
					  memory_order_relaxed);
	}
	atomic_fetch_sub_explicit(&zram->pages_stored, 1, memory_order_relaxed);
	entry->handle = 0;
	entry->size = 0;
	entry->flags = ZRAM_EMPTY;
}

static void zram_free_slot(struct zram *zram, u64 index)
{
	struct zram_table_entry *entry = &zram->table[index];

	spin_lock(&entry->lock);
	zram_free_page(zram, entry);
	spin_unlock(&entry->lock);
}

/*
 * Puts a page's new state at its slot in place of the old one, which is freed
 * only now: after the new object is allocated, on every kernel from 6.12 to 7.3.
 */
static void zram_set_slot(struct zram *zram, u64 index, enum zram_flags flags, unsigned long handle,
			  u32 size)
{
	struct zram_table_entry *entry = &zram->table[index];

	spin_lock(&entry->lock);
	zram_free_page(zram, entry);
	entry->handle = handle;
	entry->size = size;
	entry->flags = flags;
	spin_unlock(&entry->lock);

	atomic_fetch_add_explicit(&zram->pages_stored, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&zram->compr_data_size, size, memory_order_relaxed);
	if (flags == ZRAM_SAME)
		atomic_fetch_add_explicit(&zram->same_pages, 1, memory_order_relaxed);
	if (flags == ZRAM_HUGE) {
		atomic_fetch_add_explicit(&zram->huge_pages, 1, memory_order_relaxed);
		atomic_fetch_add_explicit(&zram->huge_pages_since, 1, memory_order_relaxed);
	}
}

static void update_used_max(struct zram *zram)
{
	u64 now = zpool_get_total_pages(&zram->pool);
	u64 max = atomic_load_explicit(&zram->mem_used_max, memory_order_relaxed);

	while (now > max && !atomic_compare_exchange_weak(&zram->mem_used_max, &max, now))
		;
}

/* Compresses a page and allocates its object. */
static int zram_write_page(struct zram *zram, u64 index, const u8 *page)
{
	struct zcomp_strm *strm = strm_lock(zram);
	enum zram_flags flags = ZRAM_COMPRESSED;
	const u8 *bytes = strm->buffer;
	unsigned long handle;
	unsigned int len;
	int ret = zcomp_compress(zram, strm, page, &len);

	if (ret)
		goto unlock;
	if (len >= zram->huge_class_size) {
		flags = ZRAM_HUGE;
		bytes = page;
		len = zram->page_size;
	}
	ret = zpool_malloc(&zram->pool, len, &handle, 0);
	if (ret)
		goto unlock;
	update_used_max(zram);
	zpool_obj_write(&zram->pool, handle, bytes, len);
	zram_set_slot(zram, index, flags, handle, len);
unlock:
	pthread_mutex_unlock(&strm->mutex);
	return ret;
}

/* Reads an object. The slot is locked, so the object stays. */
static int zram_read_object(struct zram *zram, struct zcomp_strm *strm,
			    const struct zram_table_entry *entry, u8 *page)
{
	const u8 *obj = zpool_obj_read_begin(&zram->pool, entry->handle, entry->size, strm->local);

	if (entry->flags == ZRAM_COMPRESSED)
		return zcomp_decompress(zram, strm, obj, entry->size, page);
	memcpy(page, obj, zram->page_size);
	return 0;
}

static int zram_read_page(struct zram *zram, u64 index, u8 *page)
{
	struct zcomp_strm *strm = strm_lock(zram);
	struct zram_table_entry *entry = &zram->table[index];
	int ret = 0;

	spin_lock(&entry->lock);
	if (entry->flags == ZRAM_COMPRESSED || entry->flags == ZRAM_HUGE)
		ret = zram_read_object(zram, strm, entry, page);
	else /* an empty slot's word is 0 */
		for (size_t i = 0; i < zram->page_size; i += sizeof(entry->handle))
			memcpy(page + i, &entry->handle, sizeof(entry->handle));
	spin_unlock(&entry->lock);
	pthread_mutex_unlock(&strm->mutex);
	return ret;
}

/* ---- calls ---- */

static bool has_slots(const struct zram *zram, u64 index, u64 nr)
{
	return index <= zram->config.nr_slots && nr <= zram->config.nr_slots - index;
}

int zram_write(struct zram *zram, unsigned int cpu, u64 index, const void *page)
{
	struct task task;
	unsigned long word;
	int ret = has_slots(zram, index, 1) ? zram_enter(zram, cpu, &task) : -EINVAL;

	if (ret)
		return ret;
	if (page_same_filled(zram, page, &word))
		zram_set_slot(zram, index, ZRAM_SAME, word, 0);
	else
		ret = zram_write_page(zram, index, page);
	zram_exit(zram, &task);
	return ret;
}

int zram_read(struct zram *zram, unsigned int cpu, u64 index, void *page)
{
	struct task task;
	int ret = has_slots(zram, index, 1) ? zram_enter(zram, cpu, &task) : -EINVAL;

	if (ret)
		return ret;
	ret = zram_read_page(zram, index, page);
	zram_exit(zram, &task);
	return ret;
}

int zram_discard(struct zram *zram, unsigned int cpu, u64 index, u64 nr)
{
	struct task task;
	int ret = has_slots(zram, index, nr) ? zram_enter(zram, cpu, &task) : -EINVAL;

	if (ret)
		return ret;
	for (u64 i = 0; i < nr; i++)
		zram_free_slot(zram, index + i);
	zram_exit(zram, &task);
	return 0;
}

int64_t zram_length(struct zram *zram, unsigned int cpu, u64 index)
{
	struct task task;
	struct zram_table_entry *entry;
	int64_t ret = has_slots(zram, index, 1) ? zram_enter(zram, cpu, &task) : -EINVAL;

	if (ret)
		return ret;
	entry = &zram->table[index];
	spin_lock(&entry->lock);
	ret = entry->flags == ZRAM_EMPTY ? -ENOENT : (int64_t)entry->size;
	spin_unlock(&entry->lock);
	zram_exit(zram, &task);
	return ret;
}

int zram_mm_stat(struct zram *zram, struct zram_mm_stat *ret)
{
	struct task task;
	int err = zram_enter(zram, 0, &task);

	if (err)
		return err;
	*ret = (struct zram_mm_stat){
		.orig_data_size = atomic_load(&zram->pages_stored) * zram->page_size,
		.compr_data_size = atomic_load(&zram->compr_data_size),
		.mem_used_total = zpool_get_total_pages(&zram->pool) * zram->page_size,
		.mem_used_max = atomic_load(&zram->mem_used_max) * zram->page_size,
		.same_pages = atomic_load(&zram->same_pages),
		.huge_pages = atomic_load(&zram->huge_pages),
		.huge_pages_since = atomic_load(&zram->huge_pages_since),
	};
	zram_exit(zram, &task);
	return 0;
}

int zram_info(struct zram *zram, struct zram_info *ret)
{
	struct task task;
	int err = zram_enter(zram, 0, &task);

	if (err)
		return err;
	*ret = (struct zram_info){
		.table = zram->config.nr_slots * sizeof(*zram->table),
		.handle = kmem_cache_bytes(zram->host.handles, 0),
		.zspage = kmem_cache_bytes(zram->host.zspages, 0),
		.huge_class_size = zram->huge_class_size,
		.mapped = arena_mapped(zram->host.arena) + kmem_cache_mapped(zram->host.handles) +
			  kmem_cache_mapped(zram->host.zspages),
	};
	zram_exit(zram, &task);
	return 0;
}

size_t zram_page_size(const struct zram *zram)
{
	return zram->page_size;
}

int zram_class_info(struct zram *zram, unsigned int i, struct zram_class_info *ret)
{
	struct zs_class_info class;
	struct task task;
	int err = zram_enter(zram, 0, &task);

	if (err)
		return err;
	err = zs_class_info(zram->pool.pool, i, &class);
	if (!err)
		*ret = (struct zram_class_info){
			.index = class.index,
			.size = class.size,
			.pages_per_zspage = class.pages_per_zspage,
			.objs_per_zspage = class.objs_per_zspage,
			.zspages = class.zspages,
			.objs_inuse = class.objs_inuse,
		};
	zram_exit(zram, &task);
	return err;
}

/* ---- a device's life ---- */

static bool config_is_valid(const struct zram_config *config)
{
	return (config->page_shift == 12 || config->page_shift == 14 || config->page_shift == 16) &&
	       config->chain_size >= ZS_MIN_CHAIN_SIZE && config->chain_size <= ZS_MAX_CHAIN_SIZE &&
	       config->nr_cpus && config->nr_slots && config->nr_slots <= ZRAM_MAX_SLOTS;
}

/* Allocates all; after an error zram_free() frees what there is. */
static int zram_setup(struct zram *zram, const struct acomp_alg *alg)
{
	const struct zram_config *config = &zram->config;

	if (kmem_init(&zram->mm, &zram->faults, config->nr_cpus, 1))
		return -ENOMEM;
	zram->host.mm = &zram->mm;
	zram->host.page_shift = config->page_shift;
	zram->host.chain_size = config->chain_size;
	if (zs_host_init(&zram->host, config->totalram_pages, 0) ||
	    zs_create_pool(&zram->host, &zram->pool))
		return -ENOMEM;
	zram->huge_class_size = zs_huge_class_size(zram->pool.pool);
	zram->table =
		kvzalloc_node(&zram->mm, FAULT_TREE, config->nr_slots * sizeof(*zram->table), 0);
	zram->strm =
		kzalloc_node(&zram->mm, FAULT_PERCPU, config->nr_cpus * sizeof(*zram->strm), 0);
	if (!zram->table || !zram->strm)
		return -ENOMEM;
	for (unsigned int cpu = 0; cpu < config->nr_cpus; cpu++) {
		int ret = strm_init(zram, &zram->strm[cpu], alg);

		if (ret) {
			while (cpu + 1)
				strm_deinit(zram, &zram->strm[cpu--]);
			kfree(&zram->mm, zram->strm);
			zram->strm = NULL;
			return ret;
		}
	}
	return 0;
}

/* Frees the contents, also half-made ones. */
static void zram_free(struct zram *zram)
{
	if (zram->strm)
		for (unsigned int cpu = 0; cpu < zram->config.nr_cpus; cpu++)
			strm_deinit(zram, &zram->strm[cpu]);
	kfree(&zram->mm, zram->strm);
	kvfree(&zram->mm, FAULT_TREE, zram->table, zram->config.nr_slots * sizeof(*zram->table), 0);
	zpool_destroy_pool(&zram->pool);
	zs_host_deinit(&zram->host);
	kmem_deinit(&zram->mm);
}

struct zram *zram_create(const struct zram_config *config, const struct acomp_alg *alg, int *err)
{
	struct zram *zram;

	*err = -EINVAL;
	if (!config_is_valid(config))
		return NULL;
	*err = -ENOMEM;
	zram = calloc(1, sizeof(*zram));
	if (!zram)
		return NULL;
	zram->config = *config;
	zram->page_size = (size_t)1 << config->page_shift;
	zram->pid = getpid();
	pthread_rwlock_init(&zram->life, NULL);
	*err = zram_setup(zram, alg);
	if (*err) {
		zram_free(zram);
		pthread_rwlock_destroy(&zram->life);
		free(zram);
		return NULL;
	}
	return zram;
}

int zram_shutdown(struct zram *zram)
{
	struct task task;
	int ret = zram_enter(zram, 0, &task); /* for its errors */

	if (ret)
		return ret == -ESHUTDOWN ? 0 : ret;
	zram_exit(zram, &task);
	pthread_rwlock_wrlock(&zram->life);
	if (!zram->closed)
		zram_free(zram);
	zram->closed = true;
	pthread_rwlock_unlock(&zram->life);
	return 0;
}

void zram_destroy(struct zram *zram)
{
	if (!zram || zram->pid != getpid())
		return;
	if (!zram->closed)
		zram_free(zram);
	pthread_rwlock_destroy(&zram->life);
	free(zram);
}
