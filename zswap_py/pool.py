# SPDX-License-Identifier: GPL-2.0-or-later
"""Pool, and the pools of a Zswap: create, find, switch, kill, resurrect, release.

C counts the references; this module decides when a pool changes its state. A pool is
current from its creation, and decommissioned once another compressor is chosen. It is
released when its last entry is freed. A decommissioned pool whose compressor is chosen
again becomes current again with its entries.

Locks, in this order: Zswap._closing, the hotplug lock, Pools._lock, Pool._lock, and a
context's mutex in C.
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
from zswap_py.crypto import Chosen, Compressor, CompressorInfo, info_of
from zswap_py.crypto.methods import method

PREPARE = CpuhpState.MM_ZSWP_POOL_PREPARE


@dataclass(frozen=True)
class Context:
    """One CPU's acomp_ctx in a pool.

    `acomp`, `req` and `buffers` are addresses, to compare only. `acomp` is None if this
    CPU has no context. `highmem_copies` counts the objects that were copied to
    buffers[0] because the compressor could not address them.
    """

    cpu: int
    node: int
    acomp: int | None
    req: int | None
    buffers: tuple[int, ...]
    highmem_copies: int


@dataclass(frozen=True)
class SizeClass:
    """One of zsmalloc's size classes.

    `size` is an object's in bytes. `zspages` and `objs_inuse` count what is allocated.
    """

    size: int
    pages_per_zspage: int
    objs_per_zspage: int
    zspages: int
    objs_inuse: int


class Pool(Owner):
    """One zswap pool of a Zswap, from Zswap.pool or Zswap.pools.

    Once the pool is released, the properties that read its state raise ValueError;
    `name`, `compressor`, `tfm_name`, `backend` and `released` stay readable. In a call
    from a compressor of the Zswap they raise OSError EDEADLK: another thread may hold
    the pool's lock while it waits for the context that the compressor holds.
    """

    __slots__ = (
        "__weakref__",
        "_chosen",
        "_compressor",
        "_lock",
        "_name",
        "_nr_cpus",
        "_ptr",
        "_readers",
        "_released",
        "_z",
    )
    _instead = "read Zswap.pools in place of a copy"

    def __init__(
        self,
        z: Any,
        ptr: Any,
        name: str,
        compressor: Compressor,
        chosen: Chosen,
        nr_cpus: int,
    ) -> None:
        self._z = z  # a reference: the C instance must outlive reads of the pool
        self._ptr = ptr
        self._nr_cpus = nr_cpus
        self._lock = threading.RLock()  # for _ptr: a thread that reads the pool holds it
        # nested reads by the thread that holds the lock: a signal handler or a __del__
        # may interrupt one and make another
        self._readers = 0
        self._compressor, self._chosen = compressor, chosen
        self._name = name
        self._released = threading.Event()

    def __repr__(self) -> str:
        return (
            f"<Pool {self.name} {self._compressor.spec}{' released' if self._ptr is None else ''}>"
        )

    @property
    def name(self) -> str:
        """The allocator's name, numbered in hexadecimal: zswap1, zswap2, ..."""
        return self._name

    @property
    def released(self) -> threading.Event:
        """An event that is set once the pool is released."""
        return self._released

    @property
    def tfm_name(self) -> str:
        """The compressor's name in the kernel."""
        return self._compressor.name

    @property
    def backend(self) -> str:
        """The name of the compressor's implementation, such as "kernel" or "liblz4"."""
        return self._compressor.backend

    @property
    def compressor(self) -> Compressor:
        """The pool's compressor."""
        return self._compressor

    @property
    def info(self) -> CompressorInfo:
        """What compresses here: the library, where kernels have the sizes of different
        versions, is the one with those of this Zswap's kernel, if it is there.
        """
        return info_of(self._compressor, self._chosen, int(lib.zswap_page_size(self._z)))

    @property
    def kernel_sizes(self) -> bool:
        """True if the known pages compressed to the sizes of this Zswap's kernel, and
        pages of its size do.
        """
        return self.info.kernel_sizes

    @contextlib.contextmanager
    def _read(self) -> Iterator[Any]:
        """Yields the C pool, which is not destroyed in the block."""
        _must_not_be_inside(self._z, f"pool {self.name}")
        with self._lock:
            if self._ptr is None:
                raise ValueError(f"pool {self.name} is released; see Zswap.pools")
            self._readers += 1
            try:
                yield self._ptr
            finally:
                self._readers -= 1

    def _info(self, kind: str, get: Any, *args: int) -> Any:
        info = ffi.new(f"struct {kind} *")
        with self._read() as ptr:
            rc = get(ptr, *args, info)
        if rc == -errno.ENOENT:
            return None
        check(rc or 0, f"pool {self.name}: {kind}")
        return info

    def _pool_info(self) -> Any:
        return self._info("zswap_pool_info", lib.zswap_pool_info)

    @property
    def compr_batch_size(self) -> int:
        """The most pages in one request to the compressor, 1 to 8."""
        return int(self._pool_info().compr_batch_size)

    @property
    def batch_size(self) -> int:
        """The most pages of a folio that a store takes in one step."""
        return int(self._pool_info().batch_size)

    @property
    def refs(self) -> int:
        """The references: 1 while current, 1 for each entry and running store."""
        return int(self._pool_info().refs)

    @property
    def total_pages(self) -> int:
        """The pages that the pool's allocator holds."""
        return int(self._pool_info().total_pages)

    @property
    def crossing_reads(self) -> int:
        """The number of objects read that cross a page boundary.

        Up to Linux 6.18 the kernel copies them to buffers[0]. Since 7.0 it hands the
        compressor two pieces; an IAA takes only one, so there these are the loads that
        fail, or go to its software, as its driver decides.
        """
        return int(self._pool_info().crossing_reads)

    @property
    def huge_class_size(self) -> int:
        """The smallest compressed length in bytes that takes a whole page and so saves
        nothing.
        """
        return int(self._pool_info().huge_class_size)

    @property
    def cpus(self) -> tuple[Context, ...]:
        """The context of each possible CPU, in number order."""
        return tuple(self.context(cpu) for cpu in range(self._nr_cpus))

    def context(self, cpu: int) -> Context:
        """Returns a CPU's context. Raises ValueError if there is no such CPU."""
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
            if self._readers:
                raise oserror(
                    -errno.EDEADLK,
                    f"pool {self.name}: this thread is in the middle of a read of it",
                )
            ptr, self._ptr = self._ptr, None
            if ptr is not None:
                lib.zswap_pool_destroy(ptr)
        self._released.set()


def _must_not_be_inside(z: Any, what: str) -> None:
    if lib.zswap_inside(z):
        check(-errno.EDEADLK, what)


class Pools:
    """All pools of a Zswap: the current one, then the decommissioned, latest first."""

    def __init__(self, z: Any, cpuhp: CpuHotplug, rules: dict[str, Any]) -> None:
        self._z, self._cpuhp, self._rules = z, cpuhp, rules
        self._lock = threading.RLock()  # taken after the hotplug lock
        self._changing = False  # a thread holds both locks for a change of the pools
        self._closed = False
        self._pools: list[Pool] = []
        self._created = 0
        self._worker: threading.Thread | None = None
        # up to Linux 7.0 a CPU that goes offline loses its context; from 7.1, and from
        # v10 of the series on, the context stays
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
        """Holds both locks for a change of the pools.

        Raises OSError EDEADLK at once in a compressor of the Zswap, which holds a
        context's mutex, and in the middle of another change by this thread.
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
        """Raises OSError EDEADLK in the middle of a change by this thread."""
        with self._lock:
            if self._changing:
                raise oserror(
                    -errno.EDEADLK,
                    f"{what}: called by a callback, a signal handler or a __del__ "
                    "in the middle of another change of this Zswap's pools",
                )

    @property
    def all(self) -> tuple[Pool, ...]:
        """The pools: the current one first."""
        with self._lock:
            return tuple(self._pools)

    @property
    def current(self) -> Pool | None:
        """The pool that stores use; None after close()."""
        with self._lock:
            return self._pools[0] if self._pools else None

    def switch(self, compressor: Compressor, asked: str) -> None:
        """Makes a pool for the compressor current: an existing pool, or a new one.

        `asked` is the name that the user gave. Raises OSError if the pool cannot be
        created; the old pool then stays current.
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
        """zswap_pool_create(): makes allocator, contexts, hotplug instance, reference.

        A pool that cannot be created still uses up a name, as in the kernel.
        """
        self._created += 1
        err = ffi.new("int *")
        chosen = compressor.choose(method(compressor.codec, self._rules))
        ptr = lib.zswap_pool_create(self._z, chosen.alg, asked.encode(), err)
        if ptr == ffi.NULL:
            check(err[0], f"cannot create a pool for {compressor.spec}")
        pool = Pool(
            self._z, ptr, f"zswap{self._created:x}", compressor, chosen, self._cpuhp.nr_cpus
        )
        try:
            self._cpuhp.add_instance(PREPARE, pool)
        except OSError as e:
            # the instance is not linked; this frees every possible CPU's resources
            pool._destroy()
            if e.errno == errno.ESHUTDOWN:
                check(-errno.ESHUTDOWN, f"cannot create a pool for {compressor.spec}")
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
        """__zswap_pool_release(): frees a killed pool without references or callers."""
        with self._change("release"):
            pool = next(p for p in self._pools if p._ptr == ptr)
            self._pools.remove(pool)
            log.debug("zswap: destroying pool %s", pool.name)
            self._free(pool)

    def _free(self, pool: Pool) -> None:
        """Removes a pool's hotplug instance, then frees the pool.

        An interrupted close() may have removed the instance already.
        """
        if self._rules["instance_stays"]:
            with contextlib.suppress(ValueError):  # it is removed already
                self._cpuhp.remove_instance(PREPARE, pool)
        pool._destroy()

    def forked(self) -> None:
        """Forgets the pools in a forked child, and replaces the locks: a thread of the
        parent may hold them.
        """
        self._lock = threading.RLock()
        self._changing, self._closed = False, True
        self._cpuhp._forked(PREPARE)
        for pool in self._pools:
            pool._ptr = None
            pool._lock = threading.RLock()
        self._pools.clear()

    def close(self) -> None:
        """Frees all pools. zswap_shutdown() comes before it and ends the worker."""
        with self._change("close()"):
            self._closed = True  # from here on no switch makes a pool, or starts the worker
        if self._worker is not None:
            self._worker.join()
        with self._change("close()"):
            while self._pools:
                self._free(self._pools[-1])
                self._pools.pop()
            self._cpuhp.remove_state(PREPARE)


def _release_work(z: Any, pools: weakref.ref[Pools]) -> None:
    """Releases pools in a thread: sleeps in C until one is empty, or until shutdown."""
    while (ptr := lib.zswap_pool_wait_empty(z)) != ffi.NULL:
        owner = pools()
        if owner is None:
            lib.zswap_pool_destroy(ptr)
            continue
        owner._release(ptr)
        del owner
