//! Wrong uses, and what is said to them: to be read as a person would meet them, in `*.trycmd` beside this file.
//!
//! What differs from run to run is written as `[..]`. After a change of words: `TRYCMD=overwrite cargo test --test wrong`,
//! then read what has changed.
#![allow(clippy::unwrap_used, reason = "tests")]

#[test]
fn what_is_wrong_is_said_in_words_that_help() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    std::fs::create_dir_all(dir.path().join("config/essaim")).unwrap();
    // Nothing of the network is to be looked at.
    std::fs::write(dir.path().join("config/essaim/essaim.toml"), "no-mdns = true\nlisten = [\"127.0.0.1:0\"]\n")
        .unwrap();
    // One after the other, as a home is one process's at a time.
    for topic in ["programs", "inputs", "options", "jobs"] {
        trycmd::TestCases::new()
            .register_bin("essaim", std::path::Path::new(env!("CARGO_BIN_EXE_essaim")))
            .env("XDG_RUNTIME_DIR", path("run"))
            .env("XDG_DATA_HOME", path(topic))
            .env("XDG_CONFIG_HOME", path("config"))
            .env("NO_COLOR", "1")
            .case(format!("tests/wrong/{topic}.trycmd"))
            .run();
    }
}
