// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * measure.c - many pages through zswap or zram, timed and added up
 *
 * Between two reads of the clock lies a run of pages, so that the clock costs
 * next to nothing a page. The loop is in C, since the lock of an interpreter
 * would make threads wait for each other.
 *
 * The clock is the thread's CPU time. The wall clock would count the turns that
 * other threads take at the CPU, and the runs of a slow compressor would meet
 * more of them than those of a fast one.
 */
#include <string.h>
#include <time.h>

#include "lib/kernel.h"
#include "mm/zram.h"
#include "zswap.h"

#define NSEC_PER_SEC 1000000000ULL

/* A system call of 0.2 to 0.7 us: 10 ns a page in a run of 64 pages. */
static u64 thread_cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (u64)ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
}

static bool span_is_valid(const struct zswap_span *span)
{
	return span->folio_pages && span->run_pages && span->run_pages <= ZSWAP_MAX_FOLIO &&
	       !(span->run_pages % span->folio_pages);
}

/* Walks the pages of a span from cluster to cluster. */
struct cursor {
	const struct zswap_span *span;
	u64 cluster;
	u32 left; /* pages of that cluster from here on */
};

static struct cursor first_cluster(const struct zswap_span *span)
{
	return (struct cursor){ span, 0, span->nr_clusters ? span->clusters[0].pages : 0 };
}

/* Steps over a page. Returns its cluster; NULL behind the last one. */
static struct zswap_cluster *next_page(struct cursor *at)
{
	while (!at->left) {
		if (at->cluster + 1 >= at->span->nr_clusters)
			return NULL;
		at->left = at->span->clusters[++at->cluster].pages;
	}
	at->left--;
	return &at->span->clusters[at->cluster];
}

int zswap_drop_zero_folios(struct zswap_span *span)
{
	struct cursor at = first_cluster(span);
	u64 kept = 0;

	if (!span_is_valid(span))
		return -EINVAL;
	for (u64 i = 0; i < span->nr_pages; i += span->folio_pages) {
		u64 nr = min(span->folio_pages, span->nr_pages - i);
		u8 *folio = span->pages + i * span->page_size;

		bool zero = zswap_is_zero(folio, nr * span->page_size);

		for (u64 j = 0; j < nr; j++) {
			struct zswap_cluster *cluster = next_page(&at);

			if (cluster && zero)
				cluster->pages--;
		}
		if (zero)
			continue;
		if (kept != i)
			memmove(span->pages + kept * span->page_size, folio, nr * span->page_size);
		kept += nr;
	}
	span->nr_pages = kept;
	return 0;
}

/*
 * What is measured, by functions that take its instance first. 'load' returns
 * 0; -ENOENT if it does not hold the page; -EIO if the page is corrupt. 'length'
 * returns bytes, or -ENOENT.
 */
struct target {
	void *instance;
	int (*store)(void *instance, unsigned int cpu, u64 slot, const void *folio,
		     unsigned int nr_pages);
	int (*load)(void *instance, unsigned int cpu, u64 slot, void *page);
	int64_t (*length)(void *instance, unsigned int cpu, u64 slot);
};

static int store_runs(const struct target *to, unsigned int cpu, const struct zswap_span *span,
		      struct zswap_run *runs)
{
	if (!span_is_valid(span))
		return -EINVAL;
	for (u64 start = 0; start < span->nr_pages; start += span->run_pages, runs++) {
		u64 end = min(start + span->run_pages, span->nr_pages), began = thread_cpu_ns();

		for (u64 i = start; i < end; i += span->folio_pages) {
			int ret = to->store(to->instance, cpu, span->swp + i,
					    span->pages + i * span->page_size,
					    min(span->folio_pages, end - i));

			if (ret < 0)
				return ret;
		}
		runs->ns = thread_cpu_ns() - began;
		runs->pages = end - start;
	}
	return 0;
}

static int load_runs(const struct target *from, unsigned int cpu, const struct zswap_span *span,
		     void *out, struct zswap_run *runs, uint64_t *wrong)
{
	int ret[ZSWAP_MAX_FOLIO];

	if (!span_is_valid(span))
		return -EINVAL;
	*wrong = 0;
	for (u64 start = 0; start < span->nr_pages; start += span->run_pages, runs++) {
		u64 nr = min(span->run_pages, span->nr_pages - start), began = thread_cpu_ns();

		for (u64 i = 0; i < nr; i++)
			ret[i] = from->load(from->instance, cpu, span->swp + start + i,
					    (u8 *)out + i * span->page_size);
		runs->ns = thread_cpu_ns() - began;
		runs->pages = 0;
		for (u64 i = 0; i < nr; i++) {
			if (ret[i] && ret[i] != -ENOENT && ret[i] != -EIO)
				return ret[i];
			runs->pages += !ret[i];
			*wrong += ret[i] == -EIO ||
				  (!ret[i] && memcmp((u8 *)out + i * span->page_size,
						     span->pages + (start + i) * span->page_size,
						     span->page_size));
		}
	}
	return 0;
}

static void tally_page(const struct zswap_tallies *to, const struct zswap_cluster *cluster,
		       u32 length, bool raw)
{
	u32 class = to->class_of[length];
	struct zswap_tally *row = &to->rows[cluster->row];
	struct zswap_class_tally *in = &to->classes[(size_t)cluster->cell * to->nr_classes + class];

	row->stored++;
	if (!length) /* zram's page of one repeated word, which has no object */
		return;
	row->raw += raw;
	row->bytes += length;
	row->pool += to->pool[class];
	row->zspages += to->zspages[class];
	in->objects++;
	in->clusters += in->latest != cluster->number + 1;
	in->latest = cluster->number + 1;
}

static int tally_span(const struct target *of, unsigned int cpu, const struct zswap_span *span,
		      const struct zswap_tallies *tallies)
{
	struct cursor at = first_cluster(span);

	if (!span_is_valid(span))
		return -EINVAL;
	for (u64 i = 0; i < span->nr_pages; i++) {
		const struct zswap_cluster *cluster = next_page(&at);
		int64_t length;

		if (!cluster)
			return -EINVAL;
		length = of->length(of->instance, cpu, span->swp + i);
		if (length >= 0)
			tally_page(tallies, cluster, length, (size_t)length == span->page_size);
		else if (length != -ENOENT)
			return length;
	}
	return 0;
}

/* ---- zswap ---- */

static int store_in_zswap(void *z, unsigned int cpu, u64 slot, const void *folio,
			  unsigned int nr_pages)
{
	return zswap_store(z, cpu, slot, folio, nr_pages);
}

static int load_of_zswap(void *z, unsigned int cpu, u64 slot, void *page)
{
	return zswap_peek(z, cpu, slot, page);
}

static int64_t length_in_zswap(void *z, unsigned int cpu, u64 slot)
{
	struct zswap_entry_info entry;
	int ret = zswap_entry_info(z, cpu, slot, &entry);

	return ret ? ret : (int64_t)entry.length;
}

static struct target in_zswap(struct zswap *z)
{
	return (struct target){ z, store_in_zswap, load_of_zswap, length_in_zswap };
}

int zswap_store_runs(struct zswap *z, unsigned int cpu, const struct zswap_span *span,
		     struct zswap_run *runs)
{
	struct target to = in_zswap(z);

	return store_runs(&to, cpu, span, runs);
}

int zswap_peek_runs(struct zswap *z, unsigned int cpu, const struct zswap_span *span, void *out,
		    struct zswap_run *runs, uint64_t *wrong)
{
	struct target from = in_zswap(z);

	return load_runs(&from, cpu, span, out, runs, wrong);
}

int zswap_tally_span(struct zswap *z, unsigned int cpu, const struct zswap_span *span,
		     const struct zswap_tallies *tallies)
{
	struct target of = in_zswap(z);

	return tally_span(&of, cpu, span, tallies);
}

/* ---- zram ---- */

static int store_in_zram(void *zram, unsigned int cpu, u64 slot, const void *folio,
			 unsigned int nr_pages)
{
	size_t page_size = zram_page_size(zram);
	int ret = 0;

	for (unsigned int i = 0; i < nr_pages && !ret; i++)
		ret = zram_write(zram, cpu, slot + i, (const u8 *)folio + i * page_size);
	return ret;
}

static int load_of_zram(void *zram, unsigned int cpu, u64 slot, void *page)
{
	return zram_read(zram, cpu, slot, page);
}

static int64_t length_in_zram(void *zram, unsigned int cpu, u64 slot)
{
	return zram_length(zram, cpu, slot);
}

static struct target in_zram(struct zram *zram)
{
	return (struct target){ zram, store_in_zram, load_of_zram, length_in_zram };
}

int zram_write_runs(struct zram *zram, unsigned int cpu, const struct zswap_span *span,
		    struct zswap_run *runs)
{
	struct target to = in_zram(zram);

	return store_runs(&to, cpu, span, runs);
}

int zram_read_runs(struct zram *zram, unsigned int cpu, const struct zswap_span *span, void *out,
		   struct zswap_run *runs, uint64_t *wrong)
{
	struct target from = in_zram(zram);

	return load_runs(&from, cpu, span, out, runs, wrong);
}

int zram_tally_span(struct zram *zram, unsigned int cpu, const struct zswap_span *span,
		    const struct zswap_tallies *tallies)
{
	struct target of = in_zram(zram);

	return tally_span(&of, cpu, span, tallies);
}
