# SPDX-License-Identifier: GPL-2.0-or-later
"""Faults on demand, and what they prove: a failure at any step leaves nothing behind,
and the next try works.
"""

from __future__ import annotations

import errno

import pytest

import zswap_py as zs
from zswap_py.faults import ALLOC_KINDS, KINDS

PAGE = 4096
FOLIO = b"".join((b"%04d " % i * 400)[:2000].ljust(PAGE, b"\0") for i in range(16))


def live(z):
    """Bytes of everything that is allocated; trees stay until swapoff."""
    return {kind: n for kind, n in z.memory().items() if kind != "tree"}


def sweep(fault, step):
    """Run step() with the fault at n = 1, 2, ... until it succeeds; how often it
    failed.
    """
    n = 0
    while True:
        n += 1
        with fault(n) as f:
            ok = step(n)
        if not f.hits:
            assert ok, f"try {n} failed with no fault"
            return n - 1
        assert not ok, f"try {n} succeeded with {f.kind} failing"


@pytest.fixture(params=[1, 8], ids=["sequential", "batching"])
def compressor(request):
    name = f"faulty{request.param}"
    zs.register_compressor(name, base="lz4", batch_size=request.param)
    yield name, request.param
    zs.unregister_compressor(name)


# what a pool with 4 CPUs allocates of each kind: pool is the pool and zsmalloc's three,
# percpu contexts and counters
@pytest.mark.parametrize(
    ("kind", "failures"),
    [
        ("pool", 4),
        ("percpu", 2),
        ("acomp", 8),
        ("request", 4),
        ("array", 4),
        ("buffer", 4),
        ("prepare", 4),
    ],
)
@pytest.mark.parametrize("series", [None, "v10", "v13"])
def test_pool_creation_failing_at_every_allocation(compressor, kind, failures, series):
    name, batch = compressor
    if kind == "buffer" and series is not None:
        failures *= batch
    with zs.Zswap("lzo", nr_cpus=4, nr_nodes=2, series=series) as z:
        z.swapon(64)
        before, old = live(z), z.pool

        def fault(n):
            return z.faults.prepare(nth=n) if kind == "prepare" else z.faults.alloc(kind, nth=n)

        def step(n):
            try:
                z.compressor = name
            except OSError as e:
                assert e.errno == errno.ENOMEM
                assert live(z) == before
                assert (z.pool, z.compressor) == (old, "lzo")
                assert z.store(0, FOLIO)
                z.invalidate(0, 16)
                z.trim()
                return False
            return True

        assert sweep(fault, step) == failures
        assert z.store(0, FOLIO)
        z.check()


@pytest.mark.parametrize("cpu", [0, 2, 3], ids=["first", "middle", "last"])
def test_prepare_failing_on_one_cpu_frees_all_of_them(compressor, cpu):
    name, batch = compressor
    with zs.Zswap("lzo", nr_cpus=4) as z:
        before = live(z)
        for kind in ("acomp", "request", "array", "buffer"):
            nth = cpu * (batch if kind == "buffer" else 2 if kind == "acomp" else 1) + 1
            with z.faults.alloc(kind, nth=nth), pytest.raises(OSError):
                z.compressor = name
            assert live(z) == before, kind


def test_a_prepare_that_failed_and_is_tried_again_gives_fresh_buffers(compressor):
    """v10 frees without clearing: the second prepare would find a dead acomp and answer
    0.
    """
    name, batch = compressor
    cpuhp = zs.CpuHotplug(2, online=1)
    with zs.Zswap(name, cpuhp=cpuhp, series="v13") as z:
        z.swapon(64)
        for kind in ("acomp", "request", "array", "buffer"):
            for nth in range(1, batch + 1 if kind == "buffer" else 2):
                before = live(z)
                with z.faults.alloc(kind, nth=nth), pytest.raises(OSError):
                    cpuhp.online(1)
                context = z.pool.context(1)
                assert (context.acomp, context.req, context.buffers) == (None, None, ()), kind
                assert live(z) == before
        cpuhp.online(1)
        second = z.pool.context(1)
        assert len(second.buffers) == batch
        assert z.store(0, FOLIO, cpu=1)
        cpuhp.offline(1)
        cpuhp.online(1)  # a third prepare changes nothing
        assert z.pool.context(1) == second


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("entry", "reject_kmemcache_fail"),
        ("handle", "reject_alloc_fail"),
        ("zspage", "reject_alloc_fail"),
        ("tree", "reject_alloc_fail"),
    ],
)
@pytest.mark.parametrize("highmem", [0, 0.5])
def test_store_of_a_folio_failing_at_every_allocation(compressor, kind, reason, highmem):
    with zs.Zswap(compressor[0], nr_cpus=1, highmem=highmem) as z:
        z.swapon(64)
        z.store(63, FOLIO[:PAGE])
        z.invalidate(63)
        before = live(z)

        failures = 0
        for n in range(1, 100):
            if kind != "zspage":  # there would be room for the folio in theirs
                for slot in (0, 5, 15):
                    # older entries must go with the failed folio
                    assert z.store(slot, FOLIO[:PAGE])
            with z.faults.alloc(kind, nth=n) as f:
                result = z.store(0, FOLIO)
            z.check()
            if not f.hits:
                break
            failures += 1
            assert result.reason == reason
            assert live(z) == before, n
            assert z.stats()["pool_total_size"] == 0
        assert result
        assert failures >= (1 if kind == "zspage" else 16)
        assert z.stats()[reason] == failures
        out = bytearray(16 * PAGE)
        assert z.load_batch(range(16), out) == [0] * 16
        assert out == FOLIO
        assert live(z) == before


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EINVAL, errno.EIO, errno.ENOMEM])
def test_each_page_of_a_folio_failing_to_compress(compressor, error):
    name, _ = compressor
    counter = "reject_compress_poor" if error == errno.ENOSPC else "reject_compress_fail"
    with zs.Zswap(name, nr_cpus=1, incompressible="reject") as z:
        z.swapon(64)
        for n in range(1, 17):
            with z.faults.compress(nth=n, error=error) as f:
                assert z.store(0, FOLIO).reason == counter
            assert f.hits == 1
            assert z.stats()[counter] == n
            assert z.stats()["stored_pages"] == 0
        assert z.store(0, FOLIO)


def test_load_failing_at_each_object_keeps_it(compressor):
    with zs.Zswap(compressor[0], nr_cpus=1) as z:
        z.swapon(64)
        z.store(0, FOLIO)
        out = bytearray(16 * PAGE)
        for n in range(16):
            with z.faults.decompress(nth=1) as f:
                results = z.load_batch(range(n, 16), out[n * PAGE :])
            assert f.hits == 1
            assert results == [-errno.EIO] + [0] * (15 - n)
            assert n in z
            assert z.stats()["decompress_fail"] == 2 * n + 1
            with z.faults.decompress(), pytest.raises(OSError) as e:
                z.load(n, bytearray(PAGE))
            assert e.value.errno == errno.EIO
            z.store(0, FOLIO)
        z.check()


def test_swapon_failing(compressor):
    with zs.Zswap(compressor[0], nr_cpus=1) as z:
        with z.faults.alloc("tree"), pytest.raises(OSError) as e:
            z.swapon(64)
        assert e.value.errno == errno.ENOMEM
        assert z.swapon(64) == 0


def test_kinds_and_memory_have_one_set_of_names():
    with zs.Zswap("lzo", nr_cpus=1) as z:
        assert tuple(z.memory()) == ALLOC_KINDS == KINDS[: len(ALLOC_KINDS)]
    assert KINDS[len(ALLOC_KINDS) :] == ("compress", "decompress", "prepare")


def test_faults_are_an_instances_own_and_end_with_their_block():
    with zs.Zswap("lzo", nr_cpus=1) as a, zs.Zswap("lzo", nr_cpus=1) as b:
        for z in (a, b):
            z.swapon(64)
        with a.faults.alloc("entry", times=0) as f:
            assert not a.store(0, FOLIO)
            assert b.store(0, FOLIO)
        assert f.hits > 0
        hits = f.hits
        assert a.store(0, FOLIO)
        assert f.hits == hits


def test_nth_times_and_cpu():
    with zs.Zswap("lzo", nr_cpus=2) as z:
        z.swapon(64)

        def stores(cpu):
            return [bool(z.store(i, FOLIO[:PAGE], cpu=cpu)) for i in range(6)]

        with z.faults.alloc("entry", nth=2, times=3):
            assert stores(0) == [True, False, False, False, True, True]
        with z.faults.alloc("entry", nth=4, times=0):
            assert stores(0) == [True] * 3 + [False] * 3
        with z.faults.alloc("entry", cpu=1, times=0) as f:
            assert all(stores(0))
            assert not any(stores(1))
        assert f.hits == 6


@pytest.mark.parametrize(
    "bad", [{"nth": 0}, {"times": -1}, {"error": 0}, {"error": -12}, {"error": 5000}]
)
def test_faults_that_make_no_sense(bad):
    with zs.Zswap("lzo", nr_cpus=1) as z, pytest.raises(ValueError, match=next(iter(bad))):
        z.faults.alloc("entry", **bad)


def test_a_kind_that_is_none_is_told_which_there_are():
    with zs.Zswap("lzo", nr_cpus=1) as z, pytest.raises(ValueError, match="buffer"):
        z.faults.alloc("bufer")
