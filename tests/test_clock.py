# SPDX-License-Identifier: GPL-2.0-or-later
"""The virtual clock from Python: actors in run(), threads that are none, exceptions,
children of fork().
"""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import pathlib
import random
import subprocess
import sys
import threading
import time
import warnings
import weakref

import pytest

import zswap_py
from zswap_py import clock as clock_module
from zswap_py._native import ffi, lib
from zswap_py.clock import VirtualClock


def test_time_is_what_is_slept():
    clock = VirtualClock(seed=42)
    assert (clock.now, clock.seed, clock.stalls) == (0, 42, 0)
    clock.sleep(0)
    assert clock.now == 0
    clock.sleep(1_000_000_007)
    clock.sleep(1)
    assert clock.now == 1_000_000_008
    assert VirtualClock().now == 0
    assert VirtualClock().seed == 0


@pytest.mark.parametrize("ns", [-1, 1 << 63, 1 << 80])
def test_a_sleep_that_is_no_time(ns):
    clock = VirtualClock()
    with pytest.raises(ValueError, match=rf"sleep\({ns}\): must be nanoseconds, 0 to 2"):
        clock.sleep(ns)
    with pytest.raises(TypeError):
        clock.sleep(1.5)
    assert clock.now == 0


def test_what_a_clock_cannot_be_made_of():
    for seconds in (0, -1, float("nan"), 1e9):
        with pytest.raises(ValueError, match=f"stall_seconds={seconds}"):
            VirtualClock(stall_seconds=seconds)
    with pytest.raises(TypeError, match="seed='x'"):
        VirtualClock(seed="x")
    with pytest.raises(TypeError, match="stall_seconds='1'"):
        VirtualClock(stall_seconds="1")


# ---- run() ----


def test_56_actors_sleep_at_the_same_time():
    clock = VirtualClock()
    clock.sleep(5)

    def sleeper(i):
        def sleep():
            times = [clock.now]
            for _ in range(20):
                clock.sleep(100 + i)
                times.append(clock.now)
            return times

        return sleep

    results = clock.run([sleeper(i) for i in range(56)])
    assert results == [[5 + k * (100 + i) for k in range(21)] for i in range(56)]
    assert clock.now == 5 + 20 * 155
    assert clock.run([sleeper(0)]) == [[clock.now - 2000 + k * 100 for k in range(21)]]
    assert clock.stalls == 0


def interleaving(seed):
    """Who had a turn when, of eight actors that sleep as it comes."""
    clock, trace = VirtualClock(seed), []

    def actor(i):
        rng = random.Random(clock.seed * 100 + i)
        for _ in range(200):
            trace.append((i, clock.now))
            clock.sleep(rng.randrange(5))

    clock.run([lambda i=i: actor(i) for i in range(8)])
    assert clock.stalls == 0
    return trace


def test_each_run_has_the_same_turns():
    first = interleaving(1)
    assert [who for who, _ in first[:8]] == list(range(8))
    assert [now for _, now in first] == sorted(now for _, now in first)
    assert interleaving(1) == first
    assert interleaving(2) != first


def test_actors_are_threads_of_those_names_one_at_a_time():
    clock, inside = VirtualClock(), []

    def actor():
        assert not inside
        inside.append(1)
        sum(range(20_000))  # time enough to be interrupted
        inside.clear()
        clock.sleep(1)
        return threading.current_thread().name

    assert clock.run([actor] * 4, names=["a", "b", "c", "d"]) == ["a", "b", "c", "d"]
    assert clock.run([actor] * 2) == ["actor-0", "actor-1"]
    assert clock.run([]) == []
    with pytest.raises(ValueError, match=r"1 names for 2 functions"):
        clock.run([actor] * 2, names=["a"])


def test_the_first_exception_is_raised_when_all_have_ended():
    clock, ended = VirtualClock(), []

    def fail(ns, exception):
        clock.sleep(ns)
        raise exception

    def end():
        clock.sleep(1000)
        ended.append(clock.now)

    with pytest.raises(KeyError, match="first"):
        clock.run(
            [end, lambda: fail(20, KeyError("first")), lambda: fail(10, ValueError("earlier")), end]
        )
    assert ended == [1000, 1000]
    with pytest.raises(SystemExit):
        clock.run([lambda: fail(0, SystemExit(3))])
    clock.sleep(1)
    assert (clock.now, clock.stalls) == (1001, 0)


def test_an_actor_cannot_run_others():
    clock, other = VirtualClock(), VirtualClock()

    def outer():
        with pytest.raises(
            ValueError,
            match=(
                r"run\(\) inside an actor .* give all functions to the outer "
                r"run\(\)"
            ),
        ):
            clock.run([lambda: None])
        return other.run([lambda: other.sleep(7), lambda: None])

    assert clock.run([outer, lambda: clock.sleep(3)]) == [[None, None], None]
    assert (clock.now, other.now) == (3, 7)


def test_a_thread_that_cannot_start_leaves_nobody_waiting(monkeypatch):
    clock, calls = VirtualClock(), []
    start = threading.Thread.start

    def fail_third(thread):
        if thread.name == "c":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", fail_third)
    with pytest.raises(RuntimeError, match="can't start"):
        clock.run([lambda: calls.append(1)] * 4, names=["a", "b", "c", "d"])
    assert calls == []
    monkeypatch.undo()
    assert lib.vclock_current(clock._clock) == ffi.NULL
    clock.run([lambda: clock.sleep(4)] * 2)
    assert (clock.now, clock.stalls) == (4, 0)


def test_an_actor_that_there_is_no_memory_for(monkeypatch):
    class NoMemory:
        left = 2

        def __getattr__(self, name):
            return getattr(lib, name)

        def vclock_actor_create(self, clock):
            self.left -= 1
            return lib.vclock_actor_create(clock) if self.left >= 0 else ffi.NULL

    clock, calls = VirtualClock(), []
    monkeypatch.setattr(clock_module, "lib", NoMemory())
    with pytest.raises(OSError, match="'actor-2'") as e:
        clock.run([lambda: calls.append(1)] * 4)
    assert e.value.errno == errno.ENOMEM
    assert calls == []
    monkeypatch.undo()
    clock.sleep(1)
    assert (clock.now, clock.stalls) == (1, 0)


@pytest.mark.parametrize("call", ["vclock_create", "vclock_enter", "vclock_sleep"])
def test_a_call_that_there_is_no_memory_for(monkeypatch, call):
    class NoMemory:
        def __getattr__(self, name):
            failed = ffi.NULL if call == "vclock_create" else -errno.ENOMEM
            return getattr(lib, name) if name != call else lambda *args: failed

    clock = VirtualClock()
    monkeypatch.setattr(clock_module, "lib", NoMemory())
    use, what = {
        "vclock_create": (VirtualClock, "cannot create a VirtualClock"),
        "vclock_enter": (lambda: clock.run([lambda: None]), r"run\(\)"),
        "vclock_sleep": (lambda: clock.sleep(5), r"sleep\(5\)"),
    }[call]
    with pytest.raises(OSError, match=what) as e:
        use()
    assert e.value.errno == errno.ENOMEM


# ---- other threads ----


def test_any_thread_may_sleep_while_actors_run():
    clock, began, ended = VirtualClock(), threading.Event(), threading.Event()
    turns = []

    def actor():
        began.set()
        while not ended.is_set():
            clock.sleep(10)
            turns.append(clock.now)

    def stranger():
        began.wait()
        before = clock.now
        clock.sleep(1000)
        ended.set()
        return clock.now - before

    results = []
    thread = threading.Thread(target=lambda: results.append(stranger()))
    thread.start()
    clock.run([actor])
    thread.join()
    assert results[0] >= 1000
    assert len(turns) >= 100
    assert turns == list(range(10, clock.now + 1, 10))
    assert clock.stalls == 0


def test_an_actor_that_waits_for_another_loses_its_turn():
    """run() warns, with its name; its next sleep fails, and so does run(). The other's
    times are as if alone.
    """
    clock, lock, times = VirtualClock(stall_seconds=0.8), threading.Lock(), []

    def holds():
        with lock:
            clock.sleep(10)
        times.append(clock.now)
        clock.sleep(10)
        times.append(clock.now)

    def waits():
        with lock:
            times.append("locked")
        with pytest.raises(OSError, match=r"actor 'b' lost its turn: it kept it for 0\.8 s") as e:
            clock.sleep(1)
        assert e.value.errno == errno.EDEADLK
        clock.sleep(0)  # as any thread that is no actor

    began = time.monotonic()
    with (
        pytest.warns(
            RuntimeWarning, match=r"time stands still: actor 'b' has had its turn for 0\.08 s"
        ) as warned,
        pytest.raises(
            OSError, match=r"actor 'b' lost its turn.*give each actor a CPU .*stall_seconds"
        ) as e,
    ):
        clock.run([holds, waits], names=["a", "b"])
    assert time.monotonic() - began < 8
    assert e.value.errno == errno.EDEADLK
    assert len(warned) == 1
    assert warned[0].filename == __file__
    assert [t for t in times if t != "locked"] == [10, 20]
    assert clock.stalls == 1
    clock.run([lambda: clock.sleep(5)] * 2)  # it goes on
    assert clock.stalls == 1


def test_what_an_actor_raises_comes_before_its_lost_turn():
    clock, lock = VirtualClock(stall_seconds=0.4), threading.Lock()

    def holds():
        with lock:
            clock.sleep(10)
        raise KeyError("mine")

    def waits():
        with lock:
            pass

    with pytest.warns(RuntimeWarning, match="stands still"), pytest.raises(KeyError, match="mine"):
        clock.run([holds, waits])
    assert clock.stalls == 1


def test_a_long_turn_that_ends_in_time_is_a_warning():
    clock = VirtualClock(stall_seconds=100)
    clock_of_10 = VirtualClock(stall_seconds=10)
    for each, warns in ((clock, False), (clock_of_10, True)):

        def computes(each=each):
            time.sleep(1.4)
            each.sleep(1)

        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            each.run([computes, lambda each=each: each.sleep(1)])
        assert len(warned) == warns
        assert (each.now, each.stalls) == (1, 0)


def test_an_actor_whose_thread_comes_late_is_not_called(monkeypatch):
    """Its turn was lost meanwhile; the others go on."""
    clock, calls, late = VirtualClock(stall_seconds=0.2), [], threading.Event()
    main = clock_module._Actor._main

    def comes_late(actor):
        if actor.thread.name == "a":
            late.wait()
        main(actor)

    def sleeps():
        clock.sleep(1)
        late.set()

    monkeypatch.setattr(clock_module._Actor, "_main", comes_late)
    with (
        pytest.warns(RuntimeWarning, match="'a'"),
        pytest.raises(OSError, match=("actor 'a' lost its turn")),
    ):
        clock.run([lambda: calls.append(1), sleeps], names=["a", "b"])
    assert calls == []
    assert (clock.now, clock.stalls) == (1, 1)


def test_two_runs_of_one_clock():
    clock = VirtualClock()

    def actor():
        for _ in range(50):
            clock.sleep(2)
        return clock.now

    results = []
    thread = threading.Thread(target=lambda: results.extend(clock.run([actor] * 3)))
    thread.start()
    results += clock.run([actor] * 3)
    thread.join()
    assert len(results) == 6
    assert all(100 <= now <= 200 for now in results)
    assert clock.stalls == 0


# ---- its life ----


def test_a_clock_goes_with_its_last_user(monkeypatch):
    put = []

    class Counting:
        def __getattr__(self, name):
            return getattr(lib, name)

        def vclock_put(self, clock):
            put.append(clock)
            lib.vclock_put(clock)

    monkeypatch.setattr(clock_module, "lib", Counting())

    def use():
        clock = VirtualClock()
        clock.run([lambda: clock.sleep(1)] * 3)
        with pytest.raises(ZeroDivisionError):
            clock.run([lambda: 1 // 0])
        assert put == []
        return weakref.ref(clock)

    gone = use()
    gc.collect()
    assert gone() is None
    assert len(put) == 1


def test_a_failed_run_holds_nothing():
    gc.collect()
    gc.disable()
    try:
        clock = VirtualClock()

        class Held:
            pass

        held = Held()
        gone = weakref.ref(held)

        def fail(held):
            raise KeyError(held)

        with contextlib.suppress(KeyError):
            clock.run([lambda held=held: fail(held), lambda held=held: fail(held)])
        del held
        assert gone() is None
    finally:
        gc.enable()


FORKED = """
import errno, gc, os, sys
from zswap_py.clock import VirtualClock
clock = VirtualClock()
clock.sleep(3)
pid = os.fork()
if pid == 0:
    for use in (
        lambda: clock.now,
        lambda: clock.stalls,
        lambda: clock.sleep(1),
        lambda: clock.run([lambda: None]),
    ):
        try:
            use()
        except OSError as e:
            assert e.errno == errno.ECHILD, e
            assert "made before fork()" in str(e) and "make one in each process" in str(e), e
        else:
            raise SystemExit("no error")
    mine = VirtualClock()
    mine.run([lambda: mine.sleep(1)])
    assert mine.now == 1
    del clock, use
    gc.collect()
    sys.exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
clock.sleep(1)
assert clock.now == 4, clock.now
print("parent is well")
"""


def test_a_forked_child_is_told_and_leaves_cleanly():
    root = pathlib.Path(zswap_py.__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKED],
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "parent is well\n", "")
