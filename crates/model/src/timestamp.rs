//! Points in time with nanoseconds, as the wire and RFC 3339 labels carry them.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds and nanoseconds since the Unix epoch (UTC). The default is the epoch itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    /// Whole seconds; negative before 1970.
    pub seconds: i64,
    /// Nanoseconds within the second, 0 to 999,999,999.
    pub nanos: u32,
}

impl Timestamp {
    /// The time of the system's clock.
    pub fn now() -> Self {
        SystemTime::now().into()
    }

    /// From RFC 3339, as in `containerd.io/gc.expire`; `None` if it does not parse.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let parsed: jiff::Timestamp = text.parse().ok()?;
        let (mut seconds, mut nanos) = (parsed.as_second(), parsed.subsec_nanosecond());
        if nanos < 0 {
            (seconds, nanos) = (seconds - 1, nanos + 1_000_000_000);
        }
        Some(Self { seconds, nanos: nanos.unsigned_abs() })
    }

    /// RFC 3339 in UTC with as many fractional digits as needed.
    pub fn to_rfc3339(self) -> String {
        let nanos = i32::try_from(self.nanos).unwrap_or(0);
        jiff::Timestamp::new(self.seconds, nanos)
            .map_or_else(|_| String::from("0001-01-01T00:00:00Z"), |time| time.to_string())
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        match time.duration_since(UNIX_EPOCH) {
            Ok(since) => {
                Self { seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX), nanos: since.subsec_nanos() }
            }
            Err(before) => {
                let before = before.duration();
                let (seconds, nanos) = (i64::try_from(before.as_secs()).unwrap_or(i64::MAX), before.subsec_nanos());
                if nanos == 0 {
                    Self { seconds: -seconds, nanos }
                } else {
                    Self { seconds: -seconds - 1, nanos: 1_000_000_000 - nanos }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3339_round_trips() {
        for text in ["2026-11-24T07:40:00.123456789Z", "1969-12-31T23:59:59.5Z", "2026-11-24T07:40:00Z"] {
            assert_eq!(Timestamp::parse_rfc3339(text).unwrap().to_rfc3339(), text);
        }
        let offset = Timestamp::parse_rfc3339("2026-11-24T08:40:00+01:00").unwrap();
        assert_eq!(offset.to_rfc3339(), "2026-11-24T07:40:00Z");
        assert!(Timestamp::parse_rfc3339("soon").is_none());
    }
}
