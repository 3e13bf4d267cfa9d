//! What a volunteer's memory does: the resident memory of a node and of its sandbox process, as ten thousand chunks are
//! run one after another. A table, and `docs/memory.svg`.
//!
//! `cargo bench --bench memory`
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark that fails should say where")]

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};

const CHUNKS: u64 = 10_000;
/// What each chunk does: it sorts so many numbers, eight bytes each, and is given back no memory by the others.
const CHUNK: &str = "sort 20000";
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Chunks after which all that is kept on purpose is there.
const WARM: u64 = 1_000;

/// Chunks run by then, and MiB of the node and of its sandbox process.
type Look = (u64, f64, f64);
/// One of the two.
type Of = fn(&Look) -> f64;

fn main() {
    let world = tempfile::tempdir().unwrap();
    let essaim = |verb: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_essaim"));
        let variables = ["XDG_RUNTIME_DIR", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"];
        command.envs(variables.map(|name| (name, world.path()))).args([verb, "--no-mdns", "--json"]);
        command.args(["--listen", "127.0.0.1:0"]).stderr(Stdio::piped()).stdout(Stdio::null());
        command
    };
    let mut join = essaim("join").args(["--cpus", "1"]).spawn().unwrap();
    let mut lines = BufReader::new(join.stderr.take().unwrap()).lines();
    let joined: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    std::thread::spawn(move || lines.for_each(drop));
    let program = essaim_kernels::build(Path::new(env!("CARGO_TARGET_TMPDIR")), "plain", "").unwrap();
    let mut run = essaim("run");
    run.args(["--no-cache", "--cpus", "0", "--peer", joined["addresses"][0].as_str().unwrap()]).arg(program).arg(":::");
    let mut run = run.args(std::iter::repeat_n(CHUNK, CHUNKS as usize)).spawn().unwrap();
    let events = BufReader::new(run.stderr.take().unwrap()).lines();
    std::thread::spawn(move || events.for_each(drop));
    let home = joined["home"].as_str().unwrap().to_owned();
    let looks = watch(&join, &mut run, || {
        let mut status = Command::new(env!("CARGO_BIN_EXE_essaim"));
        let status = status.args(["status", "--json", "--home", &home]).output().unwrap();
        serde_json::from_slice::<Value>(&status.stdout).ok()?["chunks_run"].as_u64()
    });
    assert!(run.wait().unwrap().success());
    join.kill().unwrap();
    join.wait().unwrap();
    report(&looks);
}

/// Looks at both processes until all chunks have been run.
fn watch(node: &Child, run: &mut Child, chunks_run: impl Fn() -> Option<u64>) -> Vec<Look> {
    let mut system = System::new().unwrap();
    let node = Pid::from_u32(node.id());
    let mut looks = Vec::new();
    while run.try_wait().unwrap().is_none() {
        std::thread::sleep(LOOK_EVERY);
        let kind = ProcessRefreshKind::nothing().with_memory();
        system.refresh_processes_specifics(ProcessesToUpdate::All, true, kind);
        let mib = |pid: Pid| system.process(pid).map(|process| process.memory() as f64 / f64::from(1 << 20));
        let sandbox = system.processes().values().find(|process| process.parent() == Some(node));
        let (Some(node), Some(sandbox)) = (mib(node), sandbox.and_then(|process| mib(process.pid()))) else { continue };
        looks.extend(chunks_run().map(|chunks| (chunks, node, sandbox)));
    }
    looks
}

fn report(looks: &[Look]) {
    println!("{:>8} {:>10} {:>12}", "chunks", "node MiB", "sandbox MiB");
    for tenth in 0..=10 {
        let at = tenth * CHUNKS / 10;
        if let Some((chunks, node, sandbox)) = looks.iter().find(|(chunks, ..)| *chunks >= at) {
            println!("{chunks:>8} {node:>10.1} {sandbox:>12.1}");
        }
    }
    let warm: Vec<&Look> = looks.iter().filter(|(chunks, ..)| *chunks >= WARM).collect();
    let range = |of: Of| {
        let values = || warm.iter().map(|look| of(look));
        (values().fold(f64::MAX, f64::min), values().fold(0.0, f64::max))
    };
    let ((least, most), (least_sandbox, most_sandbox)) = (range(|look| look.1), range(|look| look.2));
    println!(
        "after {WARM} chunks: node {least:.1} to {most:.1} MiB, sandbox {least_sandbox:.1} to {most_sandbox:.1} MiB"
    );
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/memory.svg");
    std::fs::write(file, draw(looks)).unwrap();
    println!("drawn: docs/memory.svg");
}

/// Both curves over the number of chunks, as SVG.
fn draw(looks: &[Look]) -> String {
    let (left, top, width, height) = (64.0, 40.0, 620.0, 260.0);
    let most = looks.iter().map(|(_, node, sandbox)| node.max(*sandbox)).fold(10.0, f64::max) * 1.1;
    let x = |chunks: u64| left + width * chunks as f64 / CHUNKS as f64;
    let y = |mib: f64| top + height - height * mib / most;
    let mut svg = String::from(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 720 380\" width=\"720\" height=\"380\" role=\"img\">\n\
         <title>Resident memory over ten thousand chunks</title>\n\
         <style>text{font:13px sans-serif;fill:#222}.grid{stroke:#ccc}@media(prefers-color-scheme:dark)\
         {text{fill:#ddd}.grid{stroke:#444}}</style>\n\
         <text x=\"374\" y=\"20\" text-anchor=\"middle\" font-weight=\"bold\">Resident memory, MiB</text>\n",
    );
    for mib in (0..most as u32).step_by(10) {
        let at = y(f64::from(mib));
        let _ = writeln!(
            svg,
            "<path class=\"grid\" d=\"M{left} {at:.1}h{width}\"/><text x=\"58\" y=\"{:.1}\" text-anchor=\"end\">{mib}</text>",
            at + 4.0
        );
    }
    for chunks in (0..=CHUNKS).step_by(2_000) {
        let _ = writeln!(svg, "<text x=\"{:.1}\" y=\"318\" text-anchor=\"middle\">{chunks}</text>", x(chunks));
    }
    svg.push_str("<text x=\"374\" y=\"338\" text-anchor=\"middle\">chunks run</text>\n");
    let curves: [(&str, &str, Of); 2] =
        [("the node", "#2b83ba", |look| look.1), ("its sandbox process", "#e0600f", |look| look.2)];
    for (number, (name, colour, of)) in curves.into_iter().enumerate() {
        let points: Vec<String> =
            looks.iter().map(|look| format!("{:.1},{:.1}", x(look.0.min(CHUNKS)), y(of(look)))).collect();
        let (points, at) = (points.join(" "), 70 + 130 * number);
        let _ = writeln!(svg, "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" points=\"{points}\"/>");
        let _ = writeln!(
            svg,
            "<rect x=\"{at}\" y=\"354\" width=\"12\" height=\"12\" fill=\"{colour}\"/><text x=\"{}\" y=\"365\">{name}</text>",
            at + 18
        );
    }
    svg.push_str("</svg>\n");
    svg
}
