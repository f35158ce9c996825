# SPDX-License-Identifier: GPL-2.0-or-later
"""Records what this machine's kernel answers to a search for cold memory, as root:

python tests/record_cold.py >>answers; python tests/record_cold.py --merge answers

prints one line, to be appended to those of other kernels; ``--merge`` writes
tests/data/cold.json from them. tests/test_cold.py replays the answers.
"""

from __future__ import annotations

import json
import platform
import sys
import tempfile
import time
from array import array
from pathlib import Path
from typing import Any

from cold_target import Target

from zswap_py.sources.damon import ColdSearch
from zswap_py.sources.damon_sysfs import Sysfs
from zswap_py.sources.pagemap import Runs

DATA = Path(__file__).parent / "data" / "cold.json"
LRU_GEN = Path("/sys/kernel/debug/lru_gen")
ADMIN, SHORT = "kernel/mm/damon/admin/kdamonds", "~"  # as the file has it
PIECE = 256 << 10


class Recorder(Sysfs):
    """Sysfs that remembers each call and its answer; an errno for a failure."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[list[Any]] = []

    def _note(self, call: list[Any], function: Any, *args: Any) -> Any:
        try:
            answer = function(*args)
        except OSError as e:
            self.calls.append([*call, {"errno": e.errno}])
            raise
        self.calls.append([*call, answer])
        return answer

    def read(self, path: str) -> str:
        return str(self._note(["read", path], super().read, path))

    def write(self, path: str, value: str | int) -> None:
        self._note(["write", path, str(value)], super().write, path, value)

    def names(self, path: str) -> list[str]:
        return list(self._note(["names", path], super().names, path))


def record() -> dict[str, Any]:
    sysfs = Recorder()
    with Target(mib=8) as target, tempfile.TemporaryDirectory() as run:
        time.sleep(1)
        starts = array("Q", range(target.base, target.base + target.size, PIECE))
        ranges = {target.pid: Runs(starts, array("Q", (at + PIECE for at in starts)))}
        with ColdSearch(sysfs=sysfs, run=Path(run)) as search:
            found = search.watch(ranges, 5)
        cold = [list(part) for part in found[target.pid]]
        return {
            "pid": target.pid,
            "ranges": [list(part) for part in ranges[target.pid]],
            "cold": cold,
            "shares": target.shares(*cold),
            "calls": sysfs.calls,
            "lru_gen": LRU_GEN.read_text() if LRU_GEN.exists() else "",
        }


def merge(answers: Path) -> None:
    kernels: dict[str, Any] = {}
    for line in answers.read_text().splitlines():
        kernels |= json.loads(line)
    text = ",\n".join(
        f"{json.dumps(release)}: {json.dumps(kernels[release])}" for release in sorted(kernels)
    )
    DATA.write_text("{\n" + text.replace(ADMIN, SHORT) + "\n}\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--merge"]:
        merge(Path(sys.argv[2]))
    else:
        print(json.dumps({platform.release(): record()}))
