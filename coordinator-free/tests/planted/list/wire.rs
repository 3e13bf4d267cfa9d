//! Mistakes in what jobs are made of: signatures, wire forms, sets of slots, splitting.

use crate::plant::{Edit, Plant, SIM};

#[rustfmt::skip]
pub fn plants() -> Vec<Plant> {
    vec![
        Plant {
            name: "signature-never-checked",
            what: "any signature is right",
            edits: &[Edit {
                file: "jobs/src/sign.rs",
                old: "key.verify_strict(digest, &signature).map_err(|_| SignatureError)",
                new: "drop(key.verify_strict(digest, &signature)); Ok(())",
            }],
            sim: SIM,
        },
        Plant {
            name: "signature-without-domain",
            what: "a signature does not say what kind of statement it is on",
            edits: &[Edit {
                file: "jobs/src/sign.rs",
                old: "blake3::derive_key(T::DOMAIN, &encode(body))",
                new: "*blake3::hash(&encode(body)).as_bytes()",
            }],
            sim: SIM,
        },
        Plant {
            name: "close-in-the-domain-of-seals",
            what: "two kinds of statement share a domain: an empty seal is the word that the job is done",
            edits: &[Edit {
                file: "coordinator-free/src/message.rs",
                old: "essaim 2026 close v1",
                new: "essaim 2026 seal v1",
            }],
            sim: SIM,
        },
        Plant {
            name: "receipt-of-other-leaves",
            what: "a receipt vouches for whatever leaves come with it",
            edits: &[Edit {
                file: "jobs/src/receipt.rs",
                old: "receipt.slots.len() != self.leaves.len() as u64 || receipt.root != Receipt::root(&self.leaves)",
                new: "receipt.slots.len() != self.leaves.len() as u64",
            }],
            sim: SIM,
        },
        Plant {
            name: "interval-end-included",
            what: "one past the end of an interval is in the set",
            edits: &[Edit {
                file: "jobs/src/interval.rs",
                old: "after > 0 && element < self.spans[after - 1].end",
                new: "after > 0 && element <= self.spans[after - 1].end",
            }],
            sim: SIM,
        },
        Plant {
            name: "interval-neighbours-apart",
            what: "two intervals that touch stay two",
            edits: &[Edit {
                file: "jobs/src/interval.rs",
                old: "self.spans.partition_point(|span| span.end < range.start)",
                new: "self.spans.partition_point(|span| span.end <= range.start)",
            }],
            sim: SIM,
        },
        Plant {
            name: "minus-forgets-a-hole",
            what: "a hole that spans two intervals is cut out of the first only",
            edits: &[Edit {
                file: "coordinator-free/src/sets.rs",
                old: "if holes[from].end > span.end { break; } from += 1;",
                new: "from += 1;",
            }],
            sim: SIM,
        },
        Plant {
            name: "siblings-do-not-wrap",
            what: "the other copies of a run of chunks end where their row ends",
            edits: &[Edit {
                file: "coordinator-free/src/sets.rs",
                old: "spans.push(start..end.min(start + width - straight));",
                new: "let _ = end;",
            }],
            sim: SIM,
        },
        Plant {
            name: "slots-of-rounds-up",
            what: "where a row begins is rounded one way for slots and the other way for chunks",
            edits: &[Edit {
                file: "jobs/src/chunk.rs",
                old: "let turn = u64::from(row) * u64::from(chunks) / u64::from(copies); let column",
                new: "let turn = (u64::from(row) * u64::from(chunks)).div_ceil(u64::from(copies)); let column",
            }],
            sim: SIM,
        },
        Plant {
            name: "range-loses-its-end",
            what: "a range that the block does not divide loses its last chunk",
            edits: &[Edit {
                file: "jobs/src/split/range.rs",
                old: "end.saturating_sub(start).div_ceil(block.get())",
                new: "end.saturating_sub(start) / block.get()",
            }],
            sim: SIM,
        },
        Plant {
            name: "last-line-lost",
            what: "a text that does not end with a newline loses its last chunk",
            edits: &[Edit {
                file: "jobs/src/split/cutter.rs",
                old: "(self.start < self.end).then_some(self.end)",
                new: "None",
            }],
            sim: SIM,
        },
        Plant {
            name: "intervals-without-bound",
            what: "a set from a peer has as many intervals as it likes",
            edits: &[Edit {
                file: "jobs/src/interval.rs",
                old: "let full = set.spans.len() == bounds::INTERVALS;",
                new: "let full = false;",
            }],
            sim: SIM,
        },
        Plant {
            name: "output-without-bound",
            what: "an output of any length travels inside its results",
            edits: &[Edit {
                file: "jobs/src/bounds.rs",
                old: "if bytes.len() > N {",
                new: "if false {",
            }],
            sim: SIM,
        },
        Plant {
            name: "engine-without-bound",
            what: "the engine's tag in a receipt is of any length",
            edits: &[Edit {
                file: "jobs/src/receipt.rs",
                old: r#"#[serde(deserialize_with = "bounds::text::<_, { bounds::ENGINE_BYTES }>")]"#,
                new: "",
            }],
            sim: SIM,
        },
        Plant {
            name: "digest-without-bound",
            what: "a digest names more members than a job has",
            edits: &[Edit {
                file: "coordinator-free/src/message.rs",
                old: r#"#[serde(deserialize_with = "bounds::seq::<_, _, MEMBERS>")] records: Vec<(Initials, u64)>"#,
                new: "records: Vec<(Initials, u64)>",
            }],
            sim: SIM,
        },
    ]
}
