//! `ctr events`

use crate::context::Context;
use crate::failure::Outcome;
use crate::output::{Output, flush, go_time, line, timestamp_nanos, to_json_named, warn};
use clap::Args;
use client::{Reply as _, error_of};
use proto::api::containerd::services::events::v1::SubscribeRequest;
use proto::api::containerd::types::Envelope;
use serde_json::{Value, json};

/// Flags of `ctr events`.
#[derive(Debug, Args)]
pub(crate) struct Events {
    #[command(flatten)]
    output: Output,
    /// Which ones (topic==/tasks/exit, namespace==default, ...)
    #[arg(value_name = "FILTER")]
    filters: Vec<String>,
}

impl Events {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let client = context.connect().await?;
        let mut events = client.events().subscribe(SubscribeRequest { filters: self.filters }).await.reply()?;
        while let Some(envelope) = events.message().await.map_err(error_of)? {
            let event = match &envelope.event {
                None => None,
                Some(any) => match to_json_named(&any.type_url, &any.value) {
                    Ok(event) => Some(event),
                    Err(error) => {
                        warn(&format!("cannot decode event {:?}: {error}", any.type_url));
                        continue;
                    }
                },
            };
            let form = if self.output.is_json() { as_json } else { as_text };
            line(form(&envelope, event.as_ref()))?;
            flush()?;
        }
        Ok(())
    }
}

/// One line of JSON for each event.
fn as_json(envelope: &Envelope, event: Option<&Value>) -> String {
    let time = timestamp_nanos(envelope.timestamp.as_ref());
    json!({"timestamp": time, "namespace": envelope.namespace, "topic": envelope.topic, "event": event}).to_string()
}

fn as_text(envelope: &Envelope, event: Option<&Value>) -> String {
    let event = event.map(ToString::to_string).unwrap_or_default();
    format!("{} {} {} {event}", go_time(envelope.timestamp.as_ref()), envelope.namespace, envelope.topic)
}
