# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel's compressors make of a page: its length in bytes, or the errno the
kernel's acomp gives.

Encoders by their rules, sizes only, in Python: independent of the library's. `deflate`
is zlib's own with the kernel's parameters. Checked page by page against a kernel for 4
KiB pages.
"""

from __future__ import annotations

import errno
import struct
import zlib
from functools import cache
from typing import NamedTuple

LZ4_LAST_LITERALS = 5
LZ4_MFLIMIT = 12  # no match begins in the last 12 bytes
LZ4HC_TRIES = 256  # level 9
LZO_TAIL = 20  # never searched


def coded(page: bytes) -> int:
    """A compressor whose answer stands in the page's first bytes."""
    return int.from_bytes(page[:4], "little", signed=True)


def page_of(answer: int, fill: int = 0, page_size: int = 4096) -> bytes:
    """A page that `coded` answers so."""
    return answer.to_bytes(4, "little", signed=True) + bytes([fill]) * (page_size - 4)


@cache
def deflate(page: bytes) -> int:
    """Raw, an 11-bit window, level 6, memlevel 8."""
    c = zlib.compressobj(-1, zlib.DEFLATED, -11, 8)
    length = len(c.compress(page)) + len(c.flush())
    return length if length <= len(page) else -errno.ENOSPC


@cache
def lzo(page: bytes) -> int:
    length = lzo_length(page, rle=False)
    return length if length <= len(page) else -errno.EINVAL


@cache
def lzo_rle(page: bytes) -> int:
    length = lzo_length(page, rle=True)
    return length if length <= len(page) else -errno.EINVAL


@cache
def lz4(page: bytes) -> int:
    length = lz4_length(page)
    return length if length <= len(page) else -errno.EINVAL


@cache
def lz4hc(page: bytes) -> int:
    length = lz4hc_length(page)
    return length if length <= len(page) else -errno.EINVAL


COMPRESSORS = {"deflate": deflate, "lzo": lzo, "lzo-rle": lzo_rle, "lz4": lz4, "lz4hc": lz4hc}


def _words(page: bytes) -> list[int]:
    """The little-endian 32-bit word at every position that has one."""
    words = [0] * (len(page) - 3)
    for start in range(4):
        count = (len(page) - start) // 4
        words[start::4] = struct.unpack_from(f"<{count}I", page, start)
    return words


def _lzo_count(t: int, short: int) -> int:
    """Bytes of a count that no longer fits its instruction's first byte, which holds up
    to `short`.
    """
    return 1 + (t - short - 1) // 255 if t > short else 0


def _lzo_literals(t: int) -> int:
    if t <= 3:
        return t  # the count sits in two bits of the instruction before
    return 1 + _lzo_count(t, 18) + t


def _lzo_match(length: int, offset: int) -> int:
    if length <= 8 and offset <= 2048:
        return 2
    return 3 + _lzo_count(length, 33)


def lzo_length(page: bytes, rle: bool) -> int:
    """LZO1X-1 with the kernel's 13-bit dictionary; `rle`: its variant with zero-run
    tokens and a version prefix.
    """
    if len(page) > 16384:
        raise ValueError(
            f"a page of {len(page)} bytes: the model's lzo has no far matches, use at most 16384"
        )
    n, end = len(page), len(page) - LZO_TAIL
    words, dictionary = _words(page), [0] * 8192
    out, lit, pos = 0, 0, 5
    while pos < end:
        word = words[pos]
        if rle and word == 0:
            limit = min(end - pos, 2051)
            run = 4
            while run < limit and page[pos + run] == 0:
                run += 1
            out += _lzo_literals(pos - lit) + 4
            pos = lit = pos + run
            continue
        slot = (word * 0x1824429D & 0xFFFFFFFF) >> 19
        match, dictionary[slot] = dictionary[slot], pos
        if words[match] != word:
            pos += 1 + (pos - lit) // 32
            continue
        length = 4
        while page[pos + length] == page[match + length]:
            length += 1
            if (length - 4) % 8 == 0 and pos + length >= end:
                break
        out += _lzo_literals(pos - lit) + _lzo_match(length, pos - match)
        pos = lit = pos + length
    tail = n - lit
    out += 1 + tail if out == 0 and tail <= 238 else _lzo_literals(tail)
    return out + 3 + (2 if rle else 0)


def _lz4_count(t: int) -> int:
    """Bytes of a count beyond its token's four bits."""
    return 1 + (t - 15) // 255 if t >= 15 else 0


def lz4_length(page: bytes) -> int:
    """LZ4 fast, acceleration 1, 13-bit table, as of 1.7: the search ends where the next
    probe would pass mflimit.
    """
    n = len(page)
    mflimit, matchlimit = n - LZ4_MFLIMIT, n - LZ4_LAST_LITERALS
    words, table = _words(page), [0] * 8192
    out = anchor = 0
    pos, new_search = 1, True

    def hashed(p: int) -> int:
        return (words[p] * 2654435761 & 0xFFFFFFFF) >> 19

    while True:
        if new_search:
            following, step, tries = pos, 1, 64
            while True:
                pos, following = following, following + step
                step, tries = tries >> 6, tries + 1
                if following > mflimit:
                    tail = n - anchor
                    return out + 1 + _lz4_count(tail) + tail
                match, table[hashed(pos)] = table[hashed(pos)], pos
                if words[match] == words[pos]:
                    break
            while pos > anchor and match > 0 and page[pos - 1] == page[match - 1]:
                pos, match = pos - 1, match - 1
        literals, length = pos - anchor, 4
        while pos + length < matchlimit and page[pos + length] == page[match + length]:
            length += 1
        out += 1 + _lz4_count(literals) + literals + 2 + _lz4_count(length - 4)
        anchor = pos = pos + length
        if pos > mflimit:
            tail = n - anchor
            return out + 1 + _lz4_count(tail) + tail
        table[hashed(pos - 2)] = pos - 2
        match, table[hashed(pos)] = table[hashed(pos)], pos
        new_search = words[match] != words[pos]
        pos += new_search


class Match(NamedTuple):
    """Bytes start..end-1 are those `distance` before."""

    start: int
    end: int
    distance: int

    @property
    def size(self) -> int:
        return self.end - self.start

    def from_(self, start: int) -> Match:
        """The match without what lies before `start`."""
        return self._replace(start=max(self.start, start))


class LZ4HC:
    """LZ4HC level 9, as of 1.7: the longest matches of one page, and what is kept of
    those that overlap.
    """

    def __init__(self, page: bytes) -> None:
        self.page, self.words = page, _words(page) if len(page) > LZ4_MFLIMIT else []
        self.stop = len(page) - LZ4_MFLIMIT  # no search from here on
        self.reach = len(page) - LZ4_LAST_LITERALS
        self.size = self.anchor = 0  # of what is written; up to where
        same_hash: dict[int, list[int]] = {}
        self.before: list[tuple[list[int], int]] = []  # a position's bucket, and place there
        for at in range(max(0, self.stop)):
            bucket = same_hash.setdefault((self.words[at] * 2654435761 & 0xFFFFFFFF) >> 17, [])
            self.before.append((bucket, len(bucket)))
            bucket.append(at)

    def wider(self, at: int, low: int, size: int) -> Match | None:
        """The longest match of more than `size` bytes over at..at+3, from low or
        later on.
        """
        page, best = self.page, None
        bucket, place = self.before[at]
        for earlier in reversed(bucket[max(0, place - LZ4HC_TRIES) : place]):
            distance = at - earlier
            if low + size >= self.reach:
                break
            if page[low + size] != page[low + size - distance]:
                continue  # no longer than the best
            if self.words[earlier] != self.words[at]:
                continue
            end = at + 4
            while end < self.reach and page[end] == page[end - distance]:
                end += 1
            start = at
            while start > max(low, distance) and page[start - 1] == page[start - 1 - distance]:
                start -= 1
            if end - start > size:
                best, size = Match(start, end, distance), end - start
        return best

    def after(self, match: Match, overlap: int) -> Match | None:
        """A match that is longer and goes on behind this one's end."""
        if match.end >= self.stop:
            return None
        return self.wider(match.end - overlap, match.start, match.size)

    def write(self, match: Match, end: int) -> None:
        """Write a match up to `end`, and the literals before it."""
        end = min(end, match.end)
        literals, length = match.start - self.anchor, end - match.start
        assert literals >= 0
        assert length >= 4
        self.size += 1 + _lz4_count(literals) + literals + 2 + _lz4_count(length - 4)
        self.anchor = end

    def run(self) -> int:
        """Write the page. Returns the block's bytes."""
        at = 1
        while at < self.stop:
            found = self.wider(at, at, 0)
            at = at + 1 if found is None else self.overlapping(found)
        literals = len(self.page) - self.anchor
        return self.size + 1 + _lz4_count(literals) + literals

    def overlapping(self, a: Match) -> int:
        """Write `a` and the matches that follow from it. Returns where they end."""
        waiting = a
        while True:
            b = self.after(a, 2)
            if b is None:
                self.write(a, a.end)
                return a.end
            if waiting.start < a.start and b.start < a.start + waiting.size:
                a = waiting
            if b.start < a.start + 3:
                a = b
                continue
            pair = self.three(a, b)
            if pair is None:
                return self.anchor
            a, waiting = pair

    def three(self, a: Match, b: Match) -> tuple[Match, Match] | None:
        """Look for a third match behind `a` and `b`, again and again. Returns a new
        first match and the one that waits, or None if all are written.
        """
        while True:
            b = b.from_(min(a.start + 18, a.end, b.end - 4))
            c = self.after(b, 3)
            if c is None:
                self.write(a, b.start)
                self.write(b, b.end)
                return None
            if c.start < a.end:
                b = c
            elif c.start < a.end + 3:
                self.write(a, a.end)
                b = b.from_(a.end)
                return c, b if b.size >= 4 else c
            else:
                self.write(a, b.start)
                a, b = b, c


def lz4hc_length(page: bytes) -> int:
    """LZ4HC at the kernel's level, 9."""
    return LZ4HC(page).run()
