//! Mistakes in what becomes of a job whose author is away.

use crate::plant::{Edit, Plant, SIM};

#[rustfmt::skip]
pub fn plants() -> Vec<Plant> {
    vec![
        Plant {
            name: "term-not-counted",
            what: "an author that has lost what it had sealed does not say so",
            edits: &[Edit {
                file: "coordinator-free/src/ledger.rs",
                old: "if new.body.term > self.term {",
                new: "if false {",
            }],
            sim: SIM,
        },
        Plant {
            name: "term-goes-back",
            what: "a seal of an earlier term counts",
            edits: &[Edit {
                file: "coordinator-free/src/ledger.rs",
                old: "if new.body.term < self.term || (fresh",
                new: "if (fresh",
            }],
            sim: SIM,
        },
        Plant {
            name: "author-not-followed",
            what: "a member goes on sending what it has run to the place where the author was",
            edits: &[Edit {
                file: "coordinator-free/src/member.rs",
                old: "self.config.author_node = node;\n        self.know(node);",
                new: "self.know(node);",
            }],
            sim: SIM,
        },
    ]
}
