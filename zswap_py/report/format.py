# SPDX-License-Identifier: GPL-2.0-or-later
"""Formats figures for people: bytes, shares, times."""

from __future__ import annotations


def size(nbytes: float) -> str:
    """Formats bytes with a binary unit: 15.1 MiB."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(nbytes) < 1024:
            return f"{nbytes:.0f} B" if unit == "B" else f"{nbytes:.1f} {unit}"
        nbytes /= 1024
    return f"{nbytes:.1f} TiB"


def percent(share: float) -> str:
    """Formats a share: two digits below a percent, 100% and 0% only if it is exactly
    all or none.
    """
    percent = 100 * share
    if 0 < percent < 1:
        return f"{max(percent, 0.01):.2g}%"
    return (
        f"{percent:.0f}%"
        if percent in (0, 100) or round(percent) < 100
        else f"{min(percent, 99.9):.1f}%"
    )


def micros(ns: float | None) -> str:
    """Formats nanoseconds as microseconds, with three digits."""
    if ns is None:
        return "-"
    us = ns / 1000
    return f"{us:.2f}" if us < 9.995 else f"{us:.1f}" if us < 99.95 else f"{us:,.0f}"
