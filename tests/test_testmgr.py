# SPDX-License-Identifier: GPL-2.0-or-later
"""The known pages: their recorded sizes are the kernel's, and they tell other encoders
from it.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import importlib.util
import json
import platform
import re
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from corpus import digest
from model import class_of
from model_codecs import COMPRESSORS

from zswap_py.crypto.testmgr import KERNEL_SIZES, known_pages

RECORDED = json.loads((Path(__file__).parent / "data" / "kernel_figures.json").read_text())[
    "known_pages"
]
PAGES = known_pages()


def deflate_with(level: int, wbits: int, mem_level: int) -> Callable[[bytes], int]:
    def length(page: bytes) -> int:
        c = zlib.compressobj(level, zlib.DEFLATED, wbits, mem_level)
        return len(c.compress(page)) + len(c.flush())

    return length


def differing(name: str, encoder: Callable[[bytes], int]) -> int:
    return sum(encoder(page) != size for page, size in zip(PAGES, KERNEL_SIZES[name], strict=True))


def test_the_pages_are_those_that_were_recorded() -> None:
    assert digest(PAGES) == RECORDED["sha256"]
    assert {len(page) for page in PAGES} == {4096}


def test_no_page_is_one_that_zram_keeps_raw_or_as_a_word() -> None:
    assert all(page[:8] * 512 != page for page in PAGES)
    assert max(max(sizes) for sizes in KERNEL_SIZES.values()) < 3625


@pytest.mark.parametrize("name", ["lz4", "lz4hc", "lzo", "lzo-rle"])
def test_sizes_are_what_zram_had(name: str) -> None:
    assert list(KERNEL_SIZES[name]) == RECORDED[f"zram:{name}"]


def test_deflate_sizes_are_of_the_classes_that_zswap_had() -> None:
    classes = [class_of(size) for size in KERNEL_SIZES["deflate"]]
    assert [[c.chain, c.objs] for c in classes] == RECORDED["zspages:deflate"]


@pytest.mark.parametrize("name", ["lz4", "lz4hc", "lzo", "lzo-rle"])
def test_the_encoders_by_their_rules_have_the_sizes(name: str) -> None:
    assert [COMPRESSORS[name](page) for page in PAGES] == list(KERNEL_SIZES[name])


@pytest.mark.skipif(
    platform.machine() != "x86_64" or not re.fullmatch(r"[0-9.]+", zlib.ZLIB_RUNTIME_VERSION),
    reason=f"zlib {zlib.ZLIB_RUNTIME_VERSION} on {platform.machine()} is another encoder",
)
def test_zlib_with_the_kernels_parameters_has_the_sizes() -> None:
    assert [COMPRESSORS["deflate"](page) for page in PAGES] == list(KERNEL_SIZES["deflate"])


@pytest.mark.parametrize(
    ("level", "wbits", "mem_level"),
    [(5, -11, 8), (7, -11, 8), (-1, -15, 8), (-1, -12, 8), (-1, -11, 9), (-1, -11, 7)],
)
def test_zlib_with_other_parameters_is_told_apart(level: int, wbits: int, mem_level: int) -> None:
    assert differing("deflate", deflate_with(level, wbits, mem_level)) >= 1


@pytest.fixture
def liblz4() -> ctypes.CDLL:
    """The lz4 package's liblz4."""
    spec = importlib.util.find_spec("lz4.block._block")
    if spec is None or spec.origin is None:
        pytest.skip("the lz4 package is not installed")
    lib = ctypes.CDLL(spec.origin)
    if lib.LZ4_versionNumber() < 10802:
        pytest.skip("an lz4 of the kernel's line")
    return lib


def test_liblz4_is_told_apart(liblz4: ctypes.CDLL) -> None:
    out = ctypes.create_string_buffer(8192)

    def lz4(page: bytes) -> int:
        return int(liblz4.LZ4_compress_default(page, out, len(page), len(out)))

    assert differing("lz4", lz4) >= 2


@pytest.mark.parametrize("level", [8, 9, 10])
def test_lz4hc_of_liblz4_is_told_apart(liblz4: ctypes.CDLL, level: int) -> None:
    out = ctypes.create_string_buffer(8192)

    def lz4hc(page: bytes) -> int:
        return int(liblz4.LZ4_compress_HC(page, out, len(page), len(out), level))

    assert differing("lz4hc", lz4hc) >= 2


def test_liblzo2_is_told_apart() -> None:
    path = ctypes.util.find_library("lzo2")
    if path is None:
        pytest.skip("liblzo2 is not installed")
    lib = ctypes.CDLL(path)
    out, work = ctypes.create_string_buffer(8192), ctypes.create_string_buffer(1 << 17)

    def lzo1x_1(page: bytes) -> int:
        length = ctypes.c_size_t(len(out))
        lib.lzo1x_1_compress(page, len(page), out, ctypes.byref(length), work)
        return length.value

    assert differing("lzo", lzo1x_1) >= 2


def test_lzo_and_lzo_rle_are_told_apart() -> None:
    assert differing("lzo", COMPRESSORS["lzo-rle"]) >= 2
