# SPDX-License-Identifier: GPL-2.0-or-later
"""The accelerator: the iaa_crypto driver over devices that you configure. It is the
compressor `deflate-iaa` while a queue is bound.

    with Accelerator(devices=4) as acc, Zswap(compressor="deflate-iaa") as z:
        ...
        acc.stats()["total_comp_calls"]

In real time the engines are threads. With `clock=VirtualClock()` each job takes the
profile's time, and nothing else takes time. docs/accelerator.md tells which parts are
real, which are modelled, and to which figures the profile is fitted.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import itertools
import os
import threading
import weakref
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from zswap_py import crypto, kernels
from zswap_py._lib.fixed import Owner
from zswap_py._lib.params import kstrtobool, whole
from zswap_py._native import drain_iaa_messages, ffi, lib, oserror, struct_dict
from zswap_py.clock import VirtualClock
from zswap_py.cpuhp import NR_CPUS
from zswap_py.iaa.idxd import (
    IAA,
    IDEAL,
    Device,
    DeviceConfig,
    OpenState,
    Profile,
    WorkQueue,
    WorkQueueConfig,
)
from zswap_py.iaa.plan import OPS, Crc, Delay, Fault, NoAnswer, QueueFull, Remove, Status, Stop

__all__ = [
    "IAA",
    "IDEAL",
    "Accelerator",
    "Crc",
    "Delay",
    "Device",
    "DeviceConfig",
    "Fault",
    "NoAnswer",
    "Profile",
    "QueueFull",
    "Remove",
    "Status",
    "Stop",
    "WorkQueue",
    "WorkQueueConfig",
    "WqTable",
]

MAX_BATCH_SIZE = int(lib.IAA_CRYPTO_MAX_BATCH_SIZE)
SYNC_MODES = ("sync", "async", "async_irq")
SOFTWARE = ("isal", "zlib")
_NONE = 0xFFFFFFFF  # no table

_KINDS = {
    Status: "STATUS",
    Crc: "CRC",
    Delay: "DELAY",
    NoAnswer: "NO_ANSWER",
    QueueFull: "QUEUE_FULL",
    Stop: "STOP",
    Remove: "REMOVE",
}


# ---- which queues serve which CPU ----


@dataclass(frozen=True)
class WqTable:
    """The queues that a CPU's jobs go to, in turn. The second is used first: as in the
    kernel, the cursor moves before it is used.
    """

    comp: tuple[WorkQueue, ...]
    decomp: tuple[WorkQueue, ...]


def _by_device(bound: Iterable[WorkQueue]) -> list[list[WorkQueue]]:
    """Returns the bound queues of each device that has any, devices and queues in
    order.
    """
    ordered = sorted(bound, key=lambda wq: (wq.device.index, wq.number))
    return [list(wqs) for _, wqs in itertools.groupby(ordered, key=lambda wq: wq.device)]


def mainline_tables(bound: Iterable[WorkQueue], nr_cpus: int, nr_nodes: int) -> list[WqTable]:
    """Mainline's rule, a table for each CPU: cpus_per_iaa CPUs of a node after one
    another use one device, whatever its node.
    """
    devices = _by_device(bound)
    tables, iaa = [], -1
    cpus_per_iaa = max(nr_nodes * (nr_cpus // nr_nodes) // len(devices), 1) if devices else 1
    for cpu in range(nr_cpus):
        node = cpu * nr_nodes // nr_cpus
        first = -(-node * nr_cpus // nr_nodes)  # the node's
        iaa += (cpu - first) % cpus_per_iaa == 0
        wqs = (
            tuple(devices[iaa if iaa < len(devices) and len(devices) > 1 else 0]) if devices else ()
        )
        tables.append(WqTable(wqs, wqs))
    return tables


def package_tables(
    bound: Iterable[WorkQueue],
    nr_cpus: int,
    nr_packages: int,
    package_of: Any,
    g_comp_wqs_per_iaa: int,
    distribute_comps: bool,
    distribute_decomps: bool,
) -> list[WqTable]:
    """The series' rule: a CPU is mapped to a device of its package. Jobs that are
    distributed go to all devices of the package in turn.

    A package without a device uses all devices. CPUs of a package with equal tables
    share one table, with one cursor.
    """
    everywhere = _by_device(bound)
    tables: list[WqTable] = []
    for package in range(nr_packages):
        first, last = (-(-p * nr_cpus // nr_packages) for p in (package, package + 1))  # its CPUs
        devices = [wqs for wqs in everywhere if package_of(wqs[0].device) == package] or everywhere
        split = [_split(wqs, g_comp_wqs_per_iaa) for wqs in devices]
        comps, decomps = (tuple(itertools.chain(*(kinds[i] for kinds in split))) for i in (0, 1))
        for cpu in range(last - first):
            mine = split[cpu * len(split) // (last - first)] if split else ((), ())
            tables.append(
                WqTable(
                    comps if distribute_comps else mine[0],
                    decomps if distribute_decomps else mine[1],
                )
            )
    return tables


def _split(
    wqs: Sequence[WorkQueue], g_comp_wqs_per_iaa: int
) -> tuple[tuple[WorkQueue, ...], tuple[WorkQueue, ...]]:
    """Returns a device's queues for compression and for decompression. A device with
    at most g_comp_wqs_per_iaa queues uses all for both.
    """
    if g_comp_wqs_per_iaa == 0 or len(wqs) <= g_comp_wqs_per_iaa:
        return tuple(wqs), tuple(wqs)
    return tuple(wqs[-g_comp_wqs_per_iaa:]), tuple(wqs[:-g_comp_wqs_per_iaa])


# ---- the driver ----


class Accelerator(Owner):
    """Devices, and the driver that makes them the compressor `deflate-iaa`
    (`deflate-iaa:NAME` if there are several).

    `devices` is the number of default devices, or a sequence of DeviceConfigs. `name`
    tells several accelerators of a process apart; plain `deflate-iaa` is the one bound
    first.

    `nr_cpus` (default: this machine's), `nr_packages` and `nr_nodes` (None: one a
    package) describe the machine. CPU c of a Zswap counts as c % nr_cpus. CPUs, nodes
    and packages follow each other in equal shares: CPU c is in package c * nr_packages
    // nr_cpus, node n in n * nr_packages // nr_nodes. Devices are spread over the nodes
    alike. A package without a device uses all devices.

    `series` "v10" (default; "v13" and "v14" are the same) maps CPUs by package and
    batches `batch_size` pages (8). It fails with ENODEV if no descriptor is free after
    all tries, and decompresses in software after any failure. None is mainline before
    the series: it maps CPUs by node, takes one page at a time, waits for a descriptor,
    and decompresses in software only after a bad stream. (Zswap's own `series` says how
    many pages it gives at a time.)

    `clock` None is real time, in which the engines are threads. With a VirtualClock
    `profile` gives the costs. `software`, "isal" or "zlib", does the devices' work
    (None: isal if it is installed).

    Attributes with the driver's names and rules: `sync_mode` and `verify_compress`
    (EBUSY while a queue is bound; they hold for pools made later),
    `g_comp_wqs_per_iaa`, `distribute_comps`, `distribute_decomps`. With `bind=False`
    the devices stay disabled and no queue is bound. `plan` holds faults
    (zswap_py.iaa_plan, which also reads them from JSON).

    In virtual time give each actor a CPU (`cpu=`) and slots of its own. An actor that
    waits for a slot or a context of an actor that sleeps loses its turn, and its call
    fails; see VirtualClock.

    The driver's kernel messages go to Python's logging, in the call that caused them.
    A signal does not interrupt a call that waits for a device; the timeout ends it, and
    so does close() from another thread.
    """

    __slots__ = (
        "__weakref__",
        "_batch_size",
        "_batching",
        "_bound",
        "_clock",
        "_compressor",
        "_devices",
        "_distribute",
        "_finalizer",
        "_g_comp",
        "_iaa",
        "_lock",
        "_name",
        "_nr_cpus",
        "_nr_nodes",
        "_nr_packages",
        "_open_state",
        "_plan",
        "_profile",
        "_series",
        "_software",
        "_sync_mode",
        "_threads",
        "_verify",
    )
    _instead = "make an Accelerator with the same arguments, in each process"

    def __init__(
        self,
        devices: int | Sequence[DeviceConfig] = 1,
        *,
        name: str = "iaa",
        nr_cpus: int | None = None,
        nr_packages: int = 1,
        nr_nodes: int | None = None,
        series: str | None = "v10",
        sync_mode: str | None = None,
        verify_compress: bool | None = None,
        g_comp_wqs_per_iaa: int = 0,
        distribute_comps: bool = True,
        distribute_decomps: bool = False,
        batch_size: int | None = None,
        clock: VirtualClock | None = None,
        profile: Profile = IAA,
        software: str | None = None,
        plan: Sequence[Fault] = (),
        bind: bool = True,
    ) -> None:
        self._open_state = OpenState(name)
        self._lock = threading.RLock()  # queues, tables, attributes; taken before the registry's
        if series not in kernels.SERIES:
            raise ValueError(
                f"series={series!r}: must be one of {', '.join(map(repr, kernels.SERIES))}"
            )
        configs = _configs(devices)
        if clock is not None and not isinstance(clock, VirtualClock):
            raise TypeError(f"clock={clock!r}: must be a VirtualClock, or None for real time")
        if not isinstance(profile, Profile):
            raise TypeError(f"profile={profile!r}: must be a Profile, as IAA and IDEAL are")
        if not isinstance(name, str):
            raise TypeError(f"name={name!r}: must be a str")
        self._nr_cpus = (
            (os.cpu_count() or 1) if nr_cpus is None else whole("nr_cpus", nr_cpus, 1, NR_CPUS)
        )
        self._nr_packages = whole("nr_packages", nr_packages, 1, self.nr_cpus)
        self._nr_nodes = (
            nr_packages if nr_nodes is None else whole("nr_nodes", nr_nodes, 1, self.nr_cpus)
        )
        self._name, self._series, self._clock, self._profile = name, series, clock, profile
        self._batching = series is not None
        most = MAX_BATCH_SIZE if self._batching else 1
        self._batch_size = (
            most if batch_size is None else whole("batch_size", batch_size, 1, MAX_BATCH_SIZE)
        )
        if self._batch_size > most:
            raise ValueError(
                f"batch_size={batch_size}: must be 1 with series=None, which has no batches"
            )
        self._software = _software(software)
        self._bound: list[WorkQueue] = []
        self._plan: tuple[Fault, ...] = ()

        err = ffi.new("int *")
        c_clock = ffi.NULL if clock is None else clock._clock
        generic = crypto.find("deflate:zlib")
        iaa = lib.iaa_create(
            self.software.alg(),
            generic.alg(),
            _c_profile(profile, clock),
            c_clock,
            self.nr_cpus,
            self.nr_nodes,
            err,
        )
        if iaa == ffi.NULL:
            raise oserror(err[0], "cannot create an Accelerator")
        # a pool may hold the compressor for longer than this object lives
        self._iaa = handle = ffi.gc(iaa, lib.iaa_put)
        self._compressor = crypto.DeviceCompressor(
            "deflate-iaa",
            name,
            lambda: lib.iaa_alg(handle),
            self.software.library,
            self.software.library_version,
            self.batch_size,
            lambda: _log_messages(handle),
        )
        threads: list[tuple[int, list[threading.Thread]]] = []
        self._threads = threads
        self._finalizer = weakref.finalize(self, _stop_all, self._iaa, self.compressor, threads)
        self._finalizer.atexit = False  # _close_all() does that
        # register again, so that it runs before Zswap's own: close() there waits for
        # calls that wait for a device
        atexit.unregister(_close_all)
        atexit.register(_close_all)
        _accelerators.add(self)
        try:
            self._sync_mode, self._verify = "sync", False
            self.sync_mode = (
                sync_mode if sync_mode is not None else ("async" if self._batching else "sync")
            )
            self.verify_compress = (
                not self._batching if verify_compress is None else verify_compress
            )
            self._g_comp, self._distribute = 0, (True, False)
            self._set_distribution(g_comp_wqs_per_iaa, distribute_comps, distribute_decomps)
            self._devices = tuple(
                self._add_device(i, len(configs), config) for i, config in enumerate(configs)
            )
            threads.extend((device.index, device._threads) for device in self.devices)
            self.plan = plan
            if kstrtobool(bind, "bind"):
                for device in self.devices:
                    device.enable()
                    for wq in device.wqs:
                        self.bind(wq)
        except BaseException:
            self.close()
            raise

    def __repr__(self) -> str:
        time = "real" if self.clock is None else "virtual"
        devices = (
            "closed"
            if self.closed
            else f"{len(self.devices)} devices, {len(self._bound)} queues bound"
        )
        return f"<Accelerator {self.name}: {devices}, {time} time>"

    def _add_device(self, i: int, nr: int, config: DeviceConfig) -> Device:
        node = i * self.nr_nodes // nr if config.node is None else config.node
        if not 0 <= node < self.nr_nodes:
            raise ValueError(
                f"DeviceConfig(node={node}): must be 0 to {self.nr_nodes - 1}; see nr_nodes="
            )
        return Device(self._iaa, self._open_state, node, config, self.clock is None)

    # ---- arguments ----

    @property
    def name(self) -> str:
        """The name in `deflate-iaa:NAME`."""
        return self._name

    @property
    def series(self) -> str | None:
        """The driver's rules: those of a series; None: mainline's."""
        return self._series

    @property
    def clock(self) -> VirtualClock | None:
        """The virtual clock; None: real time."""
        return self._clock

    @property
    def profile(self) -> Profile:
        """The costs in virtual time."""
        return self._profile

    @property
    def software(self) -> crypto.Compressor:
        """The compressor that does the devices' work. After a device's failure the
        kernel's `deflate` decompresses.
        """
        return self._software

    @property
    def compressor(self) -> crypto.DeviceCompressor:
        """The compressor `deflate-iaa:NAME`."""
        return self._compressor

    @property
    def devices(self) -> tuple[Device, ...]:
        """The devices, in the order of the argument."""
        return self._devices

    @property
    def batch_size(self) -> int:
        """Largest number of pages in a request."""
        return self._batch_size

    @property
    def nr_cpus(self) -> int:
        """Number of CPUs that have tables of their own."""
        return self._nr_cpus

    @property
    def nr_packages(self) -> int:
        """Number of packages, of equal shares of the CPUs."""
        return self._nr_packages

    @property
    def nr_nodes(self) -> int:
        """Number of nodes, of equal shares of the CPUs."""
        return self._nr_nodes

    # ---- close ----

    def __enter__(self) -> Accelerator:
        return self

    def __exit__(
        self, t: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Unbind all queues, abort all descriptors, join the engines' threads. A second
        close() is allowed, and finishes one that was interrupted.

        A pool that uses the compressor stays, and its requests fail with ENODEV. So its
        loads raise EIO. Its stores are rejected, or since Linux 6.18 kept raw, as pages
        that do not compress are.
        """
        with self._lock:
            if self._open_state.in_child:
                return
            # disabled first: a thread that sees `closed` must not store any more
            lib.iaa_set_enabled(self._iaa, False)
            self._open_state.closed = True
            self._bound.clear()
        # without the lock: in virtual time this may wait for an actor that wants it
        _stop_all(self._iaa, self.compressor, self._threads)
        self._finalizer.detach()
        self._drain_messages()
        _accelerators.discard(self)

    @property
    def closed(self) -> bool:
        """True once close() was called."""
        return self._open_state.closed

    def _forked(self) -> None:
        self._lock = threading.RLock()
        self._open_state.closed = self._open_state.in_child = True
        self._finalizer.detach()
        lib.iaa_forked(self._iaa)

    # ---- queues ----

    @property
    def bound(self) -> tuple[WorkQueue, ...]:
        """The queues that are bound to the driver."""
        return tuple(self._bound)

    @property
    def enabled(self) -> bool:
        """False if no queue is bound. A descriptor's timeout also makes it False, until
        the last queue is unbound and one is bound again.
        """
        return bool(lib.iaa_enabled(self._iaa))

    def bind(self, wq: WorkQueue) -> None:
        """Bind a queue to the driver. The first one makes `deflate-iaa` available.

        Raises OSError: EBUSY if the queue is bound, ENXIO if its device is not enabled,
        ENODEV if its driver_name is another driver's.
        """
        with self._lock:
            self._open_state.must_be_open()
            if not isinstance(wq, WorkQueue):
                raise TypeError(f"bind({wq!r}): must be a WorkQueue, as in devices[0].wqs")
            if wq.device not in self.devices:
                raise ValueError(f"bind {wq.name}: it belongs to another accelerator")
            if wq in self._bound:
                raise oserror(-errno.EBUSY, f"bind {wq.name}: it is bound")
            if wq.device.state != "enabled":
                raise oserror(
                    -errno.ENXIO,
                    f"bind {wq.name}: {wq.device.name} is {wq.device.state}; enable() it",
                )
            if wq.config.driver_name != "crypto":
                raise oserror(
                    -errno.ENODEV,
                    f"bind {wq.name}: its driver_name is {wq.config.driver_name!r}, not 'crypto'",
                )
            if not self._bound:
                crypto.bind_accelerator(self.compressor)
                lib.iaa_set_enabled(self._iaa, True)
            self._bound.append(wq)
            self._rebalance()

    def unbind(self, wq: WorkQueue) -> None:
        """Unbind a queue, and wait until all its descriptors are free. The last one
        makes `deflate-iaa` unavailable.

        It also waits for an engine that a Delay of the plan holds, even after an abort.
        Pools that use the compressor stay: their requests fail with ENODEV until a
        queue is bound again. Raises OSError ENODEV if the queue is not bound.
        """
        with self._lock:
            self._open_state.must_be_open()
            if wq not in self._bound:
                raise oserror(-errno.ENODEV, f"unbind {wq.name}: it is not bound")
            self._bound.remove(wq)
            self._rebalance()
            if not self._bound:
                crypto.unbind_accelerator(self.compressor)
                lib.iaa_set_enabled(self._iaa, False)
        while not lib.iaa_wq_drain(self._iaa, wq.device.index, wq.number):
            pass  # each call waits some 20 ms; signals are handled between two calls
        self._drain_messages()

    def table(self, cpu: int) -> WqTable:
        """Returns the queues of a CPU."""
        if not 0 <= cpu < self.nr_cpus:
            raise ValueError(f"table({cpu}): must be a CPU, 0 to {self.nr_cpus - 1}")
        return self._tables()[cpu]

    def _tables(self) -> list[WqTable]:
        if not self._batching:
            return mainline_tables(self._bound, self.nr_cpus, self.nr_nodes)
        return package_tables(
            self._bound,
            self.nr_cpus,
            self.nr_packages,
            lambda d: d.node * self.nr_packages // self.nr_nodes,
            self._g_comp,
            *self._distribute,
        )

    def _rebalance(self) -> None:
        """Set new tables, with all cursors at their start. By the series' rule equal
        tables are one table, with one cursor.
        """
        lists: list[tuple[WorkQueue, ...]] = []
        known: dict[Any, int] = {}

        def number(wqs: tuple[WorkQueue, ...], key: Any) -> int:
            if not wqs:
                return _NONE
            if key not in known:
                known[key] = len(lists)
                lists.append(wqs)
            return known[key]

        comp, decomp = (
            ffi.new("unsigned int[]", self.nr_cpus),
            ffi.new("unsigned int[]", self.nr_cpus),
        )
        for cpu, table in enumerate(self._tables()):
            comp[cpu] = number(table.comp, ("c", table.comp) if self._batching else cpu)
            decomp[cpu] = number(table.decomp, ("d", table.decomp) if self._batching else cpu)
        start = [0, *itertools.accumulate(map(len, lists))]
        wqs = [wq.device.index << 8 | wq.number for wq in itertools.chain(*lists)]
        rc = lib.iaa_set_tables(self._iaa, len(lists), start, wqs or ffi.NULL, comp, decomp)
        if rc:
            raise oserror(rc, "cannot set the wq tables")

    # ---- attributes ----

    def _must_be_disabled(self, setting: str) -> None:
        self._open_state.must_be_open()
        if self._bound:
            raise oserror(
                -errno.EBUSY, f"{setting}: unbind all queues first, {len(self._bound)} are bound"
            )

    def _set_mode(self, sync_mode: str, verify: bool) -> None:
        mode = ffi.new("struct iaa_mode *")
        mode.sync_mode = SYNC_MODES.index(sync_mode)
        mode.verify_compress = verify
        mode.any_failure = self._batching
        # v10 4/25; mainline sleeps until a descriptor is free
        mode.comp_tries, mode.decomp_tries = (1000, 500) if self._batching else (0, 0)
        lib.iaa_set_mode(self._iaa, mode)
        self._sync_mode, self._verify = sync_mode, verify

    @property
    def sync_mode(self) -> str:
        """One of "sync", "async" and "async_irq". In "async" a batch polls after its
        last page is submitted; mainline has no batches, so there it is like "sync".
        """
        return self._sync_mode

    @sync_mode.setter
    def sync_mode(self, value: str) -> None:
        with self._lock:
            self._must_be_disabled(f"sync_mode={value!r}")
            if value not in SYNC_MODES:
                raise oserror(
                    -errno.EINVAL, f"sync_mode={value!r}: must be one of {', '.join(SYNC_MODES)}"
                )
            self._set_mode(value, self._verify)

    @property
    def verify_compress(self) -> bool:
        """True if the device decompresses each result again, and the driver compares
        the crc.
        """
        return self._verify

    @verify_compress.setter
    def verify_compress(self, value: bool) -> None:
        with self._lock:
            self._must_be_disabled(f"verify_compress={value!r}")
            self._set_mode(self._sync_mode, kstrtobool(value, "verify_compress"))

    def _set_distribution(self, g_comp: int, comps: bool, decomps: bool) -> None:
        with self._lock:
            self._open_state.must_be_open()
            g_comp = whole("g_comp_wqs_per_iaa", g_comp, 0, lib.IDXD_MAX_WQS)
            comps = kstrtobool(comps, "distribute_comps")
            decomps = kstrtobool(decomps, "distribute_decomps")
            if not self._batching and (g_comp, comps, decomps) != (0, True, False):
                raise ValueError(
                    "g_comp_wqs_per_iaa, distribute_comps, distribute_decomps: must keep their "
                    "defaults with series=None"
                )
            self._g_comp, self._distribute = g_comp, (comps, decomps)
            if self._bound:
                self._rebalance()

    @property
    def g_comp_wqs_per_iaa(self) -> int:
        """Number of queues, a device's last ones, that only compress; the others only
        decompress. 0, or a device with no more queues: all do both.
        """
        return self._g_comp

    @g_comp_wqs_per_iaa.setter
    def g_comp_wqs_per_iaa(self, value: int) -> None:
        self._set_distribution(value, *self._distribute)

    @property
    def distribute_comps(self) -> bool:
        """True if compressions go to all devices of a package in turn, else to the
        CPU's own.
        """
        return self._distribute[0]

    @distribute_comps.setter
    def distribute_comps(self, value: bool) -> None:
        self._set_distribution(self._g_comp, value, self._distribute[1])

    @property
    def distribute_decomps(self) -> bool:
        """Like distribute_comps, for decompressions."""
        return self._distribute[1]

    @distribute_decomps.setter
    def distribute_decomps(self, value: bool) -> None:
        self._set_distribution(self._g_comp, self._distribute[0], value)

    # ---- faults ----

    @property
    def plan(self) -> tuple[Fault, ...]:
        """The fault plan. Setting it counts descriptors from 0 again; () removes all
        faults.
        """
        return self._plan

    @plan.setter
    def plan(self, faults: Sequence[Fault]) -> None:
        with self._lock:
            self._open_state.must_be_open()
            if isinstance(faults, Fault) or not isinstance(faults, Iterable):
                raise TypeError(f"plan={faults!r}: must be a sequence of faults")
            faults = tuple(faults)
            rows = ffi.new("struct idxd_fault[]", max(len(faults), 1))
            for row, fault in zip(rows, faults, strict=False):
                self._fill_fault(row, fault)
            rc = lib.iaa_set_plan(self._iaa, rows, len(faults))
            if rc:
                raise oserror(rc, f"a plan of {len(faults)} faults: must have at most 256")
            self._plan = faults

    def _fill_fault(self, row: Any, fault: Fault) -> None:
        if type(fault) not in _KINDS:
            raise TypeError(
                f"{fault!r}: must be one of {', '.join(kind.__name__ for kind in _KINDS)}"
            )
        if fault.device is not None and fault.device >= len(self.devices):
            raise ValueError(f"{fault!r}: there are {len(self.devices)} devices, from 0")
        on = self.devices if fault.device is None else self.devices[fault.device : fault.device + 1]
        if fault.wq is not None and all(fault.wq >= len(device.wqs) for device in on):
            raise ValueError(f"{fault!r}: no device that it matches has a queue {fault.wq}")
        row.kind = getattr(lib, f"IDXD_FAULT_{_KINDS[type(fault)]}")
        row.device = -1 if fault.device is None else fault.device
        row.wq = -1 if fault.wq is None else fault.wq
        row.opcode = OPS[fault.op]
        row.nth, row.times = fault.nth, fault.times
        for name in ("status", "error_code", "ns"):
            setattr(row, name, getattr(fault, name, 0))

    @property
    def plan_hits(self) -> tuple[int, ...]:
        """Number of hits of each fault of the plan."""
        self._open_state.must_be_mine()
        return tuple(int(lib.iaa_plan_hits(self._iaa, i)) for i in range(len(self._plan)))

    # ---- debugfs ----

    def stats(self) -> dict[str, int]:
        """Returns the counters of global_stats, with the kernel's names. Devices and
        queues have their own: `devices[0].stats()`.

        total_no_wq_errors is zswap_py's own: requests that no queue took, because none
        is bound, a timeout has disabled the driver, or the queue's device is not
        enabled.
        """
        self._open_state.must_be_mine()
        self._drain_messages()
        c = ffi.new("struct iaa_stats *")
        lib.iaa_get_stats(self._iaa, c)
        return struct_dict(c)

    def stats_reset(self) -> None:
        """Set all counters to 0, those of devices and queues too."""
        self._open_state.must_be_mine()
        lib.iaa_stats_reset(self._iaa)

    def _drain_messages(self) -> None:
        _log_messages(self._iaa)


def _configs(devices: int | Sequence[DeviceConfig]) -> list[DeviceConfig]:
    if isinstance(devices, int):
        return [DeviceConfig()] * whole("devices", devices, 1, lib.IAA_MAX_DEVICES)
    if not isinstance(devices, Sequence) or not all(
        isinstance(config, DeviceConfig) for config in devices
    ):
        raise TypeError(f"devices={devices!r}: must be an int, or a sequence of DeviceConfig")
    whole("len(devices)", len(devices), 1, lib.IAA_MAX_DEVICES)
    return list(devices)


def _software(backend: str | None) -> crypto.Compressor:
    if backend not in (None, *SOFTWARE):
        raise ValueError(f"software={backend!r}: must be {', '.join(map(repr, SOFTWARE))} or None")
    if backend is not None:
        return crypto.find(f"deflate-iaa:{backend}")
    try:
        return crypto.find("deflate-iaa:isal")
    except OSError:
        return crypto.find("deflate-iaa:zlib")


def _c_profile(profile: Profile, clock: VirtualClock | None) -> Any:
    c = ffi.new("struct idxd_profile *")
    for name, _ in ffi.typeof("struct idxd_profile").fields:
        if name not in ("jitter", "seed"):
            setattr(c, name, getattr(profile, name))
    c.jitter = round(profile.jitter * 1000)
    c.seed = 0 if clock is None else clock.seed & (1 << 64) - 1
    return c


# ---- all accelerators of the process ----

_accelerators: weakref.WeakSet[Accelerator] = weakref.WeakSet()
_exiting = False


def _log_messages(iaa: Any) -> None:
    """Log the driver's messages, but not at the interpreter's exit: then they are of
    requests of threads that it leaves behind.
    """
    if not _exiting:
        drain_iaa_messages(iaa)


def _stop_all(
    iaa: Any, compressor: crypto.DeviceCompressor, devices: list[tuple[int, list[threading.Thread]]]
) -> None:
    with contextlib.suppress(ValueError):  # no queue is bound
        crypto.unbind_accelerator(compressor)
    lib.iaa_set_enabled(iaa, False)
    for index, _ in devices:
        lib.iaa_device_stop(iaa, index)
    for _, threads in devices:
        for thread in list(threads):
            thread.join()


def _close_all() -> None:
    global _exiting  # noqa: PLW0603  # there is one interpreter
    _exiting = True
    for accelerator in list(_accelerators):
        accelerator.close()


def _after_fork_in_child() -> None:
    for accelerator in list(_accelerators):
        accelerator._forked()
    _accelerators.clear()


os.register_at_fork(after_in_child=_after_fork_in_child)
