# SPDX-License-Identifier: GPL-2.0-or-later
"""Traits of LIO with a TCMU backstore."""

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
from targets.lio import operations

TRAITS = TargetTraits(
    backend="tcmu",
    storage_handler="iblock",
    storage=DeviceChoice("iblock", {}),
    file_devices={},
    reference_handler=None,
    transports=(Transport.ISCSI, Transport.LOOPBACK),
    operations=frozenset({*operations.OPERATIONS, *system.OPERATIONS, *storage.FAILURES}),
    in_kernel=True,
    waits={"lun-remove": Waiting(
        frozenset({State.EXEC}),
        "transport_clear_lun_ref, target_core_transport.c: it waits for the LUN's commands")},
    backend_sees_cdbs=True,
    backend_carries_out_copies=False,  # LIO carries EXTENDED COPY out itself
    command_timeout_option="cmd_time_out",
    # LOGICAL UNIT COMMUNICATION FAILURE.
    backend_gone=BackendGone(("CHECK CONDITION 02/08/00",),
                             "tcmu_check_expired_ring_cmd, target_core_user.c"),
    deploys_several=True,
    # LOGICAL UNIT COMMUNICATION FAILURE for any error of the disk (iblock_complete_cmd,
    # target_core_iblock.c; target_complete_cmd and sense_detail_table, target_core_transport.c: NOT
    # READY, so that initiators try again).
    disk_error_sense={"read": "02/08/00", "write": "02/08/00"},
    # A NOP-In is sent after 15 s and its answer awaited for 30 s (NA_NOPIN_TIMEOUT,
    # NA_NOPIN_RESPONSE_TIMEOUT, iscsi_target_core.h).
    silent_session_ends=45.0,
    teardown_waits_for_data=False,  # it gives the WRITE up after 3 s (NA_DATAOUT_TIMEOUT)
    functions=FunctionTraits(
        # target_tmr_work (target_core_transport.c) and iscsit_tmr_task_warm_reset
        # (iscsi_target_tmr.c, for initiators that no ACL names).
        refused={"ABORT_TASK_SET": Response.NOT_SUPPORTED, "CLEAR_TASK_SET": Response.NOT_SUPPORTED,
                 "TARGET_WARM_RESET": Response.REJECTED, "TARGET_COLD_RESET": Response.REJECTED},
        behind_commands={},
        terminates_others=True,  # core_tmr_drain_tmr_list, target_core_tmr.c
        points={State.EXEC: {}},
    ),
    nexus=NexusTraits(
        option_sets=({},),
        # DA_EMULATE_TAS is 1 (target_core_base.h), and no attribute of a TCMU backstore changes it
        # (passthrough_attrib_attrs, target_core_configfs.c).
        always_task_aborted=True,
        aborted_may_be_good=False,
    ),
    luns=LunTraits(
        several=False,
        virtual_lun_0=True,  # core_tpg_register, transport_lookup_cmd_lun
        changes_by_message=False,
        removal_ends_sessions=False,
    ),
    commands=CommandTraits(
        # TCMU does not read the CDB's length (passthrough_parse_cdb, target_core_device.c), and a
        # backend can report a shorter length only for a READ or an INQUIRY, and not a length of 0
        # (TCMU_UFLAG_READ_LEN, tcmu_handle_completion).
        takes_expected_length=True,
        refuses_read_of_no_blocks=False,
        busy_for_long_allocations=False,
        options={},
    ),
    wire=WireTraits(
        digest_session={},
        # LIO (6.1) offers ErrorRecoveryLevel 0 only, as long as its TPG's parameter is not changed.
        digest_answers=DigestAnswers(("closed",), ("closed",), {}),
        silent_peer_session={},  # 3 s by default (NA_DATAOUT_TIMEOUT, iscsi_target_core.h)
        partial_write_changes_nothing=True,  # it begins to write when it has all data
        avoided_pdus=("data-without-write", "queued-function", "gibibyte", "rejected-write",
                      "empty-extended-cdb", "text-of-a-task"),
        reproducers=frozenset({
            "read-with-data", "read-with-some-data", "abort-misnumbered", "reset-no-lun",
            "empty-extended-cdb", "text-of-a-write", "rejected-write", "negative-read"}),
    ),
    teardown=TeardownCoverage.NONE,
    report=TargetFacts(command_modules=(
        "target_core_mod", "target_core_user", "iscsi_target_mod", "tcm_loop")),
)
