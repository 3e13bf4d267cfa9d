//! The memory of a guest, as a host function sees it: whatever a pointer says, nothing outside is touched.

use wasmtime::{Caller, Extern};

use super::Guest;

/// How much of a guest's memory large pages are asked for, bytes: few take more, and each has this much reserved.
#[cfg(target_os = "linux")]
const ADVISED_BYTES: usize = 1 << 30;

/// A guest's linear memory.
pub(super) struct Memory<'a>(&'a mut [u8]);

/// Asks for large pages for what a guest will take: there are fewer of them to be had one by one, and to be found again.
/// A wish; whether it is granted makes no difference to what is computed.
pub(crate) fn in_large_pages(memory: &wasmtime::Memory, store: impl wasmtime::AsContext) {
    #[cfg(target_os = "linux")]
    #[allow(unsafe_code, reason = "there is no safe way to advise the system about memory")]
    // SAFETY: nothing but how it is paged changes, whatever lies there, and a refusal is no matter.
    let _ = unsafe { libc::madvise(memory.data_ptr(store).cast(), ADVISED_BYTES, libc::MADV_HUGEPAGE) };
    #[cfg(not(target_os = "linux"))]
    let _ = (memory, store);
}

/// The memory and the state of a guest that calls.
pub(super) fn of<'a>(caller: &'a mut Caller<'_, Guest>) -> wasmtime::Result<(Memory<'a>, &'a mut Guest)> {
    let Some(Extern::Memory(memory)) = caller.get_export("memory") else {
        return Err(wasmtime::Error::msg("the program exports no memory named `memory`"));
    };
    let (memory, guest) = memory.data_and_store_mut(caller);
    Ok((Memory(memory), guest))
}

impl Memory<'_> {
    /// `len` bytes from `at` on; a trap where they are not all inside.
    pub(super) fn slice(&mut self, at: u32, len: u32) -> wasmtime::Result<&mut [u8]> {
        let (at, len) = (at as usize, len as usize);
        let end = at.checked_add(len);
        end.and_then(|end| self.0.get_mut(at..end)).ok_or_else(|| wasmtime::Error::msg("a pointer out of bounds"))
    }

    pub(super) fn read<const N: usize>(&self, at: u32) -> wasmtime::Result<[u8; N]> {
        let bytes = self.0.get(at as usize..).and_then(|rest| rest.first_chunk());
        bytes.copied().ok_or_else(|| wasmtime::Error::msg("a pointer out of bounds"))
    }

    pub(super) fn u32(&self, at: u32) -> wasmtime::Result<u32> {
        self.read(at).map(u32::from_le_bytes)
    }

    pub(super) fn write(&mut self, at: u32, bytes: &[u8]) -> wasmtime::Result<()> {
        // What is written at once has a fixed and small length.
        self.slice(at, bytes.len() as u32)?.copy_from_slice(bytes);
        Ok(())
    }
}
