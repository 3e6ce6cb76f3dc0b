//! Quoted words: Go's string literals, in `"`, and in `/` or `|` for regular expressions.

/// The text that the quoted `word` (with its quotes) stands for, or `None` if an escape is wrong.
/// Escapes that name bytes must come to valid UTF-8 in the end.
pub(super) fn unquote(word: &str) -> Option<String> {
    let quote = word.chars().next()?;
    let inner = word.strip_prefix(quote)?.strip_suffix(quote)?;
    let mut bytes = Vec::with_capacity(inner.len());
    let mut rest = inner.chars();
    while let Some(c) = rest.next() {
        if c == '\\' {
            escape(&mut rest, quote, &mut bytes)?;
        } else if c == quote {
            return None;
        } else {
            push(&mut bytes, c);
        }
    }
    String::from_utf8(bytes).ok()
}

fn escape(rest: &mut std::str::Chars<'_>, quote: char, bytes: &mut Vec<u8>) -> Option<()> {
    match rest.next()? {
        'a' => bytes.push(7),
        'b' => bytes.push(8),
        't' => bytes.push(b'\t'),
        'n' => bytes.push(b'\n'),
        'v' => bytes.push(11),
        'f' => bytes.push(12),
        'r' => bytes.push(b'\r'),
        '\\' => bytes.push(b'\\'),
        'x' => bytes.push(u8::try_from(number(rest, 2, 16, 0)?).ok()?),
        'u' => push(bytes, char::from_u32(number(rest, 4, 16, 0)?)?),
        'U' => push(bytes, char::from_u32(number(rest, 8, 16, 0)?)?),
        first @ '0'..='7' => bytes.push(u8::try_from(number(rest, 2, 8, first.to_digit(8)?)?).ok()?),
        c if c == quote => push(bytes, c),
        _ => return None,
    }
    Some(())
}

fn number(rest: &mut std::str::Chars<'_>, digits: usize, radix: u32, start: u32) -> Option<u32> {
    (0..digits).try_fold(start, |value, _| value.checked_mul(radix)?.checked_add(rest.next()?.to_digit(radix)?))
}

fn push(bytes: &mut Vec<u8>, c: char) {
    bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}
