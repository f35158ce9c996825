# SPDX-License-Identifier: GPL-2.0-or-later
"""The public face: what each call answers, and what it says to a caller who is
mistaken.
"""

from __future__ import annotations

import errno
import os
import pathlib
import random
import shutil
import subprocess
import sys
import threading
import time

import pytest

import zswap_py as zs
from zswap_py import crypto

PAGE = 4096
TEXT = (b"A page of words that any compressor makes smaller, over and over. " * 64)[:PAGE]
SPECS = [f"{info.name}:{info.backend}" for info in zs.compressors() if info.available]


def page(i: int) -> bytes:
    return (b"page %06d " % i * 400)[:PAGE]


def noise(i: int, nr: int = 1) -> bytes:
    return random.Random(i).randbytes(nr * PAGE)


@pytest.fixture
def z():
    with zs.Zswap("lz4", nr_cpus=2, total_ram=1 << 30) as z:
        z.swapon(pages=4096)
        yield z


@pytest.fixture
def out():
    return bytearray(PAGE)


@pytest.fixture
def register():
    """register_compressor(), until the test's end."""
    names = []

    def register(name, *args, **kwargs):
        made = zs.register_compressor(name, *args, **kwargs)
        names.append(name)
        return made

    yield register
    for name in names:
        zs.unregister_compressor(name)


def gone(z) -> bool:
    """No entry, no page of the pool, and no counter of stored pages is left."""
    z.check()
    return [
        z.stats()[k] for k in ("stored_pages", "stored_incompressible_pages", "pool_total_size")
    ] == [0, 0, 0]


# --- pages there and back -------------------------------------------------------------


def test_a_store_that_went_well(z, out):
    result = z.store(7, TEXT)
    assert result
    assert result.reason is None
    assert repr(result) == "StoreResult(stored)"
    assert z.load(7, out) is True
    assert out == TEXT
    assert z.load(7, out) is False
    assert gone(z)


@pytest.mark.parametrize(
    ("reason", "counted"),
    [
        ("disabled", False),
        ("pool_limit_hit", True),
        ("reject_alloc_fail", True),
        ("reject_kmemcache_fail", True),
        ("reject_compress_fail", True),
        ("reject_compress_poor", True),
    ],
)
def test_a_store_that_was_refused_says_by_which_counter_and_leaves_nothing(reason, counted):
    with zs.Zswap("lz4", incompressible="reject") as z:
        z.swapon(16)
        assert z.store(0, page(0) * 4)
        fault = {
            "reject_alloc_fail": lambda: z.faults.alloc("handle"),
            "reject_kmemcache_fail": lambda: z.faults.alloc("entry"),
            "reject_compress_fail": lambda: z.faults.compress(error=errno.EIO),
            "reject_compress_poor": lambda: z.faults.compress(error=errno.ENOSPC),
        }.get(reason)
        z.enabled = reason != "disabled"
        z.max_pool_percent = 0 if reason == "pool_limit_hit" else 20
        if fault:
            with fault():
                result = z.store(0, page(1) * 4)
        else:
            result = z.store(0, page(1) * 4)
        assert not result
        assert result.reason == reason
        assert repr(result) == f"StoreResult({reason})"
        counters = {k: n for k, n in z.stats().items() if n}
        assert counters == ({reason: 1} if counted else {})
        assert gone(z)


def test_a_load_outside_the_swap_cache_keeps_the_page(z, out):
    z.store(1, TEXT)
    assert z.load(1, out, swapcache=False)
    assert 1 in z
    assert z.load(1, out)
    assert 1 not in z


def test_a_load_that_does_not_decompress_is_eio_and_keeps_the_object(z, out):
    z.store(1, TEXT)
    with z.faults.decompress(), pytest.raises(OSError, match=r"load\(entry=1\)") as e:
        z.load(1, out)
    assert e.value.errno == errno.EIO
    assert z.stats()["decompress_fail"] == 1
    assert z.load(1, out)
    assert out == TEXT


@pytest.mark.parametrize("held", [False, True])
def test_a_load_into_a_large_folio_is_einval(z, held):
    if held:
        z.store(1, TEXT)
    with pytest.raises(OSError, match=r"load\(entry=1, 2 pages\): pass a buffer of one page") as e:
        z.load(1, bytearray(2 * PAGE))
    assert e.value.errno == errno.EINVAL
    assert (1 in z) is held


def test_peek_keeps_the_page_and_counts_nothing(z, out):
    z.store(1, TEXT)
    before = z.stats(), z.events()
    assert z.peek(1, out) is True
    assert out == TEXT
    assert z.peek(2, out) is False
    assert (z.stats(), z.events()) == before


def test_a_batch_of_loads_answers_for_each_page(z):
    for i in (0, 2, 4):
        z.store(i, page(i))
    entries = [4, 1, 0, 4, 2]
    out = bytearray(len(entries) * PAGE)
    assert z.load_batch(entries, out) == [0, -errno.ENOENT, 0, -errno.ENOENT, 0]
    for i, entry in ((0, 4), (2, 0), (4, 2)):
        assert out[i * PAGE :][:PAGE] == page(entry)
    assert gone(z)
    assert z.load_batch([], bytearray()) == []


def test_a_page_of_a_batch_that_does_not_decompress_stays_alone(z):
    for i in range(20):
        z.store(i, page(i))
    out = bytearray(20 * PAGE)
    with z.faults.decompress(nth=13):
        assert z.load_batch(iter(range(20)), out) == [0] * 12 + [-errno.EIO] + [0] * 7
    assert [i for i in range(20) if i in z] == [12]


def test_a_store_over_a_page_replaces_it(z, out):
    z.store(1, page(1))
    z.store(0, page(2) + page(3))
    assert len(z) == 2
    assert z.load(1, out)
    assert out == page(3)


def test_invalidate_frees_what_is_there(z):
    z.store(0, b"".join(map(page, range(8))))
    z.invalidate(2)
    z.invalidate(4, 3)
    z.invalidate(2)  # nothing there any more
    assert [i for i in range(10) if i in z] == [0, 1, 3, 7]
    assert len(z) == 4
    z.invalidate(0, 4096)
    assert gone(z)


def test_what_is_no_entry_is_not_in_it(z):
    z.store(0, TEXT)
    assert 0 in z
    for other in (1, 4096, -1, 1 << 64, zs.swp_entry(1, 0), "0", None, 0.5):
        assert other not in z


def test_an_instance_is_true_though_it_holds_nothing(z):
    assert z
    assert len(z) == 0


@pytest.mark.parametrize("nr", [1, 2, 3, 5, 7, 8, 9, 16, 17, 31, 64, 100, 255, 511, 512])
@pytest.mark.parametrize("batch_size", [1, 8])
def test_folios_of_any_size(register, nr, batch_size, out):
    register("any-size", base="lz4", batch_size=batch_size)
    with zs.Zswap("any-size") as z:
        z.swapon(1024)
        folio = b"".join(page(i) for i in range(nr))
        assert z.store(11, folio)
        assert len(z) == nr == z.events()["zswpout"]
        for i in range(nr):
            assert z.load(11 + i, out)
            assert out == page(i)
        assert z.events()["zswpin"] == nr
        assert gone(z)


@pytest.mark.parametrize("page_size", [4096, 16384, 65536])
def test_pages_of_other_sizes(page_size):
    with zs.Zswap("lz4", page_size=page_size) as z:
        z.swapon(4)
        folio = b"".join(bytes([i]) * page_size for i in range(4))
        assert z.store(0, folio)
        out = bytearray(4 * page_size)
        assert z.load_batch(range(4), out) == [0] * 4
        assert out == folio


def test_entries_of_several_swap_files(z, out):
    assert z.swapon(8) == 1
    z.store(3, page(0))
    z.store(zs.swp_entry(1, 3), page(1))
    assert z.peek(zs.swp_entry(1, 3), out)
    assert out == page(1)
    z.swapoff(1)
    assert 3 in z
    assert zs.swp_entry(1, 3) not in z
    assert z.swapon(8) == 1


def test_length_is_that_of_the_object(z):
    z.store(0, TEXT)
    z.store(1, noise(1))
    assert z.length(0) == len(crypto.find("lz4").run(True, TEXT, PAGE))
    assert z.length(1) == PAGE
    assert z.events()["zswap_bytes"] == z.length(0) + PAGE
    with pytest.raises(KeyError, match="2"):
        z.length(2)


# --- a caller's mistakes --------------------------------------------------------------


@pytest.mark.parametrize("nbytes", [0, 1, PAGE - 1, PAGE + 1, 513 * PAGE])
def test_a_folio_that_is_not_whole_pages(z, nbytes):
    with pytest.raises(
        ValueError,
        match=(
            rf"folio has {nbytes} bytes: must be 1 to 512 whole pages of "
            r"4096"
        ),
    ):
        z.store(0, bytes(nbytes))
    assert len(z) == 0


@pytest.mark.parametrize("nbytes", [0, 1, PAGE - 1, PAGE + 1])
def test_a_page_buffer_that_does_not_fit(z, nbytes):
    z.store(0, TEXT)
    for call in (z.load, z.peek):
        with pytest.raises(ValueError, match=f"out has {nbytes} bytes: must be a page of 4096"):
            call(0, bytearray(nbytes))
    with pytest.raises(ValueError, match=f"out has {nbytes} bytes: must be 1 pages of 4096"):
        z.load_batch([0], bytearray(nbytes))
    assert 0 in z


def test_buffers_that_cannot_be_written(z):
    z.store(0, TEXT)
    for call in (z.load, z.peek, lambda entry, out: z.load_batch([entry], out)):
        for out in (bytes(PAGE), memoryview(bytearray(PAGE)).toreadonly()):
            with pytest.raises(BufferError):
                call(0, out)
    assert 0 in z


def test_buffers_that_are_not_contiguous(z):
    with pytest.raises(BufferError):
        z.store(0, memoryview(bytes(2 * PAGE))[::2])
    z.store(0, TEXT)
    with pytest.raises(BufferError):
        z.load(0, memoryview(bytearray(2 * PAGE))[::2])
    assert 0 in z


def test_what_is_no_buffer_at_all(z):
    for other in ("x" * PAGE, 4096, None, [0] * PAGE):
        with pytest.raises(TypeError):
            z.store(0, other)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, lambda b: memoryview(b).cast("Q")])
def test_any_contiguous_buffer(z, kind, out):
    assert z.store(0, kind(TEXT))
    assert z.load(0, memoryview(out).cast("Q"))
    assert out == TEXT


CALLS = {
    "store": lambda z, entry: z.store(entry, TEXT),
    "load": lambda z, entry: z.load(entry, bytearray(PAGE)),
    "peek": lambda z, entry: z.peek(entry, bytearray(PAGE)),
    "load_batch": lambda z, entry: z.load_batch([0, entry], bytearray(2 * PAGE)),
    "invalidate": lambda z, entry: z.invalidate(entry),
    "length": lambda z, entry: z.length(entry),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("entry", [4096, zs.swp_entry(1, 0), zs.swp_entry(31, 5), (1 << 64) - 1])
def test_an_entry_of_no_swap_file(z, call, entry):
    with pytest.raises(ValueError, match=rf"{entry}.*swapon\(pages="):
        CALLS[call](z, entry)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("entry", [-1, 1 << 64])
def test_a_number_that_is_no_entry(z, call, entry):
    with pytest.raises(ValueError, match=rf"entry .*{entry}.*2\^64.*swp_entry\(\)"):
        CALLS[call](z, entry)


@pytest.mark.parametrize("call", CALLS)
def test_before_any_swapon(call):
    with zs.Zswap() as z, pytest.raises(ValueError, match=r"swapon\(pages="):
        CALLS[call](z, 0)


def test_a_folio_over_the_end_of_its_swap_file(z):
    z.store(4095, TEXT)
    with pytest.raises(ValueError, match=r"store\(entry=4095, 2 pages\).*swapon"):
        z.store(4095, TEXT * 2)
    assert 4095 in z
    with pytest.raises(ValueError, match=r"invalidate\(entry=4095, nr=2\).*swapon"):
        z.invalidate(4095, 2)
    with pytest.raises(ValueError, match=r"nr=-1"):
        z.invalidate(0, -1)


@pytest.mark.parametrize("cpu", [-1, 2, 1 << 40])
def test_a_cpu_that_is_none(z, cpu):
    calls = (
        lambda: z.store(0, TEXT, cpu=cpu),
        lambda: z.load(0, bytearray(PAGE), cpu=cpu),
        lambda: z.peek(0, bytearray(PAGE), cpu=cpu),
        lambda: z.load_batch([0], bytearray(PAGE), cpu=cpu),
        lambda: z.invalidate(0, cpu=cpu),
    )
    for call in calls:
        with pytest.raises(ValueError, match=rf"cpu={cpu}: must be 0 to 1"):
            call()


@pytest.mark.parametrize(("type", "offset"), [(-1, 0), (32, 0), (0, -1), (0, 1 << 58)])
def test_no_such_swap_entry(type, offset):
    with pytest.raises(ValueError, match=rf"swp_entry\({type}, {offset}\): type must be 0 to 31"):
        zs.swp_entry(type, offset)


@pytest.mark.parametrize("pages", [0, -1, 1 << 58])
def test_a_swap_file_of_no_size(z, pages):
    with pytest.raises(ValueError, match=rf"swapon\(pages={pages}\)"):
        z.swapon(pages)


@pytest.mark.parametrize("type", [-1, 1, 32, 1 << 32])
def test_no_such_swap_file(z, type):
    with pytest.raises(ValueError, match=rf"swapoff\({type}\).*swapon"):
        z.swapoff(type)


def test_swap_types_are_32():
    with zs.Zswap() as z:
        assert [z.swapon(1) for _ in range(32)] == list(range(32))
        with pytest.raises(OSError, match=r"swapon\(pages=1\)") as e:
            z.swapon(1)
        assert e.value.errno == errno.EPERM


@pytest.mark.parametrize(
    "wrong",
    [
        {"incompressible": "keep"},
        {"cpu_policy": "random"},
        {"page_size": 8192},
        {"chain_size": 3},
        {"chain_size": 17},
        {"highmem": 1.5},
        {"highmem": -0.1},
        {"total_ram": 4095},
        {"nr_cpus": 0},
        {"nr_nodes": 0},
        {"nr_cpus": 8193},
        {"nr_cpus": 1 << 20},
        {"nr_cpus": 2, "nr_nodes": 3},
        {"kernel": "5.4"},
        {"series": "v9"},
    ],
    ids=str,
)
def test_a_machine_that_cannot_be(wrong):
    name, value = list(wrong.items())[-1]
    with pytest.raises(ValueError, match=name) as e:
        zs.Zswap(**wrong)
    assert str(value) in str(e.value)


def test_a_machine_of_more_cpus_than_linux_takes():
    with pytest.raises(ValueError, match="nr_cpus=8193: must be 0 to 8192"):
        zs.Zswap(cpuhp=zs.CpuHotplug(8193))


# --- parameters -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["max_pool_percent", "accept_threshold_percent"])
@pytest.mark.parametrize(
    ("value", "now"),
    [
        (150, 150),
        (0, 0),
        (4294967295, 4294967295),
        ("33", 33),
        ("0x10", 16),
        ("010", 8),
        ("+5", 5),
        ("7\n", 7),
    ],
)
def test_percents_are_not_range_checked(z, name, value, now):
    setattr(z, name, value)
    assert getattr(z, name) == now


@pytest.mark.parametrize("name", ["max_pool_percent", "accept_threshold_percent"])
@pytest.mark.parametrize(
    ("value", "code"),
    [
        (-1, errno.EINVAL),
        ("-1", errno.EINVAL),
        (4294967296, errno.ERANGE),
        ("4294967296", errno.ERANGE),
        ("", errno.EINVAL),
        ("abc", errno.EINVAL),
        ("20%", errno.EINVAL),
        ("1_0", errno.EINVAL),
        (" 20", errno.EINVAL),
        ("0b1", errno.EINVAL),
        ("7\n\n", errno.EINVAL),
        ("09", errno.EINVAL),
    ],
)
def test_percents_that_are_no_unsigned_int(z, name, value, code):
    before = getattr(z, name)
    with pytest.raises(OSError, match=f"{name}=") as e:
        setattr(z, name, value)
    assert e.value.errno == code
    assert getattr(z, name) == before


def test_a_percent_of_another_type(z):
    with pytest.raises(TypeError):
        z.max_pool_percent = 3.5
    assert z.max_pool_percent == 20


@pytest.mark.parametrize(
    ("value", "now"),
    [(True, True), (1, True), (0, False)]
    + [(s, True) for s in ("Y", "y", "t", "T", "1", "on", "ON", "oN", "yes", "Y\n")]
    + [(s, False) for s in ("N", "n", "f", "F", "0", "off", "OFF", "oF", "no")],
)
def test_enabled_takes_the_kernels_words(z, value, now):
    z.enabled = not now
    z.enabled = value
    assert z.enabled is now


@pytest.mark.parametrize("value", ["abc", "", "o", " Y", "2", "-1"])
def test_enabled_is_told_apart_from_other_words(z, value):
    with pytest.raises(OSError, match="enabled=") as e:
        z.enabled = value
    assert e.value.errno == errno.EINVAL
    assert z.enabled


def test_the_compressors_name_is_stripped(z):
    z.compressor = " deflate \n"
    assert z.compressor == "deflate"
    assert z.pool.tfm_name == "deflate"


def test_a_compressor_that_is_none_is_enoent_and_the_old_one_stays(z):
    with pytest.raises(OSError, match=r"compressor bogus not available: known are .*lz4") as e:
        z.compressor = "bogus"
    assert e.value.errno == errno.ENOENT
    assert z.compressor == "lz4" == z.pool.tfm_name
    with pytest.raises(OSError, match="did you mean lz4"):
        z.compressor = "lz44"
    with pytest.raises(OSError, match="its backends are kernel, liblz4"):
        z.compressor = "lz4:mine"
    with pytest.raises(OSError, match="no accelerator queue is bound"):
        z.compressor = "deflate-iaa"


def test_parameters_by_keyword_are_the_properties():
    with zs.Zswap(" lzo ", enabled="N", max_pool_percent="7", accept_threshold_percent=3) as z:
        assert (z.compressor, z.enabled, z.max_pool_percent, z.accept_threshold_percent) == (
            "lzo",
            False,
            7,
            3,
        )
    with pytest.raises(OSError) as e:
        zs.Zswap(max_pool_percent=-1)
    assert e.value.errno == errno.EINVAL


def test_defaults_are_the_kernels():
    with zs.Zswap() as z:
        assert (z.compressor, z.enabled, z.max_pool_percent, z.accept_threshold_percent) == (
            "lzo",
            True,
            20,
            90,
        )


def test_disabling_keeps_pages_and_a_store_then_erases_its_slots(z, out):
    z.store(0, TEXT * 3)
    z.enabled = False
    assert not z.store(1, TEXT)
    assert [i in z for i in range(3)] == [True, False, True]
    assert z.load(0, out)
    assert out == TEXT


# --- limits ---------------------------------------------------------------------------


def test_limit_and_hysteresis():
    """1,000 pages of memory, 1% for zswap: 10; full until 9 are left. Noise is stored
    raw, a page each.
    """
    with zs.Zswap("lz4", total_ram=1000 * PAGE, max_pool_percent=1) as z:
        z.swapon(100)
        for i in range(10):
            assert z.store(i, noise(i)), i
        for hits in (1, 2):
            assert z.store(10, noise(10)).reason == "pool_limit_hit"
            assert z.stats()["pool_limit_hit"] == hits
        z.invalidate(0)
        assert z.store(0, noise(0))  # 9 pages, which is the threshold
        z.accept_threshold_percent = 50
        assert z.store(10, noise(10)).reason == "pool_limit_hit"
        z.invalidate(0, 4)
        assert z.stats()["pool_total_size"] == 6 * PAGE
        # the flag's answer, which is not counted
        assert z.store(0, noise(0)).reason == "pool_limit_hit"
        assert z.stats()["pool_limit_hit"] == 3
        z.invalidate(4)
        assert z.store(0, noise(0))
        assert z.stats()["pool_limit_hit"] == 3


def test_both_limits_are_rounded_down_the_second_from_the_first():
    """599 pages: 1% is 5, 34% of that 1; 34% of 5.99 would be 2."""
    with zs.Zswap(
        "lz4", total_ram=599 * PAGE, max_pool_percent=1, accept_threshold_percent=34
    ) as z:
        z.swapon(8)
        assert z.store(0, noise(0, 4))
        assert z.store(4, noise(4))
        assert not z.store(5, noise(5))
        z.invalidate(0, 3)
        assert z.stats()["pool_total_size"] == 2 * PAGE
        assert not z.store(5, noise(5))
        z.invalidate(3)
        assert z.store(5, noise(5))


def test_a_limit_of_nothing_is_always_hit_and_an_accept_threshold_over_100_is_100():
    with zs.Zswap("lz4", max_pool_percent=0) as z:
        z.swapon(8)
        assert z.store(0, TEXT).reason == "pool_limit_hit"
        z.max_pool_percent = 20
        assert z.store(0, TEXT)
    with zs.Zswap(
        "lz4", total_ram=400 * PAGE, max_pool_percent=1, accept_threshold_percent=1000
    ) as z:
        z.swapon(8)
        assert z.store(0, noise(0, 4))
        assert not z.store(4, noise(4))
        z.invalidate(0)
        assert z.store(4, noise(4))


def test_the_limit_is_looked_at_once_a_folio():
    with zs.Zswap("lz4", total_ram=1000 * PAGE, max_pool_percent=1) as z:
        z.swapon(600)
        assert z.store(0, noise(0, 512))
        assert z.stats()["pool_total_size"] == 512 * PAGE
        assert not z.store(512, noise(1))


@pytest.mark.parametrize(
    ("compressor", "counter"),
    [
        ("lz4", "reject_compress_fail"),
        ("deflate", "reject_compress_poor"),
    ],
)
def test_noise_under_two_kernels(compressor, counter):
    pages = [noise(i) for i in range(1000)]
    with zs.Zswap(compressor, kernel="6.16", total_ram=1 << 30) as z:
        z.swapon(1000)
        assert {z.store(i, p).reason for i, p in enumerate(pages)} == {counter}
        assert {k: n for k, n in z.stats().items() if n} == {counter: 1000}
    with zs.Zswap(compressor, kernel="6.18", total_ram=1 << 30) as z:
        z.swapon(1000)
        assert all(z.store(i, p) for i, p in enumerate(pages))
        assert {k: n for k, n in z.stats().items() if n} == {
            "pool_total_size": 4_096_000,
            "stored_pages": 1000,
            "stored_incompressible_pages": 1000,
        }
        out = bytearray(PAGE)
        assert all(z.load(i, out) and out == p for i, p in enumerate(pages))


# --- the end of an instance -----------------------------------------------------------


def test_close_twice_and_what_is_left(z):
    z.store(0, TEXT)
    z.close()
    z.close()
    assert z.closed
    for call in CALLS.values():
        with pytest.raises(ValueError, match="closed"):
            call(z, 0)
    for call in (
        lambda: z.pool,
        z.stats,
        z.events,
        z.memory,
        z.trim,
        lambda: z.swapon(1),
        lambda: len(z),
        lambda: 0 in z,
    ):
        with pytest.raises(ValueError, match="closed"):
            call()
    with pytest.raises(ValueError, match="closed"):
        z.compressor = "lzo"


def test_close_while_threads_are_inside():
    for _ in range(5):
        z = zs.Zswap("lz4", nr_cpus=2)
        z.swapon(4096)
        seen: list[BaseException] = []
        calls = [0] * 4

        def work(n, z=z, seen=seen, calls=calls):
            out = bytearray(PAGE)
            try:
                while True:
                    z.store(n * 512, TEXT * 64)
                    z.load(n * 512, out)
                    calls[n] += 1
            except BaseException as e:
                seen.append(e)  # noqa: B023

        threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
        for t in threads:
            t.start()
        until = time.monotonic() + 10
        while min(calls) < 3 and time.monotonic() < until:
            time.sleep(0.001)
        z.close()
        for t in threads:
            t.join(10)
            assert not t.is_alive()
        assert min(calls) >= 3
        assert [type(e) for e in seen] == [ValueError] * 4
        assert all("closed" in str(e) for e in seen)


FORK = """
import os, sys
import zswap_py as zs
z = zs.Zswap("lz4")
z.swapon(8)
z.store(0, b"x" * 4096)
z.compressor = "lzo"
z.store(1, b"y" * 4096)
pid = os.fork()
if pid == 0:
    out = bytearray(4096)
    for call in (
        lambda: z.store(2, b"z" * 4096),
        lambda: z.load(0, out),
        z.stats,
        z.trim,
        lambda: z.swapon(4),
    ):
        try:
            call()
        except OSError as e:
            assert e.errno == 10, e
            assert "made before fork()" in str(e) and "make one in each process" in str(e), e
        else:
            raise SystemExit("no error")
    z.close()
    with zs.Zswap("lz4") as mine:
        mine.swapon(1)
        assert mine.store(0, b"m" * 4096) and mine.load(0, out) and out == b"m" * 4096
    sys.exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
out = bytearray(4096)
assert z.load(0, out) and out == b"x" * 4096
assert z.load(1, out) and out == b"y" * 4096
print("parent is well")
"""


def python(
    *args: str, cwd: pathlib.Path | None = None, path: str | None = None
) -> subprocess.CompletedProcess[str]:
    where = path if path is not None else str(pathlib.Path(zs.__file__).parent.parent)
    return subprocess.run(
        [sys.executable, *args],
        env={**os.environ, "PYTHONPATH": where},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_forked_child_is_told_and_leaves_cleanly():
    done = python("-W", "error", "-c", FORK)
    assert (done.returncode, done.stdout, done.stderr) == (0, "parent is well\n", "")


LIMITED = """
import mmap, resource, sys
import zswap_py as zs
MIB = 1 << 20
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2000 * MIB,) * 2)
machines = [zs.Zswap("lzo", highmem=0.25 * (i % 2)) for i in range(3)]
for z in machines:
    z.swapon(1 << 20)
    assert z.store(0, b"x" * 65536)
room = [mmap.mmap(-1, 100 * MIB) for _ in range(7)]  # other things need addresses too
z = machines[-1]
pages = [bytes([i]) * 100 + open("/dev/urandom", "rb").read(3900) + bytes(96) for i in range(16)]
slot = 16
while (r := z.store(slot, b"".join(pages))):
    slot += 16
    assert z.stats()["pool_total_size"] < 2000 * MIB
assert r.reason == "reject_alloc_fail" and z.stats()["reject_alloc_fail"] == 1, r
assert z.stats()["pool_total_size"] > 100 * MIB
for s in range(16, slot):
    out = bytearray(4096)
    assert z.load(s, out) and out == pages[s % 16]
    assert s > 16 or z.store(1 << 19, b"".join(pages[:1]))  # what went makes room
z.check()
"""


def test_an_address_limit_leaves_room_and_a_full_arena_refuses():
    done = python("-c", LIMITED)
    assert (done.returncode, done.stderr) == (0, "")


CHILD = """
import os, sys
import zswap_py as zs

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGESIZE")

z = zs.Zswap("lzo")
z.swapon(1 << 16)
before = resident()
for slot in range(0, 1 << 14, 256):
    assert z.store(slot, os.urandom(256 * 4096))
assert resident() - before > 60 << 20
pid = os.fork()
if pid == 0:
    os._exit(resident() - before > 20 << 20)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
"""


def test_a_forked_child_holds_no_copy_of_the_pool():
    done = python("-c", CHILD)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_swap_file_costs_what_its_slots_need(z):
    before = z.memory()["tree"]
    big = z.swapon(1 << 42)
    assert z.memory()["tree"] - before < 64 << 10
    far = zs.swp_entry(big, (1 << 42) - 16)
    assert z.store(far, b"f" * 16 * PAGE)
    assert z.memory()["tree"] - before < 256 << 10
    z.invalidate(zs.swp_entry(big, 0), (1 << 42) - 8)
    assert far not in z
    assert far + 8 in z
    z.swapoff(big)
    assert z.memory()["tree"] == before


def test_instances_know_nothing_of_each_other(out):
    machines = [zs.Zswap(name, max_pool_percent=10 + i) for i, name in enumerate((SPECS * 2)[:10])]
    try:
        for i, z in enumerate(machines):
            z.swapon(64)
            assert z.store(i, page(i) * (i + 1))
        with machines[0].faults.compress(times=0, error=errno.ENOSPC):
            assert all(z.store(40, TEXT) for z in machines[1:])
        machines[3].enabled = False
        machines[4].close()
        for i, z in enumerate(machines):
            if i != 4:
                assert z.max_pool_percent == 10 + i
                assert z.enabled is (i != 3)
                assert z.stats()["stored_pages"] == i + 1 + (i > 0)
                assert z.load(i, out)
                assert out == page(i)
                assert {
                    k: n for k, n in z.stats().items() if "reject" in k or "hit" in k
                } == dict.fromkeys((k for k in z.stats() if "reject" in k or "hit" in k), 0)
    finally:
        for z in machines:
            z.close()


# --- corrupt objects ------------------------------------------------------------------


@pytest.mark.parametrize("spec", SPECS)
def test_any_byte_of_an_object_flipped_is_eio_or_a_page(spec):
    rng = random.Random(1)
    pages = [
        TEXT,
        page(5),
        bytes(2048) + rng.randbytes(256) + bytes(1792),
        bytes(rng.choices(b"abcd", k=PAGE)),
    ]
    with zs.Zswap(spec) as z:
        z.swapon(8)
        for i, p in enumerate(pages):
            assert z.store(i, p)
            before = z.stats()["decompress_fail"]
            errors = 0
            for byte in range(z.length(i)):
                for mask in (0xFF, 1 << rng.randrange(8)):
                    out = bytearray(b"\xa5" * 3 * PAGE)
                    z.faults.flip(i, byte, mask)
                    try:
                        assert z.peek(i, memoryview(out)[PAGE : 2 * PAGE])
                    except OSError as e:
                        assert e.errno == errno.EIO
                        errors += 1
                    assert out[:PAGE] == out[2 * PAGE :] == b"\xa5" * PAGE, (
                        "written outside of the page"
                    )
                    z.faults.flip(i, byte, mask)
            assert z.stats()["decompress_fail"] - before == errors
            assert z.peek(i, memoryview(out)[:PAGE])
            assert out[:PAGE] == p
        assert z.stats()["decompress_fail"] > 0
        with pytest.raises(IndexError, match="past the object at slot 0"):
            z.faults.flip(0, z.length(0))


# --- compressors ----------------------------------------------------------------------


def test_every_kernel_name_is_listed_with_its_backends_or_a_reason():
    infos = zs.compressors()
    assert list(dict.fromkeys(i.name for i in infos)) == list(crypto.KERNEL_NAMES)
    by_name = {name: [i.backend for i in infos if i.name == name] for name in crypto.KERNEL_NAMES}
    assert by_name == {
        "lzo": ["kernel"],
        "lzo-rle": ["kernel"],
        "lz4": ["kernel", "liblz4"],
        "lz4hc": ["kernel", "liblz4"],
        "zstd": ["libzstd"],
        "deflate": ["zlib", "libdeflate"],
        "842": [None],
        "deflate-iaa": ["isal", "zlib", None],
    }
    for i in infos:
        assert i.available is (i.reason is None)
        if i.available:
            assert crypto.find(f"{i.name}:{i.backend}").spec == f"{i.name}:{i.backend}"
            assert (i.library is None) is (i.name in ("lzo", "lzo-rle"))
    reasons = {i.name: i.reason for i in infos if i.backend is None}
    assert reasons["842"] == "no library has sw842, the kernel's software encoder of it"
    assert str(reasons["deflate-iaa"]).startswith("no accelerator queue is bound; the software")


def test_who_has_the_kernels_sizes():
    import zlib

    exact = {f"{i.name}:{i.backend}" for i in zs.compressors() if i.kernel_sizes}
    encoders = {"lzo:kernel", "lzo-rle:kernel", "lz4:kernel", "lz4hc:kernel"}
    # libz, and libzstd where no wheel carries it, are the system's
    assert exact - {"deflate:zlib", "zstd:libzstd"} == encoders & set(SPECS)
    if "deflate:zlib" in SPECS:
        assert ("deflate:zlib" in exact) is ("ng" not in zlib.ZLIB_RUNTIME_VERSION)


def hidden(tmp_path, monkeypatch, package="hidingwheel"):
    """A wheel whose extension module loads, but exports none of the functions."""
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").write_text("raise AssertionError('imported')")
    source = tmp_path / "hide.c"
    source.write_text(
        "static int LZ4_versionNumber(void) { return 1; }\nint other(void) { return "
        "LZ4_versionNumber(); }"
    )
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-o", tmp_path / package / "_block.so", source], check=True
    )
    monkeypatch.syspath_prepend(tmp_path)
    return package


BORROWED = {"lz4": "liblz4", "zstd": "libzstd", "deflate:libdeflate": "libdeflate"}


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler to make such a wheel with")
@pytest.mark.parametrize("spec", BORROWED)
def test_a_wheel_that_hides_its_symbols_gives_way_to_the_systems_library(
    libraries, tmp_path, monkeypatch, spec
):
    library = libraries[BORROWED[spec]]
    there = next(crypto._places(library, []))[
        1
    ]  # a file that has them stands for the system's library
    libraries[BORROWED[spec]] = crypto._Library(
        (hidden(tmp_path, monkeypatch), "_block*.so"), there, library.version, library.install
    )
    found = crypto.find(spec)
    assert found.library == there
    with zs.Zswap(spec) as z:
        z.swapon(1)
        assert z.store(0, TEXT)


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler to make such a wheel with")
def test_where_neither_has_them_the_package_to_install_is_named(libraries, tmp_path, monkeypatch):
    package = hidden(tmp_path, monkeypatch)
    libraries["liblz4"] = crypto._Library(
        (package, "_block*.so"), "liblz4-none.so.9", "LZ4_versionString", "pip install lz4"
    )
    with pytest.raises(
        OSError, match=r"lz4.*liblz4-none\.so\.9 cannot be loaded.*pip install lz4"
    ) as e:
        zs.Zswap("lz4")
    assert e.value.errno == errno.ENOENT
    infos = [i for i in zs.compressors() if i.name in ("lz4", "lz4hc")]
    assert [i.available for i in infos] == [False] * 4
    assert all("pip install lz4" in str(i.reason) for i in infos)
    assert not any(i.kernel_sizes for i in infos)


def test_a_wheel_that_is_not_there(libraries):
    libraries["libzstd"] = crypto._Library(
        ("no_such_wheel", "*.so"), "libzstd-none.so", None, "pip install zstandard"
    )
    with pytest.raises(OSError, match="pip install zstandard"):
        crypto.find("zstd")


def test_a_library_without_the_functions(libraries):
    libraries["libzstd"] = crypto._Library(None, "libc.so.6", None, "pip install zstandard")
    with pytest.raises(OSError, match=r"libc\.so\.6 does not export ZSTD_.*pip install zstandard"):
        crypto.find("zstd")


# --- compressors of one's own ---------------------------------------------------------


def shrink(src, room):
    return bytes(src)[:8]


def grow(src, room):
    return (bytes(src) * PAGE)[:room]


def test_a_compressor_in_python(register, out):
    register("mine", shrink, grow)
    assert "mine" in [i.name for i in zs.compressors()]
    with zs.Zswap("mine") as z:
        z.swapon(64)
        assert z.store(0, (b"8 bytes." * 512) * 17)
        assert z.length(16) == 8
        assert z.load(16, out)
        assert out == b"8 bytes." * 512


@pytest.mark.parametrize(
    "error", [RuntimeError("mine"), KeyboardInterrupt(), OSError(errno.ENOSPC, "no")]
)
def test_what_it_raises_the_caller_gets(register, out, error):
    fails = [False]

    def maybe(fn):
        def run(src, room):
            if fails[0]:
                raise error
            return fn(src, room)

        return run

    register("raising", maybe(shrink), maybe(grow))
    with zs.Zswap("raising", incompressible="reject") as z:
        z.swapon(64)
        assert z.store(0, TEXT)
        fails[0] = True
        with pytest.raises(type(error)) as e:
            z.store(1, TEXT * 3)
        assert e.value is error
        assert z.stats()["reject_compress_fail"] == 1
        with pytest.raises(type(error)) as e:
            z.load(0, out)
        assert e.value is error
        assert z.stats()["decompress_fail"] == 1
        fails[0] = False
        assert [i for i in range(8) if i in z] == [0]
        assert z.load(0, out)  # the error was told once
        assert gone(z)


def test_one_that_gives_too_much(register, out):
    register("too-much", lambda src, room: bytes(room + 1), lambda src, room: bytes(room + 1))
    with zs.Zswap("too-much", kernel="6.16") as z:
        z.swapon(4)
        assert z.store(0, TEXT).reason == "reject_compress_poor"
    with zs.Zswap("too-much") as z:
        z.swapon(4)
        assert z.store(0, TEXT)
        assert z.length(0) == PAGE
        assert z.load(0, out)
        assert out == TEXT
    register("too-much-back", shrink, lambda src, room: bytes(room + 1))
    with zs.Zswap("too-much-back") as z:
        z.swapon(4)
        assert z.store(0, TEXT)
        with pytest.raises(OSError) as e:
            z.load(0, out)
        assert e.value.errno == errno.EIO


@pytest.mark.parametrize("result", [None, 5, "text"])
def test_one_that_gives_no_bytes(register, result):
    register("odd", lambda src, room: result, grow)
    with zs.Zswap("odd") as z:
        z.swapon(4)
        with pytest.raises(TypeError):
            z.store(0, TEXT)
        z.check()


def test_one_that_calls_its_own_instance_is_told(register, out):
    box, seen = [], []

    def calls(src, room):
        for call in (
            lambda: box[0].load(1, out),
            lambda: box[0].store(2, TEXT),
            lambda: box[0].invalidate(1),
            lambda: box[0].peek(1, out),
            lambda: 1 in box[0],
        ):
            try:
                call()
            except OSError as e:
                seen.append((e.errno, "holds its locks" in str(e)))
        return shrink(src, room)

    register("calling", calls, grow)
    with zs.Zswap("calling") as z:
        box.append(z)
        z.swapon(4)
        assert z.store(0, TEXT)
        assert seen == [(errno.EDEADLK, True)] * 5
        assert list(z.pools) == [z.pool]
        assert len(z) == 1
    box.clear()


def test_one_that_uses_another_instance(register, out):
    with zs.Zswap("lz4") as other:
        other.swapon(64)

        def compress(src, room):
            other.store(src[0], src)
            return bytes(src[:1])

        def decompress(src, room):
            page = bytearray(room)
            assert other.load(src[0], page)
            return page

        register("other", compress, decompress)
        with zs.Zswap("other") as z:
            z.swapon(64)
            folio = b"".join(bytes([i]) + noise(i)[1:] for i in range(20))
            assert z.store(0, folio)
            assert len(other) == 20
            assert z.load(7, out)
            assert out == folio[7 * PAGE : 8 * PAGE]
            assert len(other) == 19


def test_while_it_is_slow_other_threads_go_on(register):
    inside, go = threading.Event(), threading.Event()

    def slow(src, room):
        inside.set()
        assert go.wait(30)
        return shrink(src, room)

    register("slow", slow, grow)
    with zs.Zswap("slow", nr_cpus=2) as z:
        z.swapon(64)
        results = []
        thread = threading.Thread(target=lambda: results.append(z.store(0, TEXT, cpu=0)))
        thread.start()
        assert inside.wait(30)
        with zs.Zswap("lz4") as other:
            other.swapon(1)
            assert other.store(0, TEXT)
        z.compressor = "lz4"
        assert z.store(32, TEXT, cpu=1)
        assert z.load(32, bytearray(PAGE), cpu=1)
        assert not results
        go.set()
        thread.join(30)
        assert results[0]


@pytest.mark.parametrize("batch_size", [0, 1, 3, 8, 100])
def test_batch_sizes(register, batch_size, out):
    register("batching", shrink, grow, batch_size=batch_size)
    folio = b"".join(b"%07d." % i * 512 for i in range(21))
    with zs.Zswap("batching") as z:
        assert z.pool.compr_batch_size == min(8, max(1, batch_size))
        assert z.pool.batch_size == (min(8, batch_size) if batch_size > 1 else 2)
        z.swapon(64)
        assert z.store(0, folio)
        back = bytearray(len(folio))
        assert z.load_batch(range(21), back) == [0] * 21
        assert back == folio


@pytest.mark.parametrize(
    ("args", "kwargs", "says"),
    [
        (("x",), {}, "give compress and decompress, or base="),
        (("x", shrink), {}, "give compress and decompress"),
        (("x", shrink, grow), {"base": "lz4"}, "give compress and decompress"),
        (("x", shrink, grow), {"batch_size": -1}, "batch_size=-1: must be 0 to 255"),
        (("x", shrink, grow), {"batch_size": 256}, "batch_size=256: must be 0 to 255"),
        (("lz4", shrink, grow), {}, "'lz4': must be a new name"),
        (("a:b", shrink, grow), {}, "'a:b': must be a new name"),
        (("", shrink, grow), {}, "'': must be a new name"),
    ],
)
def test_registrations_that_make_no_sense(args, kwargs, says):
    with pytest.raises(ValueError, match=says):
        zs.register_compressor(*args, **kwargs)


def test_unregistered_it_is_not_found_but_pools_go_on(out):
    zs.register_compressor("passing", shrink, grow)
    with pytest.raises(ValueError, match="'passing' is registered already"):
        zs.register_compressor("passing", shrink, grow)
    with zs.Zswap("passing") as z:
        z.swapon(4)
        assert z.store(0, b"8 bytes." * 512)
        zs.unregister_compressor("passing")
        assert z.store(1, b"bytes 8." * 512)
        assert z.load(0, out)
        assert out == b"8 bytes." * 512
        with pytest.raises(OSError, match="passing not available"):
            zs.Zswap("passing")
        with pytest.raises(KeyError, match="passing"):
            zs.unregister_compressor("passing")


# --- figures --------------------------------------------------------------------------


def test_names_of_figures(z):
    assert list(z.stats()) == [
        "pool_limit_hit",
        "reject_reclaim_fail",
        "reject_alloc_fail",
        "reject_kmemcache_fail",
        "reject_compress_fail",
        "reject_compress_poor",
        "decompress_fail",
        "written_back_pages",
        "pool_total_size",
        "stored_pages",
        "stored_incompressible_pages",
    ]
    assert list(z.events()) == [
        "zswpin",
        "zswpout",
        "zswap_bytes",
        "no_context",
        "arena_mapped",
        "slab_mapped",
    ]
    assert list(z.memory()) == [
        "pool",
        "percpu",
        "acomp",
        "request",
        "array",
        "buffer",
        "entry",
        "tree",
        "handle",
        "zspage",
        "lru",
    ]


def test_memory_is_by_node_and_entries_are_at_most_64_bytes():
    with zs.Zswap("lz4", nr_cpus=4, nr_nodes=2) as z:
        z.swapon(1024)
        assert z.store(0, TEXT * 512, cpu=0)
        by_node = [z.memory(node=n) for n in range(2)]
        assert {k: by_node[0][k] + by_node[1][k] for k in by_node[0]} == z.memory()
        assert by_node[0]["buffer"] == by_node[1]["buffer"] > 0
        assert 0 < z.memory()["entry"] <= 512 * 64
        with pytest.raises(OSError, match=r"memory\(node=2\)") as e:
            z.memory(node=2)
        assert e.value.errno == errno.EINVAL


def test_trim_leaves_at_most_2_mib_over_the_pool(z):
    for i in range(0, 4096, 64):
        assert z.store(i, noise(i, 64))
    assert z.events()["arena_mapped"] >= 4096 * PAGE
    for i in range(0, 4096, 64):
        z.invalidate(i, 60)
    pool = z.stats()["pool_total_size"]
    assert pool == 256 * PAGE
    z.trim()
    assert pool <= z.events()["arena_mapped"] <= pool + (2 << 20)
    assert all(z.load(i, bytearray(PAGE)) for i in range(63, 4096, 64))


# --- the package ----------------------------------------------------------------------


def test_without_the_compiled_module_the_command_to_type_is_told(tmp_path):
    shutil.copytree(
        pathlib.Path(zs.__file__).parent,
        tmp_path / "zswap_py",
        ignore=shutil.ignore_patterns("*.so"),
    )
    # -S: an editable install would find the tree's module
    done = python("-S", "-c", "import zswap_py", cwd=tmp_path, path=str(tmp_path))
    assert done.returncode == 1
    assert "ImportError" in done.stderr.splitlines()[-1]
    assert "`pip install .`" in done.stderr.splitlines()[-1]
    assert "`python setup.py build_ext -i`" in done.stderr.splitlines()[-1]


def test_importing_warns_of_nothing():
    done = python(
        "-X",
        "dev",
        "-W",
        "error",
        "-c",
        "import zswap_py as zs; zs.Zswap().close(); zs.compressors()",
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_all_that_is_named_is_there():
    assert len(set(zs.__all__)) == len(zs.__all__) > 10
    assert all(hasattr(zs, name) for name in zs.__all__)
