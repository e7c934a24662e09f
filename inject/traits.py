# SPDX-License-Identifier: GPL-2.0-or-later
"""Target traits: the differences between targets, as data that each target fills in completely.

No field has a default: mypy reports the field that a new target forgot. A target's values are in
``targets/NAME/traits.py``, each with its source. A trait is a capability or a limit of the target;
code outside ``targets/`` decides by traits, and never by a target's name.
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
    """The initiator's transport to the target: iSCSI, or the target's own loopback."""

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
    """The set of teardown scenarios of a target."""

    MATRIX = "matrix"  # every state of an scst_user command x mechanism x device options
    MECHANISMS = "mechanisms"  # each applicable mechanism, with WRITEs held in EXEC
    NONE = "none"


@dataclass(frozen=True)
class Waiting:
    """The held commands that an operation waits for, by their ``states``.

    ``source``: the documentation or the code.
    """

    states: frozenset[State]
    source: str


@dataclass(frozen=True)
class DeviceChoice:
    """The deployment of one kind of device.

    ``handler``: targets.target.Device.handler, None for the target's default. ``options``:
    Device.options.
    """

    handler: str | None
    options: Options


@dataclass(frozen=True)
class BackendGone:
    """The ends of commands whose backend has gone, by the target's own source.

    ``outcomes``: outcomes in addition to those that every target may return
    (inject.outcomes.loses_backend). ``clause``: the function that ends the commands.
    """

    outcomes: tuple[str, ...]
    clause: str


@dataclass(frozen=True)
class FunctionTraits:
    """Task management functions, by their names in RFC 7143 11.5.1.

    ``refused``: functions that the target does not carry out, with the refusing response (RFC 7143
    11.6.1 allows it). ``behind_commands``: functions that abort no command of the backing store,
    but wait until each has ended with its own status (RFC 7143 11.5.1 lets a command be answered
    before the function), with their response then. ``terminates_others``: whether a LOGICAL UNIT
    RESET terminates the other functions in progress without an answer, as in SAM-5 7.11.
    ``points``: states in which a function finds a held command, with the device options that bring
    a command there; empty where no scenario of one function at a point is run.
    """

    refused: Mapping[str, Response]
    behind_commands: Mapping[str, Response]
    terminates_others: bool
    points: Mapping[State, Options]


@dataclass(frozen=True)
class NexusTraits:
    """Ends of two initiators' commands when one of them ends commands.

    ``option_sets``: sets of device options that determine how commands end (TAS, TST, QERR; SPC-4
    7.5.8), one scenario each; the empty set is the default device. ``always_task_aborted``:
    whether the commands of others end with TASK ABORTED regardless of TAS. ``aborted_may_be_good``:
    whether a command that QErr has aborted may return its own status, because it had been executed.
    """

    option_sets: tuple[Mapping[str, int], ...]
    always_task_aborted: bool
    aborted_may_be_good: bool


@dataclass(frozen=True)
class LunTraits:
    """LUNs, and their removal under a session.

    ``several``: whether a target can have several LUNs (Device.siblings). ``virtual_lun_0``:
    whether there is a small, write-protected, virtual LUN 0 where none is mapped.
    ``changes_by_message``: whether REPORTED LUNS DATA HAS CHANGED is reported by an Asynchronous
    Message (RFC 7143 11.9.1) instead of a unit attention. ``removal_ends_sessions``: whether
    sessions must end before a LUN can be removed.
    """

    several: bool
    virtual_lun_0: bool
    changes_by_message: bool
    removal_ends_sessions: bool


@dataclass(frozen=True)
class CommandTraits:
    """Commands whose end differs from the usual one (suites/commands).

    ``takes_expected_length``: whether the target uses the initiator's Expected Data Transfer Length
    as the command's own length: no residual then. ``refuses_read_of_no_blocks``: whether a READ of
    no blocks with an expected length is refused. ``busy_for_long_allocations``: whether an
    ALLOCATION LENGTH beyond the target's memory limit is answered with BUSY. ``options``: device
    options for these commands.
    """

    takes_expected_length: bool
    refuses_read_of_no_blocks: bool
    busy_for_long_allocations: bool
    options: Options


@dataclass(frozen=True)
class DigestAnswers:
    """A target's answers to a wrong digest, in suites.transport.digests' words.

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

    ``digest_session``: session keys with which the target accepts digests. ``digest_answers``: its
    answers to a wrong digest. ``silent_peer_session``: session keys with which it gives up a peer
    that falls silent during a transfer, within a teardown's bound.
    ``partial_write_changes_nothing``: whether an incomplete WRITE leaves the medium unchanged (no
    standard requires it; SBC-4 4.14). ``avoided_pdus``: kinds of malformed PDUs that a campaign
    omits because they are known to crash the target (fixtures.initiator.raw.generate).
    ``reproducers``: PDU sequences, by name in suites.transport, that are known to crash it.
    """

    digest_session: Mapping[str, str]
    digest_answers: DigestAnswers
    silent_peer_session: Mapping[str, int]
    partial_write_changes_nothing: bool
    avoided_pdus: tuple[str, ...]
    reproducers: frozenset[str]


@dataclass(frozen=True)
class TargetTraits:
    """The differences between targets.

    Deployment

    ``backend``: protocol between kernel and user-space backend: "scst_user", "tcmu", "nbd".
    ``storage_handler``: handler of a device that is a block device (targets.storage), by the name
    in faults' needs; ``storage``: the deployment of such a device. ``file_devices``: options of
    further devices without a backend, by the variant in scenario ids. ``reference_handler``:
    in-kernel handler whose answers are compared with those of our backend, None for none.
    ``transports``: transports from an initiator to the target. ``operations``: names of all
    operations that a deployment can begin (Deployment.begin). ``in_kernel``: whether the target
    runs in the kernel, and allocates memory there from caches of its own; False: it is a process.
    ``deploys_several``: whether several devices can be deployed at a time, each with a target of
    its own.

    ``waits``: by an operation's name, the held commands before whose release it must not end.

    Backend

    ``backend_sees_cdbs``: whether the backend receives CDBs, so that it can hold commands by their
    operation code; False: direction and length only. ``backend_carries_out_copies``: whether
    segments of EXTENDED COPY can be passed to the backend. ``command_timeout_option``: device
    option that sets the number of seconds after which the kernel gives up a command that the
    backend does not answer (0: never); None: it never does. ``backend_gone``: the ends of
    commands whose backend has gone. ``disk_error_sense``: sense key/ASC/ASCQ of a command whose I/O
    the disk below ended with an error, by direction ("read", "write").

    Timers, in seconds

    ``silent_session_ends``: time without a PDU after which the target ends a session, as deployed
    here; longer than every partition of inject.partition but OUTLASTING; None: never.
    ``teardown_waits_for_data``: whether a teardown waits for a WRITE whose data have not all come,
    for as long as its session exists.

    ``teardown``: the set of teardown scenarios. ``report``: names for reports.
    """

    backend: str
    storage_handler: str
    storage: DeviceChoice
    file_devices: Mapping[str, Options]
    reference_handler: str | None
    transports: tuple[Transport, ...]
    operations: frozenset[str]
    in_kernel: bool
    waits: Mapping[str, Waiting]
    backend_sees_cdbs: bool
    backend_carries_out_copies: bool
    command_timeout_option: str | None
    backend_gone: BackendGone
    deploys_several: bool
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
        """Whether the backend uses scst_user, whose states and options the matrices contain."""
        return self.backend == "scst_user"

    def waits_in(self, operation: str, state: State) -> str:
        """Return the source by which an operation waits for commands in a state, "" for none."""
        found = self.waits.get(operation)
        return found.source if found and state in found.states else ""

    def command_timeout(self, seconds: int) -> dict[str, str | int]:
        """Return the options for the kernel to give up a command after ``seconds``.

        Empty where the kernel never does.
        """
        return {self.command_timeout_option: seconds} if self.command_timeout_option else {}
