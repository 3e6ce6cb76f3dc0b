//! A slow way to a registry.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

/// How often bytes are passed on in a second.
const STEPS: u32 = 20;

/// The address of a way to `upstream` that passes on `rate` bytes a second each way, of each connection. It is there as
/// long as the process.
#[must_use]
pub fn slow(upstream: &str, rate: usize) -> String {
    let (listener, upstream) = (TcpListener::bind("127.0.0.1:0").expect("a free port"), upstream.to_owned());
    let address = listener.local_addr().expect("a bound socket").to_string();
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let Ok(server) = TcpStream::connect(&upstream) else { continue };
            let ends = client.try_clone().and_then(|client| Ok((client, server.try_clone()?)));
            let (back, forth) = (ends.expect("a second handle"), (server, client));
            for (to, from) in [back, forth] {
                thread::spawn(move || {
                    // Either may leave at any time.
                    drop(drip(&from, &to, rate));
                    drop(to.shutdown(Shutdown::Write));
                });
            }
        }
    });
    address
}

fn drip(mut from: &TcpStream, mut to: &TcpStream, rate: usize) -> io::Result<()> {
    let mut piece = vec![0; rate / STEPS as usize];
    loop {
        match from.read(&mut piece)? {
            0 => return Ok(()),
            len => to.write_all(&piece[..len])?,
        }
        thread::sleep(Duration::from_secs(1) / STEPS);
    }
}
