//! The exchange: every event passes here, from the store, the shims and the API's clients.

use super::{
    Subscription,
    audience::{Audience, Seat},
    delivery::Awaited,
    subscription::Queue,
    topic,
};
use model::{Any, Envelope, Error, Event, Filter, Namespace, Result, Timestamp, filter::Adaptor};
use proto::convert::{any_from_wire, any_to_wire, event_from_wire, event_to_wire};
use std::{
    borrow::Cow,
    cell::OnceCell,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time;

/// Broadcasts events to whoever subscribed.
#[derive(Debug, Default)]
pub struct Exchange {
    subscribers: Mutex<Vec<Subscriber>>,
    pub(super) audience: Audience,
}

/// Who hears an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hearers {
    All,
    /// All but clients.
    Ourselves,
}

#[derive(Debug)]
struct Subscriber {
    filter: Filter,
    queue: Arc<Queue>,
    is_client: bool,
}

impl Exchange {
    /// An exchange without subscribers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Publishes one of containerd's own events as of now.
    pub fn emit(&self, namespace: &Namespace, event: Event) {
        let (namespace, topic) = (namespace.clone(), event.topic().to_owned());
        let event = any_from_wire(event_to_wire(event));
        self.broadcast(Envelope { timestamp: Timestamp::now(), namespace, topic, event }, Hearers::All);
    }

    /// Publishes a client's `event` under `topic` as of now.
    ///
    /// # Errors
    /// `InvalidArgument` for a topic that is not `/` and identifiers joined by `/`.
    pub fn publish(&self, namespace: &Namespace, topic: &str, event: Any) -> Result<()> {
        topic::validate(topic)?;
        let (namespace, topic) = (namespace.clone(), topic.to_owned());
        self.broadcast(Envelope { timestamp: Timestamp::now(), namespace, topic, event }, Hearers::All);
        Ok(())
    }

    /// Passes on what another publisher stamped: a shim, or another daemon.
    ///
    /// # Errors
    /// `InvalidArgument` for a bad topic or no time.
    pub fn forward(&self, envelope: Envelope) -> Result<()> {
        check(&envelope)?;
        self.broadcast(envelope, Hearers::All);
        Ok(())
    }

    /// Subscribes from now on to every event that passes one of `filters` (none: all of them) on
    /// `namespace`, `topic` and `event.<field>`. The subscription is in force when this returns.
    ///
    /// # Errors
    /// `InvalidArgument` for a filter that does not parse.
    pub fn subscribe(&self, filters: &[String]) -> Result<Subscription> {
        self.add(filters, None)
    }

    /// [`Self::subscribe`] for a client, who comes back when we are restarted: events that shims keep meanwhile wait
    /// for it, for a while.
    ///
    /// # Errors
    /// As [`Self::subscribe`].
    pub fn subscribe_client(&self, filters: &[String]) -> Result<Subscription> {
        self.add(filters, Some(self.audience.join()))
    }

    fn add(&self, filters: &[String], seat: Option<Seat>) -> Result<Subscription> {
        let filter = Filter::parse(filters).map_err(|error| error.context("failed parsing subscription filters"))?;
        let queue = Arc::<Queue>::default();
        self.lock().push(Subscriber { filter, queue: Arc::clone(&queue), is_client: seat.is_some() });
        Ok(Subscription { queue, seat })
    }

    /// Waits until shims' events come in, which at a start they do not at once: see [`Self::subscribe_client`]. No longer
    /// than `patience`: nobody may listen.
    pub(crate) async fn shims_heard(&self, patience: Duration) {
        let _not_listening = time::timeout(patience, self.audience.gathered()).await;
    }

    /// Clients are about to be disconnected because we end: from now on shims' events are not acknowledged, so that
    /// they are kept for the next daemon, which waits for these clients.
    pub fn dismiss_clients(&self) {
        self.audience.dismiss();
    }

    /// In the order of calls, to every subscriber who is to hear it; those that are gone are forgotten. Returns what is
    /// then under way to clients.
    pub(super) fn broadcast(&self, envelope: Envelope, hearers: Hearers) -> Vec<Awaited> {
        tracing::trace!(topic = envelope.topic, namespace = %envelope.namespace, "event");
        let envelope = Arc::new(envelope);
        let seen = Seen { envelope: &envelope, event: OnceCell::new() };
        let mut awaited = Vec::new();
        self.lock().retain(|subscriber| {
            let is_meant = hearers == Hearers::All || !subscriber.is_client;
            if is_meant && (subscriber.filter.is_all() || subscriber.filter.matches(&seen)) {
                let number = subscriber.queue.push(&envelope);
                if subscriber.is_client {
                    awaited.extend(number.and_then(|number| subscriber.queue.receipt.awaits(number)));
                }
                number.is_some()
            } else {
                subscriber.queue.is_open()
            }
        });
        awaited
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Subscriber>> {
        // The list is whole between statements, so a panicked holder left nothing half-done.
        self.subscribers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether `envelope` may be forwarded.
///
/// # Errors
/// `InvalidArgument` for a bad topic or no time.
pub(super) fn check(envelope: &Envelope) -> Result<()> {
    topic::validate(&envelope.topic)?;
    if envelope.timestamp == Timestamp::default() {
        return Err(Error::invalid_argument("timestamp must be set on forwarded event"));
    }
    Ok(())
}

impl store::EventSink for Exchange {
    fn publish(&self, namespace: &Namespace, event: Event) {
        self.emit(namespace, event);
    }
}

/// An envelope as filters see it: its message is decoded once, and only if one asks.
struct Seen<'a> {
    envelope: &'a Envelope,
    event: OnceCell<Option<Event>>,
}

impl Adaptor for Seen<'_> {
    fn field(&self, path: &[String]) -> Option<Cow<'_, str>> {
        let (first, rest) = path.split_first()?;
        if first != "event" {
            return self.envelope.field(path);
        }
        self.event.get_or_init(|| event_from_wire(&any_to_wire(self.envelope.event.clone()))).as_ref()?.field(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Kind;

    fn event(size: usize) -> Any {
        Any { type_url: "x".into(), value: vec![0; size] }
    }

    fn space() -> Namespace {
        Namespace::new("default").unwrap()
    }

    #[tokio::test]
    async fn subscribers_hear_everything_in_order_from_the_moment_they_subscribe() {
        let exchange = Exchange::new();
        exchange.publish(&space(), "/early", event(1)).unwrap();
        let mut first = exchange.subscribe(&[]).unwrap();
        for n in 0..100 {
            exchange.publish(&space(), &format!("/n/{n}"), event(n)).unwrap();
        }
        for n in 0..100 {
            assert_eq!(first.next().await.unwrap().topic, format!("/n/{n}"));
        }
        assert!(first.try_next().is_none());
        drop(first);
        exchange.publish(&space(), "/late", event(1)).unwrap();
        assert!(exchange.lock().is_empty(), "a dropped subscription is forgotten");
    }

    #[tokio::test]
    async fn a_reader_that_stopped_is_disconnected_and_others_are_not() {
        let exchange = Exchange::new();
        let mut stuck = exchange.subscribe(&[]).unwrap();
        let mut keen = exchange.subscribe(&[]).unwrap();
        for _ in 0..40 {
            exchange.publish(&space(), "/big", event(1 << 20)).unwrap();
            assert_eq!(keen.next().await.unwrap().topic, "/big");
        }
        assert_eq!(stuck.next().await.unwrap_err().kind(), Kind::ResourceExhausted);
        assert_eq!(exchange.lock().len(), 1);
    }

    #[tokio::test]
    async fn filters_see_namespace_topic_and_the_fields_of_known_messages() {
        let exchange = Exchange::new();
        let filters = [r#"namespace==default,topic~="^/tasks/",event.container_id==b"#, "event.name==busy"];
        let mut some = exchange.subscribe(&filters.map(String::from)).unwrap();
        for id in ["a", "b"] {
            exchange.emit(&space(), Event::TaskOom { container_id: id.into() });
        }
        exchange.emit(&Namespace::new("other").unwrap(), Event::TaskOom { container_id: "b".into() });
        exchange.emit(&space(), Event::ImageDelete { name: "busy".into() });
        exchange.publish(&space(), "/tasks/odd", event(3)).unwrap();
        let topics = [some.next().await.unwrap().topic.clone(), some.next().await.unwrap().topic.clone()];
        assert_eq!(topics, ["/tasks/oom", "/images/delete"]);
        assert!(some.try_next().is_none());
        assert_eq!(exchange.subscribe(&["topic=".into()]).unwrap_err().kind(), Kind::InvalidArgument);
    }

    #[test]
    fn a_forwarded_envelope_needs_topic_and_time() {
        let exchange = Exchange::new();
        let good = Envelope { timestamp: Timestamp::now(), namespace: space(), topic: "/a/b".into(), event: event(1) };
        assert!(exchange.forward(good.clone()).is_ok());
        for bad in
            [Envelope { timestamp: Timestamp::default(), ..good.clone() }, Envelope { topic: "a".into(), ..good }]
        {
            assert_eq!(exchange.forward(bad).unwrap_err().kind(), Kind::InvalidArgument);
        }
    }
}
