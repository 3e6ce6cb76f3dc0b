//! Content over gRPC: what Write, Read and their kin refuse, with which code, and what stays resumable.

use proto::api::containerd::services::content::v1::{
    AbortRequest, DeleteContentRequest, InfoRequest, ReadContentRequest, StatusRequest, UpdateRequest,
};
use tests::api::{Api, assert_refused};
use tests::content::{commit, stat, write};
use tests::image::digest;
use tests::{Bed, matrix};
use tonic::Code;

matrix! { wire:
    wrong_digest, wrong_size, wrong_offset, no_ref, two_writers, resumed_after_a_broken_stream, restarted_from_zero,
    abort, already_there, reads_out_of_range, absent_blobs, labels_too_long,
}

fn wrong_digest(bed: &mut Bed) {
    let api = bed.api();
    let expected = digest(b"something else");
    let refused = api.write(vec![stat("r"), write("r", 0, b"bytes"), commit("r", 5, &expected)]);
    assert_refused(refused, Code::FailedPrecondition, &digest(b"bytes"));
    assert_refused(info(&api, &expected), Code::NotFound, &expected);
    assert_refused(info(&api, &digest(b"bytes")), Code::NotFound, "sha256:");
}

fn wrong_size(bed: &mut Bed) {
    let api = bed.api();
    let refused = api.write(vec![stat("r"), write("r", 0, b"bytes"), commit("r", 7, "")]);
    assert_eq!(refused.unwrap_err().code(), Code::OutOfRange);
}

fn wrong_offset(bed: &mut Bed) {
    let api = bed.api();
    let refused = api.write(vec![stat("r"), write("r", 0, b"bytes"), write("r", 4, b"more")]);
    assert_eq!(refused.unwrap_err().code(), Code::OutOfRange);
}

fn no_ref(bed: &mut Bed) {
    let refused = bed.api().write(vec![stat("")]);
    assert_refused(refused, Code::InvalidArgument, "ref");
}

fn two_writers(bed: &mut Bed) {
    let api = bed.api();
    let (sender, receiver) = tokio::sync::mpsc::channel(4);
    let held = api.call(async {
        sender.send(stat("one")).await.unwrap();
        let messages = tokio_stream::wrappers::ReceiverStream::new(receiver);
        let mut stream = api.content().write(messages).await?.into_inner();
        stream.message().await?;
        Ok(stream)
    });
    let held = held.expect("the first writer");
    assert_refused(api.write(vec![stat("one")]), Code::Unavailable, "one");
    api.write(vec![stat("other")]).expect("another ref is free");
    drop((sender, held));
    tests::eventually("the ref to be free again", || api.write(vec![stat("one")]).is_ok());
}

fn resumed_after_a_broken_stream(bed: &mut Bed) {
    let api = bed.api();
    api.write(vec![stat("r"), write("r", 0, b"first ")]).expect("a stream that ends without a commit");
    let replies = api.write(vec![stat("r"), write("r", 6, b"second"), commit("r", 12, "")]).expect("resume");
    assert_eq!(replies[0].offset, 6, "what was written is still there");
    let expected = digest(b"first second");
    assert_eq!(replies[2].digest, expected);
    info(&api, &expected).expect("the whole");
}

fn restarted_from_zero(bed: &mut Bed) {
    let api = bed.api();
    api.write(vec![stat("r"), write("r", 0, b"draft")]).expect("a first try");
    api.write(vec![write("r", 0, b"final"), commit("r", 5, &digest(b"final"))]).expect("from the start");
}

fn abort(bed: &mut Bed) {
    let api = bed.api();
    api.write(vec![stat("r"), write("r", 0, b"half")]).expect("half a blob");
    let status = api.call(api.content().status(StatusRequest { r#ref: "r".to_owned() })).unwrap().into_inner();
    assert_eq!(status.status.unwrap().offset, 4);
    api.call(api.content().abort(AbortRequest { r#ref: "r".to_owned() })).expect("abort");
    let gone = api.call(api.content().status(StatusRequest { r#ref: "r".to_owned() }));
    assert_refused(gone, Code::NotFound, "r");
    assert_refused(api.call(api.content().abort(AbortRequest { r#ref: "r".to_owned() })), Code::NotFound, "r");
}

fn already_there(bed: &mut Bed) {
    let api = bed.api();
    let known = api.ingest("first", b"known").unwrap();
    let mut open = stat("second");
    open.expected.clone_from(&known);
    assert_refused(api.write(vec![open]), Code::AlreadyExists, &known);
    let late = api.write(vec![stat("third"), write("third", 0, b"known"), commit("third", 5, &known)]);
    assert_refused(late, Code::AlreadyExists, &known);
}

fn reads_out_of_range(bed: &mut Bed) {
    let api = bed.api();
    let digest = api.ingest("r", b"0123456789").unwrap();
    let read = |offset, size| {
        let request = ReadContentRequest { digest: digest.clone(), offset, size };
        api.call(async {
            let mut stream = api.content().read(request).await?.into_inner();
            let mut bytes = Vec::new();
            while let Some(message) = stream.message().await? {
                bytes.extend_from_slice(&message.data);
            }
            Ok(bytes)
        })
    };
    assert_eq!(read(0, 0).unwrap(), b"0123456789");
    assert_eq!(read(4, 3).unwrap(), b"456");
    assert_eq!(read(7, 100).unwrap(), b"789");
    assert_eq!(read(3, -1).unwrap(), b"3456789");
    assert_refused(read(11, 0), Code::OutOfRange, bed.ours_names(&digest));
}

fn absent_blobs(bed: &mut Bed) {
    let api = bed.api();
    let absent = digest(b"nowhere");
    assert_refused(info(&api, &absent), Code::NotFound, &absent);
    let delete = |digest: &str| api.call(api.content().delete(DeleteContentRequest { digest: digest.to_owned() }));
    assert_refused(delete(&absent), Code::NotFound, &absent);
    assert_refused(delete("md5:nonsense"), Code::InvalidArgument, bed.ours_names("md5:nonsense"));
    assert_refused(info(&api, "../../etc/passwd"), Code::InvalidArgument, bed.ours_names("../../etc/passwd"));
}

fn labels_too_long(bed: &mut Bed) {
    let api = bed.api();
    let digest = api.ingest("r", b"blob").unwrap();
    let mut changed = info(&api, &digest).unwrap();
    changed.labels.insert("key".to_owned(), "v".repeat(5000));
    let request = UpdateRequest { info: Some(changed.clone()), update_mask: None };
    assert_refused(api.call(api.content().update(request)), Code::InvalidArgument, "key");
    changed.labels = [("key".to_owned(), "v".repeat(4093))].into();
    let mask = Some(prost_types::FieldMask { paths: vec!["labels.key".to_owned()] });
    api.call(api.content().update(UpdateRequest { info: Some(changed.clone()), update_mask: mask }))
        .expect("4,096 bytes");
    let mask = Some(prost_types::FieldMask { paths: vec!["size".to_owned()] });
    let refused = api.call(api.content().update(UpdateRequest { info: Some(changed), update_mask: mask }));
    assert_refused(refused, Code::InvalidArgument, "size");
}

fn info(api: &Api, digest: &str) -> Result<proto::api::containerd::services::content::v1::Info, tonic::Status> {
    let answer = api.call(api.content().info(InfoRequest { digest: digest.to_owned() }))?;
    Ok(answer.into_inner().info.expect("an info"))
}
