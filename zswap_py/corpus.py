# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes corpora of pages like those of processes, and drives a zswap with them.

corpus() makes the pages from a seed. churn() stores, loads and frees them in a fixed
pattern, so that the figures of a Zswap, a model and a kernel can be compared.
"""

from __future__ import annotations

import hashlib
import random
import struct
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Protocol

PAGE_SIZE = 4096
FIGURES = ("pool_total_size", "stored_pages", "stored_incompressible_pages")


class Driver(Protocol):
    """The methods that churn() calls. Zswap has them, and so has verify's HostZswap."""

    def store(self, entry: int, folio: bytes) -> Any: ...
    def load(self, entry: int, out: bytearray) -> Any: ...
    def invalidate(self, entry: int) -> Any: ...
    def stats(self) -> dict[str, int]: ...


class _Source:
    """Random draws that are the same on every Python.

    It takes bits of the Mersenne Twister; random.Random's other methods may change.
    """

    def __init__(self, seed: int) -> None:
        self._bits = random.Random(seed).getrandbits

    def below(self, n: int) -> int:
        return self._bits(32) % n

    def bytes(self, n: int) -> bytes:
        return self._bits(8 * n).to_bytes(n, "little")

    def skewed(self, n: int) -> int:
        """Draws from 0 to n - 1, small numbers more often, as words and keys occur."""
        return self.below(self.below(n) + 1)


_SYLLABLES = (
    "a be con de er fi gra ho in jo ka le mo ne or pre qu re sta ti un ver wa ex ly zo".split()
)


def _word(r: _Source) -> str:
    return "".join(_SYLLABLES[r.below(len(_SYLLABLES))] for _ in range(1 + r.below(4)))


class _Maker:
    """One process's memory: its words, its heap, and its kinds of pages."""

    def __init__(self, seed: int) -> None:
        r = self.r = _Source(seed)
        self.words = [_word(r) for _ in range(400)]
        self.heap = 0x7F0000000000 + (r.below(1 << 20) << 20)
        self.serial = 0
        self.kinds: list[Callable[[], bytes]] = [
            self.text,
            self.text,
            self.json,
            self.log,
            self.structs,
            self.structs,
            self.table,
            self.sparse,
            self.zero,
            self.repeated,
            self.low_entropy,
            self.floats,
            self.half_random,
            self.random,
            self.objects,
        ]
        self.weights = [1 + r.below(8) for _ in self.kinds]

    def page(self, parts: Callable[[], bytes]) -> bytes:
        """Cuts a page from a stream of parts, after its first 0 to 31 bytes."""
        cut, out = self.r.below(32), bytearray()
        while len(out) < PAGE_SIZE + cut:
            out += parts()
        return bytes(out[cut : cut + PAGE_SIZE])

    def text(self) -> bytes:
        r = self.r
        ends = (" ", " ", " ", " ", " ", ", ", ". ", "\n")

        def word() -> bytes:
            return (self.words[r.skewed(400)] + ends[r.below(8)]).encode()

        return self.page(word)

    def _json(self) -> bytes:
        self.serial += 1
        w, r = self.words, self.r
        return (
            f'{{"id": {self.serial}, "name": "{w[r.skewed(400)]}{r.below(1000)}", "tags": '
            f'["{w[r.below(20)]}"], '
            f'"size": {r.below(1 << r.below(24))}, "ok": {"true" if r.below(3) else "false"}}}, '
        ).encode()

    def json(self) -> bytes:
        return self.page(self._json)

    def _log(self) -> bytes:
        self.serial += self.r.below(90)
        level = ("INFO", "INFO", "INFO", "WARN", "ERROR")[self.r.below(5)]
        t = self.serial
        said = " ".join(self.words[self.r.skewed(400)] for _ in range(2 + self.r.below(6)))
        time = f"12:{t // 60000 % 60:02d}:{t // 1000 % 60:02d}.{t % 1000:03d}"
        return f"{time} {level} [{t % 7}] {said}\n".encode()

    def log(self) -> bytes:
        return self.page(self._log)

    def _pointer(self) -> int:
        return self.heap + 16 * self.r.skewed(1 << 16)

    def _struct(self) -> bytes:
        self.serial += 1
        r = self.r
        return struct.pack(
            "<QQIHHq",
            self._pointer(),
            self._pointer(),
            self.serial,
            r.below(9),
            8 * r.below(64),
            -1,
        )

    def structs(self) -> bytes:
        return self.page(self._struct)

    def _object(self) -> bytes:
        """Makes a boxed value: a count, a type's address, and a word or a number."""
        r = self.r
        head = struct.pack("<QQ", 1 + r.skewed(40), self.heap + 0x1A0 * r.below(12))
        body = (
            self.words[r.skewed(400)].encode()
            if r.below(2)
            else struct.pack("<q", r.below(1 << r.below(30)))
        )
        return head + body + bytes(-len(body) % 16)

    def objects(self) -> bytes:
        return self.page(self._object)

    def table(self) -> bytes:
        """Makes a hash table: two cells in three empty, the others a hash and two
        addresses.
        """
        return self.page(
            lambda: (
                self.r.bytes(8) + struct.pack("<QQ", self._pointer(), self._pointer())
                if self.r.below(3) == 0
                else bytes(24)
            )
        )

    def sparse(self) -> bytes:
        out = bytearray(PAGE_SIZE)
        for _ in range(1 + self.r.skewed(60)):
            at = 8 * self.r.below(PAGE_SIZE // 8)
            out[at : at + 8] = struct.pack("<Q", self._pointer())
        return bytes(out)

    def zero(self) -> bytes:
        return bytes(PAGE_SIZE)

    def repeated(self) -> bytes:
        """Repeats 8 bytes; half of the pages have up to 39 other bytes in between."""
        out = bytearray(self.r.bytes(8) * (PAGE_SIZE // 8))
        if self.r.below(2):
            for _ in range(self.r.below(40)):
                out[self.r.below(PAGE_SIZE)] = self.r.below(256)
        return bytes(out)

    def low_entropy(self) -> bytes:
        """Draws bytes from 2 to 15 symbols, as in a bitmap, a picture or digits."""
        alphabet = self.r.bytes(2 + self.r.below(14))
        return self.r.bytes(PAGE_SIZE).translate(
            bytes(alphabet[i % len(alphabet)] for i in range(256))
        )

    def floats(self) -> bytes:
        return self.page(lambda: struct.pack("<d", (self.r.below(2000) - 1000) / 7))

    def half_random(self) -> bytes:
        """Fills any share of a page of text with noise.

        Its compressed length is a few bytes to over a page, so that the size classes
        near a page are used too.
        """
        share = self.r.below(PAGE_SIZE)
        return (self.text()[share:] + self.r.bytes(share))[:PAGE_SIZE]

    def random(self) -> bytes:
        return self.r.bytes(PAGE_SIZE)

    def run(self) -> list[bytes]:
        """Makes 1 to 8 pages of one kind, since neighbours in memory are alike."""
        pick, kind = self.r.below(sum(self.weights)), 0
        while pick >= self.weights[kind]:
            pick -= self.weights[kind]
            kind += 1
        return [self.kinds[kind]() for _ in range(1 + self.r.below(8))]


@cache
def corpus(seed: int, pages: int = 2000) -> tuple[bytes, ...]:
    """Returns `pages` pages of 4096 bytes.

    A seed gives the same pages on every machine and Python.
    """
    maker = _Maker(seed)
    out: list[bytes] = []
    while len(out) < pages:
        out += maker.run()
    return tuple(out[:pages])


def digest(pages: Sequence[bytes]) -> str:
    """Returns the pages' SHA-256: recorded figures hold for these bytes alone."""
    return hashlib.sha256(b"".join(pages)).hexdigest()


def churn(
    driver: Driver,
    pages: Sequence[bytes],
    figures: Sequence[str] = FIGURES,
    check: Callable[[], None] = lambda: None,
) -> list[dict[str, int]]:
    """Stores, loads, rewrites and frees pages in six steps.

    Returns `figures` of driver.stats() after each step:
     - 0: store all pages, in order
     - 1: load every third page
     - 2: give these the bytes of page (i + 7) % n, and store them
     - 3: free every fifth page
     - 4: load the pages that are left with i % 4 == 1
     - 5: store again the pages that step 4 loaded

    It calls `check` before each page; an exception of `check` ends the walk. Loads are
    exclusive, so no store replaces an older entry. Pages of zeros are left out, since
    the kernel's zero map above zswap takes them. Raises AssertionError if a page comes
    back with other bytes.
    """
    n = len(pages)
    steps: list[dict[str, int]] = []
    memory = dict(enumerate(pages))
    out = bytearray(len(pages[0]))

    def store(which: range | list[int]) -> None:
        for i in which:
            check()
            if any(memory[i]):
                driver.store(i, memory[i])

    def load(which: range | list[int]) -> None:
        for i in which:
            check()
            if any(memory[i]):
                driver.load(i, out)
                if out != memory[i]:
                    raise AssertionError(f"page {i} came back with other bytes")

    def step_done() -> None:
        stats = driver.stats()
        steps.append({name: stats[name] for name in figures})

    store(range(n))
    step_done()
    load(range(0, n, 3))
    step_done()
    for i in range(0, n, 3):
        memory[i] = pages[(i + 7) % n]
    store(range(0, n, 3))
    step_done()
    for i in range(0, n, 5):
        check()
        driver.invalidate(i)
        del memory[i]
    step_done()
    again = [i for i in range(1, n, 4) if i in memory]
    load(again)
    step_done()
    store(again)
    step_done()
    return steps
