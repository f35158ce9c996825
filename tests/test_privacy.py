# SPDX-License-Identifier: GPL-2.0-or-later
"""What leaves a host: docs/privacy.md lists each field, and a process full of canaries
shows up nowhere else.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_schema import PARTS

from zswap_py import report

pytestmark = pytest.mark.skipif(
    mmap.PAGESIZE != 4096, reason="the report's pages are of 4,096 bytes here"
)

PRIVACY = (Path(__file__).resolve().parent.parent / "docs" / "privacy.md").read_text()
CANARY = "canary-7f3e"  # 15 characters at most: a comm
MEMORY_CGROUP = Path("/sys/fs/cgroup/memory")


def listed() -> dict[str, str]:
    """The fields of docs/privacy.md, and what --no-names makes of each."""
    rows = re.findall(r"^\| (`.+?) \|.*\| (.+?) \|$", PRIVACY, re.M)
    return {field: fate for fields, fate in rows for field in re.findall(r"`([\w.]+)`", fields)}


# ---- the document ----


def test_the_document_lists_exactly_the_schemas_fields() -> None:
    fields = {f"{name}.{field}" for name, part in PARTS.items() for field in part["properties"]}
    assert set(listed()) == fields
    rows = re.findall(r"`(\w+\.\w+)`", PRIVACY)
    assert len(rows) == len(set(rows))


# ---- the canaries ----

#: Has the canary in its memory (heap, shmem, a private mapping of a file), arguments,
#: environment, name, working directory, and in the names of the files that it maps.
BIRD = """
import ctypes, mmap, os, sys
canary, directory = sys.argv[1], sys.argv[2]
ctypes.CDLL(None).prctl(15, canary.encode(), 0, 0, 0)
os.chdir(directory)
text = (canary * 400).encode()[:4096]
heap = [text + str(i).encode() for i in range(500)]
anonymous = mmap.mmap(-1, 500 * 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for i in range(500):
    anonymous[i * 4096 : (i + 1) * 4096] = text
file = os.open(f"{directory}/{canary}.map", os.O_RDWR | os.O_CREAT)
os.ftruncate(file, 1 << 20)
private = mmap.mmap(file, 1 << 20, flags=mmap.MAP_PRIVATE)
for i in range(0, 1 << 20, 4096):
    private[i : i + 4096] = text
shared = os.memfd_create(canary)
os.ftruncate(shared, 1 << 20)
in_shmem = mmap.mmap(shared, 1 << 20)
for i in range(0, 1 << 20, 4096):
    in_shmem[i : i + 4096] = text
print("ready", flush=True)
sys.stdin.read()
"""

#: Runs a command line. Logs each name that is opened for writing, and what a file holds
#: that is renamed.
WATCHED = """
import json, os, sys
log = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
own = sys.argv[1]

def note(**what):
    os.write(log, (json.dumps(what) + "\\n").encode())

def hook(event, args):
    if event == "open":
        path, mode, flags = args
        if isinstance(path, (str, bytes)) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            note(opened=os.fsdecode(path))
    elif event in ("os.rename", "os.link", "os.symlink"):
        with open(args[0], errors="replace") as f:
            note(renamed=os.fsdecode(args[0]), holds=f.read())
    elif event in ("socket.connect", "socket.sendto", "subprocess.Popen", "os.exec", "os.mkdir"):
        note(event=event, args=repr(args))

sys.dont_write_bytecode = True
sys.addaudithook(hook)
from zswap_py.__main__ import main
sys.argv = ["zswap-py", *sys.argv[2:]]
sys.exit(main())
"""


@pytest.fixture
def bird(tmp_path: Path) -> Iterator[int]:
    """A process full of canaries, in a control group of that name where it may be."""
    nest = tmp_path / f"nest-{CANARY}"
    nest.mkdir()
    group = MEMORY_CGROUP / f"group-{CANARY}-{os.getpid()}"  # a name of each pytest worker
    with contextlib.suppress(OSError):
        group.mkdir()
    command = [sys.executable, "-S", "-c", BIRD, CANARY, str(nest)]
    environ = {"CANARY": CANARY, f"V_{CANARY.replace('-', '_')}": "1"}
    process = subprocess.Popen(
        command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        if group.is_dir():
            (group / "cgroup.procs").write_text(str(process.pid))
        yield process.pid
    finally:
        process.kill()
        process.communicate()
        if group.is_dir():
            group.rmdir()


class Seen:
    """All that a command line has put out, by where."""

    def __init__(self, directory: Path, *argv: object) -> None:
        log = directory / "log"
        done = subprocess.run(
            [sys.executable, "-c", WATCHED, log, *map(str, argv)],
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            timeout=120,
        )
        self.code, self.out, self.messages = done.returncode, done.stdout, done.stderr
        self.notes = [json.loads(line) for line in log.read_text().splitlines()]
        log.unlink()
        self.files = {
            path: path.read_text() for path in (directory / "out").iterdir() if path.is_file()
        }

    def everything(self) -> str:
        files = "".join(f"{path.name}\n{text}" for path, text in self.files.items())
        return f"{self.out}\n{self.messages}\n{files}\n{json.dumps(self.notes)}"


def paths_of(value: Any, part: str, field: str = "") -> Iterator[tuple[str, str]]:
    """Yields the texts in a report, keys too, each with its field in the schema."""
    if isinstance(value, str):
        yield f"{part}.{field}", value
    elif isinstance(value, list):
        for item in value:
            yield from paths_of(item, part, field)
    elif isinstance(value, dict):
        inner = child(part, field) if field else part
        for name, item in value.items():
            if inner is not None and name in PARTS[inner]["properties"]:
                yield from paths_of(item, inner, name)
            else:
                yield f"{part}.{field}", name
                yield from of_map(item, part, field)


def of_map(item: Any, part: str, field: str) -> Iterator[tuple[str, str]]:
    values = PARTS[part]["properties"][field].get("additionalProperties", {})
    if "$ref" in values:
        yield from paths_of(item, values["$ref"].rpartition("/")[2])
    else:
        yield from paths_of(item, part, field)


def child(part: str, field: str) -> str | None:
    """The part of the schema that a field's objects are."""
    its = PARTS[part]["properties"][field]
    kinds = [
        its,
        its.get("items", {}),
        *its.get("anyOf", []),
        *its.get("items", {}).get("anyOf", []),
    ]
    named = [kind["$ref"].rpartition("/")[2] for kind in kinds if "$ref" in kind]
    return named[0] if named else None


SELECTIONS = [
    ("--pid", "PID"),
    ("--pid", "PID", "--by", "process"),
    ("--pid", "PID", "--by", "mapping"),
    ("--pid", "PID", "--by", "cgroup"),
    ("--name", CANARY, "--by", "mapping"),
    ("--all", "--by", "cgroup"),
    ("--all", "--by", "process"),
]
COMPRESSORS = ("-c", "lz4", "-c", "lzo")


def argv_of(selection: tuple[str, ...], pid: int) -> list[str]:
    amount = ("--sample", "4M") if "--all" in selection else ("--full",)
    words = (str(pid) if word == "PID" else word for word in selection)
    return ["report", *words, *amount, *COMPRESSORS]


@pytest.mark.parametrize("selection", SELECTIONS, ids=" ".join)
def test_a_process_full_of_canaries_leaves_none(
    bird: int, tmp_path: Path, selection: tuple[str, ...]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    outputs = [
        word for name in ("/", "/r.csv", "/r.md", "/r.json") for word in ("-o", f"{out}{name}")
    ]
    argv = argv_of(selection, bird)
    if any(CANARY in word for word in selection) and os.geteuid() != 0:
        pytest.skip("only root finds other processes by name for certain")
    for printed in ("table", "json"):
        seen = Seen(tmp_path, *argv, "--no-names", "--format", printed, *outputs)
        assert seen.code == 0, seen.messages
        assert len(seen.files) >= 4
        assert CANARY not in seen.everything()
        assert f"pid {bird}" not in seen.everything()
        assert os.uname().nodename not in seen.everything()
        # all that is opened for writing is the report, beside its place
        written = {note["opened"] for note in seen.notes if "opened" in note}
        assert all(Path(name).parent == out for name in written), written
        assert len([note for note in seen.notes if "renamed" in note]) == 4
        assert not [note for note in seen.notes if "event" in note]


@pytest.mark.parametrize("selection", SELECTIONS, ids=" ".join)
def test_with_names_the_canaries_are_where_the_document_says(
    bird: int, tmp_path: Path, selection: tuple[str, ...]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    seen = Seen(tmp_path, *argv_of(selection, bird), "-o", f"{out}/")
    assert seen.code == 0, seen.messages
    (text,) = seen.files.values()
    # of all processes a sample is read, which may miss this one; a group needs root
    assert CANARY in text or selection[:1] == ("--all",)
    where = {field for field, word in paths_of(json.loads(text), "report") if CANARY in word}
    assert where <= {field for field, fate in listed().items() if fate != "kept"}
    # the contents, the environment and the directory are in none of them
    assert text.count(CANARY * 2) == 0
    assert "nest-" not in re.sub(r"[^\"]*\.map", "", text)
    # and without names these fields hold what the document says
    bare = json.loads(report.to_json(report.without_names(report.from_json(text))))
    assert CANARY not in json.dumps(bare)
    assert (bare["command"], bare["host"]["name"], bare["selected"]) == (None, None, [])
    assert [set(each) for each in bare["source"]] == [{"kind", "sources", "pages", "tail_bytes"}]


@pytest.mark.parametrize(
    "argv",
    [
        ("--pid", "GONE"),
        ("FILE",),
        ("FILE", "--pid", "PID"),
        ("--cgroup", "none-*"),
        ("--name", f"x{CANARY}"),
        ("--unit", f"x{CANARY}"),
    ],
    ids=" ".join,
)
def test_errors_have_no_names_either(bird: int, tmp_path: Path, argv: tuple[str, ...]) -> None:
    (tmp_path / "out").mkdir()
    words = {"GONE": str((1 << 22) - 1), "FILE": str(tmp_path / CANARY / "file"), "PID": str(bird)}
    seen = Seen(tmp_path, "report", *(words.get(word, word) for word in argv), "--no-names")
    assert seen.code == 1
    assert seen.messages.startswith("zswap-py: a source cannot be read")
    assert CANARY not in seen.everything()


def test_a_truncated_core_is_told_without_its_name(tmp_path: Path) -> None:
    from test_corefile import Recipe, Segment

    core = tmp_path / f"{CANARY}.core"
    core.write_bytes(Recipe([Segment(bytes(range(256)) * 64)]).bytes()[:-4096])
    (tmp_path / "out").mkdir()
    seen = Seen(tmp_path, "report", core, "--no-names", "-c", "lz4", "-o", f"{tmp_path}/out/")
    assert seen.code == 1
    assert "sources are incomplete" in seen.messages
    assert CANARY not in seen.everything()
