# SPDX-License-Identifier: GPL-2.0-or-later
"""What several test files need of pytest and of this machine."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

import zswap_py as zs
from zswap_py.crypto import Compressor
from zswap_py.crypto.methods import Method

#: A command line's exit code, standard output and standard error: conftest.run.
Run = Callable[..., tuple[int, str, str]]


def with_the_kernels_library(compressor: Compressor, by: Method) -> None:
    """Skips the test where the library is missing whose sizes a kernel has; fails it
    where the library is there and its sizes are others.
    """
    chosen = compressor.choose(by)
    if chosen.kernel_sizes:
        return
    there = {build.version for build in compressor._builds}
    assert not any(version and version in str(chosen.remedy) for version in there)
    pytest.skip(f"needs {chosen.remedy}")


def of_kernel_sizes(name: str) -> None:
    """Skips the test where no backend here makes the kernel's sizes."""
    if not any(c.name == name and c.kernel_sizes for c in zs.compressors()):
        pytest.skip(f"no backend of {name} here has the kernel's sizes")


@contextlib.contextmanager
def running(script: str, *arguments: str) -> Iterator[int]:
    """Runs a Python program that prints `ready`, then waits. Yields its pid."""
    with subprocess.Popen(
        [sys.executable, "-c", script, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        try:
            yield process.pid
        finally:
            process.kill()
