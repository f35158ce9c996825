# SPDX-License-Identifier: GPL-2.0-or-later
"""CPU hotplug: a model of those parts of kernel/cpu.c that zswap's callbacks depend on.

States are ordered. A CPU that comes online walks up through them and runs each state's
startup callback; a CPU that goes offline walks down and runs the teardown callbacks. A
multi-instance state runs its callbacks for each of its instances; zswap's are its
pools. zswap's state is in the PREPARE section: its startup runs before the CPU runs,
its teardown after the CPU is dead.
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
"""The largest CONFIG_NR_CPUS of a Linux kernel."""

Callback = Callable[[int, Any], int]
"""Called with (cpu, instance). Returns 0 or -errno."""


class CpuhpState(enum.IntEnum):
    """The states of the model, in the kernel's order."""

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
        raise TypeError(f"state={state!r}: must be a CpuhpState")
    return state


class CpuHotplug(Owner):
    """The CPUs of one simulated machine, to pass to Zswap(cpuhp=...).

    `nr_cpus` CPUs are possible, the first `present` of them are plugged in (default:
    all), and the first `online` of those run (default: all present).

    One lock serialises all changes, as cpu_hotplug_lock does. A change raises OSError
    EDEADLK when called from a callback of another change, from a signal handler or
    `__del__` that interrupted one, or from a compressor: its thread would wait for a
    lock that it holds itself.
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
    _instead = "make another machine with CpuHotplug(nr_cpus)"

    def __init__(self, nr_cpus: int, present: int | None = None, online: int | None = None) -> None:
        self._nr_cpus = whole("nr_cpus", nr_cpus, 0, NR_CPUS)
        plugged = self._nr_cpus if present is None else whole("present", present, 0, NR_CPUS)
        up = plugged if online is None else whole("online", online, 0, NR_CPUS)
        if not 1 <= up <= plugged <= self._nr_cpus:
            raise ValueError(
                f"online={up}, present={plugged}, nr_cpus={nr_cpus} CPUs: "
                "must be 1 <= online <= present <= nr_cpus"
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
        """The number of possible CPUs."""
        return self._nr_cpus

    @property
    def online_cpus(self) -> tuple[int, ...]:
        """The online CPUs in number order: a new tuple after each change."""
        return self._online_cpus

    @property
    def lock(self) -> threading.RLock:
        """cpu_hotplug_lock: while a thread holds it, other threads' changes wait."""
        return self._lock

    @contextlib.contextmanager
    def _change(self, what: str) -> Iterator[None]:
        """Holds the lock for a change.

        Raises OSError EDEADLK at once in a compressor, and in the middle of another
        change by this thread.
        """
        self._must_not_be_inside(what)
        with self._lock:
            if self._changing:
                raise oserror(
                    -errno.EDEADLK,
                    f"{what}: called by a callback, a signal handler or a __del__ "
                    "in the middle of another change of this machine",
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
                    f"{what}: called by a compressor of {step.name}, which holds a context "
                    "that the change may wait for",
                )

    def _forked(self, state: CpuhpState) -> None:
        """Drops a state in a forked child, and replaces the lock, which a thread of the
        parent may hold.
        """
        self._lock = threading.RLock()
        self._changing = False
        self._steps.pop(state, None)

    def _publish(self) -> None:
        self._online_cpus = tuple(c for c, s in enumerate(self._state) if s is CpuhpState.ONLINE)

    def state(self, cpu: int) -> CpuhpState:
        """Returns a CPU's state: sysfs' cpuN/hotplug/state."""
        return self._state[self._possible(cpu)]

    def _possible(self, cpu: int) -> int:
        return whole("cpu", cpu, 0, self._nr_cpus - 1)

    def states(self) -> dict[CpuhpState, str]:
        """Returns the states with callbacks and their names: cpu/hotplug/states."""
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
        """Registers a multi-instance state without calling its callbacks.

        `inside` returns whether the calling thread holds a lock that a callback may
        wait for; a change then raises OSError EDEADLK before it begins. Raises
        ValueError if the state is registered already.
        """
        _member(state)
        text("name", name)
        for argument, callback in (
            ("startup", startup),
            ("teardown", teardown),
            ("inside", inside),
        ):
            if callback is not None and not callable(callback):
                raise TypeError(f"{argument}={callback!r}: must be a function, or None")
        with self._change(f"setup_state_multi({state.name})"):
            if state in self._steps:
                raise ValueError(
                    f"state {state.name} is taken by {self._steps[state].name!r}: remove it first, "
                    "or make another CpuHotplug"
                )
            self._steps[state] = _Step(name, startup, teardown, multi=True, inside=inside)

    def remove_state(self, state: CpuhpState) -> None:
        """Unregisters a state without calling its callbacks.

        Raises ValueError if the state still has instances; the kernel only warns.
        """
        _member(state)
        with self._change(f"remove_state({state.name})"):
            step = self._steps.get(state)
            if step is not None and step.instances:
                raise ValueError(
                    f"state {state.name} still has {len(step.instances)} instances of {step.name}: "
                    "call remove_instance() first"
                )
            self._steps.pop(state, None)

    def _multi(self, state: CpuhpState) -> _Step:
        _member(state)
        step = self._steps.get(state)
        if step is None or not step.multi:
            raise oserror(-errno.EINVAL, f"state {state.name} is not a multi-instance state")
        return step

    def add_instance(self, state: CpuhpState, node: Any) -> None:
        """Runs startup for each present CPU at the state or above, then links the
        instance.

        The CPUs are called in number order. A CPU below the state gets its startup when
        it comes online. If a startup fails, the CPUs before it get teardown, the
        instance is not linked, and OSError is raised.
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
        """Runs teardown for each present CPU at the state or above, then unlinks the
        instance.

        Raises ValueError if the instance is not linked; the kernel would dereference a
        null pointer.
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
        """Makes a CPU's next walk through `state` fail there once: sysfs'
        cpuN/hotplug/fail.

        `error` is the -errno that it fails with. None clears the failure. Raises
        ValueError for a state without a callback that may fail.
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
        """Brings a CPU up, state by state.

        If a startup fails, the CPU goes down again, and its error is raised as OSError.
        Raises OSError EINVAL for a CPU that is not present.
        """
        cpu = self._possible(cpu)
        with self._change(f"online({cpu})"):
            if cpu not in self._present:
                raise oserror(
                    -errno.EINVAL, f"CPU {cpu} is not present: see CpuHotplug(present=...)"
                )
            for state in list(CpuhpState)[self._state[cpu] + 1 :]:
                rc = self._startup(cpu, state)
                if rc:
                    self._down(cpu)
                    raise oserror(rc, f"CPU {cpu} stays offline: it failed at {state.name}")
                self._state[cpu] = state
            self._publish()

    def offline(self, cpu: int) -> None:
        """Takes a CPU down, state by state.

        Raises OSError EBUSY for the last online CPU, and the error that fail() set; the
        CPU then stays online.
        """
        cpu = self._possible(cpu)
        with self._change(f"offline({cpu})"):
            if self._state[cpu] is CpuhpState.OFFLINE:
                return
            if self._online_cpus == (cpu,):
                raise oserror(
                    -errno.EBUSY, f"CPU {cpu} is the last one online: bring another one up first"
                )
            if self._fail.get(cpu):
                state = self._fail[cpu][0]
                raise oserror(
                    self._injected(cpu, state), f"CPU {cpu} stays online: it failed at {state.name}"
                )
            # threads move to other CPUs before the first teardown runs
            self._online_cpus = tuple(c for c in self._online_cpus if c != cpu)
            self._down(cpu)

    def _down(self, cpu: int) -> None:
        for state in reversed(CpuhpState):
            if CpuhpState.OFFLINE < state <= self._state[cpu]:
                self._teardown(cpu, state)
        self._state[cpu] = CpuhpState.OFFLINE
        self._publish()
