//! `ctr oci spec`

use crate::context::Context;
use crate::failure::Outcome;
use crate::output::print_json;
use clap::Args;
use client::oci::Platform;
use client::spec::Spec;
use model::Error;

/// Flags of `ctr oci spec`.
#[derive(Debug, Args)]
pub(crate) struct Print {
    /// Platform of the spec to print (Examples: 'linux/arm64')
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<String>,
}

impl Print {
    #[allow(clippy::unused_async, reason = "all verbs are called the same way")]
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        if let Some(text) = self.platform.filter(|text| !text.is_empty()) {
            let platform = Platform::parse(&text)?;
            if platform.os != "linux" {
                return Err(Error::unimplemented(format!("specs for {platform} are not supported, only linux")).into());
            }
        }
        print_json(&Spec::linux(context.namespace()?.as_str(), ""))
    }
}
