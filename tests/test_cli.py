# SPDX-License-Identifier: GPL-2.0-or-later
"""cli and __main__.py: what is typed, what comes out where, and the exit code."""

from __future__ import annotations

import argparse
import contextlib
import errno
import json
import mmap
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from fnmatch import fnmatchcase as fnmatch
from pathlib import Path
from typing import Any

import pytest
from corpus import corpus
from helpers import Run, running

from zswap_py import cli, report
from zswap_py.cli.options import size
from zswap_py.report import measure
from zswap_py.sources import pages as pages_module
from zswap_py.sources.denial import denial
from zswap_py.sources.process import ProcessDenied

P = os.sysconf("SC_PAGE_SIZE")
ROOT = os.geteuid() == 0
NOBODY = 65534
COMMAND = [sys.executable, "-m", "zswap_py"]
KERNEL = json.loads((Path(__file__).parent / "data" / "kernel_figures.json").read_text())

pytestmark = [
    pytest.mark.skipif(P != 4096, reason="the corpora's pages are of 4,096 bytes"),
    pytest.mark.timeout(60),
]

# 2,048 pages of words, each its own, then 1,024 of noise, in one mapping; then it
# waits.
CHILD = f"""
import mmap, os, sys
m = mmap.mmap(-1, 3072 * {P}, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
m.madvise(mmap.MADV_NOHUGEPAGE)
for i in range(2048):
    m[i * {P}:(i + 1) * {P}] = b"%08d" % i * ({P} // 8)
m[2048 * {P}:] = os.urandom(1024 * {P})
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def child() -> Iterator[int]:
    """The process above."""
    with running(CHILD) as pid:
        yield pid


# ---- files ----


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_file_has_the_kernels_pool(run: Run, memory: Path, jobs: int) -> None:
    code, out, err = run("report", memory, "-c", "deflate", "--json", "--jobs", jobs)
    data = json.loads(out)
    kernel = KERNEL["corpus:1"]["churn:deflate"][0]
    assert (code, err) == (0, "")
    of_all, counted = data["compressors"][0]["all"], data["compressors"][0]["sample"]
    assert {name: of_all[name]["value"] for name in kernel} == kernel
    assert {name: counted[name] for name in kernel} == kernel
    assert (data["schema"], data["complete"], data["sample"]["pages"]) == (2, True, 2000)
    assert data["zero_pages"] == {"value": 52, "low": 52, "high": 52}
    assert data["command"] == f"zswap-py report {memory} -c deflate --json --jobs {jobs}"
    name = str(memory)
    assert data["source"] == [
        {"kind": "file", "label": name, "path": name, "pages": 2000, "tail_bytes": 0}
    ]
    assert data["host"]["kernel"] == os.uname().release
    assert data["compressors"][0]["intact"] is True


def test_the_table_has_the_jsons_figures(
    run: Run, memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(memory.parent)  # a long name takes two lines
    code, out, err = run("report", "memory")
    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert lines[0] == "memory: 2,000 pages, 7.8 MiB"
    assert lines[3].startswith("At most, if everything were swapped, ")
    assert "±" not in out
    deflate = next(line.split() for line in lines if " deflate " in line)
    assert deflate[-6:-3] == ["2.08", "3.7", "MiB"]  # 3,829,760 bytes
    assert max(map(len, lines)) <= 80
    assert "\x1b" not in out
    assert {"lzo", "lzo-rle", "lz4", "zstd", "deflate"} <= set(out.split())


def test_folios(run: Run, tmp_path: Path) -> None:
    """A folio of 64 KiB with one page that does not shrink: Linux 6.16 refuses it, 6.18
    does not.
    """
    words = [b"%04d" % i * (P // 4) for i in range(48)]
    path = tmp_path / "memory"
    path.write_bytes(b"".join([*words[:20], os.urandom(P), *words[21:]]) + bytes(65536))
    found = {}
    for kernel in ("6.16", "6.18"):
        _code, out, _err = run(
            "report", path, "-c", "lzo", "--folio", "64K", "--json", "--kernel", kernel
        )
        data = json.loads(out)
        zero_pages = data["zero_pages"]["value"]
        assert (data["kernel"], data["folio_pages"], zero_pages) == (kernel, 16, 16)
        found[kernel] = [
            data["compressors"][0]["all"][name]["value"]
            for name in ("stored_pages", "rejected_pages")
        ]
    assert found == {"6.16": [32, 16], "6.18": [48, 0]}
    assert "folios of 64 KiB" in run("report", path, "-c", "lzo", "--folio", "64K")[1]


def test_sample_and_seed(run: Run, memory: Path) -> None:
    one, again, other = (
        json.loads(
            run("report", memory, "-c", "lz4", "--sample", "1M", "--seed", seed, "--json")[1]
        )
        for seed in (1, 1, 2)
    )
    assert 200 < one["sample"]["pages"] <= 256
    assert one["pages_total"] == 2000
    pools = [made["compressors"][0]["all"]["pool_total_size"] for made in (one, again, other)]
    assert pools[0] == pools[1] != pools[2]
    assert pools[0]["low"] < pools[0]["value"] < pools[0]["high"]
    text = " ".join(run("report", memory, "--sample", "1M")[1].split())
    assert "of 2,000 pages (1.0 MiB of 7.8 MiB)" in text
    assert "±" in text


def test_a_sample_is_a_size_or_a_share(run: Run, memory: Path) -> None:
    for amount, pages in (("2%", 40), ("100%", 2000), ("0.5M", 128)):
        out = run("report", memory, "-c", "lzo", "--sample", amount, "--json")[1]
        assert json.loads(out)["sample"]["pages"] == pytest.approx(pages, abs=8)


def test_precision_reads_until_it_is_reached(run: Run, memory: Path) -> None:
    rough, fine = (
        json.loads(run("report", memory, "-c", "lzo", "--precision", p, "--json")[1])
        for p in ("20%", "0.001")
    )
    assert rough["sample"]["pages"] < 2000
    assert rough["sample"]["ended"] == "precision"
    saved = rough["compressors"][0]["all"]["net_saved_bytes"]
    assert saved["high"] - saved["low"] <= 2 * 0.2 * saved["value"]
    assert (fine["sample"]["pages"], fine["sample"]["ended"]) == (2000, "all")


def test_a_tail_that_fills_no_page_is_told(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("memory").write_bytes(bytes(P) + b"tail")
    code, out, err = run("report", "memory", "-c", "lz4")
    assert code == 0
    assert "left out 4 bytes at the ends of sources that fill no page" in err
    assert out.startswith("memory: 1 page, 4.0 KiB\n")


def test_compressors_that_cannot_be_had(run: Run, memory: Path) -> None:
    code, out, _err = run("report", memory, "-c", "lz4", "-c", "842", "--json")
    each = json.loads(out)["compressors"]
    assert code == 0
    assert [c["name"] for c in each] == ["lz4", "842"]
    assert list(each[1]) == ["name", "backend", "unavailable"]
    code, out, err = run("report", memory, "-c", "842")
    assert (code, out) == (1, "")
    assert err == f"zswap-py: compressor 842 is not available: {each[1]['unavailable']}\n"


def test_damage_is_exit_code_1(run: Run, memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load = measure._Meter._load
    monkeypatch.setattr(measure._Meter, "_load", lambda *args: (*load(*args)[:2], 1))
    code, out, err = run("report", memory, "-c", "lz4")
    assert code == 1
    assert "DAMAGED" in out
    assert "lz4:kernel: pages were lost or loaded with other bytes" in err


# ---- processes ----


def test_a_process_is_read_in_a_sample_or_whole(run: Run, child: int) -> None:
    code, out, err = run("report", "--pid", child, "-c", "lzo", "--full", "--json")
    whole = json.loads(out)
    lzo = whole["compressors"][0]["all"]
    assert (code, err) == (0, "")
    assert whole["source"][0]["pid"] == child
    assert whole["source"][0]["label"].startswith(f"pid {child} ")
    assert whole["sample"]["pages"] == whole["pages_total"] > 3072
    assert 1024 <= lzo["stored_incompressible_pages"]["value"] < 1200
    assert whole["compressors"][0]["intact"]
    assert (whole["cost"]["threads"], whole["cost"]["policy"]) == (1, "idle")
    code, out, _err = run("report", "--pid", child, "-c", "lzo", "--sample", "4M", "--json")
    part = json.loads(out)
    assert part["sample"]["pages"] == pytest.approx(1024, rel=0.1)
    assert part["pages_total"] == pytest.approx(whole["pages_total"], rel=0.01)
    saved = part["compressors"][0]["all"]["net_saved_bytes"]
    assert saved["value"] == pytest.approx(lzo["net_saved_bytes"]["value"], rel=0.2)
    assert saved["low"] < saved["value"] < saved["high"]
    out = run("report", "--pid", child, "-c", "lzo")[1]
    assert " swappable of " in out.splitlines()[0]
    assert "the processes ran on meanwhile" in " ".join(out.split())


def test_itself_is_never_read(run: Run) -> None:
    code, out, err = run("report", "--pid", os.getpid())
    assert (code, out) == (1, "")
    assert "is zswap-py itself" in err


def test_no_readable_process_is_one_line_with_the_remedy(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(pid: int) -> None:
        raise ProcessDenied("no")

    monkeypatch.setattr(pages_module.Process, "find", denied)
    for argv in (["report"], ["report", "--all"]):
        code, out, err = run(*argv)
        assert (code, out) == (1, "")
        assert re.fullmatch(r"zswap-py: none of \d+ processes can be read: .+\n", err)
        assert denial(None) in err  # the cause, and the command to type


@pytest.mark.skipif(not ROOT, reason="becomes another user")
def test_a_user_without_processes_gets_the_sudo_line() -> None:
    code = (
        "import os, sys; from zswap_py.cli import main; "
        f"os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY}); "
        "sys.exit(main(['report']))"
    )
    p = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (p.returncode, p.stdout) == (1, "")
    assert re.fullmatch(
        r"zswap-py: none of \d+ processes can be read: .*"
        r'sudo env "PATH=\$PATH" zswap-py report --all\n',
        p.stderr,
    )


def test_processes_that_were_left_out_are_told(
    run: Run, child: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = pages_module.Process.find

    def only_child(pid: int) -> Any:
        if pid != child:
            raise ProcessDenied("no")
        return find(pid)

    monkeypatch.setattr(pages_module.Process, "find", only_child)
    code, out, err = run("report", "-c", "lz4", "--json")
    assert code == 0
    assert [source["pid"] for source in json.loads(out)["source"]] == [child]
    assert re.search(r"\d+ process(es)? could not be read: ", err)


# ---- memory ----


def test_refusal_has_the_figure(run: Run, memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "mem_available", lambda: 64 << 20)
    code, out, err = run("report", memory)
    assert (code, out) == (1, "")
    assert re.fullmatch(
        r"zswap-py: pools and copies would take \d+\.\d MiB, more than 16\.0 MiB, a quarter .*\n",
        err,
    )


def test_stopped_for_want_of_memory(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "memory").write_bytes(bytes(16 << 20) + os.urandom(32 << 20))
    monkeypatch.setattr(measure, "mem_available", lambda: 4 * (34 << 20))
    monkeypatch.setattr(measure, "WORTH_REPORTING", 16 << 20)
    code, out, err = run("report", tmp_path / "memory", "-c", "lz4", "--json")
    assert code == 1
    assert json.loads(out)["complete"] is False
    assert err.startswith("zswap-py: stopped: pools and copies would take ")


# ---- Ctrl-C, pipes ----


def half_fed(*argv: str, size: int = 20 << 20) -> subprocess.Popen[bytes]:
    """A report on standard input that has got a piece of 16 MiB, and part of the next;
    or fewer bytes.
    """
    process = subprocess.Popen(
        [*COMMAND, "report", "-", "-c", "lz4", *argv],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    # a pipe holds 1 MiB at most: it has read 19 at least
    process.stdin.write(b"".join(corpus(1) * 3)[:size])
    process.stdin.flush()
    return process


def test_ctrl_c_reports_what_was_measured() -> None:
    process = half_fed("--json")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    data = json.loads(out)
    assert process.returncode == 130
    assert (
        err.decode() == "zswap-py: interrupted: the figures cover the pages measured before that\n"
    )
    pages = data["sample"]["pages"]
    assert (data["complete"], pages) == (False, 4096)
    assert data["pages_total"] in (None, 5120)  # 5120: it saw the end of the pipe
    stored = data["compressors"][0]["all"]["stored_pages"]["value"]
    assert stored + data["zero_pages"]["value"] == 4096
    assert data["compressors"][0]["intact"] is True


def test_ctrl_c_ends_a_read_from_a_pipe_that_gives_no_more() -> None:
    process = half_fed("--json")
    for _ in range(5):  # a signal just before the read begins is seen after it
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=10)  # a second signal while it exits would end it
            break
    process.communicate()
    assert process.returncode == 130


def test_ctrl_c_within_the_first_piece_reports_nothing(tmp_path: Path) -> None:
    process = half_fed("-o", str(tmp_path / "r.json"), size=8 << 20)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, b"")
    assert err.decode() == "zswap-py: interrupted before anything was measured\n"
    assert not (tmp_path / "r.json").exists()


def test_ctrl_c_in_the_table() -> None:
    process = half_fed()
    process.send_signal(signal.SIGINT)
    out, _err = process.communicate(timeout=30)
    assert process.returncode == 130
    first = out.decode().partition("zswap modelled")[0]
    assert first.startswith("standard input: 4,096 ")
    assert " ".join(first.split()).endswith("; incomplete, not scaled up")


def test_ctrl_c_before_anything_is_there(
    run: Run, memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("zswap_py.cli.sources.open_pages", interrupted)
    assert run("report", memory) == (
        130,
        "",
        "zswap-py: interrupted before anything was measured\n",
    )


@pytest.mark.parametrize("how", [["--json"], [], ["--version"]])
def test_a_closed_pipe_is_silent(memory: Path, how: list[str]) -> None:
    argv = how if how == ["--version"] else ["report", str(memory), "-c", "lz4", *how]
    reader, writer = os.pipe()
    os.close(reader)
    p = subprocess.run([*COMMAND, *argv], stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (p.returncode, p.stderr) == (1, b"")


def test_standard_input(memory: Path) -> None:
    p = subprocess.run(
        [*COMMAND, "report", "-", "-c", "deflate", "--json"],
        input=memory.read_bytes(),
        check=True,
        capture_output=True,
    )
    data = json.loads(p.stdout)
    assert data["sample"]["pages"] == data["pages_total"] == data["source"][0]["pages"] == 2000
    assert (
        data["compressors"][0]["all"]["pool_total_size"]["value"]
        == KERNEL["corpus:1"]["churn:deflate"][0]["pool_total_size"]
    )


# ---- a terminal ----


def on_terminal(argv: list[str], **environ: str) -> str:
    """All that the command writes to a terminal that is its standard output and
    error.
    """
    try:
        master, slave = pty.openpty()
    except OSError as e:
        pytest.skip(f"no pseudo-terminal here: {e}")
    env = {
        k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "TERM", "COLUMNS")
    } | environ
    with subprocess.Popen(
        [*COMMAND, *argv], stdin=slave, stdout=slave, stderr=slave, env=env
    ) as process:
        os.close(slave)
        seen = b""
        while select.select([master], [], [], 30)[0]:
            try:
                got = os.read(master, 65536)
            except OSError:  # EIO: the other side is closed
                break
            seen += got
    os.close(master)
    assert process.returncode == 0
    return seen.decode()


def test_a_terminal_gets_colour_and_progress(memory: Path) -> None:
    argv = ["report", str(memory), "-c", "lz4"]
    seen = on_terminal(argv, TERM="xterm-256color")
    assert "\x1b[1m" in seen.partition("were swapped")[0]
    assert "measuring" in seen
    assert "B/s" in seen
    plain = on_terminal(argv, TERM="xterm-256color", NO_COLOR="1")
    assert not re.search(r"\x1b\[[\d;]*m", plain)
    dumb = on_terminal(argv, TERM="dumb")
    assert "\x1b" not in dumb
    assert "measuring" not in dumb
    assert "\x1b[1m" in on_terminal([*argv, "--color", "always"], TERM="dumb")


# ---- usage ----


FAR = "9" * 9000
NO_NAME = "re\x1b[31m\n\u202e\udcff"
SHOWN = r"re\x1b[31m\n\u202e\xff"

BAD = [  # what is typed, the exit code, the last line that comes
    ([], 2, "zswap-py: error: the following arguments are required: COMMAND"),
    (["repot"], 2, "zswap-py: error: argument COMMAND: invalid choice: 'repot' (choose from *"),
    (
        [NO_NAME],
        2,
        "zswap-py: error: argument COMMAND: invalid choice: "
        "'re\\x1b[31m\\n\\u202e\\udcff' (choose from *",
    ),
    (["report", f"--{NO_NAME}"], 2, rf"zswap-py: error: unrecognized arguments: --{SHOWN}"),
    (["report", "--js"], 2, "zswap-py: error: unrecognized arguments: --js"),
    (["report", "--pid", "x"], 2, "argument --pid: 'x' is not a whole number from 1"),
    (["report", "--pid", "-5"], 2, "*error: argument --pid: *"),
    (["report", "--pid", "0"], 2, "argument --pid: '0' is not a whole number from 1"),
    (["report", "--pid", "4194304"], 1, "zswap-py: there is no process 4194304: it has exited, *"),
    (
        ["report", "--pid", "4194305"],
        2,
        "argument --pid: '4194305' is too large: give 4194304 or less",
    ),
    (
        ["report", "--pid", f"1{'0' * 30}"],
        2,
        f"argument --pid: '1{'0' * 30}' is too large: give 4194304 or less",
    ),
    (
        ["report", "--pid", FAR],
        2,
        f"argument --pid: '{'9' * 37}...' is too large: give 4194304 or less",
    ),
    (
        ["report", "--sample", "lots"],
        2,
        "argument --sample: 'lots' is not a size: give bytes, 64M or 1.5G",
    ),
    (
        ["report", "--sample", "1e30"],
        2,
        "argument --sample: '1e30' is not a size: give bytes, 64M or 1.5G",
    ),
    (
        ["report", "--sample", "0"],
        2,
        "sample_bytes is 0: give at least a page (4096), and not with full",
    ),
    (
        ["report", "--sample", "100"],
        2,
        "sample_bytes is 100: give at least a page (4096), and not with full",
    ),
    (
        ["report", "--sample", "9999999T"],
        2,
        "argument --sample: '9999999T' is too large: *2^63 bytes",
    ),
    (
        ["report", "--sample", FAR],
        2,
        f"argument --sample: '{'9' * 37}...' is too large: *2^63 bytes",
    ),
    (
        ["report", "--sample", "1M", "--full"],
        2,
        "argument --full: not allowed with argument --sample",
    ),
    (["report", "--seed", "x"], 2, "argument --seed: 'x' is not a whole number"),
    (["report", "--seed", FAR], 2, f"argument --seed: '{'9' * 37}...' is not a whole number"),
    (
        ["report", "-c", "lzz"],
        2,
        "argument -c/--compressor: compressor lzz not available: did you mean lzo?",
    ),
    (
        ["report", "-c", "l\x1bz"],
        2,
        r"argument -c/--compressor: compressor l\x1bz not available: "
        r"*",
    ),
    (["report", "-c", "lz4:zlib"], 2, "argument -c/--compressor: *its backends are kernel, liblz4"),
    (
        ["report", "-c", ""],
        2,
        "argument -c/--compressor: '' is not a compressor: zswap-py --version lists them",
    ),
    (
        ["report", "-c", "x" * 99999],
        2,
        f"argument -c/--compressor: '{'x' * 37}...' is not a compressor: *",
    ),
    (
        ["report", *["-c", "lz4"] * 100_000],
        2,
        "zswap-py: error: 100,000 options are too many: give 10,000 or fewer",
    ),
    (["report", "--folio", "8K"], 2, "argument --folio: invalid choice: '8K' (choose from *"),
    (["report", "--page-size", "1"], 2, "zswap-py: error: unrecognized arguments: --page-size"),
    (
        ["report", "--kernel", "5.4"],
        2,
        "argument --kernel: '5.4' is not modelled: give host, 7.3, *, 6.12, or a stable release as "
        "6.12.109",
    ),
    (
        ["report", "--kernel", "\x1b"],
        2,
        r"argument --kernel: '\x1b' is not modelled: give "
        r"*",
    ),
    (
        ["report", "--precision", "0"],
        2,
        "argument --precision: '0' is not a share: give 5% or 0.05",
    ),
    (["report", "--precision", "101%"], 2, "argument --precision: '101%' is not a share: *"),
    (["report", "--precision", "nan"], 2, "argument --precision: 'nan' is not a share: *"),
    (["report", "--precision", FAR], 2, f"argument --precision: '{'9' * 37}...' is not a share: *"),
    (
        ["report", "--precision", "5%", "--full"],
        2,
        "argument --full: not allowed with argument --precision",
    ),
    (["report", "--sample", "0%"], 2, "argument --sample: '0%' is not a share: give 5% or 0.05"),
    (["report", "--sample", "-1%"], 2, "*error: argument --sample: *"),
    (["report", "--budget", "0"], 2, "argument --budget: '0' is not a whole number from 1"),
    (["report", "--budget", "99999"], 2, "argument --budget: '99999' is too large: give 86400 *"),
    (["report", "--by", "unit"], 2, "argument --by: 'unit' is none of process, mapping, cgroup"),
    (["report", "--cold", "0"], 2, "argument --cold: '0' is not a whole number from 1"),
    (["report", "--cold", "90000"], 2, "argument --cold: '90000' is too large: give 86400 or *"),
    (["report", "x", "--cold", "5"], 2, "argument --cold: files do not show it: *"),
    (["report", "--cold-intrusive"], 2, "argument --cold-intrusive: give it with --cold SECONDS"),
    (["report", "--cgroup", "/none/such"], 1, "zswap-py: *none/such*"),
    (["report", "--unit", "no-such"], 1, "zswap-py: *no-such*"),
    (["report", "--name", "no-such-name"], 1, "zswap-py: *no-such-name*"),
    (["report", "--format", "xml"], 2, "argument --format: invalid choice: 'xml' (choose from *"),
    (
        ["report", "-o", "x.txt"],
        2,
        "argument -o/--output: 'x.txt' tells no format: end the name in .json, .csv, .md*",
    ),
    (["report", "-o", ""], 2, "argument -o/--output: '' tells no format: *"),
    (["report", "-o", "-"], 2, "argument -o/--output: '-' tells no format: *"),
    (
        ["report", "-o", "/none/x.json"],
        1,
        "zswap-py: cannot write /none/x.json: there is no directory /none: make it",
    ),
    (["report", "-o", f"/none/{NO_NAME}.md"], 1, rf"zswap-py: cannot write /none/{SHOWN}.md: *"),
    (["report", "-o", "/dev/null/x.csv"], 1, "zswap-py: *there is no directory /dev/null: make it"),
    (["report", "--label", "x"], 2, "argument --label: 'x' is not a label: give NAME=VALUE, *"),
    (["report", "--label", "=x"], 2, "argument --label: '=x' is not a label: *"),
    (["report", "--label", "a b=x"], 2, "argument --label: 'a b=x' is not a label: *"),
    (["report", "--label", f"a={FAR}"], 2, f"argument --label: 'a={'9' * 35}...' is not a *"),
    (["report", "--no-names=x"], 2, "argument --no-names: ignored explicit argument 'x'"),
    (["--color", "red", "report"], 2, "argument --color: invalid choice: 'red' (choose from *"),
    (["show"], 2, "zswap-py show: error: the following arguments are required: PATH"),
    (["show", "/none/x.json"], 1, "zswap-py: *"),
    (["verify", "-o", "x.html"], 2, "argument -o/--output: 'x.html' tells no format: *"),
    (["report", "--color", "red"], 2, "argument --color: invalid choice: 'red' (choose from *"),
    (["report", "--jobs", "0"], 2, "argument -j/--jobs: '0' is not a whole number from 1"),
    (["report", "-j", "1.5"], 2, "argument -j/--jobs: '1.5' is not a whole number from 1"),
    (["report", "-j", "8193"], 2, "argument -j/--jobs: '8193' is too large: give 8192 or less"),
    (["report", "-j", "30000"], 2, "argument -j/--jobs: '30000' is too large: give 8192 or less"),
    (
        ["report", "-j", "9" * 20],
        2,
        f"argument -j/--jobs: '{'9' * 20}' is too large: give 8192 or less",
    ),
    (
        ["report", "-j", FAR],
        2,
        f"argument -j/--jobs: '{'9' * 37}...' is too large: give 8192 or less",
    ),
    (
        ["report", f"/proc/none/{NO_NAME}"],
        1,
        rf"zswap-py: cannot read /proc/none/{SHOWN}: No such "
        r"file *",
    ),
    (["report", "x" * 300], 1, "zswap-py: cannot read xxx*: File name too long"),
    (["report", "/dev/full"], 1, "zswap-py: /dev/full is a device or socket: *"),
    (
        ["verify", "--size", "9" * 30],
        2,
        f"argument --size: '{'9' * 30}' is too large: *",
    ),
    (["verify", "--seed", "1.5"], 2, "argument --seed: '1.5' is not a whole number"),
]


@pytest.mark.parametrize(("argv", "code", "line"), BAD, ids=lambda value: ascii(value)[:40])
def test_bad_input_is_one_line_and_an_exit_code(
    run: Run, argv: list[str], code: int, line: str
) -> None:
    began = time.thread_time()
    found, out, err = run(*argv)
    assert time.thread_time() - began < 5
    assert (found, out) == (code, "")
    last = err.splitlines()[-1]
    assert err.replace("\n", "").isprintable()
    assert fnmatch(last.replace("[", "("), f"*{line}".replace("[", "("))
    assert err.startswith("usage: zswap-py") == (code == 2)


def test_a_compressor_that_is_named_often_is_measured_once(run: Run, memory: Path) -> None:
    code, out, _err = run("report", memory, "--json", *["-c", "lz4"] * 3000, *["-c", "lzo"] * 3000)
    assert code == 0
    assert [c["name"] for c in json.loads(out)["compressors"]] == ["lz4", "lzo"]


@pytest.mark.parametrize(
    "argv", [["-j", "8192"], ["--seed", "9" * 4000, "--sample", "4K"], ["--sample", "8191T"]]
)
def test_values_that_are_large_and_can_be(run: Run, memory: Path, argv: list[str]) -> None:
    code, out, err = run("report", memory, "-c", "lz4", "--json", *argv)
    assert (code, err) == (0, "")
    assert json.loads(out)["complete"]


def test_a_folio_smaller_than_a_page(
    run: Run, memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mmap, "PAGESIZE", 65536)
    code, _out, err = run("report", memory, "--folio", "4K")
    assert code == 2
    assert "4K is less than this machine's page size, 65536 bytes: give" in err


@pytest.mark.parametrize(
    ("text", "nbytes"),
    [
        ("65536", 65536),
        ("4K", 4096),
        ("4k", 4096),
        ("1.5G", 3 << 29),
        ("64MiB", 64 << 20),
        ("64 MB", 64 << 20),
        ("1T", 1 << 40),
    ],
)
def test_sizes(text: str, nbytes: int) -> None:
    assert size(text) == nbytes


def test_a_file_that_is_not_there(run: Run, tmp_path: Path) -> None:
    code, out, err = run("report", tmp_path / "none")
    assert (code, out) == (1, "")
    assert (
        err
        == f"zswap-py: cannot read {tmp_path / 'none'}: No such file or directory: check the name\n"
    )


def test_help_has_examples_and_defaults(run: Run) -> None:
    code, out, _err = run("report", "--help")
    assert code == 0
    text = " ".join(out.split())
    assert "zswap-py report --pid 1234 -c lz4 -c zstd" in text
    assert "default: 5%, processes" in text
    assert "default: lzo, lzo-rle, lz4, zstd, deflate" in text


def test_version_lists_codecs_and_why_others_are_not(run: Run) -> None:
    code, out, _err = run("--version")
    lines = out.splitlines()
    assert code == 0
    assert re.fullmatch(r"zswap-py \d+\.\d+\.\d+", lines[0])
    assert re.search(r"^  lzo:kernel +built in +the kernel's sizes$", out, re.MULTILINE)
    assert re.search(r"^  842 +not available: no library has sw842", out, re.MULTILINE)


def test_json_needs_no_rich(memory: Path) -> None:
    code = (
        "import sys; from zswap_py.cli import main; "
        f"assert main(['report', '--json', '-c', 'lz4', {str(memory)!r}]) == 0; "
        "assert not [m for m in sys.modules if m.partition('.')[0] == 'rich']"
    )
    subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


# ---- names that others gave ----


HOSTILE = b"\x1b[31m\n\xff"
LOCALES = [
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"PYTHONIOENCODING": "latin-1"},
    {"PYTHONIOENCODING": "ascii:strict"},
    {"LC_ALL": "C.UTF-8"},
]


Done = subprocess.CompletedProcess[bytes]


def command(*argv: str | bytes, environ: dict[str, str] | None = None, **how: Any) -> Done:
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("LC_", "LANG", "PYTHON"))
    }
    return subprocess.run(
        [*COMMAND, *argv], check=False, capture_output=True, env=env | (environ or {}), **how
    )


@pytest.mark.parametrize("environ", LOCALES, ids=str)
@pytest.mark.parametrize("name", [HOSTILE, "日本".encode(), "\u202egnp".encode(), b"-x"], ids=ascii)
def test_a_files_name_is_shown_whatever_it_is(
    tmp_path: Path, name: bytes, environ: dict[str, str]
) -> None:
    (tmp_path / os.fsdecode(name)).write_bytes(b"".join(corpus(1, 300)))
    there = command("report", "-c", "lz4", "--", name, environ=environ, cwd=tmp_path)
    assert (there.returncode, there.stderr) == (0, b"")
    gone = command("report", "-c", "lz4", "--", b"no" + name, environ=environ, cwd=tmp_path)
    assert gone.returncode == 1
    encoding = environ.get("PYTHONIOENCODING", "utf-8").partition(":")[0]
    for said in (there.stdout, gone.stderr):
        assert said.replace(b"\n", b"").decode(encoding).isprintable()
    if name == HOSTILE:
        assert there.stdout.startswith(rb"\x1b[31m\n\xff: 300 pages, ")
        assert (
            gone.stderr
            == b"zswap-py: cannot read no\\x1b[31m\\n\\xff: No such file or directory: check the "
            b"name\n"
        )
    elif name.isascii() or (environ == {"LC_ALL": "C.UTF-8"} and b"\xe6" in name):
        assert there.stdout.startswith(name + b": ")


def test_json_has_a_files_name_as_it_is_and_as_it_is_shown(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(HOSTILE)).write_bytes(b"".join(corpus(1, 300)))
    done = command(
        "report",
        "-c",
        "lz4",
        "--json",
        HOSTILE,
        cwd=tmp_path,
        environ={"PYTHONIOENCODING": "ascii:strict"},
    )
    assert (done.returncode, done.stderr) == (0, b"")
    data = json.loads(done.stdout)
    assert os.fsencode(data["source"][0]["path"]) == HOSTILE
    assert data["source"][0]["label"] == r"\x1b[31m\n\xff"
    assert data["command"] == r"zswap-py report -c lz4 --json $'\033[31m\012\377'"


def test_a_command_that_is_suggested_takes_the_name(tmp_path: Path) -> None:
    """As another user, who may not read it."""
    path = tmp_path / "a b'\n"
    path.write_bytes(bytes(P))
    path.chmod(0)
    tmp_path.chmod(0o755)
    code = (
        "import os, sys; from zswap_py import cli, crypto; crypto.compressors()\n"
        f"if os.geteuid() == 0: os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})\n"
        "sys.exit(cli.main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "report", path.name],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert (done.returncode, done.stderr) == (
        1,
        (
            r"zswap-py: cannot read a b'\n: Permission denied. Run as root: "
            r"""sudo env "PATH=$PATH" zswap-py report $'a b\'\012'""" + "\n"
        ),
    )


NAMED = """
import ctypes, sys, mmap
m = mmap.mmap(-1, 1 << 20)
m[:] = b"name" * (1 << 18)
assert ctypes.CDLL(None).prctl(15, bytes.fromhex(sys.argv[1]), 0, 0, 0) == 0
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture(params=[HOSTILE, "日本".encode(), b"a) S 1 1 (b"], ids=ascii)
def named(request: pytest.FixtureRequest) -> Iterator[tuple[int, bytes]]:
    """A process with that name."""
    with running(NAMED, request.param.hex()) as pid:
        yield pid, request.param


@pytest.mark.parametrize("environ", LOCALES[:3], ids=str)
def test_a_processs_name_is_shown_whatever_it_is(
    named: tuple[int, bytes], environ: dict[str, str]
) -> None:
    pid, name = named
    text = command("report", "--pid", str(pid), "-c", "lz4", environ=environ)
    data = command("report", "--pid", str(pid), "-c", "lz4", "--json", environ=environ)
    for done in (text, data):
        assert (done.returncode, b"Traceback" in done.stderr) == (0, False)
        assert (done.stdout + done.stderr).replace(b"\n", b"").decode("latin-1").isprintable()
    label = json.loads(data.stdout)["source"][0]["label"]
    if name == HOSTILE:
        assert label == rf'pid {pid} "\x1b[31m\n\xff"'
        assert text.stdout.decode("latin-1").startswith(f"{label}: ")
    if name.isascii():
        assert label == f'pid {pid} "{os.fsdecode(name)}"' or name == HOSTILE


@pytest.mark.skipif(not ROOT, reason="becomes another user")
def test_a_processs_name_in_an_error_is_shown(named: tuple[int, bytes]) -> None:
    pid, name = named
    code = (
        "import os, sys; from zswap_py.cli import main; "
        f"os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY}); "
        f"sys.exit(main(['report', '--pid', '{pid}']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 1
    assert done.stderr.replace(b"\n", b"").decode().isprintable()
    if name == HOSTILE:
        assert done.stderr.startswith(
            rb"zswap-py: cannot read the memory of pid %d (\x1b[31m\n\xff): E" % pid
        )


# ---- streams ----


@pytest.mark.parametrize(
    ("redirected", "code", "said"),
    [
        ("report {} >&-", 1, "standard output is closed: redirect it to a file, or to /dev/null"),
        ("--help >&-", 1, "standard output is closed: redirect it to a file, or to /dev/null"),
        (
            "report - <&-",
            1,
            "standard input is closed: pipe memory into it: zswap-py report - < FILE",
        ),
        ("report {} >/dev/full", 1, "cannot write to standard output: No space left on device"),
        (
            "report {} --json >/dev/full",
            1,
            "cannot write to standard output: No space left on device",
        ),
        ("--help >/dev/full", 1, "cannot write to standard output: No space left on device"),
        ("--version >/dev/full", 1, "cannot write to standard output: No space left on device"),
        ("report {} 1</dev/null", 1, "cannot write to standard output: Bad file descriptor"),
        ("report {} 2>/dev/full", 0, None),
        ("report {} 2>&- <&-", 0, None),
        ("report none 2>&-", 1, None),
        ("report none 2>/dev/full", 1, None),
        ("report --no-such-option 2>/dev/full", 2, None),
        ("report {} >&- 2>&- <&-", 1, None),
    ],
)
def test_streams_that_cannot_be_used(
    memory: Path, redirected: str, code: int, said: str | None
) -> None:
    line = f'"$0" -m zswap_py {redirected.format(f"{memory} -c lz4")}'
    done = subprocess.run(
        ["sh", "-c", line, sys.executable], check=False, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (code, f"zswap-py: {said}\n" if said else "")
    assert bool(done.stdout) == (code == 0)


def test_a_closed_streams_number_becomes_no_other_files(memory: Path) -> None:
    """Messages must not go into a file that was opened in their place."""
    line = f'"$0" -c "$1" report {memory} -c lz4 2>&-'
    code = (
        "import sys; from zswap_py.cli import main; code = main(); import os; "
        "print(code, os.readlink('/proc/self/fd/2'))"
    )
    done = subprocess.run(
        ["sh", "-c", line, sys.executable, code], check=True, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1] == "0 /dev/null"


def test_a_reader_that_leaves_early(memory: Path) -> None:
    done = subprocess.run(
        ["sh", "-c", '"$0" -m zswap_py report memory -c lz4 | head -n 1', sys.executable],
        check=True,
        capture_output=True,
        text=True,
        cwd=memory.parent,
    )
    assert (done.stdout, done.stderr) == ("memory: 2,000 pages, 7.8 MiB\n", "")


# ---- rich ----


@pytest.mark.parametrize("argv", [[], ["--json"]], ids=["table", "json"])
def test_without_rich(memory: Path, argv: list[str]) -> None:
    code = (
        "import sys; sys.modules['rich'] = None; from zswap_py import cli; from "
        "zswap_py.report import measure\n"
        # it is said before anything is measured
        "if '--json' not in sys.argv: measure.measure = None\n"
        "sys.stderr.isatty = lambda: True; sys.exit(cli.main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "report", memory, "-c", "lz4", *argv],
        check=False,
        capture_output=True,
        text=True,
    )
    if argv:
        assert (done.returncode, done.stderr) == (0, "")
        assert json.loads(done.stdout)["complete"]
    else:
        assert (done.returncode, done.stdout) == (1, "")
        said = (
            r"zswap-py: the table needs rich, which is missing \(.*\): pip install rich, or give "
            r"--json\n"
        )
        assert re.fullmatch(said, done.stderr)


# ---- Ctrl-C while it starts ----


AT_IMPORT = """
import os, signal, sys
left = int(sys.argv.pop(1))

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        global left
        if "zswap_py._lib.interrupt" in sys.modules:
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
sys.argv[0] = "zswap-py"
from zswap_py.__main__ import main
code = main()
if code == 0:
    print(-left, file=sys.stderr)
sys.exit(code)
"""


def test_ctrl_c_in_any_import_is_quiet(memory: Path) -> None:
    argv = [sys.executable, "-c", AT_IMPORT, "100000", "report", str(memory), "-c", "lz4"]
    whole = subprocess.run(argv, check=True, capture_output=True, text=True)
    imports = 100000 + int(whole.stderr)
    assert imports > 50
    for n in {1, 2, *range(5, imports - 5, imports // 12)}:
        done = subprocess.run(
            [*argv[:3], str(n), *argv[4:]], check=False, capture_output=True, text=True
        )
        assert (done.returncode, done.stdout) == (130, ""), n
        assert done.stderr == "zswap-py: interrupted before anything was measured\n", n


def test_a_program_that_imports_the_package_keeps_its_handler() -> None:
    code = (
        "import signal, zswap_py; print(signal.getsignal(signal.SIGINT) is "
        "signal.default_int_handler)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "True\n"


def test_ctrl_c_at_any_moment_is_quiet(memory: Path) -> None:
    """Until the handler is in place the interpreter alone decides what is printed."""
    for i in range(16):
        with subprocess.Popen(
            [*COMMAND, "report", memory], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            time.sleep(0.02 + 0.024 * i)
            process.send_signal(signal.SIGINT)
            _out, err = process.communicate(timeout=50)
        if "Traceback" in err.decode():
            pattern = r'/zswap_py/((?:\w+/)*\w+\.py)", line'  # the last directory of that name
            frames = set(re.findall(pattern, err.decode()))
            assert frames <= {"__init__.py", "_lib/__init__.py", "_lib/interrupt.py"}
        else:
            assert process.returncode in (130, 0, -signal.SIGINT), err


# ---- help ----


def parsers() -> dict[str, argparse.ArgumentParser]:
    """The parsers of all commands, by name; "" is that of zswap-py itself."""
    top = cli.parser()
    (commands,) = (a.choices for a in top._actions if isinstance(a, argparse._SubParsersAction))
    return {"": top, **commands}


def options() -> Iterator[tuple[str, str, argparse.Action]]:
    """Each option of each command: the command, the option's name, the option."""
    for command_name, parser in parsers().items():
        for action in parser._actions:
            for name in action.option_strings:
                yield command_name, name, action


def visible(action: argparse.Action) -> bool:
    return action.help is not argparse.SUPPRESS


def test_an_option_is_the_same_in_each_command() -> None:
    """--color stands before the command in the help, and may stand behind it."""
    found: dict[str, list[Any]] = {}
    for _command, name, action in options():
        if visible(action) or name == "--json":
            what = action.type, action.choices, action.default, action.help, action.metavar
            found.setdefault(name, []).append((what, action.dest, type(action), action.nargs))
    assert len(found["--json"]) == len(found["-o"]) == len(parsers()) - 1
    assert [name for name, its in found.items() if any(it != its[0] for it in its)] == []


def test_a_hidden_option_is_a_short_form_or_another_commands() -> None:
    hidden = {name for _command, name, action in options() if not visible(action)}
    shown = {name for _command, name, action in options() if visible(action)}
    assert hidden - shown == {"--json", "--full", "--target"}
    assert all(name in helps() for name in hidden)


def helps() -> str:
    return "".join(parser.format_help() for parser in parsers().values())


@pytest.mark.parametrize("name", parsers())
def test_help_is_short(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    parser = parsers()[name]
    assert sum(visible(action) for action in parser._actions if action.option_strings) <= 20
    text = parser.format_help().splitlines()
    assert len(text) <= 50
    assert max(map(len, text)) <= 80


def test_color_before_or_after_the_command(run: Run, memory: Path) -> None:
    bold = "\x1b[1m"
    assert bold in run("--color", "always", "report", memory, "-c", "lzo")[1]
    assert bold in run("report", memory, "-c", "lzo", "--color", "always")[1]
    assert (
        bold not in run("--color", "always", "report", memory, "-c", "lzo", "--color", "never")[1]
    )
    assert bold not in run("report", memory, "-c", "lzo")[1]


def test_help_defines_each_column(run: Run, child: int) -> None:
    said = run("report", "--help")[1].partition("columns:\n")[2].partition("\n\n")[0]
    defined = re.findall(r"^  (\S+(?: \S+)*?)  +\S", said, re.M)
    assert defined == ["*", "~", "saved", "ratio, pool", "to disk", "store, load", "CPU"]
    screen = run("report", "--pid", child, "--by", "mapping")[1]
    head = [line for line in screen.splitlines() if re.search(r"ratio", line)]
    words = set(" ".join(head).replace("kept raw", "to disk").split())
    assert words == {"swappable", "saved", "ratio", "to", "disk", "pool", "µs/page", "faults/s"}
    for word in words - {"swappable", "µs/page"}:
        assert word in said


def test_the_package_loads_no_extra() -> None:
    extras = ("rich", "isal", "deflate", "elftools", "matplotlib", "pytest", "hypothesis")
    code = (
        "import sys, zswap_py, zswap_py.cli; zswap_py.cli.parser().format_help(); "
        f"print([m for m in {extras} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"


# ---- output ----


def test_files_of_each_format(run: Run, memory: Path, tmp_path: Path) -> None:
    paths = [tmp_path / f"report{ending}" for ending in (".json", ".csv", ".md")]
    outputs = [word for path in paths for word in ("-o", path)]
    code, out, err = run("report", memory, "-c", "lzo", *outputs)
    assert (code, out, err) == (0, "", "")
    text, table, page = (path.read_text() for path in paths)
    assert report.from_json(text).figures[0].name == "lzo"
    assert text.count("\n") == 1  # so that files can be joined
    assert table.startswith("report,time,host,")
    assert page.startswith(f"{memory}: 2,000 pages, 7.8 MiB\n\n")
    assert "\n**At most, " in page
    assert {path.name for path in tmp_path.iterdir()} == {*(p.name for p in paths), "memory"}


@pytest.mark.parametrize("chosen", ["table", "json", "csv", "markdown"])
def test_formats_on_standard_output(run: Run, memory: Path, tmp_path: Path, chosen: str) -> None:
    first = {"table": str(memory), "json": "{", "csv": "report,time", "markdown": str(memory)}
    out = run("report", memory, "-c", "lzo", "--format", chosen)[1]
    assert out.startswith(first[chosen])
    path = tmp_path / "x.json"
    assert run("report", memory, "-c", "lzo", "--format", chosen, "-o", path)[1] != ""
    assert path.exists()
    assert run("report", memory, "-c", "lzo", "--json")[1].startswith("{")


def test_a_file_is_written_as_a_whole(
    run: Run, memory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader sees the old file or the new one; a failed write keeps the old one."""
    path = tmp_path / "x.json"
    path.write_text("old")
    inode = path.stat().st_ino
    with path.open() as reader:
        assert run("report", memory, "-c", "lzo", "-o", path)[0] == 0
        assert reader.read() == "old"
    assert path.stat().st_ino != inode
    assert path.stat().st_mode & 0o777 == (tmp_path / "memory").stat().st_mode & 0o777
    before = path.read_text()

    def full(fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("zswap_py.cli.streams.os.fsync", full)
    code, out, err = run("report", memory, "-c", "lzo", "-o", path)
    assert (code, out) == (1, "")
    assert err == f"zswap-py: cannot write {path}: No space left on device\n"
    assert path.read_text() == before
    assert {p.name for p in tmp_path.iterdir()} == {"x.json", "memory"}


def test_labels_and_names(run: Run, memory: Path) -> None:
    argv = ["report", memory, "-c", "lzo", "--json", "--label", "a=1", "--label", "b=x=y"]
    named = json.loads(run(*argv)[1])
    bare = json.loads(run(*argv, "--no-names")[1])
    assert named["labels"] == bare["labels"] == {"a": "1", "b": "x=y"}
    assert named["scope"] == bare["scope"] == "files"
    assert str(memory) in json.dumps(named)
    assert str(memory) not in json.dumps(bare)
    assert bare["command"] is bare["host"]["name"] is None
    assert named["host"]["name"] == os.uname().nodename
    for data in (named, bare):
        assert re.fullmatch(r"[0-9a-f]{32}", data["id"])
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", data["time"])
    assert named["id"] != bare["id"]


def test_what_was_selected_is_named(run: Run, child: int) -> None:
    data = json.loads(run("report", "--pid", child, "-c", "lzo", "--json", "--by", "process")[1])
    assert (data["scope"], data["selected"]) == ("processes", [])
    (group,) = data["groups"]
    assert group["label"] == data["source"][0]["label"]
    assert group["pages"] == data["pages_total"]
