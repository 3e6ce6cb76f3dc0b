//! What our ctr has beyond Go's where registries are concerned, on either daemon.

use std::fs;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tests::bed::BUSYBOX;
use tests::registry::USER;
use tests::{Bed, Impl, Proxy, Registry, image, rows};

rows!(recompressed: our_ctr(Ours Ours Ours) go_daemon_our_ctr(Go Go Ours));
rows!(nested_indexes_are_not_converted: our_ctr(Ours Ours Ours) go_daemon_our_ctr(Go Go Ours));
rows!(docker_credentials: our_ctr(Ours Ours Ours) go_daemon_our_ctr(Go Go Ours));
rows!(a_password_on_the_terminal: our_ctr(Ours Ours Ours));
rows!(hosts_are_checked: our_ctr(Ours Ours Ours));
rows!(progress_goes_to_stderr: our_ctr(Ours Ours Ours) go_daemon_our_ctr(Go Go Ours));
rows!(bars_on_a_terminal: our_ctr(Ours Ours Ours) go_daemon_our_ctr(Go Go Ours));
rows!(a_credential_helper: our_ctr(Ours Ours Ours));
rows!(pushed_without_the_daemons_files: our_ctr(Ours Ours Ours) go_daemon_our_ctr(Go Go Ours));
rows!(a_proxy_of_the_environment: our_ctr(Ours Ours Ours));
rows!(connections_are_traced: our_ctr(Ours Ours Ours));
rows!(flags_beyond_transfer: our_ctr(Ours Ours Ours) go_daemon_our_ctr(Go Go Ours));
rows!(mounted_from_where_its_image_is: our_ctr(Ours Ours Ours) go_daemon_our_ctr(Go Go Ours));
rows!(media_types_are_asked_for: our_ctr(Ours Ours Ours));

fn recompressed(bed: &mut Bed) {
    let (image, ctr) = (bed.import(), bed.ctr());
    let mut from = image.to_owned();
    for (flag, media_type) in [("--zstd", "tar+zstd"), ("--gzip", "tar+gzip"), ("--uncompress", "tar")] {
        let to = format!("example.com/as{flag}:1");
        let digest = ctr.ok(&format!("images convert {flag} {from} {to}"));
        let manifest: Value = serde_json::from_str(&ctr.ok(&format!("content get {}", digest.trim_end()))).unwrap();
        for layer in manifest["layers"].as_array().unwrap() {
            assert_eq!(layer["mediaType"], format!("application/vnd.oci.image.layer.v1.{media_type}"));
        }
        // The files are the same, so nothing is unpacked anew.
        assert_eq!(ctr.names("snapshots ls").len(), 3);
        from = to;
    }
    // As they are, they keep their digest.
    let same = ctr.ok(&format!("images convert --gzip {image} example.com/same:1"));
    assert_eq!(same.trim_end(), image::digest(&image::busybox(BUSYBOX).blobs().manifest));
    assert!(ctr.fails("images convert --gzip --zstd a b").contains("--zstd"));
    assert!(
        ctr.fails(&format!("images convert --platform linux/arm64/v9 {image} x/y:1 --erofs raw")).contains("erofs")
    );
}

/// Five indexes, one in the other: Go's ctr imports them, so that they are there.
fn nested_indexes_are_not_converted(bed: &mut Bed) {
    let image = image::busybox(BUSYBOX).blobs();
    let (mut top, mut blobs) = (image::descriptor(image::media::MANIFEST, &image.manifest), Vec::new());
    for _ in 0..5 {
        let index = json!({ "schemaVersion": 2, "mediaType": image::media::INDEX, "manifests": [top] }).to_string();
        top = image::descriptor(image::media::INDEX, index.as_bytes());
        blobs.push(index.into_bytes());
    }
    top["annotations"] = json!({ "io.containerd.image.name": BUSYBOX });
    let all = image.layers.iter().chain([&image.config, &image.manifest]).chain(&blobs).map(Vec::as_slice);
    let archive = bed.daemon.dir().join("nested.tar");
    fs::write(&archive, image::oci_archive(&[top], all)).unwrap();
    bed.daemon.ctr(Impl::Go).ok(&format!("images import --local --no-unpack {}", archive.display()));
    for flag in ["--oci", "--uncompress"] {
        let error = bed.ctr().fails(&format!("images convert {flag} {BUSYBOX} example.com/converted:1"));
        assert!(error.contains("nested more than"), "{error}");
    }
}

/// `config.json` of docker with the password of one registry.
fn docker_config(bed: &Bed, registry: &Registry) -> std::path::PathBuf {
    let dir = bed.daemon.dir().join("docker");
    fs::create_dir_all(&dir).unwrap();
    let auth = json!({ "username": USER.0, "password": USER.1 });
    fs::write(dir.join("config.json"), json!({ "auths": { registry.address(): auth } }).to_string()).unwrap();
    dir
}

fn run(command: &mut Command) -> (bool, String, String) {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

fn docker_credentials(bed: &mut Bed) {
    let (image, ctr, registry) = (bed.import(), bed.ctr(), Registry::guarded());
    let (remote, dir) = (registry.name("by/docker:1"), docker_config(bed, &registry));
    for local in ["", "--local"] {
        for line in [format!("images push {local} {remote} {image}"), format!("images pull {local} {remote}")] {
            let (done, _, stderr) = run(ctr.command(&line).env("DOCKER_CONFIG", &dir));
            assert!(done && !stderr.contains(USER.1), "{line}: {stderr}");
        }
    }
    fs::write(dir.join("config.json"), "{").unwrap();
    let (done, _, stderr) = run(ctr.command(&format!("images pull {remote}")).env("DOCKER_CONFIG", &dir));
    assert!(!done && stderr.contains("config.json"), "{stderr}");
}

fn a_credential_helper(bed: &mut Bed) {
    let (image, ctr, registry) = (bed.import(), bed.ctr(), Registry::guarded());
    let (remote, dir) = (registry.name("by/helper:1"), bed.daemon.dir().join("helped"));
    fs::create_dir_all(&dir).unwrap();
    // As docker-credential-pass and its like: the host comes on standard input.
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = get ] && [ \"$(cat)\" = {} ] || {{ echo credentials not found; exit 1; }}\n\
         echo '{{\"Username\": \"{}\", \"Secret\": \"{}\"}}'\n",
        registry.address(),
        USER.0,
        USER.1
    );
    fs::write(dir.join("script"), script).unwrap();
    tests::install(&dir.join("script"), &dir.join("docker-credential-tests"));
    fs::write(dir.join("config.json"), json!({ "credHelpers": { registry.address(): "tests" } }).to_string()).unwrap();
    let path = format!("{}:{}", dir.display(), std::env::var("PATH").unwrap());
    for local in ["", "--local"] {
        for line in [format!("images push {local} {remote} {image}"), format!("images pull {local} {remote}")] {
            let (done, _, stderr) = run(ctr.command(&line).env("DOCKER_CONFIG", &dir).env("PATH", &path));
            assert!(done && !stderr.contains(USER.1), "{line}: {stderr}");
        }
    }
}

/// Blobs are read from the files of the daemon's content store; a ctr that cannot see them is sent their bytes.
fn pushed_without_the_daemons_files(bed: &mut Bed) {
    let (image, ctr, registry) = (bed.import(), bed.ctr(), Registry::open());
    let files = bed.daemon.root().join("io.containerd.content.v1.content");
    let layer = image::digest(&image::busybox(BUSYBOX).blobs().layers[0]);
    let file = format!("blobs/{}", layer.replace(':', "/"));
    let push = |tag: &str, before: &str| {
        let push = ctr.command(&format!("images push --local --plain-http {} {image}", registry.name(tag)));
        let mut alone = Command::new("unshare");
        alone.args(["--mount", "sh", "-ec", &format!("{before}; exec \"$0\" \"$@\"")]);
        alone.arg(push.get_program()).args(push.get_args());
        run(alone.env("FILES", &files).env("FILE", files.join(&file)))
    };
    let (done, _, stderr) = push("seen/files:1", "[ -f \"$FILE\" ]");
    assert!(done, "{stderr}");
    let (done, _, stderr) = push("hidden/files:1", "mount -t tmpfs tmpfs \"$FILES\"");
    assert!(done, "{stderr}");
    // Other bytes under the same name are noticed at the latest by the registry.
    let zeros = "size=$(stat -c %s \"$FILE\"); mount -t tmpfs tmpfs \"$FILES\"; \
                 mkdir -p \"${FILE%/*}\"; truncate -s \"$size\" \"$FILE\"";
    let (done, _, stderr) = push("wrong/files:1", zeros);
    assert!(!done && stderr.contains(&layer), "{stderr}");
}

fn a_proxy_of_the_environment(bed: &mut Bed) {
    let (image, ctr, registry) = (bed.import(), bed.ctr(), Registry::open());
    ctr.ok(&format!("images push {} {image}", registry.name("app:1")));
    // The registry understands whole URLs as well.
    let proxy = Proxy::before(&registry);
    let mut pull = ctr.command("images pull --local --plain-http registry.invalid/app:1");
    let (done, _, stderr) = run(pull.env("http_proxy", format!("http://{}", proxy.address())));
    assert!(done, "{stderr}");
    let asked = proxy.asked();
    assert!(asked.iter().all(|asked| asked.url.starts_with("http://registry.invalid/v2/")), "{asked:?}");
    // Nobody is asked about what is on this machine, nor about what is excepted.
    for (reference, except) in [(registry.name("app:1"), ""), ("registry.invalid/app:1".to_owned(), "registry.invalid")]
    {
        let mut pull = ctr.command(&format!("images pull --local --plain-http {reference}"));
        pull.env("http_proxy", "http://127.0.0.1:1").env("no_proxy", except);
        let (done, _, stderr) = run(&mut pull);
        assert_eq!(done, except.is_empty(), "{stderr}");
    }
}

fn connections_are_traced(bed: &mut Bed) {
    let (image, ctr, registry) = (bed.import(), bed.ctr(), Registry::open());
    let remote = registry.name("traced:1");
    ctr.ok(&format!("images push {remote} {image}"));
    let connected = format!("connected to {}", registry.address());
    for local in ["", "--local"] {
        let told = ctr.run(&format!("images pull {local} --http-trace {remote}"));
        assert!(told.code == 0 && told.stderr.contains(&connected), "{told:?}");
        assert!(!told.stderr.contains("manifests/1"), "requests are not told: {told:?}");
        let told = ctr.run(&format!("images pull {local} --http-dump {remote}"));
        assert!(told.stderr.contains("manifests/1") && !told.stderr.contains(&connected), "{told:?}");
        let told = ctr.run(&format!("images pull {local} --http-trace --plain-http localhost.invalid/a:1"));
        assert!(told.code != 0 && told.stderr.contains("looking up localhost.invalid"), "{told:?}");
    }
}

fn a_password_on_the_terminal(bed: &mut Bed) {
    let (image, ctr, registry) = (bed.import(), bed.ctr(), Registry::guarded());
    let remote = registry.name("typed:1");
    let out =
        ctr.on_terminal(&format!("images push -u {} {remote} {image}", USER.0), format!("{}\n", USER.1).as_bytes());
    assert_eq!(out.code, 0, "{out:?}");
    assert!(out.stdout.contains("Password: "), "{out:?}");
    // Through a pipe it is the first line.
    ctr.feed(&format!("images pull -u {} {remote}", USER.0), format!("{}\n", USER.1).as_bytes());
    let error = ctr.fails(&format!("images pull -u {} {remote}", USER.0));
    assert!(error.contains("no password"), "{error}");
}

fn hosts_are_checked(bed: &mut Bed) {
    let (image, ctr) = (bed.import(), bed.ctr());
    let (mirror, registry) = (Registry::open(), Registry::guarded());
    let user = format!("-u {}:{}", USER.0, USER.1);
    ctr.ok(&format!("images push {} {image}", mirror.name("app:1")));
    ctr.ok(&format!("images push {user} {} {image}", registry.name("app:1")));
    let dir = bed.daemon.dir().join("hosts");
    let folder = dir.join("registry.example");
    fs::create_dir_all(&folder).unwrap();
    let text = format!(
        "server = \"http://{}\"\n[host.\"http://{}\"]\ncapabilities = [\"pull\"]\n",
        registry.address(),
        mirror.address()
    );
    fs::write(folder.join("hosts.toml"), text).unwrap();
    let check = format!("hosts check --hosts-dir {}", dir.display());
    let docker = docker_config(bed, &registry);
    let document = |flags: &str| {
        let (_, stdout, stderr) =
            run(ctr.command(&format!("{check} -o json {flags} registry.example/app:1")).env("DOCKER_CONFIG", &docker));
        assert!(!stdout.contains(USER.1) && !stderr.contains(USER.1), "{stdout} {stderr}");
        serde_json::from_str::<Value>(&stdout).unwrap_or_else(|_| panic!("{stdout} {stderr}"))
    };
    let found = document("");
    let decided_by = found["decidedBy"].as_str().unwrap();
    assert!(decided_by.contains(&folder.join("hosts.toml").display().to_string()), "{decided_by}");
    let digest = image::digest(&image::busybox(BUSYBOX).blobs().manifest);
    let (first, last) = (&found["hosts"][0], &found["hosts"][1]);
    assert_eq!((&first["role"], &last["role"]), (&json!("mirror"), &json!("registry")));
    assert_eq!(first["capabilities"], json!(["pull"]));
    assert_eq!((&first["result"]["digest"], &last["result"]["digest"]), (&json!(digest), &json!(digest)));
    assert_eq!(first["credential"], Value::Null);
    let source = last["credential"]["source"].as_str().unwrap();
    assert_eq!(source, docker.join("config.json").display().to_string());
    assert_eq!(document("--offline")["hosts"][0]["result"], Value::Null);
    // Of a digest there is nothing to resolve.
    let words = ctr.ok(&format!("{check} {user} registry.example/app@{digest}"));
    assert!(words.contains(&format!("a pull is served by http://{}/v2\n", mirror.address())), "{words}");

    // In words, and with the exit code of a pull.
    let words = ctr.ok(&format!("{check} {user} registry.example/app:1"));
    assert!(words.contains(&format!("a pull is served by http://{}/v2", mirror.address())), "{words}");
    assert!(words.contains(&format!("a push goes to http://{}/v2", registry.address())), "{words}");
    let absent = ctr.run(&format!("{check} {user} registry.example/absent:1"));
    assert!(absent.code == 1 && absent.stdout.contains("a pull would fail"), "{absent:?}");
    fs::write(folder.join("hosts.toml"), "[host.\"https://a\"]\ncapabilities = [\"fly\"]\n").unwrap();
    let broken = ctr.fails(&format!("{check} registry.example/app:1"));
    assert!(broken.contains("hosts.toml") && broken.contains("fly"), "{broken}");
}

fn progress_goes_to_stderr(bed: &mut Bed) {
    let (image, ctr, registry) = (bed.import(), bed.ctr(), Registry::open());
    let remote = registry.name("shown:1");
    ctr.ok(&format!("images push {remote} {image}"));
    ctr.ok(&format!("images rm --sync {image}"));
    let (done, stdout, stderr) = run(&mut ctr.command(&format!("images pull --print-chainid {remote}")));
    assert!(done, "{stderr}");
    let lines: Vec<&str> = stdout.lines().collect();
    let manifest = image::digest(&image::busybox(BUSYBOX).blobs().manifest);
    assert_eq!(lines[0], format!("application/vnd.oci.image.manifest.v1+json {manifest}"), "{stdout}");
    assert!(lines[1].contains("elapsed: ") && lines[2].starts_with("image chain ID: sha256:"), "{stdout}");
    assert_eq!(lines.len(), 3, "{stdout}");
    assert!(stderr.contains(&remote), "{stderr}");
    let layer = image::digest(&image::busybox(BUSYBOX).blobs().layers[0]);
    let archive = bed.daemon.dir().join("out.tar");
    for (local, said) in [("", "Exporting"), ("--local", &format!("{}: complete", &layer[7..19]))] {
        let (done, _, stderr) = run(&mut ctr.command(&format!("images export {local} {} {remote}", archive.display())));
        assert!(done && stderr.contains(said), "{stderr}");
    }
}

/// On a terminal of 80 columns, each layer has one line, with its phase, rate and time left.
fn bars_on_a_terminal(bed: &mut Bed) {
    let (image, ctr, registry) = (bed.import(), bed.ctr(), Registry::open());
    ctr.ok(&format!("images push {} {image}", registry.name("slow:1")));
    ctr.ok(&format!("images rm --sync {image}"));
    let layer = image::digest(&image::busybox(BUSYBOX).blobs().layers[0])[7..19].to_owned();
    // Of the layer with the programs there are three seconds to be seen.
    let remote = Proxy::paced(&registry, Duration::from_millis(40)).name("slow:1");
    for local in ["", "--local"] {
        let out = ctr.on_terminal(&format!("images pull {local} {remote}"), b"");
        assert_eq!(out.code, 0, "{out:?}");
        // Between two moves of the cursor, the lines of a frame follow each other, filled up with spaces.
        let mut lines = Vec::new();
        for frame in out.stdout.split("\u{1b}[").skip(1) {
            let text: Vec<char> = frame.trim_start_matches(|c: char| c.is_ascii_digit()).chars().skip(1).collect();
            lines.extend(text.chunks(80).map(|line| line.iter().collect::<String>()));
        }
        let is_running = |line: &String| {
            let mut words = line.split_whitespace().rev();
            let (left, rate) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            let phase = ["downloading", "extracting"].iter().any(|phase| line.starts_with(&format!("{layer} {phase}")));
            phase && rate.ends_with("/s") && left.ends_with('s') && left != "0s"
        };
        assert!(lines.iter().any(is_running), "{lines:#?}");
        ctr.ok(&format!("images rm --sync {remote}"));
    }
}

fn flags_beyond_transfer(bed: &mut Bed) {
    let (image, ctr, registry) = (bed.import(), bed.ctr(), Registry::open());
    let (remote, manifest) = (registry.name("local:1"), image::digest(&image::busybox(BUSYBOX).blobs().manifest));
    // Nobody asked for --local: these do it.
    ctr.ok(&format!("images push -k --max-concurrent-uploaded-layers 1 {remote} {image}"));
    ctr.ok(&format!("images push --manifest {manifest} {} whatever", registry.name("local:2")));
    assert_eq!(registry.inspect("local:2")["Digest"], *manifest);
    ctr.ok(&format!("images pull -k -max-concurrent-downloads=1 --sync-fs=true {remote}"));
    let dump = ctr.run(&format!("images pull --local --http-dump {remote}"));
    assert!(dump.code == 0 && dump.stderr.contains("/v2/local/manifests/1"), "{dump:?}");
    let error = ctr.fails(&format!("images pull --tlscert /c {remote}"));
    assert!(error.contains("--tlskey"), "{error}");
}

/// A blob that says nothing of where it was seen, but whose manifest does.
fn mounted_from_where_its_image_is(bed: &mut Bed) {
    let (image, ctr, registry) = (bed.import(), bed.ctr(), Registry::open());
    let (remote, layer) = (registry.name("here/first:1"), image::digest(&image::busybox(BUSYBOX).blobs().layers[0]));
    ctr.ok(&format!("images push --plain-http {remote} {image}"));
    ctr.ok(&format!("images pull --local --plain-http {remote}"));
    ctr.ok(&format!("content label {layer} containerd.io/distribution.source.127.0.0.1="));
    let pushed =
        ctr.run(&format!("images push --local --http-dump --plain-http {} {remote}", registry.name("here/second:1")));
    assert_eq!(pushed.code, 0, "{pushed:?}");
    assert!(pushed.stderr.contains("201 Created") && !pushed.stderr.contains("202 Accepted"), "{}", pushed.stderr);
    assert_eq!(registry.inspect("here/second:1")["Layers"].as_array().unwrap().len(), 3);
}

fn media_types_are_asked_for(bed: &mut Bed) {
    let (image, ctr, registry) = (bed.import(), bed.ctr(), Registry::open());
    let (remote, blobs) = (registry.name("typed:1"), image::busybox(BUSYBOX).blobs());
    ctr.ok(&format!("images push --plain-http {remote} {image}"));
    for (blob, media_type) in [(&blobs.config, "x/y+z"), (&blobs.manifest, image::media::MANIFEST)] {
        let digest = image::digest(blob);
        let line = format!("content fetch-blob --http-dump --media-type {media_type} --plain-http {remote} {digest}");
        let fetched = ctr.run(&line);
        assert!(fetched.code == 0 && fetched.stderr.contains(&format!("{media_type}, */*")), "{fetched:?}");
    }
}
