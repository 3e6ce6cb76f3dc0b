//! The program's own file in memory. The kernel maps its pages as they are first used, some around each, and
//! keeps them mapped for as long as we run: what a daemon needs to start, or for one large request, would count
//! as its memory for good.

use std::{fs, io};

/// Unmaps all pages of the program's file. Used again, they come from the page cache, sixteen or more to a fault.
///
/// Parts that were written to stay: relocated data, and code in which a debugger or a probe has set a breakpoint.
pub fn unmap() -> io::Result<()> {
    let program = fs::read_link("/proc/self/exe")?;
    let mappings = fs::read_to_string("/proc/self/smaps")?;
    for (start, len) in clean(&mappings, &program.to_string_lossy()) {
        // SAFETY: the range is a private mapping of a file, unwritable, none of whose pages was ever written. Its
        // pages are read from that file again when they are next used. Mappings of the program's file are made
        // before `main` and stay, so that it is still the one that smaps has shown.
        if unsafe { libc::madvise(start as *mut libc::c_void, len, libc::MADV_DONTNEED) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Addresses and lengths of the mappings of `program` that cannot be written to and have no page that was.
fn clean<'a>(mappings: &'a str, program: &'a str) -> impl Iterator<Item = (usize, usize)> + 'a {
    let mut current = None;
    mappings.lines().filter_map(move |line| {
        if let Some(mapping) = header(line) {
            current = Some(mapping).filter(|mapping| mapping.file == program && mapping.is_read_only);
            return None;
        }
        let anonymous = line.strip_prefix("Anonymous:")?;
        let mapping = current.take()?;
        (anonymous.split_whitespace().next() == Some("0")).then_some((mapping.start, mapping.len))
    })
}

struct Mapping<'a> {
    start: usize,
    len: usize,
    is_read_only: bool,
    file: &'a str,
}

/// The first line of a mapping in smaps: `start-end perms offset device inode  file`.
fn header(line: &str) -> Option<Mapping<'_>> {
    let (range, rest) = line.split_once(' ')?;
    let (start, end) = range.split_once('-')?;
    let (start, end) = (usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
    let (permissions, rest) = rest.split_once(' ')?;
    let file = rest.splitn(4, ' ').nth(3)?.trim_start();
    let is_read_only = permissions.starts_with('r') && permissions.ends_with('p') && !permissions.contains('w');
    Some(Mapping { start, len: end.checked_sub(start)?, is_read_only, file })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMAPS: &str = "\
55d0-55e0 r--p 00000000 fe:00 1234                       /opt/a program
Size:                 64 kB
Anonymous:             0 kB
55e0-55f0 r-xp 00010000 fe:00 1234                       /opt/a program
Anonymous:             4 kB
55f0-5600 r-xp 00020000 fe:00 1234                       /opt/a program
Anonymous:             0 kB
5600-5610 r--p 00030000 fe:00 1234                       /opt/a program
Anonymous:           300 kB
5610-5620 rw-p 00040000 fe:00 1234                       /opt/a program
Anonymous:             0 kB
5620-5630 rw-p 00000000 00:00 0                          [heap]
Anonymous:             0 kB
7f00-7f10 r-xp 00000000 fe:00 9                          /usr/lib/libc.so.6
Anonymous:             0 kB
7f20-7f30 r-xs 00000000 fe:00 1234                       /opt/a program
Anonymous:             0 kB
7f40-7f50 rw-p 00000000 00:00 0 
Anonymous:             0 kB
";

    #[test]
    fn only_clean_parts_of_the_program_are_unmapped() {
        let found: Vec<_> = clean(SMAPS, "/opt/a program").collect();
        assert_eq!(found, [(0x55d0, 0x10), (0x55f0, 0x10)]);
        assert_eq!(clean(SMAPS, "/opt/another").count(), 0);
    }

    #[test]
    fn the_program_goes_on_without_its_pages() {
        let program = fs::read_link("/proc/self/exe").unwrap();
        let mappings = fs::read_to_string("/proc/self/smaps").unwrap();
        assert!(clean(&mappings, program.to_str().unwrap()).count() > 0, "there is code to unmap");
        for _ in 0..3 {
            unmap().unwrap();
        }
    }
}
