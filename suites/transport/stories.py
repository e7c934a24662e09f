"""The stories of this suite: an initiator sends what is wrong while another one's load goes on."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from fixtures.initiator.disk import Disk
from fixtures.initiator.raw.generate import NAME
from fixtures.initiator.raw.pdu import NO_TAG
from fixtures.stage import Stage
from fixtures.story import clean_up, drain, start_loads
from fixtures.workload.pdus import LOGIN, send_pdus
from suites.transport.digests import ALLOWED, DOES, Rule
from targets.scst.sysfs import TARGETS
from targets.target import Deployment

OBEDIENT = "fixtures.initiator.raw.obey"
DIGESTS = "fixtures.initiator.raw.digests"

PATIENCE = 1.5
"""Seconds for which an answer to a PDU with a wrong digest is waited for."""

MISNUMBERED = 0x7777
"""A CmdSN that no command has."""

READS, READ_BYTES = 16, 4096

DATAOUT_TIMEOUT = 5.0
"""Seconds until what a target began for the READs has had its time: LIO's Data-Out timer runs for 3
(NA_DATAOUT_TIMEOUT, iscsi_target_core.h)."""

CASE = 6.0
"""Seconds that a case of a wrong digest may take, with its logins."""


def malformed(stage: Stage) -> None:
    """Send malformed PDUs; then a login is taken as before."""
    with beside_a_load(stage) as (deployment, disk):
        job = stage.plan.pdus
        assert job is not None
        sending = send_pdus(stage.machine, job, deployment.address, disk, stage.recorder)
        stage.must(sending.wait(job.deadline) is not None,
                   f"the PDUs were not sent in {job.deadline:g} s")
        answers_login(stage, deployment)


def read_with_data(stage: Stage) -> None:
    """Send READs that come with as much immediate data as they read."""
    _reads(stage, READ_BYTES)


def read_with_some_data(stage: Stage) -> None:
    """Send READs that come with less immediate data than they read."""
    _reads(stage, 1)


def nameless(stage: Stage) -> None:
    """Log in with an empty InitiatorName, which is no name (RFC 7143 4.2.7)."""
    with beside_a_load(stage) as (deployment, _):
        program = stage.program("raw initiator", OBEDIENT, {
            "portal": deployment.address.portal, "iqn": deployment.address.iqn, "name": ""})
        program.wait(lambda: bool(program.told("ready") or program.told("exit")), LOGIN)
        if program.running:
            program.process.signal(9)
            program.process.wait(stage.ladder.step)
        answers_login(stage, deployment)


def abort_misnumbered(stage: Stage) -> None:
    """Abort a WRITE that waits for its data, with a RefCmdSN that is not its CmdSN and the tag that
    is no task's; take in the answer, acknowledge it by another command, hang up."""
    with beside_a_load(stage) as (deployment, _):
        address, bound = deployment.address, stage.ladder.step
        program = stage.program("raw initiator", OBEDIENT, {
            "portal": address.portal, "iqn": address.iqn, "name": NAME})
        program.wait_ready(LOGIN + bound)
        program.order(do="send", tag=1, cdb="2a000000000000000800", bytes=4096, direction="write")
        stage.must(program.wait(lambda: bool(program.told("sent")), bound), "nothing was sent")
        program.order(do="abort", tag=NO_TAG, of=1, number=MISNUMBERED)
        stage.must(program.wait(lambda: bool(program.told("aborted")), bound),
                   f"ABORT TASK has no answer after {bound:g} s")
        program.order(do="send", tag=3, cdb="000000000000", bytes=0, direction="none")
        program.order(do="read", until=[3])
        stage.must(program.wait(lambda: bool(program.told("response")), bound),
                   "TEST UNIT READY does not end")
        program.process.signal(9)
        program.process.wait(bound)
        answers_login(stage, deployment)


def _reads(stage: Stage, data: int) -> None:
    with beside_a_load(stage) as (deployment, _):
        address = deployment.address
        program = stage.program("raw initiator", OBEDIENT, {
            "portal": address.portal, "iqn": address.iqn, "name": NAME,
            "keys": {"ImmediateData": "Yes"}})
        program.wait_ready(LOGIN + stage.ladder.step)
        blocks = READ_BYTES // stage.plan.device.block_size
        for tag in range(1, READS + 1):
            program.order(do="send", tag=tag, cdb=f"28000000000000{blocks:04x}00",
                          bytes=READ_BYTES, direction="read", data=data)
        program.wait(lambda: len(program.told("sent")) == READS, stage.ladder.step)
        time.sleep(DATAOUT_TIMEOUT)
        program.process.signal(9)
        program.process.wait(stage.ladder.step)
        answers_login(stage, deployment)


def digests(stage: Stage) -> None:
    """Send PDUs with wrong digests, each in a session of its own."""
    with beside_a_load(stage) as (deployment, _):
        address = deployment.address
        for key in ("HeaderDigest", "DataDigest"):
            allow_digest(stage, f"{TARGETS}/iscsi/{address.iqn}/{key}")
        program = stage.program("raw initiator", DIGESTS, {
            "portal": address.portal, "iqn": address.iqn, "lun": address.lun,
            "patience": PATIENCE})
        bound = CASE * len(ALLOWED)
        program.wait(lambda: bool(program.told("end") or program.told("exit")), bound)
        told = {str(each["case"]): each for each in program.told("digest")}
        for name, rule in ALLOWED.items():
            expect_digest(stage, name, rule, told.get(name))


def allow_digest(stage: Stage, attribute: str) -> None:
    """Have SCST take a digest, which it does not by default; others do as they are."""
    if stage.machine.exists(attribute):
        stage.machine.write(attribute, "CRC32C,None")


def expect_digest(stage: Stage, name: str, rule: Rule, told: Mapping[str, Any] | None) -> None:
    """State what must come of a wrong digest: by the standard, and as this target does it."""
    if told is None:
        stage.expect(f"{name}: the target says something", False, "the program did not get there")
        return
    if not told["agreed"]:
        stage.expect(f"{name}: the target uses digests", False)
        return
    said, kept = tuple(told["answers"]), told["kept"]
    stage.expect(f"{name}: {rule.words}", rule.met(said), str(said))
    if kept is not None:
        stage.expect(f"{name}: the block is not written", bool(kept))
    does = DOES.get(stage.plan.target, {}).get(name)
    if does is not None:
        stage.expect(f"{name}: {stage.plan.target} does as it has done", said == does, str(said))


def answers_login(stage: Stage, deployment: Deployment) -> None:
    """State that the target takes a login; raises TargetFailedError if it does not."""
    program = stage.program("raw initiator", OBEDIENT, {
        "portal": deployment.address.portal, "iqn": deployment.address.iqn, "name": NAME})
    program.wait_ready(LOGIN + stage.ladder.step)
    program.process.signal(9)
    program.process.wait(stage.ladder.step)


@contextmanager
def beside_a_load(stage: Stage) -> Iterator[tuple[Deployment, Disk]]:
    """Provide a deployment whose disk is driven by another initiator; take all away afterwards."""
    stage.resources.baseline()
    deployment, disk = stage.deploy()
    with stage.traced(disk) as trace:
        stage.phase("baseline")
        loads = list(start_loads(stage, disk, trace))
        stage.armed()
        stage.phase("fault")
        stage.fired()
        yield deployment, disk
        stage.undone()
        stage.must(drain(stage, trace, list(loads)),
                   "the load beside does not end: its I/O does not come back")
    clean_up(stage, deployment)
    stage.recover()
