# SPDX-License-Identifier: GPL-2.0-or-later
"""Export of a backstore to an initiator: over iSCSI, or by tcm_loop on the machine itself.

Every step puts its undoing on the ``undo`` stack; a step that may be late does so before it begins.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from targets.lio.configfs import TARGET, Configfs
from targets.target import Transport, portal_of

IQN = "iqn.2026-01.org.scsi-target-faults:lio"

TPG_ATTRIBUTES = {
    "authentication": "0",
    "generate_node_acls": "1",  # any initiator may log in
    "demo_mode_write_protect": "0",
    "cache_dynamic_acls": "1",
}


@dataclass(frozen=True)
class Export:
    """An exported LUN: its directory and link in configfs, and its address for an initiator."""

    lun: str
    link: str
    portal: str | None = None
    iqn: str | None = None
    scsi_host: int | None = None


def _directory(config: Configfs, path: str, undo: ExitStack) -> str:
    config.mkdir(path)
    undo.callback(config.remove_directory, path)
    return path


def _lun(config: Configfs, tpg: str, backstore: str, undo: ExitStack) -> tuple[str, str]:
    lun = _directory(config, f"{tpg}/lun/lun_0", undo)
    link = f"{lun}/backstore"
    undo.callback(config.remove_link, link)
    config.symlink(backstore, link)
    return lun, link


def iscsi(config: Configfs, name: str, backstore: str, undo: ExitStack) -> Export:
    """Export a backstore as LUN 0 of an iSCSI target."""
    iqn = f"{IQN}.{name}"
    tpg = _directory(config, f"{TARGET}/iscsi/{iqn}", undo) + "/tpgt_1"
    _directory(config, tpg, undo)
    for attribute, value in TPG_ATTRIBUTES.items():
        config.write(f"{tpg}/attrib/{attribute}", value)
    portal = portal_of(config.machine)
    _directory(config, f"{tpg}/np/{portal}", undo)
    lun, link = _lun(config, tpg, backstore, undo)
    undo.callback(config.clear, f"{tpg}/enable", "0")
    config.write(f"{tpg}/enable", "1")
    return Export(lun, link, portal=portal, iqn=iqn)


def world_wide_name(name: str) -> str:
    """Return an NAA locally assigned name (SPC-4 7.8.6.6.3), the same for the same ``name``."""
    digest = hashlib.blake2b(name.encode(), digest_size=8).hexdigest()
    return f"naa.3{digest[1:]}"


def loopback(config: Configfs, name: str, backstore: str, undo: ExitStack) -> Export:
    """Export a backstore as LUN 0 of a SCSI host on the machine itself."""
    target = world_wide_name(f"{name} target")
    tpg = _directory(config, f"{TARGET}/loopback/{target}", undo) + "/tpgt_1"
    _directory(config, tpg, undo)
    config.write(f"{tpg}/nexus", world_wide_name(f"{name} initiator"))
    address = config.read(f"{tpg}/address")  # host:channel:id (tcm_loop_tpg_address_show)
    lun, link = _lun(config, tpg, backstore, undo)
    return Export(lun, link, scsi_host=int(address.split(":")[0]))


@dataclass(frozen=True)
class Fabric:
    """An export method: its kernel module, its directory below target/, its function."""

    module: str
    directory: str
    export: Callable[[Configfs, str, str, ExitStack], Export]


FABRICS = {
    Transport.ISCSI: Fabric("iscsi_target_mod", f"{TARGET}/iscsi", iscsi),
    Transport.LOOPBACK: Fabric("tcm_loop", f"{TARGET}/loopback", loopback),
}
