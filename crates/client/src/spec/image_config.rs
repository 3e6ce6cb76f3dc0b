//! What an image says about how to run it.

use super::linux::merge_env;
use super::types::Spec;
use super::users::RootFiles;
use crate::oci::Config;
use model::Result;

/// Where programs are found if the image does not say.
const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

impl Spec {
    /// Takes environment, command, folder and user of an image. The environment set before prevails.
    pub fn apply_image(&mut self, config: &Config, files: &RootFiles) -> Result<()> {
        let default = [DEFAULT_PATH.to_owned()];
        let environment = if config.env.is_empty() { &default[..] } else { &config.env };
        self.process.env = merge_env(environment, &self.process.env);
        self.process.args = [&config.entrypoint[..], &config.cmd[..]].concat();
        let cwd = Some(&config.working_dir).filter(|cwd| !cwd.is_empty());
        self.process.cwd = cwd.cloned().unwrap_or_else(|| "/".into());
        if config.user.is_empty() {
            // Root has further groups in many images.
            return self.add_groups_of("root", files);
        }
        self.set_user(&config.user, files)?;
        let uid = self.process.user.uid.to_string();
        self.add_groups_of(&uid, files)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_fills_in_what_was_not_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let files = RootFiles::at(folder.path()).unwrap();
        let mut spec = Spec::linux("default", "x");
        spec.set_env(&["A=mine"]);
        let strings = |list: &[&str]| list.iter().map(ToString::to_string).collect();
        let config = Config {
            env: strings(&["A=image", "B=image"]),
            entrypoint: strings(&["/init"]),
            cmd: strings(&["-x"]),
            user: "7:8".into(),
            ..Config::default()
        };
        spec.apply_image(&config, &files).unwrap();
        assert_eq!(spec.process.env, ["A=mine", "B=image"]);
        assert_eq!((spec.process.args.join(" "), spec.process.cwd.as_str()), ("/init -x".into(), "/"));
        assert_eq!((spec.process.user.uid, spec.process.user.gid), (7, 8));
        let mut spec = Spec::linux("default", "x");
        spec.apply_image(&Config::default(), &files).unwrap();
        assert_eq!(spec.process.env, [DEFAULT_PATH]);
    }
}
