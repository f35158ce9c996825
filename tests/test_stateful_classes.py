# SPDX-License-Identifier: GPL-2.0-or-later
"""The library against the model where many objects share a class, and where the pool is
a page from its limits.

test_stateful.py goes through all calls with real codecs. Here a compressor in Python
gives the lengths that pages name, so that a history is about few size classes, many
zspages of each, and lengths at their borders.
"""

from __future__ import annotations

import errno
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from model import Zswap as Model
from model_codecs import coded, page_of

import zswap_py as zs

SLOTS = 96
BATCHING = {"coded8": 8, "coded3": 3}
SEQUENTIAL = {None: 1, "v10": 2, "v13": 8}
RAISES = -1

# In 4,096ths of a page: both sides of the huge class and of a page; 128, 37 and down to
# 1 object a zspage
LENGTHS = (24, 100, 408, 872, 1337, 2000, 2856, 3624, 3625, 4095, 4096, 4097, 0)


# --- a compressor whose lengths stand in its pages ------------------------------------


class Boom(Exception):
    """What a compressor in Python raises."""


def coded_length(page: bytes) -> int:
    """The model's compressor."""
    length = coded(page)
    if length > len(page):
        return -errno.ENOSPC
    return -errno.EIO if length == RAISES else length


def compress(page: memoryview, room: int) -> bytes:
    length = coded_length(bytes(page))
    if length == -errno.EIO:
        raise Boom
    return bytes(room + 1) if length < 0 else (bytes(page[:5]) + bytes(length))[:length]


def decompress(obj: memoryview, page_size: int) -> bytes:
    return page_of(coded(bytes(obj)), obj[4], page_size)


@contextmanager
def registered() -> Iterator[None]:
    names = {"coded": 1, **BATCHING}
    for name, batch_size in names.items():
        zs.register_compressor(name, compress, decompress, batch_size=batch_size)
    try:
        yield
    finally:
        for name in names:
            zs.unregister_compressor(name)


# --- the machine ----------------------------------------------------------------------

# An example has a menu of its own: lengths, and now and then one off it
menus = st.lists(st.sampled_from(LENGTHS), min_size=1, max_size=3)
dishes = st.sampled_from((0, 0, 0, 1, 1, 2, 2, 0, 0, 0, 1, 1, 2, RAISES, 17, 60000))
runs = st.lists(st.tuples(dishes, st.integers(1, 6), st.integers(0, 255)), min_size=1, max_size=4)
entries = st.integers(0, SLOTS - 1)


class LibraryAgainstModel(RuleBasedStateMachine):
    kernel: str
    incompressible: str
    series: str | None
    z: zs.Zswap
    model: Model

    @initialize(
        page_size=st.sampled_from([4096, 4096, 16384, 65536]),
        chain_size=st.sampled_from([8, 8, 4, 16]),
        ram_pages=st.sampled_from([1 << 20, 1 << 20, 220, 60]),
        compressor=st.sampled_from(["coded", "coded", *BATCHING]),
        menu=menus,
    )
    def start(
        self, page_size: int, chain_size: int, ram_pages: int, compressor: str, menu: list[int]
    ) -> None:
        self.page_size, self.menu, self.booms = page_size, menu, 0
        same: dict[str, Any] = {
            "page_size": page_size,
            "chain_size": chain_size,
            "total_ram": ram_pages * page_size + 1,  # a part of a page does not count
            "kernel": self.kernel,
            "incompressible": self.incompressible,
        }
        self.model = Model(
            dict.fromkeys(("coded", *BATCHING), self._coded),
            compressor,
            **same,
            batch_size=SEQUENTIAL[self.series],
            batching=BATCHING if self.series else {},
        )
        self.z = zs.Zswap(compressor, **same, series=self.series, nr_cpus=1)
        assert self.z.swapon(pages=SLOTS) == 0

    def _coded(self, page: bytes) -> int:
        length = coded_length(page)
        self.booms += length == -errno.EIO
        return length

    def _page(self, dish: int, fill: int) -> bytes:
        """From the menu; or a length of its own, up to one more than a page."""
        if dish == RAISES:
            length = RAISES
        elif dish < 3:
            length = self.menu[dish % len(self.menu)] * self.page_size // 4096
        else:
            length = min(dish, self.page_size + 1)
        return page_of(length, fill, self.page_size)

    def _both(self, entry: int, folio: bytes) -> bool:
        before = self.booms
        expected = self.model.store(entry, folio)
        if self.booms > before:  # raised again, whatever became of the page
            with pytest.raises(Boom):
                self.z.store(entry, folio)
        else:
            result = self.z.store(entry, folio)
            assert (bool(result), result.reason) == (bool(expected), expected.reason)
        return bool(expected)

    @rule(entry=entries, parts=runs)
    def store(self, entry: int, parts: list[tuple[int, int, int]]) -> None:
        """A folio as long as there are slots; mostly over older entries."""
        pages = [self._page(dish, fill) for dish, count, fill in parts for _ in range(count)]
        self._both(entry, b"".join(pages[: SLOTS - entry]))

    @rule(first=entries, step=st.sampled_from([1, 1, 2, 3, 5, 7]), count=st.integers(1, 40))
    def free_a_pattern(self, first: int, step: int, count: int) -> None:
        for slot in range(first, min(SLOTS, first + step * count), step):
            self.z.invalidate(slot)
            self.model.invalidate(slot)

    @rule(
        first=entries,
        step=st.sampled_from([1, 1, 2, 3, 5, 7]),
        count=st.integers(1, 40),
        fill=st.integers(0, 255),
    )
    def store_a_pattern(self, first: int, step: int, count: int, fill: int) -> None:
        for i, slot in enumerate(range(first, min(SLOTS, first + step * count), step)):
            self._both(slot, self._page(i % 3, fill))

    @rule(which=st.lists(entries, max_size=20), swapcache=st.booleans())
    def load(self, which: list[int], swapcache: bool) -> None:
        out, expected = (bytearray(b"\xa5" * self.page_size) for _ in range(2))
        for entry in which:
            assert self.z.load(entry, out, swapcache=swapcache) == self.model.load(
                entry, expected, swapcache
            )
            assert out == expected

    @rule(which=st.lists(entries, max_size=20))
    def load_batch(self, which: list[int]) -> None:
        out, expected = (bytearray(b"\xa5" * self.page_size * len(which)) for _ in range(2))
        assert self.z.load_batch(which, out) == self.model.load_batch(which, expected)
        assert out == expected

    @rule(
        percent=st.sampled_from([90, 50, 100, 0]), dish=st.integers(0, 2), slack=st.integers(0, 2)
    )
    def to_the_limit_and_back(self, percent: int, dish: int, slack: int) -> None:
        """The maximum just where the pool is, or over it; then page by page down to
        where stores are taken again.
        """
        z, m = self.z, self.model
        z.accept_threshold_percent = m.accept_threshold_percent = percent
        full = -(-(m.total_pages() + slack) * 100 // (m.total_ram // self.page_size))
        z.max_pool_percent = m.max_pool_percent = full
        page = self._page(dish, 0)
        for slot in range(SLOTS):
            if not self._both(slot, page):
                break
        for slot in reversed(range(SLOTS)):
            z.invalidate(slot)
            m.invalidate(slot)
            if self._both(0, page):
                break
        z.max_pool_percent = m.max_pool_percent = 100
        z.accept_threshold_percent = m.accept_threshold_percent = 100

    @rule(name=st.sampled_from(["coded", *BATCHING]))
    def switch(self, name: str) -> None:
        self.z.compressor = self.model.compressor = name

    @invariant()
    def same(self) -> None:
        assert self.z.stats() == self.model.stats()
        held = {slot: self.z.length(slot) for slot in range(SLOTS) if slot in self.z}
        assert held == {slot: entry.length for slot, entry in self.model.entries.items()}

    def teardown(self) -> None:
        if not hasattr(self, "z"):
            return
        self.z.check()
        self.load_batch(sorted(self.model.entries))
        self.same()
        self.z.close()


@pytest.mark.parametrize("series", [None, "v10", "v13"])
@pytest.mark.parametrize("incompressible", ["store", "reject"])
@pytest.mark.parametrize("kernel", ["6.16", "6.18"])
def test_few_classes_and_the_limits(kernel: str, incompressible: str, series: str | None) -> None:
    machine = type(
        "Machine",
        (LibraryAgainstModel,),
        {
            "kernel": kernel,
            "incompressible": incompressible,
            "series": series,
        },
    )
    with registered():
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=20,
                stateful_step_count=30,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )


# --- long histories -------------------------------------------------------------------


def history(z: Any, lengths: tuple[int, ...], ops: int) -> list[int]:
    """Short folios over and over older ones, loads and frees: pool_total_size after
    each, in bytes.
    """
    bits = random.Random(repr(lengths)).getrandbits
    sizes = []
    out = bytearray(4096)
    for _ in range(ops):
        entry, nr, call = bits(32) % (SLOTS - 6), 1 + bits(32) % 6, bits(32) % 8
        for slot in range(entry, entry + nr):
            if call == 0:
                z.invalidate(slot)
            elif call == 1:
                z.load(slot, out)
        if call > 1:
            z.store(
                entry,
                b"".join(
                    page_of(lengths[bits(32) % len(lengths)], slot, 4096) for slot in range(nr)
                ),
            )
        sizes.append(z.stats()["pool_total_size"])
    return sizes


@pytest.mark.parametrize("series", [None, "v10", "v13"])
@pytest.mark.parametrize("lengths", [(1337,), (872,), (408, 872), (2000, 1337, 872), (24, 100)])
def test_long_histories(lengths: tuple[int, ...], series: str | None) -> None:
    """The pool is the same after every call. Objects lie where batches put them: other
    batch sizes, other pools.
    """
    expected = {
        n: history(Model({"coded": coded_length}, "coded", batch_size=n), lengths, 500)
        for n in (1, 2, 8)
    }
    if min(lengths) > 400:
        assert expected[1] != expected[2] != expected[8] != expected[1]
    with registered(), zs.Zswap("coded", series=series, total_ram=1 << 32) as z:
        z.swapon(pages=SLOTS)
        assert history(z, lengths, 500) == expected[SEQUENTIAL[series]]
        z.check()
