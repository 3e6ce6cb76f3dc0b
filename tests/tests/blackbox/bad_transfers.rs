//! Transfers and streams over gRPC: what is refused, each with containerd's code, and windows that are kept.

use std::collections::BTreeMap;
use std::time::Duration;

use prost::{Message, Name};
use prost_types::Any;
use proto::api::containerd::services::streaming::v1::StreamInit;
use proto::api::containerd::services::transfer::v1::{TransferOptions, TransferRequest};
use proto::api::containerd::types::transfer::{
    Data, ImageExportStream, ImageImportStream, ImageReference, ImageStore, OciRegistry, Progress, WindowUpdate,
};
use tests::api::{Api, assert_refused};
use tests::bed::BUSYBOX;
use tests::{Bed, Impl, PATIENCE, Proxy, Registry, image, matrix};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

matrix! { wire:
    unknown_streams, unknown_types, ends_that_do_not_fit, an_image_without_a_name, prefixes_are_not_exported,
    ids_are_unique, a_stream_must_be_named, an_export_is_told_of, pulls_and_pushes_are_told_of, windows_are_kept,
    unclaimed_streams_go_with_their_lease,
}

fn any<M: Message + Name>(message: &M) -> Any {
    Any { type_url: M::full_name(), value: message.encode_to_vec() }
}

/// A stream of the client's, acknowledged.
struct Stream {
    messages: mpsc::Sender<Any>,
    replies: Streaming<Any>,
}

fn open(api: &Api, first: Any) -> Result<Stream, Status> {
    api.block_on(async {
        let (messages, receiver) = mpsc::channel(16);
        messages.send(first).await.unwrap();
        let mut client = api.streaming();
        let opened = tokio::time::timeout(PATIENCE, client.stream(ReceiverStream::new(receiver))).await;
        let mut replies = opened.expect("an answer")?.into_inner();
        let acknowledged = tokio::time::timeout(PATIENCE, replies.message()).await.expect("an answer")?;
        assert_eq!(acknowledged.expect("an acknowledgement").type_url, "google.protobuf.Empty");
        Ok(Stream { messages, replies })
    })
}

fn named(api: &Api, id: &str) -> Stream {
    open(api, any(&StreamInit { id: id.to_owned() })).unwrap()
}

fn request<S: Message + Name, D: Message + Name>(source: &S, destination: &D) -> TransferRequest {
    TransferRequest { source: Some(any(source)), destination: Some(any(destination)), options: None }
}

fn store(name: &str) -> ImageStore {
    ImageStore { name: name.to_owned(), ..ImageStore::default() }
}

fn unknown_streams(bed: &mut Bed) {
    let api = bed.api();
    let import = ImageImportStream { stream: "imagined".to_owned(), ..ImageImportStream::default() };
    let refused = api.call(api.transfer().transfer(request(&import, &store("example.com/a:1"))));
    assert_refused(refused, Code::NotFound, bed.ours_names("imagined"));
    let export = ImageExportStream { stream: "imagined".to_owned(), ..ImageExportStream::default() };
    let refused = api.call(api.transfer().transfer(request(&store("example.com/a:1"), &export)));
    assert_refused(refused, Code::NotFound, bed.ours_names("imagined"));
    let mut asked = request(&store("example.com/a:1"), &store("example.com/b:1"));
    asked.options = Some(TransferOptions { progress_stream: "imagined".to_owned() });
    assert_refused(api.call(api.transfer().transfer(asked)), Code::NotFound, bed.ours_names("imagined"));
    // A stream of another namespace is none.
    let _stream = named(&api, "elsewhere");
    let mut other = bed.api();
    other.set_namespace(Some("other"));
    let import = ImageImportStream { stream: "elsewhere".to_owned(), ..ImageImportStream::default() };
    let refused = other.call(other.transfer().transfer(request(&import, &store("example.com/a:1"))));
    assert_refused(refused, Code::NotFound, bed.ours_names("elsewhere"));
}

fn unknown_types(bed: &mut Bed) {
    let api = bed.api();
    let mut asked = request(&store("example.com/a:1"), &store("example.com/b:1"));
    asked.source = Some(Any { type_url: "example.com.Nonsense".to_owned(), value: b"x".to_vec() });
    let refused = api.call(api.transfer().transfer(asked)).unwrap_err();
    if bed.row.daemon == Impl::Ours {
        assert_refused(Err::<(), _>(refused), Code::Unimplemented, "example.com.Nonsense");
    }
    // A type of containerd's that is no end of a transfer.
    let refused = api.call(api.transfer().transfer(request(&Progress::default(), &store("example.com/b:1"))));
    assert_refused(refused, Code::Unimplemented, "containerd.types.transfer.Progress");
    let mut asked = request(&store("example.com/a:1"), &store("example.com/b:1"));
    asked.source = Some(Any { type_url: ImageStore::full_name(), value: vec![0xff; 3] });
    api.call(api.transfer().transfer(asked)).expect_err("a message that is none");
}

fn ends_that_do_not_fit(bed: &mut Bed) {
    let api = bed.api();
    let _stream = named(&api, "out");
    let export = ImageExportStream { stream: "out".to_owned(), ..ImageExportStream::default() };
    let refused = api.call(api.transfer().transfer(request(&export, &store("example.com/b:1"))));
    assert_refused(refused, Code::Unimplemented, "containerd.types.transfer.ImageExportStream");
}

fn an_image_without_a_name(bed: &mut Bed) {
    let name = bed.import();
    let api = bed.api();
    let refused = api.call(api.transfer().transfer(request(&store(name), &store(""))));
    assert_refused(refused, Code::NotFound, "no image name");
    let refused = api.call(api.transfer().transfer(request(&store("example.com/no:1"), &store("example.com/b:1"))));
    assert_refused(refused, Code::NotFound, "example.com/no:1");
    // Several names at once.
    let mut names = store("example.com/b:1");
    names.extra_references = vec![ImageReference { name: "example.com/c:1".to_owned(), ..ImageReference::default() }];
    api.call(api.transfer().transfer(request(&store(name), &names))).unwrap();
    assert_eq!(bed.ctr().names("images ls"), ["example.com/b:1", "example.com/c:1", name]);
}

fn prefixes_are_not_exported(bed: &mut Bed) {
    let api = bed.api();
    let _stream = named(&api, "out");
    let export = ImageExportStream { stream: "out".to_owned(), ..ImageExportStream::default() };
    let mut from = store("");
    from.extra_references =
        vec![ImageReference { name: "example.com".to_owned(), is_prefix: true, ..ImageReference::default() }];
    let refused = api.call(api.transfer().transfer(request(&from, &export)));
    assert_refused(refused, Code::Unimplemented, "");
}

fn ids_are_unique(bed: &mut Bed) {
    let api = bed.api();
    let first = named(&api, "one");
    let refused = open(&api, any(&StreamInit { id: "one".to_owned() })).map(drop).unwrap_err();
    assert!(refused.message().contains("already exists"), "{refused:?}");
    drop(first);
    if bed.row.daemon == Impl::Ours {
        assert_refused(Err::<(), _>(refused), Code::AlreadyExists, "one");
        // The id is free again once its stream is gone.
        tests::eventually("the id to be free", || open(&api, any(&StreamInit { id: "one".to_owned() })).is_ok());
    }
}

fn a_stream_must_be_named(bed: &mut Bed) {
    let api = bed.api();
    for first in [any(&Data::default()), Any { type_url: StreamInit::full_name(), value: vec![0xff] }] {
        let refused = open(&api, first).map(drop).unwrap_err();
        if bed.row.daemon == Impl::Ours {
            assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
        }
    }
}

/// What is told while `asked` is done: of each thing (of a blob, its kind alone) the events in order. Growing numbers are
/// one event; of what is too small to be seen moving, that is left out.
fn told(api: &Api, mut asked: TransferRequest) -> BTreeMap<String, String> {
    let mut progress = named(api, "progress");
    asked.options = Some(TransferOptions { progress_stream: "progress".to_owned() });
    api.call(api.transfer().transfer(asked)).unwrap();
    let mut told = BTreeMap::<String, Vec<String>>::new();
    while let Some(message) = api.block_on(progress.replies.message()).unwrap() {
        assert_eq!(message.type_url, Progress::full_name());
        let Progress { event, name, total, .. } = Progress::decode(message.value.as_slice()).unwrap();
        let moving = event == "downloading" || event == "uploading";
        let events = told.entry(name.split("-sha256:").next().unwrap().to_owned()).or_default();
        if events.last() != Some(&event) && (!moving || total > 100_000) {
            events.push(event);
        }
    }
    told.into_iter().map(|(name, events)| (name, events.join(", "))).collect()
}

fn assert_told<const N: usize>(api: &Api, asked: TransferRequest, expected: [(&str, &str); N]) {
    let expected = expected.map(|(name, events)| (name.to_owned(), events.to_owned()));
    assert_eq!(told(api, asked), BTreeMap::from(expected));
}

fn an_export_is_told_of(bed: &mut Bed) {
    let name = bed.import();
    let api = bed.api();
    let mut archive = named(&api, "archive");
    let export = ImageExportStream { stream: "archive".to_owned(), ..ImageExportStream::default() };
    let reading = api.runtime().spawn(async move {
        let mut bytes = 0;
        let window = any(&WindowUpdate { update: i32::MAX });
        archive.messages.send(window).await.unwrap();
        while let Ok(Some(message)) = archive.replies.message().await {
            bytes += Data::decode(message.value.as_slice()).unwrap().data.len();
        }
        bytes
    });
    assert_told(&api, request(&store(name), &export), [("", "Exporting, Completed export")]);
    if bed.row.daemon == Impl::Ours {
        // Go's daemon does not end the stream.
        let bytes = api.block_on(async { tokio::time::timeout(PATIENCE, reading).await.unwrap().unwrap() });
        assert!(bytes > 0 && bytes.is_multiple_of(512), "{bytes}");
    }
}

fn pulls_and_pushes_are_told_of(bed: &mut Bed) {
    let (api, ctr, registry) = (bed.api(), bed.ctr(), Registry::open());
    // Numbers are told three times a second: the layer, of more than a megabyte, takes two.
    let reference = Proxy::paced(&registry, Duration::from_millis(27)).name("app:1");
    let registry = format!("OCI Registry ({reference})");
    let at = OciRegistry { reference: reference.clone(), resolver: None };
    let mut image = image::busybox(BUSYBOX);
    image.layers.truncate(1);
    let archive = bed.daemon.dir().join("image.tar");
    std::fs::write(&archive, image.oci_archive()).unwrap();
    ctr.ok(&format!("images import --local --no-unpack {}", archive.display()));

    assert_told(
        &api,
        request(&store(BUSYBOX), &at),
        [
            ("", &format!("Pushing to {registry}, Completed push to {registry}")),
            (BUSYBOX, "pushing content, pushed content"),
            ("manifest", "waiting, complete"),
            ("config", "waiting, complete"),
            ("layer", "waiting, uploading, complete"),
        ],
    );
    let pulled = format!("Resolving from {registry}, Pulling from {registry}, Completed pull from {registry}");
    assert_told(
        &api,
        request(&at, &store(&reference)),
        [
            ("", &pulled),
            (&reference, "fetching image content, saved"),
            ("manifest", "waiting, already exists"),
            ("config", "waiting, already exists"),
            ("layer", "waiting, already exists"),
        ],
    );
    ctr.ok(&format!("images rm --sync {BUSYBOX} {reference}"));
    assert_told(
        &api,
        request(&at, &store(&reference)),
        [
            ("", &pulled),
            (&reference, "fetching image content, saved"),
            ("manifest", "waiting, complete"),
            ("config", "waiting, complete"),
            ("layer", "waiting, downloading, complete"),
        ],
    );
}

fn windows_are_kept(bed: &mut Bed) {
    let name = bed.import();
    let api = bed.api();
    let mut archive = named(&api, "archive");
    let export = ImageExportStream { stream: "archive".to_owned(), ..ImageExportStream::default() };
    let mut client = api.transfer();
    let asked = request(&store(name), &export);
    let transfer = api.runtime().spawn(async move { client.transfer(asked).await });
    api.block_on(async {
        for granted in [100, 1, 5000, 70_000, 512] {
            archive.messages.send(any(&WindowUpdate { update: granted })).await.unwrap();
            let mut left = usize::try_from(granted).unwrap();
            while left > 0 {
                let message = tokio::time::timeout(PATIENCE, archive.replies.message()).await.unwrap().unwrap();
                let data = Data::decode(message.unwrap().value.as_slice()).unwrap().data;
                assert!(!data.is_empty() && data.len() <= left.min(32 << 10), "{} of {left}", data.len());
                left -= data.len();
            }
        }
    });
    assert!(!transfer.is_finished(), "the rest waits for its window");
    // A client that leaves ends the transfer.
    transfer.abort();
    drop(archive);
    tests::eventually("the lease to go", || bed.ctr().names("leases ls").is_empty());
}

fn unclaimed_streams_go_with_their_lease(bed: &mut Bed) {
    let mut api = bed.api();
    api.hold_lease("short");
    let held = named(&api, "held");
    api.set_lease(None);
    let free = named(&api, "free");
    bed.ctr().ok("leases rm --sync short");
    let mut replies = held.replies;
    api.block_on(async { while let Ok(Some(_)) = replies.message().await {} });
    drop(held.messages);
    // One without a lease lives as long as its connection.
    let refused = open(&api, any(&StreamInit { id: "free".to_owned() })).map(drop).unwrap_err();
    assert!(refused.message().contains("already exists"), "{refused:?}");
    drop(free);
}
