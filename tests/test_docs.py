# SPDX-License-Identifier: GPL-2.0-or-later
"""The documents' sessions, word for word, and the files of those that have some."""

from __future__ import annotations

import doctest
import importlib.util
import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
EMBEDDING = (ROOT / "docs" / "embedding.md").read_text()


@pytest.mark.parametrize(
    "path", [p for p in DOCUMENTS if ">>> " in p.read_text()], ids=lambda p: p.name
)
def test_sessions(path):
    parser = doctest.DocTestParser()
    test = parser.get_doctest(path.read_text(), {}, path.name, str(path), 0)
    said: list[str] = []
    result = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=said.append)
    assert result.failed == 0, "".join(said)
    assert result.attempted > 0


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text()):
        assert (path.parent / target).exists(), target


def test_the_wheel_has_what_the_readme_leads_to():
    tomllib = pytest.importorskip("tomllib", reason="Python 3.11")
    installed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"][
        "data-files"
    ]
    top = "share/doc/zswap-py"
    shipped = {
        f"{directory}/{path.name}".removeprefix(f"{top}/")
        for directory, patterns in installed.items()
        for pattern in patterns
        for path in ROOT.glob(pattern)
    }
    links = set(re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", (ROOT / "README.md").read_text()))
    assert links
    assert links <= shipped
    documents = [path for path in (ROOT / "docs").rglob("*") if path.is_file()]
    assert {path.relative_to(ROOT).as_posix() for path in documents} <= shipped
    if "ZSWAP_INSTALLED" in os.environ:
        there = {str(path) for path in metadata.files("zswap-py") or () if path.locate().is_file()}
        assert all(any(path.endswith(f"{top}/{name}") for path in there) for name in links)


def files_of(text):
    """Code blocks that begin with a comment that names a file."""
    return dict(re.findall(r"^```python\n# (\w+\.py)\n(.+?)^```$", text, re.M | re.S))


def commands_of(text):
    """The lines of blocks of commands, without their comments."""
    blocks = re.findall(r"^```sh\n(.+?)^```$", text, re.M | re.S)
    return [line.split("#")[0].strip() for block in blocks for line in block.splitlines()]


def run(command, where):
    """A command of the document, by this interpreter."""
    program, *arguments = command.split()
    if program == "pytest":
        arguments = ["-m", "pytest", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=where,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=os.environ | {"PYTEST_TIMEOUT": "60"},
    )


@pytest.fixture
def written(tmp_path):
    """A directory with the files of docs/embedding.md."""
    for name, text in files_of(EMBEDDING).items():
        (tmp_path / name).write_text(text)
    return tmp_path


SAYS = {
    "pytest -q": "4 passed",
    "pytest -q -n 2": "4 passed",
    "python -m unittest cases": "Ran 1 test",
    "python workers.py": "fork [8, 64]\nspawn [8, 64]\n",
    "python forked.py": "parent StoreResult(stored)\n",
}


@pytest.mark.parametrize("command", commands_of(EMBEDDING))
def test_embeddings_files_do_what_is_said_of_them(command, written):
    if "-n" in command and importlib.util.find_spec("xdist") is None:
        pytest.skip("pytest-xdist is not installed")
    result = run(command, written)
    assert result.returncode == 0, result.stdout + result.stderr
    assert SAYS[command] in result.stdout + result.stderr


def test_each_file_of_embedding_is_run(written):
    assert {path.name for path in written.iterdir()} == {
        "conftest.py",
        "test_policy.py",
        "cases.py",
        "workers.py",
        "forked.py",
    }
    assert set(commands_of(EMBEDDING)) == set(SAYS)


def test_what_was_predicted_was_done():
    """The table is that of the record, and the record says what the README says."""
    done = subprocess.run(
        [sys.executable, ROOT / "tests/vm/predict", "--table"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert done.stdout in (ROOT / "docs/report.md").read_text()
    rows = [row.split(" | ") for row in done.stdout.splitlines()[2:]]
    assert {(row[0].lstrip("| ")[:4].rstrip("."), row[1]) for row in rows} == {
        (kernel, compressor)
        for kernel in ("6.12", "6.18", "7.3")
        for compressor in ("zstd", "lzo", "lz4")
    }
    same = sum(row[7] == "0" for row in rows)
    assert f"{same} of\n{len(rows)} trials" in (ROOT / "README.md").read_text()
    held = [[int(n) for n in row[8].rstrip(" |").split(" of ")] for row in rows]
    assert sum(n for n, _ in held) >= 0.95 * sum(of for _, of in held)
