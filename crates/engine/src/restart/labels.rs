//! What a container's labels ask for (containerd's `core/runtime/restart`).

use model::{Error, Labels, Result};

/// The state the container's task shall be in: `running` or `stopped`.
pub(super) const STATUS: &str = "containerd.io/restart.status";
/// `no`, `always`, `on-failure[:max]` or `unless-stopped`; none is `always`.
const POLICY: &str = "containerd.io/restart.policy";
/// How often the container was restarted.
pub(super) const COUNT: &str = "containerd.io/restart.count";
/// Where the output of restarted tasks goes; none is nowhere.
const LOG_URI: &str = "containerd.io/restart.loguri";
/// containerd 1.x's, which 2.x only warns of.
const LOG_PATH: &str = "containerd.io/restart.logpath";
/// Set by clients when a user stops the container.
const EXPLICITLY_STOPPED: &str = "containerd.io/restart.explicitly-stopped";

/// When to restart a container that is not running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Policy {
    No,
    Always,
    /// After a status that is not 0, at most so often; 0 is any number of times.
    OnFailure(i64),
    UnlessStopped,
}

impl Policy {
    fn parse(text: &str) -> Result<Self> {
        let (name, max) = match text.split_once(':') {
            // Whatever follows a second colon is ignored, as in containerd.
            Some((name, rest)) => (name, Some(rest.split(':').next().unwrap_or_default())),
            None => (text, None),
        };
        let policy = match name {
            "" | "always" => Self::Always,
            "no" => Self::No,
            "unless-stopped" => Self::UnlessStopped,
            "on-failure" => {
                let max = max.unwrap_or("0");
                let parsed = max.parse();
                return parsed
                    .map(Self::OnFailure)
                    .map_err(|_| Error::invalid_argument(format!("invalid max retry count: {max}")));
            }
            _ => return Err(Error::invalid_argument(format!("restart policy {text:?} not supported"))),
        };
        match max {
            None => Ok(policy),
            Some(_) => {
                Err(Error::invalid_argument(format!("restart policy {name:?} does not support a max retry count")))
            }
        }
    }
}

/// Labels of a container, read as wishes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wishes<'a>(pub(super) &'a Labels);

impl<'a> Wishes<'a> {
    fn label(self, name: &str) -> &'a str {
        self.0.get(name).map(String::as_str).unwrap_or_default()
    }

    /// The state the task shall be in, or empty.
    pub(super) fn status(self) -> &'a str {
        self.label(STATUS)
    }

    /// Where the output goes, or empty.
    pub(super) fn log_uri(self) -> &'a str {
        self.label(LOG_URI)
    }

    /// Whether there is the label that no longer means anything.
    pub(super) fn has_log_path(self) -> bool {
        !self.label(LOG_PATH).is_empty()
    }

    /// How often it was restarted, as far as the label says.
    pub(super) fn count(self) -> i64 {
        self.label(COUNT).parse().unwrap_or(0)
    }

    /// Whether a task that ended with `exit_status` (0 if there is none) shall run again.
    ///
    /// # Errors
    /// `InvalidArgument` for a policy or a count that is none.
    pub(super) fn wants_restart(self, exit_status: u32) -> Result<bool> {
        match Policy::parse(self.label(POLICY))? {
            Policy::No => Ok(false),
            Policy::Always => Ok(true),
            Policy::OnFailure(max) => {
                let text = self.label(COUNT);
                let count: i64 = match text {
                    "" => 0,
                    text => text
                        .parse()
                        .map_err(|_| Error::invalid_argument(format!("label {COUNT} is no number: {text:?}")))?,
                };
                Ok(exit_status != 0 && (max == 0 || count < max))
            }
            Policy::UnlessStopped => {
                // Go's spellings of true.
                let stopped = matches!(self.label(EXPLICITLY_STOPPED), "1" | "t" | "T" | "true" | "True" | "TRUE");
                Ok(!stopped)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn policies_parse_as_containerds_do() {
        for (text, policy) in [
            ("", Policy::Always),
            ("always", Policy::Always),
            ("no", Policy::No),
            ("unless-stopped", Policy::UnlessStopped),
            ("on-failure", Policy::OnFailure(0)),
            ("on-failure:3", Policy::OnFailure(3)),
        ] {
            assert_eq!(Policy::parse(text).unwrap(), policy, "{text}");
        }
        for bad in ["never", "always:3", "on-failure:", "on-failure:x", "no:1", ":2", "Always"] {
            assert!(Policy::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn each_policy_decides_by_status_count_and_the_users_stop() {
        let wants = |pairs: &[(&str, &str)], status| Wishes(&labels(pairs)).wants_restart(status).ok();
        assert_eq!(wants(&[], 0), Some(true));
        assert_eq!(wants(&[(POLICY, "no")], 1), Some(false));
        assert_eq!(wants(&[(POLICY, "on-failure")], 0), Some(false));
        assert_eq!(wants(&[(POLICY, "on-failure"), (COUNT, "900")], 1), Some(true));
        assert_eq!(wants(&[(POLICY, "on-failure:3")], 1), Some(true));
        assert_eq!(wants(&[(POLICY, "on-failure:3"), (COUNT, "2")], 137), Some(true));
        assert_eq!(wants(&[(POLICY, "on-failure:3"), (COUNT, "3")], 137), Some(false));
        assert_eq!(wants(&[(POLICY, "on-failure:3"), (COUNT, "three")], 1), None);
        assert_eq!(wants(&[(POLICY, "always"), (COUNT, "three")], 1), Some(true));
        assert_eq!(wants(&[(POLICY, "unless-stopped")], 0), Some(true));
        assert_eq!(wants(&[(POLICY, "unless-stopped"), (EXPLICITLY_STOPPED, "false")], 0), Some(true));
        assert_eq!(wants(&[(POLICY, "unless-stopped"), (EXPLICITLY_STOPPED, "true")], 0), Some(false));
    }
}
