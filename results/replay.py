# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line that runs a scenario again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

SHAPING: Mapping[str, Any] = {
    "append": "", "memory_checks": "auto", "full": False, "matrix_seed": 1, "rounds": 5,
    "cycles": 12, "pdus": 300, "pdu": None, "call": None}
"""Options that select the scenarios or change the steps of one, with their default values."""


def command(options: Mapping[str, Any], kernel: str, seed: int | None, scenario: str) -> str:
    """Return the command line, quoted for a shell.

    ``options``: the run's, by their names in run.json: target, scst, accel, and those of
    ``SHAPING``. ``scst`` is None for a target that is not made from a prefix.
    """
    words = ["python", "-m", "pytest", "suites", "--target", str(options["target"])]
    if options.get("scst"):
        words += ["--scst", str(options["scst"])]
    words += ["--kernel", kernel, "--accel", str(options.get("accel", "auto"))]
    for name, default in SHAPING.items():
        value = options.get(name, default)
        if value != default:
            option = f"--{name.replace('_', '-')}"
            words.append(option if value is True else f"{option}={value}")
    if seed is not None:
        words += ["--seed", str(seed)]
    return shlex.join([*words, "-k", scenario])
