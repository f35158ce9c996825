# SPDX-License-Identifier: GPL-2.0-or-later
"""Keeps signals back until the machine's settings are as they were."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Check = Callable[[], None]
"""Call it often, between two pages. Raises KeyboardInterrupt if a signal came."""


@contextmanager
def interruptions() -> Iterator[Check]:
    """Makes SIGINT, SIGTERM and SIGHUP raise KeyboardInterrupt only in the function
    that it yields, and at the end of the block.
    """
    came: list[int] = []

    def check() -> None:
        if came:
            raise KeyboardInterrupt

    old: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:
                old[number] = signal.signal(number, lambda came_now, _frame: came.append(came_now))
    try:
        yield check
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
    check()
