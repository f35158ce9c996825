// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * zswap_batch.c - loads in batches, which mm/zswap.c does not have
 *
 * zswap_load_batch() goes by turns. A turn locks up to a batch of slots whose
 * entries are of one pool, decompresses them under one hold of the context's
 * mutex, frees the entries by one call, and unlocks the slots.
 *
 * Locks: as in zswap_load(), slots before the context's mutex. A turn holds
 * several slots, see lock_turn().
 */
#include "mm/zswap_internal.h"

/* Decompresses nr objects, none of them raw, by one request. */
static void decompress_request(struct zswap *z, struct crypto_acomp_ctx *acomp_ctx,
			       struct zswap_entry **entries, u8 **pages, u8 nr, int *ret)
{
	struct zpool *zpool = &entries[0]->pool->zpool;
	unsigned int slens[ZSWAP_MAX_BATCH_SIZE], dlens[ZSWAP_MAX_BATCH_SIZE] = { 0 };
	const u8 *srcs[ZSWAP_MAX_BATCH_SIZE];
	int errors[ZSWAP_MAX_BATCH_SIZE];
	struct swap_batch_decomp_data batch = {
		.srcs = srcs,
		.pages = pages,
		.slens = slens,
		.dlens = dlens,
		.errors = errors,
		.nr_decomps = nr,
	};
	struct acomp_req *req = acomp_ctx->req;
	int err;

	for (u8 i = 0; i < nr; i++) {
		const u8 *obj = zpool_obj_read_begin(zpool, entries[i]->handle, entries[i]->length,
						     acomp_ctx->buffers[i]);

		slens[i] = entries[i]->length;
		srcs[i] = object_source(z, acomp_ctx, i, obj, slens[i]);
		errors[i] = -EINVAL;
	}
	acomp_request_set_params(req, srcs[0], pages[0], slens[0], z->page_size);
	req->kernel_data = &batch;
	err = crypto_acomp_decompress(req);
	if (unlikely(err == -EINPROGRESS || err == -EBUSY)) {
		crypto_wait_req(err, &acomp_ctx->wait);
		for (u8 i = 0; i < nr; i++)
			errors[i] = -EIO;
	}
	req->kernel_data = NULL;
	for (u8 i = 0; i < nr; i++)
		ret[i] = decompress_result(z, entries[i], errors[i], dlens[i]);
}

/*
 * Decompresses up to a batch of entries of one pool, under one hold of the
 * context's mutex. ret[i] is 0, -EIO or -ENODEV.
 */
static void zswap_decompress_batch(struct zswap *z, struct zswap_entry **entries, u8 **pages, u8 nr,
				   int *ret)
{
	struct zswap_pool *pool = entries[0]->pool;
	struct crypto_acomp_ctx *acomp_ctx = acomp_ctx_get_cpu_lock(pool);

	if (unlikely(!acomp_ctx)) {
		for (u8 i = 0; i < nr; i++)
			ret[i] = -ENODEV;
		return;
	}
	/*
	 * Each object is a chain of cache misses, from entry to cell to zspage
	 * to object. Here the misses of a batch overlap.
	 */
	for (u8 i = 0; i < nr; i++)
		zpool_obj_prefetch(&pool->zpool, entries[i]->handle, i ? 64 : entries[i]->length);
	for (u8 i = 0; i < nr;) {
		u8 run = 0;

		if (i + 1 < nr)
			zpool_obj_prefetch(&pool->zpool, entries[i + 1]->handle,
					   entries[i + 1]->length);
		while (i + run < nr && run < pool->compr_batch_size &&
		       !stored_raw(z, entries[i + run]))
			run++;
		if (run > 1) {
			decompress_request(z, acomp_ctx, entries + i, pages + i, run, ret + i);
			i += run;
		} else {
			ret[i] = decompress_one(z, acomp_ctx, entries[i], pages[i]);
			i++;
		}
	}
	acomp_ctx_put_unlock(acomp_ctx);
}

/* One turn: locked slots, and the entries that they hold. */
struct load_turn {
	slot_t *slots[ZSWAP_MAX_BATCH_SIZE];
	struct zswap_entry *entries[ZSWAP_MAX_BATCH_SIZE];
	u8 *pages[ZSWAP_MAX_BATCH_SIZE];
	unsigned int which[ZSWAP_MAX_BATCH_SIZE]; /* index in the caller's swp[] */
	u8 nr;
};

/*
 * Locks the slots of swp[from..nr) that hold an entry, up to a batch of one
 * pool. A thread may wait for a slot only if it is above all slots that the
 * thread holds. A lower slot that another thread holds starts the next turn.
 *
 * Returns the index at which the next turn starts.
 */
static unsigned int lock_turn(struct zswap *z, const u64 *swp, unsigned int from, unsigned int nr,
			      u8 *out, int *ret, struct load_turn *turn)
{
	u64 highest = 0;
	unsigned int i;

	turn->nr = 0;
	for (i = from; i < nr && turn->nr < ZSWAP_MAX_BATCH_SIZE; i++) {
		struct swap_file *file = swap_file_of(&z->index, swp[i], 1);
		slot_t *slot = file ? swap_slot(file, swp_offset(swp[i])) : NULL;
		struct zswap_entry *entry;

		if (unlikely(!slot)) {
			ret[i] = file ? -ENOENT : -EBADSLT;
			continue;
		}
		if (!turn->nr || swp[i] > highest)
			slot_lock(slot);
		else if (!slot_trylock(slot))
			break;
		entry = slot_get(slot);
		if (!entry) {
			slot_unlock(slot);
			ret[i] = -ENOENT;
			continue;
		}
		/* Both lines, not read yet: a batch's misses overlap. */
		prefetch(entry);
		prefetch(&entry->lru.prev);
		highest = max(highest, swp[i]);
		turn->slots[turn->nr] = slot;
		turn->entries[turn->nr] = entry;
		turn->pages[turn->nr] = out + i * z->page_size;
		turn->which[turn->nr++] = i;
	}
	for (u8 k = 1; k < turn->nr; k++) {
		if (likely(turn->entries[k]->pool == turn->entries[0]->pool))
			continue;
		i = turn->which[k];
		for (u8 j = k; j < turn->nr; j++)
			slot_unlock(turn->slots[j]);
		turn->nr = k;
	}
	return i;
}

/*
 * Loads a turn's pages, frees the entries that were loaded, and unlocks the
 * slots. Returns the number of pages loaded.
 */
static unsigned int finish_turn(struct zswap *z, struct load_turn *turn, int *ret)
{
	struct zswap_entry *loaded[ZSWAP_MAX_BATCH_SIZE];
	int results[ZSWAP_MAX_BATCH_SIZE];
	unsigned int nr_loaded = 0;

	zswap_decompress_batch(z, turn->entries, turn->pages, turn->nr, results);
	for (u8 i = 0; i < turn->nr; i++) {
		ret[turn->which[i]] = results[i];
		if (likely(!results[i])) {
			slot_xchg(turn->slots[i], NULL);
			loaded[nr_loaded++] = turn->entries[i];
		}
	}
	if (likely(nr_loaded))
		zswap_entries_free(z, loaded, nr_loaded);
	for (u8 i = 0; i < turn->nr; i++)
		slot_unlock(turn->slots[i]);
	atomic_fetch_add_explicit(&z->zswpin, nr_loaded, memory_order_relaxed);
	return nr_loaded;
}

int zswap_load_batch(struct zswap *z, unsigned int cpu, const u64 *swp, unsigned int nr, void *out,
		     int *ret)
{
	struct zswap_call call;
	struct load_turn turn;
	unsigned int nr_loaded = 0;
	int err = zswap_enter(z, cpu, &call);

	if (unlikely(err))
		return err;
	for (unsigned int i = 0; i < nr;) {
		i = lock_turn(z, swp, i, nr, out, ret, &turn);
		if (turn.nr)
			nr_loaded += finish_turn(z, &turn, ret);
	}
	zswap_exit(z, &call);
	return nr - nr_loaded;
}
