# SPDX-License-Identifier: GPL-2.0-or-later
"""Fault injection into a Zswap: `with z.faults.alloc("buffer", nth=3) as fault:`.

`fault.hits` counts the tries that it made fail.
"""

from __future__ import annotations

import errno
from types import TracebackType
from typing import Any

from zswap_py._lib.fixed import Owner
from zswap_py._lib.params import text, whole
from zswap_py._native import check, lib, strings

KINDS = tuple(strings(lib.zswap_fault_kind))
ALLOC_KINDS = tuple(strings(lib.zswap_memory_kind))


_MAX_TRIES = 1 << 62


class ArmedFault(Owner):
    """A fault that is armed from `__enter__` to `__exit__`. `hits` stays readable."""

    __slots__ = ("_args", "_armed", "_hits", "_kind", "_z")
    _instead = "arm another one"

    def __init__(
        self, z: Any, nr_cpus: int, kind: str, nth: int, times: int, error: int, cpu: int | None
    ) -> None:
        self._z, self._kind = z, KINDS.index(kind)
        self._args = (
            whole("nth", nth, 1, _MAX_TRIES),
            whole("times", times, 0, _MAX_TRIES),
            -whole("error", error, 1, 4095),
            -1 if cpu is None else whole("cpu", cpu, 0, nr_cpus - 1),
        )
        self._hits = 0
        self._armed = False

    @property
    def kind(self) -> str:
        """The kind of operation that fails, one of KINDS."""
        return KINDS[self._kind]

    def __enter__(self) -> ArmedFault:
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
        """The number of tries that failed by this fault so far."""
        return int(lib.zswap_fault_hits(self._z, self._kind)) if self._armed else self._hits


class Faults(Owner):
    """A Zswap's faults: each method but flip() returns one to arm in a `with` block.

    Faults of several kinds can be armed at once. A second fault of one kind replaces
    the first. The methods share these keywords:
     - `nth`: the first try that fails, counted from 1 when the fault is armed
     - `times`: the number of tries that fail from there on; 0: all
     - `error`: the positive errno that they fail with
     - `cpu`: the CPU whose tries are counted; None: all CPUs

    A context is allocated on its own CPU, a pool ("pool", "percpu") on CPU 0, an entry
    and its object on the CPU that stores.
    """

    __slots__ = ("_nr_cpus", "_z")
    _instead = "each Zswap has its own"

    def __init__(self, z: Any, nr_cpus: int) -> None:
        self._z, self._nr_cpus = z, nr_cpus

    def _fault(self, kind: str, nth: int, times: int, error: int, cpu: int | None) -> ArmedFault:
        return ArmedFault(self._z, self._nr_cpus, kind, nth, times, error, cpu)

    def alloc(
        self,
        kind: str,
        *,
        nth: int = 1,
        times: int = 1,
        error: int = errno.ENOMEM,
        cpu: int | None = None,
    ) -> ArmedFault:
        """Makes the nth allocation of `kind`, one of faults.ALLOC_KINDS, fail."""
        if text("kind", kind) not in ALLOC_KINDS:
            raise ValueError(f"kind={kind!r}: must be one of {', '.join(ALLOC_KINDS)}")
        return self._fault(kind, nth, times, error, cpu)

    def compress(
        self, *, nth: int = 1, times: int = 1, error: int = errno.EINVAL, cpu: int | None = None
    ) -> ArmedFault:
        """Makes the compression of the nth page fail, at any place in a batch."""
        return self._fault("compress", nth, times, error, cpu)

    def decompress(
        self, *, nth: int = 1, times: int = 1, error: int = errno.EINVAL, cpu: int | None = None
    ) -> ArmedFault:
        """Makes the decompression of the nth page fail: its load fails with EIO."""
        return self._fault("decompress", nth, times, error, cpu)

    def prepare(
        self, *, cpu: int | None = None, nth: int = 1, times: int = 1, error: int = errno.ENOMEM
    ) -> ArmedFault:
        """Makes the nth preparation of a CPU's context fail before it allocates."""
        return self._fault("prepare", nth, times, error, cpu)

    def flip(self, entry: int, byte: int, mask: int = 0xFF) -> None:
        """XORs byte `byte` of the compressed object of slot `entry` with `mask`.

        Raises KeyError if zswap does not hold the slot, IndexError if `byte` is past
        the object's end.
        """
        entry = whole("entry", entry, 0, (1 << 64) - 1)
        byte = whole("byte", byte, 0, (1 << 32) - 1)
        mask = whole("mask", mask, 0, 255)
        rc = lib.zswap_flip(self._z, 0, entry, byte, mask)
        if rc == -errno.ENOENT:
            raise KeyError(entry)
        if rc == -errno.EINVAL:
            raise IndexError(f"byte={byte}: past the object at slot {entry}; see Zswap.length()")
        check(rc, f"flip(entry={entry}, byte={byte}, mask={mask})")
