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

#[test]
#[ignore = "tune"]
fn tune() {
    let base = Tuning::default;
    let ms = std::time::Duration::from_millis;
    let all: Vec<(&str, Tuning)> = vec![
        ("base", base()),
        ("giving 3,1", Tuning { giving: (3, 1), ..base() }),
        ("giving 3,2", Tuning { giving: (3, 2), ..base() }),
        ("giving 12,2", Tuning { giving: (12, 2), ..base() }),
        ("ahead 50", Tuning { ahead: ms(50), ..base() }),
        ("ahead 300", Tuning { ahead: ms(300), ..base() }),
        ("window 1", Tuning { window: (1, 32), ..base() }),
        ("window 3", Tuning { window: (3, 32), ..base() }),
        ("race 3", Tuning { race: (3.0, ms(300)), ..base() }),
        ("race 10", Tuning { race: (10.0, ms(300)), ..base() }),
        ("offers 2", Tuning { offers: 2, ..base() }),
        ("offers 8", Tuning { offers: 8, ..base() }),
        ("gap 5", Tuning { tell_gap: ms(5), ..base() }),
        ("gap 60", Tuning { tell_gap: ms(60), ..base() }),
    ];
    let takers: usize = std::env::var("TAKERS").unwrap().parse().unwrap();
    for (name, tuning) in all {
        for latency in [1, 60] {
            let o = swarm(1, takers, 63, latency, tuning.clone());
            println!("{name:12} {latency:3} {:.3} {:.3} {:.3} {:.1}", o.time, o.copies, o.waste, o.messages);
        }
    }
}
