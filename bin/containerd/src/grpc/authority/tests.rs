use super::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const PREFACE_BYTES: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    frame.extend_from_slice(&[kind, flags, 0, 0, 0, stream]);
    frame.extend_from_slice(payload);
    frame
}

/// Indexed `:method`, `:authority` as a literal with indexing, then a literal without.
fn block(authority: &[u8], huffman: bool) -> Vec<u8> {
    let mut block = vec![0x83, 0x41, u8::from(huffman) << 7 | u8::try_from(authority.len()).unwrap()];
    block.extend_from_slice(authority);
    block.extend_from_slice(b"\x00\x01x\x01y");
    block
}

/// What comes out when `input` arrives in pieces of `piece` bytes.
async fn filtered(input: &[u8], piece: usize) -> io::Result<Vec<u8>> {
    let (mut client, server) = tokio::io::duplex(piece);
    let input = input.to_vec();
    let writer = tokio::spawn(async move {
        for bytes in input.chunks(piece) {
            if client.write_all(bytes).await.is_err() {
                return;
            }
        }
    });
    let mut out = Vec::new();
    let result = Filter::new(server).read_to_end(&mut out).await;
    writer.await.unwrap();
    result.map(|_| out)
}

#[tokio::test]
async fn a_socket_path_becomes_a_valid_authority_of_the_same_length() {
    let path = b"%2Frun%2Fcontainerd%2Fcontainerd.sock";
    let data = frame(0, 0, 1, &vec![7; 16_000]);
    for (flags, prefix, suffix) in
        [(END_HEADERS, vec![], vec![]), (END_HEADERS | PADDED | PRIORITY, vec![2, 0, 0, 0, 0, 9], vec![0, 0])]
    {
        let payload = [prefix.clone(), block(path, false), suffix].concat();
        let input =
            [PREFACE_BYTES.to_vec(), frame(4, 0, 0, &[]), frame(HEADERS, flags, 1, &payload), data.clone()].concat();
        let kept = prefix.get(1..).unwrap_or_default();
        let expected = [kept.to_vec(), block(&[FILLER; 37], false)].concat();
        let expected =
            [PREFACE_BYTES.to_vec(), frame(4, 0, 0, &[]), frame(HEADERS, flags & !PADDED, 1, &expected), data.clone()]
                .concat();
        for piece in [1, 10, 4096, 100_000] {
            assert_eq!(filtered(&input, piece).await.unwrap(), expected, "{piece}");
        }
    }
}

const FILLER: u8 = b'a';

#[tokio::test]
async fn valid_requests_pass_byte_for_byte() {
    let mut input = PREFACE_BYTES.to_vec();
    for authority in [&b"localhost"[..], b"127.0.0.1:80", b""] {
        input.extend(frame(HEADERS, END_HEADERS, 1, &block(authority, false)));
        input.extend(frame(0, 1, 1, b"hello"));
    }
    for piece in [1, 9, 100_000] {
        assert_eq!(filtered(&input, piece).await.unwrap(), input);
    }
}

#[tokio::test]
async fn a_whole_request_is_handed_on_though_nothing_follows() {
    let (mut client, server) = tokio::io::duplex(4096);
    let input = [PREFACE_BYTES.to_vec(), frame(HEADERS, END_HEADERS, 1, &block(b"a/b", false))].concat();
    client.write_all(&input).await.unwrap();
    // The client keeps the connection open and waits for its answer.
    let mut out = vec![0; input.len()];
    Filter::new(server).read_exact(&mut out).await.unwrap();
    assert!(out.ends_with(&block(b"aaa", false)));
}

#[tokio::test]
async fn huffman_and_continuations_are_understood() {
    // "/x" in Huffman code: 011000 1111001, padded with ones.
    let block = block(&[0b0110_0011, 0b1110_0111], true);
    let (first, second) = block.split_at(4);
    let input = [
        PREFACE_BYTES.to_vec(),
        frame(HEADERS, 1, 3, first),
        frame(CONTINUATION, 0, 3, &second[..1]),
        frame(CONTINUATION, END_HEADERS, 3, &second[1..]),
    ]
    .concat();
    // "aa": 00011 00011, padded with ones.
    let expected = [0x83, 0x41, 0x82, 0b0001_1000, 0b1111_1111, 0, 1, b'x', 1, b'y'];
    let expected = [PREFACE_BYTES.to_vec(), frame(HEADERS, 1 | END_HEADERS, 3, &expected)].concat();
    for piece in [1, 100_000] {
        assert_eq!(filtered(&input, piece).await.unwrap(), expected);
    }
}

#[tokio::test]
async fn broken_or_endless_headers_end_the_connection() {
    let preface = PREFACE_BYTES.to_vec();
    let endless: Vec<u8> = (0..20).flat_map(|_| frame(CONTINUATION, 0, 1, &[0x83; 16_384])).collect();
    for (bad, why) in [
        (frame(HEADERS, END_HEADERS, 1, &[0x41, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff]), "decode"),
        (frame(HEADERS, END_HEADERS, 1, &[0x41, 9, b'x']), "decode"),
        (frame(HEADERS, END_HEADERS | PADDED, 1, &[9, 1]), "too short"),
        (frame(CONTINUATION, END_HEADERS, 1, &[0x83]), "out of order"),
        (vec![0xff, 0xff, 0xff, HEADERS, 0, 0, 0, 0, 1], "too large"),
        ([frame(HEADERS, 0, 1, &[0x83]), endless].concat(), "too large"),
        ([frame(HEADERS, 0, 1, &[0x83]), frame(0, 0, 1, &[0])].concat(), "out of order"),
        (vec![0, 0, 9, HEADERS], "end of file"),
    ] {
        let error = filtered(&[preface.clone(), bad].concat(), 100_000).await.unwrap_err().to_string();
        assert!(error.contains(why), "{why}: {error}");
    }
}
