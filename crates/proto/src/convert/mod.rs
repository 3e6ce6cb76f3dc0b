//! Wire ⇄ model: the only place where the two meet.
//!
//! Types of ours convert by `From` and `TryFrom`; protobuf's well-known types, which are
//! nobody's here, by the functions below. Lossless, apart from what model forbids (a
//! digest that is not one): that is `InvalidArgument`.

mod event;
mod record;
mod status;

pub use event::{event_from_wire, event_to_wire};
pub use status::{error_from_status, status};

use model::{FieldMask, Result, Timestamp};
use prost::{Message, Name};
use std::collections::BTreeMap;

/// `message` as an `Any` under its bare full name, as containerd writes it.
pub fn any_of<M: Message + Name>(message: &M) -> prost_types::Any {
    prost_types::Any { type_url: M::full_name(), value: message.encode_to_vec() }
}

/// An opaque value for the wire.
pub fn any_to_wire(any: model::Any) -> prost_types::Any {
    prost_types::Any { type_url: any.type_url, value: any.value }
}

/// An opaque value from the wire.
pub fn any_from_wire(any: prost_types::Any) -> model::Any {
    model::Any { type_url: any.type_url, value: any.value }
}

/// A point in time for the wire.
pub fn timestamp_to_wire(time: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: time.seconds, nanos: i32::try_from(time.nanos).unwrap_or(0) }
}

/// A point in time from the wire; the epoch if it is missing.
pub fn timestamp_from_wire(time: Option<prost_types::Timestamp>) -> Timestamp {
    time.map_or_else(Timestamp::default, |time| Timestamp {
        seconds: time.seconds,
        nanos: u32::try_from(time.nanos).unwrap_or(0),
    })
}

/// An update's mask from the wire; a missing one is empty.
pub fn mask_from_wire(mask: Option<prost_types::FieldMask>) -> FieldMask {
    FieldMask(mask.map_or_else(Vec::new, |mask| mask.paths))
}

/// An update's mask for the wire; an empty one is left out.
pub fn mask_to_wire(mask: &FieldMask) -> Option<prost_types::FieldMask> {
    (!mask.is_empty()).then(|| prost_types::FieldMask { paths: mask.paths().map(str::to_owned).collect() })
}

/// Every element of a list from the wire.
pub fn all_from_wire<W, M: TryFrom<W, Error = model::Error>>(list: Vec<W>) -> Result<Vec<M>> {
    list.into_iter().map(M::try_from).collect()
}

/// A size for the wire, which has 63 bits.
pub(crate) fn size_to_wire(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

/// A size from the wire; a negative one is 0.
pub(crate) fn size_from_wire(size: i64) -> u64 {
    u64::try_from(size).unwrap_or(0)
}

/// A map with its values converted.
pub(crate) fn map<V, W>(from: BTreeMap<String, V>, value: impl Fn(V) -> W) -> BTreeMap<String, W> {
    from.into_iter().map(|(key, held)| (key, value(held))).collect()
}
