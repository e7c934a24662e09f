# SPDX-License-Identifier: GPL-2.0-or-later
"""Argument of a scst_user backend: its devices and their options, checked and written as JSON.

Runs in the guest and on the host; stdlib only. The backend's one argument is an object::

    {"version_string": ..., "devices": [{"name", "medium", "size", "block_size", "vendor",
     "product", "serial", "options": {name: value}, "threads", "multi", "poll"}, ...]}

Options are the fields of struct scst_user_opt and struct scst_user_dev_desc, by their names there;
values are numbers, or the header's names for them (targets.scst.abi).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from enum import IntEnum
from typing import Any, NamedTuple

from targets.scst import abi

Value = int | str


class Field(NamedTuple):
    """One option: the names of its legal values, or their range, or (``text``) its length."""

    names: type[IntEnum] | None = None
    least: int = 0
    most: int = 1
    text: bool = False
    default: Value = 0

    def legal(self, value: Value) -> Value:
        """Return a value in the kernel's form. Raises ValueError that lists the legal values."""
        if self.text:
            if not isinstance(value, str) or not len(value) <= self.most:
                raise ValueError(f"a text of at most {self.most} characters")
            return value
        number = self.number(value)
        if self.names is not None and number not in list(self.names):
            raise ValueError(f"one of {', '.join(member.name for member in self.names)}")
        if self.names is None and not self.least <= number <= self.most:
            raise ValueError(f"a number from {self.least} to {self.most}")
        return number

    def number(self, value: Value) -> int:
        """Return the number for a name; a number is returned unchanged, legal or not."""
        try:
            return int(value)
        except ValueError:
            pass
        if self.names is not None and str(value).upper() in self.names.__members__:
            return int(self.names[str(value).upper()])
        words = (f"a number from {self.least} to {self.most}" if self.names is None else
                 f"one of {', '.join(member.name for member in self.names)}")
        raise ValueError(words)


FLAG = Field()
INT32_MAX = (1 << 31) - 1

OPT: Mapping[str, Field] = {
    "parse_type": Field(abi.ParseType),
    "on_free_cmd_type": Field(abi.OnFreeCmdType),
    "memory_reuse_type": Field(abi.MemoryReuseType, default=abi.MemoryReuseType.ALL),
    "partial_transfers_type": Field(abi.PartialTransfersType),
    "partial_len": Field(most=INT32_MAX),
    "tst": Field(abi.Tst),
    "tmf_only": FLAG,
    # As in the disk's control mode page: other commands overtake held ones.
    "queue_alg": Field(abi.QueueAlg, default=abi.QueueAlg.UNRESTRICTED_REORDER),
    "qerr": Field(abi.Qerr),
    "tas": FLAG,
    "swp": FLAG,
    "d_sense": Field(abi.DSense),
    "has_own_order_mgmt": FLAG,
    "ext_copy_remap_supported": FLAG,
}
"""Fields of struct scst_user_opt, which SET_OPTIONS can change."""

DESCRIPTION: Mapping[str, Field] = {
    "type": Field(abi.DeviceType),
    "sgv_shared": FLAG,
    "sgv_name": Field(most=abi.NAME_MAX, text=True, default=""),
    "sgv_disable_clustered_pool": FLAG,
    "sgv_single_alloc_pages": Field(most=INT32_MAX),
    "sgv_purge_interval": Field(least=-1, most=INT32_MAX),  # seconds; 0: SCST's, -1: never
    "enable_pr_cmds_notifications": FLAG,
    "license_str": Field(most=abi.STRING_ROOM - 1, text=True, default=abi.LICENSE),
    "version_str": Field(most=abi.STRING_ROOM - 1, text=True, default=""),
}
"""Fields of struct scst_user_dev_desc that are set at registration only. ``version_str`` is the
process's version string unless a test sets a wrong one."""

FIELDS: Mapping[str, Field] = {**OPT, **DESCRIPTION}


def check_options(options: Mapping[str, Value]) -> dict[str, Value]:
    """Return options as numbers and texts. Raises ValueError for unknown ones and values."""
    unknown = sorted(set(options) - set(FIELDS))
    if unknown:
        raise ValueError(
            f"SCST has no device option {', '.join(unknown)}; it has: {', '.join(FIELDS)}")
    return {name: _legal(name, value) for name, value in options.items()}


def _legal(name: str, value: Value) -> Value:
    try:
        return FIELDS[name].legal(value)
    except ValueError as error:
        raise ValueError(f"{name} is {error}, not {value!r}") from None


def raw_options(options: Mapping[str, Value], fields: Mapping[str, Field]) -> dict[str, Value]:
    """Return options as numbers and texts, legal or not: the kernel judges illegal ones.

    Raises ValueError for unknown names.
    """
    unknown = sorted(set(options) - set(fields))
    if unknown:
        raise ValueError(f"no option {', '.join(unknown)}; there are: {', '.join(fields)}")
    return {name: str(value) if fields[name].text else fields[name].number(value)
            for name, value in options.items()}


@dataclass(frozen=True)
class DeviceSpec:
    """One device of a backend.

    ``medium``: the file with the data; ``size`` and ``block_size`` in bytes. ``threads``: number of
    threads that fetch commands (0: none). ``multi``: they fetch several at a time
    (SCST_USER_REPLY_AND_GET_MULTI). ``poll``: a thread polls a non-blocking descriptor, instead of
    threads that block in the ioctl.
    """

    name: str
    medium: str
    size: int
    block_size: int
    vendor: str
    product: str
    serial: str
    options: Mapping[str, Value] = field(default_factory=dict)
    threads: int = 1
    multi: bool = False
    poll: bool = False

    def option(self, name: str) -> Value:
        """Return an option's value in the kernel's form."""
        value = self.options.get(name, FIELDS[name].default)
        return value if isinstance(value, str) else int(value)

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> DeviceSpec:
        """Return the device described by JSON. Raises ValueError, TypeError."""
        spec = cls(**raw)
        return cls(**{**raw, "options": raw_options(spec.options, FIELDS)})


@dataclass(frozen=True)
class ProcessSpec:
    """A backend's devices; the first is the one under test."""

    version_string: str
    devices: tuple[DeviceSpec, ...]

    @classmethod
    def parse(cls, text: str) -> ProcessSpec:
        """Return the contents of the backend's argument. Raises ValueError, TypeError, KeyError."""
        raw = json.loads(text)
        return cls(raw["version_string"], tuple(map(DeviceSpec.of, raw["devices"])))


def argument(version_string: str, devices: Iterable[DeviceSpec]) -> str:
    """Return a backend's argument. Raises ValueError for unknown options and values."""
    checked = [{**asdict(device), "options": check_options(device.options)}
               for device in devices]
    return json.dumps({"version_string": version_string, "devices": checked})
