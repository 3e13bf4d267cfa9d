//! Mistakes in whose word counts: copies, checks, votes, bans, and what is safe.

use crate::plant::{Edit, Plant, SIM};

#[rustfmt::skip]
pub fn plants() -> Vec<Plant> {
    vec![
        Plant {
            name: "anyone-may-check",
            what: "a second voice counts from whoever has run the chunk, asked or not",
            edits: &[Edit {
                file: "coordinator-free/src/tally.rs",
                old: "self.voices.is_empty() || own || self.checkers.contains(&worker)",
                new: "true || own",
            }],
            sim: SIM,
        },
        Plant {
            name: "claimant-checks-itself",
            what: "a chunk is given to be checked to the one who ran it",
            edits: &[Edit {
                file: "coordinator-free/src/verify.rs",
                old: "author.tallies.get_mut(&chunk).filter(|tally| !tally.has_voice(&to))",
                new: "author.tallies.get_mut(&chunk)",
            }],
            sim: SIM,
        },
        Plant {
            name: "two-voices-of-one",
            what: "a worker that says the same twice agrees with itself",
            edits: &[Edit {
                file: "coordinator-free/src/tally.rs",
                old: "if !welcome || self.has_voice(&worker) ||",
                new: "if !welcome ||",
            }],
            sim: SIM,
        },
        Plant {
            name: "one-voice-too-few",
            what: "one voice less than asked for is enough",
            edits: &[Edit {
                file: "coordinator-free/src/tally.rs",
                old: "if most < copies {",
                new: "if most == 0 || most + 1 < copies {",
            }],
            sim: SIM,
        },
        Plant {
            name: "outvoted-never-banned",
            what: "who is outvoted again and again goes on being asked",
            edits: &[Edit {
                file: "coordinator-free/src/verify.rs",
                old: "bad.into_iter().for_each(|node| self.ban(node));",
                new: "drop(bad);",
            }],
            sim: SIM,
        },
        Plant {
            name: "honest-banned",
            what: "those who were right are banned for it",
            edits: &[Edit {
                file: "coordinator-free/src/verify.rs",
                old: "for node in &outvoted {",
                new: "for node in agreed {",
            }],
            sim: "--seeds 40 --with liar",
        },
        Plant {
            name: "banned-and-heard",
            what: "what the banned say is heard",
            edits: &[Edit {
                file: "coordinator-free/src/member.rs",
                old: "if self.ledger.is_banned(&from) { return Err(Rejection::Banned); }",
                new: "",
            }],
            sim: SIM,
        },
        Plant {
            name: "sealed-before-safe",
            what: "a chunk is sealed though its output could not be had",
            edits: &[Edit {
                file: "coordinator-free/src/tally.rs",
                old: "if safe { let (agreed, outvoted)",
                new: "if safe || copies > 0 { let (agreed, outvoted)",
            }],
            sim: SIM,
        },
        Plant {
            name: "dropped-before-sealed",
            what: "a worker drops an output when it has sent its receipt",
            edits: &[Edit {
                file: "coordinator-free/src/member.rs",
                old: "self.send(self.config.author_node, Message::Results(results));",
                new: "self.out.push_back(Output::Release(results.receipt.body.slots.clone()));\
                      self.send(self.config.author_node, Message::Results(results));",
            }],
            sim: SIM,
        },
    ]
}
