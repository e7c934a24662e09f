# SPDX-License-Identifier: GPL-2.0-or-later
"""Stack frames of a report, and the choice of the frame that names it.

A frame names a report when it lies below the machinery that every report of its kind shows: locks,
waits, the scheduler, interrupts, the watchdog itself, the printing of the stack.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

ADDRESS = r"\[<?(?:0x)?[0-9a-f]{8,16}>?\]"
FRAME = re.compile(
    rf"\s*\(?(?:{ADDRESS}\s*){{0,2}}\(?(?P<guess>\? )?\s*(?:\.|:\w+:)?"
    r"(?P<function>[A-Za-z_][\w.$]*)"
    r"(?:\+0x[0-9a-f]+(?:/0x[0-9a-f]+)?(?: \[(?P<module>[\w-]+)[^\]]*\])?"
    rf"|(?: \[[\w-]+\])?\)? from (?:{ADDRESS} \()?[A-Za-z_][\w.$]*\+0x)"
)
"""``func+0x12/0x34 [module]``; the unwinder (arch/x86/kernel/dumpstack.c) marks unreliable
addresses on the stack with ``?``. powerpc prints the stack pointer and the address before it, s390
puts the first into parentheses, arm writes ``[<address>] (func) from [<address>] (caller+0x12)``
and later ``func from caller+0x12``."""

POINTER = re.compile(
    rf"\s*(?:[RE]?IP: (?:[0-9a-f]{{4}}:)?\s*(?:{ADDRESS}\s*)*|e?pc\s*: |(?:EIP|PC) is at "
    rf"|NIP:? {ADDRESS} |epc\s*: [0-9a-f]{{8,16}} |(?:pc|ERA:?) [0-9a-f]{{16}} "
    r"|Krnl PSW : [0-9a-f]{16} [0-9a-f]{16} \()"
    r"(?:\.|:\w+:)?(?P<function>[A-Za-z_][\w.$]*)\+0x[0-9a-f]+"
    r"(?:/0x[0-9a-f]+)?(?: \[(?P<module>[\w-]+)[^\]]*\])?"
)
"""The instruction pointer: kernels before 4.10 print the address in brackets, once or twice. Its
name is that of arch/x86, arm64 and riscv, arm, powerpc, mips, loongarch, s390."""

CONTEXT = re.compile(
    r"\s*<{1,2}(?P<end>/?)(?P<name>TASK|IRQ|SOFTIRQ|NMI|EOI|EOE|#\w+|ENTRY_TRAMPOLINE)>{1,2}")
"""Kernels before 4.10 print it in front of the first frame."""

MACHINERY = {
    "printing the stack": r"""
        dump_stack\w* __dump_stack dump_backtrace\w* unwind_backtrace walk_stackframe
        arch_stack_walk stack_trace_\w+ save_stack\w* show_\w+ __show_regs sched_show_task
        dump_header dump_cpu_task
        print_\w*(?:bug|report|dependency|description|stall|trailer|tracking|section)\w*
        nmi_\w*backtrace\w* nmi_trigger_\w+ trigger_\w*backtrace arch_trigger_\w+
        (?:default_)?do_nmi exc_nmi asm_exc_nmi end_repeat_nmi nmi_handle nmi_panic vpanic
        handle_pmi_common
    """,
    "the exception that led to the report": r"""
        exc_\w+ asm_exc_\w+ do_error_trap do_trap\w* handle_bug handle_exception report_bug
        __report_bug die\w* __die\w* oops_\w+ page_fault_oops kernelmode_fixup_or_oops bad_area\w*
        __bad_area\w* do_user_addr_fault do_kern_addr_fault handle_page_fault no_context
        page_fault general_protection (?:do_)?invalid_op error_entry do_undefinstr
        __(?:dabt|pabt|und|irq)_\w+ _exception\w* do_program_check program_check_\w+
        bad_page_fault illegal_op pgm_check_handler __do_pgm_check ret_from_exception
        rust_helper_BUG fortify_panic __fortify_\w+ __warn_printk math_error do_page_fault
        do_translation_fault do_mem_abort __do_kernel_fault do_DataAbort el1\w* el1h_\w+ arm64_\w+
        bug_handler brk_handler do_debug_exception panic panic_\w+ __warn\w* warn_slowpath\w*
        fixup_bug __stack_chk_fail notify_die
    """,
    "a check that failed": r"""
        kasan_\w+ __kasan_\w+ __asan_\w+ __hwasan_\w+ check_memory_region check_region_inline
        __sanitizer_cov_\w+ write_comp_data kcsan_\w+ __tsan_\w+ kmsan_\w+ __msan_\w+
        kfence_\w+ __kfence_\w+ ubsan_\w+ __ubsan_\w+
        refcount_warn_saturate __refcount_\w+ refcount_\w+ kref_\w+ __list_(?:add|del)\w*
        __might_resched ___might_sleep __might_sleep (?:__)?might_fault __schedule_bug
        slab_err should_fail\w* warn_alloc warn_bogus_irq_restore __virt_addr_valid hlock_class
        instrument_\w+ (?:arch_|raw_)?atomic(?:64|_long)?_\w+ _atomic_dec_and_\w*lock\w*
        (?:test_and_)?(?:set|clear|change|test)_bit\w*
        usercopy_\w+ __check_\w*object\w* check_heap_object check_stack_object
        check_preemption_disabled debug_smp_processor_id lockdep_\w+ lock_acquire\w*
        lock_release\w* __lock_\w+ validate_chain
        check_(?:noncircular|path|prevs?_add|deadlock|irq_usage|usage\w*)
        check_(?:object|slab|bytes_and_report|wait_context) mark_lock\w* mark_usage
        mark_held_locks trace_hardirqs_\w+ register_lock_class valid_state
        debug_(?:check|print|object)\w* __debug_(?:check|object)\w*
    """,
    "memory that is copied, filled, allocated or freed for somebody": r"""
        memcpy\w* memset\w* memmove\w* memcmp\w* __memcpy\w* __memset\w* __memmove\w*
        str(?:n?len|n?cmp|[nsl]?cpy|n?cat|r?chr|str)\w* memchr_inv
        copy_(?:to|from|user|page|mc)_?\w* _copy_\w+ __copy_\w+ rep_\w+ __get_user\w*
        __put_user\w* clear_page\w* kfree\w* kvfree\w* kmalloc\w* __kmalloc\w* kmem_cache_\w+
        __kmem_cache_\w+ kzalloc\w* slab_\w+ __slab_\w+ ___slab_\w+ object_err
        free_to_partial_list free_debug_processing on_freelist alloc_debug_processing init_object
        get_any_partial get_partial_node\w* __alloc_pages\w* alloc_pages\w* get_page_from_freelist
        free_pages\w* __free_pages\w* free_unref_\w+ free_pcp\w* bad_page free_page_is_bad\w*
        free_tail_page_prepare rmqueue\w* prep_new_page post_alloc_hook out_of_memory
        oom_kill_process __vmalloc\w* vmalloc\w* vfree\w*
    """,
    "locks": r"""
        _raw_\w+ __raw_\w+ do_raw_\w+ native_queued_\w+ queued_(?:spin|read|write)\w* pv_\w+
        __pv_\w+ kvm_wait mutex_\w+ __mutex_\w+ ww_mutex_\w+ __ww_mutex_\w+ osq_\w+ rwsem_\w+
        __rwsem_\w+ down(?:_\w+)? __down\w* up(?:_read|_write)? __up(?:_read|_write)?
        call_rwsem_\w+ percpu_down_\w+ __percpu_\w+ percpu_rwsem_\w+
        spin_(?:lock|unlock|bug|dump)\w* lock_sock\w* rt_\w*mutex\w+ __rt_\w*mutex\w+
        rtlock_\w+ mcs_\w+
    """,
    "waits and sleeps": r"""
        wait_for_\w+ __wait_for_\w+ do_wait_for_common wait_woken prepare_to_\w+ finish_wait
        __wait_on_\w+ wait_on_\w+ out_of_line_wait_\w+ bit_wait\w* var_wake_function msleep\w*
        usleep_\w+ schedule(?:_(?:timeout|hrtimeout|preempt|idle|user|rtlock|tail)\w*)?
        __schedule\w* io_schedule\w* preempt_schedule\w* synchronize_\w+ __synchronize_\w+
        wait_rcu_gp __wait_rcu_gp rcu_barrier\w* flush_work\w* __flush_work\w* flush_workqueue
        __flush_workqueue drain_workqueue cancel_\w*work_sync __cancel_work\w* start_flush_work
        kthread_(?:stop|park)\w* do_nanosleep hrtimer_nanosleep common_nsleep\w* swake_\w+
        swait_\w+
    """,
    "the scheduler and idling": r"""
        rebalance_domains\w* run_rebalance_domains\w* sched_balance_\w+ load_balance
        update_sd_lb_stats\w* update_sg_lb_stats\w* find_busiest_\w+ newidle_balance
        select_task_rq\w* select_idle_\w+ (?:en|de)queue_(?:task|entity)\w*
        update_(?:curr|load_avg|rq_clock)\w* psi_\w+ hrtick_\w+ activate_task\w* context_switch
        finish_task_switch\w* pick_next_task\w* try_to_wake_up wake_\w+ __wake_\w+
        complete(?:_all)? ttwu_\w+ cond_resched\w* __cond_resched\w* dynamic_cond_resched
        __preempt_\w+ preempt_count_\w+ raw_irqentry_\w+ default_idle\w* native_safe_halt
        native_halt arch_cpu_idle acpi_\w*idle\w* cpuidle_\w+ cpu_idle\w* do_idle
        cpu_startup_entry mwait_idle\w* intel_idle\w* rest_init start_secondary\w*
        secondary_startup_64\w* pv_native_\w+ __sched_text_\w+ ___preempt_schedule\w*
    """,
    "interrupts, timers and the watchdog": r"""
        asm_\w+ sysvec_\w+ __sysvec_\w+ apic_timer_interrupt smp_apic_timer_interrupt
        local_apic_timer_interrupt common_interrupt __common_interrupt do_IRQ ret_from_intr
        irq_\w+ __irq_\w+ irqentry_\w+ handle_(?:irq|edge|level|fasteoi)\w* __handle_irq\w*
        call_on_\w*stack\w* do_softirq\w* __do_softirq __softirqentry\w* handle_softirqs
        invoke_softirq __local_bh_\w+ run_ksoftirqd smpboot_thread_fn run_timer_\w+
        __run_timers\w* call_timer_fn __?mod_timer\w* mod_timer\w* add_timer\w* enqueue_timer
        enqueue_hrtimer call_timer lapic_\w+ clockevents_\w+ timekeeping_\w+ timer_interrupt
        timer_delete\w* del_timer\w* expire_timers hrtimer_\w+ __hrtimer_\w+ tick_\w+
        update_process_times scheduler_tick sched_tick task_tick_\w+ watchdog\w* __watchdog\w*
        is_softlockup perf_(?:event|swevent|tp|trace|output)\w* __perf_\w+ x86_pmu_\w+
        intel_pmu_\w+ rcu_\w+ __rcu_\w+ synchronize_sched\w* check_cpu_stall print_cpu_stall
        panic_on_rcu_stall khungtaskd
    """,
    "calls between CPUs": r"""
        smp_call_\w+ __smp_call_\w+ on_each_cpu\w* generic_exec_single csd_\w+ __csd_\w+
        flush_smp_call_\w+ __flush_smp_call_\w+ flush_tlb\w* native_flush_tlb\w* stop_\w*cpus\w*
        multi_cpu_stop cpu_stop_\w+ cpu_stopper_thread stop_one_cpu\w*
    """,
    "delays and the clock": r"""
        delay_\w+ __delay __udelay __ndelay __const_udelay ktime_\w+ read_tsc pvclock_\w+
        kvm_clock_\w+ rdtsc\w* native_sched_clock sched_clock\w* native_\w+ cpu_relax rep_nop
    """,
    "where every stack begins": r"""
        kernel_thread_\w+ ret_from_kernel_thread child_rip sysenter_do_call system_call\w*
        sysret_check tracesys call_softirq start_kernel x86_64_start_\w+ common_startup_64
        ret_from_fork\w* kthread worker_thread
        process_one_work process_scheduled_works rescuer_thread entry_\w+ do_syscall_\w+
        x64_sys_call __do_fast_syscall_32 syscall_\w+ do_el0_\w+ el0\w* invoke_syscall el0_svc\w*
        do_group_exit get_signal exit_to_user_\w+ arch_do_signal\w* task_work_run
    """,
}
"""Functions that never name a report, by their purpose: kernel 5.10 to 6.12, x86 and arm64."""

_SKIP = re.compile("|".join(word for words in MACHINERY.values() for word in words.split()))

WRAPPER = re.compile(r"__(?:x64|ia32|arm64)_(?=sys_)")


@dataclass(frozen=True, slots=True)
class Frame:
    """One function on a stack; ``interrupt``: not in the task's own context."""

    function: str
    interrupt: bool


@dataclass
class Section:
    """One stack of a report, with its CPU and task.

    ``names``: whether it may name the report. The stacks of the tasks that allocated or freed the
    memory, of other locks' holders and of the grace-period kthread may not.
    """

    cpu: int | None = None
    comm: str | None = None
    pid: int | None = None
    names: bool = True
    frames: list[Frame] = field(default_factory=list)
    context: str = "TASK"

    def take(self, text: str) -> bool:
        """Take in a line of the stack; return whether it was one."""
        change = None
        while found := CONTEXT.match(text):
            change = found
            over = change["end"] or change["name"] in {"EOI", "EOE"}
            self.context = "TASK" if over else change["name"]
            text = text[change.end():]
        pointer = POINTER.match(text)
        frame = pointer or FRAME.match(text)
        if frame and not frame.groupdict().get("guess"):
            entry = Frame(plain(frame["function"]), self.context != "TASK")
            if not (pointer and self.frames == [entry]):  # IP and RIP name the same place
                self.frames.append(entry)
        return change is not None or frame is not None


def plain(function: str) -> str:
    """Return a function's name without the compiler's suffixes (.isra.0, .cold) or ABI prefix."""
    return WRAPPER.sub("", function.split(".", maxsplit=1)[0])


def is_machinery(function: str) -> bool:
    """Return whether a function lies in the machinery that never names a report."""
    return _SKIP.fullmatch(function) is not None


def naming(sections: Iterable[Section]) -> tuple[Frame, Section] | None:
    """Return the first frame that names a report, with its section, or None."""
    return next(
        (
            (frame, section) for section in sections if section.names
            for frame in section.frames if not is_machinery(frame.function)
        ),
        None,
    )
