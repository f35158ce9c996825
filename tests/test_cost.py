# SPDX-License-Identifier: GPL-2.0-or-later
"""report/cost.py, and what zswap-py report does to be cheap: idle threads, a budget."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from helpers import Run, running

from zswap_py.report import cost

P = os.sysconf("SC_PAGE_SIZE")

pytestmark = pytest.mark.skipif(P != 4096, reason="sizes are for pages of 4,096 bytes")


class Oops(Exception):
    pass


@pytest.mark.skipif(os.geteuid() != 0, reason="only root leaves SCHED_IDLE")
def test_the_policy_is_restored_after_an_exception_too() -> None:
    before = os.sched_getscheduler(0), os.sched_getparam(0).sched_priority
    with pytest.raises(Oops), cost.idle():
        assert os.sched_getscheduler(0) == os.SCHED_IDLE
        with ThreadPoolExecutor(1) as thread:  # inherits it
            assert thread.submit(os.sched_getscheduler, 0).result() == os.SCHED_IDLE
        raise Oops
    assert (os.sched_getscheduler(0), os.sched_getparam(0).sched_priority) == before


def test_a_user_stays_idle_without_an_error() -> None:
    """Only root, or RLIMIT_NICE, lets a thread leave SCHED_IDLE."""
    script = """
import os
from zswap_py.report import cost
if os.geteuid() == 0:
    os.setresuid(65534, 65534, 65534)
with cost.idle():
    assert os.sched_getscheduler(0) == os.SCHED_IDLE
print("done")
"""
    done = subprocess.run(
        [sys.executable, "-c", script], check=False, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("done\n", "")


@pytest.mark.parametrize("idle", [True, False])
def test_work_on_a_thread_returns_and_raises(idle: bool) -> None:
    def fail() -> None:
        raise Oops

    before = os.sched_getscheduler(0)
    policy = cost.on_thread(lambda: os.sched_getscheduler(0), idle=idle, stop=pytest.fail)
    assert policy == (os.SCHED_IDLE if idle else before)
    with pytest.raises(Oops):
        cost.on_thread(fail, idle=idle, stop=pytest.fail)
    assert os.sched_getscheduler(0) == before


def test_ctrl_c_while_the_thread_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread runs already, and must not work for a caller that has given up."""

    class Interrupted(ThreadPoolExecutor):
        def submit(self, *args: Any, **kwargs: Any) -> Any:
            super().submit(*args, **kwargs)
            raise KeyboardInterrupt

    monkeypatch.setattr(cost, "ThreadPoolExecutor", Interrupted)
    stopped: list[bool] = []
    with pytest.raises(KeyboardInterrupt):
        cost.on_thread(pytest.fail, idle=True, stop=lambda: stopped.append(True))
    assert stopped == [True]


def test_the_watch_counts_all_threads() -> None:
    watch = cost.Stopwatch()

    def work() -> float:
        while time.thread_time() < 0.1:
            pass
        return time.thread_time()

    with ThreadPoolExecutor(2) as threads:
        spent = sum(threads.map(lambda _: work(), range(2)))
    assert spent <= watch.cpu_seconds() < spent + 1
    made = watch.cost(123, 2, True)
    assert (made.bytes_read, made.threads, made.policy) == (123, 2, "idle")
    assert made.wall_seconds < made.cpu_seconds + 60


# ---- zswap-py report ----


@pytest.fixture
def child() -> Iterator[int]:
    """A process of 40 MiB: text, each page its own."""
    script = f"""
import mmap, random, sys
r = random.Random(1)
m = mmap.mmap(-1, 10240 * {P}, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for i in range(10240):
    m[i * {P}:i * {P} + 1024] = b"%08x" % r.getrandbits(32) * 64 + r.randbytes(512)
print("ready", flush=True)
sys.stdin.read()
"""
    with running(script) as pid:
        yield pid


def test_a_process_is_read_by_one_idle_thread_until_it_is_known_well(run: Run, child: int) -> None:
    before = os.sched_getscheduler(0)
    code, out, _err = run("report", "--pid", child, "-c", "lz4", "--json")
    data = json.loads(out)
    assert (code, data["complete"]) == (0, True)
    assert (data["cost"]["policy"], data["cost"]["threads"]) == ("idle", 1)
    assert (data["sample"]["ended"], data["sample"]["precision"]) == ("precision", 0.05)
    assert data["sample"]["pages"] < 5000
    saved = data["compressors"][0]["all"]["net_saved_bytes"]
    assert saved["high"] - saved["low"] <= 0.1 * saved["value"] + 2
    if os.geteuid() == 0:
        assert os.sched_getscheduler(0) == before


def test_little_memory_beside_the_pool(child: int) -> None:
    """A process of its own, whose parent has far more."""
    ballast = b"x" * (300 << 20)
    command = [sys.executable, "-m", "zswap_py", "report", "--pid", str(child), "-c", "lz4"]
    done = subprocess.run([*command, "--json"], stdout=subprocess.PIPE, check=True)
    # beside the pool and Python itself: pieces, tables, what the survey found
    assert json.loads(done.stdout)["cost"]["peak_memory"] < 256 << 20 < len(ballast)


def test_more_threads_are_idle_too(run: Run, child: int) -> None:
    _code, out, _err = run("report", "--pid", child, "-c", "lz4", "-j", 2, "--json")
    cost = json.loads(out)["cost"]
    assert (cost["policy"], cost["threads"]) == ("idle", 2)


@pytest.mark.parametrize(
    ("amount", "read"),
    [(["--sample", "4M"], 1024), (["--full"], 10240), (["--precision", "2%"], 0)],
)
def test_an_amount_that_is_given_is_read(
    run: Run, child: int, amount: list[str], read: int
) -> None:
    _code, out, _err = run("report", "--pid", child, "-c", "lz4", *amount, "--json")
    sample = json.loads(out)["sample"]
    assert sample["precision"] == (None if read else 0.02)
    assert sample["pages"] >= 0.9 * read


def test_a_file_has_no_budget_and_all_cores(run: Run, memory: object) -> None:
    _code, out, _err = run("report", memory, "-c", "lz4", "--json")
    data = json.loads(out)
    assert data["cost"]["policy"] == "other"
    assert data["cost"]["threads"] == min(os.cpu_count() or 1, 64)
    assert data["sample"]["ended"] == "all"


def test_a_budget_that_is_spent_is_told(
    run: Run, child: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = iter(range(1000))
    monkeypatch.setattr(cost.Stopwatch, "cpu_seconds", lambda self: float(next(ticks)))
    code, out, err = run(
        "report", "--pid", child, "-c", "lz4", "--precision", "0.1%", "--budget", 4, "--json"
    )
    data = json.loads(out)
    assert (code, data["complete"], data["sample"]["ended"]) == (0, True, "budget")
    assert "the budget of 4 CPU seconds is spent: a larger --budget" in err
    code, out, err = run("report", "--pid", child, "-c", "lz4", "--full", "--budget", 1, "--json")
    data = json.loads(out)
    assert (code, data["complete"], data["sample"]["ended"]) == (1, False, "budget")
    assert "before a random sample was read" in err
