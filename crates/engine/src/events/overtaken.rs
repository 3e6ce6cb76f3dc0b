//! Exits that their task's deletion has overtaken. Go's shim wakes who waits for an exit before it sends the event, so
//! that a client which deletes at once may have the deletion sent first. It is held here until the exit is published.

use model::{Envelope, Event};
use proto::convert::{any_to_wire, event_from_wire};
use std::collections::{HashMap, HashSet, VecDeque};

/// How many exits are remembered for the deletion to come: as many stopped tasks may wait for it. The deletion of one
/// that is forgotten is published late, no worse.
const EXITS: usize = 4096;

/// The first process of a container's task.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Init {
    namespace: String,
    container: String,
    pid: u32,
}

/// What is to be done with an event.
#[derive(Debug)]
pub(super) enum Turn {
    /// To be published.
    Now(Envelope),
    /// To be published, with the deletion that waited for it.
    Both(Envelope, Envelope),
    /// Kept until the exit of this process, or [`Overtaken::give_up`].
    Later(Init),
}

/// The exits that were published and the deletions that were not, each until the other comes.
#[derive(Debug, Default)]
pub(super) struct Overtaken {
    exits: HashSet<Init>,
    oldest: VecDeque<Init>,
    deletions: HashMap<Init, Envelope>,
}

impl Overtaken {
    /// Whether it is the turn of `envelope`.
    pub(super) fn turn(&mut self, envelope: Envelope) -> Turn {
        match task_event(&envelope) {
            Some(Event::TaskExit { container_id, id, pid, .. }) if id == container_id => {
                let init = Init::new(&envelope, container_id, pid);
                match self.deletions.remove(&init) {
                    Some(deletion) => return Turn::Both(envelope, deletion),
                    None => self.note_exit(init),
                }
            }
            // A process that never came to be has no exit.
            Some(Event::TaskDelete { container_id, pid, .. }) if pid != 0 => {
                let init = Init::new(&envelope, container_id, pid);
                if !self.exits.remove(&init) {
                    self.deletions.insert(init.clone(), envelope);
                    return Turn::Later(init);
                }
                self.oldest.retain(|exit| *exit != init);
            }
            _ => {}
        }
        Turn::Now(envelope)
    }

    /// The deletion that waited for the exit of `init`, if it still does.
    pub(super) fn give_up(&mut self, init: &Init) -> Option<Envelope> {
        self.deletions.remove(init)
    }

    fn note_exit(&mut self, init: Init) {
        if self.exits.insert(init.clone()) {
            self.oldest.push_back(init);
        }
        if self.oldest.len() > EXITS
            && let Some(oldest) = self.oldest.pop_front()
        {
            self.exits.remove(&oldest);
        }
    }
}

impl Init {
    fn new(envelope: &Envelope, container: String, pid: u32) -> Self {
        Self { namespace: envelope.namespace.as_str().to_owned(), container, pid }
    }
}

/// The message of an exit or a deletion.
fn task_event(envelope: &Envelope) -> Option<Event> {
    matches!(envelope.topic.as_str(), "/tasks/exit" | "/tasks/delete")
        .then(|| event_from_wire(&any_to_wire(envelope.event.clone())))
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Namespace, Timestamp};
    use proto::convert::{any_from_wire, event_to_wire};

    fn envelope(event: Event) -> Envelope {
        Envelope {
            timestamp: Timestamp { seconds: 5, nanos: 1 },
            namespace: Namespace::new("space").unwrap(),
            topic: event.topic().to_owned(),
            event: any_from_wire(event_to_wire(event)),
        }
    }

    fn exit(id: &str, pid: u32) -> Envelope {
        let exited_at = Timestamp { seconds: 4, nanos: 0 };
        envelope(Event::TaskExit { container_id: "c".into(), id: id.into(), pid, exit_status: 0, exited_at })
    }

    fn deletion(pid: u32) -> Envelope {
        let exited_at = Timestamp { seconds: 4, nanos: 0 };
        envelope(Event::TaskDelete { container_id: "c".into(), id: String::new(), pid, exit_status: 0, exited_at })
    }

    fn topics(turn: Turn) -> Vec<String> {
        match turn {
            Turn::Now(one) => vec![one.topic],
            Turn::Both(one, other) => vec![one.topic, other.topic],
            Turn::Later(_) => Vec::new(),
        }
    }

    #[test]
    fn a_deletion_waits_for_the_exit_of_the_same_process() {
        let mut overtaken = Overtaken::default();
        assert_eq!(topics(overtaken.turn(exit("c", 7))), ["/tasks/exit"]);
        assert!(topics(overtaken.turn(deletion(8))).is_empty(), "of the container's next task");
        assert_eq!(topics(overtaken.turn(exit("an exec", 9))), ["/tasks/exit"]);
        assert_eq!(topics(overtaken.turn(exit("c", 8))), ["/tasks/exit", "/tasks/delete"]);
        assert_eq!(topics(overtaken.turn(deletion(7))), ["/tasks/delete"]);
        assert_eq!(topics(overtaken.turn(deletion(0))), ["/tasks/delete"]);
        assert!(overtaken.exits.is_empty() && overtaken.oldest.is_empty() && overtaken.deletions.is_empty());
    }

    #[test]
    fn a_deletion_whose_exit_never_comes_is_given_up_once() {
        let mut overtaken = Overtaken::default();
        let Turn::Later(init) = overtaken.turn(deletion(7)) else { panic!("it has no exit") };
        assert!(overtaken.give_up(&init).is_some());
        assert!(overtaken.give_up(&init).is_none());
        assert_eq!(topics(overtaken.turn(exit("c", 7))), ["/tasks/exit"]);
    }

    #[test]
    fn exits_without_a_deletion_are_forgotten_in_the_end() {
        let mut overtaken = Overtaken::default();
        for pid in 1..=u32::try_from(EXITS).unwrap() + 1 {
            overtaken.turn(exit("c", pid));
        }
        assert_eq!((overtaken.exits.len(), overtaken.oldest.len()), (EXITS, EXITS));
        assert!(matches!(overtaken.turn(deletion(1)), Turn::Later(_)));
        assert!(matches!(overtaken.turn(deletion(2)), Turn::Now(_)));
    }
}
