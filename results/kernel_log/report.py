# SPDX-License-Identifier: GPL-2.0-or-later
"""A report of the kernel."""

from __future__ import annotations

from dataclasses import dataclass

from results.kernel_log.kinds import Kind


@dataclass(frozen=True)
class Report:
    """One report of the kernel.

    ``title``: the same for the same bug. ``frame``: the function that names it. ``frames``: all
    functions of the stack that names it, innermost first. ``task``: comm as the kernel wrote it.
    ``time``: seconds since boot. None where the log has no value.
    """

    kind: Kind
    title: str
    frame: str | None
    task: str | None
    pid: int | None
    cpu: int | None
    time: float | None
    lines: tuple[str, ...]
    frames: tuple[str, ...] = ()
