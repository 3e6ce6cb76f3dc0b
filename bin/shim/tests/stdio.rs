//! Nothing a process writes is lost, wherever it goes and however it is read.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use proto::shim::containerd::task::v3::*;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::thread::JoinHandle;
use support::{Shim, World, eventually, fifo, program, read_all, reader};

/// Opens for reading, which waits for a writer, and reads to the end.
fn read_when_written(path: &str) -> JoinHandle<String> {
    let path = path.to_owned();
    std::thread::spawn(move || read_all(File::open(path).unwrap()))
}

/// Opens for writing what a process reads, or will.
fn keys(path: &str) -> File {
    File::options().write(true).open(path).unwrap()
}

fn create_with(shim: &mut Shim, edit: impl FnOnce(&mut CreateTaskRequest)) -> model::Result<CreateTaskResponse> {
    let mut request = shim.create_request();
    edit(&mut request);
    shim.client.call("Create", &request)
}

fn run_to_end(shim: &mut Shim) -> u32 {
    shim.start_process("");
    let status = shim.wait("");
    shim.delete("");
    status
}

#[test]
fn both_outputs_reach_their_fifos() {
    let mut world = World::new();
    let (out, err) = (fifo(&world.path("out")), fifo(&world.path("err")));
    let script = "seq 1 20000; seq 20001 20010 >&2";
    let mut shim = world.shim("o1", &["/bin/sh", "-c", script], |_| ());
    let (out_reader, err_reader) = (reader(&out), reader(&err));
    create_with(&mut shim, |request| (request.stdout, request.stderr) = (out, err)).unwrap();
    let reading = std::thread::spawn(move || (read_all(out_reader), read_all(err_reader)));
    assert_eq!(run_to_end(&mut shim), 0);
    let (out, err) = reading.join().unwrap();
    assert_eq!(out.lines().count(), 20_000);
    assert_eq!(out.lines().last(), Some("20000"));
    assert_eq!(err, (20_001..=20_010).map(|number| format!("{number}\n")).collect::<String>());
    shim.shutdown();
}

#[test]
fn one_fifo_for_both_keeps_the_order() {
    let mut world = World::new();
    let (stdin, path) = (fifo(&world.path("in")), fifo(&world.path("both")));
    let script = "echo a; read x; echo b >&2; read x; echo c";
    let mut shim = world.shim("o2", &["/bin/sh", "-c", script], |_| ());
    let mut file = reader(&path);
    create_with(&mut shim, |request| {
        (request.stdin, request.stdout, request.stderr) = (stdin.clone(), path.clone(), path.clone());
    })
    .unwrap();
    shim.start_process("");
    let mut keys = keys(&stdin);
    for expected in [b"a\n", b"b\n"] {
        let mut line = [0; 2];
        file.read_exact(&mut line).unwrap();
        assert_eq!(&line, expected);
        keys.write_all(b"\n").unwrap();
    }
    assert_eq!(shim.wait(""), 0);
    shim.delete("");
    assert_eq!(read_all(file), "c\n");
    shim.shutdown();
}

#[test]
fn a_reader_that_stopped_finds_everything_after_the_shim_has_gone() {
    let mut world = World::new();
    let path = fifo(&world.path("out"));
    // More than one pipe holds, less than two: the process can end.
    let mut shim = world.shim("o3", &["/bin/sh", "-c", "seq -w 1 20000"], |_| ());
    let file = reader(&path);
    create_with(&mut shim, |request| request.stdout = path.clone()).unwrap();
    assert_eq!(run_to_end(&mut shim), 0);
    shim.shutdown();
    let text = read_all(file);
    assert_eq!((text.lines().count(), text.lines().last()), (20_000, Some("20000")));
}

#[test]
fn a_reader_that_comes_after_the_end_finds_everything() {
    let mut world = World::new();
    let path = fifo(&world.path("out"));
    let mut shim = world.shim("o4", &["/bin/echo", "early"], |_| ());
    create_with(&mut shim, |request| request.stdout = path.clone()).unwrap();
    shim.start_process("");
    assert_eq!(shim.wait(""), 0);
    assert_eq!(read_all(reader(&path)), "early\n");
    shim.delete("");
    shim.shutdown();
}

#[test]
fn a_reader_may_leave_and_come_back() {
    let mut world = World::new();
    let (stdin, path) = (fifo(&world.path("in")), fifo(&world.path("out")));
    let mut shim = world.shim("o5", &["/bin/sh", "-c", "echo one; read x; echo two"], |_| ());
    let mut first = reader(&path);
    create_with(&mut shim, |request| (request.stdin, request.stdout) = (stdin.clone(), path.clone())).unwrap();
    shim.start_process("");
    let mut line = [0; 4];
    first.read_exact(&mut line).unwrap();
    drop(first);
    // Before or after the next reader comes.
    keys(&stdin).write_all(b"\n").unwrap();
    let second = reader(&path);
    assert_eq!(shim.wait(""), 0);
    assert_eq!((&line, read_all(second).as_str()), (b"one\n", "two\n"));
    shim.delete("");
    shim.shutdown();
}

#[test]
fn stdin_flows_until_it_is_closed() {
    let mut world = World::new();
    let (stdin, stdout) = (fifo(&world.path("in")), fifo(&world.path("out")));
    let mut shim = world.shim("i1", &["/bin/cat"], |_| ());
    let out = reader(&stdout);
    create_with(&mut shim, |request| (request.stdin, request.stdout) = (stdin.clone(), stdout)).unwrap();
    shim.start_process("");
    let reading = std::thread::spawn(move || read_all(out));
    for part in 0..3 {
        // Each client goes away again, and stdin stays open.
        keys(&stdin).write_all(format!("{part}{}\n", "x".repeat(50_000)).as_bytes()).unwrap();
    }
    shim.client.call::<()>("CloseIO", &CloseIoRequest { id: "i1".into(), stdin: true, ..Default::default() }).unwrap();
    assert_eq!(shim.wait(""), 0);
    shim.delete("");
    let text = reading.join().unwrap();
    assert_eq!(
        text.lines().map(|line| (&line[..1], line.len())).collect::<Vec<_>>(),
        [("0", 50_001), ("1", 50_001), ("2", 50_001)]
    );
    shim.shutdown();
}

#[test]
fn files_are_made_and_appended_to() {
    let mut world = World::new();
    let path = world.path("logs/sub/out.log");
    let uri = format!("file://{}", path.display());
    for id in ["f1", "f2"] {
        let mut shim = world.shim(id, &["/bin/sh", "-c", "echo out; echo err >&2"], |_| ());
        create_with(&mut shim, |request| (request.stdout, request.stderr) = (uri.clone(), uri.clone())).unwrap();
        assert_eq!(run_to_end(&mut shim), 0);
        shim.shutdown();
    }
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!((text.matches("out\n").count(), text.matches("err\n").count()), (2, 2));
}

fn logger(path: &Path, ready: &str) {
    let script = format!("{ready}\nexec 5>&-\ncat <&3 >\"$2.out\" &\ncat <&4 >\"$2.err\"\nwait\nenv > \"$2.env\"");
    program(path, &script);
}

#[test]
fn a_logger_gets_all_output_and_ends_by_itself() {
    let mut world = World::new();
    let path = world.path("logger");
    for (id, scheme, ready) in [("l1", "binary", ":"), ("l2", "binary-v2", "printf x >&5")] {
        logger(&path, ready);
        let to = world.path(id);
        let uri = format!("{scheme}://{}?to={}", path.display(), to.display());
        let mut shim = world.shim(id, &["/bin/sh", "-c", "seq 1 20000; echo oops >&2"], |_| ());
        create_with(&mut shim, |request| request.stdout = uri).unwrap();
        assert_eq!(run_to_end(&mut shim), 0);
        let text = |end: &str| fs::read_to_string(format!("{}.{end}", to.display())).unwrap();
        assert_eq!((text("out").lines().count(), text("err").as_str()), (20_000, "oops\n"));
        assert!(text("env").contains(&format!("CONTAINER_ID={id}\n")));
        assert!(text("env").contains("CONTAINER_NAMESPACE=shimtest\n"));
        shim.shutdown();
    }
}

#[test]
fn a_logger_that_is_not_ready_fails_the_create() {
    let mut world = World::new();
    let path = world.path("logger");
    program(&path, "exit 1");
    let mut shim = world.shim("l3", &["/bin/true"], |_| ());
    let error = create_with(&mut shim, |request| request.stdout = format!("binary-v2://{}", path.display()));
    assert!(error.unwrap_err().to_string().contains("did not call ready"));
    let error = create_with(&mut shim, |request| request.stdout = "binary:///no/such".into()).unwrap_err();
    assert!(error.to_string().contains("failed to start binary process /no/such"), "{error}");
    let error = create_with(&mut shim, |request| request.stdout = "odd:///x".into()).unwrap_err();
    assert!(error.to_string().contains("unknown STDIO scheme odd"), "{error}");
    let error = create_with(&mut shim, |request| request.stdout = "/no/such/file".into()).unwrap_err();
    assert!(error.to_string().contains("/no/such/file"), "{error}");
    shim.shutdown();
}

#[test]
fn a_terminal_echoes_resizes_and_ends() {
    let mut world = World::new();
    let (stdin, stdout) = (fifo(&world.path("in")), fifo(&world.path("out")));
    let script = "stty size; read line; stty size; echo got $line";
    let mut shim = world.shim("t1", &["/bin/sh", "-c", script], |spec| spec["process"]["terminal"] = true.into());
    let mut out = reader(&stdout);
    create_with(&mut shim, |request| {
        (request.stdin, request.stdout, request.terminal) = (stdin.clone(), stdout, true);
    })
    .unwrap();
    let resize = |width, height| ResizePtyRequest { id: "t1".into(), width, height, ..Default::default() };
    shim.client.call::<()>("ResizePty", &resize(80, 25)).unwrap();
    shim.start_process("");
    // The first size is out before the second is set.
    let mut first = [0; 7];
    out.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"25 80\r\n");
    let reading = std::thread::spawn(move || read_all(out));
    shim.client.call::<()>("ResizePty", &resize(132, 50)).unwrap();
    keys(&stdin).write_all(b"hello\n").unwrap();
    assert_eq!(shim.wait(""), 0);
    shim.delete("");
    let text = reading.join().unwrap();
    assert_eq!(text, "hello\r\n50 132\r\ngot hello\r\n");
    shim.shutdown();
}

#[test]
fn an_exec_with_a_terminal_loses_nothing() {
    let mut world = World::new();
    let mut shim = world.shim("t2", &["/bin/sleep", "1000"], |_| ());
    shim.create();
    shim.start_process("");
    for round in 0..20 {
        let exec = format!("e{round}");
        let stdout = fifo(&world.path(&exec));
        let out = reader(&stdout);
        let mut request = shim.exec_request(&exec, &["/bin/seq", "1", "3000"]);
        (request.stdout, request.terminal) = (stdout, true);
        shim.client.call::<()>("Exec", &request).unwrap();
        shim.start_process(&exec);
        let reading = std::thread::spawn(move || read_all(out));
        assert_eq!(shim.wait(&exec), 0);
        shim.delete(&exec);
        assert_eq!(reading.join().unwrap().lines().count(), 3000);
    }
    shim.kill("", 9).unwrap();
    shim.wait("");
    shim.delete("");
    shim.shutdown();
}

#[test]
fn two_hundred_processes_that_end_at_once_lose_no_output() {
    let mut world = World::new();
    let mut shim = world.shim("x1", &["/bin/sleep", "1000"], |_| ());
    shim.create();
    shim.start_process("");
    for batch in 0..20 {
        let names: Vec<String> = (0..10).map(|number| format!("e{batch}-{number}")).collect();
        let mut reading = Vec::new();
        let mut starting = Vec::new();
        for name in &names {
            let stdout = fifo(&world.path(name));
            reading.push(read_when_written(&stdout));
            let mut request = shim.exec_request(name, &["/bin/sh", "-c", &format!("echo {name}; exit 3")]);
            request.stdout = stdout;
            shim.client.call::<()>("Exec", &request).unwrap();
            let start = StartRequest { id: "x1".into(), exec_id: name.clone() };
            starting.push(shim.client.send("Start", &start));
        }
        for stream in starting {
            shim.client.receive::<StartResponse>(stream).unwrap();
        }
        for (name, text) in names.iter().zip(reading) {
            assert_eq!(shim.wait(name), 3);
            assert_eq!(text.join().unwrap(), format!("{name}\n"));
            shim.delete(name);
        }
    }
    shim.kill("", 9).unwrap();
    shim.wait("");
    shim.delete("");
    let events = world.events.until("x1", "delete");
    assert_eq!(events.iter().filter(|event| event.ends_with("=3")).count(), 200);
    eventually("no descriptor is left", || fs::read_dir(format!("/proc/{}/fd", shim.pid)).unwrap().count() < 14);
    shim.shutdown();
}

#[test]
fn a_background_process_of_an_exec_does_not_hold_its_client() {
    let mut world = World::new();
    let mut shim = world.shim("x2", &["/bin/sleep", "1000"], |_| ());
    shim.create();
    shim.start_process("");
    let stdout = fifo(&world.path("out"));
    let out = reader(&stdout);
    let mut request = shim.exec_request("e", &["/bin/sh", "-c", "sleep 1000 & echo done"]);
    request.stdout = stdout;
    shim.client.call::<()>("Exec", &request).unwrap();
    shim.start_process("e");
    assert_eq!(shim.wait("e"), 0);
    // This waits ten seconds for the output that never ends, and then closes it.
    shim.delete("e");
    assert_eq!(read_all(out), "done\n");
    shim.kill("", 9).unwrap();
    shim.wait("");
    shim.delete("");
    shim.shutdown();
}
