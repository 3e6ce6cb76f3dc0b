//! `-v` and `-info`: what this shim is and what its runtime can do.

use crate::RUNTIME;
use crate::options;
use model::{Error, Result};
use prost::Message as _;
use proto::api::containerd::types::{RuntimeInfo, RuntimeVersion};
use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

/// The JSON type under which `runc features` travels.
const FEATURES_URL: &str = "types.containerd.io/opencontainers/runtime-spec/1/features/Features";

/// Prints the version for people.
pub(crate) fn print_version() -> Result<()> {
    let text =
        format!("containerd-shim-runc-v2:\n  Version:  {}\n  Revision: containerd-rs\n\n", env!("CARGO_PKG_VERSION"));
    write_out(text.as_bytes())
}

/// Reads options as an `Any` from stdin and prints a `RuntimeInfo`, both binary.
pub(crate) fn print_info() -> Result<()> {
    let mut input = Vec::new();
    std::io::stdin()
        .take(crate::bootstrap::INPUT_LIMIT)
        .read_to_end(&mut input)
        .map_err(|error| Error::io("read runtime options from stdin", error))?;
    write_out(&info(&input)?.encode_to_vec())
}

fn info(input: &[u8]) -> Result<RuntimeInfo> {
    let any = match input {
        [] => None,
        bytes => Some(
            proto::Any::decode(bytes)
                .map_err(|error| Error::invalid_argument("failed to read runtime options").caused_by(error))?,
        ),
    };
    let options = options::from_any(any.as_ref())?;
    let binary = if options.binary_name.is_empty() { "runc" } else { &options.binary_name };
    Ok(RuntimeInfo {
        name: RUNTIME.into(),
        version: Some(RuntimeVersion { version: env!("CARGO_PKG_VERSION").into(), revision: "containerd-rs".into() }),
        options: any.filter(|any| !any.type_url.is_empty()),
        features: features(binary)?.map(|value| proto::Any { type_url: FEATURES_URL.into(), value }),
        ..RuntimeInfo::default()
    })
}

/// What `binary features` prints; `None` when it has no such command, as older ones.
fn features(binary: &str) -> Result<Option<Vec<u8>>> {
    let output = Command::new(binary)
        .arg("features")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .map_err(|error| Error::io(format!("failed to look up the path of {binary:?}"), error))?;
    let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(&output.stdout).is_ok();
    Ok(Some(output.stdout).filter(|_| output.status.success() && is_json))
}

fn write_out(bytes: &[u8]) -> Result<()> {
    std::io::stdout().write_all(bytes).map_err(|error| Error::io("write answer", error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runtime_is_described_with_its_options() {
        let _forking = crate::FORKING.write();
        let options = proto::api::containerd::runc::v1::Options { root: "/r".into(), ..Default::default() };
        let any = proto::Any { type_url: options::TYPE_URL.into(), value: options.encode_to_vec() };
        let info = info(&any.encode_to_vec()).unwrap();
        assert_eq!(info.name, "io.containerd.runc.v2");
        assert_eq!(info.options, Some(any));
        let features: serde_json::Value = serde_json::from_slice(&info.features.unwrap().value).unwrap();
        assert!(features["ociVersionMax"].is_string());
    }

    #[test]
    fn an_absent_binary_is_named() {
        let _forking = crate::FORKING.write();
        let options = proto::api::containerd::runc::v1::Options { binary_name: "no-such".into(), ..Default::default() };
        let any = proto::Any { type_url: options::TYPE_URL.into(), value: options.encode_to_vec() };
        assert!(info(&any.encode_to_vec()).unwrap_err().to_string().contains("no-such"));
    }
}
