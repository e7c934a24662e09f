# SPDX-License-Identifier: GPL-2.0-or-later
"""Malformed and unexpected PDUs drawn from a seed: the target and other sessions survive them.

``--pdus N`` sends N PDUs instead of 300; ``--seed`` selects them. Each part is a scenario, so a
kernel crash costs only one part. ``--pdu PART:STREAM[:FIRST[-LAST]][@GENERATOR]`` sends some PDUs
again, with the seed recorded in run.json and in the history. GENERATOR is the generator's
fingerprint, also recorded in the history: a generator with another fingerprint would draw other
PDUs, and the option is refused.
"""

from __future__ import annotations

import re
from dataclasses import replace

from fixtures.context import ScenarioContext
from fixtures.initiator.raw.generate import fingerprint
from fixtures.scenario import Arrangement, Plan, Selection, scenarios
from fixtures.workload.pdus import QUIET, PduJob, all_sent, send_pdus
from fixtures.workload.stamps import StampJob
from inject.point import NOTHING_HELD
from inject.traits import TargetTraits
from inject.wire import MALFORMED
from results.errors import WrongUsageError
from suites.transport.sending import must_accept_login

PART = PduJob()

BESIDE = StampJob(threads=2, rate_iops=40, blocks=32)
"""The other session's load. It is small, since no PDU is sent while its I/O is traced."""

SYNTAX = "PART:STREAM[:FIRST[-LAST]][@GENERATOR], parts from 1, streams and PDUs from 0"
SOME = re.compile(r"([1-9]\d*):(\d+)(?::(\d+)(?:-(\d+))?)?(?:@([0-9a-f]+))?", re.ASCII)


def plans(selection: Selection) -> list[Plan]:
    """Return a plan for each part of the requested PDUs. Raises WrongUsageError."""
    if selection.pdu is not None and selection.seed is None:
        raise WrongUsageError("--pdu needs the --seed that the PDUs were drawn with")
    wanted = jobs(selection.pdus) if selection.pdu is None else [chosen(selection.pdu)]
    return [plan(selection.traits, job) for job in wanted]


def jobs(count: int) -> list[PduJob]:
    """Return the parts for ``count`` PDUs, rounded up to whole streams.

    Raises WrongUsageError when ``count`` is less than 1.
    """
    if count < 1:
        raise WrongUsageError(f"--pdus takes a whole number from 1, not {count}")
    streams = -(-count // PART.pdus)
    return [PduJob(streams=min(PART.streams, streams - begin), part=number)
            for number, begin in enumerate(range(0, streams, PART.streams), 1)]


def chosen(some: str) -> PduJob:
    """Return the job for the PDUs of a ``--pdu`` option. Raises WrongUsageError."""
    found = SOME.fullmatch(some)
    if found is None:
        raise WrongUsageError(f"--pdu takes {SYNTAX}, not {some!r}")
    if found[5] not in (None, fingerprint()):
        raise WrongUsageError(f"--pdu {some}: this generator is {fingerprint()}, and draws others")
    part, stream = int(found[1]), int(found[2])
    first = int(found[3] or 0)
    last = int(found[4] or found[3] or PART.pdus - 1)
    if last < first:
        raise WrongUsageError(f"--pdu {some}: there are no PDUs from {first} to {last}")
    return PduJob(streams=stream + 1, part=part, threads=1, only=(stream, first, last))


def plan(traits: TargetTraits, job: PduJob) -> Plan:
    """Return the plan of a part."""
    job = replace(job, avoid=traits.wire.avoided_pdus, generator=fingerprint())
    return Plan(MALFORMED, NOTHING_HELD, Arrangement.stamped(BESIDE), variant=f"part{job.part}",
                arguments={"pdus": job})


@scenarios(plans)
def test_malformed_pdus(ctx: ScenarioContext, pdus: PduJob) -> None:
    """The kernel stays healthy, the other session's load continues, the target can be removed."""
    lun = ctx.arrange()
    with ctx.broken(lun):
        sending = send_pdus(ctx.client, pdus, lun.deployment.address, lun.disk, ctx.recorder)
        ctx.must(all_sent(sending), f"no PDU was sent or answered for {QUIET:g} s")
        must_accept_login(ctx, lun.deployment)
    ctx.drain(lun)
    ctx.recover(lun)
