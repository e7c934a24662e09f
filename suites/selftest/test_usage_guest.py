# SPDX-License-Identifier: GPL-2.0-or-later
"""The count of what is used: the kernel's files, read and added up."""

from __future__ import annotations

import os
from pathlib import Path

from fixtures.watcher import usage_guest

SLABINFO = """slabinfo - version: 2.1
# name  <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables <limit> ...
kmalloc-8k  12 16 8192 4 8 : tunables 0 0 0 : slabdata 4 4 0
kmalloc-64  1000 1024 64 64 1 : tunables 0 0 0 : slabdata 16 16 0
"""

VMSTAT = """nr_free_pages 900
nr_anon_pages 50
nr_file_pages 60
nr_slab_reclaimable 30
nr_slab_unreclaimable 40
nr_page_table_pages 10
nr_kernel_misc_reclaimable 1
nr_kernel_stack 160
"""

MEMINFO = """MemTotal:           8000 kB
VmallocUsed:         120 kB
Percpu:               40 kB
"""

VMALLOCINFO = """0xffffc90000000000-0xffffc90000005000   20480 irq_init+0xcf/0x100 vmap
0xffffc900001ff000-0xffffc90000201000    8192 unpurged vm_area
"""
"""The second area, freed, lies in the ranges of two pages of page table entries."""

ZONEINFO = """Node 0, zone    DMA32
  pages free     900
  pagesets
    cpu: 0
              count: 7
              high:  378
    cpu: 1
              count: 5
"""


def test_objects_and_pages_of_caches() -> None:
    assert usage_guest.slabs(SLABINFO) == ({"kmalloc-8k": 12, "kmalloc-64": 1000}, 48)


def test_pages_by_use() -> None:
    scale = usage_guest.PAGE_KIB
    found = usage_guest.pages(VMSTAT, MEMINFO, ZONEINFO, VMALLOCINFO, 48)
    assert found == {
        "anonymous": 50, "file": 60, "slab": 70, "large": 22, "page tables": 10, "reclaimable": 1,
        "per-CPU areas": 40 // scale, "vmalloc": 120 // scale, "vmalloc tables": 2,
        "free": 912, "other": 8000 // scale - 912 - 191 - 160 // scale - 2}


def test_the_least_of_several_samples() -> None:
    samples = [{"slabs": {"a": 3, "b": 9}}, {"slabs": {"a": 5}}, {"slabs": {"a": 4, "b": 7}}]
    assert usage_guest.least(samples) == {"slabs": {"a": 3, "b": 0}}


def test_private_memory() -> None:
    rows = "55-77 ---p 0 00:00 0 [rollup]\nRss: 900 kB\nPrivate_Clean: 3 kB\nPrivate_Dirty: 40 kB\n"
    assert usage_guest.private_kib(rows) == 43


def test_kernel_threads_are_known_by_their_flag() -> None:
    own = Path("/proc/self/stat").read_text()
    assert not usage_guest.is_kernel_thread(own)
    assert usage_guest.is_kernel_thread("2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 0")
    assert usage_guest.is_kernel_thread("9 (a) b (c) S 0 0 0 0 -1 2129984 0 0 0 0 0 0")


def test_a_descriptor_of_a_process_is_counted() -> None:
    name = Path(f"/proc/{os.getppid()}/stat").read_text().partition("(")[2].rpartition(")")[0]
    descriptors, private, tasks = usage_guest.of_processes()
    assert descriptors[name] > 0
    assert name in private
    assert tasks["processes"] >= 1


TRACES = """     10 scst_alloc_aen+0x4b/0xd0 [scst] age=1/2/3 pid=512 cpus=0-1
        __kmem_cache_alloc_node+0x180/0x250
        kmalloc_trace+0x26/0x90
        scst_alloc_aen.isra.0+0x4b/0xd0 [scst]
        scst_gen_aen_or_ua+0x10/0x2f0 [scst]
        scst_user_ioctl+0x1/0x2 [scst_user]

      3 kstrdup+0x4b/0xd0 waste=0/3 age=17 pid=1 cpus=0
        kstrdup+0x4b/0xd0
        kstrdup_const+0x3c/0x60

      1 <not-available> age=4294 pid=0
"""


def test_places_of_allocation() -> None:
    assert list(usage_guest.places(TRACES)) == [
        ("scst_alloc_aen < scst_gen_aen_or_ua", 10), ("kstrdup < kstrdup_const", 3),
        ("<not-available>", 1)]
    assert not list(usage_guest.places("")) + list(usage_guest.places("No data\n"))


def test_places_without_a_stack() -> None:
    """Kernels before 5.16 print the caller only."""
    text = "      8 getname_flags+0x3c/0x1c0 age=1 pid=1\n      2 audit_alloc+0x1/0x2 age=2 pid=1\n"
    assert list(usage_guest.places(text)) == [("getname_flags", 8), ("audit_alloc", 2)]
