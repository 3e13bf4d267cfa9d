//! The program as a node runs it: a map for each chunk, then a reduce over their outputs.

use std::io::Write;
use std::process::{Command, Output, Stdio};

fn run(role: Option<&str>, chunk: &str, input: &[u8]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wordcount"));
    command.env_remove("ESSAIM_ROLE").env("ESSAIM_CHUNK", chunk);
    if let Some(role) = role {
        command.env("ESSAIM_ROLE", role);
    }
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    // Far less than a pipe holds, so this cannot wait for the program.
    child.stdin.take().expect("a pipe").write_all(input).expect("the program reads");
    child.wait_with_output().expect("the program ends")
}

fn frames(chunks: &[&[u8]]) -> Vec<u8> {
    let outputs: Vec<_> = chunks.iter().map(|chunk| run(Some("map"), "0", chunk).stdout).collect();
    framed(&outputs)
}

fn framed(outputs: &[Vec<u8>]) -> Vec<u8> {
    let len = |output: &[u8]| u32::try_from(output.len()).expect("short").to_le_bytes();
    outputs.iter().flat_map(|output| [&len(output)[..], output].concat()).collect()
}

#[test]
fn mapping_and_reducing_is_running_it_whole() {
    let chunks: [&[u8]; 3] = [b"the bee the\nswarm\n", b"", b"bee the\xff \x0b the\n"];
    let whole = run(None, "0", &chunks.concat());
    assert_eq!(whole.stdout, b"the\t3\nbee\t2\nswarm\t1\nthe\xff\t1\n", "{whole:?}");
    let reduced = run(Some("reduce"), "0", &frames(&chunks));
    assert!(reduced.status.success(), "{reduced:?}");
    assert_eq!(reduced.stdout, whole.stdout);
    let combined = run(Some("combine"), "0", &frames(&chunks)).stdout;
    let reduced = run(Some("reduce"), "0", &framed(&[combined]));
    assert_eq!(reduced.stdout, whole.stdout);
    assert_eq!(run(Some("reduce"), "0", b"").stdout, b"", "no chunk, no word");
}

#[test]
fn what_does_not_fit_ends_with_status_2_and_a_hint() {
    let cut_off = frames(&[b"a\n", b"b\n"]);
    let garbled = [frames(&[b"a\n"]).as_slice(), &[1, 0, 0, 0, 9]].concat();
    for (role, input, message) in [
        ("reduce", &cut_off[..cut_off.len() - 1], "output 1, which was to be folded, breaks off"),
        ("reduce", &garbled, "output 1, which was to be folded, is no "),
        ("combine", &garbled, "output 1, which was to be folded, is no "),
        ("split", b"", "there is no split in this program"),
        ("sort", b"", "ESSAIM_ROLE is `sort`"),
    ] {
        let output = run(Some(role), "0", input);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(message) && said.contains("\nhint: "), "{said}");
        assert_eq!(output.stdout, b"");
    }
}
