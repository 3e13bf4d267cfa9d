//! The memory of a guest, as a host function sees it: whatever a pointer says, nothing outside is touched.

use wasmtime::{Caller, Extern};

use super::Guest;

/// A guest's linear memory.
pub(super) struct Memory<'a>(&'a mut [u8]);

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
