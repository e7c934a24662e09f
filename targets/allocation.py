# SPDX-License-Identifier: GPL-2.0-or-later
"""Failing allocations of the target: the kernel's own fault injection.

See Documentation/fault-injection/fault-injection.rst. A kernel supports it if built with
CONFIG_FAULT_INJECTION_DEBUG_FS and CONFIG_FAILSLAB or CONFIG_FAIL_PAGE_ALLOC; distributions'
kernels are not. The allocations that fail are either those by the target's own threads, from any
cache (``task-filter``), or those from the target's own caches, by any thread (``cache-filter``).
The kernel prints the stacks of some of them to the scenario's console.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from results.history import Recorder
from targets.machine import Machine

DEBUG = "/sys/kernel/debug"
SLAB = "/sys/kernel/slab"

PERCENT = 30
"""Percentage of failing allocations, chosen at random, not every third: the kernel counts on after
a failure (should_fail_ex, lib/fault-inject.c), so an operation with three allocations would fail
for ever."""

STACKS = 8
"""Number of stacks that the kernel prints: each is some 2 KB on a serial console."""

MANY = 1 << 20
"""Value of ``times``, the number of allocations that may fail: more than a scenario has."""

COMMON: Mapping[str, object] = {
    "interval": 1, "space": 0, "times": MANY, "verbose": 2,
    "verbose_ratelimit_interval_ms": 3_600_000, "verbose_ratelimit_burst": STACKS}

SLEEPING_TOO = "N"
"""Value of ``ignore-gfp-wait``: allocations that may sleep fail, too."""

BUILT_WITHOUT = "it was built without CONFIG_FAULT_INJECTION_DEBUG_FS or"

FEATURES: Mapping[str, tuple[str, str]] = {
    "failslab": (f"[ -d {DEBUG}/failslab ]", f"{BUILT_WITHOUT} CONFIG_FAILSLAB"),
    "fail_page_alloc": (f"[ -d {DEBUG}/fail_page_alloc ]",
                        f"{BUILT_WITHOUT} CONFIG_FAIL_PAGE_ALLOC"),
    "failslab caches": (f"[ $(stat -c %a {SLAB}/kmalloc-64/failslab) -ge 600 ]",
                        f"{SLAB}/*/failslab is not there, or read-only as in Linux 6.1"),
}
"""Features of a kernel: a shell condition, and the reason why a kernel does not meet it."""

MARK = """for each in /proc/[0-9]*/task/[0-9]*; do
    read -r comm < $each/comm || continue
    case "$comm" in {patterns}) echo 1 > $each/make-it-fail || :;; esac
done 2> /dev/null"""
"""Marks tasks by their names; a task may end meanwhile."""


@dataclass(frozen=True)
class Failing:
    """A way to make allocations fail.

    ``capability``: the kernel's name for it. ``own_caches``: fail allocations from the target's own
    caches, instead of those by its threads.
    """

    capability: str
    own_caches: bool = False
    settings: Mapping[str, object] = field(default_factory=dict)

    @property
    def directory(self) -> str:
        """The directory of the kernel's settings."""
        return f"{DEBUG}/{self.capability}"

    def arm(self, threads: Sequence[str], caches: Sequence[str]) -> str:
        """Return a shell script that begins it.

        ``threads``: the target's, as prefixes of their comm; ``caches``: its slab caches; missing
        ones are skipped.
        """
        if self.own_caches:
            marks = [f"{SLAB}/{each}/failslab" for each in caches]
            chosen = [f"! [ -e {mark} ] || echo 1 > {mark}" for mark in marks]
        else:
            patterns = "|".join(f"{shlex.quote(each)}*" for each in threads)
            chosen = [MARK.format(patterns=patterns)]
        settings = {**COMMON, **self.settings,
                    "cache-filter" if self.own_caches else "task-filter": "Y"}
        written = [f"echo {value} > {self.directory}/{name}" for name, value in settings.items()]
        return "\n".join([*chosen, *written, f"echo {PERCENT} > {self.directory}/probability"])

    def count(self, machine: Machine) -> int:
        """Return the number of failed allocations so far."""
        return MANY - int(machine.read(f"{self.directory}/times"))

    def disarm(self) -> str:
        """Return a shell script that ends it, and prints the number of failed allocations."""
        return (f"echo 0 > {self.directory}/probability; "
                f"echo $(( {MANY} - $(cat {self.directory}/times) ))")


WAYS: Mapping[str, Failing] = {
    "failslab": Failing("failslab", settings={"ignore-gfp-wait": SLEEPING_TOO}),
    "failslab-caches": Failing(
        "failslab", own_caches=True, settings={"ignore-gfp-wait": SLEEPING_TOO}),
    "fail-page-alloc": Failing("fail_page_alloc", settings={
        "ignore-gfp-wait": SLEEPING_TOO, "ignore-gfp-highmem": "N", "min-order": 0}),
}
"""By the names of the operations."""


def missing(machine: Machine, features: Sequence[str]) -> str | None:
    """Return a text that names the kernel's first missing feature; None when it has all."""
    for each in features:
        condition, otherwise = FEATURES[each]
        if machine.run(["sh", "-c", f"{condition} 2> /dev/null"], check=False).status:
            return f"kernel {machine.release} has no {each}: {otherwise}"
    return None


def record(recorder: Recorder, now: float, name: str, printed: str) -> None:
    """Record the number of failed allocations, as printed by ``Failing.disarm``."""
    recorder.record(now, "fault", "injected", operation=name, count=int(printed))
