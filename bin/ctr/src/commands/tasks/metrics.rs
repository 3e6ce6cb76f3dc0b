//! `ctr tasks metrics`

use crate::container;
use crate::context::Context;
use crate::failure::Outcome;
use crate::output::{self, Table};
use clap::{Args, ValueEnum};
use client::Reply as _;
use model::Error;
use proto::api::containerd::services::tasks::v1::MetricsRequest;
use serde_json::Value;

/// How metrics are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A selection in columns
    Table,
    /// All of them as JSON
    Json,
}

/// Flags of `ctr tasks metrics`.
#[derive(Debug, Args)]
pub(crate) struct Metrics {
    /// How to print the metrics
    #[arg(long, short = 'o', visible_alias = "output", value_enum, default_value = "table")]
    format: Format,
    /// The container
    container: String,
}

/// Rows for cgroup version 1: name, and the field it comes from.
const ROWS_V1: &[(&str, &str)] = &[
    ("memory.usage_in_bytes", "/memory/usage/usage"),
    ("memory.limit_in_bytes", "/memory/usage/limit"),
    ("memory.stat.cache", "/memory/total_cache"),
    ("cpuacct.usage", "/cpu/usage/total"),
    ("cpuacct.usage_percpu", "/cpu/usage/per_cpu"),
    ("pids.current", "/pids/current"),
    ("pids.limit", "/pids/limit"),
];

/// Rows for cgroup version 2.
const ROWS_V2: &[(&str, &str)] = &[
    ("pids.current", "/pids/current"),
    ("pids.limit", "/pids/limit"),
    ("cpu.usage_usec", "/cpu/usage_usec"),
    ("cpu.user_usec", "/cpu/user_usec"),
    ("cpu.system_usec", "/cpu/system_usec"),
    ("cpu.nr_periods", "/cpu/nr_periods"),
    ("cpu.nr_throttled", "/cpu/nr_throttled"),
    ("cpu.throttled_usec", "/cpu/throttled_usec"),
    ("memory.usage", "/memory/usage"),
    ("memory.usage_limit", "/memory/usage_limit"),
    ("memory.swap_usage", "/memory/swap_usage"),
    ("memory.swap_limit", "/memory/swap_limit"),
];

impl Metrics {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let client = context.connect().await?;
        let container = container::load(&client, &self.container).await?;
        let request = MetricsRequest { filters: vec![format!("id=={}", container.id)] };
        let metric = client.tasks().metrics(request).await.reply()?.metrics.into_iter().next();
        let none = || Error::unknown(format!("no metrics received for container {:?}: does it run?", container.id));
        let metric = metric.ok_or_else(none)?;
        let data = metric.data.ok_or_else(none)?;
        let rows = match data.type_url.as_str() {
            "io.containerd.cgroups.v1.Metrics" => ROWS_V1,
            "io.containerd.cgroups.v2.Metrics" => ROWS_V2,
            other => return Err(Error::unimplemented(format!("metrics of type {other:?} are not known")).into()),
        };
        let data_json = output::to_json_named(&data.type_url, &data.value)?;
        if self.format == Format::Json {
            let text = serde_json::to_string_pretty(&data_json);
            return output::line(text.map_err(|error| Error::internal("write JSON").caused_by(error))?);
        }
        let mut table = Table::spaced();
        table.row(["ID", "TIMESTAMP"]);
        let time = metric.timestamp.map(|time| format!("seconds:{} nanos:{}", time.seconds, time.nanos));
        table.row([&metric.id, &time.unwrap_or_default()]);
        table.line("");
        table.row(["METRIC", "VALUE"]);
        for (name, path) in rows {
            let group = path.split('/').nth(1).unwrap_or_default();
            // A controller that is not in use has no rows; a zero is left out of the message.
            if data_json.get(group).is_some() {
                table.row([name, &data_json.pointer(path).map_or_else(|| "0".to_owned(), plain)]);
            }
        }
        table.print()
    }
}

/// A number, or a list as Go prints it.
fn plain(value: &Value) -> String {
    match value {
        Value::Array(list) => format!("[{}]", list.iter().map(plain).collect::<Vec<_>>().join(" ")),
        value => value.to_string(),
    }
}
