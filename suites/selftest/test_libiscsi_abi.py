# SPDX-License-Identifier: GPL-2.0-or-later
"""The binary interface of libiscsi: against its headers, and against the library itself."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest

from fixtures.initiator.libiscsi import abi
from fixtures.initiator.libiscsi.errors import LibraryMissingError

HEADER = Path("/usr/include/iscsi/iscsi.h")

STRUCTURES: dict[str, type[ctypes.Structure]] = {
    "struct scsi_sense": abi.ScsiSense,
    "struct scsi_data": abi.ScsiData,
    "struct scsi_iovector": abi.ScsiIovector,
    "struct scsi_task": abi.ScsiTask,
}

BIT_FIELDS = ("sense_specific", "ill_param_in_cdb", "bit_pointer_valid")

CONSTANTS = {
    "SCSI_CDB_MAX_SIZE": abi.SCSI_CDB_MAX_SIZE,
    "ISCSI_SESSION_NORMAL": abi.ISCSI_SESSION_NORMAL,
    **{f"SCSI_STATUS_{each.name}": int(each) for each in abi.ScsiStatus},
    **{f"SCSI_XFER_{each.name}": int(each) for each in abi.XferDir},
    **{f"SCSI_RESIDUAL_{each.name}": int(each) for each in abi.Residual},
    **{f"ISCSI_HEADER_DIGEST_{each.name}": int(each) for each in abi.HeaderDigest},
    **{f"ISCSI_TM_{each.name}": int(each) for each in abi.TaskMgmtFunc},
    **{f"ISCSI_TMR_{each.name}": int(each) for each in abi.TaskMgmtResponse},
}

C_TYPES = {None: "void", ctypes.c_int: "int", ctypes.c_uint32: "uint32_t"}
"""C types of the ctypes other than pointers."""


def statements() -> dict[str, int]:
    """Return the C expressions to compare, with the values that the Python side has."""
    expected = dict(CONSTANTS)
    for name, structure in STRUCTURES.items():
        expected[f"sizeof({name})"] = ctypes.sizeof(structure)
        for field, *_ in structure._fields_:
            if field not in BIT_FIELDS:
                place = getattr(structure, field)
                expected[f"offsetof({name}, {field})"] = place.offset
                expected[f"sizeof((({name} *)0)->{field})"] = place.size
    for name, (result, *arguments) in abi.PROTOTYPES.items():
        kinds = [C_TYPES.get(kind, "*") for kind in (result, *arguments)]
        given = ", ".join(
            "(void *)0" if kind == "*" else f"({kind})0" for kind in kinds[1:])
        if kinds[0] != "void":
            size = "sizeof(void *)" if kinds[0] == "*" else f"sizeof({kinds[0]})"
            expected[f"sizeof({name}({given})) == {size}"] = 1
        else:
            expected[f"sizeof(({name}({given}), 1)) == sizeof(int)"] = 1
    return expected


def test_headers(tmp_path: Path) -> None:
    """Constants and layouts match; every call compiles with its declared types."""
    compiler = shutil.which("gcc")
    if compiler is None or not HEADER.exists():
        pytest.skip("no gcc, or no libiscsi-dev")
    expected = statements()
    prints = "".join(f'printf("%lld\\n", (long long)({what}));' for what in expected)
    source = tmp_path / "abi.c"
    source.write_text(
        "#include <stddef.h>\n#include <stdint.h>\n#include <stdio.h>\n"
        "#include <iscsi/iscsi.h>\n#include <iscsi/scsi-lowlevel.h>\n"
        f"int main(void) {{ {prints} return 0; }}\n")
    subprocess.run(
        [compiler, "-Werror=int-conversion", "-Werror=implicit-function-declaration", "-w",
         source, "-o", tmp_path / "abi"], check=True)
    printed = subprocess.run([tmp_path / "abi"], capture_output=True, text=True, check=True)
    found = dict(zip(expected, map(int, printed.stdout.split()), strict=True))
    assert found == expected


def test_every_function_has_a_prototype() -> None:
    declared = {name for name in (*vars(abi.Libiscsi), *abi.Libiscsi.__annotations__)
                if name.startswith(("iscsi_", "scsi_"))}
    assert declared == set(abi.PROTOTYPES)


def test_a_task_as_the_library_makes_it() -> None:
    library = abi.load()
    address = library.scsi_create_task(10, bytes(range(10)), abi.XferDir.READ, 512)
    assert address is not None
    task = abi.ScsiTask.from_address(address)
    assert (task.cdb_size, bytes(task.cdb), task.xfer_dir, task.expxferlen) == (
        10, bytes(range(10)) + bytes(6), abi.XferDir.READ, 512)
    library.scsi_free_scsi_task(address)


def test_a_missing_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(abi, "SONAME", "libiscsi.so.0")
    abi.load.cache_clear()
    with pytest.raises(LibraryMissingError, match=r"^there is no libiscsi.so.0 .* libiscsi7$"):
        abi.load()
