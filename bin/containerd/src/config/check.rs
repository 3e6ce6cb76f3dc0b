//! Checks one file against the known keys: unknown ones are reported with their line
//! and ignored, values of a wrong type are errors.

use super::{Warning, migrate};
use model::{Error, Result};
use std::path::Path;
use toml::{
    Table, Value,
    de::{DeTable, DeValue},
};

/// Stands for any name in the known keys.
pub(super) const ANY: &str = "*";

/// Parses `text`, the contents of `file`, and checks it against `known`.
///
/// Unknown keys are left out of the result and reported in `warnings`.
pub(super) fn parse(file: &Path, text: &str, known: &Table, warnings: &mut Vec<Warning>) -> Result<Table> {
    let document = DeTable::parse(text).map_err(|error| {
        let (line, column) = position(text, error.span().map_or(0, |span| span.start));
        Error::invalid_argument(format!("{}:{line}:{column}: {}", file.display(), error.message()))
    })?;
    let mut check = Check { file, text, warnings, path: Vec::new() };
    check.table(document.get_ref(), known)
}

struct Check<'a> {
    file: &'a Path,
    text: &'a str,
    warnings: &'a mut Vec<Warning>,
    path: Vec<String>,
}

impl Check<'_> {
    fn table(&mut self, table: &DeTable<'_>, known: &Table) -> Result<Table> {
        let mut kept = Table::new();
        for (key, value) in table {
            self.path.push(key.get_ref().to_string());
            // An empty table takes anything.
            let shape = match self.path.as_slice() {
                // Version 1 has short names here.
                [plugins, name] if plugins == "plugins" => known.get(&migrate::full_name(name)),
                _ => known.get(key.get_ref().as_ref()),
            };
            let shape = shape.or_else(|| known.get(ANY));
            if known.is_empty() {
                kept.insert(key.get_ref().to_string(), plain(value.get_ref()));
            } else if let Some(shape) = shape {
                kept.insert(key.get_ref().to_string(), self.value(value.get_ref(), shape, value.span().start)?);
            } else {
                let (line, column) = position(self.text, key.span().start);
                self.warnings.push(Warning { file: self.file.to_owned(), line, column, key: self.key() });
            }
            self.path.pop();
        }
        Ok(kept)
    }

    fn value(&mut self, value: &DeValue<'_>, shape: &Value, at: usize) -> Result<Value> {
        match (value, shape) {
            (DeValue::Table(table), Value::Table(known)) => Ok(Value::Table(self.table(table, known)?)),
            (DeValue::Array(array), Value::Array(shape)) if shape.first().is_some_and(Value::is_table) => {
                let element = shape.first().unwrap_or(&Value::Boolean(false));
                let checked = array.iter().map(|value| self.value(value.get_ref(), element, value.span().start));
                Ok(Value::Array(checked.collect::<Result<_>>()?))
            }
            (DeValue::Array(array), Value::Array(_)) => {
                for (index, element) in array.iter().enumerate() {
                    if !element.get_ref().is_str() {
                        return Err(self.wrong_type("strings", &format!("[{index}]"), element.get_ref(), at));
                    }
                }
                Ok(plain(value))
            }
            (DeValue::Integer(integer), Value::Integer(_)) => {
                i64::from_str_radix(integer.as_str(), integer.radix()).map(Value::Integer).map_err(|_| {
                    let (line, _) = position(self.text, at);
                    let (file, key) = (self.file.display(), self.key());
                    Error::invalid_argument(format!("{file}:{line}: {key}: integer {integer} is out of range"))
                })
            }
            // A float may be written as an integer.
            (DeValue::Integer(_), Value::Float(_)) => Ok(plain(value)),
            (DeValue::String(_), Value::String(_))
            | (DeValue::Float(_), Value::Float(_))
            | (DeValue::Boolean(_), Value::Boolean(_)) => Ok(plain(value)),
            _ => Err(self.wrong_type(shape.type_str(), "", value, at)),
        }
    }

    fn wrong_type(&self, expected: &str, element: &str, found: &DeValue<'_>, at: usize) -> Error {
        let (line, _) = position(self.text, at);
        let (file, key, found) = (self.file.display(), self.key(), found.type_str());
        Error::invalid_argument(format!("{file}:{line}: {key}{element}: expected {expected}, found {found}"))
    }

    fn key(&self) -> String {
        let quoted = |part: &String| if part.contains('.') { format!("'{part}'") } else { part.clone() };
        self.path.iter().map(quoted).collect::<Vec<_>>().join(".")
    }
}

/// The value without its place in the file.
fn plain(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
            .map_or_else(|_| Value::String(integer.to_string()), Value::Integer),
        DeValue::Float(float) => float.as_str().parse().map_or_else(|_| Value::String(float.to_string()), Value::Float),
        DeValue::Boolean(boolean) => Value::Boolean(*boolean),
        DeValue::Datetime(datetime) => Value::Datetime(*datetime),
        DeValue::Array(array) => Value::Array(array.iter().map(|element| plain(element.get_ref())).collect()),
        DeValue::Table(table) => {
            Value::Table(table.iter().map(|(key, value)| (key.get_ref().to_string(), plain(value.get_ref()))).collect())
        }
    }
}

/// Line and column of byte `offset`, both from 1.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}
