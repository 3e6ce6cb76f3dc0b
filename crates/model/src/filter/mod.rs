//! The filter language of every List and of event subscriptions.
//!
//! `field[op value]` with `==`, `!=` and `~=` (a regular expression); a comma is AND, several
//! strings are OR, a bare field asks for presence, none or an empty string matches all.
//! `parse` holds the grammar, `scan` the words, `records` what each record offers to a filter.

mod parse;
mod quote;
mod records;
mod scan;

use crate::Result;
use regex::Regex;
use std::borrow::Cow;

/// What a filter can ask of an object.
pub trait Adaptor {
    /// The value at the field path `path`, or `None` if the object has none there.
    fn field(&self, path: &[String]) -> Option<Cow<'_, str>>;
}

/// A parsed filter.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Any of these; none at all matches everything. An empty alternative matches everything too.
    alternatives: Vec<Vec<Selector>>,
}

#[derive(Clone, Debug)]
struct Selector {
    path: Vec<String>,
    test: Test,
}

#[derive(Clone, Debug)]
enum Test {
    Present,
    Equal(String),
    NotEqual(String),
    /// `None`: the expression does not compile, and so matches nothing (as in containerd).
    Matches(Option<Regex>),
}

impl Filter {
    /// The filter that matches everything.
    pub fn all() -> Self {
        Self::default()
    }

    /// Parses filters of which any may match. `InvalidArgument` says where the text is wrong.
    pub fn parse<S: AsRef<str>>(texts: &[S]) -> Result<Self> {
        let alternatives = texts.iter().map(|text| parse::selectors(text.as_ref())).collect::<Result<_>>()?;
        Ok(Self { alternatives })
    }

    /// Whether it matches everything without looking.
    pub fn is_all(&self) -> bool {
        self.alternatives.is_empty() || self.alternatives.iter().any(Vec::is_empty)
    }

    /// Whether `object` matches.
    pub fn matches(&self, object: &dyn Adaptor) -> bool {
        self.alternatives.is_empty()
            || self.alternatives.iter().any(|selectors| selectors.iter().all(|selector| selector.matches(object)))
    }
}

impl Selector {
    fn matches(&self, object: &dyn Adaptor) -> bool {
        let value = object.field(&self.path);
        match &self.test {
            Test::Present => value.is_some(),
            Test::Equal(wanted) => value.is_some_and(|value| value == wanted.as_str()),
            // An absent value counts as the empty string in these two.
            Test::NotEqual(unwanted) => value.unwrap_or_default() != unwanted.as_str(),
            Test::Matches(Some(expression)) => expression.is_match(&value.unwrap_or_default()),
            Test::Matches(None) => false,
        }
    }
}

#[cfg(test)]
mod tests;
