//! The grammar:
//!
//! ```text
//! selectors := selector ("," selector)*
//! selector  := path [operator value]
//! path      := field ("." field)*
//! field     := "quoted" | [A-Za-z0-9_]+
//! operator  := "==" | "!=" | "~="
//! value     := "quoted" | [^\s,]+        and after ~= also /quoted/ and |quoted|
//! ```

use super::quote::unquote;
use super::scan::{Scanner, Token};
use super::{Selector, Test};
use crate::{Error, Result};
use regex::Regex;

/// Parses one filter; an empty text has no selectors.
pub(super) fn selectors(text: &str) -> Result<Vec<Selector>> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let mut parser = Parser { input: text, scanner: Scanner::new(text) };
    let mut selectors = vec![parser.selector()?];
    loop {
        match parser.scanner.peek() {
            None => return Ok(selectors),
            Some(',') => {
                parser.scanner.scan();
                selectors.push(parser.selector()?);
            }
            Some(c) => return Err(parser.error(parser.scanner.position(), &format!("unexpected input: {c}"))),
        }
    }
}

struct Parser<'a> {
    input: &'a str,
    scanner: Scanner<'a>,
}

impl Parser<'_> {
    fn selector(&mut self) -> Result<Selector> {
        let path = self.path()?;
        if matches!(self.scanner.peek(), None | Some(',')) {
            return Ok(Selector { path, test: Test::Present });
        }
        let (at, token, operator) = self.scanner.scan();
        match token {
            Token::Operator => {}
            Token::Illegal => return Err(self.error(at, self.scanner.fault())),
            _ => return Err(self.error(at, r#"expected an operator ("=="|"!="|"~=")"#)),
        }
        let test = match operator {
            "==" => Test::Equal(self.value(false)?),
            "!=" => Test::NotEqual(self.value(false)?),
            "~=" => Test::Matches(Regex::new(&self.value(true)?).ok()),
            _ => return Err(self.error(at, &format!("unsupported operator {operator:?}"))),
        };
        Ok(Selector { path, test })
    }

    fn path(&mut self) -> Result<Vec<String>> {
        let mut path = vec![self.field()?];
        while self.scanner.peek() == Some('.') {
            self.scanner.scan();
            path.push(self.field()?);
        }
        Ok(path)
    }

    fn field(&mut self) -> Result<String> {
        match self.scanner.scan() {
            (_, Token::Field, text) => Ok(text.to_owned()),
            (at, Token::Quoted, text) => self.quoted(at, text, false),
            (at, Token::Illegal, text) if text.starts_with(['"', '/', '|', '\0']) => {
                Err(self.error(at, self.scanner.fault()))
            }
            (at, ..) => Err(self.error(at, "expected field or quoted")),
        }
    }

    fn value(&mut self, expression: bool) -> Result<String> {
        match self.scanner.scan() {
            (_, Token::Value | Token::Field, text) => Ok(text.to_owned()),
            (at, Token::Quoted, text) => self.quoted(at, text, expression),
            (at, Token::Illegal, _) => Err(self.error(at, self.scanner.fault())),
            (at, ..) => Err(self.error(at, "expected value or quoted")),
        }
    }

    fn quoted(&self, at: usize, word: &str, expression: bool) -> Result<String> {
        if !expression && !word.starts_with('"') {
            return Err(self.error(at, "invalid quote encountered"));
        }
        unquote(word).ok_or_else(|| self.error(at, "unquoting failed: quote syntax error"))
    }

    /// The text with the place marked, as containerd prints it.
    fn error(&self, at: usize, why: &str) -> Error {
        let place = match self.input[at..].chars().next() {
            Some(c) => format!("{} >|{c}|< {}", &self.input[..at], &self.input[at + c.len_utf8()..]),
            None => self.input.to_owned(),
        };
        Error::invalid_argument(format!("filters: parse error: [{place}]: {why}"))
    }
}
