//! glibc's allocator, told to keep little: a daemon that unpacked an image an hour ago
//! should not still look like it.

/// At most so many arenas: each keeps memory freed by the threads that used it.
const ARENAS: libc::c_int = 2;
/// Blocks from this size on are mapped on their own and go back at once when freed. Set, it
/// no longer grows with what was freed before. The buffers of a pull (400 KiB each that the HTTP
/// client fills) are smaller: mapped anew for each read, their page faults cost as much as the reading.
const MAP_FROM: libc::c_int = 1 << 20;
/// What an arena keeps free at its end, for the same reason, until [`trim`].
const KEEP: libc::c_int = 4 << 20;

/// Tunes the allocator. Call it first thing, before other threads exist.
pub fn keep_little() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt only stores numbers, and is defined for these parameters.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, ARENAS);
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAP_FROM);
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEEP);
    }
}

/// Gives freed memory back to the kernel.
pub fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim takes the allocator's own locks and touches free memory only.
    unsafe {
        libc::malloc_trim(0);
    }
}
