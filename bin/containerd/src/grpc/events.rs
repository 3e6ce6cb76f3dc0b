//! Events: publish, forward, subscribe. Also over ttrpc, for shims.

use super::{
    reply::{Replies, channel},
    scope::scoped,
    sent::{Rounds, Watched},
};
use engine::Exchange;
use model::{Envelope, Error, Namespace};
use proto::{
    api::containerd::{
        services::events::v1::{self as api, events_server},
        types,
    },
    convert::{any_from_wire, status, timestamp_from_wire},
};
use std::sync::Arc;
use tonic::{Request, Response, Status, async_trait};

/// Events on their way to one subscriber beyond those in its own queue.
const IN_FLIGHT: usize = 16;

/// The service over the exchange.
#[derive(Debug)]
pub(crate) struct Events(pub(crate) Arc<Exchange>);

/// An envelope as another publisher stamped it.
fn envelope(wire: types::Envelope) -> model::Result<Envelope> {
    let namespace =
        Namespace::new(wire.namespace).map_err(|error| error.context("event envelope has invalid namespace"))?;
    let event = wire.event.ok_or_else(|| Error::invalid_argument("event envelope has no event"))?;
    Ok(Envelope {
        timestamp: timestamp_from_wire(wire.timestamp),
        namespace,
        topic: wire.topic,
        event: any_from_wire(event),
    })
}

#[async_trait]
impl events_server::Events for Events {
    type SubscribeStream = Replies<types::Envelope>;

    async fn publish(&self, request: Request<api::PublishRequest>) -> Result<Response<()>, Status> {
        let (scope, request) = scoped(request)?;
        let event = request.event.ok_or_else(|| status(Error::invalid_argument("event is missing")))?;
        self.0.publish(&scope.namespace, &request.topic, any_from_wire(event)).map_err(status)?;
        Ok(Response::new(()))
    }

    async fn forward(&self, request: Request<api::ForwardRequest>) -> Result<Response<()>, Status> {
        let wire = request.into_inner().envelope;
        let wire = wire.ok_or_else(|| status(Error::invalid_argument("event envelope is missing")))?;
        envelope(wire).and_then(|envelope| self.0.forward(envelope)).map_err(status)?;
        Ok(Response::new(()))
    }

    async fn subscribe(
        &self,
        request: Request<api::SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let rounds = request.extensions().get::<Rounds>().cloned();
        // Subscribed before the header is sent: a client that has it misses nothing.
        let mut subscription = self.0.subscribe_client(&request.into_inner().filters).map_err(status)?;
        let receipt = subscription.receipt();
        let (replies, response) = channel(IN_FLIGHT);
        tokio::spawn(async move {
            loop {
                let next = tokio::select! {
                    next = subscription.next() => next,
                    () = replies.closed() => return,
                };
                let ended = next.is_err();
                let next = next.map(|envelope| Envelope::clone(&envelope).into()).map_err(status);
                if replies.send(next).await.is_err() || ended {
                    return;
                }
            }
        });
        Ok(match rounds {
            Some(rounds) => response.map(|stream| -> Self::SubscribeStream {
                Box::pin(Watched::new(stream, rounds, move |count| receipt.left(count)))
            }),
            None => response,
        })
    }
}
