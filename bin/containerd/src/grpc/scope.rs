//! On whose behalf a request acts, read from its headers.

use model::{Error, Namespace, Result, Scope};
use proto::convert::status;
use tonic::{Request, Status, metadata::MetadataMap};

const NAMESPACE: &str = "containerd-namespace";
const LEASE: &str = "containerd-lease";

/// Takes a request apart: its scope and its message.
pub(crate) fn scoped<T>(request: Request<T>) -> Result<(Scope, T), Status> {
    let scope = scope(request.metadata()).map_err(status)?;
    Ok((scope, request.into_inner()))
}

fn scope(headers: &MetadataMap) -> Result<Scope> {
    let namespace = header(headers, NAMESPACE)?
        .filter(|name| !name.is_empty())
        .ok_or_else(|| Error::failed_precondition("namespace is required"))?;
    let lease = header(headers, LEASE)?.filter(|id| !id.is_empty()).map(str::to_owned);
    Ok(Scope { namespace: Namespace::new(namespace)?, lease })
}

fn header<'a>(headers: &'a MetadataMap, name: &str) -> Result<Option<&'a str>> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    value.to_str().map(Some).map_err(|_| Error::invalid_argument(format!("header {name} is not ASCII")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::Code;

    fn request(headers: &[(&'static str, &str)]) -> Request<()> {
        let mut request = Request::new(());
        for (name, value) in headers {
            request.metadata_mut().insert(*name, value.parse().unwrap());
        }
        request
    }

    #[test]
    fn namespace_is_required_and_checked_and_a_lease_is_not() {
        let (scope, ()) = scoped(request(&[(NAMESPACE, "moby"), (LEASE, "l1")])).unwrap();
        assert_eq!((scope.namespace.as_str(), scope.lease.as_deref()), ("moby", Some("l1")));
        assert_eq!(scoped(request(&[(NAMESPACE, "moby"), (LEASE, "")])).unwrap().0.lease, None);
        for missing in [request(&[]), request(&[(NAMESPACE, "")])] {
            let refused = scoped(missing).unwrap_err();
            assert_eq!(refused.code(), Code::FailedPrecondition);
            assert!(refused.message().starts_with("namespace is required"));
        }
        assert_eq!(scoped(request(&[(NAMESPACE, "a/b")])).unwrap_err().code(), Code::InvalidArgument);
    }
}
