//! What forecasts must be like, whatever the core does: never better than can be, and the same each time.

use std::time::Duration;

use essaim_sim::{Error, Forecast, MOST_CHUNKS, MOST_PEERS, Profile, SimPeer, Span, simulate};

const MS: Duration = Duration::from_millis(1);

/// `chunks` of some 50 ms each, none like the next, and `peers` of one thread.
fn profile(peers: usize, chunks: u32) -> Profile {
    Profile {
        costs_micros: (0..chunks).map(|chunk| 20_000 + chunk.wrapping_mul(2_654_435_761) % 60_000).collect(),
        peers: vec![SimPeer { threads: 1, speed: 1.0 }; peers],
        latency: MS,
        bandwidth: None,
        lifetimes: None,
        seed: 7,
    }
}

fn forecast(profile: &Profile) -> Forecast {
    let forecast = simulate(profile).expect("it can be simulated");
    sound(profile, &forecast);
    forecast
}

/// What holds of every forecast.
fn sound(profile: &Profile, forecast: &Forecast) {
    assert!(forecast.makespan >= forecast.ideal, "{:?} is less than {:?}", forecast.makespan, forecast.ideal);
    assert!(forecast.busy > 0.0 && forecast.busy <= 1.0, "busy for {}", forecast.busy);
    assert!(forecast.messages > 0 && forecast.bytes > forecast.messages);
    let (counted, others): (Vec<Span>, Vec<Span>) = forecast.spans.iter().partition(|span| span.counted);
    assert_eq!(others.len(), forecast.run_twice as usize);
    let mut chunks: Vec<u32> = counted.iter().map(|span| span.chunk).collect();
    chunks.sort_unstable();
    assert!(chunks.into_iter().eq(0..profile.costs_micros.len() as u32), "each chunk counts once");
    for span in &forecast.spans {
        assert!(span.start <= span.end && span.end <= forecast.makespan && (span.peer as usize) < profile.peers.len());
    }
    for span in counted {
        let peer = profile.peers[span.peer as usize];
        let took = f64::from(profile.costs_micros[span.chunk as usize]) / 1e6 / peer.speed;
        assert!(((span.end - span.start).as_secs_f64() - took).abs() < 1e-6, "a chunk takes what it costs");
    }
}

fn work(profile: &Profile) -> Duration {
    profile.costs_micros.iter().map(|cost| Duration::from_micros(u64::from(*cost))).sum()
}

#[test]
fn one_peer_takes_what_the_chunks_cost() {
    let profile = profile(1, 200);
    let forecast = forecast(&profile);
    assert_eq!(forecast.ideal, work(&profile));
    assert!(forecast.makespan < work(&profile) + 200 * MS, "{:?} for {:?}", forecast.makespan, work(&profile));
    assert_eq!(forecast.run_twice, 0);
    assert!(forecast.busy > 0.98);
}

#[test]
fn twice_as_many_peers_take_nearly_half_as_long() {
    let mut before = forecast(&profile(1, 4_000)).makespan;
    for peers in [2, 4, 8, 16, 32, 64] {
        let now = forecast(&profile(peers, 4_000)).makespan;
        let ratio = before.as_secs_f64() / now.as_secs_f64();
        assert!((1.75..2.2).contains(&ratio), "{peers} peers are {ratio} times as fast as half of them");
        before = now;
    }
}

#[test]
fn threads_and_speeds_count_for_what_they_are() {
    let one = forecast(&profile(1, 400)).makespan.as_secs_f64();
    let mut many = profile(1, 400);
    many.peers[0].threads = 4;
    let many = forecast(&many).makespan.as_secs_f64();
    assert!((3.7..4.0).contains(&(one / many)));
    let mut fast = profile(1, 400);
    fast.peers[0].speed = 4.0;
    let fast = forecast(&fast).makespan.as_secs_f64();
    assert!((3.7..4.0).contains(&(one / fast)));
    // A slow one beside fast ones holds nobody up.
    let mut mixed = profile(4, 400);
    mixed.peers[3].speed = 0.25;
    let mixed = forecast(&mixed);
    assert!(mixed.makespan.as_secs_f64() < 1.1 * mixed.ideal.as_secs_f64(), "{mixed:?}");
}

#[test]
fn no_number_of_peers_is_faster_than_the_longest_chunk() {
    let mut profile = profile(64, 100);
    profile.costs_micros[50] = 5_000_000;
    let forecast = forecast(&profile);
    assert_eq!(forecast.ideal, Duration::from_secs(5));
}

#[test]
fn longer_and_narrower_links_make_it_no_faster() {
    let near = forecast(&profile(16, 400)).makespan;
    let mut far = profile(16, 400);
    far.latency = 100 * MS;
    let far = forecast(&far).makespan;
    assert!(far > near, "{far:?} with 100 ms, {near:?} with 1 ms");
    let mut narrow = profile(16, 400);
    narrow.bandwidth = Some(20_000);
    let narrow = forecast(&narrow).makespan;
    assert!(narrow > near, "{narrow:?} at 20 KB/s, {near:?} at any speed");
}

#[test]
fn the_last_chunks_go_to_whoever_can_begin_them_first() {
    for seed in 1..=20 {
        // Of one length: whoever takes one too many ends a whole chunk later than it must.
        let even = Profile { costs_micros: vec![100_000; 64], seed, ..profile(2, 0) };
        let forecast = forecast(&even);
        let (took, ideal) = (forecast.makespan, forecast.ideal);
        assert!(took < ideal + 50 * MS, "{took:?} and not {ideal:?}, with seed {seed}");
    }
}

#[test]
fn peers_that_vanish_are_replaced_and_what_they_ran_is_run_again() {
    let steady = forecast(&profile(32, 6_400));
    let mut profile = profile(32, 6_400);
    profile.lifetimes = Some(Duration::from_secs(10));
    let forecast = forecast(&profile);
    assert!(forecast.run_twice > steady.run_twice, "somebody vanished while it ran something");
    let (took, without) = (forecast.makespan, steady.makespan);
    assert!(took > without.mul_f64(1.005), "that costs something: {took:?}, and {without:?} if nobody does");
}

#[test]
fn the_same_profile_gives_the_same_bytes() {
    let mut profile = profile(24, 1_000);
    profile.lifetimes = Some(Duration::from_secs(5));
    let one = format!("{:?}", forecast(&profile));
    assert_eq!(one, format!("{:?}", forecast(&profile)));
    profile.seed = 8;
    assert_ne!(one, format!("{:?}", forecast(&profile)));
}

#[test]
fn what_cannot_be_simulated_is_refused() {
    let refused = |change: &dyn Fn(&mut Profile)| {
        let mut profile = profile(2, 10);
        change(&mut profile);
        let error = simulate(&profile).expect_err("it is refused");
        assert!(error.to_string().contains("hint: "), "{error}");
        error
    };
    assert_eq!(refused(&|profile| profile.costs_micros.clear()), Error::Chunks(0));
    assert_eq!(refused(&|profile| profile.costs_micros = vec![1; MOST_CHUNKS + 1]), Error::Chunks(MOST_CHUNKS + 1));
    assert_eq!(refused(&|profile| profile.peers.clear()), Error::Peers(0));
    let one = SimPeer { threads: 1, speed: 1.0 };
    assert_eq!(refused(&|profile| profile.peers = vec![one; MOST_PEERS + 1]), Error::Peers(MOST_PEERS + 1));
    assert_eq!(refused(&|profile| profile.peers.iter_mut().for_each(|peer| peer.threads = 0)), Error::Threads);
    for speed in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert_eq!(refused(&|profile| profile.peers[1].speed = speed), Error::Speed { peer: 1 });
    }
    assert_eq!(refused(&|profile| profile.bandwidth = Some(0)), Error::Bandwidth(0));
    let minute = Duration::from_secs(60);
    assert_eq!(refused(&|profile| profile.latency = minute), Error::Latency(minute));
    for lifetimes in [Duration::ZERO, Duration::from_nanos(1)] {
        assert_eq!(refused(&|profile| profile.lifetimes = Some(lifetimes)), Error::Lifetimes(lifetimes));
    }
    // Nobody lives for as long as one chunk takes.
    let never = |profile: &mut Profile| {
        profile.costs_micros = vec![60_000_000; 2];
        profile.lifetimes = Some(Duration::from_secs(1));
    };
    assert!(matches!(refused(&never), Error::Never(_)));
}

#[test]
fn what_is_next_to_nothing_can_be_simulated() {
    let mut tiny = profile(3, 1);
    tiny.costs_micros = vec![0];
    tiny.latency = Duration::ZERO;
    let tiny = simulate(&tiny).expect("it can be simulated");
    assert_eq!(tiny.ideal, Duration::ZERO);
    assert_eq!(tiny.spans.len() - tiny.run_twice as usize, 1);
}
