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
from collections.abc import Callable, Container, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from vm.fidelity import VERDICTS
from vm.machine import Options, run
from vm.packages import MachineError
from vm.records import DATA, VERSIONS, Corpus, dumps

from zswap_py.corpus import PAGE_SIZE

TRIES = 2  #: of a machine that ends early: see machine.STARTS
TIMEOUT = 1200
INSIDE = Path(__file__).resolve().parent / "figures.py"
# one processor: the walk has one thread, and another machine uses the other one
OPTIONS = Options(cpus=1, timeout=TIMEOUT)


def _told(version: str, command: Sequence[str], accepted: Container[int] = (0,)) -> str:
    """Returns the output of a command under a kernel. Raises MachineError if its exit
    code is none of the accepted ones.
    """
    out, err = io.BytesIO(), io.BytesIO()
    code = run(version, command, OPTIONS, out=out, err=err)
    if code not in accepted:
        raise MachineError(f"Linux {version}: {err.getvalue().decode(errors='replace')}")
    return out.getvalue().decode()


def record(version: str, corpora: Sequence[Corpus]) -> str:
    """Returns the record of a kernel. Raises MachineError if it cannot be had."""
    with tempfile.TemporaryDirectory() as made:
        paths = []
        for corpus in corpora:
            paths.append(Path(made) / corpus.name)
            paths[-1].write_bytes(b"".join(corpus.pages))
        found = json.loads(_told(version, [sys.executable, str(INSIDE), *map(str, paths)]))
    return dumps(found | {"corpora": {corpus.name: corpus.described() for corpus in corpora}})


def verdict(version: str, corpus: Corpus) -> str:
    """Returns what `zswap-py verify --json` tells under a kernel. Raises MachineError
    if it fails.
    """
    verify = [sys.executable, "-m", "zswap_py", "verify", "--json", "--seed", str(corpus.seed)]
    verify += ["--size", str(corpus.nr_pages * PAGE_SIZE)]
    modprobe = ["sh", "-c", 'modprobe zram && exec "$@"', "sh"]
    return _told(version, [*modprobe, *verify], accepted=(0, 3))


def _write(version: str, make: Callable[[str], str], to: Path) -> str | None:
    """Writes what a kernel tells. Returns the error if there is one."""
    start = time.monotonic()
    for left in reversed(range(TRIES)):
        try:
            (to / f"{version}.json").write_text(make(version))
            break
        except MachineError as e:
            if not left:
                return str(e)
    print(f"Linux {version}: {time.monotonic() - start:.0f} s", flush=True)
    return None


def main(argv: Sequence[str]) -> int:
    """The command line of tests/vm/record."""
    parser = argparse.ArgumentParser(
        prog="tests/vm/record",
        description="Boots Debian's kernels and records what their own zswap and zram make of "
        "generated pages. tests/vm/compare compares ours.",
    )
    parser.add_argument("versions", metavar="VERSION", nargs="*", default=VERSIONS)
    parser.add_argument(
        "--to", type=Path, metavar="DIRECTORY", help=f"({DATA}, with --verify {VERDICTS})"
    )
    parser.add_argument("--pages", type=int, default=500, help="of a corpus (%(default)s)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="(1 2 3)")
    parser.add_argument(
        "--verify",
        action="store_true",
        help="write what `zswap-py verify --json` tells there of the first corpus",
    )
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count(), help="machines at once (%(default)s)"
    )
    args = parser.parse_args(argv)
    corpora = [Corpus(seed, args.pages) for seed in args.seeds]
    to = args.to or (VERDICTS if args.verify else DATA)
    to.mkdir(parents=True, exist_ok=True)

    def make(version: str) -> str:
        return verdict(version, corpora[0]) if args.verify else record(version, corpora)

    with ThreadPoolExecutor(args.jobs) as pool:
        errors = list(pool.map(lambda version: _write(version, make, to), args.versions))
    for error in filter(None, errors):
        print(f"tests/vm/record: {error}", file=sys.stderr)
    return 1 if any(errors) else 0
