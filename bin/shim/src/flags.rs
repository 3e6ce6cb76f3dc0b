//! The command line, as Go's `flag` package reads it.

use model::{Error, Result};
use std::ffi::OsString;

/// What containerd calls the shim with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flags {
    /// `-namespace`: the containerd namespace that owns the shim.
    pub(crate) namespace: String,
    /// `-id`: the container.
    pub(crate) id: String,
    /// `-address`: containerd's gRPC socket.
    pub(crate) address: String,
    /// `-socket`: serve here rather than on an inherited descriptor.
    pub(crate) socket: Option<String>,
    /// `-debug`: log more.
    pub(crate) debug: bool,
    /// `-v`, `-version`.
    pub(crate) version: bool,
    /// `-info`.
    pub(crate) info: bool,
    /// `start`, `delete` or none.
    pub(crate) action: Option<String>,
}

impl Flags {
    /// Reads the arguments after the program's name: `-flag value`, `-flag=value` or
    /// `--flag`, up to the first that is no flag.
    pub(crate) fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Self> {
        let mut flags = Self::default();
        let mut arguments = arguments.map(|argument| {
            argument.into_string().map_err(|bad| Error::invalid_argument(format!("argument {bad:?} is not UTF-8")))
        });
        while let Some(argument) = arguments.next() {
            let argument = argument?;
            let Some(flag) = argument.strip_prefix('-') else {
                flags.action = Some(argument);
                break;
            };
            let flag = flag.strip_prefix('-').unwrap_or(flag);
            let (name, inline) = match flag.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (flag, None),
            };
            if let Some(switch) = flags.switch(name) {
                *switch = !matches!(inline.as_deref(), Some("false" | "0" | "f" | "F"));
                continue;
            }
            let value = match inline {
                Some(value) => value,
                None => arguments
                    .next()
                    .ok_or_else(|| Error::invalid_argument(format!("flag needs an argument: -{name}")))??,
            };
            flags.set(name, value)?;
        }
        Ok(flags)
    }

    fn switch(&mut self, name: &str) -> Option<&mut bool> {
        match name {
            "debug" => Some(&mut self.debug),
            "v" | "version" => Some(&mut self.version),
            "info" => Some(&mut self.info),
            _ => None,
        }
    }

    fn set(&mut self, name: &str, value: String) -> Result<()> {
        match name {
            "namespace" => self.namespace = value,
            "id" => self.id = value,
            "address" => self.address = value,
            "socket" => self.socket = Some(value).filter(|path| !path.is_empty()),
            // The working directory names the bundle, events travel by ttrpc, and there is
            // no profiler to serve.
            "bundle" | "publish-binary" | "debug-socket" => {}
            _ => return Err(Error::invalid_argument(format!("flag provided but not defined: -{name}"))),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Flags> {
        Flags::parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn containerds_own_calls() {
        let flags =
            parse("-namespace k8s.io -address /a.sock -publish-binary /c -id x -bundle /b -debug start").unwrap();
        assert_eq!((flags.namespace.as_str(), flags.id.as_str(), flags.address.as_str()), ("k8s.io", "x", "/a.sock"));
        assert!(flags.debug);
        assert_eq!(flags.action.as_deref(), Some("start"));
        assert!(parse("-v").unwrap().version);
        assert!(parse("--info=true").unwrap().info);
        assert!(!parse("-debug=false").unwrap().debug);
    }

    #[test]
    fn mistakes_are_named() {
        assert!(parse("-id").unwrap_err().to_string().contains("-id"));
        assert!(parse("-what x").unwrap_err().to_string().contains("-what"));
    }
}
