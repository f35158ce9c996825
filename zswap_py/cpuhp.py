# SPDX-License-Identifier: GPL-2.0-or-later
"""CPU hotplug: a small model of the kernel's state machine (kernel/cpu.c), as far as
zswap's callbacks can tell.

States are ordered. A CPU that comes online walks up through them and runs each state's
startup callback; one that goes offline walks down and runs the teardowns. A
multi-instance state has a list of instances (zswap: its pools) and runs its callbacks
for each. zswap's state is in the PREPARE section: its startup runs before the CPU does,
its teardown after it is dead.
"""

from __future__ import annotations

import contextlib
import enum
import errno
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from zswap_py._lib.fixed import Owner
from zswap_py._lib.params import text, whole
from zswap_py._native import oserror

NR_CPUS = 8192
"""The most CPUs that Linux can be built for."""

Callback = Callable[[int, Any], int]
"""Called with (cpu, instance); 0 or a negative errno."""


class CpuhpState(enum.IntEnum):
    """The states that matter here, in the kernel's order."""

    OFFLINE = 0
    MM_ZSWP_POOL_PREPARE = 1
    BRINGUP_CPU = 2
    AP_ONLINE = 3
    ONLINE = 4


@dataclass
class _Step:
    name: str
    startup: Callback | None
    teardown: Callback | None
    multi: bool
    inside: Callable[[], bool] | None
    instances: list[Any] = field(default_factory=list)  # newest first


def _member(state: CpuhpState) -> CpuhpState:
    if not isinstance(state, CpuhpState):
        raise TypeError(f"state={state!r}: a CpuhpState")
    return state


class CpuHotplug(Owner):
    """The CPUs of one simulated machine. Everything is serialised by one lock, as
    cpu_hotplug_lock does it.

    nr_cpus are possible; `present` of them are plugged in (default: all), `online` of
    those run (default: all present).

    OSError EDEADLK for a change from a callback of another change, from a signal
    handler or `__del__` that interrupts one, and from inside a compressor: each would
    wait for what its own thread holds.
    """

    __slots__ = (
        "__weakref__",
        "_changing",
        "_fail",
        "_lock",
        "_nr_cpus",
        "_online_cpus",
        "_present",
        "_state",
        "_steps",
    )
    _instead = "CpuHotplug(nr_cpus) is another machine"

    def __init__(self, nr_cpus: int, present: int | None = None, online: int | None = None) -> None:
        self._nr_cpus = whole("nr_cpus", nr_cpus, 0, NR_CPUS)
        plugged = self._nr_cpus if present is None else whole("present", present, 0, NR_CPUS)
        up = plugged if online is None else whole("online", online, 0, NR_CPUS)
        if not 1 <= up <= plugged <= self._nr_cpus:
            raise ValueError(
                f"{up} CPUs online, {plugged} present, {nr_cpus} possible: "
                "each must hold the one before, and one must run"
            )
        self._lock = threading.RLock()
        self._changing = False
        self._present = frozenset(range(plugged))
        self._state = [
            CpuhpState.ONLINE if cpu < up else CpuhpState.OFFLINE for cpu in range(nr_cpus)
        ]
        self._steps: dict[CpuhpState, _Step] = {}
        self._fail: dict[int, tuple[CpuhpState, int]] = {}
        self._online_cpus: tuple[int, ...] = ()
        self._publish()

    @property
    def nr_cpus(self) -> int:
        """The possible CPUs."""
        return self._nr_cpus

    @property
    def online_cpus(self) -> tuple[int, ...]:
        """The CPUs that run, in order: a new tuple whenever one comes or goes."""
        return self._online_cpus

    @property
    def lock(self) -> threading.RLock:
        """cpu_hotplug_lock: while a thread holds it, no CPU comes or goes but by that
        thread.
        """
        return self._lock

    @contextlib.contextmanager
    def _change(self, what: str) -> Iterator[None]:
        """Holds the lock for a change; OSError EDEADLK at once where this thread may
        not wait for it.
        """
        self._must_not_be_inside(what)
        with self._lock:
            if self._changing:
                raise oserror(
                    -errno.EDEADLK,
                    f"{what}: called by a callback, a signal handler or "
                    "a __del__ in the "
                    "middle of another change of this machine",
                )
            self._changing = True
            try:
                yield
            finally:
                self._changing = False

    def _must_not_be_inside(self, what: str) -> None:
        for step in list(self._steps.values()):
            if step.inside is not None and step.inside():
                raise oserror(
                    -errno.EDEADLK,
                    f"{what}: called by a compressor of {step.name}, "
                    "which holds a context "
                    "that the change may wait for",
                )

    def _forked(self, state: CpuhpState) -> None:
        """In a forked child: the lock may be held by a thread that is not there, and
        the state's instances are gone.
        """
        self._lock = threading.RLock()
        self._changing = False
        self._steps.pop(state, None)

    def _publish(self) -> None:
        self._online_cpus = tuple(c for c, s in enumerate(self._state) if s is CpuhpState.ONLINE)

    def state(self, cpu: int) -> CpuhpState:
        """sysfs' cpuN/hotplug/state."""
        return self._state[self._possible(cpu)]

    def _possible(self, cpu: int) -> int:
        return whole("cpu", cpu, 0, self._nr_cpus - 1)

    def states(self) -> dict[CpuhpState, str]:
        """sysfs' cpu/hotplug/states: those that have callbacks, by name."""
        return {state: self._steps[state].name for state in sorted(self._steps)}

    # ---- registration ----

    def setup_state_multi(
        self,
        state: CpuhpState,
        name: str,
        startup: Callback | None,
        teardown: Callback | None,
        inside: Callable[[], bool] | None = None,
    ) -> None:
        """Register a multi-instance state; nothing is called. ValueError if the state
        is taken.

        `inside` tells whether the calling thread holds what a callback may wait for:
        then no change is begun.
        """
        _member(state)
        text("name", name)
        for argument, callback in (
            ("startup", startup),
            ("teardown", teardown),
            ("inside", inside),
        ):
            if callback is not None and not callable(callback):
                raise TypeError(f"{argument}={callback!r}: a function, or None")
        with self._change(f"setup_state_multi({state.name})"):
            if state in self._steps:
                raise ValueError(f"state {state.name} is taken by {self._steps[state].name!r}")
            self._steps[state] = _Step(name, startup, teardown, multi=True, inside=inside)

    def remove_state(self, state: CpuhpState) -> None:
        """Take a state's callbacks away; none is called. ValueError if it still has
        instances (the kernel warns).
        """
        _member(state)
        with self._change(f"remove_state({state.name})"):
            step = self._steps.get(state)
            if step is not None and step.instances:
                raise ValueError(
                    f"state {state.name} still has {len(step.instances)} instances of {step.name}"
                )
            self._steps.pop(state, None)

    def _multi(self, state: CpuhpState) -> _Step:
        _member(state)
        step = self._steps.get(state)
        if step is None or not step.multi:
            raise oserror(-errno.EINVAL, f"state {state.name} is not a multi-instance state")
        return step

    def add_instance(self, state: CpuhpState, node: Any) -> None:
        """Run startup for each present CPU that is at the state or above, in number
        order; then link the instance.

        On an error the CPUs before the failed one get teardown, if there is one, the
        instance is not linked, and OSError is raised. CPUs that are offline get nothing
        until they come up.
        """
        with self._change("add_instance()"):
            step = self._multi(state)
            done: list[int] = []
            for cpu in sorted(self._present):
                if self._state[cpu] < state:
                    continue
                rc = step.startup(cpu, node) if step.startup else 0
                if rc:
                    for earlier in done if step.teardown else ():
                        step.teardown(earlier, node)  # type: ignore[misc]
                    raise oserror(rc, f"{step.name}: startup failed on CPU {cpu}")
                done.append(cpu)
            step.instances.insert(0, node)

    def remove_instance(self, state: CpuhpState, node: Any) -> None:
        """Run teardown, if there is one, for each present CPU at the state or above,
        and unlink the instance.

        ValueError if it is not linked: the kernel would follow a null pointer.
        """
        with self._change("remove_instance()"):
            step = self._multi(state)
            if node not in step.instances:
                raise ValueError(f"{node!r} is not an instance of {step.name}")
            for cpu in sorted(self._present):
                if self._state[cpu] >= state and step.teardown:
                    step.teardown(cpu, node)
            step.instances.remove(node)

    # ---- CPUs ----

    def fail(self, cpu: int, state: CpuhpState | None, error: int = -errno.EAGAIN) -> None:
        """sysfs' cpuN/hotplug/fail: the next walk of this CPU through the state fails
        there, once; None clears it.
        """
        cpu = self._possible(cpu)
        error = whole("error", error, -4095, -1)
        with self._change(f"fail({cpu})"):
            if state is None:
                self._fail.pop(cpu, None)
            elif _member(state) in (CpuhpState.OFFLINE, CpuhpState.BRINGUP_CPU):
                raise ValueError(f"state {state.name} has no callback that may fail")
            else:
                self._fail[cpu] = (state, error)

    def _injected(self, cpu: int, state: CpuhpState) -> int:
        if self._fail.get(cpu, (None, 0))[0] is state:
            return self._fail.pop(cpu)[1]
        return 0

    def _startup(self, cpu: int, state: CpuhpState) -> int:
        if rc := self._injected(cpu, state):
            return rc
        step = self._steps.get(state)
        if step is None or step.startup is None:
            return 0
        done: list[Any] = []
        for node in list(step.instances):
            if rc := step.startup(cpu, node):
                for earlier in done if step.teardown else ():
                    step.teardown(cpu, earlier)  # type: ignore[misc]
                return rc
            done.append(node)
        return 0

    def _teardown(self, cpu: int, state: CpuhpState) -> None:
        step = self._steps.get(state)
        if step is not None and step.teardown is not None:
            for node in list(step.instances):
                step.teardown(cpu, node)

    def online(self, cpu: int) -> None:
        """Bring a CPU up, state by state. A startup that fails takes it down again, and
        is raised as OSError.
        """
        cpu = self._possible(cpu)
        with self._change(f"online({cpu})"):
            if cpu not in self._present:
                raise oserror(-errno.EINVAL, f"CPU {cpu} is not present")
            for state in list(CpuhpState)[self._state[cpu] + 1 :]:
                rc = self._startup(cpu, state)
                if rc:
                    self._down(cpu)
                    raise oserror(rc, f"CPU {cpu} stays offline: it failed at {state.name}")
                self._state[cpu] = state
            self._publish()

    def offline(self, cpu: int) -> None:
        """Take a CPU down. OSError EBUSY for the last one that runs; an injected
        failure brings it up again.
        """
        cpu = self._possible(cpu)
        with self._change(f"offline({cpu})"):
            if self._state[cpu] is CpuhpState.OFFLINE:
                return
            if self._online_cpus == (cpu,):
                raise oserror(-errno.EBUSY, f"CPU {cpu} is the last one online")
            if self._fail.get(cpu):
                state = self._fail[cpu][0]
                raise oserror(
                    self._injected(cpu, state), f"CPU {cpu} stays online: it failed at {state.name}"
                )
            # threads go elsewhere before anything of the CPU is taken away
            self._online_cpus = tuple(c for c in self._online_cpus if c != cpu)
            self._down(cpu)

    def _down(self, cpu: int) -> None:
        for state in reversed(CpuhpState):
            if CpuhpState.OFFLINE < state <= self._state[cpu]:
                self._teardown(cpu, state)
        self._state[cpu] = CpuhpState.OFFLINE
        self._publish()
