//! PROGRAM as a Python script: what runs is a Python compiled to WebAssembly, and the script is a file that it reads.

use std::path::{Path, PathBuf};

use super::Fail;
use super::args::Run;
use super::data::Named;
use crate::build;
use crate::store::Home;

/// The interpreter's name in the user's data folder for essaim.
const INTERPRETER: &str = "python.wasm";

/// Whether PROGRAM is a script.
fn is_script(program: &Path) -> bool {
    program.extension().is_some_and(|ending| ending == "py") && !program.is_dir()
}

/// Where PROGRAM is a script, makes the interpreter the program, the script data and the first argument, and gives the
/// script's name.
///
/// # Errors
/// There is no interpreter, or the script's path is not UTF-8.
pub fn interpret(run: &mut Run) -> Result<Option<String>, Fail> {
    if !is_script(&run.program) {
        return Ok(None);
    }
    let shown = run.program.display();
    let (Some(path), Some(file)) = (run.program.to_str(), run.program.file_name().and_then(|name| name.to_str()))
    else {
        return Err(Fail::new(format!("the path of {shown} is not UTF-8"), "give it another name"));
    };
    run.data.push(Named::own(path));
    run.args.insert(0, format!("/{file}"));
    let name = build::name(&run.program);
    run.program = interpreter(run)?;
    Ok(Some(name))
}

/// The Python that was named, or else the user's own.
fn interpreter(run: &Run) -> Result<PathBuf, Fail> {
    let usual = Home::root().ok().map(|root| root.join(INTERPRETER));
    let place = usual.as_ref().map_or_else(String::new, |usual| format!(", or put it at {}", usual.display()));
    let hint = format!(
        "take a CPython compiled to WebAssembly (wasm32-wasip1) with its library in it, and name it with --python FILE \
         or ESSAIM_PYTHON{place}\nexamples/languages/README.md says where to get one"
    );
    let found = run.python.clone().or(usual).filter(|python| python.is_file());
    found.ok_or_else(|| {
        let named = run.python.as_ref().map_or_else(String::new, |python| format!(" at {}", python.display()));
        Fail::new(
            format!("{} is a Python script, and there is no Python{named} to run it", run.program.display()),
            hint,
        )
    })
}
