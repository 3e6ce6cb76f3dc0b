//! Users and groups by name, as the container's own /etc/passwd and /etc/group know them.

use super::types::{Spec, User};
use model::{Error, Mount, Result};
use std::io::{self, Read as _};
use std::path::Path;
use sys::mount::{TempMount, read_only};
use sys::root::Root;

/// Most bytes read of either file: they come from an image, which may be anybody's.
const MAX_FILE: u64 = 16 << 20;

/// The largest id that runc accepts.
const MAX_ID: u32 = i32::MAX as u32;

/// The files of a root filesystem, resolved inside it.
#[derive(Debug)]
pub struct RootFiles {
    root: Root,
    _mount: Option<TempMount>,
}

/// A line of /etc/passwd or /etc/group, as far as it counts here.
struct Line {
    name: String,
    id: u32,
    /// The user's group.
    group: u32,
    /// The group's members.
    members: Vec<String>,
}

impl RootFiles {
    /// The root filesystem at `path`.
    pub fn at(path: &Path) -> Result<Self> {
        let root = Root::open(path).map_err(|error| Error::io(format!("open rootfs {}", path.display()), error))?;
        Ok(Self { root, _mount: None })
    }

    /// The root filesystem that `mounts` make. They are made read-only, where nobody else sees them.
    pub fn mounted(mounts: &[Mount]) -> Result<Self> {
        let mount = TempMount::new(&read_only(mounts))?;
        let Self { root, .. } = Self::at(mount.path())?;
        Ok(Self { root, _mount: Some(mount) })
    }

    fn lines(&self, file: &str) -> Result<Option<Vec<Line>>> {
        let failed = |error| Error::io(format!("read /{file} of the rootfs"), error);
        let mut text = Vec::new();
        match self.root.open_file(file) {
            Ok(file) => file.take(MAX_FILE).read_to_end(&mut text).map_err(failed)?,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(error) => return Err(failed(error)),
        };
        let text = String::from_utf8_lossy(&text);
        Ok(Some(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(Line::parse).collect()))
    }

    fn user(&self, matches: impl Fn(&Line) -> bool) -> Result<Option<Line>> {
        Ok(self.lines("etc/passwd")?.and_then(|lines| lines.into_iter().find(matches)))
    }

    fn group(&self, name: &str) -> Result<u32> {
        let lines = self.lines("etc/group")?.unwrap_or_default();
        let found = lines.iter().find(|line| line.name == name).map(|line| line.id);
        found.ok_or_else(|| Error::not_found(format!("group {name:?} is not in the rootfs' /etc/group")))
    }
}

impl Line {
    /// Fields that are missing or no numbers count as empty or 0.
    fn parse(line: &str) -> Self {
        let fields: Vec<&str> = line.split(':').collect();
        let field = |index: usize| fields.get(index).copied().unwrap_or_default();
        let number = |index| field(index).parse().unwrap_or(0);
        let members = field(3).split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        Self { name: field(0).to_owned(), id: number(2), group: number(3), members }
    }
}

impl Spec {
    /// Runs the process as `user`: `name`, `uid`, or either with `:group` or `:gid`.
    pub fn set_user(&mut self, user: &str, files: &RootFiles) -> Result<()> {
        self.process.user = find_user(user, files)?;
        self.process.user.add_own_group();
        Ok(())
    }

    /// Adds the groups that `user`, a name or uid, is a member of.
    pub fn add_groups_of(&mut self, user: &str, files: &RootFiles) -> Result<()> {
        let name = match user.parse::<u32>() {
            Ok(uid) => files.user(|line| line.id == uid)?.map(|line| line.name),
            Err(_) => Some(user.to_owned()),
        };
        let lines = files.lines("etc/group")?;
        let own = &mut self.process.user;
        own.additional_gids.clear();
        if let (Some(name), Some(lines)) = (name, lines) {
            let member = |line: &&Line| line.name != name && line.members.contains(&name);
            own.additional_gids.extend(lines.iter().filter(member).map(|line| line.id));
        }
        own.add_own_group();
        Ok(())
    }
}

impl User {
    /// The first of the further groups is the process' own, as for login(1).
    fn add_own_group(&mut self) {
        if !self.additional_gids.contains(&self.gid) {
            self.additional_gids.insert(0, self.gid);
        }
    }
}

fn find_user(text: &str, files: &RootFiles) -> Result<User> {
    let (user, group) = match text.split_once(':') {
        Some((_, group)) if group.contains(':') => {
            return Err(Error::invalid_argument(format!("invalid USER value {text:?}: it has more than one colon")));
        }
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    let found = match number(text, user, "uid")? {
        // Given with a group, a number need not be looked up.
        Some(uid) if group.is_some() => User { uid, ..User::default() },
        Some(uid) => {
            let gid = files.user(|line| line.id == uid)?.map_or(0, |line| line.group);
            User { uid, gid, ..User::default() }
        }
        None => {
            let line = files.user(|line| line.name == user)?;
            let line =
                line.ok_or_else(|| Error::not_found(format!("user {user:?} is not in the rootfs' /etc/passwd")))?;
            User { uid: line.id, gid: line.group, ..User::default() }
        }
    };
    let Some(group) = group else { return Ok(found) };
    let gid = match number(text, group, "gid")? {
        Some(gid) => gid,
        None => files.group(group)?,
    };
    Ok(User { gid, ..found })
}

/// The id that `part` is, unless it is a name.
fn number(text: &str, part: &str, what: &str) -> Result<Option<u32>> {
    let digits = part.strip_prefix(['-', '+']).unwrap_or(part);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    match part.parse() {
        Ok(id) if id <= MAX_ID => Ok(Some(id)),
        _ => Err(Error::invalid_argument(format!("invalid USER value {text:?}: {what} out of range"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> (tempfile::TempDir, RootFiles) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("etc")).unwrap();
        let passwd = "root:x:0:0:root:/root:/bin/sh\n\napp:x:1000:1001::/:\nbad line\n";
        std::fs::write(folder.path().join("etc/passwd"), passwd).unwrap();
        let group = "root:x:0:\nadm:x:4:root,app\napp:x:1001:app\nwheel:x:10:root\n";
        std::fs::write(folder.path().join("etc/group"), group).unwrap();
        let files = RootFiles::at(folder.path()).unwrap();
        (folder, files)
    }

    #[test]
    fn users_are_found_by_name_and_number() {
        let (_folder, files) = files();
        for (text, uid, gid) in [
            ("root", 0, 0),
            ("app", 1000, 1001),
            ("1000", 1000, 1001),
            ("4711", 4711, 0),
            ("app:adm", 1000, 4),
            ("app:7", 1000, 7),
            ("1000:7", 1000, 7),
            ("5:wheel", 5, 10),
        ] {
            let user = find_user(text, &files).unwrap();
            assert_eq!((user.uid, user.gid), (uid, gid), "{text}");
        }
        for bad in ["nobody", "app:nogroup", "4294967296", "-1", "1:2:3", "2147483648", "app:-1"] {
            assert!(find_user(bad, &files).is_err(), "{bad}");
        }
    }

    #[test]
    fn groups_are_those_the_user_is_a_member_of() {
        let (_folder, files) = files();
        let mut spec = Spec::linux("default", "x");
        spec.add_groups_of("root", &files).unwrap();
        assert_eq!(spec.process.user.additional_gids, [0, 4, 10]);
        spec.set_user("app", &files).unwrap();
        assert_eq!(spec.process.user.additional_gids, [1001]);
        spec.add_groups_of("1000", &files).unwrap();
        assert_eq!(spec.process.user.additional_gids, [1001, 4]);
    }

    #[test]
    fn an_image_without_passwd_runs_as_numbers_only() {
        let folder = tempfile::tempdir().unwrap();
        let files = RootFiles::at(folder.path()).unwrap();
        assert_eq!(find_user("12", &files).unwrap().uid, 12);
        assert!(find_user("root", &files).unwrap_err().is_not_found());
        let mut spec = Spec::linux("default", "x");
        spec.add_groups_of("root", &files).unwrap();
        assert_eq!(spec.process.user.additional_gids, [0]);
    }

    #[test]
    fn a_link_out_of_the_rootfs_stays_inside() {
        let (folder, files) = files();
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("passwd"), "evil:x:0:0:::\n").unwrap();
        let passwd = folder.path().join("etc/passwd");
        std::fs::remove_file(&passwd).unwrap();
        std::os::unix::fs::symlink(outside.path().join("passwd"), &passwd).unwrap();
        assert!(find_user("evil", &files).is_err());
    }
}
