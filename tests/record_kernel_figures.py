# SPDX-License-Identifier: GPL-2.0-or-later
"""Ask the running kernel what its zswap and zram make of the tests' corpora, and write data/kernel_figures.json.

usage (root; gives back every setting, refuses where swap or zram is in use): python tests/record_kernel_figures.py

Needs zswap with deflate and lzo, zram with lz4, lzo and lzo-rle, mkswap and swapon, a mounted debugfs.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from corpus import PAGE_SIZE, SEEDS, churn, corpus, digest, holes, small_page

from zswap_py.knownpages import known_pages

FIGURES_FILE = Path(__file__).parent / "data" / "kernel_figures.json"
PARAMETERS = Path("/sys/module/zswap/parameters")
DEBUGFS = Path("/sys/kernel/debug/zswap")
PAGE_CLUSTER = Path("/proc/sys/vm/page-cluster")
ZRAM = Path("/sys/block/zram0")
MADV_PAGEOUT = 21
MAX_OBJS = 256  # the most that a zspage of a 4 KiB page's classes holds
PAGEMAP_SWAPPED = 1 << 62
MUST_NOT_MOVE = ("pool_limit_hit", "written_back_pages", "reject_alloc_fail", "reject_kmemcache_fail")


@contextmanager
def setting(path: Path, value: str) -> Iterator[None]:
    """`value` in `path` for the time of the block, then what was there."""
    old = path.read_text().strip()
    path.write_text(value)
    try:
        yield
    finally:
        path.write_text(old)


@contextmanager
def swap_area(size: int) -> Iterator[None]:
    """A swap file of `size` bytes and nothing else swapped."""
    if len(Path("/proc/swaps").read_text().splitlines()) > 1:
        sys.exit("swap is in use: swapoff -a first, its pages would be counted with ours")
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        area = Path(directory) / "swap"
        with area.open("wb") as f:
            os.posix_fallocate(f.fileno(), 0, size)
        area.chmod(0o600)
        subprocess.run(["mkswap", "-q", area], check=True)
        subprocess.run(["swapon", area], check=True)
        try:
            yield
        finally:
            subprocess.run(["swapoff", area], check=True)


class KernelZswap:
    """The running kernel's zswap as a driver for `churn`: slot i is page i of an anonymous mapping of ours."""

    def __init__(self, pages: int) -> None:
        self._memory = mmap.mmap(-1, pages * PAGE_SIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._memory.madvise(mmap.MADV_NOHUGEPAGE)
        self._first = ctypes.addressof(ctypes.c_char.from_buffer(self._memory)) // PAGE_SIZE
        self._pagemap = os.open("/proc/self/pagemap", os.O_RDONLY)
        self._before = self._counters()
        if self._before["stored_pages"]:
            sys.exit(f"zswap holds {self._before['stored_pages']} pages of others: swapoff -a first")

    def _counters(self) -> dict[str, int]:
        if not DEBUGFS.is_dir():
            sys.exit(f"{DEBUGFS} is missing: mount -t debugfs none /sys/kernel/debug")
        return {f.name: int(f.read_text()) for f in DEBUGFS.iterdir()}

    def _at(self, entry: int) -> slice:
        return slice(entry * PAGE_SIZE, (entry + 1) * PAGE_SIZE)

    def store(self, entry: int, folio: bytes) -> None:
        self._memory[self._at(entry)] = folio
        self._memory.madvise(MADV_PAGEOUT, entry * PAGE_SIZE, PAGE_SIZE)
        state = int.from_bytes(os.pread(self._pagemap, 8, 8 * (self._first + entry)), "little")
        if not state & PAGEMAP_SWAPPED:
            raise RuntimeError(f"page {entry} did not go out: run again on a quieter machine")

    def load(self, entry: int, out: bytearray) -> None:
        out[:] = self._memory[self._at(entry)]

    def invalidate(self, entry: int) -> None:
        self._memory.madvise(mmap.MADV_DONTNEED, entry * PAGE_SIZE, PAGE_SIZE)

    def stats(self) -> dict[str, int]:
        now = self._counters()
        for name in MUST_NOT_MOVE:
            if now[name] != self._before[name]:
                raise RuntimeError(f"{name} moved: the figures are not of the pages alone")
        return now


@contextmanager
def kernel_zswap(compressor: str, pages: int) -> Iterator[KernelZswap]:
    """A pool of `compressor` that is empty, for `pages` slots; no read-ahead."""
    with (
        swap_area(pages * PAGE_SIZE + (8 << 20)),
        setting(PAGE_CLUSTER, "0"),
        setting(PARAMETERS / "compressor", compressor),
        setting(PARAMETERS / "enabled", "1"),
    ):
        yield KernelZswap(pages)


def zspage_of(zswap: KernelZswap, page: bytes) -> list[int]:
    """[pages, objects] of the zspages that hold `page`: copies are stored until the pool grows a second time."""
    chain = objs = 0
    for objs in range(MAX_OBJS + 1):
        zswap.store(objs, page)
        pages = zswap.stats()["pool_total_size"] // PAGE_SIZE
        if chain and pages > chain:
            break
        chain = pages
    for slot in range(objs + 1):
        zswap.invalidate(slot)
    return [chain, objs]


@contextmanager
def zram(algorithm: str, size: int) -> Iterator[int]:
    """zram0 with `algorithm` and room for `size` bytes, open for direct writing."""
    if int((ZRAM / "disksize").read_text()):
        sys.exit("zram0 is in use: this would drop its contents")
    old = (ZRAM / "comp_algorithm").read_text().split("[")[1].split("]")[0]
    (ZRAM / "comp_algorithm").write_text(algorithm)
    (ZRAM / "disksize").write_text(str(size))
    fd = os.open("/dev/zram0", os.O_RDWR | os.O_DIRECT)
    try:
        yield fd
    finally:
        os.close(fd)
        (ZRAM / "reset").write_text("1")
        (ZRAM / "comp_algorithm").write_text(old)


def zram_write(fd: int, page: bytes, slot: int) -> None:
    with mmap.mmap(-1, PAGE_SIZE) as aligned:
        aligned[:] = page
        os.pwrite(fd, aligned, slot * PAGE_SIZE)


def zram_stat() -> dict[str, int]:
    fields = [int(word) for word in (ZRAM / "mm_stat").read_text().split()]
    return {"compr_data_size": fields[1], "mem_used_total": fields[2], "same_pages": fields[5], "huge_pages": fields[7]}


def zram_totals(algorithm: str, pages: Sequence[bytes]) -> dict[str, int]:
    with zram(algorithm, len(pages) * PAGE_SIZE) as fd:
        for slot, page in enumerate(pages):
            zram_write(fd, page, slot)
        return zram_stat()


def zram_sizes(algorithm: str, pages: Sequence[bytes]) -> list[int]:
    """Each page's size in bytes: all go to the same block, the total is the last one's."""
    sizes = []
    with zram(algorithm, PAGE_SIZE) as fd:
        for page in pages:
            zram_write(fd, page, 0)
            sizes.append(zram_stat()["compr_data_size"])
    return sizes


def record() -> dict[str, object]:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # a page just written waits in this CPU's LRU batch
    figures: dict[str, object] = {"kernel": platform.release(), "machine": platform.machine()}
    for seed in SEEDS:
        pages = corpus(seed)
        of: dict[str, object] = {"pages": len(pages), "sha256": digest(pages)}
        for compressor in ("deflate", "lzo"):
            with kernel_zswap(compressor, len(pages)) as zswap:
                of[f"churn:{compressor}"] = churn(zswap, pages)
            with kernel_zswap(compressor, 3 * MAX_OBJS) as zswap:
                _, objs = zspage_of(zswap, small_page(seed))
                of[f"holes:{compressor}"] = holes(zswap, small_page(seed), objs)
        for algorithm in ("lz4", "lzo", "lzo-rle"):
            of[f"zram:{algorithm}"] = zram_totals(algorithm, pages)
        figures[f"corpus:{seed}"] = of
    known: dict[str, object] = {"sha256": digest(known_pages())}
    for algorithm in ("lz4", "lzo", "lzo-rle"):
        known[f"zram:{algorithm}"] = zram_sizes(algorithm, known_pages())
    with kernel_zswap("deflate", MAX_OBJS + 1) as zswap:
        known["zspages:deflate"] = [zspage_of(zswap, page) for page in known_pages()]
    figures["known_pages"] = known
    return figures


if __name__ == "__main__":
    recorded = record()
    FIGURES_FILE.parent.mkdir(exist_ok=True)
    FIGURES_FILE.write_text(json.dumps(recorded, indent=1) + "\n")
