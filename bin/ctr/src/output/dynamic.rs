//! Any protobuf message as JSON, by its descriptor, with the field names Go's types give.
//!
//! Events, metrics and server information are printed whole; naming every field of every message here would be a
//! second copy of the API. Go leaves out fields that are empty, writes enums as numbers and bytes as base64.

use model::{Error, Result};
use prost::Message as _;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::sync::OnceLock;

/// Deepest message inside a message.
const MAX_DEPTH: usize = 32;

/// Every message the API knows, by full name.
fn messages() -> &'static HashMap<String, DescriptorProto> {
    static MESSAGES: OnceLock<HashMap<String, DescriptorProto>> = OnceLock::new();
    MESSAGES.get_or_init(|| {
        let mut messages = HashMap::new();
        for descriptors in [proto::API_DESCRIPTORS, proto::SHIM_DESCRIPTORS] {
            // They were written by our own build; a test reads them.
            let set = FileDescriptorSet::decode(descriptors).unwrap_or_default();
            for file in set.file {
                let package = file.package().to_owned();
                file.message_type.into_iter().for_each(|message| add(&mut messages, &package, message));
            }
        }
        messages
    })
}

fn add(messages: &mut HashMap<String, DescriptorProto>, parent: &str, message: DescriptorProto) {
    let name = format!("{parent}.{}", message.name());
    for nested in &message.nested_type {
        add(messages, &name, nested.clone());
    }
    messages.insert(name, message);
}

/// A message as JSON.
pub(crate) fn to_json<M: prost::Message + prost::Name>(message: &M) -> Result<Value> {
    to_json_named(&M::full_name(), &message.encode_to_vec())
}

/// The encoded message of type `name` as JSON.
pub(crate) fn to_json_named(name: &str, bytes: &[u8]) -> Result<Value> {
    decode(name, bytes, MAX_DEPTH)
}

/// An opaque value as JSON: its type, and its bytes if it has any.
pub(crate) fn any_to_json(any: &proto::Any) -> Value {
    let mut json = json!({"type_url": any.type_url});
    if !any.value.is_empty() {
        json["value"] = json!(base64(&any.value));
    }
    json
}

/// A value as it lies on the wire.
enum Wire<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

fn decode(name: &str, mut bytes: &[u8], depth: usize) -> Result<Value> {
    let invalid = |why: &str| Error::invalid_argument(format!("message {name}: {why}"));
    let message = messages().get(name).ok_or_else(|| invalid("unknown type"))?;
    let depth = depth.checked_sub(1).ok_or_else(|| invalid("nested too deep"))?;
    let mut object = Map::new();
    while !bytes.is_empty() {
        let (number, wire) = next(&mut bytes).ok_or_else(|| invalid("broken encoding"))?;
        // Fields of a newer API are none of ours.
        let Some(field) = message.field.iter().find(|field| field.number() == number) else { continue };
        add_field(&mut object, field, &wire, depth)?;
    }
    // In the order of the message's fields, as Go prints a struct.
    let ordered = message.field.iter().filter_map(|field| object.remove_entry(field.name()));
    let mut ordered: Map<String, Value> = ordered.collect();
    // Maps come in any order.
    for field in message.field.iter().filter(|field| is_map(field)) {
        ordered.get_mut(field.name()).and_then(Value::as_object_mut).into_iter().for_each(Map::sort_keys);
    }
    Ok(Value::Object(ordered))
}

/// Whether a field is a map, which on the wire is a list of pairs.
fn is_map(field: &FieldDescriptorProto) -> bool {
    let message = (field.r#type() == Type::Message).then(|| field.type_name().trim_start_matches('.'));
    let pair = message.and_then(|name| messages().get(name));
    pair.and_then(|pair| pair.options.as_ref()).is_some_and(|options| options.map_entry())
}

fn add_field(
    object: &mut Map<String, Value>,
    field: &FieldDescriptorProto,
    wire: &Wire<'_>,
    depth: usize,
) -> Result<()> {
    let name = field.name().to_owned();
    let type_name = field.type_name().trim_start_matches('.');
    if is_map(field) {
        let Wire::Bytes(bytes) = wire else { return Ok(()) };
        let mut pair = decode(type_name, bytes, depth)?;
        let key = match pair["key"].take() {
            Value::String(key) => key,
            Value::Null => String::new(),
            other => other.to_string(),
        };
        let map = object.entry(name).or_insert_with(|| json!({}));
        map[key] = match pair["value"].take() {
            Value::Null => json!(""),
            value => value,
        };
        return Ok(());
    }
    match (field.label(), wire) {
        (Label::Repeated, Wire::Bytes(bytes)) if is_number(field.r#type()) => {
            let list = object.entry(name).or_insert_with(|| json!([]));
            let mut rest = *bytes;
            while let Some(number) = packed(field.r#type(), &mut rest) {
                list.as_array_mut().into_iter().for_each(|list| list.push(scalar(field.r#type(), number)));
            }
        }
        (Label::Repeated, wire) => {
            let value = value(field, type_name, wire, depth)?;
            let list = object.entry(name).or_insert_with(|| json!([]));
            list.as_array_mut().into_iter().for_each(|list| list.push(value.clone()));
        }
        (_, wire) => drop(object.insert(name, value(field, type_name, wire, depth)?)),
    }
    Ok(())
}

fn value(field: &FieldDescriptorProto, type_name: &str, wire: &Wire<'_>, depth: usize) -> Result<Value> {
    Ok(match (field.r#type(), wire) {
        (Type::Message, Wire::Bytes(bytes)) => decode(type_name, bytes, depth)?,
        (Type::String, Wire::Bytes(bytes)) => json!(String::from_utf8_lossy(bytes)),
        (_, Wire::Bytes(bytes)) => json!(base64(bytes)),
        (kind, Wire::Number(number)) => scalar(kind, *number),
    })
}

#[allow(clippy::cast_possible_wrap, clippy::cast_possible_truncation, reason = "two's complement, as on the wire")]
fn scalar(kind: Type, number: u64) -> Value {
    match kind {
        Type::Bool => json!(number != 0),
        Type::Int64 | Type::Int32 | Type::Enum | Type::Sfixed64 => json!(number as i64),
        Type::Sfixed32 => json!(number as u32 as i32),
        Type::Sint32 | Type::Sint64 => json!((number >> 1) as i64 ^ -((number & 1) as i64)),
        Type::Double => json!(f64::from_bits(number)),
        Type::Float => json!(f32::from_bits(number as u32)),
        _ => json!(number),
    }
}

fn is_number(kind: Type) -> bool {
    !matches!(kind, Type::String | Type::Bytes | Type::Message | Type::Group)
}

/// The next number of a packed list.
fn packed(kind: Type, bytes: &mut &[u8]) -> Option<u64> {
    match kind {
        _ if bytes.is_empty() => None,
        Type::Double | Type::Fixed64 | Type::Sfixed64 => take(bytes, 8).map(little_endian),
        Type::Float | Type::Fixed32 | Type::Sfixed32 => take(bytes, 4).map(little_endian),
        _ => varint(bytes),
    }
}

/// The next field: its number and value.
fn next<'a>(bytes: &mut &'a [u8]) -> Option<(i32, Wire<'a>)> {
    let key = varint(bytes)?;
    let wire = match key & 7 {
        0 => Wire::Number(varint(bytes)?),
        1 => Wire::Number(little_endian(take(bytes, 8)?)),
        2 => {
            let len = usize::try_from(varint(bytes)?).ok()?;
            Wire::Bytes(take(bytes, len)?)
        }
        5 => Wire::Number(little_endian(take(bytes, 4)?)),
        _ => return None,
    };
    Some((i32::try_from(key >> 3).ok()?, wire))
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    prost::encoding::decode_varint(bytes).ok()
}

fn take<'a>(bytes: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (head, tail) = bytes.split_at_checked(len)?;
    *bytes = tail;
    Some(head)
}

fn little_endian(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let encode = |chunk: &[u8]| {
        let word = chunk.iter().fold(0_u32, |word, &byte| word << 8 | u32::from(byte)) << (8 * (3 - chunk.len()));
        let sextet = |index: usize| char::from(ALPHABET[(word >> (18 - 6 * index)) as usize & 63]);
        let letter = move |index: usize| if index <= chunk.len() { sextet(index) } else { '=' };
        [letter(0), letter(1), letter(2), letter(3)]
    };
    bytes.chunks(3).flat_map(encode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::api::containerd::events::{TaskCreate, TaskIo};

    #[test]
    fn messages_print_as_gos_do() {
        let io = TaskIo { stdout: "/run/x".into(), ..TaskIo::default() };
        let event = TaskCreate { container_id: "a".into(), io: Some(io), pid: 7, ..TaskCreate::default() };
        let json = serde_json::to_string(&to_json(&event).unwrap()).unwrap();
        assert_eq!(json, r#"{"container_id":"a","io":{"stdout":"/run/x"},"pid":7}"#);
    }

    #[test]
    fn maps_and_numbers_are_read() {
        use proto::api::containerd::events::{ContainerUpdate, TaskExit};
        let labels = [("k".to_owned(), "v".to_owned()), ("empty".to_owned(), String::new())].into();
        let json = to_json(&ContainerUpdate { labels, ..ContainerUpdate::default() }).unwrap();
        assert_eq!(json, json!({"labels": {"k": "v", "empty": ""}}));
        let exited_at = Some(prost_types::Timestamp { seconds: -1, nanos: 5 });
        let json = to_json(&TaskExit { exit_status: 255, exited_at, ..TaskExit::default() }).unwrap();
        assert_eq!(json, json!({"exit_status": 255, "exited_at": {"seconds": -1, "nanos": 5}}));
    }

    #[test]
    fn broken_messages_are_an_error() {
        for bytes in [&b"\x0a\x05ab"[..], b"\xff", b"\x0b"] {
            assert!(to_json_named("containerd.events.TaskCreate", bytes).is_err(), "{bytes:?}");
        }
        assert!(to_json_named("no.such.Type", b"").is_err());
    }

    #[test]
    fn bytes_are_base64() {
        assert_eq!([base64(b""), base64(b"f"), base64(b"fo"), base64(b"foo")], ["", "Zg==", "Zm8=", "Zm9v"]);
    }
}
