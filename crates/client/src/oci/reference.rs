//! Image names as Docker and containerd write them (the `distribution/reference` grammar).

use model::{Digest, Error, Result};

/// Longest repository name, with its domain.
const MAX_NAME: usize = 255;

/// Longest tag.
const MAX_TAG: usize = 128;

/// A parsed and completed reference.
struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Completes a name as Docker does: `alpine` becomes `docker.io/library/alpine:latest`. Of a tag and a digest the
/// digest stays.
pub fn docker_reference(text: &str) -> Result<String> {
    let reference = parse(text)?;
    let name = format!("{}/{}", reference.domain, reference.path);
    Ok(match (reference.digest, reference.tag) {
        (Some(digest), _) => format!("{name}@{digest}"),
        (None, tag) => format!("{name}:{}", tag.as_deref().unwrap_or("latest")),
    })
}

/// The short form of a name, as Docker shows it: `docker.io/library/alpine:latest` becomes `alpine:latest`.
pub fn familiar_name(text: &str) -> Result<String> {
    let reference = parse(text)?;
    let path = match reference.domain.as_str() {
        "docker.io" => reference.path.strip_prefix("library/").unwrap_or(&reference.path).to_owned(),
        domain => format!("{domain}/{}", reference.path),
    };
    let tag = match (reference.tag, &reference.digest) {
        (Some(tag), _) => format!(":{tag}"),
        (None, None) => ":latest".to_owned(),
        (None, Some(_)) => String::new(),
    };
    let digest = reference.digest.map(|digest| format!("@{digest}")).unwrap_or_default();
    Ok(format!("{path}{tag}{digest}"))
}

/// What follows the repository: the tag of `name`, or the whole name if it has none (for the annotation
/// `org.opencontainers.image.ref.name`, which suggests only a tag).
pub fn object_of(name: &str) -> &str {
    let path = name.rfind('/').map_or(0, |slash| slash + 1);
    match (name[path..].find('@'), name[path..].find(':')) {
        (None, Some(colon)) if path > 0 => &name[path + colon + 1..],
        _ => name,
    }
}

fn parse(text: &str) -> Result<Reference> {
    let invalid = |why: &str| Error::invalid_argument(format!("image reference {text:?}: {why}"));
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => {
            (rest, Some(digest.parse::<Digest>().map_err(|error| invalid("invalid digest").caused_by(error))?))
        }
        None => (text, None),
    };
    let (name, tag) = match rest.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (rest, None),
    };
    if let Some(tag) = tag
        && !is_tag(tag)
    {
        return Err(invalid("invalid tag"));
    }
    let (domain, path) = split_domain(name);
    if !path.split('/').all(is_component) {
        let why = if path.chars().any(|c| c.is_ascii_uppercase()) {
            "repository name must be lowercase"
        } else {
            "invalid reference format"
        };
        return Err(invalid(why));
    }
    if !is_domain(&domain) {
        return Err(invalid("invalid domain"));
    }
    if domain.len() + 1 + path.len() > MAX_NAME {
        return Err(invalid("repository name must not be more than 255 characters"));
    }
    Ok(Reference { domain, path, tag: tag.map(str::to_owned), digest })
}

/// The first part is a domain if it looks like one; otherwise the name is Docker Hub's.
fn split_domain(name: &str) -> (String, String) {
    let hub = "docker.io";
    let (domain, path) = match name.split_once('/') {
        Some(("index.docker.io", path)) => (hub, path),
        Some((first, path)) if first == "localhost" || first.contains(['.', ':']) || first.to_lowercase() != first => {
            (first, path)
        }
        _ => (hub, name),
    };
    let library = if domain == hub && !path.contains('/') { "library/" } else { "" };
    (domain.to_owned(), format!("{library}{path}"))
}

fn is_tag(tag: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let bytes = tag.as_bytes();
    (1..=MAX_TAG).contains(&bytes.len())
        && word(bytes[0])
        && bytes.iter().all(|&byte| word(byte) || b".-".contains(&byte))
}

/// Runs of lower-case letters and digits, joined by one `.`, one or two `_`, or any number of `-`.
fn is_component(component: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends = |part: &str| part.bytes().next().is_some_and(word) && part.bytes().last().is_some_and(word);
    let joints =
        component.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit()).filter(|joint| !joint.is_empty());
    ends(component)
        && joints.into_iter().all(|joint| matches!(joint, "." | "_" | "__") || joint.bytes().all(|byte| byte == b'-'))
}

/// A host name, an address or an address in brackets, perhaps with a port.
fn is_domain(domain: &str) -> bool {
    let (host, port) = match domain.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (domain, None),
    };
    let port_is_good = port.is_none_or(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()));
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host_is_good = match bracketed {
        Some(address) => address.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b':'),
        None => host.split('.').all(|label| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        }),
    };
    host_is_good && port_is_good
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_completed_as_docker_does() {
        let hex = "ab".repeat(32);
        for (short, full) in [
            ("alpine", "docker.io/library/alpine:latest"),
            ("alpine:3", "docker.io/library/alpine:3"),
            ("user/app", "docker.io/user/app:latest"),
            ("localhost/app:1", "localhost/app:1"),
            ("reg:5000/a/b_c--d", "reg:5000/a/b_c--d:latest"),
            ("index.docker.io/alpine", "docker.io/library/alpine:latest"),
            (&format!("a/b:1@sha256:{hex}"), &format!("docker.io/a/b@sha256:{hex}")),
            ("[::1]:5000/x", "[::1]:5000/x:latest"),
        ] {
            assert_eq!(docker_reference(short).unwrap(), full);
        }
        for bad in ["", "Alpine", "a//b", "a/../b", "a:", "a:-x", "a@sha256:12", "-a", "a._b", "ä", "/etc/passwd"] {
            assert!(docker_reference(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_are_shortened_and_split() {
        assert_eq!(familiar_name("docker.io/library/alpine:3").unwrap(), "alpine:3");
        assert_eq!(familiar_name("quay.io/a/b").unwrap(), "quay.io/a/b:latest");
        assert_eq!(object_of("docker.io/library/alpine:3"), "3");
        assert_eq!(object_of("docker.io/a@sha256:1"), "docker.io/a@sha256:1");
        assert_eq!(object_of("reg:5000/a"), "reg:5000/a");
    }
}
