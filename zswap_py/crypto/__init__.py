# SPDX-License-Identifier: GPL-2.0-or-later
"""The registry of compressors: what crypto_alloc_acomp() finds.

A compressor is `name` or `name:backend`. A bare name means its first backend that is
available.

The functions of a codec are borrowed from the wheels of lz4, zstandard, deflate and
isal, which carry and export them. The registry finds a wheel's file without importing
the package, loads it, and stores its functions' addresses in the C library's table
once. After that no call goes through Python. If a wheel is missing, or hides the
functions, the system's library serves instead. Another codec never replaces a missing
one. Where kernels have the sizes of different versions of a library (zstd), both places
are loaded, and each Method takes the one that has its kernels' sizes.

`deflate-iaa` is a device's algorithm: the bare name needs a bound accelerator queue,
and `name:backend` selects its software.
"""

from __future__ import annotations

import ctypes
import difflib
import errno
import functools
import glob
import importlib.metadata
import importlib.util
import itertools
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from zswap_py._lib.fixed import Owner
from zswap_py._lib.params import buffer, text, whole
from zswap_py._native import ffi, lib, oserror, string, strings
from zswap_py.crypto import testmgr
from zswap_py.crypto.methods import LIBRARIES, NEWEST, Method, must_be_method

KERNEL_NAMES = ("lzo", "lzo-rle", "lz4", "lz4hc", "zstd", "deflate", "842", "deflate-iaa")

CompressFn = Callable[[memoryview, int], "bytes | bytearray | memoryview"]
"""compress(page, room) returns the compressed bytes. More than `room` bytes become
-ENOSPC, an exception becomes -EIO.
"""
DecompressFn = Callable[[memoryview, int], "bytes | bytearray | memoryview"]
"""decompress(object, page_size) returns the page."""


@dataclass(frozen=True)
class _Library:
    """The places of a backend's functions, in order: a wheel's extension module, then
    the system's library.
    """

    wheel: tuple[str, str] | None  # package, pattern under its folder
    soname: str
    version: str | None  # the function that returns it
    install: str
    prefix: str = ""  # of its functions, if a backend uses several libraries
    all_places: bool = False  # its versions' sizes are those of different kernels


_LIBRARIES = {
    "liblz4": _Library(
        ("lz4", "block/_block*.so"), "liblz4.so.1", "LZ4_versionString", "pip install lz4"
    ),
    "libzstd": _Library(
        ("zstandard", "_cffi*.so"),
        "libzstd.so.1",
        "ZSTD_versionString",
        "pip install zstandard",
        all_places=True,
    ),
    "zlib": _Library(None, "libz.so.1", "zlibVersion", "apt install zlib1g"),
    "libdeflate": _Library(
        ("deflate", "_deflate*.so"), "libdeflate.so.0", None, "pip install 'zswap-py[deflate]'"
    ),
    "isal": _Library(
        ("isal", "igzip_lib*.so"), "libisal.so.2", None, "pip install 'zswap-py[isal]'", "isal_"
    ),
}
# The libraries of the rows whose backend does not name exactly one, the encoder's
# first. A function comes from the first library whose prefix it has. The kernel's
# encoders are part of the C library; liblz4 reads LZ4's streams, and zlib igzip's.
_BORROWS: dict[tuple[str, str], tuple[str, ...]] = {
    ("lzo", "kernel"): (),
    ("lzo-rle", "kernel"): (),
    ("lz4", "kernel"): ("liblz4",),
    ("lz4hc", "kernel"): ("liblz4",),
    ("deflate-iaa", "isal"): ("isal", "zlib"),
}

ACCELERATED = ("deflate-iaa",)
"""Names that mean a device. Their rows of the C table are its software, which only
`name:backend` selects.
"""

_NOT_AVAILABLE = {"842": "no library has sw842, the kernel's software encoder of it"}


@dataclass(frozen=True)
class CompressorInfo:
    """One entry of `compressors()`."""

    name: str
    backend: str | None
    available: bool
    reason: str | None  # why it is not available
    kernel_sizes: bool  # the known pages compressed to the newest kernel's sizes
    library: str | None  # the file that has the functions
    library_version: str | None
    batch_size: int = 1
    remedy: str | None = None  # the library to install for the kernel's sizes


MAX_ROOM = 1 << 24
"""The most bytes that one page may become outside a pool: far above what any codec
makes of 64 KiB.
"""


class Build(NamedTuple):
    """A codec over one library, which `opened` keeps open."""

    make: Callable[[], Any]  # makes a C algorithm
    library: str | None  # the file that has the functions
    version: str | None
    opened: Any = None


class Chosen(NamedTuple):
    """What runs a codec by one Method.

    `kernel_sizes` is true if the known pages compressed to the sizes of the method's
    kernels. Else `remedy` names the library that has them, if one is known.
    """

    alg: Any  # it lives as long as the process
    build: Build
    kernel_sizes: bool
    remedy: str | None = None


class Compressor(Owner):
    """A compressor that is available. Equal compressors are the same object."""

    __slots__ = (
        "__weakref__",
        "_backend",
        "_batch_size",
        "_builds",
        "_chosen",
        "_codec",
        "_lock",
        "_name",
    )
    _instead = "pass its spec, name:backend"

    def __init__(
        self,
        name: str,
        backend: str,
        builds: Sequence[Build],
        batch_size: int = 1,
        codec: str | None = None,
    ) -> None:
        self._name, self._backend = name, backend
        self._builds = builds  # the preferred one first
        self._batch_size = batch_size
        self._codec = codec or name
        self._chosen: dict[Method, Chosen] = {}
        self._lock = threading.RLock()

    @property
    def name(self) -> str:
        """The name that selects it."""
        return self._name

    @property
    def backend(self) -> str:
        """The library, or the device, that compresses."""
        return self._backend

    @property
    def spec(self) -> str:
        """name:backend."""
        return f"{self.name}:{self.backend}"

    @property
    def codec(self) -> str:
        """The kernel's name of what it runs: `name`, unless it is registered over
        another one.
        """
        return self._codec

    @property
    def library(self) -> str | None:
        """The file that has the functions."""
        return self._builds[0].library

    @property
    def library_version(self) -> str | None:
        """The version that the library reports."""
        return self._builds[0].version

    @property
    def batch_size(self) -> int:
        """The pages that one request may carry."""
        return self._batch_size

    @property
    def kernel_sizes(self) -> bool:
        """True if the known pages, of 4 KiB, compressed to the sizes of the newest
        kernels' zswap. Pool.kernel_sizes has the answer for a Zswap's own kernel.
        """
        return self.choose().kernel_sizes

    def kernel_sizes_at(self, page_size: int) -> bool:
        """Returns `kernel_sizes` for pages of `page_size` bytes. The known pages have
        4 KiB; deflate's sizes of larger ones differ from the kernel's.
        """
        page_size = whole("page_size", page_size, 1, MAX_ROOM)
        return self.kernel_sizes and testmgr.sizes_hold(self.codec, page_size)

    def __repr__(self) -> str:
        return f"<Compressor {self.spec}>"

    def alg(self, method: Method = NEWEST) -> Any:
        """The C algorithm for a method."""
        return self.choose(method).alg

    def choose(self, method: Method = NEWEST) -> Chosen:
        """Returns what runs the codec by a method: of the libraries that are there, the
        first that has its kernels' sizes; the preferred one if none has.
        """
        must_be_method(method)
        with self._lock:
            if method not in self._chosen:
                self._chosen[method] = self._choose(method)
            return self._chosen[method]

    def _choose(self, method: Method) -> Chosen:
        known = self._codec if method.sizes is None else method.sizes
        sizes = testmgr.KERNEL_SIZES.get(known)
        for build in self._builds:
            alg = self._alg(build, method)
            if sizes and self._sizes(alg) == sizes:
                return Chosen(alg, build, True)
            lib.acomp_alg_free(alg)
        return Chosen(
            self._alg(self._builds[0], method), self._builds[0], False, LIBRARIES.get(known)
        )

    def _alg(self, build: Build, method: Method) -> Any:
        alg = build.make()
        lib.acomp_alg_set_variant(alg, method.variant)
        lib.acomp_alg_set_level(alg, method.level)
        if method.nospace:
            lib.acomp_alg_set_nospace(alg, -method.nospace)
        lib.acomp_alg_set_batch_size(alg, self.batch_size)
        return alg

    def _sizes(self, alg: Any) -> tuple[int, ...]:
        """Returns the sizes of the known pages. Raises OSError if one comes back with
        other bytes.
        """
        sizes = []
        for page in testmgr.known_pages():
            packed = self._run(alg, True, page, 2 * len(page))
            if self._run(alg, False, packed, len(page)) != page:
                by = self.library or "it"
                raise OSError(
                    errno.EIO, f"{self.spec}: {by} decompresses a known page to other bytes"
                )
            sizes.append(len(packed))
        return tuple(sizes)

    def run(self, compress: bool, src: Any, room: int, method: Method = NEWEST) -> bytes:
        """Compress or decompress one page outside any pool.

        Raises OSError with the compressor's error, or the exception that a compressor
        written in Python raised.
        """
        room = whole("room", room, 0, MAX_ROOM)
        page = buffer("src", src)
        if len(page) > MAX_ROOM:
            raise ValueError(f"src: {len(page)} bytes, more than {MAX_ROOM}")
        return self._run(self.choose(method).alg, compress, page, room)

    def _run(self, alg: Any, compress: bool, page: Any, room: int) -> bytes:
        dst, dlen = ffi.new("uint8_t[]", room), ffi.new("unsigned int *", room)
        rc = lib.acomp_alg_run(alg, bool(compress), page, len(page), dst, dlen)
        del page  # a traceback that keeps a buffer of a memoryview crashes the collector
        reraise()
        if rc:
            raise oserror(rc, f"{self.spec}: {'compress' if compress else 'decompress'} a page")
        return bytes(ffi.buffer(dst, dlen[0]))


class DeviceCompressor(Compressor):
    """A device's algorithm, which its driver owns. `get` returns it."""

    __slots__ = ("_log_messages",)
    _instead = "pass its spec, name:backend, while a queue of its device is bound"

    def __init__(
        self,
        name: str,
        backend: str,
        get: Callable[[], Any],
        library: str | None,
        version: str | None,
        batch_size: int = 1,
        log_messages: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(name, backend, (Build(get, library, version),), batch_size)
        lib.acomp_alg_set_batch_size(get(), batch_size)
        self._log_messages = log_messages

    def choose(self, method: Method = NEWEST) -> Chosen:  # a device has one method
        """Returns the driver's algorithm, which lives as long as the driver."""
        return Chosen(self._builds[0].make(), self._builds[0], False)

    def run(self, compress: bool, src: Any, room: int, method: Method = NEWEST) -> bytes:
        """Compress or decompress one page outside any pool. Raises OSError with the
        driver's error.
        """
        try:
            return super().run(compress, src, room, method)
        finally:
            self.log_messages()

    def log_messages(self) -> None:
        """Log the messages that the driver has written since the last call."""
        self._log_messages()


# ---- built in ----


def _places(library: _Library, symbols: list[str]) -> Iterator[tuple[ctypes.CDLL, str]]:
    """Yields each place where a library has all symbols, with its file: a wheel's
    modules, then the system's library, loaded. Raises OSError for that one.
    """
    if library.wheel:
        package, pattern = library.wheel
        spec = importlib.util.find_spec(package)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            for path in sorted(glob.glob(os.path.join(folder, pattern))):
                try:
                    dll = ctypes.CDLL(path)
                except OSError:
                    continue  # built for another interpreter
                # a wheel may hide them
                if all(hasattr(dll, s) for s in (*symbols, library.version) if s):
                    yield dll, path
    yield ctypes.CDLL(library.soname), library.soname


def _version(dll: ctypes.CDLL, library: _Library, path: str) -> str | None:
    if library.version:
        fn = getattr(dll, library.version)
        fn.restype = ctypes.c_char_p
        return str(fn().decode())
    if library.wheel and path != library.soname:
        return f"{library.wheel[0]} {importlib.metadata.version(library.wheel[0])}"
    return None


def _borrow(library: _Library, symbols: list[str]) -> list[tuple[ctypes.CDLL, str]]:
    """Load a library that has all of `symbols`, from each of its places if its sizes
    differ by version, else from the first. Returns it and its file, at least once.
    Raises OSError that names the missing library or symbols.
    """
    found: list[tuple[ctypes.CDLL, str]] = []
    missing: list[str] = []
    try:
        for dll, path in _places(library, symbols):
            missing = [s for s in symbols if not hasattr(dll, s)]
            if not missing:
                found.append((dll, path))
            if not library.all_places:
                break
    except OSError as e:
        if not found:
            raise OSError(
                errno.ENOENT, f"{library.soname} cannot be loaded ({e}): {library.install}"
            ) from e
    if not found:
        raise OSError(
            errno.ENOENT, f"{path} does not export {', '.join(missing)}: {library.install}"
        )
    return found


def _load(codec: int, name: str, backend: str) -> Compressor:
    """Make the compressor of a row of the C table: find its functions and try it.
    Raises OSError that names the missing ones.
    """
    libraries = [_LIBRARIES[of] for of in _BORROWS.get((name, backend), (backend,))]
    symbols = strings(lib.codec_symbol, codec)
    wanted: dict[_Library, list[str]] = {library: [] for library in libraries}
    for s in symbols:
        wanted[next(library for library in libraries if s.startswith(library.prefix))].append(s)
    opened = {library: _borrow(library, names) for library, names in wanted.items()}
    builds = []
    for place in itertools.product(*opened.values()):  # the encoder's library comes first
        functions = {
            s: getattr(dll, s)
            for (dll, _), names in zip(place, wanted.values(), strict=True)
            for s in names
        }
        path, version = None, None
        if libraries:
            dll, path = place[0]
            version = _version(dll, libraries[0], path)
        make = functools.partial(_make, codec, [functions[s] for s in symbols])
        builds.append(Build(make, path, version, place))
    compressor = Compressor(name, backend, builds)
    compressor.choose()
    return compressor


def _make(codec: int, functions: list[Any]) -> Any:
    """Make a C algorithm of a row with its borrowed functions."""
    alg = lib.acomp_alg_create(codec)
    if alg == ffi.NULL:
        raise MemoryError
    for i, function in enumerate(functions):
        address = ctypes.cast(function, ctypes.c_void_p).value
        lib.acomp_alg_set_symbol(alg, i, ffi.cast("void *", address))
    return alg


_lock = threading.RLock()
_rows = [
    (string(lib.codec_name(i)), string(lib.codec_backend(i)))
    for i in range(len(strings(lib.codec_name)))
]
_loaded: dict[tuple[str, str], Compressor | str] = {}  # or why it is not available
_registered: dict[str, Compressor] = {}
_bound: list[DeviceCompressor] = []  # accelerators, in the order of their binding


def _get(name: str, backend: str) -> Compressor | str:
    with _lock:
        key = (name, backend)
        if key not in _loaded:
            try:
                _loaded[key] = _load(_rows.index(key), name, backend)
            except OSError as e:
                _loaded[key] = e.strerror or str(e)
        return _loaded[key]


def _backends(name: str) -> list[str]:
    """The name's backends at present, the software first."""
    with _lock:
        return [b for n, b in _rows if n == name] + [c.backend for c in _bound if c.name == name]


def _unbound(name: str) -> str:
    software = " and ".join(f"{n}:{b}" for n, b in _rows if n == name)
    return f"no accelerator queue is bound; the software backends are {software}"


def find(spec: str) -> Compressor:
    """Find the compressor for `name` or `name:backend`.

    The bare name of an accelerator's algorithm means the bound accelerator that was
    bound first. Raises OSError ENOENT, with the reason, if there is none.
    """
    name, _, backend = text("compressor", spec).strip().partition(":")
    with _lock:
        if name in _registered and backend in ("", _registered[name].backend):
            return _registered[name]
        for accelerator in _bound:
            if accelerator.name == name and backend in ("", accelerator.backend):
                return accelerator
    reasons = []
    for row in _rows:
        if row == (name, backend) or (row[0] == name and not backend and name not in ACCELERATED):
            found = _get(*row)
            if isinstance(found, Compressor):
                return found
            reasons.append(found)
    if not reasons:
        backends = _backends(name)
        if backend and backends:
            reasons.append(f"its backends are {', '.join(backends)}")
            if name in ACCELERATED and not any(c.name == name for c in _bound):
                reasons.append("no accelerator queue is bound")
        elif name in ACCELERATED:
            reasons.append(_unbound(name))
        elif name in _NOT_AVAILABLE:
            reasons.append(_NOT_AVAILABLE[name])
        else:
            known = sorted({n for n, _ in _rows} | set(_registered))
            near = difflib.get_close_matches(name, known, 1)
            reasons.append(f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}")
    raise OSError(errno.ENOENT, f"compressor {spec} not available: {'; '.join(reasons)}")


def compressors() -> list[CompressorInfo]:
    """List the kernel's names with their backends, then the registered compressors. An
    entry that is not available has the reason.
    """
    infos = []
    for name in KERNEL_NAMES:
        backends = [b for n, b in _rows if n == name]
        for backend in backends:
            found = _get(name, backend)
            if isinstance(found, Compressor):
                infos.append(_info(found))
            else:
                infos.append(CompressorInfo(name, backend, False, found, False, None, None))
        with _lock:
            bound = [_info(c) for c in _bound if c.name == name]
        infos += bound
        if name in ACCELERATED and not bound:
            infos.append(CompressorInfo(name, None, False, _unbound(name), False, None, None))
        elif not backends and name not in _registered:
            infos.append(CompressorInfo(name, None, False, _NOT_AVAILABLE[name], False, None, None))
    with _lock:
        infos += [_info(c) for c in _registered.values()]
    return infos


def _info(c: Compressor) -> CompressorInfo:
    return info_of(c, c.choose())


def info_of(c: Compressor, by: Chosen, page_size: int = testmgr.PAGE_SIZE) -> CompressorInfo:
    """Returns the entry of compressors() for what runs a compressor by a method, and
    claims for pages of that size.
    """
    return CompressorInfo(
        c.name,
        c.backend,
        True,
        None,
        by.kernel_sizes and testmgr.sizes_hold(c.codec, page_size),
        by.build.library,
        by.build.version,
        c.batch_size,
        by.remedy,
    )


# ---- accelerators ----


def bind_accelerator(compressor: DeviceCompressor) -> None:
    """Make a device's algorithm available, by `name:backend` and by the bare name, once
    its first queue is bound.

    Several may be bound, each with a backend name of its own ("iaa", "iaa1"); the bare
    name means the first. Raises ValueError if the name is no accelerator's, or the
    backend is taken.
    """
    name, backend = compressor.name, compressor.backend
    if name not in ACCELERATED:
        raise ValueError(
            f"{compressor.spec}: an accelerator's algorithm is {' or '.join(ACCELERATED)}"
        )
    if not backend or ":" in backend:
        raise ValueError(f"backend {backend!r}: must be a new name without a colon")
    with _lock:
        if backend in _backends(name):
            raise ValueError(
                f"{compressor.spec} is taken: {name} has the backends "
                f"{', '.join(_backends(name))}; give the "
                "accelerator another name=, or close the one that uses it"
            )
        _bound.append(compressor)


def unbind_accelerator(compressor: DeviceCompressor) -> None:
    """Remove a device's algorithm after its last queue is unbound. Pools that use it
    continue. Raises ValueError if it was not bound.
    """
    with _lock:
        if compressor not in _bound:
            raise ValueError(f"{compressor.spec} is not bound")
        _bound.remove(compressor)


def _after_fork_in_child() -> None:
    """Drop the accelerators, which are the parent's, and the lock, which one of the
    parent's threads may hold.
    """
    global _lock  # noqa: PLW0603  # it cannot be released here
    _lock = threading.RLock()
    _bound.clear()


os.register_at_fork(after_in_child=_after_fork_in_child)


# ---- compressors of the caller ----


class _Raised(threading.local):
    exception: BaseException | None = None


raised = _Raised()
"""The exception that a compressor written in Python raised on this thread. The call
that it ran in raises it again.
"""


def reraise() -> None:
    """Raises the exception that a compressor left on this thread, if any, and forgets
    it.
    """
    e, raised.exception = raised.exception, None
    if e is not None:
        raise e


@ffi.def_extern(error=-errno.EIO)  # type: ignore[untyped-decorator,unused-ignore]
def zswap_py_acomp(handle: Any, compress: bool, src: Any, slen: int, dst: Any, dlen: Any) -> int:
    """Run a compressor that is written in Python, for the C library."""
    compressor: _Python = ffi.from_handle(handle)
    room = dlen[0]
    try:
        run = compressor.compress if compress else compressor.decompress
        # The function gets a copy, which it may keep. A result counts by its bytes,
        # not by its len().
        with memoryview(run(memoryview(ffi.buffer(src, slen)[:]), room)) as result:
            n = result.nbytes
            if n <= room:
                ffi.memmove(dst, result, n)
    except BaseException as e:
        raised.exception = e
        return -errno.EIO
    if n > room:
        return -errno.ENOSPC
    dlen[0] = n
    return 0


@dataclass
class _Python:
    compress: CompressFn
    decompress: DecompressFn


def register_compressor(
    name: str,
    compress: CompressFn | None = None,
    decompress: DecompressFn | None = None,
    *,
    base: str | None = None,
    batch_size: int = 1,
) -> Compressor:
    """Register a compressor for all instances of the process.

    Give either `compress` and `decompress`, or `base`, the name of an available
    compressor. Two functions are slow, so they are for tests and experiments. They run
    on the thread that stores or loads, which holds the slots' locks. A function that
    calls the same Zswap, or changes its CPUs or pools, gets OSError EDEADLK. `base`
    cannot be an accelerator's algorithm: the device owns it, and it ends with the
    device.

    `batch_size` is the number of pages that one request may carry, so that batching can
    be tried without an accelerator. 0 counts as 1; zswap uses at most 8. Raises
    ValueError if the name is taken.
    """
    if (compress is None) != (decompress is None) or (compress is None) == (base is None):
        raise ValueError(
            "give compress and decompress, or base=, the name of an available compressor"
        )
    for argument, function in (("compress", compress), ("decompress", decompress)):
        if function is not None and not callable(function):
            raise TypeError(f"{argument}={function!r}: a function")
    batch_size = whole("batch_size", batch_size, 0, 255)
    if (
        ":" in text("name", name)
        or not name
        or not name.isprintable()
        or name != name.strip()
        or (name in {n for n, _ in _rows})
    ):
        raise ValueError(f"name {name!r}: must be a new name without a colon")
    if base is not None:
        origin = find(text("base", base))
        if isinstance(origin, DeviceCompressor):
            software = " or ".join(f"{n}:{b}" for n, b in _rows if n == origin.name)
            raise ValueError(
                f"base={base!r} is an accelerator's algorithm, which needs its device: use "
                f"{software}, or set the Accelerator's batch_size="
            )
        made = Compressor(name, origin.spec, origin._builds, batch_size, origin.codec)
    else:
        assert compress is not None
        assert decompress is not None
        handle = ffi.new_handle(_Python(compress, decompress))

        def make() -> Any:
            alg = lib.acomp_alg_create_custom(name.encode(), b"python", lib.zswap_py_acomp, handle)
            if alg == ffi.NULL:
                raise MemoryError
            return alg

        made = Compressor(name, "python", (Build(make, None, None),), batch_size)
    with _lock:
        if name in _registered:
            raise ValueError(f"compressor {name!r} is registered already")
        _registered[name] = made
    return made


def unregister_compressor(name: str) -> None:
    """Remove a registered compressor. Pools that use it continue. Raises KeyError if
    there is none.
    """
    with _lock:
        del _registered[text("name", name)]
