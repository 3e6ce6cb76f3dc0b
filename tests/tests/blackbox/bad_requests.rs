//! Records over gRPC: names, labels, filters and field masks that are refused, each with containerd's code.

use prost_types::FieldMask;
use proto::api::containerd::services::containers::v1::{
    Container, CreateContainerRequest, GetContainerRequest, ListContainersRequest, UpdateContainerRequest,
    container::Runtime,
};
use proto::api::containerd::services::images::v1::{
    CreateImageRequest, DeleteImageRequest, Image, ListImagesRequest, UpdateImageRequest,
};
use proto::api::containerd::services::namespaces::v1::{
    CreateNamespaceRequest, DeleteNamespaceRequest, GetNamespaceRequest, Namespace,
};
use proto::api::containerd::services::snapshots::v1::{
    CommitSnapshotRequest, ListSnapshotsRequest, StatSnapshotRequest,
};
use proto::api::containerd::services::tasks::v1::{CreateTaskRequest, GetRequest};
use proto::api::containerd::types::Descriptor;
use tests::api::assert_refused;
use tests::{Bed, Impl, matrix};
use tonic::Code;

matrix! { wire:
    no_namespace, unknown_lease, container_ids, container_labels, container_masks, image_targets, image_masks, filters,
    namespace_names, namespace_not_empty, snapshot_refusals, tasks_of_nobody, spec_missing_or_not_json, invalid_utf8,
}

fn container(id: &str) -> Container {
    let runtime = Some(Runtime { name: "io.containerd.runc.v2".to_owned(), options: None });
    let spec = prost_types::Any {
        type_url: "types.containerd.io/opencontainers/runtime-spec/1/Spec".to_owned(),
        value: b"{}".to_vec(),
    };
    Container { id: id.to_owned(), runtime, spec: Some(spec), ..Default::default() }
}

fn no_namespace(bed: &mut Bed) {
    let mut api = bed.api();
    api.set_namespace(None);
    let refused = api.call(api.images().list(ListImagesRequest { filters: vec![] }));
    assert_refused(refused, Code::FailedPrecondition, "namespace is required");
    api.set_namespace(Some("not/valid"));
    let refused = api.call(api.images().list(ListImagesRequest { filters: vec![] }));
    assert_refused(refused, Code::InvalidArgument, "not/valid");
}

fn unknown_lease(bed: &mut Bed) {
    let mut api = bed.api();
    api.set_lease(Some("imagined"));
    assert_refused(api.prepare("key", ""), Code::NotFound, bed.ours_names("imagined"));
    assert_refused(api.ingest("ref", b"bytes"), Code::NotFound, bed.ours_names("imagined"));
}

fn container_ids(bed: &mut Bed) {
    let api = bed.api();
    let create =
        |id: &str| api.call(api.containers().create(CreateContainerRequest { container: Some(container(id)) }));
    create(&"a".repeat(76)).expect("76 characters");
    for id in ["a".repeat(77), "white space".to_owned(), "../up".to_owned(), "-x".to_owned(), "é".to_owned()] {
        // Ours shows the start of what is too long.
        assert_refused(create(&id), Code::InvalidArgument, id.get(..70).unwrap_or(&id));
    }
    assert_refused(create(""), Code::InvalidArgument, "ontainer");
    assert_refused(create(&"a".repeat(76)), Code::AlreadyExists, &"a".repeat(76));
    let get = api.call(api.containers().get(GetContainerRequest { id: "absent".to_owned() }));
    assert_refused(get, Code::NotFound, "absent");
}

fn container_labels(bed: &mut Bed) {
    let api = bed.api();
    let mut labelled = container("labelled");
    labelled.labels.insert("long".to_owned(), "v".repeat(5000));
    let refused = api.call(api.containers().create(CreateContainerRequest { container: Some(labelled.clone()) }));
    assert_refused(refused, Code::InvalidArgument, "long");
    labelled.labels = [("long".to_owned(), "v".repeat(4092))].into();
    api.call(api.containers().create(CreateContainerRequest { container: Some(labelled) })).expect("4,096 bytes");
}

fn container_masks(bed: &mut Bed) {
    let api = bed.api();
    let mut changed = container("masked");
    changed.snapshotter = "overlayfs".to_owned();
    changed.snapshot_key = "masked".to_owned();
    api.call(api.containers().create(CreateContainerRequest { container: Some(changed.clone()) })).unwrap();
    let update = |container: &Container, path: &str| {
        let update_mask = Some(FieldMask { paths: vec![path.to_owned()] });
        api.call(api.containers().update(UpdateContainerRequest { container: Some(container.clone()), update_mask }))
    };
    for path in ["id", "runtime.name", "created_at", "nonsense"] {
        assert_refused(update(&changed, path), Code::InvalidArgument, path);
    }
    changed.labels.insert("a".to_owned(), "b".to_owned());
    let answer = update(&changed, "labels").unwrap().into_inner().container.unwrap();
    assert_eq!(answer.labels.get("a").map(String::as_str), Some("b"));
    let refused = update(&container("absent"), "labels");
    assert_refused(refused, Code::NotFound, "absent");
    // Without a mask the snapshotter may not change either.
    changed.snapshotter = "native".to_owned();
    let refused =
        api.call(api.containers().update(UpdateContainerRequest { container: Some(changed), update_mask: None }));
    assert_refused(refused, Code::InvalidArgument, "napshotter");
}

fn image(name: &str) -> Image {
    let (media_type, digest) = (tests::image::media::MANIFEST.to_owned(), tests::image::digest(name.as_bytes()));
    let target = Descriptor { media_type, digest, size: 10, annotations: [].into() };
    Image { name: name.to_owned(), target: Some(target), ..Default::default() }
}

fn image_targets(bed: &mut Bed) {
    let api = bed.api();
    let create = |image: Image| {
        api.call(api.images().create(CreateImageRequest { image: Some(image), source_date_epoch: None }))
    };
    let target = |change: fn(&mut Descriptor)| {
        let mut bad = image("bad");
        change(bad.target.as_mut().unwrap());
        bad
    };
    assert_refused(create(image("")), Code::InvalidArgument, "ame");
    assert_refused(create(target(|t| t.digest = "sha256:short".to_owned())), Code::InvalidArgument, "sha256:short");
    assert_refused(create(target(|t| t.size = 0)), Code::InvalidArgument, "ize");
    assert_refused(create(target(|t| t.media_type.clear())), Code::InvalidArgument, "edia");
    create(image("good")).expect("a good image");
    assert_refused(create(image("good")), Code::AlreadyExists, "good");
    let delete = |name: &str, target| {
        api.call(api.images().delete(DeleteImageRequest { name: name.to_owned(), sync: false, target }))
    };
    assert_refused(delete("absent", None), Code::NotFound, "absent");
    assert_refused(delete("good", image("other").target), Code::NotFound, "good");
    delete("good", image("good").target).expect("the same target");
}

fn image_masks(bed: &mut Bed) {
    let api = bed.api();
    api.call(api.images().create(CreateImageRequest { image: Some(image("i")), source_date_epoch: None })).unwrap();
    for path in ["name", "created_at", "nonsense"] {
        let update_mask = Some(FieldMask { paths: vec![path.to_owned()] });
        let request = UpdateImageRequest { image: Some(image("i")), update_mask, source_date_epoch: None };
        assert_refused(api.call(api.images().update(request)), Code::InvalidArgument, path);
    }
    let request = UpdateImageRequest { image: Some(image("absent")), update_mask: None, source_date_epoch: None };
    assert_refused(api.call(api.images().update(request)), Code::NotFound, "absent");
}

fn filters(bed: &mut Bed) {
    let api = bed.api();
    for filter in ["name=~x", "name==", "==x", "labels.\"open==x", "name==a,,id==b", "name=="] {
        let filters = vec![filter.to_owned()];
        let refused = api.call(api.images().list(ListImagesRequest { filters: filters.clone() }));
        assert_eq!(refused.map(|_| ()).expect_err(filter).code(), Code::InvalidArgument, "{filter}");
        let refused = api.call(api.containers().list(ListContainersRequest { filters: filters.clone() }));
        assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument, "{filter}");
        let request = ListSnapshotsRequest { snapshotter: "overlayfs".to_owned(), filters };
        let refused = api.call(async { api.snapshots().list(request).await?.into_inner().message().await });
        let code = refused.unwrap_err().code();
        // Go forgets the code here.
        assert!(
            code == Code::InvalidArgument || bed.row.daemon == Impl::Go && code == Code::Unknown,
            "{filter}: {code}"
        );
    }
    for filter in ["", "name", "labels.\"a.b/c\"==x", "name~=|^x/.*|", "nonsense==x", "name==a,labels.b!=c"] {
        let answer = api.call(api.images().list(ListImagesRequest { filters: vec![filter.to_owned()] }));
        answer.unwrap_or_else(|status| panic!("{filter}: {status:?}"));
    }
}

fn namespace_names(bed: &mut Bed) {
    let api = bed.api();
    let create = |name: &str| {
        let namespace = Some(Namespace { name: name.to_owned(), labels: [].into() });
        api.call(api.namespaces().create(CreateNamespaceRequest { namespace }))
    };
    for name in ["a b", "", "a/b", "../x"] {
        assert_eq!(create(name).unwrap_err().code(), Code::InvalidArgument, "{name:?}");
    }
    create("fine").unwrap();
    assert_refused(create("fine"), Code::AlreadyExists, "fine");
    let get = api.call(api.namespaces().get(GetNamespaceRequest { name: "absent".to_owned() })).expect("no labels");
    assert!(get.into_inner().namespace.unwrap().labels.is_empty());
    let delete = api.call(api.namespaces().delete(DeleteNamespaceRequest { name: "absent".to_owned() }));
    assert_refused(delete, Code::NotFound, "absent");
}

fn namespace_not_empty(bed: &mut Bed) {
    let api = bed.api();
    let name = bed.daemon.namespace().to_owned();
    api.call(api.images().create(CreateImageRequest { image: Some(image("left")), source_date_epoch: None })).unwrap();
    let delete = || api.call(api.namespaces().delete(DeleteNamespaceRequest { name: name.clone() }));
    assert_refused(delete(), Code::FailedPrecondition, "images");
    assert_refused(delete(), Code::FailedPrecondition, &name);
    let request = DeleteImageRequest { name: "left".to_owned(), sync: true, target: None };
    api.call(api.images().delete(request)).unwrap();
    delete().expect("empty now");
}

fn snapshot_refusals(bed: &mut Bed) {
    let mut api = bed.api();
    api.hold_lease("snapshots");
    let commit = |name: &str, key: &str| {
        let (snapshotter, name, key) = ("overlayfs".to_owned(), name.to_owned(), key.to_owned());
        api.call(api.snapshots().commit(CommitSnapshotRequest { snapshotter, name, key, ..Default::default() }))
    };
    api.prepare("a", "").unwrap();
    assert_refused(api.prepare("a", ""), Code::AlreadyExists, "a");
    assert_refused(api.prepare("b", "absent"), Code::NotFound, "absent");
    assert_refused(api.prepare("b", "a"), Code::InvalidArgument, "a");
    commit("base", "a").unwrap();
    assert_refused(commit("base2", "absent"), Code::NotFound, "absent");
    api.prepare("child", "base").unwrap();
    assert_refused(commit("base", "child"), Code::AlreadyExists, "base");
    assert_refused(api.remove_snapshot("base"), Code::FailedPrecondition, bed.ours_names("base"));
    assert_refused(api.remove_snapshot("absent"), Code::NotFound, "absent");
    let stat = |snapshotter: &str| {
        let request = StatSnapshotRequest { snapshotter: snapshotter.to_owned(), key: "base".to_owned() };
        api.call(api.snapshots().stat(request))
    };
    stat("overlayfs").unwrap();
    assert_refused(stat("imagined"), Code::InvalidArgument, "imagined");
    assert_refused(stat(""), Code::InvalidArgument, "snapshotter");
}

fn tasks_of_nobody(bed: &mut Bed) {
    let api = bed.api();
    let get = api.call(api.tasks().get(GetRequest { container_id: "absent".to_owned(), exec_id: String::new() }));
    assert_refused(get, Code::NotFound, "absent");
    let create =
        api.call(api.tasks().create(CreateTaskRequest { container_id: "absent".to_owned(), ..Default::default() }));
    assert_refused(create, Code::NotFound, "absent");
}

fn spec_missing_or_not_json(bed: &mut Bed) {
    let api = bed.api();
    let mut bare = container("bare");
    bare.spec = None;
    let created = api.call(api.containers().create(CreateContainerRequest { container: Some(bare) }));
    if bed.row.daemon == Impl::Ours {
        // Go means to refuse it and misses it; its daemon then dies of a task of this container.
        assert_refused(created, Code::InvalidArgument, "bare");
    }
    let mut noise = container("noise");
    noise.spec.as_mut().unwrap().value = b"this is not JSON".to_vec();
    api.call(api.containers().create(CreateContainerRequest { container: Some(noise) })).expect("a spec is opaque");
    let request = CreateTaskRequest { container_id: "noise".to_owned(), ..Default::default() };
    let refused = api.call(api.tasks().create(request)).unwrap_err();
    assert!(matches!(refused.code(), Code::Unknown | Code::InvalidArgument), "{refused:?}");
    let bundles = bed.daemon.state().join("io.containerd.runtime.v2.task").join(bed.daemon.namespace());
    if bed.row.daemon == Impl::Ours {
        assert!(tests::leaks::entries(&bundles).is_empty(), "no bundle is left");
    } else {
        std::fs::remove_dir_all(bundles).expect("Go leaves its bundle");
    }
}

fn invalid_utf8(bed: &mut Bed) {
    let api = bed.api();
    let refused = api.raw("/containerd.services.images.v1.Images/Get", b"\x0a\x03a\xffb").unwrap_err();
    assert!(matches!(refused.code(), Code::Internal | Code::InvalidArgument), "{refused:?}");
    let refused = api.raw("/containerd.services.images.v1.Images/Get", b"\x0a\xff\xff").unwrap_err();
    assert!(matches!(refused.code(), Code::Internal | Code::InvalidArgument), "{refused:?}");
    let refused = api.raw("/containerd.services.images.v1.Images/Dance", b"").unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
    let refused = api.raw("/no.such.Service/Call", b"").unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
    // A field of the future, number 999, is passed over.
    let absent = api.raw("/containerd.services.images.v1.Images/Get", b"\x0a\x01x\xba\x3e\x02hi").unwrap_err();
    assert_eq!(absent.code(), Code::NotFound, "{absent:?}");
}
