//! The database by itself.

use super::{handle::SCHEMA, *};
use crate::NoEvents;
use model::Kind as ErrorKind;
use std::{
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

fn open(path: &Path) -> Result<Db> {
    Db::open(path, false, Arc::new(NoEvents), Box::new(|_| {}))
}

fn key(name: &str) -> Key {
    Key::new(Kind::Image, &["n", name])
}

fn put(db: &Db, key: Key, value: Vec<u8>) {
    db.write(move |tx| {
        tx.put(&key, value);
        Ok(())
    })
    .unwrap();
}

#[test]
fn concurrent_writers_share_commits() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(&dir.path().join("db")).unwrap();
    let lone = {
        let before = db.syncs();
        put(&db, key("lone"), vec![1]);
        db.syncs() - before
    };
    assert!(lone >= 1, "a commit without a sync");

    let before = db.syncs();
    let (writers, each) = (32, 20);
    let start = Barrier::new(writers);
    thread::scope(|scope| {
        for writer in 0..writers {
            let (db, start) = (&db, &start);
            scope.spawn(move || {
                start.wait();
                for round in 0..each {
                    put(db, key(&format!("{writer}/{round}")), vec![2]);
                }
            });
        }
    });
    let (syncs, writes) = (db.syncs() - before, (writers * each) as u64);
    // One at a time would take `lone` syncs for each.
    assert!(syncs * 4 < writes * lone, "{writes} writes took {syncs} syncs, a lone one takes {lone}");
    let reader = db.read().unwrap();
    for writer in 0..writers {
        for round in 0..each {
            assert!(reader.contains(&key(&format!("{writer}/{round}"))).unwrap());
        }
    }
}

#[test]
fn a_failed_request_undoes_itself_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(&dir.path().join("db")).unwrap();
    thread::scope(|scope| {
        for at in 0..64 {
            let db = &db;
            scope.spawn(move || {
                let outcome = db.write(move |tx| {
                    tx.put(&key(&format!("{at}")), vec![]);
                    match at % 3 {
                        0 => Err(Error::aborted("no")),
                        1 => panic!("a request that panics"),
                        _ => Ok(at),
                    }
                });
                match at % 3 {
                    0 => assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Aborted),
                    1 => assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Internal),
                    _ => assert_eq!(outcome.unwrap(), at),
                }
            });
        }
    });
    let reader = db.read().unwrap();
    for at in 0..64 {
        assert_eq!(reader.contains(&key(&format!("{at}"))).unwrap(), at % 3 == 2);
    }
}

#[test]
fn a_request_sees_its_own_changes_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(&dir.path().join("db")).unwrap();
    db.write(|tx| {
        for name in ["b", "d", "f"] {
            tx.put(&key(name), name.into());
        }
        Ok(())
    })
    .unwrap();
    let seen = db
        .write(|tx| {
            tx.delete(&key("b"));
            tx.delete(&key("f"));
            tx.put(&key("a"), "a".into());
            tx.put(&key("d"), "D".into());
            tx.put(&key("e"), "e".into());
            tx.put(&key("g"), "g".into());
            tx.put(&Key::new(Kind::Image, &["other", "c"]), "c".into());
            let mut seen = String::new();
            tx.each(&Key::prefix(Kind::Image, &["n"]), |path, value| {
                assert!(path[1].eq_ignore_ascii_case(std::str::from_utf8(value).unwrap()));
                seen.push_str(std::str::from_utf8(value).unwrap());
                Ok(())
            })?;
            Ok(seen)
        })
        .unwrap();
    assert_eq!(seen, "aDeg");
}

#[test]
fn a_reader_sees_one_moment() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(&dir.path().join("db")).unwrap();
    let before = db.read().unwrap();
    put(&db, key("later"), vec![]);
    assert!(!before.contains(&key("later")).unwrap());
    assert!(db.read().unwrap().contains(&key("later")).unwrap());
}

#[test]
fn a_newer_schema_and_a_second_opener_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let db = open(&path).unwrap();
    let error = open(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FailedPrecondition);
    assert!(error.to_string().contains("in use"), "{error}");
    put(&db, Key::schema(), (SCHEMA + 1).to_be_bytes().to_vec());
    drop(db);
    let error = open(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FailedPrecondition);
    assert!(error.to_string().contains("newer"), "{error}");
}

#[test]
fn a_file_that_is_no_database_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    std::fs::write(&path, vec![7; 100_000]).unwrap();
    assert!(open(&path).is_err());
}

#[test]
fn sequence_numbers_never_repeat() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let mut last = 0;
    for _ in 0..3 {
        let db = open(&path).unwrap();
        for _ in 0..RESERVED + 3 {
            let next = db.next_sequence().unwrap();
            assert!(next > last);
            last = next;
        }
    }
}

#[test]
fn what_may_wait_is_visible_at_once_and_durable_in_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let db = open(&path).unwrap();
    // One of several: between two looks at the counter it may be time already.
    let waited = (0..20).any(|_| {
        let before = db.syncs();
        db.write(|tx| {
            tx.durable_soon();
            tx.put(&key("soon"), vec![]);
            Ok(())
        })
        .unwrap();
        db.syncs() == before
    });
    assert!(waited, "each of them was synced at once");
    assert!(db.read().unwrap().contains(&key("soon")).unwrap());
    drop(db);
    assert!(open(&path).unwrap().read().unwrap().contains(&key("soon")).unwrap());
}

#[test]
fn what_may_wait_does_not_wait_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(&dir.path().join("db")).unwrap();
    let soon = |name: &'static str| {
        db.write(move |tx| {
            tx.durable_soon();
            tx.put(&key(name), vec![]);
            Ok(())
        })
        .unwrap();
    };
    let (before, start) = (db.syncs(), Instant::now());
    soon("one");
    // Requests that write nothing keep the committing thread awake.
    while db.syncs() == before {
        assert!(start.elapsed() < Duration::from_secs(60), "it waits as long as others come");
        db.write(|_| Ok(())).unwrap();
        thread::sleep(Duration::from_millis(5));
    }
    let before = db.syncs();
    soon("two");
    db.sync().unwrap();
    let synced = db.syncs();
    assert!(synced > before);
    db.sync().unwrap();
    assert_eq!(db.syncs(), synced, "there is nothing left to do");
}

#[test]
fn records_round_trip_and_torn_ones_are_told() {
    let lease = model::Lease {
        id: "l".into(),
        labels: [("k".into(), "v".repeat(300))].into(),
        created_at: model::Timestamp { seconds: -3, nanos: 999_999_999 },
    };
    let bytes = lease.to_bytes();
    assert_eq!(model::Lease::from_bytes("l", &bytes).unwrap(), lease);
    for len in 0..bytes.len() {
        // Cut at the end of a field it reads as default; anywhere else it is told.
        let _ = model::Lease::from_bytes("l", &bytes[..len]);
    }
    assert_eq!(model::Lease::from_bytes("l", &bytes[..40]).unwrap_err().kind(), ErrorKind::DataLoss);
    assert_eq!(model::Lease::from_bytes("l", &[9, 0, 0]).unwrap_err().kind(), ErrorKind::DataLoss);
}

#[test]
fn keys_parse_as_they_were_made() {
    for (kind, path) in [
        (Kind::Namespace, vec!["n"]),
        (Kind::Image, vec!["n", "docker.io/library/a:b"]),
        (Kind::SnapshotChild, vec!["n", "overlayfs", "a\0b", "c\0"]),
        (Kind::LeaseResource, vec!["n", "l", "snapshots/native", "k"]),
    ] {
        let key = Key::new(kind, &path);
        assert_eq!(Key::parse(key.as_ref()).unwrap(), (kind, path));
    }
    for bad in [&b""[..], b"?x", b"i\0", b"i\0\x05ab", b"n\xff"] {
        assert!(Key::parse(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn a_full_disk_costs_only_the_requests_that_met_it() {
    // A file system of 1 MiB, nearly full.
    let tmpfs = model::Mount {
        fs_type: "tmpfs".into(),
        source: "tmpfs".into(),
        options: vec!["size=1m".into()],
        ..model::Mount::default()
    };
    let mounted = sys::mount::TempMount::new(&[tmpfs]).unwrap();
    let db = open(&mounted.path().join("db")).unwrap();
    put(&db, key("before"), vec![1; 1000]);
    let filler = mounted.path().join("filler");
    let mut written = 0;
    let error = loop {
        assert!(written < 100, "the disk is never full");
        let name = key(&written.to_string());
        let outcome = db.write(move |tx| {
            tx.put(&name, vec![2; 100_000]);
            Ok(())
        });
        match outcome {
            Ok(()) => written += 1,
            Err(error) => break error,
        }
        let _ = std::fs::write(&filler, vec![0; 100_000 * written]);
    };
    assert!(error.to_string().contains("no space left on device"), "{error}");
    let reader = db.read().unwrap();
    assert!(reader.contains(&key("before")).unwrap());
    for at in 0..written {
        assert!(reader.contains(&key(&at.to_string())).unwrap(), "{at} was acknowledged");
    }
    assert!(!reader.contains(&key(&written.to_string())).unwrap());
    drop(reader);

    std::fs::remove_file(&filler).unwrap();
    put(&db, key("after"), vec![3]);
    assert!(db.read().unwrap().contains(&key("after")).unwrap());
}
