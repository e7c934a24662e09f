# SPDX-License-Identifier: GPL-2.0-or-later
"""Synthetic runs: a given number of folders as real runs leave them, written in seconds.

``python -m suites.selftest.synthetic RESULTS COUNT [SEED]`` writes one, to view its page.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from results.judge import Judgement, judge
from results.known_issues import KnownIssue
from results.ladder import Ladder
from results.store import CONSOLE, HISTORY, REPORT, VERDICT, Run
from suites.selftest.stories import SCENARIO, Story, healthy

POINTS = ("PARSE", "ALLOC_MEM", "EXEC", "BACKGROUND", "ON_FREE_CMD", "ON_CACHED_MEM_FREE",
          "TASK_MGMT_RECEIVED", "TASK_MGMT_DONE", "ATTACH_SESS", "DETACH_SESS")
MECHANISMS = ("release", "backend-close", "backend-kill", "backend-stop", "backend-unregister",
              "lun-remove", "lun-replace", "session-close", "target-disable", "memory-pressure")
KERNELS = ("6.1", "6.12")
TRANSPORTS = ("iscsi", "loopback")

LOCKUP = (
    "watchdog: BUG: soft lockup - CPU#1 stuck for 8s! [scst_usr_cleanu:100]",
    "CPU: 1 PID: 100 Comm: scst_usr_cleanu Not tainted 6.1.0-test #1",
    "RIP: 0010:sgv_pool_flush+0x12/0x90 [scst]",
    "Call Trace:",
    " <TASK>",
    " sgv_pool_flush+0x12/0x90 [scst]",
    " dev_user_process_cleanup+0x21/0x70 [scst_user]",
    " kthread+0xd7/0x100",
    " ret_from_fork+0x1f/0x30",
    " </TASK>",
)


def stuck() -> Story:
    """Return a history with an I/O that never ends."""
    return healthy().without("block", "complete", disk="sda", io=21)


def locked_up() -> Story:
    """Return a history with a soft lockup."""
    story = healthy()
    for words in LOCKUP:
        story.at(22.0, "console", "line", text=f"[   22.000000] {words}")
    return story


def lost() -> Story:
    """Return a history with a lost machine."""
    return healthy().until(15.0).at(16.0, "harness", "lost", what="the agent is silent")


@dataclass(frozen=True)
class Kind:
    """One kind of scenario. ``share``: its frequency, in thousandths."""

    share: int
    story: Callable[[], Story]
    known: KnownIssue | None = None


ISSUE = KnownIssue("pool", "https://example.org/pool")

KINDS = (
    Kind(5, stuck), Kind(3, locked_up), Kind(4, lost), Kind(10, locked_up, ISSUE),
    Kind(3, healthy, ISSUE), Kind(975, healthy),
)


@dataclass(frozen=True)
class Template:
    """The files of one scenario, with SCENARIO as the placeholder of its id."""

    history: str
    verdict: str
    console: str
    judgement: Judgement

    @classmethod
    def of(cls, kind: Kind) -> Template:
        """Build the history of a kind and judge it."""
        story = kind.story().without("harness", "scenario").without("sampler", "threads", "blocked")
        whole = kind.story()
        found = replace(judge(whole.history()), known=kind.known)
        lines = [event.to_json() for event in story.history().events]
        console = [event.data["text"] for event in whole.history().select("console", "line")]
        return cls("".join(f"{line}\n" for line in lines), json.dumps(found.to_json(), indent=2),
                   "".join(f"{line}\n" for line in console), found)


def write(results: Path, count: int, seed: int = 1) -> Path:
    """Write a run of ``count`` scenarios; return its folder. The same seed gives the same run."""
    dice = random.Random(seed)
    run = Run.begin(results, {
        "started": "2026-01-02T01:00:00Z",
        "command": ["pytest", "suites/teardown", "--full"],
        "target": {"name": "scst", "version": "3.11.0", "commit": "0123456789ab",
                   "backend": "scst_user"},
        "kernels": [{"name": name, "release": f"{name}.0-test", "origin": "none"}
                    for name in KERNELS],
        "accelerator": {"name": "tcg", "reason": "synthetic"},
        "host": {"name": "nowhere", "release": "6.1", "cpus": 2, "python": "3.11"},
        "options": {"target": "scst", "scst": "/opt/scst", "accel": "auto"},
        "seed": seed,
    })
    templates = [Template.of(kind) for kind in KINDS]
    shares = [kind.share for kind in KINDS]
    for number in range(count):
        template = dice.choices(templates, shares)[0]
        _scenario(run, number, template, dice)
    run.note(ended="2026-01-02T06:00:00Z")
    return run.path


def _scenario(run: Run, number: int, template: Template, dice: random.Random) -> None:
    point, mechanism = dice.choice(POINTS), dice.choice(MECHANISMS)
    kernel, transport = dice.choice(KERNELS), dice.choice(TRANSPORTS)
    name = (f"scst-{kernel}-{transport}-cell{number}-"
            f"{point.lower().replace('_', '-')}-write4-{mechanism}")
    folder = run.path / name
    folder.mkdir()
    scenario = {
        "time": 10.0, "source": "harness", "kind": "scenario", "data": {
            "id": name, "kernel": kernel, "target": "scst", "fault": mechanism,
            "transport": transport, "point": {"state": point, "count": 4, "direction": "write"},
            "device": {"options": {"on_free_cmd_type": dice.choice(("CALL", "IGNORE"))}},
            "variant": f"cell{number}", "seed": number,
            "test": "suites/teardown/test_teardown.py::test_matrix",
            "ladder": asdict(Ladder())}}
    history = json.dumps(scenario, separators=(",", ":")) + "\n" + template.history
    (folder / HISTORY).write_text(history.replace(SCENARIO, name))
    (folder / CONSOLE).write_text(template.console.replace(SCENARIO, name))
    (folder / VERDICT).write_text(template.verdict.replace(SCENARIO, name))
    if template.judgement.decided_by and template.judgement.reason:
        (folder / REPORT).write_text(template.judgement.reason + "\n")


if __name__ == "__main__":
    print(write(Path(sys.argv[1]), int(sys.argv[2]), *map(int, sys.argv[3:4])))
