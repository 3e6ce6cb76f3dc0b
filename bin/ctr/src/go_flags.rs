//! Flags as Go's `flag` package writes them, made what clap reads: `-rm`, `-snapshotter=native`, `--quiet=false`.
//!
//! Go knows no bundles of short flags, and one dash or two mean the same. So a word after one dash that is the whole
//! name of a flag is that flag; any other (`-dt`) is left to clap. A value is what follows, whatever it looks like. Like
//! Go, this stops at a command's first argument: what follows may be a container's own command line.

use clap::{Arg, Command, Id};
use std::ffi::{OsStr, OsString};

/// `words`, the program's name first, rewritten for `root`.
pub(crate) fn rewritten(root: &Command, words: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut words = words.into_iter();
    let mut out: Vec<OsString> = words.next().into_iter().collect();
    let mut command = root;
    // Those of `command`, each with the flag that it sets, if it is one that can be unset.
    let mut flags: Vec<(Option<&Id>, OsString)> = Vec::new();
    while let Some(word) = words.next() {
        match kind_of(command, &word) {
            Word::Subcommand(inner) => {
                command = inner;
                out.extend(flags.drain(..).map(|(_, word)| word));
                out.push(word);
            }
            Word::Set(id, flag) => flags.push((Some(id), flag)),
            Word::Unset(id) => flags.retain(|(set, _)| *set != Some(id)),
            Word::Valued(flag) => flags.push((None, flag)),
            Word::FlagBefore(mut flag) => {
                // In one word: a value may begin with a dash.
                if let Some(value) = words.next() {
                    flag.push("=");
                    flag.push(value);
                }
                flags.push((None, flag));
            }
            Word::Unknown => flags.push((None, word)),
            Word::Argument => {
                flags.push((None, word));
                break;
            }
        }
    }
    out.extend(flags.into_iter().map(|(_, word)| word));
    out.extend(words);
    out
}

/// What a word is where it stands.
enum Word<'a> {
    /// The name of a command below.
    Subcommand(&'a Command),
    /// A flag that says yes.
    Set(&'a Id, OsString),
    /// A flag that says no, whatever was said before.
    Unset(&'a Id),
    /// A flag with its value.
    Valued(OsString),
    /// A flag whose value is the next word.
    FlagBefore(OsString),
    /// Looks like a flag, but is none of Go's kind.
    Unknown,
    /// An argument, or the sign that arguments follow.
    Argument,
}

fn kind_of<'a>(command: &'a Command, word: &OsStr) -> Word<'a> {
    let Some(text) = word.to_str() else { return Word::Argument };
    let Some(bare) = text.strip_prefix("--").or_else(|| text.strip_prefix('-')).filter(|bare| !bare.is_empty()) else {
        return match command.find_subcommand(text) {
            Some(inner) if !matches!(text, "-" | "--") => Word::Subcommand(inner),
            _ => Word::Argument,
        };
    };
    let (name, value) = match bare.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (bare, None),
    };
    let Some(arg) = command.get_arguments().find(|arg| is_named(arg, name)) else { return Word::Unknown };
    let dashes = if name.chars().count() == 1 { "-" } else { "--" };
    let flag = format!("{dashes}{name}");
    match (arg.get_action().takes_values(), value) {
        (true, Some(value)) => Word::Valued(format!("{flag}={value}").into()),
        (true, None) => Word::FlagBefore(flag.into()),
        (false, None) => Word::Set(arg.get_id(), flag.into()),
        (false, Some(value)) => match parse_bool(value) {
            Some(true) => Word::Set(arg.get_id(), flag.into()),
            Some(false) => Word::Unset(arg.get_id()),
            None => Word::Unknown, // clap says what is wrong with it
        },
    }
}

/// Whether `name` is one of the flag's names, long or short.
fn is_named(arg: &Arg, name: &str) -> bool {
    let mut chars = name.chars();
    if let (Some(short), None) = (chars.next(), chars.next()) {
        let aliases = arg.get_all_short_aliases().unwrap_or_default();
        return arg.get_short() == Some(short) || aliases.contains(&short);
    }
    arg.get_long() == Some(name) || arg.get_all_aliases().is_some_and(|aliases| aliases.contains(&name))
}

/// Go's `strconv.ParseBool`.
fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::CommandFactory as _;

    fn rewrite(line: &str) -> String {
        let mut root = Cli::command();
        root.build();
        let words = rewritten(&root, line.split(' ').map(OsString::from));
        words.iter().map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn one_dash_is_as_good_as_two() {
        assert_eq!(
            rewrite("ctr -address=/a -namespace x run -rm -d i id"),
            "ctr --address=/a --namespace=x run --rm -d i id"
        );
        assert_eq!(rewrite("ctr i ls -quiet"), "ctr i ls --quiet");
        assert_eq!(rewrite("ctr snapshots -snapshotter native ls"), "ctr snapshots --snapshotter=native ls");
    }

    #[test]
    fn flags_that_say_yes_or_no_may_say_so() {
        assert_eq!(rewrite("ctr run --rm=true -d=false -t=1 i id"), "ctr run --rm -t i id");
        assert_eq!(rewrite("ctr run -t --rm -t=false -tty --tty=0 i id"), "ctr run --rm i id", "the last counts");
        assert_eq!(rewrite("ctr --debug run --rm=false i id"), "ctr --debug run i id");
        assert_eq!(rewrite("ctr run --rm=maybe i id"), "ctr run --rm=maybe i id");
        assert_eq!(rewrite("ctr run --env=true i id"), "ctr run --env=true i id");
    }

    #[test]
    fn bundles_values_and_arguments_stay() {
        assert_eq!(rewrite("ctr run -dt i id"), "ctr run -dt i id");
        assert_eq!(rewrite("ctr run -env -rm i id"), "ctr run --env=-rm i id", "the value of --env");
        assert_eq!(rewrite("ctr images pull -u -- x"), "ctr images pull -u=-- x");
        assert_eq!(rewrite("ctr images pull --refresh"), "ctr images pull --refresh");
        assert_eq!(rewrite("ctr run i id ls -rm -d=false"), "ctr run i id ls -rm -d=false");
        assert_eq!(rewrite("ctr images import - -no-unpack"), "ctr images import - -no-unpack");
        assert_eq!(rewrite("ctr run -- -rm"), "ctr run -- -rm");
        assert_eq!(rewrite("ctr -n=x images ls"), "ctr -n=x images ls");
    }

    #[test]
    fn what_was_rewritten_is_understood() {
        use clap::Parser as _;
        let mut root = Cli::command();
        root.build();
        let words = "ctr -n=x -n y -n=x run -rm=true -env A=b -runc-root=/r --tty=false image id cmd -rm";
        let cli = Cli::try_parse_from(rewritten(&root, words.split(' ').map(OsString::from))).unwrap();
        assert_eq!(cli.globals.namespace, "x");
        let crate::commands::Command::Run(run) = cli.command else { panic!("not run") };
        assert_eq!(run.args, ["image", "id", "cmd", "-rm"]);
    }
}
