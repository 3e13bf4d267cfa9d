//! The kinds of fault: how likely each is in a world, how it is drawn, and what must then be seen to happen.

use std::collections::BTreeSet;
use std::time::Duration;

use essaim_sim::event::{Cut, Fault};
use essaim_sim::net::Rng;
use essaim_sim::scenario::{Nature, Scenario};

/// One kind of fault.
pub struct Kind {
    pub name: &'static str,
    /// How many of the worlds have it.
    chance: f64,
    /// Whether the core gets through it. Others are drawn only when asked for, with `--with`.
    survived: bool,
    /// Whether no work may be done twice because of it.
    mild: bool,
    /// What has to be counted in at least one world of a full run.
    pub fires: &'static [&'static str],
    /// Plans it; false where the world has no place for it.
    plan: fn(&mut Scenario, &mut Rng) -> bool,
}

/// Worlds in which nothing goes wrong, one in so many: they must waste nearly nothing.
const QUIET: u64 = 12;

#[rustfmt::skip]
pub const MENU: &[Kind] = &[
    Kind { name: "loss", chance: 0.4, survived: true, mild: false, fires: &["loss"], plan: loss },
    Kind { name: "duplication", chance: 0.3, survived: true, mild: true, fires: &["duplication"], plan: duplication },
    Kind { name: "reordering", chance: 0.3, survived: true, mild: false, fires: &["reordering"], plan: reordering },
    Kind { name: "tail", chance: 0.3, survived: true, mild: false, fires: &["long delay"], plan: tail },
    Kind { name: "partition", chance: 0.25, survived: true, mild: false, fires: &["partition"], plan: partition },
    Kind { name: "one-way", chance: 0.25, survived: true, mild: false, fires: &["one-way cut"], plan: one_way },
    Kind { name: "author-away", chance: 0.15, survived: true, mild: false, fires: &["author away"], plan: author_away },
    Kind { name: "crash", chance: 0.4, survived: true, mild: false, fires: &["crash", "output lost"], plan: crash },
    Kind { name: "restart", chance: 0.3, survived: true, mild: false, fires: &["restart without disk"], plan: restart },
    Kind { name: "restart-disk", chance: 0.2, survived: true, mild: false, fires: &["restart with disk"], plan: restart_disk },
    Kind { name: "author-restart", chance: 0.15, survived: true, mild: false, fires: &["author restart"], plan: author_restart },
    Kind { name: "author-moves", chance: 0.12, survived: true, mild: false, fires: &["author moves"], plan: author_moves },
    Kind { name: "detached", chance: 0.08, survived: true, mild: false, fires: &["deposit"], plan: detached },
    Kind { name: "half-dies", chance: 0.08, survived: true, mild: false, fires: &["crash"], plan: half_dies },
    Kind { name: "slow", chance: 0.3, survived: true, mild: true, fires: &["slow peer"], plan: slow },
    Kind { name: "slowdown", chance: 0.2, survived: true, mild: false, fires: &["slowdown"], plan: slowdown },
    Kind { name: "skew", chance: 0.3, survived: true, mild: true, fires: &["clock skew"], plan: skew },
    Kind { name: "jump", chance: 0.2, survived: true, mild: false, fires: &["clock jump", "clock jump back"], plan: jump },
    Kind { name: "far-jump", chance: 0.05, survived: true, mild: false, fires: &["far clock jump"], plan: far_jump },
    Kind { name: "late", chance: 0.4, survived: true, mild: true, fires: &["late joiner"], plan: late },
    Kind { name: "leave", chance: 0.2, survived: true, mild: true, fires: &["leave"], plan: leave },
    Kind { name: "pause", chance: 0.2, survived: true, mild: true, fires: &["pause"], plan: pause },
    Kind { name: "forgery", chance: 0.25, survived: true, mild: true, fires: &["forgery"], plan: forgery },
    Kind { name: "flaky", chance: 0.15, survived: true, mild: false, fires: &["failed chunk"], plan: flaky },
    Kind { name: "liar", chance: 0.3, survived: true, mild: false, fires: &["lie"], plan: liar },
    Kind { name: "hog", chance: 0.1, survived: true, mild: false, fires: &["slot hogged"], plan: hog },
    Kind { name: "grab", chance: 0.1, survived: true, mild: false, fires: &["grab"], plan: grab },
    Kind { name: "spam", chance: 0.1, survived: true, mild: false, fires: &["spam"], plan: spam },
    Kind { name: "doomed", chance: 0.1, survived: true, mild: false, fires: &["doomed chunk", "given up"], plan: doomed },
];

/// Which kinds there may be.
#[derive(Clone, Debug, Default)]
pub struct Menu {
    /// In every world that has a place for them.
    pub with: Vec<String>,
    pub without: Vec<String>,
    /// Nothing but these (and those in `with`).
    pub only: Option<Vec<String>>,
}

impl Menu {
    /// What is wrong with a name.
    pub fn check(&self) -> Result<(), String> {
        let names = self.with.iter().chain(&self.without).chain(self.only.iter().flatten());
        match names.into_iter().find(|name| MENU.iter().all(|kind| kind.name != **name)) {
            Some(name) => {
                let known: Vec<&str> = MENU.iter().map(|kind| kind.name).collect();
                Err(format!("there is no fault \"{name}\"; hint: there are {}", known.join(", ")))
            }
            None => Ok(()),
        }
    }

    pub fn has(&self, kind: &Kind) -> bool {
        let named = |names: &[String]| names.iter().any(|name| name == kind.name);
        let drawn = self.only.as_ref().map_or(kind.survived, |only| named(only));
        named(&self.with) || (drawn && !named(&self.without))
    }

    /// Draws the faults of a world. Each kind has its own chance, so that another one changes nothing of it.
    pub fn plan(&self, seed: u64, scenario: &mut Scenario) {
        let quiet = seed.is_multiple_of(QUIET);
        for kind in MENU.iter().filter(|kind| self.has(kind)) {
            let mut rng = Rng::of(seed, kind.name);
            let always = self.with.iter().any(|name| name == kind.name);
            if (always || (!quiet && rng.chance(kind.chance))) && (kind.plan)(scenario, &mut rng) {
                scenario.kinds.push(kind.name);
                scenario.mild &= kind.mild;
            }
        }
    }

    /// The options that make this menu.
    pub fn options(&self) -> String {
        let list = |name: &str, list: &[String]| match list {
            [] => String::new(),
            list => format!(" --{name} {}", list.join(",")),
        };
        let only = self.only.as_ref().map_or_else(String::new, |only| list("only", only));
        only + &list("with", &self.with) + &list("without", &self.without)
    }
}

fn loss(world: &mut Scenario, rng: &mut Rng) -> bool {
    world.weather.loss = 0.3 * rng.unit();
    true
}

fn duplication(world: &mut Scenario, rng: &mut Rng) -> bool {
    world.weather.duplication = 0.2 * rng.unit();
    true
}

fn reordering(world: &mut Scenario, rng: &mut Rng) -> bool {
    world.weather.jitter = rng.between(0.5, 1.2);
    true
}

fn tail(world: &mut Scenario, rng: &mut Rng) -> bool {
    world.weather.tail = 0.05 * rng.unit();
    true
}

/// Adds a cut that lasts for at most `most` of the time until all is healed.
fn cut(world: &mut Scenario, rng: &mut Rng, name: &'static str, ends: [BTreeSet<usize>; 2], most: f64) {
    let (at, number) = (world.early(rng), world.faults.len());
    let until = world.heal.min(at + world.heal.mul_f64(most * rng.between(0.3, 1.0)));
    let [from, to] = ends;
    let cut = Cut { number, name, from, to, both: name != "one-way cut", noticed: rng.chance(0.4) };
    world.fault(at, Fault::Cut(cut));
    world.fault(until, Fault::Mend(number));
}

fn partition(world: &mut Scenario, rng: &mut Rng) -> bool {
    for _ in 0..=rng.below(3) {
        let (one, other) = (0..world.peers.len()).partition(|_| rng.chance(0.5));
        cut(world, rng, "partition", [one, other], 1.0);
    }
    true
}

fn one_way(world: &mut Scenario, rng: &mut Rng) -> bool {
    for _ in 0..=rng.below(4) {
        let mut side = || (0..world.peers.len()).filter(|_| rng.chance(0.4)).collect();
        let sides = [side(), side()];
        cut(world, rng, "one-way cut", sides, 1.0);
    }
    true
}

fn author_away(world: &mut Scenario, rng: &mut Rng) -> bool {
    let all = 1..world.peers.len();
    cut(world, rng, "author away", [[0].into(), all.collect()], 0.5);
    true
}

fn die(world: &mut Scenario, rng: &mut Rng, back: bool, disk: bool) -> bool {
    let Some(node) = world.victim(rng) else { return false };
    let at = world.early(rng);
    world.fault(at, Fault::Crash { node, disk });
    if back {
        let back = world.later(rng, at);
        world.fault(back, Fault::Join(node));
    }
    true
}

fn crash(world: &mut Scenario, rng: &mut Rng) -> bool {
    (0..=rng.below(3)).all(|_| die(world, rng, false, false))
}

fn restart(world: &mut Scenario, rng: &mut Rng) -> bool {
    (0..=rng.below(2)).all(|_| die(world, rng, true, false))
}

fn restart_disk(world: &mut Scenario, rng: &mut Rng) -> bool {
    (0..=rng.below(2)).all(|_| die(world, rng, true, true))
}

fn author_restart(world: &mut Scenario, rng: &mut Rng) -> bool {
    for _ in 0..=rng.below(2) {
        let at = world.early(rng);
        let back = world.later(rng, at);
        world.fault(at, Fault::Crash { node: 0, disk: true });
        world.fault(back, Fault::Join(0));
    }
    true
}

/// The author's machine is gone, and the author back at another, with nothing but its key.
fn author_moves(world: &mut Scenario, rng: &mut Rng) -> bool {
    let at = world.early(rng);
    let back = world.later(rng, at);
    world.fault(at, Fault::Crash { node: 0, disk: false });
    world.fault(back, Fault::Join(0));
    true
}

/// The author is away for long, workers die meanwhile, and it comes back, with its disk or without.
fn detached(world: &mut Scenario, rng: &mut Rng) -> bool {
    let at = world.early(rng);
    world.heal += Duration::from_secs_f64(rng.between(8.0, 25.0));
    for _ in 0..rng.below(3) {
        let Some(node) = world.victim(rng) else { break };
        let died = at + (world.heal - at).mul_f64(rng.between(0.5, 1.0));
        world.fault(died, Fault::Crash { node, disk: false });
    }
    let disk = rng.chance(0.5);
    world.fault(at, Fault::Crash { node: 0, disk });
    world.fault(world.heal, Fault::Join(0));
    true
}

fn half_dies(world: &mut Scenario, rng: &mut Rng) -> bool {
    let at = world.early(rng);
    let dying: Vec<usize> = (world.staying()..world.peers.len()).step_by(2).collect();
    dying.iter().for_each(|node| world.fault(at, Fault::Crash { node: *node, disk: false }));
    !dying.is_empty()
}

fn slow(world: &mut Scenario, rng: &mut Rng) -> bool {
    let Some(node) = world.victim(rng) else { return false };
    world.peers[node].slowness *= rng.between(2.0, 20.0);
    true
}

fn slowdown(world: &mut Scenario, rng: &mut Rng) -> bool {
    let Some(node) = world.victim(rng) else { return false };
    let (at, slowness) = (world.early(rng), world.peers[node].slowness * rng.between(2.0, 20.0));
    world.fault(at, Fault::Slowness(node, slowness));
    true
}

fn skew(world: &mut Scenario, rng: &mut Rng) -> bool {
    for peer in &mut world.peers {
        if rng.chance(0.5) {
            peer.clock.1 = 2_f64.powf(rng.between(-1.0, 1.0));
        }
    }
    true
}

fn jump(world: &mut Scenario, rng: &mut Rng) -> bool {
    for _ in 0..=rng.below(3) {
        let (at, node) = (world.early(rng), rng.below(world.peers.len() as u64) as usize);
        let seconds = if rng.chance(0.6) { rng.between(0.0, 50.0) } else { rng.between(-5.0, 0.0) };
        world.fault(at, Fault::Jump(node, (seconds * 1e3) as i64));
    }
    true
}

fn far_jump(world: &mut Scenario, rng: &mut Rng) -> bool {
    let Some(node) = world.victim(rng) else { return false };
    let at = world.early(rng);
    world.fault(at, Fault::Jump(node, 60_000 + rng.below(240_000) as i64));
    true
}

fn late(world: &mut Scenario, rng: &mut Rng) -> bool {
    for node in 1..world.peers.len() {
        if rng.chance(0.4) {
            let at = world.early(rng);
            let joins = |(_, fault): &&mut (Duration, Fault)| *fault == Fault::Join(node);
            world.faults.iter_mut().find(joins).expect("everybody joins").0 = at;
        }
    }
    true
}

fn leave(world: &mut Scenario, rng: &mut Rng) -> bool {
    let Some(node) = world.victim(rng) else { return false };
    let at = world.early(rng);
    world.fault(at, Fault::Leave(node));
    true
}

fn pause(world: &mut Scenario, rng: &mut Rng) -> bool {
    let node = world.worker(rng);
    let at = world.early(rng);
    let until = world.later(rng, at);
    world.fault(at, Fault::Threads(node, 0));
    world.fault(until, Fault::Threads(node, world.peers[node].threads));
    true
}

fn forgery(world: &mut Scenario, rng: &mut Rng) -> bool {
    for _ in 0..5 + rng.below(20) {
        let at = world.early(rng);
        world.fault(at, Fault::Forge);
    }
    true
}

/// Gives one of those that may do anything a nature.
fn turn(world: &mut Scenario, rng: &mut Rng, nature: Nature) -> bool {
    let Some(node) = world.victim(rng) else { return false };
    world.peers[node].nature = nature;
    true
}

fn flaky(world: &mut Scenario, rng: &mut Rng) -> bool {
    turn(world, rng, Nature::Flaky(0.05))
}

fn liar(world: &mut Scenario, rng: &mut Rng) -> bool {
    let share = rng.between(0.05, 1.0);
    let more = world.peers.len() > 8 && rng.chance(0.5);
    let lies = world.rows.copies > 1 && turn(world, rng, Nature::Liar(share));
    if lies && more {
        turn(world, rng, Nature::Liar(1.0));
    }
    lies
}

fn hog(world: &mut Scenario, rng: &mut Rng) -> bool {
    turn(world, rng, Nature::Hog)
}

fn grab(world: &mut Scenario, rng: &mut Rng) -> bool {
    turn(world, rng, Nature::Grabber)
}

fn spam(world: &mut Scenario, rng: &mut Rng) -> bool {
    let rate = 100 + rng.below(400) as u32;
    turn(world, rng, Nature::Spammer(rate))
}

/// Chunks fail everywhere. Not where somebody only claims to be able to run them: these wait for it.
fn doomed(world: &mut Scenario, rng: &mut Rng) -> bool {
    if world.peers.iter().any(|peer| matches!(peer.nature, Nature::Grabber | Nature::Hog)) {
        return false;
    }
    world.doomed = rng.between(0.01, 0.3);
    true
}
