//! Makes [`tests::steps`] one after the other until its power is cut, and says on the console which
//! are acknowledged: `make-steps SOCKET`.
#![allow(clippy::print_stdout, clippy::expect_used, reason = "its output is what the test reads")]

use std::path::Path;
use std::time::Duration;

use tests::api::Api;

fn main() {
    let socket = std::env::args().nth(1).expect("make-steps SOCKET");
    let api = loop {
        match Api::dial(Path::new(&socket), "steps") {
            Ok(api) if api.is_serving() => break api,
            _ => std::thread::sleep(Duration::from_millis(100)),
        }
    };
    println!("SERVING");
    for number in 0.. {
        if let Err(status) = tests::steps::make(&api, number) {
            println!("FAILED {number}: {status}");
            std::process::exit(1);
        }
        println!("DONE {number}");
    }
}
