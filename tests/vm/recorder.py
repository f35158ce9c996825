# SPDX-License-Identifier: GPL-2.0-or-later
"""Boots kernels and records their figures: tests/vm/record."""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from vm.machine import Options, run
from vm.packages import MachineError
from vm.records import DATA, VERSIONS, Corpus, dumps

TRIES = 2  #: of a machine that ends early: see machine.STARTS
TIMEOUT = 1200
INSIDE = Path(__file__).resolve().parent / "figures.py"
# one processor: the walk has one thread, and another machine uses the other one
OPTIONS = Options(cpus=1, timeout=TIMEOUT)


def record(version: str, corpora: Sequence[Corpus], options: Options = OPTIONS) -> dict[str, Any]:
    """Returns the record of a kernel. Raises MachineError if it cannot be had."""
    with tempfile.TemporaryDirectory() as made:
        paths = []
        for corpus in corpora:
            paths.append(Path(made) / corpus.name)
            paths[-1].write_bytes(b"".join(corpus.pages))
        out, err = io.BytesIO(), io.BytesIO()
        code = run(
            version, [sys.executable, str(INSIDE), *map(str, paths)], options, out=out, err=err
        )
    if code:
        raise MachineError(f"Linux {version}: {err.getvalue().decode(errors='replace')}")
    found: dict[str, Any] = json.loads(out.getvalue())
    found["corpora"] = {corpus.name: corpus.described() for corpus in corpora}
    return found


def _record(version: str, corpora: Sequence[Corpus], to: Path) -> str | None:
    """Writes a record. Returns the error if there is one."""
    start = time.monotonic()
    for left in reversed(range(TRIES)):
        try:
            found = record(version, corpora)
        except MachineError as e:
            if not left:
                return str(e)
        else:
            (to / f"{version}.json").write_text(dumps(found))
            break
    print(f"Linux {version}: {found['kernel']}, {time.monotonic() - start:.0f} s", flush=True)
    return None


def main(argv: Sequence[str]) -> int:
    """The command line of tests/vm/record."""
    parser = argparse.ArgumentParser(
        prog="tests/vm/record",
        description="Boots Debian's kernels and records what their own zswap and zram make of "
        "generated pages. tests/vm/compare compares ours.",
    )
    parser.add_argument("versions", metavar="VERSION", nargs="*", default=VERSIONS)
    parser.add_argument("--to", type=Path, default=DATA, metavar="DIRECTORY", help="(%(default)s)")
    parser.add_argument(
        "--pages", type=int, default=500, help="of each corpus, 4 KiB each (%(default)s)"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="(1 2 3)")
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count(), help="machines at once (%(default)s)"
    )
    args = parser.parse_args(argv)
    args.to.mkdir(parents=True, exist_ok=True)
    corpora = [Corpus(seed, args.pages) for seed in args.seeds]
    with ThreadPoolExecutor(args.jobs) as pool:
        errors = list(pool.map(lambda v: _record(v, corpora, args.to), args.versions))
    for error in filter(None, errors):
        print(f"tests/vm/record: {error}", file=sys.stderr)
    return 1 if any(errors) else 0
