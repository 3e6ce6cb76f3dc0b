//! `ctr plugins list`

use crate::commands::listing::Listing;
use crate::context::Context;
use crate::failure::Outcome;
use crate::output::{Table, to_json};
use clap::Args;
use client::Reply as _;
use proto::api::containerd::services::introspection::v1::{Plugin, PluginsRequest};
use proto::api::containerd::types::Platform;

/// In the error of a plugin that is not to be loaded here.
const SKIPPED: &str = "skip plugin";

/// Flags of `ctr plugins list`.
#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    listing: Listing,
    /// Print detailed information about each plugin
    #[arg(short, long)]
    detailed: bool,
    /// Which ones (type==TYPE, id==ID)
    #[arg(value_name = "FILTER")]
    filters: Vec<String>,
}

impl List {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let client = context.connect().await?;
        let request = PluginsRequest { filters: self.filters };
        let plugins = client.introspection().plugins(request).await.reply()?.plugins;
        self.listing.print(
            &plugins,
            |plugin| &plugin.id,
            to_json,
            |plugins| {
                if self.detailed { details(plugins) } else { overview(plugins) }
            },
        )
    }
}

/// A line for each plugin.
fn overview(plugins: &[Plugin]) -> Table {
    let mut table = Table::wide();
    table.row(["TYPE", "ID", "PLATFORMS", "STATUS"]);
    for plugin in plugins {
        let status = match &plugin.init_err {
            None => "ok",
            Some(error) if error.message.contains(SKIPPED) => "skip",
            Some(_) => "error",
        };
        let platforms = platforms(&plugin.platforms);
        let platforms = if platforms.is_empty() { "-" } else { &platforms };
        table.row([&plugin.r#type, &plugin.id, platforms, status]);
    }
    table
}

/// Everything about each.
fn details(plugins: &[Plugin]) -> Table {
    let mut table = Table::wide();
    for (index, plugin) in plugins.iter().enumerate() {
        if index > 0 {
            table.line("\t\t\t");
        }
        detail(&mut table, plugin);
    }
    table
}

/// Everything about one plugin, a line each.
fn detail(table: &mut Table, plugin: &Plugin) {
    table.line(format!("Type:\t {}", plugin.r#type));
    table.line(format!("ID:\t {}", plugin.id));
    if !plugin.requires.is_empty() {
        table.line("Requires:\t");
        plugin.requires.iter().for_each(|required| table.line(format!("\t {required}")));
    }
    if !plugin.platforms.is_empty() {
        table.line(format!("Platforms:\t {}", platforms(&plugin.platforms)));
    }
    if !plugin.exports.is_empty() {
        table.line("Exports:\t");
        let mut exports: Vec<_> = plugin.exports.iter().collect();
        exports.sort();
        exports.into_iter().for_each(|(name, value)| table.line(format!("\t {name} \t {value}")));
    }
    if !plugin.capabilities.is_empty() {
        table.line(format!("Capabilities:\t {}", plugin.capabilities.join(",")));
    }
    if let Some(error) = &plugin.init_err {
        table.line("Error:\t");
        let code = tonic::Code::from_i32(error.code);
        table.line(format!("\t Code:\t {code:?}"));
        table.line(format!("\t Message:\t {}", error.message));
    }
}

fn platforms(platforms: &[Platform]) -> String {
    let format = |platform: &Platform| {
        client::oci::Platform::new(&platform.os, &platform.architecture, &platform.variant).to_string()
    };
    let mut platforms: Vec<String> = platforms.iter().map(format).collect();
    platforms.sort();
    platforms.dedup();
    platforms.join(",")
}
