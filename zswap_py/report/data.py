# SPDX-License-Identifier: GPL-2.0-or-later
"""A report's data, and its JSON. Nothing here measures or reads arguments.

The fields have the names of the JSON object; docs/report.md describes each. Numbers are
raw and count the pages that were read; only the estimates count all pages.
"""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from typing import Any

SCHEMA = 1

#: Pages below which a report says nothing about speed: quartiles need more runs.
ENOUGH_PAGES = 1024

#: Savings that differ by less than this share count as equal.
ALIKE = 0.02


@dataclass(frozen=True)
class Figures:
    """The figures of one compressor. Sizes in bytes; times in nanoseconds a page, None
    where no page was stored.
    """

    name: str
    backend: str
    library_version: str | None
    kernel_sizes: bool
    stored_pages: int
    stored_incompressible_pages: int
    rejected_pages: int
    compressed_bytes: int
    pool_total_size: int
    ratio: float | None
    net_saved_bytes: int
    estimated_pool_total_size: int
    estimated_net_saved_bytes: int
    store_ns_p50: float | None
    store_ns_p25: float | None
    store_ns_p75: float | None
    load_ns_p50: float | None
    load_ns_p25: float | None
    load_ns_p75: float | None
    intact: bool

    @property
    def incompressible(self) -> float:
        """The share of the pages that did not compress, 0 to 1."""
        given = self.stored_pages + self.rejected_pages
        return (self.stored_incompressible_pages + self.rejected_pages) / given if given else 0.0

    def loads_faster(self, other: Figures) -> bool:
        """Returns whether its loads are clearly faster: quartiles do not overlap."""
        mine, theirs = self.load_ns_p75, other.load_ns_p25
        enough = min(self.stored_pages, other.stored_pages) >= ENOUGH_PAGES
        return mine is not None and theirs is not None and enough and mine < theirs


@dataclass(frozen=True)
class Unavailable:
    """A compressor that is not available, and the reason."""

    name: str
    backend: str | None
    unavailable: str


@dataclass(frozen=True)
class Report:
    """A whole report, in the order of the JSON object."""

    schema: int
    complete: bool
    command: str
    host: dict[str, str]
    source: list[dict[str, Any]]
    kernel: str
    series: str | None
    page_size: int
    folio_pages: int
    pages_total: int | None
    estimated: bool
    pages: int
    zero_pages: int
    not_read: dict[str, int]
    processes_gone: list[int]
    compressors: list[Figures | Unavailable]

    @property
    def scale(self) -> float:
        """The number of pages that each page read stands for in the estimates; 1 unless
        a whole sample was read.
        """
        return (
            scale_of(self.pages_total, self.pages, self.not_read["vanished"])
            if self.complete
            else 1.0
        )

    @property
    def figures(self) -> list[Figures]:
        """The available compressors, by savings, the largest first."""
        found = [c for c in self.compressors if isinstance(c, Figures)]
        return sorted(found, key=lambda f: -f.estimated_net_saved_bytes)

    @property
    def pick(self) -> Figures | None:
        """The compressor that saves most, or one within ALIKE of it that loads clearly
        faster.
        """
        good = [f for f in self.figures if f.intact and f.estimated_net_saved_bytes > 0]
        if not good:
            return None
        best = good[0]
        enough = (1 - ALIKE) * best.estimated_net_saved_bytes
        alike = [f for f in good if f.estimated_net_saved_bytes >= enough and f.loads_faster(best)]
        return min(alike, key=load_ns, default=best)


def scale_of(pages_total: int | None, pages: int, vanished: int) -> float:
    """Returns the number of pages that each page read stands for. Pages of a sample
    that vanished stand for others that vanished.
    """
    return pages_total / (pages + vanished) if pages_total and pages else 1.0


def load_ns(f: Figures) -> float:
    return math.inf if f.load_ns_p50 is None else f.load_ns_p50


# ---- JSON ----


def to_json(report: Report) -> str:
    """Returns the JSON object, with raw numbers, indented."""
    return json.dumps(dataclasses.asdict(report), indent=2)
