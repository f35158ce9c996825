# SPDX-License-Identifier: GPL-2.0-or-later
"""The statistics of a sample: what the whole memory would take, and how sure that is.

A sample is random runs of pages, drawn from cells: sets of pages that are sampled by
themselves. The pages of a run resemble each other, so the run, not the page, is what
was drawn. Rows add up a run each; where a cell has many runs, a row has several that
were put together at random, which leaves the variance as it is.

**Value.** A count or a number of bytes is scaled by cell, as a ratio to the pages read.
A pool is not proportional to its objects: the last zspage of each size class is partly
empty, and a class without an object costs nothing. The part that objects fill is
scaled. The empty part is the expected one, of as many objects as each class is expected
to have (:func:`partly_empty`): a small sample misses classes that the whole has.

**Interval.** By bootstrap: runs are drawn from the runs with replacement, within cells,
and each replicate is studentised, so that a skewed distribution makes a skewed
interval. A part of the memory that was read has no error (finite population). Runs are
drawn over a whole cell, as they were for the sample: to draw them within each mapping
would hide that the sample's share of a mapping is itself random. Counts of pages get
Wilson's interval for a share, of as many independent pages as their variance says: a
bootstrap does not see what no run had.

Sources: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 12;
Wilson, JASA 22 (1927); Korn and Graubard, Survey Methodology 24 (1998), for the
effective number of pages; Robbins, Proc. 3rd Berkeley Symposium (1956), for the
expectation.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import NormalDist
from typing import NamedTuple

from zswap_py._native import check, ffi, lib
from zswap_py.report.data import Estimate, Savings

#: Draws of a bootstrap.
REPLICATES = 1000

#: The level at which intervals are drawn. Intervals of few clusters hold the truth a
#: little less often than they are drawn for: drawn at 96%, they hold it in 95%.
LEVEL = 0.96

#: Limit of an interval's half in standard errors: few runs of one kind make replicates
#: with nearly no variance, and these an interval without end.
MOST_ERRORS = 3.5

#: Rows by which intervals of few are widened: by 5% at 32 rows, 0.3% at 128.
FEW = 7

#: Rows that are taken to have pages that are all alike, besides the rows of a sample.
ALIKE = 2

#: Numbers in a row of what a compressor holds: stored pages, pages stored raw, bytes,
#: bytes of zspages, zspages.
COLUMNS = 5

_Z = NormalDist().inv_cdf((1 + LEVEL) / 2)

#: Shapes of the distribution of a class's objects around what its neighbours have.
_SHAPES = (0.1, 0.2, 0.35, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)


class SizeClass(NamedTuple):
    """A class of zsmalloc."""

    size: int  #: bytes of an object
    pages: int  #: of a zspage
    objects: int  #: of a zspage


@dataclass(frozen=True)
class CellSample:
    """What was read of a cell."""

    part: int
    cold: bool | None
    pages: float  #: that it has
    read: int
    first: int  #: its first row
    rows: int

    @property
    def scale(self) -> float:
        """The number of pages that each page read stands for."""
        return self.pages / self.read if self.read else 1.0

    @property
    def unread(self) -> float:
        """The share of its pages that was not read, 0 to 1."""
        return max(0.0, 1 - self.read / self.pages) if self.pages else 0.0


@dataclass(frozen=True)
class Held:
    """What one compressor's zswap holds of a sample."""

    classes: Sequence[SizeClass]
    rows: Sequence[float]  #: COLUMNS numbers a row
    objects: Sequence[int]  #: by cell, then class
    clusters: Sequence[int]  #: with such an object, in the same order
    page_metadata: float  #: bytes of an entry, handle and slot
    zspage_metadata: float  #: bytes of a zspage's descriptor
    #: the pool in bytes, as the kernel counts it; None if several CPUs filled it
    pool_total_size: int | None = None


@dataclass(frozen=True)
class Classes:
    """The objects of some cells by size class, as estimated, and the zspages' empty
    parts.
    """

    objects: list[float]
    empty: list[float]  #: zspages
    error: float = 0.0  #: standard error of the empty parts together, in pages
    zspage_error: float = 0.0  #: the same in zspages
    holes: float = 0.0  #: bytes of further zspages, which rejected folios left


@dataclass
class Sample:
    """A sample: its cells and rows, and what each compressor holds of it."""

    page_size: int
    cells: Sequence[CellSample]
    pages: Sequence[float]  #: read, by row
    zero_pages: Sequence[float]  #: of these, by row
    held: Sequence[Held]
    seed: int = 0
    _residuals: dict[tuple[int, int], _Residuals] = field(default_factory=dict)

    @cached_property
    def everything(self) -> list[int]:
        """The numbers of all cells."""
        return list(range(len(self.cells)))

    @cached_property
    def cold(self) -> list[int]:
        """The numbers of the cells of cold pages."""
        return [i for i in self.everything if self.cells[i].cold]

    # ---- figures of some cells ----

    def zero_pages_of(self, cells: Sequence[int]) -> Estimate:
        """Returns the pages of folios that are all zero."""
        return self._count(cells, _ZERO)

    def savings(self, cells: Sequence[int], which: int, whole: Sequence[int]) -> Savings:
        """Returns what a compressor makes of some cells, as their part of the pool that
        holds the cells of `whole`.
        """
        stored, raw, rejected = (
            self._count(cells, _column(which, figure)) for figure in (_STORED, _RAW, _REJECTED)
        )
        most = self.page_size * stored.high
        length, pool, net = (_column(which, figure) for figure in (_BYTES, _POOL, _NET))
        vary = self._vary(cells, (length, pool, net))
        pool_bytes, pool_error, metadata, net_error = self._empty(cells, which, whole)
        values = [self._total(cells, column) for column in (length, pool, net)]
        values[1] += pool_bytes
        values[2] -= pool_bytes + metadata
        exact = self.exact(cells)
        if exact and cells == whole:
            values = [float(round(value)) for value in values]
        estimates = [
            _interval(value, varied, error)
            for value, varied, error in zip(values, vary, (0.0, pool_error, net_error), strict=True)
        ]
        if not stored.value and not exact:  # none was seen, and the bootstrap sees none
            estimates = [Estimate(0.0, 0.0, most) for _ in estimates]
        sizes, total, saved = estimates
        return Savings(
            stored_pages=stored,
            stored_incompressible_pages=raw,
            rejected_pages=rejected,
            compressed_bytes=_within(sizes, 0.0, most),
            pool_total_size=_within(total, 0.0, math.inf),
            net_saved_bytes=_within(saved, -math.inf, most),
        )

    def is_sure(self, cells: Sequence[int], whole: Sequence[int], precision: float) -> bool:
        """Returns whether half the interval of the best compressor's savings is at most
        that share of them: of some cells, as part of a pool that holds `whole`.
        """
        if self.exact(cells):
            return True
        saved = [self._net_saved(cells, which, whole) for which in range(len(self.held))]
        which = max(range(len(saved)), key=saved.__getitem__)
        aim = precision * saved[which]
        column, error = _column(which, _NET), self._empty(cells, which, whole)[3]
        # a bootstrap takes longer
        if _Z * math.sqrt(self._variance(cells, column)) > aim:
            return False
        return _interval(saved[which], self._vary(cells, (column,))[0], error).error <= aim

    def _net_saved(self, cells: Sequence[int], which: int, whole: Sequence[int]) -> float:
        pool, _, metadata, _ = self._empty(cells, which, whole)
        return self._total(cells, _column(which, _NET)) - pool - metadata

    def classes(self, cells: Sequence[int], which: int) -> Classes:
        """Returns the objects of some cells, and the pool's empty parts, if these cells
        alone are in it.
        """
        key = tuple(cells), which
        if key not in self._classes:
            self._classes[key] = self._classify(cells, which)
        return self._classes[key]

    def exact(self, cells: Sequence[int]) -> bool:
        """Returns whether all pages of some cells were read."""
        return not any(self.cells[cell].unread for cell in cells)

    # ---- values ----

    @cached_property
    def _classes(self) -> dict[tuple[tuple[int, ...], int], Classes]:
        return {}

    @cached_property
    def _columns(self) -> list[Sequence[float]]:
        """The figures by row: zero pages, then six of each compressor."""
        columns: list[Sequence[float]] = [array("d", self.zero_pages)]
        for held in self.held:
            stored, raw, length, pool, zspages = (
                held.rows[figure::COLUMNS] for figure in range(COLUMNS)
            )
            a_page = self.page_size - held.page_metadata
            rejected = (
                p - z - s for p, z, s in zip(self.pages, self.zero_pages, stored, strict=True)
            )
            net = (
                a_page * s - p - held.zspage_metadata * z
                for s, p, z in zip(stored, pool, zspages, strict=True)
            )
            columns += [stored, raw, array("d", rejected), length, pool, array("d", net)]
        return columns

    def _read(self, cell: int) -> list[tuple[int, float]]:
        """Returns the cells that stand for a cell, with the number of pages that each
        page read stands for: itself, or all others if none of it was read.
        """
        sampled = self.cells[cell]
        if sampled.read or not sampled.pages:
            return [(cell, sampled.scale)]
        read = sum(other.read for other in self.cells)
        return [(i, sampled.pages / read) for i, other in enumerate(self.cells) if other.read]

    def _sum(self, cell: int, column: int) -> float:
        """Returns a figure of the pages read of a cell."""
        sampled = self.cells[cell]
        return math.fsum(self._columns[column][sampled.first : sampled.first + sampled.rows])

    def _total(self, cells: Sequence[int], column: int) -> float:
        return math.fsum(
            scale * self._sum(read, column) for cell in cells for read, scale in self._read(cell)
        )

    def _objects(self, cells: Sequence[int], which: int) -> list[tuple[float, int, int]]:
        """Returns, for each class, the estimated objects; the objects and the clusters
        in the pages read.
        """
        held = self.held[which]
        n = len(held.classes)
        sums = [(0.0, 0, 0)] * n
        for cell in cells:
            for read, scale in self._read(cell):
                mine = slice(read * n, (read + 1) * n)
                own = read == cell
                sums = [
                    (a + scale * objects, b + own * objects, c + own * clusters)
                    for (a, b, c), objects, clusters in zip(
                        sums, held.objects[mine], held.clusters[mine], strict=True
                    )
                ]
        return sums

    def _classify(self, cells: Sequence[int], which: int) -> Classes:
        held = self.held[which]
        found = self._objects(cells, which)
        if self.exact(cells):
            objects = [float(round(n)) for n, _, _ in found]
            zspages = [-(-n // c.objects) for n, c in zip(objects, held.classes, strict=True)]
            empty = [
                z - n / c.objects for z, n, c in zip(zspages, objects, held.classes, strict=True)
            ]
            filled = sum(z * c.pages for z, c in zip(zspages, held.classes, strict=True))
            holes = 0.0
            if held.pool_total_size is not None and len(cells) == len(self.cells):
                holes = held.pool_total_size - filled * self.page_size
            return Classes(objects, empty, holes=holes)
        empty, variances = partly_empty(held.classes, found)
        pages = math.fsum(v * c.pages**2 for v, c in zip(variances, held.classes, strict=True))
        return Classes(
            [n for n, _, _ in found], empty, math.sqrt(pages), math.sqrt(math.fsum(variances))
        )

    def _empty(
        self, cells: Sequence[int], which: int, whole: Sequence[int]
    ) -> tuple[float, float, float, float]:
        """Returns the cells' part of the empty parts of a pool: bytes and their
        standard error, bytes of metadata, and the standard error of both.
        """
        held, all_ = self.held[which], self.classes(whole, which)
        share = 1.0
        empty = all_.empty
        if cells != whole:
            mine = [n for n, _, _ in self._objects(cells, which)]
            share = math.fsum(mine) / (math.fsum(all_.objects) or 1.0)
            empty = [
                z * (n / total if total else share)
                for z, n, total in zip(empty, mine, all_.objects, strict=True)
            ]
        pages = math.fsum(z * c.pages for z, c in zip(empty, held.classes, strict=True))
        error = all_.error * self.page_size * share
        descriptors = all_.zspage_error * held.zspage_metadata * share
        return (
            pages * self.page_size + all_.holes * share,
            error,
            math.fsum(empty) * held.zspage_metadata,
            error + descriptors,
        )

    # ---- intervals ----

    def _count(self, cells: Sequence[int], column: int) -> Estimate:
        """Returns a number of pages with Wilson's interval."""
        value = self._total(cells, column)
        if self.exact(cells):
            return Estimate.exactly(float(round(value)))
        pages = math.fsum(self.cells[cell].pages for cell in cells)
        share = min(1.0, max(0.0, value / pages))
        independent = self._independent(cells, column, share, pages)
        z2 = _Z**2 / independent
        middle = (share + z2 / 2) / (1 + z2)
        half = math.sqrt(z2 * share * (1 - share) + z2**2 / 4) / (1 + z2)
        return Estimate(
            value,
            min(value, max(0.0, middle - half) * pages),
            max(value, min(1.0, middle + half) * pages),
        )

    def _independent(self, cells: Sequence[int], column: int, share: float, pages: float) -> float:
        """Returns the number of pages that would tell as much about a share if each had
        been drawn by itself.

        The variance of the rows says how much the pages of a run resemble each other;
        but that of few rows with such a page says little, and that of none nothing. So
        ALIKE rows count besides, in which all pages are alike.
        """
        sampled = [(cell, self.cells[cell]) for cell in cells]
        alike = math.fsum((c.pages / pages) ** 2 * c.unread / max(1, c.rows) for _, c in sampled)
        if not 0 < share < 1:
            return 1 / alike
        found = 0
        for _, c in sampled:
            rows = slice(c.first, c.first + c.rows)
            values = self._columns[column][rows]
            some = sum(map(bool, values))
            rest = sum(v < p for v, p in zip(values, self.pages[rows], strict=True))
            found += min(some, rest)
        each = share * (1 - share)
        variance = self._variance(cells, column) / pages**2
        return each * (found + ALIKE) / (found * variance + ALIKE * each * alike)

    def _deviations(self, cell: int, column: int) -> _Residuals:
        """Returns how a figure of a cell's rows differs from what their pages would
        have on average.
        """
        key = cell, column
        if key not in self._residuals:
            sampled = self.cells[cell]
            rows = slice(sampled.first, sampled.first + sampled.rows)
            values, pages = self._columns[column][rows], self.pages[rows]
            mean = math.fsum(values) / (math.fsum(pages) or 1.0)
            rest = array("d", (v - mean * p for v, p in zip(values, pages, strict=True)))
            n = len(rest)
            self._residuals[key] = _Residuals(
                rest, math.fsum(r * r for r in rest) * n / (n - 1) if n > 1 else 0.0
            )
        return self._residuals[key]

    def _variance(self, cells: Sequence[int], column: int) -> float:
        """Returns the variance of a figure's total."""
        return self._drawn_variance(cells, column) + self._other_variance(cells, column)

    def _drawn_variance(self, cells: Sequence[int], column: int) -> float:
        """Returns the part of cells with rows enough for a bootstrap."""
        return math.fsum(
            c.unread * c.scale**2 * self._deviations(cell, column).variance
            for cell, c in ((cell, self.cells[cell]) for cell in cells)
            if c.rows > 1
        )

    def _other_variance(self, cells: Sequence[int], column: int) -> float:
        """Returns the part of the other cells, which may have anything: the standard
        error is what they are estimated to have.
        """
        return math.fsum(
            c.unread * self._total([cell], column) ** 2
            for cell, c in ((cell, self.cells[cell]) for cell in cells)
            if c.rows < 2
        )

    def _vary(self, cells: Sequence[int], columns: Sequence[int]) -> list[_Varied]:
        """Returns the errors of some figures, and how far their replicates lie from
        them.
        """
        n = len(columns)
        sums = ffi.new("double[]", n * REPLICATES)
        variances = ffi.new("double[]", n * REPLICATES)
        to = ffi.new("struct resample *", (REPLICATES, n, 0, sums, variances))
        for cell in cells:
            sampled = self.cells[cell]
            if sampled.unread and sampled.rows > 1:
                values = array("d", bytes(8 * n * sampled.rows))
                for i, column in enumerate(columns):
                    values[i::n] = self._deviations(cell, column).values
                to.seed = (self.seed << 20 ^ cell) & 0xFFFFFFFFFFFFFFFF
                factor = sampled.scale * math.sqrt(sampled.unread)
                with ffi.from_buffer("double[]", values) as drawn:
                    check(lib.resample_add(to, drawn, sampled.rows, factor), "bootstrap")
        lib.resample_studentise(to)
        replicates = list(sums)
        rows = sum(sampled.rows for sampled in (self.cells[cell] for cell in cells))
        widened = 1 + (FEW / max(FEW, rows)) ** 2
        return [
            _Varied(
                math.sqrt(self._drawn_variance(cells, column)) * widened,
                math.sqrt(self._other_variance(cells, column)),
                *_ends(replicates[i::n]),
            )
            for i, column in enumerate(columns)
        ]


class _Residuals(NamedTuple):
    values: array[float]
    variance: float  #: of their sum, in a sample from an unlimited memory


class _Varied(NamedTuple):
    error: float  #: standard error, of the cells that the replicates are of
    other: float  #: of the others
    low: float  #: of the interval, in standard errors from the value
    high: float


# Columns of Sample: the zero pages, then those of each compressor.
_ZERO = 0
_STORED, _RAW, _REJECTED, _BYTES, _POOL, _NET = range(6)


def _column(which: int, figure: int) -> int:
    return 1 + 6 * which + figure


def _ends(replicates: Sequence[float]) -> tuple[float, float]:
    """Returns the ends of the interval, in standard errors from the value."""
    ratios = sorted(replicates)
    skip = round((1 - LEVEL) / 2 * len(ratios))
    low, high = ratios[skip], ratios[-1 - skip]
    return min(MOST_ERRORS, max(0.0, high)), min(MOST_ERRORS, max(0.0, -low))


def _interval(value: float, varied: _Varied, error: float) -> Estimate:
    """Returns an estimate with its interval. `error` is the standard error of a part
    that does not depend on the runs.
    """
    error = math.hypot(error, varied.other)
    return Estimate(
        value,
        value - math.hypot(varied.low * varied.error, _Z * error),
        value + math.hypot(varied.high * varied.error, _Z * error),
    )


def _within(estimate: Estimate, low: float, high: float) -> Estimate:
    return Estimate(
        estimate.value,
        min(estimate.value, max(low, estimate.low)),
        max(estimate.value, min(high, estimate.high)),
    )


# ---- partly empty zspages ----


def partly_empty(
    classes: Sequence[SizeClass], found: Sequence[tuple[float, int, int]]
) -> tuple[list[float], list[float]]:
    """Returns, for each class, the expected empty part of its zspages, in zspages, and
    the variance of that.

    `found` has for each class the objects of the whole memory as estimated, the objects
    in the pages read and the number of runs that have one. With N objects of m a zspage
    the empty part is ceil(N / m) - N / m: on average about half a zspage if N is large,
    but nearly a whole one for the first object, and nothing without.

    N is not known where few runs, or none, have an object of the class. Sizes that are
    close occur about as often. So the number of runs with a class's object is taken as
    gamma distributed around what the classes beside it have, weighted by 1 / (1 +
    distance²), with a shape that makes the sample most likely; what the sample has of
    the class itself then narrows this (empirical Bayes). The unread runs with such an
    object then have a negative binomial distribution, and each is expected to have as
    many objects as those that were read.
    """
    seen = [clusters for _, _, clusters in found]
    total, read = sum(n for n, _, _ in found), sum(n for _, n, _ in found)
    if not read:
        return [0.0] * len(classes), [0.0] * len(classes)
    around = _around(seen)
    shape = max(_SHAPES, key=lambda shape: _likelihood(shape, seen, around))
    parts = [
        _expected(
            c.objects,
            n,
            n / clusters if clusters else 1.0,
            shape + clusters,
            (estimated / n if n else total / read) - 1,
            shape / mean + 1,
        )
        for c, (estimated, n, clusters), mean in zip(classes, found, around, strict=True)
    ]
    return [mean for mean, _ in parts], [variance for _, variance in parts]


def _around(seen: Sequence[int]) -> list[float]:
    """Returns for each class the weighted mean of what the others have."""
    weight = [1 / (1 + distance**2) for distance in range(len(seen))]
    means = []
    for i in range(len(seen)):
        others = [(weight[abs(i - j)], n) for j, n in enumerate(seen) if j != i]
        means.append(max(1e-9, sum(w * n for w, n in others) / (sum(w for w, _ in others) or 1.0)))
    return means


def _likelihood(shape: float, seen: Sequence[int], around: Sequence[float]) -> float:
    """Returns the logarithm of a shape's likelihood, up to a constant."""
    return math.fsum(
        math.lgamma(n + shape)
        - math.lgamma(shape)
        + shape * math.log(shape / (shape + mean))
        + n * math.log(mean / (shape + mean))
        for n, mean in zip(seen, around, strict=True)
    )


def _expected(
    objects: int, read: int, a_run: float, shape: float, unread: float, rate: float
) -> tuple[float, float]:
    """Returns mean and variance of the empty part of zspages of so many `objects`.

    `read` objects are known. The runs with others are negative binomial: `shape`, and
    the ratio of `unread` to `rate`. Each has `a_run` objects.
    """
    half = (objects - 1) / (2 * objects), (1 - 1 / objects**2) / 12
    if objects == 1:
        return 0.0, 0.0
    mean = shape * unread / rate
    deviation = math.sqrt(mean * (1 + unread / rate))
    ratio = unread / (rate + unread)
    probability = (1 - ratio) ** shape
    # the objects of the last zspage are as likely any number: over many zspages
    if deviation * a_run > 2 * objects or probability < 1e-200:
        return half
    left, first, second, runs = 1.0, 0.0, 0.0, 0
    while left > 1e-6 and runs < 10_000:
        n = read + math.ceil(runs * a_run)
        empty = -(-n // objects) - n / objects
        first += probability * empty
        second += probability * empty**2
        left -= probability
        probability *= (runs + shape) / (runs + 1) * ratio
        runs += 1
    return first, max(0.0, second - first**2)
