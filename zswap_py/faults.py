# SPDX-License-Identifier: GPL-2.0-or-later
"""Faults on demand: `with z.faults.alloc("buffer", nth=3) as f:` and then `f.hits`."""

from __future__ import annotations

import errno
from types import TracebackType
from typing import Any

from zswap_py._lib.fixed import Owner
from zswap_py._lib.params import text, whole
from zswap_py._native import check, lib, strings

KINDS = tuple(strings(lib.zswap_fault_kind))
ALLOC_KINDS = tuple(strings(lib.zswap_memory_kind))


_MOST = 1 << 62  # of tries: a count of them that no run comes to


class Fault(Owner):
    """One armed kind of fault, from `__enter__` to `__exit__`. `hits` stays readable
    afterwards.
    """

    __slots__ = ("_args", "_armed", "_hits", "_kind", "_z")
    _instead = "arm another one"

    def __init__(
        self, z: Any, nr_cpus: int, kind: str, nth: int, times: int, error: int, cpu: int | None
    ) -> None:
        self._z, self._kind = z, KINDS.index(kind)
        self._args = (
            whole("nth", nth, 1, _MOST),
            whole("times", times, 0, _MOST),
            -whole("error", error, 1, 4095),
            -1 if cpu is None else whole("cpu", cpu, 0, nr_cpus - 1),
        )
        self._hits = 0
        self._armed = False

    @property
    def kind(self) -> str:
        """What fails."""
        return KINDS[self._kind]

    def __enter__(self) -> Fault:
        lib.zswap_fault_arm(self._z, self._kind, *self._args)
        self._armed = True
        return self

    def __exit__(
        self, t: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._hits = self.hits
        self._armed = False
        lib.zswap_fault_disarm(self._z, self._kind)

    @property
    def hits(self) -> int:
        """How many tries failed by it so far."""
        return int(lib.zswap_fault_hits(self._z, self._kind)) if self._armed else self._hits


class Faults(Owner):
    """An instance's faults. Several kinds can be armed at once; a second fault of one
    kind takes the first's place.

    `nth`: the first try that fails, counted from 1. `times`: the tries that fail from
    there on; 0: all. `error`: the errno that they fail with. `cpu`: only tries on that
    CPU count; None: on any. A context is made on the CPU that it is for, a pool itself
    ("pool", "percpu") on CPU 0, an entry and its object on the CPU that stores.
    """

    __slots__ = ("_nr_cpus", "_z")
    _instead = "each Zswap has its own"

    def __init__(self, z: Any, nr_cpus: int) -> None:
        self._z, self._nr_cpus = z, nr_cpus

    def _fault(self, kind: str, nth: int, times: int, error: int, cpu: int | None) -> Fault:
        return Fault(self._z, self._nr_cpus, kind, nth, times, error, cpu)

    def alloc(
        self,
        kind: str,
        *,
        nth: int = 1,
        times: int = 1,
        error: int = errno.ENOMEM,
        cpu: int | None = None,
    ) -> Fault:
        """The nth allocation of a kind from now fails (times=0: all from it on). Kinds:
        `faults.ALLOC_KINDS`.
        """
        if text("kind", kind) not in ALLOC_KINDS:
            raise ValueError(f"kind={kind!r} is no kind of allocation: {', '.join(ALLOC_KINDS)}")
        return self._fault(kind, nth, times, error, cpu)

    def compress(
        self, *, nth: int = 1, times: int = 1, error: int = errno.EINVAL, cpu: int | None = None
    ) -> Fault:
        """The nth page from now that is compressed fails with an errno, wherever in a
        batch it is.
        """
        return self._fault("compress", nth, times, error, cpu)

    def decompress(
        self, *, nth: int = 1, times: int = 1, error: int = errno.EINVAL, cpu: int | None = None
    ) -> Fault:
        """The nth page from now that is decompressed fails: the load gives -EIO."""
        return self._fault("decompress", nth, times, error, cpu)

    def prepare(
        self, *, cpu: int | None = None, nth: int = 1, times: int = 1, error: int = errno.ENOMEM
    ) -> Fault:
        """The nth prepare of a CPU's context (default: of any CPU) fails before it
        allocates anything.
        """
        return self._fault("prepare", nth, times, error, cpu)

    def flip(self, entry: int, byte: int, mask: int = 0xFF) -> None:
        """XOR a byte of the object stored at a slot. KeyError if there is none,
        IndexError past its length.
        """
        entry = whole("entry", entry, 0, (1 << 64) - 1)
        byte = whole("byte", byte, 0, (1 << 32) - 1)
        mask = whole("mask", mask, 0, 255)
        rc = lib.zswap_flip(self._z, 0, entry, byte, mask)
        if rc == -errno.ENOENT:
            raise KeyError(entry)
        if rc == -errno.EINVAL:
            raise IndexError(f"byte {byte} is past the object at slot {entry}")
        check(rc, f"flip(entry={entry}, byte={byte}, mask={mask})")
