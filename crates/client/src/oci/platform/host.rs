//! The variant of this machine's architecture, as containerd finds it.

/// `v7` and the like on a 32-bit ARM; empty elsewhere, where it says nothing.
#[cfg(not(target_arch = "arm"))]
pub(super) fn variant() -> &'static str {
    ""
}

/// `v7` and the like, by what the kernel says of the processor; empty if that is nothing that is known.
#[cfg(target_arch = "arm")]
pub(super) fn variant() -> &'static str {
    static VARIANT: std::sync::LazyLock<&str> = std::sync::LazyLock::new(|| {
        let machine = rustix::system::uname().machine().to_string_lossy().into_owned();
        arm_variant(&std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default(), &machine)
    });
    &VARIANT
}

/// The variant by `/proc/cpuinfo` (proc_cpuinfo(5)), else by the machine's name of uname(2), which is all that an
/// emulator may tell.
#[cfg(any(target_arch = "arm", test))]
fn arm_variant(cpuinfo: &str, machine: &str) -> &'static str {
    let fields =
        || cpuinfo.lines().filter_map(|line| line.split_once(':')).map(|(name, value)| (name.trim(), value.trim()));
    let field = |wanted: &str| fields().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value);
    let version = field("CPU architecture").unwrap_or_else(|| machine.strip_prefix("armv").unwrap_or(machine));
    // The first Raspberry Pi: its kernel says 7.
    let six = field("model name").is_some_and(|model| model.to_ascii_lowercase().starts_with("armv6-compatible"));
    match version.as_bytes() {
        [b'7', ..] if six => "v6",
        [b'8', ..] | b"AArch64" | b"aarch64" => "v8",
        [b'7', ..] | [b'?', b'(', ..] => "v7",
        [b'6', ..] => "v6",
        [b'5', ..] => "v5",
        [b'4', ..] => "v4",
        [b'3', ..] => "v3",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variant_of_an_arm_is_what_the_kernel_says() {
        for (cpuinfo, machine, variant) in [
            ("processor\t: 0\nmodel name\t: ARMv7 Processor rev 3 (v7l)\nCPU architecture: 7\n", "armv7l", "v7"),
            ("model name\t: ARMv6-compatible processor rev 7 (v6l)\nCPU architecture: 7\n", "armv6l", "v6"),
            ("CPU architecture: 8\n", "armv8l", "v8"),
            ("CPU architecture: AArch64\n", "aarch64", "v8"),
            ("CPU architecture: 5TEJ\n", "armv5tejl", "v5"),
            ("vendor_id\t: GenuineIntel\n", "armv7l", "v7"),
            ("", "aarch64", "v8"),
            ("", "armv6l", "v6"),
            ("", "arm", ""),
        ] {
            assert_eq!(arm_variant(cpuinfo, machine), variant, "{cpuinfo:?} {machine}");
        }
    }
}
