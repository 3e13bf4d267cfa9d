//! What a person sees of an error that a job returns.

use std::io::Write;
use std::process::{Command, Stdio};

#[test]
fn a_jobs_own_error_is_its_words_and_status_1() {
    for role in [Some("map"), None] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_primes"));
        command.env_remove("ESSAIM_ROLE").envs(role.map(|role| ("ESSAIM_ROLE", role)));
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        child.stdin.take().expect("a pipe").write_all(b"0..10_000_000_000_000_001").expect("the program reads");
        let output = child.wait_with_output().expect("the program ends");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.starts_with("error: 0..10000000000000001 goes beyond") && said.lines().count() == 1, "{said}");
        assert_eq!(output.stdout, b"");
    }
}
