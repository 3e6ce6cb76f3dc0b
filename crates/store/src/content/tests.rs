//! Blobs and ingests on a real disk, full disks and killed writers included.

use super::*;
use model::{Kind, Mount};
use std::{
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
    thread,
};

fn open(dir: &tempfile::TempDir) -> Blobs {
    Blobs::open(dir.path()).unwrap()
}

fn digest(algorithm: Algorithm, data: &[u8]) -> Digest {
    let mut hasher = Hasher::new(algorithm);
    hasher.update(data);
    hasher.digest().unwrap()
}

fn read(blobs: &Blobs, digest: &Digest) -> Vec<u8> {
    let blob = blobs.blob(digest).unwrap();
    let mut data = vec![0; usize::try_from(blob.size()).unwrap() + 10];
    let len = blob.read_at(&mut data, 0).unwrap();
    data.truncate(len);
    data
}

fn write(blobs: &Blobs, reference: &str, data: &[u8]) -> Result<Committed> {
    let mut ingest = blobs.ingest(reference, 0, None)?;
    ingest.append(data)?;
    ingest.commit(data.len() as u64, None)
}

fn ingest_dirs(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir.join("ingest")).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn a_commit_leaves_a_read_only_blob_and_no_ingest() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = open(&dir);
    let before = Timestamp::now();
    let Committed { digest, size } = write(&blobs, "a ref/with:any\nbytes", b"hello").unwrap();
    let path = dir.path().join("blobs/sha256/2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824");
    assert_eq!((fs::read(&path).unwrap(), size), (b"hello".to_vec(), 5));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o444);
    assert!(ingest_dirs(dir.path()).is_empty());
    let stat = blobs.stat_durable(&digest).unwrap();
    assert!(stat.size == 5 && stat.committed_at.seconds >= before.seconds);
    let mut listed = Vec::new();
    fs::write(dir.path().join("blobs/sha256/not-a-digest"), "").unwrap();
    let list = |digest, stat: BlobStat| {
        listed.push((digest, stat.size));
        Ok(())
    };
    blobs.walk(list).unwrap();
    assert_eq!(listed, [(digest.clone(), 5)]);
    let reader = blobs.blob(&digest).unwrap();
    blobs.delete(&digest).unwrap();
    let mut tail = [0; 9];
    assert_eq!((reader.read_at(&mut tail, 3).unwrap(), &tail[..2]), (2, &b"lo"[..]));
    assert_eq!(reader.read_at(&mut tail, 99).unwrap(), 0);
    for error in
        [blobs.stat(&digest).unwrap_err(), blobs.blob(&digest).unwrap_err(), blobs.delete(&digest).unwrap_err()]
    {
        assert!(error.is_not_found() && error.to_string().contains(digest.as_str()), "{error}");
    }
}

#[test]
fn an_ingest_left_alone_is_resumed() {
    let dir = tempfile::tempdir().unwrap();
    let begun = {
        let mut ingest = open(&dir).ingest("ref", 10, None).unwrap();
        ingest.append(b"hello").unwrap();
        ingest.status()
    };
    let blobs = open(&dir);
    let status = blobs.status("ref").unwrap();
    assert_eq!((status.offset, status.total, status.started_at), (5, 10, begun.started_at));
    assert!(status.updated_at >= begun.updated_at);
    assert_eq!(blobs.statuses().unwrap(), [status]);
    let mut ingest = blobs.ingest("ref", 0, None).unwrap();
    assert_eq!(ingest.digest().unwrap(), digest(Algorithm::Sha256, b"hello"));
    ingest.append(b"world").unwrap();
    let whole = digest(Algorithm::Sha256, b"helloworld");
    ingest.commit(10, Some(&whole)).unwrap();
    assert_eq!(read(&blobs, &whole), b"helloworld");
    assert!(blobs.status("ref").unwrap_err().is_not_found());
}

#[test]
fn a_reference_has_one_writer() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = open(&dir);
    let ingest = blobs.ingest("ref", 0, None).unwrap();
    let error = blobs.clone().ingest("ref", 0, None).unwrap_err();
    assert!(error.kind() == Kind::Unavailable && error.message().starts_with("ref ref locked"), "{error}");
    blobs.ingest("other", 0, None).unwrap();
    drop(ingest);
    blobs.ingest("ref", 0, None).unwrap();
    assert_eq!(blobs.ingest("", 0, None).unwrap_err().kind(), Kind::InvalidArgument);
}

#[test]
fn what_does_not_fit_is_refused_and_can_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = open(&dir);
    let wrong = digest(Algorithm::Sha256, b"something else");
    let mut ingest = blobs.ingest("ref", 0, None).unwrap();
    ingest.append(b"hello").unwrap();
    let error = ingest.commit(6, None).unwrap_err();
    assert!(
        error.kind() == Kind::FailedPrecondition && error.message().contains("unexpected commit size 5"),
        "{error}"
    );
    let error = blobs.ingest("ref", 0, None).unwrap().commit(5, Some(&wrong)).unwrap_err();
    assert_eq!(error.kind(), Kind::FailedPrecondition, "{error}");
    let mut ingest = blobs.ingest("ref", 0, None).unwrap();
    assert_eq!(ingest.offset(), 5);
    ingest.truncate().unwrap();
    ingest.append(b"something else").unwrap();
    ingest.commit(0, Some(&wrong)).unwrap();
    assert_eq!(blobs.ingest("ref", 0, Some(&wrong)).unwrap_err().kind(), Kind::AlreadyExists);
    // Written again all the same, by one who did not know its digest.
    write(&blobs, "ref", b"something else").unwrap();
    assert!(ingest_dirs(dir.path()).is_empty());
}

#[test]
fn other_algorithms_are_hashed_on_the_way_or_afterwards() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = open(&dir);
    for (algorithm, told) in [(Algorithm::Sha512, true), (Algorithm::Sha384, false)] {
        let expected = digest(algorithm, b"data");
        let mut ingest = blobs.ingest("ref", 0, told.then_some(&expected)).unwrap();
        ingest.append(b"da").unwrap();
        ingest.append(b"ta").unwrap();
        assert_eq!(ingest.commit(0, Some(&expected)).unwrap().digest, expected);
        assert!(dir.path().join("blobs").join(algorithm.as_str()).join(expected.hex()).exists());
    }
}

#[test]
fn an_aborted_ingest_cannot_be_committed() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = open(&dir);
    let mut ingest = blobs.ingest("ref", 0, None).unwrap();
    ingest.append(b"hello").unwrap();
    blobs.abort("ref").unwrap();
    assert!(ingest.commit(0, None).unwrap_err().is_not_found());
    assert!(blobs.abort("ref").unwrap_err().is_not_found());
    assert!(ingest_dirs(dir.path()).is_empty());
    assert_eq!(blobs.ingest("ref", 0, None).unwrap().offset(), 0);
}

#[test]
fn ingests_of_containerd_go_on_and_half_made_ones_go() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("ingest");
    let name = digest(Algorithm::Sha256, b"default/1/ref").hex().to_owned();
    let files = [
        ("ref", "default/1/ref"),
        ("startedat", "2026-11-24T09:10:11.123456789+01:00"),
        ("updatedat", "2026-11-24T09:10:12+01:00"),
        ("total", "10"),
        ("data", "hello"),
    ];
    let make = |dir: &str, files: &[(&str, &str)]| {
        fs::create_dir_all(root.join(dir)).unwrap();
        files.iter().for_each(|(file, text)| fs::write(root.join(dir).join(file), text).unwrap());
    };
    make(&name, &files);
    make("empty", &[]);
    make("wrong-name", &files);
    let torn = digest(Algorithm::Sha256, b"torn").hex().to_owned();
    make(&torn, &[("ref", "torn"), ("startedat", ""), ("updatedat", ""), ("data", "x")]);
    let committed = digest(Algorithm::Sha256, b"committed").hex().to_owned();
    make(&committed, &[("ref", "committed"), ("startedat", files[1].1)]);
    let blobs = open(&dir);
    assert_eq!(ingest_dirs(dir.path()), [root.join(&name)]);
    let status = blobs.status("default/1/ref").unwrap();
    assert_eq!((status.offset, status.total), (5, 10));
    assert_eq!(status.started_at.to_rfc3339(), "2026-11-24T08:10:11.123456789Z");
    // Half made under our eyes: begun anew.
    fs::remove_file(root.join(&name).join("startedat")).unwrap();
    assert_eq!(blobs.ingest("default/1/ref", 0, None).unwrap().offset(), 0);
    // Another size than was said first: another thing.
    blobs.ingest("sized", 5, None).unwrap().append(b"abc").unwrap();
    assert_eq!(blobs.ingest("sized", 6, None).unwrap().offset(), 0);
}

#[test]
fn a_full_disk_stops_a_writer_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let tmpfs = Mount {
        fs_type: "tmpfs".into(),
        source: "tmpfs".into(),
        target: String::new(),
        options: vec!["size=256k".into()],
    };
    let mounted = sys::mount::TempMount::new(&[tmpfs]).unwrap();
    let blobs = Blobs::open(mounted.path()).unwrap();
    let mut ingest = blobs.ingest("ref", 0, None).unwrap();
    ingest.append(&[1; 100_000]).unwrap();
    let error = ingest.append(&[2; 300_000]).unwrap_err();
    assert!(error.to_string().contains("no space left on device"), "{error}");
    assert_eq!(blobs.status("ref").unwrap().offset, 100_000);
    ingest.append(&[3; 1000]).unwrap();
    drop(ingest);
    let mut hog = blobs.ingest("hog", 0, None).unwrap();
    while hog.append(&[0; 4096]).is_ok() {}
    let error = write(&blobs, "more", &[4; 5000]).unwrap_err();
    assert!(error.to_string().contains("no space left on device"), "{error}");
    assert_eq!(blobs.statuses().unwrap().len(), 2, "nothing is left of what could not be begun");
    drop(hog);
    blobs.abort("hog").unwrap();
    let mut expected = vec![1; 100_000];
    expected.extend([3; 1000]);
    let expected = digest(Algorithm::Sha256, &expected);
    blobs.ingest("ref", 0, None).unwrap().commit(101_000, Some(&expected)).unwrap();
    drop(dir);
}

#[test]
fn many_writers_of_the_same_and_of_different_blobs() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = open(&dir);
    thread::scope(|scope| {
        for worker in 0..8 {
            let blobs = &blobs;
            scope.spawn(move || {
                for turn in 0..20 {
                    write(blobs, &format!("same-{worker}"), format!("same {turn}").as_bytes()).unwrap();
                    write(blobs, &format!("own-{worker}"), format!("{worker} {turn}").as_bytes()).unwrap();
                }
            });
        }
    });
    let mut count = 0;
    blobs
        .walk(|name, _| {
            count += u32::from(digest(Algorithm::Sha256, &read(&blobs, &name)) == name);
            Ok(())
        })
        .unwrap();
    assert_eq!(count, 20 + 160);
    assert!(ingest_dirs(dir.path()).is_empty());
}

const VICTIM_ROOT: &str = "CONTENT_TEST_VICTIM_ROOT";

/// What [`killed_writers_lose_nothing_they_were_promised`] kills: not a test by itself.
#[test]
fn victim() {
    let Some(root) = std::env::var_os(VICTIM_ROOT) else { return };
    let blobs = Blobs::open(root).unwrap();
    let blobs = &blobs;
    thread::scope(|scope| {
        for worker in 0..4_usize {
            scope.spawn(move || {
                for turn in 0.. {
                    let data = format!("{worker} {turn} ").repeat(1 + turn * 997 % 20_000);
                    let mut ingest = blobs.ingest(&format!("ref-{worker}"), 0, None).unwrap();
                    // What the one before this left belongs to the same reference; begin anew.
                    ingest.truncate().unwrap();
                    for chunk in data.as_bytes().chunks(4000) {
                        ingest.append(chunk).unwrap();
                    }
                    let committed = ingest.commit(data.len() as u64, None).unwrap();
                    println!("committed {} {}", committed.digest, committed.size);
                }
            });
        }
    });
}

#[test]
fn killed_writers_lose_nothing_they_were_promised() {
    let dir = tempfile::tempdir().unwrap();
    let mut promised: Vec<(Digest, u64)> = Vec::new();
    for round in 0..10 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "content::tests::victim", "--nocapture", "--test-threads=1"])
            .env(VICTIM_ROOT, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut after = 5 + round * 3;
        for line in lines {
            let Ok(line) = line else { break };
            let Some(rest) = line.split("committed ").nth(1) else { continue };
            let Some((digest, size)) = rest.split_once(' ') else { continue };
            promised.push((digest.parse().unwrap(), size.parse().unwrap()));
            after -= 1;
            if after == 0 {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        let blobs = open(&dir);
        for (digest, size) in &promised {
            assert_eq!(blobs.stat(digest).unwrap().size, *size);
        }
        // Whatever else there is is whole, or can be resumed.
        let check = |name, _| {
            assert_eq!(digest(Algorithm::Sha256, &read(&blobs, &name)), name);
            Ok(())
        };
        blobs.walk(check).unwrap();
        for status in blobs.statuses().unwrap() {
            let mut ingest = blobs.ingest(&status.reference, 0, None).unwrap();
            assert_eq!(ingest.offset(), status.offset);
            ingest.append(b"more").unwrap();
        }
        assert_eq!(ingest_dirs(dir.path()).len(), blobs.statuses().unwrap().len());
    }
    assert!(promised.len() >= 100);
    assert!(fs::read_dir(dir.path().join("staging")).unwrap().next().is_none());
}
