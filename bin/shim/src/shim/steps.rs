//! What is to happen later: after this turn of the loop, or after some time.

use super::Shim;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The rest of something that had to wait.
pub(crate) type Step = Box<dyn FnOnce(&mut Shim)>;

/// Steps by the time they are due.
#[derive(Default)]
pub(super) struct Timers {
    steps: BTreeMap<(Instant, u64), Step>,
    count: u64,
}

impl Timers {
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.steps.first_key_value().map(|((at, _), _)| *at)
    }

    /// Takes out all steps due at `now`.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Step> {
        let later = self.steps.split_off(&(now, u64::MAX));
        std::mem::replace(&mut self.steps, later).into_values().collect()
    }

    fn add(&mut self, at: Instant, step: Step) {
        self.count += 1;
        self.steps.insert((at, self.count), step);
    }
}

impl Shim {
    /// Runs `step` after `delay`. It has to find out whether it is still wanted.
    pub(crate) fn after(&mut self, delay: Duration, step: impl FnOnce(&mut Self) + 'static) {
        self.timers.add(Instant::now() + delay, Box::new(step));
    }

    /// Runs `step` when the current one is done.
    pub(crate) fn soon(&mut self, step: Step) {
        self.steps.push_back(step);
    }

    /// Runs `step` when no other such step of container `id` is under way: runc takes
    /// no lock of its own between reading and writing a container's state. The step, or
    /// what follows it, ends with [`Self::unlock`].
    pub(crate) fn lock(&mut self, id: &str, step: impl FnOnce(&mut Self) + 'static) {
        match self.containers.get_mut(id) {
            Some(container) if container.locked => container.waiting.push_back(Box::new(step)),
            Some(container) => {
                container.locked = true;
                step(self);
            }
            None => step(self),
        }
    }

    /// Lets the next step of [`Self::lock`] go on.
    pub(crate) fn unlock(&mut self, id: &str) {
        if let Some(container) = self.containers.get_mut(id) {
            match container.waiting.pop_front() {
                Some(next) => self.soon(next),
                None => container.locked = false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_due_in_order_of_time() {
        let mut timers = Timers::default();
        let start = Instant::now();
        timers.add(start + Duration::from_secs(2), Box::new(|_| ()));
        timers.add(start + Duration::from_secs(1), Box::new(|_| ()));
        timers.add(start + Duration::from_secs(1), Box::new(|_| ()));
        assert_eq!(timers.next_due(), Some(start + Duration::from_secs(1)));
        assert!(timers.due(start).is_empty());
        assert_eq!(timers.due(start + Duration::from_secs(1)).len(), 2);
        assert_eq!(timers.due(start + Duration::from_secs(9)).len(), 1);
        assert_eq!(timers.next_due(), None);
    }
}
