//! Versions of Windows: which images a host runs by that of its kernel.
//!
//! <https://learn.microsoft.com/virtualization/windowscontainers/deploy-containers/version-compatibility>

/// Builds of the releases with a stable interface for containers: Windows Server 2022 and 2025.
const STABLE: [u16; 2] = [20348, 26100];

/// Whether a host of the version `own` runs an image of the version `image`. One that is not known says nothing.
pub(super) fn runs(own: &str, image: &str) -> bool {
    let Some((release, build)) = parse(own).filter(|_| !image.is_empty()) else { return true };
    let Some((_, image)) = parse(image).filter(|(of, _)| *of == release) else { return false };
    if build < STABLE[0] {
        return image == build;
    }
    // What came since the stable release before the host's.
    let oldest = STABLE.into_iter().rfind(|stable| *stable < build).unwrap_or(STABLE[0]);
    (oldest..=build).contains(&image)
}

/// `((major, minor), build)` of `10.0.17763.1234`.
fn parse(version: &str) -> Option<((u8, u8), u16)> {
    let mut parts = version.split('.');
    let release = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    Some((release, parts.next()?.parse().ok()?))
}
