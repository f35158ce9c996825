# SPDX-License-Identifier: GPL-2.0-or-later
"""Zswap: one simulated machine's parameters, pages and counters."""

from __future__ import annotations

import atexit
import errno
import itertools
import os
import reprlib
import threading
import weakref
from collections.abc import Iterable
from types import TracebackType
from typing import Any

from zswap_py import crypto, kernels
from zswap_py._lib.fixed import Fixed, Owner
from zswap_py._lib.params import buffer, index, kstrtobool, kstrtouint, no_buffer, share, whole
from zswap_py._native import check, drain_messages, ffi, lib, oserror, string, strings, struct_dict
from zswap_py.cpuhp import NR_CPUS, CpuHotplug
from zswap_py.faults import Faults
from zswap_py.pool import Pool, Pools

SWP_TYPE_SHIFT = 58
# looked up once: the look-ups would add to the time of a store of one page
_from_buffer = ffi.from_buffer
_store, _load, _load_batch, _page_size = (
    lib.zswap_store,
    lib.zswap_load,
    lib.zswap_load_batch,
    lib.zswap_page_size,
)
_ENOENT = -errno.ENOENT
MAX_FOLIO = int(lib.ZSWAP_MAX_FOLIO)

_REASONS = (
    None,
    "pool_limit_hit",
    "reject_alloc_fail",
    "reject_kmemcache_fail",
    "reject_compress_fail",
    "reject_compress_poor",
    "disabled",
    "no_pool",
    "large_folio",
)


class StoreResult(Fixed):
    """The result of Zswap.store(): true only if the whole folio is stored.

    `reason` is then None. For a rejected folio it names the counter that was
    incremented, such as "reject_compress_poor", or is "disabled", "no_pool" or
    "large_folio" (up to Linux 6.12), which have no counter. Between the limit and the
    accept threshold it is "pool_limit_hit", and no counter is incremented.
    """

    __slots__ = ("_reason",)

    def __init__(self, reason: str | None) -> None:
        if reason not in _REASONS:
            raise ValueError(f"reason={reason!r}: must be one of {', '.join(map(repr, _REASONS))}")
        self._reason = reason

    @property
    def reason(self) -> str | None:
        """Why zswap rejected the folio; None if it is stored."""
        return self._reason

    def __bool__(self) -> bool:
        return self._reason is None

    def __eq__(self, other: object) -> bool:
        if isinstance(other, StoreResult):
            return self._reason == other._reason
        if isinstance(other, (bool, int, str)):
            raise TypeError(
                f"{self!r} == {other!r}: a StoreResult does not compare with bool, int or str; "
                "write `if result:`, or compare result.reason"
            )
        return NotImplemented

    def __hash__(self) -> int:
        return hash(self._reason)

    def __reduce__(self) -> tuple[type[StoreResult], tuple[str | None]]:
        return StoreResult, (self._reason,)

    def __repr__(self) -> str:
        return "StoreResult(stored)" if self._reason is None else f"StoreResult({self._reason})"


#: The rules that the C library has, by the names of zswap_config's fields.
_RULES_OF_C = (
    "small_folios_only",
    "sg_reads",
    "buffer_pages",
    "dead_frees",
    "max_batch",
    "sequential_batch",
)

_RESULTS = tuple(StoreResult(reason) for reason in _REASONS)


def swp_entry(type: int, offset: int) -> int:
    """Returns the swap entry of slot `offset` (0 to 2^58 - 1) of swap type 0 to 31.

    An entry of type 0 equals its offset. Raises ValueError outside of these ranges.
    """
    type, offset = index("type", type), index("offset", offset)
    if not 0 <= type < 32 or not 0 <= offset < 1 << SWP_TYPE_SHIFT:
        raise ValueError(
            f"swp_entry({type}, {offset}): type must be 0 to 31, offset 0 to 2^{SWP_TYPE_SHIFT} - 1"
        )
    return type << SWP_TYPE_SHIFT | offset


def total_ram_bytes() -> int:
    """Returns this machine's MemTotal in bytes."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


class Zswap(Owner):
    """zswap on one simulated machine.

    A process may have any number of instances. Every method may be called from any
    thread.

    Kernel parameters, with the kernel's names and checks; each is also a property that
    may be set later:
     - `enabled`: stores are accepted
     - `compressor`: "name" or "name:backend"
     - `max_pool_percent`: the pools' limit, in percent of total_ram
     - `accept_threshold_percent`: in percent of that limit

    The machine:
     - `page_size`: 4096, 16384 or 65536 bytes
     - `chain_size`: CONFIG_ZSMALLOC_CHAIN_SIZE, 4 to 16
     - `total_ram`: in bytes (default: this machine's)
     - `nr_cpus`: possible CPUs (default: this machine's), all online
     - `nr_nodes`: NUMA nodes, at most nr_cpus
     - `highmem`: share of memory that a compressor cannot address, 0 to 1
     - `cpuhp`: a CpuHotplug to use in place of nr_cpus

    The model:
     - `kernel`: the release, one of kernels.KERNELS, or a stable one such as "6.12.109"
     - `series`: the batching series' version, "v10", "v13", "v14" or None (before it)
     - `incompressible`: "store" or "reject" (default: as `kernel` does)
     - `cpu_policy`: "sticky" gives each thread a CPU, round robin; "sched" takes the
       CPU that the thread runs on

    kernels.TABLE lists the differences between kernels and series. Everything but the
    kernel parameters is fixed at creation. Setting an unknown attribute raises
    AttributeError; a subclass may add attributes.
    """

    __slots__ = (
        "__weakref__",
        "_chain_size",
        "_closed",
        "_closing",
        "_compressor",
        "_cpu_policy",
        "_cpuhp",
        "_devices",
        "_faults",
        "_finalizer",
        "_highmem",
        "_incompressible",
        "_is_closing",
        "_kernel",
        "_local",
        "_nr_nodes",
        "_pools",
        "_released",
        "_rules",
        "_series",
        "_total_ram",
        "_turn",
        "_z",
    )
    _instead = "make a Zswap with the same arguments, in each process, and store the pages there"

    def __init__(
        self,
        compressor: str = "lzo",
        *,
        enabled: bool | int | str = True,
        max_pool_percent: int | str = 20,
        accept_threshold_percent: int | str = 90,
        page_size: int = 4096,
        chain_size: int = 8,
        total_ram: int | None = None,
        nr_cpus: int | None = None,
        nr_nodes: int = 1,
        highmem: float = 0.0,
        cpuhp: CpuHotplug | None = None,
        incompressible: str | None = None,
        kernel: str = "6.18",
        series: str | None = "v10",
        cpu_policy: str = "sticky",
    ) -> None:
        self._rules = kernels.rules(kernel, series)
        self._kernel, self._series = kernel, series
        self._incompressible: str = (
            self._rules["incompressible"] if incompressible is None else incompressible
        )
        if self._incompressible not in ("store", "reject"):
            raise ValueError(f"incompressible={incompressible!r}: must be 'store' or 'reject'")
        if cpu_policy not in ("sticky", "sched"):
            raise ValueError(f"cpu_policy={cpu_policy!r}: must be 'sticky' or 'sched'")
        page_size = index("page_size", page_size)
        if page_size not in (4096, 16384, 65536):
            raise ValueError(f"page_size={page_size}: must be 4096, 16384 or 65536 bytes")
        self._chain_size = whole("chain_size", chain_size, 4, 16)
        self._highmem = share("highmem", highmem)
        if not 0 <= self._highmem <= 1 or 0 < self._highmem < 0.001:
            raise ValueError(f"highmem={highmem}: must be 0, or a share from 0.001 to 1")
        self._total_ram = total_ram_bytes() if total_ram is None else index("total_ram", total_ram)
        if not page_size <= self._total_ram < 1 << 56:
            raise ValueError(
                f"total_ram={total_ram}: must be {page_size} (one page) to 2^56 - 1 bytes"
            )
        if nr_cpus is not None:
            nr_cpus = whole("nr_cpus", nr_cpus, 1, NR_CPUS)
        if cpuhp is None:
            cpuhp = CpuHotplug((os.cpu_count() or 1) if nr_cpus is None else nr_cpus)
        elif not isinstance(cpuhp, CpuHotplug):
            raise TypeError(f"cpuhp={cpuhp!r}: must be a CpuHotplug, or None")
        elif nr_cpus not in (None, cpuhp.nr_cpus):
            raise ValueError(f"nr_cpus={nr_cpus}: cpuhp has {cpuhp.nr_cpus} CPUs; omit nr_cpus")
        self._nr_nodes = index("nr_nodes", nr_nodes)
        if not 1 <= self._nr_nodes <= min(cpuhp.nr_cpus, 255):
            raise ValueError(
                f"nr_nodes={nr_nodes}: must be 1 to nr_cpus ({cpuhp.nr_cpus}), at most 255"
            )
        self._cpuhp = cpuhp
        self._cpu_policy = cpu_policy
        self._local = _Local()
        self._turn = itertools.count()
        self._closed = self._released = self._is_closing = False
        self._closing = threading.RLock()  # before all other locks
        chosen = crypto.find(compressor)

        config = ffi.new("struct zswap_config *")
        config.page_shift = page_size.bit_length() - 1
        config.chain_size = self._chain_size
        config.nr_cpus, config.nr_nodes = cpuhp.nr_cpus, self._nr_nodes
        config.highmem = round(highmem * 1000)
        config.totalram_pages = self._total_ram // page_size
        config.store_incompressible = self._incompressible == "store"
        config.check_dlen = self._rules["check_dlen"] or self._incompressible == "store"
        for name in _RULES_OF_C:
            setattr(config, name, self._rules[name])
        err = ffi.new("int *")
        z = lib.zswap_create(config, err)
        if z == ffi.NULL:
            raise oserror(err[0], "cannot create a Zswap")
        self._z = ffi.gc(z, lib.zswap_destroy)
        # wakes the release worker of an instance that is collected without close(): the
        # worker holds the C instance while it sleeps there
        self._finalizer = weakref.finalize(self, lib.zswap_shutdown, self._z)
        self._finalizer.atexit = False  # _close_all() does it
        self._faults = Faults(self._z, cpuhp.nr_cpus)
        self._pools = Pools(self._z, cpuhp, self._rules)
        # their drivers may log messages in a call
        self._devices: tuple[crypto.DeviceCompressor, ...] = ()
        _instances.add(self)
        try:
            self.enabled = enabled
            self.max_pool_percent = max_pool_percent
            self.accept_threshold_percent = accept_threshold_percent
            self._switch(chosen, compressor.strip())
        except BaseException:
            self.close()
            raise
        self._compressor = compressor.strip()

    # ---- lifetime ----

    def __enter__(self) -> Zswap:
        return self

    def __exit__(
        self, t: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Waits for running calls, then frees all pages, pools and swap files.

        Later calls raise ValueError. A second close() does nothing, or resumes one that
        an exception interrupted.

        Raises OSError EDEADLK, and changes nothing, when called from a compressor of
        this Zswap, or from a signal handler or `__del__` that interrupted a change of
        the compressor.
        """
        if lib.zswap_inside(self._z):
            check(-errno.EDEADLK, "close()")
        with self._closing:
            # _is_closing: by this thread, in the call that this one interrupted
            if self._released or self._is_closing:
                return
            self._is_closing = True
            try:
                self._pools.must_not_change("close()")
                check(lib.zswap_shutdown(self._z), "close()")
                self._closed = True
                self._finalizer.detach()
                self._pools.close()
                drain_messages(self._z)
                # The instance itself is freed with the last reference to it: a thread
                # that calls in later gets -ESHUTDOWN.
                lib.zswap_release(self._z)
                self._released = True
                _instances.discard(self)
            finally:
                self._is_closing = False

    def _forked(self) -> None:
        self._closing = threading.RLock()
        self._closed = self._released = True
        self._finalizer.detach()
        self._pools.forked()
        self._devices = ()
        lib.zswap_forked(self._z)

    @property
    def closed(self) -> bool:
        """True once close() has shut the instance down, and in a forked child."""
        return self._closed

    # ---- fixed at creation ----

    @property
    def page_size(self) -> int:
        """The size of a page in bytes."""
        return int(_page_size(self._z))

    @property
    def chain_size(self) -> int:
        """The most pages in a zspage: CONFIG_ZSMALLOC_CHAIN_SIZE."""
        return self._chain_size

    @property
    def total_ram(self) -> int:
        """The machine's memory in bytes."""
        return self._total_ram

    @property
    def highmem(self) -> float:
        """The share of memory that a compressor cannot address, 0 to 1."""
        return self._highmem

    @property
    def cpuhp(self) -> CpuHotplug:
        """The machine's CPUs."""
        return self._cpuhp

    @property
    def nr_cpus(self) -> int:
        """The number of possible CPUs."""
        return self._cpuhp.nr_cpus

    @property
    def nr_nodes(self) -> int:
        """The number of NUMA nodes, which share the CPUs equally."""
        return self._nr_nodes

    @property
    def cpu_policy(self) -> str:
        """How a thread gets its CPU: "sticky" or "sched"."""
        return self._cpu_policy

    @property
    def incompressible(self) -> str:
        """How zswap treats a page that does not shrink: "store" or "reject"."""
        return self._incompressible

    @property
    def kernel(self) -> str:
        """The kernel release that is modelled, such as "6.18"."""
        return self._kernel

    @property
    def series(self) -> str | None:
        """The batching series' version: "v10", "v13", "v14" or None (before it)."""
        return self._series

    @property
    def faults(self) -> Faults:
        """Faults on demand."""
        return self._faults

    # ---- parameters ----

    def _must_be_open(self) -> None:
        if self._closed:
            raise ValueError("this Zswap is closed")

    def _set(self, param: int, value: int) -> None:
        self._must_be_open()
        lib.zswap_set_param(self._z, param, value)

    @property
    def enabled(self) -> bool:
        """Whether zswap accepts stores.

        While False, a store is rejected and still erases the entries of its slots;
        other entries stay and can be loaded.
        """
        return bool(lib.zswap_get_param(self._z, lib.ZSWAP_ENABLED))

    @enabled.setter
    def enabled(self, value: bool | int | str) -> None:
        self._set(lib.ZSWAP_ENABLED, kstrtobool(value, "enabled"))

    @property
    def max_pool_percent(self) -> int:
        """The pools' limit in percent of total_ram, checked before each store.

        Values above 100 are accepted, as in the kernel.
        """
        return int(lib.zswap_get_param(self._z, lib.ZSWAP_MAX_POOL_PERCENT))

    @max_pool_percent.setter
    def max_pool_percent(self, value: int | str) -> None:
        self._set(lib.ZSWAP_MAX_POOL_PERCENT, kstrtouint(value, "max_pool_percent"))

    @property
    def accept_threshold_percent(self) -> int:
        """The pools' size, in percent of the limit, at or below which stores are
        accepted again after the limit was hit.
        """
        return int(lib.zswap_get_param(self._z, lib.ZSWAP_ACCEPT_THRESHOLD_PERCENT))

    @accept_threshold_percent.setter
    def accept_threshold_percent(self, value: int | str) -> None:
        self._set(lib.ZSWAP_ACCEPT_THRESHOLD_PERCENT, kstrtouint(value, "accept_threshold_percent"))

    @property
    def compressor(self) -> str:
        """The current compressor, as it was set.

        A new value takes effect at the next store; stored pages are not recompressed.
        Setting it raises OSError ENOENT if the compressor is not available, or the
        error that creating its pool failed with. The old compressor then stays current.
        """
        return self._compressor

    @compressor.setter
    def compressor(self, value: str) -> None:
        self._must_be_open()
        self._switch(crypto.find(value), value.strip())
        self._compressor = value.strip()

    def _switch(self, compressor: crypto.Compressor, name: str) -> None:
        self._pools.switch(compressor, name)
        used = (pool.compressor for pool in self._pools.all)
        self._devices = tuple(
            dict.fromkeys(c for c in used if isinstance(c, crypto.DeviceCompressor))
        )

    @property
    def pool(self) -> Pool:
        """The current pool."""
        pool = self._pools.current
        if pool is None:
            raise ValueError("this Zswap is closed")
        return pool

    @property
    def pools(self) -> tuple[Pool, ...]:
        """All pools: the current one, then the decommissioned ones, latest first.

        A decommissioned pool still holds entries, or is being released.
        """
        return self._pools.all

    # ---- swap files ----

    def swapon(self, pages: int) -> int:
        """Adds a swap file with slots 0 to `pages` - 1. Returns its swap type.

        The first swap file's type is 0. `pages` is 1 to 2^58 - 1, else ValueError.
        Raises OSError EPERM while all 32 types are in use, ENOMEM without memory.
        """
        pages = whole("pages", pages, 1, (1 << SWP_TYPE_SHIFT) - 1, of="swapon")
        return check(lib.zswap_swapon(self._z, pages), f"swapon(pages={pages})")

    def swapoff(self, type: int) -> None:
        """Frees a swap file's entries, then the swap file.

        Waits for running calls. Raises ValueError if there is no such swap type.
        """
        type = index("type", type)
        rc = lib.zswap_swapoff(self._z, type) if 0 <= type < 1 << 32 else -errno.EBADSLT
        if rc == -errno.EBADSLT:
            raise ValueError(f"swapoff({type}): no such swap type; pass one that swapon() returned")
        check(rc, f"swapoff({type})")

    # ---- pages ----

    def _cpu(self) -> int:
        """Returns the calling thread's CPU by cpu_policy, an online one."""
        me: _Thread = self._local.me
        online = self._cpuhp._online_cpus  # a new tuple for each change
        if me.online is online:
            return me.cpu
        if self._cpu_policy == "sched":
            return online[_sched_getcpu() % len(online)]
        if me.cpu < 0:
            me.cpu = online[next(self._turn) % len(online)]
        elif me.cpu not in online:
            me.cpu = min((c for c in online if c > me.cpu), default=online[0])
        me.online = online
        return me.cpu

    def _on(self, cpu: int | None) -> int:
        """Returns `cpu` as an int, or the thread's own CPU for None."""
        return self._cpu() if cpu is None else index("cpu", cpu)

    def _bad_number(self, entry: object, cpu: int | None = None) -> ValueError:
        """Returns the error for an entry or a CPU that does not fit C's type."""
        nr_cpus = self._cpuhp.nr_cpus
        if cpu is not None and not 0 <= cpu < nr_cpus:
            return ValueError(f"cpu={cpu}: must be 0 to {nr_cpus - 1} (nr_cpus={nr_cpus})")
        return ValueError(
            f"entry {reprlib.repr(entry)}: must be 0 to 2^64 - 1; make it with swp_entry()"
        )

    def _failed(self, rc: int, what: str, cpu: int | None = None) -> None:
        """Raises the exception of the Python compressor that the call ran, else the
        one for its result `rc`.
        """
        drain_messages(self._z)
        self._log_devices()
        crypto.reraise()
        if rc == -errno.EINVAL and cpu is not None and cpu >= self._cpuhp.nr_cpus:
            raise self._bad_number(None, cpu)
        check(rc, what)

    def _log_devices(self) -> None:
        for device in self._devices:
            device.log_messages()

    def store(self, entry: int, folio: Any, *, cpu: int | None = None) -> StoreResult:
        """Compresses and stores a folio in slots `entry`, `entry` + 1, ...

        `folio` is a contiguous buffer of 1 to 512 whole pages. If the result is false,
        zswap holds none of the folio's slots any more, and the caller keeps the data
        (SwapDevice writes it to its file). `cpu` is the CPU to run on (default: the
        thread's).

        Raises OSError ENODEV if the CPU has no context; zswap then holds none of the
        slots either. Raises ValueError for a slot outside of all swap files.
        """
        if type(entry) is not int:
            entry = index("entry", entry)
        on = self._cpu() if cpu is None else self._on(cpu)
        try:
            buf = _from_buffer("uint8_t[]", folio)
        except (TypeError, BufferError) as e:
            raise no_buffer("folio", folio, e) from None
        try:
            nr, rest = divmod(len(buf), _page_size(self._z))
            if rest or not 0 < nr <= MAX_FOLIO:
                raise ValueError(
                    f"folio has {len(buf)} bytes: must be 1 to {MAX_FOLIO} whole pages "
                    f"of {self.page_size}"
                )
            rc: int = _store(self._z, on, entry, buf, nr)
        except OverflowError:
            raise self._bad_number(entry, on) from None
        finally:
            del buf  # a traceback that keeps a buffer of a memoryview crashes the collector
        if rc or crypto.raised.exception is not None:
            self._failed(rc, f"store(entry={entry}, {nr} pages)", on)
        elif self._devices:
            self._log_devices()
        return _RESULTS[rc]

    def load(self, entry: int, out: Any, *, swapcache: bool = True, cpu: int | None = None) -> bool:
        """Decompresses a slot's page into `out`. Returns False if there is none.

        `out` is a writable contiguous buffer of one page. Loads are exclusive: the page
        then leaves zswap. With swapcache=False it stays: the folio is outside the swap
        cache, as on a SWP_SYNCHRONOUS_IO device up to Linux 6.18.

        Raises OSError EIO if the object is corrupt, which stays stored (up to 6.14 the
        kernel crashes). Raises EINVAL if `out` is a folio of several pages, ENODEV if
        the CPU has no context. Raises ValueError for a slot outside of all swap files.
        """
        if type(entry) is not int:
            entry = index("entry", entry)
        on = self._cpu() if cpu is None else self._on(cpu)
        if swapcache is not True and swapcache is not False:
            swapcache = kstrtobool(swapcache, "swapcache")
        try:
            buf = _from_buffer("uint8_t[]", out, True)
        except (TypeError, BufferError) as e:
            raise no_buffer("out", out, e) from None
        try:
            nr, rest = divmod(len(buf), _page_size(self._z))
            if rest or not nr:
                raise ValueError(f"out has {len(buf)} bytes: must be a page of {self.page_size}")
            rc = _load(self._z, on, entry, buf, nr, swapcache)
        except OverflowError:
            raise self._bad_number(entry, on) from None
        finally:
            del buf
        if not rc:
            if self._devices:
                self._log_devices()
            return True
        if rc != _ENOENT:
            what = (
                f"load(entry={entry}, {nr} pages): pass a buffer of one page"
                if nr > 1
                else f"load(entry={entry})"
            )
            self._failed(rc, what, on)
        return False

    def peek(self, entry: int, out: Any, *, cpu: int | None = None) -> bool:
        """Decompresses a slot's page into `out` as load() does; the page stays stored.

        No event is counted. A corrupt object increments decompress_fail and raises
        OSError EIO.
        """
        if type(entry) is not int:
            entry = index("entry", entry)
        on = self._cpu() if cpu is None else self._on(cpu)
        buf = buffer("out", out, True)
        try:
            if len(buf) != _page_size(self._z):
                raise ValueError(f"out has {len(buf)} bytes: must be a page of {self.page_size}")
            rc = lib.zswap_peek(self._z, on, entry, buf)
        except OverflowError:
            raise self._bad_number(entry, on) from None
        finally:
            del buf
        if not rc:
            if self._devices:
                self._log_devices()
            return True
        if rc != _ENOENT:
            self._failed(rc, f"peek(entry={entry})", on)
        return False

    def load_batch(self, entries: Iterable[int], out: Any, *, cpu: int | None = None) -> list[int]:
        """Loads entries[i] into the i-th page of `out`. Returns each one's 0 or -errno.

        `out` is a writable contiguous buffer of len(entries) pages; the entries may be
        in any order. Up to pool.compr_batch_size objects make one request to the
        compressor. -ENOENT: zswap does not hold the slot; -EIO: the object is corrupt.

        Raises ValueError for an entry outside of all swap files, after it has loaded
        the others.
        """
        try:
            entries = [
                entry if type(entry) is int else index("entries", entry) for entry in entries
            ]
        except TypeError:
            raise TypeError(f"entries={reprlib.repr(entries)}: must be ints") from None
        n, on = len(entries), self._cpu() if cpu is None else self._on(cpu)
        me: _Thread = self._local.me
        arguments = me.take(n)
        swp, ret = arguments.swp, arguments.ret
        try:
            buf = _from_buffer("uint8_t[]", out, True)
        except (TypeError, BufferError) as e:
            raise no_buffer("out", out, e) from None
        try:
            if len(buf) != n * _page_size(self._z):
                raise ValueError(f"out has {len(buf)} bytes: must be {n} pages of {self.page_size}")
            swp[0:n] = entries
            rc = _load_batch(self._z, on, swp, n, buf, ret)
            results: list[int] = [0] * n if not rc else ffi.unpack(ret, n) if rc > 0 else []
        except OverflowError:
            raise self._bad_number(entries, on) from None
        finally:
            del buf
            me.spare[:] = [arguments]
        if not rc:
            if self._devices:
                self._log_devices()
            return results
        if -errno.EBADSLT in results:
            self._failed(
                -errno.EBADSLT, f"load_batch: entry {entries[results.index(-errno.EBADSLT)]}"
            )
        self._failed(rc, f"load_batch({n} entries)", on)
        return results

    def invalidate(self, entry: int, nr: int = 1, *, cpu: int | None = None) -> None:
        """Frees the pages of slots `entry` to `entry` + `nr` - 1, if there are any."""
        entry, on = index("entry", entry), self._on(cpu)
        nr = whole("nr", nr, 0, (1 << 64) - 1, of="invalidate")
        try:
            rc = lib.zswap_invalidate(self._z, on, entry, nr)
        except OverflowError:
            raise self._bad_number(entry, on) from None
        if rc:
            self._failed(rc, f"invalidate(entry={entry}, nr={nr})", on)

    def __contains__(self, entry: object) -> bool:
        try:
            number = index("entry", entry)
        except TypeError:
            return False
        if not 0 <= number < 1 << 64:
            return False
        rc = lib.zswap_contains(self._z, self._cpu(), number)
        return False if rc == -errno.EBADSLT else bool(check(rc, f"{number} in Zswap"))

    def __len__(self) -> int:
        return self.stats()["stored_pages"]

    def __bool__(self) -> bool:
        return True

    def length(self, entry: int) -> int:
        """Returns the compressed length of a slot's page in bytes.

        It is page_size for a page that is stored raw. Raises KeyError if zswap does not
        hold the slot.
        """
        info = ffi.new("struct zswap_entry_info *")
        entry = index("entry", entry)
        try:
            rc = lib.zswap_entry_info(self._z, self._cpu(), entry, info)
        except OverflowError:
            raise self._bad_number(entry) from None
        if rc == -errno.ENOENT:
            raise KeyError(entry)
        check(rc, f"length(entry={entry})")
        return int(info.length)

    # ---- counters ----

    def _struct(self, name: str, get: Any) -> dict[str, int]:
        p = ffi.new(f"struct {name} *")
        check(get(self._z, p), name)
        return struct_dict(p)

    def stats(self) -> dict[str, int]:
        """Returns the counters of debugfs' zswap directory by name.

        pool_total_size is in bytes, the others count pages or events.
        """
        return self._struct("zswap_stats", lib.zswap_stats)

    def events(self) -> dict[str, int]:
        """Returns the fields of struct zswap_events by name.

        They are the counters that the kernel keeps in vmstat and cgroups, and those
        that only a simulated machine can keep.
        """
        return self._struct("zswap_events", lib.zswap_events)

    def memory(self, node: int | None = None) -> dict[str, int]:
        """Returns the bytes allocated besides the pools' pages, by kind.

        `node` restricts them to one node (default: all nodes). Raises OSError EINVAL if
        there is no such node.
        """
        kinds = strings(lib.zswap_memory_kind)
        total = dict.fromkeys(kinds, 0)
        p = ffi.new("uint64_t *")
        nodes = range(self._nr_nodes) if node is None else (index("node", node),)
        if not 0 <= nodes[0] < self._nr_nodes:
            check(-errno.EINVAL, f"memory(node={node}): must be 0 to {self._nr_nodes - 1}")
        for kind, name in enumerate(kinds):
            for nid in nodes:
                check(lib.zswap_memory(self._z, kind, nid, p), f"memory(node={nid})")
                total[name] += p[0]
        return total

    def trim(self) -> None:
        """Gives freed memory back to the system."""
        check(lib.zswap_trim(self._z), "trim()")

    def check(self) -> None:
        """Checks that index, LRU, allocator and references agree.

        Raises AssertionError with the rule that does not hold. No other thread may be
        in a call of this Zswap meanwhile.
        """
        wrong = ffi.new("const char **")
        check(lib.zswap_check(self._z, wrong), "check()")
        if wrong[0] != ffi.NULL:
            raise AssertionError(string(wrong[0]))


class _Arguments:
    """Memory for the arguments of one load_batch()."""

    __slots__ = ("ret", "room", "swp")

    def __init__(self, room: int) -> None:
        self.room, self.swp, self.ret = room, ffi.new("uint64_t[]", room), ffi.new("int[]", room)


class _Thread:
    """A thread's CPU on an instance, and spare memory for load_batch()'s arguments.

    A call takes the spare while it runs. A signal handler, a `__del__` or a compressor
    that calls load_batch() in the middle of it allocates its own.
    """

    __slots__ = ("cpu", "online", "spare")

    def __init__(self) -> None:
        self.cpu = -1
        self.online: tuple[int, ...] | None = None
        self.spare: list[_Arguments] = []

    def take(self, n: int) -> _Arguments:
        """Returns memory for the arguments of n entries: the spare if it has room."""
        try:
            arguments = self.spare.pop()
        except IndexError:
            return _Arguments(max(n, 8))
        return arguments if arguments.room >= n else _Arguments(n)


class _Local(threading.local):
    def __init__(self) -> None:
        self.me = _Thread()  # in one object: each look-up in a threading.local is slow


_libc_getcpu: Any = None


def _sched_getcpu() -> int:
    global _libc_getcpu  # noqa: PLW0603  # looked up at the first use of "sched"
    if _libc_getcpu is None:
        import ctypes

        _libc_getcpu = ctypes.CDLL(None).sched_getcpu
    return int(_libc_getcpu())


# ---- processes ----

_instances: weakref.WeakSet[Zswap] = weakref.WeakSet()


def _close_all() -> None:
    for z in list(_instances):
        z.close()


def _after_fork_in_child() -> None:
    for z in list(_instances):
        z._forked()
    _instances.clear()


atexit.register(_close_all)
os.register_at_fork(after_in_child=_after_fork_in_child)
