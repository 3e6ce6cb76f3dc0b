//! Content.Write: one ingest, its reference locked for as long as the stream lives.
//!
//! ```text
//! first message (ref) ── open, lock ──► STAT | WRITE | COMMIT …
//!   already there: AlreadyExists            │        └─ size and digest checked, labels, end
//!   ref open elsewhere: Unavailable         └─ offset > 0 must be where we are, 0 starts anew
//! the end of the stream without COMMIT leaves a resumable ingest
//! ```

use super::reply::blocking;
use model::{Digest, Error, Result, Scope};
use proto::{
    api::containerd::services::content::v1::{WriteAction, WriteContentRequest, WriteContentResponse},
    convert::{status, timestamp_to_wire},
};
use store::{ContentWriter, Store, WriterOptions};
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

/// Writes up to this many bytes are done at once: handing them to another thread costs more.
const INLINE: usize = 64 << 10;

type Reply = std::result::Result<WriteContentResponse, Status>;

/// Serves one stream to its end.
pub(super) async fn serve(
    store: Store,
    scope: Scope,
    mut requests: Streaming<WriteContentRequest>,
    replies: mpsc::Sender<Reply>,
) {
    let failure = match run(store, scope, &mut requests, &replies).await {
        Ok(()) => return,
        Err(failure) => failure,
    };
    tracing::debug!(error = failure.message(), "content write ended");
    // The client may have gone, and with it whoever wants to know.
    let _ = replies.send(Err(failure)).await;
}

async fn run(
    store: Store,
    scope: Scope,
    requests: &mut Streaming<WriteContentRequest>,
    replies: &mpsc::Sender<Reply>,
) -> std::result::Result<(), Status> {
    let Some(first) = requests.message().await? else {
        return Err(status(Error::invalid_argument("first message must have a reference")));
    };
    let mut session = {
        let (store, scope) = (store, scope);
        let opened = blocking(move || Session::open(store, scope, &first).map(|session| (session, first))).await?;
        let (session, first) = opened;
        match step(session, first, replies).await? {
            Some(session) => session,
            None => return Ok(()),
        }
    };
    while let Some(request) = requests.message().await? {
        match step(session, request, replies).await? {
            Some(next) => session = next,
            None => return Ok(()),
        }
    }
    Ok(())
}

/// Handles one message; `None` after a commit, or once the client has gone.
async fn step(
    session: Session,
    request: WriteContentRequest,
    replies: &mpsc::Sender<Reply>,
) -> std::result::Result<Option<Session>, Status> {
    let action = WriteAction::try_from(request.action)
        .map_err(|_| status(Error::invalid_argument(format!("write action {} is unknown", request.action))))?;
    let is_light = action != WriteAction::Commit && request.data.len() <= INLINE && request.expected.is_empty();
    let (session, reply) = if is_light {
        session.handle(action, &request).map_err(status)?
    } else {
        blocking(move || session.handle(action, &request)).await?
    };
    let open = replies.send(Ok(reply)).await.is_ok();
    Ok(session.filter(|_| open))
}

/// An ingest and what its client has said about it so far.
struct Session {
    store: Store,
    scope: Scope,
    writer: ContentWriter,
    total: u64,
    expected: Option<Digest>,
}

impl Session {
    fn open(store: Store, scope: Scope, first: &WriteContentRequest) -> Result<Self> {
        if first.r#ref.is_empty() {
            return Err(Error::invalid_argument("first message must have a reference"));
        }
        let expected = digest(&first.expected)?;
        let total = size(first.total)?;
        let options =
            WriterOptions { reference: first.r#ref.clone(), total, expected: expected.clone(), ..Default::default() };
        let writer = store.open_writer(&scope, &options)?;
        Ok(Self { store, scope, writer, total, expected })
    }

    /// Does what `request` asks. No session comes back from a commit.
    fn handle(
        mut self,
        action: WriteAction,
        request: &WriteContentRequest,
    ) -> Result<(Option<Self>, WriteContentResponse)> {
        self.learn(request)?;
        let before = self.writer.status();
        let mut reply =
            WriteContentResponse { action: action.into(), offset: wire(before.offset), ..Default::default() };
        if action == WriteAction::Stat {
            reply.digest = self.writer.digest()?.to_string();
            reply.started_at = Some(timestamp_to_wire(before.started_at));
            reply.updated_at = Some(timestamp_to_wire(before.updated_at));
            reply.total = wire(self.total);
            return Ok((Some(self), reply));
        }
        let at = size(request.offset)?;
        if at > 0 && at != before.offset {
            let now = before.offset;
            return Err(Error::out_of_range(format!("write @{at} must occur at current offset {now}")));
        }
        if at == 0 && before.offset > 0 {
            self.writer.truncate()?;
        }
        if !request.data.is_empty() {
            self.writer.write(&request.data)?;
        }
        reply.offset = wire(at + request.data.len() as u64);
        if action == WriteAction::Commit {
            let labels = request.labels.clone();
            reply.digest = self.writer.commit(self.total, self.expected.as_ref(), labels)?.to_string();
            return Ok((None, reply));
        }
        reply.digest = self.writer.digest()?.to_string();
        Ok((Some(self), reply))
    }

    /// Takes in size and digest, which any message may carry.
    fn learn(&mut self, request: &WriteContentRequest) -> Result<()> {
        let total = size(request.total)?;
        if total > 0 {
            self.total = total;
        }
        let Some(expected) = digest(&request.expected)? else { return Ok(()) };
        if self.expected.as_ref() != Some(&expected) {
            if self.store.blob_info(&self.scope, &expected).is_ok() {
                return Err(Error::already_exists(format!("blob with expected digest {expected} exists")));
            }
            self.expected = Some(expected);
        }
        Ok(())
    }
}

fn digest(text: &str) -> Result<Option<Digest>> {
    if text.is_empty() { Ok(None) } else { text.parse().map(Some) }
}

fn size(wire: i64) -> Result<u64> {
    u64::try_from(wire).map_err(|_| Error::invalid_argument(format!("size or offset {wire} is negative")))
}

fn wire(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}
