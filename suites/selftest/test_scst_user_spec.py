# SPDX-License-Identifier: GPL-2.0-or-later
"""Parameters of a scst_user backend: options by name and number, and refusals."""

from __future__ import annotations

import json
from typing import Any

import pytest

from targets.scst import abi
from targets.scst.user_spec import (
    DESCRIPTION,
    FIELDS,
    OPT,
    DeviceSpec,
    ProcessSpec,
    argument,
    check_options,
    raw_options,
)


def device(name: str = "stf0", **fields: Any) -> DeviceSpec:
    return DeviceSpec(name, f"/dev/shm/{name}", 1 << 20, 512, "STF", "p", "s", **fields)


def test_every_field_of_the_header_is_an_option() -> None:
    assert list(OPT) == [name for name, *_ in abi.Opt._fields_]
    described = {name for name, *_ in abi.DevDesc._fields_}
    assert described - set(DESCRIPTION) == {"opt", "block_size", "name"}


@pytest.mark.parametrize("name", [name for name, field in FIELDS.items() if field.names])
def test_every_name_stands_for_its_number(name: str) -> None:
    kind = FIELDS[name].names
    assert kind is not None
    for member in kind:
        for spelling in (member.name, member.name.lower(), int(member), str(int(member))):
            assert check_options({name: spelling}) == {name: int(member)}


@pytest.mark.parametrize(("options", "words"), [
    ({"qerr": 2}, "qerr is one of ALL_RESUME, ABORT_ALL, ABORT_THIS_NEXUS_ONLY, not 2"),
    ({"qerr": "SOME"}, "qerr is one of"),
    ({"tas": 2}, "tas is a number from 0 to 1, not 2"),
    ({"tas": "yes"}, "tas is a number from 0 to 1, not 'yes'"),
    ({"partial_len": -1}, "partial_len is a number from 0"),
    ({"sgv_purge_interval": -2}, "sgv_purge_interval is a number from -1"),
    ({"sgv_name": "x" * 49}, "sgv_name is a text of at most 48 characters"),
    ({"sgv_name": 5}, "sgv_name is a text"),
    ({"sgvname": "x", "Qerr": 1}, "no device option Qerr, sgvname; it has: parse_type"),
])
def test_what_the_host_refuses(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        check_options(options)
    with pytest.raises(ValueError, match=words):
        argument("4.0", [device(options=options)])


def test_the_kernel_is_asked_about_what_is_not_legal() -> None:
    assert raw_options({"qerr": 2, "tas": "7", "sgv_name": "x" * 49}, FIELDS) == {
        "qerr": 2, "tas": 7, "sgv_name": "x" * 49}
    with pytest.raises(ValueError, match="no option sgv_name; there are: parse_type"):
        raw_options({"sgv_name": "x"}, OPT)
    with pytest.raises(ValueError, match="one of ALL_RESUME"):
        raw_options({"qerr": "SOME"}, OPT)


def test_the_argument_says_it_all() -> None:
    devices = (device(options={"parse_type": "CALL", "sgv_shared": 1, "sgv_name": "pool"},
                      threads=3, multi=True),
               device("stf1", poll=True))
    parsed = ProcessSpec.parse(argument("4.0", devices))
    assert parsed.version_string == "4.0"
    first, second = parsed.devices
    assert (first.options, first.threads, first.multi) == (
        {"parse_type": 1, "sgv_shared": 1, "sgv_name": "pool"}, 3, True)
    assert (first.option("parse_type"), first.option("memory_reuse_type"),
            first.option("sgv_name"), first.option("license_str")) == (1, 3, "pool", "GPL")
    assert second == devices[1]


@pytest.mark.parametrize("change", [
    {"devices": [{"name": "stf0"}]}, {"devices": [{**json.loads(json.dumps(vars(device()))),
                                                   "colour": "red"}]}])
def test_an_argument_that_is_wrong(change: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        ProcessSpec.parse(json.dumps({"version_string": "4.0", **change}))
