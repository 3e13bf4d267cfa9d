//! Mistakes in the ledger: what is believed, and how two replicas become one.

use crate::plant::{Edit, Plant, SIM};

#[rustfmt::skip]
pub fn plants() -> Vec<Plant> {
    vec![
        Plant {
            name: "seal-unverified",
            what: "anyone seals under the author's name",
            edits: &[Edit {
                file: "coordinator-free/src/ledger.rs",
                old: "new.verify().map_err(|_| Rejection::Signature)?; if new.body.term > self.term {",
                new: "if new.body.term > self.term {",
            }],
            sim: SIM,
        },
        Plant {
            name: "ban-unverified",
            what: "anyone bans under the author's name",
            edits: &[Edit {
                file: "coordinator-free/src/ledger.rs",
                old: "new.verify().map_err(|_| Rejection::Signature)?; self.bans.insert",
                new: "self.bans.insert",
            }],
            sim: SIM,
        },
        Plant {
            name: "record-unverified",
            what: "anyone writes anyone's record",
            edits: &[Edit {
                file: "coordinator-free/src/ledger.rs",
                old: "record.verify().map_err(|_| Rejection::Signature)",
                new: "Ok(())",
            }],
            sim: SIM,
        },
        Plant {
            name: "own-record-unverified",
            what: "anyone makes a member count its own records from wherever they like, up to the last number there is",
            edits: &[Edit {
                file: "coordinator-free/src/gossip.rs",
                old: "record.verify().map_err(|_| Rejection::Signature)?; self.voice.seq",
                new: "self.voice.seq",
            }],
            sim: SIM,
        },
        Plant {
            name: "close-unverified",
            what: "anyone ends the job under the author's name",
            edits: &[Edit {
                file: "coordinator-free/src/gossip.rs",
                old: "close.verify().map_err(|_| Rejection::Signature)?;",
                new: "",
            }],
            sim: SIM,
        },
        Plant {
            name: "results-unverified",
            what: "anyone reports results under a worker's name",
            edits: &[Edit {
                file: "coordinator-free/src/author.rs",
                old: "results.verify().map_err(|_| Rejection::Signature)",
                new: "Ok(())",
            }],
            sim: SIM,
        },
        Plant {
            name: "older-record-wins",
            what: "of two records the older one wins",
            edits: &[Edit {
                file: "coordinator-free/src/ledger.rs",
                old: "known.body.seq > new.body.seq",
                new: "known.body.seq < new.body.seq",
            }],
            sim: SIM,
        },
        Plant {
            name: "last-of-two-equals-wins",
            what: "of two records of one version the one that came last wins",
            edits: &[Edit {
                file: "coordinator-free/src/ledger.rs",
                old: "if known.is_some_and(stands) { return Ok(None); }",
                new: "let _ = stands;",
            }],
            sim: SIM,
        },
        Plant {
            name: "sealed-replaced",
            what: "a seal replaces what was sealed before it",
            edits: &[Edit {
                file: "coordinator-free/src/ledger.rs",
                old: "self.sealed = sets::union([&self.sealed, &new.body.slots]);",
                new: "self.sealed = new.body.slots.clone();",
            }],
            sim: SIM,
        },
        Plant {
            name: "answer-without-seals",
            what: "who asks what it lacks is not told what is sealed",
            edits: &[Edit {
                file: "coordinator-free/src/gossip.rs",
                old: "self.group.id == crate::groups::FIRST && sealed < known;",
                new: "sealed.0 > u64::MAX - 1;",
            }],
            sim: SIM,
        },
        Plant {
            name: "answer-without-bans",
            what: "who asks what it lacks is not told who is banned",
            edits: &[Edit {
                file: "coordinator-free/src/gossip.rs",
                old: "usize::from(banned) < self.ledger.bans().len()",
                new: "usize::from(banned) > self.ledger.bans().len()",
            }],
            sim: SIM,
        },
        Plant {
            name: "author-forgets-its-seals",
            what: "an author that was restarted does not know what it had sealed",
            edits: &[Edit {
                file: "coordinator-free/src/member.rs",
                old: "member.ledger.seal(&sealed);",
                new: "drop(sealed);",
            }],
            sim: "--seeds 40 --with author-restart",
        },
    ]
}
