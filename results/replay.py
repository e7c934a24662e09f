"""The command line that runs a scenario again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any


def command(options: Mapping[str, Any], kernel: str, seed: int | None, scenario: str) -> str:
    """Return it for a shell.

    ``options``: of the run, by the names that run.json has them under: target, scst, accel, append.
    """
    words = ["python", "-m", "pytest", "suites", "--target", str(options["target"])]
    if options["target"] == "scst" and options.get("scst"):
        words += ["--scst", str(options["scst"])]
    words += ["--kernel", kernel, "--accel", str(options.get("accel", "auto"))]
    if options.get("append"):
        words.append(f"--append={options['append']}")
    if seed is not None:
        words += ["--seed", str(seed)]
    return shlex.join([*words, "-k", scenario])
