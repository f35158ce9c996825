# SPDX-License-Identifier: GPL-2.0-or-later
"""Which pages of a set are read: one sample over all, or rounds of each cell."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from zswap_py.sources.extents import Extents, Pick

# each extent: the cell, a gap before it, its pages; an area ends with the cell
EXTENTS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 9), st.integers(1, 40)), min_size=1, max_size=60
)


def made(extents: Iterable[tuple[int, int, int]], page_size: int = 1) -> Extents:
    """Extents in areas: those beside each other of one cell."""
    result, at = Extents(page_size), 0
    areas: list[tuple[int, list[int], list[int]]] = []
    for cell, gap, pages in extents:
        if not areas or areas[-1][0] != cell:
            areas.append((cell, [], []))
        at += gap
        areas[-1][1].append(at * page_size)
        areas[-1][2].append(pages)
        at += pages
    for stratum, (cell, where, pages_of) in enumerate(areas):
        assert result.add(0, cell, stratum, where, pages_of) == sum(pages_of)
    return result


def pages_of(extents: Extents, picks: Iterable[Pick]) -> Counter[tuple[int, int]]:
    """How often each page comes, by cell and address."""
    return Counter(
        (extents.cell[area], where + i) for area, where, pages in picks for i in range(pages)
    )


@given(EXTENTS, st.integers(1, 12))
def test_small_cells_are_read_whole_and_each_page_once(extents, run) -> None:
    found = made(extents)
    whole = pages_of(found, found)
    assert set(whole.values()) == {1}
    assert len(whole) == found.total == sum(found.by_cell.values())
    rounds = found.rounds(first=16, most=4096, run=run, seed=1)
    read: Counter[tuple[int, int]] = Counter()
    for part in rounds:
        pages = pages_of(found, part)
        assert Counter(cell for cell, _ in pages.elements()) == part.by_cell
        assert [*part] == sorted(part)
        assert max(pages for _, _, pages in part) <= run
        read += pages
    assert read == whole


@given(EXTENTS, st.integers(1, 12), st.integers(0, 5))
def test_a_sample_over_all_cells_has_each_page_once(extents, run, seed) -> None:
    found = made(extents)
    wanted = max(1, found.total // 3)
    sample = found.sample(wanted, run, seed)
    read = pages_of(found, sample)
    assert set(read) <= set(pages_of(found, found))
    assert set(read.values()) == {1}
    assert sum(sample.by_cell.values()) == len(read)
    assert found.sample(found.total, run, seed) is found


def test_rounds_double_what_was_read_of_each_cell() -> None:
    found = made([(cell, 3, 5000) for cell in (0, 1, 0, 1, 2)] + [(3, 1, 30)])
    rounds = found.rounds(first=64, most=1024, run=8, seed=0)
    done: Counter[int] = Counter()
    sizes = []
    for part in rounds:
        done.update(part.by_cell)
        sizes.append(done.copy())
    assert [s[0] for s in sizes] == [s[2] for s in sizes] == [64, 128, 256, 512, 1024]
    assert [s[3] for s in sizes] == [30] * 5  # whole in the first round


def test_the_first_rounds_are_a_random_sample_of_each_cell() -> None:
    """Each page comes as often as any other, in the first round and in all; a cell
    beside it makes no difference.
    """
    found = made([(0, 2, 100), (1, 2, 3000), (0, 2, 3), (0, 2, 1), (1, 0, 9), (0, 2, 17)])
    hits: dict[int, Counter[tuple[int, int]]] = defaultdict(Counter)
    seeds = 3000
    for seed in range(seeds):
        for number, part in enumerate(found.rounds(first=16, most=64, run=8, seed=seed)):
            hits[number] += pages_of(found, part)
    for number, counts in hits.items():
        of_cell = [n for (cell, _), n in counts.items() if cell == 0]
        assert len(of_cell) == 121
        share = sum(of_cell) / 121 / seeds
        error = (share * (1 - share) / seeds) ** 0.5
        assert all(abs(n / seeds - share) < 5 * error for n in of_cell), number
    drawn = sum(n for counts in hits.values() for (cell, _), n in counts.items() if cell == 0)
    # a run of fewer than 8 pages is as likely as another
    assert 0.8 * 64 < drawn / seeds < 1.2 * 64


def test_the_seed_decides() -> None:
    found = made([(0, 1, 9000)])

    def drawn(seed: int) -> list[list[Pick]]:
        return [[*part] for part in found.rounds(64, 1024, 8, seed)]

    assert drawn(1) == drawn(1) != drawn(2)


def test_offsets_are_bytes() -> None:
    found = made([(0, 5, 100)], page_size=4096)
    picks = [pick for part in found.rounds(8, 4096, 8, 0) for pick in part]
    assert sorted(where for _, where, _ in picks) == [(5 + i) * 4096 for i in range(0, 100, 8)]
