//! How much is to be read.

/// Bytes that standard input still has, or nothing where nobody knows: who has room for all of them from the start does
/// not copy them as its room grows.
#[cfg(target_os = "wasi")]
#[allow(unsafe_code, reason = "a descriptor by its number")]
pub(crate) fn left() -> usize {
    use std::fs::File;
    use std::mem::ManuallyDrop;
    use std::os::fd::FromRawFd;

    // SAFETY: 0 is open as long as the program runs, and is not closed here.
    let stdin = ManuallyDrop::new(unsafe { File::from_raw_fd(0) });
    stdin.metadata().map_or(0, |known| usize::try_from(known.len()).unwrap_or(0))
}

#[cfg(not(target_os = "wasi"))]
pub(crate) fn left() -> usize {
    0
}
