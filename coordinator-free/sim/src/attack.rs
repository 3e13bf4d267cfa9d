//! Those who mean harm: forgers, whom nobody may believe; and keys that are no member's but sign what is valid,
//! to claim everything or to keep everybody busy.

use std::time::Duration;

use coordinator_free::message::{Close, Record, Seal};
use coordinator_free::{Input, Load, Message, Reason};
use essaim_jobs::{IntervalSet, Keypair, Leaf, NodeId, Receipt, Results, Signed, encode};

use crate::event::Event;
use crate::scenario::Nature;
use crate::world::World;

/// One more attack of a node that is nothing else; the next one follows, until all is healed.
pub fn attack(world: &mut World, node: usize) {
    let gap = match world.nodes[node].nature {
        Nature::Grabber => {
            grab(world, node);
            Duration::from_secs(1)
        }
        Nature::Spammer(rate) => {
            spam(world, node);
            Duration::from_secs(1) / rate
        }
        Nature::Honest | Nature::Flaky(_) | Nature::Liar(_) | Nature::Hog => return,
    };
    // Spam ends with the other faults, as nothing is proved by more of it; a grabber never gives up.
    let goes_on = world.nodes[node].nature == Nature::Grabber || world.now < world.scenario.heal;
    if goes_on && world.makespan.is_none() {
        world.queue.at(world.now + gap, Event::Attack { node });
    }
}

/// It holds everything, it says, and is busy with it.
fn grab(world: &mut World, node: usize) {
    world.count("grab");
    let load = Load { threads: 4, slot_micros: 1_000_000, queued: 2, running: 4, blocked: 0 };
    let held = (0..world.scenario.rows.slots()).into();
    let record = record(world, node, held, load);
    say_to_all(world, node, &record);
}

/// Something that is valid and of no use to anybody.
fn spam(world: &mut World, node: usize) {
    world.count("spam");
    let to = world.rng.below(world.nodes.len() as u64) as usize;
    let threads = [0, 4][world.rng.below(2) as usize];
    let load = Load { threads, ..Load::default() };
    let ask = world.now.as_nanos() as u64;
    match world.rng.below(4) {
        0 => {
            let record = record(world, node, IntervalSet::new(), Load::default());
            say_to_all(world, node, &record);
        }
        1 => say(world, node, to, &Message::Digest { term: 0, sealed: 0, banned: 0, records: Vec::new() }),
        2 => say(world, node, to, &Message::Split { ask, taken: None, load }),
        _ => say(world, node, to, &Message::Ledger { seals: Vec::new(), bans: Vec::new(), records: Vec::new() }),
    }
}

fn record(world: &World, node: usize, held: IntervalSet, load: Load) -> Message {
    let seq = world.now.as_nanos() as u64;
    let record = Record { job: world.job, seq, group: 0, held, done: IntervalSet::new(), load, leaving: None };
    Message::Record(Signed::sign(record, &world.nodes[node].key))
}

fn say(world: &mut World, from: usize, to: usize, message: &Message) {
    world.transmit(from, to, message, encode(message).into());
}

fn say_to_all(world: &mut World, from: usize, message: &Message) {
    (0..world.nodes.len()).for_each(|to| say(world, from, to, message));
}

/// Sends one forgery to one node, chosen by chance.
pub fn forge(world: &mut World) {
    let outsider = Keypair::from_seed(&[0xbd; 32]);
    let from = NodeId(outsider.public());
    // The author is the one worth deceiving.
    let victim = if world.rng.chance(0.5) { 0 } else { world.rng.below(world.nodes.len() as u64) as usize };
    let other = (victim + 1) % world.nodes.len();
    let all: IntervalSet = (0..world.scenario.rows.slots()).into();
    let job = world.job;
    let seal = Seal { job, term: 7, slots: all.clone() };
    let close = Close { job, reason: Reason::Done };
    let author = world.author.public();
    let (from, message) = match world.rng.below(8) {
        0 => (from, Message::Seal(Signed::sign(seal, &outsider))),
        1 => (from, Message::Close(Signed::sign(close, &outsider))),
        2 => (from, Message::Seal(as_if(Signed::sign(seal, &outsider), author))),
        3 => (from, Message::Close(as_if(Signed::sign(close, &outsider), author))),
        4 => {
            let load = Load { threads: 9, ..Load::default() };
            let record = Record { job, seq: u64::MAX, group: 0, held: all.clone(), done: all, load, leaving: None };
            let signer = world.nodes[other].id.0;
            (from, Message::Record(as_if(Signed::sign(record, &outsider), signer)))
        }
        5 => (from, Message::Grant { ask: 1, slots: all }),
        6 => (from, Message::Counted { slots: all }),
        _ => {
            let first = world.rng.below(u64::from(world.scenario.rows.slots())) as u32;
            let slots: IntervalSet = (first..(first + 64).min(world.scenario.rows.slots())).into();
            let leaves = vec![Leaf::Inline(bytes::Bytes::from_static(b"forged")); slots.len() as usize];
            let root = Receipt::root(&leaves);
            let receipt = Receipt { job, slots, root, engine: String::new(), cpu_micros: 0 };
            let signer = world.nodes[other].id.0;
            let receipt = as_if(Signed::sign(receipt, &outsider), signer);
            (world.nodes[other].id, Message::Results(Results { receipt, leaves }))
        }
    };
    world.feed(victim, Input::Message { from, message });
}

/// The statement with another's name under it.
fn as_if<T>(mut signed: Signed<T>, signer: [u8; 32]) -> Signed<T> {
    signed.signer = signer;
    signed
}
