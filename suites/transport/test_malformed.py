"""Malformed and unexpected PDUs from a seed: the target survives, and so do its other sessions.

``--pdus N`` sends N of them instead of a few hundred; ``--seed`` chooses which. A part is a
scenario: a kernel that dies costs one. ``--pdu PART:STREAM[:FIRST[-LAST]][@GENERATOR]`` sends some
of them again, by the seed that run.json and the history have. The history has the generator's
fingerprint, too: with it they are refused where another generator would draw others.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import pytest

from fixtures.initiator.raw.generate import fingerprint
from fixtures.plugin import accept
from fixtures.scenario import Plan
from fixtures.workload.pdus import PduJob
from fixtures.workload.stamps import StampJob
from inject.point import NOTHING_HELD
from inject.wire import MALFORMED
from results.errors import WrongUsageError
from results.judge import Judgement

PART = PduJob()

BESIDE = StampJob(threads=2, rate_iops=40, blocks=32)
"""The other session's load: what has to be traced of it is time that no PDU is sent in."""

SYNTAX = "PART:STREAM[:FIRST[-LAST]][@GENERATOR], parts from 1, streams and PDUs from 0"
SOME = re.compile(r"([1-9]\d*):(\d+)(?::(\d+)(?:-(\d+))?)?(?:@([0-9a-f]+))?", re.ASCII)


def plans(target: str, config: pytest.Config) -> list[Plan]:
    """Return a plan for each part of as many PDUs as were asked for. Raises WrongUsageError."""
    some = config.getoption("pdu")
    if some is not None and config.getoption("seed") is None:
        raise WrongUsageError("--pdu needs the --seed that the PDUs were drawn with")
    wanted = jobs(config.getoption("pdus")) if some is None else [chosen(some)]
    return [plan(target, job) for job in wanted]


def jobs(count: int) -> list[PduJob]:
    """Return the parts that ``count`` PDUs make: whole streams, rounded up. Raises WrongUsageError
    for none."""
    if count < 1:
        raise WrongUsageError(f"--pdus takes a whole number from 1, not {count}")
    streams = -(-count // PART.pdus)
    return [PduJob(streams=min(PART.streams, streams - begin), part=number)
            for number, begin in enumerate(range(0, streams, PART.streams), 1)]


def chosen(some: str) -> PduJob:
    """Return the job that sends some PDUs only. Raises WrongUsageError."""
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


AVOID: Mapping[str, tuple[str, ...]] = {
    "lio": ("data-without-write", "queued-function", "gibibyte", "rejected-write",
            "empty-extended-cdb", "text-of-a-task"),
    "scst": ("empty-name", "empty-extended-cdb", "negative-read", "write-with-ahs",
             "data-out-not-final", "short-read"),
    "tgt": ("empty-extended-cdb", "huge-length", "stray-ahs", "stray-data", "excess-data",
            "not-simple", "wild-data-out")}
"""By target: what it is known to die of. test_known_traps sends just that."""


def plan(target: str, job: PduJob) -> Plan:
    """Return the plan for a part."""
    job = replace(job, avoid=AVOID.get(target, ()), generator=fingerprint())
    return Plan(target, MALFORMED.name, point=NOTHING_HELD, workload=None, stamps=BESIDE, pdus=job,
                variant=f"part{job.part}", story="suites.transport.stories:malformed")


def test_malformed_pdus(judgement: Judgement, request: pytest.FixtureRequest) -> None:
    """The kernel stays healthy, the other session's load goes on, the target can be removed."""
    accept(judgement, request)
