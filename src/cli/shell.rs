//! `essaim shell`: completions and man pages, generated from the command line's own description, put to where the
//! person's shell and `man` look for them.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Command, ValueEnum};
use clap_complete::Shell;
use etcetera::BaseStrategy;
use serde_json::json;

use super::args::{self, Global, Setup};
use super::fail::Fail;
use super::say::say;

/// What can be printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Completions for bash
    Bash,
    /// Completions for zsh
    Zsh,
    /// Completions for fish
    Fish,
    /// The man page of `essaim` itself
    Man,
}

impl Kind {
    /// The shell that this path names.
    fn of_path(path: &Path) -> Option<Kind> {
        match path.file_name()?.to_str()? {
            "bash" => Some(Kind::Bash),
            "zsh" => Some(Kind::Zsh),
            "fish" => Some(Kind::Fish),
            _ => None,
        }
    }

    /// Its completions, or the page.
    fn text(self) -> io::Result<Vec<u8>> {
        let shell = match self {
            Kind::Bash => Shell::Bash,
            Kind::Zsh => Shell::Zsh,
            Kind::Fish => Shell::Fish,
            Kind::Man => return page(args::command()),
        };
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut args::command(), "essaim", &mut text);
        Ok(text)
    }

    /// Where the user's own completions are, and what makes the shell look there if it does not.
    fn place(self, base: &impl BaseStrategy) -> Option<(PathBuf, &'static str)> {
        match self {
            Kind::Bash => Some((
                base.data_dir().join("bash-completion/completions/essaim"),
                "a new shell knows them, if the package bash-completion is installed",
            )),
            Kind::Zsh => Some((
                base.data_dir().join("zsh/site-functions/_essaim"),
                "zsh looks there if ~/.zshrc says so, before compinit: fpath=(DIR $fpath)",
            )),
            Kind::Fish => Some((base.config_dir().join("fish/completions/essaim.fish"), "a new shell knows them")),
            Kind::Man => None,
        }
    }
}

/// Writes the completions of the person's shell and all man pages, or prints one of them.
///
/// # Errors
/// The shell is not known, or a file cannot be written.
pub fn set_up(global: &Global, setup: &Setup) -> Result<(), Fail> {
    if let Some(kind) = setup.print {
        let printed = kind.text().and_then(|text| io::stdout().lock().write_all(&text));
        return match printed {
            // Nobody reads any more.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Fail::new(format!("cannot print: {error}"), "see where it is written to"))
            }
            _ => Ok(()),
        };
    }
    let base =
        etcetera::choose_base_strategy().map_err(|_| Fail::new("no home folder is known for this user", "set HOME"))?;
    let shell = std::env::var_os("SHELL").and_then(|path| Kind::of_path(Path::new(&path)));
    match shell.and_then(|shell| Some((shell, shell.place(&base)?))) {
        Some((shell, (path, then))) => {
            let text = shell.text().map_err(|error| unwritten(&path, &error))?;
            put(global, &path, &text)?;
            let dir = path.parent().unwrap_or(&path).display().to_string();
            say(
                global,
                format!("  {}", then.replace("DIR", &dir)),
                "hint",
                json!({ "hint": then.replace("DIR", &dir) }),
            );
        }
        None => {
            let words = "essaim: SHELL names none of bash, zsh and fish: no completions are written\n  hint: `essaim \
                         shell --print bash` prints those of bash";
            say(global, words, "no-shell", json!({}));
        }
    }
    let dir = base.data_dir().join("man/man1");
    for (name, text) in pages().map_err(|error| unwritten(&dir, &error))? {
        put(global, &dir.join(name), &text)?;
    }
    let then =
        format!("`man essaim` shows them; if it does not, set MANPATH=\"{}:\"", base.data_dir().join("man").display());
    say(global, format!("  {then}"), "hint", json!({ "hint": then }));
    Ok(())
}

/// A page for the command, and one a verb.
fn pages() -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut command = args::command();
    command.build();
    let mut pages = vec![("essaim.1".to_owned(), page(args::command())?)];
    for verb in command.get_subcommands().filter(|verb| verb.get_name() != "help" && !verb.is_hide_set()) {
        let name = format!("essaim-{}", verb.get_name());
        pages.push((format!("{name}.1"), page(verb.clone().display_name(name))?));
    }
    Ok(pages)
}

fn page(command: Command) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    clap_mangen::Man::new(command).render(&mut text)?;
    Ok(text)
}

fn put(global: &Global, path: &Path, text: &[u8]) -> Result<(), Fail> {
    let dir = path.parent().unwrap_or(path);
    fs::create_dir_all(dir).and_then(|()| fs::write(path, text)).map_err(|error| unwritten(path, &error))?;
    say(global, format!("essaim: wrote {}", path.display()), "wrote", json!({ "file": path.to_string_lossy() }));
    Ok(())
}

fn unwritten(path: &Path, error: &io::Error) -> Fail {
    let hint = "`essaim shell --print KIND` prints it instead, to be put where you like";
    Fail::new(format!("cannot write {}: {error}", path.display()), hint)
}
