//! Configuration files: any text gives a configuration or an error that names the file, and what `config dump` prints
//! is a configuration again.

use crate::{Target, seeds};
use std::fs;

// The daemon is a program, not a library; its configuration stands alone.
#[path = "../../bin/containerd/src/config/mod.rs"]
#[allow(dead_code, unused_imports, unreachable_pub, missing_debug_implementations, reason = "part of another crate")]
mod daemon;

/// See the module.
pub const TARGET: Target = Target { name: "config", seeds: inputs, words: WORDS, run };

const WORDS: &[&str] = &[
    "version = 2\n",
    "version = 3\n",
    "version = 4\n",
    "[plugins]\n",
    "[grpc]\n",
    "[[x]]\n",
    "'io.containerd.gc.v1.scheduler'",
    "= ",
    "\"\"\"",
    "[",
    "]",
    "{",
    "}",
    "true",
    "-1",
    "1e400",
    "1979-05-27",
    "\\",
    ".",
    "address",
    "root",
];

fn inputs() -> Vec<Vec<u8>> {
    seeds(&[
        "",
        "version = 2\nroot = '/r'\n[grpc]\naddress = '/a.sock'\nuid = 1\n[debug]\nlevel = 'debug'\n",
        "version = 3\ndisabled_plugins = ['io.containerd.grpc.v1.cri']\n[plugins.'io.containerd.gc.v1.scheduler']\npause_threshold = 0.02\nstartup_delay = '100ms'\n",
        "version = 2\n[proxy_plugins.remote]\ntype = 'snapshot'\naddress = '/s.sock'\n[timeouts]\n'io.containerd.timeout.shim.load' = '5s'\n[stream_processors.x]\naccepts = ['a']\nreturns = 'b'\npath = 'p'\n",
        "version = 4\n[plugins.'io.containerd.server.v1.grpc']\naddress = '/x'\n",
    ])
}

fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // Importing would read whatever files of this machine the input comes to name.
    if text.contains("imports") || text.contains('\\') {
        return;
    }
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    fs::write(file.path(), text).expect("write configuration");
    let load = || daemon::Loaded::read(file.path(), true);
    let Ok(loaded) = load() else { return };
    let dumped = loaded.render();
    let _ = load().expect("read the second time").into_config();
    fs::write(file.path(), &dumped).expect("write configuration");
    load().unwrap_or_else(|error| panic!("dumped: {error}\n{dumped}\nof: {text}"));
}
