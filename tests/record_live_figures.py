# SPDX-License-Identifier: GPL-2.0-or-later
"""Make processes whose pages are easily counted twice, and print the table of
docs/report.md: what is read of them.

usage (root): python tests/record_live_figures.py
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable

from test_live import (
    FAST_KSM,
    FIRST,
    KSM,
    MERGED,
    ONE,
    Family,
    Reader,
    as_user,
    reserve,
    rollup,
    settings,
    smaps,
    wait_for_merging,
)
from test_pages import NOBODY

HEAD = """\
| processes | smaps Anonymous | Pss_Anon | root | a user | survey |
| --- | --- | --- | --- | --- | --- |"""


def forked_runs(family: Family) -> list[int]:
    family.run(*ONE["many_runs"])
    family.fork()
    return [family.child.pid]


def nine(family: Family) -> list[int]:
    family.run("a = small(5120)", "fill(a, b'fork', range(5120))")
    for _ in range(8):
        family.fork()
    return family.pids


def merged(family: Family) -> list[int]:
    family.run(*MERGED)
    wait_for_merging(family)
    return family.pids


def thread(family: Family) -> list[int]:
    family.run(
        "import threading, time",
        "t = threading.Thread(target=time.sleep, args=(1000,), daemon=True); t.start()",
        "tell(t.native_id)",
    )
    return [family.child.told(), family.child.pid]


def headless(family: Family) -> list[int]:
    family.run("a = small(13747)", "fill(a, b'left', range(13747))")
    family.end_main_thread()
    return family.pids


def reserved(family: Family) -> list[int]:
    family.run(*reserve(14, FIRST))
    return family.pids


KINDS: dict[str, Callable[[Family], list[int]]] = {
    "1,000 runs of a page, forked; one of the two": forked_runs,
    "20 MiB, forked 8 times; all nine": nine,
    "2,000 pages of 10 contents, merged by KSM": merged,
    "a process, by its pid and a thread's": thread,
    "53.7 MiB, its main thread ended": headless,
    "14 TiB reserved, 1,000 pages touched": reserved,
}


def main() -> None:
    print(HEAD)
    with settings(KSM, FAST_KSM):
        for name, make in KINDS.items():
            family = Family(as_user(NOBODY))
            with contextlib.closing(family):
                pids = make(family)
                memories = [family.child.pid] if make in (thread, headless) else pids
                anonymous = sum(smaps(pid, "Anonymous") for pid in memories)
                pss = sum(rollup(pid, "Pss_Anon") for pid in memories)
                got = [
                    Reader(user, way).read(*pids)
                    for user in (None, NOBODY)
                    for way in ("scan", "pagemap")
                ]
                totals = [
                    f"{got[i]['total']:,}{', estimated' * got[i]['estimated']}" for i in (0, 2)
                ]
                assert got[0]["total"] == got[1]["total"]
                assert abs(got[2]["total"] - got[3]["total"]) <= 1
                ms = [f"{1000 * max(got[i]['cpu'], got[i + 2]['cpu']):.0f}" for i in (0, 1)]
                print(
                    f"| {name} | {anonymous:,} | {pss:,.0f} | {totals[0]} | {totals[1]} | "
                    f"{' / '.join(ms)} ms |"
                )
    print(f"\nLinux {os.uname().release}, pages of {os.sysconf('SC_PAGE_SIZE')} bytes")


if __name__ == "__main__":
    main()
