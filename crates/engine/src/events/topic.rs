//! The rule for topics: `/` and one or more identifiers joined by `/`.

use model::{Error, Result, validate_identifier};

/// Checks `topic` as containerd's exchange does.
pub(super) fn validate(topic: &str) -> Result<()> {
    let invalid = |why: &str| Err(Error::invalid_argument(format!("envelope topic {topic:?}: {why}")));
    let Some(rest) = topic.strip_prefix('/') else {
        return invalid(if topic.is_empty() { "must not be empty" } else { "must start with '/'" });
    };
    if rest.is_empty() {
        return invalid("must have at least one component");
    }
    rest.split('/').try_for_each(|part| {
        validate_identifier(part).map_err(|error| {
            error
                .context(format!("failed validation on component {part:?}"))
                .context(format!("envelope topic {topic:?}"))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::validate;

    #[test]
    fn a_topic_is_a_path_of_identifiers() {
        for good in ["/tasks/exit", "/a", "/tasks/exec-added", "/moby/x.y"] {
            assert!(validate(good).is_ok(), "{good}");
        }
        for bad in ["", "/", "tasks/exit", "/tasks/", "//tasks", "/tasks/..", "/tasks/a b"] {
            assert_eq!(validate(bad).unwrap_err().kind(), model::Kind::InvalidArgument, "{bad}");
        }
    }
}
