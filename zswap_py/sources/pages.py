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
from bisect import bisect_left, bisect_right
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from itertools import count, repeat
from operator import floordiv, sub
from typing import Literal, TypeVar, final

from zswap_py.sources.cgroup import Group
from zswap_py.sources.coldness import Cold, Unknown
from zswap_py.sources.denial import denial
from zswap_py.sources.extents import Extents, Round
from zswap_py.sources.files import FlatStream, open_source
from zswap_py.sources.pagemap import PAGE_SIZE, Kind, Runs
from zswap_py.sources.process import KernelThread, Memories, Process, ProcessDenied
from zswap_py.sources.procfs import ProcessGone
from zswap_py.sources.selection import Selection, select
from zswap_py.sources.source import Cell, NotRead, Part, Run, Source, SourceError, Tally
from zswap_py.sources.survey import Place, Segment, Survey

__all__ = [
    "DEFAULT_SAMPLE",
    "PIECE",
    "Cell",
    "NotRead",
    "Pages",
    "Part",
    "Run",
    "Source",
    "SourceError",
    "open_pages",
]

DEFAULT_SAMPLE = 64 << 20  #: bytes at most of a cell of a set with processes
#: Runs of a cell in the first round, where they are long, in a set of few cells: fewer
#: do not show how much they differ, and intervals are too narrow.
FIRST_RUNS = 16
FIRST_ROUND = 2 << 20  #: bytes of a cell in the first round, in a set of some 30 cells
PIECE = 16 << 20  #: bytes of a piece

By = Literal["process", "mapping", "cgroup"]

_T = TypeVar("_T")


def _add_run(runs: list[Run], run: Run) -> None:
    """Adds a read to the runs of a piece. A hole of any size is one item."""
    last = runs[-1] if runs else None
    if last and last.number == run.number and not run.pages:
        run = runs.pop()._replace(hole_pages=last.hole_pages + run.hole_pages)
    runs.append(run)


@final
class Pages:
    """An opened set of sources, to be read once. A context manager; ``open_pages``
    returns it.
    """

    def __init__(self, page_size: int) -> None:
        self.page_size = page_size
        self.sources: list[Source] = []
        self.parts: list[Part] = []
        self.cells: list[Cell] = []
        #: the runs of the piece just yielded, in order
        self.runs: list[Run] = []
        self.round = 0  #: number of the round of the piece just yielded, from 0
        #: whether that piece ends the round: the pages of a cell so far are a random
        #: sample of it. False if all that was left to read in the round had vanished
        self.round_ended = False
        self.selection = Selection()  #: the processes that were asked for
        self.denied: list[int] = []  #: pids not named one by one that may not be read
        self.processes_gone: dict[int, str] = {}  #: the message for each exited process, by pid
        #: the message for each process that changed its cgroup, by pid
        self.processes_moved: dict[int, str] = {}
        self.cold: Cold | Unknown | None = None  #: what is known of cold memory
        self.estimated = False  #: whether shared pages could not be told apart
        self._extents = Extents(page_size)
        self._plan: list[Extents | Round] = [self._extents]
        self._streams: list[FlatStream] = []
        self._files: dict[int, list[Source]] = {}  # by cell
        self._of_processes: list[int] = []  # pages, by cell
        self._cell_of: dict[tuple[int, bool | None], int] = {}
        self._strata = count()
        self._enough: set[int] = set()
        self._begun = 0  # pages planned in the rounds so far
        self._ahead: dict[int, int] = {}  # in later rounds, by cell
        self._tally = Tally()
        self._got = 0  # pages in the pieces so far
        self._started = False
        self._rounds = 0  # begun

    @property
    def processes_denied(self) -> int:
        """Number of processes skipped, unless named by pid, as they may not be read."""
        return len(self.denied)

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
        return None if self._streams else self._planned - self._tally.dropped

    @property
    def bytes_expected(self) -> int | None:
        """The same in bytes, with an estimate for flat pages in a compressed file; None
        without an estimate.
        """
        streams = [stream.bytes_expected for stream in self._streams]
        planned = (self._planned - self._tally.dropped) * self.page_size
        return None if None in streams else planned + sum(n for n in streams if n)

    @property
    def sampled(self) -> bool:
        """Whether the pieces are a sample. Figures must then be scaled by pages_total /
        pages_read.
        """
        return self._planned < self._extents.total

    @property
    def _planned(self) -> int:
        ahead = sum(pages for cell, pages in self._ahead.items() if cell not in self._enough)
        return self._begun + ahead

    def enough(self, cell: int) -> None:
        """Ends the reading of a cell with the present round. To end it within a round
        would leave its highest addresses out.
        """
        if not 0 <= cell < len(self.cells):
            raise ValueError(f"cell is {cell}: give 0 to {len(self.cells) - 1}")
        self._enough.add(cell)

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
        room, filled, runs = len(buffer) // self.page_size, 0, list[Run]()
        for run, ends in self._reads(buffer):
            if run.pages or run.hole_pages:
                _add_run(runs, run)
            filled += run.pages
            self._got += run.pages
            if filled == room or (filled and ends):
                self._settle()
                self.runs, self.round, self.round_ended = runs, self._rounds - 1, ends
                yield buffer[: filled * self.page_size]
                filled, runs = 0, []
        self._settle()
        if filled:  # of a stream, or with a hole at the end
            self.runs, self.round_ended = runs, True
            yield buffer[: filled * self.page_size]
            runs = []
        self.runs = runs  # holes behind the last piece

    def _reads(self, buffer: memoryview) -> Iterator[tuple[Run, bool]]:
        """Fills the buffer as a ring, from its front in each round. Yields the run of
        each read, which ends at the buffer's end at the latest, and whether it is the
        round's last.
        """
        numbers, at = count(), 0
        for part in self._plan:
            skipped = frozenset(self._enough)
            self._begin(part, skipped)
            at = yield from self._read_round(part, skipped, numbers, buffer)
        for stream in self._streams:
            at = yield from self._read_stream(stream, next(numbers), buffer, at)

    def _begin(self, part: Extents | Round, skipped: frozenset[int]) -> None:
        """Counts a round's pages as begun; weighs the cores by what is read of them."""
        self._rounds += 1
        for cell, pages in part.by_cell.items():
            self._ahead[cell] -= pages
            self._begun += 0 if cell in skipped else pages
        for cell, sources in self._files.items():
            # the weight of a sample over all sources is the same for each
            for source in sources if len(self._plan) > 1 and cell not in skipped else ():
                read = self._extents.by_cell[cell] - self._ahead[cell]
                self._tally.weigh(source, self._extents.by_cell[cell] / read)

    def _read_round(
        self,
        part: Extents | Round,
        skipped: frozenset[int],
        numbers: Iterator[int],
        buffer: memoryview,
    ) -> Generator[tuple[Run, bool], None, int]:
        """Reads a round. Returns the place in the buffer behind it."""
        extents, tally, last_reader = self._extents, self._tally, None
        not_read, page_size = tally.not_read, self.page_size
        at, room = 0, len(buffer)
        picks = iter(part)
        if skipped:
            picks = (pick for pick in picks if extents.cell[pick[0]] not in skipped)
        try:
            for (area, where, pages), last in _with_last(picks):
                reader, which = extents.readers[extents.reader[area]], extents.cell[area]
                if last_reader is not reader:
                    if last_reader:
                        last_reader.close()
                    last_reader = reader
                cell, stratum, number = self.cells[which], extents.stratum[area], next(numbers)
                while pages:
                    wanted = min(pages, (room - at) // page_size)
                    vanished, holes = not_read.vanished, tally.hole_pages
                    try:
                        got = reader.read(where, wanted, buffer[at:])
                    except EOFError:
                        not_read.unreadable += pages
                        got, wanted = 0, pages
                    holes = tally.hole_pages - holes
                    cell.pages_read += got + holes
                    cell.hole_pages += holes
                    cell.vanished += not_read.vanished - vanished
                    at = (at + got * page_size) % room
                    where += wanted * page_size
                    pages -= wanted
                    ends = last and not pages and not self._streams
                    yield Run(which, stratum, number, got, holes), ends
        finally:
            if last_reader:
                last_reader.close()
        return at

    def _read_stream(
        self, stream: FlatStream, number: int, buffer: memoryview, at: int
    ) -> Generator[tuple[Run, bool], None, int]:
        """Does the same for a stream from a place in the buffer."""
        cell = next(c for c, sources in self._files.items() if stream.source in sources)
        stratum = next(self._strata)
        while True:
            room = len(buffer) - at
            got = stream.read(buffer[at:])
            whole = got // self.page_size
            at = (at + whole * self.page_size) % len(buffer)
            if whole:
                self.cells[cell].pages_read += whole
                yield Run(cell, stratum, number, whole), False
            if got < room:
                stream.close()
                return at

    def _settle(self) -> None:
        """Sets the size of cells with files, which a stream's end or a core's pages of
        zeros change.
        """
        for cell, sources in self._files.items():
            pages = [source.pages for source in sources]
            known = self._of_processes[cell] + sum(n for n in pages if n)
            self.cells[cell].pages = None if None in pages else known

    def _cell(self, part: int, cold: bool | None) -> int:
        """Returns the index of a part's cell; makes it at first."""
        key = part, cold
        if key not in self._cell_of:
            self._cell_of[key] = len(self.cells)
            self.cells.append(Cell(part, cold))
            self._of_processes.append(0)
        return self._cell_of[key]

    def _part(self, part: Part) -> int:
        """Adds a part. Returns its index."""
        self.parts.append(part)
        return len(self.parts) - 1

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


def _with_last(items: Iterable[_T]) -> Iterator[tuple[_T, bool]]:
    """Yields the items, and whether each is the last."""
    iterator = iter(items)
    for item in iterator:
        for following in iterator:
            yield item, False
            item = following
        yield item, True


def open_pages(
    files: Iterable[str | os.PathLike[str]] = (),
    pids: Iterable[int] = (),
    all_processes: bool = False,
    *,
    cgroups: Iterable[str] = (),
    units: Iterable[str] = (),
    names: Iterable[str] = (),
    by: By | None = None,
    cold: Cold | Unknown | None = None,
    page_size: int = 4096,
    sample_bytes: int | None = None,
    sample_share: float | None = None,
    precision: float | None = None,
    full: bool = False,
    seed: int = 0,
    run_pages: int = 8,
) -> Pages:
    """Opens files (``-``: standard input), core dumps and processes as one set of
    pages.

    Processes are named by pid, by cgroup (a glob of paths: all in these groups and
    below them), by systemd unit, by name (a glob). Without a source, opens all
    processes that the user may read, except this one.

    ``by`` makes a part of each process, of the mappings of each name or of each cgroup,
    and of each file; without it all is one part. The pages of a part that ``cold`` has
    found, and the others, are a cell each.

    A set with a process is sampled, in runs of ``run_pages`` pages chosen by ``seed``:
    of each cell DEFAULT_SAMPLE bytes at most, in rounds that double what was read of
    it, until ``Pages.enough`` ends it. ``precision`` samples any set in this way, and
    leaves it to the caller to decide how sure is enough. ``sample_bytes`` takes one
    sample over all sources, ``sample_share`` one of that share of them. Other sets are
    read whole; ``full`` reads any set whole. Flat pages in a stream cannot be sampled.

    Raises SourceError for a source that cannot be read, and ValueError for a wrong
    argument.
    """
    if page_size < 4096 or page_size & (page_size - 1):
        raise ValueError(f"page_size is {page_size}: give a power of two from 4096 on")
    if sample_bytes is not None and (full or sample_bytes < page_size):
        raise ValueError(
            f"sample_bytes is {sample_bytes}: give at least a page ({page_size}), and not with full"
        )
    if precision is not None and (full or sample_bytes is not None or not 0 < precision < 1):
        raise ValueError(
            f"precision is {precision}: give more than 0 and less than 1, and neither full nor "
            "sample_bytes"
        )
    if sample_share is not None and (
        full or not 0 < sample_share <= 1 or (sample_bytes, precision) != (None, None)
    ):
        raise ValueError(
            f"sample_share is {sample_share}: give more than 0 and at most 1, and no other amount"
        )
    if run_pages < 1:
        raise ValueError(f"run_pages is {run_pages}: give 1 or more")
    if by not in (None, *By.__args__):  # type: ignore[attr-defined]
        raise ValueError(f"by is {by!r}: give process, mapping or cgroup")
    wanted = list(dict.fromkeys(os.fspath(file) for file in files))
    pids, cgroups, units, names = list(pids), list(cgroups), list(units), list(names)
    processes = bool(pids or cgroups or units or names)
    all_processes = all_processes or not (wanted or processes)
    pages = Pages(page_size)
    if not by:
        pages._part(Part("all", "all"))
    for file in wanted:
        _add_file(pages, file, by)
    if processes or all_processes:
        pages.selection = select(pids, all_processes, cgroups=cgroups, units=units, names=names)
        pages.cold = cold
        _add_processes(pages, by)
    elif sample_bytes is None and sample_share is None and precision is None:
        full = True
    if sample_share is not None:
        sample_bytes = max(1, round(sample_share * pages._extents.total)) * page_size
    _plan(pages, None if full else sample_bytes, full, seed, run_pages)
    return pages


def _plan(pages: Pages, sample_bytes: int | None, full: bool, seed: int, run_pages: int) -> None:
    """Chooses the pages to read."""
    for made, known in zip(pages.cells, pages._of_processes, strict=True):
        made.pages = known
    pages._settle()
    extents, page_size = pages._extents, pages.page_size
    if not full:
        if pages._streams:
            label = pages._streams[0].source.label
            pages.close()
            raise SourceError(
                f"{label} cannot be sampled, nor read with a sample of processes: its pages "
                "come once, in order. Give it alone, or add --full"
            )
        if sample_bytes is not None:
            sample = extents.sample(sample_bytes // page_size, run_pages, seed)
            pages._plan = [sample]
            weight = extents.total / max(1, sum(sample.by_cell.values()))
            for source in (source for sources in pages._files.values() for source in sources):
                pages._tally.weigh(source, weight)
        else:
            # many cells: the first round is not more than one cell would have in all
            enough = max(FIRST_ROUND, FIRST_RUNS * run_pages * page_size)
            first = min(enough, DEFAULT_SAMPLE // max(1, len(pages.cells))) // page_size
            most = DEFAULT_SAMPLE // page_size
            pages._plan = [*extents.rounds(max(run_pages, first), most, run_pages, seed)]
    for part in pages._plan:
        for cell, n in part.by_cell.items():
            pages._ahead[cell] = pages._ahead.get(cell, 0) + n


def _add_file(pages: Pages, name: str, by: By | None) -> None:
    opened = open_source(name, pages.page_size, pages._tally)
    source = opened.source
    pages.sources.append(source)
    assert source.kind != "process"
    cell = pages._cell(pages._part(Part(source.kind, source.label)) if by else 0, None)
    pages._files.setdefault(cell, []).append(source)
    if isinstance(opened, FlatStream):
        pages._streams.append(opened)
    else:
        reader = len(pages._extents.readers)
        pages._extents.readers.append(opened.reader)
        where, counts = zip(*opened.runs, strict=True) if opened.runs else ((), ())
        pages._extents.add(reader, cell, next(pages._strata), where, counts)


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


class _Rows:
    """The parts of processes, by kind."""

    def __init__(self, pages: Pages, by: By | None) -> None:
        self._pages, self._by = pages, by
        self._known: dict[Group | str, int] = {}
        #: the cgroup of each process when it was surveyed, by pid
        self.groups: dict[int, Group | None] = {}
        for group in pages.selection.groups if by == "cgroup" else ():
            self._group(group)

    def survey(self, process: Process) -> None:
        """Notes the cgroup of an open process."""
        if self._by == "cgroup":
            self.groups[process.pid] = self._pages.selection.group_of(process.proc)

    def of(self, segment: Segment) -> dict[bytes, int] | int:
        """Returns the part of a process, or those of its mappings by path."""
        process = segment.process
        if self._by is None:
            return 0
        if self._by == "process":
            return self._pages._part(Part("process", _label(process)))
        if self._by == "cgroup":
            group = self.groups[process.pid]
            return self._group(group) if group else self._named("cgroup", "unknown")
        return {
            place.path: self._named("mapping", _mapping(place)) for place, _, _ in segment.areas
        }

    def _group(self, group: Group) -> int:
        if group not in self._known:
            part = Part("cgroup", group.label, group.facts())
            self._known[group] = self._pages._part(part)
        return self._known[group]

    def _named(self, kind: Literal["cgroup", "mapping"], name: str) -> int:
        if name not in self._known:
            self._known[name] = self._pages._part(Part(kind, name))
        return self._known[name]

    def moved(self, process: Process) -> str | None:
        """Returns the message, if an open process has changed its group."""
        before = self.groups.get(process.pid)
        after = before and self._pages.selection.group_of(process.proc)
        if not before or not after or before == after:
            return None
        return (
            f"pid {process.pid} ({process.comm}) moved to cgroup {after.label}: counted in "
            f"{before.label}"
        )


def _label(process: Process) -> str:
    return f'pid {process.pid} "{process.comm}"'


def _mapping(place: Place) -> str:
    """Returns the name of a mapping, the same in all processes."""
    path = os.fsdecode(place.path).removesuffix(" (deleted)")
    return {"": "anonymous", "/dev/zero": "shared anonymous"}.get(path, path)


def _add_processes(pages: Pages, by: By | None) -> None:
    if pages.page_size != PAGE_SIZE:
        raise SourceError(
            f"this machine's processes have pages of {PAGE_SIZE} bytes, not "
            f"{pages.page_size}: give another page size only with files"
        )
    survey, rows = Survey(pages.not_read), _Rows(pages, by)
    kernel_threads = _survey(pages, survey, rows)
    segments = survey.segments()
    pages.processes_gone |= {process.pid: _exited(process) for process in survey.gone}
    pages.estimated = survey.estimated
    if not segments:
        raise SourceError(_none(pages, kernel_threads))
    for segment in segments:
        _add_process(pages, segment, rows.of(segment))


def _none(pages: Pages, kernel_threads: int) -> str:
    """Returns the reason why there is no process to read."""
    if pages.processes_gone:
        return "; ".join(pages.processes_gone.values())
    if pages.processes_denied:
        why = denial(None, pages.denied, pages.selection.options)
        return f"none of {pages.processes_denied} processes can be read: {why}"
    if asked := ", ".join(pages.selection.asked):
        if kernel_threads:
            return f"{asked} has only kernel threads, without memory of their own: give another"
        return f"{asked} has no process: it is empty, or zswap-py alone is in it. Give another"
    return "there is no other process here: give files or cores"


def _add_process(pages: Pages, segment: Segment, parts: dict[bytes, int] | int) -> None:
    process, extents = segment.process, pages._extents
    readers = {}
    for kind in (Kind.ANON, Kind.FILE):
        readers[kind] = len(extents.readers)
        extents.readers.append(_ProcessReader(process, kind, pages.not_read, pages.processes_gone))
    cold = pages.cold.by_pid.get(process.pid) if isinstance(pages.cold, Cold) else None
    strata: dict[int, int] = {}
    total = 0
    for place, kind, runs in segment.areas:
        part = parts if isinstance(parts, int) else parts[place.path]
        for is_cold, some in _by_temperature(runs, cold):
            if not some.starts:
                continue
            if place.number not in strata:
                strata[place.number] = next(pages._strata)
            cell = pages._cell(part, is_cold)
            added = extents.add(
                readers[kind],
                cell,
                strata[place.number],
                some.starts,
                map(floordiv, map(sub, some.ends, some.starts), repeat(PAGE_SIZE)),
            )
            pages._of_processes[cell] += added
            total += added
    pages.sources.append(Source("process", _label(process), pid=process.pid, pages=total))


def _by_temperature(runs: Runs, cold: Runs | None) -> Iterator[tuple[bool | None, Runs]]:
    """Yields the pages that are cold, and the others; or all, if that is not known."""
    if cold is None or not runs.starts:
        yield None, runs
        return
    first = bisect_right(cold.ends, runs.starts[0])
    last = bisect_left(cold.starts, runs.ends[-1])
    near = Runs(cold.starts[first:last], cold.ends[first:last])
    yield True, runs.within(near)
    yield False, runs.without(near)


def _survey(pages: Pages, survey: Survey, rows: _Rows) -> int:
    """Surveys each process once, even if several of its threads are named. Returns the
    number of kernel threads.
    """
    seen: set[int] = set()
    memories, kernel_threads = Memories(), 0
    named = set(pages.selection.pids)
    for pid in pages.selection.all_pids:
        try:
            with Process.find(pid) as process:
                if process.pid == os.getpid():
                    raise SourceError(
                        f"pid {pid} is zswap-py itself, and reading it changes its memory: "
                        "leave it out"
                    )
                if process.pid not in seen and memories.add(process):
                    seen.add(process.pid)
                    rows.survey(process)
                    survey.add(process)
                    if moved := rows.moved(process):
                        pages.processes_moved[process.pid] = moved
        except ProcessGone as e:
            if pid in named:
                pages.processes_gone[pid] = str(e)
        except KernelThread:
            if pid in named:
                raise
            kernel_threads += 1
        except ProcessDenied:
            if pid in named:
                raise
            pages.denied.append(pid)
    return kernel_threads
