# SPDX-License-Identifier: GPL-2.0-or-later
"""The accelerator's devices: what they may be made of, their states, what things cost,
their threads.
"""

from __future__ import annotations

import errno
import threading
import time

import pytest

import zswap_py as zs
from zswap_py.iaa import (
    IAA,
    IDEAL,
    Accelerator,
    Delay,
    DeviceConfig,
    NoAnswer,
    Profile,
    QueueFull,
    Status,
)
from zswap_py.iaa.idxd import MAX_ENGINES, MAX_WQ_SIZE, MAX_WQS, WorkQueueConfig

PAGE = 4096

pytestmark = pytest.mark.timeout(100, method="thread")  # what hangs in C no signal ends


def page(i, size=PAGE):
    return (b"%06d, " % i * (size // 4))[:size]


def folio(n, size=PAGE):
    return b"".join(page(i, size) for i in range(n))


def queues(*sizes, **rest):
    return tuple(WorkQueueConfig(size=size, **rest) for size in sizes)


@pytest.fixture(params=["real", "virtual"])
def either_time(request):
    """The clock for an Accelerator: none, or a virtual one."""
    return None if request.param == "real" else zs.VirtualClock()


# ---- configurations ----


def test_the_default_is_the_drivers():
    """One dedicated queue with all entries, and all engines, in group 0."""
    with Accelerator(1, clock=zs.VirtualClock()) as acc:
        (device,) = acc.devices
        (wq,) = device.wqs
        assert wq.config == WorkQueueConfig(
            size=128,
            shared=False,
            threshold=None,
            group=0,
            priority=10,
            enqcmds_retries=32,
            name="iaa_crypto",
            driver_name="crypto",
        )
        assert device.config.engines == (0,) * 8
        assert (device.name, wq.name, device.node, device.state) == ("iax1", "wq1.0", 0, "enabled")
        assert repr(device) == "<Device iax1 enabled on node 0, 8 engines>"
        assert repr(wq) == "<WorkQueue wq1.0 dedicated 128>"
        assert (MAX_WQ_SIZE, MAX_ENGINES, MAX_WQS) == (128, 8, 8)


def test_names_are_odd():
    config = DeviceConfig(wqs=queues(4, 4, shared=True), engines=(0,))
    with Accelerator([config] * 3, clock=zs.VirtualClock(), nr_cpus=3, nr_nodes=3) as acc:
        assert [d.name for d in acc.devices] == ["iax1", "iax3", "iax5"]
        assert [d.node for d in acc.devices] == [0, 1, 2]
        assert [wq.name for d in acc.devices for wq in d.wqs] == [
            f"wq{d}.{q}" for d in (1, 3, 5) for q in (0, 1)
        ]
        assert repr(acc.devices[2].wqs[1]) == "<WorkQueue wq5.1 shared 4>"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: WorkQueueConfig(size=129), "size=129: must be 1 to 128"),
        (lambda: WorkQueueConfig(size=0), "size=0: must be 1 to 128"),
        (lambda: WorkQueueConfig(group=4), "group=4: must be 0 to 3"),
        (lambda: WorkQueueConfig(group=-1), "group=-1: must be 0 to 3"),
        (lambda: WorkQueueConfig(priority=0), "priority=0: must be 1 to 15"),
        (lambda: WorkQueueConfig(priority=16), "priority=16: must be 1 to 15"),
        (lambda: WorkQueueConfig(enqcmds_retries=65), "enqcmds_retries=65: must be 0 to 64"),
        (lambda: WorkQueueConfig(threshold=3), r"threshold=3\): only a shared queue has one"),
        (lambda: WorkQueueConfig(size=8, shared=True, threshold=9), "threshold=9: must be 1 to 8"),
        (lambda: WorkQueueConfig(size=8, shared=True, threshold=0), "threshold=0: must be 1 to 8"),
        (lambda: DeviceConfig(wqs=()), "0 work queues: a device has 1 to 8"),
        (lambda: DeviceConfig(wqs=queues(*[1] * 9)), "9 work queues: a device has 1 to 8"),
        (
            lambda: DeviceConfig(wqs=queues(64, 65)),
            "129 entries: a device has 128 for all of them together",
        ),
        (lambda: DeviceConfig(wqs=queues(*[17] * 8)), "136 entries"),
        (lambda: DeviceConfig(engines=()), "0 engines: a device has 1 to 8"),
        (lambda: DeviceConfig(engines=(0,) * 9), "9 engines: a device has 1 to 8"),
        (lambda: DeviceConfig(engines=(0, 4)), "an engine's group=4: must be 0 to 3"),
        (
            lambda: DeviceConfig(wqs=queues(8, 8, group=1)),
            r"work queue 0 is in group 1, which has no "
            r"engine",
        ),
        (
            lambda: DeviceConfig(engines=(1, 2, 3)),
            r"group 0, which has no engine; engines: \(1, 2, "
            r"3\)",
        ),
        (
            lambda: Accelerator([DeviceConfig(node=1)]),
            r"DeviceConfig\(node=1\): must be 0 to 0; "
            r"see nr_nodes=",
        ),
        (lambda: Accelerator([DeviceConfig(node=-1)]), r"DeviceConfig\(node=-1\)"),
    ],
)
def test_what_no_device_is_made_of(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda: WorkQueueConfig(size=8.0),
        lambda: WorkQueueConfig(size=True),
        lambda: WorkQueueConfig(group=None),
        lambda: DeviceConfig(engines=(None,)),
        lambda: IAA.replace(host_ns=1.5),
        lambda: IAA.replace(timeout_ns=None),
    ],
)
def test_types_that_no_device_is_made_of(make):
    with pytest.raises(TypeError, match="an int"):
        make()


def test_the_most_that_a_device_can_have():
    config = DeviceConfig(
        wqs=queues(*[16] * 8, shared=True, threshold=16, enqcmds_retries=64), engines=(0,) * 8
    )
    with Accelerator([config], clock=zs.VirtualClock()) as acc:
        assert len(acc.bound) == 8
        assert [wq.number for wq in acc.table(0).comp] == list(range(8))


def test_shared_queues_need_scalable_mode():
    with pytest.raises(
        OSError, match="work queue 1 is shared: this needs the IOMMU's scalable mode"
    ) as e:
        DeviceConfig(
            wqs=(WorkQueueConfig(size=8), WorkQueueConfig(size=8, shared=True)), scalable=False
        )
    assert e.value.errno == errno.EOPNOTSUPP
    with Accelerator([DeviceConfig(wqs=queues(8), scalable=False)], clock=zs.VirtualClock()) as acc:
        assert acc.devices[0].state == "enabled"


# ---- states ----


def test_states(either_time):
    with Accelerator(1, clock=either_time, bind=False) as acc:
        (device,) = acc.devices
        assert device.state == "disabled"
        assert acc.bound == ()
        for step, state in (
            (device.enable, "enabled"),
            (device.enable, "enabled"),
            (device.disable, "disabled"),
            (device.remove, "removed"),
            (device.enable, "enabled"),
            (device.remove, "removed"),
        ):
            step()
            assert device.state == state


def test_groups_have_engines_of_their_own(either_time):
    """An engine that is held, held for good, does not hold the queue of another
    group.
    """
    config = DeviceConfig(
        wqs=(WorkQueueConfig(size=8), WorkQueueConfig(size=8, group=1)), engines=(0, 1)
    )
    profile = IAA.replace(timeout_ns=1 << 62)
    with Accelerator(
        [config], nr_cpus=1, clock=either_time, profile=profile, g_comp_wqs_per_iaa=1
    ) as acc:
        device = acc.devices[0]
        assert acc.table(0) == (zs.iaa.WqTable((device.wqs[1],), (device.wqs[0],)))
        with zs.Zswap("deflate-iaa", nr_cpus=1) as z:
            z.swapon(64)
            assert z.store(0, page(0))
            acc.plan = [Delay(1 << 40, wq=0)]
            out = bytearray(PAGE)
            failed = []

            def load():
                z.load(0, out)
                failed.append(acc.stats()["total_sw_decomp_calls"])

            def others_go_on():
                with zs.Zswap("deflate-iaa", nr_cpus=1) as other:
                    other.swapon(64)
                    for i in range(8):
                        assert other.store(8 * i, folio(8))
                    assert not other.stats()["stored_incompressible_pages"]
                assert failed == []
                device.remove()  # lets go of it

            thread = threading.Thread(target=load)
            if either_time is None:
                thread.start()
                while not acc.plan_hits[0]:
                    time.sleep(0.001)
                others_go_on()
                thread.join()
            else:

                def store():
                    either_time.sleep(1000)
                    others_go_on()

                either_time.run([load, store])
                assert either_time.now < 1 << 20
            assert failed == [1]
            assert out == page(0)


# ---- what things cost ----


def spent(clock, call):
    start = clock.now
    call()
    return clock.now - start


def batch_ns(profile, engines, jobs, pages=1):
    """A batch's time on an idle device, by the rules that Profile's docstring gives."""
    free, link, end = [0] * engines, 0, 0
    for i in range(1, jobs + 1):
        engine = free.index(min(free))
        start = max(i * profile.host_ns, free[engine], link)
        link = start + pages * profile.transfer_ns
        free[engine] = start + profile.compress_ns + (pages - 1) * profile.transfer_ns
        end = max(end, free[engine])
    return end


PROFILES = [
    IAA,
    IDEAL,
    IAA.replace(transfer_ns=0),
    IAA.replace(host_ns=0),
    IAA.replace(host_ns=5000),
    Profile("slow link", host_ns=10, compress_ns=100, decompress_ns=1, transfer_ns=90),
]


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("engines", [1, 2, 3, 8])
def test_a_batch_costs_what_the_profile_says(profile, engines):
    clock = zs.VirtualClock()
    config = DeviceConfig(engines=(0,) * engines)
    with (
        Accelerator([config], clock=clock, profile=profile) as acc,
        zs.Zswap("deflate-iaa", nr_cpus=1) as z,
    ):
        z.swapon(64)
        for jobs in (1, 2, 3, 8):
            assert spent(clock, lambda n=jobs: z.store(0, folio(n))) == batch_ns(
                profile, engines, jobs
            )
        assert acc.stats()["total_comp_calls"] == 14


@pytest.mark.parametrize("engines", [1, 8])
def test_larger_pages_take_the_link_for_longer(engines):
    clock = zs.VirtualClock()
    config = DeviceConfig(engines=(0,) * engines)
    with (
        Accelerator([config], clock=clock),
        zs.Zswap("deflate-iaa", nr_cpus=1, page_size=16384) as z,
    ):
        z.swapon(64)
        for jobs in (1, 8):
            ns = spent(clock, lambda n=jobs: z.store(0, folio(n, 16384)))
            assert ns == batch_ns(IAA, engines, jobs, pages=4)


def test_a_load_costs_what_the_profile_says():
    clock = zs.VirtualClock()
    with Accelerator(1, clock=clock), zs.Zswap("deflate-iaa", nr_cpus=1) as z:
        z.swapon(64)
        z.store(0, folio(8))
        assert spent(clock, lambda: z.load(0, bytearray(PAGE))) == IAA.host_ns + IAA.decompress_ns
        expected = batch_ns(IAA.replace(compress_ns=IAA.decompress_ns), 8, 7)
        assert spent(clock, lambda: z.load_batch(range(1, 8), bytearray(7 * PAGE))) == expected


def test_a_load_of_the_device_and_software_add_up():
    clock = zs.VirtualClock()
    profile = IAA.replace(irq_ns=70_000, software_ns=900_000)
    with (
        Accelerator(1, clock=clock, profile=profile, sync_mode="async_irq") as acc,
        zs.Zswap("deflate-iaa", nr_cpus=1) as z,
    ):
        z.swapon(64)
        assert spent(clock, lambda: z.store(0, page(0))) == IAA.host_ns + IAA.compress_ns + 70_000
        acc.plan = [Status(0x0A, 0x0B)]
        ns = spent(clock, lambda: z.load(0, bytearray(PAGE)))
        assert ns == IAA.host_ns + IAA.decompress_ns + 70_000 + 900_000
        assert acc.stats()["total_sw_decomp_calls"] == 1


def test_tries_cost_a_pause_each():
    """v10 tries 1000 times for a descriptor that compresses and 500 times for one that
    decompresses.
    """
    clock = zs.VirtualClock()
    profile = IAA.replace(pause_ns=1_000_000, software_ns=17)
    with (
        Accelerator(1, clock=clock, profile=profile) as acc,
        zs.Zswap("deflate-iaa", nr_cpus=1) as z,
    ):
        z.swapon(64)
        z.store(0, page(0))
        acc.plan = [QueueFull(times=2)]
        assert spent(clock, lambda: z.store(1, page(1))) == IAA.host_ns + 999_000_000
        assert spent(clock, lambda: z.load(0, bytearray(PAGE))) == IAA.host_ns + 499_000_000 + 17


def test_a_shared_queue_is_tried_as_often_as_it_says():
    clock = zs.VirtualClock()
    config = DeviceConfig(wqs=queues(16, shared=True, enqcmds_retries=5))
    profile = IAA.replace(pause_ns=1_000_000)
    with (
        Accelerator([config], clock=clock, profile=profile) as acc,
        zs.Zswap("deflate-iaa", nr_cpus=1, kernel="6.16") as z,
    ):
        z.swapon(64)
        acc.plan = [QueueFull()]
        assert spent(clock, lambda: z.store(1, page(1))) == IAA.host_ns + 5_000_000
        assert z.stats()["reject_compress_fail"] == 1
        assert acc.stats()["total_comp_calls"] == 0


def jitter_times(seed, jitter=0.1, n=200):
    clock = zs.VirtualClock(seed=seed)
    profile = IAA.replace(jitter=jitter)
    with Accelerator(1, clock=clock, profile=profile), zs.Zswap("deflate-iaa", nr_cpus=1) as z:
        z.swapon(64)
        return [spent(clock, lambda: z.store(0, page(0))) - IAA.host_ns for _ in range(n)]


def test_jitter():
    """Up to a tenth more or less, on average nothing, by the clock's seed."""
    times = jitter_times(1)
    assert times == jitter_times(1)
    assert times != jitter_times(2)
    assert 0.9 * IAA.compress_ns - 1 <= min(times) < 0.92 * IAA.compress_ns
    assert 1.08 * IAA.compress_ns < max(times) <= 1.1 * IAA.compress_ns
    assert abs(sum(times) / len(times) / IAA.compress_ns - 1) < 0.01
    assert set(jitter_times(1, jitter=0.0)) == {IAA.compress_ns}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"jitter": 1.01}, r"Profile\(jitter=1.01\): must be a share, 0 to 1"),
        ({"jitter": -0.1}, "jitter=-0.1"),
        ({"jitter": float("nan")}, "jitter=nan"),
        ({"timeout_ns": 0}, r"timeout_ns=0\): must be 1 to"),
        ({"host_ns": -1}, r"host_ns=-1\): must be 0 to"),
        ({"compress_ns": (1 << 62) + 1}, "compress_ns="),
    ],
)
def test_what_is_no_profile(changes, message):
    with pytest.raises(ValueError, match=message):
        IAA.replace(**changes)


def test_the_published_latencies():
    """Nanoseconds a page, Sapphire Rapids: one by one; in batches of 8, on one device,
    and over four.
    """

    def latency(devices, series, k):
        clock = zs.VirtualClock()
        acc = Accelerator(devices, nr_cpus=1, clock=clock, series=series, verify_compress=False)
        with acc, zs.Zswap("deflate-iaa", nr_cpus=1, series=series) as z:
            z.swapon(64)
            return spent(clock, lambda: z.store(0, folio(k))) / k

    assert round(latency(1, None, 1)) == 3503
    assert round(latency(1, None, 8)) == 3503
    assert round(latency(1, "v10", 8)) == 1356
    assert round(latency(4, "v10", 8)) == 706


# ---- queues ----


def accepted(config, clock, n=8):
    """How many of a batch a device takes whose engines are held for long, one each."""
    profile = IAA.replace(compress_ns=1_000_000, transfer_ns=0, pause_ns=1, host_ns=0)
    with Accelerator([config], nr_cpus=1, clock=clock, profile=profile) as acc:
        acc.plan = [Delay(10_000_000, times=0)] if clock is None else ()
        with zs.Zswap("deflate-iaa", nr_cpus=1) as z:
            z.swapon(64)
            assert z.store(0, folio(n))
            raw = z.stats()["stored_incompressible_pages"]
            assert acc.stats()["total_comp_calls"] == n - raw
            out = bytearray(n * PAGE)
            acc.plan = ()
            assert z.load_batch(range(n), out) == [0] * n
            assert out == folio(n)
            return n - raw


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        # a dedicated queue's descriptors are as many as its entries
        (DeviceConfig(wqs=queues(4), engines=(0,)), 4),
        (DeviceConfig(wqs=queues(4)), 4),
        (DeviceConfig(wqs=queues(4, 2), engines=(0,)), 6),  # in turn, until one has none
        (DeviceConfig(wqs=queues(128)), 8),
        (DeviceConfig(wqs=queues(1)), 1),
    ],
)
def test_a_dedicated_queue_never_has_more_in_flight_than_entries(either_time, config, expected):
    assert accepted(config, either_time) == expected


@pytest.mark.parametrize(
    ("engines", "threshold", "expected"),
    [
        (1, 2, 3),
        (1, 1, 2),
        (1, None, 8),
        (2, 2, 4),
        (2, 1, 3),
        (8, 1, 8),
        (1, 6, 7),
    ],
)
def test_a_shared_queue_takes_what_its_threshold_says(engines, threshold, expected):
    """What engines have taken up is not in the queue any more."""
    wqs = queues(16, shared=True, threshold=threshold, enqcmds_retries=0)
    assert accepted(DeviceConfig(wqs=wqs, engines=(0,) * engines), zs.VirtualClock()) == expected


@pytest.mark.parametrize(
    ("priorities", "expected"),
    [
        ((5, 5), [0, 1, 2, 3, 4]),
        ((6, 5), [0, 1, 3, 2, 4]),
        ((5, 6), [0, 2, 4, 1, 3]),
    ],
)
def test_the_queue_with_the_higher_priority_is_served_first_and_equals_in_turn(
    priorities, expected
):
    """One engine. While it is busy with the first job, of queue 1, queue 0 gets the
    second and the fourth.
    """
    clock, ended = zs.VirtualClock(), []
    config = DeviceConfig(
        wqs=tuple(WorkQueueConfig(size=8, priority=p) for p in priorities), engines=(0,)
    )
    with (
        Accelerator([config], nr_cpus=1, clock=clock) as acc,
        zs.Zswap("deflate-iaa", nr_cpus=5) as z,
    ):
        z.swapon(64)

        def store(cpu):
            z.store(cpu, page(cpu), cpu=cpu)
            ended.append(cpu)

        clock.run([lambda cpu=cpu: store(cpu) for cpu in range(5)])
        assert [wq.stats()["comp_calls"] for wq in acc.devices[0].wqs] == [2, 3]
    assert ended == expected


# ---- threads ----


def engine_threads():
    return sorted(t.name for t in threading.enumerate() if t.name.startswith("iax"))


def test_threads_are_there_while_a_device_is():
    assert engine_threads() == []
    config = DeviceConfig(wqs=queues(8), engines=(0, 0))
    with Accelerator([config] * 2, bind=False) as acc:
        assert engine_threads() == []
        acc.devices[1].enable()
        assert engine_threads() == ["iax3-engine0", "iax3-engine1"]
        assert all(t.daemon for t in threading.enumerate() if t.name.startswith("iax"))
        acc.devices[1].remove()
        acc.devices[1].enable()
        assert len(engine_threads()) == 2
        acc.devices[0].enable()
        assert len(engine_threads()) == 4
    assert engine_threads() == []


def test_threads_that_cannot_start_are_started_the_next_time(monkeypatch):
    start, left = threading.Thread.start, [2]

    def fail_third(thread):
        left[0] -= 1
        if left[0] < 0:
            raise RuntimeError("can't start new thread")
        start(thread)

    config = DeviceConfig(wqs=queues(8), engines=(0, 0, 0))
    with Accelerator([config], nr_cpus=1, bind=False, sync_mode="async_irq") as acc:
        (device,) = acc.devices
        monkeypatch.setattr(threading.Thread, "start", fail_third)
        with pytest.raises(RuntimeError, match="can't start"):
            device.enable()
        assert device.state == "disabled"
        monkeypatch.undo()
        device.enable()
        assert engine_threads() == ["iax1-engine0", "iax1-engine1", "iax1-engine2"]
        acc.bind(device.wqs[0])
        with zs.Zswap("deflate-iaa", nr_cpus=1) as z:
            z.swapon(8)
            assert z.store(0, page(0))
    assert engine_threads() == []


def test_many_enable_a_device_at_once():
    for _ in range(20):
        with Accelerator([DeviceConfig(wqs=queues(8), engines=(0, 0))], bind=False) as acc:
            threads = [threading.Thread(target=acc.devices[0].enable) for _ in range(4)]
            for t in threads:
                t.start()
            for t in threads:
                t.join()
            assert engine_threads() == ["iax1-engine0", "iax1-engine1"]


def test_no_threads_in_virtual_time():
    before = threading.active_count()
    with Accelerator(4, clock=zs.VirtualClock()):
        assert threading.active_count() == before


def test_idle_devices_cost_nothing():
    with Accelerator(4, nr_cpus=4), zs.Zswap("deflate-iaa", nr_cpus=1) as z:
        z.swapon(64)
        assert z.store(0, folio(8))
        time.sleep(0.05)
        start = time.process_time()
        time.sleep(2)
        assert time.process_time() - start < 0.02


def test_an_engine_that_waits_for_an_answer_costs_little():
    with (
        Accelerator(
            1, nr_cpus=1, profile=IAA.replace(timeout_ns=1 << 62), plan=[NoAnswer()]
        ) as acc,
        zs.Zswap("deflate-iaa", nr_cpus=1) as z,
    ):
        z.swapon(64)
        thread = threading.Thread(target=lambda: z.store(0, page(0)))
        thread.start()
        time.sleep(0.1)
        start = time.process_time()
        time.sleep(1)
        used = time.process_time() - start
        acc.devices[0].remove()
        thread.join()
        assert used < 0.2
