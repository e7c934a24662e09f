# SPDX-License-Identifier: GPL-2.0-or-later
"""The binary interface of scst_user: against the header of an installation, and in itself."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from targets.scst import abi

INCLUDE = "usr/local/include/scst"

STRUCTURES: dict[str, type[ctypes.Structure] | type[ctypes.Union]] = {
    "struct scst_user_opt": abi.Opt,
    "struct scst_user_dev_desc": abi.DevDesc,
    "struct scst_user_sess": abi.Sess,
    "struct scst_user_scsi_cmd_parse": abi.CmdParse,
    "struct scst_user_scsi_cmd_alloc_mem": abi.CmdAllocMem,
    "struct scst_user_scsi_cmd_exec": abi.CmdExec,
    "struct scst_user_scsi_on_free_cmd": abi.OnFreeCmd,
    "struct scst_user_on_cached_mem_free": abi.OnCachedMemFree,
    "struct scst_user_tm": abi.Tm,
    "struct scst_user_ext_copy_data_descr": abi.ExtCopyDataDescr,
    "struct scst_user_ext_copy_remap": abi.ExtCopyRemap,
    "struct scst_user_get_cmd": abi.GetCmd,
    "struct scst_user_scsi_cmd_reply_parse": abi.ReplyParse,
    "struct scst_user_scsi_cmd_reply_alloc_mem": abi.ReplyAllocMem,
    "struct scst_user_scsi_cmd_reply_exec": abi.ReplyExec,
    "struct scst_user_ext_copy_reply_remap": abi.ReplyRemap,
    "struct scst_user_reply_cmd": abi.ReplyCmd,
    "struct scst_user_get_ext_cdb": abi.GetExtCdb,
    "struct scst_user_prealloc_buffer_in": abi.PreallocBufferIn,
    "struct scst_user_prealloc_buffer_out": abi.PreallocBufferOut,
    "union scst_user_prealloc_buffer": abi.PreallocBuffer,
    "struct scst_user_get_multi": abi.GetMulti,
    "struct scst_user_data_descriptor": abi.DataDescriptor,
}

REQUESTS = (
    "REGISTER_DEVICE", "UNREGISTER_DEVICE", "SET_OPTIONS", "GET_OPTIONS", "REPLY_AND_GET_CMD",
    "REPLY_CMD", "FLUSH_CACHE", "DEVICE_CAPACITY_CHANGED", "GET_EXTENDED_CDB", "PREALLOC_BUFFER",
    "REPLY_AND_GET_MULTI",
)

CONSTANTS = {
    **{f"SCST_USER_{name}": getattr(abi, name) for name in REQUESTS},
    **{f"SCST_USER_{code.name}": int(code) for code in abi.Subcode},
    **{f"UCMD_STATE_{state.name}": int(state) for state in abi.State},
    **{f"SCST_USER_PARSE_{kind.name}": int(kind) for kind in abi.ParseType},
    **{f"SCST_USER_ON_FREE_CMD_{kind.name}": int(kind) for kind in abi.OnFreeCmdType},
    **{f"SCST_USER_MEM_{'NO_REUSE' if kind.name == 'NONE' else 'REUSE_' + kind.name}": int(kind)
       for kind in abi.MemoryReuseType},
    **{f"SCST_DATA_{way.name}": int(way) for way in abi.DataDirection},
    **{f"SCST_EXEC_REPLY_{reply.name}": int(reply) for reply in abi.ExecReply},
    **{name: getattr(abi, name) for name in (
        "SCST_MAX_NAME", "SCST_MAX_EXTERNAL_NAME", "SCST_MAX_CDB_SIZE")},
    **{f"SCST_{name}": getattr(abi, name) for name in (
        "TRANSFER_LEN_TYPE_FIXED", "UNKNOWN_LENGTH", "INFO_VALID", "LBA_NOT_VALID",
        "WRITE_MEDIUM")},
    **{f"SCST_USER_PARTIAL_TRANSFERS_{kind.name}": int(kind) for kind in abi.PartialTransfersType},
    **{f"SCST_{word}_{kind.value}_{kind.name}": int(kind)
       for word, kinds in (("TST", abi.Tst), ("QUEUE_ALG", abi.QueueAlg), ("QERR", abi.Qerr),
                           ("D_SENSE", abi.DSense)) for kind in kinds},
    **{f"SCST_{function.name}": int(function) for function in abi.TmFunction},
    **{f"TYPE_{kind.name}": int(kind) for kind in abi.DeviceType
       if kind is not abi.DeviceType.RAID},  # not in the C library's scsi.h
}


def fields(structure: type[ctypes.Structure] | type[ctypes.Union]) -> Iterator[str]:
    """Yield the names of a structure's fields, including those of anonymous members."""
    for name, kind, *_ in structure._fields_:
        if name in getattr(structure, "_anonymous_", ()):
            assert issubclass(kind, ctypes.Structure | ctypes.Union)
            yield from fields(kind)
        else:
            yield name


def statements() -> dict[str, int]:
    """Return the C expressions to compare, with the values that the Python side has."""
    expected = dict(CONSTANTS)
    for name, structure in STRUCTURES.items():
        expected[f"sizeof({name})"] = ctypes.sizeof(structure)
        for field in fields(structure):
            expected[f"offsetof({name}, {field})"] = getattr(structure, field).offset
            if ctypes.sizeof(structure) and field != "cmds":  # a flexible array has no size
                expected[f"sizeof((({name} *)0)->{field})"] = getattr(structure, field).size
    return expected


def test_header(tmp_path: Path) -> None:
    prefix, compiler = os.environ.get("SCST_PREFIX"), shutil.which("gcc")
    if prefix is None:
        pytest.skip("SCST_PREFIX is not set")
    if compiler is None:
        pytest.skip("no gcc")
    expected = statements()
    prints = "".join(f'printf("%llu\\n", (unsigned long long)({what}));' for what in expected)
    source = tmp_path / "abi.c"
    source.write_text(
        "#include <stddef.h>\n#include <stdint.h>\n#include <stdio.h>\n#include <sys/ioctl.h>\n"
        "#include <scsi/scsi.h>\n"
        f"#include <scst_user.h>\nint main(void) {{ {prints} return 0; }}\n")
    subprocess.run([compiler, "-w", f"-I{Path(prefix) / INCLUDE}", source, "-o", tmp_path / "abi"],
                   check=True)
    printed = subprocess.run([tmp_path / "abi"], capture_output=True, text=True, check=True)
    found = dict(zip(expected, map(int, printed.stdout.split()), strict=True))
    assert found == expected


def test_handshake_fits_the_room() -> None:
    # The kernel copies sizeof(DEV_USER_VERSION) bytes: a version name and two sums.
    assert len("3.11.0-pre") + 80 + 1 <= abi.STRING_ROOM


def test_packing_agrees_with_ctypes() -> None:
    command = abi.GetCmd(cmd_h=7, subcode=int(abi.Subcode.EXEC))
    command.exec_cmd.cdb[:] = range(16)
    command.exec_cmd.lba = -1
    command.exec_cmd.pbuf = 1 << 40
    command.exec_cmd.data_direction = 2
    body = abi.GetCmd.preply.offset
    layout = abi.packing(
        (0, abi.GetCmd, ("cmd_h", "subcode")),
        (body, abi.CmdExec, ("cdb", "lba", "pbuf", "data_direction")))
    assert layout.unpack_from(bytes(command)) == (
        7, abi.Subcode.EXEC, bytes(range(16)), -1, 1 << 40, 2)


def test_packing_looks_through_anonymous_unions() -> None:
    reply = abi.ReplyCmd()
    body = abi.ReplyCmd.exec_reply.offset
    layout = abi.packing((body, abi.ReplyExec, ("status", "sense_len", "psense_buffer")))
    layout.pack_into(reply, 0, 2, 18, 1 << 33)
    assert reply.exec_reply.status == 2
    assert reply.exec_reply.sense_len == 18
    assert reply.exec_reply.psense_buffer == 1 << 33
