//! Properties of the codec over generated frames, and the rules between peers.

use super::*;
use bytes::Bytes;
use model::Error;
use prost::Message as _;

/// xorshift: the same frames in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.below(256)).unwrap()
    }

    fn frame(&mut self) -> Frame {
        let size = [0, 1, 9, 10, 11, 300, 70_000][usize::try_from(self.below(7)).unwrap()];
        Frame {
            stream: u32::try_from(self.below(1 << 32)).unwrap(),
            kind: Kind(self.byte()),
            flags: Flags(self.byte()),
            payload: (0..size).map(|_| self.byte()).collect(),
        }
    }
}

fn drain(decoder: &mut Decoder) -> Vec<Result<Frame, Oversize>> {
    std::iter::from_fn(|| decoder.next_frame()).collect()
}

#[test]
fn frames_survive_any_cut_of_the_stream() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for round in 0..200 {
        let frames: Vec<Frame> = (0..=random.below(6)).map(|_| random.frame()).collect();
        let mut wire = Vec::new();
        for frame in &frames {
            frame.encode(&mut wire).unwrap();
        }
        let (mut decoder, mut seen, mut rest) = (Decoder::default(), Vec::new(), wire.as_slice());
        while !rest.is_empty() {
            let bound = if round % 2 == 0 { 12 } else { 5000 };
            let (now, later) = rest.split_at(usize::try_from(1 + random.below(bound)).unwrap().min(rest.len()));
            decoder.feed(now);
            seen.extend(drain(&mut decoder).into_iter().map(Result::unwrap));
            rest = later;
        }
        assert_eq!(seen, frames);
        assert!(!decoder.is_mid_frame());
    }
}

#[test]
fn noise_never_panics_and_a_connection_answers_or_ignores_it() {
    let mut random = Random(7);
    for _ in 0..300 {
        let (mut server, mut client) = (server::Connection::default(), client::Connection::default());
        for _ in 0..20 {
            let frame = Frame { kind: Kind(random.byte() % 5), ..random.frame() };
            let mut wire = Vec::new();
            frame.encode(&mut wire).unwrap();
            server.receive(&wire);
            client.receive(&wire);
        }
        while server.next_event().is_some() {}
        while client.next_event().is_some() {}
        let noise: Vec<u8> = (0..random.below(100)).map(|_| random.byte()).collect();
        server.receive(&noise);
        while server.next_event().is_some() {}
    }
}

#[test]
fn an_oversize_payload_is_skipped_and_answered_and_the_next_frame_still_arrives() {
    let mut wire = u32::try_from(MAX_PAYLOAD + 5).unwrap().to_be_bytes().to_vec();
    wire.extend_from_slice(&[0, 0, 0, 7, 1, 0]);
    wire.resize(HEADER_LEN + MAX_PAYLOAD + 5, 0xff);
    Frame { stream: 9, kind: Kind::REQUEST, flags: Flags::NONE, payload: Bytes::new() }.encode(&mut wire).unwrap();

    let (mut server, mut events) = (server::Connection::default(), Vec::new());
    for chunk in wire.chunks(65_536) {
        server.receive(chunk);
        events.extend(std::iter::from_fn(|| server.next_event()));
    }
    let [server::Event::Refused(refusal), server::Event::Request { stream: 9, .. }] = events.as_slice() else {
        panic!("{events:?}")
    };
    let error = response(refusal, 7).unwrap_err();
    assert_eq!(error.kind(), model::Kind::ResourceExhausted);
    assert_eq!(error.to_string(), "message length 4194309 exceed maximum message size of 4194304");
}

fn response(bytes: &[u8], expected: u32) -> Result<Bytes, Error> {
    let mut client = client::Connection::default();
    client.receive(bytes);
    match client.next_event() {
        Some(client::Event::Response { stream, result }) if stream == expected => result,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_call_travels_with_its_metadata_and_timeout_and_its_error_comes_back() {
    let request = Request {
        service: "containerd.task.v3.Task".into(),
        method: "State".into(),
        payload: Bytes::from_static(b"\x0a\x01x"),
        timeout_nano: 2_000_000_000,
        metadata: vec![KeyValue { key: NAMESPACE_KEY.into(), value: "default".into() }],
    };
    let (mut client, mut server) = (client::Connection::default(), server::Connection::default());
    let (stream, bytes) = client.call(&request).unwrap();
    server.receive(&bytes);
    let Some(server::Event::Request { stream: seen, request: got, more: false }) = server.next_event() else {
        panic!()
    };
    assert_eq!((seen, &got), (stream, &request));
    assert_eq!(got.metadata_value("Containerd-Namespace-TTRPC"), Some("default"));
    assert_eq!(got.timeout(), Some(std::time::Duration::from_secs(2)));

    let error = Error::not_found("process does not exist x");
    let back = response(&server.respond(stream, Err(&error)), stream).unwrap_err();
    assert_eq!((back.kind(), back.to_string()), (error.kind(), error.to_string()));
    assert_eq!(client.call(&request).unwrap().0, stream + 2);
}

#[test]
fn stream_ids_must_be_odd_and_increase_and_data_needs_an_open_stream() {
    let mut server = server::Connection::default();
    let mut send = |stream, kind, flags| {
        let mut wire = Vec::new();
        Frame { stream, kind, flags, payload: Bytes::new() }.encode(&mut wire).unwrap();
        server.receive(&wire);
        server.next_event()
    };
    let refused = |event, stream| match event {
        Some(server::Event::Refused(bytes)) => response(&bytes, stream).unwrap_err().to_string(),
        other => panic!("{other:?}"),
    };
    assert!(refused(send(2, Kind::REQUEST, Flags::NONE), 2).contains("odd"));
    assert!(matches!(send(3, Kind::REQUEST, Flags::REMOTE_OPEN), Some(server::Event::Request { more: true, .. })));
    assert!(refused(send(3, Kind::REQUEST, Flags::NONE), 3).contains("increment"));
    assert!(refused(send(1, Kind::DATA, Flags::NONE), 1).contains("no longer active"));
    assert!(matches!(
        send(3, Kind::DATA, Flags::NONE),
        Some(server::Event::Data { payload: Some(_), closed: false, .. })
    ));
    let last = send(3, Kind::DATA, Flags::REMOTE_CLOSED.with(Flags::NO_DATA));
    assert!(matches!(last, Some(server::Event::Data { payload: None, closed: true, .. })));
    assert!(refused(send(3, Kind::DATA, Flags::NONE), 3).contains("no longer active"));
    assert!(send(5, Kind(9), Flags(0xff)).is_none(), "kinds of the future are ignored");
}

#[test]
fn a_response_over_the_limit_becomes_an_error_and_a_request_is_refused_before_the_wire() {
    let huge = Bytes::from(vec![0; MAX_PAYLOAD + 1]);
    let mut server = server::Connection::default();
    let error = response(&server.respond(1, Ok(huge.clone())), 1).unwrap_err();
    assert_eq!(error.kind(), model::Kind::ResourceExhausted);
    let mut client = client::Connection::default();
    let request = Request { payload: huge, ..Request::default() };
    assert_eq!(client.call(&request).unwrap_err().kind(), model::Kind::ResourceExhausted);
    assert_eq!(client.call(&Request::default()).unwrap().0, 1, "a refused request uses no id");
}

#[test]
fn every_kind_has_its_grpc_code() {
    for code in 1..=16 {
        let error = error_of(Status { code, message: "x".into(), details: Vec::new() });
        assert_eq!(status_of(&error).code, code);
    }
    assert_eq!(status_of(&Error::failed_precondition("x")).code, 9);
    assert_eq!(error_of(Status { code: 99, ..Status::default() }).kind(), model::Kind::Unknown);
    let malformed = Frame { stream: 1, kind: Kind::RESPONSE, flags: Flags::NONE, payload: Bytes::from_static(b"\xff") };
    let mut wire = Vec::new();
    malformed.encode(&mut wire).unwrap();
    assert_eq!(response(&wire, 1).unwrap_err().kind(), model::Kind::Internal);
    assert!(Request::decode(&b"\xff"[..]).is_err());
}
