# SPDX-License-Identifier: GPL-2.0-or-later
"""Traits: the faults that they make applicable; a target's name decides nothing."""

from __future__ import annotations

import ast
from dataclasses import fields, replace
from pathlib import Path

import pytest

import inject
from docs_build.defects import NAMES
from inject.catalogue import FAULTS, applicable
from inject.pair import PAIRS
from inject.partition import PARTITIONS
from inject.storage import FAILING_DISK_TEARDOWNS
from inject.traits import TargetTraits, Transport
from results.errors import WrongUsageError
from targets.catalogue import TARGETS, target_by_name, traits_of
from targets.target import Device, device_of

APPLICABLE = {
    "lio/tcmu/iscsi": 135, "lio/tcmu/loopback": 73,
    "lio/iblock/iscsi": 85, "lio/iblock/loopback": 39,
    "scst/scst_user/iscsi": 267, "scst/scst_user/loopback": 178,
    "scst/vdisk_fileio/iscsi": 101, "scst/vdisk_fileio/loopback": 47,
    "scst/vdisk_blockio/iscsi": 123, "scst/vdisk_blockio/loopback": 69,
    "scst/vdisk_nullio/iscsi": 101, "scst/vdisk_nullio/loopback": 47,
    "tgt/nbd/iscsi": 133, "tgt/nbd/loopback": 82,
    "tgt/block/iscsi": 75, "tgt/block/loopback": 34,
}


@pytest.mark.parametrize(("where", "count"), APPLICABLE.items())
def test_how_many_faults_apply(where: str, count: int) -> None:
    """The same counts as before targets had traits; each added fault adds to them."""
    name, backend, transport = where.split("/")
    assert len(applicable(traits_of(name), backend, transport)) == count


def test_every_target_is_counted() -> None:
    """A target that is added says how many faults apply to it, and how it is called in headings."""
    assert {where.partition("/")[0] for where in APPLICABLE} == set(TARGETS)
    assert set(TARGETS) <= set(NAMES)


def test_how_many_combinations_there_are() -> None:
    assert (len(FAULTS), len(PAIRS), len(FAILING_DISK_TEARDOWNS)) == (327, 150, 9)


def test_every_fault_applies_somewhere() -> None:
    """All but one pair: "fail-page-alloc" needs LIO's backstores, "lun-clear" SCST's operation."""
    somewhere = {fault.name for where in APPLICABLE
                 for fault in applicable(traits_of(where.split("/")[0]), *where.split("/")[1:])}
    assert {name for name in FAULTS if name not in somewhere} == {"fail-page-alloc+lun-clear"}


def test_faults_name_no_target() -> None:
    """No target's name is a key or compared with: targets differ by traits."""
    top = Path(inject.__file__).parent
    words = {node.value for path in top.glob("*.py")
             for node in ast.walk(ast.parse(path.read_text()))
             if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    assert not words & set(TARGETS)


def test_no_trait_has_a_default() -> None:
    """mypy then reports the field that a new target leaves out."""
    empty = TargetTraits.__dataclass_params__  # type: ignore[attr-defined]
    assert empty.frozen
    with pytest.raises(TypeError, match=f"missing {len(fields(TargetTraits))} required"):
        TargetTraits()  # type: ignore[call-arg]


def test_an_alias_is_the_same_target(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TARGETS, "lio2", replace(TARGETS["lio"], name="lio2"))
    assert traits_of("lio2") is target_by_name("lio2", None).traits
    assert applicable(traits_of("lio2"), "tcmu", "iscsi") == \
        applicable(traits_of("lio"), "tcmu", "iscsi")


def test_a_target_that_there_is_not() -> None:
    known = ", ".join(TARGETS)
    with pytest.raises(WrongUsageError, match=f"unknown target 'windows': there are {known}"):
        traits_of("windows")


def test_options_that_traits_choose() -> None:
    assert traits_of("lio").command_timeout(20) == {"cmd_time_out": 20}
    assert traits_of("scst").command_timeout(20) == {}
    assert device_of(traits_of("tgt").storage) == Device(options={"backing": "block"})
    assert device_of(traits_of("scst").storage) == Device(handler="vdisk_blockio")


@pytest.mark.parametrize("name", TARGETS)
def test_what_a_target_says_fits_together(name: str) -> None:
    traits = traits_of(name)
    assert Transport.ISCSI in traits.transports
    assert set(traits.disk_error_sense) == {"read", "write"}
    assert not traits.functions.refused.keys() & traits.functions.behind_commands.keys()
    assert {} in traits.nexus.option_sets
    for partition in (each.at(traits) for each in PARTITIONS.values()):
        ends = traits.silent_session_ends
        assert ends is None or (partition.seconds > ends) is partition.outlasts_target
