# SPDX-License-Identifier: GPL-2.0-or-later
"""The rules of the patch "mm: zswap: Allocate pool batching resources if the compressor
supports batching" (v10, 23/25).

One test a rule, named after it. What CPU hotplug does to them is test_cpuhp.py's,
failures are test_faults.py's.
"""

from __future__ import annotations

import errno
import logging
import random
import uuid

import pytest

import zswap_py as zs
from zswap_py._native import ffi, lib

PAGE = 4096
FOLIOS = (1, 2, 3, 7, 8, 9, 15, 16, 17, 511, 512)


def text_pages(n: int, seed: int = 1) -> bytes:
    r = random.Random(seed)
    words = [bytes(r.choices(b"abcdefghijklmnop", k=r.randrange(4, 12))) for _ in range(60)]
    return b"".join(b" ".join(r.choices(words, k=900))[:PAGE].ljust(PAGE, b".") for _ in range(n))


@pytest.fixture
def batching():
    """Makes compressors that take n pages a request, over lzo unless told otherwise;
    taken off the list afterwards.
    """
    names = []

    def make(n, base="lzo", **functions):
        name = f"t{uuid.uuid4().hex[:8]}"
        zs.register_compressor(name, base=None if functions else base, batch_size=n, **functions)
        names.append(name)
        return name

    yield make
    for name in names:
        zs.unregister_compressor(name)


class Recorder:
    """A compressor that keeps a page's first byte, and notes each call."""

    def __init__(self, **fail):
        self.calls = []
        self.fail = fail  # page's first byte -> exception or result

    def compress(self, page, room):
        self.calls.append(("c", page[0], room))
        result = self.fail.get(f"p{page[0]}")
        if isinstance(result, BaseException):
            raise result
        return bytes(page[:8]) if result is None else result

    def decompress(self, obj, room):
        self.calls.append(("d", obj[0], room))
        return bytes(obj) * (room // len(obj))


def recorded_pages(*first):
    return b"".join(bytes([b]) * PAGE for b in first)


def test_zswap_max_batch_size_is_8():
    assert lib.ZSWAP_MAX_BATCH_SIZE == 8


@pytest.mark.parametrize(
    ("offered", "compr", "batch"),
    [(0, 1, 2), (1, 1, 2), (2, 2, 2), (3, 3, 3), (8, 8, 8), (9, 8, 8), (255, 8, 8)],
)
def test_compr_batch_size_and_batch_size(batching, offered, compr, batch):
    with zs.Zswap(batching(offered), nr_cpus=3) as z:
        assert (z.pool.compr_batch_size, z.pool.batch_size) == (compr, batch)


@pytest.mark.parametrize(
    ("series", "offered", "sizes"),
    [
        (None, 1, (1, 1)),
        (None, 8, (1, 1)),
        ("v10", 1, (1, 2)),
        ("v10", 8, (8, 8)),
        ("v13", 1, (1, 8)),
        ("v13", 8, (8, 8)),
    ],
)
def test_batch_sizes_of_each_series(batching, series, offered, sizes):
    with zs.Zswap(batching(offered), series=series, nr_cpus=1) as z:
        assert (z.pool.compr_batch_size, z.pool.batch_size) == sizes


def test_the_first_prepare_sets_the_batch_size_and_later_ones_must_agree(batching):
    name = batching(4)
    cpuhp = zs.CpuHotplug(4, online=2)
    with zs.Zswap(name, cpuhp=cpuhp, series="v13") as z:
        alg = z.pool.compressor.alg()
        lib.acomp_alg_set_batch_size(alg, 8)
        with pytest.raises(OSError) as e:
            cpuhp.online(2)
        assert e.value.errno == errno.EINVAL
        assert z.pool.context(2).acomp is None
        assert z.pool.compr_batch_size == 4
        lib.acomp_alg_set_batch_size(alg, 4)
        cpuhp.online(2)
        assert len(z.pool.context(2).buffers) == 4


def test_buffers_are_compr_batch_size_of_two_pages_each_on_the_cpus_node(batching):
    for page_size in (4096, 16384, 65536):
        with zs.Zswap(batching(8), nr_cpus=6, nr_nodes=3, page_size=page_size) as z:
            for node in range(3):
                memory = z.memory(node)
                assert memory["buffer"] == 2 * 8 * 2 * page_size
                assert memory["array"] == 2 * 8 * 8
            assert [c.node for c in z.pool.cpus] == [0, 0, 1, 1, 2, 2]
            buffers = [b for c in z.pool.cpus for b in c.buffers]
            assert len(set(buffers)) == 6 * 8


def test_memory_added_where_the_compressor_does_not_batch_is_one_pointer_a_cpu(batching):
    for nr_cpus in (1, 2, 56):
        with zs.Zswap("lzo", nr_cpus=nr_cpus) as z:
            assert z.memory()["array"] == 8 * nr_cpus
            assert z.memory()["buffer"] == 2 * PAGE * nr_cpus  # as before the patch


def test_the_order_in_prepare(batching):
    """acomp, request, array, buffers: each failure leaves the kinds after it
    untouched.
    """
    order = ("acomp", "request", "array", "buffer")
    with zs.Zswap("lz4", nr_cpus=1) as z:
        for i, kind in enumerate(order):
            later = [z.faults.alloc(k, times=0) for k in order[i:]]
            for f in later:
                f.__enter__()
            with pytest.raises(OSError):
                z.compressor = "lzo"
            for f in later:
                f.__exit__(None, None, None)
            assert [f.hits for f in later] == [1] + [0] * (len(later) - 1), kind


def test_prepare_called_again_returns_0_and_changes_nothing(batching):
    with zs.Zswap(batching(8), nr_cpus=2) as z:
        before = z.pool.cpus, z.memory()
        for cpu in (0, 1, 1):
            assert lib.zswap_cpu_comp_prepare(z.pool._ptr, cpu) == 0
        assert (z.pool.cpus, z.memory()) == before


def test_a_prepare_that_fails_says_so_in_the_log(caplog):
    with zs.Zswap("lz4", nr_cpus=1) as z, caplog.at_level(logging.ERROR, "zswap_py"):
        for kind, text in (
            ("acomp", "could not alloc crypto acomp lzo : -12"),
            ("request", "could not alloc crypto acomp_request lzo"),
        ):
            caplog.clear()
            with z.faults.alloc(kind), pytest.raises(OSError):
                z.compressor = "lzo"
            assert [r.message for r in caplog.records] == [f"zswap: {text}"]


def test_the_acomps_own_error_is_the_pools(batching):
    with (
        zs.Zswap("lzo", nr_cpus=1) as z,
        z.faults.prepare(error=errno.ENODEV),
        pytest.raises(OSError) as e,
    ):
        z.compressor = "lz4"
    assert e.value.errno == errno.ENODEV


def test_batching_goes_through_one_request_and_kernel_data_is_cleared_after_it(batching):
    """A batch of 3 and then one page: read as a batch again, it would compress
    three.
    """
    r = Recorder()
    with zs.Zswap(batching(3, compress=r.compress, decompress=r.decompress), nr_cpus=1) as z:
        z.swapon(64)
        assert z.store(0, recorded_pages(1, 2, 3))
        assert z.store(8, recorded_pages(9))
        assert r.calls == [("c", b, PAGE) for b in (1, 2, 3, 9)]


def test_a_one_page_tail_of_a_batching_compressor_takes_the_plain_path(batching):
    r = Recorder()
    with zs.Zswap(batching(8, compress=r.compress, decompress=r.decompress), nr_cpus=1) as z:
        z.swapon(64)
        assert z.store(0, recorded_pages(*range(1, 18)))
        assert [c[1] for c in r.calls] == list(range(1, 18))
        out = bytearray(PAGE)
        for i in range(17):
            assert z.load(i, out)
            assert out[0] == i + 1


@pytest.mark.parametrize("base", ["lzo", "lz4", "zstd", "deflate"])
def test_pool_bytes_are_the_same_for_every_batch_size(batching, base):
    pools = {}
    folios = [(n, text_pages(n, seed=n)) for n in FOLIOS]
    for size in range(1, 9):
        with zs.Zswap(batching(size, base), nr_cpus=1) as z:
            z.swapon(4096)
            slot = 0
            for n, folio in folios:
                assert z.store(slot, folio)
                slot += n
            z.check()
            pools[size] = z.stats()["pool_total_size"], z.events()["zswap_bytes"]
            out = bytearray(512 * PAGE)
            assert z.load_batch(range(slot - 512, slot), out) == [0] * 512
            assert out == folios[-1][1]
    assert len(set(pools.values())) == 1, pools


@pytest.mark.parametrize("batch", [1, 2, 3, 8])
@pytest.mark.parametrize("n", [1, 2, 8, 9, 17])
def test_a_page_that_must_be_refused_anywhere_in_the_folio_leaves_no_slot_of_it(batching, batch, n):
    with zs.Zswap(batching(batch), incompressible="reject", nr_cpus=1) as z:
        z.swapon(64)
        for bad in range(n):
            for slot in range(0, n, 2):
                assert z.store(slot, text_pages(1, seed=slot))  # older entries must go too
            with z.faults.compress(nth=bad + 1, error=errno.EINVAL) as f:
                assert z.store(0, text_pages(n)).reason == "reject_compress_fail"
            assert f.hits == 1
            assert not any(slot in z for slot in range(n))
            z.check()
        stats = z.stats()
        assert (stats["stored_pages"], stats["pool_total_size"], stats["reject_compress_fail"]) == (
            0,
            0,
            n,
        )
        assert z.memory()["entry"] == z.memory()["handle"] == z.memory()["zspage"] == 0


def test_errors_are_one_a_page_of_a_batch(batching):
    r = Recorder(p2=OSError(), p4=bytes(PAGE + 1), p5=bytes(PAGE + 1))
    with zs.Zswap(
        batching(8, compress=r.compress, decompress=r.decompress),
        incompressible="reject",
        nr_cpus=1,
    ) as z:
        z.swapon(64)
        with pytest.raises(OSError):
            z.store(0, recorded_pages(1, 2, 3, 4, 5, 6))
        stats = z.stats()
        assert (stats["reject_compress_fail"], stats["reject_compress_poor"]) == (1, 2)
        assert stats["stored_pages"] == stats["pool_total_size"] == 0


@pytest.mark.parametrize("batch", [1, 3, 8])
def test_under_store_a_page_with_an_error_is_kept_raw_and_the_folio_goes_on(batching, batch):
    folio = text_pages(17)
    with zs.Zswap(batching(batch), nr_cpus=1) as z:
        z.swapon(64)
        with z.faults.compress(nth=5, times=2, error=errno.EIO) as f:
            assert z.store(0, folio)
        assert f.hits == 2
        stats = z.stats()
        assert (stats["stored_pages"], stats["stored_incompressible_pages"]) == (17, 2)
        assert stats["reject_compress_fail"] == stats["reject_compress_poor"] == 0
        assert [z.length(i) == PAGE for i in range(17)] == [i in (4, 5) for i in range(17)]
        out = bytearray(17 * PAGE)
        assert z.load_batch(range(17), out) == [0] * 17
        assert out == folio


def test_load_batch_is_one_request_for_up_to_compr_batch_size_objects(batching):
    r = Recorder()
    with zs.Zswap(batching(4, compress=r.compress, decompress=r.decompress), nr_cpus=1) as z:
        z.swapon(64)
        assert z.store(0, recorded_pages(*range(1, 11)))
        r.calls.clear()
        out = bytearray(10 * PAGE)
        assert z.load_batch([9, 0, 3, 3, 50, 1, 2, 4, 5, 6], out) == [
            0,
            0,
            0,
            -2,
            -2,
            0,
            0,
            0,
            0,
            0,
        ]
        assert sorted(c[1] for c in r.calls) == [1, 2, 3, 4, 5, 6, 7, 10]
        assert [out[i * PAGE] for i in (0, 1, 2, 5)] == [10, 1, 4, 2]
        assert sorted(e for e in range(64) if e in z) == [7, 8]


@pytest.mark.parametrize("highmem", [0.25, 0.5, 1.0])
@pytest.mark.parametrize("batch", [1, 8])
def test_highmem_objects_are_copied_to_the_contexts_buffers(batching, highmem, batch):
    folio = text_pages(64)
    with (
        zs.Zswap(batching(batch), highmem=highmem, nr_cpus=1) as z,
        zs.Zswap("lzo", nr_cpus=1) as low,
    ):
        for each in (z, low):
            each.swapon(64)
            assert each.store(0, folio)
        assert z.stats() == low.stats()
        out = bytearray(64 * PAGE)
        assert z.load_batch(range(64), out) == [0] * 64
        assert out == folio
        copies = z.pool.context(0).highmem_copies
        crossing = z.pool.crossing_reads
        assert 0 < crossing < 64  # these are in buffers[] already, which is lowmem
        assert copies == 64 - crossing if highmem == 1.0 else 0 < copies < 64 - crossing
        z.check()


def test_with_no_highmem_objects_are_used_in_place_and_crossing_ones_counted(batching):
    with zs.Zswap("lzo", nr_cpus=1) as z:
        z.swapon(64)
        assert z.store(0, text_pages(64))
        out = bytearray(64 * PAGE)
        z.load_batch(range(64), out)
        assert z.pool.context(0).highmem_copies == 0
        assert z.pool.crossing_reads > 0


def test_a_store_on_a_cpu_without_a_context_is_enodev_and_a_counter():
    cpuhp = zs.CpuHotplug(4, online=2)
    with zs.Zswap("lzo", cpuhp=cpuhp, series="v10") as z:
        z.swapon(64)
        assert z.store(3, text_pages(1))
        cpuhp.online(3)
        with pytest.raises(OSError, match="context") as e:
            z.store(3, text_pages(2), cpu=3)
        assert e.value.errno == errno.ENODEV
        assert 3 not in z  # no stale entry
        assert z.store(3, text_pages(1), cpu=1)
        with pytest.raises(OSError) as e:
            z.load(3, bytearray(PAGE), cpu=3)
        assert e.value.errno == errno.ENODEV
        assert 3 in z
        assert z.load_batch([3], bytearray(PAGE), cpu=3) == [-errno.ENODEV]
        assert z.events()["no_context"] == 3
        z.check()


def test_a_stale_entry_never_survives_a_store_while_disabled():
    with zs.Zswap("lzo", nr_cpus=1) as z:
        z.swapon(64)
        assert z.store(0, text_pages(4))
        z.enabled = False
        assert z.store(1, text_pages(2)).reason == "disabled"
        assert [slot in z for slot in range(4)] == [True, False, False, True]
        assert z.load(0, bytearray(PAGE))  # loads go on


def test_ctx_info_is_of_the_cpu_that_is_asked_for():
    with zs.Zswap("lzo", nr_cpus=2) as z:
        a, b = z.pool.cpus
        assert (a.cpu, b.cpu) == (0, 1)
        assert a.acomp != b.acomp
        assert ffi.sizeof("struct zswap_ctx_info") > 0
