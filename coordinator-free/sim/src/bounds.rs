//! What a run may cost at most: work done in vain, and talk. Both as functions of what went wrong; where nothing did,
//! they are tight. And whether what is said to have gone wrong on the way did.

use std::time::Duration;

use crate::world::World;

/// Why work may have been done in vain.
#[derive(Clone, Copy, Debug, Default)]
pub struct Excuses {
    /// Work that was lost, in seconds on a node of slowness 1.
    pub lost: f64,
    /// How long some members could not know what others did.
    pub alone: Duration,
}

/// Messages that a node may send in a second to each other one, besides answering: its record five times and a
/// digest, by a clock that may run twice as fast.
const MESSAGES: u64 = 12;
/// Besides that: splits, what is taken of them, digests and probes, which go to one at a time.
const MORE_MESSAGES: u64 = 60;
/// Bytes of what it sends, on average: a record of a few intervals, and now and then who is elsewhere.
const MESSAGE_BYTES: u64 = 400;

pub fn judge(world: &mut World, needed: f64, longest: f64) {
    judge_waste(world, needed, longest);
    judge_post(world);
    let others = world.nodes.len() as u64 - 1;
    let most = MESSAGES * others + MORE_MESSAGES;
    for number in 0..world.nodes.len() {
        let (messages, bytes) = world.nodes[number].meter.most;
        if messages > most || bytes > most * MESSAGE_BYTES {
            world.checks.fail(format!(
                "node {number} sent {messages} messages and {bytes} bytes in a second beyond what it heard, at most \
                 {most} and {} are allowed",
                most * MESSAGE_BYTES
            ));
        }
    }
}

fn judge_waste(world: &mut World, needed: f64, longest: f64) {
    let scenario = &world.scenario;
    if scenario.costs.is_some() {
        // A measurement says how much it was.
        return;
    }
    let power = scenario.power();
    let threads: f64 = scenario.peers.iter().map(|peer| f64::from(peer.threads)).sum();
    // The last slots are raced, and all run on for as long as the word takes that it is over.
    let mut allowed = 0.02 * needed + 0.5 * longest * threads + 3.0 * scenario.weather.median.as_secs_f64() * power;
    // Who rests looks as if it had got stuck, and whose clock is fast takes the living for dead: others run it too.
    let rested = world.faults.contains_key("replicas compared");
    if rested || !scenario.mild {
        let Excuses { lost, alone } = world.excuses;
        allowed += lost + needed.min(alone.as_secs_f64() * power) + 0.5 * needed;
    }
    let wasted = world.done_work - needed;
    if wasted > allowed {
        world.checks.fail(format!(
            "{wasted:.3} s of work were in vain beside {needed:.3} s that were needed, at most {allowed:.3} s are \
             allowed ({:?})",
            world.excuses
        ));
    }
}

/// A fault that is counted and does no harm would make the world look harder than it is: all messages are accounted
/// for.
fn judge_post(world: &mut World) {
    let count = |name: &&str| world.links.faults.get(*name).copied().unwrap_or_default();
    let gone: u64 = ["loss", "partition", "one-way cut", "author away"].iter().map(count).sum();
    let (sent, twice, arrived) = (world.links.messages, count(&"duplication"), world.arrivals);
    if sent + twice != arrived + gone {
        world.checks.fail(format!("of {sent} messages {gone} were lost and {twice} doubled, and {arrived} arrived"));
    }
}
