# SPDX-License-Identifier: GPL-2.0-or-later
"""Time and memory of `zswap-py show` over a fleet's reports.

    python bench/fleet.py [--reports 100000] [--dir DIR] [-c zstd -c lzo -c lz4]

Makes a real report, then as many others of its shape: each with an id of its own, one
of eight values of the label `service`, and every size changed by a factor of its own.
Prints the CPU time and the peak memory of one `zswap-py show --by service DIR`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

from zswap_py.corpus import corpus

SERVICES = [f"service-{i}" for i in range(8)]
FILES_PER_DIRECTORY = 1000


def template(directory: Path, compressors: list[str]) -> dict[str, Any]:
    """Returns the JSON object of a report on the generated corpus."""
    memory = directory / "memory"
    memory.write_bytes(b"".join(corpus(1)))
    options = [word for name in compressors for word in ("-c", name)]
    command = [sys.executable, "-m", "zswap_py", "report", "--json", *options, str(memory)]
    made: dict[str, Any] = json.loads(
        subprocess.run(command, capture_output=True, check=True).stdout
    )
    memory.unlink()
    return made


def scaled(value: Any, factor: float) -> Any:
    """Returns a figure, an estimate or a histogram times a factor, in whole numbers."""
    if isinstance(value, dict):
        return {name: scaled(item, factor) for name, item in value.items()}
    if isinstance(value, list):
        return [scaled(item, factor) for item in value]
    return round(value * factor) if isinstance(value, int) else value


def report(made: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """Returns another host's report: cold memory is a part of all."""
    factor = rng.lognormvariate(6, 1)
    cold = factor * rng.uniform(0.05, 0.6)
    data = dict(made)
    data["id"] = uuid.UUID(int=rng.getrandbits(128), version=4).hex
    data["labels"] = {"service": rng.choice(SERVICES)}
    data["pages_total"] = round(made["pages_total"] * factor)
    data["cold_pages"] = round(made["pages_total"] * cold)
    data["zero_pages"] = scaled(made["zero_pages"], factor)
    data["compressors"] = [
        c
        | {
            "all": scaled(c["all"], factor),
            "cold": scaled(c["all"], cold),
            "classes": {
                size: [round(n[0] * factor), round(n[0] * cold)] for size, n in c["classes"].items()
            },
        }
        for c in made["compressors"]
    ]
    return data


def write(directory: Path, made: dict[str, Any], reports: int) -> int:
    """Writes the reports, and returns their bytes."""
    rng, nbytes = random.Random(1), 0
    for i in range(reports):
        shard = directory / f"{i // FILES_PER_DIRECTORY:04}"
        if i % FILES_PER_DIRECTORY == 0:
            shard.mkdir()
        text = json.dumps(report(made, rng), separators=(",", ":"))
        nbytes += (shard / f"{i}.json").write_text(text)
    return nbytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reports", type=int, default=100_000)
    parser.add_argument(
        "--dir", type=Path, help="for the files, some 10 KiB each (default: a new one)"
    )
    parser.add_argument("-c", dest="compressors", action="append")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.dir) as name:
        directory = Path(name)
        made = template(directory, args.compressors or ["zstd", "lzo", "lz4"])
        nbytes = write(directory, made, args.reports)
        print(f"{args.reports:,} reports, {nbytes / args.reports:,.0f} bytes each")
        begin = time.monotonic()
        command = [sys.executable, "-m", "zswap_py", "show", "--by", "service", name]
        shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        elapsed = time.monotonic() - begin
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(shown)
    print(f"CPU {used.ru_utime:.1f} s user, {used.ru_stime:.1f} s system; {elapsed:.1f} s in all")
    print(f"peak memory {used.ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    os.environ.setdefault("COLUMNS", "100")
    main()
