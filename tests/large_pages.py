# SPDX-License-Identifier: GPL-2.0-or-later
"""The figures of kernels with pages of 16 and 64 KiB, in data/large_pages.json: what
they are of, and how they are kept.

`vm/largepages/record` records them.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import struct
import zlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from zswap_py.corpus import PAGE_SIZE, corpus, digest

FIGURES_FILE = Path(__file__).resolve().parent / "data" / "large_pages.json"
SEEDS = (1, 2, 3)
SMALL_PAGES = 4096  #: pages of 4 KiB that a corpus is made of: 16 MiB


@cache
def pages_of(seed: int, page_size: int) -> tuple[bytes, ...]:
    """Returns the corpus of a seed, cut into pages of that size."""
    data = b"".join(corpus(seed, SMALL_PAGES))
    assert len(data) == SMALL_PAGES * PAGE_SIZE
    return tuple(data[at : at + page_size] for at in range(0, len(data), page_size))


def packed(lengths: Sequence[int]) -> str:
    """Returns numbers as text: base 85 of zlib of their 32 bits, little endian, all low
    bytes first.
    """
    words = struct.pack(f"<{len(lengths)}i", *lengths)
    return base64.b85encode(zlib.compress(b"".join(words[i::4] for i in range(4)), 9)).decode()


def unpacked(text: str) -> list[int]:
    """Returns the numbers that `packed` made a text of."""
    columns = zlib.decompress(base64.b85decode(text))
    count = len(columns) // 4
    words = bytearray(len(columns))
    for i in range(4):
        words[i::4] = columns[i * count : (i + 1) * count]
    return list(struct.unpack(f"<{count}i", words))


class Figures:
    """The file. Lists of lengths that are equal are kept once."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.kernels: list[dict[str, Any]] = data["kernels"]
        self._lengths: dict[str, str] = data["lengths"]

    @classmethod
    def read(cls) -> Figures:
        """Reads the file; none is an empty one."""
        if not FIGURES_FILE.exists():
            return cls({"kernels": [], "lengths": {}})
        return cls(json.loads(FIGURES_FILE.read_text()))

    def lengths(self, answer: dict[str, Any]) -> list[int]:
        """Returns the lengths of an answer of zram's or zswap's, page by page."""
        return unpacked(self._lengths[answer["lengths"]])

    def _keep(self, lengths: list[int]) -> str:
        text = packed(lengths)
        key = hashlib.sha256(text.encode()).hexdigest()[:12]
        self._lengths[key] = text
        return key

    def add(self, answers: Sequence[dict[str, Any]]) -> None:
        """Adds a kernel's answers, as vm/largepages/guest.c prints them, in place of
        older ones of the same flavour and version.
        """
        machine, *rest = answers
        page_size = machine["page_size"]
        corpora: list[dict[str, Any]] = [
            {"seed": seed, "sha256": digest(pages_of(seed, page_size)), "zram": {}, "zswap": {}}
            for seed in SEEDS
        ]
        for answer in rest:
            of = corpora[answer.pop("corpus")]
            kind = "zram" if "zram" in answer else "zswap"
            name = answer.pop(kind)
            of[kind][name] = _compact(answer) | {"lengths": self._keep(answer["lengths"])}
        entry = machine | {"version": version_of(machine["release"]), "corpora": corpora}
        same = ("version", "machine", "page_size")
        self.kernels = [k for k in self.kernels if any(k[n] != entry[n] for n in same)]
        self.kernels.append(entry)
        self.kernels.sort(key=lambda k: (k["page_size"], numbers(k["version"])))

    def write(self) -> None:
        """Writes the file, an answer a line."""
        used = {
            answer["lengths"]
            for kernel in self.kernels
            for of in kernel["corpora"]
            for kind in ("zram", "zswap")
            for answer in of[kind].values()
        }
        kept = {key: text for key, text in sorted(self._lengths.items()) if key in used}
        text = json.dumps({"kernels": self.kernels, "lengths": kept}, separators=(",", ":"))
        FIGURES_FILE.write_text(text.replace('},"', '},\n"') + "\n")


def _compact(answer: dict[str, Any]) -> dict[str, Any]:
    """Puts each counter's values, after the steps and at the end, into one list."""
    if "steps" not in answer:
        return answer
    steps = [*answer["steps"], answer["freed"]]
    counters = {name: [step[name] for step in steps] for name in steps[0]}
    return {"counters": counters, "intact": answer["intact"]}


def numbers(version: str) -> tuple[int, ...]:
    """6.18 as numbers, which order as releases do."""
    return tuple(int(n) for n in version.split("."))


def version_of(release: str) -> str:
    """The version in a release's name: 6.18 of 6.18.15+deb13-arm64-16k."""
    match = re.match(r"\d+\.\d+", release)
    assert match, release
    return match[0]
