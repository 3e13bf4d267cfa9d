//! What is refused before it runs, by name.

use essaim_worker::{PROGRAM_BYTES, ProgramError};

use crate::guests::{empty, engine, load};

fn refused(bytes: impl AsRef<[u8]>) -> ProgramError {
    let error = engine().load(bytes.as_ref()).unwrap_err();
    // Without compiling it the same is said, but in what words the compiler would have put it.
    let checked = engine().check(bytes.as_ref()).unwrap_err();
    match &error {
        ProgramError::Compile { .. } => assert!(matches!(checked, ProgramError::Compile { .. }), "{checked:?}"),
        _ => assert_eq!(checked, error),
    }
    assert!(!error.to_string().is_empty() && !error.hint().is_empty());
    error
}

#[test]
fn a_missing_import_is_named() {
    let error = refused(r#"(module (import "env" "launch" (func (param i32))) (func (export "_start")))"#);
    let wanted = ProgramError::MissingImport { module: "env".into(), name: "launch".into(), kind: "function".into() };
    assert_eq!(error, wanted);
    assert!(error.to_string().contains("env::launch") && error.hint().contains("wasi_snapshot_preview1"));

    let error = refused(r#"(module (import "env" "memory" (memory 1)) (func (export "_start")))"#);
    assert!(matches!(error, ProgramError::MissingImport { kind, .. } if kind == "memory"));
}

#[test]
fn an_import_of_another_type_is_told() {
    let error =
        refused(r#"(module (import "wasi_snapshot_preview1" "fd_write" (func (param i64))) (func (export "_start")))"#);
    assert!(matches!(&error, ProgramError::Compile { message } if message.contains("fd_write")), "{error}");
}

#[test]
fn what_is_not_wasm() {
    assert!(matches!(refused(""), ProgramError::NotWasm { bytes: 0, .. }));
    let error = refused(b"\x7fELF\x02\x01\x01 and so on");
    assert!(matches!(&error, ProgramError::NotWasm { start, .. } if start.contains("ELF")), "{error}");
    assert!(matches!(refused("#!/bin/sh"), ProgramError::NotWasm { .. }));
    assert!(matches!(refused(";; only a comment"), ProgramError::NotWasm { .. }));
    assert!(matches!(refused(b"\0asm\x01\0\0\0 rubbish"), ProgramError::Compile { .. }));
    assert!(matches!(refused(b"\0asm"), ProgramError::Compile { .. }));
}

#[test]
fn text_that_does_not_parse_names_the_line() {
    let error = refused("(; a (module ;)\n ;; comment\n(module\n  (fnuc))");
    assert!(matches!(&error, ProgramError::Wat { message } if message.contains(":4:")), "{error}");
}

#[test]
fn a_component_is_told_from_a_module() {
    assert_eq!(refused("(component)"), ProgramError::Component);
    assert_eq!(refused(b"\0asm\x0d\0\x01\0"), ProgramError::Component);
}

#[test]
fn a_library_is_no_command() {
    assert_eq!(refused(r#"(module (func (export "add")))"#), ProgramError::NoStart);
    assert_eq!(refused(r#"(module (func (export "_start") (param i32)))"#), ProgramError::NoStart);
    assert_eq!(refused(r#"(module (memory (export "_start") 1))"#), ProgramError::NoStart);
}

#[test]
fn too_large_a_program() {
    let bytes = vec![0; usize::try_from(PROGRAM_BYTES).unwrap() + 1];
    assert_eq!(refused(bytes), ProgramError::TooLarge { bytes: PROGRAM_BYTES + 1, most: PROGRAM_BYTES });
}

#[test]
fn features_that_would_differ_between_machines_are_off() {
    let shared = r#"(module (memory (export "memory") 1 1 shared) (func (export "_start")))"#;
    let wide = r#"(module (memory (export "memory") i64 1) (func (export "_start")))"#;
    let several = r#"(module (memory 1) (memory 1) (func (export "_start")))"#;
    for module in [shared, wide, several] {
        assert!(matches!(refused(module), ProgramError::Compile { .. }), "{module}");
    }
}

#[test]
fn a_fold_of_its_own_is_declared_in_a_custom_section() {
    assert!(!load(&empty()).roles().reduce);
    let with = |section: &str| load(&format!(r#"(module {section} (func (export "_start")))"#)).roles().reduce;
    assert!(with(r#"(@custom "name2" "x") (@custom "essaim" "map,reduce")"#));
    assert!(!with(r#"(@custom "essaim" "map")"#));
    assert!(!with(r#"(@custom "other" "reduce")"#));
}

#[test]
fn a_large_function_table_and_a_huge_memory_still_load() {
    load(r#"(module (table 100000 funcref) (memory 65536) (func (export "_start")))"#);
}
