//! All plants, by the part that they break.

mod away;
mod judges;
mod lease;
mod ledger;
mod recover;
mod talk;
mod trust;
mod wire;

use crate::plant::Plant;

pub fn all() -> Vec<Plant> {
    [
        wire::plants(),
        ledger::plants(),
        lease::plants(),
        recover::plants(),
        away::plants(),
        trust::plants(),
        talk::plants(),
        judges::plants(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
