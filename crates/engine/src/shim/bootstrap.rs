//! The first exchange with a shim: what it reads on standard input, and the address it prints.
//!
//! Shims since containerd 2.3 read `BootstrapParams` and print `BootstrapResult`, both protobuf.
//! Older ones read their options as an `Any`, and print JSON or the bare address. An old runc shim
//! ignores params it cannot read, and all it would have taken from its options here is the cgroup
//! it puts itself in; so old input is sent only to a shim known to be old, and only with options.

use crate::bundle::Bundle;
use client::shim::Protocol;
use model::{Any, Error, Result};
use prost::{Message, Name};
use proto::{
    api::containerd::runc::v1 as runc, convert::any_to_wire, shim::containerd::runtime::bootstrap::v1 as wire,
};
use serde::{Deserialize, Serialize};
use std::{fs, io};

/// The newest Task service we speak.
const NEWEST: u32 = 3;

/// How to reach a shim; `bootstrap.json` in its bundle.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bootstrap {
    /// Version of its Task service.
    #[serde(default)]
    pub(crate) version: u32,
    /// `unix://<path>`, usually.
    #[serde(default)]
    pub(crate) address: String,
    /// `ttrpc` or `grpc`.
    #[serde(default)]
    pub(crate) protocol: String,
}

impl Bootstrap {
    /// Reads what `<shim> start` printed, or a `bootstrap.json`, or an `address` file.
    ///
    /// # Errors
    /// `Unimplemented` for a version or protocol of the future, `Unknown` when nothing was printed.
    pub(crate) fn parse(output: &[u8]) -> Result<Self> {
        Self::parse_any(output)?.checked()
    }

    fn checked(self) -> Result<Self> {
        if self.version > NEWEST {
            return Err(Error::unimplemented(format!("unsupported shim version ({})", self.version)));
        }
        self.protocol().map(|_| self)
    }

    /// What the shim speaks.
    ///
    /// # Errors
    /// `Unimplemented` for a protocol of the future.
    pub(crate) fn protocol(&self) -> Result<Protocol> {
        Protocol::from_name(&self.protocol).ok_or_else(|| {
            let (address, protocol) = (&self.address, &self.protocol);
            Error::unimplemented(format!("shim at {address} speaks {protocol:?}; supported are ttrpc and grpc"))
        })
    }

    fn parse_any(output: &[u8]) -> Result<Self> {
        // Text never decodes as the message: "{" and "u" are impossible as its first byte.
        if let Ok(result) = wire::BootstrapResult::decode(output)
            && !result.address.is_empty()
        {
            let version = u32::try_from(result.version).unwrap_or(0);
            return Ok(Self { version, address: result.address, protocol: result.protocol });
        }
        let text = output.trim_ascii();
        if let Ok(result) = serde_json::from_slice::<Self>(text)
            && result.version >= 2
        {
            return Ok(result);
        }
        let address = std::str::from_utf8(text)
            .ok()
            .filter(|text| !text.is_empty())
            .ok_or_else(|| Error::unknown("shim printed no address"))?;
        Ok(Self { version: 2, address: address.to_owned(), protocol: "ttrpc".to_owned() })
    }

    /// The one in `bundle`: `bootstrap.json`, or `address` in bundles from before 2.0.
    ///
    /// # Errors
    /// `NotFound` if it has neither; else as [`Self::parse`].
    pub(crate) fn of(bundle: &Bundle) -> Result<Self> {
        let read = |name: &str| fs::read(bundle.path.join(name));
        let content = match read("bootstrap.json") {
            Err(error) if error.kind() == io::ErrorKind::NotFound => read("address"),
            other => other,
        };
        Self::parse(&content.map_err(|error| Error::io(format!("bootstrap.json of {}", bundle.id), error))?)
    }

    /// A sandbox's, as its controller names it: `ttrpc+unix://<path>`.
    ///
    /// # Errors
    /// `InvalidArgument` without a protocol; `Unimplemented` for one we do not speak.
    pub(crate) fn from_address(address: &str, version: u32) -> Result<Self> {
        let (protocol, rest) = address.split_once('+').ok_or_else(|| {
            Error::invalid_argument(format!("sandbox address {address:?} is not <protocol>+<unix|vsock|tcp>://…"))
        })?;
        Self { version, address: rest.to_owned(), protocol: protocol.to_owned() }.checked()
    }

    /// As `bootstrap.json` has it.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        // Strings and a number always serialise.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// What `start` is to know.
#[derive(Clone, Copy, Debug)]
pub(super) struct Params<'a> {
    pub(super) id: &'a str,
    pub(super) namespace: &'a str,
    pub(super) config: &'a crate::EngineConfig,
    pub(super) options: Option<&'a Any>,
}

impl Params<'_> {
    /// The input of a shim since 2.3.
    pub(super) fn encode(&self) -> Vec<u8> {
        let config = self.config;
        let extension = |any: &Any| wire::Extension { value: Some(any_to_wire(any.clone())) };
        let level = if config.debug { wire::LogLevel::Debug } else { wire::LogLevel::Info };
        wire::BootstrapParams {
            instance_id: self.id.to_owned(),
            namespace: self.namespace.to_owned(),
            log_level: level.into(),
            containerd_version: config.version.clone(),
            containerd_ttrpc_address: config.ttrpc_address.clone(),
            containerd_grpc_address: config.address.clone(),
            containerd_binary: config.publish_binary.to_string_lossy().into_owned(),
            extensions: self.options.map(extension).into_iter().collect(),
            socket_dir: Some(config.socket_dir.to_string_lossy().into_owned()),
        }
        .encode_to_vec()
    }

    /// The input of a shim before 2.3.
    pub(super) fn encode_old(&self) -> Vec<u8> {
        self.options.map(|any| any_to_wire(any.clone()).encode_to_vec()).unwrap_or_default()
    }
}

/// Whether `options` say anything that `start` itself goes by: for runc's, only the shim's cgroup.
pub(super) fn matter_to_start(options: &Any) -> bool {
    if options.type_url != runc::Options::full_name() {
        return true;
    }
    runc::Options::decode(options.value.as_slice()).is_ok_and(|options| !options.shim_cgroup.is_empty())
}

/// Whether a shim of this version (`2.1.9`, `v2.3.0-rc.1`) reads [`Params::encode_old`].
/// Versions that are not containerd's numbers are taken for new.
pub(super) fn is_old(version: &str) -> bool {
    let mut numbers = version.trim_start_matches('v').split('.').map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (1..=2).contains(&major) && (major, minor) < (2, 3),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_a_shim_ever_gave_is_understood() {
        let expected = Bootstrap { version: 3, address: "unix:///run/s/a".into(), protocol: "ttrpc".into() };
        let binary = wire::BootstrapResult {
            version: 3,
            address: "unix:///run/s/a".into(),
            protocol: "ttrpc".into(),
            ..Default::default()
        };
        assert_eq!(Bootstrap::parse(&binary.encode_to_vec()).unwrap(), expected);
        let json = br#"{"version":3,"address":"unix:///run/s/a","protocol":"ttrpc"}
"#;
        assert_eq!(Bootstrap::parse(json).unwrap(), expected);
        assert_eq!(Bootstrap::parse(&expected.to_json()).unwrap(), expected);
        assert_eq!(Bootstrap::parse(b"unix:///run/s/a\n").unwrap(), Bootstrap { version: 2, ..expected });
    }

    #[test]
    fn what_we_cannot_speak_is_refused_by_name() {
        for (answer, kind) in [
            (r#"{"version":4,"address":"unix:///a","protocol":"ttrpc"}"#, model::Kind::Unimplemented),
            (r#"{"version":3,"address":"unix:///a","protocol":"http"}"#, model::Kind::Unimplemented),
            ("", model::Kind::Unknown),
            (" \n", model::Kind::Unknown),
        ] {
            assert_eq!(Bootstrap::parse(answer.as_bytes()).unwrap_err().kind(), kind, "{answer}");
        }
    }

    #[test]
    fn old_shims_are_told_by_their_version() {
        for old in ["1.7.0", "2.1.9", "v2.2.0-rc.1", "2.0"] {
            assert!(is_old(old), "{old}");
        }
        for new in ["2.3.0", "v2.4.0-beta.0+unknown", "3.0.0", "0.1.0", "", "kata", "2"] {
            assert!(!is_old(new), "{new}");
        }
    }
}
