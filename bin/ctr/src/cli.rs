//! The command line: flags before the command, and every command.

use crate::commands::Command;
use crate::go_flags;
use clap::error::ErrorKind;
use clap::{ArgAction, Args, CommandFactory as _, Parser};
use std::ffi::OsString;
use std::time::Duration;

/// The command line client of containerd.
#[derive(Debug, Parser)]
#[command(
    name = "ctr",
    // Three words with the name, of which scripts take the third, as of Go's.
    version = concat!("containerd-rs v", env!("CARGO_PKG_VERSION")),
    disable_version_flag = true,
    // The last one counts, as with Go; lists get longer.
    args_override_self = true,
    about = "containerd CLI",
    long_about = "ctr is a debug and administrative client of the containerd daemon.\n\n\
        Global flags come before the command, a command's own flags after it: ctr -n k8s.io images ls -q",
    infer_long_args = false,
    disable_help_subcommand = false,
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 110
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) globals: Globals,
    /// Print the version
    #[arg(short = 'v', short_alias = 'V', long = "version", action = ArgAction::Version)]
    _version: Option<bool>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Understands `words`, the program's name first, with flags as Go writes them.
pub(crate) fn parsed(words: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let mut known = Cli::command();
    known.build();
    let mut words = go_flags::rewritten(&known, words);
    Cli::try_parse_from(&words).map_err(|error| match error.kind() {
        // A noun without a verb asks for the verbs.
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            words.push("--help".into());
            Cli::try_parse_from(words).err().unwrap_or(error)
        }
        _ => error,
    })
}

/// Flags before the command.
#[derive(Clone, Debug, Args)]
pub(crate) struct Globals {
    /// Enable debug output in logs
    #[arg(long)]
    pub(crate) debug: bool,
    /// Address for containerd's GRPC server
    #[arg(short, long, env = "CONTAINERD_ADDRESS", default_value = client::DEFAULT_ADDRESS, value_name = "SOCKET")]
    pub(crate) address: String,
    /// Total timeout for ctr commands (for example 1m30s), 0 for none
    #[arg(long, default_value = "0s", value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) timeout: Duration,
    /// Timeout for connecting to containerd, 0 for the default of 10s
    #[arg(long, default_value = "0s", value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) connect_timeout: Duration,
    /// Namespace to use with commands
    #[arg(short, long, env = "CONTAINERD_NAMESPACE", default_value = "default", value_name = "NAME")]
    pub(crate) namespace: String,
}

/// A duration as Go writes it: numbers with units, `1h30m`, `1.5s`, `300ms`, or `0`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let invalid = || format!("{text:?} is not a duration like 1h30m, 1.5s or 300ms");
    let (mut rest, mut total) = (text, Duration::ZERO);
    while !rest.is_empty() {
        let unit_at = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(invalid)?;
        let (number, tail) = rest.split_at(unit_at);
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let seconds = match unit {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(invalid()),
        };
        let number: f64 = number.parse().map_err(|_| invalid())?;
        let part = Duration::try_from_secs_f64(number * seconds).map_err(|_| invalid())?;
        total = total.checked_add(part).ok_or_else(invalid)?;
        rest = tail;
    }
    if text.is_empty() { Err(invalid()) } else { Ok(total) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        parsed(line.split(' ').map(OsString::from))
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations_are_gos() {
        assert_eq!(parse_duration("1h30m").unwrap(), Duration::from_secs(5400));
        assert_eq!(parse_duration("1.5s").unwrap(), Duration::from_millis(1500));
        assert_eq!(parse_duration("0").unwrap(), Duration::ZERO);
        for bad in ["", "5", "s", "1d", "-1s", "1s2", "99999999999999999999h"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_noun_without_a_verb_gets_help() {
        for line in
            ["ctr", "ctr images", "ctr -n a", "ctr snapshots --snapshotter native", "ctr content prune", "ctr -h"]
        {
            let error = parse(line).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::DisplayHelp, "{line}");
            assert!(!error.use_stderr() && error.to_string().contains("Commands:"), "{line}");
        }
        for line in ["ctr bogus", "ctr images bogus x", "ctr content prune x", "ctr help bogus"] {
            assert_eq!(parse(line).unwrap_err().kind(), ErrorKind::InvalidSubcommand, "{line}");
        }
        assert_eq!(parse("ctr images ls --bogus").unwrap_err().kind(), ErrorKind::UnknownArgument);
    }

    #[test]
    fn the_version_has_three_words() {
        for flag in ["-v", "-V", "--version", "-version"] {
            let error = parse(&format!("ctr {flag}")).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::DisplayVersion);
            let words: Vec<String> = error.to_string().split_whitespace().map(str::to_owned).collect();
            assert_eq!(words, ["ctr", "containerd-rs", concat!("v", env!("CARGO_PKG_VERSION"))]);
        }
    }

    #[test]
    fn of_a_repeated_flag_the_last_counts() {
        assert_eq!(parse("ctr -n k8s.io -n default images ls").unwrap().globals.namespace, "default");
        assert_eq!(parse("ctr --namespace a -n b -debug -debug info").unwrap().globals.namespace, "b");
        let run = |line: &str| match parse(line).unwrap().command {
            Command::Run(run) => run,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            run("ctr run --env A=1 --env B=2 --env A=1 i id").container.env,
            ["A=1", "B=2", "A=1"],
            "lists grow"
        );
        assert!(!run("ctr run --rm -rm=false i id").rm && run("ctr run --rm=false --rm i id").rm);
    }

    #[test]
    fn what_can_be_removed_may_be_nothing() {
        for noun in ["images", "content", "snapshots", "leases", "namespaces", "tasks"] {
            assert!(parse(&format!("ctr {noun} rm")).is_ok(), "{noun}");
        }
        assert!(parse("ctr containers rm").is_err());
    }

    #[test]
    fn flags_after_the_first_argument_of_run_belong_to_the_container() {
        let cli = Cli::try_parse_from(["ctr", "-n", "a", "run", "--rm", "image", "id", "ls", "--rm", "-l"]).unwrap();
        let Command::Run(run) = cli.command else { panic!("not run") };
        assert_eq!(run.args, ["image", "id", "ls", "--rm", "-l"]);
        assert!(run.rm);
        // Global flags after the command are an error, as with Go's ctr.
        assert!(Cli::try_parse_from(["ctr", "images", "ls", "-n", "a"]).is_err());
    }
}
