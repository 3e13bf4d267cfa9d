//! `poll_oneoff` in a world where nothing is waited for: streams are always ready, and when only clocks are
//! subscribed to, time jumps to the earliest. The layouts are those of WASI preview 1 (`wasi_snapshot_preview1.witx`:
//! `subscription` 48 bytes, `event` 32 bytes).

use wasmtime::Caller;

use super::memory::{self, Memory};
use super::{Guest, errno};

const SUBSCRIPTION_BYTES: u32 = 48;
const EVENT_BYTES: u32 = 32;
/// The most subscriptions in one call: it must not keep a thread from looking at its limits.
const SUBSCRIPTIONS: u32 = 4096;

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
    let (mut memory, guest) = memory::of(&mut caller)?;
    if count == 0 || count > SUBSCRIPTIONS {
        return Ok(errno::INVAL);
    }
    let mut sleep = u64::MAX;
    for number in 0..count {
        match wanted(&memory, guest, subscriptions, number)?.2 {
            Wanted::Clock(nanos) => sleep = sleep.min(nanos),
            Wanted::Stream { .. } => sleep = 0,
            Wanted::Invalid => return Ok(errno::INVAL),
        }
    }
    let mut ready = 0;
    for number in 0..count {
        let (userdata, kind, wanted) = wanted(&memory, guest, subscriptions, number)?;
        let (errno, nbytes) = match wanted {
            Wanted::Clock(nanos) if nanos > sleep => continue,
            Wanted::Clock(_) | Wanted::Invalid => (errno::SUCCESS, 0u64),
            Wanted::Stream { errno } => (errno, 1),
        };
        let mut event = [0; EVENT_BYTES as usize];
        event[..8].copy_from_slice(&userdata.to_le_bytes());
        event[8..10].copy_from_slice(&(errno as u16).to_le_bytes());
        event[10] = kind;
        event[16..24].copy_from_slice(&nbytes.to_le_bytes());
        memory.write(events.wrapping_add(ready * EVENT_BYTES), &event)?;
        ready += 1;
    }
    guest.clock.advance(sleep);
    memory.write(written, &ready.to_le_bytes())?;
    Ok(errno::SUCCESS)
}

/// Who asks in a subscription, for what kind of event, and what that comes to.
fn wanted(memory: &Memory<'_>, guest: &Guest, list: u32, number: u32) -> wasmtime::Result<(u64, u8, Wanted)> {
    let at = list.wrapping_add(number * SUBSCRIPTION_BYTES);
    let field = |offset| at.wrapping_add(offset);
    let (userdata, kind) = (u64::from_le_bytes(memory.read(at)?), memory.read::<1>(field(8))?[0]);
    let what = memory.u32(field(16))?;
    let wanted = match kind {
        0 => {
            let timeout = u64::from_le_bytes(memory.read(field(24))?);
            let absolute = u16::from_le_bytes(memory.read(field(40))?) & FLAG_ABSOLUTE != 0;
            match what {
                CLOCK_REALTIME | CLOCK_MONOTONIC if !absolute => Wanted::Clock(timeout),
                CLOCK_REALTIME => Wanted::Clock(timeout.saturating_sub(guest.clock.wall())),
                CLOCK_MONOTONIC => Wanted::Clock(timeout.saturating_sub(guest.clock.monotonic())),
                _ => Wanted::Invalid,
            }
        }
        1 | 2 => {
            let can = if kind == 1 { what == 0 || guest.files.is_open(what) } else { matches!(what, 1 | 2) };
            Wanted::Stream { errno: if can { errno::SUCCESS } else { errno::BADF } }
        }
        _ => Wanted::Invalid,
    };
    Ok((userdata, kind, wanted))
}
