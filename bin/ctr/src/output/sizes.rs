//! Sizes as Go's ctr prints them.

/// Powers of 1024, one digit after the point: `1.5 MiB`.
pub(crate) fn bytes(size: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (value, unit) = scale(size, 1024.0, &UNITS);
    // Go prints whole bytes with a point as well.
    format!("{value:.1} {unit}")
}

/// Powers of 1000, four significant digits: `1.234kB`.
pub(crate) fn human_size(size: u64) -> String {
    const UNITS: [&str; 9] = ["B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"];
    let (value, unit) = scale(size, 1000.0, &UNITS);
    let digits = match value {
        value if value >= 1000.0 => 0,
        value if value >= 100.0 => 1,
        value if value >= 10.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{unit}")
}

fn scale<'a>(size: u64, base: f64, units: &[&'a str]) -> (f64, &'a str) {
    #[allow(clippy::cast_precision_loss, reason = "rounded anyway")]
    let mut value = size as f64;
    let mut unit = 0;
    while value >= base && unit + 1 < units.len() {
        value /= base;
        unit += 1;
    }
    (value, units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_go() {
        assert_eq!((bytes(0), bytes(1023), bytes(1536)), ("0.0 B".into(), "1023.0 B".into(), "1.5 KiB".into()));
        assert_eq!(
            (human_size(7), human_size(1234), human_size(10_000)),
            ("7B".into(), "1.234kB".into(), "10kB".into())
        );
        assert_eq!(human_size(123_456_789), "123.5MB");
    }
}
