//! Go's duration notation (`1m30s`, `100ms`), as configuration files carry it.

use std::time::Duration;

/// Units with their nanoseconds; longer names first where one begins another.
const UNITS: [(&str, f64); 8] =
    [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("μs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9)];

/// Parses a duration that is not negative; `None` if it does not parse or overflows.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    let mut total = 0.0;
    while total == 0.0 || !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').filter(|&at| at > 0)?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let (_, nanos) = UNITS.iter().find(|(unit, _)| *unit == &rest[..end])?;
        rest = &rest[end..];
        total += number * nanos;
        if rest.is_empty() {
            break;
        }
    }
    // Go's Duration is an i64 of nanoseconds.
    (total < 9.2e18).then(|| Duration::from_secs_f64(total / 1e9))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_go_writes() {
        for (text, millis) in
            [("0s", 0), ("0", 0), ("100ms", 100), ("1m30s", 90_000), ("1.5s", 1500), ("4h0m0s", 14_400_000)]
        {
            assert_eq!(parse(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for bad in ["", "s", "5", "5 s", "-1s", "1parsec", "1..2s", "99999999999h", "ms5"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
