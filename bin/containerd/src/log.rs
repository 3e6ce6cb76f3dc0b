//! Logs on stderr, written as containerd's are: logrus text or JSON, one event a line.

use model::{Error, Result, Timestamp};
use std::{
    fmt::{self, Write as _},
    io,
};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
};
use tracing_subscriber::{
    Layer as _,
    filter::Targets,
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    layer::SubscriberExt as _,
    registry::LookupSpan,
    util::SubscriberInitExt as _,
};

const LIBRARIES: [&str; 4] = ["h2", "hyper", "hyper_util", "tower"];

/// How an event is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Text,
    Json,
}

/// Starts logging. `level` and `format` are the configuration's; empty ones are `info` and `text`.
///
/// # Errors
/// `InvalidArgument` for words containerd does not know.
pub(crate) fn init(level: &str, format: &str) -> Result<()> {
    let format = match format {
        "" | "text" => Format::Text,
        "json" => Format::Json,
        _ => return Err(Error::invalid_argument(format!("unknown log format: {format}"))),
    };
    let level = parse_level(level)?;
    let mut targets = Targets::new().with_default(level);
    // Frame by frame, they drown us out: only at the last level.
    if level != LevelFilter::TRACE {
        targets = targets.with_targets(LIBRARIES.map(|library| (library, LevelFilter::WARN)));
    }
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr).event_format(format);
    tracing_subscriber::registry()
        .with(lines.with_filter(targets))
        .try_init()
        .map_err(|error| Error::internal(format!("start logging: {error}")))
}

fn parse_level(level: &str) -> Result<LevelFilter> {
    Ok(match level.to_ascii_lowercase().as_str() {
        "" | "info" => LevelFilter::INFO,
        "trace" => LevelFilter::TRACE,
        "debug" => LevelFilter::DEBUG,
        "warn" | "warning" => LevelFilter::WARN,
        // There is nothing above an error here.
        "error" | "fatal" | "panic" => LevelFilter::ERROR,
        _ => return Err(Error::invalid_argument(format!("not a valid log level: {level:?}"))),
    })
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::TRACE => "trace",
        Level::DEBUG => "debug",
        Level::INFO => "info",
        Level::WARN => "warning",
        Level::ERROR => "error",
    }
}

impl<S, N> FormatEvent<S, N> for Format
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        out.write_str(&self.line(&now(), *event.metadata().level(), &fields))
    }
}

/// RFC 3339 with all nine digits, so that lines stand below each other.
fn now() -> String {
    let time = Timestamp::now();
    let seconds = Timestamp { nanos: 0, ..time }.to_rfc3339();
    format!("{}.{:09}Z", seconds.trim_end_matches('Z'), time.nanos)
}

impl Format {
    fn line(self, time: &str, level: Level, fields: &Fields) -> String {
        let level = level_name(level);
        match self {
            Self::Text => {
                let mut line = format!("time=\"{time}\" level={level} msg={}", quoted(&fields.message));
                for (name, value) in &fields.others {
                    // Writing to a String cannot fail.
                    let _ = write!(line, " {name}={}", quoted(value));
                }
                line.push('\n');
                line
            }
            Self::Json => {
                let mut object = serde_json::Map::new();
                for (name, value) in &fields.others {
                    object.insert((*name).to_owned(), value.as_str().into());
                }
                object.insert("level".into(), level.into());
                object.insert("msg".into(), fields.message.as_str().into());
                object.insert("time".into(), time.into());
                format!("{}\n", serde_json::Value::Object(object))
            }
        }
    }
}

/// Quoted only where logrus does.
fn quoted(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._/@^+".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) { text.to_owned() } else { format!("{text:?}") }
}

#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, String)>,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => value.clone_into(&mut self.message),
            name => self.others.push((name, value.to_owned())),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_look_like_logrus() {
        let fields = Fields {
            message: "starting containerd".into(),
            others: vec![("address", "/run/c.sock".into()), ("why", "a \"b\"\nc".into()), ("empty", String::new())],
        };
        assert_eq!(
            Format::Text.line("T", Level::WARN, &fields),
            "time=\"T\" level=warning msg=\"starting containerd\" address=/run/c.sock why=\"a \\\"b\\\"\\nc\" empty=\"\"\n"
        );
        let json: serde_json::Value = serde_json::from_str(&Format::Json.line("T", Level::INFO, &fields)).unwrap();
        assert_eq!((json["level"].as_str(), json["why"].as_str()), (Some("info"), Some("a \"b\"\nc")));
    }

    #[test]
    fn levels_are_containerds() {
        assert_eq!(parse_level("").unwrap(), LevelFilter::INFO);
        assert_eq!(parse_level("fatal").unwrap(), LevelFilter::ERROR);
        assert!(parse_level("loud").unwrap_err().to_string().contains("\"loud\""));
    }

    #[test]
    fn times_have_nine_digits() {
        let time = now();
        assert_eq!((time.len(), time.ends_with('Z')), (30, true), "{time}");
    }
}
