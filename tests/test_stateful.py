# SPDX-License-Identifier: GPL-2.0-or-later
"""The library and the model side by side, through histories that Hypothesis makes up.

After every step all counters, the pools' size, the bytes of every page and who holds
what are the same. The model asks the library's codecs for sizes, so that zswap and
zsmalloc are checked here, not the codecs.

ZSWAP_HYPOTHESIS=nightly runs many more and longer histories.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from model import COUNTERS
from model import Zswap as Model

import zswap_py as zs
from zswap_py import crypto, kernels
from zswap_py.crypto.methods import Method, method

QUICK = settings(
    max_examples=100, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
NIGHTLY = settings(QUICK, max_examples=3000, stateful_step_count=100)
PROFILE = {"": QUICK, "nightly": NIGHTLY}[os.environ.get("ZSWAP_HYPOTHESIS", "")]

BATCHING = {"stateful-lzo-8": ("lzo", 8), "stateful-lz4-3": ("lz4", 3)}
COMPRESSORS = ["lzo", "lz4", "deflate", "zstd", *BATCHING]
FOLIOS = (1, 1, 1, 2, 3, 7, 8, 9, 16, 17)
SLOTS = 40
FIRST = (1 << 14) - SLOTS // 2  # a tree ends in the middle
STORE_FAULTS = ("compress", "entry", "handle", "zspage", "tree")


# --- pages ----------------------------------------------------------------------------

WORDS = (
    b"the pool of a page that was kept raw and an entry which nobody holds at its slot any more \n"
).split()


def zeros(r: random.Random, size: int) -> bytes:
    """A page of zeros, but for a few bytes in the other half of these pages."""
    page = bytearray(size)
    for _ in range(r.choice((0, 1, 5))):
        page[r.randrange(size)] = r.randrange(256)
    return bytes(page)


def text(r: random.Random, size: int) -> bytes:
    return b" ".join(r.choices(WORDS, k=size))[:size]


def sparse(r: random.Random, size: int) -> bytes:
    page = bytearray(size)
    for _ in range(r.randrange(size // 64)):
        at = 8 * r.randrange(size // 8)
        page[at : at + 8] = r.randrange(1 << 40).to_bytes(8, "little")
    return bytes(page)


def word(r: random.Random, size: int) -> bytes:
    return r.randbytes(8) * (size // 8)


def half(r: random.Random, size: int) -> bytes:
    """Any length between nothing and more than a page."""
    noise = r.randrange(size)
    return r.randbytes(noise) + bytes(size - noise)


def noise(r: random.Random, size: int) -> bytes:
    return r.randbytes(size)


@cache
def page_pool(size: int) -> tuple[bytes, ...]:
    r = random.Random(size)
    return tuple(
        kind(r, size) for kind in (zeros, text, sparse, word, half, half, noise) for _ in range(6)
    )


# --- what the model asks the codecs ---------------------------------------------------


@cache
def packed(spec: str, page: bytes, by: Method) -> int:
    """A page's compressed length with room for a page, or a negative errno."""
    try:
        return len(crypto.find(spec).run(True, page, len(page), by))
    except OSError as e:
        return -(e.errno or 0)


def sizes_of(spec: str, kernel: str) -> Callable[[bytes], int]:
    base = BATCHING.get(spec, (spec,))[0]
    by = method(base, kernels.rules(kernel, None))
    return lambda page: packed(base, page, by)


@contextlib.contextmanager
def registered() -> Iterator[None]:
    for name, (base, batch_size) in BATCHING.items():
        zs.register_compressor(name, base=base, batch_size=batch_size)
    try:
        yield
    finally:
        for name in BATCHING:
            zs.unregister_compressor(name)


# --- the machine ----------------------------------------------------------------------

slots = st.integers(0, SLOTS - 1)
types = st.sampled_from([0, 0, 0, 1])
seeds = st.integers(0, 1 << 30)
percents = st.sampled_from([0, 1, 20, 50, 90, 100, 150, (1 << 32) - 1])
picks = st.integers(0, 99)
errors = st.sampled_from([errno.EINVAL, errno.ENOSPC, errno.EIO])


def folios(seed: int, n: int) -> list[tuple[int, int, int, int, int | None]]:
    """Type, slot, pages, seed and CPU of n folios, from one draw: a history of many
    draws Hypothesis breaks off.
    """
    r = random.Random(seed)
    return [
        (
            r.choice((0, 0, 0, 1)),
            r.randrange(SLOTS),
            r.choice(FOLIOS),
            r.getrandbits(30),
            r.choice((None, 0, 1)),
        )
        for _ in range(n)
    ]


def faults(kinds: tuple[str, ...]) -> st.SearchStrategy[dict[str, int]]:
    """One or two kinds, each with the try that fails; often none."""
    return st.dictionaries(st.sampled_from(kinds), st.integers(1, 12), max_size=2)


class Histories(RuleBasedStateMachine):
    """`z` is the library, `m` the model."""

    @initialize(
        page_size=st.sampled_from([4096, 4096, 16384, 65536]),
        chain_size=st.sampled_from([4, 8, 8, 13, 16]),
        kernel=st.sampled_from(["6.12", "6.16", "6.18", "7.3"]),
        series=st.sampled_from([None, "v10", "v10", "v13", "v14"]),
        incompressible=st.sampled_from([None, None, "store", "reject"]),
        highmem=st.sampled_from([0.0, 0.0, 0.4, 1.0]),
        ram=st.sampled_from([20, 45, 90, 1 << 20]),
        compressor=st.sampled_from(COMPRESSORS),
        seed=seeds,
        kinds=st.sampled_from([2, 4, 42]),
    )
    def create(
        self,
        page_size: int,
        chain_size: int,
        kernel: str,
        series: str | None,
        incompressible: str | None,
        highmem: float,
        ram: int,
        compressor: str,
        seed: int,
        kinds: int,
    ) -> None:
        self.page_size = page_size
        # few fill zspages of one class
        self.pages = random.Random(seed).sample(page_pool(page_size), kinds)
        self.z = zs.Zswap(
            compressor,
            page_size=page_size,
            chain_size=chain_size,
            kernel=kernel,
            series=series,
            nr_cpus=2,
            nr_nodes=2,
            incompressible=incompressible,
            highmem=highmem,
            total_ram=ram * page_size,
            max_pool_percent=60,
        )
        largest = 8 if series else 1
        self.m = Model(
            {name: sizes_of(name, kernel) for name in COMPRESSORS},
            compressor,
            page_size,
            chain_size,
            ram * page_size,
            kernel,
            incompressible or "",
            {None: 1, "v10": 2, "v13": 8, "v14": 8}[series],
            {name: min(n, largest) for name, (_, n) in BATCHING.items() if series},
            max_pool_percent=60,
        )
        for type in (0, 1):
            assert self.z.swapon(FIRST + SLOTS) == type
        for i in range(3):
            self.store(0, 9 * i, 9, seed + i)

    def entry(self, type: int, slot: int, nr: int = 1) -> int:
        return zs.swp_entry(type, FIRST + min(slot, SLOTS - nr))

    @contextlib.contextmanager
    def failing(self, kinds: dict[str, int], error: int = errno.EINVAL) -> Iterator[None]:
        """The same faults in both; the same ones were hit."""
        armed = {}
        self.m.faults, self.m.fault_error = dict(kinds), error
        with contextlib.ExitStack() as stack:
            for kind, nth in kinds.items():
                if kind in ("compress", "decompress"):
                    fault = getattr(self.z.faults, kind)(nth=nth, error=error)
                else:
                    fault = self.z.faults.alloc(kind, nth=nth)
                armed[kind] = stack.enter_context(fault)
            yield
        assert {k: f.hits for k, f in armed.items()} == {
            k: int(self.m.faults[k] <= 0) for k in armed
        }
        self.m.faults = {}

    def store(self, type: int, slot: int, nr: int, seed: int, cpu: int | None = None) -> None:
        folio = b"".join(random.Random(seed).choices(self.pages, k=nr))
        entry = self.entry(type, slot, nr)
        result, expected = self.z.store(entry, folio, cpu=cpu), self.m.store(entry, folio)
        assert (bool(result), result.reason) == (bool(expected), expected.reason)
        assert self.z.stats() == self.m.stats()

    @rule(seed=seeds)
    def go_on(self, seed: int) -> None:
        """Some stores and loads. The other rules end with it: Hypothesis leaves whole
        rules out of a history.
        """
        r = random.Random(seed)
        for folio in folios(seed, r.randrange(5)):
            self.store(*folio)
        for pick in r.choices(range(100), k=r.randrange(5)):
            entry = self.one(pick)
            self.both(lambda side, out, entry=entry: side.load(entry, out))
            assert self.z.stats() == self.m.stats()

    @rule(seed=seeds, kinds=faults(STORE_FAULTS), error=errors)
    def store_failing(self, seed: int, kinds: dict[str, int], error: int) -> None:
        with self.failing(kinds, error):
            self.store(*folios(seed, 1)[0])

    def both(self, call: Callable[[Any, bytearray], Any], pages: int = 1) -> None:
        """The same answer or the same errno, and the same bytes where there was a
        page.
        """
        answers = []
        for side in (self.z, self.m):
            out = bytearray(b"\xa5" * pages * self.page_size)
            try:
                answers.append((call(side, out), bytes(out)))
            except OSError as e:
                answers.append((e.errno, b""))
        assert answers[0][0] == answers[1][0]
        results = (
            answers[0][0]
            if isinstance(answers[0][0], list)
            else [0 if answers[0][0] is True else -1]
        )
        for i, result in enumerate(results):
            if result == 0:
                page = slice(i * self.page_size, (i + 1) * self.page_size)
                assert answers[0][1][page] == answers[1][1][page]

    def one(self, pick: int, slot: int = 0) -> int:
        """An entry that is there, mostly; else one of `slot`."""
        there = sorted(self.m.entries)
        return there[pick % len(there)] if there and pick < 80 else self.entry(0, slot)

    @rule(pick=picks, slot=slots, swapcache=st.booleans(), kinds=faults(("decompress",)))
    def load(self, pick: int, slot: int, swapcache: bool, kinds: dict[str, int]) -> None:
        entry = self.one(pick, slot)
        with self.failing(kinds):
            self.both(lambda side, out: side.load(entry, out, swapcache=swapcache))

    @rule(seed=seeds, n=st.integers(0, 30), kinds=faults(("decompress",)))
    def load_batch(self, seed: int, n: int, kinds: dict[str, int]) -> None:
        r = random.Random(seed)
        entries = [self.one(r.randrange(100), r.randrange(SLOTS)) for _ in range(n)]
        with self.failing(kinds):
            self.both(lambda side, out: side.load_batch(entries, out), pages=len(entries))

    @rule(type=types, slot=slots, nr=st.sampled_from([0, 1, 1, 3, 20]), seed=seeds)
    def invalidate(self, type: int, slot: int, nr: int, seed: int) -> None:
        entry = self.entry(type, slot, nr)
        self.z.invalidate(entry, nr)
        for i in range(nr):
            self.m.invalidate(entry + i)
        self.go_on(seed)

    @rule(compressor=st.sampled_from(COMPRESSORS), seed=seeds)
    def switch(self, compressor: str, seed: int) -> None:
        self.z.compressor = self.m.compressor = compressor
        self.go_on(seed)

    @rule(enabled=st.booleans(), percent=percents, accept=percents, seed=seeds)
    def write_parameters(self, enabled: bool, percent: int, accept: int, seed: int) -> None:
        self.z.enabled = self.m.enabled = enabled
        self.z.max_pool_percent = self.m.max_pool_percent = percent
        self.z.accept_threshold_percent = self.m.accept_threshold_percent = accept
        self.go_on(seed)

    @precondition(lambda self: not self.m.enabled or self.m.max_pool_percent < 50)
    @rule(seed=seeds)
    def make_room(self, seed: int) -> None:
        self.z.enabled = self.m.enabled = True
        self.z.max_pool_percent = self.m.max_pool_percent = 100
        self.go_on(seed)

    @rule(trim=st.booleans(), seed=seeds)
    def swapoff(self, trim: bool, seed: int) -> None:
        self.z.swapoff(1)
        self.m.swapoff(1)
        if trim:
            self.z.trim()
        assert self.z.swapon(FIRST + SLOTS) == 1
        self.go_on(seed)

    @invariant()
    def same(self) -> None:
        if not hasattr(self, "z"):
            return
        z, m = self.z, self.m
        assert z.stats() == m.stats()
        assert z.events()["zswap_bytes"] == sum(e.length for e in m.entries.values())
        assert self.pages_by_compressor() == {
            name: pool.pages_allocated for name, pool in m.pools.items() if pool.pages_allocated
        }
        out = bytearray(self.page_size)
        for type in (0, 1):
            for slot in range(SLOTS):
                entry = self.entry(type, slot)
                assert (entry in z) == (entry in m)
                if entry in m:
                    assert z.length(entry) == m.entries[entry].length
                    assert z.peek(entry, out)
                    assert out == m.entries[entry].page

    def pages_by_compressor(self) -> dict[str, int]:
        pages: dict[str, int] = {}
        for pool in self.z.pools:
            with contextlib.suppress(ValueError):  # empty and released meanwhile
                pages[pool.tfm_name] = pages.get(pool.tfm_name, 0) + pool.total_pages
        return {name: n for name, n in pages.items() if n}

    def teardown(self) -> None:
        if hasattr(self, "z"):
            try:
                self.z.check()
                left = sorted(self.m.entries)
                self.both(lambda side, out: side.load_batch(left, out), pages=len(left))
                stats = self.z.stats()
                assert {name: n for name, n in stats.items() if n and name not in COUNTERS} == {}
                self.z.check()
            finally:
                self.z.close()


def test_histories() -> None:
    with registered():
        run_state_machine_as_test(Histories, settings=PROFILE)
