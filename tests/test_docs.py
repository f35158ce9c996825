# SPDX-License-Identifier: GPL-2.0-or-later
"""The documents' sessions, word for word."""

from __future__ import annotations

import doctest
import os
import re
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("path", [p for p in DOCUMENTS if ">>> " in p.read_text()], ids=lambda p: p.name)
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
    installed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["data-files"]
    top = "share/doc/zswap-py"
    shipped = {f"{directory}/{path.name}".removeprefix(f"{top}/") for directory, patterns in installed.items()
               for pattern in patterns for path in ROOT.glob(pattern)}
    links = set(re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", (ROOT / "README.md").read_text()))
    assert links
    assert links <= shipped
    assert {f"docs/{path.name}" for path in (ROOT / "docs").iterdir()} <= shipped
    if "ZSWAP_INSTALLED" in os.environ:
        there = {str(path) for path in metadata.files("zswap-py") or () if path.locate().is_file()}
        assert all(any(path.endswith(f"{top}/{name}") for path in there) for name in links)
