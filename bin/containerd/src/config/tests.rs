use super::*;
use std::fs;

fn load(text: &str) -> Result<Loaded> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    fs::write(&file, text).unwrap();
    Loaded::read(&file, true)
}

fn config(text: &str) -> Config {
    load(text).unwrap().into_config().unwrap()
}

fn error(text: &str) -> String {
    match load(text).and_then(Loaded::into_config) {
        Ok(config) => panic!("accepted: {config:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn the_same_settings_in_every_version_mean_the_same() {
    let versions = [
        "oom_score = -5\n[grpc]\naddress = '/a.sock'\nuid = 7\n[plugins.scheduler]\npause_threshold = 0.1",
        "version = 2\noom_score = -5\n[grpc]\naddress = '/a.sock'\nuid = 7\n\
         [plugins.'io.containerd.gc.v1.scheduler']\npause_threshold = 0.1",
        "version = 3\noom_score = -5\n[grpc]\naddress = '/a.sock'\nuid = 7\n\
         [plugins.'io.containerd.gc.v1.scheduler']\npause_threshold = 0.1",
        "version = 4\noom_score = -5\n[plugins.'io.containerd.server.v1.grpc']\naddress = '/a.sock'\nuid = 7\n\
         [plugins.'io.containerd.gc.v1.scheduler']\npause_threshold = 0.1",
    ];
    for text in versions {
        let config = config(text);
        let grpc = &config.plugins.grpc;
        assert_eq!((config.oom_score, grpc.socket.address.as_str(), grpc.socket.uid), (-5, "/a.sock", 7), "{text}");
        assert_eq!((config.plugins.ttrpc.address.as_str(), config.plugins.ttrpc.uid), ("/a.sock.ttrpc", 7));
        assert_eq!(grpc.max_recv_message_size, 16 << 20);
        assert!((config.plugins.gc.pause_threshold - 0.1).abs() < 1e-9);
    }
    assert!(error("version = 5").contains("equal to or less than `4`, got `5`"));
}

#[test]
fn the_restart_monitor_is_found_under_all_its_names() {
    assert_eq!(config("").plugins.restart.interval, Duration::from_secs(10));
    for text in [
        "[plugins.restart]\ninterval = '1m'",
        "version = 2\n[plugins.'io.containerd.internal.v1.restart']\ninterval = '1m'",
        "version = 3\n[plugins.'io.containerd.monitor.container.v1.restart']\ninterval = '1m'",
    ] {
        assert_eq!(config(text).plugins.restart.interval, Duration::from_secs(60), "{text}");
    }
    assert!(error("[plugins.restart]\ninterval = 'soon'").contains("unable to parse \"soon\""));
}

#[test]
fn unknown_keys_are_ignored_and_named_with_their_line() {
    let loaded = load("version = 3\nroot = '/r'\n\n[grpc]\ncolour = 1\n[plugins.'x.y.z'.deep]\nany = 2\n").unwrap();
    let [warning] = loaded.warnings.as_slice() else { panic!("{:?}", loaded.warnings) };
    assert_eq!((warning.line, warning.column, warning.key.as_str()), (5, 1, "grpc.colour"));
    assert_eq!(loaded.into_config().unwrap().root, Path::new("/r"));
}

#[test]
fn wrong_values_are_errors_that_name_file_line_and_key() {
    for (text, line, key, why) in [
        ("version = 3\nroot = 5\n", 2, "root", "expected string, found integer"),
        ("version = 'x'\n", 1, "version", "expected integer, found string"),
        ("[grpc]\nuid = '0'\n", 2, "grpc.uid", "expected integer, found string"),
        ("grpc = 1\n", 1, "grpc", "expected table, found integer"),
        ("\n[plugins.'io.containerd.metadata.v1.bolt']\nno_sync = 1", 3, "no_sync", "expected boolean"),
        ("[plugins.bolt]\nno_sync = 1", 2, "plugins.bolt.no_sync", "expected boolean"),
        ("imports = ['a', 1]\n", 1, "imports[1]", "expected strings, found integer"),
        ("disabled_plugins = 'a.b'\n", 1, "disabled_plugins", "expected array"),
    ] {
        let error = error(text);
        assert!(error.contains(&format!("config.toml:{line}: ")), "{text}: {error}");
        assert!(error.contains(key) && error.contains(why), "{text}: {error}");
    }
    assert!(error("root = \n").contains("config.toml:1:"), "syntax errors have a place");
    assert!(error("root = '/x'\nstate = '/x'").contains("different paths"));
    assert!(error("[timeouts]\nx = 'soon'").contains("unable to parse \"soon\""));
    assert!(error("[plugins.bolt]\ncontent_sharing_policy = 'mine'").contains("mine"));
    assert!(error("[grpc]\nuid = -1").contains("-1"));
    assert!(error("disabled_plugins = ['cri']\nversion = 2").contains("invalid plugin URI"));
    let long = format!("[grpc]\naddress = '/{}'", "x".repeat(107));
    assert!(error(&long).contains("108 bytes, the kernel's limit is 107"));
}

#[test]
fn imports_are_merged_once_each_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    fs::create_dir(folder.path().join("conf.d")).unwrap();
    write(
        "main.toml",
        "version = 2\nimports = ['conf.d/*.toml']\ndisabled_plugins = ['a.b']\noom_score = 1\n\
         [plugins.'io.containerd.snapshotter.v1.overlayfs']\nslow_chown = true\nroot_path = '/o'\n\
         [proxy_plugins.s]\ntype = 'snapshot'\naddress = '/s.sock'\ncapabilities = ['c']\n",
    );
    write(
        "conf.d/1.toml",
        "version = 3\nimports = ['../main.toml', './../conf.d/1.toml']\ndisabled_plugins = ['a.b', 'c.d']\noom_score = 0\n\
         [plugins.'io.containerd.snapshotter.v1.overlayfs']\nslow_chown = false\n",
    );
    write("conf.d/2.toml", "version = 4\n[proxy_plugins.s]\ntype = 'content'\naddress = '/c.sock'\n");
    write("conf.d/3.txt", "not toml at all");
    let config = Loaded::read(&folder.path().join("main.toml"), true).unwrap().into_config().unwrap();
    assert_eq!(config.disabled_plugins, ["a.b", "c.d"]);
    assert_eq!(config.oom_score, 1, "a zero at the top does not override");
    let overlayfs = &config.plugins.overlayfs;
    assert_eq!((overlayfs.slow_chown, overlayfs.root_path.as_str()), (false, "/o"), "plugin tables merge deeply");
    let proxy = &config.proxy_plugins["s"];
    assert_eq!((proxy.kind.as_str(), proxy.capabilities.len()), ("content", 0), "named entries replace");

    write("broken.toml", "imports = ['gone.toml']\n");
    let error = Loaded::read(&folder.path().join("broken.toml"), true).unwrap_err();
    assert!(error.is_not_found() && error.to_string().contains("gone.toml"), "{error}");
}

#[test]
fn what_is_printed_reads_back_the_same() {
    for text in ["version = 3\n[grpc]\naddress = \"/it's.sock\"\ntcp_address = '[::1]:1'\n", "version = 4\n"] {
        let before = load(text).unwrap();
        let version = before.version;
        let expected = before.config.clone();
        let printed = before.render();
        assert!(printed.starts_with(&format!("version = {version}\n")), "{printed}");
        assert_eq!(printed.contains("\n[grpc]\n"), version == 3, "{printed}");
        let again = load(&printed).unwrap();
        assert_eq!(again.warnings, []);
        assert_eq!(again.config, expected, "{printed}");
    }
}

#[test]
fn flags_go_over_files() {
    let mut loaded = load("root = '/r'\n[grpc]\naddress = '/file.sock'\ngid = 9\n[debug]\nlevel = 'warn'").unwrap();
    let flags = Flags {
        root: Some("/flag".into()),
        state: None,
        address: Some("/flag.sock".into()),
        log_level: Some("debug".into()),
    };
    loaded.apply(&flags).unwrap();
    let config = loaded.into_config().unwrap();
    assert_eq!((config.root.to_str(), config.state.to_str()), (Some("/flag"), Some("/run/containerd")));
    assert_eq!(config.plugins.ttrpc.address, "/flag.sock.ttrpc");
    assert_eq!((config.plugins.ttrpc.gid, config.debug.level.as_str()), (9, "debug"));
}
