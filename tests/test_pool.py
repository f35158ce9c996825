# SPDX-License-Identifier: GPL-2.0-or-later
"""The pools' life: created, current, decommissioned, empty, destroyed, or brought
back.
"""

from __future__ import annotations

import errno
import gc
import random
import subprocess
import sys
import threading
import time

import pytest

import zswap_py as zs

PAGE = 4096


def page(i: int) -> bytes:
    return (b"%06d " % i * 300)[:2000].ljust(PAGE, b"\0")


@pytest.fixture
def z():
    with zs.Zswap("lzo", nr_cpus=2) as z:
        z.swapon(1 << 16)
        yield z


def test_names_are_numbers_that_only_grow_and_a_failed_creation_takes_one(z):
    assert z.pool.name == "zswap1"
    with z.faults.prepare(), pytest.raises(OSError):
        z.compressor = "lz4"
    z.compressor = "lz4"
    assert z.pool.name == "zswap3"
    for i in range(4, 17):
        z.compressor = "lzo" if i % 2 == 0 else "lz4"
    assert z.pool.name == "zswap10"


def test_setting_the_same_compressor_does_nothing(z):
    pool = z.pool
    z.compressor = " lzo "
    assert z.pool is pool


def test_a_pool_without_entries_dies_at_once_on_a_switch(z):
    old, empty = z.pool, z.memory()
    z.compressor = "lz4"
    assert old.released.wait(10)
    assert z.pools == (z.pool,)
    assert z.memory() == empty
    with pytest.raises(ValueError, match="released"):
        _ = old.batch_size


def test_old_entries_stay_in_their_pool_which_dies_when_the_last_has_gone(z):
    z.store(0, page(0))
    z.store(1, page(1))
    old = z.pool
    z.compressor = "lz4"
    z.store(2, page(2))
    assert z.pools == (z.pool, old)
    assert (old.refs, z.pool.refs) == (2, 2)
    out = bytearray(PAGE)
    assert z.load(0, out)
    assert out == page(0)
    assert not old.released.is_set()
    z.invalidate(1)
    assert old.released.wait(10)
    assert z.load(2, out)
    assert out == page(2)
    z.check()


def test_rewriting_a_slot_moves_it_to_the_current_pool(z):
    z.store(0, page(0))
    old = z.pool
    z.compressor = "lz4"
    z.store(0, page(1))
    assert old.released.wait(10)
    assert z.stats()["stored_pages"] == 1


def test_switching_back_finds_the_old_pool_as_it_is(z):
    z.store(0, page(0))
    old, pages = z.pool, z.pool.total_pages
    contexts = old.cpus
    z.compressor = "lz4"
    z.store(1, page(1))
    z.compressor = "lzo"
    assert z.pool is old
    assert (old.name, old.total_pages, old.refs, old.cpus) == ("zswap1", pages, 2, contexts)
    z.invalidate(0)
    assert not old.released.wait(0.1)  # it is current again
    assert old.refs == 1


def test_decommissioned_pools_count_towards_the_total_and_the_limit(z):
    z.store(0, page(0) * 64)
    total = z.stats()["pool_total_size"]
    z.compressor = "lz4"
    assert z.stats()["pool_total_size"] == total
    with zs.Zswap("lzo", nr_cpus=1, total_ram=1 << 20) as small:  # 51 pages
        small.swapon(1 << 14)
        i = 0
        while small.store(i, page(i)):
            i += 1
        small.compressor = "lz4"
        assert small.store(i, page(i)).reason == "pool_limit_hit"
        assert small.stats()["pool_limit_hit"] == 2


@pytest.mark.parametrize("kind", ["pool", "percpu", "acomp", "request", "array", "buffer"])
def test_a_failed_creation_leaves_the_old_pool_current(z, kind):
    before, old = z.memory(), z.pool
    with z.faults.alloc(kind), pytest.raises(OSError) as e:
        z.compressor = "lz4"
    assert e.value.errno == errno.ENOMEM
    assert (z.compressor, z.pool, z.memory()) == ("lzo", old, before)
    assert z.store(0, page(0))


def test_a_compressor_that_is_not_there_changes_nothing(z):
    with pytest.raises(OSError, match=r"bogus not available.*lzo") as e:
        z.compressor = "bogus"
    assert e.value.errno == errno.ENOENT
    assert z.compressor == "lzo"


def test_a_failed_switch_back_keeps_both_pools(z):
    z.store(0, page(0))
    z.compressor = "lz4"
    old = z.pools[1]
    z.invalidate(0)
    assert old.released.wait(10)
    with z.faults.alloc("buffer"), pytest.raises(OSError):
        z.compressor = "lzo"
    assert z.compressor == "lz4"
    assert len(z.pools) == 1


def test_switches_under_load():
    """4 threads, 100 switches: every page that was stored is loaded right; at the end
    one pool is alive.
    """
    specs = ["lzo", "lz4", "zstd", "deflate", "lzo-rle"]
    with zs.Zswap("lzo", nr_cpus=4) as z:
        z.swapon(1 << 16)
        errors: list[BaseException] = []
        done = threading.Event()
        stored = [0] * 4

        def work(n):
            try:
                r, out, held = random.Random(n), bytearray(PAGE), {}
                base = n * 10000
                while not done.is_set():
                    slot = base + r.randrange(500)
                    if slot in held:
                        assert z.load(slot, out)
                        assert out == held.pop(slot)
                    elif z.store(slot, page(slot)):
                        held[slot] = page(slot)
                        stored[n] += 1
                batch = bytearray(PAGE * len(held))
                assert z.load_batch(list(held), batch) == [0] * len(held)
                assert batch == b"".join(held.values())
            except BaseException as e:
                errors.append(e)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
        for t in threads:
            t.start()
        for i in range(100):
            z.compressor = specs[i % len(specs)]
            time.sleep(0.01)
        done.set()
        for t in threads:
            t.join()
        assert errors == []
        assert min(stored) > 100
        deadline = time.monotonic() + 10
        while len(z.pools) > 1 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert z.pools == (z.pool,)
        assert z.stats()["pool_total_size"] == 0
        z.check()


def test_close_joins_the_worker_and_destroys_dying_pools():
    before = threading.active_count()
    z = zs.Zswap("lzo", nr_cpus=1)
    z.swapon(16)
    z.store(0, page(0))
    z.compressor = "lz4"
    z.store(1, page(1))
    pools = z.pools
    assert threading.active_count() == before + 1
    z.close()
    assert threading.active_count() == before
    assert all(p.released.is_set() for p in pools)


def test_an_instance_that_nobody_closed_goes_with_its_last_reference():
    before = threading.active_count()
    z = zs.Zswap("lzo", nr_cpus=1)
    z.swapon(16)
    z.store(0, page(0))
    z.compressor = "lz4"
    z.invalidate(0)
    z = None
    gc.collect()
    deadline = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == before


def test_no_thread_outlives_the_interpreter():
    code = (
        "import zswap_py as zs\n"
        "z = zs.Zswap('lzo', nr_cpus=1); z.swapon(16); z.store(0, bytes(4096)); z.compressor = "
        "'lz4'\n"
        "print('done')"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "done\n", "")


def test_many_instances_that_nobody_closed_leave_neither_threads_nor_memory():
    """The worker must not keep alive what it waits for."""
    before = threading.active_count()
    for _ in range(5):
        z = zs.Zswap("lzo", nr_cpus=1)
        z.swapon(16)
        z.store(0, page(0))
        z.compressor = "lz4"  # the first pool dies with the instance, by nobody's hand
        del z
    gc.collect()
    deadline = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == before


def test_a_pool_that_outlives_its_instance_can_be_looked_at():
    pool = zs.Zswap("lzo", nr_cpus=1).pool
    gc.collect()
    assert pool.batch_size == 2


def test_a_closed_instance_refuses_all_that_needs_it():
    z = zs.Zswap("lzo", nr_cpus=1)
    kind = z.swapon(16)
    z.close()
    for call in (
        z.check,
        z.trim,
        z.stats,
        z.events,
        z.memory,
        lambda: z.swapoff(kind),
        lambda: z.swapon(1),
        lambda: z.pool,
        lambda: setattr(z, "max_pool_percent", 5),
        lambda: setattr(z, "compressor", "lz4"),
    ):
        with pytest.raises(ValueError, match="closed"):
            call()


def test_close_and_swapoff_from_within_a_compressor_are_refused_and_change_nothing():
    raised = []

    def compress(data, room):
        for call in (z.close, lambda: z.swapoff(0), z.check, z.stats):
            try:
                call()
            except OSError as e:
                raised.append(e.errno)
        return bytes(data[:1])

    zs.register_compressor("closes", compress, lambda data, room: bytes(data) * room)
    try:
        with zs.Zswap("closes", nr_cpus=1) as z:
            z.swapon(16)
            assert z.store(0, bytes(PAGE))
            assert raised == [errno.EDEADLK] * 4
            assert not z.closed
            assert z.load(0, bytearray(PAGE))
    finally:
        zs.unregister_compressor("closes")


def test_swapoff_waits_for_a_call_that_is_inside():
    """A store that saw the file alive is at work on its slots when swapoff comes."""
    inside, go = threading.Event(), threading.Event()

    def compress(data, room):
        inside.set()
        assert go.wait(10)
        return bytes(data[:1])

    zs.register_compressor("slow", compress, lambda data, room: bytes(data) * room)
    try:
        with zs.Zswap("slow", nr_cpus=2) as z:
            z.swapon(16)
            results = []
            store = threading.Thread(
                target=lambda: results.append(bool(z.store(0, bytes(PAGE), cpu=0)))
            )
            store.start()
            assert inside.wait(10)
            off = threading.Thread(target=z.swapoff, args=(0,))
            off.start()
            off.join(0.2)
            assert off.is_alive()
            go.set()
            store.join(10)
            off.join(10)
            assert not off.is_alive()
            assert results == [True]
            assert z.stats()["stored_pages"] == 0
            assert z.memory()["tree"] == 0
            z.check()
    finally:
        zs.unregister_compressor("slow")
