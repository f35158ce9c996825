# SPDX-License-Identifier: GPL-2.0-or-later
"""A set of sources of pages: flat files, ELF cores, streams, live processes; which of
their pages are read, and how.

::

    with open_pages(pids=[1234]) as pages:
        for piece in pages.pieces():            # 16 MiB at a time
            ...
        print(pages.pages_read, "of", pages.pages_total, pages.not_read.as_dict())

All sources of a set are read in one pass, whole or as one sample over all of them.
Memory of processes is what reclaim could swap of it: see :mod:`zswap_py.procmem`; what
files are: see :mod:`zswap_py.files`.
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

from zswap_py.sources.files import FlatStream, open_source
from zswap_py.sources.procmem import (
    PAGE_SIZE,
    KernelThread,
    Kind,
    Memories,
    NotRead,
    Process,
    ProcessDenied,
    ProcessGone,
    SourceError,
    Survey,
    all_pids,
    denial,
)
from zswap_py.sources.source import Reader, Source, Tally

__all__ = ["DEFAULT_SAMPLE", "PIECE", "NotRead", "Pages", "Source", "SourceError", "open_pages"]

DEFAULT_SAMPLE = 64 << 20  #: bytes read of processes unless all is asked for
PIECE = 16 << 20  #: bytes of a piece


@dataclass
class _Extents:
    """Runs of pages to read, in order; compact, for there may be millions."""

    readers: list[Reader] = field(default_factory=list)
    reader: array[int] = field(default_factory=lambda: array("L"))  #: index into readers
    # : address or file offset, in bytes
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
        """About ``pages`` pages, in runs of ``run``. The extents are cut into runs, of
        which each is as likely to be chosen as another, and so is each page.
        """
        total = self.total
        if pages >= total:
            return self
        # an extent's runs end before this one
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
    makes it.
    """

    def __init__(self, page_size: int) -> None:
        self.page_size = page_size
        self.sources: list[Source] = []
        # : processes skipped as they may not be read, when all were asked for
        self.processes_denied = 0
        self.processes_gone: dict[int, str] = {}  #: had exited, or exited while read: how, by pid
        self.estimated = False  #: whether processes share pages that could not be told apart
        self._extents = _Extents()
        self._plan = self._extents
        self._streams: list[FlatStream] = []
        self._tally = Tally()
        self._got = 0  # pages in the pieces so far
        self._started = False

    @property
    def not_read(self) -> NotRead:
        """What is swapped or swappable memory, and is not in the pieces."""
        return self._tally.not_read

    @property
    def pages_read(self) -> int:
        """Pages so far: those in the pieces, and ``hole_pages``."""
        return self._got + self._tally.hole_pages

    @property
    def hole_pages(self) -> int:
        """Pages of zeros so far that ``pieces(skip_holes=True)`` left out."""
        return self._tally.hole_pages

    @property
    def pages_total(self) -> int | None:
        """Swappable pages over all sources, whether read or not; None until the end of
        each flat stream. ``not_read`` is not in it, except for what vanished or was
        unreadable while the pieces were read.
        """
        pages = [source.pages for source in self.sources]
        return None if None in pages else sum(n for n in pages if n)

    @property
    def pages_planned(self) -> int | None:
        """Pages that ``pieces`` will read: the sample, or all; None with flat pages in
        a stream. Pages of zeros in a core go out of it as they are found.
        """
        return None if self._streams else self._plan.total - self._tally.dropped

    @property
    def bytes_expected(self) -> int | None:
        """The same in bytes, with an estimate for flat pages in a compressed file; None
        where that cannot be told.
        """
        streams = [stream.bytes_expected for stream in self._streams]
        planned = (self._plan.total - self._tally.dropped) * self.page_size
        return None if None in streams else planned + sum(n for n in streams if n)

    @property
    def sampled(self) -> bool:
        """Whether the pieces are a sample, so that figures must be scaled by
        pages_total / pages_read.
        """
        return self._plan is not self._extents

    @property
    def tail_bytes(self) -> int:
        """Bytes left out at the ends of sources, as they fill no page."""
        return sum(source.tail_bytes for source in self.sources)

    def pieces(self, nbytes: int = PIECE, *, skip_holes: bool = False) -> Iterator[memoryview]:
        """The pages, ``nbytes`` (a multiple of page_size) at a time, the last piece
        shorter. Every piece is the same buffer: use it before the next. Once only: the
        sources are read in one pass. With ``skip_holes`` large holes of flat files are
        counted in ``hole_pages``, and not read.
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
        """Fills the buffer, round and round; the bytes got, at most up to the buffer's
        end.
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
        """The same for a stream; returns where the next goes on."""
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
        """Closes what is open. Idempotent."""
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

    With no source: all processes that the user may read, this one left out. A set with
    a process in it is sampled, DEFAULT_SAMPLE bytes in runs of ``run_pages`` pages,
    chosen by ``seed`` over all its sources; others are read whole. ``sample_bytes``
    samples any set (except flat pages in a stream), ``full`` none. Raises SourceError
    for a source that cannot be read, ValueError for a wrong argument.
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
                f"{label} cannot be sampled, nor read together with a sample of "
                "processes: "
                "its pages come once, in order. Give it alone, or add --full"
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
        except PermissionError:  # it has become another user's, say
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
            f"{pages.page_size}: "
            "give another page size only with files"
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
    """Surveys each process once, whichever of its threads are named."""
    seen: set[int] = set()
    memories = Memories()
    for pid in [*pids, *(all_pids() if all_processes else ())]:
        try:
            with Process.find(pid) as process:
                if process.pid == os.getpid():
                    raise SourceError(
                        f"pid {pid} is this very process, whose memory changes "
                        "as it is read: leave it out"
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
