# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel log reader on logs kept as files, each with its expected reports.

``logs/staged`` holds logs written by hand in the kernel's formats, ``logs/recorded`` logs of real
guests, ``logs/posted`` logs in the formats in which people post them. Beside ``NAME.log`` is
``NAME.toml``: one ``[[report]]`` for each report in order, with the fields to compare; none for the
log of a healthy kernel.
"""

from __future__ import annotations

import html
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from results.kernel_log import Kind, read
from results.kernel_log.frames import is_machinery
from results.kernel_log.kinds import OPENERS
from results.kernel_log.titles import cache_name, instance_free

LOGS = sorted((Path(__file__).parent / "logs").glob("*/*.log"))

KNOWN_FIELDS = {"kind", "title", "frame", "task", "cpu", "time"}


def expected(log: Path) -> list[dict[str, object]]:
    """Return the expected reports of a log."""
    reports: list[dict[str, object]] = tomllib.loads(log.with_suffix(".toml").read_text())["report"]
    return reports


@pytest.mark.parametrize("log", LOGS, ids=lambda log: f"{log.parent.name}-{log.stem}")
def test_log(log: Path) -> None:
    reports = read(log.read_bytes())
    wanted = expected(log)
    assert [report.title for report in reports] == [each["title"] for each in wanted]
    for report, want in zip(reports, wanted, strict=True):
        assert set(want) <= KNOWN_FIELDS
        assert {key: getattr(report, key) for key in want} == want
        assert report.lines


def test_every_kind_has_a_log() -> None:
    seen = {each["kind"] for log in LOGS for each in expected(log)}
    rare = {Kind.KMSAN, Kind.KFENCE}
    assert set(Kind) - seen <= rare
    assert {opener.kind for opener in OPENERS} == set(Kind)


def test_the_same_bug_has_the_same_title_on_both_kernels() -> None:
    by_kernel = {log.stem: expected(log)[0]["title"] for log in LOGS if expected(log)}
    pairs = [(name, name.replace("6.1", "6.12")) for name in by_kernel if name.endswith("-6.1")]
    both = [(old, new) for old, new in pairs if new in by_kernel]
    assert len(both) >= 6
    assert all(by_kernel[old] == by_kernel[new] for old, new in both)


def _damaged(data: bytes) -> Iterator[bytes]:
    yield data.replace(b"\n", b"\r\n")
    yield data.replace(b"\n", b"\x1b[0m\r\r\n")
    yield b"\xff" + data
    yield data + b"[   99"


@pytest.mark.parametrize("log", LOGS, ids=lambda log: f"{log.parent.name}-{log.stem}")
def test_line_ends_and_rubbish_change_nothing(log: Path) -> None:
    data = log.read_bytes()
    titles = [report.title for report in read(data)]
    if not data.endswith(b"\n"):
        pytest.skip("ends within a line")
    for damaged in _damaged(b"\n" + data):
        assert [report.title for report in read(damaged)] == titles


STAMP = re.compile(r"^\[ *(\d+\.\d{6})\](?:\[ *[TC]\d+\])? ?", re.MULTILINE)

COPIED = {
    "syslog": r"Sep 21 11:05:37 lab-a kernel: ",
    "syslog without a host": r"Sep 21 11:05:37 kernel: ",
    "syslog with stamps": r"Sep 21 11:05:37 lab-a kernel: \g<0>",
    "rsyslog": r"2025-10-02T22:10:51.402913+02:00 lab-b kernel: ",
    "journalctl -o short-iso": r"2025-10-02T22:10:51+0200 lab-b kernel: ",
    "journalctl -o short-monotonic": r"[\1] lab-a kernel: ",
    "dmesg -T": r"[Thu Jan 23 02:37:11 2025] ",
    "dmesg -H": r"[  +0.000005] ",
    "dmesg -x": r"kern  :err   : \g<0>",
    "dmesg -r": r"<4>\g<0>",
    "dmesg -d": r"[\1 <    0.000012>] ",
    "the syslog protocol": r"<12>1 2025-10-02T22:10:51.402913+02:00 lab-b kernel - - - \g<0>",
    "journalctl -o short-unix": r"1759435851.402913 lab-b kernel: ",
    "busybox's syslog": r"Sep 21 11:05:37 lab-a kern.err kernel: \g<0>",
    "a logger of a serial console": r"[2025-10-02 22:10:51.402] \g<0>",
    "logcat": r"10-02 22:10:51.402     0     0 E         : \g<0>",
    "a vendor's kernel": r"[\1] [2: kworker/2:1:   77] ",
    "grep -n": r"1234:\g<0>",
    "quoted": r"> \g<0>",
    "quoted twice": r"> > \g<0>",
    "indented": r"    \g<0>",
    "without stamps": r"",
}
"""What stands in place of a stamp and caller id, by the way in which a log was copied."""

NEEDS_STAMPS = {"soft-lockups-utilization-two-cpus", "callers-interleaved-6.1", "healthy-runtime"}
"""Two CPUs at once without caller ids; a stamp that is quoted."""


@pytest.mark.parametrize("way", COPIED)
def test_the_way_in_which_a_log_was_copied_changes_nothing(way: str) -> None:
    compared = 0
    for log in LOGS:
        text = log.read_bytes().decode(errors="replace")
        if STAMP.search(text) and log.stem not in NEEDS_STAMPS:
            copied = STAMP.sub(COPIED[way], text)
            assert [each.title for each in read(copied)] == [each.title for each in read(text)], log
            compared += 1
    assert compared > 40


def test_a_log_with_the_newest_line_first() -> None:
    compared = 0
    for log in LOGS:
        text = log.read_bytes().decode(errors="replace")
        times = [float(time) for time in STAMP.findall(text)]
        if len(times) == len(text.splitlines()) and len(set(times)) > len(times) // 2:
            turned = "\n".join(reversed(text.splitlines()))
            assert sorted(each.title for each in read(turned)) == sorted(
                each.title for each in read(text)), log
            compared += 1
    assert compared > 5


def test_a_log_as_json_lines_of_the_journal() -> None:
    for log in LOGS:
        text = STAMP.sub("", log.read_bytes().decode(errors="replace"))
        lines = "\n".join(json.dumps({"_TRANSPORT": "kernel", "MESSAGE": line})
                          for line in text.splitlines())
        assert [each.title for each in read(lines)] == [each.title for each in read(text)], log


def test_control_characters_made_visible() -> None:
    """As cat -v and editors show them."""
    for log in LOGS:
        text = log.read_bytes().decode(errors="replace")
        shown = text.replace("\n", "^M\n")
        assert [each.title for each in read(shown)] == [each.title for each in read(text)], log


def test_a_log_that_was_escaped_for_html() -> None:
    for log in LOGS:
        text = log.read_bytes().decode(errors="replace")
        if "<TASK>" in text:
            escaped = html.escape(text, quote=False)
            assert [each.title for each in read(escaped)] == [each.title for each in read(text)]


@pytest.mark.parametrize(("where", "title"), [
    ("", "general protection fault in scst_tm_thread"),
    ("RAX: 6b6b6b6b6b6b6b6b RBX: ffff888004a3b000 RCX: 0000000000000000",
     "general protection fault: use after free in scst_tm_thread"),
    ("RAX: ffff888004a3b000 RBX: 6b6b000000000000 RCX: 0000000000000000",
     "general protection fault in scst_tm_thread")])
def test_the_poison_of_freed_memory_is_named(where: str, title: str) -> None:
    log = ["general protection fault, probably for non-canonical address 0xdead000000000100: 0000 "
           "[#1] SMP", "CPU: 1 PID: 77 Comm: scsi_tm Tainted: G           OE",
           "RIP: 0010:scst_tm_thread+0x1a/0x60 [scst]", where, "Call Trace:", " kthread+0xda/0x100"]
    report, = read("\n".join(log))
    assert report.title == f"{title} (scsi_tm)"


@settings(max_examples=60, deadline=None)
@given(log=st.sampled_from(LOGS), begin=st.integers(0, 4000), length=st.integers(0, 8000))
def test_any_cut_is_read(log: Path, begin: int, length: int) -> None:
    for report in read(log.read_bytes()[begin:begin + length]):
        assert report.title
        assert report.lines


@settings(max_examples=60, deadline=None)
@given(first=st.sampled_from(LOGS), second=st.sampled_from(LOGS), data=st.data())
def test_any_mixture_is_read(first: Path, second: Path, data: st.DataObject) -> None:
    lines = first.read_bytes().split(b"\n")
    for line in second.read_bytes().split(b"\n")[:10]:
        lines.insert(data.draw(st.integers(0, len(lines))), line)
    read(b"\n".join(lines))


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=300))
def test_any_text_is_read(text: str) -> None:
    read(text)


def test_an_excerpt_holds_the_report_and_no_more() -> None:
    log = next(log for log in LOGS if log.stem == "warning-6.1")
    noise = b"[   25.000000] usb 1-1: new device\n"
    report, = read(noise + log.read_bytes() + noise.replace(b"25.0", b"25.9"))
    assert report.lines[0].endswith("[ cut here ]------------")
    assert report.lines[1].endswith("a warning with words")
    assert report.lines[-1].endswith("---[ end trace 0000000000000000 ]---")


def test_lines_of_others_are_left_out() -> None:
    log = next(log for log in LOGS if log.stem == "callers-interleaved-6.1")
    for report in read(log.read_bytes()):
        assert not any("somebody else" in line for line in report.lines)


def test_a_stack_much_later_is_not_the_reports() -> None:
    log = next(log for log in LOGS if log.stem == "soft-lockup-6.1").read_text()
    later = "[   99.000000]  stf_sick_thread+0x55/0xa0 [stf_sick]\n"
    report, = read(log + later)
    assert later.strip() not in report.lines


@pytest.mark.parametrize(("comm", "plain"), [
    ("kworker/0:1H", "kworker"), ("kworker/u8:2", "kworker"), ("scstd3", "scstd"),
    ("iscsird0_1", "iscsird"), ("scsi_eh_12", "scsi_eh"), ("stf0_00", "stf"),
    ("scst_usr_cleanu", "scst_usr_cleanu"), ("ksoftirqd/1", "ksoftirqd"), ("0", "0"),
    ("jbd2/sda1-8", "jbd"), ("fio", "fio"), ("a very long name of a task", "a very long nam"),
])
def test_instance_free(comm: str, plain: str) -> None:
    assert instance_free(comm) == plain


@pytest.mark.parametrize("cache", [
    "kmalloc-64", "kmalloc-rnd-03-64", "kmalloc-cg-64", "kmalloc-rcl-64",
])
def test_cache_name(cache: str) -> None:
    assert cache_name(cache) == "kmalloc-64"


@pytest.mark.parametrize("function", [
    "dev_user_process_cleanup", "tcmu_queue_cmd", "transport_generic_free_cmd", "scst_cmd_thread",
    "iscsit_response_queue", "blk_mq_freeze_queue_wait", "sd_remove", "complete_cmd",
    "list_lru_add", "target_complete_cmd", "check_disk_change", "copy_process", "strategy",
    "timerfd_read", "scheduler_of_mine", "print_queue", "upload", "uptime_proc_show",
    "debugfs_create_file", "perform_io", "kthread_worker_fn", "kernfs_drain",
    "stf_sick_spin_thread", "__scsi_remove_device", "queued_commands", "spinner", "waiting",
    "locks_remove_file", "memory_lseek",
])
def test_what_names_a_report(function: str) -> None:
    assert not is_machinery(function)


@pytest.mark.parametrize("function", [
    "_raw_spin_lock_irqsave", "native_queued_spin_lock_slowpath", "__mutex_lock", "schedule",
    "__schedule", "io_schedule", "schedule_timeout", "wait_for_completion", "__wait_for_common",
    "msleep", "watchdog_timer_fn", "asm_sysvec_apic_timer_interrupt", "dump_stack_lvl",
    "rcu_sched_clock_irq", "synchronize_rcu", "__flush_work", "kthread", "ret_from_fork_asm",
    "__list_del_entry_valid_or_report", "refcount_warn_saturate", "kasan_report", "memcpy_orig",
    "down_read", "up", "mutex_spin_on_owner", "kthread_stop", "smp_call_function_many_cond",
])
def test_what_never_names_a_report(function: str) -> None:
    assert is_machinery(function)
