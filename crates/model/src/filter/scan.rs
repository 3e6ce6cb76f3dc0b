//! Words of the filter language.

/// A word's kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    End,
    Quoted,
    Value,
    Field,
    Separator,
    Operator,
    /// Something no word begins with, or a broken one; the scanner's `fault` says what.
    Illegal,
}

/// Cuts a filter into words. Whether a run of characters is a field or a value depends on whether
/// an operator came before, as values may hold nearly anything.
pub(super) struct Scanner<'a> {
    input: &'a str,
    position: usize,
    expect_value: bool,
    fault: Option<&'static str>,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(input: &'a str) -> Self {
        Self { input, position: 0, expect_value: false, fault: None }
    }

    /// The first fault met.
    pub(super) fn fault(&self) -> &'static str {
        self.fault.unwrap_or("illegal input")
    }

    /// The next character, not consumed.
    pub(super) fn peek(&self) -> Option<char> {
        self.input[self.position..].chars().next()
    }

    /// Byte offset of the next character.
    pub(super) fn position(&self) -> usize {
        self.position
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.position += next.len_utf8();
        Some(next)
    }

    fn skip_while(&mut self, wanted: impl Fn(char) -> bool) {
        while self.peek().is_some_and(&wanted) {
            self.next();
        }
    }

    /// The next word, its offset and its text.
    pub(super) fn scan(&mut self) -> (usize, Token, &'a str) {
        self.skip_while(char::is_whitespace);
        let start = self.position;
        let token = match self.next() {
            None => Token::End,
            Some('\0') => {
                self.fault.get_or_insert("unexpected null");
                Token::Illegal
            }
            Some(quote @ ('"' | '/' | '|')) => self.quoted(quote),
            Some(',' | '.') => {
                self.expect_value = false;
                Token::Separator
            }
            Some('=' | '!' | '~') => {
                self.skip_while(|c| matches!(c, '=' | '!' | '~'));
                self.expect_value = true;
                Token::Operator
            }
            Some(_) if self.expect_value => {
                self.skip_while(|c| c != ',' && !c.is_whitespace() && !c.is_control());
                self.expect_value = false;
                Token::Value
            }
            Some(c) if is_field(c) => {
                self.skip_while(is_field);
                Token::Field
            }
            Some(_) => Token::Illegal,
        };
        (start, token, &self.input[start..self.position])
    }

    fn quoted(&mut self, quote: char) -> Token {
        loop {
            match self.next() {
                None | Some('\n' | '\0') => {
                    self.fault.get_or_insert("quoted literal not terminated");
                    return Token::Illegal;
                }
                // What follows the backslash is judged when the word is unquoted.
                Some('\\') => {
                    self.next();
                }
                Some(c) if c == quote => return Token::Quoted,
                Some(_) => {}
            }
        }
    }
}

fn is_field(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}
