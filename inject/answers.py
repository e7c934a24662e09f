# SPDX-License-Identifier: GPL-2.0-or-later
"""Wrong answers of an scst_user backend: replies that violate scst_user's protocol.

Each fault answers one held command with fields that are wrong in one way. The expected result is
data: the errno of the reply ioctl, and the command's status at the initiator. The results are those
of dev_user_process_reply and its callees (scst_user.c); sense data bear their names in
scst_const.h. The device survives every wrong answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from inject.contract import DeployedDevice, FaultContext
from inject.fault import SCST_USER, Expected, Held, Needs
from inject.outcomes import BUSY as BUSY_WORD
from inject.outcomes import GOOD as GOOD_WORD
from inject.outcomes import TASK_SET_FULL, ends_well, grace_in
from inject.point import Point, State
from inject.traits import TargetTraits
from inject.waiting import wait_until
from results.checkers.outcome import status_word
from results.errors import TargetFailedError

PAGE = 4096
UNMAPPED = 0x10000
"""Page-aligned address; a process such as the backend has no mapping below it."""

INT32_MAX = 0x7FFFFFFF
NO_HANDLE = 0x7FFFFFF0
"""A handle that no command has: handles are counted up from 1 (ucmd_h, scst_user.c)."""

GOOD, CHECK_CONDITION, BUSY = 0x00, 0x02, 0x08

Sense = tuple[int, int, int]
"""Sense key, additional sense code and its qualifier (SPC-4 table 53, table 54)."""

HARDWARE_ERROR: Sense = (0x04, 0x44, 0x00)
"""scst_sense_hardw_error: the initiator does not retry it."""
INTERNAL_FAILURE: Sense = (0x0B, 0x44, 0x00)
"""scst_sense_internal_failure: ABORTED COMMAND, which initiators retry."""
INVALID_MESSAGE: Sense = (0x05, 0x49, 0x00)
"""Returned when the direction differs from the initiator's (scst_parse_cmd, scst_targ.c)."""
LUN_NOT_SUPPORTED: Sense = (0x05, 0x25, 0x00)
COPY_ABORTED: Sense = (0x0A, 0x00, 0x00)
"""Sense data of the copy manager, followed by the failed command's sense data (SPC-3 6.3)."""

DESCRIPTOR = 24
"""Bytes of struct scst_user_ext_copy_data_descr."""

CLAUSE = "scst_user_spec and dev_user_process_reply, scst_user.c: the end of a wrong answer"


@dataclass(frozen=True)
class Outcome:
    """Expected result of a wrong answer.

    ``errnos``: errnos that the kernel may return for each answer in turn (None: it accepts the
    answer). ``status``, ``sense``: of the command at the initiator. A status of None: the wrong
    answer does not end the command, which receives a correct answer later.
    """

    errnos: tuple[frozenset[str | None], ...]
    status: int | None
    sense: Sense | None = None

    @property
    def words(self) -> tuple[str, ...]:
        """The command's allowed outcomes at the initiator.

        The midlayer retries a command that ended with BUSY, and the retry ends with GOOD. A status
        that the standard does not define becomes an error of the initiator.
        """
        if self.status is None:
            return (GOOD_WORD,)
        if self.status == CHECK_CONDITION:
            if self.sense is None:
                return ("CHECK CONDITION*",)
            return ("CHECK CONDITION " + "/".join(f"{number:02x}" for number in self.sense),)
        word = status_word(self.status)
        return (BUSY_WORD, TASK_SET_FULL, GOOD_WORD) if word == BUSY_WORD else (word, "host ERROR")


def refused(errno: str, sense: Sense) -> Outcome:
    """Return the outcome of an answer that is refused and ends the command with sense data."""
    return Outcome((frozenset({errno}),), CHECK_CONDITION, sense)


def unheard(errno: str) -> Outcome:
    """Return the outcome of an answer that is refused and leaves the command waiting."""
    return Outcome((frozenset({errno}),), None)


def taken(status: int, sense: Sense | None = None) -> Outcome:
    """Return the outcome of an answer that is accepted and ends the command with this status."""
    return Outcome((frozenset({None}),), status, sense)


@dataclass(frozen=True)
class Answer:
    """A wrong answer to one held command.

    ``state``, ``direction``: of the held command (the kernel sends PARSE only with parse_type CALL,
    and ALLOC_MEM once for each buffer). ``fields``: of the reply, by their names in scst_user.h.
    ``as_handle``: handle in the reply; None: the command's own. ``times``: number of replies.
    ``options``: options with which the device must be deployed.
    """

    what: str
    state: State
    outcome: Outcome
    fields: Mapping[str, Any] = field(default_factory=dict)
    direction: str = "write"
    as_handle: int | None = None
    times: int = 1
    options: Mapping[str, str | int] = field(default_factory=dict)
    breaks: bool = True
    ends_device: bool = False
    held: Held = Held.KEPT
    needs: Needs = SCST_USER

    @property
    def name(self) -> str:
        """``answer-STATE-WHAT``, the name in scenario ids."""
        return f"answer-{self.point.name}-{self.what}"

    @property
    def point(self) -> Point:
        """The point at which the answered command is held."""
        return Point(self.state, 1, self.direction)

    def expected(
        self, state: State, traits: TargetTraits, direction: str = "none",
    ) -> Expected:
        """Return the answer's ``outcome`` as the command's expected end."""
        return Expected(self.outcome.words, CLAUSE, grace=grace_in(state))

    def fire(self, context: FaultContext, deadline: float) -> None:
        """Answer the oldest held command.

        Raises TargetFailedError when the kernel returns an unexpected errno.
        """
        reply = give(context.deployment, deadline, fields=self.fields, as_handle=self.as_handle,
                     times=self.times)
        self.judge(list(reply["errors"]))

    def judge(self, errors: list[str | None]) -> None:
        """Raise TargetFailedError unless the kernel returned the expected errnos."""
        wanted = self.outcome.errnos
        if len(errors) != len(wanted) or any(
                got not in allowed for got, allowed in zip(errors, wanted, strict=True)):
            raise TargetFailedError(
                f"{self.name}: the kernel said {words(errors)}, expected "
                + ", ".join(" or ".join(sorted(map(word, each))) for each in wanted))

    def undo(self, context: FaultContext, deadline: float) -> None:
        """Answer the commands that are still held, correctly."""
        context.deployment.backend.release(deadline)


def give(
    subject: DeployedDevice, deadline: float, handle: int | None = None, *,
    fields: Mapping[str, Any] = MappingProxyType({}), as_handle: int | None = None,
    times: int = 1,
) -> Mapping[str, Any]:
    """Answer a held command (None: the oldest).

    Returns its ``handle``, and as ``errors`` the errno of each reply (None: accepted).
    """
    (reply,) = subject.backend.call(
        "answer", deadline=deadline, handle=handle, count=1, fields=dict(fields),
        as_handle=as_handle, times=times)
    answered: Mapping[str, Any] = reply
    return answered


def word(errno: str | None) -> str:
    """Return an errno's name; "yes" when the kernel accepted the answer."""
    return errno or "yes"


def words(errors: list[str | None]) -> str:
    """Return errnos by name, separated by commas."""
    return ", ".join(map(word, errors))


PARSED = {"parse_type": "CALL"}
"""Options with which the kernel sends PARSE to the backend."""

REMAPPED = {"ext_copy_remap_supported": 1}
"""Options with which the kernel sends segments of an EXTENDED COPY to the backend."""

UNCACHED = {"memory_reuse_type": "NONE"}
"""Options with which a READ has no buffer before the answer to EXEC brings one."""

AFTER = frozenset({"ESRCH", "EINVAL"})
"""Errnos of a second answer to a command: ESRCH once it is freed, EINVAL while it waits for
that."""

SENSE_ABORTED = "70000b00000000" + "0a" + "00000000" + "4400" + "00000000"
"""Fixed format sense data: ABORTED COMMAND, 44h/00h."""


def _exec(what: str, outcome: Outcome, **fields: Any) -> Answer:
    return Answer(what, State.EXEC, outcome, fields)


def _exec_read(what: str, outcome: Outcome, **fields: Any) -> Answer:
    return Answer(what, State.EXEC, outcome, fields, direction="read")


def _alloc(what: str, outcome: Outcome, **fields: Any) -> Answer:
    return Answer(what, State.ALLOC_MEM, outcome, fields)


def _parse(what: str, outcome: Outcome, **fields: Any) -> Answer:
    return Answer(what, State.PARSE, outcome, fields, options=PARSED)


def _remap(what: str, outcome: Outcome, **fields: Any) -> Answer:
    return Answer(what, State.EXT_COPY_REMAP, outcome, fields, options=REMAPPED)


ANSWERS: tuple[Answer, ...] = (
    # to any state
    *(Answer("unknown-handle", state, unheard("ESRCH"), as_handle=NO_HANDLE, options=options)
      for state, options in ((State.PARSE, PARSED), (State.ALLOC_MEM, {}), (State.EXEC, {}),
                             (State.EXT_COPY_REMAP, REMAPPED))),
    _parse("wrong-subcode", refused("EINVAL", LUN_NOT_SUPPORTED), subcode="EXEC"),
    _alloc("wrong-subcode", refused("EINVAL", LUN_NOT_SUPPORTED), subcode="EXEC"),
    _exec("wrong-subcode", refused("EINVAL", LUN_NOT_SUPPORTED), subcode="ALLOC_MEM"),
    _remap("wrong-subcode", refused("EINVAL", LUN_NOT_SUPPORTED), subcode="EXEC"),
    Answer("twice", State.EXEC, Outcome((frozenset({None}), AFTER), GOOD), times=2),
    # to EXEC
    _exec_read("resp-data-len-above-bufflen", refused("EINVAL", INTERNAL_FAILURE),
               resp_data_len=INT32_MAX),
    _exec_read("resp-data-len-negative", refused("EINVAL", INTERNAL_FAILURE),
               resp_data_len=-PAGE),
    _exec("resp-data-len-on-write", refused("EINVAL", INTERNAL_FAILURE), resp_data_len=512),
    _exec("reply-type-invalid", refused("EINVAL", INTERNAL_FAILURE), reply_type=9),
    _exec("write-same-to-a-write", refused("EINVAL", HARDWARE_ERROR),
          reply_type="DO_WRITE_SAME"),
    _exec_read("background-read", refused("EINVAL", INTERNAL_FAILURE), reply_type="BACKGROUND",
               resp_data_len=0),
    _exec("status-reserved", taken(0x3E), status=0x3E),
    _exec("sense-without-check-condition", taken(GOOD), sense=SENSE_ABORTED),
    _exec("check-condition-without-sense", taken(CHECK_CONDITION), status="CHECK_CONDITION"),
    _exec("sense-len-above-sense", taken(CHECK_CONDITION, INTERNAL_FAILURE),
          status="CHECK_CONDITION", sense=SENSE_ABORTED, sense_len=255),
    _exec("sense-unmapped", refused("EFAULT", INTERNAL_FAILURE), status="CHECK_CONDITION",
          sense_len=18, psense_buffer=UNMAPPED),
    *(Answer(what, State.EXEC, outcome, {"pbuf": pbuf}, direction="read", options=UNCACHED)
      for what, pbuf, outcome in (
          # The kernel reports the failed mapping to the initiator, but not to the backend.
          ("pbuf-unmapped", UNMAPPED, taken(CHECK_CONDITION, INTERNAL_FAILURE)),
          ("pbuf-zero", 0, taken(BUSY)))),
    # to ALLOC_MEM
    _alloc("pbuf-zero", taken(BUSY), pbuf=0),
    _alloc("pbuf-unmapped", refused("EFAULT", INTERNAL_FAILURE), pbuf=UNMAPPED),
    _alloc("pbuf-unaligned", refused("EINVAL", HARDWARE_ERROR), pbuf=PAGE + 512),
    # to PARSE
    _parse("bufflen-zero", refused("EINVAL", HARDWARE_ERROR), bufflen=0),
    _parse("bufflen-negative", refused("EINVAL", HARDWARE_ERROR), bufflen=-512),
    _parse("out-bufflen-negative", refused("EINVAL", HARDWARE_ERROR), out_bufflen=-1),
    _parse("data-len-negative", refused("EINVAL", HARDWARE_ERROR), data_len=-1),
    _parse("lba-negative", refused("EINVAL", HARDWARE_ERROR), lba=-1),
    _parse("data-direction-invalid", refused("EINVAL", HARDWARE_ERROR), data_direction=7),
    # More bytes than can be allocated: scst_set_busy, which may also return TASK SET FULL.
    _parse("bufflen-huge", taken(BUSY), bufflen=INT32_MAX),
    _parse("data-direction-wrong", taken(CHECK_CONDITION, INVALID_MESSAGE),
           data_direction="READ"),
    _parse("cdb-len-too-large", refused("EINVAL", HARDWARE_ERROR), cdb_len=255),
    _parse("cdb-len-zero", taken(GOOD), cdb_len=0),
    _parse("queue-type-invalid", refused("EINVAL", HARDWARE_ERROR), queue_type=9),
    _parse("op-flags-none", refused("EINVAL", HARDWARE_ERROR), op_flags=0),
    _parse("sense-unmapped", refused("EFAULT", INTERNAL_FAILURE), status="CHECK_CONDITION",
           sense_len=18, psense_buffer=UNMAPPED),
    # to EXT_COPY_REMAP: the rest of the segment, as (source LBA, destination LBA, bytes)
    _remap("check-condition", taken(CHECK_CONDITION, INTERNAL_FAILURE),
           status="CHECK_CONDITION", sense=SENSE_ABORTED),
    _remap("status-reserved", taken(0x3E), status=0x3E),
    _remap("sense-unmapped", refused("EFAULT", HARDWARE_ERROR), status="CHECK_CONDITION",
           sense_len=18, psense_buffer=UNMAPPED),
    _remap("left-unmapped", refused("EFAULT", HARDWARE_ERROR), remap_descriptors=UNMAPPED,
           remap_descriptors_len=DESCRIPTOR),
    _remap("left-not-whole", refused("EINVAL", HARDWARE_ERROR),
           remap_descriptors=[[0, 0, PAGE]], remap_descriptors_len=DESCRIPTOR - 1),
    _remap("left-too-many", refused("EOVERFLOW", HARDWARE_ERROR),
           remap_descriptors=[[0, 0, PAGE]], remap_descriptors_len=PAGE + DESCRIPTOR),
    _remap("left-zero", refused("EINVAL", HARDWARE_ERROR), remap_descriptors=[[0, 0, 0]]),
    _remap("left-negative", refused("EINVAL", HARDWARE_ERROR), remap_descriptors=[[0, 0, -PAGE]]),
    _remap("left-longer-than-segment", refused("EINVAL", HARDWARE_ERROR),
           remap_descriptors=[[0, 0, 1 << 20]]),
    # Segments that cannot be copied; the copy manager reports the error.
    _remap("left-no-blocks", taken(CHECK_CONDITION, HARDWARE_ERROR),
           remap_descriptors=[[0, 0, 100]]),
    _remap("left-beyond-the-end", taken(CHECK_CONDITION, COPY_ABORTED),
           remap_descriptors=[[1 << 40, 0, PAGE]]),
)


TWO_WRITES = Point(State.EXEC, 2)


@dataclass(frozen=True)
class AnswerForAnother:
    """An answer to the older of two held commands that bears the handle of the younger.

    The kernel cannot notice the mix-up, and ends the younger command. The younger command's own
    answer then comes too late (ESRCH, or EINVAL while the command waits to be freed); the older
    command is answered last.
    """

    name: str = "answer-exec-for-another"
    breaks: bool = True
    ends_device: bool = False
    held: Held = Held.KEPT
    needs: Needs = SCST_USER
    point: Point = TWO_WRITES
    options: Mapping[str, str | int] = field(default_factory=dict)

    def expected(
        self, state: State, traits: TargetTraits, direction: str = "none",
    ) -> Expected:
        """Return GOOD for every command."""
        return ends_well(state, CLAUSE)

    def fire(self, context: FaultContext, deadline: float) -> None:
        """Answer the older command with the younger's handle.

        Raises TargetFailedError when the kernel refuses that answer.
        """
        # An answer with an unknown handle leaves the command held, and returns the command's
        # handle.
        older, younger = (int(give(context.deployment, deadline, as_handle=NO_HANDLE)["handle"])
                          for _ in range(2))
        reply = list(give(context.deployment, deadline, older, as_handle=younger)["errors"])
        if reply != [None]:
            raise TargetFailedError(f"{self.name}: the kernel said {words(reply)}")

    def undo(self, context: FaultContext, deadline: float) -> None:
        """Answer the younger command, which the kernel has ended already, and the older one."""
        context.deployment.backend.release(deadline)


FOR_ANOTHER = AnswerForAnother()

ONE_WRITE = Point(State.EXEC, 1)
MANY = 1000
"""Upper bound of the commands that end while one is answered."""


@dataclass(frozen=True)
class FreedInBackground:
    """A WRITE that is answered BACKGROUND, freed, and only then completed: a correct sequence.

    The first answer gives the initiator its status, so ON_FREE_CMD comes while the backend still
    works. The kernel must not take the answer to ON_FREE_CMD for an answer to EXEC, although the
    command is marked as being in the background (dev_user_process_reply, scst_user.c) and SCST's
    own command no longer exists.
    """

    name: str = "answer-on-free-in-background"
    breaks: bool = True
    ends_device: bool = False
    held: Held = Held.KEPT
    needs: Needs = SCST_USER
    point: Point = ONE_WRITE
    options: Mapping[str, str | int] = field(
        default_factory=lambda: {"on_free_cmd_type": "CALL"})

    def expected(
        self, state: State, traits: TargetTraits, direction: str = "none",
    ) -> Expected:
        """Return GOOD for every command."""
        return ends_well(state, CLAUSE)

    def fire(self, context: FaultContext, deadline: float) -> None:
        """Answer BACKGROUND, then ON_FREE_CMD once it has come.

        Raises TargetFailedError when the kernel refuses either answer.
        """
        device = context.deployment
        device.backend.hold(str(State.ON_FREE_CMD), MANY, direction="write", deadline=deadline)
        began = give(device, deadline, fields={"reply_type": "BACKGROUND"})
        errors = list(began["errors"])
        if not wait_until(lambda: self._freed(device, deadline, int(began["handle"]), errors),
                          deadline):
            raise TargetFailedError(f"{self.name}: no ON_FREE_CMD came in {deadline:g} s")
        if errors != [None, None]:
            raise TargetFailedError(f"{self.name}: the kernel said {words(errors)}")

    def _freed(
        self, subject: DeployedDevice, deadline: float, handle: int, errors: list[str | None]
    ) -> bool:
        """Answer a command's ON_FREE_CMD if it has come; append the resulting errno to ``errors``.

        The field ``result`` distinguishes it from EXEC of the same handle, which has no such field.
        """
        try:
            errors += give(subject, deadline, handle, fields={"result": 0})["errors"]
        except TargetFailedError as error:
            if "no field result" not in str(error):
                raise
            return False
        return True

    def undo(self, context: FaultContext, deadline: float) -> None:
        """Complete the command."""
        context.deployment.backend.release(deadline)


FREED_IN_BACKGROUND = FreedInBackground()
