//! The table: time and copies beside a plain download by all from one.

use coordinator_free::pieces::Tuning;

use crate::speed::{Outcome, swarm};

#[test]
#[ignore = "prints a table: run it with --nocapture"]
fn table() {
    println!("64 MiB, the same rate up and down; time ÷ (size ÷ rate), copies sent by the author; plain: all from one");
    println!("Mbit/s  takers  latency  time   copies  waste   messages  | plain: time  copies");
    for (mbit, latency) in [(100, 1), (100, 60), (20, 1), (5, 1), (5, 60)] {
        for takers in [1, 4, 16] {
            let at = |degree| swarm(mbit * 125_000, 1, takers, degree, latency, Tuning::default());
            let Outcome { time, copies, waste, messages } = at(63);
            print!("{mbit:6}  {takers:6}  {latency:4} ms  {time:5.3}  {copies:5.3}   {waste:5.3}   {messages:7.1}   |");
            if takers <= 16 {
                let plain = at(0);
                print!("       {:5.2}   {:5.2}", plain.time, plain.copies);
            }
            println!();
        }
    }
}
