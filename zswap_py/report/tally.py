# SPDX-License-Identifier: GPL-2.0-or-later
"""Adds up what was read by run and by cell, and what each compressor holds of it.

Runs get rows of tables. A cell has a limited number of rows: runs beyond it are put to
the others at random, so that tables stay small, whatever is read.
"""

from __future__ import annotations

import random
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from zswap_py._native import check, ffi
from zswap_py.pool import SizeClass as PoolClass
from zswap_py.report.estimate import COLUMNS, Held, SizeClass
from zswap_py.sources.source import Run

#: Rows of a cell at most, and of all cells together, if that leaves FEWEST_ROWS each.
CELL_ROWS = 1024
ALL_ROWS = 32768
FEWEST_ROWS = 32

#: Bytes of the handle that lies in front of an object.
HANDLE_BYTES = 8


@dataclass(frozen=True)
class RowsMark:
    """The rows at some time: pages and zero pages by row, and the rows used by cell."""

    pages: array[float]
    zero_pages: array[float]
    used: tuple[int, ...]
    runs: int
    cell_rows: int


class Rows:
    """The rows of the runs that were read."""

    def __init__(self, cells: int, seed: int) -> None:
        self.cell_rows = max(FEWEST_ROWS, min(CELL_ROWS, ALL_ROWS // max(1, cells)))
        self.cells = cells
        self._pages = array("d", bytes(8 * cells * self.cell_rows))
        self._zero_pages = array("d", bytes(8 * cells * self.cell_rows))
        self._used = [0] * cells
        self._latest = [(-1, 0)] * cells  # run and row, by cell
        self._runs = 0
        self._random = random.Random(seed)

    @property
    def size(self) -> int:
        """Number of rows, used or not."""
        return self.cells * self.cell_rows

    def clusters(self, runs: Sequence[Run]) -> Any:
        """Returns the runs of a piece as struct zswap_cluster[]."""
        made = ffi.new("struct zswap_cluster[]", len(runs))
        for cluster, run in zip(made, runs, strict=True):
            cluster.number, cluster.cell = run.number & 0xFFFFFFFF, run.cell
            cluster.row, cluster.pages = self._row(run), run.pages
        return made

    def _row(self, run: Run) -> int:
        number, row = self._latest[run.cell]
        if number != run.number:
            self._runs += 1
            used = self._used[run.cell]
            if used < self.cell_rows:
                self._used[run.cell] = used + 1
                row = run.cell * self.cell_rows + used
            else:
                row = run.cell * self.cell_rows + self._random.randrange(self.cell_rows)
            self._latest[run.cell] = run.number, row
        return row

    def add(self, runs: Sequence[Run], clusters: Any) -> None:
        """Adds the pages of a piece, once the pages of zero folios have left its
        clusters.
        """
        for cluster, run in zip(clusters, runs, strict=True):
            pages = run.pages + run.hole_pages
            self._pages[cluster.row] += pages
            self._zero_pages[cluster.row] += pages - cluster.pages

    def mark(self) -> RowsMark:
        """Returns the present state."""
        return RowsMark(
            self._pages[:],
            self._zero_pages[:],
            tuple(self._used),
            self._runs,
            self.cell_rows,
        )


@dataclass(frozen=True)
class TallyMark:
    """What a compressor holds at some time: bytes of struct zswap_tally[], and of
    struct zswap_class_tally[].
    """

    rows: bytes
    classes: bytes


class Tally:
    """What one compressor holds, by row, and by cell and size class."""

    def __init__(self, classes: Sequence[PoolClass], page_size: int, rows: Rows) -> None:
        sizes = [c.size for c in classes]
        last = len(sizes) - 1
        self.classes = [SizeClass(c.size, c.pages_per_zspage, c.objs_per_zspage) for c in classes]
        self._class_of = ffi.new(
            "uint16_t[]",
            [min(last, bisect_left(sizes, n + HANDLE_BYTES)) for n in range(page_size + 1)],
        )
        self._pool = ffi.new("double[]", [c.pages / c.objects * page_size for c in self.classes])
        self._zspages = ffi.new("double[]", [1 / c.objects for c in self.classes])
        self._rows = ffi.new("struct zswap_tally[]", rows.size)
        self._tallies = ffi.new("struct zswap_class_tally[]", rows.cells * len(sizes))
        self._c = ffi.new(
            "struct zswap_tallies *",
            {
                "class_of": self._class_of,
                "pool": self._pool,
                "zspages": self._zspages,
                "nr_classes": len(sizes),
                "rows": self._rows,
                "classes": self._tallies,
            },
        )

    def add(self, tally_span: Any, instance: Any, span: Any) -> None:
        """Adds what an instance holds of a span, by the function of its kind."""
        check(tally_span(instance, 0, span, self._c), "tally")

    def mark(self) -> TallyMark:
        """Returns the present state."""
        return TallyMark(bytes(ffi.buffer(self._rows)), bytes(ffi.buffer(self._tallies)))

    def held(self, mark: TallyMark, **metadata: Any) -> Held:
        """Returns a state as the statistics take it, with the fields of Held that are
        not counted here.
        """
        rows = array("d")
        rows.frombytes(mark.rows)
        assert ffi.sizeof("struct zswap_tally") == COLUMNS * rows.itemsize
        # struct zswap_class_tally: objects, 8 bytes; clusters, 4; another 4
        objects, words = array("Q"), array("I")
        objects.frombytes(mark.classes)
        words.frombytes(mark.classes)
        assert ffi.sizeof("struct zswap_class_tally") == 16
        return Held(self.classes, rows, objects[::2], words[2::4], **metadata)
