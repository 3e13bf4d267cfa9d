//! Mistakes in the judges themselves: faults that do no harm, and a world that is not the same twice.

use crate::plant::{Edit, Plant, SIM};

#[rustfmt::skip]
pub fn plants() -> Vec<Plant> {
    vec![
        Plant {
            name: "inert-partition",
            what: "a partition in the simulator stops no message",
            edits: &[Edit {
                file: "coordinator-free/sim/src/event.rs",
                old: "way(&from, &to) || (self.both && way(&to, &from))",
                new: "self.both && way(&from, &to) && way(&to, &from)",
            }],
            sim: "--seeds 100 --with partition",
        },
        Plant {
            name: "leaky-partition",
            what: "a partition in the simulator is counted, and the message arrives all the same",
            edits: &[Edit {
                file: "coordinator-free/sim/src/net.rs",
                old: "self.count(name); return Vec::new();",
                new: "self.count(name);",
            }],
            sim: "--seeds 100 --with partition",
        },
        Plant {
            name: "inert-loss",
            what: "no message is lost in the simulator",
            edits: &[Edit {
                file: "coordinator-free/sim/src/net.rs",
                old: "if rng.chance(self.weather.loss) {",
                new: "if rng.chance(0.0 * self.weather.loss) {",
            }],
            sim: "--seeds 100 --with loss",
        },
        Plant {
            name: "loss-only-counted",
            what: "a lost message is counted, and arrives all the same",
            edits: &[Edit {
                file: "coordinator-free/sim/src/net.rs",
                old: r#"self.count("loss"); 0"#,
                new: r#"self.count("loss"); 1"#,
            }],
            sim: "--seeds 100 --with loss",
        },
        Plant {
            name: "chance-from-the-air",
            what: "the core draws chance that no seed determines",
            edits: &[Edit {
                file: "coordinator-free/src/member.rs",
                old: "(self.rng.next_u64() >> 11) as f64",
                new: "((self.rng.next_u64() ^ std::hash::BuildHasher::hash_one(\
                      &std::collections::hash_map::RandomState::new(), 0)) >> 11) as f64",
            }],
            sim: SIM,
        },
        Plant {
            name: "chance-from-the-process",
            what: "the core draws chance that is the same within one process, and another in the next",
            edits: &[Edit {
                file: "coordinator-free/src/member.rs",
                old: "rng: ChaCha8Rng::from_seed(config.seed),",
                new: "rng: ChaCha8Rng::seed_from_u64(u64::from(config.seed[0]) ^ u64::from(std::process::id())),",
            }],
            sim: SIM,
        },
    ]
}
