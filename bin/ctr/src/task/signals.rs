//! Signals by name, and passing on those we get.

use super::process::Process;
use crate::output;
use model::{Error, Result};
use tokio::signal::unix::{SignalKind, signal};

/// Names and numbers on Linux (signal(7)); the same on all architectures we build for.
const SIGNALS: &[(&str, u32)] = &[
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("PWR", 30),
    ("SYS", 31),
    ("CLD", 17),
    ("POLL", 29),
    ("IOT", 6),
];

/// First and last real-time signal, as programs see them.
const REAL_TIME: (u32, u32) = (34, 64);

/// Passed on to a process without terminal. Job control (STOP, TSTP) stays ours.
const FORWARDED: [u32; 9] = [1, 2, 3, 10, 12, 14, 15, 18, 28];

/// `SIGTERM`, `term`, `15` or `RTMIN+3`.
pub(crate) fn parse_signal(text: &str) -> Result<u32> {
    let invalid = || Error::invalid_argument(format!("invalid signal: {text}"));
    if let Ok(number) = text.parse::<u32>() {
        return if (1..=REAL_TIME.1).contains(&number) { Ok(number) } else { Err(invalid()) };
    }
    let upper = text.to_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some((_, number)) = SIGNALS.iter().find(|(known, _)| *known == name) {
        return Ok(*number);
    }
    let offset = |text: &str| if text.is_empty() { Some(0) } else { text[1..].parse::<u32>().ok() };
    let number = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(rest), _) if rest.is_empty() || rest.starts_with('+') => {
            offset(rest).and_then(|n| REAL_TIME.0.checked_add(n))
        }
        (_, Some(rest)) if rest.is_empty() || rest.starts_with('-') => {
            offset(rest).and_then(|n| REAL_TIME.1.checked_sub(n))
        }
        _ => None,
    };
    number.filter(|number| (REAL_TIME.0..=REAL_TIME.1).contains(number)).ok_or_else(invalid)
}

/// `SIGTERM` for 15.
pub(crate) fn signal_name(number: u32) -> String {
    let known = SIGNALS.iter().find(|(_, known)| *known == number);
    known.map_or_else(|| number.to_string(), |(name, _)| format!("SIG{name}"))
}

/// Signals that we catch from now on, for a process.
#[derive(Debug)]
pub(super) struct Caught(Vec<(u32, tokio::signal::unix::Signal)>);

impl Caught {
    /// Catches what can be passed on.
    pub(super) fn all() -> Result<Self> {
        Self::some(&FORWARDED)
    }

    /// Catches what would end us.
    pub(super) fn fatal() -> Result<Self> {
        Self::some(&[1, 15])
    }

    fn some(numbers: &[u32]) -> Result<Self> {
        let catch = |&number: &u32| {
            let kind = SignalKind::from_raw(i32::try_from(number).unwrap_or_default());
            signal(kind).map(|signal| (number, signal)).map_err(|error| Error::io("catch signals", error))
        };
        Ok(Self(numbers.iter().map(catch).collect::<Result<_>>()?))
    }

    /// The next one.
    pub(super) async fn next(&mut self) -> u32 {
        std::future::poll_fn(|context| {
            for (number, signal) in &mut self.0 {
                if signal.poll_recv(context).is_ready() {
                    return std::task::Poll::Ready(*number);
                }
            }
            std::task::Poll::Pending
        })
        .await
    }

    /// Passes on every signal, until the process is gone.
    pub(super) async fn forward(mut self, process: &Process) {
        loop {
            let number = self.next().await;
            match process.kill(number, false).await {
                Ok(()) => {}
                // It has ended; how is what we are waiting for.
                Err(error) if error.is_not_found() => return,
                Err(error) => output::warn(&format!("forward signal {}: {error}", signal_name(number))),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_many_names() {
        for (text, number) in
            [("SIGKILL", 9), ("kill", 9), ("9", 9), ("sigterm", 15), ("RTMIN+3", 37), ("SIGRTMAX", 64), ("RTMAX-1", 63)]
        {
            assert_eq!(parse_signal(text).unwrap(), number);
        }
        for bad in ["", "0", "65", "SIG", "FOO", "RTMIN+99", "RTMIN3", "-9", "RTMIN+"] {
            assert!(parse_signal(bad).is_err(), "{bad}");
        }
        assert_eq!(signal_name(15), "SIGTERM");
    }
}
