# SPDX-License-Identifier: GPL-2.0-or-later
"""The pools' life: create, find, switch, kill, resurrect, release. References are C's;
decisions are made here.

A pool is current from its creation, decommissioned once another compressor is chosen,
and released when its last entry has gone; if its compressor is chosen again before
that, it becomes current again as it is.
"""

from __future__ import annotations

import contextlib
import errno
import threading
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from zswap_py._lib.fixed import Owner
from zswap_py._lib.params import whole
from zswap_py._native import check, drain_messages, ffi, lib, log, oserror
from zswap_py.cpuhp import CpuHotplug, CpuhpState
from zswap_py.crypto import Compressor

PREPARE = CpuhpState.MM_ZSWP_POOL_PREPARE


@dataclass(frozen=True)
class Context:
    """A CPU's acomp_ctx. Addresses are for comparing only; acomp None: this CPU has no
    context.
    """

    cpu: int
    node: int
    acomp: int | None
    req: int | None
    buffers: tuple[int, ...]
    highmem_copies: int


@dataclass(frozen=True)
class SizeClass:
    """One of zsmalloc's size classes: bytes, pages and objects of a zspage, and what is
    allocated of it.
    """

    size: int
    pages_per_zspage: int
    objs_per_zspage: int
    zspages: int
    objs_inuse: int


class Pool(Owner):
    """One zswap pool. Its figures can be read until it is released; then ValueError.

    OSError EDEADLK from inside a compressor of its Zswap: another thread may look at
    the pool while it waits for the context that the compressor holds.
    """

    __slots__ = (
        "__weakref__",
        "_compressor",
        "_lock",
        "_looking",
        "_name",
        "_nr_cpus",
        "_ptr",
        "_released",
        "_z",
    )
    _instead = "Zswap.pools gives the pools that there are"

    def __init__(self, z: Any, ptr: Any, name: str, compressor: Compressor, nr_cpus: int) -> None:
        self._z = z  # lives as long as the pool is looked at
        self._ptr = ptr
        self._nr_cpus = nr_cpus
        # for _ptr: the pool is not destroyed while it is looked at; taken last, but for
        # a context's mutex
        self._lock = threading.RLock()
        # looks of the thread that holds the lock: a signal handler or a __del__ may
        # look again
        self._looking = 0
        self._compressor = compressor
        self._name = name
        self._released = threading.Event()

    def __repr__(self) -> str:
        return (
            f"<Pool {self.name} {self._compressor.spec}{' released' if self._ptr is None else ''}>"
        )

    @property
    def name(self) -> str:
        """The name of its allocator: zswap1, zswap2, ..."""
        return self._name

    @property
    def released(self) -> threading.Event:
        """Set once the pool is released."""
        return self._released

    @property
    def tfm_name(self) -> str:
        """The compressor's kernel name."""
        return self._compressor.name

    @property
    def backend(self) -> str:
        """Whose code compresses."""
        return self._compressor.backend

    @property
    def compressor(self) -> Compressor:
        """The compressor."""
        return self._compressor

    @contextlib.contextmanager
    def _look(self) -> Iterator[Any]:
        """The C pool, which is not destroyed meanwhile."""
        _must_not_be_inside(self._z, f"pool {self.name}")
        with self._lock:
            if self._ptr is None:
                raise ValueError(f"pool {self.name} is released")
            self._looking += 1
            try:
                yield self._ptr
            finally:
                self._looking -= 1

    def _info(self, kind: str, get: Any, *args: int) -> Any:
        info = ffi.new(f"struct {kind} *")
        with self._look() as ptr:
            rc = get(ptr, *args, info)
        if rc == -errno.ENOENT:
            return None
        check(rc or 0, f"pool {self.name}: {kind}")
        return info

    def _pool_info(self) -> Any:
        return self._info("zswap_pool_info", lib.zswap_pool_info)

    @property
    def compr_batch_size(self) -> int:
        """Pages that one request to the compressor carries: min(8, what it can)."""
        return int(self._pool_info().compr_batch_size)

    @property
    def batch_size(self) -> int:
        """Pages that a store takes in one step."""
        return int(self._pool_info().batch_size)

    @property
    def refs(self) -> int:
        """References: 1 while current, 1 an entry, 1 a store under way."""
        return int(self._pool_info().refs)

    @property
    def total_pages(self) -> int:
        """Pages that its allocator holds."""
        return int(self._pool_info().total_pages)

    @property
    def crossing_reads(self) -> int:
        """Objects read that cross a page border: the kernel copies them to
        buffers[0].
        """
        return int(self._pool_info().crossing_reads)

    @property
    def huge_class_size(self) -> int:
        """The smallest compressed length, in bytes, that takes a page of its own and so
        saves nothing.
        """
        return int(self._pool_info().huge_class_size)

    @property
    def cpus(self) -> tuple[Context, ...]:
        """Each possible CPU's context."""
        return tuple(self.context(cpu) for cpu in range(self._nr_cpus))

    def context(self, cpu: int) -> Context:
        """One CPU's context."""
        cpu = whole("cpu", cpu, 0, self._nr_cpus - 1)
        info = self._info("zswap_ctx_info", lib.zswap_ctx_info, cpu)
        return Context(
            cpu,
            info.node,
            int(ffi.cast("uintptr_t", info.acomp)) or None,
            int(ffi.cast("uintptr_t", info.req)) or None,
            tuple(int(ffi.cast("uintptr_t", info.buffers[i])) for i in range(info.nr_buffers)),
            info.highmem_copies,
        )

    @property
    def size_classes(self) -> tuple[SizeClass, ...]:
        """zsmalloc's classes, smallest first."""
        found: dict[int, SizeClass] = {}
        i = 0
        while (c := self._info("zswap_class_info", lib.zswap_class_info, i)) is not None:
            found[c.index] = SizeClass(
                c.size, c.pages_per_zspage, c.objs_per_zspage, c.zspages, c.objs_inuse
            )
            i += 1
        return tuple(found[k] for k in sorted(found))

    def _destroy(self) -> None:
        with self._lock:
            if self._looking:
                raise oserror(-errno.EDEADLK, f"pool {self.name}: this thread is looking at it")
            ptr, self._ptr = self._ptr, None
            if ptr is not None:
                lib.zswap_pool_destroy(ptr)
        self._released.set()


def _must_not_be_inside(z: Any, what: str) -> None:
    if lib.zswap_inside(z):
        check(-errno.EDEADLK, what)


class Pools:
    """All pools of an instance: the current one first, then the decommissioned, latest
    first.
    """

    def __init__(self, z: Any, cpuhp: CpuHotplug, rules: dict[str, Any]) -> None:
        self._z, self._cpuhp, self._rules = z, cpuhp, rules
        self._lock = threading.RLock()  # after the hotplug lock is wanted, never before
        self._changing = False  # the two locks are held for a change of the pools
        self._closed = False
        self._pools: list[Pool] = []
        self._created = 0
        self._worker: threading.Thread | None = None
        # before the series a CPU that goes down loses its context; since, there is
        # nothing to tear down
        teardown = self._dead if rules["dead_frees"] else None
        cpuhp.setup_state_multi(
            PREPARE, "mm/zswap_pool:prepare", self._prepare, teardown, lambda: lib.zswap_inside(z)
        )

    @staticmethod
    def _prepare(cpu: int, pool: Pool) -> int:
        return int(lib.zswap_cpu_comp_prepare(pool._ptr, cpu))

    @staticmethod
    def _dead(cpu: int, pool: Pool) -> int:
        return int(lib.zswap_cpu_comp_dead(pool._ptr, cpu))

    @contextlib.contextmanager
    def _change(self, what: str) -> Iterator[None]:
        """Holds both locks for a change of the pools; OSError EDEADLK at once where
        this thread may not wait for them.

        A signal handler or a `__del__` may come in the middle of a change, and must not
        make another one.
        """
        _must_not_be_inside(self._z, what)
        with self._cpuhp.lock, self._lock:
            self.must_not_change(what)
            self._changing = True
            try:
                yield
            finally:
                self._changing = False

    def must_not_change(self, what: str) -> None:
        """OSError EDEADLK in the middle of a change that this thread makes."""
        with self._lock:
            if self._changing:
                raise oserror(
                    -errno.EDEADLK,
                    f"{what}: called by a callback, a signal handler or "
                    "a __del__ in the "
                    "middle of another change of this Zswap's pools",
                )

    @property
    def all(self) -> tuple[Pool, ...]:
        """The current pool first."""
        with self._lock:
            return tuple(self._pools)

    @property
    def current(self) -> Pool | None:
        """The pool that new stores go to."""
        with self._lock:
            return self._pools[0] if self._pools else None

    def switch(self, compressor: Compressor, asked: str) -> None:
        """Make a pool for the compressor current: one that is there, brought back, or a
        new one.

        `asked` is what the user calls it. OSError if it cannot be made: the old pool
        stays current.
        """
        with self._change(f"compressor={asked!r}"):
            if self._closed:
                check(-errno.ESHUTDOWN, f"compressor={asked!r}")
            old = self.current
            if old is not None and old.compressor is compressor:
                return
            pool = self._find_get(compressor) or self._create(compressor, asked)
            self._pools.insert(0, pool)
            lib.zswap_pool_make_current(self._z, pool._ptr)
            if old is not None:
                self._start_worker()
                lib.zswap_pool_kill(old._ptr)

    def _find_get(self, compressor: Compressor) -> Pool | None:
        for pool in self._pools:
            if pool.compressor is compressor and lib.zswap_pool_resurrect(pool._ptr):
                self._pools.remove(pool)
                return pool
        return None

    def _create(self, compressor: Compressor, asked: str) -> Pool:
        """zswap_pool_create(): allocator, per-CPU contexts, hotplug instance,
        reference. A failed one takes a name.
        """
        self._created += 1
        err = ffi.new("int *")
        alg = compressor.alg(self._rules["zstd_variant"] if compressor.name == "zstd" else 0)
        ptr = lib.zswap_pool_create(self._z, alg, asked.encode(), err)
        if ptr == ffi.NULL:
            check(err[0], f"pool for {compressor.spec}")
        pool = Pool(self._z, ptr, f"zswap{self._created:x}", compressor, self._cpuhp.nr_cpus)
        try:
            self._cpuhp.add_instance(PREPARE, pool)
        except OSError as e:
            # the instance was not linked: there is none to remove; every possible CPU's
            # resources go
            pool._destroy()
            if e.errno == errno.ESHUTDOWN:
                check(-errno.ESHUTDOWN, f"pool for {compressor.spec}")
            raise
        finally:
            drain_messages(self._z)
        if not self._rules["instance_stays"]:
            self._cpuhp.remove_instance(PREPARE, pool)
        lib.zswap_pool_start(ptr)
        log.debug("zswap: created pool %s: %s", pool.name, compressor.spec)
        return pool

    # ---- release ----

    def _start_worker(self) -> None:
        if self._worker is None:
            self._worker = threading.Thread(
                target=_release_work,
                args=(self._z, weakref.ref(self)),
                name="zswap-release",
                daemon=True,
            )
            self._worker.start()

    def _release(self, ptr: Any) -> None:
        """__zswap_pool_release(): a killed pool that has lost its last reference, and
        that no call sees any more.
        """
        with self._change("release"):
            pool = next(p for p in self._pools if p._ptr == ptr)
            self._pools.remove(pool)
            log.debug("zswap: destroying pool %s", pool.name)
            self._end(pool)

    def _end(self, pool: Pool) -> None:
        """Off the machine's list, and gone; also where an interrupted close() has come
        half of the way.
        """
        if self._rules["instance_stays"]:
            with contextlib.suppress(ValueError):  # it is off the list
                self._cpuhp.remove_instance(PREPARE, pool)
        pool._destroy()

    def forked(self) -> None:
        """In a forked child: forget the pools. A lock may be held by a thread that is
        not there.
        """
        self._lock = threading.RLock()
        self._changing, self._closed = False, True
        self._cpuhp._forked(PREPARE)
        for pool in self._pools:
            pool._ptr = None
            pool._lock = threading.RLock()
        self._pools.clear()

    def close(self) -> None:
        """Destroy all pools. Only after zswap_shutdown(), which also ends the
        worker.
        """
        with self._change("close()"):
            self._closed = True  # from here on no switch makes a pool, or starts the worker
        if self._worker is not None:
            self._worker.join()
        with self._change("close()"):
            while self._pools:
                self._end(self._pools[-1])
                self._pools.pop()
            self._cpuhp.remove_state(PREPARE)


def _release_work(z: Any, pools: weakref.ref[Pools]) -> None:
    """The worker: sleeps in C until a pool is empty; C's shutdown ends it."""
    while (ptr := lib.zswap_pool_wait_empty(z)) != ffi.NULL:
        owner = pools()
        if owner is None:
            lib.zswap_pool_destroy(ptr)
            continue
        owner._release(ptr)
        del owner
