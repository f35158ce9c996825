# SPDX-License-Identifier: GPL-2.0-or-later
"""Virtual time: a clock that passes only while all its actors wait, so that a run gives
the same nanoseconds each time.

A thread that works with a clock is an actor of it. Actors take turns: at a time one
runs, the one whose turn comes first, by time and then by order of asking. Its
computing takes no virtual time. Its sleeps take some, and so does a device's work for
it.
"""

from __future__ import annotations

import errno
import os
import threading
import warnings
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from zswap_py._lib.fixed import Owner
from zswap_py._lib.params import index
from zswap_py._native import ffi, lib, oserror

T = TypeVar("T")

MAX_SLEEP = 1 << 63  # ns: 292 years
WARN_AFTER = 0.1  # of stall_seconds


class VirtualClock(Owner):
    """A clock of virtual nanoseconds, from 0, for devices and for the threads that use
    them.

    All random numbers of a simulation are drawn from `seed`, so that a run can be
    repeated.

    `run()` starts threads in a known order, so each run gives the same times. Any other
    thread may use the clock as well. It is an actor while it is in a call that takes
    time, and its place among the actors depends on when it comes.

    Virtual time stands still while an actor of run() waits, in its turn, for a lock, a
    swap slot or a CPU's compression context that another actor holds. An actor may keep
    its turn for `stall_seconds` of real time while others wait; after a tenth of that
    run() warns. After all of it the actor loses the turn, which `stalls` counts. Its
    next use of the clock fails with OSError EDEADLK, and so does run() once all actors
    have ended.
    """

    __slots__ = ("__weakref__", "_pointer", "_process", "_seed", "_stall_seconds")
    _instead = "make a clock in each process"

    def __init__(self, seed: int = 0, *, stall_seconds: float = 10.0) -> None:
        if not isinstance(stall_seconds, (int, float)):
            raise TypeError(f"stall_seconds={stall_seconds!r}: must be a number")
        if not 0 < stall_seconds < 1e9:
            raise ValueError(
                f"stall_seconds={stall_seconds}: must be real seconds, above 0 and below 1e9"
            )
        self._stall_seconds = stall_seconds
        self._seed = index("seed", seed)
        clock = lib.vclock_create()
        if clock == ffi.NULL:
            raise oserror(-errno.ENOMEM, "cannot create a VirtualClock")
        self._pointer = ffi.gc(clock, lib.vclock_put)
        self._process = _forks
        lib.vclock_set_stall(clock, max(1, round(stall_seconds * 1e9)))

    @property
    def _clock(self) -> Any:
        """The C clock, for callers that pass it to C. OSError ECHILD in a forked child,
        where the actor that has the turn is missing.
        """
        if self._process != _forks:
            raise oserror(
                -errno.ECHILD,
                "this VirtualClock was made before fork(), in the parent; make one in each process",
            )
        return self._pointer

    @property
    def seed(self) -> int:
        """The seed of all random numbers of a simulation."""
        return self._seed

    @property
    def stall_seconds(self) -> float:
        """Real time for which an actor may keep its turn while others wait."""
        return self._stall_seconds

    @property
    def now(self) -> int:
        """Virtual nanoseconds since the clock was made."""
        return int(lib.vclock_now(self._clock))

    @property
    def stalls(self) -> int:
        """Number of actors that lost their turn. Times are reproducible only if it is
        0.
        """
        return int(lib.vclock_stalls(self._clock))

    def sleep(self, ns: int) -> None:
        """Let `ns` virtual nanoseconds pass, in which other actors have turns. With 0
        those run first that have a turn at this time.
        """
        ns = index("ns", ns)
        if not 0 <= ns < MAX_SLEEP:
            raise ValueError(f"sleep({ns}): must be nanoseconds, 0 to 2^63 - 1")
        if rc := lib.vclock_sleep(self._clock, ns):
            raise (
                self._lost_turn(threading.current_thread().name)
                if rc == -errno.EDEADLK
                else oserror(rc, f"sleep({ns})")
            )

    def run(
        self, functions: Sequence[Callable[[], T]], names: Sequence[str] | None = None
    ) -> list[T]:
        """Call each function in a thread of its own, as actors that all start now, in
        this order. Returns their results.

        `names` are the threads' names, one a function. If functions raise, run() raises
        the exception of the first of them in this order, once all have ended. It raises
        a KeyboardInterrupt at once, and the actors run on. It raises OSError EDEADLK if
        an actor lost its turn, after a RuntimeWarning. It raises ValueError inside an
        actor of this clock, which cannot wait for others while it has the turn.
        """
        functions = list(functions)
        names = [f"actor-{i}" for i in range(len(functions))] if names is None else list(names)
        if len(names) != len(functions):
            raise ValueError(
                f"run(): {len(names)} names for {len(functions)} functions; give one name a "
                "function, or omit names"
            )
        if lib.vclock_current(self._clock) != ffi.NULL:
            raise ValueError(
                "run() inside an actor of the same clock: give all functions to the outer run()"
            )
        actors = [
            _Actor(self, function, name) for function, name in zip(functions, names, strict=True)
        ]
        try:
            try:
                self._start(actors)
            finally:
                self._join(actors)
            for actor in actors:
                if actor.exception is not None:
                    raise actor.exception
            for actor in actors:
                if actor.lost_turn:
                    raise self._lost_turn(actor.thread.name)
            return [actor.result for actor in actors]
        finally:
            for actor in actors:
                # it refers to this frame and the actor's; break the cycle
                actor.exception = None

    def _join(self, actors: list[_Actor]) -> None:
        """Wait for the actors. Warn if one of them keeps the others waiting, but only
        once: more stalls follow from the first.
        """
        seconds = self.stall_seconds * WARN_AFTER
        warned = False
        for actor in actors:
            while not actor.join(max(seconds / 4, 0.01)):
                name = None if warned else self._stalling(actors, seconds)
                if name is not None:
                    warned = True
                    warnings.warn(
                        f"virtual time stands still: actor {name!r} has had its turn for "
                        f"{seconds:g} s of real time. "
                        f"{_ADVICE} After {self.stall_seconds:g} s it loses the turn.",
                        RuntimeWarning,
                        stacklevel=3,
                    )

    def _stalling(self, actors: list[_Actor], seconds: float) -> str | None:
        """Returns the name of the actor that has kept its turn for `seconds`; None if
        there is none among `actors`.
        """
        c_actor = lib.vclock_stalling(self._clock, round(seconds * 1e9))
        if c_actor == ffi.NULL:
            return None
        return next((actor.thread.name for actor in actors if actor.c_actor == c_actor), None)

    def _lost_turn(self, name: str) -> OSError:
        return oserror(
            -errno.EDEADLK,
            f"actor {name!r} lost its turn: it kept it for {self.stall_seconds:g} s. {_ADVICE}",
        )

    def _start(self, actors: list[_Actor]) -> None:
        """Start all actors or none: if one cannot be created or started, no function is
        called.
        """
        if rc := lib.vclock_enter(self._clock):
            raise oserror(rc, "cannot run()")
        try:
            for actor in actors:
                actor.create()
            for actor in actors:
                actor.start()
        except BaseException:
            for actor in actors:
                actor.abandon()
            raise
        finally:
            lib.vclock_leave(self._clock)


_ADVICE = (
    "If it waits for a lock, slot or context of another actor, give each actor a CPU (cpu=) and "
    "swap slots of its own, and let no actor hold a lock while it sleeps. If it computes for that "
    "long, give VirtualClock more stall_seconds."
)


class _Actor:
    """A function, its thread, and its place in the order of a clock's turns."""

    def __init__(self, clock: VirtualClock, function: Callable[[], Any], name: str) -> None:
        self._clock = clock._clock
        self.c_actor: Any = ffi.NULL  # NULL before create() and after its end
        self._function: Callable[[], Any] | None = function
        self.thread = threading.Thread(target=self._main, name=name, daemon=True)
        self._started = False
        self.result: Any = None
        self.lost_turn = False
        self.exception: BaseException | None = None

    def create(self) -> None:
        self.c_actor = lib.vclock_actor_create(self._clock)
        if self.c_actor == ffi.NULL:
            raise oserror(-errno.ENOMEM, f"run(): actor {self.thread.name!r}")

    def start(self) -> None:
        self._started = True  # also if a signal comes before start() returns
        try:
            self.thread.start()
        except RuntimeError:  # the system has no more threads
            self._started = False
            raise

    def join(self, seconds: float) -> bool:
        """Wait for the thread. Returns True once it has ended, else False after
        `seconds`.
        """
        if self._started:
            self.thread.join(seconds)
        return not self.thread.is_alive()

    def abandon(self) -> None:
        """Free the actor. A thread that has started frees it itself, when its turn
        comes.
        """
        self._function = None
        if not self._started and self.c_actor != ffi.NULL:
            lib.vclock_detach(self._clock, self.c_actor)

    def _main(self) -> None:
        lost_turn = lib.vclock_attach(self._clock, self.c_actor)
        try:
            function = self._function
            if function is not None and not lost_turn:
                self.result = function()
        except BaseException as e:
            self.exception = e
        finally:
            self.lost_turn = bool(lib.vclock_actor_lost(self._clock, self.c_actor))
            c_actor, self.c_actor = self.c_actor, ffi.NULL
            lib.vclock_detach(self._clock, c_actor)


# ---- processes ----

_forks = 0  # number of forks between the first process and this one


def _after_fork_in_child() -> None:
    global _forks  # noqa: PLW0603  # a child has one more than its parent
    _forks += 1


os.register_at_fork(after_in_child=_after_fork_in_child)
