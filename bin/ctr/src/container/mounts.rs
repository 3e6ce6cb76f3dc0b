//! What `--mount`, `--uidmap` and `--rlimit-nofile` say.

use client::spec::{IdMapping, Mount, Rlimit};
use model::{Error, Result};

/// `type=bind,src=/tmp,dst=/host,options=rbind:ro`; a field with a comma is put in double quotes, as in CSV.
pub(super) fn parse_mount(text: &str) -> Result<Mount> {
    let invalid = |why: &str| Error::invalid_argument(format!("invalid mount specification {text:?}: {why}"));
    let mut mount = Mount::default();
    for field in fields(text).ok_or_else(|| invalid("unfinished quote"))? {
        let (key, value) = field.split_once('=').ok_or_else(|| invalid("expected key=val"))?;
        let value = value.to_owned();
        match key {
            "type" => mount.kind = value,
            "source" | "src" => mount.source = value,
            "destination" | "dst" => mount.destination = value,
            "options" => mount.options = value.split(':').map(str::to_owned).collect(),
            _ => return Err(invalid(&format!("mount option {key:?} not supported"))),
        }
    }
    if mount.destination.is_empty() {
        return Err(invalid("it has no destination (dst=)"));
    }
    Ok(mount)
}

/// The fields of a line of CSV.
fn fields(text: &str) -> Option<Vec<String>> {
    let (mut fields, mut field, mut quoted) = (Vec::new(), String::new(), false);
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => {
                letters.next();
                field.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(std::mem::take(&mut field)),
            letter => field.push(letter),
        }
    }
    fields.push(field);
    (!quoted).then_some(fields)
}

/// `container:host:size` each.
pub(super) fn parse_mappings(texts: &[String]) -> Result<Vec<IdMapping>> {
    let parse = |text: &String| {
        let invalid = || {
            Error::invalid_argument(format!(
                "user namespace mapping {text:?}: mappings require the format `container-id:host-id:size`"
            ))
        };
        let numbers: Vec<u32> =
            text.split(':').map(str::parse).collect::<Result<_, _>>().map_err(|error| invalid().caused_by(error))?;
        match numbers[..] {
            [container, host, size] => Ok(IdMapping { container, host, size }),
            _ => Err(invalid()),
        }
    };
    texts.iter().map(parse).collect()
}

/// `soft:hard`, or one number for both.
pub(super) fn parse_nofile(text: &str) -> Result<Rlimit> {
    let (soft, hard) = text.split_once(':').unwrap_or((text, text));
    let number = |part: &str| {
        part.parse().map_err(|error: std::num::ParseIntError| {
            Error::invalid_argument(format!("failed to parse rlimit-nofile {text:?}")).caused_by(error)
        })
    };
    Ok(Rlimit { kind: "RLIMIT_NOFILE".into(), soft: number(soft)?, hard: number(hard)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_lines_of_csv() {
        let mount = parse_mount("type=bind,src=/tmp,dst=/host,options=rbind:ro").unwrap();
        assert_eq!((mount.source.as_str(), mount.options.join(",")), ("/tmp", "rbind,ro".into()));
        let mount = parse_mount(r#"type=bind,"src=/a,b",dst=/x"#).unwrap();
        assert_eq!(mount.source, "/a,b");
        for bad in ["", "type", "type=bind", "dst=/x,color=red", "\"dst=/x"] {
            assert!(parse_mount(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn mappings_and_limits_are_numbers() {
        assert_eq!(parse_mappings(&["0:1000:10".into()]).unwrap()[0].host, 1000);
        for bad in ["0:1", "0:1:2:3", "a:1:2", "0:1:-1", "0:1:4294967296"] {
            assert!(parse_mappings(&[bad.into()]).is_err(), "{bad}");
        }
        assert_eq!(parse_nofile("7").unwrap().hard, 7);
        assert_eq!(parse_nofile("7:9").unwrap().hard, 9);
        assert!(parse_nofile("many").is_err());
    }
}
