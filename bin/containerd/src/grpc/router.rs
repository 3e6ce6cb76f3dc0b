//! Which service a request goes to, and how many are under way.

use hyper::{
    Request, Response,
    body::{self, Incoming},
};
use std::{
    collections::HashMap,
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};
use tokio::sync::watch;
use tonic::{Status, body::Body, codegen::Service, server::NamedService};
use tower::util::BoxCloneSyncService;

type Handler = BoxCloneSyncService<Request<Incoming>, Response<Body>, Infallible>;

type OnDemand = LazyLock<Handler, Box<dyn FnOnce() -> Handler + Send>>;

/// Methods that last until something happens, or for ever.
const WAITING: &[&str] = &[
    "/containerd.services.events.v1.Events/Subscribe",
    "/containerd.services.streaming.v1.Streaming/Stream",
    "/containerd.services.tasks.v1.Tasks/Wait",
    "/grpc.health.v1.Health/Watch",
];

/// Services whose place is kept, with what to do meanwhile.
const LATER: &[(&str, &str)] = &[
    ("containerd.services.sandbox.v1.Store", "sandboxes are not there yet"),
    ("containerd.services.sandbox.v1.Controller", "sandboxes are not there yet"),
    ("runtime.v1.RuntimeService", "Kubernetes is not served yet"),
    ("runtime.v1.ImageService", "Kubernetes is not served yet"),
];

/// Hands each request to its service. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Router(Arc<Routes>);

struct Routes {
    services: HashMap<&'static str, Handler>,
    /// Made when first asked for, as most daemons never are and it holds every descriptor.
    on_demand: HashMap<&'static str, OnDemand>,
    busy: watch::Sender<usize>,
    served: AtomicU64,
}

/// Collects the services of a [`Router`].
#[derive(Default)]
pub(crate) struct Builder {
    services: HashMap<&'static str, Handler>,
    on_demand: HashMap<&'static str, OnDemand>,
}

impl Builder {
    /// Adds a generated service.
    pub(crate) fn add<S>(mut self, service: S) -> Self
    where
        S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send,
    {
        self.services.insert(S::NAME, BoxCloneSyncService::new(service));
        self
    }

    /// Adds a service that is made when it is first asked for.
    pub(crate) fn add_on_demand<S>(mut self, make: impl FnOnce() -> S + Send + 'static) -> Self
    where
        S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send,
    {
        let make: Box<dyn FnOnce() -> Handler + Send> = Box::new(|| BoxCloneSyncService::new(make()));
        self.on_demand.insert(S::NAME, LazyLock::new(make));
        self
    }

    pub(crate) fn build(self) -> Router {
        let (busy, _) = watch::channel(0);
        Router(Arc::new(Routes { services: self.services, on_demand: self.on_demand, busy, served: AtomicU64::new(0) }))
    }
}

impl Router {
    /// Returns once no request is under way but those that wait for something to happen.
    pub(crate) async fn idle(&self) {
        let mut busy = self.0.busy.subscribe();
        // The sender lives as long as `self`.
        let _ = busy.wait_for(|busy| *busy == 0).await;
    }

    /// How many requests are under way.
    pub(crate) fn busy(&self) -> usize {
        *self.0.busy.borrow()
    }

    /// How many requests there have been.
    pub(crate) fn served(&self) -> u64 {
        self.0.served.load(Ordering::Relaxed)
    }

    fn find(&self, path: &str) -> Result<Handler, Status> {
        let name = path.trim_start_matches('/').split('/').next().unwrap_or_default();
        if let Some(service) = self.0.services.get(name) {
            return Ok(service.clone());
        }
        if let Some(service) = self.0.on_demand.get(name) {
            return Ok((**service).clone());
        }
        Err(match LATER.iter().find(|(later, _)| *later == name) {
            Some((_, meanwhile)) => {
                Status::unimplemented(format!("service {name} is not implemented in this release: {meanwhile}"))
            }
            None => Status::unimplemented(format!("unknown service {name}")),
        })
    }
}

impl hyper::service::Service<Request<Incoming>> for Router {
    type Response = Response<Counted<Body>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.0.served.fetch_add(1, Ordering::Relaxed);
        let path = request.uri().path();
        tracing::debug!(method = path, "request");
        let guard = (!WAITING.contains(&path)).then(|| Guard::new(&self.0.busy));
        let found = self.find(path);
        Box::pin(async move {
            let answer = match found {
                Ok(mut service) => service.call(request).await?,
                Err(refusal) => refusal.into_http(),
            };
            Ok(answer.map(|body| Counted { body, _guard: guard }))
        })
    }
}

/// Counts a request as under way for as long as it lives.
struct Guard(watch::Sender<usize>);

impl Guard {
    fn new(busy: &watch::Sender<usize>) -> Self {
        busy.send_modify(|busy| *busy += 1);
        Self(busy.clone())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.send_modify(|busy| *busy -= 1);
    }
}

/// An answer's body, which holds on to its request's guard until it has been sent.
pub(crate) struct Counted<B> {
    body: B,
    _guard: Option<Guard>,
}

impl<B: body::Body + Unpin> body::Body for Counted<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<body::Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> body::SizeHint {
        self.body.size_hint()
    }
}
