# SPDX-License-Identifier: GPL-2.0-or-later
"""The binary interface of /dev/scst_user, as declared in include/scst_user.h of SCST.

Runs in the guest and on the host; stdlib only. Names are the header's. The ctypes structures are
the only definition of the layout: formats for ``struct`` are derived from them, and a selftest
compares them with the header of an installation.
"""

from __future__ import annotations

import ctypes
import struct
from ctypes import (
    c_char,
    c_int16,
    c_int32,
    c_int64,
    c_uint8,
    c_uint16,
    c_uint32,
    c_uint64,
)
from enum import IntEnum

DEVICE_NODE = "/dev/scst_user"

SCST_MAX_NAME = 50
SCST_MAX_EXTERNAL_NAME = 256
SCST_MAX_CDB_SIZE = 16

LICENSE = "GPL"
"""One of the licenses that dev_user_check_version (scst_user.c) accepts."""

STRING_ROOM = 128
"""Bytes of the buffers for ``version_str`` and ``license_str``: the kernel copies 91 from both."""

NAME_MAX = SCST_MAX_NAME - 2
"""Longest device name that SCST does not truncate (dev_user_register_dev, scst_user.c)."""


class DeviceType(IntEnum):
    """TYPE_* of scsi/scsi.h and scst_const.h: peripheral device types (SPC-4 6.6.2).

    For any other type SCST has no parser: it leaves the CDB to the backend.
    """

    DISK = 0
    TAPE = 1
    PROCESSOR = 3
    ROM = 5
    MOD = 7
    MEDIUM_CHANGER = 8
    RAID = 12


class ParseType(IntEnum):
    """SCST_USER_PARSE_*: the parser of a CDB, in the kernel or in the backend."""

    STANDARD = 0
    CALL = 1
    EXCEPTION = 2


class OnFreeCmdType(IntEnum):
    """SCST_USER_ON_FREE_CMD_*: whether the kernel reports the end of a command."""

    CALL = 0
    IGNORE = 1


class MemoryReuseType(IntEnum):
    """SCST_USER_MEM_*: the commands whose buffers the kernel keeps for later ones."""

    NONE = 0
    READ = 1
    WRITE = 2
    ALL = 3


class PartialTransfersType(IntEnum):
    """SCST_USER_PARTIAL_TRANSFERS_*: stored by the kernel, and not yet used."""

    NOT_SUPPORTED = 0
    SUPPORTED_ORDERED = 1
    SUPPORTED = 2


class Tst(IntEnum):
    """SCST_TST_*: task sets (SPC-4 table 458)."""

    SINGLE_TASK_SET = 0
    SEP_TASK_SETS = 1


class QueueAlg(IntEnum):
    """SCST_QUEUE_ALG_*: QUEUE ALGORITHM MODIFIER (SPC-4 table 459)."""

    RESTRICTED_REORDER = 0
    UNRESTRICTED_REORDER = 1


class Qerr(IntEnum):
    """SCST_QERR_*: effect of other commands' errors on a command (SPC-4 table 460)."""

    ALL_RESUME = 0
    ABORT_ALL = 1
    ABORT_THIS_NEXUS_ONLY = 3


class DSense(IntEnum):
    """SCST_D_SENSE_*: format of the sense data that SCST generates (SPC-4 7.5.8)."""

    FIXED_SENSE = 0
    DESCR_SENSE = 1


class TmFunction(IntEnum):
    """SCST_*: task management functions, SCST's extensions included."""

    ABORT_TASK = 0
    ABORT_TASK_SET = 1
    CLEAR_ACA = 2
    CLEAR_TASK_SET = 3
    LUN_RESET = 4
    TARGET_RESET = 5
    NEXUS_LOSS_SESS = 6
    ABORT_ALL_TASKS_SESS = 7
    NEXUS_LOSS = 8
    ABORT_ALL_TASKS = 9
    UNREG_SESS_TM = 10
    PR_ABORT_ALL = 11


class State(IntEnum):
    """UCMD_STATE_*: the reply that the kernel waits for; also the number in a subcode."""

    PARSING = 1
    BUF_ALLOCING = 2
    EXECING = 3
    ON_FREEING = 4
    ON_CACHE_FREEING = 5
    EXT_COPY_REMAPPING = 6
    ON_FREE_SKIPPED = 7
    TM_RECEIVED_EXECING = 8
    TM_DONE_EXECING = 9
    ATTACH_SESS = 0x20
    DETACH_SESS = 0x21


class DataDirection(IntEnum):
    """SCST_DATA_* of scst_const.h."""

    UNKNOWN = 0
    WRITE = 1
    READ = 2
    BIDI = 3
    NONE = 4


class ExecReply(IntEnum):
    """SCST_EXEC_REPLY_*."""

    BACKGROUND = 0
    COMPLETED = 1
    DO_WRITE_SAME = 2


TRANSFER_LEN_TYPE_FIXED = 0x0004
UNKNOWN_LENGTH = 0x0010
INFO_VALID = 0x0020
LBA_NOT_VALID = 0x0040
WRITE_MEDIUM = 0x0200
"""Bits of ``op_flags``: enum scst_cdb_flags of scst_const.h."""


class Opt(ctypes.Structure):
    """struct scst_user_opt."""

    _fields_ = (
        ("parse_type", c_uint8),
        ("on_free_cmd_type", c_uint8),
        ("memory_reuse_type", c_uint8),
        ("partial_transfers_type", c_uint8),
        ("partial_len", c_int32),
        ("tst", c_uint8),
        ("tmf_only", c_uint8),
        ("queue_alg", c_uint8),
        ("qerr", c_uint8),
        ("tas", c_uint8),
        ("swp", c_uint8),
        ("d_sense", c_uint8),
        ("has_own_order_mgmt", c_uint8),
        ("ext_copy_remap_supported", c_uint8),
    )


class DevDesc(ctypes.Structure):
    """struct scst_user_dev_desc."""

    _fields_ = (
        ("version_str", c_uint64),
        ("license_str", c_uint64),
        ("type", c_uint8),
        ("sgv_shared", c_uint8),
        ("sgv_disable_clustered_pool", c_uint8),
        ("sgv_single_alloc_pages", c_int32),
        ("sgv_purge_interval", c_int32),
        ("opt", Opt),
        ("block_size", c_uint32),
        ("enable_pr_cmds_notifications", c_uint8),
        ("name", c_char * SCST_MAX_NAME),
        ("sgv_name", c_char * SCST_MAX_NAME),
    )


class Sess(ctypes.Structure):
    """struct scst_user_sess."""

    _fields_ = (
        ("sess_h", c_uint64),
        ("lun", c_uint64),
        ("threads_num", c_uint16),
        ("rd_only", c_uint8),
        ("scsi_transport_version", c_uint16),
        ("phys_transport_version", c_uint16),
        ("initiator_name", c_char * SCST_MAX_EXTERNAL_NAME),
        ("target_name", c_char * SCST_MAX_EXTERNAL_NAME),
    )


class CmdParse(ctypes.Structure):
    """struct scst_user_scsi_cmd_parse."""

    _fields_ = (
        ("sess_h", c_uint64),
        ("cdb", c_uint8 * SCST_MAX_CDB_SIZE),
        ("cdb_len", c_uint16),
        ("lba", c_int64),
        ("data_len", c_int64),
        ("bufflen", c_int32),
        ("out_bufflen", c_int32),
        ("timeout", c_int32),
        ("op_flags", c_uint32),
        ("queue_type", c_uint8),
        ("data_direction", c_uint8),
        ("expected_values_set", c_uint8),
        ("expected_data_direction", c_uint8),
        ("expected_transfer_len", c_int32),
        ("expected_out_transfer_len", c_int32),
        ("sn", c_uint32),
    )


class CmdAllocMem(ctypes.Structure):
    """struct scst_user_scsi_cmd_alloc_mem."""

    _fields_ = (
        ("sess_h", c_uint64),
        ("cdb", c_uint8 * SCST_MAX_CDB_SIZE),
        ("cdb_len", c_uint16),
        ("alloc_len", c_int32),
        ("queue_type", c_uint8),
        ("data_direction", c_uint8),
        ("sn", c_uint32),
    )


class CmdExec(ctypes.Structure):
    """struct scst_user_scsi_cmd_exec."""

    _fields_ = (
        ("sess_h", c_uint64),
        ("cdb", c_uint8 * SCST_MAX_CDB_SIZE),
        ("cdb_len", c_uint16),
        ("lba", c_int64),
        ("data_len", c_int64),
        ("bufflen", c_int32),
        ("alloc_len", c_int32),
        ("pbuf", c_uint64),
        ("queue_type", c_uint8),
        ("data_direction", c_uint8),
        ("partial", c_uint8),
        ("timeout", c_int32),
        ("p_out_buf", c_uint64),
        ("out_bufflen", c_int32),
        ("sn", c_uint32),
        ("parent_cmd_h", c_uint32),
        ("parent_cmd_data_len", c_int32),
        ("partial_offset", c_uint32),
    )


class OnFreeCmd(ctypes.Structure):
    """struct scst_user_scsi_on_free_cmd."""

    _fields_ = (
        ("pbuf", c_uint64),
        ("resp_data_len", c_int32),
        ("buffer_cached", c_uint8),
        ("aborted", c_uint8),
        ("status", c_uint8),
        ("delivery_status", c_uint8),
    )


class OnCachedMemFree(ctypes.Structure):
    """struct scst_user_on_cached_mem_free."""

    _fields_ = (("pbuf", c_uint64),)


class Tm(ctypes.Structure):
    """struct scst_user_tm."""

    _fields_ = (
        ("sess_h", c_uint64),
        ("fn", c_uint32),
        ("cmd_h_to_abort", c_uint32),
        ("cmd_sn", c_uint32),
        ("cmd_sn_set", c_uint8),
    )


class ExtCopyDataDescr(ctypes.Structure):
    """struct scst_user_ext_copy_data_descr."""

    _fields_ = (("src_lba", c_uint64), ("dst_lba", c_uint64), ("data_len", c_int32))


class ExtCopyRemap(ctypes.Structure):
    """struct scst_user_ext_copy_remap."""

    _fields_ = (
        ("sess_h", c_uint64),
        ("src_sess_h", c_uint64),
        ("dst_sess_h", c_uint64),
        ("data_descr", ExtCopyDataDescr),
    )


class CdbHead(ctypes.Structure):
    """The first two bytes of a CDB as one number: operation code, and byte 1 times 256."""

    _fields_ = (("opcode_flags", c_uint16),)


class Unsigned64(ctypes.Structure):
    """A signed field that is read as unsigned: negative values exceed every limit then."""

    _fields_ = (("value", c_uint64),)


class _GetCmdUnion(ctypes.Union):
    _fields_ = (
        ("preply", c_uint64),
        ("sess", Sess),
        ("parse_cmd", CmdParse),
        ("alloc_cmd", CmdAllocMem),
        ("exec_cmd", CmdExec),
        ("on_free_cmd", OnFreeCmd),
        ("on_cached_mem_free", OnCachedMemFree),
        ("tm_cmd", Tm),
        ("remap_cmd", ExtCopyRemap),
    )


class GetCmd(ctypes.Structure):
    """struct scst_user_get_cmd."""

    _anonymous_ = ("union",)
    _fields_ = (("cmd_h", c_uint32), ("subcode", c_uint32), ("union", _GetCmdUnion))


class _ReplyParseDone(ctypes.Structure):
    _fields_ = (
        ("queue_type", c_uint8),
        ("data_direction", c_uint8),
        ("cdb_len", c_uint16),
        ("lba", c_int64),
        ("data_len", c_int64),
        ("bufflen", c_int32),
        ("op_flags", c_uint32),
        ("out_bufflen", c_int32),
    )


class _ReplySense(ctypes.Structure):
    _fields_ = (("sense_len", c_uint8), ("psense_buffer", c_uint64))


class _ReplyParseUnion(ctypes.Union):
    _anonymous_ = ("done", "sense")
    _fields_ = (("done", _ReplyParseDone), ("sense", _ReplySense))


class ReplyParse(ctypes.Structure):
    """struct scst_user_scsi_cmd_reply_parse."""

    _anonymous_ = ("union",)
    _fields_ = (("status", c_uint8), ("union", _ReplyParseUnion))


class ReplyAllocMem(ctypes.Structure):
    """struct scst_user_scsi_cmd_reply_alloc_mem."""

    _fields_ = (("pbuf", c_uint64),)


class DataDescriptor(ctypes.Structure):
    """struct scst_user_data_descriptor; an entry of 0 blocks ends a list."""

    _fields_ = (("usdd_lba", c_uint64), ("usdd_blocks", c_uint64))


class _ReplyWriteSame(ctypes.Structure):
    _fields_ = (("ws_descriptors_len", c_uint16), ("ws_descriptors", c_uint64))


class _ReplyExecUnion(ctypes.Union):
    _anonymous_ = ("sense", "write_same")
    _fields_ = (("sense", _ReplySense), ("write_same", _ReplyWriteSame))


class ReplyExec(ctypes.Structure):
    """struct scst_user_scsi_cmd_reply_exec."""

    _anonymous_ = ("union",)
    _fields_ = (
        ("resp_data_len", c_int32),
        ("pbuf", c_uint64),
        ("reply_type", c_uint8),
        ("status", c_uint8),
        ("union", _ReplyExecUnion),
    )


class ReplyRemap(ctypes.Structure):
    """struct scst_user_ext_copy_reply_remap."""

    _fields_ = (
        ("remap_descriptors", c_uint64),
        ("remap_descriptors_len", c_uint16),
        ("status", c_uint8),
        ("sense_len", c_uint8),
        ("psense_buffer", c_uint64),
    )


class _ReplyCmdUnion(ctypes.Union):
    _fields_ = (
        ("result", c_int32),
        ("parse_reply", ReplyParse),
        ("alloc_reply", ReplyAllocMem),
        ("exec_reply", ReplyExec),
        ("remap_reply", ReplyRemap),
    )


class ReplyCmd(ctypes.Structure):
    """struct scst_user_reply_cmd."""

    _anonymous_ = ("union",)
    _fields_ = (("cmd_h", c_uint32), ("subcode", c_uint32), ("union", _ReplyCmdUnion))


class GetExtCdb(ctypes.Structure):
    """struct scst_user_get_ext_cdb."""

    _fields_ = (("cmd_h", c_uint32), ("ext_cdb_buffer", c_uint64))


class PreallocBufferIn(ctypes.Structure):
    """struct scst_user_prealloc_buffer_in."""

    _fields_ = (("pbuf", c_uint64), ("bufflen", c_uint32), ("for_clust_pool", c_uint8))


class PreallocBufferOut(ctypes.Structure):
    """struct scst_user_prealloc_buffer_out."""

    _fields_ = (("cmd_h", c_uint32),)


class PreallocBuffer(ctypes.Union):
    """union scst_user_prealloc_buffer."""

    _fields_ = (("in", PreallocBufferIn), ("out", PreallocBufferOut))


class GetMulti(ctypes.Structure):
    """struct scst_user_get_multi; ``cmds`` follow it."""

    _fields_ = (
        ("preplies", c_uint64),
        ("replies_cnt", c_int16),
        ("replies_done", c_int16),
        ("cmds_cnt", c_int16),
        ("pad", c_int16),
        ("cmds", GetCmd * 0),
    )


def _ioc(way: int, group: str, number: int, size: int) -> int:
    """Return an ioctl request number (include/uapi/asm-generic/ioctl.h)."""
    return way << 30 | size << 16 | ord(group) << 8 | number


_NONE, _TO_KERNEL, _FROM_KERNEL, _BOTH = range(4)

REGISTER_DEVICE = _ioc(_TO_KERNEL, "u", 1, ctypes.sizeof(DevDesc))
UNREGISTER_DEVICE = _ioc(_NONE, "u", 2, 0)
SET_OPTIONS = _ioc(_TO_KERNEL, "u", 3, ctypes.sizeof(Opt))
GET_OPTIONS = _ioc(_FROM_KERNEL, "u", 4, ctypes.sizeof(Opt))
REPLY_AND_GET_CMD = _ioc(_BOTH, "u", 5, ctypes.sizeof(GetCmd))
REPLY_CMD = _ioc(_TO_KERNEL, "u", 6, ctypes.sizeof(ReplyCmd))
FLUSH_CACHE = _ioc(_NONE, "u", 7, 0)
DEVICE_CAPACITY_CHANGED = _ioc(_NONE, "u", 8, 0)
GET_EXTENDED_CDB = _ioc(_BOTH, "u", 9, ctypes.sizeof(GetExtCdb))
PREALLOC_BUFFER = _ioc(_BOTH, "u", 10, ctypes.sizeof(PreallocBuffer))
REPLY_AND_GET_MULTI = _ioc(_BOTH, "u", 11, ctypes.sizeof(GetMulti))


class Subcode(IntEnum):
    """Subcommands: values of scst_user_get_cmd.subcode."""

    ATTACH_SESS = _ioc(_FROM_KERNEL, "s", State.ATTACH_SESS, ctypes.sizeof(Sess))
    DETACH_SESS = _ioc(_FROM_KERNEL, "s", State.DETACH_SESS, ctypes.sizeof(Sess))
    PARSE = _ioc(_BOTH, "s", State.PARSING, ctypes.sizeof(CmdParse))
    ALLOC_MEM = _ioc(_BOTH, "s", State.BUF_ALLOCING, ctypes.sizeof(CmdAllocMem))
    EXEC = _ioc(_BOTH, "s", State.EXECING, ctypes.sizeof(CmdExec))
    ON_FREE_CMD = _ioc(_FROM_KERNEL, "s", State.ON_FREEING, ctypes.sizeof(OnFreeCmd))
    ON_CACHED_MEM_FREE = _ioc(
        _FROM_KERNEL, "s", State.ON_CACHE_FREEING, ctypes.sizeof(OnCachedMemFree))
    TASK_MGMT_RECEIVED = _ioc(_BOTH, "s", State.TM_RECEIVED_EXECING, ctypes.sizeof(Tm))
    TASK_MGMT_DONE = _ioc(_BOTH, "s", State.TM_DONE_EXECING, ctypes.sizeof(Tm))
    EXT_COPY_REMAP = _ioc(_BOTH, "s", State.EXT_COPY_REMAPPING, ctypes.sizeof(ExtCopyRemap))


def packing(*pieces: tuple[int, type[ctypes.Structure], tuple[str, ...]]) -> struct.Struct:
    """Return a format for some fields of structures that lie at given offsets of a buffer.

    ``pieces``: (offset, structure, names of its fields), in the order of the offsets. Bytes between
    the fields are skipped when unpacking, and zeroed when packing.
    """
    layout, at = "=", 0
    for base, structure, names in pieces:
        kinds = _kinds(structure)
        for name in names:
            offset = base + getattr(structure, name).offset
            layout += f"{offset - at}x{kinds[name]}"
            at = offset + getattr(structure, name).size
    return struct.Struct(layout)


_LETTERS: dict[object, str] = {
    c_uint8: "B", c_uint16: "H", c_int16: "h", c_int32: "i", c_uint32: "I", c_int64: "q",
    c_uint64: "Q",
}


def _kinds(structure: type[ctypes.Structure] | type[ctypes.Union]) -> dict[str, str]:
    """Return the ``struct`` letters of a structure's fields and anonymous members."""
    kinds: dict[str, str] = {}
    anonymous = getattr(structure, "_anonymous_", ())
    for name, kind, *_ in structure._fields_:
        if kind in _LETTERS:
            kinds[name] = _LETTERS[kind]
        elif issubclass(kind, ctypes.Array):
            kinds[name] = f"{ctypes.sizeof(kind)}s"
        elif issubclass(kind, ctypes.Structure | ctypes.Union) and name in anonymous:
            kinds |= _kinds(kind)
    return kinds
