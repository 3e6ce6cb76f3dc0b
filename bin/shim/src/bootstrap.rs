//! How containerd hands parameters to `start` and what it expects back.
//!
//! Since 2.3: `BootstrapParams` on stdin, `BootstrapResult` on stdout, both binary. Before:
//! the runtime's options as an `Any` on stdin, and JSON back; before 1.7 the bare address.
//! The two inputs can be taken for each other, so the first counts only when it names the
//! container and namespace of the flags.

use crate::options;
use model::{Error, Result};
use prost::Message as _;
use proto::api::containerd::runc::v1::Options;
use proto::shim::containerd::runtime::bootstrap::v1::{BootstrapParams, BootstrapResult};
use std::path::PathBuf;

/// The largest input accepted, as Go's.
pub(crate) const INPUT_LIMIT: u64 = 10 << 20;

/// How the answer is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    Proto,
    Json,
    Address,
}

/// What `start` was told.
#[derive(Debug)]
pub(crate) struct Bootstrap {
    dialect: Dialect,
    /// Options of the runtime, if any were given.
    pub(crate) options: Options,
    /// Where the socket goes, when not in the default directory.
    pub(crate) socket_dir: Option<PathBuf>,
}

impl Bootstrap {
    /// Reads either dialect. `has_max_version` is whether `MAX_SHIM_VERSION` is in the
    /// environment, as it is since 1.7.
    pub(crate) fn parse(input: &[u8], id: &str, namespace: &str, has_max_version: bool) -> Result<Self> {
        if let Ok(params) = BootstrapParams::decode(input)
            && params.instance_id == id
            && params.namespace == namespace
        {
            let mut found = Options::default();
            for any in params.extensions.iter().filter_map(|extension| extension.value.as_ref()) {
                if any.type_url == options::TYPE_URL {
                    found = options::from_any(Some(any))?;
                }
            }
            let socket_dir = params.socket_dir.filter(|dir| !dir.is_empty()).map(PathBuf::from);
            return Ok(Self { dialect: Dialect::Proto, options: found, socket_dir });
        }
        let any = proto::Any::decode(input).map_err(|error| {
            Error::invalid_argument("start: neither bootstrap parameters nor options on stdin").caused_by(error)
        })?;
        let dialect = if has_max_version { Dialect::Json } else { Dialect::Address };
        Ok(Self { dialect, options: options::from_any(Some(&any))?, socket_dir: None })
    }

    /// The bytes for stdout that tell containerd our `address`.
    pub(crate) fn answer(&self, address: &str) -> Vec<u8> {
        match self.dialect {
            Dialect::Proto => {
                let (address, protocol) = (address.to_owned(), "ttrpc".to_owned());
                BootstrapResult { version: 3, address, protocol, ..BootstrapResult::default() }.encode_to_vec()
            }
            // containerd 1.7 refuses version 3, and every later one accepts 2.
            Dialect::Json => {
                serde_json::json!({ "version": 2, "address": address, "protocol": "ttrpc" }).to_string().into_bytes()
            }
            Dialect::Address => address.as_bytes().to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::shim::containerd::runtime::bootstrap::v1::Extension;

    fn any() -> proto::Any {
        let options = Options { binary_name: "crun".into(), ..Options::default() };
        proto::Any { type_url: options::TYPE_URL.into(), value: options.encode_to_vec() }
    }

    #[test]
    fn both_dialects_are_told_apart() {
        let params = BootstrapParams {
            instance_id: "c1".into(),
            namespace: "default".into(),
            socket_dir: Some("/run/s".into()),
            extensions: vec![Extension { value: Some(any()) }],
            ..BootstrapParams::default()
        };
        let new = Bootstrap::parse(&params.encode_to_vec(), "c1", "default", true).unwrap();
        assert_eq!((new.options.binary_name.as_str(), new.socket_dir), ("crun", Some(PathBuf::from("/run/s"))));
        assert_eq!(new.dialect, Dialect::Proto);

        let old = Bootstrap::parse(&any().encode_to_vec(), "c1", "default", true).unwrap();
        assert_eq!((old.options.binary_name.as_str(), old.dialect), ("crun", Dialect::Json));
        assert_eq!(Bootstrap::parse(b"", "c1", "default", false).unwrap().dialect, Dialect::Address);
        assert!(Bootstrap::parse(b"\xff\xff", "c1", "default", true).is_err());
    }

    #[test]
    fn answers() {
        let answer = |max| Bootstrap::parse(b"", "c", "n", max).unwrap().answer("unix:///s");
        let json: serde_json::Value = serde_json::from_slice(&answer(true)).unwrap();
        assert_eq!((json["version"].as_i64(), json["protocol"].as_str()), (Some(2), Some("ttrpc")));
        assert_eq!(json["address"], "unix:///s");
        assert_eq!(answer(false), b"unix:///s");
        let params = BootstrapParams { instance_id: "c".into(), namespace: "n".into(), ..BootstrapParams::default() };
        let bytes = Bootstrap::parse(&params.encode_to_vec(), "c", "n", true).unwrap().answer("unix:///s");
        assert_eq!(BootstrapResult::decode(bytes.as_slice()).unwrap().version, 3);
    }
}
