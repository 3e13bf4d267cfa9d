//! Mistakes in how much is said, and to whom.

use crate::plant::{Edit, Plant, SIM};

#[rustfmt::skip]
pub fn plants() -> Vec<Plant> {
    vec![
        Plant {
            name: "flood-heard",
            what: "a peer may say as much as it likes",
            edits: &[Edit {
                file: "coordinator-free/src/peers.rs",
                old: "let may = left >= 1.0;",
                new: "let may = true;",
            }],
            sim: "--seeds 40 --with spam",
        },
        Plant {
            name: "digests-answered-at-once",
            what: "every digest is answered with the whole ledger, however many come",
            edits: &[Edit {
                file: "coordinator-free/src/gossip.rs",
                old: "peer.compared.is_some_and(|at| now < at + gap)",
                new: "peer.compared.is_some_and(|at| now < at)",
            }],
            sim: "--seeds 40 --with spam",
        },
        Plant {
            name: "gossip-without-pause",
            what: "a record is gossiped whenever it changes",
            edits: &[Edit {
                file: "coordinator-free/src/gossip.rs",
                old: "self.voice.said.map_or(Duration::ZERO, |said| said + gap)",
                new: "self.voice.said.map_or(Duration::ZERO, |said| said + gap / 20)",
            }],
            sim: SIM,
        },
        Plant {
            name: "never-compared",
            what: "nobody compares ledgers with anyone but the author",
            edits: &[Edit {
                file: "coordinator-free/src/gossip.rs",
                old: "let digest = self.digest(); self.send(chosen, digest);",
                new: "let _ = chosen;",
            }],
            sim: SIM,
        },
    ]
}
