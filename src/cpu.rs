//! How our threads share the processor with others.

use thread_priority::{
    NormalThreadSchedulePolicy, ThreadPriority, ThreadPriorityValue, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};

/// This thread, and every one that it starts from now on, interrupts nobody when it wakes (`SCHED_BATCH`, sched(7)):
/// the mail server, the database or the proxy beside us goes on with what it does, and so do our own others. How much
/// of the processor it gets in the end does not change.
///
/// Where the system knows no such thing, nothing changes.
pub fn interrupt_nobody() {
    run_as(NormalThreadSchedulePolicy::Batch);
}

/// How many processors we may use.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

/// Takes [`interrupt_nobody`] back for this thread and what it starts from now on, such as a program that is not ours.
pub fn run_as_others_do() {
    run_as(NormalThreadSchedulePolicy::Other);
}

fn run_as(policy: NormalThreadSchedulePolicy) {
    let policy = ThreadSchedulePolicy::Normal(policy);
    // The library sets both, on a scale of its own: what an administrator chose (nice, `Nice=`) stays.
    let Ok(nice) = rustix::process::getpriority_process(None) else { return };
    let scale = (0..100).filter_map(|n| ThreadPriorityValue::try_from(n).ok()).map(ThreadPriority::Crossplatform);
    for priority in scale {
        if priority.to_posix(policy) == Ok(nice) {
            let _ = set_thread_priority_and_policy(thread_native_id(), priority, policy);
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use thread_priority::thread_schedule_policy;

    use super::*;

    #[test]
    fn what_a_thread_starts_interrupts_nobody_either_until_told_otherwise() {
        let policy = || thread_schedule_policy().unwrap();
        let ours = move || std::thread::spawn(policy).join().unwrap();
        let seen = std::thread::spawn(move || {
            let nice = rustix::process::getpriority_process(None).unwrap();
            interrupt_nobody();
            let seen = (policy(), ours());
            run_as_others_do();
            assert_eq!(rustix::process::getpriority_process(None).unwrap(), nice);
            (seen, policy())
        });
        let [batch, other] = [NormalThreadSchedulePolicy::Batch, NormalThreadSchedulePolicy::Other];
        let [batch, other] = [batch, other].map(ThreadSchedulePolicy::Normal);
        assert_eq!(seen.join().unwrap(), ((batch, batch), other));
    }
}
