//! A password, asked for on the terminal without showing it.

use model::{Error, Result};
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, isatty, tcgetattr, tcsetattr};
use std::fs::File;
use std::io::{self, BufRead as _, Read as _, Write as _};

/// Longest password.
const MAX: usize = 4096;

/// Asks on the terminal, or takes the first line of stdin where that is none: neither shows in a list of processes.
pub(super) fn ask() -> Result<String> {
    let password = match File::options().read(true).write(true).open("/dev/tty") {
        Ok(mut terminal) if isatty(io::stdin()) => ask_on(&mut terminal)?,
        _ => first_line()?,
    };
    if password.is_empty() {
        return Err(Error::invalid_argument(
            "no password: type one, pipe one into stdin, or give --user NAME:PASSWORD",
        ));
    }
    Ok(password)
}

fn first_line() -> Result<String> {
    let mut line = String::new();
    let limit = u64::try_from(MAX).unwrap_or(u64::MAX);
    let read = io::BufReader::new(io::stdin().lock().take(limit)).read_line(&mut line);
    read.map_err(|error| Error::io("read the password from stdin", error))?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn ask_on(terminal: &mut File) -> Result<String> {
    let failed = |error| Error::io("ask for the password on the terminal", error);
    let _quiet = Quiet::new(terminal).map_err(|errno| failed(errno.into()))?;
    terminal.write_all(b"Password: ").map_err(failed)?;
    let typed = read_typed(terminal);
    terminal.write_all(b"\n").map_err(failed)?;
    typed
}

/// Reads up to the end of the line. Signals are off, or ^C would leave the terminal mute: it is a byte like others.
fn read_typed(terminal: &mut impl io::Read) -> Result<String> {
    let mut typed = Vec::new();
    let mut byte = [0];
    loop {
        match terminal.read(&mut byte) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Error::io("read the password", error)),
        }
        match byte[0] {
            b'\n' | b'\r' => break,
            CANCEL | QUIT => return Err(Error::cancelled("no password was given")),
            END if typed.is_empty() => break,
            BACKSPACE | DELETE => {
                typed.pop();
            }
            KILL => typed.clear(),
            _ if typed.len() >= MAX => return Err(Error::invalid_argument("the password is too long")),
            other => typed.push(other),
        }
    }
    String::from_utf8(typed).map_err(|_| Error::invalid_argument("the password is not UTF-8"))
}

/// ^C, ^D, ^H, ^U, ^\ and the key above Enter.
const CANCEL: u8 = 0x03;
const END: u8 = 0x04;
const BACKSPACE: u8 = 0x08;
const KILL: u8 = 0x15;
const QUIT: u8 = 0x1c;
const DELETE: u8 = 0x7f;

/// A terminal that does not show what is typed; dropped, it is as it was.
struct Quiet {
    terminal: File,
    before: Termios,
}

impl Quiet {
    fn new(terminal: &File) -> rustix::io::Result<Self> {
        let own = terminal.try_clone().map_err(|_| rustix::io::Errno::MFILE)?;
        let before = tcgetattr(&own)?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG | LocalModes::IEXTEN);
        quiet.special_codes[SpecialCodeIndex::VMIN] = 1;
        quiet.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(&own, OptionalActions::Now, &quiet)?;
        Ok(Self { terminal: own, before })
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // What was typed and not read must not become the shell's next command.
        let _ = tcsetattr(&self.terminal, OptionalActions::Flush, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(bytes: &[u8]) -> Result<String> {
        read_typed(&mut io::Cursor::new(bytes))
    }

    #[test]
    fn what_is_typed_can_be_mended() {
        assert_eq!(typed(b"secret\nrest").unwrap(), "secret");
        assert_eq!(typed(b"sex\x7fcret\r").unwrap(), "secret");
        assert_eq!(typed(b"wrong\x15right\n").unwrap(), "right");
        assert_eq!(typed(b"\x04").unwrap(), "");
        assert_eq!(typed(b"half\x03").unwrap_err().kind(), model::Kind::Cancelled);
        assert!(typed(&vec![b'x'; MAX + 1]).is_err());
        assert!(typed(b"\xff\n").is_err());
    }
}
