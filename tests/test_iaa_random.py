# SPDX-License-Identifier: GPL-2.0-or-later
"""Random machines with random faults, in both times: no call hangs, no page is lost or
wrong, the statistics add up.

Which machine, which plan and which calls are Hypothesis's choice, so that what goes
wrong is shrunk to the least of it.
"""

from __future__ import annotations

import concurrent.futures
import errno
import faulthandler
import functools
import logging
import random
import threading
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, event, given, note, settings
from hypothesis import strategies as st

import zswap_py as zs
from zswap_py.iaa import (
    IAA,
    Accelerator,
    Crc,
    Delay,
    DeviceConfig,
    NoAnswer,
    QueueFull,
    Remove,
    Status,
    Stop,
    WorkQueueConfig,
)

PAGE = 4096
NR_CPUS = 2
SLOTS = 24  # a CPU's
TIMEOUT = 3_000_000
PROFILE = IAA.replace(timeout_ns=TIMEOUT, jitter=0.1, pause_ns=1_000)
HANGS = 20  # seconds, for what takes a fraction of one

pytestmark = pytest.mark.timeout(240, method="thread")  # a hang in C is none that a signal ends


@functools.cache
def page(i):
    """Each different; some empty, some that do not compress."""
    rng = random.Random(i)
    n = (1, 100, 1500, 3000, PAGE)[i % 5] if i % 11 else PAGE
    return (rng.randbytes(n) + bytes(PAGE))[:PAGE]


@dataclass(frozen=True)
class Machine:
    """What an accelerator and a Zswap are made of, what goes wrong, and what each CPU
    does.
    """

    devices: list[DeviceConfig]
    plan: list[object]
    sync_mode: str
    series: str | None
    kernel: str
    verify: bool
    rest: dict[str, object]
    scripts: list[list[tuple]]
    seed: int


@pytest.fixture(scope="module", autouse=True)
def _quiet():
    """A thousand runs' messages are of no use to anybody."""
    log = logging.getLogger("zswap_py")
    log.setLevel(logging.CRITICAL + 1)
    yield
    log.setLevel(logging.NOTSET)


# ---- choices ----


@st.composite
def device_configs(draw):
    engines = draw(st.sampled_from([(0,), (0, 0), (0, 1), (1, 0, 1)]))
    wqs = []
    for _ in range(draw(st.integers(1, 2))):
        size = draw(st.sampled_from([1, 2, 3, 8, 16]))
        shared = draw(st.booleans())
        wqs.append(
            WorkQueueConfig(
                size=size,
                shared=shared,
                threshold=draw(st.none() | st.integers(1, size)) if shared else None,
                group=draw(st.sampled_from(sorted(set(engines)))),
                priority=draw(st.integers(1, 3)),
                enqcmds_retries=draw(st.sampled_from([0, 1, 32])),
            )
        )
    return DeviceConfig(wqs=tuple(wqs), engines=engines)


# of device time: none, a little, just not too late, too late
TIMES = st.sampled_from([0, 1, 5_000, 200_000, TIMEOUT - 1_000_000, TIMEOUT + 2_000_000])


@st.composite
def faults(draw, devices):
    device = draw(st.sampled_from([None, None, *range(len(devices))]))
    nr_wqs = max(len(config.wqs) for config in (devices if device is None else [devices[device]]))
    which = {
        "nth": draw(st.integers(1, 8)),
        "times": draw(st.integers(0, 4)),
        "device": device,
        "wq": draw(st.sampled_from([None, None, None, *range(nr_wqs)])),
    }
    op = {"op": draw(st.sampled_from([None, None, "compress", "decompress", "decompress"]))}
    kind = draw(st.sampled_from([Status, Crc, Delay, NoAnswer, QueueFull, Stop, Remove]))
    if kind is Status:
        codes = st.sampled_from(
            [(0x24, 0), (0x0A, 0x19), (0x0A, 0x0B), (0x0B, 0), (0x10, 0), (0x04, 0)]
        )
        return Status(*draw(codes), **which, **op)
    if kind is QueueFull:
        return QueueFull(**which)
    if kind in (Delay, Stop):
        return kind(draw(TIMES), **which, **op)
    return kind(**which, **op)


STORE = st.tuples(
    st.just("store"), st.integers(0, SLOTS - 8), st.integers(1, 8), st.integers(0, 10_000)
)
LOAD = st.tuples(st.just("load"), st.integers(0, SLOTS - 1))
LOAD_BATCH = st.tuples(
    st.just("load_batch"), st.lists(st.integers(0, SLOTS - 1), min_size=2, max_size=10, unique=True)
)


@st.composite
def scripts(draw):
    """Two folios, which are what the loads want, and what comes between and behind."""
    some = st.lists(st.one_of(LOAD_BATCH, LOAD, STORE), min_size=1, max_size=5)
    return [draw(STORE), *draw(some), draw(STORE), *draw(some)]


@st.composite
def machines(draw):
    devices = draw(st.lists(device_configs(), min_size=1, max_size=3))
    series = draw(st.sampled_from(["v10", None]))
    rest = {}
    if series:
        rest = {
            "g_comp_wqs_per_iaa": draw(st.integers(0, 2)),
            "distribute_comps": draw(st.booleans()),
            "distribute_decomps": draw(st.booleans()),
            "batch_size": draw(st.sampled_from([8, 8, 3, 1])),
        }
    return Machine(
        devices=devices,
        plan=draw(st.lists(faults(devices), min_size=draw(st.integers(0, 2)), max_size=4)),
        sync_mode=draw(st.sampled_from(["sync", "async", "async_irq"])),
        series=series,
        kernel=draw(st.sampled_from(["6.16", "6.18"])),
        verify=draw(st.booleans()),
        rest=rest,
        scripts=draw(st.lists(scripts(), min_size=draw(st.integers(1, NR_CPUS)), max_size=NR_CPUS)),
        seed=draw(st.integers(0, 1 << 64)),
    )


# ---- a run ----


@dataclass
class Cpu:
    """What one CPU does, and what its slots must hold."""

    z: zs.Zswap
    number: int
    now: object
    held: dict[int, bytes] = field(default_factory=dict)
    trace: list[tuple] = field(default_factory=list)
    eio: int = 0

    def run(self, script):
        for call, *args in script:
            self.trace.append((call, getattr(self, call)(*args), self.now()))

    def store(self, first, n, seed):
        first += SLOTS * self.number
        folio = [page(seed + i) for i in range(n)]
        result = self.z.store(first, b"".join(folio), cpu=self.number)
        for i in range(n):
            if result:
                self.held[first + i] = folio[i]
            else:
                self.held.pop(first + i, None)
            assert (first + i in self.z) == bool(result)
        if not result:
            assert result.reason == "reject_compress_fail"
        return result.reason

    def load(self, slot):
        slot += SLOTS * self.number
        out = bytearray(PAGE)
        try:
            found = self.z.load(slot, out, cpu=self.number)
        except OSError as e:
            assert e.errno == errno.EIO
            self.failed(slot)
            return -e.errno
        assert found == (slot in self.held)
        if found:
            self.loaded(slot, out)
        return 0 if found else -errno.ENOENT

    def load_batch(self, slots):
        slots = [slot + SLOTS * self.number for slot in slots]
        out = bytearray(len(slots) * PAGE)
        results = self.z.load_batch(slots, out, cpu=self.number)
        for i, (slot, result) in enumerate(zip(slots, results, strict=True)):
            assert result in (0, -errno.EIO, -errno.ENOENT)
            if result == -errno.EIO:
                self.failed(slot)
            elif result:
                assert slot not in self.held
            else:
                self.loaded(slot, out[i * PAGE : (i + 1) * PAGE])
        return tuple(results)

    def loaded(self, slot, out):
        assert out == self.held.pop(slot)
        assert slot not in self.z

    def failed(self, slot):
        self.eio += 1
        assert slot in self.held
        assert slot in self.z


def run(machine, clock):
    """All of it; what came of it, for a comparison."""
    with (
        Accelerator(
            machine.devices,
            nr_cpus=NR_CPUS,
            clock=clock,
            profile=PROFILE,
            series=machine.series,
            sync_mode=machine.sync_mode,
            verify_compress=machine.verify,
            plan=machine.plan,
            **machine.rest,
        ) as acc,
        zs.Zswap("deflate-iaa", nr_cpus=NR_CPUS, series=machine.series, kernel=machine.kernel) as z,
    ):
        z.swapon(SLOTS * NR_CPUS)
        cpus = [
            Cpu(z, i, (lambda: clock.now) if clock else (lambda: 0))
            for i in range(len(machine.scripts))
        ]
        bodies = [
            functools.partial(cpu.run, script)
            for cpu, script in zip(cpus, machine.scripts, strict=True)
        ]
        if clock:
            clock.run(bodies)
        else:
            with concurrent.futures.ThreadPoolExecutor(NR_CPUS) as threads:
                for done in [threads.submit(body) for body in bodies]:
                    done.result()
        hits, before = acc.plan_hits, acc.stats()
        add_up(acc)
        eio = sum(cpu.eio for cpu in cpus)
        check_errors(machine, hits, eio, acc)
        what = (
            f"faults {'struck' if any(hits) else 'did not strike'}, {eio and 'some'} EIO, enabled "
            f"{acc.enabled}"
        )
        heal(acc)
        for cpu in cpus:
            for slot in list(cpu.held):
                assert cpu.load(slot - SLOTS * cpu.number) == 0
        assert len(z) == 0
        z.check()
        add_up(acc)
        after = [wq.stats() for device in acc.devices for wq in device.wqs]
    return what, [cpu.trace for cpu in cpus], hits, before, acc.stats(), after


def heal(acc):
    """No more faults, all devices work, all queues anew, so that a driver that disabled
    itself is enabled.
    """
    acc.plan = ()
    for device in acc.devices:
        device.enable()
    bound = acc.bound
    for wq in bound:
        acc.unbind(wq)
    for wq in bound:
        acc.bind(wq)
    assert acc.enabled


def add_up(acc):
    stats = acc.stats()
    total = dict.fromkeys(acc.devices[0].wqs[0].stats(), 0)
    for device in acc.devices:
        for wq in device.wqs:
            for name, n in wq.stats().items():
                total[name] += n
    total.pop("no_descriptor")  # in no total
    assert total == {
        "comp_calls": stats["total_comp_calls"],
        "comp_bytes": stats["total_comp_bytes_out"],
        "decomp_calls": stats["total_decomp_calls"],
        "decomp_bytes": stats["total_decomp_bytes_in"],
        "comp_buf_overflows": stats["total_completion_comp_buf_overflow_errors"],
    }


def check_errors(machine, hits, eio, acc):
    """What must not happen where nothing was planned that makes it happen."""
    stats = acc.stats()
    if any(hits):
        return
    assert acc.enabled
    assert stats["total_completion_einval_errors"] == stats["total_completion_timeout_errors"] == 0
    if machine.series or not any(wq.shared for device in machine.devices for wq in device.wqs):
        assert eio == 0


def bounded(machine, clock):
    """run(), but not for ever."""
    note(str(machine))
    results, failed = [], []

    def body():
        try:
            results.append(run(machine, clock))
        except BaseException as e:
            failed.append(e)

    before = set(threading.enumerate())
    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    thread.join(HANGS)
    if thread.is_alive():
        faulthandler.dump_traceback(all_threads=True)
        pytest.fail(f"no end after {HANGS} s: {machine}")
    if failed:
        raise failed[0]
    assert set(threading.enumerate()) <= before
    event(results[0][0])
    return results[0]


quiet = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


@settings(max_examples=1000, deadline=None, suppress_health_check=quiet)
@given(machines())
def test_random_faults_in_virtual_time(machine):
    clock = zs.VirtualClock(machine.seed)
    bounded(machine, clock)
    assert clock.stalls == 0


@settings(max_examples=100, deadline=None, suppress_health_check=quiet)
@given(machines())
def test_random_faults_in_real_time(machine):
    bounded(machine, None)


@settings(max_examples=100, deadline=None, suppress_health_check=quiet)
@given(machines())
def test_a_run_in_virtual_time_can_be_repeated(machine):
    """The same seed and plan: the same nanoseconds after each call, and the same
    statistics.
    """
    assert bounded(machine, zs.VirtualClock(machine.seed)) == bounded(
        machine, zs.VirtualClock(machine.seed)
    )
