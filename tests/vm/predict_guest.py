# SPDX-License-Identifier: GPL-2.0-or-later
"""Inside the machine: predicts what zswap makes of live groups, then has the kernel do it.

Three programs run, each in a control group of its own. For each compressor and each
group: `zswap-py report --cgroup` in full, the same from a sample, then zswap on, and
memory.reclaim until the group has no anonymous memory left. Writes what was predicted
and what the kernel's memory.stat and debugfs say, as JSON.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

CGROUP = Path("/sys/fs/cgroup")
ZSWAP = Path("/sys/module/zswap/parameters")
DEBUG = Path("/sys/kernel/debug/zswap")

#: Programs with heaps of different kinds; each says `ready`, then sleeps.
PROGRAMS = {
    "dicts": [
        "python3",
        "-c",
        "import time\n"
        "d = [{'id': i, 'name': f'user{i}', 'mail': f'u{i}@example.org', 'tags': [i % 7, i % 13]}"
        " for i in range(40_000)]\n"
        "print('ready', flush=True); time.sleep(1e6)",
    ],
    "sqlite": [
        "python3",
        "-c",
        "import random, sqlite3, time\n"
        "db, rng = sqlite3.connect(':memory:'), random.Random(1)\n"
        "db.execute('create table t (k text primary key, v blob, n real)')\n"
        "db.executemany('insert into t values (?, ?, ?)',"
        " ((f'{i:x}', rng.randbytes(40), rng.random()) for i in range(60_000)))\n"
        "print('ready', flush=True); time.sleep(1e6)",
    ],
    "perl": [
        "perl",
        "-e",
        "$| = 1; srand 1; $h{$_} = join ',', map { int rand 1e6 } 0..5 for 1..60000;"
        ' print "ready\\n"; sleep 1000000',
    ],
}


def write(path: Path, text: str) -> None:
    with open(path, "w", encoding="ascii") as f:
        f.write(text)


def numbers(path: Path) -> dict[str, int]:
    """Returns a file of lines `name number`."""
    return {name: int(n) for name, n in (line.split() for line in path.read_text().splitlines())}


def start(group: str) -> subprocess.Popen[bytes]:
    (CGROUP / group).mkdir()
    process = subprocess.Popen(
        PROGRAMS[group],
        stdout=subprocess.PIPE,
        preexec_fn=lambda: write(CGROUP / group / "cgroup.procs", str(os.getpid())),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    # a process that runs in between would make other pages than were predicted
    process.send_signal(signal.SIGSTOP)
    return process


def report(zswap_py: str, group: str, compressor: str, *how: str) -> dict[str, Any]:
    done = subprocess.run(
        [zswap_py, "report", "--cgroup", group, "-c", compressor, "--json", *how],
        stdout=subprocess.PIPE,
        check=True,
    )
    return dict(json.loads(done.stdout))


def reclaim(group: str) -> None:
    """Reclaims until no anonymous page is left in memory, or the kernel finds none."""
    for _ in range(20):
        stat = numbers(CGROUP / group / "memory.stat")
        if not stat["anon"] + stat.get("swapcached", 0):
            return
        try:
            write(CGROUP / group / "memory.reclaim", "1G")
        except OSError:
            time.sleep(0.1)  # EAGAIN: less than 1 GiB was there


def kernel(group: str, before: dict[str, int]) -> dict[str, int]:
    """Returns the kernel's own figures after the reclaim."""
    time.sleep(2.5)  # memory.stat lags by up to 2 s
    stat = numbers(CGROUP / group / "memory.stat")
    vmstat = numbers(Path("/proc/vmstat"))
    debug = {name: int((DEBUG / name).read_text()) for name in ("pool_total_size", "stored_pages")}
    return {
        **{name: stat[name] for name in ("anon", "zswap", "zswapped")},
        "zero_pages": vmstat["swpout_zero"] - before["swpout_zero"],
        **debug,
    }


def trial(zswap_py: str, group: str, compressor: str, seeds: list[int]) -> dict[str, Any]:
    """Predicts, then does, for one group and compressor, from an empty zswap."""
    process = start(group)
    try:
        predicted = report(zswap_py, group, compressor, "--full")
        sampled = [
            report(zswap_py, group, compressor, "--sample", "4M", "--seed", str(seed))
            for seed in seeds
        ]
        write(ZSWAP / "compressor", compressor)
        write(ZSWAP / "enabled", "Y")
        before = numbers(Path("/proc/vmstat"))
        reclaim(group)
        did = kernel(group, before)
    finally:
        process.kill()
        process.wait()
        write(ZSWAP / "enabled", "N")
    for _ in range(100):
        try:
            (CGROUP / group).rmdir()
            break
        except OSError:
            time.sleep(0.1)
    return {
        "group": group,
        "compressor": compressor,
        "kernel": did,
        "full": predicted,
        "sampled": sampled,
    }


def main(zswap_py: str, compressors: list[str], seeds: int) -> None:
    subprocess.run(["mkswap", "/dev/vda"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["swapon", "/dev/vda"], check=True)
    for compressor in compressors:
        subprocess.run(["modprobe", "-q", compressor], check=False)
    write(ZSWAP / "max_pool_percent", "90")
    write(Path("/proc/sys/vm/page-cluster"), "0")
    write(Path("/sys/kernel/mm/transparent_hugepage/enabled"), "never")
    trials = []
    for compressor in compressors:
        for group in PROGRAMS:
            trials.append(trial(zswap_py, group, compressor, list(range(1, seeds + 1))))
            print(f"{os.uname().release} {compressor} {group}", file=sys.stderr, flush=True)
    json.dump({"release": os.uname().release, "trials": trials}, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2].split(","), int(sys.argv[3]))
