//! containerd's gRPC API as a test calls it: blocking, in one namespace, with a deadline on every call.

use std::fmt;
use std::future::Future;
use std::path::Path;

use proto::api::containerd::services as wire;
use tokio::runtime::Runtime;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use crate::PATIENCE;

/// A connection that adds the namespace, and a lease where one is set, to every request.
pub type Scoped = InterceptedService<Channel, Headers>;

/// containerd's own message limit, both ways.
const MAX_MESSAGE: usize = 16 << 20;

/// The headers that say on whose behalf a request is made.
#[derive(Clone, Debug)]
pub struct Headers {
    namespace: Option<MetadataValue<Ascii>>,
    lease: Option<MetadataValue<Ascii>>,
}

impl Interceptor for Headers {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        for (key, value) in [("containerd-namespace", &self.namespace), ("containerd-lease", &self.lease)] {
            if let Some(value) = value {
                request.metadata_mut().insert(key, value.clone());
            }
        }
        Ok(request)
    }
}

/// A connection to a daemon.
pub struct Api {
    runtime: Runtime,
    channel: Channel,
    headers: Headers,
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api").field("headers", &self.headers).finish_non_exhaustive()
    }
}

macro_rules! clients {
    ($($name:ident: $service:ident $module:ident $client:ident),+ $(,)?) => { impl Api { $(
        /// A client of the service.
        #[must_use]
        pub fn $name(&self) -> wire::$service::v1::$module::$client<Scoped> {
            let scoped = InterceptedService::new(self.channel.clone(), self.headers.clone());
            wire::$service::v1::$module::$client::new(scoped)
                .max_decoding_message_size(MAX_MESSAGE).max_encoding_message_size(MAX_MESSAGE)
        }
    )+ } };
}

clients! {
    containers: containers containers_client ContainersClient,
    content: content content_client ContentClient,
    diff: diff diff_client DiffClient,
    events: events events_client EventsClient,
    images: images images_client ImagesClient,
    introspection: introspection introspection_client IntrospectionClient,
    leases: leases leases_client LeasesClient,
    namespaces: namespaces namespaces_client NamespacesClient,
    snapshots: snapshots snapshots_client SnapshotsClient,
    streaming: streaming streaming_client StreamingClient,
    tasks: tasks tasks_client TasksClient,
    transfer: transfer transfer_client TransferClient,
    version: version version_client VersionClient,
}

impl Api {
    /// Dials a daemon's socket.
    #[must_use]
    pub fn connect(socket: &Path, namespace: &str) -> Self {
        Self::dial(socket, namespace).unwrap_or_else(|e| panic!("connect to {}: {e:?}", socket.display()))
    }

    /// [`Api::connect`] for a daemon that may not be there.
    ///
    /// # Errors
    /// When nobody listens.
    pub fn dial(socket: &Path, namespace: &str) -> Result<Self, tonic::transport::Error> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("start a tokio runtime");
        // A whole message may be under way: what is measured is the daemon, not the pace of window updates.
        let window = u32::try_from(MAX_MESSAGE).ok();
        let endpoint = Endpoint::from_shared(format!("unix://{}", socket.display()))?
            .initial_stream_window_size(window)
            .initial_connection_window_size(window);
        let channel = runtime.block_on(endpoint.connect())?;
        let namespace = Some(namespace.parse().expect("a namespace is ASCII"));
        Ok(Self { runtime, channel, headers: Headers { namespace, lease: None } })
    }

    /// From now on requests carry this lease.
    pub fn set_lease(&mut self, lease: Option<&str>) {
        self.headers.lease = lease.map(|id| id.parse().expect("a lease id is ASCII"));
    }

    /// From now on requests carry this namespace, or none.
    pub fn set_namespace(&mut self, namespace: Option<&str>) {
        self.headers.namespace = namespace.map(|name| name.parse().expect("a namespace is ASCII"));
    }

    /// Runs a call to its end.
    ///
    /// # Errors
    /// The call's own.
    pub fn call<T>(&self, call: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
        self.block_on(call)
    }

    /// Runs any future to its end, within [`PATIENCE`].
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        let bounded = async { tokio::time::timeout(PATIENCE, future).await };
        self.runtime.block_on(bounded).expect("a call took longer than the tests' patience")
    }

    /// The runtime, for tests that do several things at once.
    #[must_use]
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Calls a method with a request of any bytes and answers the reply's.
    ///
    /// # Errors
    /// The call's status.
    pub fn raw(&self, path: &'static str, request: &[u8]) -> Result<Vec<u8>, Status> {
        self.call(async {
            let mut grpc =
                tonic::client::Grpc::new(InterceptedService::new(self.channel.clone(), self.headers.clone()));
            grpc = grpc.max_decoding_message_size(MAX_MESSAGE);
            grpc.ready().await.map_err(|e| Status::unknown(e.to_string()))?;
            let path = tonic::codegen::http::uri::PathAndQuery::from_static(path);
            Ok(grpc.unary(Request::new(request.to_vec()), path, crate::raw::Codec).await?.into_inner())
        })
    }

    /// Whether the daemon says it serves.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        use tonic_health::pb::health_check_response::ServingStatus;
        use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
        let mut health = HealthClient::new(self.channel.clone());
        let request = HealthCheckRequest { service: String::new() };
        self.call(health.check(request)).is_ok_and(|r| r.into_inner().status == ServingStatus::Serving as i32)
    }
}

/// Checks that a call failed with `code` and that its message names `object`.
#[track_caller]
pub fn assert_refused<T: fmt::Debug>(result: Result<T, Status>, code: Code, object: &str) {
    match result {
        Ok(answer) => panic!("expected {code:?}, got {answer:?}"),
        Err(status) => {
            assert_eq!(status.code(), code, "message: {}", status.message());
            assert!(status.message().contains(object), "the message does not name {object:?}: {}", status.message());
        }
    }
}
