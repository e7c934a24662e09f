"""Target traits: what differs between targets, as data that each target fills in completely.

No field has a default: mypy names the field that a new target forgot. A target's values stand in
``targets/NAME/traits.py``, each with its source. A trait is a capability or a limit of the target;
code outside ``targets/`` decides by these, and never by a target's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from inject.point import State
from results.target_facts import TargetFacts

Options = Mapping[str, str | int]
"""Options of a device (targets.target.Device.options), or keys of a session."""


class Transport(StrEnum):
    """How the initiator reaches the target: over iSCSI, or the target's own loopback."""

    ISCSI = "iscsi"
    LOOPBACK = "loopback"


class Response(StrEnum):
    """Responses to task management functions (RFC 7143 11.6.1), as libiscsi names them."""

    COMPLETE = "FUNC_COMPLETE"
    NO_TASK = "TASK_DOES_NOT_EXIST"
    NO_LUN = "LUN_DOES_NOT_EXIST"
    NOT_SUPPORTED = "TMF_NOT_SUPPORTED"
    REJECTED = "FUNC_REJECTED"


class TeardownCoverage(StrEnum):
    """Which teardown scenarios a target has."""

    MATRIX = "matrix"  # every state of an scst_user command x mechanism x device options
    MECHANISMS = "mechanisms"  # each applicable mechanism, with WRITEs held in EXEC
    NONE = "none"


@dataclass(frozen=True)
class DeviceChoice:
    """What to deploy to get a kind of device.

    ``handler``: targets.target.Device.handler, None for the target's default. ``options``:
    Device.options.
    """

    handler: str | None
    options: Options


@dataclass(frozen=True)
class FunctionTraits:
    """Task management functions (SAM-6 clause 7), by their names in RFC 7143 11.5.1.

    ``refused``: functions that the target does not carry out, and the response that says so (RFC
    7143 11.6.1 allows it). ``behind_commands``: functions that end no command which the backing
    store has, but wait until each has ended with its own status (SAM-6 7.2 lets a command be
    completed first), and their response then. ``terminates_others``: whether a LOGICAL UNIT RESET
    terminates the other functions in progress without an answer, as SAM-6 6.3.3 has it.
    ``points``: states in which a function finds a command that is held, with the device options
    that bring a command there; empty where no scenario of one function at a point is run.
    """

    refused: Mapping[str, Response]
    behind_commands: Mapping[str, Response]
    terminates_others: bool
    points: Mapping[State, Options]


@dataclass(frozen=True)
class NexusTraits:
    """How commands of two initiators end when one ends commands, in results.checkers.outcome's
    words.

    ``option_sets``: sets of device options that decide how commands end (TAS, TST, QERR; SPC-6
    7.5.11): a scenario each; the empty set is the default device. ``always_task_aborted``: whether
    the commands of others end with TASK ABORTED whatever TAS is. ``aborted_may_be_good``: whether
    a command that QErr aborts, and that was executed all the same, may keep its status.
    """

    option_sets: tuple[Mapping[str, int], ...]
    always_task_aborted: bool
    aborted_may_be_good: bool


@dataclass(frozen=True)
class LunTraits:
    """LUNs, and their removal under a session.

    ``several``: whether a target can have several LUNs (Device.siblings). ``virtual_lun_0``:
    whether there is a small, write-protected LUN 0 of the target's own where none is mapped.
    ``changes_by_message``: whether REPORTED LUNS DATA HAS CHANGED comes by an Asynchronous Message
    (RFC 7143 11.9.1) in place of a unit attention. ``removal_ends_sessions``: whether sessions are
    ended before a LUN can be removed.
    """

    several: bool
    virtual_lun_0: bool
    changes_by_message: bool
    removal_ends_sessions: bool


@dataclass(frozen=True)
class CommandTraits:
    """Where the end of a single command differs from the usual one (suites/commands).

    ``takes_expected_length``: whether the initiator's Expected Data Transfer Length is taken for
    the command's own: no residual then. ``refuses_read_of_no_blocks``: whether a READ of no blocks
    with an expected length is refused. ``busy_for_long_allocations``: whether an ALLOCATION LENGTH
    beyond the target's memory limit is answered with BUSY. ``options``: device options for these
    commands.
    """

    takes_expected_length: bool
    refuses_read_of_no_blocks: bool
    busy_for_long_allocations: bool
    options: Options


@dataclass(frozen=True)
class DigestAnswers:
    """What a target answers to a wrong digest, in suites.transport.digests' words.

    ``header``, ``data``: to a wrong header digest and a wrong data digest. ``exceptions``: by the
    case's name (fixtures.initiator.raw.digests_guest).
    """

    header: tuple[str, ...]
    data: tuple[str, ...]
    exceptions: Mapping[str, tuple[str, ...]]

    def to(self, case: str) -> tuple[str, ...]:
        """Return the answers to a case, "header-..." or "data-..."."""
        usual = self.header if case.startswith("header-") else self.data
        return self.exceptions.get(case, usual)


@dataclass(frozen=True)
class WireTraits:
    """iSCSI PDUs, digests and broken sessions.

    ``digest_session``: session keys with which the target takes digests. ``digest_answers``: what
    it answers to a wrong one. ``silent_peer_session``: session keys with which it gives up a peer
    that falls silent in the middle of a transfer within a teardown's bound.
    ``partial_write_keeps``: whether a WRITE whose data have not all come has written nothing (no
    standard wants it; SBC-4 4.7). ``avoided_pdus``: kinds of malformed PDUs that a campaign leaves
    out because the target is known to crash (fixtures.initiator.raw.generate). ``reproducers``: PDU
    sequences, by name in suites.transport, that are known to crash it.
    """

    digest_session: Mapping[str, str]
    digest_answers: DigestAnswers
    silent_peer_session: Mapping[str, int]
    partial_write_keeps: bool
    avoided_pdus: tuple[str, ...]
    reproducers: frozenset[str]


@dataclass(frozen=True)
class TargetTraits:
    """What differs between targets.

    Deployment

    ``backend``: protocol between kernel and user-space backend: "scst_user", "tcmu", "nbd".
    ``storage_handler``: handler of a device that is a block device (targets.storage), by the name
    that faults' needs use; ``storage``: how such a device is deployed. ``file_devices``: options of
    further devices that no backend serves, by the variant in scenario ids. ``reference_handler``:
    handler in the kernel whose answers those of our backend are compared with, None for none.
    ``transports``: how an initiator reaches the target. ``operations``: names of all operations
    that a deployment can begin (Deployment.begin). ``in_kernel``: whether the target runs in the
    kernel, and allocates memory there from caches of its own; False: it is a process.

    Backend

    ``backend_sees_cdbs``: whether the backend is given CDBs, so that it can hold commands by their
    operation code; False: direction and length only. ``backend_carries_out_copies``: whether
    segments of EXTENDED COPY can be handed to the backend. ``command_timeout_option``: device
    option that sets after how many seconds the kernel gives up a command which the backend does not
    answer (0: never); None: it never does. ``backend_gone``: outcomes of a command whose backend
    has gone, beside those of inject.outcomes. ``disk_error_sense``: sense key/ASC/ASCQ of a command
    whose I/O the disk below ended with an error, by direction ("read", "write").

    Timers, in seconds

    ``silent_session_ends``: the target ends a session from which nothing comes after as long; None:
    never. ``teardown_waits_for_data``: whether a teardown waits for a WRITE whose data have not all
    come, for as long as its session is there.

    ``teardown``: which teardown scenarios there are. ``report``: names that a report needs.
    """

    backend: str
    storage_handler: str
    storage: DeviceChoice
    file_devices: Mapping[str, Options]
    reference_handler: str | None
    transports: tuple[Transport, ...]
    operations: frozenset[str]
    in_kernel: bool
    backend_sees_cdbs: bool
    backend_carries_out_copies: bool
    command_timeout_option: str | None
    backend_gone: tuple[str, ...]
    disk_error_sense: Mapping[str, str]
    silent_session_ends: float | None
    teardown_waits_for_data: bool
    functions: FunctionTraits
    nexus: NexusTraits
    luns: LunTraits
    commands: CommandTraits
    wire: WireTraits
    teardown: TeardownCoverage
    report: TargetFacts

    @property
    def serves_scst_user(self) -> bool:
        """Whether the backend speaks scst_user, whose states and options the matrices have."""
        return self.backend == "scst_user"

    def command_timeout(self, seconds: int) -> dict[str, str | int]:
        """Return the device options with which the kernel gives up an unanswered command after so
        many seconds; empty where it never does."""
        return {self.command_timeout_option: seconds} if self.command_timeout_option else {}
