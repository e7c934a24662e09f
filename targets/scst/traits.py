# SPDX-License-Identifier: GPL-2.0-or-later
"""Traits of SCST with an scst_user backend."""

from __future__ import annotations

from inject.point import State
from inject.traits import (
    BackendGone,
    CommandTraits,
    DeviceChoice,
    DigestAnswers,
    FunctionTraits,
    LunTraits,
    NexusTraits,
    TargetTraits,
    TeardownCoverage,
    Transport,
    Waiting,
    WireTraits,
)
from results.target_facts import TargetFacts
from targets import storage, system
from targets.scst import operations
from targets.target import DIGESTS

CLEANER = "scst_usr_cleanupd"
"""Frees the commands of closed scst_user devices (scst/src/dev_handlers/scst_user.c)."""

CRC_ERROR = "scsi response status 0x02 0b/47/05"
"""PROTOCOL SERVICE CRC ERROR (RFC 7143 11.4.7.2)."""

UNANSWERED = frozenset({State.PARSE, State.ALLOC_MEM, State.EXEC})
"""States of commands that no part of SCST has answered."""

REMOVAL = Waiting(UNANSWERED, "scst_wait_for_tgt_devs, scst_lib.c: a LUN's removal waits for the "
                              "LUN's commands")
SUSPENSION = Waiting(UNANSWERED, "README of SCST, suspend: it waits for all commands")
END_OF_SESSION = Waiting(UNANSWERED, "scst_unregister_session, scst_targ.c: a session ends after "
                                     "its commands")

WAITS = {
    **dict.fromkeys(("lun-remove", "lun-delete", "lun-clear", "lun-replace"), REMOVAL),
    **dict.fromkeys(("suspend", "backend-flush-cache", "backend-set-options"), SUSPENSION),
    **dict.fromkeys(("session-delete", "target-delete"), END_OF_SESSION),
}
"""Observed in every such cell of the teardown matrix. A block of a device does not wait."""

TRAITS = TargetTraits(
    backend="scst_user",
    storage_handler="vdisk_blockio",
    storage=DeviceChoice("vdisk_blockio", {}),
    file_devices={},
    reference_handler="vdisk_fileio",
    transports=(Transport.ISCSI, Transport.LOOPBACK),
    operations=frozenset({*operations.OPERATIONS, *system.OPERATIONS, *storage.FAILURES}),
    in_kernel=True,
    waits=WAITS,
    backend_sees_cdbs=True,
    backend_carries_out_copies=True,  # ext_copy_remap_supported of scst_user
    command_timeout_option=None,
    backend_gone=BackendGone((), "dev_user_unjam_cmd, scst_user.c"),
    deploys_several=True,
    # PERIPHERAL DEVICE WRITE FAULT, UNRECOVERED READ ERROR (blockio_endio, scst_vdisk.c).
    disk_error_sense={"write": "03/03/00", "read": "03/11/00"},
    # A NOP-In is sent after 30 s and its answer awaited for 30 s (NopInInterval, NopInTimeout of
    # iscsi-scst's README).
    silent_session_ends=60.0,
    teardown_waits_for_data=True,  # observed
    functions=FunctionTraits(
        refused={},
        behind_commands={},
        terminates_others=False,
        points={
            State.QUEUED: {}, State.PARSE: {"parse_type": "CALL"}, State.ALLOC_MEM: {},
            State.EXEC: {}, State.ON_FREE_CMD: {"on_free_cmd_type": "CALL"},
        },
    ),
    nexus=NexusTraits(
        option_sets=({}, {"tas": 1}, {"tst": 1}, {"qerr": 1}, {"qerr": 1, "tas": 1}, {"qerr": 3},
                     {"qerr": 1, "tst": 1}),
        always_task_aborted=False,
        # "It's completed and it's OK to return its result" (scst_xmit_process_aborted_cmd,
        # scst_lib.c).
        aborted_may_be_good=True,
    ),
    luns=LunTraits(
        several=True,
        virtual_lun_0=False,
        # No unit attention where the message could be sent (scst_report_luns_changed_sess,
        # scst_lib.c).
        changes_by_message=True,
        removal_ends_sessions=False,
    ),
    commands=CommandTraits(
        takes_expected_length=False,
        refuses_read_of_no_blocks=True,
        # SCST allocates memory for the whole ALLOCATION LENGTH (sgv_check_allowed_mem, scst_mem.c),
        # and a device may use scst_max_dev_cmd_mem, by default 96 MiB of the guests' memory.
        busy_for_long_allocations=True,
        options={},
    ),
    wire=WireTraits(
        digest_session=dict.fromkeys(DIGESTS, "CRC32C,None"),
        # SCST (3.11.0-pre) does not answer a NOP-Out.
        digest_answers=DigestAnswers(("closed",), (CRC_ERROR,), {"data-nop": ()}),
        # The default of RspTimeout, 90 s, is longer than any bound of a teardown.
        silent_peer_session={"RspTimeout": 4, "NopInTimeout": 4},
        partial_write_changes_nothing=True,  # it begins to write when it has all data
        avoided_pdus=("empty-name", "empty-extended-cdb", "negative-read", "write-with-ahs",
                      "data-out-not-final", "short-read"),
        reproducers=frozenset({
            "nameless", "empty-extended-cdb", "pending-write-with-ahs", "data-out-not-final",
            "short-read", "negative-read"}),
    ),
    teardown=TeardownCoverage.MATRIX,
    report=TargetFacts(cleaner=CLEANER, long_names=(CLEANER, "scst_usr_released")),
)
