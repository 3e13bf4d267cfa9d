//! Somebody who is no member, or a member under another's name: what it says must change nothing.

use coordinator_free::message::{Close, Record, Seal};
use coordinator_free::{Input, Load, Message, Reason};
use essaim_jobs::{IntervalSet, Keypair, Leaf, NodeId, Receipt, Results, Signed};

use crate::world::World;

/// Sends one forgery to one node, chosen by chance.
pub fn forge(world: &mut World) {
    let outsider = Keypair::from_seed(&[0xbd; 32]);
    let from = NodeId(outsider.public());
    let victim = world.rng.below(world.nodes.len() as u64) as usize;
    let other = (victim + 1) % world.nodes.len();
    let all: IntervalSet = (0..world.scenario.rows.slots()).into();
    let job = world.job;
    let seal = Seal { job, slots: all.clone() };
    let close = Close { job, reason: Reason::Done };
    let author = world.author.public();
    let (from, message) = match world.rng.below(8) {
        0 => (from, Message::Seal(Signed::sign(seal, &outsider))),
        1 => (from, Message::Close(Signed::sign(close, &outsider))),
        2 => (from, Message::Seal(as_if(Signed::sign(seal, &outsider), author))),
        3 => (from, Message::Close(as_if(Signed::sign(close, &outsider), author))),
        4 => {
            let load = Load { threads: 9, ..Load::default() };
            let record = Record { job, seq: u64::MAX, held: all.clone(), done: all, load, leaving: false };
            let signer = world.nodes[other].id.0;
            (from, Message::Record(as_if(Signed::sign(record, &outsider), signer)))
        }
        5 => (from, Message::Grant { ask: 1, slots: all }),
        6 => (from, Message::Counted { slots: all }),
        _ => {
            let slots: IntervalSet = (0..1).into();
            let leaves = vec![Leaf::Inline(bytes::Bytes::from_static(b"forged"))];
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
