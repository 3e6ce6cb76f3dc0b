//! From flags to a runtime spec, in the order in which Go's ctr applies them.

use super::flags::{ContainerFlags, RunFlags};
use super::mounts::{parse_mappings, parse_mount, parse_nofile};
use crate::flags::labels;
use client::oci::Config;
use client::spec::{IntelRdt, RootFiles, Spec};
use model::{Error, Result};

/// Period of the CFS quota that `--cpus` sets, in microseconds.
const PERIOD: u64 = 100_000;

/// Where users are looked up, and what the image says.
pub(super) struct Rootfs {
    pub(super) files: RootFiles,
    pub(super) image: Option<Config>,
    /// Absolute path, if it is no snapshot.
    pub(super) path: Option<String>,
}

/// The spec of container `id`; `args` replace the image's command.
pub(super) fn build(
    namespace: &str,
    id: &str,
    flags: &ContainerFlags,
    run: Option<&RunFlags>,
    rootfs: &Rootfs,
    args: &[String],
) -> Result<Spec> {
    refuse_unsupported(flags, run)?;
    let mut spec = Spec::linux(namespace, id);
    spec.allow_default_devices();
    if let Some(file) = &flags.env_file {
        let text = std::fs::read_to_string(file).map_err(|error| Error::io(format!("read env-file {file}"), error))?;
        spec.set_env(&text.lines().collect::<Vec<_>>());
    }
    spec.set_env(&flags.env);
    spec.add_mounts(flags.mount.iter().map(|text| parse_mount(text)).collect::<Result<_>>()?);
    if let Some(path) = &rootfs.path {
        spec.root.path.clone_from(path);
    }
    if let Some(image) = &rootfs.image {
        spec.apply_image(image, &rootfs.files)?;
    }
    if let Some(run) = run.filter(|run| !run.uidmap.is_empty() && !run.gidmap.is_empty()) {
        spec.map_users(parse_mappings(&run.uidmap)?, parse_mappings(&run.gidmap)?);
    }
    spec.root.readonly = flags.read_only;
    set_process(&mut spec, flags, rootfs, args)?;
    set_fences(&mut spec, flags, run)?;
    set_limits(&mut spec, flags, run)?;
    spec.annotations.extend(annotations(&flags.annotation)?);
    spec.annotations.extend(labels(&flags.label));
    Ok(spec)
}

/// Flags that are known, but whose work is not done yet.
fn refuse_unsupported(flags: &ContainerFlags, run: Option<&RunFlags>) -> Result<()> {
    let unsupported = [
        ("cni", run.is_some_and(|run| run.cni)),
        ("gpus", !flags.gpus.is_empty()),
        ("apparmor-default-profile", flags.apparmor_default_profile.is_some()),
        ("blockio-config-file", flags.blockio_config_file.is_some()),
        ("blockio-class", flags.blockio_class.is_some()),
    ];
    match unsupported.iter().find(|(_, given)| *given) {
        Some((flag, _)) => Err(Error::unimplemented(format!("--{flag} is not yet supported"))),
        None => Ok(()),
    }
}

/// What runs, where and as whom.
fn set_process(spec: &mut Spec, flags: &ContainerFlags, rootfs: &Rootfs, args: &[String]) -> Result<()> {
    if !args.is_empty() {
        spec.process.args = args.to_vec();
    }
    if spec.process.args.is_empty() {
        return Err(Error::invalid_argument("no command: the image has none, so give one after the container's id"));
    }
    if let Some(cwd) = flags.cwd.as_ref().filter(|cwd| !cwd.is_empty()) {
        spec.process.cwd.clone_from(cwd);
    }
    if let Some(user) = flags.user.as_ref().filter(|user| !user.is_empty()) {
        spec.set_user(user, &rootfs.files)?;
        spec.add_groups_of(user, &rootfs.files)?;
    }
    if flags.tty {
        spec.set_terminal();
    }
    if let Some(hostname) = &flags.hostname {
        spec.hostname.clone_from(hostname);
    }
    Ok(())
}

/// What it is kept from.
fn set_fences(spec: &mut Spec, flags: &ContainerFlags, run: Option<&RunFlags>) -> Result<()> {
    let without_devices = run.is_some_and(|run| run.privileged_without_host_devices);
    if without_devices && !flags.privileged {
        return Err(Error::invalid_argument(
            "can't use 'privileged-without-host-devices' without 'privileged' specified",
        ));
    }
    if flags.privileged {
        spec.make_privileged()?;
        if !without_devices {
            spec.add_host_devices()?;
        }
    }
    if flags.net_host {
        let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
        spec.use_host_network(&hostname);
    }
    spec.add_capabilities(&flags.cap_add)?;
    spec.drop_capabilities(&flags.cap_drop)?;
    set_seccomp(spec, flags)?;
    if let Some(profile) = &flags.apparmor_profile {
        spec.process.apparmor_profile.clone_from(profile);
    }
    for text in &flags.with_ns {
        let (kind, path) = text.split_once(':').ok_or_else(|| {
            Error::invalid_argument(format!(
                "joining a Linux namespace using --with-ns requires the format 'nstype:path', not {text:?}"
            ))
        })?;
        spec.join_namespace(kind, path)?;
    }
    if flags.allow_new_privs {
        spec.process.no_new_privileges = false;
    }
    for device in &flags.device {
        if !device.starts_with('/') && device.contains('=') {
            return Err(Error::unimplemented(format!("device {device:?}: CDI devices are not yet supported")));
        }
        spec.add_device(device)?;
    }
    if let Some(mode) = &flags.rootfs_propagation {
        spec.linux.rootfs_propagation.clone_from(mode);
    }
    Ok(())
}

fn set_seccomp(spec: &mut Spec, flags: &ContainerFlags) -> Result<()> {
    match (&flags.seccomp_profile, flags.seccomp) {
        (Some(_), false) => {
            Err(Error::invalid_argument("seccomp must be set to true, if using a custom seccomp-profile"))
        }
        (Some(path), true) => {
            let profile = std::fs::read(path);
            spec.use_seccomp(path, &profile.map_err(|error| Error::io(format!("read seccomp profile {path}"), error))?)
        }
        (None, true) => {
            spec.use_default_seccomp();
            Ok(())
        }
        (None, false) => Ok(()),
    }
}

/// How much it may use.
fn set_limits(spec: &mut Spec, flags: &ContainerFlags, run: Option<&RunFlags>) -> Result<()> {
    let own_quota = flags.cpu_quota != -1 || flags.cpu_period != 0;
    if let Some(run) = run {
        if run.cpus > 0.0 {
            if own_quota {
                return Err(Error::invalid_argument("cpus and quota/period should be used separately"));
            }
            #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "as precise as it gets")]
            let quota = (run.cpus * PERIOD as f64) as i64;
            (spec.cpu().quota, spec.cpu().period) = (Some(quota), Some(PERIOD));
        }
        if let Some(cpus) = &run.cpuset_cpus {
            spec.cpu().cpus.clone_from(cpus);
        }
        if let Some(mems) = &run.cpuset_mems {
            spec.cpu().mems.clone_from(mems);
        }
        if run.cpu_shares > 0 {
            spec.cpu().shares = Some(run.cpu_shares);
        }
        if let Some(cgroup) = &run.cgroup {
            spec.linux.cgroups_path.clone_from(cgroup);
        }
        if let Some(limit) = &run.rlimit_nofile {
            spec.set_rlimit(parse_nofile(limit)?);
        }
    }
    if own_quota {
        (spec.cpu().quota, spec.cpu().period) = (Some(flags.cpu_quota), Some(flags.cpu_period));
    }
    if flags.memory_limit != 0 {
        spec.limit_memory(flags.memory_limit);
    }
    spec.linux.intel_rdt = flags.rdt_class.clone().map(|clos_id| IntelRdt { clos_id });
    Ok(())
}

/// `key=value` each, both of them.
fn annotations(texts: &[String]) -> Result<Vec<(String, String)>> {
    let split = |text: &String| match text.split_once('=') {
        Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
        None => Err(Error::invalid_argument(format!("invalid key=value format annotation: {text}"))),
    };
    texts.iter().map(split).collect()
}
