# SPDX-License-Identifier: GPL-2.0-or-later
"""Faults on demand: `with z.faults.alloc("buffer", nth=3) as f:` and then `f.hits`."""

from __future__ import annotations

import errno
from types import TracebackType
from typing import Any

from zswap_py._native import check, lib, strings

KINDS = tuple(strings(lib.zswap_fault_kind))
ALLOC_KINDS = tuple(strings(lib.zswap_memory_kind))


class Fault:
    """One armed kind of fault, from `__enter__` to `__exit__`. `hits` stays readable afterwards."""

    def __init__(
        self, z: Any, kind: str, nth: int, times: int, error: int, cpu: int | None
    ) -> None:
        if nth < 1 or times < 0:
            raise ValueError(f"nth={nth}, times={times}: tries are counted from 1; times=0 fails all from the nth on")
        if not 0 < error < 4096:
            raise ValueError(f"error={error} is not a positive errno, as errno.ENOMEM")
        self.kind = kind
        self._z, self._kind = z, KINDS.index(kind)
        self._args = (nth, times, -error, -1 if cpu is None else cpu)
        self._hits = 0
        self._armed = False

    def __enter__(self) -> Fault:
        lib.zswap_fault_arm(self._z, self._kind, *self._args)
        self._armed = True
        return self

    def __exit__(self, t: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self._hits = self.hits
        self._armed = False
        lib.zswap_fault_disarm(self._z, self._kind)

    @property
    def hits(self) -> int:
        """How many tries failed by it so far."""
        return int(lib.zswap_fault_hits(self._z, self._kind)) if self._armed else self._hits


class Faults:
    """An instance's faults. Several kinds can be armed at once; a second fault of one kind takes the first's place."""

    def __init__(self, z: Any) -> None:
        self._z = z

    def alloc(
        self, kind: str, *, nth: int = 1, times: int = 1, error: int = errno.ENOMEM, cpu: int | None = None
    ) -> Fault:
        """The nth allocation of a kind from now fails (times=0: all from it on). Kinds: `faults.ALLOC_KINDS`."""
        if kind not in ALLOC_KINDS:
            raise ValueError(f"{kind!r} is no kind of allocation: {', '.join(ALLOC_KINDS)}")
        return Fault(self._z, kind, nth, times, error, cpu)

    def compress(self, *, nth: int = 1, times: int = 1, error: int = errno.EINVAL, cpu: int | None = None) -> Fault:
        """The nth page from now that is compressed fails with an errno, wherever in a batch it is."""
        return Fault(self._z, "compress", nth, times, error, cpu)

    def decompress(self, *, nth: int = 1, times: int = 1, error: int = errno.EINVAL, cpu: int | None = None) -> Fault:
        """The nth page from now that is decompressed fails: the load gives -EIO."""
        return Fault(self._z, "decompress", nth, times, error, cpu)

    def prepare(self, *, cpu: int | None = None, nth: int = 1, times: int = 1, error: int = errno.ENOMEM) -> Fault:
        """The nth prepare of a CPU's context (default: of any CPU) fails before it allocates anything."""
        return Fault(self._z, "prepare", nth, times, error, cpu)

    def flip(self, entry: int, byte: int, mask: int = 0xFF) -> None:
        """XOR a byte of the object stored at a slot. KeyError if there is none, IndexError past its length."""
        rc = lib.zswap_flip(self._z, 0, entry, byte, mask)
        if rc == -errno.ENOENT:
            raise KeyError(entry)
        if rc == -errno.EINVAL:
            raise IndexError(f"byte {byte} is past the object at slot {entry}")
        check(rc, f"flip(entry={entry}, byte={byte}, mask={mask})")
