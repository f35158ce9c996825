# SPDX-License-Identifier: GPL-2.0-or-later
"""Shared by the benchmarks: pages to work on, the bare codec loops, and a description
of the machine.
"""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import zswap_py as zs
from zswap_py import crypto
from zswap_py._native import ffi, lib

ROOT = Path(__file__).resolve().parent.parent
PAGE = 4096
KINDS = {
    "lz4:liblz4": 0,
    "lz4:kernel": 1,
    "lzo:kernel": 2,
    "lzo-rle:kernel": 3,
    "zstd:libzstd": 4,
    "deflate:zlib": 5,
}


class _Bare(ctypes.Structure):
    _fields_ = (
        ("kind", ctypes.c_int),
        ("ctx", ctypes.c_void_p),
        ("run", ctypes.c_void_p),
        ("reset", ctypes.c_void_p),
        ("page_size", ctypes.c_size_t),
    )


def _build() -> ctypes.CDLL:
    so = Path(tempfile.mkdtemp(prefix="zswap-bench-")) / "bare.so"
    sources = [ROOT / "bench" / "bare.c", ROOT / "csrc/crypto/lz4.c", ROOT / "csrc/crypto/lzo.c"]
    subprocess.run(
        ["cc", "-std=gnu11", "-O2", "-shared", "-fPIC", f"-I{ROOT / 'csrc'}", "-o", so, *sources],
        check=True,
    )
    dll = ctypes.CDLL(str(so))
    for name in ("bare_compress", "bare_pack", "bare_decompress", "whole_store", "whole_load"):
        getattr(dll, name).restype = ctypes.c_size_t
    return dll


_dll: ctypes.CDLL | None = None


def address(buffer: Any) -> int:
    """The address of a writable buffer's bytes."""
    return ctypes.addressof((ctypes.c_char * 1).from_buffer(buffer))


class BareLoop:
    """A codec's own functions in a C loop, with the state and the parameters that zswap
    gives them.
    """

    def __init__(self, compressor: str, pages: bytearray) -> None:
        global _dll  # noqa: PLW0603
        _dll = _dll or _build()
        c = crypto.find(compressor)
        self._keep: list[Any] = []
        self.pages, self.nr = pages, len(pages) // PAGE
        dll = ctypes.CDLL(c.library) if c.library else None
        self._c, self._d = (
            _Bare(KINDS[c.spec], page_size=PAGE),
            _Bare(KINDS[c.spec], page_size=PAGE),
        )
        getattr(self, f"_init_{c.spec.replace(':', '_').replace('-', '_')}")(dll)
        self._scratch = ctypes.create_string_buffer(2 * PAGE)
        self._objs = bytearray(len(pages))
        self._lens = (ctypes.c_uint32 * self.nr)()
        self._at = address(pages)
        total = _dll.bare_pack(
            ctypes.byref(self._c),
            ctypes.c_void_p(self._at),
            ctypes.c_size_t(self.nr),
            ctypes.c_void_p(address(self._objs)),
            self._lens,
            self._scratch,
        )
        self.compressed_bytes: int = total
        self._offsets = [0]
        for n in self._lens:
            self._offsets.append(self._offsets[-1] + n)

    @staticmethod
    def _fn(dll: Any, name: str) -> int | None:
        return ctypes.cast(getattr(dll, name), ctypes.c_void_p).value

    def _memory(self, size: int) -> int:
        self._keep.append(ctypes.create_string_buffer(size))
        return ctypes.addressof(self._keep[-1])

    def _init_lz4_liblz4(self, dll: Any) -> None:
        self._c.ctx, self._c.run = (
            self._memory(dll.LZ4_sizeofState()),
            self._fn(dll, "LZ4_compress_fast_extState"),
        )
        self._d.run = self._fn(dll, "LZ4_decompress_safe")

    def _init_lz4_kernel(self, dll: Any) -> None:
        self._c.ctx, self._d.run = self._memory(16384), self._fn(dll, "LZ4_decompress_safe")

    def _init_lzo_kernel(self, dll: Any) -> None:
        self._c.ctx = self._memory(16384)

    _init_lzo_rle_kernel = _init_lzo_kernel

    def _init_zstd_libzstd(self, dll: Any) -> None:
        for create in (dll.ZSTD_createCCtx, dll.ZSTD_createDCtx):
            create.restype = ctypes.c_void_p
        self._c.ctx, self._d.ctx = dll.ZSTD_createCCtx(), dll.ZSTD_createDCtx()
        # level 3 for 256 KiB: window, chain, hash, search, minMatch, target, strategy
        for parameter, value in zip(
            (101, 103, 102, 104, 105, 106, 107), (18, 16, 16, 1, 4, 0, 2), strict=True
        ):
            dll.ZSTD_CCtx_setParameter(ctypes.c_void_p(self._c.ctx), parameter, value)
        self._c.run, self._d.run = (
            self._fn(dll, "ZSTD_compress2"),
            self._fn(dll, "ZSTD_decompressDCtx"),
        )

    def _init_deflate_zlib(self, dll: Any) -> None:
        dll.zlibVersion.restype = ctypes.c_char_p
        self._c.ctx, self._d.ctx = self._memory(112), self._memory(112)
        version = dll.zlibVersion()
        dll.deflateInit2_(ctypes.c_void_p(self._c.ctx), -1, 8, -11, 8, 0, version, 112)
        dll.inflateInit2_(ctypes.c_void_p(self._d.ctx), -11, version, 112)
        self._c.run, self._c.reset = self._fn(dll, "deflate"), self._fn(dll, "deflateReset")
        self._d.run, self._d.reset = self._fn(dll, "inflate"), self._fn(dll, "inflateReset")

    def compress(self, first: int, nr: int) -> int:
        """Compress pages first .. first + nr - 1. Returns the bytes written."""
        assert _dll is not None
        n: int = _dll.bare_compress(
            ctypes.byref(self._c),
            ctypes.c_void_p(self._at + first * PAGE),
            ctypes.c_size_t(nr),
            self._scratch,
        )
        return n

    def decompress(self, first: int, nr: int, out: int) -> None:
        """Decompress the same pages' objects to address `out`. Raises RuntimeError if
        an object does not give a page.
        """
        assert _dll is not None
        lens = ctypes.byref(self._lens, first * 4)
        if not _dll.bare_decompress(
            ctypes.byref(self._d),
            ctypes.c_void_p(address(self._objs) + self._offsets[first]),
            lens,
            ctypes.c_size_t(nr),
            ctypes.c_void_p(out),
        ):
            raise RuntimeError("an object does not decompress")


class WholeLoop:
    """zswap's own calls in a C loop, on an instance that only the benchmark uses."""

    def __init__(self, z: zs.Zswap) -> None:
        global _dll  # noqa: PLW0603
        _dll = _dll or _build()
        self._z = ctypes.c_void_p(int(ffi.cast("uintptr_t", z._z)))
        self._store = ctypes.c_void_p(int(ffi.cast("uintptr_t", ffi.addressof(lib, "zswap_store"))))
        self._load = ctypes.c_void_p(
            int(ffi.cast("uintptr_t", ffi.addressof(lib, "zswap_load_batch")))
        )

    def store(self, pages: int, first: int, nr: int, folio: int) -> None:
        """Store `nr` pages at address `pages` in slots from `first` on. Raises
        RuntimeError if a folio is rejected.
        """
        assert _dll is not None
        sizes = map(ctypes.c_size_t, (first, nr, folio, PAGE))
        if _dll.whole_store(self._store, self._z, ctypes.c_void_p(pages), *sizes):
            raise RuntimeError("a folio was rejected")

    def load(self, out: int, first: int, nr: int, batch: int) -> None:
        """Load the slots from `first` on to address `out`, at most 64 a call. Raises
        RuntimeError if a page is missing.
        """
        assert _dll is not None
        if _dll.whole_load(
            self._load,
            self._z,
            ctypes.c_void_p(out),
            *map(ctypes.c_size_t, (first, nr, batch, PAGE)),
        ):
            raise RuntimeError("a page was not loaded")


def real_pages(path: str | None = None, nr: int = 8192) -> bytearray:
    """Read `nr` pages that are not zero: of a file, or by default of this interpreter's
    libraries, text and data alike.
    """
    if path:
        data = Path(path).read_bytes()
    else:
        files = sorted(Path(os.__file__).parent.glob("*.py")) + sorted(
            Path(zs.__file__).parent.parent.glob("**/*.so")
        )
        data = b"".join(f.read_bytes() for f in files)
    pages = bytearray()
    for i in range(0, len(data) - PAGE + 1, PAGE):
        if len(pages) == nr * PAGE:
            break
        if any(data[i : i + PAGE]):
            pages += data[i : i + PAGE]
    return pages


def machine() -> dict[str, str | int | None]:
    """Describe the machine and the versions that a figure depends on."""
    cpuinfo = Path("/proc/cpuinfo").read_text()
    model = next(
        (
            line.split(":")[1].strip()
            for line in cpuinfo.splitlines()
            if line.startswith("model name")
        ),
        "",
    )
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "zswap_py": zs.__version__,
    }
