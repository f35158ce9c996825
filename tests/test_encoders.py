# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's own encoders, csrc/crypto/lzo.c, lz4.c and lz4hc.c, alone: compiled
here, and called without the package.

Their sizes are compared with those that a running kernel gave for pages which this file
makes from seeds (data/encoder_sizes.json). To record anew: `test_encoders.py dump
PAGES`, let zram compress each page of PAGES with an algorithm, then `test_encoders.py
record KERNEL ALGORITHM=SIZES...`, one number a line in each SIZES: 0 for a page kept as
a repeated word, 4096 for one kept raw. Other algorithms' sizes of the same pages stay.

ENCODER_CROSS_PAGES: how many pages to decode across the libraries (20,000).
"""

from __future__ import annotations

import ctypes
import ctypes.util
import errno
import hashlib
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from model_codecs import lz4_length, lz4hc_length, lzo_length

PAGE = 4096
RAW = 3625  # zram keeps a page raw from this size on, so the kernel's size of it is not known
WORK = 196608
ROOT = pathlib.Path(__file__).resolve().parent.parent
SIZES = ROOT / "tests/data/encoder_sizes.json"
SOURCES = ("lzo", "lz4", "lz4hc")  # in csrc/crypto
ALGORITHMS = ("lz4", "lz4hc", "lzo", "lzo-rle")
LZ4 = ("lz4", "lz4hc")
CROSS_PAGES = int(os.environ.get("ENCODER_CROSS_PAGES", "20000"))
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g"]

# --------------------------------------------------------------------------------------
# Pages. Only bytes, getrandbits, randbytes and randrange of a seeded Random: they give
# the same on every Python.


def filled(head: bytes, pattern: bytes = b"\x5a\xa5\x11", size: int = PAGE) -> bytes:
    """`head`, then `pattern` over and over up to `size` bytes."""
    rest = max(0, size - len(head))
    return (head + pattern * (rest // len(pattern) + 1))[:size]


def one_byte_set() -> Iterator[bytes]:
    """A page of one value, but for one byte."""
    for background, byte in ((0, 1), (0, 255), (0xAA, 0), (1, 2)):
        for at in (*range(0, 44, 3), *range(44, PAGE, 331), *range(PAGE - 33, PAGE, 2)):
            page = bytearray([background]) * PAGE
            page[at] = byte
            yield bytes(page)


def periods() -> Iterator[bytes]:
    """A pattern over the whole page, alone and behind some random bytes."""
    rng = random.Random(1)
    for period in (3, *range(5, 65)):
        pattern = rng.randbytes(period)
        yield filled(b"", pattern)
        yield filled(rng.randbytes(period), pattern)


def zero_runs() -> Iterator[bytes]:
    """Runs of zeros of each length around lzo-rle's limits; the same with another byte;
    runs up to the page's end.
    """
    rng = random.Random(2)
    lengths = (*range(1, 40), *range(252, 262), *range(2044, 2066), 2100, 3000, 3900)
    for length in lengths:
        for byte in (b"\0", b"\x5a"):
            yield filled(rng.randbytes(8 + length % 5) + byte * length + rng.randbytes(9))
    for tail in range(32):
        yield filled(rng.randbytes(64), b"\0", PAGE - tail) + rng.randbytes(tail)
        yield filled(rng.randbytes(64), size=PAGE - 40 - tail) + bytes(40) + b"\1" * tail


def literal_runs() -> Iterator[bytes]:
    """Random bytes of each count around the tokens' limits, first thing in the page and
    between two matches.
    """
    rng = random.Random(3)
    for count in (
        *range(1, 42),
        *range(234, 242),
        *range(266, 292),
        *range(522, 534),
        *range(780, 792),
        1500,
        3400,
    ):
        yield filled(rng.randbytes(count))
        yield filled(filled(b"", size=300) + rng.randbytes(count), b"\x77")


def match_lengths() -> Iterator[bytes]:
    """Matches of each length around the tokens' limits, near and far."""
    rng = random.Random(4)
    base = rng.randbytes(1100)
    for length in (*range(3, 45), *range(255, 295), *range(525, 548), *range(780, 802)):
        for gap in (1, 1600):
            yield filled(
                base + filled(b"", b"\x33", gap) + base[7 : 7 + length] + b"\xff" * 9, b"\0\1\2\3"
            )


def distances() -> Iterator[bytes]:
    """Matches at each distance around LZO's border of 2,048, and at the shortest
    ones.
    """
    rng = random.Random(5)
    for distance in (*range(1, 21), 63, 64, 65, 255, 256, 257, *range(2044, 2054), 3000, 4000):
        for length in (4, 5, 7, 8, 9, 12, 33, 34):
            head = filled(rng.randbytes(min(distance, length)), b"\x33", distance)
            yield filled(head + (head * length)[:length] + rng.randbytes(4), b"\0\1")


def page_ends() -> Iterator[bytes]:
    """Matches that end at the page's end, or so many bytes before."""
    rng = random.Random(6)
    for tail in range(26):
        for length in (4, 5, 6, 8, 11, 12, 13, 17, 24, 40):
            head = rng.randbytes(100)
            end = head[20 : 20 + length] + rng.randbytes(tail)
            yield filled(head, size=PAGE - len(end)) + end


def randoms() -> Iterator[bytes]:
    """Random bytes out of ever larger alphabets, and pages that are random in part."""
    rng = random.Random(7)
    for bits in range(1, 9):
        for _ in range(4):
            yield bytes(rng.getrandbits(bits) for _ in range(PAGE))
    for part in range(0, PAGE, 150):
        yield filled(rng.randbytes(part), b"\0")
        yield filled(b"", size=PAGE - part) + rng.randbytes(part)


def texts() -> Iterator[bytes]:
    """Words drawn from a vocabulary, some far more often than others."""
    rng = random.Random(8)
    letters = b"etaoinshrdlucmfwypvbgk"
    words = [
        bytes(letters[rng.randrange(len(letters))] for _ in range(1 + rng.randrange(9)))
        for _ in range(600)
    ]
    for _ in range(60):
        page = b""
        while len(page) < PAGE:
            page += (
                words[rng.randrange(1 + rng.randrange(len(words)))]
                + (b" ", b" ", b", ", b".\n")[rng.randrange(4)]
            )
        yield page[:PAGE]


def records() -> Iterator[bytes]:
    """Heaps: pointers, counters and small numbers in structures of one size, most of
    them clear.
    """
    rng = random.Random(9)
    for _ in range(80):
        size, page = 16 + 8 * rng.randrange(12), b""
        kinds = [rng.randrange(5) for _ in range(size // 8)]
        while len(page) < PAGE:
            for kind in kinds:
                pointer, small, word = (
                    0x7F0000000000 + 16 * rng.getrandbits(20),
                    rng.getrandbits(8),
                    rng.getrandbits(64),
                )
                page += (0, pointer, len(page), small, word)[kind].to_bytes(8, "little")
        yield page[:PAGE]


LIMITS = (
    1,
    2,
    3,
    4,
    5,
    7,
    8,
    9,
    12,
    15,
    16,
    18,
    19,
    20,
    31,
    33,
    34,
    64,
    239,
    260,
    264,
    273,
    274,
    289,
    529,
    2047,
    2052,
)


def soup(rng: random.Random, size: int = PAGE) -> bytes:
    """Literals, matches, runs of zeros and of others in any order, their lengths near
    what some token can hold.
    """
    page, wildness = bytearray(), 1 + rng.randrange(16)
    while len(page) < size:
        kind = rng.randrange(16)
        length = LIMITS[rng.randrange(1 + rng.randrange(len(LIMITS)))] + rng.randrange(3)
        if kind < 4:
            page += bytes(length)
        elif kind < 6:
            page += bytes([rng.getrandbits(8)]) * length
        elif kind < 12 and page:
            distance = 1 + rng.randrange(1 + rng.randrange(len(page)))
            piece = bytes(page[len(page) - distance :][:length])
            page += (piece * (length // len(piece) + 1))[:length]
        else:
            page += rng.randbytes(1 + length % 64 * rng.randrange(1, 1 + wildness) // 4)
    return bytes(page[:size])


def soups() -> Iterator[bytes]:
    """Pages of soup()."""
    for seed in range(600):
        yield soup(random.Random(1000 + seed))


FAMILIES: tuple[Callable[[], Iterator[bytes]], ...] = (
    one_byte_set,
    periods,
    zero_runs,
    literal_runs,
    match_lengths,
    distances,
    page_ends,
    randoms,
    texts,
    records,
    soups,
)


# --------------------------------------------------------------------------------------
# The encoders, and the libraries


def compiler() -> str:
    """The C compiler's path, or a skip."""
    path = shutil.which(os.environ.get("CC", "cc"))
    if path is None:
        pytest.skip("needs a C compiler: install gcc or clang, or set CC")
    return path


class Codecs:
    """The compiled encoders. compress() and decompress() return bytes, or None for
    -EINVAL.
    """

    def __init__(self, path: pathlib.Path) -> None:
        lib = ctypes.CDLL(str(path))
        self.encoders = {
            "lz4": lib.lz4_compress,
            "lz4hc": lib.lz4hc_compress,
            "lzo": lib.lzo1x_1_compress,
            "lzo-rle": lib.lzorle1x_1_compress,
        }
        self._decoder = lib.lzo1x_decompress_safe
        self._work = ctypes.create_string_buffer(WORK)
        self._out = ctypes.create_string_buffer(1 << 18)
        self._view = memoryview(self._out).cast("B")

    def compress(self, algorithm: str, data: bytes, room: int = 1 << 17) -> bytes | None:
        """`room`: bytes that the output may take. What lies behind it must stay as it
        was.
        """
        size = self._prepare(room)
        error = self.encoders[algorithm](
            data, ctypes.c_size_t(len(data)), self._out, ctypes.byref(size), self._work
        )
        return self._result(error, size, room)

    def encoded(self, algorithm: str, data: bytes) -> bytes:
        """compress() where there is room for anything."""
        out = self.compress(algorithm, data)
        assert out is not None, f"{algorithm} refuses {len(data)} bytes"
        return out

    def decompress(self, data: bytes, room: int) -> bytes | None:
        """LZO of either kind."""
        size = self._prepare(room)
        error = self._decoder(data, ctypes.c_size_t(len(data)), self._out, ctypes.byref(size))
        return self._result(error, size, room)

    def _prepare(self, room: int) -> ctypes.c_size_t:
        self._view[room : room + 32] = b"\xcd" * 32
        return ctypes.c_size_t(room)

    def _result(self, error: int, size: ctypes.c_size_t, room: int) -> bytes | None:
        assert self._view[room : room + 32] == b"\xcd" * 32, "written behind the room"
        if error:
            assert (error, size.value) == (-errno.EINVAL, room)
            return None
        assert size.value <= room
        return bytes(self._view[: size.value])


@pytest.fixture(scope="module")
def codecs(tmp_path_factory: pytest.TempPathFactory) -> Codecs:
    """The encoders as a shared object of their own."""
    so = tmp_path_factory.mktemp("encoders") / "encoders.so"
    flags = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    subprocess.run(
        [
            compiler(),
            *flags,
            f"-I{ROOT / 'csrc'}",
            *(str(ROOT / f"csrc/crypto/{name}.c") for name in SOURCES),
            "-o",
            str(so),
        ],
        check=True,
    )
    return Codecs(so)


@pytest.fixture(scope="module")
def liblzo2() -> ctypes.CDLL:
    """The system's liblzo2."""
    name = ctypes.util.find_library("lzo2")
    if name is None:
        pytest.skip("needs liblzo2: install liblzo2-2 (Debian), lzo (Fedora)")
    return ctypes.CDLL(name)


@pytest.fixture(scope="module")
def lz4_block() -> Any:
    """The lz4 package's block functions."""
    return pytest.importorskip("lz4.block", reason="needs the lz4 package")


@pytest.fixture(scope="module")
def recorded() -> dict[str, Any]:
    """The kernel's sizes."""
    data: dict[str, Any] = json.loads(SIZES.read_text())
    return data


# --------------------------------------------------------------------------------------
# The kernel's sizes


def digest(pages: list[bytes]) -> str:
    """Tells pages that came out differently from an encoder that did."""
    return hashlib.sha256(b"".join(pages)).hexdigest()[:16]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.__name__)
def test_sizes_are_the_kernels(
    codecs: Codecs, recorded: dict[str, Any], family: Callable[[], Iterator[bytes]], algorithm: str
) -> None:
    pages, kernel = list(family()), recorded["families"][family.__name__]
    assert digest(pages) == kernel["digest"], "the pages are not those that the kernel was given"
    sizes = kernel[algorithm]
    assert len(pages) == len(sizes)
    wrong = {}
    for i, (page, size) in enumerate(zip(pages, sizes, strict=True)):
        out = codecs.encoded(algorithm, page)
        same = len(out) >= RAW if size == PAGE else size in (0, len(out))
        if not same:
            wrong[i] = (len(out), size)
    assert not wrong, f"{len(wrong)} of {len(pages)} pages, as page: (ours, the kernel's)"


def test_recorded_sizes_say_something(recorded: dict[str, Any]) -> None:
    """Of most pages the kernel has told the size, and the algorithms differ."""
    for algorithm in ALGORITHMS:
        sizes = [s for family in recorded["families"].values() for s in family[algorithm]]
        assert sum(0 < s < PAGE for s in sizes) > 0.85 * len(sizes)
    assert all(f["lzo"] != f["lz4"] for f in recorded["families"].values())
    assert sum(f["lz4hc"] != f["lz4"] for f in recorded["families"].values()) > 5
    assert recorded["families"]["zero_runs"]["lzo"] != recorded["families"]["zero_runs"]["lzo-rle"]


def masked(seed: int, mask: int) -> bytes:
    """A page of random bytes of which `mask` leaves some bits."""
    page, state = bytearray(), seed
    for _ in range(PAGE):
        state = (1103515245 * state + 12345) % (1 << 31)
        page.append((state >> 16) & mask)
    return bytes(page)


@pytest.mark.parametrize(
    ("mask", "first", "total"),
    [
        (1, [1210, 1201, 1210, 1199], 76873),
        (3, [2310, 2267, 2304, 2312], 147306),
        (7, [3328, 3320, 3313, 3331], 213326),
        (15, [4055, 4065, 4057, 4048], 259246),
    ],
)
def test_lz4hc_of_small_alphabets(codecs: Codecs, mask: int, first: list[int], total: int) -> None:
    """Sizes of the pages of seeds 1 to 4, and the sum of 1 to 64's, on Linux 7.3. There
    zswap told those that zram keeps raw.
    """
    sizes = [len(codecs.encoded("lz4hc", masked(seed, mask))) for seed in range(1, 65)]
    assert (sizes[:4], sum(sizes)) == (first, total)


def collisions(count: int) -> bytes:
    """A page that repeats 44 bytes, with `count` words of the same 15-bit hash, or
    nearly, in between. Two in four of these share it in full.
    """

    def word(i: int) -> bytes:
        hashed = (7 ^ (i & 1)) << 17 | (i >> 1 & 1) << 16 | i
        return (244002641 * hashed % (1 << 32)).to_bytes(4, "little")

    repeated = word(0) + bytes(range(100, 140))
    between = b"".join(word(i) + bytes([i & 255, 128 | i >> 8]) for i in range(1, count + 1))
    page = b"xyz" + repeated + between + bytes(range(200, 230)) + repeated
    return page + bytes(PAGE - len(page))


def test_lz4hc_looks_at_256_candidates(codecs: Codecs) -> None:
    """The repetition is found behind 254 others of its hash, on Linux 7.3, and not
    behind 255. Another number of tries, or a hash of 14 or 16 bits, has other sizes.
    """
    assert [len(codecs.encoded("lz4hc", collisions(n))) for n in (508, 510)] == [3156, 3169]


@pytest.mark.parametrize("size", range(21))
def test_the_shortest_inputs_are_literals(codecs: Codecs, size: int) -> None:
    """Up to 12 bytes LZ4 does not search, up to 20 LZO."""
    for data in (bytes(size), b"\x11" * size):
        for algorithm, overhead in (("lzo", 3), ("lzo-rle", 5)):
            out = codecs.encoded(algorithm, data)
            assert len(out) == overhead + (1 + size if size else 0)
            assert codecs.decompress(out, size) == data
        if size <= 12:
            for algorithm in LZ4:
                assert codecs.compress(algorithm, data) == bytes([size << 4]) + data


@pytest.mark.parametrize("size", [*range(13, 48), *range(236, 242), 255, 1000, 4095, 8192, 16384])
def test_other_lengths_follow_the_rules(codecs: Codecs, size: int) -> None:
    """No kernel here has such pages; the size model in Python, written apart from the
    encoders, does.
    """
    rng = random.Random(size)
    for data in (bytes(size), rng.randbytes(size), *(soup(rng, size) for _ in range(6))):
        for algorithm, model in (
            ("lz4", lz4_length(data)),
            ("lz4hc", lz4hc_length(data)),
            ("lzo", lzo_length(data, rle=False)),
            ("lzo-rle", lzo_length(data, rle=True)),
        ):
            out = codecs.encoded(algorithm, data)
            assert len(out) == model, (algorithm, data[:32])
            assert algorithm in LZ4 or codecs.decompress(out, size) == data


# --------------------------------------------------------------------------------------
# The interface


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_room(codecs: Codecs, algorithm: str) -> None:
    """It fits into exactly its size; one byte less, or any less, is -EINVAL."""
    rng = random.Random(10)
    for data in (b"", b"a", bytes(PAGE), rng.randbytes(600), *(soup(rng, 700) for _ in range(40))):
        whole = codecs.encoded(algorithm, data)
        assert codecs.compress(algorithm, data, len(whole)) == whole
        for room in range(len(whole)):
            assert codecs.compress(algorithm, data, room) is None


@pytest.mark.parametrize("algorithm", LZ4)
def test_lz4_refuses_more_than_64_kib(codecs: Codecs, algorithm: str) -> None:
    assert codecs.compress(algorithm, bytes(65536)) is not None
    assert codecs.compress(algorithm, bytes(65537)) is None


@pytest.mark.parametrize(
    "size", [16384, 49150, 49151, 49152, 49153, 49171, 49172, 49173, 60000, 65536]
)
def test_large_pages(codecs: Codecs, lz4_block: Any, liblzo2: ctypes.CDLL, size: int) -> None:
    """LZO takes them in blocks of 48 KiB; matches do not cross, literals do. Far
    matches take other tokens.
    """
    rng = random.Random(size)
    near = soup(rng, size)
    far = (rng.randbytes(20000) + soup(rng, size))[: size - 21000]
    far = (far + near)[: size - 1000] + far[:1000]
    for data in (bytes(size), rng.randbytes(size), near, far):
        for algorithm in ("lzo", "lzo-rle"):
            out = codecs.encoded(algorithm, data)
            assert codecs.decompress(out, size) == data
            assert codecs.decompress(out, size - 1) is None
            if algorithm == "lzo":
                assert lzo2_decompress(liblzo2, out, size) == data
        for algorithm in LZ4:
            out = codecs.encoded(algorithm, data)
            assert lz4_block.decompress(out, uncompressed_size=size) == data


def test_where_blocks_end(codecs: Codecs) -> None:
    """Zeros, worked out by hand. lzo: 5 literals and a match up to 15 bytes before the
    block's end make 6 + 196 bytes. In the second block, of n bytes, the first probe is
    at 1, if that is before n - 20: with n = 22 a match of 12 bytes behind 16 literals.
    lzo-rle: the mark, 5 literals and 24 runs make 2 + 6 + 96, 20 bytes before the end;
    with n = 22 a run behind 21 literals.
    """
    first = 6 + 196
    assert [len(codecs.encoded("lzo", bytes(49152 + n))) for n in (20, 21, 22)] == [
        first + 2 + 35 + 3,
        first + 2 + 36 + 3,
        first + 1 + 16 + 3 + 1 + 9 + 3,
    ]
    first = 2 + 6 + 96
    assert [len(codecs.encoded("lzo-rle", bytes(49151 + n))) for n in (20, 21, 22)] == [
        first + 2 + 40 + 3,
        first + 2 + 41 + 3,
        first + 2 + 21 + 4 + 1 + 17 + 3,
    ]


def test_rle_avoids_the_ambiguous_match(codecs: Codecs) -> None:
    """A match of 261 to 264 bytes, 0x403f set in its offset less 0x4000, would read as
    a run of zeros if three literals followed. lzo-rle cuts it to 260 bytes; lzo has no
    such runs and does not.
    """
    cut = False
    for length in range(258, 268):
        for distance in (0x4000 + 0x403F, 0x4000 + 0x4040, 0x4000 + 0x443F):
            rng = random.Random(length)
            piece = b"\xfe" + rng.randbytes(length - 1)
            # the encoder has to have looked at the piece's first position: not before
            # 5, with a step of 1 up to 37
            data = (
                rng.randbytes(8)
                + filled(piece + b"\xfd", b"\1\2", distance)
                + piece
                + b"\xfcab"
                + b"\1\2" * 40
            )
            sizes = {}
            for algorithm in ("lzo", "lzo-rle"):
                out = codecs.encoded(algorithm, data)
                assert codecs.decompress(out, len(data)) == data
                sizes[algorithm] = len(out)
            expected = 261 <= length <= 264 and (distance - 0x4000) & 0x403F == 0x403F
            cut |= expected
            assert (sizes["lzo-rle"] - 2 != sizes["lzo"]) == expected, (
                length,
                hex(distance),
                sizes,
            )
    assert cut


# --------------------------------------------------------------------------------------
# Decoding


def lzo2_decompress(lib: ctypes.CDLL, data: bytes, size: int) -> bytes | None:
    """liblzo2's lzo1x_decompress_safe; None for any of its errors."""
    out, length = ctypes.create_string_buffer(size or 1), ctypes.c_ulong(size)
    error = lib.lzo1x_decompress_safe(
        data, ctypes.c_ulong(len(data)), out, ctypes.byref(length), None
    )
    return None if error else out.raw[: length.value]


def lzo2_compress(lib: ctypes.CDLL, level: str, data: bytes, work: Any) -> bytes:
    """liblzo2's encoder of that level, `1` or `999`."""
    room = len(data) + len(data) // 16 + 67
    out, length = ctypes.create_string_buffer(room), ctypes.c_ulong(room)
    assert (
        lib[f"lzo1x_{level}_compress"](
            data, ctypes.c_ulong(len(data)), out, ctypes.byref(length), work
        )
        == 0
    )
    return out.raw[: length.value]


def cross_pages() -> Iterator[tuple[int, bytes]]:
    """ENCODER_CROSS_PAGES pages from seeds, each eighth of another length than a
    page.
    """
    for seed in range(CROSS_PAGES):
        rng = random.Random(seed)
        yield seed, soup(rng, 1 + rng.randrange(8192) if seed % 8 == 7 else PAGE)


@pytest.mark.timeout(0)
def test_lzo_is_decoded_across(codecs: Codecs, liblzo2: ctypes.CDLL) -> None:
    """liblzo2 decodes ours. We decode its fast encoder's and, for tokens that need a
    longer search, its best one's.
    """
    work = ctypes.create_string_buffer(1 << 20)
    for seed, page in cross_pages():
        out = codecs.encoded("lzo", page)
        assert lzo2_decompress(liblzo2, out, len(page)) == page, seed
        assert codecs.decompress(out, len(page)) == page, seed
        out = codecs.encoded("lzo-rle", page)
        assert codecs.decompress(out, len(page)) == page, seed
        for level in ("1", "999") if seed % 50 == 0 else ("1",):
            out = lzo2_compress(liblzo2, level, page, work)
            assert codecs.decompress(out, len(page)) == page, (seed, level)


@pytest.mark.timeout(0)
@pytest.mark.parametrize("algorithm", LZ4)
def test_lz4_is_decoded_by_liblz4(codecs: Codecs, lz4_block: Any, algorithm: str) -> None:
    for seed, page in cross_pages():
        out = codecs.encoded(algorithm, page)
        assert lz4_block.decompress(out, uncompressed_size=len(page)) == page, seed


def test_decoder_judges_damage_as_liblzo2_does(codecs: Codecs, liblzo2: ctypes.CDLL) -> None:
    """Streams with bytes changed, cut or added: both accept with the same bytes, or
    both refuse. But only the kernel, and so we, want the end mark's length bits to be
    right.
    """
    rng = random.Random(11)
    verdicts = {True: 0, False: 0}
    for _ in range(6000):
        stream = bytearray(codecs.encoded("lzo", soup(rng, 1 + rng.randrange(600))))
        for _ in range(rng.randrange(3)):
            stream[rng.randrange(len(stream))] ^= 1 << rng.randrange(8)
        if rng.randrange(8) == 0:
            del stream[rng.randrange(len(stream)) :]
        if rng.randrange(8) == 0:
            stream += rng.randbytes(1 + rng.randrange(4))
        if len(stream) >= 5 and stream[0] == 17:
            continue  # the version mark, which liblzo2 does not know
        ours, theirs = (
            codecs.decompress(bytes(stream), 700),
            lzo2_decompress(liblzo2, bytes(stream), 700),
        )
        assert ours == theirs or (ours is None and stream[-3] != 17), bytes(stream).hex()
        verdicts[ours is not None] += 1
    assert min(verdicts.values()) > 500


# --------------------------------------------------------------------------------------
# The C drivers: pages between guard pages, under the sanitizers where the compiler has
# them


def sanitizers(tmp_path: pathlib.Path) -> list[str]:
    """The flags for the sanitizers, or none where they cannot be linked."""
    source = tmp_path / "probe.c"
    source.write_text("int main(void) { return 0; }\n")
    command = [compiler(), *SANITIZE, str(source), "-o", str(tmp_path / "probe")]
    made = subprocess.run(command, check=False, capture_output=True)
    return [] if made.returncode else SANITIZE


@pytest.mark.parametrize("name", SOURCES)
def test_c_driver(tmp_path: pathlib.Path, name: str) -> None:
    program, sources = (
        tmp_path / name,
        [ROOT / f"tests/c/test_{name}.c", ROOT / f"csrc/crypto/{name}.c"],
    )
    flags = [
        "-std=gnu11",
        "-O2",
        "-Wall",
        "-Wextra",
        "-Werror",
        *sanitizers(tmp_path),
        f"-I{ROOT / 'csrc'}",
    ]
    subprocess.run([compiler(), *flags, *map(str, sources), "-o", str(program)], check=True)
    ran = subprocess.run([str(program)], check=False, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_fuzz_target_runs(tmp_path: pathlib.Path) -> None:
    """A short run of the fuzzer, so that it does not rot."""
    clang = shutil.which("clang")
    if clang is None:
        pytest.skip("needs clang, for libFuzzer")
    program, sources = tmp_path / "fuzz", [ROOT / "tests/c/fuzz_lzo.c", ROOT / "csrc/crypto/lzo.c"]
    flags = [
        "-std=gnu11",
        "-O1",
        "-g",
        "-fsanitize=fuzzer,address,undefined",
        "-fno-sanitize-recover=all",
    ]
    command = [clang, *flags, f"-I{ROOT / 'csrc'}", *map(str, sources), "-o", str(program)]
    made = subprocess.run(command, check=False, capture_output=True, text=True)
    if made.returncode and "libclang_rt.fuzzer" in made.stderr:
        pytest.skip("this clang has no libFuzzer: install its compiler-rt")
    assert made.returncode == 0, made.stderr
    command = [str(program), "-runs=20000", "-seed=1", "-max_len=512"]
    ran = subprocess.run(command, check=False, capture_output=True, text=True, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr[-4000:]


# --------------------------------------------------------------------------------------
# Recording


def record(kernel: str, sizes: dict[str, list[int]], data: dict[str, Any]) -> None:
    """Put a kernel's sizes of the dumped pages into what encoder_sizes.json holds."""
    at = 0
    for family in FAMILIES:
        pages = list(family())
        entry = data["families"].setdefault(family.__name__, {})
        if entry.get("digest") != digest(pages):
            entry.clear()
            entry["digest"] = digest(pages)
        for algorithm, every in sizes.items():
            entry[algorithm] = every[at : at + len(pages)]
        at += len(pages)
    if any(len(every) != at for every in sizes.values()):
        raise SystemExit(
            f"{at} pages, but {[len(s) for s in sizes.values()]} sizes: dump the pages again"
        )
    data["kernels"] |= dict.fromkeys(sizes, kernel)


if __name__ == "__main__":
    if sys.argv[1:2] == ["dump"] and len(sys.argv) == 3:
        pathlib.Path(sys.argv[2]).write_bytes(
            b"".join(page for family in FAMILIES for page in family())
        )
    elif sys.argv[1:2] == ["record"] and len(sys.argv) > 3:
        given = dict(a.split("=", 1) for a in sys.argv[3:])
        figures = json.loads(SIZES.read_text())
        record(
            sys.argv[2],
            {a: [int(s) for s in pathlib.Path(f).read_text().split()] for a, f in given.items()},
            figures,
        )
        text = json.dumps(figures, separators=(",", ":"))
        SIZES.write_text(
            text.replace('"families":{', '"families":{\n').replace("]},", "]},\n") + "\n"
        )
    else:
        raise SystemExit(__doc__)
