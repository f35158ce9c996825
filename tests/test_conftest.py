# SPDX-License-Identifier: GPL-2.0-or-later
"""How pytest starts in this tree, with the plugins that a machine happens to have."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

WARNS = """
import warnings
import pytest

def pytest_configure(config):
    warnings.warn(pytest.PytestDeprecationWarning("an option of this plugin is unset"))
"""


def collect(where, *options, **environ):
    """pytest's exit code and output, for one file of the tests or of the benchmarks."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--collect-only",
        "-p",
        "no:cacheprovider",
        *options,
        str(ROOT / where),
    ]
    env = {name: value for name, value in os.environ.items() if name != "PYTEST_TIMEOUT"} | environ
    # not in the tree itself, which `python -m` would put before the installed package
    return subprocess.run(
        command,
        cwd=ROOT / "tests",
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize("where", ["tests/test_structure.py", "bench/test_hotplug.py"])
def test_pytest_starts_without_pytest_timeout(where):
    result = collect(where, "-p", "no:timeout")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "warning" not in result.stdout, result.stdout


@pytest.mark.parametrize("where", ["tests/test_structure.py", "bench/test_hotplug.py"])
def test_pytest_starts_beside_a_plugin_that_warns(where, tmp_path):
    (tmp_path / "warns.py").write_text(WARNS)
    result = collect(where, "-p", "warns", PYTHONPATH=str(tmp_path))
    assert result.returncode == 0, result.stdout + result.stderr


def test_a_warning_in_a_test_is_an_error():
    with pytest.raises(UserWarning, match="a test said this"):
        warnings.warn("a test said this", stacklevel=1)


def test_pytest_timeout_is_set_where_it_is_there():
    pytest.importorskip("pytest_timeout")
    assert "timeout: 300.0s" in collect("tests/test_structure.py").stdout
    assert "timeout: 5.0s" in collect("tests/test_structure.py", "--timeout=5").stdout
