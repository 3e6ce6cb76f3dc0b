//! A blocking ttrpc client.

use bytes::Bytes;
use model::Result;
use prost::Message;
use proto::ttrpc::client::{Connection, Event};
use proto::ttrpc::{KeyValue, NAMESPACE_KEY, Request};
use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

pub struct Client {
    pub socket: UnixStream,
    wire: Connection,
    arrived: HashMap<u32, Result<Bytes>>,
}

impl Client {
    pub fn connect(path: &Path) -> Self {
        let socket = UnixStream::connect(path).unwrap();
        socket.set_read_timeout(Some(super::SOON)).unwrap();
        Self { socket, wire: Connection::default(), arrived: HashMap::new() }
    }

    /// Calls `method` and waits for the answer.
    pub fn call<M: Message + Default>(&mut self, method: &str, request: &impl Message) -> Result<M> {
        let stream = self.send(method, request);
        self.receive(stream)
    }

    /// Calls `method`; the answer is for [`Self::receive`].
    pub fn send(&mut self, method: &str, request: &impl Message) -> u32 {
        self.send_to("containerd.task.v3.Task", method, request)
    }

    pub fn send_to(&mut self, service: &str, method: &str, request: &impl Message) -> u32 {
        self.send_for(Duration::ZERO, service, method, request)
    }

    /// [`Self::send_to`] for a caller who gives up after `timeout`, if that is not zero.
    pub fn send_for(&mut self, timeout: Duration, service: &str, method: &str, request: &impl Message) -> u32 {
        let request = Request {
            service: service.into(),
            method: method.into(),
            payload: request.encode_to_vec().into(),
            timeout_nano: i64::try_from(timeout.as_nanos()).unwrap(),
            metadata: vec![KeyValue { key: NAMESPACE_KEY.into(), value: super::NAMESPACE.into() }],
        };
        let (stream, bytes) = self.wire.call(&request).unwrap();
        self.socket.write_all(&bytes).unwrap();
        stream
    }

    pub fn receive<M: Message + Default>(&mut self, stream: u32) -> Result<M> {
        let mut buffer = [0; 4096];
        loop {
            if let Some(result) = self.arrived.remove(&stream) {
                return result.map(|bytes| M::decode(bytes).unwrap());
            }
            while let Some(event) = self.wire.next_event() {
                let Event::Response { stream, result } = event else { panic!("{event:?}") };
                self.arrived.insert(stream, result);
            }
            if !self.arrived.contains_key(&stream) {
                let count = self.socket.read(&mut buffer).unwrap();
                assert_ne!(count, 0, "the shim closed the connection");
                self.wire.receive(&buffer[..count]);
            }
        }
    }
}
