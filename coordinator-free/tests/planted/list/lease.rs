//! Mistakes in how slots change hands.

use crate::plant::{Edit, Plant, SIM};

#[rustfmt::skip]
pub fn plants() -> Vec<Plant> {
    vec![
        Plant {
            name: "granted-and-run",
            what: "who grants slots runs them too",
            edits: &[Edit {
                file: "coordinator-free/src/work.rs",
                old: "let given = sets::last_spans(&given, GRANT_SPANS); self.queue = sets::minus(&self.queue, &given);",
                new: "let given = sets::last_spans(&given, GRANT_SPANS);",
            }],
            sim: SIM,
        },
        Plant {
            name: "share-loses-its-last",
            what: "the last slot of a share leaves the queue and is not given",
            edits: &[Edit {
                file: "coordinator-free/src/work.rs",
                old: "let (mut given, mut stop) = (given, Vec::new());",
                new: "let (mut given, mut stop) = (given, Vec::new()); if given.len() > 1 { given.take_back(1); }",
            }],
            sim: SIM,
        },
        Plant {
            name: "grant-taken-and-still-held",
            what: "who was told that its grant is taken goes on holding it",
            edits: &[Edit {
                file: "coordinator-free/src/claim.rs",
                old: "self.work.held = sets::minus(&self.work.held, &aside.slots);",
                new: "drop(aside);",
            }],
            sim: SIM,
        },
        Plant {
            name: "grant-taken-and-taken-back",
            what: "a grant is taken back though it was acknowledged",
            edits: &[Edit {
                file: "coordinator-free/src/claim.rs",
                old: "is_some_and(|aside| aside.ask == ask) { self.grant_taken(from);",
                new: "is_some_and(|aside| aside.ask == ask) { self.grant_failed(from);",
            }],
            sim: SIM,
        },
        Plant {
            name: "grant-dropped",
            what: "a grant that nobody has acknowledged is forgotten",
            edits: &[Edit {
                file: "coordinator-free/src/claim.rs",
                old: "self.work.take_back(aside);",
                new: "self.work.held = sets::minus(&self.work.held, &aside.slots);",
            }],
            sim: SIM,
        },
        Plant {
            name: "any-asking-acknowledges",
            what: "the answer to an earlier asking acknowledges the last grant",
            edits: &[Edit {
                file: "coordinator-free/src/claim.rs",
                old: "is_some_and(|aside| aside.ask == ask) { self.grant_taken(from);",
                new: "is_some_and(|_| ask > 0) { self.grant_taken(from);",
            }],
            sim: SIM,
        },
        Plant {
            name: "grant-nobody-asked-for",
            what: "slots are taken from whoever gives them",
            edits: &[Edit {
                file: "coordinator-free/src/claim.rs",
                old: "self.answered(from, ask)?; if let Some(peer) = self.peers.get_mut(&from) { peer.taken",
                new: "drop(self.answered(from, ask)); if let Some(peer) = self.peers.get_mut(&from) { peer.taken",
            }],
            sim: SIM,
        },
        Plant {
            name: "grant-beyond-the-job",
            what: "slots that the job does not have are taken",
            edits: &[Edit {
                file: "coordinator-free/src/claim.rs",
                old: "if slots.end() > self.config.rows.slots() { return Err(Rejection::Slots); } if self.peers",
                new: "if self.peers",
            }],
            sim: SIM,
        },
        Plant {
            name: "acknowledged-once",
            what: "an acknowledgement that was lost is not said again",
            edits: &[Edit {
                file: "coordinator-free/src/claim.rs",
                old: "self.send(from, Message::Taken { ask }); return Ok(());",
                new: "return Ok(());",
            }],
            sim: SIM,
        },
        Plant {
            name: "results-sent-once",
            what: "results that were lost on the way are not sent again",
            edits: &[Edit {
                file: "coordinator-free/src/report.rs",
                old: "self.remember(now + delay, results.receipt.body.slots.clone(), attempt);",
                new: "let _ = (now + delay, attempt);",
            }],
            sim: SIM,
        },
    ]
}
