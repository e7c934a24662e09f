"""The story: an initiator issues odd commands, one by one, while another one's load goes on."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from functools import partial

from fixtures.initiator.disk import Disk
from fixtures.initiator.raw import obedient
from fixtures.program import Program
from fixtures.stage import Stage
from fixtures.story import beside_a_load
from fixtures.workload.commands import Command
from fixtures.workload.pdus import LOGIN
from fixtures.workload.sessions import Sessions
from inject.waiting import until
from results.checkers.outcome import AT_FAULT
from suites.commands.cases import ACA, BYTES, EXTENDED, FIXED, SAID, commands, sweep
from targets.target import Deployment

SESSION = "a"

SHORT = 100
"""Added to a tag for the short command's behind it."""

NEW_NEXUS = range(2 * SHORT, 2 * SHORT + 2)
"""Tags of what takes the unit attentions of a new I_T nexus (SAM-6 5.14)."""

READY = "000000000000"
ENDED = ("scsi response status 0x00",)


def fixed(stage: Stage) -> None:
    """Issue those that are written down."""
    _tell(stage, commands(FIXED, stage.lab.target.name))


def drawn(stage: Stage) -> None:
    """Issue those of a sweep; the same seed issues the same."""
    seed = stage.plan.stamps.seed if stage.plan.stamps else None
    _tell(stage, commands(tuple(sweep(seed or 0)), stage.lab.target.name))


def aca(stage: Stage) -> None:
    """Issue a VERIFY while there is an ACA condition, if the target has any."""
    _tell(stage, commands(ACA, stage.lab.target.name))


def extended(stage: Stage) -> None:
    """Issue CDBs of 32 bytes, which libiscsi has not, and a short one behind each."""
    bound = stage.ladder.command
    with beside_a_load(stage) as (deployment, *_):
        program = obedient.begin(stage, deployment.address)
        program.wait_ready(LOGIN + stage.ladder.step)
        for tag in NEW_NEXUS:
            program.order(do="send", tag=tag, cdb=READY, bytes=0, direction="none")
            program.order(do="read", until=[tag])
        for tag, (name, cdb, direction) in enumerate(EXTENDED, 1):
            program.order(do="send", tag=tag, cdb=cdb, bytes=BYTES, direction=direction)
            program.order(do="send", tag=tag + SHORT, cdb=READY, bytes=0, direction="none")
            program.order(do="read", until=[tag, tag + SHORT])
            for each, what, allowed in ((tag, name, SAID),
                                        (tag + SHORT, f"TEST UNIT READY behind {name}", ENDED)):
                program.wait(partial(told, program, each), bound)
                words = said(program, each)
                stage.expect(f"{what} ends as it may",
                             any(fnmatchcase(words, pattern) for pattern in allowed), words)
        program.process.signal(9)
        program.process.wait(stage.ladder.step)


def told(program: Program, tag: int) -> bool:
    """Tell whether something was said to a command."""
    return bool(said(program, tag))


def said(program: Program, tag: int) -> str:
    """Return what was said to a command; "" as long as nothing was."""
    return next((str(each["words"]) for each in program.told("response") if each["tag"] == tag), "")


def _tell(stage: Stage, listed: Sequence[Command]) -> None:
    with beside_a_load(stage) as (deployment, disk, _):
        sessions = issue(stage, deployment, disk, listed)
        sessions.stop()
        stage.must(sessions.wait(stage.ladder.step) is not None, "the sessions do not end")


def issue(
    stage: Stage, deployment: Deployment, disk: Disk, listed: Sequence[Command],
) -> Sessions:
    """Issue each when the one before it has ended; one that ends the session is told of, and the
    next is issued on a new one."""
    sessions = Sessions(stage.machine, AT_FAULT, deployment.address, disk, stage.recorder)
    bound = stage.ladder.command
    for each in listed:
        if sessions.nexus.get(SESSION, {}).get("action") != "logged in":
            stage.must(sessions.login(SESSION, stage.ladder.step), f"no login: {sessions.nexus}")
        before = len(sessions.commands)
        sessions.issue(SESSION, [each])
        stage.must(sessions.wait_issued(before + 1, bound), "nothing was issued")
        if not until(partial(ended, sessions, sessions.commands[-1]), bound):
            sessions.drop(SESSION)
            sessions.wait_nexus(SESSION, "dropped", bound)
    return sessions


def ended(sessions: Sessions, number: int) -> bool:
    """Tell whether a command has ended."""
    return number in sessions.answers
