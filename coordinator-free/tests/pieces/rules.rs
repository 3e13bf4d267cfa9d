//! Rules that one exchange keeps, driven by hand.

use std::time::Duration;

use coordinator_free::pieces::{Exchange, Input, Layout, Message, Output, PIECE_BYTES, Reason, Tuning};
use essaim_jobs::{IntervalSet, NodeId};
use proptest::prelude::*;

use crate::node::{exchange, id};

fn layout(pieces: u32) -> Layout {
    Layout::of(u64::from(pieces) * PIECE_BYTES).unwrap()
}

fn taker(pieces: u32) -> Exchange {
    exchange(0, 0, layout(pieces), IntervalSet::new(), Tuning::default())
}

fn has(from: NodeId, pieces: impl Into<IntervalSet>) -> Input {
    Input::Message { from, message: Message::Have(pieces.into()) }
}

fn outputs(exchange: &mut Exchange) -> Vec<Output> {
    std::iter::from_fn(|| exchange.poll()).collect()
}

/// What is wanted of a peer now.
fn wants(exchange: &mut Exchange, of: NodeId) -> Vec<u32> {
    let want = |output| match output {
        Output::Send { to, message: Message::Want(list) } if to == of => list,
        _ => Vec::new(),
    };
    outputs(exchange).into_iter().flat_map(want).collect()
}

#[test]
fn the_rarest_pieces_are_asked_for_first_and_among_equals_any() {
    let [many, some, all] = [1, 2, 3].map(id);
    let mut firsts = IntervalSet::new();
    for life in 0..20 {
        let mut taker = exchange(0, life, layout(32), IntervalSet::new(), Tuning::default());
        for peer in [many, some, all] {
            taker.handle(Duration::ZERO, Input::Up(peer));
        }
        // Not asked yet, as it promises nothing that the others have not.
        taker.handle(Duration::ZERO, has(many, 0..28));
        taker.handle(Duration::ZERO, has(some, 0..28));
        outputs(&mut taker);
        taker.handle(Duration::ZERO, has(all, 0..32));
        let wanted = wants(&mut taker, all);
        assert!(wanted.len() == 2 && wanted.iter().all(|piece| *piece >= 28), "{wanted:?}");
        firsts.insert(wanted[0]..wanted[0] + 1);
    }
    assert!(firsts.len() > 1, "always {firsts:?}");
}

#[test]
fn what_was_asked_of_one_that_vanished_is_asked_of_others_at_once() {
    let [one, other] = [1, 2].map(id);
    let mut taker = taker(2);
    for peer in [one, other] {
        taker.handle(Duration::ZERO, Input::Up(peer));
        taker.handle(Duration::ZERO, has(peer, 0..2));
    }
    outputs(&mut taker);
    taker.handle(Duration::from_millis(1), Input::Down(one));
    assert_eq!(wants(&mut taker, other).len(), 2);
}

#[test]
fn what_was_asked_of_one_that_says_nothing_is_asked_of_others_and_of_it_no_more() {
    let [silent, other] = [1, 2].map(id);
    let mut taker = taker(4);
    taker.handle(Duration::ZERO, Input::Up(silent));
    taker.handle(Duration::ZERO, has(silent, 0..2));
    assert_eq!(wants(&mut taker, silent).len(), 2);
    let patience = Tuning::default().silence.0;
    taker.handle(patience / 2, Input::Up(other));
    taker.handle(patience / 2, has(other, 0..2));
    assert_eq!(wants(&mut taker, other), [], "it may still come");
    taker.handle(patience * 2, Input::Tick);
    assert_eq!(wants(&mut taker, other).len(), 2);
    taker.handle(patience * 2, has(other, 2..4));
    taker.handle(patience * 2, has(silent, 2..4));
    assert_eq!(wants(&mut taker, silent), []);
}

#[test]
fn a_poor_source_is_asked_at_once_for_what_only_it_has() {
    let [poor, other] = [1, 2].map(id);
    let mut taker = taker(4);
    for peer in [poor, other] {
        taker.handle(Duration::ZERO, Input::Up(peer));
        taker.handle(Duration::ZERO, has(peer, 0..2));
    }
    let now = Tuning::default().silence.0 * 2;
    taker.handle(now, Input::Tick);
    assert_eq!(wants(&mut taker, other).len(), 2);
    taker.handle(now, has(poor, 2..4));
    for piece in 0..2 {
        taker.handle(now, Input::Arrived { from: other, piece, right: true });
    }
    assert!(taker.sources().iter().any(|source| source.node == poor && source.poor));
    let wanted = wants(&mut taker, poor);
    assert!(wanted.len() == 1 && wanted[0] >= 2, "{wanted:?}");
}

#[test]
fn a_poor_source_is_given_its_chance_again() {
    let silent = id(1);
    let mut taker = taker(4);
    taker.handle(Duration::ZERO, Input::Up(silent));
    taker.handle(Duration::ZERO, has(silent, 0..4));
    let tuning = Tuning::default();
    taker.handle(tuning.silence.0 * 2, Input::Tick);
    assert!(taker.sources()[0].poor);
    taker.handle(tuning.silence.0 * 2 + tuning.retry.0, Input::Tick);
    assert!(!taker.sources()[0].poor);
}

#[test]
fn what_was_told_to_one_that_vanished_is_told_to_others_at_once() {
    let mut giver = exchange(0, 0, layout(2), (0..2).into(), Tuning::default());
    let [one, other] = [1, 2].map(id);
    giver.handle(Duration::ZERO, Input::Up(one));
    giver.handle(Duration::ZERO, Input::Up(other));
    let told = |giver: &mut Exchange, whom| {
        let have = |output| match output {
            Output::Send { to, message: Message::Have(set) } if to == whom => set.len(),
            _ => 0,
        };
        outputs(giver).into_iter().map(have).sum::<u64>()
    };
    assert_eq!(told(&mut giver, other), 0, "both pieces are the first one's");
    giver.handle(Duration::from_millis(1), Input::Down(one));
    assert_eq!(told(&mut giver, other), 2);
}

#[test]
fn who_does_not_want_pieces_asks_for_none_and_takes_back_what_it_asked_for() {
    let peer = id(1);
    let mut taker = taker(8);
    taker.handle(Duration::ZERO, Input::Up(peer));
    taker.handle(Duration::ZERO, has(peer, 0..8));
    let asked = wants(&mut taker, peer);
    taker.handle(Duration::ZERO, Input::Take(false));
    let cancelled = outputs(&mut taker).into_iter().filter(
        |output| matches!(output, Output::Send { message: Message::Cancel(list), .. } if asked.contains(&list[0])),
    );
    assert_eq!(cancelled.count(), asked.len());
    for second in 1..30 {
        taker.handle(Duration::from_secs(second), Input::Tick);
        assert_eq!(outputs(&mut taker), []);
    }
    taker.handle(Duration::from_secs(30), Input::Take(true));
    assert!(!wants(&mut taker, peer).is_empty());
}

#[test]
fn what_no_honest_peer_does_ends_its_session_for_good() {
    let far = IntervalSet::from(8..9);
    let rude = [
        Input::Arrived { from: id(1), piece: 3, right: true },
        has(id(1), far),
        Input::Message { from: id(1), message: Message::Want(vec![u32::MAX]) },
        Input::Message { from: id(1), message: Message::Refuse(vec![8]) },
    ];
    for input in rude {
        let mut taker = taker(8);
        taker.handle(Duration::ZERO, Input::Up(id(1)));
        taker.handle(Duration::ZERO, input);
        assert_eq!(outputs(&mut taker), [Output::Leave { peer: id(1), reason: Reason::Rude }]);
        taker.handle(Duration::ZERO, Input::Up(id(1)));
        assert!(matches!(outputs(&mut taker)[..], [Output::Leave { peer, .. }] if peer == id(1)));
        assert_eq!(taker.count(), 0);
    }
}

#[test]
fn who_does_not_read_keeps_nobody_else_waiting() {
    let mut giver = exchange(0, 0, layout(8), (0..8).into(), Tuning::default());
    let want = |from| Input::Message { from, message: Message::Want(vec![0, 1, 2, 3]) };
    let gives = |giver: &mut Exchange, of| {
        outputs(giver).into_iter().filter(|output| matches!(output, Output::Give { to, .. } if *to == of)).count()
    };
    for deaf in [1, 2, 3].map(id) {
        giver.handle(Duration::ZERO, Input::Up(deaf));
        giver.handle(Duration::ZERO, want(deaf));
    }
    let reader = id(4);
    giver.handle(Duration::ZERO, Input::Up(reader));
    giver.handle(Duration::ZERO, want(reader));
    assert_eq!(gives(&mut giver, reader), 0, "all that may be sent at once is being sent");
    // And so it goes on, one pulse after another, until all that is wanted by the one who reads was sent.
    let mut sent = 0;
    for pulse in 1..100 {
        let now = Duration::from_millis(100) * pulse;
        giver.handle(now, Input::Tick);
        let more = gives(&mut giver, reader) as u32;
        for piece in sent..sent + more {
            giver.handle(now, Input::Given { to: reader, piece, sent: true });
        }
        sent += more;
    }
    assert_eq!(sent + gives(&mut giver, reader) as u32, 4);
}

#[test]
fn what_was_told_to_one_that_does_not_read_is_told_to_others() {
    let mut giver = exchange(0, 0, layout(8), (0..8).into(), Tuning::default());
    let [deaf, reader] = [1, 2].map(id);
    giver.handle(Duration::ZERO, Input::Up(deaf));
    giver.handle(Duration::ZERO, Input::Up(reader));
    let mut got = IntervalSet::new();
    for pulse in 1..200 {
        let now = Duration::from_millis(100) * pulse;
        giver.handle(now, Input::Tick);
        for output in outputs(&mut giver) {
            match output {
                Output::Send { to, message: Message::Have(set) } => {
                    let message = Message::Want(set.iter().collect());
                    giver.handle(now, Input::Message { from: to, message });
                }
                Output::Give { to, piece } if to == reader => {
                    giver.handle(now, Input::Given { to, piece, sent: true });
                    giver.handle(now, has(reader, piece..piece + 1));
                    got.insert(piece..piece + 1);
                }
                _ => {}
            }
        }
    }
    assert_eq!(got, IntervalSet::from(0..8));
}

#[test]
fn there_are_no_more_sessions_than_there_may_be() {
    let mut taker = taker(8);
    let most = Tuning::default().sessions;
    for peer in 0..2 * most {
        taker.handle(Duration::ZERO, Input::Up(id(peer + 1)));
    }
    assert_eq!(taker.sources().len(), most);
    let full = |output: &Output| matches!(output, Output::Leave { reason: Reason::Full, .. });
    assert_eq!(outputs(&mut taker).iter().filter(|output| full(output)).count(), most);
}

fn any_input() -> impl Strategy<Value = Input> {
    let peer = (1_usize..5).prop_map(id);
    let list = prop::collection::vec(0_u32..20, 0..64);
    let set = prop::collection::vec(0_u32..20, 0..20).prop_map(|list| list.into_iter().collect::<IntervalSet>());
    let message = prop_oneof![
        set.prop_map(Message::Have),
        list.clone().prop_map(Message::Want),
        list.clone().prop_map(Message::Cancel),
        list.prop_map(Message::Refuse),
    ];
    prop_oneof![
        2 => peer.clone().prop_map(Input::Up),
        1 => peer.clone().prop_map(Input::Down),
        9 => (peer.clone(), message).prop_map(|(from, message)| Input::Message { from, message }),
        2 => (peer.clone(), any::<u64>()).prop_map(|(from, bytes)| Input::Bytes { from, bytes }),
        4 => (peer.clone(), 0_u32..20, prop::bool::weighted(0.9))
            .prop_map(|(from, piece, right)| Input::Arrived { from, piece, right }),
        2 => (peer, 0_u32..20, any::<bool>()).prop_map(|(to, piece, sent)| Input::Given { to, piece, sent }),
        1 => any::<bool>().prop_map(Input::Take),
        2 => Just(Input::Tick),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever peers and drivers say, in whatever order, nothing panics, and nothing is asked, sent or remembered
    /// beyond its bound.
    #[test]
    fn nothing_that_is_said_breaks_it(
        have in prop::collection::vec(0_u32..18, 0..20),
        steps in prop::collection::vec((0_u64..3_000, any_input()), 1..200),
    ) {
        let mut exchange = exchange(0, 0, layout(18), have.into_iter().collect(), Tuning::default());
        let (mut now, mut giving) = (Duration::ZERO, Vec::new());
        for (ms, input) in steps {
            now += Duration::from_millis(ms);
            if let Input::Given { to, piece, .. } = &input {
                giving.retain(|given| *given != (*to, *piece));
            }
            exchange.handle(now, input);
            for output in outputs(&mut exchange) {
                match output {
                    Output::Give { to, piece } => {
                        prop_assert!(exchange.has(piece));
                        giving.push((to, piece));
                    }
                    Output::Leave { peer, .. } => giving.retain(|(to, _)| *to != peer),
                    Output::Send { message: Message::Have(set), .. } => {
                        prop_assert!(set.iter().all(|piece| exchange.has(piece)));
                    }
                    Output::Send { .. } | Output::Complete => {}
                }
            }
            let sources = exchange.sources();
            giving.retain(|(to, _)| sources.iter().any(|source| source.node == *to));
            prop_assert!(sources.len() <= 4 && sources.iter().all(|source| source.asked <= 32));
            if let Some(due) = exchange.deadline() {
                prop_assert!(due <= now + Duration::from_secs(1), "{due:?} at {now:?}");
            }
        }
    }
}
