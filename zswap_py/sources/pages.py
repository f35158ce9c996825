# SPDX-License-Identifier: GPL-2.0-or-later
"""A set of sources of pages: flat files, ELF cores, streams, live processes. Chooses
the pages to read, and reads them.

::

    with open_pages(pids=[1234]) as pages:
        for piece in pages.pieces():            # 16 MiB at a time
            ...
        print(pages.pages_read, "of", pages.pages_total, pages.not_read.as_dict())

All sources of a set are read in one pass, whole or as one sample over all of them. Of a
process the set has the memory that reclaim could swap: see
:mod:`zswap_py.sources.survey`. For the formats of files see
:mod:`zswap_py.sources.files`.
"""

from __future__ import annotations

import mmap
import os
import random
from array import array
from bisect import bisect_right
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from typing import final

from zswap_py.sources.denial import denial
from zswap_py.sources.files import FlatStream, open_source
from zswap_py.sources.pagemap import PAGE_SIZE, Kind
from zswap_py.sources.process import KernelThread, Memories, Process, ProcessDenied
from zswap_py.sources.procfs import ProcessGone, all_pids
from zswap_py.sources.source import NotRead, Reader, Source, SourceError, Tally
from zswap_py.sources.survey import Survey

__all__ = ["DEFAULT_SAMPLE", "PIECE", "NotRead", "Pages", "Source", "SourceError", "open_pages"]

DEFAULT_SAMPLE = 64 << 20  #: bytes of the sample of a set with processes
PIECE = 16 << 20  #: bytes of a piece


@dataclass
class _Extents:
    """Runs of pages to read, in order; compact, as there may be millions."""

    readers: list[Reader] = field(default_factory=list)
    reader: array[int] = field(default_factory=lambda: array("L"))  #: index into readers
    #: address or file offset, in bytes
    where: array[int] = field(default_factory=lambda: array("Q"))
    pages: array[int] = field(default_factory=lambda: array("Q"))

    def add(self, reader: int, where: int, pages: int) -> None:
        self.reader.append(reader)
        self.where.append(where)
        self.pages.append(pages)

    @property
    def total(self) -> int:
        return sum(self.pages)

    def sample(self, pages: int, run: int, page_size: int, seed: int) -> _Extents:
        """Returns about ``pages`` pages, in runs of ``run``. Cuts the extents into runs
        and chooses each run, and so each page, with the same probability.
        """
        total = self.total
        if pages >= total:
            return self
        # the number of the first run behind each extent
        last = array("Q", accumulate(-(-count // run) for count in self.pages))
        chosen = max(1, pages * last[-1] // total)
        picked = _Extents(self.readers)
        for number in sorted(random.Random(seed).sample(range(last[-1]), chosen)):
            i = bisect_right(last, number)
            skip = (number - (last[i - 1] if i else 0)) * run
            picked.add(
                self.reader[i], self.where[i] + skip * page_size, min(run, self.pages[i] - skip)
            )
        return picked


@final
class Pages:
    """An opened set of sources, to be read once. A context manager; ``open_pages``
    returns it.
    """

    def __init__(self, page_size: int) -> None:
        self.page_size = page_size
        self.sources: list[Source] = []
        #: number of processes skipped, with ``all_processes``, as they may not be read
        self.processes_denied = 0
        self.processes_gone: dict[int, str] = {}  #: the message for each exited process, by pid
        self.estimated = False  #: whether shared pages could not be told apart
        self._extents = _Extents()
        self._plan = self._extents
        self._streams: list[FlatStream] = []
        self._tally = Tally()
        self._got = 0  # pages in the pieces so far
        self._started = False

    @property
    def not_read(self) -> NotRead:
        """Pages of swapped or swappable memory that are not in the pieces."""
        return self._tally.not_read

    @property
    def pages_read(self) -> int:
        """Number of pages so far: those in the pieces, and ``hole_pages``."""
        return self._got + self._tally.hole_pages

    @property
    def hole_pages(self) -> int:
        """Number of pages of zeros that ``pieces(skip_holes=True)`` has left out so
        far.
        """
        return self._tally.hole_pages

    @property
    def pages_total(self) -> int | None:
        """Number of swappable pages over all sources, read or not; None until the end
        of each flat stream. Does not include ``not_read``, except for pages that
        vanished or were unreadable while the pieces were read.
        """
        pages = [source.pages for source in self.sources]
        return None if None in pages else sum(n for n in pages if n)

    @property
    def pages_planned(self) -> int | None:
        """Number of pages that ``pieces`` reads: the sample, or all; None with flat
        pages in a stream. Shrinks as pages of zeros are found in a core.
        """
        return None if self._streams else self._plan.total - self._tally.dropped

    @property
    def bytes_expected(self) -> int | None:
        """The same in bytes, with an estimate for flat pages in a compressed file; None
        without an estimate.
        """
        streams = [stream.bytes_expected for stream in self._streams]
        planned = (self._plan.total - self._tally.dropped) * self.page_size
        return None if None in streams else planned + sum(n for n in streams if n)

    @property
    def sampled(self) -> bool:
        """Whether the pieces are a sample. Figures must then be scaled by pages_total /
        pages_read.
        """
        return self._plan is not self._extents

    @property
    def tail_bytes(self) -> int:
        """Bytes left out at the ends of sources, where they fill no page."""
        return sum(source.tail_bytes for source in self.sources)

    @property
    def heated(self) -> int:
        """Number of pages of processes so far that the kernel now takes for used, as
        they were not read by their frames (:mod:`zswap_py.sources.kcore`).
        """
        readers = (r for r in self._extents.readers if isinstance(r, _ProcessReader))
        return sum({id(r.process): r.process.heated for r in readers}.values())

    def pieces(self, nbytes: int = PIECE, *, skip_holes: bool = False) -> Iterator[memoryview]:
        """Yields the pages in pieces of ``nbytes``, a multiple of page_size; the last
        is shorter. All pieces are the same buffer: use each before the next. May be
        called once. With ``skip_holes``, large holes of flat files are counted in
        ``hole_pages`` and not read.
        """
        if nbytes <= 0 or nbytes % self.page_size:
            raise ValueError(
                f"nbytes is {nbytes}: give a multiple of the page size, {self.page_size}"
            )
        if self._started:
            raise ValueError("the pages were read already: open the sources again")
        self._started = True
        self._tally.skip_holes = skip_holes
        return self._pieces(memoryview(mmap.mmap(-1, nbytes)))

    def _pieces(self, buffer: memoryview) -> Iterator[memoryview]:
        room, filled = len(buffer), 0
        for got in self._reads(buffer):
            filled += got
            self._got += got // self.page_size
            if filled == room:
                yield buffer
                filled = 0
        if filled:
            yield buffer[:filled]

    def _reads(self, buffer: memoryview) -> Iterator[int]:
        """Fills the buffer as a ring. Yields the bytes of each read, which ends at the
        buffer's end at the latest.
        """
        at, room = 0, len(buffer)
        plan, last = self._plan, None
        try:
            for which, where, pages in zip(plan.reader, plan.where, plan.pages, strict=True):
                reader = plan.readers[which]
                if last and last is not reader:
                    last.close()
                last = reader
                while pages:
                    count = min(pages, (room - at) // self.page_size)
                    try:
                        got = reader.read(where, count, buffer[at:]) * self.page_size
                    except EOFError:
                        self.not_read.unreadable += pages
                        break
                    at = (at + got) % room
                    where += count * self.page_size
                    pages -= count
                    yield got
        finally:
            if last:
                last.close()
        for stream in self._streams:
            at = yield from self._read_stream(stream, buffer, at)

    def _read_stream(
        self, stream: FlatStream, buffer: memoryview, at: int
    ) -> Generator[int, None, int]:
        """Does the same for a stream. Returns the place in the buffer for the next."""
        while True:
            room = len(buffer) - at
            got = stream.read(buffer[at:])
            whole = got // self.page_size * self.page_size
            at = (at + whole) % len(buffer)
            if whole:
                yield whole
            if got < room:
                stream.close()
                return at

    def close(self) -> None:
        """Closes all sources. Idempotent."""
        for reader in self._extents.readers:
            reader.close()
        for stream in self._streams:
            stream.close()

    def __enter__(self) -> Pages:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_pages(
    files: Iterable[str | os.PathLike[str]] = (),
    pids: Iterable[int] = (),
    all_processes: bool = False,
    *,
    page_size: int = 4096,
    sample_bytes: int | None = None,
    full: bool = False,
    seed: int = 0,
    run_pages: int = 8,
) -> Pages:
    """Opens files (``-``: standard input), core dumps and processes as one set of
    pages.

    Without a source, opens all processes that the user may read, except this one. A
    set with a process is sampled: DEFAULT_SAMPLE bytes in runs of ``run_pages`` pages,
    chosen by ``seed`` over all sources. Other sets are read whole. ``sample_bytes``
    samples any set but one with flat pages in a stream; ``full`` reads any set whole.
    Raises SourceError for a source that cannot be read, and ValueError for a wrong
    argument.
    """
    if page_size < 4096 or page_size & (page_size - 1):
        raise ValueError(f"page_size is {page_size}: give a power of two from 4096 on")
    if sample_bytes is not None and (full or sample_bytes < page_size):
        raise ValueError(
            f"sample_bytes is {sample_bytes}: give at least a page ({page_size}), and not with full"
        )
    if run_pages < 1:
        raise ValueError(f"run_pages is {run_pages}: give 1 or more")
    names = list(dict.fromkeys(os.fspath(file) for file in files))
    wanted = list(dict.fromkeys(pids))
    all_processes = all_processes or not (names or wanted)
    pages = Pages(page_size)
    for name in names:
        _add_file(pages, name)
    if wanted or all_processes:
        _add_processes(pages, wanted, all_processes)
        if sample_bytes is None and not full:
            sample_bytes = DEFAULT_SAMPLE
    if sample_bytes is not None:
        if pages._streams:
            label = pages._streams[0].source.label
            pages.close()
            raise SourceError(
                f"{label} cannot be sampled, nor read with a sample of processes: its pages "
                "come once, in order. Give it alone, or add --full"
            )
        pages._plan = pages._extents.sample(sample_bytes // page_size, run_pages, page_size, seed)
        pages._tally.weight = pages._extents.total / max(1, pages._plan.total)
    return pages


def _add_file(pages: Pages, name: str) -> None:
    opened = open_source(name, pages.page_size, pages._tally)
    pages.sources.append(opened.source)
    if isinstance(opened, FlatStream):
        pages._streams.append(opened)
        return
    reader = len(pages._extents.readers)
    pages._extents.readers.append(opened.reader)
    for where, count in opened.runs:
        pages._extents.add(reader, where, count)


# --- processes ---


@dataclass
class _ProcessReader:
    process: Process
    kind: Kind
    not_read: NotRead
    gone: dict[int, str]

    def read(self, where: int, pages: int, out: memoryview) -> int:
        got = 0
        try:
            self.process.open()
            got = self.process.read(where, pages, self.kind, out, self.not_read)
        except PermissionError:  # it may have changed its user
            self.not_read.unreadable += pages
        except (FileNotFoundError, ProcessLookupError):
            self.not_read.vanished += pages
        if not got and self.process.pid not in self.gone and not self.process.exists():
            self.gone[self.process.pid] = _exited(self.process)
        return got

    def close(self) -> None:
        self.process.close()


def _exited(process: Process) -> str:
    return f"pid {process.pid} ({process.comm}) exited while it was read"


def _add_processes(pages: Pages, pids: list[int], all_processes: bool) -> None:
    if pages.page_size != PAGE_SIZE:
        raise SourceError(
            f"this machine's processes have pages of {PAGE_SIZE} bytes, not "
            f"{pages.page_size}: give another page size only with files"
        )
    survey = Survey(pages.not_read)
    _survey(pages, survey, pids, all_processes)
    segments = survey.segments()
    pages.processes_gone |= {process.pid: _exited(process) for process in survey.gone}
    pages.estimated = survey.estimated
    if not segments:
        if pages.processes_gone:
            raise SourceError("; ".join(pages.processes_gone.values()))
        raise SourceError(
            f"none of {pages.processes_denied} processes can be read: {denial(None)}"
            if pages.processes_denied
            else "there is no other process here: give files or cores"
        )
    for process, anonymous, shmem in segments:
        before = pages._extents.total
        for kind, runs in ((Kind.ANON, anonymous), (Kind.FILE, shmem)):
            reader = len(pages._extents.readers)
            pages._extents.readers.append(
                _ProcessReader(process, kind, pages.not_read, pages.processes_gone)
            )
            for starts, ends in runs:
                for start, end in zip(starts, ends, strict=True):
                    pages._extents.add(reader, start, (end - start) // PAGE_SIZE)
        pages.sources.append(
            Source(
                "process",
                f'pid {process.pid} "{process.comm}"',
                pid=process.pid,
                pages=pages._extents.total - before,
            )
        )


def _survey(pages: Pages, survey: Survey, pids: list[int], all_processes: bool) -> None:
    """Surveys each process once, even if several of its threads are named."""
    seen: set[int] = set()
    memories = Memories()
    for pid in [*pids, *(all_pids() if all_processes else ())]:
        try:
            with Process.find(pid) as process:
                if process.pid == os.getpid():
                    raise SourceError(
                        f"pid {pid} is zswap-py itself, and reading it changes its memory: "
                        "leave it out"
                    )
                if process.pid not in seen and memories.add(process):
                    seen.add(process.pid)
                    survey.add(process)
        except ProcessGone as e:
            if pid in pids:
                pages.processes_gone[pid] = str(e)
        except KernelThread:
            if pid in pids:
                raise
        except ProcessDenied:
            if pid in pids:
                raise
            pages.processes_denied += 1
