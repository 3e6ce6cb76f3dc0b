//! Clients of other languages: Python's, on gRPC's C core, which sends the socket's path as `:authority`.

use std::process::Command;

use tests::{Bed, matrix, rows};

matrix! { wire: python_client }
rows! { reflection: ours(Ours Ours Go) }

/// Runs a script of `tests/python` and answers what it printed.
fn python(bed: &Bed, script: &str) -> String {
    let python = tests::programs::target_dir().join("venv/bin/python");
    assert!(python.exists(), "{} does not exist: `make test` makes it", python.display());
    let script = tests::programs::workspace_dir().join("tests/python").join(script);
    let mut command = Command::new("timeout");
    command
        .arg(tests::PATIENCE.as_secs().to_string())
        .arg(python)
        .arg(script)
        .arg(bed.daemon.socket())
        .arg(bed.daemon.namespace());
    let out = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(out.status.success(), "{}\n{}", text(&out.stdout), text(&out.stderr));
    text(&out.stdout)
}

fn python_client(bed: &mut Bed) {
    let image = bed.import();
    bed.ctr().ok(&format!("containers create {image} seen-from-python true"));
    let printed = python(bed, "list.py");
    let namespace = bed.daemon.namespace();
    assert!(printed.contains(&format!("namespace {namespace}\n")), "{printed}");
    assert!(printed.contains(&format!("container seen-from-python {image}\n")), "{printed}");
    assert!(printed.contains(&format!("image {image}\n")), "{printed}");
    assert!(printed.contains("refused NOT_FOUND"), "{printed}");
    bed.ctr().ok("containers rm seen-from-python");
}

fn reflection(bed: &mut Bed) {
    let printed = python(bed, "reflection.py");
    for service in [
        "containers",
        "content",
        "diff",
        "events",
        "images",
        "introspection",
        "leases",
        "namespaces",
        "snapshots",
        "tasks",
        "version",
    ] {
        let prefix = format!("service containerd.services.{service}.v1.");
        assert!(printed.contains(&prefix), "{service} is not among:\n{printed}");
    }
    assert!(printed.contains("file of containerd.services.images.v1.Images: "), "{printed}");
}
