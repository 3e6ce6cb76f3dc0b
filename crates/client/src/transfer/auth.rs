//! Who we are at a registry, asked by the daemon while it talks to it.

use super::stream::Stream;
use model::{Error, Result};
use proto::api::containerd::types::transfer::{AuthRequest, AuthResponse, AuthType};
use std::{fmt, future::Future, pin::Pin};

/// What the daemon may show a host.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// Nothing: the daemon goes there as nobody.
    None,
    /// A name and a password, also to fetch tokens with.
    Basic {
        /// Name.
        username: String,
        /// Password or access token.
        password: String,
    },
    /// A refresh (identity) token to fetch tokens with.
    Refresh(String),
    /// The whole `Authorization` header.
    Header(String),
}

/// Secrets are not for logs.
impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::None => "None",
            Self::Basic { .. } => "Basic(…)",
            Self::Refresh(_) => "Refresh(…)",
            Self::Header(_) => "Header(…)",
        })
    }
}

/// The answer to [`Authenticate::secret`].
pub type Answer<'a> = Pin<Box<dyn Future<Output = Result<Secret>> + Send + 'a>>;

/// Knows secrets.
pub trait Authenticate: fmt::Debug + Send + Sync {
    /// The secret for `host`, asked because image `reference` is wanted there.
    fn secret<'a>(&'a self, host: &'a str, reference: &'a str) -> Answer<'a>;
}

/// Answers until the daemon ends the stream.
///
/// # Errors
/// Of whoever knows the secrets: the protocol has no word for it, and a question without an answer would hang.
pub(super) async fn answer(mut stream: Stream, secrets: impl AsRef<dyn Authenticate>) -> Result<()> {
    // A stream that broke does so for the transfer as well, whose reply says why.
    while let Ok(Some(question)) = stream.next::<AuthRequest>().await {
        let secret = secrets.as_ref().secret(&question.host, &question.reference).await;
        let secret = secret.map_err(|error| error.context(format!("find the credential for {}", question.host)))?;
        if !stream.send(&to_wire(secret)?).await {
            break;
        }
    }
    Ok(())
}

fn to_wire(secret: Secret) -> Result<AuthResponse> {
    let (auth_type, username, secret) = match secret {
        Secret::None => (AuthType::None, String::new(), String::new()),
        Secret::Basic { username, .. } if username.is_empty() => {
            return Err(Error::invalid_argument("a password without a user name"));
        }
        Secret::Basic { username, password } => (AuthType::Credentials, username, password),
        Secret::Refresh(token) => (AuthType::Refresh, String::new(), token),
        Secret::Header(header) => (AuthType::Header, String::new(), header),
    };
    Ok(AuthResponse { auth_type: auth_type.into(), secret, username, expire_at: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_go_out_as_what_they_are_and_not_into_logs() {
        let basic = Secret::Basic { username: "me".into(), password: "hush".into() };
        assert!(!format!("{basic:?}").contains("hush"));
        let wire = to_wire(basic).unwrap();
        assert_eq!(
            (wire.auth_type(), wire.username.as_str(), wire.secret.as_str()),
            (AuthType::Credentials, "me", "hush")
        );
        let wire = to_wire(Secret::Refresh("t".into())).unwrap();
        assert_eq!((wire.auth_type(), wire.secret.as_str()), (AuthType::Refresh, "t"));
        assert_eq!(to_wire(Secret::None).unwrap(), AuthResponse::default());
        assert!(to_wire(Secret::Basic { username: String::new(), password: "x".into() }).is_err());
    }
}
