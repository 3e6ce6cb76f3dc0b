//! Times as Go's ctr prints them.

use jiff::tz::TimeZone;
use prost_types::Timestamp;
use std::time::Duration;

fn moment(time: Option<&Timestamp>) -> jiff::Timestamp {
    time.and_then(|time| jiff::Timestamp::new(time.seconds, time.nanos).ok()).unwrap_or_default()
}

/// RFC 3339 in local time, to the second.
pub(crate) fn rfc3339_local(time: Option<&Timestamp>) -> String {
    zoned(moment(time), "%Y-%m-%dT%H:%M:%S")
}

/// RFC 3339 in UTC with all digits it has.
pub(crate) fn timestamp_nanos(time: Option<&Timestamp>) -> String {
    moment(time).to_string()
}

/// As Go prints a time without being told how: `2026-11-24 07:49:21.68 +0000 UTC`.
pub(crate) fn go_time(time: Option<&Timestamp>) -> String {
    let time = moment(time);
    let fraction = format!("{:09}", time.subsec_nanosecond());
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{}{point}{fraction} +0000 UTC", time.strftime("%Y-%m-%d %H:%M:%S"))
}

fn zoned(time: jiff::Timestamp, format: &str) -> String {
    let zoned = time.to_zoned_datetime(TimeZone::system());
    let offset = zoned.offset();
    let zone = if offset.is_zero() { "Z".to_owned() } else { zoned.strftime("%:z").to_string() };
    format!("{}{zone}", zoned.strftime(format))
}

/// How long ago something was, roughly.
pub(crate) fn age(time: Option<&Timestamp>) -> String {
    let nanos = jiff::Timestamp::now().as_nanosecond() - moment(time).as_nanosecond();
    duration(Duration::from_secs(u64::try_from(nanos / 1_000_000_000).unwrap_or(0)))
}

/// A duration in its largest unit, in words (as Docker's `units` package).
pub(crate) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours) = (seconds / 60, (seconds + 1800) / 3600);
    match (seconds, minutes, hours) {
        (0, ..) => "Less than a second".into(),
        (1, ..) => "1 second".into(),
        (seconds, ..) if seconds < 60 => format!("{seconds} seconds"),
        (_, 1, _) => "About a minute".into(),
        (_, minutes, _) if minutes < 60 => format!("{minutes} minutes"),
        (_, _, 1) => "About an hour".into(),
        (_, _, hours) if hours < 48 => format!("{hours} hours"),
        (_, _, hours) if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        (_, _, hours) if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        (_, _, hours) if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        (_, _, hours) => format!("{} years", hours / 24 / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_in_words() {
        let of = |seconds| duration(Duration::from_secs(seconds));
        assert_eq!(
            [of(0), of(59), of(60), of(3540), of(3600), of(90_000), of(86_400 * 20)],
            [
                "Less than a second",
                "59 seconds",
                "About a minute",
                "59 minutes",
                "About an hour",
                "25 hours",
                "2 weeks"
            ]
        );
    }

    #[test]
    fn times_have_only_the_digits_they_need() {
        let time = Timestamp { seconds: 1_795_506_561, nanos: 680_000_000 };
        assert_eq!(go_time(Some(&time)), "2026-11-24 07:49:21.68 +0000 UTC");
        assert_eq!(go_time(Some(&Timestamp { nanos: 0, ..time })), "2026-11-24 07:49:21 +0000 UTC");
    }
}
