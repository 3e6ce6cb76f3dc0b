//! The exchange: every event passes here, from the store, the shims and the API's clients.

use super::{Envelope, Subscription, subscription::Queue, topic};
use model::{Any, Error, Namespace, Result, Timestamp, validate_identifier};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Broadcasts events to whoever subscribed.
#[derive(Debug, Default)]
pub struct Exchange {
    subscribers: Mutex<Vec<Subscriber>>,
}

#[derive(Debug)]
struct Subscriber {
    queue: Arc<Queue>,
}

impl Exchange {
    /// An exchange without subscribers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Publishes `event` under `topic` as of now.
    pub fn publish(&self, namespace: &Namespace, topic: &str, event: Any) -> Result<()> {
        topic::validate(topic)?;
        self.broadcast(Envelope {
            timestamp: Timestamp::now(),
            namespace: namespace.as_str().to_owned(),
            topic: topic.to_owned(),
            event: Some(event),
        });
        Ok(())
    }

    /// Passes on what another publisher stamped: a shim, or another daemon.
    pub fn forward(&self, envelope: Envelope) -> Result<()> {
        validate_identifier(&envelope.namespace)
            .map_err(|error| error.context("event envelope has invalid namespace"))?;
        topic::validate(&envelope.topic)?;
        if envelope.timestamp == Timestamp::default() {
            return Err(Error::invalid_argument("timestamp must be set on forwarded event"));
        }
        self.broadcast(envelope);
        Ok(())
    }

    /// Subscribes from now on to every event that passes one of `filters` (none: all of them).
    /// The subscription is in force when this returns.
    pub fn subscribe(&self, filters: &[String]) -> Result<Subscription> {
        if !filters.is_empty() {
            return Err(Error::unimplemented("event filters"));
        }
        let queue = Arc::<Queue>::default();
        self.lock().push(Subscriber { queue: Arc::clone(&queue) });
        Ok(Subscription(queue))
    }

    /// In the order of calls, to every subscriber; those that are gone are forgotten.
    fn broadcast(&self, envelope: Envelope) {
        tracing::trace!(topic = envelope.topic, namespace = envelope.namespace, "event");
        let envelope = Arc::new(envelope);
        self.lock().retain(|subscriber| subscriber.queue.push(&envelope));
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Subscriber>> {
        // The list is whole between statements, so a panicked holder left nothing half-done.
        self.subscribers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Kind;

    fn event(size: usize) -> Any {
        Any { type_url: "x".into(), value: vec![0; size] }
    }

    #[tokio::test]
    async fn subscribers_hear_everything_in_order_from_the_moment_they_subscribe() {
        let exchange = Exchange::new();
        let space = Namespace::new("default").unwrap();
        exchange.publish(&space, "/early", event(1)).unwrap();
        let mut first = exchange.subscribe(&[]).unwrap();
        for n in 0..100 {
            exchange.publish(&space, &format!("/n/{n}"), event(n)).unwrap();
        }
        for n in 0..100 {
            assert_eq!(first.next().await.unwrap().topic, format!("/n/{n}"));
        }
        assert!(first.try_next().is_none());
        drop(first);
        exchange.publish(&space, "/late", event(1)).unwrap();
        assert!(exchange.lock().is_empty(), "a dropped subscription is forgotten");
    }

    #[tokio::test]
    async fn a_reader_that_stopped_is_disconnected_and_others_are_not() {
        let exchange = Exchange::new();
        let space = Namespace::new("default").unwrap();
        let mut stuck = exchange.subscribe(&[]).unwrap();
        let mut keen = exchange.subscribe(&[]).unwrap();
        for _ in 0..40 {
            exchange.publish(&space, "/big", event(1 << 20)).unwrap();
            assert_eq!(keen.next().await.unwrap().topic, "/big");
        }
        assert_eq!(stuck.next().await.unwrap_err().kind(), Kind::ResourceExhausted);
        assert_eq!(exchange.lock().len(), 1);
    }

    #[test]
    fn an_envelope_needs_namespace_topic_and_time() {
        let exchange = Exchange::new();
        let good = Envelope {
            timestamp: Timestamp::now(),
            namespace: "default".into(),
            topic: "/a/b".into(),
            event: Some(event(1)),
        };
        assert!(exchange.forward(good.clone()).is_ok());
        for bad in [
            Envelope { timestamp: Timestamp::default(), ..good.clone() },
            Envelope { namespace: "a/b".into(), ..good.clone() },
            Envelope { topic: "a".into(), ..good },
        ] {
            assert_eq!(exchange.forward(bad).unwrap_err().kind(), Kind::InvalidArgument);
        }
    }
}
