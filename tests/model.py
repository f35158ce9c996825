# SPDX-License-Identifier: GPL-2.0-or-later
"""zswap over zsmalloc, by the rules and nothing else: the specification that the
library is tested against.

Slow and small on purpose. `Zsmalloc` holds sizes only; `Zswap` answers
store/load/invalidate as the library does and keeps each page's bytes beside its size,
so that a test can compare contents, counters and the pool to the byte. What it leaves
out: cgroups, writeback, CPUs, concurrency, compaction (zswap never asks for it).
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache

# page -> its compressed length in bytes, or a negative errno
Compressor = Callable[[bytes], int]

HANDLE_SIZE = 8
MIN_ALLOC_SIZE = 32
FULL = 11
TREE_SHIFT = 14
SWP_TYPE_SHIFT = 58


# --- zsmalloc -------------------------------------------------------------------------


@dataclass(frozen=True)
class SizeClass:
    """Objects of `size` bytes, `objs` of them in a zspage of `chain` pages."""

    index: int
    size: int
    chain: int
    objs: int

    @property
    def huge(self) -> bool:
        """A page an object: the handle is kept outside, so that a whole page fits."""
        return self.chain == self.objs == 1


@cache
def size_classes(page_size: int = 4096, chain_size: int = 8) -> tuple[SizeClass, ...]:
    """The class of each slot, smallest first. Neighbours with the same zspage share the
    larger one's class.
    """
    delta = page_size >> 8
    slots = -(-(page_size - MIN_ALLOC_SIZE) // delta) + 1
    classes: list[SizeClass] = []
    for index in reversed(range(slots)):
        size = min(MIN_ALLOC_SIZE + index * delta, page_size)
        power_of_two = size & (size - 1) == 0
        chain = (
            1 if power_of_two else min(range(1, chain_size + 1), key=lambda k: k * page_size % size)
        )
        objs = chain * page_size // size
        shared = classes and (classes[-1].chain, classes[-1].objs) == (chain, objs)
        classes.append(classes[-1] if shared else SizeClass(index, size, chain, objs))
    return tuple(reversed(classes))


def class_of(length: int, page_size: int = 4096, chain_size: int = 8) -> SizeClass:
    """The class that holds an object of `length` bytes; the handle's bytes are always
    added.
    """
    classes = size_classes(page_size, chain_size)
    need = length + HANDLE_SIZE
    slot = -(-(need - MIN_ALLOC_SIZE) // (page_size >> 8)) if need > MIN_ALLOC_SIZE else 0
    return classes[min(slot, len(classes) - 1)]


def huge_class_size(page_size: int = 4096, chain_size: int = 8) -> int:
    """The smallest object, in bytes, that takes a page for itself."""
    return max(c.size for c in size_classes(page_size, chain_size) if not c.huge) - (
        HANDLE_SIZE - 1
    )


@dataclass(eq=False)
class Zspage:
    """A zspage is its class and how many of its objects are in use; an object is known
    by its zspage alone.
    """

    size_class: SizeClass
    inuse: int = 0

    @property
    def fullness(self) -> int:
        """0 empty, 1 to 10 by tenths in use, 11 full."""
        if self.inuse == self.size_class.objs:
            return FULL
        return 100 * self.inuse // self.size_class.objs // 10 + 1 if self.inuse else 0


class Zsmalloc:
    """One pool. A handle is the object's `Zspage`; an error is a negative int."""

    def __init__(
        self,
        page_size: int = 4096,
        chain_size: int = 8,
        fails: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self.page_size, self.chain_size, self._fails = page_size, chain_size, fails
        self.pages_allocated = 0
        # (class, group) -> its zspages; the list's front is the last one inserted
        self._groups: dict[tuple[SizeClass, int], dict[Zspage, None]] = {}

    def _group(self, zspage: Zspage) -> dict[Zspage, None]:
        return self._groups.setdefault((zspage.size_class, zspage.fullness), {})

    def _change(self, zspage: Zspage, inuse: int) -> None:
        """Only a zspage whose group changes moves, to the front of the new one."""
        before = self._group(zspage)
        zspage.inuse = inuse
        after = self._group(zspage)
        if after is not before:
            before.pop(zspage, None)
            after[zspage] = None

    def malloc(self, length: int) -> Zspage | int:
        """An object of `length` bytes in the first zspage of the fullest group that has
        room, else in a new one.
        """
        if length == 0:
            return -errno.EINVAL
        if length > self.page_size:
            return -errno.ENOSPC
        if self._fails("handle"):
            return -errno.ENOMEM
        size_class = class_of(length, self.page_size, self.chain_size)
        for fullness in range(FULL - 1, 0, -1):
            group = self._groups.get((size_class, fullness))
            if group:
                zspage = next(reversed(group))
                break
        else:
            if self._fails("zspage"):
                return -errno.ENOMEM
            zspage = Zspage(size_class)
            self.pages_allocated += size_class.chain
        self._change(zspage, zspage.inuse + 1)
        return zspage

    def free(self, zspage: Zspage) -> None:
        """A zspage goes with its last object."""
        self._change(zspage, zspage.inuse - 1)
        if zspage.inuse == 0:
            del self._group(zspage)[zspage]
            self.pages_allocated -= zspage.size_class.chain


# --- zswap ----------------------------------------------------------------------------

COUNTERS = (
    "pool_limit_hit",
    "reject_reclaim_fail",
    "reject_alloc_fail",
    "reject_kmemcache_fail",
    "reject_compress_fail",
    "reject_compress_poor",
    "decompress_fail",
    "written_back_pages",
)


@dataclass(frozen=True)
class StoreResult:
    """True only if stored; `reason` is the counter that says why not, or "disabled",
    which has none.
    """

    stored: bool
    reason: str | None = None

    def __bool__(self) -> bool:
        return self.stored


@dataclass(eq=False)
class Entry:
    """A stored page: where, how long, and its bytes for the tests."""

    pool: Zsmalloc
    handle: Zspage
    length: int
    page: bytes


@dataclass
class Zswap:
    """zswap of some swap devices: an entry is type << 58 | slot.

    `batch_size` is how many pages of a folio are allocated before the tree sees them: 1
    before the batching series, 2 with it for a compressor that does not batch (8 in its
    later versions), and what a compressor in `batching` takes in one request. An older
    entry is freed after its whole batch was allocated.

    `faults` by kind ("compress", "decompress", "entry", "handle", "zspage", "tree"):
    the try from now that fails, 1 for the next one.
    """

    compressors: Mapping[str, Compressor]
    compressor: str
    page_size: int = 4096
    chain_size: int = 8
    total_ram: int = 1 << 40
    kernel: str = "6.18"
    incompressible: str = ""
    batch_size: int = 1
    batching: Mapping[str, int] = field(default_factory=dict)
    enabled: bool = True
    max_pool_percent: int = 20
    accept_threshold_percent: int = 90
    counters: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTERS, 0))
    entries: dict[int, Entry] = field(default_factory=dict)
    pools: dict[str, Zsmalloc] = field(default_factory=dict)
    trees: set[int] = field(default_factory=set)
    faults: dict[str, int] = field(default_factory=dict)
    fault_error: int = errno.EINVAL
    pool_reached_full: bool = False

    def __post_init__(self) -> None:
        self.incompressible = self.incompressible or ("reject" if self.before_6_18 else "store")

    @property
    def release(self) -> tuple[int, ...]:
        return tuple(map(int, self.kernel.split(".")))

    @property
    def before_6_18(self) -> bool:
        """Whether the allocator judges lengths, and incompressible pages go away."""
        return self.release < (6, 18)

    # limits

    def total_pages(self) -> int:
        """Pages of every pool; one that is no longer current counts until its last
        entry goes.
        """
        return sum(pool.pages_allocated for pool in self.pools.values())

    def max_pages(self) -> int:
        return self.total_ram // self.page_size * self.max_pool_percent // 100

    def accept_thr_pages(self) -> int:
        return self.max_pages() * self.accept_threshold_percent // 100

    def check_limits(self) -> bool:
        """Full from the maximum on, until a store finds the pool at or under the
        threshold.
        """
        pages = self.total_pages()
        if pages >= self.max_pages():
            self.counters["pool_limit_hit"] += 1
            self.pool_reached_full = True
        elif self.pool_reached_full and pages <= self.accept_thr_pages():
            self.pool_reached_full = False
        return self.pool_reached_full

    # store

    def _fails(self, kind: str) -> bool:
        """Counts a try; below 0 no fault of the kind is left."""
        left = self.faults[kind] = self.faults.get(kind, 0) - 1
        return left == 0

    def _compress(self, page: bytes) -> int | str:
        """The length it is stored with, or the counter that refuses it."""
        ret = self.compressors[self.compressor](page)
        if self._fails("compress"):
            ret = -self.fault_error
        error, length = min(ret, 0), max(ret, 0)
        if self.incompressible == "store":
            return length if not error and 0 < length < self.page_size else self.page_size
        if not self.before_6_18 and not error and not 0 < length < self.page_size:
            error = -errno.EINVAL  # 6.16 leaves it to the allocator, which takes exactly a page
        if error:
            return "reject_compress_poor" if error == -errno.ENOSPC else "reject_compress_fail"
        return length

    def _allocate(self, page: bytes, length: int, pool: Zsmalloc) -> Entry | str:
        handle = pool.malloc(length)
        if isinstance(handle, int):
            return "reject_compress_poor" if handle == -errno.ENOSPC else "reject_alloc_fail"
        return Entry(pool, handle, length, page)

    def _grow_trees(self, slot: int, nr: int) -> bool:
        """A tree is made for the first slot that needs it; each slot tries."""
        complete = True
        for tree in (s >> TREE_SHIFT for s in range(slot, slot + nr)):
            if tree not in self.trees:
                if self._fails("tree"):
                    complete = False
                else:
                    self.trees.add(tree)
        return complete

    def _count(self, refused: list[str]) -> str | None:
        for reason in refused:
            self.counters[reason] += 1
        return refused[-1] if refused else None

    def _store_batch(
        self, slot: int, pages: list[bytes], pool: Zsmalloc, trees: bool
    ) -> str | None:
        """Compress and allocate all of it, a request after another; then the tree takes
        it, if it could be had. None, or why not.
        """
        request = self.batching.get(self.compressor, 1)
        batch: list[Entry] = []
        reason = None
        if any(self._fails("entry") for _ in pages):
            return self._count(["reject_kmemcache_fail"])
        for start in range(0, len(pages), request):
            lengths = [self._compress(page) for page in pages[start : start + request]]
            reason = self._count([length for length in lengths if isinstance(length, str)])
            for page, length in zip(pages[start:], lengths, strict=False):
                if reason is None and isinstance(length, int):
                    entry = self._allocate(page, length, pool)
                    if isinstance(entry, str):
                        reason = self._count([entry])
                    else:
                        batch.append(entry)
            if reason:
                break
        for i, entry in enumerate(batch):
            if reason is None and (not trees or self._fails("tree")):
                reason = self._count(["reject_alloc_fail"])
            if reason:
                pool.free(entry.handle)
            else:
                old, self.entries[slot + i] = self.entries.get(slot + i), entry
                if old:
                    old.pool.free(old.handle)
        return reason

    def store(self, entry: int, folio: bytes) -> StoreResult:
        """A folio of whole pages, for the slots from `entry` on: all of it or, with
        every slot of it emptied, none.
        """
        pages = [bytes(folio[i : i + self.page_size]) for i in range(0, len(folio), self.page_size)]
        reason = self._store(entry, pages)
        if reason is None:
            return StoreResult(True)
        for slot in range(entry, entry + len(pages)):
            self.invalidate(slot)
        return StoreResult(False, reason)

    def _store(self, slot: int, pages: list[bytes]) -> str | None:
        """None when stored, else why not."""
        if len(pages) > 1 and self.release < (6, 13):
            return "large_folio"
        if not self.enabled:
            return "disabled"
        if self.check_limits():
            return "pool_limit_hit"
        pool = self.pools.setdefault(
            self.compressor, Zsmalloc(self.page_size, self.chain_size, self._fails)
        )
        batch_size = self.batching.get(self.compressor, self.batch_size)
        trees = self._grow_trees(slot, len(pages))
        for start in range(0, len(pages), batch_size):
            reason = self._store_batch(slot + start, pages[start : start + batch_size], pool, trees)
            if reason:
                return reason
        return None

    # load, invalidate

    def peek(self, entry: int, out: bytearray | memoryview) -> bool:
        """The page's bytes; the entry stays. OSError EIO by a fault."""
        found = self.entries.get(entry)
        if found:
            if self._fails("decompress"):
                self.counters["decompress_fail"] += 1
                raise OSError(errno.EIO, f"slot {entry} does not decompress")
            out[:] = found.page
        return found is not None

    def load(self, entry: int, out: bytearray | memoryview, swapcache: bool = True) -> bool:
        """Into the swap cache the page moves: its entry goes. A folio of more than a
        page is EINVAL, found or not.
        """
        if len(out) > self.page_size:
            raise OSError(errno.EINVAL, "zswap loads one page")
        found = self.peek(entry, out)
        if found and swapcache:
            self.invalidate(entry)
        return found

    def load_batch(self, entries: list[int], out: bytearray) -> list[int]:
        """Page i of `out` from `entries[i]`; 0, -ENOENT, -EIO for each. A slot named
        twice is gone the second time.
        """
        view = memoryview(out)
        results = []
        for i, entry in enumerate(entries):
            try:
                found = self.load(entry, view[i * self.page_size : (i + 1) * self.page_size])
                results.append(0 if found else -errno.ENOENT)
            except OSError as e:
                results.append(-(e.errno or 0))
        return results

    def invalidate(self, entry: int) -> None:
        old = self.entries.pop(entry, None)
        if old:
            old.pool.free(old.handle)

    def swapoff(self, type: int) -> None:
        """Drop a swap type's entries, by slot, and its trees."""
        for entry in sorted(e for e in self.entries if e >> SWP_TYPE_SHIFT == type):
            self.invalidate(entry)
        self.trees = {tree for tree in self.trees if tree << TREE_SHIFT >> SWP_TYPE_SHIFT != type}

    def __contains__(self, entry: int) -> bool:
        return entry in self.entries

    def stored_raw(self) -> int:
        """Entries as long as a page; where such a page is refused, 6.16's may still be
        a compressor's output.
        """
        return sum(
            e.length == self.page_size
            for e in self.entries.values()
            if self.incompressible == "store"
        )

    def stats(self) -> dict[str, int]:
        """The debugfs counters by name; pool_total_size in bytes."""
        return {
            **self.counters,
            "pool_total_size": self.total_pages() * self.page_size,
            "stored_pages": len(self.entries),
            "stored_incompressible_pages": self.stored_raw(),
        }
