# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands and their allowed outcomes, by the standards and by a target's traits.

Outcomes use the strings of results.checkers.outcome. For a command that ends with GOOD the residual
is checked: RFC 7143 11.4.5 defines one for every command that did not transfer the expected length.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from fixtures.workload.commands import Command
from inject.outcomes import NO_UNIT
from inject.traits import CommandTraits
from targets.backend.disk.cdb import Opcode

BLOCK = 512
AT = 0x4000
"""LBA of the blocks written here. The load uses other blocks (fixtures.workload.stamps)."""

BLOCKS = 8
BYTES = BLOCKS * BLOCK

OURS, OTHER = "5a", "a5"
"""Data on the medium, and data that must never be written (a byte in hexadecimal, repeated)."""

GOOD = ("GOOD residual 0",)
NO_OPCODE = ("CHECK CONDITION 05/20/00", "CHECK CONDITION 05/24/00", "CHECK CONDITION 05/49/00")
"""INVALID COMMAND OPERATION CODE (SPC-4 table 54). If a target's core knows the operation code from
another device type, it checks fields and direction first (SCST's scst_scsi_op_table)."""
OUT_OF_RANGE = ("CHECK CONDITION 05/21/00",)
"""LOGICAL BLOCK ADDRESS OUT OF RANGE (SBC-4 5.13, 5.40)."""
NO_LUN = ("CHECK CONDITION 05/25/00",)
"""LOGICAL UNIT NOT SUPPORTED (SPC-4 table 54)."""
REFUSED = ("CHECK CONDITION 05/*", "CHECK CONDITION 0b/*")
"""Any additional sense code, where no standard defines one."""

ANOTHER_LUN = 5


Outcomes = tuple[str, ...]


def as_usual(traits: CommandTraits) -> Outcomes:
    """Return an empty tuple: no target differs from the usual outcomes."""
    return ()


@dataclass(frozen=True)
class Case:
    """A command, its allowed outcomes, and the clause for them.

    ``otherwise``: returns the outcomes at a target whose traits differ; empty: ``outcomes``.
    """

    command: Command
    outcomes: Outcomes
    clause: str
    otherwise: Callable[[CommandTraits], Outcomes] = as_usual

    def on(self, traits: CommandTraits) -> Command:
        """Return the command with its outcomes at a target with these traits."""
        return replace(self.command, allowed=self.otherwise(traits) or self.outcomes,
                       clause=self.clause)


def ten(opcode: int, lba: int = AT, blocks: int = BLOCKS, flags: int = 0) -> str:
    """Return a CDB of 10 bytes."""
    return struct.pack(">BBIxHx", opcode, flags, lba, blocks).hex()


def sixteen(opcode: int, lba: int, blocks: int = BLOCKS) -> str:
    """Return a CDB of 16 bytes."""
    return struct.pack(">BxQIxx", opcode, lba, blocks).hex()


def read(name: str, cdb: str, count: int = BYTES) -> Command:
    """Return a command with ``count`` expected bytes of Data-In, or without data for 0."""
    return Command(name, cdb, "read" if count else "none", count)


def write(name: str, cdb: str, count: int = BYTES, data: str = OURS) -> Command:
    """Return a command with ``count`` bytes of Data-Out."""
    return Command(name, cdb, "write", count, data)


def residual(count: int) -> tuple[str, ...]:
    """Return GOOD with a residual in bytes: positive for underflow, negative for overflow."""
    return (f"GOOD residual {count}",)


def ours(when: str) -> Case:
    """Return a WRITE of the data that must be on the medium afterwards."""
    return Case(write(f"WRITE(10) {when}", ten(Opcode.WRITE_10)), GOOD, "SBC-4 5.40")


def verified(what: str, lba: int = AT, blocks: int = BLOCKS) -> Case:
    """Return a VERIFY(10) of the data on the medium, byte by byte (SBC-4 5.36, BYTCHK 01b)."""
    return Case(write(f"VERIFY(10): {what}", ten(Opcode.VERIFY_10, lba, blocks, 2), blocks * BLOCK),
                GOOD, "SBC-4 5.36: else MISCOMPARE 0e/1d/00")


LENGTHS = (
    Case(write("WRITE(10), before all", ten(Opcode.WRITE_10, blocks=2 * BLOCKS), 2 * BYTES), GOOD,
         "SBC-4 5.40"),
    *(Case(write(f"WRITE({size})", cdb), GOOD, clause) for size, clause, cdb in (
        (6, "SBC-3, WRITE (6)", struct.pack(">IBx", Opcode.WRITE_6 << 24 | AT, BLOCKS).hex()),
        (10, "SBC-4 5.40", ten(Opcode.WRITE_10)),
        (12, "SBC-4 5.41", struct.pack(">BxIIxx", Opcode.WRITE_12, AT, BLOCKS).hex()),
        (16, "SBC-4 5.42", sixteen(Opcode.WRITE_16, AT)))),
    *(Case(read(f"READ({size})", cdb), GOOD, clause) for size, clause, cdb in (
        (6, "SBC-3, READ (6)", struct.pack(">IBx", Opcode.READ_6 << 24 | AT, BLOCKS).hex()),
        (10, "SBC-4 5.16", ten(Opcode.READ_10)),
        (12, "SBC-4 5.17", struct.pack(">BxIIxx", Opcode.READ_12, AT, BLOCKS).hex()),
        (16, "SBC-4 5.18", sixteen(Opcode.READ_16, AT)))),
    verified("all WRITEs wrote"),
)


def passed_through(traits: CommandTraits) -> Outcomes:
    """Return GOOD without a residual where a target uses the expected length as the command's."""
    return GOOD if traits.takes_expected_length else ()


def of_no_blocks(traits: CommandTraits) -> Outcomes:
    """Return the outcomes of a READ of 0 blocks: refused, or those of ``passed_through``."""
    return REFUSED if traits.refuses_read_of_no_blocks else passed_through(traits)


RESIDUAL = "RFC 7143 11.4.5: residual, or refused"

TRANSFERS = (
    Case(read("READ(10), less expected", ten(Opcode.READ_10), BYTES // 2),
         (*residual(-BYTES // 2), *REFUSED), RESIDUAL),
    Case(read("READ(10), nothing expected", ten(Opcode.READ_10), 0),
         (*residual(-BYTES), *REFUSED), RESIDUAL),
    Case(read("READ(10), more expected", ten(Opcode.READ_10), 2 * BYTES), residual(BYTES),
         "RFC 7143 11.4.5: underflow"),
    Case(read("READ(10) of no blocks, some expected", ten(Opcode.READ_10, blocks=0), BYTES),
         residual(BYTES), "SBC-4 5.16: no blocks are no error", of_no_blocks),
    Case(read("INQUIRY, more expected", "120000002400", 96), residual(60),
         "SPC-4 4.2.5.6: no more than the allocation length"),
    Case(read("INQUIRY, less expected", "120000002400", 16), (*residual(-20), *REFUSED), RESIDUAL,
         passed_through),
    Case(read("TEST UNIT READY, data expected", "000000000000", BLOCK), residual(BLOCK),
         "RFC 7143 11.4.5: underflow", passed_through),
    Case(write("WRITE(10), more sent", ten(Opcode.WRITE_10), 2 * BYTES,
               OURS * BYTES + OTHER * BYTES),
         (*residual(BYTES), *REFUSED), RESIDUAL, passed_through),
    verified("more than the CDB's is not written", AT + BLOCKS),
    ours("before less is sent"),
    Case(write("WRITE(10), less sent", ten(Opcode.WRITE_10), BYTES // 2, OURS),
         (*residual(-BYTES // 2), *REFUSED), RESIDUAL),
    verified("what was not sent is not written"),
    ours("before nothing is sent"),
    Case(Command("WRITE(10), nothing sent", ten(Opcode.WRITE_10)), (*residual(-BYTES), *REFUSED),
         RESIDUAL),
    verified("nothing of nothing is written"),
    Case(write("TEST UNIT READY, data sent", "000000000000", BLOCK), (*residual(BLOCK), *REFUSED),
         RESIDUAL, passed_through),
)
"""Commands whose Expected Data Transfer Length differs from the CDB's."""

MISDIRECTED = "no standard: it ends, and nothing is written"

DIRECTIONS = (
    ours("before a WRITE reads"),
    Case(read("WRITE(10) that reads", ten(Opcode.WRITE_10)), (*REFUSED, "GOOD*"), MISDIRECTED),
    verified("a WRITE without data writes nothing"),
    ours("before a READ writes"),
    Case(write("READ(10) that writes", ten(Opcode.READ_10), data=OTHER), (*REFUSED, "GOOD*"),
         MISDIRECTED),
    verified("a READ writes nothing"),
)
"""READ with the W bit, and WRITE with the R bit (RFC 7143 11.3.1)."""

RANGE = (
    *(Case(read(f"READ({size}) {where}", cdb), OUT_OF_RANGE, "SBC-4 5.16") for size, where, cdb in (
        (10, "behind the end", ten(Opcode.READ_10, 0x8000)),
        (10, "across the end", ten(Opcode.READ_10, 0x7FFC)),
        (10, "at the last LBA there can be", ten(Opcode.READ_10, 0xFFFFFFFF)),
        (16, "at the last LBA there can be", sixteen(Opcode.READ_16, (1 << 64) - 1)))),
    *(Case(write(f"WRITE({size}) {where}", cdb, data=OTHER), OUT_OF_RANGE, "SBC-4 5.40")
      for size, where, cdb in (
          (10, "behind the end", ten(Opcode.WRITE_10, 0x8000)),
          (10, "across the end", ten(Opcode.WRITE_10, 0x7FFC)),
          (16, "at the last LBA there can be", sixteen(Opcode.WRITE_16, (1 << 64) - 1)))),
    Case(read("READ(10), the last blocks", ten(Opcode.READ_10, 0x7FF8)), GOOD, "SBC-4 5.16"),
)
"""Commands at and beyond the end of the disk, which has 8000h blocks."""

NOTHING_ALLOCATED = "SPC-4 4.2.5.6: an allocation length of 0 is no error"

WITHOUT_ALLOCATION = (
    ("INQUIRY", "120000000000"), ("REQUEST SENSE", "030000000000"),
    ("READ CAPACITY(16)", "9e10" + 14 * "00"), ("MODE SENSE(10)", "5a003f00000000000000"),
    ("MODE SENSE(6)", "1a003f000000"))
"""Names and CDBs of commands whose allocation length is 0."""

NOTHING = tuple(Case(Command(f"{name}, allocation length 0", cdb), GOOD, NOTHING_ALLOCATED)
                for name, cdb in WITHOUT_ALLOCATION)
"""Commands for a separate scenario: a daemon dies of one (known issue tgt-mode-sense-nothing)."""

LUNS = (
    Case(Command("TEST UNIT READY of no LUN", "000000000000", lun=ANOTHER_LUN), NO_LUN,
         NO_UNIT),
    Case(Command("READ(10) of no LUN", ten(Opcode.READ_10), "read", BYTES, lun=ANOTHER_LUN), NO_LUN,
         NO_UNIT),
    Case(Command("WRITE(10) of no LUN", ten(Opcode.WRITE_10), "write", BYTES, OTHER,
                 lun=ANOTHER_LUN), NO_LUN, NO_UNIT),
    Case(Command("INQUIRY of no LUN", "120000002400", "read", 36, lun=ANOTHER_LUN),
         ("GOOD*", *NO_LUN), "SPC-4 6.6.2: peripheral qualifier 011b"),
    Case(Command("REQUEST SENSE of no LUN", "030000001200", "read", 18, lun=ANOTHER_LUN),
         ("GOOD*", *NO_LUN), "SPC-4 6.39: GOOD, with sense data 05/25/00"),
    *(Case(Command(f"{name} of no LUN, allocation length 0", cdb, lun=ANOTHER_LUN),
           ("GOOD", *NO_LUN), NOTHING_ALLOCATED)
      for name, cdb in WITHOUT_ALLOCATION),
    Case(Command("READ(10) of no blocks of no LUN", ten(Opcode.READ_10, blocks=0),
                 lun=ANOTHER_LUN), NO_LUN, NO_UNIT),
    Case(Command("REPORT LUNS", "a00000000000000010000000"[:24], "read", 4096), ("GOOD*",),
         "SPC-4 6.33"),
)

ACA = (
    Case(read("READ(10) beyond the end, with NACA",
              struct.pack(">BxIxHB", Opcode.READ_10, 0xFFFFFFFF, 1, 4).hex(), BLOCK), REFUSED,
         "SAM-5 5.9: CHECK CONDITION establishes an ACA condition, where there are any"),
    Case(read("VERIFY(12) with BYTCHK 11b",
              struct.pack(">BBIIxx", Opcode.VERIFY_12, 6, AT, 1).hex(), 36),
         ("GOOD*", "CHECK CONDITION 0e/1d/00*", *REFUSED, "ACA ACTIVE*"),
         "SBC-4 5.36: compared with one block (MISCOMPARE if another), or INVALID FIELD IN CDB; "
         "SAM-5 5.9"),
)
"""Commands for a separate scenario: some kernels crash (known issue scst-aca-verify-bug)."""

FIXED = (*LENGTHS, *TRANSFERS, *DIRECTIONS, *RANGE, *LUNS)


def thirty_two(action: int) -> str:
    """Return a CDB of 32 bytes: a service action of operation code 7fh (SBC-4 5.19, 5.43)."""
    return struct.pack(">B6xBHxxQIHHI", 0x7F, 0x18, action, AT, 0, 0, 0, BLOCKS).hex()


EXTENDED = (("READ(32)", thirty_two(0x0009), "read"), ("WRITE(32)", thirty_two(0x000B), "write"))
"""Name, CDB and direction. A CDB of more than 16 bytes requires an AHS (RFC 7143 11.2.2.3)."""

EXTENDED_OUTCOMES = ("*status 0x00*", "scsi response status 0x02 05/*", "reject 0x*")
"""Outcomes of ``EXTENDED`` in the strings of fixtures.initiator.raw: done, refused (INVALID COMMAND
OPERATION CODE), or rejected because of the AHS (RFC 7143 11.17.1: 0x05)."""

HARMFUL = frozenset({
    0x04,  # FORMAT UNIT
    0x1B,  # START STOP UNIT: with zeros, a stop
    0x16, 0x56, 0x5F,  # RESERVE, PERSISTENT RESERVE OUT: would exclude the load
    0x48, 0x41, 0x42, 0x93,  # SANITIZE, WRITE SAME, UNMAP
    0x7F,  # variable length CDB
    0x83, 0x84,  # EXTENDED COPY
})
"""Operation codes that a sweep leaves out because of their effects."""

KNOWN = frozenset({*map(int, Opcode), *HARMFUL})

ANYTHING = ("GOOD*", "CHECK CONDITION 05/*", "CHECK CONDITION 0b/*", "RESERVATION CONFLICT")
"""Outcomes of a known command with random bytes: executed, or refused (SPC-4 table 53)."""


def perhaps_busy(traits: CommandTraits) -> Outcomes:
    """Return ``ANYTHING`` or BUSY where a long ALLOCATION LENGTH may end with BUSY."""
    return (*ANYTHING, "BUSY") if traits.busy_for_long_allocations else ()


SWEPT = 96
"""Number of commands in a sweep."""

LENGTH_BY_GROUP = (6, 10, 10, 16, 16, 12, 10, 10)
"""CDB length in bytes by group code (SPC-4 4.2.5.1); arbitrary for vendor specific groups."""


VERIFIES, BYTCHK_1X = frozenset({0x13, 0x2F, 0x8F, 0xAF}), 0x04
"""VERIFY operation codes, and the bit of BYTCHK 1xb (see the second case of ``ACA``), which a sweep
leaves out."""


def sweep(seed: int) -> Iterator[Case]:
    """Yield ``SWEPT`` random CDBs, drawn from the seed.

    Unknown operation codes must be refused as such; known ones have random bytes. There is no
    Data-Out. CONTROL is 0: with NACA a refused command would block all others (SAM-5 5.9).
    """
    rng = random.Random(f"sweep-{seed}")
    for _ in range(SWEPT):
        opcode = rng.choice([each for each in range(256) if each not in HARMFUL])
        size = LENGTH_BY_GROUP[opcode >> 5]
        drawn = bytearray(rng.randbytes(size - 2) + b"\0")
        if opcode in VERIFIES:
            drawn[0] &= ~BYTCHK_1X
        known = opcode in KNOWN
        count = rng.choice((0, 36, BLOCK))
        anything = known or opcode in OF_CORES
        yield Case(read(f"opcode {opcode:02x}", f"{opcode:02x}{drawn.hex()}", count),
                   ANYTHING if anything else NO_OPCODE,
                   "SPC-4 table 54" if not known else "SPC-4 table 53",
                   perhaps_busy if anything else as_usual)


OF_CORES = frozenset({
    0x5E, 0x84, 0x8C, 0x8D, 0xA4, 0xA2, 0xB5,
})
"""Operation codes that a target's core may execute itself."""


def commands(cases: Iterable[Case], traits: CommandTraits) -> list[Command]:
    """Return the cases' commands with their outcomes at a target."""
    return [case.on(traits) for case in cases]
