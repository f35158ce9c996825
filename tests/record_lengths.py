# SPDX-License-Identifier: GPL-2.0-or-later
"""Records the length at which the running kernel keeps each page, in zswap and zram.

    python tests/record_lengths.py zstd deflate     # as root, without swap in use

A kprobe on zs_malloc() tells the length that zswap or zram asks the allocator for. A
page that is kept raw has the length of a page; a page that is rejected has none. The
pages are the 16 known ones and a generated corpus, without pages of one repeated word,
which zram and the zero map keep outside the pool. Prints one JSON object.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from zswap_py._lib.signals import interruptions
from zswap_py.corpus import corpus, digest
from zswap_py.crypto.testmgr import known_pages
from zswap_py.verify.host import Host

SEED, PAGES = 13, 320
TRACING = Path("/sys/kernel/tracing")
#: The second argument of a function, by machine.
SECOND = {"x86_64": "%si", "aarch64": "%x1"}


def pages() -> list[bytes]:
    """Returns the pages that the lengths are of."""
    made = (*known_pages(), *corpus(SEED, PAGES))
    return [page for page in made if page[:8] * (len(page) // 8) != page]


@contextmanager
def lengths_traced() -> Iterator[Any]:
    """Yields a function that returns the lengths asked for since its last call."""
    if not (TRACING / "kprobe_events").exists():
        os.system(f"mount -t tracefs tracefs {TRACING}")
    register = SECOND[os.uname().machine]
    (TRACING / "kprobe_events").write_text(f"p:zswap_py_length zs_malloc size={register}:u64\n")
    enable = TRACING / "events/kprobes/zswap_py_length/enable"
    trace = TRACING / "trace"

    def lengths() -> list[int]:
        found = [
            int(line.rpartition("size=")[2])
            for line in trace.read_text().splitlines()
            if "zswap_py_length" in line and "size=" in line
        ]
        trace.write_text("")
        return found

    try:
        trace.write_text("")
        enable.write_text("1")
        yield lengths
    finally:
        enable.write_text("0")
        (TRACING / "kprobe_events").write_text("")  # opening it to write removes the events


def record(driver: Any, contents: Sequence[bytes], lengths: Any) -> list[int | None]:
    """Stores each page; returns its length, None where the kernel kept none."""
    lengths()
    kept: list[int | None] = []
    for i, page in enumerate(contents):
        driver.store(i, page)
        kept.append((lengths() or [None])[0])
    return kept


def main(names: list[str]) -> None:
    host, contents = Host(), pages()
    zpool = host.parameters / "zpool"
    if zpool.exists():
        zpool.write_text("zsmalloc")
    recorded: dict[str, Any] = {
        "kernel": host.release,
        "machine": os.uname().machine,
        "pages": len(contents),
        "sha256": digest(contents),
        "zswap": {},
        "zswap_counters": {},
        "zram": {},
    }
    with interruptions(), lengths_traced() as lengths:
        for name in names:
            with host.zswap(name, len(contents), "/var/tmp") as zswap:
                before = zswap._counters()
                recorded["zswap"][name] = record(zswap, contents, lengths)
                after = zswap._counters()
            recorded["zswap_counters"][name] = {
                k: after[k] - before.get(k, 0) for k in sorted(after)
            }
            with host.zram(name, len(contents)) as zram:
                recorded["zram"][name] = record(zram, contents, lengths)
    print(json.dumps(recorded))


if __name__ == "__main__":
    main(sys.argv[1:])
