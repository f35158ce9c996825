# SPDX-License-Identifier: GPL-2.0-or-later
"""Sees to it that what is tested is what is meant: the installed package, or a build of
the tree that is not stale.
"""

from __future__ import annotations

import importlib.util
import os
import pathlib
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent

# pytest-timeout reads it. Its option in pyproject.toml would be unknown without the
# plugin.
os.environ.setdefault("PYTEST_TIMEOUT", "300")


def what_is_wrong(
    package: pathlib.Path | None, must_be_installed: bool, root: pathlib.Path = ROOT
) -> str | None:
    """Why the package in that directory must not be tested, with the command to type;
    None if it may.
    """
    build = f"run `cd {root} && {sys.executable} setup.py build_ext -i -f`"
    if package is None:
        return f"there is no package zswap_py to import: run `{root}/run test`"
    if package != root / "zswap_py":
        return None
    if must_be_installed:
        return (
            f"{package} would be tested, not the installed package: unset PYTHONPATH and run "
            f"`{root}/run test`"
        )
    modules = list(package.glob("_zswap*.so"))
    if not modules:
        return f"{package} has no compiled module: {build}"
    sources = [*root.glob("csrc/**/*.[ch]"), root / "zswap_py/_build.py"]
    newest = max(sources, key=lambda path: path.stat().st_mtime)
    if newest.stat().st_mtime > max(module.stat().st_mtime for module in modules):
        return f"{newest.relative_to(root)} is newer than the compiled module: {build}"
    return None


def pytest_configure(config: pytest.Config) -> None:
    spec = importlib.util.find_spec("zswap_py")
    package = pathlib.Path(spec.origin).resolve().parent if spec and spec.origin else None
    wrong = what_is_wrong(package, "ZSWAP_INSTALLED" in os.environ)
    if wrong:
        raise pytest.UsageError(wrong)
    # From here on: a plugin that warns while pytest starts does not fail the tests.
    config.addinivalue_line("filterwarnings", "error")
    # A shell's background job, and nohup, ignore these, and what a test starts would
    # too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session", autouse=True)
def _tests_start_elsewhere() -> Iterator[None]:
    """Else `python -m` and `python -c` in a test would find the tree before the
    installed package.
    """
    before = os.getcwd()
    if "ZSWAP_INSTALLED" in os.environ:
        os.chdir(ROOT / "tests")
    yield
    os.chdir(before)


@pytest.fixture
def libraries(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The table of libraries, to be changed; what was loaded by it is forgotten before
    and after.
    """
    from zswap_py import crypto

    monkeypatch.setattr(crypto, "_loaded", {})
    monkeypatch.setattr(crypto, "_LIBRARIES", dict(crypto._LIBRARIES))
    return crypto._LIBRARIES


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs a command line in this process: exit code, output, errors."""
    from zswap_py import cli

    def run(*argv: object) -> tuple[int, str, str]:
        try:
            code = cli.main([str(arg) for arg in argv])
        except SystemExit as e:
            code = int(e.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture
def memory(tmp_path: pathlib.Path) -> pathlib.Path:
    """Corpus 1 as a file: 2,000 pages, of which 52 are zero."""
    from zswap_py.corpus import corpus

    path = tmp_path / "memory"
    path.write_bytes(b"".join(corpus(1)))
    return path
