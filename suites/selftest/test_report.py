# SPDX-License-Identifier: GPL-2.0-or-later
"""The report: its first line names the cause; the sections hold the evidence a developer needs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from results.judge import Judgement, interrupted, judge
from results.known_issues import KnownIssue
from results.report import cause, text
from suites.selftest.stories import FIRED, SCENARIO, Story, healthy, sample

UCMD = {"kind": "scst_user", "handle": 25, "state": "ON_CACHE_FREEING", "ref": 1,
        "sent_to_user": 0, "cmd": None, "device": "stf0"}

SE_CMD = {"kind": "se_cmd", "tag": 37, "opcode": 0x2A, "state": "PROCESSING",
          "transport_state": ["CMD_T_ACTIVE", "CMD_T_SENT"], "refcount": 2, "device": "stf0"}

RELEASED = ["wait_for_completion+0x80/0x100", "dev_user_release+0x1/0x2 [scst_user]"]

LIO_WAITS = ["target_wait_for_sess_cmds+0x1/0x2 [target_core_mod]",
             "iscsit_close_connection+0x1/0x2 [iscsi_target_mod]"]


def stalled(threads: str = "scst_usr_cleanu") -> Story:
    """Return a history in which a thread spins from 16 s on and another waits for it."""
    story = healthy().without("sampler", "threads", "blocked", after=16.0)
    story.without("target", "end", operation="teardown")
    for tick in range(32, 48):
        sample(story, tick / 2, {threads: 0.49}, {"scst_usr_releas": RELEASED})
    return story


def blocked(stack: list[str], comm: str = "iscsi_np") -> Story:
    """Return a history in which a task is in D state until the end."""
    story = healthy().without("sampler", "threads", "blocked", after=16.0)
    for tick in range(32, 48):
        sample(story, tick / 2, blocked={comm: stack})
    return story


def judged(story: Story) -> Judgement:
    """Return the judgement of a history."""
    return judge(story.history())


def first_line(story: Story, **given: Any) -> str:
    """Return the first line of the report on a history."""
    return text(judged(story), story.history(), **given).splitlines()[0]


def section(report: str, title: str) -> list[str]:
    """Return the lines of a section, without their indentation."""
    parts = {part.splitlines()[0]: part.splitlines()[1:] for part in report.split("\n\n")}
    return [line.removeprefix("  ") for line in parts[title]]


NEVER_ENDS = ("ucmd h=25 of stf0 (state ON_CACHE_FREEING, ref 1, not sent to the backend, "
              "no SCSI command) never ends")


def test_who_spins_for_what_and_who_waits() -> None:
    story = stalled()
    report = text(judged(story), story.history(), stuck=[UCMD])
    assert report.splitlines()[0] == (
        f"{NEVER_ENDS}; scst_usr_cleanupd spins for it; scst_usr_released waits for it in D")
    assert section(report, "Consequences")[0].startswith("threads: scst_usr_cleanu:100 burnt 98%")


def test_names_that_proc_shows_in_full() -> None:
    story = stalled("scst_usr_cleanupd")
    story.at(22.0, "console", "line", text="[   22.000000] watchdog: BUG: soft lockup - CPU#1 "
             "stuck for 8s! [scst_usr_cleanu:158]")
    line = first_line(story, stuck=[UCMD])
    assert line.startswith(f"{NEVER_ENDS}; scst_usr_cleanupd spins for it")
    assert line.count("spins") == 1


def test_several_commands() -> None:
    second = {**UCMD, "handle": 26, "sent_to_user": 1, "cmd": "0xffff888001", "opcode": 0x2A}
    assert first_line(stalled(), stuck=[UCMD, second]).startswith(
        "2 ucmds, the first h=25 of stf0 (state ON_CACHE_FREEING, ref 1, not sent to the backend, "
        "no SCSI command), never end; scst_usr_cleanupd spins for them")
    assert first_line(stalled(), stuck=[second]).startswith(
        "ucmd h=26 of stf0 (opcode 0x2a, state ON_CACHE_FREEING, ref 1, sent to the backend) never")


def test_without_the_table_who_spins_is_known_all_the_same() -> None:
    story = stalled()
    report = text(judged(story), story.history())
    assert report.startswith("scst_usr_cleanu:100 burnt 98% of a CPU for ")
    assert section(report, "Consequences")[0].startswith("threads: scst_usr_releas:200 (wait_for")


def test_what_nobody_is_known_to_wait_for() -> None:
    assert first_line(stalled("iscsird0_1"), stuck=[UCMD]) == (
        f"{NEVER_ENDS}; iscsird0_1 spins; scst_usr_released waits in D in dev_user_release")


SE_CMD_WORDS = ("se_cmd tag=37 (opcode 0x2a, state PROCESSING, transport state CMD_T_ACTIVE, "
                "CMD_T_SENT, refcount 2) never ends")


def test_a_task_below_lio_waits_for_its_commands() -> None:
    assert first_line(blocked(LIO_WAITS), stuck=[SE_CMD]) == (
        f"{SE_CMD_WORDS}; iscsi_np waits for it in D in target_wait_for_sess_cmds")


def test_a_command_names_its_waiters() -> None:
    stack = ["wait_for_completion+0x1/0x2"]
    row = {**SE_CMD, "waiters": ["iscsi_np:200"]}
    assert first_line(blocked(stack), stuck=[row]) == f"{SE_CMD_WORDS}; iscsi_np waits for it in D"
    assert first_line(blocked(stack), stuck=[{**row, "waiters": ["rm:9"]}]) == (
        f"{SE_CMD_WORDS}; iscsi_np waits in D")


def test_several_who_wait_for_the_same() -> None:
    story = blocked(LIO_WAITS)
    story.changed("sampler", "blocked", {}, tasks=[
        {"pid": pid, "comm": comm, "state": "D", "wchan": "", "stack": LIO_WAITS}
        for pid, comm in ((1, "iscsi_np"), (2, "rm"))])
    line = first_line(story, stuck=[SE_CMD])
    assert line.endswith("; rm waits for it in D in target_wait_for_sess_cmds")


WAITER = {"task": "rmdir", "pid": 9, "state": "D", "waits_in": "core_tpg_remove_lun",
          "stack": ["schedule", "core_tpg_remove_lun"], "modules": ["target_core_mod"]}


def test_waiters_from_memory() -> None:
    story = healthy().without("target", "end", operation="teardown")
    assert first_line(story, stuck=[SE_CMD], waiters=[WAITER]).startswith(
        f"{SE_CMD_WORDS}; rmdir waits for it in D in core_tpg_remove_lun")
    running = {**WAITER, "state": "R", "cpu": 1}
    report = text(judged(story), story.history(), waiters=[running])
    assert report.startswith("the teardown had not ended")
    assert section(report, "Spinning and blocked tasks") == [
        "rmdir:9 in the guest's memory: state R, on CPU 1",
        "    schedule", "    core_tpg_remove_lun"]


def test_a_ring_is_shown_and_not_named() -> None:
    ring = {"kind": "tcmu", "device": "stf0", "cmd_head": 128, "inflight": []}
    report = text(judged(blocked(LIO_WAITS)), blocked(LIO_WAITS).history(), stuck=[SE_CMD, ring])
    assert "tcmu" not in report.splitlines()[0]
    assert section(report, "Stuck commands") == [
        "kind    tag  opcode  state       transport_state           refcount  device",
        "se_cmd  37   0x2a    PROCESSING  CMD_T_ACTIVE, CMD_T_SENT  2         stf0",
        "kind  device  cmd_head  inflight",
        "tcmu  stf0    128       -",
    ]


LOCKUP = ("watchdog: BUG: soft lockup - CPU#1 stuck for 8s! [scst_usr_cleanu:158]",
          "CPU: 1 PID: 158 Comm: scst_usr_cleanu Tainted: G O 6.1.0", "Call Trace:",
          " sgv_pool_flush+0x10/0x20 [scst]")

HUNG = ("INFO: task scst_usr_releas:178 blocked for more than 10 seconds.",
        "task:scst_usr_releas state:D stack:0 pid:178 ppid:2 flags:0x4000", "Call Trace:",
        " dev_user_release+0x10/0x20 [scst_user]")


def logged(*reports: tuple[str, ...]) -> Story:
    """Return a history with console output but no samples after the fault."""
    story = healthy().without("sampler", after=FIRED)
    for number, report in enumerate(reports):
        for words in report:
            story.at(20.0 + number, "console", "line", text=f"[   2{number}.000000] {words}")
    return story


def test_a_guest_that_only_its_console_tells_of() -> None:
    assert first_line(logged(LOCKUP, HUNG), stuck=[UCMD]) == (
        f"{NEVER_ENDS}; scst_usr_cleanupd spins for it; scst_usr_released waits for it in D")


def test_what_broke_comes_before_what_stands_still() -> None:
    story = logged(LOCKUP, ("BUG: kernel NULL pointer dereference, address: 08",))
    report = text(judged(story), story.history(), stuck=[UCMD])
    assert report.startswith("NULL pointer dereference\n")
    assert section(report, "Consequences") == [
        "kernel_health: soft lockup in sgv_pool_flush (scst_usr_cleanu)",
        f"kernel_health: {NEVER_ENDS}; scst_usr_cleanupd spins for it"]


def test_nothing_stands_still() -> None:
    story = healthy().changed("block", "complete", {"disk": "sda", "io": 5}, error="EIO")
    assert first_line(story).startswith("1 failed when nothing was broken")


def test_what_is_no_failure() -> None:
    assert cause(judged(healthy()), healthy().history())[0].startswith("PASS: ")
    lost = interrupted("a", "QEMU was killed")
    report = text(lost, Story().history())
    assert report == (
        "UNKNOWN: machine: QEMU was killed\n\nVerdict\n  a: UNKNOWN\n"
        "  UNKNOWN  machine  QEMU was killed\n")


def test_all_sections() -> None:
    story = stalled()
    for words in LOCKUP:
        story.at(22.0, "console", "line", text=f"[   22.000000] {words}")
    story.without("block", "complete", disk="sda", io=21)
    story.at(13.8, "backend", "step", point="EXEC", action="held", handle=25, opcode=0x2A,
             direction="write", lba=0, bytes=4096)
    report = text(judged(story), story.history(), stuck=[UCMD], files=["console.log"],
                  missing=["no symbols of lio: run x"])
    assert section(report, "Verdict")[0] == f"{SCENARIO}: FAIL"
    assert any(line.startswith("FAIL     threads        scst_usr_cleanu:100 burnt")
               for line in section(report, "Verdict"))
    assert section(report, "Stuck commands") == [
        "kind       handle  state             ref  sent_to_user  cmd  device",
        "scst_user  25      ON_CACHE_FREEING  1    0             -    stf0",
    ]
    assert section(report, "Spinning and blocked tasks") == [
        "scst_usr_cleanu:100 spins: 98% of a CPU for 4.3 s",
        "scst_usr_releas:200 in D state", *(f"    {frame}" for frame in RELEASED),
    ]
    assert section(report, "Kernel reports")[0] == (
        "soft lockup in sgv_pool_flush (scst_usr_cleanu): named by sgv_pool_flush, "
        "task scst_usr_cleanu, CPU 1")
    assert section(report, "Commands in flight") == [
        "write of 4096 bytes at sector 168 of sda, issued at 13.800 s",
        "the backend did not answer EXEC, handle 25, opcode 0x2a: held at 13.800 s",
    ]
    assert section(report, "Files") == ["console.log"]
    assert section(report, "Missing evidence") == ["no symbols of lio: run x"]


def test_the_time_line() -> None:
    story = stalled()
    for number in range(9):
        story.at(15.0, "scsi", "timeout", host="0:0:0:0", tag=number, opcode="2a")
    lines = section(text(judged(story), story.history()), "Time line")
    assert lines[0] == "s from the fault"
    assert "    +0.000  fault: close fires, 4 commands held" in lines
    assert "    +2.500  first evidence of: threads" in lines
    assert sum("command timed out: tag" in line for line in lines) == 3
    assert lines[-1].endswith("scsi: command timed out: 9 times in all")
    times = [float(line.split()[0]) for line in lines[1:]]
    assert times == sorted(times)


def test_a_time_line_without_a_fault_counts_from_the_beginning() -> None:
    story = healthy().without("fault")
    lines = section(text(judged(story), story.history()), "Time line")
    assert lines[:2] == ["s from the begin", "    +0.000  harness: phase restore"]


@pytest.mark.parametrize(("command", "shown"), [
    ("pytest suites/teardown --scst /opt", "pytest suites/teardown --scst /opt"),
    (None, f"pytest suites --target scst --kernel 6.1 --seed 1 -k {SCENARIO}"),
])
def test_how_to_run_it_again(command: str | None, shown: str) -> None:
    story = healthy().changed("harness", "scenario", {}, target="scst", kernel="6.1")
    report = text(judged(story), story.history(), command=command)
    assert section(report, "Run it again") == [f"scenario {SCENARIO}, seed 1", shown]


def test_a_repeated_report_is_shown_once() -> None:
    report = text(judged(logged(LOCKUP, LOCKUP)), logged(LOCKUP, LOCKUP).history())
    lines = section(report, "Kernel reports")
    assert lines[0].endswith("2 times")
    assert len([line for line in lines if "soft lockup -" in line]) == 1


def test_long_lists_are_cut() -> None:
    story = healthy()
    for serial in range(100, 160):
        story.at(15.0, "block", "issue", io=serial, disk="sda", op="write", sector=serial * 8,
                 bytes=4096)
        story.at(15.0, "backend", "step", point="EXEC", action="received", handle=serial,
                 opcode=0x2A, direction="write", lba=0, bytes=4096)
    lines = section(text(judged(story), story.history()), "Commands in flight")
    assert len(lines) == 82
    assert lines[40] == lines[81] == "... and 20 more"
    long = (*LOCKUP, *(f" function_{number}+0x1/0x2" for number in range(60)))
    report = text(judged(logged(long)), logged(long).history())
    assert section(report, "Kernel reports")[-1] == "    ... (console.log has the rest)"


def test_a_known_issue_is_named() -> None:
    known = replace(judged(stalled()), known=KnownIssue("pool", "https://example.org/1"),
                    matched=("ledger: open (write)",))
    report = text(known, stalled().history())
    assert section(report, "Verdict")[:2] == [
        f"{SCENARIO}: KNOWN, pool (https://example.org/1)", "recognised by ledger: open (write)"]
