# SPDX-License-Identifier: GPL-2.0-or-later
"""Formats figures for people: bytes, shares, times."""

from __future__ import annotations

import math

UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def size(nbytes: float) -> str:
    """Formats bytes with a binary unit: 15.1 MiB."""
    for unit in UNITS[:-1]:
        if abs(nbytes) < 1024:
            return f"{nbytes:.0f} B" if unit == "B" else f"{nbytes:.1f} {unit}"
        nbytes /= 1024
    return f"{nbytes:.1f} TiB"


def percent(share: float) -> str:
    """Formats a share with two digits; 100% and 0% only if it is all or none."""
    percent = 100 * share
    if 0 < percent < 9.95:
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


def around(value: float, error: float, brackets: bool = False) -> str:
    """Formats bytes that were estimated: 3.0 GiB ±0.1, or 3.0 GiB (±0.1). The error is
    rounded up, in the value's unit, or with a larger one of its own: 0 B ±2.9 MiB. An
    exact figure has none.
    """
    text = size(value)
    if not error:
        return text
    scale = 1024 ** UNITS.index(text.rpartition(" ")[2])
    digits = 0 if scale == 1 else 1
    rounded = math.ceil(error / scale * 10**digits) / 10**digits
    said = f"±{rounded:,.{digits}f}" if rounded < 1024 else f"±{_up(error)}"
    return f"{text} ({said})" if brackets else f"{text} {said}"


def _up(nbytes: float) -> str:
    """Formats bytes with a binary unit, rounded up in the last digit."""
    scale = 1024 ** UNITS.index(size(nbytes).rpartition(" ")[2])
    return size(math.ceil(nbytes / scale * 10) / 10 * scale)


def at_least(nbytes: float) -> str:
    """Formats bytes rounded up to whole units: 10 GiB."""
    scale = next((1024**n for n in (4, 3, 2, 1) if nbytes > 1024**n), 1)
    return size(math.ceil(nbytes / scale) * scale).replace(".0", "")


def seconds(value: float) -> str:
    """Formats a time: 0.4 s, 9 s, 120 s."""
    return f"{value:.1f} s" if value < 9.95 and value != int(value) else f"{value:,.0f} s"


def counted(number: int, noun: str) -> str:
    """Formats a count with its noun: 1 page, 2,000 pages, 3 processes."""
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"
