//! Running `ctr`, ours or Go's, against one daemon.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use crate::{Impl, PATIENCE};

/// A ctr bound to a socket and a namespace.
#[derive(Clone, Debug)]
pub struct Ctr {
    program: PathBuf,
    socket: PathBuf,
    namespace: String,
    attempts: usize,
}

/// What a command left.
#[derive(Clone, Debug)]
pub struct Output {
    /// Exit code; 128 + signal for a command that a signal ended.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Ctr {
    /// Binds a ctr to a socket and namespace.
    ///
    /// Go's closes its end of a container's output as soon as it hears of the exit (`cancel` in containerd's
    /// `pkg/cio/io_unix.go`), and loses what it has not read by then, on a busy machine even all of it. So what is
    /// checked for a container's output has more than one attempt there.
    #[must_use]
    pub fn new(which: Impl, socket: &Path, namespace: &str) -> Self {
        Self {
            program: which.ctr(),
            socket: socket.to_path_buf(),
            namespace: namespace.to_owned(),
            attempts: if which == Impl::Go { 30 } else { 1 },
        }
    }

    /// The same ctr in another namespace.
    #[must_use]
    pub fn in_namespace(&self, namespace: &str) -> Self {
        Self { namespace: namespace.to_owned(), ..self.clone() }
    }

    /// The command for `line`, not started. Words are split as a shell would, knowing quotes only.
    #[must_use]
    pub fn command(&self, line: &str) -> Command {
        let mut command = bounded();
        command.arg(&self.program).arg("-a").arg(&self.socket);
        command.args(["-n", &self.namespace]).args(self.arguments(line)).env_remove("CONTAINERD_NAMESPACE");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs `line` to its end.
    #[must_use]
    pub fn run(&self, line: &str) -> Output {
        output(self.command(line).spawn().expect("start ctr"), b"")
    }

    /// Runs `line` with `stdin` and answers its standard output; panics when it fails.
    pub fn feed(&self, line: &str, stdin: &[u8]) -> String {
        let child = self.command(line).stdin(Stdio::piped()).spawn().expect("start ctr");
        output(child, stdin).success(line)
    }

    /// Runs `line` and answers its standard output; panics when it fails.
    pub fn ok(&self, line: &str) -> String {
        self.run(line).success(line)
    }

    /// Runs `line`, with Go's ctr until its output `is_complete`.
    #[must_use]
    pub fn run_until(&self, line: &str, is_complete: impl Fn(&Output) -> bool) -> Output {
        self.attempt(|| self.run(line), is_complete)
    }

    /// [`Ctr::run_until`] on a pseudo-terminal.
    #[must_use]
    pub fn on_terminal_until(&self, line: &str, is_complete: impl Fn(&Output) -> bool) -> Output {
        self.attempt(|| self.on_terminal(line, b""), is_complete)
    }

    fn attempt<T>(&self, run: impl Fn() -> T, is_complete: impl Fn(&T) -> bool) -> T {
        let mut out = run();
        for _ in 1..self.attempts {
            if is_complete(&out) {
                break;
            }
            out = run();
        }
        out
    }

    /// Runs `line`, which must end well and print `expected`.
    #[track_caller]
    pub fn says(&self, line: &str, expected: &str) {
        let out = self.run_until(line, |out| out.stdout == expected);
        assert_eq!((out.code, out.stdout.as_str()), (0, expected), "`ctr {line}`: {}", out.stderr);
    }

    /// [`Ctr::says`] for what is fed with `stdin`.
    #[track_caller]
    pub fn answers(&self, line: &str, stdin: &[u8], expected: &str) {
        let out = self.attempt(|| self.feed(line, stdin), |out| out == expected);
        assert!(out == expected, "`ctr {line}` answered {} bytes, not {}", out.len(), expected.len());
    }

    /// Runs `line`, which must fail, and answers its standard error.
    pub fn fails(&self, line: &str) -> String {
        let out = self.run(line);
        assert_ne!(out.code, 0, "`ctr {line}` was expected to fail: {out:?}");
        assert_ne!(out.code, 124, "`ctr {line}` hung");
        out.stderr
    }

    /// Runs `line` on a pseudo-terminal; standard output and error come together.
    #[must_use]
    pub fn on_terminal(&self, line: &str, typed: &[u8]) -> Output {
        let mut shell = format!("{} -a {} -n {}", self.program.display(), self.socket.display(), self.namespace);
        for word in self.arguments(line) {
            shell.push_str(&format!(" '{}'", word.replace('\'', r"'\''")));
        }
        let mut command = bounded();
        command.args(["script", "-q", "-e", "-c", &shell, "/dev/null"]);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.expect("start script(1)");
        // Open until it ends: script(1) types a NUL at the end of its input.
        let mut keyboard = child.stdin.take().expect("a pipe");
        keyboard.write_all(typed).expect("a pipe holds what is typed");
        let out = output(child, b"");
        drop(keyboard);
        out
    }

    /// The words of a line, with pipes of a container's stdio kept beside the socket, not in `/run/containerd`, and
    /// the runtime that the tests are to use.
    fn arguments(&self, line: &str) -> Vec<String> {
        let mut words = words(line);
        let begins = |verbs: &[&str]| {
            let of = |verb: &&&str| line.starts_with(&format!("{verb} "));
            verbs.iter().find(of).map(|verb| verb.split(' ').count())
        };
        if let Some(after) = begins(&["run", "tasks exec", "tasks start"]) {
            let fifos = self.socket.with_file_name("fifo").display().to_string();
            words.splice(after..after, ["--fifo-dir".to_owned(), fifos]);
        }
        if let (Some(after), Some(runtime)) = (begins(&["run", "containers create"]), crate::programs::runtime()) {
            words.splice(after..after, ["--runc-binary".to_owned(), runtime.display().to_string()]);
        }
        words
    }

    /// First words of each line of a table after its header, that is the names it lists.
    #[must_use]
    pub fn names(&self, line: &str) -> Vec<String> {
        first_column(&self.ok(line))
    }

    /// The digest that an image's name points to.
    #[must_use]
    pub fn target(&self, name: &str) -> String {
        let table = self.ok(&format!("images ls name=={name}"));
        let row = table.lines().nth(1).unwrap_or_else(|| panic!("no {name} in {table}"));
        row.split_whitespace().nth(2).expect("a digest").to_owned()
    }

    /// Removes every image, and all that only they hold.
    pub fn remove_images(&self) {
        self.ok(&format!("images rm --sync {}", self.names("images ls").join(" ")));
    }
}

/// What ends a command that takes too long: ctr has no overall deadline of its own, and a hung daemon must fail the test,
/// not stall it.
fn bounded() -> Command {
    let mut command = Command::new("timeout");
    command.args(["-k", "5", &PATIENCE.as_secs().to_string()]);
    command
}

/// First words of each line after the first.
#[must_use]
pub fn first_column(table: &str) -> Vec<String> {
    table.lines().skip(1).filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

impl Output {
    fn success(self, line: &str) -> String {
        assert_eq!(self.code, 0, "`ctr {line}` failed\nstdout: {}\nstderr: {}", self.stdout, self.stderr);
        self.stdout
    }
}

/// Feeds a child and collects what it prints until it ends.
#[must_use]
pub fn output(mut child: Child, stdin: &[u8]) -> Output {
    use std::os::unix::process::ExitStatusExt as _;
    let feeder = child.stdin.take().map(|mut pipe| {
        let bytes = stdin.to_vec();
        // A command that does not read all of its input is none of our business.
        thread::spawn(move || drop(pipe.write_all(&bytes)))
    });
    let out = child.wait_with_output().expect("wait for the command");
    if let Some(feeder) = feeder {
        drop(feeder.join());
    }
    let code = out.status.code().unwrap_or_else(|| 128 + out.status.signal().unwrap_or(0));
    Output {
        code,
        stdout: String::from_utf8_lossy(&out.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&out.stderr).into_owned(),
    }
}

/// Splits a line into words at spaces outside quotes, `'` or `"`.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote, mut started) = (Vec::new(), String::new(), None, false);
    for c in line.chars() {
        match quote {
            Some(q) if c == q => quote = None,
            None if c == '\'' || c == '"' => (quote, started) = (Some(c), true),
            None if c == ' ' => {
                if started {
                    words.push(std::mem::take(&mut word));
                }
                started = false;
            }
            _ => {
                word.push(c);
                started = true;
            }
        }
    }
    if started {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn words_respect_quotes() {
        assert_eq!(words("run  a 'b c' \"d 'e'\" ''"), ["run", "a", "b c", "d 'e'", ""]);
    }
}
