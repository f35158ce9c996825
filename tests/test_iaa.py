# SPDX-License-Identifier: GPL-2.0-or-later
"""The accelerator's driver: its rules, its faults as zswap sees them, statistics,
tables, attributes, its life.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import copy
import dataclasses
import errno
import functools
import gc
import logging
import os
import pathlib
import pickle
import random
import subprocess
import sys
import threading
import time
import weakref
import zlib

import pytest

import zswap_py as zs
from zswap_py import crypto
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
TIMEOUT = 3_000_000
QUICK = IAA.replace(timeout_ns=TIMEOUT)
SMALL = DeviceConfig(wqs=(WorkQueueConfig(size=16),), engines=(0, 0))
EINVAL, TIMED_OUT, OVERFLOW, NO_WQ = (
    "total_completion_einval_errors",
    "total_completion_timeout_errors",
    "total_completion_comp_buf_overflow_errors",
    "total_no_wq_errors",
)

pytestmark = pytest.mark.timeout(100, method="thread")  # what hangs in C no signal ends


def page(i):
    """Compressible, each different, none of the same compressed size as its
    neighbours'.
    """
    return (b"%d" % i * (30 * (i % 97) + 1))[: PAGE - 8].ljust(
        PAGE - 8, b"%c" % (i % 251)
    ) + b"%08d" % i


def folio(n, first=0):
    return b"".join(page(i) for i in range(first, first + n))


def queues(*sizes, **rest):
    return tuple(WorkQueueConfig(size=size, **rest) for size in sizes)


@pytest.fixture(params=["real", "virtual"])
def clock(request):
    """Returns the clock for an Accelerator: None, or a virtual one."""
    return None if request.param == "real" else zs.VirtualClock()


@contextlib.contextmanager
def rig(
    clock,
    devices=(SMALL,),
    *,
    kernel="6.18",
    series="v10",
    nr_cpus=1,
    profile=QUICK,
    slots=1 << 14,
    **rest,
):
    """An accelerator and a Zswap on it."""
    devices = [SMALL] * devices if isinstance(devices, int) else devices
    with (
        Accelerator(
            devices, clock=clock, series=series, nr_cpus=nr_cpus, profile=profile, **rest
        ) as acc,
        zs.Zswap("deflate-iaa", nr_cpus=nr_cpus, series=series, kernel=kernel) as z,
    ):
        z.swapon(slots)
        yield acc, z


def load(z, entry, **rest):
    out = bytearray(PAGE)
    assert z.load(entry, out, **rest)
    return bytes(out)


def load_fails(z, entry):
    """The load raises EIO, writes nothing, and keeps the entry."""
    out = bytearray(b"\xa5" * PAGE)
    with pytest.raises(OSError, match=f"entry={entry}") as e:
        z.load(entry, out)
    assert e.value.errno == errno.EIO
    assert out == b"\xa5" * PAGE
    assert entry in z


def rebind(acc):
    """Enable all devices, unbind all queues, bind them again."""
    for device in acc.devices:
        device.enable()
    bound = acc.bound
    for wq in bound:
        acc.unbind(wq)
    for wq in bound:
        acc.bind(wq)


def counted(acc, **expected):
    """The global statistics: those named, all others 0; and the same as the sums over
    devices and queues.
    """
    stats = acc.stats()
    assert stats == dict.fromkeys(stats, 0) | expected
    add_up(acc)


def add_up(acc):
    stats = acc.stats()
    total = dict.fromkeys(acc.devices[0].stats(), 0)
    for device in acc.devices:
        of_device = dict.fromkeys(total, 0)
        for wq in device.wqs:
            for name, n in wq.stats().items():
                of_device[name] += n
        assert device.stats() == of_device
        for name, n in of_device.items():
            total[name] += n
    total.pop("no_descriptor")  # in no total
    assert total == {
        "comp_calls": stats["total_comp_calls"],
        "comp_bytes": stats["total_comp_bytes_out"],
        "decomp_calls": stats["total_decomp_calls"],
        "decomp_bytes": stats["total_decomp_bytes_in"],
        "comp_buf_overflows": stats[OVERFLOW],
    }


# ---- what a completion record says, and what zswap makes of it ----

# name: fault, the counter if it compressed, the counter if it decompressed
ROWS = {
    "watchdog": (Status(0x24), TIMED_OUT, TIMED_OUT),
    "does not compress": (Status(0x0A, 0x19), OVERFLOW, EINVAL),
    "analytics error": (Status(0x0A, 0x0B), EINVAL, EINVAL),
    "output overflow": (Status(0x0B), None, None),
    "page fault": (Status(0x04), EINVAL, EINVAL),
    "bad opcode": (Status(0x10), EINVAL, EINVAL),
    "bad flags": (Status(0x11), EINVAL, EINVAL),
    "bad sizes": (Status(0x13), EINVAL, EINVAL),
    "whatever": (Status(0xFF, 0xFF), EINVAL, EINVAL),
    "no answer": (NoAnswer(), None, None),
    "an answer too late": (Delay(TIMEOUT + 2_000_000), None, None),
}
LOST = ("no answer", "an answer too late")

every_row = pytest.mark.parametrize("row", ROWS)
every_mode = pytest.mark.parametrize("mode", ["sync", "async", "async_irq"])
every_series = pytest.mark.parametrize("series", ["v10", None])
every_kernel = pytest.mark.parametrize("kernel", ["6.16", "6.18"])


def planned(row, op, nth=1):
    fault, *counters = ROWS[row]
    counter = counters[op == "decompress"]
    return [dataclasses.replace(fault, op=op, nth=nth)], {counter: 1} if counter else {}


def disabled_message(caplog, op):
    said = f"iaa_crypto: {op} completion timed out - assuming broken hw, iaa_crypto now DISABLED"
    return [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR] == [said]


@every_row
@every_mode
@every_series
@every_kernel
def test_a_page_that_the_device_does_not_compress(clock, row, mode, series, kernel, caplog):
    plan, counters = planned(row, "compress")
    with rig(clock, series=series, kernel=kernel, sync_mode=mode, verify_compress=False) as (
        acc,
        z,
    ):
        acc.plan = plan
        start = clock.now if clock else 0
        result = z.store(5, page(5))
        if clock and row == "no answer":
            assert clock.now - start == QUICK.host_ns + TIMEOUT + (
                QUICK.irq_ns if mode == "async_irq" else 0
            )
        assert acc.plan_hits == (1,)
        counted(acc, total_comp_calls=1, **counters)
        stats = z.stats()
        assert stats["reject_compress_poor"] == 0
        if kernel == "6.16":
            assert result.reason == "reject_compress_fail"
            assert stats["reject_compress_fail"] == 1
            assert 5 not in z
        else:
            assert result
            assert stats["stored_incompressible_pages"] == 1
            assert z.length(5) == PAGE
            assert load(z, 5) == page(5)
        assert acc.enabled == (row not in LOST)
        assert disabled_message(caplog, "compress") == (row in LOST)


@every_row
@every_mode
@every_kernel
@pytest.mark.parametrize("nth", [1, 3, 8])
def test_a_page_of_a_batch_that_the_device_does_not_compress(clock, row, mode, kernel, nth):
    plan, counters = planned(row, "compress", nth)
    with rig(clock, kernel=kernel, sync_mode=mode) as (acc, z):
        acc.plan = plan
        result = z.store(8, folio(8))
        assert acc.plan_hits == (1,)
        assert acc.enabled == (row not in LOST)
        if kernel == "6.16":
            assert result.reason == "reject_compress_fail"
            assert z.stats()["reject_compress_fail"] == 1
            assert len(z) == 0
            counters["total_comp_bytes_out"] = acc.stats()["total_comp_bytes_out"]
        else:
            assert result
            lengths = [z.length(8 + i) for i in range(8)]
            assert [i for i in range(8) if lengths[i] == PAGE] == [nth - 1]
            counters["total_comp_bytes_out"] = sum(lengths) - PAGE
        counted(acc, total_comp_calls=8, **counters)
        acc.plan = ()
        rebind(acc)
        assert z.store(8, folio(8))
        assert z.stats()["stored_incompressible_pages"] == 0
        out = bytearray(8 * PAGE)
        assert z.load_batch(range(8, 16), out) == [0] * 8
        assert out == folio(8)


@every_row
@every_mode
@every_series
def test_a_page_that_the_device_does_not_decompress(clock, row, mode, series, caplog):
    """v10: software does it, whatever it was. Mainline: only if the stream was found
    bad.
    """
    plan, counters = planned(row, "decompress")
    with rig(clock, series=series, sync_mode=mode, verify_compress=False) as (acc, z):
        assert z.store(5, page(5))
        assert z.store(6, page(6))
        bytes_in = z.length(6)
        acc.stats_reset()
        acc.plan = plan
        if series == "v10" or plan[0] in (
            Status(0x0A, 0x19, op="decompress"),
            Status(0x0A, 0x0B, op="decompress"),
        ):
            assert load(z, 5) == page(5)
            assert 5 not in z
            counters["total_sw_decomp_calls"] = 1
        else:
            load_fails(z, 5)
            assert z.stats()["decompress_fail"] == 1
        counted(acc, total_decomp_calls=1, **counters)
        assert acc.plan_hits == (1,)
        assert acc.enabled == (row not in LOST)
        assert disabled_message(caplog, "decompress") == (row in LOST)
        if row in LOST:
            load_fails(z, 6)  # -ENODEV, with no software even in v10
            counters[NO_WQ] = 1
            counted(acc, total_decomp_calls=1, **counters)
            rebind(acc)
        assert load(z, 6) == page(6)
        counted(acc, **counters | {"total_decomp_calls": 2, "total_decomp_bytes_in": bytes_in})
        if 5 in z:
            assert load(z, 5) == page(5)
        assert len(z) == 0


@every_row
@every_mode
def test_a_page_of_a_batch_that_the_device_does_not_decompress(clock, row, mode):
    """A batch is not decompressed in software: that page stays, the others are
    loaded.
    """
    plan, counters = planned(row, "decompress", 3)
    with rig(clock, sync_mode=mode) as (acc, z):
        assert z.store(8, folio(8))
        lengths = [z.length(8 + i) for i in range(8)]
        acc.stats_reset()
        acc.plan = plan
        out = bytearray(8 * PAGE)
        results = z.load_batch(range(8, 16), out)
        assert acc.plan_hits == (1,)
        (bad,) = (i for i in range(8) if results[i])
        assert results[bad] == -errno.EIO
        for i in range(8):
            assert (8 + i in z) == (i == bad)
            assert out[i * PAGE : (i + 1) * PAGE] == (bytes(PAGE) if i == bad else page(i))
        counted(
            acc, total_decomp_calls=8, total_decomp_bytes_in=sum(lengths) - lengths[bad], **counters
        )
        assert acc.enabled == (row not in LOST)
        acc.plan = ()
        rebind(acc)
        assert load(z, 8 + bad) == page(bad)


def test_the_largest_two_of_a_batch_go_to_the_device_first():
    sizes = [100, 900, 300, 900, 50, 900, 10, 400]
    # those of a size are the same, and so of the same compressed size
    pages = [random.Random(n).randbytes(n) + bytes(PAGE - n) for n in sizes]
    order = []
    for nth in range(1, 9):
        with rig(zs.VirtualClock()) as (acc, z):
            assert z.store(0, b"".join(pages))
            acc.plan = [Status(0x10, op="decompress", nth=nth)]
            results = z.load_batch(range(8), bytearray(8 * PAGE))
            order += [i for i in range(8) if results[i]]
    assert order == [5, 3, 0, 1, 2, 4, 6, 7]


@pytest.mark.parametrize(("op", "plain"), [("compress", "compress"), ("decompress", "decompress")])
def test_what_the_log_says_of_a_record(op, plain, caplog):
    with rig(None, series=None, verify_compress=False) as (acc, z):
        assert z.store(0, page(0))
        acc.plan = [Status(0x11, 0x22, op=op)]
        if op == "compress":
            assert z.store(1, page(1))
        else:
            load_fails(z, 0)
        acc.stats()
    assert (
        f"iaa_crypto: iaa {plain} status=0x11, error=0x22, size=0x0, fault=0x0, invalid flags=0x0"
        in caplog.messages
    )


# ---- a device that times out disables the driver ----


@every_series
@pytest.mark.parametrize("op", ["compress", "decompress"])
def test_a_timeout_disables_until_the_last_queue_is_unbound(clock, series, op):
    with rig(clock, 2, series=series, kernel="6.16", verify_compress=False) as (acc, z):
        a, b = acc.bound
        assert z.store(0, page(0))
        assert z.store(1, page(1))
        acc.plan = [NoAnswer(op=op)]
        if op == "compress":
            assert not z.store(2, page(2))
        elif series:
            assert load(z, 1) == page(1)
        else:
            load_fails(z, 1)
        calls = acc.stats()
        for step in (
            lambda: None,
            lambda: acc.unbind(a),
            lambda: acc.bind(a),
            lambda: acc.unbind(b),
        ):
            step()
            assert not acc.enabled
            load_fails(z, 0)
            assert z.store(2, page(2)).reason == "reject_compress_fail"
            calls[NO_WQ] += 2
            assert acc.stats() == calls
        acc.unbind(a)
        load_fails(z, 0)
        assert not acc.enabled
        acc.bind(a)
        assert acc.enabled
        assert load(z, 0) == page(0)
        assert z.store(2, page(2))
        if op == "decompress" and not series:
            assert load(z, 1) == page(1)


def test_a_device_that_is_slow_but_not_dead(clock):
    """A delay just below the timeout only takes time."""
    with rig(clock, profile=IAA.replace(timeout_ns=200_000_000)) as (acc, z):
        acc.plan = [Delay(20_000_000, times=3)]
        start = clock.now if clock else time.monotonic_ns()
        assert z.store(0, page(0))
        assert (clock.now if clock else time.monotonic_ns()) - start >= 20_000_000
        assert load(z, 0) == page(0)
        assert acc.enabled
        assert acc.plan_hits == (2,)


def test_stop_for_a_while_and_for_good(clock):
    with rig(clock, profile=IAA.replace(timeout_ns=100_000_000)) as (acc, z):
        acc.plan = [Stop(5_000_000, op="compress", nth=3)]
        assert z.store(0, folio(8))
        if clock:
            # the third is the first that waits; nothing of its time is lost
            assert 5_000_000 < clock.now < 5_000_000 + 8 * IAA.compress_ns
        assert z.stats()["stored_incompressible_pages"] == 0
        assert acc.enabled
    with rig(clock, kernel="6.16") as (acc, z):
        acc.plan = [Stop(op="compress", nth=3)]
        assert z.store(0, folio(8)).reason == "reject_compress_fail"
        assert not acc.enabled
        rebind(acc)
        acc.plan = ()
        assert z.store(0, folio(8))


# ---- statistics ----

RANDOM = {i * 31 for i in range(136)}


@functools.cache
def some_page(i):
    """4,300 of them, of which 136 are random."""
    rng = random.Random(i)
    return (
        rng.randbytes(PAGE)
        if i in RANDOM
        else rng.randbytes(i % 2500 + 1).ljust(PAGE, b"%c" % (i % 251))
    )


def on_all_cpus(clock, nr_cpus, body):
    """Run body(cpu) on a thread for each CPU."""
    if clock:
        clock.run([lambda cpu=cpu: body(cpu) for cpu in range(nr_cpus)])
        return
    with concurrent.futures.ThreadPoolExecutor(nr_cpus) as threads:
        list(threads.map(body, range(nr_cpus)))


@pytest.mark.parametrize("devices", [1, 2, 4, 8])
def test_4300_pages_of_which_136_are_random(clock, devices):
    """What did not fit was not stored by the device, so it is not decompressed there:
    for all, and for each device.
    """
    nr_cpus = 8
    with rig(clock, devices, series=None, nr_cpus=nr_cpus, verify_compress=False, profile=IAA) as (
        acc,
        z,
    ):
        lengths = [0] * nr_cpus

        def store_and_load(cpu):
            mine = range(cpu, 4300, nr_cpus)
            for i in mine:
                assert z.store(i, some_page(i), cpu=cpu)
                lengths[cpu] += z.length(i) % PAGE
            out = bytearray(PAGE)
            for i in mine:
                assert z.load(i, out, cpu=cpu)
                assert out == some_page(i)

        on_all_cpus(clock, nr_cpus, store_and_load)
        stats = acc.stats()
        assert stats == {
            "total_comp_calls": 4300,
            "total_decomp_calls": 4300 - 136,
            "total_sw_decomp_calls": 0,
            "total_comp_bytes_out": sum(lengths),
            "total_decomp_bytes_in": sum(lengths),
            EINVAL: 0,
            TIMED_OUT: 0,
            OVERFLOW: 136,
            NO_WQ: 0,
        }
        add_up(acc)
        for i, device in enumerate(acc.devices):
            cpus = [cpu for cpu in range(nr_cpus) if acc.table(cpu).comp[0].device is device]
            assert cpus == list(range(i * nr_cpus // devices, (i + 1) * nr_cpus // devices))
            s = device.stats()
            assert s["comp_calls"] == sum(len(range(cpu, 4300, nr_cpus)) for cpu in cpus)
            assert s["comp_buf_overflows"] == sum(i % nr_cpus in cpus for i in RANDOM)
            assert s["decomp_calls"] == s["comp_calls"] - s["comp_buf_overflows"]
            assert s["decomp_bytes"] == s["comp_bytes"] == sum(lengths[cpu] for cpu in cpus)
        assert z.stats()["stored_pages"] == 0


@pytest.mark.parametrize("devices", [1, 4])
def test_4300_pages_in_batches(clock, devices):
    nr_cpus = 4
    # more entries than four CPUs can fill
    config = DeviceConfig(wqs=queues(64), engines=(0, 0))
    with rig(clock, [config] * devices, nr_cpus=nr_cpus, profile=IAA) as (acc, z):
        folios = [range(i, min(i + 8, 4300)) for i in range(0, 4300, 8)]

        def store_and_load(cpu):
            for mine in folios[cpu::nr_cpus]:
                assert z.store(mine[0], b"".join(some_page(i) for i in mine), cpu=cpu)
            for mine in folios[cpu::nr_cpus]:
                out = bytearray(len(mine) * PAGE)
                assert z.load_batch(mine, out, cpu=cpu) == [0] * len(mine)
                assert out == b"".join(some_page(i) for i in mine)

        on_all_cpus(clock, nr_cpus, store_and_load)
        stats = acc.stats()
        assert (stats["total_comp_calls"], stats["total_decomp_calls"], stats[OVERFLOW]) == (
            4300,
            4300 - 136,
            136,
        )
        assert stats["total_comp_bytes_out"] == stats["total_decomp_bytes_in"]
        assert (stats["total_sw_decomp_calls"], stats[EINVAL], stats[TIMED_OUT]) == (0, 0, 0)
        add_up(acc)
        # all devices in turn
        assert {d.stats()["comp_calls"] for d in acc.devices} == {4300 // devices}


def test_statistics_are_reset(clock):
    with rig(clock, 2) as (acc, z):
        assert z.store(0, folio(8))
        acc.plan = [Status(0x0A, 0x19), Status(0x24, nth=2)]
        assert z.store(8, folio(2))
        assert load(z, 0) == page(0)
        assert all(
            acc.stats()[name]
            for name in ("total_comp_calls", "total_decomp_calls", OVERFLOW, TIMED_OUT)
        )
        acc.stats_reset()
        counted(acc)
        assert all(n == 0 for d in acc.devices for n in d.stats().values())


def test_statistics_can_be_read_after_closing(clock):
    with rig(clock) as (acc, z):
        assert z.store(0, folio(8))
        before = acc.stats()
    assert acc.stats() == before
    assert acc.devices[0].stats()["comp_calls"] == 8


# ---- queues without room, queues that are not there ----


@every_kernel
def test_a_batch_of_8_and_a_queue_of_4(clock, kernel):
    """A store without a descriptor is rejected, or kept raw; software does loads."""
    config = DeviceConfig(wqs=queues(4), engines=(0,))
    with rig(clock, [config], kernel=kernel) as (acc, z):
        result = z.store(0, folio(8))
        assert acc.stats()["total_comp_calls"] == acc.devices[0].stats()["no_descriptor"] == 4
        if kernel == "6.16":
            assert result.reason == "reject_compress_fail"
            for i in range(8):
                assert z.store(i, page(i))
        else:
            assert result
            assert [z.length(i) == PAGE for i in range(8)] == [False] * 4 + [True] * 4
            assert z.store(0, folio(4))
            assert z.store(4, folio(4, 4))
        assert z.stats()["stored_incompressible_pages"] == 0
        lengths = sum(z.length(i) for i in range(8))
        acc.stats_reset()
        out = bytearray(8 * PAGE)
        assert z.load_batch(range(8), out) == [0] * 8
        assert out == folio(8)
        bytes_in = acc.stats()["total_decomp_bytes_in"]
        counted(acc, total_decomp_calls=4, total_sw_decomp_calls=4, total_decomp_bytes_in=bytes_in)
        assert 0 < bytes_in < lengths


@every_series
def test_a_queue_that_is_always_full(clock, series):
    """v10 gives up, and loads by software. Mainline waits, but not for room that the
    plan says there never is.
    """
    with rig(clock, series=series, kernel="6.16", verify_compress=False) as (acc, z):
        assert z.store(0, page(0))
        assert z.store(1, page(1))
        acc.stats_reset()
        acc.plan = [QueueFull(times=0)]
        assert z.store(2, page(2)).reason == "reject_compress_fail"
        if series:
            assert load(z, 0) == page(0)
            counted(acc, total_sw_decomp_calls=1)
        else:
            load_fails(z, 0)
            counted(acc)
        assert acc.plan_hits == (2,)
        acc.plan = ()
        assert load(z, 1) == page(1)


def test_mainline_waits_for_a_descriptor(clock):
    """8 CPUs and a queue of two entries: no request is rejected."""
    config = DeviceConfig(wqs=queues(2), engines=(0,))
    with rig(clock, [config], series=None, nr_cpus=8, kernel="6.16") as (acc, z):

        def store(cpu):
            for i in range(cpu, 80, 8):
                assert z.store(i, page(i), cpu=cpu)

        on_all_cpus(clock, 8, store)
        assert [load(z, i) for i in range(80)] == [page(i) for i in range(80)]
        assert acc.stats()["total_comp_calls"] == 80


@pytest.mark.parametrize("mode", ["sync", "async_irq"])
def test_mainline_does_not_wait_for_a_device_that_stands_still(clock, mode):
    """Each CPU gets the only entry once the CPU before has timed out."""
    config = DeviceConfig(wqs=queues(1), engines=(0,))
    profile = QUICK.replace(pause_ns=1000)
    with rig(
        clock, [config], series=None, nr_cpus=4, kernel="6.16", sync_mode=mode, profile=profile
    ) as (acc, z):
        acc.plan = [Stop()]

        def store(cpu):
            assert z.store(cpu, page(cpu), cpu=cpu).reason == "reject_compress_fail"

        on_all_cpus(clock, 4, store)
        assert not acc.enabled
        rebind(acc)
        assert z.store(0, page(0))
        assert load(z, 0) == page(0)


@pytest.mark.parametrize("mode", ["sync", "async_irq"])
def test_verification_needs_no_second_entry(clock, mode):
    """A queue of one entry: a second descriptor would never come free."""
    config = DeviceConfig(wqs=queues(1), engines=(0,))
    with rig(clock, [config], series=None, nr_cpus=2, kernel="6.16", sync_mode=mode) as (acc, z):
        assert acc.verify_compress

        def store(cpu):
            for i in range(cpu, 20, 2):
                assert z.store(i, page(i), cpu=cpu)

        on_all_cpus(clock, 2, store)
        assert [load(z, i) for i in range(20)] == [page(i) for i in range(20)]


def test_no_queue_is_bound(clock):
    with Accelerator([SMALL], clock=clock, bind=False) as acc:
        with pytest.raises(OSError, match="no accelerator queue is bound") as e:
            zs.Zswap("deflate-iaa")
        assert e.value.errno == errno.ENOENT
        acc.devices[0].enable()
        with pytest.raises(OSError, match="no accelerator queue is bound"):
            zs.Zswap("deflate-iaa")
        acc.bind(acc.devices[0].wqs[0])
        with zs.Zswap("deflate-iaa") as z:
            assert z.pool.tfm_name == "deflate-iaa"
        acc.unbind(acc.devices[0].wqs[0])
        with zs.Zswap("lzo") as z:
            with pytest.raises(OSError, match="no accelerator queue is bound"):
                z.compressor = "deflate-iaa"
            assert z.compressor == "lzo"


@every_series
@every_kernel
def test_a_pool_outlives_its_queues(clock, series, kernel):
    with rig(clock, series=series, kernel=kernel, slots=64) as (acc, z):
        assert z.store(0, folio(8))
        (wq,) = acc.bound
        acc.unbind(wq)
        assert z.compressor == "deflate-iaa"
        load_fails(z, 0)
        assert z.load_batch([1, 2], bytearray(2 * PAGE)) == [-errno.EIO] * 2
        result = z.store(8, folio(3))
        if kernel == "6.16":
            assert result.reason == "reject_compress_fail"
        else:
            assert result
            assert load(z, 8) == page(0)  # raw: no decompression needed
        before = acc.stats()
        assert before == acc.stats()
        acc.bind(wq)
        assert [load(z, i) for i in range(8)] == [page(i) for i in range(8)]


@every_series
def test_a_closed_accelerator(clock, series):
    """The pool stays, and its calls fail. Another accelerator needs another pool."""
    with rig(clock, series=series, kernel="6.16") as (acc, z):
        assert z.store(0, page(0))
        acc.close()
        acc.close()
        assert acc.closed
        assert not acc.enabled
        load_fails(z, 0)
        assert not z.store(1, page(1))
        for call in (
            lambda: acc.bind(acc.devices[0].wqs[0]),
            lambda: acc.unbind(acc.devices[0].wqs[0]),
            lambda: setattr(acc, "plan", ()),
            lambda: setattr(acc, "sync_mode", "sync"),
            lambda: setattr(acc, "verify_compress", True),
            lambda: setattr(acc, "distribute_comps", True),
            acc.devices[0].enable,
            acc.devices[0].disable,
            acc.devices[0].remove,
        ):
            with pytest.raises(ValueError, match="closed"):
                call()
        assert "closed" in repr(acc)
        with Accelerator([SMALL], clock=clock, series=series):
            assert z.store(1, page(1)).reason == "reject_compress_fail"
            load_fails(z, 0)
            z.compressor = "lzo"
            z.compressor = "deflate-iaa"
            assert z.store(1, page(1))
            assert load(z, 1) == page(1)
            load_fails(z, 0)


# ---- verify_compress ----


@every_series
def test_verification_is_one_more_descriptor_a_page(clock, series):
    with rig(clock, series=series, verify_compress=True) as (acc, z):
        acc.plan = [
            Delay(0, times=0),
            Delay(0, op="compress", times=0),
            Delay(0, op="decompress", times=0),
        ]
        assert z.store(0, folio(8))
        assert acc.plan_hits == (16, 8, 8)
        assert acc.stats()["total_decomp_calls"] == 0  # by its own count
        assert acc.stats()["total_comp_calls"] == 8
    with rig(clock, series=series, verify_compress=False) as (acc, z):
        acc.plan = [Delay(0, times=0)]
        assert z.store(0, folio(8))
        assert acc.plan_hits == (8,)


@every_series
@every_mode
@every_kernel
@pytest.mark.parametrize("op", ["compress", "decompress"])
def test_a_wrong_crc(clock, series, mode, kernel, op):
    """The crc is wrong in the record of either descriptor."""
    with rig(clock, series=series, kernel=kernel, sync_mode=mode, verify_compress=True) as (acc, z):
        acc.plan = [Crc(op=op)]
        result = z.store(0, page(0))
        assert acc.plan_hits == (1,)
        if kernel == "6.16":
            assert result.reason == "reject_compress_fail"
        else:
            assert result
            assert z.length(0) == PAGE
            assert load(z, 0) == page(0)
        assert z.store(0, page(0))
        assert z.length(0) < PAGE
        assert load(z, 0) == page(0)


@every_kernel
def test_a_wrong_crc_in_a_batch(clock, kernel):
    with rig(clock, kernel=kernel, verify_compress=True) as (acc, z):
        acc.plan = [Crc(op="compress", nth=4)]
        result = z.store(0, folio(8))
        if kernel == "6.16":
            assert result.reason == "reject_compress_fail"
            assert len(z) == 0
        else:
            assert result
            assert [z.length(i) == PAGE for i in range(8)] == [i == 3 for i in range(8)]


def test_nobody_looks_at_a_crc_without_verification(clock):
    with rig(clock, verify_compress=False) as (acc, z):
        acc.plan = [Crc(times=0)]
        assert z.store(0, folio(8))
        assert z.stats()["stored_incompressible_pages"] == 0
        assert load(z, 3) == page(3)
        assert acc.plan_hits == (9,)


@pytest.mark.parametrize(
    "fault",
    [NoAnswer(op="decompress"), Status(0x0A, 0x0B, op="decompress"), Status(0x24, op="decompress")],
)
@every_mode
def test_a_verification_that_fails(clock, fault, mode):
    with rig(clock, kernel="6.16", verify_compress=True, sync_mode=mode) as (acc, z):
        acc.plan = [fault]
        assert z.store(0, page(0)).reason == "reject_compress_fail"
        assert acc.plan_hits == (1,)
        assert acc.enabled == (not isinstance(fault, NoAnswer))
        assert acc.stats()["total_sw_decomp_calls"] == 0
        rebind(acc)
        assert z.store(0, page(0))
        assert load(z, 0) == page(0)


# ---- devices that go ----


@every_series
@every_kernel
def test_a_device_goes_in_the_middle_of_a_batch(clock, series, kernel):
    with rig(clock, series=series, kernel=kernel, verify_compress=False) as (acc, z):
        acc.plan = [Remove(nth=4)]
        result = z.store(0, folio(8))
        assert acc.plan_hits == (1,)
        folio_goes_on = series or kernel == "6.18"
        assert acc.devices[0].state == "removed"
        # 1: an engine was done with the fourth
        assert acc.stats()[NO_WQ] in ((4,) if folio_goes_on else (0, 1))
        assert acc.enabled  # the driver does not know of it
        if kernel == "6.16":
            assert result.reason == "reject_compress_fail"
        else:
            assert result
            lost = [i for i in range(8) if z.length(i) == PAGE]
            assert {4, 5, 6, 7} <= set(lost)
            # an engine may be done with it before the device has gone
            assert 3 in lost or not clock
            assert 0 not in lost or series
        acc.devices[0].enable()
        acc.plan = ()
        for i in range(8):
            if kernel == "6.18":
                assert load(z, i) == page(i)
            assert z.store(i, page(i))
            assert z.length(i) < PAGE
            assert load(z, i) == page(i)


def test_software_loads_while_a_device_is_gone(clock):
    with rig(clock) as (acc, z):
        assert z.store(0, folio(8))
        acc.stats_reset()
        acc.devices[0].remove()
        assert load(z, 0) == page(0)
        counted(acc, total_sw_decomp_calls=1, total_no_wq_errors=1)
        out = bytearray(7 * PAGE)
        assert z.load_batch(range(1, 8), out) == [0] * 7
        assert out == folio(7, 1)
        # not submitted: software also in a batch
        counted(acc, total_sw_decomp_calls=8, total_no_wq_errors=8)


def test_mainline_loads_nothing_while_a_device_is_gone(clock):
    with rig(clock, series=None) as (acc, z):
        assert z.store(0, page(0))
        for step in (acc.devices[0].remove, acc.devices[0].disable):
            step()
            load_fails(z, 0)
        acc.devices[0].enable()
        assert load(z, 0) == page(0)


@pytest.mark.parametrize("mode", ["async", "async_irq"])
@every_series
def test_a_device_is_pulled_out_again_and_again(mode, series):
    """By another thread, while pages are stored and loaded: none is lost, none is
    wrong, no call hangs.
    """
    config = DeviceConfig(wqs=queues(16), engines=(0, 0))
    with rig(
        None, [config] * 2, nr_cpus=2, sync_mode=mode, series=series, verify_compress=False
    ) as (acc, z):
        done = threading.Event()
        pulled = [0]

        def pull():
            while not done.is_set():
                device = acc.devices[pulled[0] % 2]
                (device.remove if pulled[0] % 3 else device.disable)()
                time.sleep(0.0005)
                device.enable()
                pulled[0] += 1
                time.sleep(0.0005)

        def work(cpu):
            end = time.monotonic() + 20
            n = 0
            while pulled[0] < 100 and time.monotonic() < end:
                first = 1000 * cpu + n % 900
                assert z.store(first, folio(8, n), cpu=cpu)
                pages = {}
                left = list(range(first, first + 8))
                while left:
                    out = bytearray(len(left) * PAGE)
                    results = z.load_batch(left, out, cpu=cpu)
                    assert set(results) <= {0, -errno.EIO}
                    assert all((e in z) == bool(r) for e, r in zip(left, results, strict=True))
                    pages |= {
                        e: out[i * PAGE : (i + 1) * PAGE]
                        for i, e in enumerate(left)
                        if not results[i]
                    }
                    left = [e for e, r in zip(left, results, strict=True) if r]
                assert b"".join(pages[e] for e in sorted(pages)) == folio(8, n)
                n += 8
            assert n

        puller = threading.Thread(target=pull)
        puller.start()
        try:
            on_all_cpus(None, 2, work)
        finally:
            done.set()
            puller.join()
        assert acc.enabled
        assert len(z) == 0
        add_up(acc)


@every_series
def test_queues_come_and_go_while_pages_do(series):
    """And plans, and the sharing out, and all statistics to 0: no page is lost, none is
    wrong, none is refused.
    """
    config = DeviceConfig(wqs=queues(32, 32), engines=(0, 0))
    with rig(None, [config] * 2, nr_cpus=2, series=series, kernel="6.16") as (acc, z):
        done = threading.Event()
        wqs = acc.bound

        def change():
            n = 0
            while not done.is_set():
                wq = wqs[1 + n % 3]  # one is always there
                acc.unbind(wq)
                if series:
                    acc.distribute_comps, acc.distribute_decomps = n % 2 == 0, n % 3 == 0
                    acc.g_comp_wqs_per_iaa = n % 2
                acc.plan = [Delay(1000, nth=3, times=n % 5)]
                acc.stats_reset()
                assert acc.enabled
                acc.bind(wq)
                assert set(acc.bound) == set(wqs)
                n += 1
            return n

        def work(cpu):
            for n in range(150):
                first = 8 * (cpu + 2 * n)
                assert z.store(first, folio(8, n), cpu=cpu)
                out = bytearray(8 * PAGE)
                assert z.load_batch(range(first, first + 8), out, cpu=cpu) == [0] * 8
                assert out == folio(8, n)

        with concurrent.futures.ThreadPoolExecutor(1) as thread:
            changes = thread.submit(change)
            try:
                on_all_cpus(None, 2, work)
            finally:
                done.set()
            assert changes.result() > 10


@every_series
@pytest.mark.parametrize("mode", ["async", "async_irq"])
def test_an_accelerator_is_closed_in_the_middle_of_calls(series, mode):
    for _ in range(10):
        with rig(None, nr_cpus=2, series=series, sync_mode=mode) as (acc, z):
            begun = threading.Barrier(3)

            def work(cpu, z=z, begun=begun, acc=acc):
                begun.wait()
                n, held = 0, {}
                while not acc.closed or n < 50:
                    first = 8 * (cpu + 2 * (n % 300))
                    assert z.store(first, folio(8, n), cpu=cpu)  # raw, once it is closed
                    held[first] = n
                    n += 1
                out = bytearray(PAGE)
                for first, n in held.items():
                    for i in range(8):
                        if z.length(first + i) == PAGE:
                            assert z.load(first + i, out, cpu=cpu)
                            assert out == page(n + i)
                        else:
                            load_fails(z, first + i)

            with concurrent.futures.ThreadPoolExecutor(2) as threads:
                calls = [threads.submit(work, cpu) for cpu in range(2)]
                begun.wait()
                time.sleep(0.005)
                acc.close()
                for call in calls:
                    call.result()
            assert iaa_threads() == []


def test_a_device_that_is_removed_lets_go_of_who_waits():
    with rig(None, profile=IAA.replace(timeout_ns=1 << 62), kernel="6.16", nr_cpus=3) as (acc, z):
        acc.plan = [NoAnswer(times=0)]
        results = []
        threads = [
            threading.Thread(target=lambda i=i: results.append(z.store(i, page(i), cpu=i).reason))
            for i in range(3)
        ]
        for t in threads:
            t.start()
        while acc.plan_hits[0] < 3:  # two are in engines, one waits
            time.sleep(0.001)
        assert results == []
        acc.devices[0].disable()
        for t in threads:
            t.join()
        assert results == ["reject_compress_fail"] * 3
        assert acc.enabled


def test_unbinding_waits_for_what_is_in_flight(clock):
    with rig(clock, nr_cpus=2, profile=IAA.replace(timeout_ns=1 << 40)) as (acc, z):
        acc.plan = [Delay(20_000_000)]
        stored = []
        (wq,) = acc.bound

        def store():
            assert z.store(0, page(0))
            stored.append(z.length(0))

        def unbind():
            while not acc.plan_hits[0]:
                clock.sleep(1000) if clock else time.sleep(0.001)
            acc.unbind(wq)
            assert acc.stats()["total_comp_bytes_out"]

        if clock:
            clock.run([store, unbind])
        else:
            thread = threading.Thread(target=store)
            thread.start()
            unbind()
            thread.join()
        assert stored[0] < PAGE
        assert acc.devices[0].stats()["comp_calls"] == 1
        load_fails(z, 0)


# ---- tables ----


def devices_of(wqs):
    return [wq.device.index for wq in wqs]


def table_machine(devices, **rest):
    config = DeviceConfig(wqs=queues(2), engines=(0,))
    configs = (
        [config] * devices
        if isinstance(devices, int)
        else [dataclasses.replace(config, node=n) for n in devices]
    )
    return Accelerator(configs, clock=zs.VirtualClock(), **rest)


def served(acc, kind="comp"):
    """Returns each CPU's devices."""
    return [devices_of(getattr(acc.table(cpu), kind)) for cpu in range(acc.nr_cpus)]


def test_sapphire_rapids_28_cpus_a_device():
    """56 cores with two threads and 4 devices a package; two packages."""
    with table_machine(8, nr_cpus=224, nr_packages=2, nr_nodes=2) as acc:
        assert [d.node for d in acc.devices] == [0] * 4 + [1] * 4
        assert served(acc, "decomp") == [[cpu // 28] for cpu in range(224)]
        assert served(acc, "comp") == [[0, 1, 2, 3]] * 112 + [[4, 5, 6, 7]] * 112
        acc.distribute_comps = False
        acc.distribute_decomps = True
        assert served(acc, "comp") == [[cpu // 28] for cpu in range(224)]
        assert served(acc, "decomp") == [[0, 1, 2, 3]] * 112 + [[4, 5, 6, 7]] * 112
    with table_machine(8, nr_cpus=224, nr_nodes=2, series=None) as acc:
        assert served(acc) == served(acc, "decomp") == [[cpu // 28] for cpu in range(224)]


@pytest.mark.parametrize(
    ("devices", "nr_cpus", "nr_nodes", "expected"),
    [
        (1, 5, 2, [0, 0, 0, 0, 0]),
        (2, 8, 1, [0, 0, 0, 0, 1, 1, 1, 1]),
        (4, 8, 2, [0, 0, 1, 1, 2, 2, 3, 3]),
        (3, 8, 1, [0, 0, 1, 1, 2, 2, 0, 0]),  # a number past the end: the first
        (8, 4, 1, [0, 1, 2, 3]),  # one CPU a device at least; the others serve none
        (3, 8, 2, [0, 0, 1, 1, 2, 2, 0, 0]),  # the number runs on over the nodes
        (2, 6, 3, [0, 0, 1, 1, 0, 0]),  # each node begins with the next
        (3, 9, 2, [0, 0, 1, 1, 2, 0, 0, 0, 0]),  # 5 and 4 CPUs, counted as 4 and 4: two a device
    ],
)
def test_mainlines_tables(devices, nr_cpus, nr_nodes, expected):
    with table_machine(devices, nr_cpus=nr_cpus, nr_nodes=nr_nodes, series=None) as acc:
        assert served(acc) == [[d] for d in expected]


def test_mainline_does_not_ask_where_a_device_is():
    with table_machine([1, 1, 0, 0], nr_cpus=8, nr_nodes=2, series=None) as acc:
        assert served(acc) == [[cpu // 2] for cpu in range(8)]
    with table_machine([1, 1, 0, 0], nr_cpus=8, nr_nodes=2, nr_packages=2) as acc:
        assert served(acc, "decomp") == [[2], [2], [3], [3], [0], [0], [1], [1]]
        assert served(acc) == [[2, 3]] * 4 + [[0, 1]] * 4


@pytest.mark.parametrize(
    ("devices", "rest", "expected"),
    [
        ([0, 0], {"nr_cpus": 4}, [0, 0, 1, 1]),
        ([0, 0, 0], {"nr_cpus": 8}, [0, 0, 0, 1, 1, 1, 2, 2]),
        ([0, 0, 0], {"nr_cpus": 2}, [0, 1]),
        ([0, 0, 1], {"nr_cpus": 8, "nr_nodes": 2, "nr_packages": 2}, [0, 0, 1, 1, 2, 2, 2, 2]),
        # package 0 has none: all
        ([1, 1], {"nr_cpus": 8, "nr_nodes": 2, "nr_packages": 2}, [0, 0, 1, 1, 0, 0, 1, 1]),
        # two nodes a package
        ([0, 1, 2, 3], {"nr_cpus": 8, "nr_nodes": 4, "nr_packages": 2}, [0, 0, 1, 1, 2, 2, 3, 3]),
        ([0, 1], {"nr_cpus": 8, "nr_nodes": 2, "nr_packages": 1}, [0, 0, 0, 0, 1, 1, 1, 1]),
    ],
)
def test_the_series_tables(devices, rest, expected):
    with table_machine(devices, **rest) as acc:
        assert served(acc, "decomp") == [[d] for d in expected]


def test_a_package_without_a_device_uses_all():
    with table_machine(
        [1, 1], nr_cpus=4, nr_nodes=2, nr_packages=2, distribute_decomps=True
    ) as acc:
        assert served(acc) == served(acc, "decomp") == [[0, 1]] * 4


@pytest.mark.parametrize(
    ("g", "comp", "decomp"),
    [
        (0, [0, 1, 2, 3], [0, 1, 2, 3]),
        (1, [3], [0, 1, 2]),
        (3, [1, 2, 3], [0]),
        (4, [0, 1, 2, 3], [0, 1, 2, 3]),  # no more than that: all do both
        (8, [0, 1, 2, 3], [0, 1, 2, 3]),
    ],
)
def test_queues_that_only_compress(g, comp, decomp):
    config = DeviceConfig(wqs=queues(2, 2, 2, 2), engines=(0,))
    with Accelerator([config], nr_cpus=1, clock=zs.VirtualClock(), g_comp_wqs_per_iaa=g) as acc:
        assert [wq.number for wq in acc.table(0).comp] == comp
        assert [wq.number for wq in acc.table(0).decomp] == decomp
        acc.g_comp_wqs_per_iaa = 2
        assert [wq.number for wq in acc.table(0).comp] == [2, 3]
        assert [wq.number for wq in acc.table(0).decomp] == [0, 1]
        acc.unbind(acc.devices[0].wqs[1])
        acc.unbind(acc.devices[0].wqs[2])
        assert (
            [wq.number for wq in acc.table(0).comp]
            == [wq.number for wq in acc.table(0).decomp]
            == [0, 3]
        )


def test_work_goes_where_the_tables_say(clock):
    config = DeviceConfig(wqs=queues(8, 8), engines=(0, 0))
    with rig(clock, [config] * 2, nr_cpus=2, g_comp_wqs_per_iaa=1) as (acc, z):
        assert z.store(0, folio(8), cpu=0)
        assert z.store(8, folio(8), cpu=1)
        assert z.load_batch(range(8), bytearray(8 * PAGE), cpu=1) == [0] * 8
        stats = [
            [(s["comp_calls"], s["decomp_calls"]) for s in (wq.stats() for wq in d.wqs)]
            for d in acc.devices
        ]
        assert stats == [[(0, 0), (8, 0)], [(0, 8), (8, 0)]]


def test_work_goes_where_changed_tables_say(clock):
    """After each change: a CPU's jobs go to all queues of its table, and to no
    other.
    """
    config = DeviceConfig(wqs=queues(8, 8, 8), engines=(0, 0))
    with rig(clock, [config] * 3, nr_cpus=4) as (acc, z):
        wqs = [wq for device in acc.devices for wq in device.wqs]

        def check():
            for cpu in range(4):
                table = acc.table(cpu)
                acc.stats_reset()
                for _ in range(3):
                    assert z.store(0, folio(8), cpu=cpu)
                    assert z.load_batch(range(8), bytearray(8 * PAGE), cpu=cpu) == [0] * 8
                assert {wq for wq in wqs if wq.stats()["comp_calls"]} == set(table.comp)
                assert {wq for wq in wqs if wq.stats()["decomp_calls"]} == set(table.decomp)
            return [[len(t.comp), len(t.decomp)] for t in map(acc.table, range(4))]

        assert check() == [[9, 3]] * 4
        acc.distribute_comps = False
        assert check() == [[3, 3]] * 4
        acc.distribute_decomps = True
        assert check() == [[3, 9]] * 4
        acc.g_comp_wqs_per_iaa = 1
        assert check() == [[1, 6]] * 4
        acc.unbind(acc.devices[0].wqs[2])
        assert check() == [[1, 5]] * 4
        for wq in acc.devices[1].wqs:
            acc.unbind(wq)
        assert check() == [[1, 3]] * 4
        acc.distribute_comps = True
        assert check() == [[2, 3]] * 4


def calls(acc):
    return [wq.stats()["comp_calls"] for device in acc.devices for wq in device.wqs]


@every_series
def test_the_cursor_moves_before_it_is_used(clock, series):
    """Of two queues the first job goes to the second. By the series' rule a package's
    CPUs share the cursor.
    """
    config = DeviceConfig(wqs=queues(4, 4), engines=(0, 0))
    with rig(clock, [config], nr_cpus=2, series=series, verify_compress=False) as (acc, z):
        assert z.store(0, page(0), cpu=0)
        assert calls(acc) == [0, 1]
        assert z.store(1, page(1), cpu=1)
        assert calls(acc) == ([1, 1] if series else [0, 2])
        assert z.store(2, page(2), cpu=0)
        assert calls(acc) == [1, 2]
        assert z.store(3, page(3), cpu=0)
        assert calls(acc) == ([2, 2] if series else [1, 3])


def test_new_tables_begin_anew(clock):
    config = DeviceConfig(wqs=queues(4, 4, 4), engines=(0, 0))
    with rig(clock, [config]) as (acc, z):
        a, b, c = acc.bound
        for i in range(4):
            assert z.store(i, page(i))
        assert calls(acc) == [1, 2, 1]  # b c a b
        acc.unbind(b)
        assert acc.table(0).comp == (a, c)
        assert z.store(0, page(0))
        assert calls(acc) == [1, 2, 2]
        acc.bind(b)
        assert acc.table(0).comp == (a, b, c)
        assert z.store(0, page(0))
        assert calls(acc) == [1, 3, 2]
        assert acc.bound == (a, c, b)


def test_rebalancing_over_devices():
    with table_machine(4, nr_cpus=8) as acc:
        wqs = [d.wqs[0] for d in acc.devices]
        assert served(acc, "decomp") == [[cpu // 2] for cpu in range(8)]
        acc.unbind(wqs[1])
        assert served(acc, "decomp") == [[0], [0], [0], [2], [2], [2], [3], [3]]
        assert served(acc) == [[0, 2, 3]] * 8
        acc.unbind(wqs[0])
        acc.unbind(wqs[3])
        assert served(acc, "decomp") == served(acc) == [[2]] * 8
        acc.unbind(wqs[2])
        assert served(acc, "decomp") == served(acc) == [[]] * 8
        for i in (3, 1):
            acc.bind(wqs[i])
        assert served(acc, "decomp") == [[1]] * 4 + [[3]] * 4


def test_cpus_beyond_the_machines_are_counted_from_0():
    with (
        table_machine(2, nr_cpus=2, series=None) as acc,
        zs.Zswap("deflate-iaa", nr_cpus=5, series=None) as z,
    ):
        z.swapon(64)
        for cpu in range(5):
            assert z.store(cpu, page(cpu), cpu=cpu)
        assert calls(acc) == [3, 2]
        with pytest.raises(ValueError, match=r"table\(2\): must be a CPU, 0 to 1"):
            acc.table(2)


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        ({"devices": 0}, "devices=0: must be 1 to 64"),
        ({"devices": 65}, "devices=65: must be 1 to 64"),
        ({"devices": ()}, r"len\(devices\)=0"),
        ({"nr_cpus": 0}, "nr_cpus=0: must be 1 to 8192"),
        ({"nr_cpus": 2, "nr_nodes": 3}, "nr_nodes=3: must be 1 to 2"),
        ({"nr_cpus": 2, "nr_packages": 3}, "nr_packages=3: must be 1 to 2"),
        ({"nr_packages": 0}, "nr_packages=0"),
        ({"series": "v11"}, "series='v11': must be one of None, 'v10', 'v13'"),
        ({"batch_size": 9}, "batch_size=9: must be 1 to 8"),
        ({"batch_size": 0}, "batch_size=0: must be 1 to 8"),
        (
            {"series": None, "batch_size": 2},
            "batch_size=2: must be 1 with series=None",
        ),
        ({"g_comp_wqs_per_iaa": 9}, "g_comp_wqs_per_iaa=9: must be 0 to 8"),
        ({"g_comp_wqs_per_iaa": -1}, "=-1: must be 0 to 8"),
        ({"series": None, "g_comp_wqs_per_iaa": 1}, "must keep their defaults with series=None"),
        ({"series": None, "distribute_comps": False}, "must keep their defaults with series=None"),
        ({"series": None, "distribute_decomps": True}, "must keep their defaults with series=None"),
        ({"plan": [Crc(device=1)]}, "there are 1 devices"),
        ({"plan": [Crc(wq=1)]}, "no device that it matches has a queue 1"),
        ({"software": "qpl"}, "software='qpl': must be 'isal', 'zlib' or None"),
    ],
)
def test_what_no_accelerator_is_made_of(rest, message):
    with pytest.raises(ValueError, match=message):
        Accelerator(clock=zs.VirtualClock(), **rest)
    assert crypto._bound == []


def test_the_most_devices():
    with table_machine(64, nr_cpus=64) as acc:
        assert served(acc, "decomp") == [[cpu] for cpu in range(64)]
        acc.plan = [Crc(device=63)]


# ---- the registry ----


def there():
    return [
        c.backend
        for c in zs.compressors()
        if c.name == "deflate-iaa" and c.available and c.batch_size > 1
    ]


def test_it_is_there_while_a_queue_is_bound(clock):
    assert there() == []
    with Accelerator(2, clock=clock) as acc:
        assert there() == ["iaa"]
        (info,) = (c for c in zs.compressors() if c.backend == "iaa")
        assert (info.name, info.batch_size, info.available) == ("deflate-iaa", 8, True)
        assert info.library == acc.software.library
        a, b = acc.bound
        acc.unbind(a)
        assert there() == ["iaa"]
        acc.unbind(b)
        assert there() == []
        acc.bind(a)
        assert there() == ["iaa"]
    assert there() == []


def test_two_accelerators(clock):
    with (
        Accelerator([SMALL], name="one", clock=clock, nr_cpus=1) as one,
        Accelerator([SMALL], name="two", clock=clock, nr_cpus=1) as two,
        zs.Zswap("deflate-iaa:two", nr_cpus=1) as z,
        zs.Zswap("deflate-iaa", nr_cpus=1) as y,
    ):
        assert there() == ["one", "two"]
        z.swapon(64)
        y.swapon(64)
        assert z.store(0, folio(8))
        assert (one.stats()["total_comp_calls"], two.stats()["total_comp_calls"]) == (0, 8)
        assert y.store(0, folio(8))
        assert (one.stats()["total_comp_calls"], two.stats()["total_comp_calls"]) == (8, 8)
        assert y.pool.backend == "one"
        two.unbind(two.bound[0])
        with pytest.raises(OSError, match="deflate-iaa:two"):
            zs.Zswap("deflate-iaa:two")
        load_fails(z, 0)
        assert load(y, 0) == page(0)
        with pytest.raises(ValueError, match=r"bind wq1\.0: it belongs to another accelerator"):
            one.bind(two.devices[0].wqs[0])
        with pytest.raises(OSError, match="it is not bound"):
            one.unbind(two.devices[0].wqs[0])


@pytest.mark.parametrize("name", ["iaa", "isal", "zlib", "", "a:b"])
def test_a_name_that_is_taken_or_none(name):
    with Accelerator([SMALL], clock=zs.VirtualClock()) as acc:
        threads = threading.active_count()
        with pytest.raises(ValueError, match=r"taken|without a colon"):
            Accelerator([SMALL], name=name)
        assert threading.active_count() == threads
        assert there() == ["iaa"]
        with zs.Zswap("deflate-iaa", nr_cpus=1) as z:
            z.swapon(8)
            assert z.store(0, page(0))
            assert acc.stats()["total_comp_calls"] == 1


def test_batch_size(clock):
    for size in (1, 4, 8):
        with rig(clock, batch_size=size) as (acc, z):
            assert z.pool.compr_batch_size == size
            assert (acc.compressor.batch_size, acc.batch_size) == (size, size)
            assert z.store(0, folio(8))
            out = bytearray(8 * PAGE)
            assert z.load_batch(range(8), out) == [0] * 8
            assert out == folio(8)
    with rig(clock, series=None) as (acc, z):
        assert (z.pool.compr_batch_size, acc.batch_size) == (1, 1)


# ---- probe ----


def test_probe_errors():
    config = DeviceConfig(
        wqs=(WorkQueueConfig(size=4), WorkQueueConfig(size=4, driver_name="user")), engines=(0,)
    )

    def error(call):
        with pytest.raises(OSError) as e:
            call()
        return errno.errorcode[e.value.errno]

    with Accelerator([config], clock=zs.VirtualClock(), bind=False) as acc:
        a, b = acc.devices[0].wqs
        assert error(lambda: acc.bind(a)) == "ENXIO"
        assert error(lambda: acc.unbind(a)) == "ENODEV"
        acc.devices[0].enable()
        acc.bind(a)
        assert error(lambda: acc.bind(a)) == "EBUSY"
        assert error(lambda: acc.bind(b)) == "ENODEV"
        acc.unbind(a)
        assert error(lambda: acc.unbind(a)) == "ENODEV"
        acc.devices[0].remove()
        assert error(lambda: acc.bind(a)) == "ENXIO"
        assert there() == []
    with pytest.raises(OSError, match="its driver_name is 'user', not 'crypto'"):
        Accelerator([config], clock=zs.VirtualClock())
    assert there() == []


# ---- attributes ----


def test_defaults_by_series():
    with Accelerator([SMALL], clock=zs.VirtualClock()) as acc:
        assert (acc.sync_mode, acc.verify_compress, acc.batch_size) == ("async", False, 8)
        assert (acc.g_comp_wqs_per_iaa, acc.distribute_comps, acc.distribute_decomps) == (
            0,
            True,
            False,
        )
    with Accelerator([SMALL], clock=zs.VirtualClock(), series=None) as acc:
        assert (acc.sync_mode, acc.verify_compress, acc.batch_size) == ("sync", True, 1)


def test_attributes_are_busy_while_a_queue_is_bound():
    with Accelerator([SMALL], clock=zs.VirtualClock()) as acc:
        for name, value, other in (
            ("sync_mode", "async_irq", "irq"),
            ("verify_compress", True, None),
        ):
            before = getattr(acc, name)
            with pytest.raises(
                OSError, match=f"{name}={value!r}: unbind all queues first, 1 are bound"
            ) as e:
                setattr(acc, name, value)
            assert e.value.errno == errno.EBUSY
            assert getattr(acc, name) == before
            (wq,) = acc.bound
            acc.unbind(wq)
            setattr(acc, name, value)
            assert getattr(acc, name) == value
            if other:
                with pytest.raises(
                    OSError, match="sync_mode='irq': must be one of sync, async, async_irq"
                ) as e:
                    setattr(acc, name, other)
                assert e.value.errno == errno.EINVAL
                assert getattr(acc, name) == value
            acc.bind(wq)
        acc.g_comp_wqs_per_iaa = 1  # these three are taken up at once
        acc.distribute_comps, acc.distribute_decomps = False, True
        assert (acc.g_comp_wqs_per_iaa, acc.distribute_comps, acc.distribute_decomps) == (
            1,
            False,
            True,
        )
    with pytest.raises(OSError, match="sync_mode='x'"):
        Accelerator([SMALL], clock=zs.VirtualClock(), sync_mode="x")


def test_a_mode_is_for_pools_made_later(clock):
    with rig(clock, verify_compress=False) as (acc, z):
        (wq,) = acc.bound
        acc.unbind(wq)
        acc.verify_compress = True
        acc.sync_mode = "async_irq"
        acc.bind(wq)
        acc.plan = [Delay(0, op="decompress", times=0)]
        assert z.store(0, page(0))
        assert acc.plan_hits == (0,)
        with zs.Zswap("deflate-iaa", nr_cpus=1) as y:
            y.swapon(8)
            assert y.store(0, page(0))
        assert acc.plan_hits == (1,)


def test_an_interrupt_costs_its_time():
    def ns(mode):
        clock = zs.VirtualClock()
        with rig(clock, series=None, sync_mode=mode, verify_compress=False) as (_, z):
            assert z.store(0, page(0))
            return clock.now

    assert ns("sync") == ns("async") == IAA.host_ns + IAA.compress_ns
    assert ns("async_irq") == ns("sync") + IAA.irq_ns


# ---- plans ----


def test_a_plan_counts_from_when_it_is_set(clock):
    with rig(clock, 2, nr_cpus=1, distribute_comps=False) as (acc, z):
        for _ in range(2):
            acc.plan = [
                Status(0x24, nth=2, times=2),
                Status(0x0B, device=1),
                Delay(0, wq=0, device=1, times=0),
            ]
            assert acc.plan_hits == (0, 0, 0)
            raw = []
            for i in range(5):
                assert z.store(i, page(i))
                raw.append(z.length(i) == PAGE)
            assert raw == [False, True, True, False, False]
            assert acc.plan_hits == (2, 0, 0)
            assert acc.stats()[TIMED_OUT] == 2
            acc.stats_reset()
        acc.plan = ()
        assert acc.plan == acc.plan_hits == ()


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        ({"devices": "4"}, "devices='4'"),
        ({"devices": [1]}, r"devices=\[1\]"),
        ({"devices": DeviceConfig()}, "devices="),
        ({"devices": True}, "devices=True"),
        ({"clock": 5}, "clock=5"),
        ({"profile": "IAA"}, "profile='IAA'"),
        ({"name": 5}, "name=5"),
        ({"nr_cpus": "2"}, "nr_cpus='2'"),
        ({"nr_packages": 1.0}, "nr_packages=1.0"),
        ({"nr_nodes": "1"}, "nr_nodes='1'"),
        ({"batch_size": 2.0}, "batch_size=2.0"),
        ({"plan": NoAnswer()}, "plan=NoAnswer"),
        ({"g_comp_wqs_per_iaa": 1.5}, "g_comp_wqs_per_iaa=1.5"),
    ],
)
def test_what_is_of_another_type_is_told_by_name(rest, message):
    with pytest.raises(TypeError, match=message):
        Accelerator(**rest)


def test_switches_have_the_kernels_syntax():
    with Accelerator(
        distribute_comps="N", distribute_decomps="1", verify_compress="y", bind="no"
    ) as acc:
        assert (acc.distribute_comps, acc.distribute_decomps, acc.verify_compress, acc.bound) == (
            False,
            True,
            True,
            (),
        )
        with pytest.raises(OSError, match="verify_compress='maybe': must be Y or N"):
            acc.verify_compress = "maybe"
    assert WorkQueueConfig(shared="off").shared is False


def test_attributes_are_those_that_are_named():
    """What it was made with is fixed; what it has is set by its own rules; there is
    nothing else.
    """
    clock = zs.VirtualClock(seed=3)
    with Accelerator(clock=clock, bind=False) as acc:
        for it in (acc, clock, acc.devices[0], acc.devices[0].wqs[0], acc.compressor):
            cls = type(it)
            public = {name: getattr(cls, name) for name in dir(cls) if not name.startswith("_")}
            fixed = [
                name for name, at in public.items() if isinstance(at, property) and at.fset is None
            ]
            assert fixed
            for name in fixed:
                before = getattr(it, name)
                with pytest.raises(
                    AttributeError,
                    match=(
                        rf"{cls.__name__}\.{name} (is fixed at creation|can only "
                        r"be read)"
                    ),
                ):
                    setattr(it, name, before)
                assert getattr(it, name) is before or getattr(it, name) == before
            with pytest.raises(AttributeError, match=f"has no attribute 'sync_mod'.*{fixed[0]}"):
                it.sync_mod = 1
            for how in (copy.copy, copy.deepcopy, pickle.dumps):
                with pytest.raises(TypeError, match="can be neither copied nor pickled"):
                    how(it)
            assert not hasattr(it, "__dict__")


def test_nodes_follow_packages_unless_said_otherwise():
    with Accelerator(8, nr_cpus=112, nr_packages=2, clock=zs.VirtualClock()) as acc:
        assert acc.nr_nodes == 2
        assert [{wq.device.index for wq in acc.table(cpu).comp} for cpu in (0, 60)] == [
            {0, 1, 2, 3},
            {4, 5, 6, 7},
        ]


def test_what_is_no_plan():
    with Accelerator([SMALL], clock=zs.VirtualClock()) as acc:
        before = acc.plan = (Crc(),)
        for plan, error, message in (
            ([Crc(), Crc(device=1)], ValueError, r"Crc\(.*device=1.*\): there are 1 devices"),
            ([3], TypeError, "3: must be one of Status, Crc"),
            ([Crc()] * 257, OSError, "257 faults: must have at most 256"),
        ):
            with pytest.raises(error, match=message):
                acc.plan = plan
            assert acc.plan == before
        acc.plan = [Crc()] * 256
        assert len(acc.plan_hits) == 256


def test_a_run_can_be_repeated():
    """The same plan and seed: the same nanoseconds and statistics; another seed:
    others.
    """

    def run(seed):
        clock = zs.VirtualClock(seed=seed)
        profile = QUICK.replace(jitter=0.2)
        with rig(clock, 2, nr_cpus=4, profile=profile, verify_compress=True) as (acc, z):
            acc.plan = [
                Status(0x24, nth=5),
                Delay(100_000, nth=10, times=3),
                QueueFull(nth=20, times=2),
                Stop(50_000, device=1, nth=9),
                Remove(device=0, nth=30),
            ]
            times = []

            def work(cpu):
                for i in range(10):
                    assert z.store(100 * cpu + 8 * i, folio(8, i), cpu=cpu)
                    times.append((cpu, clock.now))
                acc.devices[0].enable()
                for i in range(10):
                    z.load_batch(
                        range(100 * cpu + 8 * i, 100 * cpu + 8 * i + 8),
                        bytearray(8 * PAGE),
                        cpu=cpu,
                    )
                    times.append((cpu, clock.now))

            clock.run([lambda cpu=cpu: work(cpu) for cpu in range(4)])
            assert clock.stalls == 0
            return times, acc.stats(), [d.stats() for d in acc.devices], acc.plan_hits, z.stats()

    first = run(1)
    assert run(1) == first
    assert run(2)[0] != first[0]
    assert all(first[3])


# ---- its life ----


def iaa_threads():
    return [t for t in threading.enumerate() if t.name.startswith("iax")]


def test_threads_are_joined_at_close():
    for _ in range(3):
        with rig(None, 2) as (acc, z):
            assert len(iaa_threads()) == 2 * 2
            assert z.store(0, folio(8))
        assert iaa_threads() == []
        assert acc.closed


def test_threads_are_joined_when_it_cannot_be_made():
    with pytest.raises(ValueError, match="there are 1 devices"):
        Accelerator([SMALL], plan=[Crc(device=5)])
    assert iaa_threads() == []


@pytest.mark.parametrize("in_use", [False, True])
def test_one_that_nobody_closed(in_use):
    gc.collect()
    acc = Accelerator([SMALL], nr_cpus=1)
    gone = weakref.ref(acc)
    z = zs.Zswap("deflate-iaa", nr_cpus=1, kernel="6.16") if in_use else None
    if z:
        z.swapon(8)
        assert z.store(0, page(0))
    assert len(iaa_threads()) == 2
    del acc
    gc.collect()
    assert gone() is None
    assert iaa_threads() == []
    assert there() == []
    if z:
        load_fails(z, 0)
        assert not z.store(1, page(1))
        z.close()


def test_a_zswap_that_outlives_it_and_is_collected(clock):
    acc = Accelerator([SMALL], nr_cpus=1, clock=clock)
    z = zs.Zswap("deflate-iaa", nr_cpus=1)
    z.swapon(8)
    assert z.store(0, page(0))
    acc.close()
    del acc
    gc.collect()
    load_fails(z, 0)
    z.close()
    del z
    gc.collect()


def python(code, **rest):
    root = pathlib.Path(zs.__file__).parent.parent
    return subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code],
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        **rest,
    )


EXIT = """
import threading, time
import zswap_py as zs
from zswap_py.iaa import IAA, Accelerator, DeviceConfig, NoAnswer
devices = [DeviceConfig(engines=(0, 0))]
profile = IAA.replace(timeout_ns=1 << 62)
acc = Accelerator(devices, nr_cpus=3, profile=profile, sync_mode="MODE")
z = zs.Zswap("deflate-iaa", nr_cpus=3)
z.swapon(64)
acc.plan = [NoAnswer(times=0)]
for i in range(3):
    folio = bytes(range(256)) * 16 * PAGES
    threading.Thread(target=lambda i=i: z.store(8 * i, folio), daemon=True).start()
while acc.plan_hits[0] < 3:
    time.sleep(0.001)
print("exits")
"""


@pytest.mark.parametrize("mode", ["sync", "async_irq"])
@pytest.mark.parametrize("pages", [1, 8])
@pytest.mark.parametrize("end", ["", "del acc, z", "raise SystemExit(0)"])
def test_the_interpreter_exits_while_engines_are_held(mode, pages, end):
    done = python(EXIT.replace("MODE", mode).replace("PAGES", str(pages)) + end)
    assert (done.returncode, done.stdout) == (0, "exits\n")
    # without an accelerator the interpreter goes on, and with it the calls that meet
    # that
    refused = "iaa_crypto: iaa_crypto disabled, not compressing\n" if end.startswith("del") else ""
    assert done.stderr in ("", refused)


FORK = """
import errno, gc, os, sys, threading
import zswap_py as zs
from zswap_py import crypto
from zswap_py.iaa import Accelerator, Crc
clock = zs.VirtualClock() if VIRTUAL else None
acc = Accelerator(1, nr_cpus=1, clock=clock, plan=[Crc(nth=100)])
z = zs.Zswap("deflate-iaa", nr_cpus=1)
z.swapon(8)
page = bytes(range(256)) * 16
assert z.store(0, page)
if HELD:
    def hold():
        with crypto._lock, acc._lock, acc.devices[0]._lock:
            holds.set()
            over.wait()
    holds, over = threading.Event(), threading.Event()
    threading.Thread(target=hold, daemon=True).start()
    holds.wait()
pid = os.fork()
if pid == 0:
    device, wq = acc.devices[0], acc.devices[0].wqs[0]
    uses = [
        lambda: acc.bind(wq), lambda: acc.unbind(wq), lambda: setattr(acc, "plan", ()),
        lambda: acc.plan_hits,
        lambda: setattr(acc, "sync_mode", "sync"), lambda: acc.stats(), lambda: acc.stats_reset(),
        device.enable, device.disable, device.remove, lambda: z.store(1, page),
        lambda: z.load(0, bytearray(4096)),
    ]
    for i, use in enumerate(uses):
        try:
            use()
        except OSError as e:
            assert e.errno == errno.ECHILD, (i, e)
            assert "made before fork()" in str(e) and "make one in each process" in str(e), (i, e)
        else:
            raise SystemExit(f"no error from {i}")
    try:
        zs.Zswap("deflate-iaa")
    except OSError as e:
        assert e.errno == errno.ENOENT, e
    else:
        raise SystemExit("the parent's accelerator is there")
    acc.close()
    with Accelerator(1, nr_cpus=1, clock=zs.VirtualClock() if clock else None) as mine:
        with zs.Zswap("deflate-iaa", nr_cpus=1) as y:
            y.swapon(8)
            assert y.store(0, page)
            out = bytearray(4096)
            assert y.load(0, out) and out == page
            assert mine.stats()["total_decomp_calls"] == 1
    del acc, z, uses, use, device, wq
    gc.collect()
    sys.exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
if HELD:
    over.set()
out = bytearray(4096)
assert z.load(0, out) and out == page
print("parent is well")
"""


@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize("virtual", [True, False])
def test_a_forked_child_is_told_and_can_make_its_own(virtual, held):
    """Even if a thread that the child does not have held the locks."""
    done = python(FORK.replace("VIRTUAL", str(virtual)).replace("HELD", str(held)))
    assert (done.returncode, done.stdout, done.stderr) == (0, "parent is well\n", "")


def test_names_are_said():
    with Accelerator(2, clock=zs.VirtualClock(), name="x") as acc:
        assert repr(acc) == "<Accelerator x: 2 devices, 2 queues bound, virtual time>"
    assert repr(acc) == "<Accelerator x: closed, virtual time>"


# ---- what holds at the ends ----


def test_a_device_that_stood_still_goes_on_when_it_is_enabled():
    clock = zs.VirtualClock()
    with rig(clock, plan=[Stop()], profile=IAA) as (acc, z):

        def enable():
            clock.sleep(10_000)
            acc.devices[0].enable()

        stored, _ = clock.run([lambda: z.store(0, page(0)), enable])
        assert stored
        assert acc.enabled
        assert clock.now < IAA.timeout_ns


@pytest.mark.timeout(60)
def test_time_has_an_end():
    clock = zs.VirtualClock()
    with rig(clock, profile=IAA.replace(timeout_ns=1 << 62), plan=[NoAnswer(times=0)]) as (acc, z):
        for i in range(6):
            assert z.store(i, page(i))
            assert z.length(i) == PAGE
            assert not acc.enabled
            rebind(acc)
        assert clock.now == (1 << 64) - 2


def test_close_goes_on_where_it_was_interrupted(monkeypatch):
    acc = Accelerator(2, nr_cpus=1)
    join, calls = threading.Thread.join, []

    def interrupted(self, timeout=None):
        calls.append(self)
        if len(calls) == 1:
            raise KeyboardInterrupt
        join(self, timeout)

    monkeypatch.setattr(threading.Thread, "join", interrupted)
    with pytest.raises(KeyboardInterrupt):
        acc.close()
    acc.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("iax")]
    assert all(device.state == "disabled" for device in acc.devices)


def test_a_lost_turn_loses_no_page():
    """Turns are lost all the time here, also by threads that have not woken yet, but
    never amid a device's work.
    """
    clock = zs.VirtualClock(stall_seconds=1e-6)
    nr = 8
    with rig(clock, 2, nr_cpus=nr) as (_, z):
        ended = []

        def work(cpu):
            for i in range(500):
                entry = cpu * 64 + i % 64
                assert z.store(entry, page(entry), cpu=cpu)
                out = bytearray(PAGE)
                try:
                    z.load(entry, out, cpu=cpu)
                except OSError as e:  # once: the thread is no actor any more
                    assert e.errno == errno.EIO
                    z.load(entry, out, cpu=cpu)
                assert out == page(entry)
            ended.append(cpu)

        with (
            contextlib.suppress(RuntimeWarning),
            pytest.raises(OSError, match="lost its turn") as e,
        ):
            clock.run([functools.partial(work, cpu) for cpu in range(nr)])
        assert e.value.errno == errno.EDEADLK
        assert clock.stalls >= nr - len(ended)
        assert len(z) == 0
        assert z.stats()["decompress_fail"] <= clock.stalls


def test_two_actors_on_a_cpu_are_told_to_take_one_each():
    """The second waits for the first one's context in its turn: run() warns, and then
    fails. Nothing is lost.
    """
    clock = zs.VirtualClock(stall_seconds=1)
    with rig(clock, nr_cpus=2) as (_, z):

        def work(first, cpu):
            for i in range(first, first + 3):
                assert z.store(8 * i, folio(8, i), cpu=cpu)

        clock.run([lambda: work(0, 0), lambda: work(3, 1)])
        assert clock.stalls == 0
        began = time.monotonic()
        with (
            pytest.warns(
                RuntimeWarning,
                match=(
                    r"time stands still: actor 'b' .* give each actor a CPU "
                    r"\(cpu=\)"
                ),
            ),
            pytest.raises(
                OSError, match=r"lost its turn: it kept it for 1 s.* give each actor a CPU \(cpu=\)"
            ) as e,
        ):
            clock.run([lambda: work(6, 0), lambda: work(9, 0)], names=["a", "b"])
        assert e.value.errno == errno.EDEADLK
        assert time.monotonic() - began < 8  # of 1 s each
        assert clock.stalls
        out = bytearray(8 * PAGE)
        for i in range(12):
            assert z.load_batch(range(8 * i, 8 * i + 8), out) == [0] * 8
            assert out == folio(8, i)


# ---- requests that no queue takes ----


def messages(caplog):
    """Returns the driver's messages since the last call."""
    said = [r.getMessage() for r in caplog.records if r.getMessage().startswith("iaa_crypto")]
    caplog.clear()
    return said


def unbind_all(acc):
    for wq in acc.bound:
        acc.unbind(wq)


@every_series
@every_kernel
@pytest.mark.parametrize(
    ("end", "said"),
    [
        (unbind_all, "iaa_crypto disabled, not compressing"),
        (lambda acc: acc.close(), "iaa_crypto disabled, not compressing"),
        (lambda acc: acc.devices[0].remove(), "iax1 is not enabled, not compressing"),
        (lambda acc: acc.devices[0].disable(), "iax1 is not enabled, not compressing"),
    ],
)
def test_stores_that_no_queue_takes_are_counted_and_logged(
    clock, series, kernel, end, said, caplog
):
    """Under 6.18's rules each store succeeds, with raw pages."""
    with rig(clock, series=series, kernel=kernel) as (acc, z):
        end(acc)
        messages(caplog)
        for i in range(100):
            assert bool(z.store(i, page(i))) == (kernel == "6.18")
            assert messages(caplog) == ([] if i else [f"iaa_crypto: {said}"])
        counted(acc, total_no_wq_errors=100)
        assert z.stats()["stored_incompressible_pages"] == (100 if kernel == "6.18" else 0)
        acc.stats_reset()
        counted(acc)


def test_a_page_outside_of_any_pool_logs_too(clock, caplog):
    with Accelerator([SMALL], nr_cpus=1, clock=clock) as acc:
        acc.devices[0].remove()
        with pytest.raises(OSError, match="compress") as e:
            acc.compressor.run(True, page(0), PAGE)
        assert e.value.errno == errno.EIO
        assert messages(caplog) == ["iaa_crypto: iax1 is not enabled, not compressing"]


@every_mode
def test_the_call_that_meets_a_timeout_logs_it(clock, mode, caplog):
    with rig(clock, sync_mode=mode) as (acc, z):
        assert z.store(0, folio(8))
        assert messages(caplog) == []
        acc.plan = [NoAnswer(op="decompress")]
        assert load(z, 0) == page(0)  # by software
        assert messages(caplog) == [
            "iaa_crypto: decompress completion timed out - assuming broken hw, iaa_crypto now "
            "DISABLED"
        ]
        load_fails(z, 1)
        assert messages(caplog) == ["iaa_crypto: iaa_crypto disabled, not decompressing"]
        assert z.load_batch([1, 2], bytearray(2 * PAGE)) == [-errno.EIO] * 2
        assert messages(caplog) == []
        assert acc.stats()[NO_WQ] == 3
        rebind(acc)
        acc.devices[0].remove()
        assert z.load_batch([1, 2], bytearray(2 * PAGE)) == [0, 0]  # by software
        assert messages(caplog) == ["iaa_crypto: iax1 is not enabled, not decompressing"]
        assert z.peek(3, bytearray(PAGE))
        assert acc.stats()[NO_WQ] == 6
        acc.devices[0].enable()
        acc.devices[0].remove()
        assert z.peek(3, bytearray(PAGE))
        assert messages(caplog) == ["iaa_crypto: iax1 is not enabled, not decompressing"]


@every_series
def test_a_log_of_another_zswap_is_not_this_ones(clock, series, caplog):
    """The calls of a Zswap with another compressor say nothing, also while its old pool
    is the device's.
    """
    with rig(clock, series=series) as (acc, z), zs.Zswap("lzo", nr_cpus=1) as other:
        other.swapon(8)
        assert z.store(0, page(0))
        unbind_all(acc)
        z.compressor = "lzo"
        load_fails(z, 0)
        assert messages(caplog) == ["iaa_crypto: iaa_crypto disabled, not decompressing"]
        assert other._devices == ()
        assert other.store(0, page(0))
        assert messages(caplog) == []


@pytest.mark.parametrize("host_ns", [306, 0])
@every_series
@every_mode
def test_a_refused_call_takes_the_cpus_time(series, mode, host_ns):
    """So that an actor that tries again and again lets others have their turns: here,
    the one that binds the queue.
    """
    clock = zs.VirtualClock()
    with rig(
        clock, series=series, sync_mode=mode, kernel="6.16", profile=QUICK.replace(host_ns=host_ns)
    ) as (acc, z):
        (wq,) = acc.bound
        assert z.store(9, page(9))
        acc.unbind(wq)
        costs = max(host_ns, 1)

        def retry():
            tries = 0
            while not z.store(0, page(0), cpu=0):
                tries += 1
            return tries

        def bind():
            clock.sleep(999 * costs + 1)
            acc.bind(wq)

        tries, _ = clock.run([retry, bind])
        assert tries == 1000
        assert acc.stats()[NO_WQ] == 1000
        acc.unbind(wq)
        for call in (lambda: z.store(1, page(1)), lambda: load_fails(z, 9)):
            before = clock.now
            call()
            assert clock.now - before == costs
        before = clock.now
        # a batch has tried each of its pages; else the first fails the folio
        assert not z.store(16, folio(3))
        assert clock.now - before == costs * (3 if series else 1)
        assert clock.stalls == 0


# ---- whose its algorithm is ----


def test_no_other_compressor_is_based_on_its_algorithm(clock):
    with rig(clock) as (acc, z):
        for base in ("deflate-iaa", "deflate-iaa:iaa"):
            with pytest.raises(
                ValueError, match=(f"base='{base}' is an accelerator's algorithm.*deflate-iaa:isal")
            ):
                zs.register_compressor("alias", base=base)
        assert "alias" not in [c.name for c in zs.compressors()]
        acc.compressor.alg()
        with zs.Zswap("deflate-iaa", nr_cpus=1) as y:
            assert y.pool.compr_batch_size == z.pool.compr_batch_size == 8
        zs.register_compressor("alias", base="deflate-iaa:zlib", batch_size=2)
        try:
            with zs.Zswap("alias", nr_cpus=1) as y, zs.Zswap("deflate-iaa", nr_cpus=1) as x:
                assert (y.pool.compr_batch_size, x.pool.compr_batch_size) == (2, 8)
        finally:
            zs.unregister_compressor("alias")


# ---- software reads what the kernel's deflate reads ----


@pytest.mark.parametrize("size", [16384, 65536])
@every_series
def test_software_reads_distances_beyond_the_devices_window(clock, size, series):
    rng = random.Random(1)
    far = (rng.randbytes({16384: 5000, 65536: 30000}[size]) * 4)[:size]
    wide = zlib.compressobj(9, zlib.DEFLATED, -15)
    stream = wide.compress(far) + wide.flush()
    assert len(stream) < size * 0.6
    for spec in ("deflate-iaa:isal", "deflate-iaa:zlib"):
        with pytest.raises(OSError, match="decompress") as e:
            crypto.find(spec).run(False, stream, size)
        assert e.value.errno == errno.EINVAL
    with Accelerator([SMALL], nr_cpus=1, clock=clock, series=series) as acc:
        assert acc.compressor.run(False, stream, size) == far
        counted_of = acc.stats()
        assert (counted_of["total_decomp_calls"], counted_of["total_sw_decomp_calls"]) == (1, 1)
        for broken in (stream[:-4], b"\x07" + stream, stream[: len(stream) // 2]):
            with pytest.raises(OSError, match="decompress") as e:
                acc.compressor.run(False, broken, size)
            assert e.value.errno == errno.EINVAL
        with pytest.raises(OSError, match="decompress") as e:
            acc.compressor.run(False, stream, size - 1)
        assert e.value.errno == errno.EINVAL
        assert acc.stats()["total_sw_decomp_calls"] == 5
        acc.devices[0].remove()
        if series:
            assert acc.compressor.run(False, stream, size) == far
