// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The only process of a machine whose kernel has large pages: asks its zram and
 * its zswap what they make of the files in /corpora, prints a line of JSON for
 * each answer, and turns the machine off.
 *
 *  {"release", "machine", "page_size", "lru_gen", ...}: the first line
 *  {"corpus", "zram", "lengths", "mem_used_total"}: bytes that each page adds to
 *   compr_data_size
 *  {"corpus", "zswap", "lengths", "steps", "intact"}: bytes that zswap asks the
 *   allocator for, for each page, as a kprobe sees it, -1 if it does not ask; and
 *   its counters after each step of zswap_py.corpus.churn(), then after all pages
 *   are freed
 *  {"end": true}: the last line
 *
 * A codec that the kernel lacks has no line.
 *
 * Built statically. /modules/order has the names of the modules to load.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#define PARAMETER "/sys/module/zswap/parameters/"
#define COUNTER   "/sys/kernel/debug/zswap/"
#define TRACING   "/sys/kernel/tracing/"
#define ZRAM      "/sys/block/zram0/"
#define SWAP      "/dev/vda"

#define array_size(a) (sizeof(a) / sizeof(*(a)))

static const char *const codecs[] = { "lzo", "lzo-rle", "lz4", "lz4hc", "zstd", "deflate" };

static size_t page_size;

/* The pages of a corpus, one after the other. */
struct corpus {
	int number;
	size_t pages;
	char *data;
};

static void turn_off(void)
{
	fflush(stdout);
	sync();
	reboot(RB_POWER_OFF);
	_exit(1);
}

static void __attribute__((format(printf, 1, 2), noreturn)) fail(const char *format, ...)
{
	const int error = errno;
	va_list args;

	va_start(args, format);
	printf("\nguest: ");
	vprintf(format, args);
	printf(": %s\n", strerror(error));
	va_end(args);
	turn_off();
	_exit(1);
}

static void *must(void *memory)
{
	if (!memory || memory == MAP_FAILED)
		fail("memory");
	return memory;
}

/* ---- files of the kernel's ---- */

static bool put(const char *path, const char *format, ...)
{
	const int fd = open(path, O_WRONLY | O_TRUNC);
	va_list args;
	int n;

	if (fd < 0)
		return false;
	va_start(args, format);
	n = vdprintf(fd, format, args);
	va_end(args);
	close(fd);
	return n >= 0;
}

static void must_put(const char *path, const char *value)
{
	if (!put(path, "%s", value))
		fail("%s > %s", value, path);
}

/* Returns a file's first line, "" if there is none. The next call overwrites it. */
static const char *get(const char *path)
{
	static char line[512];
	const int fd = open(path, O_RDONLY);
	const ssize_t n = fd < 0 ? 0 : read(fd, line, sizeof(line) - 1);

	if (fd >= 0)
		close(fd);
	line[n > 0 ? n : 0] = '\0';
	line[strcspn(line, "\n")] = '\0';
	return line;
}

/* ---- the machine ---- */

static void mount_all(void)
{
	static const char *const types[][2] = {
		{ "proc", "/proc" },
		{ "sysfs", "/sys" },
		{ "devtmpfs", "/dev" },
		{ "debugfs", "/sys/kernel/debug" },
		{ "tracefs", "/sys/kernel/tracing" },
	};

	for (size_t i = 0; i < array_size(types); i++) {
		mkdir(types[i][1], 0755);
		if (mount(types[i][0], types[i][1], types[i][0], 0, NULL))
			fail("mount %s", types[i][1]);
	}
}

static void load_modules(void)
{
	FILE *order = fopen("/modules/order", "r");
	char name[128], path[160];

	while (order && fscanf(order, "%127s", name) == 1) {
		int fd;

		snprintf(path, sizeof(path), "/modules/%s", name);
		fd = open(path, O_RDONLY);
		if (syscall(SYS_finit_module, fd, "", 0) && errno != EEXIST)
			fail("module %s", name);
		close(fd);
	}
	if (order)
		fclose(order);
}

/* Writes what mkswap does: version 1, the last page, no bad pages; the magic ends the page. */
static void swap_on(void)
{
	const int fd = open(SWAP, O_RDWR);
	const off_t size = lseek(fd, 0, SEEK_END);
	const unsigned int header[] = { 1, size / page_size - 1, 0 };
	char *page = must(calloc(1, page_size));

	memcpy(page + 1024, header, sizeof(header));
	memcpy(page + page_size - 10, "SWAPSPACE2", 10);
	if (pwrite(fd, page, page_size, 0) != (ssize_t)page_size || fsync(fd) || close(fd))
		fail("write %s", SWAP);
	if (swapon(SWAP, 0))
		fail("swapon %s", SWAP);
	free(page);
}

/* A kprobe of the allocation: zpool_malloc() was zswap's way to it until Linux 6.17. */
static const char *probe_allocations(void)
{
	static const char *const functions[] = { "zpool_malloc", "zs_malloc" };

	for (size_t i = 0; i < array_size(functions); i++)
		if (put(TRACING "kprobe_events", "p:zswap/alloc %s size=$arg2:u64", functions[i]))
			return functions[i];
	fail("kprobe");
}

static void print_machine(const char *probe)
{
	struct utsname name;

	uname(&name);
	printf("\n{\"release\":\"%s\",\"machine\":\"%s\",\"page_size\":%zu,\"probe\":\"%s\",",
	       name.release, name.machine, page_size, probe);
	printf("\"lru_gen\":\"%s\",", get("/sys/kernel/mm/lru_gen/enabled"));
	printf("\"page_cluster\":%s,", get("/proc/sys/vm/page-cluster"));
	printf("\"thp\":\"%s\"}\n", get("/sys/kernel/mm/transparent_hugepage/enabled"));
	fflush(stdout);
}

static bool read_corpus(struct corpus *corpus, int number)
{
	struct stat stat;
	char path[64];
	size_t done = 0;
	int fd;

	snprintf(path, sizeof(path), "/corpora/%d", number);
	fd = open(path, O_RDONLY);
	if (fd < 0)
		return false;
	fstat(fd, &stat);
	corpus->number = number;
	corpus->pages = stat.st_size / page_size;
	corpus->data = must(mmap(NULL, stat.st_size, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	while (done < (size_t)stat.st_size) {
		const ssize_t n = read(fd, corpus->data + done, stat.st_size - done);

		if (n <= 0)
			fail("read %s", path);
		done += n;
	}
	close(fd);
	unlink(path);
	return true;
}

/* ---- zram ---- */

static void print_lengths(const long *lengths, size_t n)
{
	printf("\"lengths\":[");
	for (size_t i = 0; i < n; i++)
		printf("%s%ld", i ? "," : "", lengths[i]);
	printf("]");
}

static void ask_zram(const struct corpus *corpus, const char *codec)
{
	const size_t n = corpus->pages;
	long *lengths = must(calloc(n, sizeof(*lengths))), before = 0, now = 0, used = 0;
	int fd;

	must_put(ZRAM "reset", "1");
	if (!put(ZRAM "comp_algorithm", "%s", codec))
		goto out;
	if (!put(ZRAM "disksize", "%zu", n * page_size))
		fail("zram %s", codec);
	fd = open("/dev/zram0", O_WRONLY | O_DIRECT);
	for (size_t i = 0; i < n; i++) {
		const off_t at = i * page_size;

		if (pwrite(fd, corpus->data + at, page_size, at) != (ssize_t)page_size)
			fail("zram %s, page %zu", codec, i);
		sscanf(get(ZRAM "mm_stat"), "%*d %ld %ld", &now, &used);
		lengths[i] = now - before;
		before = now;
	}
	close(fd);
	printf("{\"corpus\":%d,\"zram\":\"%s\",", corpus->number, codec);
	print_lengths(lengths, n);
	printf(",\"mem_used_total\":%ld}\n", used);
	fflush(stdout);
out:
	free(lengths);
}

/* ---- zswap ---- */

static void trace(bool on)
{
	if (on)
		must_put(TRACING "trace", "");
	must_put(TRACING "events/zswap/alloc/enable", on ? "1" : "0");
	must_put(TRACING "tracing_on", on ? "1" : "0");
}

/* Reads from the trace what was asked for after the mark of each page. */
static void read_lengths(long *lengths, size_t n)
{
	FILE *lines = fopen(TRACING "trace", "r");
	size_t page = n;
	char line[512];

	if (!lines)
		fail("trace");
	while (fgets(line, sizeof(line), lines)) {
		const char *mark = strstr(line, "page="), *size = strstr(line, "size=");

		if (mark) {
			page = strtoul(mark + 5, NULL, 10);
		} else if (size && page < n) {
			if (lengths[page] != -1)
				fail("page %zu was stored twice", page);
			lengths[page] = strtol(size + 5, NULL, 10);
		}
	}
	fclose(lines);
}

static void print_counters(bool first)
{
	static const char *const names[] = {
		"pool_total_size",      "stored_pages",         "stored_incompressible_pages",
		"reject_compress_poor", "reject_compress_fail", "reject_alloc_fail",
		"written_back_pages",
	};

	usleep(200000); /* the kernel frees some zspages later, in a worker */
	printf("%s{", first ? "" : ",");
	for (size_t i = 0, printed = 0; i < array_size(names); i++) {
		char path[128];

		snprintf(path, sizeof(path), COUNTER "%s", names[i]);
		if (!access(path, F_OK))
			printf("%s\"%s\":%s", printed++ ? "," : "", names[i], get(path));
	}
	printf("}");
	fflush(stdout);
}

static void page_out(char *memory, size_t page)
{
	if (madvise(memory + page * page_size, page_size, MADV_PAGEOUT))
		fail("page %zu", page);
}

static void load(const char *memory, size_t page)
{
	*(volatile const char *)(memory + page * page_size);
}

static void ask_zswap(const struct corpus *corpus, const char *codec)
{
	const size_t n = corpus->pages, bytes = n * page_size;
	char *memory =
		must(mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	char *expected = must(malloc(bytes));
	long *lengths = must(malloc(n * sizeof(*lengths)));
	const int marker = open(TRACING "trace_marker", O_WRONLY);

	madvise(memory, bytes, MADV_NOHUGEPAGE);
	memcpy(memory, corpus->data, bytes);
	memcpy(expected, corpus->data, bytes);

	trace(true);
	for (size_t i = 0; i < n; i++) {
		lengths[i] = -1;
		dprintf(marker, "page=%zu", i);
		page_out(memory, i);
	}
	trace(false);
	close(marker);
	read_lengths(lengths, n);
	printf("{\"corpus\":%d,\"zswap\":\"%s\",", corpus->number, codec);
	print_lengths(lengths, n);
	printf(",\"steps\":[");
	print_counters(true);

	for (size_t i = 0; i < n; i += 3)
		load(memory, i);
	print_counters(false);

	for (size_t i = 0; i < n; i += 3) {
		const char *other = corpus->data + (i + 7) % n * page_size;

		memcpy(memory + i * page_size, other, page_size);
		memcpy(expected + i * page_size, other, page_size);
		page_out(memory, i);
	}
	print_counters(false);

	for (size_t i = 0; i < n; i += 5) {
		madvise(memory + i * page_size, page_size, MADV_DONTNEED);
		memset(expected + i * page_size, 0, page_size);
	}
	print_counters(false);

	for (size_t i = 1; i < n; i += 4)
		if (i % 5)
			load(memory, i);
	print_counters(false);

	for (size_t i = 1; i < n; i += 4)
		if (i % 5)
			page_out(memory, i);
	print_counters(false);

	printf("],\"intact\":%s", memcmp(memory, expected, bytes) ? "false" : "true");
	munmap(memory, bytes);
	printf(",\"freed\":");
	print_counters(true);
	printf("}\n");
	fflush(stdout);
	free(expected);
	free(lengths);
}

int main(void)
{
	struct corpus corpus;

	page_size = sysconf(_SC_PAGESIZE);
	mount_all();
	load_modules();
	must_put("/proc/sys/vm/page-cluster", "0");
	must_put(PARAMETER "max_pool_percent", "100");
	must_put(PARAMETER "enabled", "Y");
	swap_on();
	print_machine(probe_allocations());
	for (int number = 0; read_corpus(&corpus, number); number++) {
		for (size_t i = 0; i < array_size(codecs); i++)
			ask_zram(&corpus, codecs[i]);
		must_put(ZRAM "reset", "1");
		for (size_t i = 0; i < array_size(codecs); i++)
			if (put(PARAMETER "compressor", "%s", codecs[i]))
				ask_zswap(&corpus, codecs[i]);
		munmap(corpus.data, corpus.pages * page_size);
	}
	printf("{\"end\":true}\n");
	turn_off();
}
