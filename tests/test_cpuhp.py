# SPDX-License-Identifier: GPL-2.0-or-later
"""CPU hotplug: the state machine's rules, and what each series does to a pool's
contexts when CPUs come and go.
"""

from __future__ import annotations

import errno
import random
import threading
import time

import pytest

import zswap_py as zs
from zswap_py.cpuhp import CpuHotplug, CpuhpState

PREPARE = CpuhpState.MM_ZSWP_POOL_PREPARE
PAGE = 4096
SERIES = [None, "v10", "v13"]
CPUS = [1, 2, 4, 64]


class Calls(list):
    """Callbacks that note their calls, and fail where told."""

    def __init__(self, fail=()):
        self.fail = dict(fail)

    def startup(self, cpu, node):
        self.append(("up", cpu, node))
        return self.fail.get((cpu, node), self.fail.get(cpu, 0))

    def teardown(self, cpu, node):
        self.append(("down", cpu, node))
        return 0


# ---- the state machine ----


def test_registering_calls_nothing_and_a_state_is_taken_once():
    calls, hp = Calls(), CpuHotplug(2)
    hp.setup_state_multi(PREPARE, "mm/zswap_pool:prepare", calls.startup, calls.teardown)
    assert calls == []
    assert hp.states() == {PREPARE: "mm/zswap_pool:prepare"}
    with pytest.raises(ValueError, match="taken"):
        hp.setup_state_multi(PREPARE, "x", None, None)


def test_add_runs_startup_on_present_online_cpus_in_number_order():
    calls, hp = Calls(), CpuHotplug(6, present=4, online=3)
    hp.setup_state_multi(PREPARE, "t", calls.startup, calls.teardown)
    hp.add_instance(PREPARE, "a")
    assert calls == [("up", 0, "a"), ("up", 1, "a"), ("up", 2, "a")]
    calls.clear()
    hp.online(3)
    assert calls == [("up", 3, "a")]
    with pytest.raises(OSError, match="not present") as e:
        hp.online(5)
    assert e.value.errno == errno.EINVAL


@pytest.mark.parametrize("bad", [0, 1, 2, 3])
def test_add_that_fails_rolls_back_the_cpus_before_and_does_not_link(bad):
    calls, hp = Calls({bad: -errno.ENOMEM}), CpuHotplug(4)
    hp.setup_state_multi(PREPARE, "t", calls.startup, calls.teardown)
    with pytest.raises(OSError) as e:
        hp.add_instance(PREPARE, "a")
    assert e.value.errno == errno.ENOMEM
    assert calls == [("up", c, "a") for c in range(bad + 1)] + [
        ("down", c, "a") for c in range(bad)
    ]
    with pytest.raises(ValueError, match="not an instance"):
        hp.remove_instance(PREPARE, "a")


def test_add_that_fails_without_a_teardown_rolls_nothing_back():
    calls, hp = Calls({2: -errno.ENOMEM}), CpuHotplug(4)
    hp.setup_state_multi(PREPARE, "t", calls.startup, None)
    with pytest.raises(OSError):
        hp.add_instance(PREPARE, "a")
    assert calls == [("up", c, "a") for c in range(3)]


def test_instances_are_called_newest_first_and_undone_when_one_fails():
    calls, hp = Calls({(1, "a"): -errno.ENOMEM}), CpuHotplug(2, online=1)
    hp.setup_state_multi(PREPARE, "t", calls.startup, calls.teardown)
    for node in "abc":
        hp.add_instance(PREPARE, node)
    calls.clear()
    with pytest.raises(OSError, match="CPU 1 stays offline"):
        hp.online(1)
    assert calls == [
        ("up", 1, "c"),
        ("up", 1, "b"),
        ("up", 1, "a"),
        ("down", 1, "c"),
        ("down", 1, "b"),
    ]
    assert hp.online_cpus == (0,)
    assert hp.state(1) is CpuhpState.OFFLINE


def test_remove_runs_teardown_and_unlinks():
    calls, hp = Calls(), CpuHotplug(3, online=2)
    hp.setup_state_multi(PREPARE, "t", calls.startup, calls.teardown)
    hp.add_instance(PREPARE, "a")
    calls.clear()
    hp.remove_instance(PREPARE, "a")
    assert calls == [("down", 0, "a"), ("down", 1, "a")]
    calls.clear()
    hp.online(2)
    assert calls == []


def test_the_last_cpu_stays_online():
    hp = CpuHotplug(2)
    hp.offline(0)
    with pytest.raises(OSError, match="last one") as e:
        hp.offline(1)
    assert e.value.errno == errno.EBUSY
    hp.offline(0)  # already: nothing
    assert hp.online_cpus == (1,)


def test_fail_injects_one_failure_at_a_state():
    calls, hp = Calls(), CpuHotplug(2)
    hp.setup_state_multi(PREPARE, "t", calls.startup, calls.teardown)
    hp.add_instance(PREPARE, "a")
    hp.fail(1, PREPARE)
    with pytest.raises(OSError, match="MM_ZSWP_POOL_PREPARE") as e:
        hp.offline(1)
    assert e.value.errno == errno.EAGAIN
    assert hp.online_cpus == (0, 1)
    hp.offline(1)
    calls.clear()
    hp.fail(1, CpuhpState.ONLINE, -errno.EIO)
    with pytest.raises(OSError, match="failed at ONLINE") as e:
        hp.online(1)
    assert e.value.errno == errno.EIO
    assert calls == [("up", 1, "a"), ("down", 1, "a")]
    hp.fail(1, PREPARE)
    hp.fail(1, None)
    hp.online(1)
    for state in (CpuhpState.OFFLINE, CpuhpState.BRINGUP_CPU):
        with pytest.raises(ValueError, match="no callback"):
            hp.fail(0, state)


def test_a_state_with_instances_cannot_be_removed_and_one_without_leaves_room():
    hp = CpuHotplug(1)
    hp.setup_state_multi(PREPARE, "t", None, None)
    hp.add_instance(PREPARE, "a")
    with pytest.raises(ValueError, match="1 instances"):
        hp.remove_state(PREPARE)
    hp.remove_instance(PREPARE, "a")
    hp.remove_state(PREPARE)
    assert hp.states() == {}


def test_a_machine_whose_zswap_was_closed_can_have_another():
    hp = CpuHotplug(2)
    for series in SERIES:
        with zs.Zswap("lzo", cpuhp=hp, series=series), pytest.raises(ValueError, match="taken"):
            zs.Zswap("lzo", cpuhp=hp)


@pytest.mark.parametrize("args", [(2, 3, None), (2, 1, 2), (4, 2, 0), (0, None, None)])
def test_cpu_counts_that_do_not_fit(args):
    with pytest.raises(ValueError, match="CPUs"):
        CpuHotplug(*args)


# ---- the event table ----


def has_context(z, cpu):
    context = z.pool.context(cpu)
    assert bool(context.acomp) == bool(context.req) == bool(context.buffers)
    return context.acomp is not None


@pytest.mark.parametrize("nr", CPUS)
@pytest.mark.parametrize("series", SERIES)
def test_pool_created_prepares_each_online_cpu(series, nr):
    hp = CpuHotplug(nr + 3, present=nr + 1, online=nr)
    with zs.Zswap("lzo", cpuhp=hp, series=series) as z:
        assert [has_context(z, c) for c in range(nr + 3)] == [True] * nr + [False] * 3
        # the instance is removed at once in v10, and stays otherwise
        assert (z.pool in hp._steps[PREPARE].instances) == (series != "v10")


@pytest.mark.parametrize("nr", CPUS)
@pytest.mark.parametrize("series", SERIES)
def test_a_cpus_prepare_fails_in_creation_and_all_is_freed(series, nr):
    with zs.Zswap("lzo", nr_cpus=nr, series=series) as z:
        before, old = z.memory(), z.pool
        for cpu in {0, nr // 2, nr - 1}:
            with z.faults.prepare(cpu=cpu) as f, pytest.raises(OSError):
                z.compressor = "lz4"
            assert f.hits == 1
            assert z.memory() == before
            assert z.pool is old
            assert z.compressor == "lzo"
        z.compressor = "lz4"
        assert all(has_context(z, c) for c in range(nr))


@pytest.mark.parametrize("nr", [2, 4, 64])
@pytest.mark.parametrize("series", SERIES)
def test_cpu_offline(series, nr):
    """Before the series its context is freed; since, nothing happens."""
    with zs.Zswap("lzo", nr_cpus=nr, series=series) as z:
        before, memory = z.pool.cpus, z.memory()
        z.cpuhp.offline(1)
        assert has_context(z, 1) == (series is not None)
        if series is None:
            assert z.memory()["buffer"] == memory["buffer"] // nr * (nr - 1)
        else:
            assert (z.pool.cpus, z.memory()) == (before, memory)


@pytest.mark.parametrize("nr", [2, 4, 64])
@pytest.mark.parametrize("series", SERIES)
def test_cpu_online_again(series, nr):
    """Before the series it is allocated anew; in v10 it is still there; in v13 prepare
    finds it.
    """
    with zs.Zswap("lzo", nr_cpus=nr, series=series) as z:
        before = z.pool.cpus
        z.cpuhp.offline(1)
        with z.faults.prepare(times=0) as asked, z.faults.alloc("acomp", nth=1 << 40, times=0):
            if series is None:
                with pytest.raises(OSError):
                    z.cpuhp.online(1)
                assert asked.hits == 1
            else:
                z.cpuhp.online(1)  # not called, or answers 0 before it would fail
                assert asked.hits == 0
                assert z.pool.cpus == before
        z.cpuhp.online(1)
        assert has_context(z, 1)


@pytest.mark.parametrize("nr", CPUS)
@pytest.mark.parametrize("series", SERIES)
def test_cpu_online_for_the_first_time(series, nr):
    """v10's hole: the instance is gone, so the CPU has no context."""
    hp = CpuHotplug(nr + 1, online=nr)
    with zs.Zswap("lzo", cpuhp=hp, series=series) as z:
        z.swapon(16)
        hp.online(nr)
        assert has_context(z, nr) == (series != "v10")
        if series == "v10":
            with pytest.raises(OSError) as e:
                z.store(0, bytes(PAGE), cpu=nr)
            assert e.value.errno == errno.ENODEV
            z.compressor = "lz4"  # a new pool has one there
        assert z.store(0, bytes(PAGE), cpu=nr)


def test_v13_onlining_prepares_every_pool_and_a_failure_keeps_the_cpu_offline():
    hp = CpuHotplug(2, online=1)
    with zs.Zswap("lzo", cpuhp=hp, series="v13") as z:
        z.swapon(16)
        z.store(0, bytes(PAGE))
        z.compressor = "lz4"
        assert len(z.pools) == 2
        with z.faults.prepare(nth=2, cpu=1), pytest.raises(OSError):
            hp.online(1)
        assert hp.online_cpus == (0,)
        assert z.store(1, bytes(PAGE))
        hp.online(1)
        assert all(p.context(1).acomp for p in z.pools)


@pytest.mark.parametrize("nr", CPUS)
@pytest.mark.parametrize("series", SERIES)
def test_pool_destroyed_frees_all_possible_cpus(series, nr):
    hp = CpuHotplug(nr)
    with zs.Zswap("lzo", cpuhp=hp, series=series) as z:
        first = z.pool
        z.compressor = "lz4"
        assert first.released.wait(10)
        before = z.memory()
        for spec in ("lzo", "lz4"):
            old = z.pool
            if nr > 1:
                hp.offline(nr - 1)
            z.compressor = spec
            assert old.released.wait(10)
            if nr > 1:
                hp.online(nr - 1)
        # the last CPU was down when this pool was made, and the hole is there
        if series == "v10" and nr > 1:
            assert not has_context(z, nr - 1)
        else:
            assert z.memory() == before
        assert hp._steps[PREPARE].instances == ([z.pool] if series != "v10" else [])


def test_before_the_series_a_thread_whose_cpu_died_goes_on_at_another():
    with zs.Zswap("lzo", nr_cpus=4, series=None) as z:
        z.swapon(16)
        z.cpuhp.offline(2)
        assert z.store(0, bytes(PAGE), cpu=2)
        assert z.load(0, bytearray(PAGE), cpu=2)
        assert z.events()["no_context"] == 0


def test_a_thread_whose_cpu_went_offline_goes_to_the_next_online_one():
    with zs.Zswap("lzo", nr_cpus=4) as z:
        mine = z._cpu()
        assert z._cpu() == mine
        z.cpuhp.offline(mine)
        assert z._cpu() == (mine + 1) % 4
        z.cpuhp.online(mine)
        assert z._cpu() == (mine + 1) % 4


def test_threads_get_cpus_in_turn():
    with zs.Zswap("lzo", nr_cpus=4) as z:
        seen = []
        for _ in range(8):
            t = threading.Thread(target=lambda: seen.append(z._cpu()))
            t.start()
            t.join()
        assert sorted(seen) == [0, 0, 1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize("series", SERIES)
def test_cpus_come_and_go_while_threads_store_and_load(series):
    """Nothing is lost, whatever a CPU does meanwhile."""
    hp = CpuHotplug(4)
    stop = time.monotonic() + 2
    errors: list[BaseException] = []
    with zs.Zswap("lzo", cpuhp=hp, series=series) as z:
        z.swapon(4096)

        def work(base):
            try:
                r, out = random.Random(base), bytearray(PAGE)
                held: dict[int, bytes] = {}
                while time.monotonic() < stop:
                    slot = base + r.randrange(200)
                    if slot in held:
                        assert z.load(slot, out)
                        assert out == held.pop(slot)
                    else:
                        held[slot] = (
                            bytes([r.randrange(256)]) * 100 + r.randbytes(100) + bytes(PAGE - 200)
                        )
                        assert z.store(slot, held[slot])
                for slot, page in held.items():
                    assert z.load(slot, out)
                    assert out == page
            except BaseException as e:
                errors.append(e)

        threads = [threading.Thread(target=work, args=(i * 1000,)) for i in range(3)]
        for t in threads:
            t.start()
        r, flips = random.Random(1), 0
        while time.monotonic() < stop:
            cpu = r.randrange(1, 4)
            (hp.offline if cpu in hp.online_cpus else hp.online)(cpu)
            flips += 1
        for t in threads:
            t.join()
        assert errors == []
        assert flips > 50
        assert z.stats()["stored_pages"] == 0
        z.check()
