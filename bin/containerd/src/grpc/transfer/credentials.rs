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
    stream: Mutex<Stream>,
    /// The whole reference of the image, which containerd's clients are told.
    reference: String,
}

impl Callback {
    pub(super) fn new(stream: Stream, reference: String) -> Self {
        Self { stream: Mutex::new(stream), reference }
    }

    async fn ask(&self, host: &str, challenges: &[String]) -> Result<Option<Credential>> {
        let mut stream = self.stream.lock().await;
        let request = AuthRequest {
            host: host.to_owned(),
            reference: self.reference.clone(),
            wwwauthenticate: challenges.to_vec(),
        };
        stream.send(any(&request)).await?;
        let answer = stream.receive().await?.ok_or_else(|| Error::cancelled("its stream has ended"))?;
        let answer: AuthResponse = decode(&answer)?
            .ok_or_else(|| Error::invalid_argument(format!("it answered with a {:?}", answer.type_url)))?;
        credential(answer)
    }
}

impl Credentials for Callback {
    fn of<'a>(&'a self, host: &'a str, _repository: &'a str, challenges: &'a [String]) -> Answer<'a> {
        Box::pin(async move {
            let answer = tokio::time::timeout(PATIENCE, self.ask(host, challenges)).await;
            let answer = answer.unwrap_or_else(|_| Err(Error::deadline_exceeded("it does not answer")));
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
