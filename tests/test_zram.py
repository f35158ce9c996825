# SPDX-License-Identifier: GPL-2.0-or-later
"""Zram: its figures against kernels' own, against the model, and its errors."""

from __future__ import annotations

import copy
import errno
import gc
import json
import os
import pickle
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from corpus import SEEDS, churn, corpus
from model import Zsmalloc, Zspage, huge_class_size
from record_lengths import pages as recorded_pages

import zswap_py as zs
from zswap_py import crypto
from zswap_py.kernels import KERNELS

DATA = Path(__file__).parent / "data"
LENGTHS = json.loads((DATA / "kernel_lengths.json").read_text())
RULES = json.loads((DATA / "kernel_rules.json").read_text())
P = 4096
TEXT = b"swapped out " * 341 + bytes(4)

every_kernel = pytest.mark.parametrize("kernel", KERNELS)


def noise(seed: int, n: int, page_size: int = P) -> bytes:
    """A page of n random bytes, then zeros."""
    return random.Random(seed).randbytes(n) + bytes(page_size - n)


@contextmanager
def registered(
    compress: Callable[..., Any], decompress: Callable[..., Any], name: str = "mine"
) -> Iterator[str]:
    zs.register_compressor(name, compress, decompress)
    try:
        yield name
    finally:
        zs.unregister_compressor(name)


# ---- a kernel's figures ----


@every_kernel
@pytest.mark.parametrize("name", ["zstd", "deflate"])
def test_each_page_has_the_kernels_length(kernel: str, name: str) -> None:
    with zs.Zram(name, pages=400, kernel=kernel, nr_cpus=1) as z:
        if not z.kernel_sizes:
            pytest.skip(f"needs {z.info.remedy}")
        for slot, page in enumerate(recorded_pages()):
            z.write(slot, page)
        kept = [z.length(slot) for slot in range(len(recorded_pages()))]
    assert kept == LENGTHS[kernel]["zram"][name]


@every_kernel
def test_an_overwritten_page_is_freed_after_the_new_one_is_allocated(kernel: str) -> None:
    page = random.Random(1).randbytes
    used = []
    with zs.Zram("lz4", pages=2, kernel=kernel, nr_cpus=1) as z:
        for slot in (0, 1, 0):
            z.write(slot, page(1950) + bytes(P - 1950))
            used.append(z.mm_stat()["mem_used_total"])
        assert used == RULES[kernel]["zram_overwrite"]
        assert z.mm_stat()["mem_used_max"] == max(used)


# ---- the model ----


class Model:
    """zram's rules over the model's zsmalloc: slots, and the fields of mm_stat."""

    def __init__(self, size: Callable[[bytes], int], page_size: int, chain_size: int) -> None:
        self.size, self.page_size = size, page_size
        self.pool = Zsmalloc(page_size, chain_size)
        self.huge_from = huge_class_size(page_size, chain_size)
        self.slots: dict[int, tuple[bytes, int, Zspage | None]] = {}
        self.max = self.since = 0

    def write(self, slot: int, page: bytes) -> None:
        length, held = 0, None
        if page[:8] * (self.page_size // 8) != page:
            length = self.size(page)
            if length >= self.huge_from:
                length = self.page_size
                self.since += 1
            zspage = self.pool.malloc(length)
            assert isinstance(zspage, Zspage)
            held = zspage
            self.max = max(self.max, self.pool.pages_allocated)
        self.discard(slot)
        self.slots[slot] = page, length, held

    def discard(self, slot: int) -> None:
        _, _, held = self.slots.pop(slot, (b"", 0, None))
        if held:
            self.pool.free(held)

    def mm_stat(self) -> dict[str, int]:
        lengths = [length for _, length, _ in self.slots.values()]
        return {
            "orig_data_size": len(self.slots) * self.page_size,
            "compr_data_size": sum(lengths),
            "mem_used_total": self.pool.pages_allocated * self.page_size,
            "mem_used_max": self.max * self.page_size,
            "same_pages": lengths.count(0),
            "huge_pages": lengths.count(self.page_size),
            "huge_pages_since": self.since,
        }


def contents(page_size: int) -> list[bytes]:
    """Pages of all lengths: same-filled ones, around the bound of huge, and noise."""
    bound = huge_class_size(page_size)
    return [
        bytes(page_size),
        b"\x5a" * page_size,
        b"12345678" * (page_size // 8),
        b"1234567" + b"12345678" * (page_size // 8 - 1) + b"8",
        *(noise(n, n, page_size) for n in range(1, page_size, page_size // 23)),
        *(noise(n, bound - n, page_size) for n in range(40)),
        noise(7, page_size, page_size),
    ]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("page_size", "chain_size"), [(4096, 8), (4096, 5), (16384, 8), (65536, 4)]
)
@pytest.mark.parametrize("name", ["lzo-rle", "lz4"])
def test_any_writes_and_discards_are_the_models(
    seed: int, page_size: int, chain_size: int, name: str
) -> None:
    r, of, slots = random.Random(seed), contents(page_size), 60
    compressor = crypto.find(name)

    def size(page: bytes) -> int:
        return len(compressor.run(True, page, 2 * page_size))

    m = Model(size, page_size, chain_size)
    out = bytearray(page_size)
    with zs.Zram(name, pages=slots, page_size=page_size, chain_size=chain_size) as z:
        assert z.huge_class_size == m.huge_from
        for _ in range(250):
            slot = r.randrange(slots)
            if r.random() < 0.75:
                page = r.choice(of)
                z.write(slot, page)
                m.write(slot, page)
            else:
                nr = min(slots - slot, r.randrange(4))
                z.discard(slot, nr)
                for i in range(slot, slot + nr):
                    m.discard(i)
            assert z.mm_stat() == m.mm_stat()
        for slot in range(slots):
            page, length, _ = m.slots.get(slot, (bytes(page_size), None, None))
            z.read(slot, out)
            assert out == page
            if length is not None:
                assert z.length(slot) == length
            else:
                with pytest.raises(KeyError):
                    z.length(slot)


def test_a_page_of_one_word_takes_no_memory() -> None:
    with zs.Zram(pages=4) as z:
        for slot, page in enumerate((bytes(P), b"\xff" * P, b"abcdefgh" * 512)):
            z.write(slot, page)
        assert z.mm_stat()["same_pages"] == 3
        assert z.mm_stat()["mem_used_total"] == z.mm_stat()["compr_data_size"] == 0
        assert [z.length(slot) for slot in range(3)] == [0, 0, 0]
        z.write(1, TEXT)
        assert z.mm_stat()["same_pages"] == 2
        assert z.mm_stat()["mem_used_total"] > 0


def test_its_memory_is_the_table_and_the_allocators() -> None:
    with zs.Zram("lz4", pages=1000) as z:
        before = z.memory()
        assert before == {"table": 16000, "handle": 0, "zspage": 0}
        for slot in range(5):
            z.write(slot, TEXT)
        z.write(5, bytes(P))
        assert z.memory()["handle"] == 40
        assert z.memory()["zspage"] > 0
        z.discard(0, 6)
        assert z.memory() == before
        assert z.mm_stat()["mem_used_total"] == 0


# ---- parameters ----


def test_a_level_is_its_compressors() -> None:
    lengths = {}
    for level in (None, 1, 9):
        with zs.Zram("deflate", pages=1, level=level) as z:
            z.write(0, recorded_pages()[1])
            lengths[level] = z.length(0)
            assert z.level == level
            assert z.kernel_sizes == (level is None and crypto.find("deflate").kernel_sizes)
    assert lengths[9] <= lengths[None] < lengths[1]
    with pytest.raises(ValueError, match="level=2: lz4 has none here"):
        zs.Zram("lz4", pages=1, level=2)
    with pytest.raises(ValueError, match="level=10"):
        zs.Zram("deflate", pages=1, level=10)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"pages": 0}, "pages=0: must be 1 to"),
        ({"page_size": 8192}, "page_size=8192: must be 4096, 16384 or 65536"),
        ({"chain_size": 17}, "chain_size=17: must be 4 to 16"),
        ({"nr_cpus": 1 << 20}, "nr_cpus="),
        ({"kernel": "5.4"}, "kernel='5.4'"),
        ({"level": 0.5}, "level"),
    ],
)
def test_a_wrong_argument_is_named(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises((ValueError, TypeError), match=said):
        zs.Zram("zstd", **{"pages": 4, **wrong})


def test_what_is_fixed_at_creation() -> None:
    with zs.Zram(" lz4:kernel ", pages=4, nr_cpus=3, kernel="7.3") as z:
        assert (z.comp_algorithm, z.pages, z.nr_cpus, z.kernel) == ("lz4:kernel", 4, 3, "7.3")
        assert (z.page_size, z.chain_size, z.level, z.closed) == (P, 8, None, False)
        assert (z.compressor.spec, z.info.backend) == ("lz4:kernel", "kernel")
        for name in ("pages", "kernel", "comp_algorithm", "level"):
            with pytest.raises(AttributeError, match=rf"Zram\.{name} is fixed at creation"):
                setattr(z, name, 1)
    assert zs.Zram(pages=1).comp_algorithm == "lzo-rle"


def test_a_missing_compressor_is_enoent() -> None:
    with pytest.raises(OSError, match="compressor no-such not available") as e:
        zs.Zram("no-such", pages=1)
    assert e.value.errno == errno.ENOENT


# ---- calls ----


@pytest.mark.parametrize("slot", [-1, 4, 1 << 70])
def test_a_slot_outside_of_the_device_is_named(slot: int) -> None:
    with zs.Zram(pages=4) as z:
        for call in (
            lambda: z.write(slot, TEXT),
            lambda: z.read(slot, bytearray(P)),
            lambda: z.discard(slot),
            lambda: z.length(slot),
        ):
            with pytest.raises(ValueError, match="slot="):
                call()
        with pytest.raises(ValueError, match="nr=5"):
            z.discard(0, 5)
        with pytest.raises(ValueError, match="slot=2"):
            z.discard(2, 3)
        z.discard(4, 0)


def test_a_page_of_another_size_is_named() -> None:
    with zs.Zram(pages=4) as z:
        with pytest.raises(ValueError, match="page has 100 bytes: must be a page of 4096"):
            z.write(0, bytes(100))
        with pytest.raises(ValueError, match="out has 8192 bytes: must be a page of 4096"):
            z.read(0, bytearray(2 * P))
        with pytest.raises(BufferError, match=r"out=.*writable"):
            z.read(0, bytes(P))
        with pytest.raises(ValueError, match="cpu=9"):
            z.write(0, TEXT, cpu=9)


def test_a_closed_device_says_so() -> None:
    z = zs.Zram(pages=4)
    z.write(0, TEXT)
    z.close()
    z.close()
    assert z.closed
    for call in (
        lambda: z.write(0, TEXT),
        lambda: z.read(0, bytearray(P)),
        lambda: z.discard(0),
        lambda: z.length(0),
        z.mm_stat,
        z.memory,
        lambda: z.huge_class_size,
    ):
        with pytest.raises(ValueError, match="this Zram is closed"):
            call()


def test_it_cannot_be_copied() -> None:
    with zs.Zram(pages=1) as z:
        for copied in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError, match="make a Zram with the same arguments"):
                copied(z)


def test_a_forked_child_has_none_of_it() -> None:
    with zs.Zram(pages=4) as z:
        z.write(0, TEXT)
        child = os.fork()
        if not child:
            try:
                z.write(0, TEXT)
            except OSError as e:
                os._exit(0 if e.errno == errno.ECHILD else 2)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        out = bytearray(P)
        z.read(0, out)
        assert out == TEXT


def test_an_exception_of_a_compressor_is_the_calls_and_keeps_the_old_page() -> None:
    def compress(page: memoryview, room: int) -> bytes:
        if page[0] == 7:
            raise RuntimeError("no sevens")
        return bytes(page[:100])

    with (
        registered(compress, lambda packed, n: bytes(packed) + bytes(n - 100)) as name,
        zs.Zram(name, pages=2) as z,
    ):
        z.write(0, noise(1, 100))
        before = z.mm_stat()
        with pytest.raises(RuntimeError, match="no sevens"):
            z.write(0, b"\x07" + TEXT[1:])
        assert z.mm_stat() == before
        out = bytearray(P)
        z.read(0, out)
        assert out == noise(1, 100)


def test_a_page_that_does_not_come_back_whole_is_eio() -> None:
    with (
        registered(lambda page, room: bytes(page[:100]), lambda packed, n: bytes(packed)) as name,
        zs.Zram(name, pages=2) as z,
    ):
        z.write(0, TEXT)
        with pytest.raises(OSError, match="read") as e:
            z.read(0, bytearray(P))
        assert e.value.errno == errno.EIO


def test_a_compressor_that_calls_its_own_device_gets_edeadlk() -> None:
    got = []

    def compress(page: memoryview, room: int) -> bytes:
        for call in (lambda: z.write(1, TEXT), z.mm_stat, z.close):
            with pytest.raises(OSError, match="called by a compressor of the same Zram") as e:
                call()
            got.append(e.value.errno)
        return bytes(page[:100])

    with (
        registered(compress, lambda packed, n: bytes(packed) + bytes(n - 100)) as name,
        zs.Zram(name, pages=2) as z,
        zs.Zram(pages=1) as other,
    ):
        z.write(0, TEXT)
        other.write(0, TEXT)
    assert got == [errno.EDEADLK] * 3


def test_a_device_far_larger_than_memory_costs_its_pages_alone() -> None:
    with zs.Zram("lz4", pages=1 << 32) as z:
        z.write((1 << 32) - 1, TEXT)
        z.discard(0, 1)
        assert z.length((1 << 32) - 1) > 0


def test_threads_write_read_and_discard_the_same_slots() -> None:
    """A page says in each word which write it is of; a torn or freed one would not."""
    slots, wrong = 16, []
    made = [random.Random(i).randbytes(64) * 60 + bytes([i]) * 256 for i in range(200)]

    def work(cpu: int) -> None:
        r, out = random.Random(cpu), bytearray(P)
        for _ in range(1500):
            slot, what = r.randrange(slots), r.random()
            if what < 0.5:
                z.write(slot, r.choice(made), cpu=cpu)
            elif what < 0.9:
                z.read(slot, out, cpu=cpu)
                if any(out) and bytes(out) not in known:
                    wrong.append(slot)
            else:
                z.discard(slot, cpu=cpu)

    known = set(made)
    with zs.Zram("lz4", pages=slots, nr_cpus=3) as z:
        threads = [threading.Thread(target=work, args=(cpu % 3,)) for cpu in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong
        held = [slot for slot in range(slots) if holds(z, slot)]
        stat = z.mm_stat()
        assert stat["orig_data_size"] == len(held) * P
        assert stat["compr_data_size"] == sum(z.length(slot) for slot in held)
        z.discard(0, slots)
        left = z.mm_stat()
    assert {k: v for k, v in left.items() if k != "mem_used_max"} == dict.fromkeys(
        (k for k in left if k != "mem_used_max"), 0
    )


def holds(z: zs.Zram, slot: int) -> bool:
    try:
        z.length(slot)
    except KeyError:
        return False
    return True


def test_a_close_waits_for_the_calls_of_other_threads() -> None:
    inside, go = threading.Event(), threading.Event()

    def compress(page: memoryview, room: int) -> bytes:
        inside.set()
        assert go.wait(10)
        return bytes(page[:100])

    with registered(compress, lambda packed, n: bytes(packed) + bytes(n - 100)) as name:
        z = zs.Zram(name, pages=2)
        writer = threading.Thread(target=z.write, args=(0, TEXT))
        writer.start()
        assert inside.wait(10)
        closer = threading.Thread(target=z.close)
        closer.start()
        closer.join(0.2)
        assert closer.is_alive()
        go.set()
        writer.join(10)
        closer.join(10)
        assert z.closed
        assert not closer.is_alive()


def test_one_that_is_never_closed_is_collected() -> None:
    for _ in range(50):
        zs.Zram("lz4", pages=100).write(0, TEXT)
    gc.collect()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_walk_in_zram_and_in_zswap_end_in_the_same_pool_but_for_its_own_rules(seed: int) -> None:
    """Without raw and same-filled pages, and overwritten as zswap's, both are one."""
    small = [page for page in corpus(seed, 400) if small_and_mixed(page)]

    class Driver:
        def __init__(self, z: zs.Zram) -> None:
            self.store, self.load, self.stats = z.write, z.read, z.mm_stat
            self.invalidate = z.discard

    with zs.Zram("lzo", pages=len(small), nr_cpus=1) as z:
        zram = churn(Driver(z), small, ["mem_used_total"])
    with zs.Zswap("lzo", nr_cpus=1, total_ram=1 << 32, series=None) as z:
        z.swapon(len(small))

        class Kept(Driver):
            def __init__(self, zswap: zs.Zswap) -> None:
                self.store, self.stats, self.invalidate = zswap.store, zswap.stats, zswap.invalidate
                self.load = lambda slot, out: zswap.load(slot, out, swapcache=False)

        zswap = churn(Kept(z), small, ["pool_total_size"])
    assert [s["mem_used_total"] for s in zram] == [s["pool_total_size"] for s in zswap]


def small_and_mixed(page: bytes) -> bool:
    return page[:8] * 512 != page and len(crypto.find("lzo").run(True, page, 2 * P)) < 3625
