//! Containers as images and back, by our ctr on either daemon. Their processes are left out: CRIU does not work on
//! every kernel.

use tests::bed::BUSYBOX;
use tests::{Bed, Daemon, Impl, eventually, image, rows};

rows!(what_a_container_has_written: our_ctr(Ours Ours Ours) go_daemon_our_ctr(Go Go Ours));

fn what_a_container_has_written(bed: &mut Bed) {
    let (image, ctr) = (bed.import(), bed.ctr());
    ctr.ok(&format!("run -d --null-io --env A=b {image} first sleep 1000"));
    ctr.ok("tasks exec --exec-id e1 first sh -c 'echo kept > /tmp/note'");
    ctr.ok("containers checkpoint --rw --image first example.com/checkpoint:1");
    assert!(ctr.ok("tasks ls").contains("RUNNING"), "it goes on");
    assert!(ctr.fails("containers checkpoint --rw first example.com/checkpoint:1").contains("already exists"));
    assert!(ctr.ok("tasks ls").contains("RUNNING"), "also after a failure");
    let index = ctr.ok("images ls name==example.com/checkpoint:1");
    assert!(index.contains(image::media::INDEX), "{index}");

    ctr.ok("tasks kill -s KILL first");
    eventually("the container to stop", || ctr.ok("tasks ls").contains("STOPPED"));
    ctr.ok("tasks rm first");
    ctr.ok("containers rm first");
    // What the checkpoint holds is held by it alone.
    ctr.ok("leases create --id sync x=y");
    ctr.ok("leases rm --sync sync");

    ctr.ok("containers restore --rw second example.com/checkpoint:1");
    assert_eq!(ctr.ok("tasks exec --exec-id e2 second cat /tmp/note"), "kept\n");
    assert_eq!(ctr.ok("tasks exec --exec-id e3 second sh -c 'echo $A'"), "b\n");
    ctr.ok("tasks kill -s KILL second");
    eventually("the container to stop", || ctr.ok("tasks ls").contains("STOPPED"));
    ctr.ok("tasks rm second");
    ctr.ok("containers rm second");

    // Without --rw it begins as its image does.
    ctr.ok("containers restore third example.com/checkpoint:1");
    ctr.ok("tasks exec --exec-id e4 third sh -c 'test ! -e /tmp/note'");
    ctr.ok("tasks kill -s KILL third");
    eventually("the container to stop", || ctr.ok("tasks ls").contains("STOPPED"));
    ctr.ok("tasks rm third");
    ctr.ok("containers rm third");

    let snapshots = ctr.names("snapshots ls").len();
    let error = ctr.fails("containers restore --live fourth example.com/checkpoint:1");
    assert!(error.contains("criu.checkpoint"), "{error}");
    assert!(ctr.fails(&format!("containers restore fourth {BUSYBOX}")).contains(BUSYBOX));
    assert!(ctr.fails("containers restore fourth example.com/absent:1").contains("absent:1"));
    assert_eq!(ctr.names("snapshots ls").len(), snapshots, "nothing half made is left");
    assert!(ctr.names("containers ls").is_empty() && ctr.names("leases ls").is_empty());
}

/// Our checkpoint, restored by Go's ctr; and what Go's leaves of a container without its processes.
#[test]
fn checkpoints_are_exchanged_with_gos_ctr() {
    for which in [Impl::Go, Impl::Ours] {
        let daemon = Daemon::apart(which);
        let ctr = daemon.ctr(Impl::Ours);
        ctr.ok(&format!("images import --local {}", image::busybox_archive().display()));
        ctr.ok(&format!("run -d --null-io --env A=b {BUSYBOX} first sleep 1000"));
        ctr.ok("tasks exec --exec-id e1 first sh -c 'echo kept > /tmp/note'");
        ctr.ok("containers checkpoint --rw --image first example.com/ours:1");
        let made = daemon.ctr_beside(Impl::Go, "containers checkpoint --rw --image first example.com/go:1");
        assert_eq!(made.code, 0, "{made:?}");
        let end = |id: &str| {
            ctr.ok(&format!("tasks kill -s KILL {id}"));
            eventually("the container to stop", || ctr.ok("tasks ls").contains("STOPPED"));
            ctr.ok(&format!("tasks rm {id}"));
            ctr.ok(&format!("containers rm {id}"));
        };
        end("first");
        let restored = daemon.ctr_beside(Impl::Go, "containers restore --rw second example.com/ours:1");
        assert_eq!(restored.code, 0, "{restored:?}");
        assert_eq!(ctr.ok("tasks exec --exec-id e2 second cat /tmp/note"), "kept\n");
        assert_eq!(ctr.ok("tasks exec --exec-id e3 second sh -c 'echo $A'"), "b\n");
        end("second");
        // Without --task Go's has no spec, and nobody can restore it; but we say so.
        let refused = ctr.fails("containers restore --rw third example.com/go:1");
        assert!(refused.contains("example.com/go:1") && refused.contains("checkpoint.config"), "{refused}");
        assert!(ctr.names("containers ls").is_empty());
        ctr.ok(&format!("images rm --sync example.com/ours:1 example.com/go:1 {BUSYBOX}"));
        daemon.finish();
    }
}
