//! A registry of the tests that takes its time.

use crate::{
    fake::{Asked, answer, content_of},
    image::Image,
    registry::refuse_tls,
};
use model::Digest;
use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::Duration,
};

/// Holds back what comes by until it is opened.
#[derive(Default)]
pub struct Gate(Mutex<bool>, Condvar);

impl Gate {
    pub fn wait(&self) {
        drop(self.1.wait_while(self.0.lock().unwrap(), |open| !*open).unwrap());
    }

    /// Waits no longer than `time`; says whether it is open.
    pub fn wait_for(&self, time: Duration) -> bool {
        *self.1.wait_timeout_while(self.0.lock().unwrap(), time, |open| !*open).unwrap().0
    }

    pub fn open(&self) {
        *self.0.lock().unwrap() = true;
        self.1.notify_all();
    }
}

/// How it sends a blob while its gate is closed.
#[derive(Clone, Debug)]
pub struct Crawl {
    /// The blob.
    pub digest: Digest,
    /// So many bytes at once,
    pub first: usize,
    /// then one byte each time.
    pub every: Duration,
}

pub struct Slow {
    address: String,
    pub gate: Arc<Gate>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Slow {
    /// Serves `images` by their tags in any repository; some of their blobs slowly.
    pub fn start(images: &[(&str, &Image)], crawls: Vec<Crawl>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (gate, asked) = (Arc::new(Gate::default()), Arc::default());
        let content = content_of(images);
        let slow = Self { address, gate: Arc::clone(&gate), asked: Arc::clone(&asked) };
        let serve = Arc::new(move |mut stream: TcpStream| {
            let Some(request) = request(&mut stream) else { return };
            asked.lock().unwrap().push(request.clone());
            let reply = answer(&request, &content, &|_, _| None);
            let crawl = crawls.iter().find(|crawl| request.what == format!("blobs/{}", crawl.digest));
            let Some(crawl) = crawl.filter(|_| request.method == "GET") else { return drop(stream.write_all(&reply)) };
            let head = reply.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
            let mut sent = (head + crawl.first).min(reply.len());
            let mut passed = stream.write_all(&reply[..sent]).is_ok();
            while passed && sent < reply.len() {
                let more = if gate.wait_for(crawl.every) { reply.len() } else { sent + 1 };
                passed = stream.write_all(&reply[sent..more]).is_ok();
                sent = more;
            }
        });
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let serve = Arc::clone(&serve);
                thread::spawn(move || serve(stream));
            }
        });
        slow
    }

    pub fn reference(&self, tag: &str) -> String {
        format!("{}/app:{tag}", self.address)
    }

    /// How often the blob was asked for.
    pub fn gets(&self, digest: &Digest) -> usize {
        let path = format!("blobs/{digest}");
        self.asked.lock().unwrap().iter().filter(|asked| asked.method == "GET" && asked.what == path).count()
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        self.gate.open();
    }
}

fn request(stream: &mut TcpStream) -> Option<Asked> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) if head.is_empty() && !byte[0].is_ascii_uppercase() => {
                refuse_tls(stream);
                return None;
            }
            Ok(1) => head.push(byte[0]),
            _ => return None,
        }
    }
    Some(Asked::parse(&String::from_utf8_lossy(&head)))
}
