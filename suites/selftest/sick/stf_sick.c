// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A kernel falls ill on request: "ILLNESS SECONDS" written to
 * /sys/module/stf_sick/parameters/fall_ill starts it in a thread of its own, named
 * stf_sick_ILLNESS, and returns at once. An illness that lasts ends after so many seconds, or
 * when anything is written to .../parameters/heal. .../parameters/ill tells how many last.
 *
 * Each illness is one function, never inlined: reports are named by it.
 */
#include <linux/atomic.h>
#include <linux/delay.h>
#include <linux/init.h>
#include <linux/jiffies.h>
#include <linux/kernel.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/nmi.h>
#include <linux/preempt.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/wait.h>

#define LEAKED 8

struct illness {
	const char *name;
	void (*run)(unsigned long until);
};

struct request {
	const struct illness *illness;
	unsigned long until;
};

struct stf_sick_object {
	char bytes[200];
};

static DECLARE_WAIT_QUEUE_HEAD(healing);
static struct kmem_cache *cache;
static atomic_t ill = ATOMIC_INIT(0);
static bool healed;

static bool over(unsigned long until)
{
	return READ_ONCE(healed) || time_after(jiffies, until);
}

/* A loop that gives way whenever it is asked to: only its CPU time tells. */
static noinline void stf_sick_spin(unsigned long until)
{
	while (!over(until)) {
		cpu_relax();
		cond_resched();
	}
}

/* One that does not: the soft lockup detector's. */
static noinline void stf_sick_lock(unsigned long until)
{
	preempt_disable();
	while (!over(until))
		cpu_relax();
	preempt_enable();
}

/* A reader that never ends; the soft lockup detector is told that all is well. */
static noinline void stf_sick_stall(unsigned long until)
{
	preempt_disable();
	rcu_read_lock();
	while (!over(until)) {
		touch_softlockup_watchdog();
		cpu_relax();
	}
	rcu_read_unlock();
	preempt_enable();
}

/* A wait that no signal ends. */
static noinline void stf_sick_park(unsigned long until)
{
	unsigned long now = jiffies;

	wait_event_timeout(healing, READ_ONCE(healed),
			   time_after(until, now) ? until - now : 1);
}

static noinline void stf_sick_warn(unsigned long until)
{
	WARN(1, "stf_sick was asked to warn\n");
}

static noinline void stf_sick_oops(unsigned long until)
{
	int *nowhere = NULL;

	OPTIMIZER_HIDE_VAR(nowhere);
	WRITE_ONCE(*nowhere, 1);
}

static noinline void stf_sick_bug(unsigned long until)
{
	BUG();
}

static noinline void stf_sick_leak(unsigned long until)
{
	int number;

	for (number = 0; number < LEAKED; number++)
		if (!kmem_cache_alloc(cache, GFP_KERNEL))
			pr_info("stf_sick: no memory to leak\n");
}

static noinline void stf_sick_hold(unsigned long until)
{
	__module_get(THIS_MODULE);
}

/* Not ill at all: text that a detector by substring takes for an illness. */
static noinline void stf_sick_talk(unsigned long until)
{
	pr_info("stf_sick: not a soft lockup: watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [x:1]\n");
	pr_info("stf_sick: not a hung task: INFO: task nobody:7 blocked for more than 15 seconds.\n");
	pr_info("stf_sick: not a stall: rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:\n");
	pr_info("stf_sick: neither WARNING: CPU: 1 PID: 7 at nowhere.c:1 nor Oops: 0002 [#1]\n");
	pr_info("stf_sick: kernel.hung_task_panic=0 softlockup_panic=0 panic_on_warn=0\n");
	pr_info("stf_sick: Kernel panic - not syncing: this is only talk\n");
	pr_info("stf_sick: Call Trace: of nobody\n");
}

static const struct illness illnesses[] = {
	{ "spin", stf_sick_spin },
	{ "lock", stf_sick_lock },
	{ "stall", stf_sick_stall },
	{ "park", stf_sick_park },
	{ "warn", stf_sick_warn },
	{ "oops", stf_sick_oops },
	{ "bug", stf_sick_bug },
	{ "leak", stf_sick_leak },
	{ "hold", stf_sick_hold },
	{ "talk", stf_sick_talk },
};

static int stf_sick_thread(void *data)
{
	struct request request = *(struct request *)data;

	kfree(data);
	request.illness->run(request.until);
	atomic_dec(&ill);
	return 0;
}

static int begin(const struct illness *illness, unsigned int seconds)
{
	struct request *request = kmalloc(sizeof(*request), GFP_KERNEL);
	struct task_struct *task;

	if (!request)
		return -ENOMEM;
	request->illness = illness;
	request->until = jiffies + seconds * HZ;
	WRITE_ONCE(healed, false);
	atomic_inc(&ill);
	task = kthread_run(stf_sick_thread, request, "stf_sick_%s", illness->name);
	if (IS_ERR(task)) {
		atomic_dec(&ill);
		kfree(request);
		return PTR_ERR(task);
	}
	return 0;
}

static int set_fall_ill(const char *text, const struct kernel_param *param)
{
	unsigned int seconds;
	char name[8];
	int number;

	if (sscanf(text, "%7s %u", name, &seconds) != 2)
		return -EINVAL;
	for (number = 0; number < ARRAY_SIZE(illnesses); number++)
		if (!strcmp(illnesses[number].name, name))
			return begin(&illnesses[number], seconds);
	return -ENOENT;
}

static int set_heal(const char *text, const struct kernel_param *param)
{
	WRITE_ONCE(healed, true);
	wake_up_all(&healing);
	return 0;
}

static int get_ill(char *buffer, const struct kernel_param *param)
{
	return sysfs_emit(buffer, "%d\n", atomic_read(&ill));
}

static const struct kernel_param_ops fall_ill_ops = { .set = set_fall_ill };
static const struct kernel_param_ops heal_ops = { .set = set_heal };
static const struct kernel_param_ops ill_ops = { .get = get_ill };

module_param_cb(fall_ill, &fall_ill_ops, NULL, 0200);
module_param_cb(heal, &heal_ops, NULL, 0200);
module_param_cb(ill, &ill_ops, NULL, 0400);

static int __init stf_sick_init(void)
{
	cache = kmem_cache_create("stf_sick", sizeof(struct stf_sick_object), 0, 0, NULL);
	return cache ? 0 : -ENOMEM;
}

/* Only for one that is well: nothing waits for the threads. */
static void __exit stf_sick_exit(void)
{
	kmem_cache_destroy(cache);
}

module_init(stf_sick_init);
module_exit(stf_sick_exit);
MODULE_DESCRIPTION("Illnesses of a kernel, for the tests of what sees them");
MODULE_LICENSE("GPL");
