//! Events: heard from the moment the subscription's header is there, and in order.

use crate::daemon::Daemon;
use prost::Message as _;
use proto::api::containerd::{
    events::NamespaceCreate,
    services::{
        events::v1::{ForwardRequest, PublishRequest, SubscribeRequest},
        namespaces::v1::{CreateNamespaceRequest, Namespace},
    },
    types::Envelope,
};
use tonic::Code;

#[tokio::test]
async fn a_subscriber_hears_everything_from_its_header_on() {
    let daemon = Daemon::start();
    let client = daemon.client().await;
    let mut all = client.events().subscribe(SubscribeRequest::default()).await.unwrap().into_inner();
    let filters = vec!["topic==\"/namespaces/create\",event.name==n7".to_owned()];
    let mut one = client.events().subscribe(SubscribeRequest { filters }).await.unwrap().into_inner();
    for n in 0..20 {
        let namespace = Some(Namespace { name: format!("n{n}"), ..Default::default() });
        client.namespaces().create(CreateNamespaceRequest { namespace }).await.unwrap();
    }
    for n in 0..20 {
        let heard = all.message().await.unwrap().unwrap();
        assert_eq!((heard.topic.as_str(), heard.namespace), ("/namespaces/create", format!("n{n}")));
        let event = heard.event.unwrap();
        assert_eq!(event.type_url, "containerd.events.NamespaceCreate", "no prefix");
        assert_eq!(NamespaceCreate::decode(event.value.as_slice()).unwrap().name, format!("n{n}"));
    }
    assert_eq!(one.message().await.unwrap().unwrap().namespace, "n7");
}

#[tokio::test]
async fn what_cannot_be_published_is_refused() {
    let daemon = Daemon::start();
    let client = daemon.client().await;
    let event = Some(proto::Any::default());
    let bad = PublishRequest { topic: "no slash".into(), event: event.clone() };
    assert_eq!(client.events().publish(bad).await.unwrap_err().code(), Code::InvalidArgument);
    let empty = PublishRequest { topic: "/a".into(), event: None };
    assert_eq!(client.events().publish(empty).await.unwrap_err().code(), Code::InvalidArgument);
    let filters = vec!["topic=".to_owned()];
    let unparsable = client.events().subscribe(SubscribeRequest { filters }).await.map(drop).unwrap_err();
    assert_eq!(unparsable.code(), Code::InvalidArgument);
    let timestamp = Some(prost_types::Timestamp { seconds: 1, nanos: 0 });
    let good = Envelope { timestamp, namespace: "other".into(), topic: "/a".into(), event };
    for envelope in [
        None,
        Some(Envelope { timestamp: None, ..good.clone() }),
        Some(Envelope { namespace: String::new(), ..good.clone() }),
        Some(Envelope { topic: String::new(), ..good.clone() }),
    ] {
        assert_eq!(
            client.events().forward(ForwardRequest { envelope }).await.unwrap_err().code(),
            Code::InvalidArgument
        );
    }
    client.events().forward(ForwardRequest { envelope: Some(good) }).await.unwrap();
}
