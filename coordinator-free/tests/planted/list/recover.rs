//! Mistakes in what becomes of slots whose holder is gone.

use crate::plant::{Edit, Plant, SIM};

#[rustfmt::skip]
pub fn plants() -> Vec<Plant> {
    vec![
        Plant {
            name: "given-up-unwritten",
            what: "a chunk is given up before its failure would survive a crash of the author",
            edits: &[Edit {
                file: "coordinator-free/src/failed.rs",
                old: "self.write_off(chunk, worker, note.clone()); }",
                new: "self.seal(chunk, Notice::GivenUp { chunk, worker, note: note.clone() }); }",
            }],
            sim: "--seeds 100 --with doomed",
        },
        Plant {
            name: "given-up-forgotten",
            what: "an author that is back does not count what it had given up",
            edits: &[Edit {
                file: "coordinator-free/src/author.rs",
                old: "failures: BTreeMap::new(), given_up,",
                new: "failures: BTreeMap::new(), given_up: 0 * given_up,",
            }],
            sim: "--seeds 100 --with doomed",
        },
        Plant {
            name: "failure-not-forgiven",
            what: "what failed is for others, even when the author has forgotten where it failed",
            edits: &[Edit {
                file: "coordinator-free/src/gossip.rs",
                old: "self.work.forgive();",
                new: "",
            }],
            sim: "--seeds 100 --with doomed",
        },
        Plant {
            name: "dead-not-inherited",
            what: "nobody takes over what the dead held",
            edits: &[Edit {
                file: "coordinator-free/src/recover.rs",
                old: "self.take_over(&left, true);",
                new: "",
            }],
            sim: SIM,
        },
        Plant {
            name: "inherited-run-at-once",
            what: "an heir runs what it inherits before the author has said what of it is sealed",
            edits: &[Edit {
                file: "coordinator-free/src/recover.rs",
                old: "self.work.has_parked() && self.now >= self.recover.asked_until && !last",
                new: "self.work.has_parked() && !last",
            }],
            sim: SIM,
        },
        Plant {
            name: "inherited-never-run",
            what: "where the author does not answer an heir waits for ever",
            edits: &[Edit {
                file: "coordinator-free/src/recover.rs",
                old: "self.recover.asked_until = self.now + self.patience();",
                new: "self.recover.asked_until = Duration::MAX;",
            }],
            sim: SIM,
        },
        Plant {
            name: "no-second-heir",
            what: "where the first heir does not act nobody does",
            edits: &[Edit {
                file: "coordinator-free/src/recover.rs",
                old: "let before = usize::from(waited >= SECOND_HEIR);",
                new: "let before = 0 * usize::from(waited >= SECOND_HEIR);",
            }],
            sim: SIM,
        },
        Plant {
            name: "sleeper-blames-others",
            what: "a node that was asleep takes the others' silence for death",
            edits: &[Edit {
                file: "coordinator-free/src/alive.rs",
                old: "self.excuse(slept);",
                new: "",
            }],
            sim: SIM,
        },
        Plant {
            name: "rumours-stay-fresh",
            what: "what is passed on of members elsewhere looks new each time",
            edits: &[Edit {
                file: "coordinator-free/src/groups.rs",
                old: ".map(|(contact, at)| contact.aged(self.now.saturating_sub(*at)))",
                new: ".map(|(contact, _)| *contact)",
            }],
            sim: SIM,
        },
        Plant {
            name: "end-not-told-late",
            what: "nobody tells one who still speaks of the job that it has ended",
            edits: &[Edit {
                file: "coordinator-free/sim/src/drive.rs",
                old: "Ok(message) if self.nodes[to].ended.is_some() => self.answer_late(to, from, &message),",
                new: "Ok(_) if self.nodes[to].ended.is_some() => {}",
            }],
            sim: "--seeds 100 --from 500 --with loss",
        },
        Plant {
            name: "dead-for-ever",
            what: "who was taken for dead once stays dead, whatever it says",
            edits: &[Edit {
                file: "coordinator-free/src/alive.rs",
                old: "peer.down = None; peer.dead = None;",
                new: "peer.down = None;",
            }],
            sim: SIM,
        },
        Plant {
            name: "silence-is-life",
            what: "nobody is ever found dead by its silence",
            edits: &[Edit {
                file: "coordinator-free/src/alive.rs",
                old: "peer.alive() && (down || (self.now >= peer.heard + peer.limit + more && !asked))",
                new: "{ let _ = (more, asked); peer.alive() && down }",
            }],
            sim: SIM,
        },
        Plant {
            name: "orphans-left-alone",
            what: "slots that are nobody's stay so",
            edits: &[Edit {
                file: "coordinator-free/src/recover.rs",
                old: "if enough && !ripe.is_empty() {",
                new: "if false {",
            }],
            sim: "--seeds 40 --with author-restart",
        },
        Plant {
            name: "everybody-an-heir",
            what: "each member takes itself for the heir of the dead",
            edits: &[Edit {
                file: "coordinator-free/src/recover.rs",
                old: "others.filter(|hash| *hash < mine).count() <= before",
                new: "others.filter(|hash| *hash < mine).count() <= before + 999",
            }],
            sim: "--seeds 100 --with crash",
        },
        Plant {
            name: "conflicts-stand",
            what: "where two hold one slot neither yields",
            edits: &[Edit {
                file: "coordinator-free/src/recover.rs",
                old: "if !lost.is_empty() { let (_, stop) = self.work.give_up(&lost);",
                new: "if false { let (_, stop) = self.work.give_up(&lost);",
            }],
            sim: "--seeds 100 --with partition",
        },
        Plant {
            name: "hogs-left-alone",
            what: "who holds slots and does not run them keeps them",
            edits: &[Edit {
                file: "coordinator-free/src/alive.rs",
                old: "peer.stalled = true; found = true;",
                new: "found = true;",
            }],
            sim: "--seeds 40 --with hog",
        },
        Plant {
            name: "leaver-keeps-its-queue",
            what: "who leaves goes on holding what it has not started",
            edits: &[Edit {
                file: "coordinator-free/src/member.rs",
                old: "self.leaving.get_or_insert_default(); self.hand_back();",
                new: "self.leaving.get_or_insert_default();",
            }],
            sim: "--seeds 40 --with leave",
        },
        Plant {
            name: "leaver-not-inherited",
            what: "what a leaver hands back is found only when it has been nobody's for a while",
            edits: &[Edit {
                file: "coordinator-free/src/recover.rs",
                old: "self.take_over(&freed, false);",
                new: "drop(freed);",
            }],
            sim: "--seeds 40 --with leave",
        },
    ]
}
