# SPDX-License-Identifier: GPL-2.0-or-later
"""Finds the pages of a process that are present, and their kinds: /proc/PID/pagemap, by
the PAGEMAP_SCAN ioctl of Linux 6.7 or by its entries.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import re
import struct
import sys
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from enum import IntEnum
from itertools import accumulate, compress, groupby
from typing import NamedTuple

PAGE_SIZE = mmap.PAGESIZE  #: bytes of a page of this machine's processes


class Runs(NamedTuple):
    """Runs of pages, ascending, not overlapping: ``starts[i] <= address < ends[i]``, in
    bytes.
    """

    starts: array[int]
    ends: array[int]

    @classmethod
    def none(cls) -> Runs:
        return cls(array("Q"), array("Q"))

    @property
    def pages(self) -> int:
        return (sum(self.ends) - sum(self.starts)) // PAGE_SIZE

    def append(self, start: int, end: int) -> None:
        self.starts.append(start)
        self.ends.append(end)

    def extend(self, other: Runs) -> None:
        """Appends runs at higher addresses."""
        self.starts.extend(other.starts)
        self.ends.extend(other.ends)

    def within(self, other: Runs) -> Runs:
        """Returns the pages that are also in ``other``."""
        both, i = Runs.none(), 0
        for start, end in zip(*self, strict=True):
            while i < len(other.ends) and other.ends[i] <= start:
                i += 1
            for j in range(i, len(other.starts)):
                if other.starts[j] >= end:
                    break
                both.append(max(start, other.starts[j]), min(end, other.ends[j]))
        return both

    def without(self, other: Runs) -> Runs:
        """Returns the pages that are not in ``other``."""
        gaps, at = Runs.none(), 0
        for start, end in zip(*other, strict=True):
            if at < start:
                gaps.append(at, start)
            at = end
        gaps.append(at, 2**64 - 1)
        return self.within(gaps)

    def part(self, pages: int, phase: float) -> Runs:
        """Returns ``pages`` of the pages, in pieces of up to 8, evenly spaced.
        ``phase`` (0 to 1, exclusive) shifts the first piece.
        """
        spare = self.pages - pages
        if spare <= 0:
            return self
        lengths = ((end - start) // PAGE_SIZE for start, end in zip(*self, strict=True))
        last = array("Q", accumulate(lengths))  # the number of the first page behind each run
        part, pieces = Runs.none(), -(-pages // 8)
        for i in range(pieces):
            at, until = i * pages // pieces, (i + 1) * pages // pieces
            skip = int((i + phase) * spare / pieces)
            while at < until:
                run = bisect_right(last, at + skip)
                until_run = min(until, last[run] - skip)
                end = self.ends[run] - (last[run] - skip - until_run) * PAGE_SIZE
                part.append(end - (until_run - at) * PAGE_SIZE, end)
                at = until_run
        return part


class Kind(IntEnum):
    """The kind of a page, as pagemap shows it."""

    ANON = 0  #: anonymous. The zero page looks the same where the kernel does not tell
    FILE = 1  #: of a file or of shmem. In pagemap's entries the huge zero page looks the same
    SWAPPED = 2
    ZERO = 3  #: maps the zero page; only PAGEMAP_SCAN tells


Found = list[Runs]
"""The pages of a range, by Kind."""


class Search(NamedTuple):
    """The hints for a search of a mapping's pages."""

    expected: int  #: number of pages, without zero pages
    of_file: bool  #: if false, a page of Kind.FILE is the huge zero page
    likely: Sequence[int]  #: addresses to search first


# <linux/fs.h>: _IOWR('f', 16, struct pm_scan_arg), twelve 64-bit words.
_PAGEMAP_SCAN = 3 << 30 | 96 << 16 | ord("f") << 8 | 16
_FILE, _PRESENT, _SWAPPED, _PFNZERO = 1 << 2, 1 << 3, 1 << 4, 1 << 5
_REGIONS = 4096  # struct page_region (three 64-bit words) per ioctl call

# pagemap's 64-bit entries. The top byte holds the flags, so translate() and a regular
# expression classify the pages. The lower 55 bits are the frame number, or the place in
# swap. Bit 55 means that the page was written to.
_TOP, _NEXT = (7, 6) if sys.byteorder == "little" else (0, 1)
_FRAME = (1 << 55) - 1
_WINDOW = 1 << 13  # entries per read: 32 MiB of address space with pages of 4 KiB
_SEARCHED_WHOLE = 1 << 30
_BITS = {Kind.ANON: 0b100, Kind.FILE: 0b101}  # bits 61 to 63: of a file, swapped, present
_EMPTY = (bytes(8 * _WINDOW), (1 << 55).to_bytes(8, sys.byteorder) * _WINDOW)
_CLEAR_BIT_55 = bytes(i & 0x7F for i in range(256))
_OTHER, _EXCLUSIVE, _SHARED, _FILES, _SWAP = range(5)
# The search for a repeated character is faster with the first one apart.
_ANY = re.compile(b"[\1-\4][\1-\4]*")
_BY_KIND = re.compile(b"([\1\2]+)|(\3+)|(\4+)")  # the groups are the first three kinds
_ONCE_OR_OFTEN, _CHOSEN = re.compile(b"\1+|\2+"), re.compile(b"\1\1*")


def _entry_class(top: int) -> int:
    if top & 0x80:
        return _FILES if top & 0x20 else _EXCLUSIVE if top & 0x01 else _SHARED
    return _SWAP if top & 0x40 else _OTHER


_CLASSES = bytes(_entry_class(top) for top in range(256))
_MAPPED_OFTEN = bytes(top & 0x81 == 0x80 for top in range(256))  # present, not exclusive


def _kind(categories: int) -> Kind:
    if not categories & _PRESENT:
        return Kind.SWAPPED
    return Kind.ZERO if categories & _PFNZERO else Kind.FILE if categories & _FILE else Kind.ANON


class PageTable:
    """An open /proc/PID/pagemap."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._has_scan = True
        self._regions = array("Q", bytes(24 * _REGIONS))
        self._buffer = bytearray(8 * _WINDOW)
        self.zero_frame = zero_frame()

    def find(self, start: int, end: int, search: Search | None = None) -> Found:
        """Returns the pages in ``start <= address < end``. A range without a mapping,
        or of a process that has exited, has none.

        Before Linux 6.7 a TiB of empty address space takes a second. There the search
        of a range of more than 1 GiB ends once it has found ``search.expected`` pages.
        """
        if self._has_scan:
            try:
                return self._scan(start, end)
            except OSError as e:
                if e.errno != errno.ENOTTY:
                    raise
                self._has_scan = False  # before Linux 6.7
        return self._read(start, end, search or Search(-1, False, ()))

    def _scan(self, start: int, end: int) -> Found:
        found = [Runs.none() for _ in Kind]
        regions = self._regions
        while start < end:
            arg = bytearray(
                struct.pack(
                    "12Q",
                    96,
                    0,
                    start,
                    end,
                    0,
                    regions.buffer_info()[0],
                    _REGIONS,
                    0,
                    0,
                    0,
                    _PRESENT | _SWAPPED,
                    _FILE | _PRESENT | _SWAPPED | _PFNZERO,
                )
            )
            count = fcntl.ioctl(self._fd, _PAGEMAP_SCAN, arg)
            starts, ends, categories = (regions[i : 3 * count : 3] for i in range(3))
            for category in set(categories):
                chosen = bytes(map(category.__eq__, categories))
                runs = found[_kind(category)]
                runs.starts.extend(compress(starts, chosen))
                runs.ends.extend(compress(ends, chosen))
            # if the kernel's own buffer is full, walk_end may lie before returned
            # regions
            (walk_end,) = struct.unpack_from("Q", arg, 32)
            start = max([walk_end, *ends[-1:]])
        return found

    def _read(self, start: int, end: int, search: Search) -> Found:
        """Finds the same in pagemap's entries, a window at a time. Starts with the ends
        of the range and the likely addresses. Where it finds pages, continues with the
        neighbours and with the next address at the same distance.
        """
        size = _WINDOW * PAGE_SIZE
        ahead = [*search.likely, end - 1, start]
        rest = iter(range(start, end, size))
        searched = bytearray(-(-(end - start) // size))  # a byte a window
        parts: dict[int, Found] = {}
        sure = last = 0  # pages found that are not the zero page; the address of the last one
        while end - start <= _SEARCHED_WHOLE or sure != search.expected:
            address = ahead.pop() if ahead else next(rest, None)
            if address is None:
                break
            number = (address - start) // size
            if not start <= address < end or searched[number]:
                continue
            searched[number] = 1
            at = start + number * size
            entries = self._window(at, min(at + size, end))
            classes = entries[_TOP::8].translate(_CLASSES)
            if not (trimmed := classes.lstrip(bytes([_OTHER]))):
                continue
            parts[number] = part = [Runs.none() for _ in Kind]
            for there in _ANY.finditer(classes):
                for match in _BY_KIND.finditer(classes, *there.span()):
                    runs = part[(match.lastindex or 0) - 1]
                    runs.append(at + match.start() * PAGE_SIZE, at + match.end() * PAGE_SIZE)
            sure += len(classes) - classes.count(_OTHER) - self._zero_pages(classes, entries)
            sure -= 0 if search.of_file else classes.count(_FILES)
            first = at + (len(classes) - len(trimmed)) * PAGE_SIZE
            ahead += [2 * first - last, at + size, at - size]
            last = first
        found = [Runs.none() for _ in Kind]
        for number in sorted(parts):
            for runs, more in zip(found, parts[number], strict=True):
                runs.extend(more)
        return found

    def _zero_pages(self, classes: bytes, entries: bytes) -> int:
        """Returns the number of zero pages; without the zero page's number, of pages
        that may be zero pages.
        """
        if _SHARED not in classes or self.zero_frame is None:
            return classes.count(_SHARED)
        return array("Q", _numbers(entries)).count(self.zero_frame)

    def _window(self, start: int, end: int) -> bytes:
        """Returns a window's entries; none if the window has no page."""
        view = memoryview(self._buffer)[: (end - start) // PAGE_SIZE * 8]
        filled = os.preadv(self._fd, [view], start // PAGE_SIZE * 8)
        return b"" if self._buffer in _EMPTY else bytes(view[:filled])

    def _entries(self, start: int, end: int) -> bytearray:
        entries = bytearray((end - start) // PAGE_SIZE * 8)
        del entries[os.preadv(self._fd, [entries], start // PAGE_SIZE * 8) :]
        return entries

    def frames(self, start: int, end: int, kind: Kind) -> list[int]:
        """Returns the frame number of each page in ``start <= address < end``; 0 if it
        is not of the kind, or maps the zero page. The list ends early if the process
        has exited.
        """
        bits, zero = _BITS[kind], self.zero_frame
        return [
            frame if entry >> 61 == bits and (frame := entry & _FRAME) != zero else 0
            for entry in memoryview(self._entries(start, end)).cast("Q")
        ]

    def _windows(self, runs: Runs) -> Iterator[tuple[int, bytearray, list[tuple[int, int]]]]:
        """Yields the runs' entries, a window at a time: the address of the first entry,
        the entries, and the window's runs as indices of entries.
        """
        size = _WINDOW * PAGE_SIZE
        cut = (
            (at, min(end, at - at % size + size))
            for start, end in zip(*runs, strict=True)
            for at in (start, *range(start - start % size + size, end, size))
        )
        for _, group in groupby(cut, lambda piece: piece[0] // size):
            pieces = list(group)
            base = pieces[0][0]
            indices = [
                ((start - base) // PAGE_SIZE, (end - base) // PAGE_SIZE) for start, end in pieces
            ]
            yield base, self._entries(base, pieces[-1][1]), indices

    def split(self, anonymous: Runs) -> tuple[Runs, Runs, int]:
        """Returns the anonymous pages that are mapped once, those mapped several times,
        and, if pagemap shows frame numbers, the number of zero pages among these.
        """
        exclusive, shared, zeros = Runs.none(), Runs.none(), 0
        for base, entries, pieces in self._windows(anonymous):
            classes = entries[_TOP::8].translate(_CLASSES)
            for start, end in pieces:
                for match in _ONCE_OR_OFTEN.finditer(classes, start, end):
                    runs = exclusive if classes[match.start()] == _EXCLUSIVE else shared
                    runs.append(base + match.start() * PAGE_SIZE, base + match.end() * PAGE_SIZE)
            if self.zero_frame is not None and _SHARED in classes:
                numbers = array("Q", _numbers(entries))
                zeros += sum(numbers[start:end].count(self.zero_frame) for start, end in pieces)
        return exclusive, shared, zeros

    def take(self, runs: Runs, taken: Taken, kind: Kind) -> Runs:
        """Takes the frames, or places in swap, of the pages of that kind. Returns the
        pages with frames that were not taken before.
        """
        fresh = Runs.none()
        classes = (_SWAP,) if kind is Kind.SWAPPED else (_EXCLUSIVE, _SHARED)
        wanted = bytes(c in classes for c in _CLASSES)
        for base, entries, pieces in self._windows(runs):
            there = entries[_TOP::8].translate(wanted)
            with memoryview(_numbers(entries)).cast("Q") as numbers:
                for start, end in pieces:
                    for match in _CHOSEN.finditer(there, start, end):
                        mask = taken.take(numbers[match.start() : match.end()])
                        at = base + match.start() * PAGE_SIZE
                        for new in _CHOSEN.finditer(mask):
                            fresh.append(at + new.start() * PAGE_SIZE, at + new.end() * PAGE_SIZE)
        return fresh

    def take_shared(self, runs: Runs, taken: Taken) -> None:
        """Takes the frames of the present pages that have other mappings too."""
        for _, numbers in self._shared(runs):
            taken.take(numbers)

    def drop_shared(self, runs: Runs, taken: Taken) -> tuple[Runs, int]:
        """Returns the runs without the pages whose frames were taken, and the number of
        pages left that have other mappings too. Does not count the zero page.
        """
        dropped, left = Runs.none(), 0
        for at, numbers in self._shared(runs):
            mask = taken.has(numbers)
            left += mask.count(0) - (numbers.count(self.zero_frame) if self.zero_frame else 0)
            for match in _CHOSEN.finditer(mask):
                dropped.append(at + match.start() * PAGE_SIZE, at + match.end() * PAGE_SIZE)
        return (runs.without(dropped) if dropped.starts else runs), left

    def _shared(self, runs: Runs) -> Iterator[tuple[int, array[int]]]:
        """Yields the present pages of the runs that have other mappings too: the first
        address, and the frames.
        """
        for base, entries, pieces in self._windows(runs):
            classes = entries[_TOP::8].translate(_MAPPED_OFTEN)
            numbers = array("Q", _numbers(entries))
            for start, end in pieces:
                for match in _CHOSEN.finditer(classes, start, end):
                    yield base + match.start() * PAGE_SIZE, numbers[match.start() : match.end()]


def _numbers(entries: bytes | bytearray) -> bytes:
    """Returns the entries' lower 55 bits, as 64-bit words."""
    numbers = bytearray(entries)
    numbers[_TOP::8] = bytes(len(entries) // 8)
    numbers[_NEXT::8] = numbers[_NEXT::8].translate(_CLEAR_BIT_55)
    return bytes(numbers)


class Taken:
    """The frames, or places in swap, that were taken: a byte each, in a sparse
    anonymous mapping.
    """

    def __init__(self) -> None:
        self._taken = mmap.mmap(-1, PAGE_SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)

    def take(self, numbers: Sequence[int]) -> bytes:
        """Takes the numbers. Returns a byte for each: 1 if it was not taken before,
        else 0.
        """
        if (top := max(numbers, default=0)) >= len(self._taken):
            self._taken.resize((top // PAGE_SIZE + 1) * PAGE_SIZE)
        taken, new = self._taken, bytearray(len(numbers))
        for i, number in enumerate(numbers):
            if not taken[number]:
                taken[number] = new[i] = 1
        return bytes(new)

    def has(self, numbers: Sequence[int]) -> bytes:
        """Returns a byte for each: 1 if it was taken, else 0."""
        taken, size = self._taken, len(self._taken)
        return bytes(number < size and taken[number] for number in numbers)


def frame_of(page: mmap.mmap) -> int:
    """Returns the frame number of the first page of a mapping of this process; 0 where
    pagemap shows no numbers, to a user without CAP_SYS_ADMIN.
    """
    view = ctypes.c_char.from_buffer(page)
    address = ctypes.addressof(view)
    del view  # the mapping can be closed
    try:
        with open("/proc/self/pagemap", "rb", buffering=0) as f:
            f.seek(address // PAGE_SIZE * 8)
            (entry,) = struct.unpack("Q", f.read(8))
    except OSError:
        return 0
    return int(entry) & _FRAME


def zero_frame() -> int | None:
    """Returns the frame number of the zero page, or None where pagemap shows no
    numbers: to a user without CAP_SYS_ADMIN.
    """
    with mmap.mmap(-1, PAGE_SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as page:
        page[0]  # a page that is only read maps the zero page
        return frame_of(page) or None
