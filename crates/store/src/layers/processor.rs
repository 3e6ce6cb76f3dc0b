//! Stream processors: programs that turn a blob of some other media type into a layer, decryption for instance.
//!
//! ```text
//!   stream ─▶ stdin [program] stdout ─▶ stdin [program] stdout ─▶ layer
//!                      │ 3: payload, stderr: why it failed
//! ```
//!
//! Programs are chained until one returns a media type that [`Compression::of`] knows.

use super::{
    media_type::Compression,
    options::{ApplyOptions, StreamProcessor},
    pipeline::Summed,
};
use crate::content::Hasher;
use model::{Any, Error, Result};
use rustix::pipe::{PipeFlags, pipe_with};
use std::{
    fs::File,
    io::{self, Read, Write},
    process::{Child, ChildStdout, Command, Stdio},
    thread,
    time::{Duration, Instant},
};
use sys::process::Extras;

/// Most programs one layer goes through: more is a configuration that goes round in circles.
const MAX_CHAIN: usize = 16;
/// Most bytes of a program's stderr that go into the error.
const MAX_STDERR: usize = 4096;
/// How long a program may take to exit once it has written everything.
const EXIT_WITHIN: Duration = Duration::from_secs(10);

/// The programs a blob of `media_type` has to go through, and what comes out of the last.
pub(super) fn chain<'o>(
    media_type: &str,
    options: &'o ApplyOptions,
) -> Result<(Vec<&'o StreamProcessor>, Compression)> {
    let mut chain: Vec<&StreamProcessor> = Vec::new();
    loop {
        let current = chain.last().map_or(media_type, |last| &last.returns);
        let accepts = |processor: &&StreamProcessor| processor.accepts.iter().any(|accepted| accepted == current);
        if let Some(processor) = options.processors.iter().find(accepts) {
            if chain.len() == MAX_CHAIN {
                return Err(Error::failed_precondition(format!(
                    "layer {media_type:?}: stream processors go round in circles"
                )));
            }
            chain.push(processor);
        } else if let Some(compression) = Compression::of(current) {
            return Ok((chain, compression));
        } else {
            return Err(Error::unimplemented(format!("no stream processor takes media type {current:?}")));
        }
    }
}

/// Runs `work` on what `chain` makes of `stream`. Also returns digest and size of `stream`, if `hasher` is given.
pub(super) fn run<T>(
    stream: &mut (dyn Read + Send),
    media_type: &str,
    chain: &[&StreamProcessor],
    options: &ApplyOptions,
    hasher: Option<&Hasher>,
    work: impl FnOnce(&mut (dyn Read + Send)) -> Result<T>,
) -> Result<(T, Option<Summed>)> {
    thread::scope(|scope| {
        let mut children = Running::default();
        let mut output: Option<ChildStdout> = None;
        let mut feeder = None;
        let mut source = Some(stream);
        let mut media_type = media_type;
        for processor in chain {
            let stdin = output.take().map_or_else(Stdio::piped, Stdio::from);
            let (mut child, payload) = start(processor, media_type, stdin, options.payloads.get(&processor.id))?;
            if let Some((mut pipe, bytes)) = payload {
                // A program need not read it.
                scope.spawn(move || pipe.write_all(&bytes));
            }
            output = child.stdout.take();
            let stderr = child.stderr.take().map(|stderr| scope.spawn(|| last_words(stderr)));
            if let (Some(stdin), Some(stream)) = (child.stdin.take(), source.take()) {
                let hasher = hasher.cloned();
                feeder = Some(scope.spawn(move || feed(stream, stdin, hasher)));
            }
            children.0.push(One { id: &processor.id, child, stderr });
            media_type = &processor.returns;
        }
        let mut output = output.ok_or_else(|| Error::internal("stream processor without stdout"))?;
        let result = work(&mut output);
        // Ends the programs if they still write.
        drop(output);
        children.finish(result.is_ok())?;
        let result = result?;
        let fed = feeder.map(|feeder| feeder.join().map_err(|_| Error::internal("feed processor: thread panicked")));
        let summed = fed.transpose()?.transpose().map_err(|error| Error::io("read layer", error))?.flatten();
        let summed = summed.map(|(hasher, size)| Ok::<_, Error>(Summed { digest: hasher.digest()?, size }));
        Ok((result, summed.transpose()?))
    })
}

type Payload = (File, Vec<u8>);

fn start(
    processor: &StreamProcessor,
    media_type: &str,
    stdin: Stdio,
    payload: Option<&Any>,
) -> Result<(Child, Option<Payload>)> {
    let failed = |error: io::Error| {
        Error::io(format!("start stream processor {:?} ({})", processor.id, processor.path.display()), error)
    };
    let mut command = Command::new(&processor.path);
    command.args(&processor.args).stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.envs(processor.env.iter().map(|pair| pair.split_once('=').unwrap_or((pair, ""))));
    command.env("STREAM_PROCESSOR_MEDIATYPE", media_type);
    let mut extras = Extras::default();
    let mut to_write = None;
    if let Some(payload) = payload {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).map_err(|errno| failed(errno.into()))?;
        extras.fds.push(read);
        to_write = Some((File::from(write), encode(payload)));
    }
    let child = sys::process::spawn(&mut command, &extras).map_err(failed)?;
    Ok((child, to_write))
}

/// Copies `stream` to a program. One that stops reading is not an error here; its exit status may be.
fn feed(
    stream: &mut (dyn Read + Send),
    mut stdin: impl Write,
    mut hasher: Option<Hasher>,
) -> io::Result<Option<(Hasher, u64)>> {
    let mut buffer = vec![0; 256 << 10];
    let (mut size, mut listening) = (0, true);
    while listening || hasher.is_some() {
        let len = match stream.read(&mut buffer) {
            Ok(0) => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        listening = listening && stdin.write_all(&buffer[..len]).is_ok();
        if let Some(hasher) = &mut hasher {
            hasher.update(&buffer[..len]);
        }
        size += len as u64;
    }
    Ok(hasher.map(|hasher| (hasher, size)))
}

/// The end of what a program says on stderr.
fn last_words(mut stderr: impl Read) -> String {
    let mut kept = Vec::new();
    let mut buffer = [0; 1024];
    while let Ok(len @ 1..) = stderr.read(&mut buffer) {
        kept.extend_from_slice(&buffer[..len]);
        let excess = kept.len().saturating_sub(MAX_STDERR);
        kept.drain(..excess);
    }
    String::from_utf8_lossy(&kept).trim().to_owned()
}

struct One<'scope> {
    id: &'scope str,
    child: Child,
    stderr: Option<thread::ScopedJoinHandle<'scope, String>>,
}

/// Programs that are killed when this is dropped.
#[derive(Default)]
struct Running<'scope>(Vec<One<'scope>>);

impl Running<'_> {
    /// Waits for all programs; reports the first that failed of itself.
    fn finish(&mut self, wait: bool) -> Result<()> {
        let deadline = Instant::now() + if wait { EXIT_WITHIN } else { Duration::from_millis(100) };
        let mut failure = None;
        for One { id, child, stderr } in &mut self.0 {
            let status = loop {
                match child.try_wait().map_err(|error| Error::io(format!("wait for stream processor {id:?}"), error))? {
                    Some(status) => break Some(status),
                    None if Instant::now() >= deadline => break None,
                    None => thread::sleep(Duration::from_millis(2)),
                }
            };
            let why = match status {
                Some(status) if status.success() => continue,
                // That it could not write any more is our doing.
                Some(status) if !wait && status.code().is_none() => continue,
                Some(status) => status.to_string(),
                None if wait => format!("still running {EXIT_WITHIN:?} after the end of its output"),
                None => continue,
            };
            let _ = child.kill();
            let words = stderr.take().and_then(|stderr| stderr.join().ok()).unwrap_or_default();
            failure = failure.or(Some(Error::unknown(format!("stream processor {id:?}: {why}: {words}"))));
        }
        failure.map_or(Ok(()), Err)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        for One { child, .. } in &mut self.0 {
            // Both do nothing if it was waited for already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// `payload` as a protobuf message: field 1 the type, field 2 the value, each with its length before it.
fn encode(payload: &Any) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (tag, field) in [(0x0a, payload.type_url.as_bytes()), (0x12, &payload.value)] {
        if field.is_empty() {
            continue;
        }
        bytes.push(tag);
        let mut len = field.len();
        while len >= 0x80 {
            // Seven bits, so it fits.
            bytes.push(u8::try_from(len & 0x7f).unwrap_or(0) | 0x80);
            len >>= 7;
        }
        bytes.push(u8::try_from(len).unwrap_or(0));
        bytes.extend_from_slice(field);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::{TAR, TAR_GZIP};

    fn shell(id: &str, accepts: &str, returns: &str, script: &str) -> StreamProcessor {
        StreamProcessor {
            id: id.into(),
            accepts: vec![accepts.into()],
            returns: returns.into(),
            path: "sh".into(),
            args: vec!["-c".into(), script.into()],
            env: vec!["COLOUR=green".into()],
        }
    }

    fn process(processors: Vec<StreamProcessor>, media_type: &str, input: &[u8]) -> Result<String> {
        let payload = Any { type_url: "t".into(), value: b"secret".to_vec() };
        let options = ApplyOptions {
            processors: processors.into(),
            payloads: [("first".to_owned(), payload)].into(),
            ..ApplyOptions::default()
        };
        let (chain, _) = chain(media_type, &options)?;
        let hasher = Hasher::new(model::Algorithm::Sha256);
        let (output, summed) = run(&mut &input[..], media_type, &chain, &options, Some(&hasher), |output| {
            let mut text = String::new();
            output.read_to_string(&mut text).map_err(|error| Error::io("read", error))?;
            Ok(text)
        })?;
        assert_eq!(summed.unwrap().size, input.len() as u64);
        Ok(output)
    }

    #[test]
    fn programs_are_chained_and_told_what_they_get() {
        let processors = vec![
            shell("first", "a/one", "a/two", r#"echo "$STREAM_PROCESSOR_MEDIATYPE $COLOUR $(tail -c 6 <&3)"; cat"#),
            shell("second", "a/two", TAR, r#"cat; echo "$STREAM_PROCESSOR_MEDIATYPE""#),
        ];
        assert_eq!(process(processors, "a/one", b"data\n").unwrap(), "a/one green secret\ndata\na/two\n");
    }

    #[test]
    fn what_a_failing_program_said_is_the_error() {
        let failing = vec![shell("first", "a/one", TAR, "cat; echo no key for this >&2; exit 3")];
        let error = process(failing, "a/one", b"data").unwrap_err().to_string();
        assert!(error.contains("\"first\"") && error.contains("exit status: 3") && error.contains("no key for this"));

        let absent = StreamProcessor { path: "/nonexistent/decrypt".into(), ..shell("x", "a/one", TAR, "") };
        let error = process(vec![absent], "a/one", b"").unwrap_err();
        assert_eq!(error.kind(), model::Kind::NotFound);
        assert!(error.to_string().contains("/nonexistent/decrypt"), "{error}");
    }

    #[test]
    fn a_program_need_not_read_its_input() {
        let deaf = vec![shell("first", "a/one", TAR, "exec <&-; echo done")];
        assert_eq!(process(deaf, "a/one", &vec![0; 1 << 20]).unwrap(), "done\n");
    }

    #[test]
    fn chains_end_in_a_layer_or_are_refused() {
        let options = ApplyOptions {
            processors: vec![shell("round", "a/one", "a/two", ""), shell("and", "a/two", "a/one", "")].into(),
            ..ApplyOptions::default()
        };
        assert!(chain("a/one", &options).unwrap_err().to_string().contains("circles"));
        for unreadable in ["a/three", "application/vnd.oci.image.layer.v1.tar+gzip+encrypted"] {
            let error = chain(unreadable, &options).unwrap_err();
            assert!(error.kind() == model::Kind::Unimplemented && error.to_string().contains(unreadable), "{error}");
        }
        assert_eq!(chain(TAR_GZIP, &options).unwrap(), (vec![], Compression::Detect));
    }

    #[test]
    fn payloads_are_protobuf() {
        let any = Any { type_url: "ab".into(), value: vec![7; 200] };
        let encoded = encode(&any);
        assert_eq!(&encoded[..7], [0x0a, 2, b'a', b'b', 0x12, 0xc8, 0x01]);
        assert_eq!(encoded.len(), 207);
    }
}
