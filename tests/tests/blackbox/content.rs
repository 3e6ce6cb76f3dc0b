//! The content store through ctr and as it lies on disk.

use std::fs;

use tests::image::digest;
use tests::{Bed, matrix};

matrix! { storage: ingest_and_get, expectations, labels, removal, on_disk, active_ingests }

fn ingest_and_get(bed: &mut Bed) {
    let ctr = bed.ctr();
    let bytes = "some bytes\n".repeat(300_000);
    ctr.feed("content ingest first", bytes.as_bytes());
    let digest = digest(bytes.as_bytes());
    assert_eq!(ctr.ok(&format!("content get {digest}")), bytes);
    let table = ctr.ok("content ls");
    let head: Vec<&str> = table.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(head, ["DIGEST", "SIZE", "AGE", "LABELS"]);
    assert!(table.lines().nth(1).unwrap().starts_with(&digest), "{table}");
    // The same bytes once more, under another ref: already there is as good as written.
    ctr.feed("content ingest second", bytes.as_bytes());
    assert_eq!(ctr.ok("content ls -q"), format!("{digest}\n"));
}

fn expectations(bed: &mut Bed) {
    let ctr = bed.ctr();
    let right = digest(b"hello");
    ctr.feed(&format!("content ingest --expected-size 5 --expected-digest {right} good"), b"hello");
    let wrong = digest(b"other");
    let child = ctr
        .command(&format!("content ingest --expected-digest {wrong} bad"))
        .stdin(std::process::Stdio::piped())
        .spawn();
    let out = tests::ctr::output(child.unwrap(), b"something");
    assert_ne!(out.code, 0);
    assert!(out.stderr.contains(&wrong) || out.stderr.contains(&digest(b"something")), "{out:?}");
    let child = ctr.command("content ingest --expected-size 7 short").stdin(std::process::Stdio::piped()).spawn();
    assert_ne!(tests::ctr::output(child.unwrap(), b"abc").code, 0);
    assert_eq!(ctr.ok("content ls -q"), format!("{right}\n"));
}

fn labels(bed: &mut Bed) {
    let ctr = bed.ctr();
    ctr.feed("content ingest blob", b"labelled");
    let digest = digest(b"labelled");
    ctr.ok(&format!("content label {digest} colour=green containerd.io/gc.root=now"));
    assert!(ctr.ok("content ls").contains("colour=green"));
    assert_eq!(ctr.ok("content ls -q labels.colour==green"), format!("{digest}\n"));
    assert_eq!(ctr.ok("content ls -q labels.colour==blue"), "");
    ctr.ok(&format!("content label {digest} colour="));
    assert!(!ctr.ok("content ls").contains("colour"));
}

fn removal(bed: &mut Bed) {
    let ctr = bed.ctr();
    ctr.feed("content ingest blob", b"short-lived");
    let digest = digest(b"short-lived");
    ctr.ok(&format!("content rm {digest}"));
    assert_eq!(ctr.ok("content ls -q"), "");
    assert!(ctr.fails(&format!("content get {digest}")).contains("not found"));
    ctr.fails("content get sha256:nonsense");
}

fn on_disk(bed: &mut Bed) {
    use std::os::unix::fs::MetadataExt as _;
    bed.ctr().feed("content ingest blob", b"on disk");
    let store = bed.daemon.root().join("io.containerd.content.v1.content");
    let path = store.join("blobs/sha256").join(&digest(b"on disk")[7..]);
    assert_eq!(fs::read(&path).unwrap(), b"on disk");
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o444);
    assert!(tests::leaks::entries(&store.join("ingest")).is_empty(), "a committed ingest leaves no directory");
}

fn active_ingests(bed: &mut Bed) {
    use std::io::Write as _;
    let ctr = bed.ctr();
    let mut child = ctr.command("content ingest slow").stdin(std::process::Stdio::piped()).spawn().unwrap();
    child.stdin.as_mut().unwrap().write_all(&vec![b'x'; 3 << 20]).unwrap();
    tests::eventually("the ingest to be listed", || ctr.ok("content active").contains("slow"));
    let out = tests::ctr::output(child, b"");
    assert_eq!(out.code, 0, "{out:?}");
    assert!(!ctr.ok("content active").contains("slow"));
}
