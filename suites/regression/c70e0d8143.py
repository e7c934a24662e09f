"""70e0d8143 (2025): scst_user: Fix oops in SCST_USER_PARSE_EXCEPTION.

What was broken: with PARSE type EXCEPTION a command that SCST's own parser had refused (its length
in bytes does not fit into 31 bits) was given to the backend all the same, with its error set
already. The backend's answer was then met by a command in an impossible state: BUG in
scst_parse_cmd(). Since then such an error is final.

What is told: READ(16) of 2^23 blocks of 512 bytes to such a device. What is asserted: CHECK
CONDITION, ILLEGAL REQUEST, LOGICAL BLOCK ADDRESS OUT OF RANGE (5/21/00, what SCST sets), no PARSE
of it at the backend, and a device that goes on working.
"""

from __future__ import annotations

from fixtures.scenario import Plan
from fixtures.stage import Stage
from fixtures.workload.commands import Command, Commands
from inject.point import NOTHING_HELD
from suites.regression.telling import PAGE, in_the_open, write_all
from targets.target import Device, Transport

READ_16 = 0x88
BLOCKS = 1 << 23
TOO_LONG = Command("read16-too-long", f"{READ_16:02x}00{0:016x}{BLOCKS:08x}0000", "read", PAGE)

PLAN = Plan("scst", "release", Transport.LOOPBACK, workload=None, point=NOTHING_HELD,
            variant="70e0d8143", device=Device(options={"parse_type": "EXCEPTION"}),
            story=f"{__name__}:story")

CHECK_CONDITION = 2
OUT_OF_RANGE = (0x5, 0x21, 0x00)


def story(stage: Stage) -> None:
    """Tell it."""
    with in_the_open(stage) as (_, (disk,), _):
        write_all(stage, (disk, PAGE))
        stage.phase("fault")
        stage.fired()
        commands = Commands(stage.machine, "too-long", [TOO_LONG], disk, stage.recorder)
        stage.must(commands.wait_answered(1, stage.ladder.command),
                   "a READ that is too long was not answered in time")
        stage.must(commands.wait(stage.ladder.step) is not None, "who issued it does not end")
        answer = commands.answers[1]
        seen = (answer.get("status"), *(answer.get(part) for part in ("key", "asc", "ascq")))
        stage.expect("a READ that is too long ends with 5/21/00",
                     seen == (CHECK_CONDITION, *OUT_OF_RANGE), str(seen))
        parsed = [event for event in stage.recorder.history().select("backend", "step")
                  if event.data["point"] == "PARSE" and event.data["opcode"] == READ_16
                  and event.time > stage.machine.now() - stage.ladder.command]
        stage.expect("what the core has refused is not given to the backend", not parsed)
        write_all(stage, (disk, PAGE))
