# SPDX-License-Identifier: GPL-2.0-or-later
"""Fault plans: which descriptors of an accelerator fail, and how. A plan is data, and
so reproducible.

    acc.plan = [
        Status(0x0A, 0x19, op="compress", nth=3),     # the third one does not fit
        Delay(2_000_000, device=1, nth=10, times=5),  # 2 ms each, five times
        Remove(device=0, nth=20),                     # until devices[0].enable()
    ]

A fault hits descriptors `nth` .. `nth + times - 1`, counted from 1, of those that match
`device`, `wq` and `op` (None: any). They are counted in the order of submission since
the plan was set. With `times=0` it hits all from nth on. In JSON a fault is an object
with these fields and `kind`, the class's name.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any

from zswap_py._lib.params import whole

OPS = {None: -1, "decompress": 0x42, "compress": 0x43}
"""A fault's `op`, and the descriptor's opcode. verify_compress submits
decompressions.
"""


@dataclass(frozen=True, kw_only=True, repr=False)
class Fault:
    """The base class of all faults: which descriptors a fault hits.

    It hits descriptors `nth`, counted from 1, to nth + `times` - 1; with times=0 all
    from nth on. Only those count that match `device` (an index in Accelerator.devices),
    `wq` (a queue's number there) and `op` ("compress" or "decompress"). None matches
    any. The count starts when the plan is set, and follows the order of submission.
    With verify_compress a page is two descriptors: the second decompresses.
    """

    nth: int = 1
    times: int = 1
    device: int | None = None
    wq: int | None = None
    op: str | None = None

    def __repr__(self) -> str:
        """Leaves out fields with their default, and gives status and error code in
        hexadecimal, as the kernel's documents do.
        """
        said = []
        for f in fields(self):
            value = getattr(self, f.name)
            if value != f.default:
                said.append(
                    f"{f.name}={value:#04x}"
                    if f.name in ("status", "error_code")
                    else f"{f.name}={value!r}"
                )
        return f"{type(self).__name__}({', '.join(said)})"

    def __post_init__(self) -> None:
        for name in ("nth", "times", "device", "wq", "status", "error_code", "ns"):
            value = getattr(self, name, 0)
            if value is not None or name not in ("device", "wq"):
                most = {"device": 63, "wq": 7, "status": 255, "error_code": 255}.get(
                    name, (1 << 63) - 1
                )
                whole(name, value, int(name == "nth"), most, of=type(self).__name__)
        if self.op not in tuple(OPS):  # from JSON it may be anything
            raise ValueError(
                f"{type(self).__name__}(op={self.op!r}): must be 'compress', 'decompress' or None"
            )


@dataclass(frozen=True, repr=False)
class Status(Fault):
    """The record has this status and error code, and no output is written."""

    status: int
    error_code: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.status == 0:
            raise ValueError(
                "Status(0): a record's status is 0 until the device answers; use NoAnswer()"
            )


@dataclass(frozen=True, repr=False)
class Crc(Fault):
    """The record's crc is not that of the page. Only verify_compress detects it."""


@dataclass(frozen=True, repr=False)
class Delay(Fault):
    """The engine holds the descriptor for `ns` of device time, then completes it,
    unless the timeout has aborted it.
    """

    ns: int


@dataclass(frozen=True, repr=False)
class NoAnswer(Fault):
    """The engine holds the descriptor until it is aborted."""


@dataclass(frozen=True, repr=False)
class QueueFull(Fault):
    """The queue has no room: no descriptor of a dedicated queue is free, a shared queue
    answers "retry", at every try.

    It counts requests, not descriptors. A request that asks for a descriptor has no
    `op` yet.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.op is not None:
            raise ValueError(f"QueueFull(op={self.op!r}): a queue is full for both; omit op")


@dataclass(frozen=True, repr=False)
class Stop(Fault):
    """From this descriptor on the device's engines take no work, for `ns` of device
    time; with 0 until `device.enable()`.
    """

    ns: int = 0


@dataclass(frozen=True, repr=False)
class Remove(Fault):
    """The device is removed once this descriptor is submitted. `device.enable()` brings
    it back.
    """


KINDS = {cls.__name__: cls for cls in (Status, Crc, Delay, NoAnswer, QueueFull, Stop, Remove)}


def to_json(plan: Iterable[Fault]) -> str:
    """Returns the plan as JSON, without the fields that have their default."""
    rows: list[dict[str, Any]] = []
    for fault in plan:
        defaults = {f.name: f.default for f in fields(fault)}
        row = {k: v for k, v in asdict(fault).items() if v != defaults[k]}
        rows.append({"kind": type(fault).__name__, **row})
    return json.dumps(rows)


def from_json(text: str) -> list[Fault]:
    """Returns the plan in JSON that to_json() or a person wrote.

    Raises ValueError with the number of the wrong fault and the reason.
    """
    try:
        rows = json.loads(text)
    except json.JSONDecodeError as e:
        raise ValueError(f"a plan must be JSON, with decimal numbers: {e}") from e
    if not isinstance(rows, list):
        raise ValueError(f"a plan must be a list of faults, not {type(rows).__name__}")
    plan: list[Fault] = []
    for i, row in enumerate(rows):
        kind = row.get("kind") if isinstance(row, dict) else None
        if kind not in tuple(KINDS):
            raise ValueError(f"fault {i}: kind {kind!r}: must be one of {', '.join(KINDS)}")
        names = [f.name for f in fields(KINDS[kind])]
        for name in row:
            if name not in ("kind", *names):
                raise ValueError(f"fault {i}: {kind} has no {name!r}; it has {', '.join(names)}")
        try:
            plan.append(KINDS[kind](**{k: v for k, v in row.items() if k != "kind"}))
        except (TypeError, ValueError) as e:
            raise ValueError(f"fault {i}: {e}") from e
    return plan
