//! `poll_oneoff` in a world where nothing is waited for: streams are always ready, and when only clocks are
//! subscribed to, time jumps to the earliest. The layouts are those of WASI preview 1 (`wasi_snapshot_preview1.witx`:
//! `subscription` 48 bytes, `event` 32 bytes).

use wasmtime::{Caller, Extern};

use super::Guest;

const SUBSCRIPTION_BYTES: usize = 48;
const EVENT_BYTES: usize = 32;
/// The most subscriptions in one call: it must not keep a thread from looking at its limits.
const SUBSCRIPTIONS: u32 = 4096;

const SUCCESS: i32 = 0;
const ERRNO_BADF: i32 = 8;
const ERRNO_INVAL: i32 = 28;

const CLOCK_REALTIME: u32 = 0;
const CLOCK_MONOTONIC: u32 = 1;
const FLAG_ABSOLUTE: u16 = 1;

/// What is subscribed to.
enum Wanted {
    /// Nanoseconds from now.
    Clock(u64),
    /// A stream, or what is none.
    Stream { errno: i32 },
    /// A clock that is not offered, or no known kind.
    Invalid,
}

pub(super) fn poll_oneoff(
    mut caller: Caller<'_, Guest>,
    subscriptions: u32,
    events: u32,
    count: u32,
    written: u32,
) -> wasmtime::Result<i32> {
    let Some(Extern::Memory(memory)) = caller.get_export("memory") else {
        return Err(wasmtime::Error::msg("the program exports no memory named `memory`"));
    };
    let (memory, guest) = memory.data_and_store_mut(&mut caller);
    poll(memory, guest, subscriptions as usize, events as usize, count, written as usize)
        .ok_or_else(|| wasmtime::Error::msg("poll_oneoff: pointer out of bounds"))
}

/// The errno, or nothing when a pointer leads out of memory.
fn poll(memory: &mut [u8], guest: &Guest, from: usize, to: usize, count: u32, written: usize) -> Option<i32> {
    if count == 0 || count > SUBSCRIPTIONS {
        return Some(ERRNO_INVAL);
    }
    let clock = &guest.clock;
    let wanted = |memory: &[u8], i: usize| -> Option<(u64, u8, Wanted)> {
        let at = from + i * SUBSCRIPTION_BYTES;
        let (userdata, kind) = (u64::from_le_bytes(bytes(memory, at)?), bytes::<1>(memory, at + 8)?[0]);
        let what = u32::from_le_bytes(bytes(memory, at + 16)?);
        let wanted = match kind {
            0 => {
                let timeout = u64::from_le_bytes(bytes(memory, at + 24)?);
                let absolute = u16::from_le_bytes(bytes(memory, at + 40)?) & FLAG_ABSOLUTE != 0;
                match what {
                    CLOCK_REALTIME | CLOCK_MONOTONIC if !absolute => Wanted::Clock(timeout),
                    CLOCK_REALTIME => Wanted::Clock(timeout.saturating_sub(clock.wall())),
                    CLOCK_MONOTONIC => Wanted::Clock(timeout.saturating_sub(clock.monotonic())),
                    _ => Wanted::Invalid,
                }
            }
            1 => Wanted::Stream { errno: if what == 0 { SUCCESS } else { ERRNO_BADF } },
            2 => Wanted::Stream { errno: if matches!(what, 1 | 2) { SUCCESS } else { ERRNO_BADF } },
            _ => Wanted::Invalid,
        };
        Some((userdata, kind, wanted))
    };

    let mut sleep = u64::MAX;
    for i in 0..count as usize {
        match wanted(memory, i)?.2 {
            Wanted::Clock(nanos) => sleep = sleep.min(nanos),
            Wanted::Stream { .. } => sleep = 0,
            Wanted::Invalid => return Some(ERRNO_INVAL),
        }
    }

    let mut ready = 0;
    for i in 0..count as usize {
        let (userdata, kind, wanted) = wanted(memory, i)?;
        let (errno, nbytes) = match wanted {
            Wanted::Clock(nanos) if nanos > sleep => continue,
            Wanted::Clock(_) | Wanted::Invalid => (SUCCESS, 0u64),
            Wanted::Stream { errno } => (errno, 1),
        };
        let mut event = [0; EVENT_BYTES];
        event[..8].copy_from_slice(&userdata.to_le_bytes());
        event[8..10].copy_from_slice(&(errno as u16).to_le_bytes());
        event[10] = kind;
        event[16..24].copy_from_slice(&nbytes.to_le_bytes());
        let at = to + ready as usize * EVENT_BYTES;
        memory.get_mut(at..at + EVENT_BYTES)?.copy_from_slice(&event);
        ready += 1;
    }
    clock.advance(sleep);
    memory.get_mut(written..written + 4)?.copy_from_slice(&u32::to_le_bytes(ready));
    Some(SUCCESS)
}

fn bytes<const N: usize>(memory: &[u8], at: usize) -> Option<[u8; N]> {
    memory.get(at..at.checked_add(N)?)?.try_into().ok()
}
