# SPDX-License-Identifier: GPL-2.0-or-later
"""Surveys live processes as reclaim sees them: which pages could be swapped out.

Swappable are private anonymous pages, the written copies of file pages among them, and
shmem. Clean file pages are dropped and not swapped, so they do not count.
:class:`NotRead` counts the other pages that are not read, by cause.

A page that several processes map (fork, KSM) counts once. Where pagemap shows the frame
numbers (CAP_SYS_ADMIN), a frame belongs to the first process that maps it. Elsewhere
these pages cannot be told apart. Each process then counts a part of them, as large as
its share (smaps' Pss), and the survey is an estimate.

/proc has limits. Shmem that no process of the set has mapped and touched is not found.
Pages under SHM_LOCK or MADV_FREE (which reclaim drops) are read like others.
"""

from __future__ import annotations

import os
import random
from array import array
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from typing import NamedTuple

from zswap_py.sources.denial import denied
from zswap_py.sources.pagemap import Found, Kind, Runs, Search, Taken, zero_frame
from zswap_py.sources.process import Process, ProcessDenied
from zswap_py.sources.procfs import ProcessGone, no_process
from zswap_py.sources.smaps import Mapping, shmem_devices
from zswap_py.sources.source import NotRead

# VmFlags of mappings without pages for reclaim: device memory (io, pf, mm), and the
# kernel's own, such as the vDSO (de).
_NEVER_SWAPPED = frozenset((b"io", b"pf", b"mm", b"de"))


# AddressSanitizer's shadow of an address lies at address / 8 + one of these (x86-64,
# arm64).
_SHADOWS = (0x7FFF8000, 1 << 36)


class Place(NamedTuple):
    """A mapping of a process."""

    number: int  #: among the process's mappings, by address
    path: bytes  #: as smaps shows it: a file, ``[heap]``, or nothing


class Area(NamedTuple):
    """Pages to read from one mapping, all of one kind."""

    place: Place
    kind: Kind
    runs: Runs


class Segment(NamedTuple):
    """The pages to read from one process, without those of earlier processes."""

    process: Process
    areas: list[Area]


_Key = tuple[bytes, int, str]  # a shared object: device, inode, IPC namespace


class _Shared(NamedTuple):
    """Pages of a shared object in one process. Address ``a`` maps the object's byte
    ``a + shift``.
    """

    key: _Key
    shift: int
    runs: Runs
    place: Place


class _Common(NamedTuple):
    """Pages of one mapping, anonymous or in swap, that other mappings share."""

    place: Place
    runs: Runs  #: may include zero pages
    pages: int
    share: float  #: the mapping's mean share in a page
    mergeable: bool
    locked: bool = False


@dataclass(eq=False)
class _Surveyed:
    """The pages of one process, by kind."""

    process: Process
    #: of pages that are mapped by this process alone
    anonymous: list[Area] = field(default_factory=list)
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
        # the ranges that touch [lo, hi]
        first, last = bisect_left(ends, lo), bisect_right(starts, hi)
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
            raise ProcessGone(no_process(process.pid)) from None
        except PermissionError as e:
            raise ProcessDenied(denied(process.pid, process.comm, e)) from None

    def _survey(self, process: Process) -> _Surveyed:
        mappings = process.mappings()
        devices = self._devices(process)
        ipc = os.readlink(f"{process.proc}/ns/ipc")
        likely = [(m.start >> 3) + shadow for m in mappings if m.rss for shadow in _SHADOWS]
        surveyed = _Surveyed(process)
        for number, m in enumerate(mappings):
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
            place = Place(number, m.path)
            shared = _Shared(self._key(m, ipc), m.offset - m.start, found[Kind.FILE], place)
            if m.hugetlb:
                self._hugetlb(surveyed, shared, found)
                continue
            if m.private:
                self._private(surveyed, m, place, found)
            if is_shmem:
                (surveyed.locked if m.locked else surveyed.shmem).append(shared)
            self._swapped(surveyed, m, found, shared, is_shmem)
        return surveyed

    def _devices(self, process: Process) -> frozenset[bytes]:
        namespace = os.readlink(f"{process.proc}/ns/mnt")
        if namespace not in self._shmem_devices:
            self._shmem_devices[namespace] = shmem_devices(process.mountinfo())
        return self._shmem_devices[namespace]

    @staticmethod
    def _hugetlb(surveyed: _Surveyed, shared: _Shared, found: Found) -> None:
        """Counts hugetlb pages. Copies that fork() left shared have the same place in
        the same file.
        """
        exclusive, common, _ = surveyed.process.page_table.split(found[Kind.ANON])
        surveyed.not_read.hugetlb += exclusive.pages
        device, inode, _ = shared.key
        copies = shared._replace(key=(device, inode, "private"), runs=common)
        surveyed.hugetlb += [shared, copies]

    def _private(self, surveyed: _Surveyed, m: Mapping, place: Place, found: Found) -> None:
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
                surveyed.common.append(
                    _Common(place, common, owned, m.share, m.mergeable, m.locked)
                )
        surveyed.not_read.zero_mapped += zero
        if m.locked:
            surveyed.not_read.locked += exclusive.pages
        elif exclusive.starts:
            surveyed.anonymous.append(Area(place, Kind.ANON, exclusive))

    @staticmethod
    def _swapped(
        surveyed: _Surveyed, m: Mapping, found: Found, shared: _Shared, is_shmem: bool
    ) -> None:
        if not m.swapped:
            return
        if is_shmem:
            whole = Runs(array("Q", [m.start]), array("Q", [m.end]))
            surveyed.swapped_shmem.append((shared._replace(runs=whole), m.swapped))
        elif m.swapped_pss < m.swapped:
            surveyed.swapped.append(
                _Common(shared.place, found[Kind.SWAPPED], m.swapped, m.swapped_share, m.mergeable)
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
                [
                    *surveyed.anonymous,
                    *(Area(shm.place, Kind.FILE, once.take(shm)) for shm in surveyed.shmem),
                ],
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
                    surveyed.anonymous += [
                        Area(c.place, Kind.ANON, runs)
                        for c, runs in zip(common, fresh, strict=True)
                    ]

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
                    part = c.runs.part(int(rest), phase)
                    surveyed.anonymous.append(Area(c.place, Kind.ANON, part))
                    rest -= int(rest)
            for c in surveyed.swapped:
                swapped += c.pages * (c.share if c.mergeable else max(c.share, least))
            surveyed.not_read.locked += int(locked)
            surveyed.not_read.swapped += int(swapped)
