//! The Transfer service from a client's side: the daemon moves an image, we answer its questions and hear of it.
//!
//! ```text
//! Client::transfer ── Transfer(source, destination) ──────────► daemon        the one call, ends with the work
//!      │  streams, each with an id of its own, opened beforehand:
//!      ├── progress ◄── Progress … ◄──────────────────────────────┤
//!      ├── creds    ◄── AuthRequest ──► AuthResponse ─────────────┤
//!      ├── import   ◄── WindowUpdate, Data … ─────────────────────┤           an archive in
//!      └── export   ──► WindowUpdate, ◄── Data … ─────────────────┘           an archive out, or HTTP logs
//! ```
//! An endpoint is what is written into the request, and who serves its streams.

mod auth;
mod bytes;
mod endpoint;
mod stream;

pub use auth::{Answer, Authenticate, Secret};
pub use endpoint::{Archive, Endpoint, ExportTo, HttpLog, Naming, Registry, Store, Unpack};

use crate::progress::{Event, Item, Progress};
use crate::{Client, Reply, descriptor_from_wire};
use model::{Error, Result};
use proto::api::containerd::services::transfer::v1::{TransferOptions, TransferRequest};
use proto::api::containerd::types::transfer;
use std::time::Duration;
use stream::Stream;
use tokio::{sync::watch, task::JoinSet};

/// Longest silence of an export's stream after the daemon has said that it is done.
const LAST_BYTES: Duration = Duration::from_secs(30);

/// Longest silence of the progress after that.
const LAST_NEWS: Duration = Duration::from_millis(300);

/// Whoever serves the streams of a transfer.
#[derive(Debug, Default)]
struct Attendants {
    /// Serve as long as the transfer lasts; a failure of one ends it.
    helpers: JoinSet<Result<()>>,
    /// Takes what is exported: it has to see the end of its stream.
    output: JoinSet<Result<()>>,
    /// Whether the daemon has said that it is done.
    replied: watch::Sender<bool>,
}

impl Client {
    /// Has the daemon move an image from `source` to `destination`, under a lease; tells `progress` what it says of it.
    ///
    /// # Errors
    /// The daemon's, or that of a file, a sink or a credential of ours. Dropping the future ends the transfer.
    pub async fn transfer(&self, source: Endpoint, destination: Endpoint, progress: &dyn Progress) -> Result<()> {
        self.under_lease(async |client: Self| client.transfer_leased(source, destination, progress).await).await
    }

    async fn transfer_leased(&self, source: Endpoint, destination: Endpoint, progress: &dyn Progress) -> Result<()> {
        let mut attendants = Attendants::default();
        let mut told = self.open_stream("progress").await?;
        let request = TransferRequest {
            source: Some(source.open(self, &mut attendants).await?),
            destination: Some(destination.open(self, &mut attendants).await?),
            options: Some(TransferOptions { progress_stream: told.id.clone() }),
        };
        let mut service = self.transfers();
        let call = service.transfer(request);
        tokio::pin!(call);
        let mut listening = true;
        loop {
            tokio::select! {
                // News before the reply: what was said before the end is shown before it.
                biased;
                news = told.next::<transfer::Progress>(), if listening => match news {
                    Ok(Some(news)) => tell(progress, &news),
                    // The transfer goes on without it.
                    Ok(None) | Err(_) => listening = false,
                },
                ended = attendants.next_failure() => return Err(ended),
                reply = &mut call => {
                    reply.reply()?;
                    break;
                }
            }
        }
        if listening {
            rest_of_the_news(&mut told, progress).await;
        }
        attendants.replied.send_replace(true);
        attendants.last_bytes().await
    }
}

impl Attendants {
    /// The first failure; never ends while there is none.
    async fn next_failure(&mut self) -> Error {
        loop {
            let ended = tokio::select! {
                Some(ended) = self.helpers.join_next() => ended,
                Some(ended) = self.output.join_next() => ended,
                else => std::future::pending().await,
            };
            match ended {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return error,
                Err(panic) => return Error::internal("serve a stream of the transfer").caused_by(panic),
            }
        }
    }

    /// Waits for what is exported to have been written.
    async fn last_bytes(&mut self) -> Result<()> {
        while let Some(ended) = tokio::time::timeout(LAST_BYTES, self.output.join_next()).await.map_err(|_| {
            Error::deadline_exceeded("the daemon has said that it is done, but does not end the archive's stream")
        })? {
            ended.map_err(|panic| Error::internal("receive an archive").caused_by(panic))??;
        }
        Ok(())
    }
}

/// What was said before the reply but comes after it, as it may on a stream of its own. Our daemon ends the stream then;
/// Go's does not, so a silence is an end too.
async fn rest_of_the_news(told: &mut Stream, progress: &dyn Progress) {
    while let Ok(Ok(Some(news))) = tokio::time::timeout(LAST_NEWS, told.next::<transfer::Progress>()).await {
        tell(progress, &news);
    }
}

fn tell(progress: &dyn Progress, news: &transfer::Progress) {
    if news.name.is_empty() {
        progress.on(Event::Status(&news.event));
        return;
    }
    // A descriptor that is none is as good as none: it is shown only.
    let descriptor = news.desc.clone().and_then(|descriptor| descriptor_from_wire(descriptor).ok());
    progress.on(Event::Item(Item {
        name: &news.name,
        phase: &news.event,
        done: u64::try_from(news.progress).unwrap_or(0),
        total: u64::try_from(news.total).unwrap_or(0),
        descriptor: descriptor.as_ref(),
    }));
}
