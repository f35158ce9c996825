# SPDX-License-Identifier: GPL-2.0-or-later
"""Shared by the pytest benchmarks: the harness beside them, and pages."""

from __future__ import annotations

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import harness

NR = 512


@pytest.fixture(scope="session")
def pages() -> bytearray:
    """512 pages of libraries and sources, 2 MiB."""
    pages = harness.real_pages(nr=NR)
    assert len(pages) == NR * harness.PAGE
    return pages
