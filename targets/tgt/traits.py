# SPDX-License-Identifier: GPL-2.0-or-later
"""Traits of tgt with a network block device behind its LUN."""

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
    Response,
    TargetTraits,
    TeardownCoverage,
    Transport,
    Waiting,
    WireTraits,
)
from results.target_facts import TargetFacts
from targets import storage, system
from targets.target import DIGESTS
from targets.tgt import operations

TRAITS = TargetTraits(
    backend="nbd",
    storage_handler="block",
    storage=DeviceChoice(None, {"backing": "block"}),
    file_devices={"file": {"backing": "file"}},
    reference_handler=None,
    transports=(Transport.ISCSI,),
    operations=frozenset({*operations.OPERATIONS, *system.OPERATIONS, *storage.FAILURES}),
    in_kernel=False,
    waits={"lun-remove": Waiting(
        frozenset({State.EXEC}),
        "tgt_device_destroy, usr/target.c: refused while the LUN has commands")},
    backend_sees_cdbs=False,  # READs and WRITEs of the network block device
    backend_carries_out_copies=False,
    command_timeout_option=None,
    # UNRECOVERED READ ERROR, for WRITEs too, as for any I/O error of the disk.
    backend_gone=BackendGone(("CHECK CONDITION 03/11/00",), "set_medium_error, usr/bs_rdwr.c"),
    deploys_several=False,
    disk_error_sense={"read": "03/11/00", "write": "03/11/00"},
    silent_session_ends=None,  # tgt sends no NOP-In unless it is configured to
    teardown_waits_for_data=False,  # its backing store does not have the WRITE yet
    functions=FunctionTraits(
        # iscsi_tm_execute (usr/iscsi/iscsid.c).
        refused={"CLEAR_TASK_SET": Response.NOT_SUPPORTED,
                 "TARGET_WARM_RESET": Response.NOT_SUPPORTED,
                 "TARGET_COLD_RESET": Response.NOT_SUPPORTED},
        # abort_cmd and target_cmd_done, usr/target.c.
        behind_commands={"ABORT_TASK": Response.NO_TASK, "ABORT_TASK_SET": Response.COMPLETE,
                         "LUN_RESET": Response.COMPLETE},
        terminates_others=False,
        points={},  # functions wait behind the commands: the storm and session scenarios cover that
    ),
    nexus=NexusTraits(
        option_sets=({},), always_task_aborted=False, aborted_may_be_good=False),
    luns=LunTraits(
        several=False,
        virtual_lun_0=False,
        changes_by_message=False,
        # tgtd refuses to delete a LUN in use, so sessions are ended first, as tgt-admin does
        # (targets.tgt.operations).
        removal_ends_sessions=True,
    ),
    commands=CommandTraits(
        takes_expected_length=False,
        refuses_read_of_no_blocks=False,
        busy_for_long_allocations=False,
        # tgt's own VERIFY fails on a device that is open with O_DIRECT, such as the network block
        # device: its buffer is not aligned, and it reports MEDIUM ERROR (bs_rdwr_request,
        # usr/bs_rdwr.c).
        options={"backing": "file"},
    ),
    wire=WireTraits(
        digest_session=dict.fromkeys(DIGESTS, "CRC32C,None"),
        # tgt (1.0.85) offers ErrorRecoveryLevel 0 only.
        digest_answers=DigestAnswers(("closed",), ("closed",), {}),
        silent_peer_session={},
        partial_write_changes_nothing=True,  # it begins to write when it has all data
        avoided_pdus=("empty-extended-cdb", "huge-length", "stray-ahs", "stray-data",
                      "excess-data", "not-simple", "wild-data-out"),
        reproducers=frozenset({
            "empty-extended-cdb", "negative-read", "stray-ahs", "stray-data", "excess-data",
            "not-simple", "wild-data-out"}),
    ),
    teardown=TeardownCoverage.MECHANISMS,
    report=TargetFacts(),
)
