# SPDX-License-Identifier: GPL-2.0-or-later
"""names.py: what a terminal and a shell get of a name that another gave."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from zswap_py._lib.names import operand, quoted, shown

HOSTILE = [
    "\x1b[31m\n",
    "a\rb",
    "tab\there",
    "del\x7f",
    "\x9b31m",
    "\u202egnp.exe",
    "\u2066x\u2069",
    "a\u2028b",
    "\udcff\udc80",
    "\ufeffbom",
    "\ue000",
    "\0",
    "$'\\'x'\n",
    "'; rm -rf x #\n",
    "\x1b1",
]
PLAIN = [
    "redis-server",
    "日本",
    "a b",
    "it's",
    '"',
    "naïve",
    r"dev-disk-by\x2duuid",
    "",
    "🙂",
    "-x",
    "$HOME `x`",
]


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_what_does_not_print_is_escaped(name: str) -> None:
    said = shown(name)
    assert said.isprintable()
    assert shown(said) == said
    said.encode("utf-8")
    if "\udcff" not in name and "\\" not in name:
        assert said.encode("utf-8").decode("unicode_escape") == name


@pytest.mark.parametrize("name", PLAIN, ids=ascii)
def test_what_prints_stays(name: str) -> None:
    assert shown(name) == name


def test_escapes_are_pythons() -> None:
    assert shown("\x1b[31m\n\u202e\udcff") == r"\x1b[31m\n\u202e\xff"
    assert shown(b"a\xffb") == r"a\xffb"


@pytest.mark.parametrize("name", [name for name in HOSTILE + PLAIN if "\0" not in name], ids=ascii)
def test_a_shell_gets_the_name_back(name: str) -> None:
    bash = shutil.which("bash")
    if not bash:
        pytest.skip("no bash")
    word = quoted(name)
    assert word.isprintable()
    said = subprocess.run(
        [bash, "-c", f"printf %s {word}"],
        check=True,
        capture_output=True,
        env={**os.environ, "LC_ALL": "C"},
    ).stdout
    assert said == os.fsencode(name)


def test_an_operand_is_no_option() -> None:
    assert [operand(name) for name in ("-x", "x", "-", "/tmp/-x", "- \n")] == [
        "./-x",
        "x",
        "./-",
        "/tmp/-x",
        r"$'./- \012'",
    ]
