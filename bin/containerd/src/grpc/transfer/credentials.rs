//! Credentials that the client is asked for, on a stream of its own.

use crate::grpc::streaming::{Stream, decode};
use client::any;
use distribution::{Answer, Credential, Credentials};
use model::{Error, Result};
use proto::api::containerd::types::transfer::{AuthRequest, AuthResponse, AuthType};
use std::time::Duration;
use tokio::sync::Mutex;

/// How long a client may take: it may have to ask a person.
const PATIENCE: Duration = Duration::from_secs(120);

/// Asks the client, one question at a time.
#[derive(Debug)]
pub(super) struct Callback {
    /// None while a question is open, and after one that was given up: its answer may still come, and must not be taken
    /// for that to the next one, which another host may get to see.
    stream: Mutex<Option<Stream>>,
    /// The whole reference of the image, which containerd's clients are told.
    reference: String,
}

impl Callback {
    pub(super) fn new(stream: Stream, reference: String) -> Self {
        Self { stream: Mutex::new(Some(stream)), reference }
    }

    async fn ask(&self, host: &str, challenges: &[String]) -> Result<Option<Credential>> {
        let mut place = self.stream.lock().await;
        let unanswered = || Error::failed_precondition("it has not answered an earlier question");
        let mut stream = place.take().ok_or_else(unanswered)?;
        let request = AuthRequest {
            host: host.to_owned(),
            reference: self.reference.clone(),
            wwwauthenticate: challenges.to_vec(),
        };
        let answer = tokio::time::timeout(PATIENCE, async {
            stream.send(any(&request)).await?;
            stream.receive().await
        });
        let answer = answer.await.map_err(|_| Error::deadline_exceeded("it does not answer"))?;
        let answer = answer?.ok_or_else(|| Error::cancelled("its stream has ended"))?;
        *place = Some(stream);
        let answer: AuthResponse = decode(&answer)?
            .ok_or_else(|| Error::invalid_argument(format!("it answered with a {:?}", answer.type_url)))?;
        credential(answer)
    }
}

impl Credentials for Callback {
    fn of<'a>(&'a self, host: &'a str, _repository: &'a str, challenges: &'a [String]) -> Answer<'a> {
        Box::pin(async move {
            let answer = self.ask(host, challenges).await;
            answer.map_err(|error| error.context(format!("ask the client for credentials for {host}")))
        })
    }
}

fn credential(answer: AuthResponse) -> Result<Option<Credential>> {
    let kind = AuthType::try_from(answer.auth_type)
        .map_err(|_| Error::invalid_argument(format!("credentials of type {} are unknown", answer.auth_type)))?;
    Ok(match kind {
        _ if answer.secret.is_empty() && answer.username.is_empty() => None,
        AuthType::None => None,
        AuthType::Credentials => Some(Credential::Basic { username: answer.username, password: answer.secret }),
        AuthType::Refresh => Some(Credential::Identity(answer.secret)),
        AuthType::Header => Some(Credential::Header(answer.secret)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grpc::{reply::Replies, streaming::Registry};
    use bytes::Bytes;
    use hyper::body::{Body, Frame};
    use model::{Namespace, Scope};
    use prost::Message as _;
    use proto::Any;
    use std::{
        convert::Infallible,
        pin::Pin,
        task::{Context, Poll},
    };
    use tokio::sync::mpsc;
    use tokio_stream::StreamExt as _;
    use tonic_prost::ProstDecoder;

    /// What a client sends, as HTTP carries it.
    struct Sent(mpsc::UnboundedReceiver<Any>);

    impl Body for Sent {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            self.0.poll_recv(context).map(|message| {
                let message = message?.encode_to_vec();
                let len = u32::try_from(message.len()).unwrap().to_be_bytes();
                Some(Ok(Frame::data(Bytes::from([&[0], &len[..], &message].concat()))))
            })
        }
    }

    /// A callback, what its client answers by, and what that is asked.
    fn callback() -> (Callback, mpsc::UnboundedSender<Any>, Replies<Any>) {
        let (answers, sent) = mpsc::unbounded_channel();
        let messages = tonic::Streaming::new_request(ProstDecoder::<Any>::default(), Sent(sent), None, None);
        let (registry, scope) = (Registry::default(), Scope::new(Namespace::new("test").unwrap()));
        let asked = registry.register(&scope, "credentials", messages).unwrap();
        let stream = registry.claim(&scope, "credentials").unwrap();
        (Callback::new(stream, "example.com/app:1".to_owned()), answers, asked)
    }

    fn password(secret: &str) -> Any {
        let (auth_type, username) = (AuthType::Credentials.into(), "user".to_owned());
        any(&AuthResponse { auth_type, username, secret: secret.to_owned(), expire_at: None })
    }

    #[tokio::test]
    async fn a_late_answer_goes_to_no_other_host() {
        let (callback, answers, mut asked) = callback();
        let secret =
            |secret: &str| Some(Credential::Basic { username: "user".to_owned(), password: secret.to_owned() });
        let (given, _) = tokio::join!(callback.of("one.example.com", "app", &[]), async {
            answers.send(password("for one")).unwrap();
        });
        assert_eq!(given.unwrap(), secret("for one"));
        // Whoever wanted to know has given up; now it is answered.
        let question = callback.of("two.example.com", "app", &[]);
        let short = Duration::from_millis(50);
        tokio::time::timeout(short, question).await.expect_err("nobody has answered");
        answers.send(password("for two")).ok();
        let error = callback.of("three.example.com", "app", &[]).await.unwrap_err().to_string();
        assert!(error.contains("three.example.com") && error.contains("not answered an earlier question"), "{error}");
        drop(callback);
        let mut hosts = Vec::new();
        while let Some(question) = asked.next().await {
            if let Some(AuthRequest { host, .. }) = decode(&question.unwrap()).unwrap() {
                hosts.push(host);
            }
        }
        assert_eq!(hosts, ["one.example.com", "two.example.com"], "nobody is asked in vain");
    }

    #[test]
    fn every_kind_of_answer_is_understood() {
        let answer = |kind: AuthType, username: &str, secret: &str| {
            let (secret, username) = (secret.to_owned(), username.to_owned());
            credential(AuthResponse { auth_type: kind.into(), secret, username, expire_at: None }).unwrap()
        };
        let basic = Credential::Basic { username: "u".into(), password: "p".into() };
        assert_eq!(answer(AuthType::Credentials, "u", "p"), Some(basic));
        assert_eq!(answer(AuthType::Refresh, "", "t"), Some(Credential::Identity("t".into())));
        assert_eq!(answer(AuthType::Header, "", "Bearer t"), Some(Credential::Header("Bearer t".into())));
        assert_eq!(answer(AuthType::None, "", ""), None);
        // Go's client has no user: it answers so.
        assert_eq!(answer(AuthType::Refresh, "", ""), None);
        assert!(credential(AuthResponse { auth_type: 9, secret: "s".into(), ..AuthResponse::default() }).is_err());
    }
}
