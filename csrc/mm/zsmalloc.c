// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * zsmalloc.c - many objects of up to a page in few pages
 *
 * Compressed pages have all sizes. A power-of-two allocator wastes a quarter of
 * the memory, and one page for each object saves nothing. zsmalloc has a size
 * class for each 16 bytes (at 4 KiB pages) and lays a class's objects side by
 * side in a zspage: a chain of 1 to 16 pages, as long as leaves the least at
 * its end. An object may cross one page border.
 *
 * A handle is the address of a cell that holds the object's place:
 *
 *   zspage << 16 | index
 *
 * So objects can move while handles stay. In a class that is not huge an object
 * starts with its handle, tagged with 1, so that a walk of the zspage finds the
 * handle. The caller's bytes follow.
 *
 * A class has lists of zspages by fullness. An allocation takes the first
 * zspage of the fullest list, so that the others become empty and are freed.
 * The choice of list and end decides how many pages a pool holds after frees;
 * both are the kernel's (mm/zsmalloc.c, Linux 6.4 and later).
 *
 * Lock: class->lock protects the class's zspages, but not the bytes of live
 * objects. Nothing is taken inside it.
 */
#include <stdlib.h>
#include <string.h>

#include "mm/zsmalloc.h"

#define ZS_ALIGN          8
#define ZS_HANDLE_SIZE    8
#define ZS_MIN_ALLOC_SIZE 32
#define CLASS_BITS        8
#define OBJ_ALLOCATED_TAG 1
#define OBJ_INDEX_BITS    16
#define OBJ_INDEX_MASK    ((1u << OBJ_INDEX_BITS) - 1)
#define NO_OBJ            UINT32_MAX

/* Empty; ten groups of a tenth each; full. */
enum fullness_group {
	ZS_INUSE_RATIO_0,
	ZS_INUSE_RATIO_10,
	ZS_INUSE_RATIO_99 = 10,
	ZS_INUSE_RATIO_100,
	NR_FULLNESS_GROUPS,
};

struct size_class {
	spinlock_t lock;
	u32 size, objs_per_zspage, index;
	u8 pages_per_zspage;
	bool huge;
	u16 nonempty; /* bit mask of the fullness lists that hold zspages */
	u64 nr_zspages, nr_inuse;
	struct list_head fullness_list[NR_FULLNESS_GROUPS];
} ____cacheline_aligned;

struct zspage {
	struct list_head list;
	struct size_class *class;
	u32 inuse;
	u32 freeobj; /* freed last, or NO_OBJ; linked through the objects' first word */
	/*
	 * First object that was never allocated. From here on objects have no
	 * links, so their pages are not touched.
	 */
	u32 fresh;
	u8 fullness;
	u8 nid;
	u8 *pages[]; /* the first, if the pages are contiguous; else each */
};

_Static_assert(sizeof(struct zspage) + sizeof(u8 *) <= 64,
	       "a zspage's descriptor has one cache line");

struct crossing {
	_Atomic u64 reads;
} ____cacheline_aligned;

struct zs_pool {
	struct zs_host *host;
	size_t page_size;
	unsigned int nr_slots;
	bool contiguous;
	_Atomic u64 pages_allocated;
	struct crossing *crossing;      /* by CPU */
	struct size_class **size_class; /* by slot; several slots may share one */
	struct size_class *classes;
};

/* ---- size classes ---- */

static unsigned int class_delta(size_t page_size)
{
	return page_size >> CLASS_BITS;
}

static unsigned int nr_class_slots(size_t page_size)
{
	return DIV_ROUND_UP(page_size - ZS_MIN_ALLOC_SIZE, class_delta(page_size)) + 1;
}

static unsigned int calculate_zspage_chain_size(size_t page_size, unsigned int max_chain,
						u32 class_size)
{
	unsigned int chain = 1;
	size_t least = SIZE_MAX;

	if (!(class_size & (class_size - 1)))
		return 1;
	for (unsigned int i = 1; i <= max_chain; i++) {
		size_t waste = (i * page_size) % class_size;

		if (waste < least) {
			least = waste;
			chain = i;
		}
	}
	return chain;
}

static unsigned int get_size_class_index(const struct zs_pool *pool, size_t size)
{
	unsigned int idx = 0;

	if (size > ZS_MIN_ALLOC_SIZE)
		idx = DIV_ROUND_UP(size - ZS_MIN_ALLOC_SIZE, class_delta(pool->page_size));
	return min(idx, pool->nr_slots - 1);
}

/*
 * Builds the classes from the largest slot down. A slot that lays out its
 * objects as the class built last shares that class.
 */
static void init_classes(struct zs_pool *pool)
{
	struct size_class *prev = NULL;

	for (unsigned int i = pool->nr_slots; i-- > 0;) {
		struct size_class *class = &pool->classes[i];
		u32 size =
			min(ZS_MIN_ALLOC_SIZE + i * class_delta(pool->page_size), pool->page_size);
		unsigned int chain =
			calculate_zspage_chain_size(pool->page_size, pool->host->chain_size, size);
		u32 objs = chain * pool->page_size / size;

		if (prev && prev->pages_per_zspage == chain && prev->objs_per_zspage == objs) {
			pool->size_class[i] = prev;
			continue;
		}
		class->size = size;
		class->index = i;
		class->pages_per_zspage = chain;
		class->objs_per_zspage = objs;
		class->huge = chain == 1 && objs == 1;
		for (int fg = 0; fg < NR_FULLNESS_GROUPS; fg++)
			INIT_LIST_HEAD(&class->fullness_list[fg]);
		pool->size_class[i] = prev = class;
	}
}

/* ---- fullness groups ---- */

static enum fullness_group get_fullness_group(const struct size_class *class,
					      const struct zspage *zspage)
{
	if (zspage->inuse == 0)
		return ZS_INUSE_RATIO_0;
	if (zspage->inuse == class->objs_per_zspage)
		return ZS_INUSE_RATIO_100;
	return 100 * zspage->inuse / class->objs_per_zspage / 10 + 1;
}

static void insert_zspage(struct size_class *class, struct zspage *zspage, enum fullness_group fg)
{
	list_add(&zspage->list, &class->fullness_list[fg]);
	class->nonempty |= 1u << fg;
	zspage->fullness = fg;
}

static void remove_zspage(struct size_class *class, struct zspage *zspage)
{
	list_del_init(&zspage->list);
	if (list_empty(&class->fullness_list[zspage->fullness]))
		class->nonempty &= ~(1u << zspage->fullness);
}

static enum fullness_group fix_fullness_group(struct size_class *class, struct zspage *zspage)
{
	enum fullness_group fg = get_fullness_group(class, zspage);

	if (fg != zspage->fullness) {
		remove_zspage(class, zspage);
		insert_zspage(class, zspage, fg);
	}
	return fg;
}

static struct zspage *find_get_zspage(struct size_class *class)
{
	unsigned int partial = class->nonempty & ((1u << ZS_INUSE_RATIO_100) - 1);

	if (!partial)
		return NULL;
	return list_first_entry(&class->fullness_list[31 - __builtin_clz(partial)], struct zspage,
				list);
}

/* ---- zspages ---- */

static void free_zspage_pages(struct zs_pool *pool, struct zspage *zspage, unsigned int nr)
{
	struct arena *arena = pool->host->arena;

	if (pool->contiguous) {
		if (nr)
			arena_free(arena, zspage->pages[0], nr);
		return;
	}
	while (nr)
		arena_free(arena, zspage->pages[--nr], 1);
}

static struct zspage *alloc_zspage(struct zs_pool *pool, struct size_class *class, unsigned int nid)
{
	struct zs_host *host = pool->host;
	struct zspage *zspage = kmem_cache_alloc_node(host->zspages, nid);
	unsigned int nr = class->pages_per_zspage;

	if (!zspage)
		return NULL;
	*zspage = (struct zspage){ .class = class, .freeobj = NO_OBJ, .nid = nid };
	INIT_LIST_HEAD(&zspage->list);
	if (pool->contiguous) {
		zspage->pages[0] = arena_alloc(host->arena, nr);
		if (!zspage->pages[0])
			goto no_pages;
	} else {
		for (unsigned int i = 0; i < nr; i++) {
			zspage->pages[i] = arena_alloc_page(host->arena);
			if (!zspage->pages[i]) {
				free_zspage_pages(pool, zspage, i);
				goto no_pages;
			}
		}
	}
	return zspage;

no_pages:
	kmem_cache_free(host->zspages, zspage, nid);
	return NULL;
}

static void __free_zspage(struct zs_pool *pool, struct size_class *class, struct zspage *zspage)
{
	free_zspage_pages(pool, zspage, class->pages_per_zspage);
	atomic_fetch_sub_explicit(&pool->pages_allocated, class->pages_per_zspage,
				  memory_order_relaxed);
	kmem_cache_free(pool->host->zspages, zspage, zspage->nid);
}

/* ---- objects ---- */

/* Sets *zspage and *idx to the place of an object. */
static void location(unsigned long handle, struct zspage **zspage, u32 *idx)
{
	u64 cell = *(const u64 *)handle;

	*zspage = (struct zspage *)(uintptr_t)(cell >> OBJ_INDEX_BITS);
	*idx = cell & OBJ_INDEX_MASK;
}

/*
 * Returns byte 'off' of a zspage; *room is the number of bytes there from it
 * on.
 */
static u8 *zspage_byte(const struct zs_pool *pool, const struct zspage *zspage, size_t off,
		       size_t *room)
{
	size_t in_page = off & (pool->page_size - 1);

	if (pool->contiguous) {
		*room = SIZE_MAX;
		return zspage->pages[0] + off;
	}
	*room = pool->page_size - in_page;
	return zspage->pages[off / pool->page_size] + in_page;
}

/*
 * Returns the first word of an object: its tagged handle while it is allocated,
 * else the index of the next free object.
 */
static u64 *obj_head(const struct zs_pool *pool, const struct zspage *zspage, u32 idx)
{
	size_t room;

	return (u64 *)zspage_byte(pool, zspage, (size_t)idx * zspage->class->size, &room);
}

static void obj_malloc(struct zs_pool *pool, struct zspage *zspage, unsigned long handle)
{
	u32 idx = zspage->freeobj;

	if (idx != NO_OBJ)
		zspage->freeobj = *obj_head(pool, zspage, idx) >> OBJ_ALLOCATED_TAG;
	else
		idx = zspage->fresh++;
	if (!zspage->class->huge)
		*obj_head(pool, zspage, idx) = handle | OBJ_ALLOCATED_TAG;
	zspage->inuse++;
	zspage->class->nr_inuse++;
	*(u64 *)handle = (u64)(uintptr_t)zspage << OBJ_INDEX_BITS | idx;
}

static void obj_free(struct zs_pool *pool, struct zspage *zspage, u32 idx)
{
	*obj_head(pool, zspage, idx) = (u64)zspage->freeobj << OBJ_ALLOCATED_TAG;
	zspage->freeobj = idx;
	zspage->inuse--;
	zspage->class->nr_inuse--;
}

static int zs_malloc(void *arg, size_t size, unsigned long *ret, unsigned int nid)
{
	struct zs_pool *pool = arg;
	struct size_class *class;
	struct zspage *zspage;
	unsigned long handle;

	if (unlikely(!size))
		return -EINVAL;
	if (unlikely(size > pool->page_size))
		return -ENOSPC;
	handle = (unsigned long)kmem_cache_alloc_node(pool->host->handles, 0);
	if (unlikely(!handle))
		return -ENOMEM;

	class = pool->size_class[get_size_class_index(pool, size + ZS_HANDLE_SIZE)];
	spin_lock(&class->lock);
	zspage = find_get_zspage(class);
	if (likely(zspage)) {
		obj_malloc(pool, zspage, handle);
		fix_fullness_group(class, zspage);
		spin_unlock(&class->lock);
		*ret = handle;
		return 0;
	}
	spin_unlock(&class->lock);

	zspage = alloc_zspage(pool, class, nid);
	if (unlikely(!zspage)) {
		kmem_cache_free(pool->host->handles, (void *)handle, 0);
		return -ENOMEM;
	}
	atomic_fetch_add_explicit(&pool->pages_allocated, class->pages_per_zspage,
				  memory_order_relaxed);
	spin_lock(&class->lock);
	class->nr_zspages++;
	obj_malloc(pool, zspage, handle);
	insert_zspage(class, zspage, get_fullness_group(class, zspage));
	spin_unlock(&class->lock);
	*ret = handle;
	return 0;
}

static void zs_free(void *arg, unsigned long handle)
{
	struct zs_pool *pool = arg;
	struct size_class *class;
	struct zspage *zspage;
	bool empty;
	u32 idx;

	if (IS_ERR_OR_NULL((void *)handle))
		return;
	location(handle, &zspage, &idx);
	class = zspage->class;
	spin_lock(&class->lock);
	obj_free(pool, zspage, idx);
	empty = fix_fullness_group(class, zspage) == ZS_INUSE_RATIO_0;
	if (empty) {
		remove_zspage(class, zspage);
		class->nr_zspages--;
	}
	spin_unlock(&class->lock);
	if (empty)
		__free_zspage(pool, class, zspage);
	kmem_cache_free(pool->host->handles, (void *)handle, 0);
}

static bool crosses_pages(const struct zs_pool *pool, const struct size_class *class, u32 idx)
{
	return (((size_t)idx * class->size) & (pool->page_size - 1)) + class->size >
	       pool->page_size;
}

static void zs_obj_prefetch(void *arg, unsigned long handle, size_t len)
{
	struct zs_pool *pool = arg;
	struct zspage *zspage;
	size_t room;
	u8 *obj;
	u32 idx;

	location(handle, &zspage, &idx);
	obj = zspage_byte(pool, zspage, (size_t)idx * zspage->class->size, &room);
	for (size_t off = 0; off < min(len, room); off += 64)
		prefetch(obj + off);
}

/*
 * No atomic addition, which would slow a load: two threads that pass the same
 * CPU may lose a count.
 */
static void count_crossing(struct crossing *crossing)
{
	u64 reads = atomic_load_explicit(&crossing->reads, memory_order_relaxed);

	atomic_store_explicit(&crossing->reads, reads + 1, memory_order_relaxed);
}

/*
 * Linux 7.0 and later: a reader gets the object's one or two pieces. Two are
 * counted: an accelerator that takes only one fails there. The caller needs the
 * bytes in a row, so without contiguous pages they are copied, which the kernel
 * does not do.
 */
static void *read_pieces(struct zs_pool *pool, const struct zspage *zspage, size_t off, size_t len,
			 void *local)
{
	size_t room;
	u8 *obj = zspage_byte(pool, zspage, off, &room);

	if ((off & (pool->page_size - 1)) + len > pool->page_size)
		count_crossing(&pool->crossing[raw_smp_processor_id()]);
	if (len <= room)
		return obj;
	memcpy(local, obj, room);
	memcpy((u8 *)local + room, zspage_byte(pool, zspage, off + room, &(size_t){ 0 }),
	       len - room);
	return local;
}

/*
 * Linux 6.15 to 6.18: an object that crosses pages is copied whole, with its
 * handle, to 'local', and 'local' + 8 is returned. Where a zspage's pages are
 * contiguous the object is used in place, and the copy is only counted.
 */
static void *zs_obj_read_begin(void *arg, unsigned long handle, size_t len, void *local)
{
	struct zs_pool *pool = arg;
	struct zspage *zspage;
	struct size_class *class;
	size_t off, room;
	u8 *obj;
	u32 idx;

	location(handle, &zspage, &idx);
	class = zspage->class;
	off = (size_t)idx * class->size;
	if (pool->host->sg_reads)
		return read_pieces(pool, zspage, off + (class->huge ? 0 : ZS_HANDLE_SIZE), len,
				   local);
	obj = zspage_byte(pool, zspage, off, &room);
	if (crosses_pages(pool, class, idx)) {
		count_crossing(&pool->crossing[raw_smp_processor_id()]);
		if (!pool->contiguous) {
			memcpy(local, obj, room);
			memcpy((u8 *)local + room,
			       zspage_byte(pool, zspage, off + room, &(size_t){ 0 }),
			       class->size - room);
			obj = local;
		}
	}
	return class->huge ? obj : obj + ZS_HANDLE_SIZE;
}

static void zs_obj_write(void *arg, unsigned long handle, const void *mem, size_t len)
{
	struct zs_pool *pool = arg;
	struct zspage *zspage;
	size_t off, room;
	u8 *obj;
	u32 idx;

	location(handle, &zspage, &idx);
	off = (size_t)idx * zspage->class->size + (zspage->class->huge ? 0 : ZS_HANDLE_SIZE);
	obj = zspage_byte(pool, zspage, off, &room);
	if (likely(len <= room)) {
		memcpy(obj, mem, len);
		return;
	}
	memcpy(obj, mem, room);
	memcpy(zspage_byte(pool, zspage, off + room, &(size_t){ 0 }), (const u8 *)mem + room,
	       len - room);
}

static u64 zs_get_total_pages(void *arg)
{
	struct zs_pool *pool = arg;

	return atomic_load_explicit(&pool->pages_allocated, memory_order_relaxed);
}

/* ---- pools ---- */

static void zs_destroy_pool(void *arg);

static const struct zpool_driver zs_zpool_driver = {
	.malloc = zs_malloc,
	.free = zs_free,
	.obj_prefetch = zs_obj_prefetch,
	.obj_read_begin = zs_obj_read_begin,
	.obj_write = zs_obj_write,
	.total_pages = zs_get_total_pages,
	.destroy = zs_destroy_pool,
};

int zs_host_init(struct zs_host *host, u64 max_pages, unsigned int highmem)
{
	unsigned int nr = highmem ? host->chain_size : 1; /* pages that a descriptor names */

	host->arena = arena_create(host->page_shift, max_pages, highmem);
	host->handles = kmem_cache_create(host->mm, FAULT_HANDLE, sizeof(u64));
	host->zspages = kmem_cache_create(host->mm, FAULT_ZSPAGE,
					  sizeof(struct zspage) + nr * sizeof(u8 *));
	return host->arena && host->handles && host->zspages ? 0 : -ENOMEM;
}

void zs_host_deinit(struct zs_host *host)
{
	kmem_cache_destroy(host->zspages);
	kmem_cache_destroy(host->handles);
	arena_destroy(host->arena);
	host->zspages = host->handles = NULL;
	host->arena = NULL;
}

int zs_create_pool(struct zs_host *host, struct zpool *zpool)
{
	size_t page_size = (size_t)1 << host->page_shift;
	struct zs_pool *pool = kzalloc_node(host->mm, FAULT_POOL, sizeof(*pool), 0);

	if (!pool)
		return -ENOMEM;
	pool->host = host;
	pool->page_size = page_size;
	pool->nr_slots = nr_class_slots(page_size);
	pool->contiguous = !arena_has_highmem(host->arena);
	pool->crossing = kzalloc_node(host->mm, FAULT_PERCPU,
				      host->mm->nr_cpus * sizeof(*pool->crossing), 0);
	pool->size_class =
		kzalloc_node(host->mm, FAULT_POOL, pool->nr_slots * sizeof(*pool->size_class), 0);
	pool->classes =
		kzalloc_node(host->mm, FAULT_POOL, pool->nr_slots * sizeof(*pool->classes), 0);
	if (!pool->crossing || !pool->size_class || !pool->classes) {
		zs_destroy_pool(pool);
		return -ENOMEM;
	}
	init_classes(pool);
	*zpool = (struct zpool){ .driver = &zs_zpool_driver, .pool = pool };
	return 0;
}

/* Frees a pool, also a half-made one, but not its objects. */
static void zs_destroy_pool(void *arg)
{
	struct zs_pool *pool = arg;
	struct kmem *mm = pool->host->mm;

	kfree(mm, pool->classes);
	kfree(mm, pool->size_class);
	kfree(mm, pool->crossing);
	kfree(mm, pool);
}

/* ---- information and checks ---- */

int zs_class_info(struct zs_pool *pool, unsigned int i, struct zs_class_info *ret)
{
	struct size_class *class;

	if (i >= pool->nr_slots)
		return -ENOENT;
	class = pool->size_class[i];
	spin_lock(&class->lock);
	*ret = (struct zs_class_info){
		.index = class->index,
		.size = class->size,
		.pages_per_zspage = class->pages_per_zspage,
		.objs_per_zspage = class->objs_per_zspage,
		.zspages = class->nr_zspages,
		.objs_inuse = class->nr_inuse,
	};
	spin_unlock(&class->lock);
	return 0;
}

u64 zs_crossing_reads(struct zs_pool *pool)
{
	u64 reads = 0;

	for (unsigned int cpu = 0; cpu < pool->host->mm->nr_cpus; cpu++)
		reads += atomic_load_explicit(&pool->crossing[cpu].reads, memory_order_relaxed);
	return reads;
}

size_t zs_huge_class_size(struct zs_pool *pool)
{
	for (unsigned int i = pool->nr_slots; i-- > 0;)
		if (!pool->size_class[i]->huge)
			return pool->size_class[i]->size - (ZS_HANDLE_SIZE - 1);
	return 0;
}

static const char *check_zspage(struct zs_pool *pool, struct size_class *class,
				struct zspage *zspage, int fg)
{
	u32 nr_free = 0;

	if (zspage->class != class)
		return "a zspage is on another class's list";
	if (zspage->fullness != fg || get_fullness_group(class, zspage) != (enum fullness_group)fg)
		return "a zspage is on another fullness list";
	if (zspage->fresh > class->objs_per_zspage)
		return "a zspage has allocated more objects than it holds";
	for (u32 idx = zspage->freeobj; idx != NO_OBJ;
	     idx = *obj_head(pool, zspage, idx) >> OBJ_ALLOCATED_TAG)
		if (idx >= zspage->fresh || nr_free++ >= zspage->fresh)
			return "a free list leaves its zspage or is circular";
	if (zspage->inuse + nr_free != zspage->fresh)
		return "a zspage's objects do not add up";
	return NULL;
}

const char *zs_check(struct zs_pool *pool)
{
	u64 pages = 0;

	for (unsigned int i = 0; i < pool->nr_slots; i++) {
		struct size_class *class = pool->size_class[i];
		u64 nr_zspages = 0, nr_inuse = 0;

		if (class->index != i)
			continue;
		for (int fg = 0; fg < NR_FULLNESS_GROUPS; fg++) {
			struct list_head *head = &class->fullness_list[fg];
			struct zspage *zspage;

			if (list_empty(head) == !!(class->nonempty & 1u << fg))
				return "a class's list mask is wrong";
			list_for_each_entry(zspage, head, list) {
				const char *wrong = check_zspage(pool, class, zspage, fg);

				if (wrong)
					return wrong;
				nr_zspages++;
				nr_inuse += zspage->inuse;
			}
		}
		if (nr_zspages != class->nr_zspages || nr_inuse != class->nr_inuse)
			return "a class's counts are wrong";
		pages += nr_zspages * class->pages_per_zspage;
	}
	if (pages != zs_get_total_pages(pool))
		return "pages_allocated is wrong";
	return NULL;
}
