# SPDX-License-Identifier: GPL-2.0-or-later
"""The extents of a set of pages, and which of them to read: all, a sample over all, or
samples of each cell that grow round by round.
"""

from __future__ import annotations

import random
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from zswap_py.sources.source import Reader

Pick = tuple[int, int, int]
"""Consecutive pages to read: the area, as an index in the arrays of Extents; the
address or file offset in bytes; the number of pages.
"""


@dataclass
class Round:
    """Picks, in the order in which to read them."""

    area: array[int] = field(default_factory=lambda: array("I"))
    where: array[int] = field(default_factory=lambda: array("Q"))
    pages: array[int] = field(default_factory=lambda: array("Q"))
    by_cell: dict[int, int] = field(default_factory=dict)  #: pages, by cell

    def __iter__(self) -> Iterator[Pick]:
        return zip(self.area, self.where, self.pages, strict=True)


@dataclass
class Extents:
    """Extents of pages, in areas: what one reader reads of one stratum for one cell.
    Compact, as there may be millions of extents in 100,000 areas.
    """

    page_size: int
    readers: list[Reader] = field(default_factory=list)
    total: int = 0  #: pages
    by_cell: dict[int, int] = field(default_factory=dict)  #: pages, by cell
    where: array[int] = field(default_factory=lambda: array("Q"))
    pages: array[int] = field(default_factory=lambda: array("Q"))
    # of each area
    reader: array[int] = field(default_factory=lambda: array("I"))
    cell: array[int] = field(default_factory=lambda: array("I"))
    stratum: array[int] = field(default_factory=lambda: array("I"))
    until: array[int] = field(default_factory=lambda: array("Q"))  #: index behind its extents

    def add(
        self, reader: int, cell: int, stratum: int, where: Iterable[int], pages: Iterable[int]
    ) -> int:
        """Adds an area. Returns its pages; without pages it adds none."""
        before = len(self.where)
        self.where.extend(where)
        self.pages.extend(pages)
        if len(self.where) == before:
            return 0
        added = sum(self.pages[before:])
        self.total += added
        self.by_cell[cell] = self.by_cell.get(cell, 0) + added
        self.reader.append(reader)
        self.cell.append(cell)
        self.stratum.append(stratum)
        self.until.append(len(self.where))
        return added

    def __iter__(self) -> Iterator[Pick]:
        """Yields the extents, in the order in which they were added."""
        first = 0
        for area, until in enumerate(self.until):
            for i in range(first, until):
                yield area, self.where[i], self.pages[i]
            first = until

    def sample(self, pages: int, run: int, seed: int) -> Extents | Round:
        """Returns about ``pages`` pages, in runs of ``run``. Cuts the extents into runs
        and chooses each run, and so each page, with the same probability.
        """
        if pages >= self.total:
            return self
        runs = _Runs(self, range(len(self.where)), run)
        chosen = max(1, pages * len(runs) // self.total)
        return self._round(map(runs.key, random.Random(seed).sample(range(len(runs)), chosen)), run)

    def rounds(self, first: int, most: int, run: int, seed: int) -> list[Round]:
        """Returns samples of each cell, of about ``first`` pages and then twice as many
        in all each time, up to ``most`` or the whole cell. The runs of a cell come in
        random order: those of the first rounds together are a simple random sample.
        """
        sizes = [first]
        while sizes[-1] < most:
            sizes.append(min(most, 2 * sizes[-1]))
        keys: list[list[int]] = [[] for _ in sizes]
        rng = random.Random(seed)
        for cell, extents in self._by_cell().items():
            runs, pages = _Runs(self, extents, run), self.by_cell[cell]
            chosen = len(runs) if pages <= most else max(1, most * len(runs) // pages)
            drawn, done = rng.sample(range(len(runs)), chosen), 0
            for size, found in zip(sizes, keys, strict=True):
                until = -(-chosen * min(size, pages) // min(most, pages))
                found.extend(map(runs.key, drawn[done:until]))
                done = max(done, until)
        return [self._round(found, run) for found in keys if found]

    def _by_cell(self) -> dict[int, Sequence[int]]:
        """Returns the indices of each cell's extents."""
        if len(self.by_cell) == 1:
            return dict.fromkeys(self.by_cell, range(len(self.where)))
        found = {cell: array("L") for cell in self.by_cell}
        first = 0
        for cell, until in zip(self.cell, self.until, strict=True):
            found[cell].extend(range(first, until))
            first = until
        return {**found}

    def _round(self, keys: Iterable[int], run: int) -> Round:
        picked = Round()
        for key in sorted(keys):
            i, skip = key >> _SKIP_BITS, (key & _SKIP) * run
            area, pages = bisect_right(self.until, i), min(run, self.pages[i] - skip)
            picked.area.append(area)
            picked.where.append(self.where[i] + skip * self.page_size)
            picked.pages.append(pages)
            cell = self.cell[area]
            picked.by_cell[cell] = picked.by_cell.get(cell, 0) + pages
        return picked


# A run's key sorts by place: the index of its extent, and its number within that.
_SKIP_BITS = 48
_SKIP = (1 << _SKIP_BITS) - 1


class _Runs:
    """The runs of some extents, numbered."""

    def __init__(self, all_extents: Extents, chosen: Sequence[int], run: int) -> None:
        self._chosen = chosen
        lengths = map(all_extents.pages.__getitem__, chosen)
        # the number of the first run behind each extent
        self._last = array("Q", accumulate(-(-pages // run) for pages in lengths))

    def __len__(self) -> int:
        return self._last[-1] if self._last else 0

    def key(self, number: int) -> int:
        i = bisect_right(self._last, number)
        first = self._last[i - 1] if i else 0
        return self._chosen[i] << _SKIP_BITS | number - first
