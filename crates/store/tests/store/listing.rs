//! Listing many records.

use crate::support::*;
use model::{Any, Container, Filter};
use std::thread;

#[test]
fn ten_thousand_containers_and_images_are_listed_whole() {
    let fixture = Fixture::with(|config| config.no_sync = true);
    let (store, scope) = (&fixture.store, &scope("n"));
    let (writers, each) = (16, 625);
    let target = digest(b"target");
    thread::scope(|threads| {
        for writer in 0..writers {
            let target = &target;
            threads.spawn(move || {
                for at in 0..each {
                    let id = format!("{writer}-{at}");
                    let spec = Any { type_url: "spec".into(), value: vec![b'x'; 2048] };
                    let record =
                        Container { spec: Some(spec), labels: labels(&[("w", &writer.to_string())]), ..container(&id) };
                    store.create_container(scope, record).unwrap();
                    store.create_image(scope, image(&id, target), None).unwrap();
                }
            });
        }
    });
    let all = store.list_containers(scope, &Filter::all()).unwrap();
    assert_eq!(all.len(), writers * each);
    assert!(all.is_sorted_by(|a, b| a.id < b.id));
    assert!(all.iter().all(|container| container.spec.as_ref().unwrap().value.len() == 2048));
    assert_eq!(store.list_containers(scope, &filter("labels.w==3")).unwrap().len(), each);
    assert_eq!(store.list_images(scope, &Filter::all()).unwrap().len(), writers * each);
    assert_eq!(store.list_images(scope, &filter("name~=/-7$/")).unwrap().len(), writers);
}
