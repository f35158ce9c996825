# SPDX-License-Identifier: GPL-2.0-or-later
"""report/estimate.py: what a sample says of the whole, and how sure it is."""

from __future__ import annotations

import errno
import itertools
import math
import os
import random
import statistics
import zlib
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from corpus import SEEDS, corpus

from zswap_py._native import ffi, lib
from zswap_py.report.data import Estimate, Report, Savings
from zswap_py.report.estimate import (
    COLUMNS,
    CellSample,
    Held,
    Sample,
    SizeClass,
    partly_empty,
)
from zswap_py.report.measure import measure
from zswap_py.sources.pages import open_pages

P = 4096

pytestmark = pytest.mark.skipif(
    os.sysconf("SC_PAGE_SIZE") != P, reason=("the corpora's pages are of 4,096 bytes")
)


# ---- samples of a memory that is known ----


@pytest.fixture(scope="module")
def memory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """6,000 pages, alike ones beside each other, as a process has them."""
    pages = [page for seed in SEEDS for page in corpus(seed)]
    pages.sort(key=lambda page: len(zlib.compress(page, 1)) // 256)
    blocks = [pages[i : i + 12] for i in range(0, len(pages), 12)]
    random.Random(1).shuffle(blocks)
    path = tmp_path_factory.mktemp("memory") / "memory"
    path.write_bytes(b"".join(itertools.chain(*blocks)))
    return path


def report(*paths: Path, sample: int | None = None, seed: int = 0, by: Any = None) -> Report:
    with open_pages(paths, sample_bytes=sample, seed=seed, by=by) as pages:
        return measure(pages, ("zstd",), jobs=1, seed=seed).report


FIGURES: dict[str, Callable[[Report], Estimate]] = {
    "zero_pages": lambda r: r.zero_pages,
    "stored_pages": lambda r: r.figures[0].all.stored_pages,
    "stored_incompressible_pages": lambda r: r.figures[0].all.stored_incompressible_pages,
    "compressed_bytes": lambda r: r.figures[0].all.compressed_bytes,
    "pool_total_size": lambda r: r.figures[0].all.pool_total_size,
    "net_saved_bytes": lambda r: r.figures[0].all.net_saved_bytes,
}
SEEDS_TRIED = 60


@pytest.mark.parametrize("mib", [1, 4])
def test_estimates_are_right_on_average_and_their_intervals_hold_what_is_true(
    memory: Path, mib: int
) -> None:
    whole = report(memory)
    samples = [report(memory, sample=mib << 20, seed=seed) for seed in range(SEEDS_TRIED)]
    for name, figure in FIGURES.items():
        truth, found = figure(whole).value, [figure(sample) for sample in samples]
        assert figure(whole).exact
        values = [e.value for e in found]
        deviation = statistics.stdev(values)
        error = abs(statistics.fmean(values) / truth - 1)
        # within what 60 seeds can tell
        assert error < 0.02 + 2 * deviation / truth / math.sqrt(SEEDS_TRIED), name
        # 95% of 60 are 57; fewer than 51 have a chance of 1%
        assert sum(e.low <= truth <= e.high for e in found) >= 51, name
        width = statistics.fmean((e.high - e.low) / 2 for e in found)
        assert 0.75 * 1.96 * deviation < width < 1.5 * 1.96 * deviation, name


def test_a_pool_is_not_multiplied_with_its_partly_empty_zspages(memory: Path) -> None:
    """The pool of a sample of 1 MiB, multiplied, is a third too large."""
    whole, part = report(memory), report(memory, sample=1 << 20)
    truth = whole.figures[0].sample["pool_total_size"]
    multiplied = part.figures[0].sample["pool_total_size"] * 6000 / part.sample.pages
    assert multiplied > 1.25 * truth
    pools = [
        report(memory, sample=1 << 20, seed=seed).figures[0].all.pool_total_size.value
        for seed in range(20)
    ]
    assert statistics.fmean(pools) == pytest.approx(truth, rel=0.05)


def test_parts_add_up_to_the_whole(memory: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"".join(corpus(2)[:700]))
    for sample in (None, 2 << 20):
        whole = report(memory, other, sample=sample, by="process")
        assert [group.pages for group in whole.groups] == [6000, 700]
        assert sum(g.zero_pages.value for g in whole.groups) == pytest.approx(
            whole.zero_pages.value
        )
        (f,) = whole.figures
        parts = [group.savings["zstd"].all for group in whole.groups]
        for name in vars(f.all):
            total = sum(getattr(part, name).value for part in parts)
            assert total == pytest.approx(getattr(f.all, name).value, abs=1)
        assert all(e.exact for part in parts for e in vars(part).values()) == (sample is None)
    # the part is not a pool of its own, which would have more zspages that are not full
    alone = report(other).figures[0].all
    assert parts_of(report(memory, other, by="process"))[1].pool_total_size.value < (
        0.95 * alone.pool_total_size.value
    )


def parts_of(made: Report) -> list[Savings]:
    return [group.savings["zstd"].all for group in made.groups]


# ---- samples of any kind ----

CLASSES = [SizeClass(size, 1, P // size) for size in (512, 1024, 2048, 4096)]


def sample_of(cells: Sequence[tuple[float, Sequence[tuple[int, int]]]], **how: Any) -> Sample:
    """A sample: for each cell its pages, and its rows of 8 pages each: the number of
    zero pages, and the size class of the others.
    """
    made: list[CellSample] = []
    zero, rows = array("d"), array("d")
    objects: list[int] = []
    clusters: list[int] = []
    for part, (pages, of_cell) in enumerate(cells):
        found = [[0, 0] for _ in CLASSES]
        made.append(CellSample(part, None, pages, 8 * len(of_cell), len(zero), len(of_cell)))
        for zeros, kind in of_cell:
            stored = 8 - zeros
            zero.append(zeros)
            size = CLASSES[kind].size
            rows.extend((stored, stored * (kind == 3), 0.9 * size * stored))
            rows.extend((size * stored, size * stored / P))
            found[kind][0] += stored
            found[kind][1] += stored > 0
        objects += [n for n, _ in found]
        clusters += [n for _, n in found]
    assert len(rows) == COLUMNS * len(zero)
    held = Held(CLASSES, rows, objects, clusters, page_metadata=80.0, zspage_metadata=64.0)
    return Sample(P, made, [8.0] * len(zero), zero, [held], **how)


def saved(sample: Sample) -> Estimate:
    return sample.savings(sample.everything, 0, sample.everything).net_saved_bytes


def test_what_was_read_whole_is_exact() -> None:
    sample = sample_of([(16, [(0, 0), (1, 1)]), (8, [(8, 0)])])
    savings = sample.savings(sample.everything, 0, sample.everything)
    assert all(e.exact for e in vars(savings).values())
    assert savings.stored_pages.value == 15
    # 8 of 512 bytes and 7 of 1,024: a page and two
    assert savings.pool_total_size.value == 3 * P
    metadata = 15 * 80
    assert savings.net_saved_bytes.value == (15 - 3) * P - metadata - 3 * 64
    assert sample.zero_pages_of([1]) == Estimate.exactly(8)


def test_a_part_of_a_pool_that_was_read_whole_is_exact_too() -> None:
    sample = sample_of([(8, [(0, 1)]), (8, [(1, 1)])])
    parts = [sample.savings([cell], 0, sample.everything) for cell in range(2)]
    # 15 objects of four a page: four pages
    assert [p.pool_total_size.value for p in parts] == pytest.approx(
        [4 * P * 8 / 15, 4 * P * 7 / 15]
    )
    assert all(p.pool_total_size.exact for p in parts)


def test_the_more_is_read_the_surer() -> None:
    rows = [(i % 3, i % 4) for i in range(128)]
    errors = []
    for read in (16, 64, 120, 128):
        sample = sample_of([(1024, rows[:read])])
        errors.append(saved(sample).error)
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 2.5 * errors[1]  # four times as many, and less that was not read
    # 120 of 128 runs were read, and only the others can differ
    assert errors[2] < 0.4 * errors[1]
    assert errors[-1] == 0


def test_pages_that_no_run_had_may_be_there() -> None:
    sample = sample_of([(8000, [(0, 0)] * 50)])
    zero = sample.zero_pages_of(sample.everything)
    savings = sample.savings(sample.everything, 0, sample.everything)
    assert (zero.value, zero.low) == (0, 0)
    # 3.7 of 50 runs at 95%: the rule of three and some
    assert 3 / 50 < zero.high / 8000 < 5 / 50
    stored = savings.stored_pages
    assert (stored.high, stored.low) == (8000, pytest.approx(8000 - zero.high))
    only_zero = sample_of([(8000, [(8, 0)] * 50)])
    nothing = only_zero.savings(only_zero.everything, 0, only_zero.everything)
    assert nothing.net_saved_bytes.value == 0
    assert nothing.net_saved_bytes.high == nothing.stored_pages.high * P > 0


def test_pages_that_few_runs_had_are_not_taken_for_independent() -> None:
    """One zero page in one of 50 runs: whole runs may be zero as well."""
    sample = sample_of([(8000, [(1, 0), *[(0, 0)] * 49])])
    zero = sample.zero_pages_of(sample.everything)
    assert zero.value == 20
    assert zero.high / 8000 > 2.5 / 50
    # many runs with one such page each say that they are independent
    many = sample_of([(8000, [(1, 0)] * 25 + [(0, 0)] * 25)])
    assert many.zero_pages_of(many.everything).error < 8000 * 0.06


def test_a_cell_that_was_not_read_is_taken_for_one_like_the_others() -> None:
    sample = sample_of([(1000, [(0, 1), (0, 2)] * 20), (500, [])])
    both = sample.savings(sample.everything, 0, sample.everything)
    unread = sample.savings([1], 0, sample.everything)
    read = sample.savings([0], 0, sample.everything)
    assert unread.stored_pages.value == 500
    assert unread.compressed_bytes.value == pytest.approx(read.compressed_bytes.value / 2)
    assert both.pool_total_size.value == pytest.approx(
        read.pool_total_size.value + unread.pool_total_size.value
    )
    # nothing is known of it
    assert unread.net_saved_bytes.error > 0.9 * unread.net_saved_bytes.value


def test_one_run_says_nothing_of_the_others() -> None:
    sample = sample_of([(1000, [(0, 1)])])
    net = saved(sample)
    assert net.error > 0.9 * net.value


def test_cells_count_by_their_pages() -> None:
    """One page of a cell stands for 10, one of the other for 100."""
    sample = sample_of([(160, [(0, 0), (2, 0)]), (1600, [(4, 1), (8, 1)])])
    assert sample.zero_pages_of(sample.everything).value == 2 * 10 + 12 * 100
    assert sample.classes(sample.everything, 0).objects == [140, 400, 0, 0]


def test_a_seed_is_repeatable_and_matters() -> None:
    rows = [(i * i % 5, i % 4) for i in range(40)]
    nets = [saved(sample_of([(4000, rows)], seed=seed)) for seed in (1, 1, 2, -3, 1 << 70)]
    assert nets[0] == nets[1] != nets[2]
    assert all(abs(e.error / nets[0].error - 1) < 0.2 for e in nets)


def test_a_skewed_sample_has_a_skewed_interval() -> None:
    """Few runs that save nothing: there may well be more of them."""
    net = saved(sample_of([(40_000, [(0, 0)] * 90 + [(0, 3)] * 5)]))
    assert net.value - net.low > 1.2 * (net.high - net.value)


def test_it_is_sure_if_half_the_interval_is_small() -> None:
    rows = [(i % 3, i % 4) for i in range(128)]
    sample = sample_of([(10_000, rows), (8, [(0, 3)])])
    net = saved(sample)
    share = net.error / net.value
    everything = sample.everything
    assert sample.is_sure(everything, everything, 1.001 * share)
    assert not sample.is_sure(everything, everything, 0.999 * share)
    # nothing of it is saved, but all of it was read
    assert sample.is_sure([1], everything, 1e-9)
    noise = sample_of([(10_000, [(0, 3)] * 128)])
    assert not noise.is_sure([0], [0], 0.5)


# ---- partly empty zspages ----


def population(seed: int, skew: float) -> list[int]:
    """Objects by class: a smooth histogram with classes that have few or none."""
    rng = random.Random(seed)
    return [
        int(2000 * math.exp(-abs(i - 30) / 9) * rng.gammavariate(skew, 1 / skew))
        for i in range(100)
    ]


@pytest.mark.parametrize("skew", [0.7, 5.0])
@pytest.mark.parametrize("share", [1 / 64, 1 / 8])
def test_the_empty_part_is_expected_well_from_a_small_sample(share: float, skew: float) -> None:
    classes = [SizeClass(32 * i + 32, 1 + i % 4, 2 + (7 * i) % 60) for i in range(100)]
    ratios, halves = [], []
    for seed in range(20):
        whole = population(seed, skew)
        rng = random.Random(seed)
        read = [sum(rng.random() < share for _ in range(n)) for n in whole]
        found = [(n / share, n, n) for n in read]
        empty, variances = partly_empty(classes, found)
        truth = sum(
            (-(-n // c.objects) - n / c.objects) * c.pages
            for n, c in zip(whole, classes, strict=True)
        )
        ratios.append(sum(e * c.pages for e, c in zip(empty, classes, strict=True)) / truth)
        halves.append(sum(c.pages / 2 for n, c in zip(read, classes, strict=True) if n) / truth)
        assert all(0 <= e < 1 for e in empty)
        assert all(0 <= v <= 1 / 4 for v in variances)
    assert statistics.fmean(ratios) == pytest.approx(1, abs=0.08)
    # half a zspage for each class that was seen is no match
    assert abs(statistics.fmean(ratios) - 1) < abs(statistics.fmean(halves) - 1)


def test_what_is_read_whole_has_no_expectation() -> None:
    classes = [SizeClass(64, 1, 64), SizeClass(128, 1, 32), SizeClass(4096, 1, 1)]
    found = [(65.0, 65, 9), (32.0, 32, 8), (5.0, 5, 5)]
    empty, variances = partly_empty(classes, found)
    assert empty == pytest.approx([2 - 65 / 64, 0, 0])
    assert variances == pytest.approx([0, 0, 0])
    assert partly_empty(classes, [(0.0, 0, 0)] * 3) == ([0.0] * 3, [0.0] * 3)


# ---- the C function ----


def resample(values: Sequence[float], cols: int, replicates: int = 2000, seed: int = 1) -> Any:
    to = ffi.new("struct resample *")
    sums, variances = (ffi.new("double[]", replicates * cols) for _ in range(2))
    to.replicates, to.cols, to.seed = replicates, cols, seed
    to.sums, to.variances = sums, variances
    rc = lib.resample_add(to, ffi.new("double[]", values), len(values) // cols, 2.0)
    return rc, list(sums), list(variances)


def test_replicates_vary_as_sums_of_random_rows_do() -> None:
    n = 40
    first = [i - (n - 1) / 2 for i in range(n)]
    rc, sums, variances = resample([x for v in first for x in (v, -3 * v)], 2)
    assert rc == 0
    mine, other = sums[::2], sums[1::2]
    # the same rows were drawn for both columns
    assert other == pytest.approx([-3 * s for s in mine])
    expected = 4 * sum(v * v for v in first)  # factor²
    assert statistics.fmean(mine) == pytest.approx(0, abs=4 * math.sqrt(expected / 2000))
    assert statistics.pvariance(mine) == pytest.approx(expected, rel=0.15)
    assert statistics.fmean(variances[::2]) == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize(("rows", "cols"), [(1, 1), (0, 1), (2, 1025)])
def test_what_cannot_be_resampled(rows: int, cols: int) -> None:
    assert resample([0.0] * rows * cols, cols, 1)[0] == -errno.EINVAL
