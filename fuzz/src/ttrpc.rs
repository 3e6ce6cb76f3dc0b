//! ttrpc: however a stream of bytes is cut, both ends see the same in it, and no more than was sent.

use crate::Target;
use proto::ttrpc::{Decoder, Flags, Frame, Kind, client, server};

/// See the module.
pub const TARGET: Target = Target { name: "ttrpc", seeds: inputs, words: WORDS, run };

const WORDS: &[&str] =
    &["\0\0\0\0", "\0\0\0\u{1}", "\u{7f}\u{7f}\u{7f}\u{7f}", "\u{1}\0", "\u{2}\0", "\u{3}\u{1}", "\u{3}\u{4}"];

fn inputs() -> Vec<Vec<u8>> {
    let frame = |stream, kind, flags, payload: &[u8]| {
        let mut bytes = Vec::new();
        let payload = payload.to_vec().into();
        Frame { stream, kind, flags, payload }.encode(&mut bytes).expect("a small frame");
        bytes
    };
    // A request: service, method, payload, timeout.
    let request = b"\x0a\x01s\x12\x01m\x1a\x03abc\x20\x05\x2a\x06\x0a\x01k\x12\x01v";
    vec![
        [&[3][..], &frame(1, Kind::REQUEST, Flags::NONE, request), &frame(3, Kind::REQUEST, Flags::NONE, request)]
            .concat(),
        [
            &[200][..],
            &frame(1, Kind::REQUEST, Flags::REMOTE_OPEN, request),
            &frame(1, Kind::DATA, Flags::NONE, b"data"),
            &frame(1, Kind::DATA, Flags::REMOTE_CLOSED.with(Flags::NO_DATA), b""),
        ]
        .concat(),
        [&[1][..], &frame(1, Kind::RESPONSE, Flags::NONE, b"\x12\x02ok"), &frame(3, Kind(9), Flags::NONE, b"?")]
            .concat(),
        // Five mebibytes are announced: more than may be sent.
        b"\x07\x00\x50\x00\x00\x00\x00\x00\x01\x01\x00rest".to_vec(),
    ]
}

fn run(data: &[u8]) {
    // The first byte says how the rest is cut.
    let Some((size, bytes)) = data.split_first() else { return };
    let size = usize::from(*size).max(1);
    let frames = decode(bytes, size);
    assert_eq!(frames, decode(bytes, bytes.len().max(1)));
    assert!(frames.iter().flatten().map(|frame| frame.payload.len() + 10).sum::<usize>() <= bytes.len());

    let mut server = server::Connection::default();
    let mut client = client::Connection::default();
    for chunk in bytes.chunks(size) {
        server.receive(chunk);
        while let Some(event) = server.next_event() {
            if let server::Event::Request { stream, request, .. } = event {
                let _ = (request.timeout(), request.metadata_value("k"));
                server.respond(stream, Ok(request.payload));
            }
        }
        client.receive(chunk);
        while client.next_event().is_some() {}
    }
}

fn decode(bytes: &[u8], size: usize) -> Vec<Option<Frame>> {
    let mut decoder = Decoder::default();
    let mut frames = Vec::new();
    for chunk in bytes.chunks(size) {
        decoder.feed(chunk);
        while let Some(frame) = decoder.next_frame() {
            frames.push(frame.ok());
        }
    }
    frames
}
