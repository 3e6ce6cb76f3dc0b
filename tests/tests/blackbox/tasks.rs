//! Containers through ctr: run, exec, kill, pause, exit codes, terminals, what is listed while they live.

use tests::{Bed, matrix};

matrix! { tasks: attached, }

fn attached(bed: &mut Bed) {
    let image = bed.import();
    let ctr = bed.ctr();
    let out = ctr.ok(&format!("run --rm {image} hello echo 'hello there'"));
    assert_eq!(out, "hello there\n");
    let out = ctr.run(&format!("run --rm {image} code sh -c 'echo bad >&2; exit 7'"));
    assert_eq!((out.code, out.stdout.as_str(), out.stderr.contains("bad\n")), (7, "", true));
    assert_eq!(ctr.names("containers ls"), [""; 0]);
}
