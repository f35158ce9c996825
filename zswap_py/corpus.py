# SPDX-License-Identifier: GPL-2.0-or-later
"""Corpora of pages like those of processes, made from a seed; and the walk over pages
that figures are compared of.
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
    """What `churn` needs: the library, the model and the running kernel have it."""

    def store(self, entry: int, folio: bytes) -> Any: ...
    def load(self, entry: int, out: bytearray) -> Any: ...
    def invalidate(self, entry: int) -> Any: ...
    def stats(self) -> dict[str, int]: ...


class _Source:
    """Draws that are the same on every Python: bits of the Mersenne Twister and nothing
    derived from them.
    """

    def __init__(self, seed: int) -> None:
        self._bits = random.Random(seed).getrandbits

    def below(self, n: int) -> int:
        return self._bits(32) % n

    def bytes(self, n: int) -> bytes:
        return self._bits(8 * n).to_bytes(n, "little")

    def skewed(self, n: int) -> int:
        """Small numbers more often, as words and keys come."""
        return self.below(self.below(n) + 1)


_SYLLABLES = (
    "a be con de er fi gra ho in jo ka le mo ne or pre qu re sta ti un ver wa ex ly zo".split()
)


def _word(r: _Source) -> str:
    return "".join(_SYLLABLES[r.below(len(_SYLLABLES))] for _ in range(1 + r.below(4)))


class _Maker:
    """One process's memory: its words, its heap, and the kinds of pages that it
    holds.
    """

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
        """A page cut from a stream of `parts`, not at a part's border."""
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
        """A boxed value: a count, a type's address, a word or a number."""
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
        """A hash table: most cells empty, the others a hash and two addresses."""
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
        """One word all over, in half of the pages with some others among them."""
        out = bytearray(self.r.bytes(8) * (PAGE_SIZE // 8))
        if self.r.below(2):
            for _ in range(self.r.below(40)):
                out[self.r.below(PAGE_SIZE)] = self.r.below(256)
        return bytes(out)

    def low_entropy(self) -> bytes:
        """Symbols of a small alphabet: a bitmap, a picture, digits."""
        alphabet = self.r.bytes(2 + self.r.below(14))
        return self.r.bytes(PAGE_SIZE).translate(
            bytes(alphabet[i % len(alphabet)] for i in range(256))
        )

    def floats(self) -> bytes:
        return self.page(lambda: struct.pack("<d", (self.r.below(2000) - 1000) / 7))

    def half_random(self) -> bytes:
        """Any share of noise: sizes from a few bytes to over a page, the classes near a
        page among them.
        """
        share = self.r.below(PAGE_SIZE)
        return (self.text()[share:] + self.r.bytes(share))[:PAGE_SIZE]

    def random(self) -> bytes:
        return self.r.bytes(PAGE_SIZE)

    def run(self) -> list[bytes]:
        """One to eight pages of a kind: neighbours are alike."""
        pick, kind = self.r.below(sum(self.weights)), 0
        while pick >= self.weights[kind]:
            pick -= self.weights[kind]
            kind += 1
        return [self.kinds[kind]() for _ in range(1 + self.r.below(8))]


@cache
def corpus(seed: int, pages: int = 2000) -> tuple[bytes, ...]:
    """`pages` pages of 4,096 bytes, the same for a seed on every machine and Python."""
    maker = _Maker(seed)
    out: list[bytes] = []
    while len(out) < pages:
        out += maker.run()
    return tuple(out[:pages])


def digest(pages: Sequence[bytes]) -> str:
    """SHA-256 of the pages: recorded figures hold for these bytes alone."""
    return hashlib.sha256(b"".join(pages)).hexdigest()


def churn(
    driver: Driver,
    pages: Sequence[bytes],
    figures: Sequence[str] = FIGURES,
    check: Callable[[], None] = lambda: None,
) -> list[dict[str, int]]:
    """Store, load, rewrite and free in a fixed pattern; `figures` of `driver.stats()`
    after each of the six steps.

    0 store all, in address order      3 free every fifth page
    1 load every third page            4 load i % 4 == 1
    2 those get page (i + 7) % n's     5 store again what step 4 loaded
      bytes and are stored

    `check` is called before each page, and may raise. Loads are exclusive, so that no
    store finds an older entry. A page of zeros never comes here: in the kernel the zero
    map above zswap takes it.
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
