//! The table: time and copies beside a plain download by all from one.

use coordinator_free::pieces::Tuning;

use crate::speed::{Outcome, swarm};

#[test]
#[ignore = "prints a table: run it with --nocapture"]
fn table() {
    println!("64 MiB at 100 Mbit/s a node, up and down; time ÷ (size ÷ rate), copies sent by the author");
    println!("takers  latency  time   copies  waste   messages  | plain: time  copies");
    for latency in [1, 60] {
        for takers in [1, 4, 16, 64] {
            let Outcome { time, copies, waste, messages } = swarm(1, takers, 63, latency, Tuning::default());
            let plain = swarm(1, takers, 0, latency, Tuning::default());
            println!(
                "{takers:6}  {latency:4} ms  {time:5.3}  {copies:5.3}   {waste:5.3}   {messages:7.1}   |       {:5.2}   {:5.2}",
                plain.time, plain.copies
            );
        }
    }
}
