# SPDX-License-Identifier: GPL-2.0-or-later
"""A live process's memory, as reclaim sees it: which pages could be swapped out, and
their contents.

``/proc/PID/smaps`` describes each mapping. ``/proc/PID/pagemap`` shows which of its
pages are present, by the PAGEMAP_SCAN ioctl of Linux 6.7 or by reading it.
``/proc/PID/mem`` holds the bytes. Swappable are private anonymous pages, the written
copies of file pages among them, and shmem. Clean file pages are dropped and not
swapped, so they do not count. :class:`NotRead` counts the other pages that are not
read, by cause.

A page that several processes map (fork, KSM) counts once. Where pagemap shows the frame
numbers (CAP_SYS_ADMIN), a frame belongs to the first process that maps it. Elsewhere
these pages cannot be told apart. Each process then counts a part of them, as large as
its share (smaps' Pss), and the survey is an estimate.

These files have limits. Shmem that no process of the set has mapped and touched is not
found. Pages under SHM_LOCK or MADV_FREE (which reclaim drops) are read like others.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import random
import re
import struct
import sys
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from enum import IntEnum
from itertools import accumulate, compress, groupby
from typing import NamedTuple, final

from zswap_py._lib.names import shown

PAGE_SIZE = mmap.PAGESIZE  #: bytes of a page of this machine's processes

#: Works also in a virtual environment, where plain ``sudo zswap-py`` does not find the
#: program.
SUDO = 'sudo env "PATH=$PATH" zswap-py report'


class SourceError(Exception):
    """A source cannot be read. The message names the source, the cause and the remedy;
    unprintable characters in it are escaped.
    """

    def __init__(self, message: str) -> None:
        super().__init__(shown(message))


class ProcessGone(SourceError):
    """There is no such process, or all its threads have exited."""


class KernelThread(SourceError):
    """The process is a kernel thread, which has no memory of its own."""


class ProcessDenied(SourceError):
    """The process exists, but its memory may not be read."""


@dataclass
class NotRead:
    """Pages of swapped or swappable memory that were not read, by cause."""

    swapped: int = 0  #: in swap (or zswap) already
    locked: int = 0  #: mlock()ed: reclaim keeps them
    hugetlb: int = 0  #: hugetlbfs pages are never swapped
    droppable: int = 0  #: reclaim drops them (MAP_DROPPABLE, as the C library's random state)
    #: in a core: pages of files and of the kernel, which reclaim drops or keeps
    file_backed: int = 0
    #: only ever read: maps the kernel's zero page; in cores holes, and pages of zeros
    zero_mapped: int = 0
    vanished: int = 0  #: freed, swapped out or moved between the survey and the reading
    unreadable: int = 0  #: present, but reading failed

    def as_dict(self) -> dict[str, int]:
        """The counts by the names above, in pages."""
        return asdict(self)

    @property
    def total(self) -> int:
        """The sum of the counts, in pages."""
        return sum(self.as_dict().values())

    def add(self, other: NotRead) -> None:
        """Adds another's counts to these."""
        for cause, pages in other.as_dict().items():
            setattr(self, cause, getattr(self, cause) + pages)


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


# --- what a mapping is: smaps ---

# VmFlags of mappings without pages for reclaim: device memory (io, pf, mm), and the
# kernel's own, such as the vDSO (de).
_NEVER_SWAPPED = frozenset((b"io", b"pf", b"mm", b"de"))


class Mapping(NamedTuple):
    """One mapping, as /proc/PID/smaps shows it."""

    start: int
    end: int
    perms: bytes  #: as in maps: ``rw-p``
    offset: int  #: of its start in the file, in bytes
    device: bytes  #: ``major:minor`` of the file, as in maps
    inode: int  #: 0: no file
    path: bytes
    rss: int  #: pages mapped, without the zero page
    pss: float  #: the same, each page divided by the number of its mappings
    shared: int  #: of the pages mapped: those that other mappings share
    anonymous: int  #: of the pages mapped: anonymous
    swapped: int  #: pages in swap
    swapped_pss: float  #: the same, each page divided by the number of its mappings
    vm_flags: frozenset[bytes]

    @property
    def locked(self) -> bool:
        return b"lo" in self.vm_flags

    @property
    def hugetlb(self) -> bool:
        return b"ht" in self.vm_flags

    @property
    def droppable(self) -> bool:
        return b"dp" in self.vm_flags

    @property
    def mergeable(self) -> bool:
        """Whether KSM may have merged pages of the mapping with each other."""
        return b"mg" in self.vm_flags

    @property
    def private(self) -> bool:
        return self.perms.endswith(b"p")

    @property
    def share(self) -> float:
        """The mean share that the mapping has in its shared pages."""
        # smaps cuts Pss to whole kilobytes
        return max(0.0, self.pss - self.rss + self.shared) / self.shared if self.shared else 1.0

    @property
    def swapped_share(self) -> float:
        """The mean share that the mapping has in its swapped pages."""
        return self.swapped_pss / self.swapped if self.swapped else 1.0


_SMAPS_FIELDS = frozenset(
    (b"Rss", b"Pss", b"Shared_Clean", b"Shared_Dirty", b"Anonymous", b"Swap", b"SwapPss")
)


def parse_smaps(smaps: bytes) -> Iterator[Mapping]:
    """Yields the mappings in the text of /proc/PID/smaps, by address."""
    header: list[bytes] = []
    kb: dict[bytes, int] = {}
    for line in smaps.splitlines():
        key, _, value = line.partition(b":")
        if key in _SMAPS_FIELDS:
            kb[key] = int(value.split()[0])
        elif key == b"VmFlags":  # a mapping's last line
            start, _, end = header[0].partition(b"-")
            pages = {key: n * 1024 / PAGE_SIZE for key, n in kb.items()}
            rss, swapped = int(pages[b"Rss"]), int(pages.get(b"Swap", 0))
            yield Mapping(
                start=int(start, 16),
                end=int(end, 16),
                perms=header[1],
                offset=int(header[2], 16),
                device=header[3],
                inode=int(header[4]),
                path=header[5].strip() if len(header) > 5 else b"",
                rss=rss,
                pss=pages.get(b"Pss", rss),
                shared=int(pages.get(b"Shared_Clean", 0) + pages.get(b"Shared_Dirty", 0)),
                anonymous=int(pages.get(b"Anonymous", 0)),
                swapped=swapped,
                swapped_pss=pages.get(b"SwapPss", swapped),
                vm_flags=frozenset(value.split()),
            )
            kb = {}
        elif line[:1] in b"0123456789abcdef":  # field names begin with a capital
            header = line.split(None, 5)


def _shmem_devices(mountinfo: str) -> frozenset[bytes]:
    """Returns the devices, as in maps, that hold swappable shmem: the tmpfs mounts, and
    the kernel's own mount of memfd, SysV and MAP_SHARED|MAP_ANONYMOUS memory.
    """
    devices = {_internal_shmem()}
    for line in mountinfo.splitlines():
        mount, _, filesystem = line.partition(" - ")
        kind, _, options = filesystem.partition(" ")
        if kind in ("tmpfs", "devtmpfs") and "noswap" not in options.rpartition(" ")[2].split(","):
            major, _, minor = mount.split()[2].partition(":")
            devices.add(b"%02x:%02x" % (int(major), int(minor)))
    return frozenset(devices)


def _internal_shmem() -> bytes:
    fd = os.memfd_create("zswap_py")
    try:
        device = os.fstat(fd).st_dev
    finally:
        os.close(fd)
    return b"%02x:%02x" % (os.major(device), os.minor(device))


# --- which pages are there: pagemap ---


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
_WINDOW = 1 << 13  # entries per read: 32 MiB of address space with pages of 4 KiB
_SEARCHED_WHOLE = 1 << 30
_EMPTY = (bytes(8 * _WINDOW), (1 << 55).to_bytes(8, sys.byteorder) * _WINDOW)
_CLEAR_BIT_55 = bytes(i & 0x7F for i in range(256))
_OTHER, _EXCLUSIVE, _SHARED, _FILES, _SWAP = range(5)
# The search for a repeated character is faster with the first one apart.
_ANY = re.compile(b"[\1-\4][\1-\4]*")
_BY_KIND = re.compile(b"([\1\2]+)|(\3+)|(\4+)")  # the groups are the first three kinds
_ONCE_OR_OFTEN, _CHOSEN = re.compile(b"\1+|\2+"), re.compile(b"\1\1*")

# AddressSanitizer's shadow of an address lies at address / 8 + one of these (x86-64,
# arm64).
_SHADOWS = (0x7FFF8000, 1 << 36)


def _entry_class(top: int) -> int:
    if top & 0x80:
        return _FILES if top & 0x20 else _EXCLUSIVE if top & 0x01 else _SHARED
    return _SWAP if top & 0x40 else _OTHER


_CLASSES = bytes(_entry_class(top) for top in range(256))


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


def zero_frame() -> int | None:
    """Returns the frame number of the zero page, or None where pagemap shows no
    numbers: to a user without CAP_SYS_ADMIN.
    """
    with mmap.mmap(-1, PAGE_SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as page:
        page[0]  # a page that is only read maps the zero page
        view = ctypes.c_char.from_buffer(page)
        address = ctypes.addressof(view)
        del view  # the mapping can be closed
        try:
            with open("/proc/self/pagemap", "rb", buffering=0) as f:
                f.seek(address // PAGE_SIZE * 8)
                (number,) = struct.unpack("Q", f.read(8))
        except OSError:
            return None
    return number & ((1 << 55) - 1) or None


# --- a process ---

_PF_KTHREAD = 0x00200000
_ZERO_PAGE = bytes(PAGE_SIZE)


@final
@dataclass
class Process:
    """A process with readable memory. Call ``open()`` before reading and ``close()``
    afterwards. While it is open, an exec() or a reuse of the pid cannot put another
    memory in its place.
    """

    pid: int
    comm: str  #: unprintable characters escaped
    start_time: int  #: clock ticks after boot: tells it from a later process with the same pid
    proc: str = ""  #: while open: the directory in /proc of a live thread, the main one if it lives
    _mem: int = field(default=-1, repr=False)
    _pagemap: int = field(default=-1, repr=False)

    @classmethod
    def find(cls, pid: int) -> Process:
        """Opens the process of the thread ``pid``. Raises ProcessGone, KernelThread or
        ProcessDenied, with the cause and the remedy.
        """
        pid = int(_status(pid).get("Tgid", pid))
        comm, fields = _stat(pid)
        name = f"pid {pid} ({comm})"
        if int(fields[6]) & _PF_KTHREAD:
            raise KernelThread(
                f"{name} is a kernel thread, without memory of its own. Give a user-space process"
            )
        if _thread(pid, fields[0]) is None:
            raise ProcessGone(f"{name} is a zombie: it has exited, and its memory is gone")
        process = cls(pid, comm, int(fields[19]))
        try:
            process.open()
        except PermissionError as e:
            raise ProcessDenied(_denied(pid, comm, e)) from None
        except FileNotFoundError as e:
            if e.filename and e.filename.endswith("pagemap") and os.path.exists(f"/proc/{pid}"):
                raise SourceError(
                    f"{e.filename} is missing: this kernel was built without "
                    f"CONFIG_PROC_PAGE_MONITOR. Give a core file: {_core_command(pid)}"
                ) from None
            raise ProcessGone(_no_process(pid)) from None
        except ProcessLookupError:
            raise ProcessGone(_no_process(pid)) from None
        return process

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self) -> None:
        """Opens it, if it is not open. Raises the errors of os.open(), and
        ProcessLookupError if the process has exited or another process has its pid.
        """
        if self._mem >= 0:
            return
        try:
            self.proc = _thread(self.pid, _stat(self.pid)[1][0]) or f"/proc/{self.pid}"
            self._mem = os.open(f"{self.proc}/mem", os.O_RDONLY | os.O_CLOEXEC)
            self._pagemap = os.open(f"{self.proc}/pagemap", os.O_RDONLY | os.O_CLOEXEC)
            if int(_stat(self.pid)[1][19]) != self.start_time:
                raise ProcessLookupError(errno.ESRCH, "another process has its pid")
            self.page_table = PageTable(self._pagemap)
        except ProcessGone:
            self.close()
            raise ProcessLookupError(errno.ESRCH, "it has exited") from None
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        for fd in (self._mem, self._pagemap):
            if fd >= 0:
                os.close(fd)
        self._mem = self._pagemap = -1

    def exists(self) -> bool:
        """Returns whether one of its threads is alive."""
        try:
            fields = _stat(self.pid)[1]
        except ProcessGone:
            return False
        return int(fields[19]) == self.start_time and _thread(self.pid, fields[0]) is not None

    def mappings(self) -> list[Mapping]:
        """Returns the mappings. Raises OSError if the process has exited."""
        with open(f"{self.proc}/smaps", "rb", buffering=0) as f:
            return list(parse_smaps(f.read()))

    def mountinfo(self) -> str:
        with open(f"{self.proc}/mountinfo", encoding="utf-8", errors="surrogateescape") as f:
            return f.read()

    def read(self, start: int, pages: int, kind: Kind, out: memoryview, not_read: NotRead) -> int:
        """Reads those of the ``pages`` pages at ``start`` that are still of the kind
        into ``out``, which holds ``pages`` pages or more. Returns the number of pages
        read, and counts the others in ``not_read``.
        """
        got = unreadable = 0
        runs = self.page_table.find(start, start + pages * PAGE_SIZE)[kind]
        for at, end in zip(runs.starts, runs.ends, strict=True):
            while at < end:
                n = self._read(at, out[got * PAGE_SIZE : got * PAGE_SIZE + end - at])
                if not n:  # this page cannot be read
                    unreadable += self.page_table.find(at, at + PAGE_SIZE)[kind].pages
                    n = 1
                else:
                    got += n
                at += n * PAGE_SIZE
        not_read.unreadable += unreadable
        not_read.vanished += pages - got - unreadable
        return got

    def without_zero_pages(self, runs: Runs, zeros: int) -> Runs:
        """Returns the anonymous pages without ``zeros`` zero-filled ones. Which of
        these map the zero page makes no difference.
        """
        kept, buffer, step = Runs.none(), bytearray(256 * PAGE_SIZE), 256 * PAGE_SIZE
        for start, end in zip(*runs, strict=True):
            at = start
            while at < end:
                stop = min(end, at + step)
                filled = 0
                if (
                    zeros
                    and self.page_table.find(at, stop)[Kind.ANON].pages * PAGE_SIZE == stop - at
                ):
                    filled = self._read(at, memoryview(buffer)[: stop - at])
                pages = range(at, at + filled * PAGE_SIZE, PAGE_SIZE)
                dropped = [
                    page
                    for page in pages
                    if buffer[page - at : page - at + PAGE_SIZE] == _ZERO_PAGE
                ][:zeros]
                zeros -= len(dropped)
                for page in (*dropped, stop):
                    if at < page:
                        kept.append(at, page)
                    at = page + PAGE_SIZE
                at = stop
        return kept

    def _read(self, start: int, out: memoryview) -> int:
        """Reads from ``start`` to the first unreadable page. Returns the pages read."""
        try:
            return os.preadv(self._mem, [out], start) // PAGE_SIZE
        except OSError as e:
            if e.errno not in (errno.EIO, errno.EFAULT):
                raise
            return 0


def _stat(pid: int) -> tuple[str, list[str]]:
    """Returns the name, and the fields of /proc/PID/stat from the state on."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as f:
            stat = os.fsdecode(f.read())
    except (FileNotFoundError, ProcessLookupError):
        raise ProcessGone(_no_process(pid)) from None
    comm, _, fields = stat.partition("(")[2].rpartition(")")
    return shown(comm), fields.split()


def _thread(pid: int, state: str) -> str | None:
    """Returns the directory in /proc of a live thread: of the main thread, with the
    given ``state``, or of another if that has exited. None if all have exited.
    """
    if state not in "ZX":
        return f"/proc/{pid}"
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return None
    return next(
        (
            f"/proc/{pid}/task/{thread}"
            for thread in threads
            if _status(f"{pid}/task/{thread}").get("State", "Z")[0] not in "ZX"
        ),
        None,
    )


def _no_process(pid: int) -> str:
    return (
        f"there is no process {pid}: it has exited, or belongs to another pid namespace. List "
        "them: ps -e"
    )


def all_pids() -> list[int]:
    """Returns the pids that /proc shows, without this process."""
    return sorted(
        int(name) for name in os.listdir("/proc") if name.isdecimal() and int(name) != os.getpid()
    )


# The system call number of kcmp(); 272 on other architectures.
_KCMP = {"x86_64": 312, "ppc64le": 354, "s390x": 343, "i686": 349, "armv7l": 378}
_KCMP_VM = 1


class Memories:
    """Recognizes processes that share one memory, after vfork() or clone(CLONE_VM)."""

    def __init__(self) -> None:
        self._threads: list[int] = []  # one thread of each memory, in the kernel's own order
        self._syscall = ctypes.CDLL(None).syscall
        self._number = _KCMP.get(os.uname().machine, 272)

    def add(self, process: Process) -> bool:
        """Returns whether the open process shares no memory with a process added
        before. Without kcmp() the kernel cannot tell, and each process counts as
        separate.
        """
        thread = int(os.path.basename(process.proc))
        low, high = 0, len(self._threads)
        while low < high:
            middle = (low + high) // 2
            order = self._syscall(self._number, thread, self._threads[middle], _KCMP_VM, 0, 0)
            if order == 0:
                return False
            if order == 1:
                high = middle
            elif order == 2:
                low = middle + 1
            else:
                return True
        self._threads.insert(low, thread)
        return True


# --- the survey ---


class Segment(NamedTuple):
    """The pages to read from one process, without those of earlier processes."""

    process: Process
    anonymous: list[Runs]
    shmem: list[Runs]


_Key = tuple[bytes, int, str]  # a shared object: device, inode, IPC namespace


class _Shared(NamedTuple):
    """Pages of a shared object in one process. Address ``a`` maps the object's byte
    ``a + shift``.
    """

    key: _Key
    shift: int
    runs: Runs


class _Common(NamedTuple):
    """Pages of one mapping, anonymous or in swap, that other mappings share."""

    runs: Runs  #: may include zero pages
    pages: int
    share: float  #: the mapping's mean share in a page
    mergeable: bool
    locked: bool = False


@dataclass(eq=False)
class _Surveyed:
    """The pages of one process, by kind."""

    process: Process
    anonymous: list[Runs] = field(default_factory=list)  #: mapped by this process alone
    common: list[_Common] = field(default_factory=list)
    swapped: list[_Common] = field(default_factory=list)
    shmem: list[_Shared] = field(default_factory=list)
    locked: list[_Shared] = field(default_factory=list)
    hugetlb: list[_Shared] = field(default_factory=list)
    swapped_shmem: list[tuple[_Shared, int]] = field(default_factory=list)
    not_read: NotRead = field(default_factory=NotRead)


class _Once:
    """Takes each range of a shared object once."""

    def __init__(self) -> None:
        self._taken: dict[_Key, tuple[list[int], list[int]]] = {}

    def take(self, shared: _Shared) -> Runs:
        """Takes the runs. Returns the addresses that were not taken before."""
        fresh = Runs(array("Q"), array("Q"))
        for start, end in zip(shared.runs.starts, shared.runs.ends, strict=True):
            for lo, hi in self._take(shared.key, start + shared.shift, end + shared.shift):
                fresh.starts.append(lo - shared.shift)
                fresh.ends.append(hi - shared.shift)
        return fresh

    def _take(self, key: _Key, lo: int, hi: int) -> list[tuple[int, int]]:
        starts, ends = self._taken.setdefault(key, ([], []))
        first, last = (
            bisect_left(ends, lo),
            bisect_right(starts, hi),
        )  # the ranges that touch [lo, hi]
        fresh, at = [], lo
        for i in range(first, last):
            if starts[i] > at:
                fresh.append((at, starts[i]))
            at = max(at, ends[i])
        if at < hi:
            fresh.append((at, hi))
        if first < last:
            lo, hi = min(lo, starts[first]), max(hi, ends[last - 1])
        starts[first:last], ends[first:last] = [lo], [hi]
        return fresh


class Survey:
    """Collects the swappable pages of processes, and counts the others."""

    def __init__(self, not_read: NotRead) -> None:
        self.not_read = not_read
        self.gone: list[Process] = []  #: processes that exited between add() and segments()
        self.estimated = False  #: whether shared pages could not be told apart
        self._surveyed: list[_Surveyed] = []
        self._zero_frame = zero_frame()
        self._shmem_devices: dict[str, frozenset[bytes]] = {}

    def add(self, process: Process) -> None:
        """Surveys an open process. Raises ProcessGone if it exits meanwhile, and
        ProcessDenied if it may no longer be read. The survey then has none of its
        pages.
        """
        try:
            self._surveyed.append(self._survey(process))
        except (FileNotFoundError, ProcessLookupError):
            raise ProcessGone(_no_process(process.pid)) from None
        except PermissionError as e:
            raise ProcessDenied(_denied(process.pid, process.comm, e)) from None

    def _survey(self, process: Process) -> _Surveyed:
        mappings = process.mappings()
        devices = self._devices(process)
        ipc = os.readlink(f"{process.proc}/ns/ipc")
        likely = [(m.start >> 3) + shadow for m in mappings if m.rss for shadow in _SHADOWS]
        surveyed = _Surveyed(process)
        for m in mappings:
            if m.droppable:
                surveyed.not_read.droppable += m.anonymous
                continue
            if m.vm_flags & _NEVER_SWAPPED and not m.hugetlb:
                continue
            if m.path == b"[vsyscall]":  # in the kernel's half
                continue
            if m.perms.startswith(b"---") and not m.rss + m.swapped:
                continue  # reserved address space, which may be terabytes
            is_shmem = m.device in devices
            if not (m.hugetlb or is_shmem or m.anonymous or m.swapped) and m.inode:
                continue  # a file, never written to
            search = Search(m.rss + m.swapped, m.inode != 0, likely)
            found = process.page_table.find(m.start, m.end, search)
            shared = _Shared(self._key(m, ipc), m.offset - m.start, found[Kind.FILE])
            if m.hugetlb:
                self._hugetlb(surveyed, shared, found)
                continue
            if m.private:
                self._private(surveyed, m, found)
            if is_shmem:
                (surveyed.locked if m.locked else surveyed.shmem).append(shared)
            self._swapped(surveyed, m, found, shared if is_shmem else None)
        return surveyed

    def _devices(self, process: Process) -> frozenset[bytes]:
        namespace = os.readlink(f"{process.proc}/ns/mnt")
        if namespace not in self._shmem_devices:
            self._shmem_devices[namespace] = _shmem_devices(process.mountinfo())
        return self._shmem_devices[namespace]

    @staticmethod
    def _hugetlb(surveyed: _Surveyed, shared: _Shared, found: Found) -> None:
        """Counts hugetlb pages. Copies that fork() left shared have the same place in
        the same file.
        """
        exclusive, common, _ = surveyed.process.page_table.split(found[Kind.ANON])
        surveyed.not_read.hugetlb += exclusive.pages
        device, inode, _ = shared.key
        surveyed.hugetlb += [shared, _Shared((device, inode, "private"), shared.shift, common)]

    def _private(self, surveyed: _Surveyed, m: Mapping, found: Found) -> None:
        """Sorts a private mapping's anonymous pages. Without a file, its other pages
        are zero pages.

        Neither pagemap's entries nor, before Linux 6.17, the ioctl (for the huge zero
        page) tell the zero page from an anonymous page that fork() left shared. The
        frame number does. Without it the pages beyond smaps' count are zero pages. In
        pagemap's entries the huge zero page looks like a page of a file.
        """
        exclusive = found[Kind.ANON]
        zero = found[Kind.ZERO].pages + (0 if m.inode else found[Kind.FILE].pages)
        if m.shared or exclusive.pages > m.anonymous:
            exclusive, common, zeros = surveyed.process.page_table.split(found[Kind.ANON])
            present, owned = exclusive.pages + common.pages, common.pages
            if self._zero_frame is None and present > m.anonymous:
                zeros = min(common.pages, present - m.anonymous)
                owned = common.pages - zeros
                if owned:
                    common = surveyed.process.without_zero_pages(common, zeros)
            zero += zeros + (0 if m.inode else max(0, found[Kind.ANON].pages - present))
            if owned:
                surveyed.common.append(_Common(common, owned, m.share, m.mergeable, m.locked))
        surveyed.not_read.zero_mapped += zero
        if m.locked:
            surveyed.not_read.locked += exclusive.pages
        elif exclusive.starts:
            surveyed.anonymous.append(exclusive)

    @staticmethod
    def _swapped(surveyed: _Surveyed, m: Mapping, found: Found, shmem: _Shared | None) -> None:
        if not m.swapped:
            return
        if shmem:
            whole = Runs(array("Q", [m.start]), array("Q", [m.end]))
            surveyed.swapped_shmem.append((shmem._replace(runs=whole), m.swapped))
        elif m.swapped_pss < m.swapped:
            surveyed.swapped.append(
                _Common(found[Kind.SWAPPED], m.swapped, m.swapped_share, m.mergeable)
            )
        else:
            surveyed.not_read.swapped += m.swapped

    @staticmethod
    def _key(m: Mapping, ipc: str) -> _Key:
        """Returns the key of a mapped object. A SysV segment's inode is its id, which a
        memfd or a segment of another IPC namespace may also have.
        """
        return m.device, m.inode, ipc if m.path.startswith(b"/SYSV") else ""

    def segments(self) -> list[Segment]:
        """Returns each page once. A page that one process has locked counts as locked.
        Leaves out processes that have exited.
        """
        if self._zero_frame is None:
            self._weigh()
        else:
            self._tell_apart(self._zero_frame)
        once = _Once()
        for surveyed in self._surveyed:
            self.not_read.add(surveyed.not_read)
            self.not_read.hugetlb += sum(once.take(shared).pages for shared in surveyed.hugetlb)
            self.not_read.locked += sum(once.take(shared).pages for shared in surveyed.locked)
        self.not_read.swapped += self._swapped_shmem()
        return [
            Segment(
                surveyed.process,
                surveyed.anonymous,
                [once.take(shared) for shared in surveyed.shmem],
            )
            for surveyed in self._surveyed
        ]

    def _swapped_shmem(self) -> int:
        """Returns the number of shmem pages in swap. smaps counts them per mapping. If
        a mapping overlaps with earlier ones, the rest of it gets a proportional part.
        """
        once, pages = _Once(), 0
        for surveyed in self._surveyed:
            for shared, swapped in surveyed.swapped_shmem:
                pages += swapped * once.take(shared).pages // shared.runs.pages
        return pages

    def _tell_apart(self, zero: int) -> None:
        """Assigns each frame, by its number, to the first process that maps it. Frames
        that a process has locked come first.
        """
        frames, places = Taken(), Taken()
        frames.take([zero])
        for locked in (True, False):
            for surveyed in self._surveyed.copy():
                common = [c for c in surveyed.common if c.locked is locked]
                swapped = [] if locked else surveyed.swapped
                if not common and not swapped:
                    continue
                try:
                    with surveyed.process as process:
                        process.open()
                        table = process.page_table
                        fresh = [table.take(c.runs, frames, Kind.ANON) for c in common]
                        surveyed.not_read.swapped += sum(
                            table.take(c.runs, places, Kind.SWAPPED).pages for c in swapped
                        )
                except (FileNotFoundError, ProcessLookupError, PermissionError):
                    self._surveyed.remove(surveyed)
                    self.gone.append(surveyed.process)
                    continue
                if locked:
                    surveyed.not_read.locked += sum(runs.pages for runs in fresh)
                else:
                    surveyed.anonymous += fresh

    def _weigh(self) -> None:
        """Assigns each process a part of a mapping's pages, as large as its share in
        smaps.

        At most all processes of the survey share a page. So of a single process all
        pages count, unless KSM has merged some of them.
        """
        least = 1 / max(1, len(self._surveyed))
        for surveyed in self._surveyed:
            phase = random.Random(surveyed.process.pid).random()
            rest = swapped = locked = 0.5  # of a page: rounds the sum over all mappings
            for c in surveyed.common:
                pages = c.pages * (c.share if c.mergeable else max(c.share, least))
                self.estimated |= pages < c.runs.pages
                if c.locked:
                    locked += pages
                else:
                    rest += pages
                    surveyed.anonymous.append(c.runs.part(int(rest), phase))
                    rest -= int(rest)
            for c in surveyed.swapped:
                swapped += c.pages * (c.share if c.mergeable else max(c.share, least))
            surveyed.not_read.locked += int(locked)
            surveyed.not_read.swapped += int(swapped)


# --- why a process may not be read: looked into only after the failure ---

_CAP_SYS_PTRACE = 19


def _denied(pid: int, comm: str, e: OSError) -> str:
    return (
        f"cannot read the memory of pid {pid} ({comm}): "
        f"{errno.errorcode.get(e.errno or 0, e.errno)}, {denial(pid)}"
    )


def denial(pid: int | None) -> str:
    """Returns why ``pid`` (None: any process) may not be read, and the remedy."""
    again = f"{SUDO} --pid {pid}" if pid else f"{SUDO} --all"
    scope = _yama_scope()
    if scope == 3:
        return (
            "kernel.yama.ptrace_scope is 3, which forbids it, even to root, until the next boot. "
            "Give a core file that the kernel wrote: zswap-py report FILE"
        )
    if os.geteuid() == 0:
        if not int(_status("self").get("CapEff", "0"), 16) >> _CAP_SYS_PTRACE & 1:
            return (
                "root lacks CAP_SYS_PTRACE here, as in a container. Start the container with "
                "it: docker run --cap-add=SYS_PTRACE ..."
            )
        return (
            f"a security module or a user namespace forbids it even to root{_tracer(pid)}. "
            f"Give a core file: {_core_command(pid)}"
        )
    if pid is not None:
        status = _status(pid)
        uids, gids = set(status.get("Uid", "").split()), set(status.get("Gid", "").split())
        if uids and uids != {str(os.geteuid())}:
            return (
                f"it belongs to another user (uid {', '.join(sorted(uids))}). Run as root: {again}"
            )
        if gids and gids != {str(os.getegid())}:
            return (
                f"it runs under another group (gid {', '.join(sorted(gids))}). Run as root: {again}"
            )
        if _owner(pid) not in (os.geteuid(), None):
            return (
                f"it is not dumpable (a setuid program, or PR_SET_DUMPABLE). Run as root: {again}"
            )
        if int(status.get("CapPrm", "0"), 16) & ~int(_status("self").get("CapPrm", "0"), 16):
            return f"it has capabilities that you lack. Run as root: {again}"
    elif not any(
        _status(other).get("Uid", "").split()[:1] == [str(os.geteuid())] for other in all_pids()
    ):
        return f"they belong to other users. Run as root: {again}"
    if scope:
        readers = "root" if scope == 2 else "a process's ancestors and root"
        them = "them" if pid is None else "it"
        return (
            f"kernel.yama.ptrace_scope is {scope}: only {readers} may read {them}. Run as root: "
            f"{again}"
        )
    return f"a security module or a container forbids it{_tracer(pid)}. Run as root: {again}"


def _yama_scope() -> int:
    try:
        with open("/proc/sys/kernel/yama/ptrace_scope", encoding="ascii") as f:
            return int(f.read())
    except OSError:
        return 0


def _status(pid: int | str) -> dict[str, str]:
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as f:
            return {key: value.strip() for key, _, value in (line.partition(":") for line in f)}
    except OSError:
        return {}


def _owner(pid: int) -> int | None:
    """Returns the owner of /proc/PID/mem: root, if the process is not dumpable."""
    try:
        return os.stat(f"/proc/{pid}/mem").st_uid
    except OSError:
        return None


def _tracer(pid: int | None) -> str:
    tracer = _status(pid).get("TracerPid", "0") if pid else "0"
    return f" (it is traced by pid {tracer})" if tracer != "0" else ""


def _core_command(pid: int | None) -> str:
    return f"gcore -o core {pid} && zswap-py report core.{pid}" if pid else "zswap-py report FILE"
