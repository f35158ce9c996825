# SPDX-License-Identifier: GPL-2.0-or-later
"""The project's codecs against the libraries', page by page on the same pages, in
turns.

usage: encoders.py [--json] [--pages N] [--rounds N] [--cflags FLAGS] [FILE...]

FILE: pages to compress (process memory is best). The default is the running
interpreter's library and its standard library's source. Prints a table, or with --json
one object. It has for each pair the median nanoseconds a page of each codec (`ours_ns`,
`theirs_ns`), the ratio of these medians (`ratio`), the median over the pages of each
page's ratio (`page_ratio`), and the project's `limit` for the ratio. Exits with 1 if a
ratio is over its limit.
"""

from __future__ import annotations

import argparse
import ctypes
import ctypes.util
import importlib.util
import json
import pathlib
import shlex
import statistics
import subprocess
import sys
import sysconfig
import tempfile
from typing import Any

PAGE = 4096
ROOM = 2 * PAGE  # zswap's buffers
ROOT = pathlib.Path(__file__).resolve().parent.parent
# encoders.c: enum shape
OURS_COMPRESS, OURS_DECOMPRESS, LIBLZ4_EXT_STATE, LIBLZ4_HC_STATE, LIBLZO2 = range(5)


class Codec(ctypes.Structure):
    """encoders.c: struct codec."""

    _fields_ = [("fn", ctypes.c_void_p), ("shape", ctypes.c_int)]


def build(cflags: list[str]) -> ctypes.CDLL:
    """Compile the codecs and the timing loop as the package is compiled."""
    with tempfile.TemporaryDirectory() as tmp:
        so = pathlib.Path(tmp) / "encoders.so"
        sources = [
            ROOT / "bench/encoders.c",
            ROOT / "csrc/crypto/lzo.c",
            ROOT / "csrc/crypto/lz4.c",
            ROOT / "csrc/crypto/lz4hc.c",
        ]
        subprocess.run(
            [
                "cc",
                *cflags,
                "-shared",
                "-fPIC",
                f"-I{ROOT / 'csrc'}",
                *map(str, sources),
                "-o",
                str(so),
            ],
            check=True,
        )
        lib = ctypes.CDLL(str(so))
    lib.bench_pair.restype = ctypes.c_long
    lib.bench_clock_ns.restype = ctypes.c_double
    return lib


def lz4_wheel() -> ctypes.CDLL | None:
    """Load the LZ4 that the lz4 wheel carries, if the wheel exports its symbols."""
    spec = importlib.util.find_spec("lz4")
    for place in spec.submodule_search_locations or () if spec else ():
        for path in pathlib.Path(place).glob("block/_block*.so"):
            lib = ctypes.CDLL(str(path))
            if hasattr(lib, "LZ4_compress_fast_extState"):
                return lib
    return None


def liblzo2() -> ctypes.CDLL | None:
    """Load the system's liblzo2, if there is one."""
    name = ctypes.util.find_library("lzo2")
    return ctypes.CDLL(name) if name else None


def default_pages() -> bytes:
    """Read pages of the interpreter's library, and of its standard library's source."""
    library = pathlib.Path(sysconfig.get_config_var("LIBDIR") or "") / (
        sysconfig.get_config_var("INSTSONAME") or ""
    )
    program = library if library.is_file() else pathlib.Path(sys.executable)
    source = b"".join(
        p.read_bytes() for p in sorted(pathlib.Path(sysconfig.get_path("stdlib")).glob("*.py"))
    )
    return b"".join(part[: len(part) // PAGE * PAGE] for part in (program.read_bytes(), source))


def sample(data: bytes, count: int) -> list[bytes]:
    """Choose at most `count` pages, evenly spread. Pages of one repeated word are left
    out: zswap does not compress them.
    """
    pages = [data[i : i + PAGE] for i in range(0, len(data) - PAGE + 1, PAGE)]
    pages = [p for p in pages if p[:8] * (PAGE // 8) != p]
    return [pages[i * len(pages) // count] for i in range(count)] if len(pages) > count else pages


def address(fn: Any) -> int:
    """A foreign function's address."""
    return ctypes.cast(fn, ctypes.c_void_p).value or 0


def compressed(fn: Any, page: bytes) -> bytes:
    """Compress a page with one of our encoders."""
    out, work, size = (
        ctypes.create_string_buffer(ROOM),
        ctypes.create_string_buffer(16384),
        ctypes.c_size_t(ROOM),
    )
    if fn(page, ctypes.c_size_t(len(page)), out, ctypes.byref(size), work):
        raise RuntimeError(f"a page of {len(page)} bytes does not fit into {ROOM} bytes")
    return out.raw[: size.value]


def time_pair(
    lib: ctypes.CDLL, ours: Codec, theirs: Codec, items: list[bytes], rounds: int
) -> dict[str, float]:
    """The median ns an item of each codec, less the clock's cost; see bench_pair()."""
    offsets = [0]
    for item in items:
        offsets.append(offsets[-1] + len(item))
    ns = (ctypes.c_double * (2 * len(items)))()
    failed = lib.bench_pair(
        (Codec * 2)(ours, theirs),
        b"".join(items),
        (ctypes.c_size_t * len(offsets))(*offsets),
        ctypes.c_size_t(len(items)),
        ctypes.c_size_t(ROOM),
        rounds,
        ns,
    )
    if failed:
        raise RuntimeError(f"a codec rejected item {failed - 1}")
    clock = lib.bench_clock_ns()
    a, b = [x - clock for x in ns[::2]], [x - clock for x in ns[1::2]]
    ours_ns, theirs_ns = statistics.median(a), statistics.median(b)
    return {
        "ours_ns": round(ours_ns, 1),
        "theirs_ns": round(theirs_ns, 1),
        "ratio": round(ours_ns / theirs_ns, 4),
        "page_ratio": round(statistics.median(x / y for x, y in zip(a, b, strict=True)), 4),
    }


def measure(lib: ctypes.CDLL, pages: list[bytes], rounds: int) -> list[dict[str, Any]]:
    """Time each pair: a row a pair. A pair without its library has `unavailable`
    instead of figures.
    """
    lz4, lzo = lz4_wheel(), liblzo2()
    streams = [compressed(lib.lzo1x_1_compress, p) for p in pages]
    no_lz4, no_lzo = (
        "the lz4 wheel is missing: pip install lz4",
        "liblzo2 is missing: install liblzo2-2",
    )
    our_lz4, our_lzo, our_rle = lib.lz4_compress, lib.lzo1x_1_compress, lib.lzorle1x_1_compress
    table = [
        (
            "lz4 compress",
            our_lz4,
            OURS_COMPRESS,
            lz4,
            "LZ4_compress_fast_extState",
            LIBLZ4_EXT_STATE,
            1.05,
            pages,
            no_lz4,
        ),
        (
            "lz4hc compress",
            lib.lz4hc_compress,
            OURS_COMPRESS,
            lz4,
            "LZ4_compress_HC_extStateHC",
            LIBLZ4_HC_STATE,
            1.00,
            pages,
            no_lz4,
        ),
        (
            "lzo compress",
            our_lzo,
            OURS_COMPRESS,
            lzo,
            "lzo1x_1_compress",
            LIBLZO2,
            1.10,
            pages,
            no_lzo,
        ),
        (
            "lzo-rle compress",
            our_rle,
            OURS_COMPRESS,
            lzo,
            "lzo1x_1_compress",
            LIBLZO2,
            1.10,
            pages,
            no_lzo,
        ),
        (
            "lzo decompress",
            lib.lzo1x_decompress_safe,
            OURS_DECOMPRESS,
            lzo,
            "lzo1x_decompress_safe",
            LIBLZO2,
            1.15,
            streams,
            no_lzo,
        ),
    ]
    rows = []
    for name, fn, shape, other, symbol, other_shape, limit, items, missing in table:
        row: dict[str, Any] = {"name": name, "theirs": symbol, "limit": limit}
        if other is None:
            row["unavailable"] = missing
        else:
            theirs = Codec(address(getattr(other, symbol)), other_shape)
            row |= time_pair(lib, Codec(address(fn), shape), theirs, items, rounds)
        rows.append(row)
    return rows


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("files", nargs="*", type=pathlib.Path, metavar="FILE")
    parser.add_argument("--json", action="store_true")
    parser.add_argument(
        "--pages", type=int, default=2048, help="pages to sample, at most (%(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=15, help="timings of each page (%(default)s)")
    parser.add_argument("--cflags", default="-std=gnu11 -O2", help="compile with (%(default)s)")
    args = parser.parse_args()

    data = b"".join(p.read_bytes() for p in args.files) if args.files else default_pages()
    pages = sample(data, args.pages)
    rows = measure(build(shlex.split(args.cflags)), pages, args.rounds)
    if args.json:
        print(
            json.dumps(
                {"pages": len(pages), "rounds": args.rounds, "cflags": args.cflags, "pairs": rows}
            )
        )
    else:
        print(f"{len(pages)} pages of {PAGE} bytes, {args.rounds} rounds\n")
        print(
            f"{'':18}{'ours ns':>10}{'theirs ns':>10}{'ratio':>8}{'page ratio':>12}{'limit':>8} "
            " against"
        )
        for r in rows:
            if "unavailable" in r:
                print(f"{r['name']:18}{r['unavailable']}")
                continue
            print(
                f"{r['name']:18}{r['ours_ns']:10.0f}{r['theirs_ns']:10.0f}{r['ratio']:8.3f}{r['page_ratio']:12.3f}"
                f"{r['limit']:8.2f}  {r['theirs']}"
            )
    return int(any(r.get("ratio", 0) > r["limit"] for r in rows))


if __name__ == "__main__":
    sys.exit(main())
