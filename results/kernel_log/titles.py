# SPDX-License-Identifier: GPL-2.0-or-later
"""Titles that are the same for the same bug: without numbers, addresses and instances."""

from __future__ import annotations

import re

COMM_MAX = 15
"""Characters of a task's comm (TASK_COMM_LEN - 1, include/linux/sched.h)."""

VARIABLE = (
    (re.compile(r"\(____ptrval____\)|\b0x[0-9a-fA-F]+\b|\b[0-9a-f]{8,}\b"), "ADDR"),
    (re.compile(r"\+ADDR(?:/ADDR)?"), ""),
    (re.compile(r"CPU ?#?\d+"), "CPU"),
    (re.compile(r"\bpid[:=]? ?\d+"), "pid"),
    (re.compile(r"\d+"), "N"),
    (re.compile(r"\s+"), " "),
)

TITLE_MAX = 120


def instance_free(comm: str) -> str:
    """Return a task's name without the number of its instance or CPU.

    "kworker/u8:2" becomes "kworker", "scst_usr_cleanu" stays, "iscsird0_1" becomes "iscsird".
    """
    comm = comm.strip()[:COMM_MAX]
    kind = re.split(r"/", comm, maxsplit=1)[0]
    return re.sub(r"[\d_.:-]*\d[\d_.:-]*$", "", kind) or kind


def normalised(words: str) -> str:
    """Return a message without the parts that differ from run to run."""
    for pattern, instead in VARIABLE:
        words = pattern.sub(instead, words)
    return words.strip(" .:!")[:TITLE_MAX]


def cache_name(cache: str) -> str:
    """Return a slab cache's name as it is on every kernel.

    6.6 and later spread kmalloc over random copies (CONFIG_RANDOM_KMALLOC_CACHES).
    """
    return re.sub(r"^kmalloc-(?:rnd-\d+|cg|rcl|part-\d+)-", "kmalloc-", cache)
