//! A port of the machine's loopback in the loopback of another network namespace.

use std::fs::File;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::process::Command;
use std::thread;

use rustix::net::{Shutdown as Half, shutdown};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Ends with it; connections end with their clients.
pub(crate) struct Forward {
    listener: TcpListener,
    accepting: Option<thread::JoinHandle<()>>,
}

impl Forward {
    /// Whoever connects to `address` in the network namespace of process `pid` reaches `address` in ours.
    pub(crate) fn into_namespace_of(pid: u32, address: SocketAddr) -> Self {
        let namespace = format!("/proc/{pid}/ns/net");
        let mut nsenter = Command::new("nsenter");
        nsenter.arg(format!("--net={namespace}")).args(["ip", "link", "set", "lo", "up"]);
        assert!(nsenter.status().unwrap().success(), "no loopback in the network namespace of {pid}");
        let namespace = File::open(namespace).unwrap();
        // A socket stays in the namespace it was made in; the thread that made it ends there.
        let bound = thread::spawn(move || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            TcpListener::bind(address).unwrap()
        });
        let listener = bound.join().unwrap();
        let from = listener.try_clone().unwrap();
        let accepting = thread::spawn(move || {
            while let Ok((client, _)) = from.accept() {
                thread::spawn(move || TcpStream::connect(address).map(|server| join(&client, &server)));
            }
        });
        Self { listener, accepting: Some(accepting) }
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        // An accept that waits ends with it.
        let _ = shutdown(&self.listener, Half::Both);
        drop(self.accepting.take().map(thread::JoinHandle::join));
    }
}

/// Carries bytes both ways until both sides have ended.
fn join(client: &TcpStream, server: &TcpStream) {
    let carry = |mut from: &TcpStream, mut to: &TcpStream| {
        drop(io::copy(&mut from, &mut to));
        drop(to.shutdown(Shutdown::Write));
    };
    thread::scope(|scope| {
        scope.spawn(|| carry(client, server));
        carry(server, client);
    });
}
