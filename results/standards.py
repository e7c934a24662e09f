# SPDX-License-Identifier: GPL-2.0-or-later
"""The standards, and their clauses that verdicts and comments cite, with the clauses' titles.

Citations are plain text ("SBC-4 5.40"); suites.selftest.test_standards finds them and refuses a
clause that is not listed here. Before a clause is added, its number and title are read in the
document, in the revision named here, or in a publication that quotes both. A clause whose number
could not be read anywhere is cited by its title, which is then listed without a number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Document:
    """A standard, with the clauses of it that are cited.

    ``name``: as in a citation; ``revision``: the one whose numbering the citations use;
    ``source``: the text in which numbers and titles were read. ``clauses``: titles by number,
    "clause N", "table N" or letter of an annex. ``titles``: clauses cited by their title.
    """

    name: str
    title: str
    revision: str
    source: str
    clauses: Mapping[str, str]
    titles: tuple[str, ...] = ()


RFC_7143 = Document(
    "RFC 7143", "Internet Small Computer System Interface (iSCSI) Protocol (Consolidated)",
    "April 2014", "the RFC itself", {
        "4.2.3.2": "Notion of Affected Tasks",
        "4.2.7": "iSCSI Names",
        "4.4.2": "SCSI Architecture Model",
        "4.4.3": "Consequences of the Model",
        "6.3": "Login Phase",
        "6.3.5": "Session Reinstatement, Closure, and Timeout",
        "7.1.4.4": "Session Recovery",
        "7.8": "Digest Errors",
        "7.11": "SCSI Timeouts",
        "11.2.1": "Basic Header Segment (BHS)",
        "11.2.1.2": "Opcode",
        "11.2.2.2": "AHSLength",
        "11.2.2.3": "Extended CDB AHS",
        "11.3": "SCSI Command",
        "11.3.1": "Flags and Task Attributes (Byte 1)",
        "11.4": "SCSI Response",
        "11.4.5": "Residual Count",
        "11.4.7.2": "Sense Data",
        "11.5": "Task Management Function Request",
        "11.5.1": "Function",
        "11.5.4": "Referenced Task Tag",
        "11.6": "Task Management Function Response",
        "11.6.1": "Response",
        "11.9.1": "AsyncEvent",
        "11.12": "Login Request",
        "11.12.3": "CSG and NSG",
        "11.12.5": "ISID",
        "11.13": "Login Response",
        "11.13.5": "Status-Class and Status-Detail",
        "11.14": "Logout Request",
        "11.14.5": "Implicit Termination of Tasks",
        "11.15": "Logout Response",
        "11.17": "Reject",
        "11.17.1": "Reason",
        "11.19": "NOP-In",
        "13": "Login/Text Operational Text Keys",
        "13.1": "HeaderDigest and DataDigest",
        "13.10": "InitialR2T",
        "13.11": "ImmediateData",
        "13.12": "MaxRecvDataSegmentLength",
        "15": "IANA Considerations",
        "A.4": "CRC Examples",
    })

RFC_3720 = Document(
    "RFC 3720", "Internet Small Computer Systems Interface (iSCSI)", "April 2004",
    "the RFC itself", {"B.4": "CRC Examples"})

RFC_5737 = Document(
    "RFC 5737", "IPv4 Address Blocks Reserved for Documentation", "January 2010",
    "the RFC itself", {})

RFC_6298 = Document(
    "RFC 6298", "Computing TCP's Retransmission Timer", "June 2011", "the RFC itself",
    {"5.5": "Managing the RTO Timer, step (5.5)"})

RFC_9293 = Document(
    "RFC 9293", "Transmission Control Protocol (TCP)", "August 2022", "the RFC itself",
    {"3.8": "Data Communication"})

SAM_5 = Document(
    "SAM-5", "SCSI Architecture Model - 5 (INCITS 515)", "revision 21",
    "quotations: 5.14, 5.14.1 and 6.3.1 to 6.3.5 in dm-devel, 28 April 2021 (RFC: one more time: "
    "SCSI device identification), which also numbers 5.9.5 (clearing ACA) and 7.6 (I_T NEXUS "
    "RESET); 7.11 in target-devel, 25 November 2022 (tcm_loop and aborted TMRs); 5.3.1 in "
    "comments of public drivers; 4.7 in lsscsi(8); the names of procedure calls in SPC-4", {
        "4.7": "Logical unit numbers",
        "5.3": "Status",
        "5.3.1": "Status codes",
        "5.9": "Auto contingent allegiance (ACA)",
        "5.14": "Unit attention conditions",
        "5.14.1": "Unit attention conditions that are not coalesced",
        "6.3.3": "Logical unit reset",
        "6.3.4": "I_T nexus loss",
        "clause 7": "Task management functions",
        "7.11": "Task management function lifetime",
    }, ("Execute Command", "Send Command Complete"))

SPC_4 = Document(
    "SPC-4", "SCSI Primary Commands - 4 (INCITS 513)", "revision 36f",
    "the draft's text; 4.2.5.1 in comments of tgt and tcmu-runner", {
        "4.2.5.1": "Operation code",
        "4.2.5.6": "Allocation length",
        "4.5": "Sense data",
        "4.5.3": "Fixed format sense data",
        "clause 6": "Commands for all device types",
        "6.4": "EXTENDED COPY(LID4) command",
        "6.4.5": "CSCD descriptors",
        "6.4.6": "Segment descriptors",
        "6.5": "EXTENDED COPY(LID1) command",
        "6.6": "INQUIRY command",
        "6.6.2": "Standard INQUIRY data",
        "6.11": "MODE SELECT(6) command",
        "6.14": "MODE SENSE(10) command",
        "6.33": "REPORT LUNS command",
        "6.35": "REPORT SUPPORTED OPERATION CODES command",
        "6.35.3": "One_command parameter data format",
        "6.35.4": "Command timeouts descriptor",
        "6.36": "REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS command",
        "6.39": "REQUEST SENSE command",
        "6.47": "TEST UNIT READY command",
        "7.5": "Mode parameters",
        "7.5.8": "Control mode page",
        "7.8": "Vital product data parameters",
        "7.8.6": "Device Identification VPD page",
        "7.8.6.6.3": "NAA Locally Assigned designator format",
        "7.8.18": "Unit Serial Number VPD page",
        "table 53": "Sense key descriptions",
        "table 54": "ASC and ASCQ assignments",
        "table 179": "Version descriptor values",
        "table 197": "Page control (PC) field",
        "table 296": "SUPPORT values",
        "table 458": "Task set type (TST) field",
        "table 459": "QUEUE ALGORITHM MODIFIER field",
        "table 460": "Queue error management (QERR) field",
    })

SPC_3 = Document(
    "SPC-3", "SCSI Primary Commands - 3 (INCITS 408)", "revision 23",
    "comments of public targets", {"6.3": "EXTENDED COPY command"})

SBC_4 = Document(
    "SBC-4", "SCSI Block Commands - 4 (INCITS 506)", "revision 22", "the draft's text", {
        "4.7.3.4.4": "WRITE SAME command and unmap operations",
        "4.7.3.5": "Autonomous LBA transitions",
        "4.14": "Write and unmap failures",
        "4.15.4": "Write caching",
        "4.15.7": "Read operation and read medium operation interactions with caches",
        "4.18.1": "Error reporting overview",
        "clause 5": "Commands for direct access block devices",
        "5.3": "COMPARE AND WRITE command",
        "5.6": "GET LBA STATUS (16) command",
        "5.10": "ORWRITE (16) command",
        "5.13": "PRE-FETCH (10) command",
        "5.16": "READ (10) command",
        "5.17": "READ (12) command",
        "5.18": "READ (16) command",
        "5.19": "READ (32) command",
        "5.21": "READ CAPACITY (16) command",
        "5.21.2": "READ CAPACITY (16) parameter data",
        "5.30": "SANITIZE command",
        "5.30.2.2": "OVERWRITE service action",
        "5.35": "UNMAP command",
        "5.36": "VERIFY (10) command",
        "5.40": "WRITE (10) command",
        "5.41": "WRITE (12) command",
        "5.42": "WRITE (16) command",
        "5.43": "WRITE (32) command",
        "6.5": "Mode parameters",
        "6.5.2": "Mode parameter block descriptors",
        "6.5.6": "Caching mode page",
        "6.6": "Vital product data (VPD) parameters",
        "6.6.4": "Block Limits VPD page",
        "table 53": "PROVISIONING STATUS field",
        "table 79": "RDPROTECT field",
        "table 110": "SANITIZE service action codes",
        "table 125": "VRPROTECT field with the BYTCHK field set to 00b",
        "table 133": "WRPROTECT field",
        "table 230": "DEVICE-SPECIFIC PARAMETER field for direct access block devices",
    })

SBC_3 = Document(
    "SBC-3", "SCSI Block Commands - 3 (INCITS 514)", "revision 36",
    "the names of the commands that SBC-4 no longer has", {}, ("READ (6)", "WRITE (6)"))

DOCUMENTS: Mapping[str, Document] = {each.name: each for each in (
    RFC_7143, RFC_3720, RFC_5737, RFC_6298, RFC_9293, SAM_5, SPC_4, SPC_3, SBC_4, SBC_3)}
"""Every document that is cited, by its name."""
