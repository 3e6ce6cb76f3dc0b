//! Conversions between wire messages and what this crate and its callers speak.

use crate::oci::Descriptor;
use model::{Digest, Error, Labels, Result, Timestamp};
use proto::api::containerd::types;

/// A descriptor as messages carry it: without platform and URLs.
pub fn descriptor_to_wire(descriptor: &Descriptor) -> types::Descriptor {
    types::Descriptor {
        media_type: descriptor.media_type.clone(),
        digest: descriptor.digest.to_string(),
        size: i64::try_from(descriptor.size).unwrap_or(i64::MAX),
        annotations: descriptor.annotations.clone(),
    }
}

/// A descriptor from a message.
pub fn descriptor_from_wire(descriptor: types::Descriptor) -> Result<Descriptor> {
    Ok(Descriptor {
        media_type: descriptor.media_type,
        digest: descriptor.digest.parse::<Digest>()?,
        size: u64::try_from(descriptor.size).unwrap_or(0),
        annotations: descriptor.annotations,
        ..Descriptor::default()
    })
}

/// The mask of an update that sets these labels and leaves all others alone; an empty value removes one.
pub fn label_mask(labels: &Labels) -> prost_types::FieldMask {
    prost_types::FieldMask { paths: labels.keys().map(|key| format!("labels.{key}")).collect() }
}

/// A point in time from a message; the epoch if it is missing.
pub fn timestamp_from_wire(timestamp: Option<&prost_types::Timestamp>) -> Timestamp {
    timestamp.map_or_else(Timestamp::default, |time| Timestamp {
        seconds: time.seconds,
        nanos: u32::try_from(time.nanos).unwrap_or(0),
    })
}

/// The records of a list, which its message holds encoded.
pub fn decode_all<M: prost::Message + Default>(records: &[Vec<u8>]) -> Result<Vec<M>> {
    let decoded = records.iter().map(|record| M::decode(record.as_slice())).collect::<std::result::Result<_, _>>();
    decoded.map_err(|error| Error::internal("a record of a list does not decode").caused_by(error))
}

/// `message` as an `Any` under its bare name, as containerd writes it.
pub fn any<M: prost::Message + prost::Name>(message: &M) -> proto::Any {
    proto::Any { type_url: M::full_name(), value: message.encode_to_vec() }
}

/// An opaque value as messages carry it.
pub fn any_to_wire(any: model::Any) -> proto::Any {
    proto::Any { type_url: any.type_url, value: any.value }
}
