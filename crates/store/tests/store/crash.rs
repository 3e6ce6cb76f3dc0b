//! kill -9 in the middle of writing: what was acknowledged is there, and so are the bytes of a blob that has a file.

use crate::support::*;
use model::{Filter, Kind, Labels};
use std::{
    env,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};
use store::{ContentWriter, NoEvents, Store, StoreConfig, WriterOptions};

/// Tells the child, which is this test binary again, where to write.
const ROOT: &str = "STORE_CRASH_ROOT";

/// The child: writes for ever, and says on standard output what has been acknowledged.
#[test]
#[ignore = "started by the test below"]
fn child() {
    let Ok(root) = env::var(ROOT) else { return };
    let store = Store::open(StoreConfig::new(&root), Arc::new(NoEvents)).unwrap();
    std::thread::scope(|threads| {
        for writer in 0..4 {
            let store = &store;
            threads.spawn(move || {
                for at in 0_usize.. {
                    let id = format!("{writer}-{at}");
                    let blob = put_blob(store, &scope("n"), id.as_bytes(), &[("containerd.io/gc.root", "x")]);
                    store.create_container(&scope("n"), container(&id)).unwrap();
                    store.create_image(&scope("n"), image(&id, &blob), None).unwrap();
                    if at.is_multiple_of(3) {
                        store.delete_container(&scope("n"), &id).unwrap();
                    }
                    println!("\nacknowledged {id}");
                    std::io::stdout().flush().unwrap();
                }
            });
        }
    });
}

#[test]
fn what_was_acknowledged_survives_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged: Vec<String> = Vec::new();
    for round in 0..5 {
        let root = dir.path().join(round.to_string());
        acknowledged.clear();
        run_and_kill("child", &root, 20 + 15 * round, &mut acknowledged);
        let store = Store::open(StoreConfig { gc: None, ..StoreConfig::new(&root) }, Arc::new(NoEvents)).unwrap();
        for id in &acknowledged {
            let at: usize = id.split_once('-').unwrap().1.parse().unwrap();
            let image = store.get_image(&scope("n"), id).unwrap_or_else(|error| panic!("{id} is lost: {error}"));
            let blob = store.open_reader(&scope("n"), &image.target.digest).unwrap();
            let mut bytes = vec![0; 64];
            let len = blob.read_at(&mut bytes, 0).unwrap();
            assert_eq!(&bytes[..len], id.as_bytes());
            let container = store.get_container(&scope("n"), id).map_err(|error| error.kind());
            assert_eq!(container.err(), (at.is_multiple_of(3)).then_some(Kind::NotFound), "{id}");
        }
        // What was under way is there or not, but never half, and the store works on.
        for image in store.list_images(&scope("n"), &Filter::all()).unwrap() {
            store.open_reader(&scope("n"), &image.target.digest).unwrap();
        }
        store.collect_garbage().unwrap();
        store.create_lease(&scope("n"), "after", Labels::new()).unwrap();
    }
}

/// Opens the ingest that [`beginner`] begins.
fn ingest(root: &Path) -> (Store, ContentWriter) {
    let store = Store::open(StoreConfig { gc: None, ..StoreConfig::new(root) }, Arc::new(NoEvents)).unwrap();
    let options = WriterOptions { reference: "begun".to_owned(), kept: true, ..WriterOptions::default() };
    let writer = store.open_writer(&scope("n"), &options).unwrap();
    (store, writer)
}

/// The child: gets as far into a blob as it takes to have a file, and no further.
#[test]
#[ignore = "started by the test below"]
fn beginner() {
    let Ok(root) = env::var(ROOT) else { return };
    let (_store, mut writer) = ingest(Path::new(&root));
    for chunk in 1_u8.. {
        writer.write(&[chunk; 50_000]).unwrap();
        if writer.file().unwrap().is_some() {
            break;
        }
    }
    println!("\nacknowledged {}", writer.status().offset);
    std::io::stdout().flush().unwrap();
    std::thread::park();
}

#[test]
fn a_blob_that_has_just_got_its_file_is_resumed_after_a_kill() {
    for _ in 0..5 {
        let (dir, mut acknowledged) = (tempfile::tempdir().unwrap(), Vec::new());
        run_and_kill("beginner", dir.path(), 1, &mut acknowledged);
        let (store, writer) = ingest(dir.path());
        assert_eq!(writer.status().offset.to_string(), acknowledged[0]);
        drop(writer);
        store.collect_garbage().unwrap();
        drop(store);
        assert_eq!(ingest(dir.path()).1.status().offset.to_string(), acknowledged[0], "it is no garbage");
    }
}

fn run_and_kill(child: &str, root: &Path, until: usize, acknowledged: &mut Vec<String>) {
    let mut child = Command::new(env::current_exe().unwrap())
        .args([&format!("crash::{child}"), "--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .env(ROOT, root)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut killed = false;
    // After the kill, what it had said before is still in the pipe.
    for line in lines {
        let Ok(line) = line else { break };
        acknowledged.extend(line.strip_prefix("acknowledged ").map(str::to_owned));
        if acknowledged.len() >= until && !killed {
            child.kill().unwrap();
            killed = true;
        }
    }
    child.wait().unwrap();
    assert!(killed, "the child ended by itself after {} writes", acknowledged.len());
}
