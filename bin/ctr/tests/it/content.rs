//! Ingests that are in each other's way, or that somebody else began.

use crate::with_ctr;
use std::io::Write as _;
use std::process::Stdio;
use tests::api::Api;
use tests::content::{stat, write};
use tests::image::digest;

#[test]
fn a_locked_ingest_is_waited_for() {
    with_ctr(|_, ctr| {
        let start = || ctr.command("content ingest shared").stdin(Stdio::piped()).spawn().unwrap();
        let mut first = start();
        tests::eventually("the first to hold the ingest", || ctr.ok("content active").contains("shared"));
        let mut second = start();
        second.stdin.take().unwrap().write_all(b"two").unwrap();
        std::thread::sleep(std::time::Duration::from_millis(300));
        assert!(second.try_wait().unwrap().is_none(), "the second waits");
        first.stdin.take().unwrap().write_all(b"one").unwrap();
        for child in [first, second] {
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        for content in [b"one", b"two"] {
            assert_eq!(ctr.ok(&format!("content get {}", digest(content))).as_bytes(), content);
        }
    });
}

#[test]
fn an_ingest_goes_on_where_it_ended() {
    with_ctr(|daemon, ctr| {
        let api = Api::connect(&daemon.socket(), daemon.namespace());
        let whole = b"the first half, the second half";
        let ingest = format!("content ingest --expected-digest {} --expected-size {} r", digest(whole), whole.len());
        // What is there is taken as the beginning, even if it is wrong; then it is given up, and not tried again.
        api.write(vec![stat("r"), write("r", 0, b"THE FIRST HALF,")]).unwrap();
        let mut child = ctr.command(&ingest).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(whole).unwrap();
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && stderr.contains(&digest(whole)), "{stderr}");
        assert!(!ctr.ok("content active").contains("r\t"), "the bad ingest is gone");

        api.write(vec![stat("r"), write("r", 0, b"the first half,")]).unwrap();
        ctr.feed(&ingest, whole);
        assert_eq!(ctr.ok(&format!("content get {}", digest(whole))).as_bytes(), whole);
        // Once more: it exists, which is as good.
        ctr.feed(&ingest, whole);
    });
}

#[test]
fn a_blob_is_edited_into_another() {
    with_ctr(|_, ctr| {
        ctr.feed("content ingest before", b"old text\n");
        let edited = ctr.ok(&format!("content edit --editor 'sed -i s/old/new/' {}", digest(b"old text\n")));
        assert_eq!(edited.trim_end(), digest(b"new text\n"));
        assert_eq!(ctr.ok(&format!("content get {}", edited.trim_end())), "new text\n");
    });
}
