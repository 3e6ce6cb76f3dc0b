//! A registry of the tests that takes uploads and breaks them as told: it keeps what came before. Or it answers late.

use crate::{image::digest, registry::refuse_tls};
use std::{
    collections::{HashMap, VecDeque},
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex},
    thread,
};

#[derive(Default)]
struct State {
    /// By path below `/v2/app/`.
    content: HashMap<String, Vec<u8>>,
    /// By number.
    uploads: Vec<Option<Vec<u8>>>,
    /// After how many bytes of a body the connection breaks, each once.
    breaks: VecDeque<usize>,
    /// Whether an upload that broke is forgotten.
    forgets: bool,
    asked: Vec<String>,
    received: usize,
    /// How many blobs must have come whole before any of them is answered.
    holds: usize,
    whole: usize,
    arrived: Arc<Condvar>,
    /// Uploads begun and not ended: now, and the most at a time.
    begun: usize,
    most: usize,
}

pub struct Uploads {
    address: String,
    state: Arc<Mutex<State>>,
}

impl Uploads {
    pub fn start(breaks: &[usize], forgets: bool) -> Self {
        Self::with(State { breaks: breaks.iter().copied().collect(), forgets, ..State::default() })
    }

    /// One that answers no blob until `holds` have come whole.
    pub fn holding(holds: usize) -> Self {
        Self::with(State { holds, ..State::default() })
    }

    fn with(state: State) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let state = Arc::clone(&shared);
                thread::spawn(move || while serve(&client, &state).is_ok() {});
            }
        });
        Self { address, state }
    }

    pub fn reference(&self) -> String {
        format!("{}/app:v1", self.address)
    }

    /// What arrived whole under `path` below `/v2/app/`.
    pub fn content(&self, path: &str) -> Option<Vec<u8>> {
        self.state.lock().unwrap().content.get(path).cloned()
    }

    /// Requests that begin, ask for or add to uploads, and that put documents, in their order.
    pub fn asked(&self) -> Vec<String> {
        self.state.lock().unwrap().asked.clone()
    }

    /// The most uploads that were on their way at a time.
    pub fn most(&self) -> usize {
        self.state.lock().unwrap().most
    }

    /// Bytes of blobs received, also of those that broke.
    pub fn received(&self) -> usize {
        self.state.lock().unwrap().received
    }
}

/// Answers one request; an error ends the connection.
fn serve(client: &TcpStream, state: &Mutex<State>) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(1, client.try_clone()?);
    let (mut first, mut headers) = (String::new(), HashMap::new());
    if reader.read_line(&mut first).is_err() || !first.starts_with(|c: char| c.is_ascii_uppercase()) {
        refuse_tls(client);
        return Err(io::ErrorKind::InvalidData.into());
    }
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let Some((name, value)) = line.trim().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let mut words = first.split_whitespace();
    let (method, url) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    let path = path.trim_start_matches("/v2/app/");
    let length: usize = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let number = path.strip_prefix("blobs/uploads/").and_then(|number| number.parse::<usize>().ok());

    let breaks_after = {
        let mut state = state.lock().unwrap();
        let due = number.is_some() && state.breaks.front().is_some_and(|after| *after < length);
        if due { state.breaks.pop_front() } else { None }
    };
    let mut body = vec![0; breaks_after.unwrap_or(length)];
    reader.read_exact(&mut body)?;
    let mut state = state.lock().unwrap();
    let Some(number) = number else { return other(client, &mut state, method, path, body) };
    state.received += body.len();
    state.asked.push(format!("{method} {}", headers.get("content-range").map_or("", String::as_str)).trim().to_owned());
    let Some(mut bytes) = state.uploads[number].take() else { return answer(client, "404 Not Found", "") };
    bytes.extend_from_slice(&body);
    if breaks_after.is_some() {
        state.uploads[number] = (!state.forgets).then_some(bytes);
        client.shutdown(std::net::Shutdown::Both)?;
        return Err(io::ErrorKind::ConnectionAborted.into());
    }
    if method == "PUT" {
        let expected = query.trim_start_matches("digest=").replace("%3A", ":");
        assert_eq!(digest(&bytes).as_str(), expected, "what was put together");
        state.content.insert(format!("blobs/{expected}"), bytes);
        state.whole += 1;
        let arrived = Arc::clone(&state.arrived);
        arrived.notify_all();
        state = arrived.wait_while(state, |state| state.whole < state.holds).unwrap();
        state.begun -= 1;
        return answer(client, "201 Created", "");
    }
    let range = format!("location: /v2/app/blobs/uploads/{number}\r\nrange: 0-{}\r\n", bytes.len().saturating_sub(1));
    state.uploads[number] = Some(bytes);
    answer(client, if method == "GET" { "204 No Content" } else { "202 Accepted" }, &range)
}

/// Everything but the bytes of uploads.
fn other(client: &TcpStream, state: &mut State, method: &str, path: &str, body: Vec<u8>) -> io::Result<()> {
    match method {
        "POST" => {
            state.asked.push("POST".to_owned());
            state.uploads.push(Some(Vec::new()));
            state.begun += 1;
            state.most = state.most.max(state.begun);
            let location = format!("location: /v2/app/blobs/uploads/{}\r\n", state.uploads.len() - 1);
            answer(client, "202 Accepted", &location)
        }
        "PUT" => {
            state.asked.push(format!("PUT {path}"));
            state.content.insert(path.to_owned(), body);
            answer(client, "201 Created", "")
        }
        _ if state.content.contains_key(path) => answer(client, "200 OK", ""),
        _ => answer(client, "404 Not Found", ""),
    }
}

fn answer(mut client: &TcpStream, status: &str, headers: &str) -> io::Result<()> {
    // No content has no length either.
    let length = if status.starts_with("204") { "" } else { "content-length: 0\r\n" };
    client.write_all(format!("HTTP/1.1 {status}\r\n{headers}{length}\r\n").as_bytes())
}
