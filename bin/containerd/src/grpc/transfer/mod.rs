//! Transfer.Transfer: images from one end to the other, with progress on a stream.
//!
//! The two ends arrive as `Any`, become an enum once, in `ends`, and everything behind knows the enum only. Streams
//! that they name are claimed and served by tasks of this request, which end with it: a client that goes away
//! takes the whole transfer with it.

mod credentials;
mod ends;

use super::{
    scope::scoped,
    streaming::{Registry, Stream},
};
use client::{any, descriptor_to_wire};
use ends::{Ends, Tasks};
use engine::transfer::{Progress, ProgressSink, Transfers};
use proto::{
    api::containerd::{
        services::transfer::v1::{TransferRequest, transfer_server},
        types::transfer as types,
    },
    convert::status,
};
use std::time::Duration;
use tonic::{Request, Response, Status};

/// How long a client may take to read the last of progress and logs (containerd's).
const LAST_PROGRESS: Duration = Duration::from_secs(10);

/// The service.
#[derive(Debug)]
pub(super) struct Transfer {
    pub(super) transfers: Transfers,
    pub(super) streams: Registry,
}

#[tonic::async_trait]
impl transfer_server::Transfer for Transfer {
    async fn transfer(&self, request: Request<TransferRequest>) -> Result<Response<()>, Status> {
        let (scope, request) = scoped(request)?;
        let mut tasks = Tasks::default();
        let listener = request.options.as_ref().map(|options| options.progress_stream.as_str());
        let listener = listener.filter(|id| !id.is_empty());
        let listener = listener.map(|id| self.streams.claim(&scope, id)).transpose().map_err(status)?;
        let Ends { source, destination } = Ends::open(&self.streams, &scope, &request, &mut tasks).map_err(status)?;
        let progress = if listener.is_some() { ProgressSink::new() } else { ProgressSink::default() };
        let work = Box::pin(async {
            self.transfers.transfer(&scope, source, destination, &progress).await.map_err(status)?;
            // What was written has left before the client hears that it is done.
            while tasks.files.join_next().await.is_some() {}
            // A fetch that another transfer waits for may keep a log open.
            let told = async { while tasks.logs.join_next().await.is_some() {} };
            let _late = tokio::time::timeout(LAST_PROGRESS, told).await;
            Ok(Response::new(()))
        });
        match listener {
            Some(listener) => tell(&progress, listener, work).await,
            None => work.await,
        }
    }
}

/// Does `work`, telling the client of its progress meanwhile.
async fn tell<T>(progress: &ProgressSink, listener: Stream, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    let listening = async {
        loop {
            if let Err(error) = listener.send(any(&to_wire(progress.next().await))).await {
                tracing::debug!(%error, "progress is not listened to any more");
                // The work goes on until its own client leaves.
                return;
            }
        }
    };
    let done = tokio::select! {
        done = work.as_mut() => done,
        () = listening => return work.await,
    };
    let rest = async {
        while let Some(last) = progress.try_next() {
            listener.send(any(&to_wire(last))).await?;
        }
        listener.close().await;
        Ok::<_, model::Error>(())
    };
    match tokio::time::timeout(LAST_PROGRESS, rest).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "progress is not listened to any more"),
        Err(_) => tracing::warn!("the client does not read its progress"),
    }
    done
}

fn to_wire(progress: Progress) -> types::Progress {
    let count = |bytes| i64::try_from(bytes).unwrap_or(i64::MAX);
    types::Progress {
        event: progress.event,
        name: progress.name,
        parents: progress.parents,
        progress: count(progress.progress),
        total: count(progress.total),
        desc: progress.descriptor.as_ref().map(descriptor_to_wire),
    }
}
