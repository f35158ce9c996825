# SPDX-License-Identifier: GPL-2.0-or-later
"""A source of pages, its parts, its reader, and the counts of a reading."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Literal, NamedTuple, Protocol

from zswap_py._lib.names import shown


class SourceError(Exception):
    """A source cannot be read. The message names the source, the cause and the remedy;
    unprintable characters in it are escaped.
    """

    def __init__(self, message: str) -> None:
        super().__init__(shown(message))


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


@dataclass
class Source:
    """One source of a set."""

    kind: Literal["file", "core", "stdin", "process"]
    label: str  #: for people: ``pid 1234 "redis-server"``, or the file's name
    path: str | None = None
    pid: int | None = None
    #: swappable pages, without shmem that an earlier source has; None until the end of
    #: a stream
    pages: int | None = None
    tail_bytes: int = 0  #: at the end of a file or segment, where they fill no page; left out
    incomplete: str | None = None  #: which part is missing: "is truncated: ..."
    remark: str | None = None  #: a limit of its figures: "has no NT_FILE note: ..."

    def __post_init__(self) -> None:
        self.label = shown(self.label)


@dataclass
class Part:
    """The memory of a row: of a process, of the mappings of one name, of a cgroup, of a
    file; without rows, of the whole set.
    """

    kind: Literal["all", "process", "mapping", "cgroup", "file", "core", "stdin"]
    label: str  #: for people: ``pid 12 "redis"``, ``[heap]``, ``app/api``
    #: of a cgroup: anon, shmem, swap, zswap, zswapped in bytes; those that are known
    facts: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.label = shown(self.label)


@dataclass
class Cell:
    """Pages that are sampled, and estimated, by themselves: a part's cold pages, or its
    others.
    """

    part: int  #: index in Pages.parts
    cold: bool | None  #: None: not known
    #: swappable pages; the sum over all cells is ``pages_total``. None until the end of
    #: a stream
    pages: int | None = 0
    pages_read: int = 0  #: pages in the pieces so far, and those in ``hole_pages``
    hole_pages: int = 0  #: pages of zeros that were counted and not read
    vanished: int = 0  #: freed, swapped out or moved before they were read


class Run(NamedTuple):
    """Consecutive pages of a piece that were drawn together."""

    cell: int  #: index in Pages.cells
    stratum: int  #: number of the mapping, or the file, that they lie in
    number: int  #: of the run: the end of a piece may cut it in two
    pages: int
    hole_pages: int = 0  #: pages of zeros besides, which were counted and not read


@dataclass
class _Dropped:
    """Pages of zeros in one core."""

    source: Source
    pages: int = 0  #: in what was read
    weight: float = 1.0  #: number of pages that each of them stands for
    counted: int = 0  #: pages that the source was made smaller by


@dataclass
class Tally:
    """The counts that the readers of a set share."""

    not_read: NotRead = field(default_factory=NotRead)
    skip_holes: bool = False  #: whether to count holes of flat files, not read them
    hole_pages: int = 0  #: pages of these holes
    dropped: int = 0  #: planned pages of cores that are zeros
    _dropped: dict[int, _Dropped] = field(default_factory=dict)  #: by the source's id()

    def drop(self, source: Source, pages: int) -> None:
        """Counts planned pages of a core as zero_mapped; in a sample, the pages that
        they stand for.
        """
        self.dropped += pages
        dropped = self._of(source)
        dropped.pages += pages
        self._count(dropped)

    def weigh(self, source: Source, weight: float) -> None:
        """Sets the number of pages that each page read of the source stands for."""
        dropped = self._of(source)
        dropped.weight = weight
        self._count(dropped)

    def _of(self, source: Source) -> _Dropped:
        return self._dropped.setdefault(id(source), _Dropped(source))

    def _count(self, dropped: _Dropped) -> None:
        more = round(dropped.pages * dropped.weight) - dropped.counted
        if more:
            dropped.counted += more
            dropped.source.pages = max(0, (dropped.source.pages or 0) - more)
            self.not_read.zero_mapped += more


class Reader(Protocol):
    """Reads the pages of one source that a plan names."""

    def read(self, where: int, pages: int, out: memoryview) -> int:
        """Reads ``pages`` pages at ``where`` into ``out``. Returns the number of pages
        read, and counts the others. Raises EOFError, and counts nothing, if the source
        ends before ``where``.
        """

    def close(self) -> None:
        """Closes the source; the next ``read`` opens it again."""
