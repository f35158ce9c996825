# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel's zlib makes of a page of any size: its length in bytes.

libz finds the same literals and matches, which do not depend on where blocks end. So
they are read from libz's own stream, cut into blocks where the kernel's zlib ends them,
and each block's length is worked out: by RFC 1951 and, where that leaves a choice, by
zlib's (which tree of equally good ones, which kind of block).
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import NamedTuple

WINDOW = 1 << 11
BLOCK_SYMBOLS = (1 << 14) - 1  # memLevel 8
LOOKAHEAD = 262  # zlib fills its window when less is ahead
LOOKS_EVERY = 4096  # symbols after which the kernel may end a block

END = 256
LENGTH_EXTRA = [0] * 8 + [e for e in range(1, 6) for _ in range(4)] + [0]
DISTANCE_EXTRA = [0, 0] + [e for e in range(14) for _ in range(2)]
CODE_ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15]
CODE_EXTRA = [0] * 16 + [2, 3, 7]
FIXED_LITERALS = [8] * 144 + [9] * 112 + [7] * 24 + [8] * 8
FIXED_DISTANCES = [5] * 30


def _starts(first: int, extra: Sequence[int]) -> list[int]:
    starts = [first]
    for bits in extra[:-1]:
        starts.append(starts[-1] + (1 << bits))
    return starts


LENGTHS = [*_starts(3, LENGTH_EXTRA)[:-1], 258]
DISTANCES = _starts(1, DISTANCE_EXTRA)


class Match(NamedTuple):
    length: int
    distance: int

    @property
    def length_code(self) -> int:
        return max(i for i, start in enumerate(LENGTHS) if start <= self.length)

    @property
    def distance_code(self) -> int:
        return max(i for i, start in enumerate(DISTANCES) if start <= self.distance)


Symbol = int | Match


# ---- reading ----


class _Bits:
    def __init__(self, data: bytes) -> None:
        self._bits, self._at = int.from_bytes(data, "little"), 0

    def take(self, count: int) -> int:
        value = self._bits >> self._at & ((1 << count) - 1)
        self._at += count
        return value

    def symbol(self, codes: dict[tuple[int, int], int]) -> int:
        code = length = 0
        while (length, code) not in codes:
            code, length = code << 1 | self.take(1), length + 1
        return codes[length, code]


def _codes(lengths: Sequence[int]) -> dict[tuple[int, int], int]:
    """The symbol of each code, by its length and bits: RFC 1951, 3.2.2."""
    codes, code = {}, 0
    for length in range(1, 16):
        code <<= 1
        for symbol, of in enumerate(lengths):
            if of == length:
                codes[length, code] = symbol
                code += 1
    return codes


def _dynamic(bits: _Bits) -> tuple[list[int], list[int]]:
    literals, distances, used = bits.take(5) + 257, bits.take(5) + 1, bits.take(4) + 4
    of = [0] * 19
    for symbol in CODE_ORDER[:used]:
        of[symbol] = bits.take(3)
    codes, lengths = _codes(of), list[int]()
    while len(lengths) < literals + distances:
        symbol = bits.symbol(codes)
        if symbol < 16:
            lengths.append(symbol)
        elif symbol == 16:
            lengths += [lengths[-1]] * (3 + bits.take(2))
        else:
            lengths += [0] * (3 + bits.take(3) if symbol == 17 else 11 + bits.take(7))
    return lengths[:literals], lengths[literals:]


def symbols(stream: bytes) -> list[Symbol] | None:
    """The literals and matches of a raw stream; None if a block of it is stored."""
    bits, found = _Bits(stream), list[Symbol]()
    last = 0
    while not last:
        last, kind = bits.take(1), bits.take(2)
        if kind == 0:
            return None
        literals, distances = _dynamic(bits) if kind == 2 else (FIXED_LITERALS, FIXED_DISTANCES)
        of_literals, of_distances = _codes(literals), _codes(distances)
        while (symbol := bits.symbol(of_literals)) != END:
            if symbol < END:
                found.append(symbol)
                continue
            code = symbol - END - 1
            length = LENGTHS[code] + bits.take(LENGTH_EXTRA[code])
            code = bits.symbol(of_distances)
            found.append(Match(length, DISTANCES[code] + bits.take(DISTANCE_EXTRA[code])))
    return found


# ---- a block's length ----


class _Heap:
    """zlib's heap of nodes: the rarest on top, of equals the one of less depth."""

    def __init__(self, weights: list[int], depths: list[int], nodes: list[int]) -> None:
        self._weights, self._depths = weights, depths
        self.nodes = [-1, *nodes]  # counted from 1
        for at in range(len(nodes) // 2, 0, -1):
            self._sink(at)

    def __len__(self) -> int:
        return len(self.nodes) - 1

    def _before(self, a: int, b: int) -> bool:
        return (self._weights[a], self._depths[a]) <= (self._weights[b], self._depths[b])

    def _sink(self, at: int) -> None:
        node, size = self.nodes[at], len(self)
        while 2 * at <= size:
            below = 2 * at
            if below < size and self._before(self.nodes[below + 1], self.nodes[below]):
                below += 1
            if self._before(node, self.nodes[below]):
                break
            self.nodes[at], at = self.nodes[below], below
        self.nodes[at] = node

    def pop(self) -> int:
        top, last = self.nodes[1], self.nodes.pop()
        if len(self):
            self.nodes[1] = last
            self._sink(1)
        return top

    def replace(self, node: int) -> int:
        """Take the top, and put a node in its place."""
        top, self.nodes[1] = self.nodes[1], node
        self._sink(1)
        return top


def code_lengths(counts: Sequence[int], longest: int) -> list[int]:
    """The length of each symbol's code, up to the last one used; at least two are."""
    size = len(counts)
    weights = [*counts, *[0] * size]
    used = [symbol for symbol in range(size) if counts[symbol]]
    last = max(used, default=-1)
    while len(used) < 2:
        forced = last + 1 if last < 2 else 0
        last = max(last, forced)
        weights[forced] = 1
        used.append(forced)
    depths, parent, order, node = [0] * (2 * size), [0] * (2 * size), list[int](), size
    heap = _Heap(weights, depths, used)
    while len(heap) > 1:
        a = heap.pop()
        b = heap.nodes[1]
        weights[node] = weights[a] + weights[b]
        depths[node] = max(depths[a], depths[b]) + 1
        parent[a] = parent[b] = node
        heap.replace(node)
        order += [a, b]
        node += 1
    lengths, over = [0] * (2 * size), 0
    leaves = [0] * (longest + 1)
    for node in reversed(order):
        lengths[node] = min(lengths[parent[node]] + 1, longest)
        over += lengths[parent[node]] + 1 > longest
        if node < size:
            leaves[lengths[node]] += 1
    if not over:
        return lengths[: last + 1]
    while over > 0:  # a leaf moves down, and takes one that is too deep beside it
        above = max(length for length in range(longest) if leaves[length])
        leaves[above] -= 1
        leaves[above + 1] += 2
        leaves[longest] -= 1
        over -= 2
    rarest = iter([node for node in order if node < size])
    for length in range(longest, 0, -1):
        for _ in range(leaves[length]):
            lengths[next(rarest)] = length
    return lengths[: last + 1]


def _run_codes(lengths: Sequence[int]) -> list[int]:
    """The symbols that tell code lengths: each run anew, 3 to 6 repetitions, zeros up
    to 138.
    """
    found, at = list[int](), 0
    before = -1
    while at < len(lengths):
        length = lengths[at]
        end = at
        most = 138 if not length else 7 if length != before else 6
        while end < len(lengths) and lengths[end] == length and end - at < most:
            end += 1
        run = end - at
        if run < (4 if length and length != before else 3):
            found += [length] * run
        elif length:
            found += ([length] if length != before else []) + [16]
        else:
            found.append(17 if run <= 10 else 18)
        before, at = length, end
    return found


def _coded(counts: Sequence[int], lengths: Sequence[int], extra: Sequence[int], base: int) -> int:
    """The bits of all symbols, with the extra bits of those from `base` on."""
    return sum(
        count * (length + (extra[symbol - base] if symbol >= base else 0))
        for symbol, (count, length) in enumerate(zip(counts, lengths, strict=False))
    )


def block_bits(block: Sequence[Symbol]) -> tuple[int, int]:
    """A block's bits with codes of its own, and with the fixed ones, without the three
    that tell its kind.
    """
    literals, distances = [0] * 286, [0] * 30
    literals[END] = 1
    for symbol in block:
        if isinstance(symbol, Match):
            literals[END + 1 + symbol.length_code] += 1
            distances[symbol.distance_code] += 1
        else:
            literals[symbol] += 1
    of_literals, of_distances = code_lengths(literals, 15), code_lengths(distances, 15)
    told = [0] * 19
    for code in (*_run_codes(of_literals), *_run_codes(of_distances)):
        told[code] += 1
    of_codes = [*code_lengths(told, 7), *[0] * 19][:19]
    used = max(4, 1 + max(i for i, symbol in enumerate(CODE_ORDER) if of_codes[symbol]))
    own = 14 + 3 * used + _coded(told, of_codes, CODE_EXTRA, 0)
    own += _coded(literals, of_literals, LENGTH_EXTRA, END + 1)
    own += _coded(distances, of_distances, DISTANCE_EXTRA, 0)
    fixed = _coded(literals, FIXED_LITERALS, LENGTH_EXTRA, END + 1)
    fixed += _coded(distances, FIXED_DISTANCES, DISTANCE_EXTRA, 0)
    return own, fixed


# ---- blocks ----


class _Window:
    """zlib's window of twice WINDOW bytes: from which byte on it holds the input."""

    def __init__(self, size: int) -> None:
        self._size, self.start, self._end = size, 0, min(2 * WINDOW, size)

    def look_at(self, at: int) -> None:
        """A search is at a byte: fill the window if little is ahead."""
        while self._end - at < LOOKAHEAD:
            if at - self.start >= 2 * WINDOW - LOOKAHEAD:
                self.start += WINDOW
            if self._end == self._size:
                return
            self._end = min(self._size, self.start + 2 * WINDOW)


def _ends_early(block: Sequence[Symbol], taken: int) -> bool:
    """Whether the kernel's zlib ends a block here, after `taken` bytes of input."""
    if len(block) % LOOKS_EVERY:
        return False
    matches = [symbol for symbol in block if isinstance(symbol, Match)]
    bits = 8 * len(block) + sum(5 + DISTANCE_EXTRA[m.distance_code] for m in matches)
    return len(matches) < len(block) // 2 and bits >> 3 < taken // 2


def length(page: bytes, ends_early: bool = True) -> int | None:
    """The bytes of a page in the kernel's deflate; without `ends_early` in libz's. None
    if libz stores a part, so that its symbols are not known.
    """
    packer = zlib.compressobj(-1, zlib.DEFLATED, -11, 8)
    every = symbols(packer.compress(page) + packer.flush())
    if every is None:
        return None
    window, bits, at, start, block = _Window(len(page)), 0, 0, 0, list[Symbol]()

    def end_block() -> int:
        own, fixed = block_bits(block)
        best = min((own + 10) >> 3, (fixed + 10) >> 3)
        if at - start + 4 <= best and start >= window.start:
            return (bits + 10) // 8 * 8 + 32 + 8 * (at - start)
        return bits + 3 + (fixed if (fixed + 10) >> 3 == best else own)

    for symbol in every:
        block.append(symbol)
        window.look_at(at)
        window.look_at(min(at + 1, len(page)))
        looked = at + 1 - start  # a match is written when the next byte was looked at
        at += symbol.length if isinstance(symbol, Match) else 1
        if len(block) == BLOCK_SYMBOLS or (ends_early and _ends_early(block, looked)):
            bits, start, block = end_block(), at, []
    return (end_block() + 7) // 8
