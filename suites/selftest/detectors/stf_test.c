// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A kernel has a defect on request: "DEFECT SECONDS" written to
 * /sys/module/stf_test/parameters/trigger starts it in a thread of its own, named
 * stf_test_DEFECT, and returns at once. A defect that lasts ends after so many seconds, or
 * when anything is written to .../parameters/stop. .../parameters/active is their number.
 *
 * Each defect is one function, never inlined: reports are named by it.
 */
#include <linux/atomic.h>
#include <linux/delay.h>
#include <linux/gfp.h>
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
#define SMALL 64

struct defect {
	const char *name;
	void (*run)(unsigned long until);
};

struct request {
	const struct defect *defect;
	unsigned long until;
};

struct stf_test_object {
	char bytes[200];
};

static DECLARE_WAIT_QUEUE_HEAD(stopping);
static struct kmem_cache *cache;
static atomic_t active = ATOMIC_INIT(0);
static bool stopped;

static bool over(unsigned long until)
{
	return READ_ONCE(stopped) || time_after(jiffies, until);
}

/* A loop that gives way whenever it is asked to: only its CPU time tells. */
static noinline void stf_test_spin(unsigned long until)
{
	while (!over(until)) {
		cpu_relax();
		cond_resched();
	}
}

/* One that does not: the soft lockup detector's. */
static noinline void stf_test_lock(unsigned long until)
{
	preempt_disable();
	while (!over(until))
		cpu_relax();
	preempt_enable();
}

/* A reader that never ends; the soft lockup detector is told that all is well. */
static noinline void stf_test_stall(unsigned long until)
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
static noinline void stf_test_park(unsigned long until)
{
	unsigned long now = jiffies;

	wait_event_timeout(stopping, READ_ONCE(stopped),
			   time_after(until, now) ? until - now : 1);
}

static noinline void stf_test_warn(unsigned long until)
{
	WARN(1, "stf_test was asked to warn\n");
}

static noinline void stf_test_oops(unsigned long until)
{
	int *nowhere = NULL;

	OPTIMIZER_HIDE_VAR(nowhere);
	WRITE_ONCE(*nowhere, 1);
}

static noinline void stf_test_bug(unsigned long until)
{
	BUG();
}

static noinline void stf_test_leak(unsigned long until)
{
	int number;

	for (number = 0; number < LEAKED; number++)
		if (!kmem_cache_alloc(cache, GFP_KERNEL))
			pr_info("stf_test: no memory to leak\n");
}

/* Too little for a bound on free memory: only its growth, cycle by cycle, tells. */
static noinline void stf_test_page(unsigned long until)
{
	if (!alloc_page(GFP_KERNEL))
		pr_info("stf_test: no page to leak\n");
}

static noinline void stf_test_object(unsigned long until)
{
	void *object = kmalloc(SMALL, GFP_KERNEL);

	OPTIMIZER_HIDE_VAR(object);
	if (!object)
		pr_info("stf_test: no object to leak\n");
}

static noinline void stf_test_hold(unsigned long until)
{
	__module_get(THIS_MODULE);
}

/* No defect at all: text that a detector by substring takes for one. */
static noinline void stf_test_talk(unsigned long until)
{
	pr_info("stf_test: not a soft lockup: watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [x:1]\n");
	pr_info("stf_test: not a hung task: INFO: task nobody:7 blocked for more than 15 seconds.\n");
	pr_info("stf_test: not a stall: rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:\n");
	pr_info("stf_test: neither WARNING: CPU: 1 PID: 7 at nowhere.c:1 nor Oops: 0002 [#1]\n");
	pr_info("stf_test: kernel.hung_task_panic=0 softlockup_panic=0 panic_on_warn=0\n");
	pr_info("stf_test: Kernel panic - not syncing: this is only talk\n");
	pr_info("stf_test: Call Trace: of nobody\n");
}

static const struct defect defects[] = {
	{ "spin", stf_test_spin },
	{ "lock", stf_test_lock },
	{ "stall", stf_test_stall },
	{ "park", stf_test_park },
	{ "warn", stf_test_warn },
	{ "oops", stf_test_oops },
	{ "bug", stf_test_bug },
	{ "leak", stf_test_leak },
	{ "page", stf_test_page },
	{ "object", stf_test_object },
	{ "hold", stf_test_hold },
	{ "talk", stf_test_talk },
};

static int stf_test_thread(void *data)
{
	struct request request = *(struct request *)data;

	kfree(data);
	request.defect->run(request.until);
	atomic_dec(&active);
	return 0;
}

static int begin(const struct defect *defect, unsigned int seconds)
{
	struct request *request = kmalloc(sizeof(*request), GFP_KERNEL);
	struct task_struct *task;

	if (!request)
		return -ENOMEM;
	request->defect = defect;
	request->until = jiffies + seconds * HZ;
	WRITE_ONCE(stopped, false);
	atomic_inc(&active);
	task = kthread_run(stf_test_thread, request, "stf_test_%s", defect->name);
	if (IS_ERR(task)) {
		atomic_dec(&active);
		kfree(request);
		return PTR_ERR(task);
	}
	return 0;
}

static int set_trigger(const char *text, const struct kernel_param *param)
{
	unsigned int seconds;
	char name[8];
	int number;

	if (sscanf(text, "%7s %u", name, &seconds) != 2)
		return -EINVAL;
	for (number = 0; number < ARRAY_SIZE(defects); number++)
		if (!strcmp(defects[number].name, name))
			return begin(&defects[number], seconds);
	return -ENOENT;
}

static int set_stop(const char *text, const struct kernel_param *param)
{
	WRITE_ONCE(stopped, true);
	wake_up_all(&stopping);
	return 0;
}

static int get_active(char *buffer, const struct kernel_param *param)
{
	return sysfs_emit(buffer, "%d\n", atomic_read(&active));
}

static const struct kernel_param_ops trigger_ops = { .set = set_trigger };
static const struct kernel_param_ops stop_ops = { .set = set_stop };
static const struct kernel_param_ops active_ops = { .get = get_active };

module_param_cb(trigger, &trigger_ops, NULL, 0200);
module_param_cb(stop, &stop_ops, NULL, 0200);
module_param_cb(active, &active_ops, NULL, 0400);

static int __init stf_test_init(void)
{
	cache = kmem_cache_create("stf_test", sizeof(struct stf_test_object), 0, 0, NULL);
	return cache ? 0 : -ENOMEM;
}

/* Only where no defect is active: nothing waits for the threads. */
static void __exit stf_test_exit(void)
{
	kmem_cache_destroy(cache);
}

module_init(stf_test_init);
module_exit(stf_test_exit);
MODULE_DESCRIPTION("Defects of a kernel on request, for the self-test of the detectors");
MODULE_LICENSE("GPL");
