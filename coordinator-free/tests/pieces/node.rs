//! A node of a world, and its way of behaving.

use std::collections::BTreeMap;
use std::time::Duration;

use coordinator_free::pieces::{Config, Exchange, Layout, Tuning};
use essaim_jobs::{IntervalSet, NodeId};

use crate::link::Link;

/// How a node behaves towards others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    Honest,
    /// Says it has everything, and sends other bytes.
    Liar,
    /// Says it has everything, and never sends any.
    Mute,
    /// Says it has everything, and refuses it when asked.
    Refuser,
}

#[derive(Debug)]
pub struct Node {
    pub id: NodeId,
    pub manner: Manner,
    pub exchange: Exchange,
    pub link: Link,
    pub alive: bool,
    /// Sessions, by peer: each has a number, so that what belongs to an earlier one is known.
    pub sessions: BTreeMap<usize, u64>,
    /// When it first had everything.
    pub complete: Option<Duration>,
    /// The next wake that is planned.
    pub wake: Option<Duration>,
    /// Bytes of pieces sent, and received though they were here already.
    pub sent: u64,
    pub wasted: u64,
}

impl Node {
    pub fn new(number: usize, layout: Layout, have: IntervalSet, tuning: Tuning, manner: Manner, link: Link) -> Node {
        Node {
            id: id(number),
            manner,
            exchange: exchange(number, 0, layout, have, tuning),
            link,
            alive: true,
            sessions: BTreeMap::new(),
            complete: None,
            wake: None,
            sent: 0,
            wasted: 0,
        }
    }
}

pub fn exchange(number: usize, life: u64, layout: Layout, have: IntervalSet, tuning: Tuning) -> Exchange {
    let mut seed = [7; 32];
    seed[..8].copy_from_slice(&(number as u64).to_be_bytes());
    seed[8..16].copy_from_slice(&life.to_be_bytes());
    Exchange::new(Config { layout, have, seed, tuning })
}

/// Names are in no order of importance.
pub fn id(number: usize) -> NodeId {
    NodeId(*essaim_jobs::BlobId::of(&(number as u64).to_be_bytes()).0.first_chunk().unwrap())
}
