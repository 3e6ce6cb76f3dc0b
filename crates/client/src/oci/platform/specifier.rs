//! Specifiers: platforms as users write them.

use super::Platform;
use model::{Error, Result};
use percent_encoding::percent_decode_str;
use std::borrow::Cow;

/// Architectures a lone word may mean.
const ARCHITECTURES: &[&str] = &[
    "386",
    "amd64",
    "amd64p32",
    "arm",
    "arm64",
    "arm64be",
    "armbe",
    "loong64",
    "mips",
    "mips64",
    "mips64le",
    "mips64p32",
    "mips64p32le",
    "mipsle",
    "ppc",
    "ppc64",
    "ppc64le",
    "riscv",
    "riscv64",
    "s390",
    "s390x",
    "sparc",
    "sparc64",
    "wasm",
];

/// Operating systems a lone word may mean.
const SYSTEMS: &[&str] = &[
    "aix",
    "android",
    "darwin",
    "dragonfly",
    "freebsd",
    "hurd",
    "illumos",
    "ios",
    "js",
    "linux",
    "nacl",
    "netbsd",
    "openbsd",
    "plan9",
    "solaris",
    "windows",
    "zos",
];

impl Platform {
    /// Parses `os[(options)][/architecture[/variant]]`, or an architecture alone. The options are the version of the
    /// operating system and features of it, each with a `+` before it: `windows(10.0.17763+win32k)/amd64`.
    ///
    /// # Errors
    /// `InvalidArgument`.
    pub fn parse(text: &str) -> Result<Self> {
        let invalid = |why: &str| Error::invalid_argument(format!("platform {text:?}: {why}"));
        let parts: Vec<&str> = text.split('/').collect();
        let (os, options) = match parts[0].split_once('(') {
            Some((os, options)) => (os, options.strip_suffix(')').ok_or_else(|| invalid("its options have no `)`"))?),
            None => (parts[0], ""),
        };
        if ![&[os], &parts[1..]].concat().iter().all(|part| is_plain(part)) {
            return Err(invalid("its parts are letters, digits, `_`, `.` and `-`"));
        }
        let mut options =
            options.split('+').map(|option| decode(option).ok_or_else(|| invalid("cannot read its options")));
        let os_version = options.next().transpose()?.unwrap_or_default();
        let os_features = options.collect::<Result<Vec<_>>>()?;
        if os_features.iter().any(String::is_empty) {
            return Err(invalid("a feature has no name"));
        }
        let of = |os: &str, architecture: &str, variant: &str| {
            Self { os_version, os_features, ..Self::new(os, architecture, variant) }.normalized()
        };
        match parts[1..] {
            [] if SYSTEMS.contains(&Self::new(os, "", "").normalized().os.as_str()) => {
                let host = Self::host();
                Ok(of(os, &host.architecture, &host.variant))
            }
            [] => {
                let platform = Self::new(std::env::consts::OS, parts[0], "").normalized();
                if ARCHITECTURES.contains(&platform.architecture.as_str()) {
                    return Ok(platform);
                }
                Err(invalid("unknown operating system or architecture (try linux/amd64)"))
            }
            [architecture] => Ok(of(os, architecture, "")),
            [architecture, variant] => Ok(of(os, architecture, variant)),
            _ => Err(invalid("it has more than three parts")),
        }
    }
}

fn is_plain(part: &str) -> bool {
    part.starts_with(|first: char| first.is_ascii_alphanumeric())
        && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

/// An option without its percent-encoding, which what has a meaning in a specifier needs.
fn decode(option: &str) -> Option<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.%-".contains(&byte);
    let hex = |escape: &str| escape.get(..2).is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let readable = option.bytes().all(plain) && option.split('%').skip(1).all(hex);
    readable.then(|| percent_decode_str(option).decode_utf8().ok().map(Cow::into_owned)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_are_parsed_into_their_normal_form() {
        for (text, normal) in [
            ("linux/amd64", "linux/amd64"),
            ("Linux/x86_64", "linux/amd64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/armhf", "linux/arm/v7"),
            ("windows/amd64", "windows/amd64"),
            ("s390x", "linux/s390x"),
        ] {
            assert_eq!(Platform::parse(text).unwrap().to_string(), normal);
        }
        for (text, version, features) in [
            ("windows(10.0.17763)/amd64", "10.0.17763", ""),
            ("windows(10.0.17763+win32k)/amd64", "10.0.17763", "win32k"),
            ("windows(10.0)", "10.0", ""),
            ("linux(+b+a+b)/arm/v7", "", "a b"),
            ("linux(a%2Bb+c%2f%25)/amd64", "a+b", "c/%"),
            ("linux()/amd64", "", ""),
        ] {
            let platform = Platform::parse(text).unwrap();
            assert_eq!((platform.os_version.as_str(), platform.os_features.join(" ").as_str()), (version, features));
        }
        for bad in [
            "",
            "*",
            "linux/*",
            "a/b/c/d",
            "vax",
            "linux//v7",
            "../x",
            "amd64(1)",
            "linux(1/amd64",
            "linux(1)x/amd64",
            "linux/amd64(1)",
            "linux(+)/amd64",
            "linux(%2)",
            "linux(%zz)",
            "linux(%ff)",
            "linux(a b)",
        ] {
            assert!(Platform::parse(bad).is_err(), "{bad}");
        }
    }
}
