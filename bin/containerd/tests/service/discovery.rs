//! How clients find out what there is: introspection, health, reflection, and refusals.

use crate::daemon::Daemon;
use hyper_util::rt::TokioIo;
use proto::api::containerd::services::{
    containers::v1::{ListContainersRequest, containers_client::ContainersClient},
    introspection::v1::{PluginInfoRequest, PluginsRequest},
    sandbox::v1::{StoreListRequest, store_client::StoreClient},
};
use rustix::process::Signal;
use tonic::{
    Code,
    transport::{Channel, Endpoint},
};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

async fn channel(daemon: &Daemon) -> Channel {
    let socket = daemon.socket();
    let dial = tower::service_fn(move |_| {
        let socket = socket.clone();
        async move { tokio::net::UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    Endpoint::from_static("http://localhost").connect_with_connector(dial).await.unwrap()
}

#[tokio::test]
async fn plugins_have_containerds_names_and_the_server_keeps_its_identity() {
    let mut daemon = Daemon::start();
    let mut introspection = daemon.client().await.introspection();
    let filters = vec!["type==io.containerd.snapshotter.v1,id==overlayfs".to_owned()];
    let found = introspection.plugins(PluginsRequest { filters }).await.unwrap().into_inner().plugins;
    let [overlayfs] = found.as_slice() else { panic!("{found:?}") };
    assert!(overlayfs.init_err.is_none(), "{overlayfs:?}");
    assert_eq!(overlayfs.platforms[0].os, "linux");
    assert_eq!(overlayfs.exports["root"], daemon.path("root/io.containerd.snapshotter.v1.overlayfs").to_str().unwrap());
    let filters = vec!["type==io.containerd.monitor.container.v1".to_owned()];
    let found = introspection.plugins(PluginsRequest { filters }).await.unwrap().into_inner().plugins;
    let [monitor] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(monitor.id, "restart");
    assert_eq!(monitor.capabilities, ["no", "always", "on-failure", "unless-stopped"]);
    let bad = PluginsRequest { filters: vec!["type==".to_owned()] };
    assert_eq!(introspection.plugins(bad).await.unwrap_err().code(), Code::InvalidArgument);

    for (kind, id, code) in
        [("io.containerd.gc.v1", "none", Code::NotFound), ("io.containerd.gc.v1", "scheduler", Code::Unimplemented)]
    {
        let request = PluginInfoRequest { r#type: kind.into(), id: id.into(), options: None };
        assert_eq!(introspection.plugin_info(request).await.unwrap_err().code(), code);
    }
    let before = introspection.server(()).await.unwrap().into_inner();
    assert!(before.uuid.len() == 36 && before.pid > 1 && before.pidns > 0, "{before:?}");
    daemon.signal(Signal::KILL);
    daemon.ended();
    daemon.restart();
    let after = daemon.client().await.introspection().server(()).await.unwrap().into_inner();
    assert_eq!((after.uuid, after.pidns), (before.uuid, before.pidns));
}

#[tokio::test]
async fn health_and_reflection_answer() {
    let daemon = Daemon::start();
    let channel = channel(&daemon).await;
    let mut health = HealthClient::new(channel.clone());
    let check = health.check(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(check.status(), ServingStatus::Serving);
    let mut watch = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);

    let ask = |message| {
        let request = ServerReflectionRequest { host: String::new(), message_request: Some(message) };
        let mut client = ServerReflectionClient::new(channel.clone());
        async move {
            let mut answers = client.server_reflection_info(tokio_stream::once(request)).await.unwrap().into_inner();
            answers.message().await.unwrap().unwrap().message_response.unwrap()
        }
    };
    let MessageResponse::ListServicesResponse(services) = ask(MessageRequest::ListServices(String::new())).await else {
        panic!("no list")
    };
    let names: Vec<_> = services.service.iter().map(|service| service.name.as_str()).collect();
    for expected in ["containerd.services.content.v1.Content", "grpc.health.v1.Health"] {
        assert!(names.contains(&expected), "{names:?}");
    }
    let symbol = MessageRequest::FileContainingSymbol("containerd.services.images.v1.Images".into());
    assert!(matches!(ask(symbol).await, MessageResponse::FileDescriptorResponse(_)));
}

#[tokio::test]
async fn what_is_not_there_says_so() {
    let daemon = Daemon::start();
    let channel = channel(&daemon).await;
    let nameless = ContainersClient::new(channel.clone()).list(ListContainersRequest::default()).await.unwrap_err();
    assert_eq!(nameless.code(), Code::FailedPrecondition);
    assert!(nameless.message().starts_with("namespace is required"), "{nameless}");
    let later = StoreClient::new(channel).list(StoreListRequest::default()).await.unwrap_err();
    assert_eq!(later.code(), Code::Unimplemented);
    assert!(later.message().contains("containerd.services.sandbox.v1.Store"), "{later}");
}
