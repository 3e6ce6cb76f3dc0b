//! Where credentials come from.

use model::Result;
use std::{fmt, future::Future, pin::Pin};

/// What we show a host.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// A name and a password, also to fetch tokens with.
    Basic {
        /// Name.
        username: String,
        /// Password or access token.
        password: String,
    },
    /// An identity (refresh) token to fetch tokens with.
    Identity(String),
    /// A bearer token for the registry itself.
    Token(String),
    /// The whole `Authorization` header.
    Header(String),
}

/// Secrets are not for logs.
impl fmt::Debug for Credential {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Basic { .. } => "Basic(…)",
            Self::Identity(_) => "Identity(…)",
            Self::Token(_) => "Token(…)",
            Self::Header(_) => "Header(…)",
        })
    }
}

/// The answer to [`Credentials::of`].
pub type Answer<'a> = Pin<Box<dyn Future<Output = Result<Option<Credential>>> + Send + 'a>>;

/// A source of credentials: the caller's, the host's docker configuration, or a client asked over a stream.
pub trait Credentials: fmt::Debug + Send + Sync {
    /// The credential for `host` (with its port), asked because of `challenges` when `repository` was wanted.
    fn of<'a>(&'a self, host: &'a str, repository: &'a str, challenges: &'a [String]) -> Answer<'a>;
}

/// No credential anywhere.
#[derive(Clone, Copy, Debug, Default)]
pub struct Anonymous;

impl Credentials for Anonymous {
    fn of<'a>(&'a self, _: &'a str, _: &'a str, _: &'a [String]) -> Answer<'a> {
        Box::pin(async { Ok(None) })
    }
}

/// One credential for one host, none elsewhere.
#[derive(Clone, Debug)]
pub struct Fixed {
    /// The host, with its port.
    pub host: String,
    /// What it is shown.
    pub credential: Credential,
}

impl Credentials for Fixed {
    fn of<'a>(&'a self, host: &'a str, _: &'a str, _: &'a [String]) -> Answer<'a> {
        let found = (host == self.host).then(|| self.credential.clone());
        Box::pin(async { Ok(found) })
    }
}
