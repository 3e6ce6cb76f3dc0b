//! Which forwarded events may come again: a shim that does not see its event acknowledged sends it once more,
//! whether the event was lost or only the answer.
//!
//! A shim sends one event at a time, the next once the last is acknowledged. So of each connection only the last
//! event can come again, on this connection or another; when the next one arrives it cannot any more. That is all
//! that is remembered, and of connections that have ended the last [`ENDED`].

use model::Envelope;
use std::{
    collections::{HashSet, VecDeque, hash_map::RandomState},
    hash::BuildHasher as _,
};

/// Of how many ended connections the last event is remembered: as many shims may lose theirs at once.
const ENDED: usize = 4096;

/// A keyed hash: a false match in the few thousand that are remembered is as likely as one in 10^15.
pub(super) type Identity = u64;

/// The events that may come again.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    keys: RandomState,
    known: HashSet<Identity>,
    ended: VecDeque<Identity>,
}

impl Repeats {
    /// What tells `envelope` from all others: it has the time of the event in nanoseconds.
    pub(super) fn identity(&self, envelope: &Envelope) -> Identity {
        let time = (envelope.timestamp.seconds, envelope.timestamp.nanos);
        let event = (&envelope.event.type_url, &envelope.event.value);
        self.keys.hash_one((time, envelope.namespace.as_str(), &envelope.topic, event))
    }

    /// Whether it was published already.
    pub(super) fn has(&self, event: Identity) -> bool {
        self.known.contains(&event)
    }

    /// `event` is published, as the connection's next after its `last`.
    pub(super) fn published(&mut self, event: Identity, last: &mut Option<Identity>) {
        if let Some(last) = last.replace(event).filter(|&last| last != event) {
            self.known.remove(&last);
        }
        self.known.insert(event);
    }

    /// A connection ended after its `last` event, which the shim may not know to have arrived.
    pub(super) fn ended(&mut self, last: Option<Identity>) {
        self.ended.extend(last);
        if self.ended.len() > ENDED
            && let Some(oldest) = self.ended.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Any, Namespace, Timestamp};

    #[test]
    fn the_last_event_of_each_connection_is_known_however_it_comes_again() {
        let (mut repeats, mut one, mut other) = (Repeats::default(), None, None);
        repeats.published(1, &mut one);
        repeats.published(10, &mut other);
        repeats.published(2, &mut one);
        assert_eq!([1, 2, 10].map(|event| repeats.has(event)), [false, true, true]);
        repeats.ended(one);
        assert!(repeats.has(2), "its acknowledgement may be lost");
        for _ in 0..ENDED {
            repeats.ended(None);
        }
        assert!(repeats.has(2));
        for event in 100..100 + u64::try_from(ENDED).unwrap() {
            let mut last = None;
            repeats.published(event, &mut last);
            repeats.ended(last);
        }
        assert!(!repeats.has(2) && repeats.has(10));
        assert_eq!(repeats.known.len(), ENDED + 1);
    }

    #[test]
    fn events_differ_by_all_that_they_say() {
        let repeats = Repeats::default();
        let event = Envelope {
            timestamp: Timestamp { seconds: 5, nanos: 1 },
            namespace: Namespace::new("a").unwrap(),
            topic: "/tasks/oom".into(),
            event: Any { type_url: "x".into(), value: vec![1] },
        };
        let identity = repeats.identity(&event);
        assert_eq!(repeats.identity(&event.clone()), identity);
        for other in [
            Envelope { timestamp: Timestamp { seconds: 5, nanos: 2 }, ..event.clone() },
            Envelope { namespace: Namespace::new("b").unwrap(), ..event.clone() },
            Envelope { topic: "/tasks/exit".into(), ..event.clone() },
            Envelope { event: Any { type_url: "x".into(), value: vec![2] }, ..event },
        ] {
            assert_ne!(repeats.identity(&other), identity);
        }
    }
}
