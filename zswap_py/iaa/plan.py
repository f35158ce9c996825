# SPDX-License-Identifier: GPL-2.0-or-later
"""What shall go wrong on an accelerator: a plan is a list of faults, data, and so
reproducible.

    acc.plan = [
        Status(0x0A, 0x19, op="compress", nth=3),     # the third one does not fit
        Delay(2_000_000, device=1, nth=10, times=5),  # 2 ms each, five times
        Remove(device=0, nth=20),                     # until devices[0].enable()
    ]

A fault is for descriptors `nth` .. `nth + times - 1`, from 1, of those that match
`device`, `wq` and `op` (None: any), in the order of submission since the plan was set;
`times=0`: for all from nth on. As JSON it is an object with the fields and `kind`, the
class's name.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any

from zswap_py._lib.params import whole

OPS = {None: -1, "decompress": 0x42, "compress": 0x43}
"""A fault's `op`, and the descriptor's opcode. What verify_compress submits is a
decompression.
"""


@dataclass(frozen=True, kw_only=True, repr=False)
class Fault:
    """What all faults have: which descriptors they are for.

    `nth`, from 1, to nth + `times` - 1 (times=0: all from nth on) of those for `device`
    (an index in Accelerator.devices), `wq` (a queue's number there) and `op`,
    "compress" or "decompress"; None: any. They are counted as they are submitted, from
    the setting of the plan on. verify_compress decompresses too: a page is two
    descriptors.
    """

    nth: int = 1
    times: int = 1
    device: int | None = None
    wq: int | None = None
    op: str | None = None

    def __repr__(self) -> str:
        """Without what has its default, and status and error code as the documents have
        them.
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
                f"{type(self).__name__}(op={self.op!r}): 'compress', 'decompress' or None"
            )


@dataclass(frozen=True, repr=False)
class Status(Fault):
    """The completion record has this status and error code, and nothing is written."""

    status: int
    error_code: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.status == 0:
            raise ValueError(
                "Status(0): a record's status is 0 while there is no answer; say NoAnswer()"
            )


@dataclass(frozen=True, repr=False)
class Crc(Fault):
    """The record's crc is not that of the page: verify_compress finds it; without that
    nobody does.
    """


@dataclass(frozen=True, repr=False)
class Delay(Fault):
    """The engine holds the descriptor for so many ns of device time, then goes on;
    after the timeout it is too late.
    """

    ns: int


@dataclass(frozen=True, repr=False)
class NoAnswer(Fault):
    """The engine holds the descriptor until it is given up."""


@dataclass(frozen=True, repr=False)
class QueueFull(Fault):
    """The queue has no room: a dedicated one no descriptor, a shared one answers
    "retry", as often as it is tried.

    It counts requests, which have no `op` yet when they ask for a descriptor.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.op is not None:
            raise ValueError(f"QueueFull(op={self.op!r}): a queue is full for both; leave op out")


@dataclass(frozen=True, repr=False)
class Stop(Fault):
    """From this descriptor on the device takes nothing up, for so many ns of device
    time; 0: for good.
    """

    ns: int = 0


@dataclass(frozen=True, repr=False)
class Remove(Fault):
    """The device is gone once it has this descriptor; `device.enable()` brings it
    back.
    """


KINDS = {cls.__name__: cls for cls in (Status, Crc, Delay, NoAnswer, QueueFull, Stop, Remove)}


def to_json(plan: Iterable[Fault]) -> str:
    """The plan as JSON: what has its default is left out."""
    rows: list[dict[str, Any]] = []
    for fault in plan:
        defaults = {f.name: f.default for f in fields(fault)}
        row = {k: v for k, v in asdict(fault).items() if v != defaults[k]}
        rows.append({"kind": type(fault).__name__, **row})
    return json.dumps(rows)


def from_json(text: str) -> list[Fault]:
    """The plan that to_json() wrote, or somebody by hand. ValueError says which row is
    wrong, and how.
    """
    try:
        rows = json.loads(text)
    except json.JSONDecodeError as e:
        raise ValueError(f"a plan is JSON, where numbers are decimal: {e}") from e
    if not isinstance(rows, list):
        raise ValueError(f"a plan is a list of faults, not {type(rows).__name__}")
    plan: list[Fault] = []
    for i, row in enumerate(rows):
        kind = row.get("kind") if isinstance(row, dict) else None
        if kind not in tuple(KINDS):
            raise ValueError(f"fault {i}: kind {kind!r}: one of {', '.join(KINDS)}")
        names = [f.name for f in fields(KINDS[kind])]
        for name in row:
            if name not in ("kind", *names):
                raise ValueError(f"fault {i}: {kind} has no {name!r}; it has {', '.join(names)}")
        try:
            plan.append(KINDS[kind](**{k: v for k, v in row.items() if k != "kind"}))
        except (TypeError, ValueError) as e:
            raise ValueError(f"fault {i}: {e}") from e
    return plan
