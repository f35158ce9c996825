# SPDX-License-Identifier: GPL-2.0-or-later
"""Zswap: the parameters, the pages, the counters."""

from __future__ import annotations

import atexit
import errno
import itertools
import os
import threading
import weakref
from collections.abc import Iterable
from types import TracebackType
from typing import Any

from zswap_py import crypto, kernels
from zswap_py._native import check, drain_messages, ffi, lib, oserror, string, strings, struct_dict
from zswap_py.cpuhp import CpuHotplug
from zswap_py.faults import Faults
from zswap_py.params import kstrtobool, kstrtouint
from zswap_py.pool import Pool, Pools

SWP_TYPE_SHIFT = 58
# looked up once: a store of one page must not cost a microsecond
_from_buffer, _store, _load, _load_batch = ffi.from_buffer, lib.zswap_store, lib.zswap_load, lib.zswap_load_batch
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
)


class StoreResult:
    """What a store came to: true only if the whole folio is stored.

    `reason` is None then; else the counter that the refusal moved ("reject_compress_poor", ...), or "disabled" or
    "no_pool", which have none. "pool_limit_hit" it is also between limit and accept threshold, where no counter moves.
    """

    __slots__ = ("reason",)

    def __init__(self, reason: str | None) -> None:
        self.reason = reason

    def __bool__(self) -> bool:
        return self.reason is None

    def __repr__(self) -> str:
        return "StoreResult(stored)" if self.reason is None else f"StoreResult({self.reason})"


_RESULTS = tuple(StoreResult(reason) for reason in _REASONS)


def swp_entry(type: int, offset: int) -> int:
    """The swap entry for a slot of a swap type. Those of type 0 equal their offsets."""
    if not 0 <= type < 32 or not 0 <= offset < 1 << SWP_TYPE_SHIFT:
        raise ValueError(f"swp_entry({type}, {offset}): a type is 0 to 31, an offset 0 to 2^{SWP_TYPE_SHIFT} - 1")
    return type << SWP_TYPE_SHIFT | offset


def total_ram_bytes() -> int:
    """This machine's MemTotal, in bytes."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


class Zswap:
    """zswap of one simulated machine. Any number may live in a process; all methods may be called from any thread.

    Parameters, keywords here and properties later, with the kernel's names and checks: `enabled`, `compressor`
    ("name" or "name:backend"), `max_pool_percent` (of total_ram), `accept_threshold_percent` (of that).

    The machine: `page_size` 4096, 16384 or 65536; `chain_size` 4 to 16 (CONFIG_ZSMALLOC_CHAIN_SIZE); `total_ram` in
    bytes (default: this machine's); `nr_cpus` (default: this machine's), `nr_nodes`; `highmem`, the share of memory
    that a compressor cannot address, 0 to 1; `cpuhp`, a CpuHotplug of one's own in place of nr_cpus CPUs that are all
    online.

    What is modelled: `kernel` "6.18" or "6.16", `series` "v10", None (before it) or "v13" (see kernels.TABLE);
    `incompressible` "store" or "reject", where it shall differ from the kernel's.

    `cpu_policy`: "sticky" gives each thread a CPU, round robin; "sched" takes the CPU that it runs on.
    """

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
        self._closed = False
        self._rules = kernels.rules(kernel, series)
        self.kernel, self.series = kernel, series
        self.incompressible = self._rules["incompressible"] if incompressible is None else incompressible
        if self.incompressible not in ("store", "reject"):
            raise ValueError(f"incompressible={incompressible!r}: 'store' or 'reject'")
        if cpu_policy not in ("sticky", "sched"):
            raise ValueError(f"cpu_policy={cpu_policy!r}: 'sticky' or 'sched'")
        if page_size not in (4096, 16384, 65536):
            raise ValueError(f"page_size={page_size}: 4096, 16384 or 65536 bytes")
        if not 4 <= chain_size <= 16:
            raise ValueError(f"chain_size={chain_size}: 4 to 16 pages")
        if not 0 <= highmem <= 1 or 0 < highmem < 0.001:
            raise ValueError(f"highmem={highmem}: a share, 0 to 1, in thousandths")
        self.page_size = page_size
        self.total_ram = total_ram_bytes() if total_ram is None else total_ram
        if not page_size <= self.total_ram < 1 << 56:
            raise ValueError(f"total_ram={total_ram}: bytes, a page ({page_size}) at least, below 2^56")
        if cpuhp is None:
            nr = (os.cpu_count() or 1) if nr_cpus is None else nr_cpus
            if not 1 <= nr <= kernels.MAX_CPUS:
                raise ValueError(f"nr_cpus={nr_cpus}: 1 to {kernels.MAX_CPUS}")
            cpuhp = CpuHotplug(nr)
        elif nr_cpus not in (None, cpuhp.nr_cpus):
            raise ValueError(f"nr_cpus={nr_cpus}, but cpuhp has {cpuhp.nr_cpus} CPUs")
        elif cpuhp.nr_cpus > kernels.MAX_CPUS:
            raise ValueError(f"cpuhp has {cpuhp.nr_cpus} CPUs: {kernels.MAX_CPUS} at most")
        if not 1 <= nr_nodes <= min(cpuhp.nr_cpus, 255):
            raise ValueError(f"nr_nodes={nr_nodes}: 1 to the number of CPUs ({cpuhp.nr_cpus})")
        self.cpuhp, self.nr_nodes = cpuhp, nr_nodes
        self._cpu_policy = cpu_policy
        self._local = _Local()
        self._turn = itertools.count()
        self._closing = threading.Lock()
        chosen = crypto.find(compressor)

        config = ffi.new("struct zswap_config *")
        config.page_shift = page_size.bit_length() - 1
        config.chain_size = chain_size
        config.nr_cpus, config.nr_nodes = cpuhp.nr_cpus, nr_nodes
        config.highmem = round(highmem * 1000)
        config.totalram_pages = self.total_ram // page_size
        config.store_incompressible = self.incompressible == "store"
        config.check_dlen = self._rules["check_dlen"] or self.incompressible == "store"
        for name in ("dead_frees", "max_batch", "sequential_batch"):
            setattr(config, name, self._rules[name])
        err = ffi.new("int *")
        z = lib.zswap_create(config, err)
        if z == ffi.NULL:
            raise oserror(err[0], "a new Zswap")
        self._z = ffi.gc(z, lib.zswap_destroy)
        # wakes the worker of an instance that nobody closed: it holds the C instance while it sleeps there
        self._finalizer = weakref.finalize(self, lib.zswap_shutdown, self._z)
        self._finalizer.atexit = False  # _close_all() is for that
        self.faults = Faults(self._z)
        self._pools = Pools(self._z, cpuhp, self._rules)
        _instances.add(self)
        try:
            self.enabled = enabled
            self.max_pool_percent = max_pool_percent
            self.accept_threshold_percent = accept_threshold_percent
            self._pools.switch(chosen)
        except BaseException:
            self.close()
            raise
        self._compressor = compressor.strip()

    # ---- life ----

    def __enter__(self) -> Zswap:
        return self

    def __exit__(self, t: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Drop everything. Waits for calls that are inside; later ones raise ValueError. Closing twice is fine."""
        with self._closing:
            if self._closed:
                return
            check(lib.zswap_shutdown(self._z), "close()")
            self._closed = True
            self._finalizer.detach()
            self._pools.close()
            drain_messages(self._z)
            # The instance itself goes with the last reference to it: a thread that is late gets -ESHUTDOWN.
            lib.zswap_release(self._z)
            _instances.discard(self)

    def _forked(self) -> None:
        self._closing = threading.Lock()
        self._closed = True
        self._finalizer.detach()
        self._pools.forked()
        lib.zswap_forked(self._z)

    @property
    def closed(self) -> bool:
        """True once close() was called."""
        return self._closed

    # ---- parameters ----

    def _must_be_open(self) -> None:
        if self._closed:
            raise ValueError("this Zswap is closed")

    def _set(self, param: int, value: int) -> None:
        self._must_be_open()
        lib.zswap_set_param(self._z, param, value)

    @property
    def enabled(self) -> bool:
        """False refuses stores, which still erase what their slots held; entries stay, and are loaded as before."""
        return bool(lib.zswap_get_param(self._z, lib.ZSWAP_ENABLED))

    @enabled.setter
    def enabled(self, value: bool | int | str) -> None:
        self._set(lib.ZSWAP_ENABLED, kstrtobool(value, "enabled"))

    @property
    def max_pool_percent(self) -> int:
        """The pools' limit in percent of total_ram, checked before each store. No range check, as in the kernel."""
        return int(lib.zswap_get_param(self._z, lib.ZSWAP_MAX_POOL_PERCENT))

    @max_pool_percent.setter
    def max_pool_percent(self, value: int | str) -> None:
        self._set(lib.ZSWAP_MAX_POOL_PERCENT, kstrtouint(value, "max_pool_percent"))

    @property
    def accept_threshold_percent(self) -> int:
        """Once the limit was hit, stores are refused until the pools are down to so many percent of it."""
        return int(lib.zswap_get_param(self._z, lib.ZSWAP_ACCEPT_THRESHOLD_PERCENT))

    @accept_threshold_percent.setter
    def accept_threshold_percent(self, value: int | str) -> None:
        self._set(lib.ZSWAP_ACCEPT_THRESHOLD_PERCENT, kstrtouint(value, "accept_threshold_percent"))

    @property
    def compressor(self) -> str:
        """The current compressor, as it was set. Another takes effect at the next store; old entries stay as they are.

        OSError ENOENT for one that is not available, or the error of its pool's creation: the old one stays current.
        """
        return self._compressor

    @compressor.setter
    def compressor(self, value: str) -> None:
        self._must_be_open()
        self._pools.switch(crypto.find(value))
        self._compressor = value.strip()

    @property
    def pool(self) -> Pool:
        """The current pool."""
        pool = self._pools.current
        if pool is None:
            raise ValueError("this Zswap is closed")
        return pool

    @property
    def pools(self) -> tuple[Pool, ...]:
        """All pools: the current one first, then those that still hold entries, and those that are being released."""
        return self._pools.all

    # ---- swap files ----

    def swapon(self, pages: int) -> int:
        """Room for a new swap file's slots, 0 to pages - 1. The swap type: 0 for the first."""
        if pages < 1 or pages >> SWP_TYPE_SHIFT:
            raise ValueError(f"swapon(pages={pages}): 1 to 2^{SWP_TYPE_SHIFT} - 1")
        return check(lib.zswap_swapon(self._z, pages), f"swapon(pages={pages})")

    def swapoff(self, type: int) -> None:
        """Drop all that a swap type's slots hold, and the type."""
        rc = lib.zswap_swapoff(self._z, type) if 0 <= type < 1 << 32 else -errno.EBADSLT
        if rc == -errno.EBADSLT:
            raise ValueError(f"swapoff({type}): there is no such swap type; swapon() gives them")
        check(rc, f"swapoff({type})")

    # ---- pages ----

    def _cpu(self) -> int:
        """The CPU that this thread is on: its sticky one, as long as that is online."""
        me: _Thread = self._local.me
        online = self.cpuhp.online_cpus  # a new tuple whenever a CPU comes or goes
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

    def _bad_number(self, entry: object, cpu: int | None = None) -> ValueError:
        """For what C could not take: which of the two it was."""
        if cpu is not None and not 0 <= cpu < self.cpuhp.nr_cpus:
            return ValueError(f"cpu={cpu}: the CPUs are 0 to {self.cpuhp.nr_cpus - 1} (nr_cpus={self.cpuhp.nr_cpus})")
        return ValueError(f"entry {entry!r}: swap entries are 0 to 2^64 - 1; see swp_entry()")

    def _failed(self, rc: int, what: str, cpu: int | None = None) -> None:
        """Raise what a compressor written in Python raised in the call that just returned, or what its result means."""
        drain_messages(self._z)
        e, crypto.raised.exception = crypto.raised.exception, None
        if e is not None:
            raise e
        if rc == -errno.EINVAL and cpu is not None and cpu >= self.cpuhp.nr_cpus:
            raise self._bad_number(None, cpu)
        check(rc, what)

    def store(self, entry: int, folio: Any, *, cpu: int | None = None) -> StoreResult:
        """Compress and store a folio: a buffer of 1 to 512 pages, for slots entry, entry + 1, ...

        If the result is false no slot of the folio holds anything any more, and the page is the caller's to keep (see
        SwapDevice for who keeps it in the kernel). OSError ENODEV: the CPU has no context; the same holds then.
        """
        buf = _from_buffer("uint8_t[]", folio)
        try:
            nr, rest = divmod(len(buf), self.page_size)
            if rest or not 0 < nr <= MAX_FOLIO:
                raise ValueError(f"a folio of {len(buf)} bytes: 1 to {MAX_FOLIO} whole pages of {self.page_size}")
            rc: int = _store(self._z, self._cpu() if cpu is None else cpu, entry, buf, nr)
        except OverflowError:
            raise self._bad_number(entry, cpu) from None
        finally:
            del buf  # a traceback that keeps a buffer of a memoryview crashes the collector
        if rc or crypto.raised.exception is not None:
            self._failed(rc, f"store(entry={entry}, {nr} pages)", cpu)
        return _RESULTS[rc]

    def load(self, entry: int, out: Any, *, swapcache: bool = True, cpu: int | None = None) -> bool:
        """Decompress a slot's page into `out`, a writable buffer of one page; False if zswap does not hold it.

        The page then leaves zswap, unless it goes to a folio outside the swap cache (swapcache=False). OSError EIO: the
        object is corrupt, and stays; EINVAL: `out` is a larger folio; ENODEV: the CPU has no context.
        """
        buf = _from_buffer("uint8_t[]", out, True)
        try:
            nr, rest = divmod(len(buf), self.page_size)
            if rest or not nr:
                raise ValueError(f"a buffer of {len(buf)} bytes: a page of {self.page_size}")
            rc = _load(self._z, self._cpu() if cpu is None else cpu, entry, buf, nr, swapcache)
        except OverflowError:
            raise self._bad_number(entry, cpu) from None
        finally:
            del buf
        if not rc:
            return True
        if rc != _ENOENT:
            what = f"load(entry={entry}, {nr} pages; zswap loads one)" if nr > 1 else f"load(entry={entry})"
            self._failed(rc, what, cpu)
        return False

    def peek(self, entry: int, out: Any, *, cpu: int | None = None) -> bool:
        """Like load(), but the page stays, and nothing is counted but a decompress_fail."""
        buf = _from_buffer("uint8_t[]", out, True)
        try:
            if len(buf) != self.page_size:
                raise ValueError(f"a buffer of {len(buf)} bytes: a page of {self.page_size}")
            rc = lib.zswap_peek(self._z, self._cpu() if cpu is None else cpu, entry, buf)
        except OverflowError:
            raise self._bad_number(entry, cpu) from None
        finally:
            del buf
        if not rc:
            return True
        if rc != _ENOENT:
            self._failed(rc, f"peek(entry={entry})", cpu)
        return False

    def load_batch(self, entries: Iterable[int], out: Any, *, cpu: int | None = None) -> list[int]:
        """Load several slots, in any order, the i-th into the i-th page of `out`. A list of 0 or a negative errno each.

        Up to pool.compr_batch_size objects are one request to the compressor. ValueError for one outside of all swap
        files: the others are loaded then.
        """
        if not isinstance(entries, (list, tuple)):
            entries = list(entries)
        n = len(entries)
        me: _Thread = self._local.me
        if n > me.room:
            me.grow(n)
        swp, ret = me.swp, me.ret
        buf = _from_buffer("uint8_t[]", out, True)
        try:
            if len(buf) != n * self.page_size:
                raise ValueError(f"a buffer of {len(buf)} bytes for {n} pages of {self.page_size}")
            swp[0:n] = entries
            rc = _load_batch(self._z, self._cpu() if cpu is None else cpu, swp, n, buf, ret)
        except OverflowError:
            raise self._bad_number(entries, cpu) from None
        finally:
            del buf
        if not rc:
            return [0] * n
        results: list[int] = ffi.unpack(ret, n) if rc > 0 else []
        if -errno.EBADSLT in results:
            self._failed(-errno.EBADSLT, f"load_batch: entry {entries[results.index(-errno.EBADSLT)]}")
        self._failed(rc, f"load_batch({n} entries)", cpu)
        return results

    def invalidate(self, entry: int, nr: int = 1, *, cpu: int | None = None) -> None:
        """Free what `nr` slots hold, if anything: their swap entries have no user any more."""
        try:
            rc = lib.zswap_invalidate(self._z, self._cpu() if cpu is None else cpu, entry, nr)
        except OverflowError:
            if not 0 <= nr < 1 << 64:
                raise ValueError(f"invalidate(nr={nr}): 0 or more slots") from None
            raise self._bad_number(entry, cpu) from None
        if rc:
            self._failed(rc, f"invalidate(entry={entry}, nr={nr})", cpu)

    def __contains__(self, entry: object) -> bool:
        if not isinstance(entry, int) or not 0 <= entry < 1 << 64:
            return False
        rc = lib.zswap_contains(self._z, self._cpu(), entry)
        return False if rc == -errno.EBADSLT else bool(check(rc, f"{entry} in Zswap"))

    def __len__(self) -> int:
        return self.stats()["stored_pages"]

    def __bool__(self) -> bool:
        return True

    def length(self, entry: int) -> int:
        """The compressed bytes of a slot's object, a page's for one that is stored raw. KeyError if there is none."""
        info = ffi.new("struct zswap_entry_info *")
        try:
            rc = lib.zswap_entry_info(self._z, self._cpu(), entry, info)
        except OverflowError:
            raise self._bad_number(entry) from None
        if rc == -errno.ENOENT:
            raise KeyError(entry)
        check(rc, f"length(entry={entry})")
        return int(info.length)

    # ---- figures ----

    def _struct(self, name: str, get: Any) -> dict[str, int]:
        p = ffi.new(f"struct {name} *")
        check(get(self._z, p), name)
        return struct_dict(p)

    def stats(self) -> dict[str, int]:
        """The counters of debugfs' zswap directory, by their names; pool_total_size in bytes."""
        return self._struct("zswap_stats", lib.zswap_stats)

    def events(self) -> dict[str, int]:
        """What the kernel counts elsewhere, and what only a simulated machine can (struct zswap_events)."""
        return self._struct("zswap_events", lib.zswap_events)

    def memory(self, node: int | None = None) -> dict[str, int]:
        """Bytes allocated besides the pools' pages, by what they are for, on one node or on all."""
        kinds = strings(lib.zswap_memory_kind)
        total = dict.fromkeys(kinds, 0)
        p = ffi.new("uint64_t *")
        for kind, name in enumerate(kinds):
            for nid in range(self.nr_nodes) if node is None else (node,):
                check(lib.zswap_memory(self._z, kind, nid, p), f"memory(node={nid})")
                total[name] += p[0]
        return total

    def trim(self) -> None:
        """Give memory that is free back to the system."""
        check(lib.zswap_trim(self._z), "trim()")

    def verify(self) -> None:
        """Walk index, LRU and pools; AssertionError says what does not hold. Only while no other thread is inside."""
        wrong = ffi.new("const char **")
        check(lib.zswap_check(self._z, wrong), "verify()")
        if wrong[0] != ffi.NULL:
            raise AssertionError(string(wrong[0]))


class _Thread:
    """What a thread keeps of an instance: its CPU, and memory for the arguments of load_batch()."""

    __slots__ = ("cpu", "online", "ret", "room", "swp")

    def __init__(self) -> None:
        self.cpu = -1
        self.online: tuple[int, ...] | None = None
        self.grow(8)

    def grow(self, n: int) -> None:
        self.room, self.swp, self.ret = n, ffi.new("uint64_t[]", n), ffi.new("int[]", n)


class _Local(threading.local):
    def __init__(self) -> None:
        self.me = _Thread()  # one look-up, since those of a threading.local are slow


_libc_getcpu: Any = None


def _sched_getcpu() -> int:
    global _libc_getcpu  # noqa: PLW0603  # looked up once, by those who want it
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
