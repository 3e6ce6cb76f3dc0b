//! Which images a machine can run.

use super::{Platform, windows};
use std::ops::Range;

impl Platform {
    /// How well a machine of this platform runs `image`: 0 is best, `None` not at all.
    ///
    /// Older variants of the same architecture run, and so do their 32-bit relatives, the nearest first.
    pub fn rank(&self, image: &Self) -> Option<usize> {
        let nearest = self.compatible().iter().position(|own| own.is_same_machine(image));
        nearest.filter(|_| self.offers(image))
    }

    /// Whether an image for `image` is exactly for this platform.
    pub fn equals(&self, image: &Self) -> bool {
        self.is_same_machine(image) && self.offers(image)
    }

    fn is_same_machine(&self, image: &Self) -> bool {
        let (own, image) = (self.normalized(), image.normalized());
        (image.os, image.architecture, image.variant) == (own.os, own.architecture, own.variant)
    }

    /// Whether the operating system has the version and all of the features that an image needs. Versions count for
    /// Windows alone, and `win32k` does not.
    fn offers(&self, image: &Self) -> bool {
        let windows = self.normalized().os == "windows";
        let mut needed = image.os_features.iter().filter(|feature| !windows || *feature != "win32k");
        needed.all(|feature| self.os_features.contains(feature))
            && (!windows || windows::runs(&self.os_version, &image.os_version))
    }

    /// What this platform runs, the best first: itself, then what containerd's `platforms.Only` takes in its place.
    fn compatible(&self) -> Vec<Self> {
        let own = self.normalized();
        let older = |architecture: &str, prefix: &str, versions: Range<u8>| {
            let variant = |version| Self::new(&own.os, architecture, &format!("{prefix}{version}"));
            versions.rev().map(variant).collect::<Vec<_>>()
        };
        let version = |text: &str| text.trim_start_matches('v').parse().unwrap_or(0);
        let others = match own.architecture.as_str() {
            "amd64" => [older("amd64", "v", 1..version(&own.variant)), vec![Self::new(&own.os, "386", "")]].concat(),
            "arm" => older("arm", "v", 5..version(&own.variant)),
            "arm64" => {
                let (major, minor) = own.variant.split_once('.').unwrap_or((&own.variant, "0"));
                // v9.0 has what v8.5 has, v9.1 what v8.6 has; v8.9 is the last of them.
                let (nine, eight) = match (major, version(minor)) {
                    ("" | "v8", minor) => (0, minor),
                    ("v9", minor) => (minor, minor.saturating_add(6).min(10)),
                    _ => return vec![own],
                };
                [older("arm64", "v9.", 0..nine), older("arm64", "v8.", 0..eight), older("arm", "v", 5..9)].concat()
            }
            _ => Vec::new(),
        };
        [vec![own], others].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platform_runs_what_containerds_matcher_takes_the_nearest_first() {
        // What runs, in this order, and what does not.
        for (host, runs, refused) in [
            ("linux/amd64", "amd64 386", "amd64/v2 arm/v7 arm64"),
            ("linux/amd64/v1", "amd64 386", "amd64/v2"),
            ("linux/amd64/v3", "amd64/v3 amd64/v2 amd64 386", "amd64/v4"),
            ("linux/amd64/v4", "amd64/v4 amd64/v3 amd64/v2 amd64/v1 386", "arm64"),
            ("linux/386", "386", "amd64 arm/v7"),
            ("linux/arm/v8", "arm/v8 arm arm/v6 arm/v5", "arm/v4 arm64"),
            ("linux/arm", "arm/v7 arm/v6 arm/v5", "arm/v8 arm/v4 arm64"),
            ("linux/arm/v6", "arm/v6 arm/v5", "arm arm/v7"),
            ("linux/arm/v5", "arm/v5", "arm/v4 arm/v6"),
            ("linux/arm/v4", "arm/v4", "arm/v5"),
            ("linux/arm64", "arm64/v8 arm/v8 arm/v7 arm/v6 arm/v5", "arm64/v8.1 arm64/v9 arm/v4 arm/v9"),
            ("linux/arm64/v8.0", "arm64 arm/v8", "arm64/v8.1"),
            ("linux/arm64/v8.2", "arm64/v8.2 arm64/v8.1 arm64 arm/v8 arm/v5", "arm64/v8.3 arm64/v9"),
            ("linux/arm64/v8.9", "arm64/v8.9 arm64/v8.8 arm64/v8.1 arm64/v8.0 arm", "arm64/v9"),
            ("linux/arm64/v9", "arm64/v9.0 arm64/v8.5 arm64/v8.4 arm64/v8.1 arm64 arm/v8", "arm64/v8.6 arm64/v9.1"),
            ("linux/arm64/v9.2", "arm64/v9.2 arm64/v9.1 arm64/v9 arm64/v8.7 arm64/v8.6 arm64", "arm64/v9.3 arm64/v8.8"),
            ("linux/arm64/v9.7", "arm64/v9.7 arm64/v9.6 arm64/v9 arm64/v8.9 arm64 arm/v5", "arm64/v8.10 arm/v4 amd64"),
            ("linux/arm64/v10", "arm64/v10", "arm64/v9 arm64 arm/v8"),
            ("linux/riscv64", "riscv64", "arm64 amd64"),
        ] {
            let host = Platform::parse(host).unwrap();
            let rank = |image: &str| host.rank(&Platform::parse(&format!("linux/{image}")).unwrap());
            let ranks: Vec<_> = runs.split(' ').map(rank).collect();
            assert!(ranks[0] == Some(0) && ranks.is_sorted_by(|near, far| near < far), "{host}: {runs}: {ranks:?}");
            for image in refused.split(' ') {
                assert_eq!(rank(image), None, "{host}: {image}");
            }
            assert_eq!(host.rank(&Platform::parse("windows/amd64").unwrap()), None, "{host}");
        }
    }

    #[test]
    fn an_image_needs_no_more_than_the_operating_system_offers() {
        for (host, runs, refused) in [
            ("linux/amd64", "linux/amd64 linux(1.2)/amd64", "linux(+a)/amd64"),
            ("linux(+a+b)/amd64", "linux/amd64 linux(+b)/amd64 linux(+b+a)/386", "linux(+c)/amd64 linux(+a+c)/amd64"),
            ("windows/amd64", "windows(10.0.17763+win32k)/amd64 windows/amd64", "windows(+a)/amd64"),
            ("windows(10.0.17763.1)/amd64", "windows(10.0.17763.9)/amd64 windows/amd64", "windows(10.0.17764)/amd64"),
            (
                "windows(10.0.22621)/amd64",
                "windows(10.0.20348)/amd64 windows(10.0.22000)/amd64",
                "windows(10.0.17763)/amd64",
            ),
            (
                "windows(10.0.26100)/amd64",
                "windows(10.0.20348)/amd64",
                "windows(10.0.26101)/amd64 windows(6.3.26100)/amd64",
            ),
            ("windows(10.0.26200)/amd64", "windows(10.0.26100)/amd64", "windows(10.0.25398)/amd64 windows(10)/amd64"),
        ] {
            let (host, image) = (Platform::parse(host).unwrap(), |text: &str| Platform::parse(text).unwrap());
            for text in runs.split(' ') {
                assert!(host.rank(&image(text)).is_some(), "{host}: {text}");
            }
            for text in refused.split(' ') {
                assert!(host.rank(&image(text)).is_none() && !host.equals(&image(text)), "{host}: {text}");
            }
        }
    }
}
