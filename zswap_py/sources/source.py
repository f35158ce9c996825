# SPDX-License-Identifier: GPL-2.0-or-later
"""What a source of pages is, what reads it, and what is counted meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol

from zswap_py._lib.names import shown
from zswap_py.sources.procmem import NotRead


@dataclass
class Source:
    """One of a set's sources."""

    kind: Literal["file", "core", "stdin", "process"]
    label: str  #: for people: ``pid 1234 "redis-server"``, or the file's name
    path: str | None = None
    pid: int | None = None
    # : swappable pages; of shmem those no earlier source has; None until the end of a
    # stream
    pages: int | None = None
    tail_bytes: int = 0  #: left out at the ends of a file or segments, as they fill no page
    incomplete: str | None = None  #: what of it is missing: "is truncated: ..."
    remark: str | None = None  #: what its figures cannot tell: "has no NT_FILE note: ..."

    def __post_init__(self) -> None:
        self.label = shown(self.label)


@dataclass
class Tally:
    """What the readers of a set count while they read."""

    not_read: NotRead = field(default_factory=NotRead)
    skip_holes: bool = False  #: whether holes of flat files may be counted in place of reading them
    hole_pages: int = 0  #: these
    dropped: int = 0  #: pages of zeros in cores, of those that were planned
    weight: float = 1.0  #: pages that each page of a sample stands for

    def drop(self, source: Source, pages: int) -> None:
        """Counts planned pages of a core as zero_mapped: in a sample, those that they
        stand for.
        """
        before = round(self.dropped * self.weight)
        self.dropped += pages
        dropped = round(self.dropped * self.weight) - before
        source.pages = max(0, (source.pages or 0) - dropped)
        self.not_read.zero_mapped += dropped


class Reader(Protocol):
    """Gives the pages of one source that a plan names."""

    def read(self, where: int, pages: int, out: memoryview) -> int:
        """Reads ``pages`` pages at ``where`` into ``out``; returns how many were got,
        the others are counted. Raises EOFError where the source has ended before:
        nothing is counted then, and there is nothing after it.
        """

    def close(self) -> None:
        """Gives back what it holds; the next ``read`` takes it again."""
