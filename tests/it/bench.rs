//! `essaim bench`, as a person has it.

use serde_json::Value;

use crate::node::{World, guest, run};

/// The report of `essaim bench WORDS`.
fn report(world: &World, words: &[&str]) -> Value {
    let ran = run(world.bare("bench").args(["--json", "--rounds", "1"]).args(words), b"").well();
    serde_json::from_slice(&ran.stdout).unwrap()
}

#[test]
fn works_are_measured_checked_and_reported() {
    let world = World::new("bench");
    let (csv, html) = (world.dir.path().join("b.csv"), world.dir.path().join("b.html"));
    let files = ["--csv", csv.to_str().unwrap(), "--html", html.to_str().unwrap()];
    let words = ["--scale", "0.02", "--on", "1,2", "--simulate", "16", "primes", "wordcount", "fixed-1ms"];
    let report = report(&world, &[&files[..], &words].concat());
    let works = report["workloads"].as_array().unwrap();
    let names: Vec<&str> = works.iter().filter_map(|work| work["name"].as_str()).collect();
    assert_eq!(names, ["fixed-1ms", "primes", "wordcount"], "in the order of the suite");
    for work in works {
        let runs = work["runs"].as_array().unwrap();
        let cases: Vec<_> = runs.iter().map(|run| (run["peers"].as_u64(), run["times"].as_u64())).collect();
        assert_eq!(cases, [(Some(1), Some(1)), (Some(2), Some(1)), (Some(2), Some(2))]);
        assert!(work["sandbox"].as_f64().unwrap() > 0.0);
        for run in runs {
            let number = |value: &Value| value.as_f64().unwrap();
            let took = number(&run["seconds"]["median"]);
            assert!(took > 0.0 && number(&run["native"]["median"]) > 0.0, "{run}");
            let went: f64 = run["went"].as_object().unwrap().values().map(number).sum();
            assert!((went - took).abs() <= 0.02 * took + 0.002, "{went} of {took}: {run}");
            let spans = run["spans"].as_array().unwrap();
            assert_eq!(spans.len() as u64, run["chunks"].as_u64().unwrap());
            assert!(spans.iter().all(|span| span["peer"].as_u64().unwrap() < run["peers"].as_u64().unwrap()));
        }
        let found = &work["forecasts"][0];
        assert_eq!(found["peers"], 16);
        assert!(found["seconds"].as_f64().unwrap() >= found["ideal"].as_f64().unwrap(), "{found}");
    }
    assert_eq!(std::fs::read_to_string(csv).unwrap().lines().count(), 1 + 3 * 3);
    let page = std::fs::read_to_string(html).unwrap();
    assert!(page.contains("<svg") && names.iter().all(|name| page.contains(name)));
}

#[test]
fn a_program_of_ones_own_is_measured() {
    let world = World::new("bench-own");
    let table = run(
        world
            .bare("bench")
            .args(["--on", "1", "--rounds", "1", "run"])
            .arg(guest("moody"))
            .args([":::", "1", "2", "3"]),
        b"",
    )
    .well();
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(table.lines().any(|line| line.starts_with("moody") && line.contains("1.00x")), "{table}");
    assert!(table.lines().all(|line| line.chars().count() <= 80 || line.contains("essaim")), "{table}");
    // What fails is said in the words of `run`.
    let failed = run(
        world.bare("bench").args(["--on", "1", "--rounds", "1", "run"]).arg(guest("moody")).args([":::", "x"]),
        b"",
    );
    assert_eq!(failed.status, 1);
    assert!(failed.stderr.contains("chunk 0") && failed.stderr.contains("trapped"), "{}", failed.stderr);
}

#[test]
fn what_there_is_to_be_measured_is_said() {
    let world = World::new("bench-list");
    let list = run(world.bare("bench").arg("--list"), b"").well();
    assert!(String::from_utf8(list.stdout).unwrap().lines().any(|line| line.starts_with("mandelbrot ")));
    let wrong = run(world.bare("bench").arg("mandelbort"), b"");
    assert_eq!(wrong.status, 2);
    assert!(wrong.stderr.contains("mandelbrot"), "{}", wrong.stderr);
    let both = run(world.bare("bench").args(["primes", "run"]).arg(guest("moody")), b"");
    assert_eq!(both.status, 2);
    // Before anything is measured, which would be lost.
    let nowhere = run(world.bare("bench").args(["primes", "--csv", "no/such/folder/b.csv"]), b"");
    assert_eq!((nowhere.status, nowhere.stdout), (1, Vec::new()));
    assert!(nowhere.stderr.contains("no/such/folder/b.csv") && nowhere.stderr.contains("hint:"), "{}", nowhere.stderr);
}
