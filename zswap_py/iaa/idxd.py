# SPDX-License-Identifier: GPL-2.0-or-later
"""The accelerator's devices: their configuration, their costs in virtual time, their
engines' threads.

A device is as accel-config sees it: groups tie work queues to engines. A queue is
dedicated or shared. The driver of a dedicated queue never has more descriptors in
flight than the queue has entries. A shared queue answers "retry" when it is full.
"""

from __future__ import annotations

import dataclasses
import errno
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from zswap_py._lib.fixed import Owner
from zswap_py._lib.params import kstrtobool, whole
from zswap_py._native import ffi, lib, oserror, struct_dict

MAX_GROUPS = int(lib.IDXD_MAX_GROUPS)
MAX_ENGINES = int(lib.IDXD_MAX_ENGINES)
MAX_WQS = int(lib.IDXD_MAX_WQS)
MAX_WQ_SIZE = int(lib.IDXD_MAX_WQ_SIZE)
MAX_RETRIES = int(lib.IDXD_MAX_RETRIES)


@dataclass(frozen=True)
class Profile:
    """Costs in nanoseconds. They hold in virtual time; the timeout holds in real time
    too.

    A job of k pages of 4 KiB takes an engine `compress_ns` (or `decompress_ns`), and
    `transfer_ns` more for each page after the first. Jobs on different engines of a
    device run side by side, but in the `transfer_ns` of a page the engines take turns:
    that is the device's bandwidth limit. The CPU spends `host_ns` on submitting a job,
    `irq_ns` on a completion interrupt, `software_ns` on a page that software
    decompresses. Engines' times vary by the share `jitter`, up or down, drawn from the
    clock's seed. `pause_ns` passes between two tries of the driver. After `timeout_ns`
    of device time the driver aborts a descriptor.
    """

    name: str
    host_ns: int
    compress_ns: int
    decompress_ns: int
    transfer_ns: int
    irq_ns: int = 2_000
    software_ns: int = 10_000
    jitter: float = 0.0
    pause_ns: int = 56
    timeout_ns: int = 56_000_000

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if field.name not in ("name", "jitter"):
                least, most = (1, 1 << 62) if field.name == "timeout_ns" else (0, 1 << 48)
                whole(field.name, getattr(self, field.name), least, most, of="Profile")
        if not isinstance(self.jitter, (int, float)):
            raise TypeError(f"Profile(jitter={self.jitter!r}): must be a share, 0 to 1")
        if not 0 <= self.jitter <= 1:
            raise ValueError(f"Profile(jitter={self.jitter}): must be a share, 0 to 1")

    def replace(self, **changes: Any) -> Profile:
        """Returns a copy with these figures changed."""
        return dataclasses.replace(self, **changes)


IAA = Profile("IAA", host_ns=306, compress_ns=3_197, decompress_ns=3_283, transfer_ns=1_049)
"""The profile fitted to the batching series' figures (v10 2/25, Sapphire Rapids at
2.5 GHz); see docs/accelerator.md.

host_ns, compress_ns and transfer_ns solve its three latencies a page: 3,503 ns one by
one, 1,356 in batches of 8 on one device, 706 over four. decompress_ns is inferred from
the 17.78 us that a decompress batch of 8 saves (v10 13/25, p99). pause_ns is 140
cycles, a PAUSE of that CPU; timeout_ns is the driver's 1,000,000 of them. irq_ns and
software_ns are assumed: no published figure is known.
"""

IDEAL = Profile("ideal", host_ns=306, compress_ns=0, decompress_ns=0, transfer_ns=0)
"""A device that takes no time: only the CPU's part, host_ns, is left. No batching is
faster than this.
"""


@dataclass(frozen=True)
class WorkQueueConfig:
    """A work queue, as accel-config writes it. A shared queue holds `threshold`
    descriptors at most (None: size).
    """

    size: int = MAX_WQ_SIZE
    shared: bool = False
    threshold: int | None = None
    group: int = 0
    priority: int = 10
    enqcmds_retries: int = 32
    name: str = "iaa_crypto"
    driver_name: str = "crypto"

    def __post_init__(self) -> None:
        object.__setattr__(self, "shared", kstrtobool(self.shared, "shared"))
        whole("size", self.size, 1, MAX_WQ_SIZE)
        whole("group", self.group, 0, MAX_GROUPS - 1)
        whole("priority", self.priority, 1, 15)
        whole("enqcmds_retries", self.enqcmds_retries, 0, MAX_RETRIES)
        if self.threshold is not None:
            if not self.shared:
                raise ValueError(
                    f"WorkQueueConfig(threshold={self.threshold}): only a shared queue has one; "
                    "omit it, or give shared=True"
                )
            whole("threshold", self.threshold, 1, self.size)


def _sequence(name: str, value: Any) -> Sequence[Any]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise TypeError(f"{name}={value!r}: must be a sequence")
    return value


@dataclass(frozen=True)
class DeviceConfig:
    """A device. The default is the driver's own: one dedicated queue with all entries,
    served by 8 engines, in group 0.

    `engines` gives each engine's group. `scalable` is the IOMMU's scalable mode, which
    shared queues need. With `node` None devices are spread over the nodes.
    """

    wqs: tuple[WorkQueueConfig, ...] = (WorkQueueConfig(),)
    engines: tuple[int, ...] = (0,) * MAX_ENGINES
    node: int | None = None
    scalable: bool = True

    def __post_init__(self) -> None:
        for wq in _sequence("wqs", self.wqs):
            if not isinstance(wq, WorkQueueConfig):
                raise TypeError(f"wqs={self.wqs!r}: must be a sequence of WorkQueueConfig")
        _sequence("engines", self.engines)
        if self.node is not None:
            whole("node", self.node, 0, 255, of="DeviceConfig")
        entries = sum(wq.size for wq in self.wqs)
        if not 1 <= len(self.wqs) <= MAX_WQS:
            raise ValueError(f"{len(self.wqs)} work queues: a device has 1 to {MAX_WQS}")
        if entries > MAX_WQ_SIZE:
            raise ValueError(
                f"work queues of {entries} entries: a device has {MAX_WQ_SIZE} for "
                "all of them together"
            )
        if not 1 <= len(self.engines) <= MAX_ENGINES:
            raise ValueError(f"{len(self.engines)} engines: a device has 1 to {MAX_ENGINES}")
        for group in self.engines:
            whole("an engine's group", group, 0, MAX_GROUPS - 1)
        for i, wq in enumerate(self.wqs):
            if wq.group not in self.engines:
                raise ValueError(
                    f"work queue {i} is in group {wq.group}, which has no engine; "
                    f"engines: {self.engines}"
                )
            if wq.shared and not self.scalable:
                raise oserror(
                    -errno.EOPNOTSUPP,
                    f"work queue {i} is shared: this needs the IOMMU's scalable mode",
                )


def _c_config(config: DeviceConfig) -> Any:
    c = ffi.new("struct idxd_config *")
    c.pasid = config.scalable
    for i in range(MAX_ENGINES):
        c.engine_group[i] = config.engines[i] if i < len(config.engines) else -1
    for i, wq in enumerate(config.wqs):
        c.wq[i].size, c.wq[i].shared = wq.size, wq.shared
        c.wq[i].threshold = wq.size if wq.threshold is None else wq.threshold
        c.wq[i].group, c.wq[i].priority, c.wq[i].enqcmds_retries = (
            wq.group,
            wq.priority,
            wq.enqcmds_retries,
        )
    return c


class OpenState:
    """Whether an accelerator can be used: each of its calls, and its devices', asks
    this first.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.closed = False
        self.in_child = False

    def must_be_mine(self) -> None:
        """Raises OSError ECHILD in a forked child. There the devices have no threads,
        and a missing thread may hold a lock for ever.
        """
        if self.in_child:
            raise oserror(
                -errno.ECHILD,
                f"accelerator {self.name} was made before fork(), in the parent; make one in each "
                "process",
            )

    def must_be_open(self) -> None:
        """Like must_be_mine(), but also raises ValueError once it is closed."""
        self.must_be_mine()
        if self.closed:
            raise ValueError(f"accelerator {self.name} is closed")


class WorkQueue(Owner):
    """A queue of a device. The driver uses it while it is bound (Accelerator.bind)."""

    __slots__ = ("_config", "_device", "_number")
    _instead = "take one of Device.wqs"

    def __init__(self, device: Device, number: int, config: WorkQueueConfig) -> None:
        self._device, self._number, self._config = device, number, config

    @property
    def device(self) -> Device:
        """The device that the queue belongs to."""
        return self._device

    @property
    def number(self) -> int:
        """The index in the device's wqs."""
        return self._number

    @property
    def config(self) -> WorkQueueConfig:
        """The configuration that it was created with."""
        return self._config

    @property
    def name(self) -> str:
        """The name in sysfs: wq<device>.<queue>."""
        return f"wq{self.device.name.removeprefix('iax')}.{self.number}"

    def __repr__(self) -> str:
        return (
            f"<WorkQueue {self.name} {'shared' if self.config.shared else 'dedicated'} "
            f"{self.config.size}>"
        )

    def stats(self) -> dict[str, int]:
        """The driver's counters of this queue: comp_calls, comp_bytes (out),
        decomp_calls, decomp_bytes (in).

        Two are zswap_py's own: comp_buf_overflows counts pages that did not fit,
        no_descriptor counts requests that found no descriptor.
        """
        c = ffi.new("struct iaa_wq_stats *")
        lib.iaa_get_wq_stats(self.device._iaa, self.device.index, self.number, c)
        return struct_dict(c)


class Device(Owner):
    """A device. In real time each of its engines is a thread, which sleeps while the
    queues are empty.
    """

    __slots__ = (
        "_config",
        "_iaa",
        "_index",
        "_lock",
        "_node",
        "_open_state",
        "_threads",
        "_with_threads",
        "_wqs",
    )
    _instead = "take one of Accelerator.devices"

    def __init__(
        self, iaa: Any, open_state: OpenState, node: int, config: DeviceConfig, threads: bool
    ) -> None:
        self._iaa, self._open_state = iaa, open_state
        self._node, self._config = node, config
        self._lock = threading.Lock()  # two threads that enable it start one thread an engine
        self._threads: list[threading.Thread] = []
        self._with_threads = threads
        index = lib.iaa_device_add(iaa, node, _c_config(config))
        if index < 0:
            raise oserror(index, f"a device on node {node}: {config}")
        self._index = int(index)
        self._wqs = tuple(WorkQueue(self, i, wq) for i, wq in enumerate(config.wqs))

    @property
    def index(self) -> int:
        """The index in Accelerator.devices."""
        return self._index

    @property
    def node(self) -> int:
        """The NUMA node of the device."""
        return self._node

    @property
    def config(self) -> DeviceConfig:
        """The configuration that it was created with."""
        return self._config

    @property
    def wqs(self) -> tuple[WorkQueue, ...]:
        """The queues of the device."""
        return self._wqs

    @property
    def name(self) -> str:
        """The kernel's name where each device has a DSA beside it: iax1, iax3, ..."""
        return f"iax{2 * self.index + 1}"

    def __repr__(self) -> str:
        return (
            f"<Device {self.name} {self.state} on node {self.node}, {len(self.config.engines)} "
            "engines>"
        )

    @property
    def state(self) -> str:
        """One of "disabled", "enabled" and "removed"."""
        return ("disabled", "enabled", "removed")[lib.iaa_device_state(self._iaa, self.index)]

    def enable(self) -> None:
        """Enable the device, also one that was removed. Its queues stay bound as they
        were.
        """
        self._set_state(lib.IDXD_DEV_ENABLED)

    def disable(self) -> None:
        """Disable the device: it aborts its descriptors, and the callers that wait for
        them get EIO.
        """
        self._set_state(lib.IDXD_DEV_DISABLED)

    def remove(self) -> None:
        """Remove the device, which aborts its descriptors as disable() does. The driver
        is not told: the queues stay bound, and their requests fail.
        """
        self._set_state(lib.IDXD_DEV_REMOVED)

    def _set_state(self, state: int) -> None:
        self._open_state.must_be_open()
        if self._with_threads and state == lib.IDXD_DEV_ENABLED:
            with self._lock:
                self._start()
        lib.iaa_device_set_state(self._iaa, self.index, state)

    def stats(self) -> dict[str, int]:
        """Returns the sums of its queues' counters."""
        total = dict.fromkeys((name for name, _ in ffi.typeof("struct iaa_wq_stats").fields), 0)
        for wq in self.wqs:
            for name, value in wq.stats().items():
                total[name] += value
        return total

    def _start(self) -> None:
        """Start the engines' threads that do not run yet: all, or the rest if the
        system had no more threads the last time.
        """
        for engine in range(len(self._threads), len(self.config.engines)):
            # the thread refers to the C driver, not to this object: so the object can
            # be collected, which ends the thread
            thread = threading.Thread(
                target=lib.iaa_engine_run,
                args=(self._iaa, self.index, engine),
                name=f"{self.name}-engine{engine}",
                daemon=True,
            )
            thread.start()
            self._threads.append(thread)
