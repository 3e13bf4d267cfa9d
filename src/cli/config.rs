//! `essaim.toml`: what a person would say on every command line. Each key is the long name of an option, each table a
//! verb; a value goes through the same parser as on the command line, which overrides it, as the environment does.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use clap::builder::OsStr as ClapStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};
use toml::{Table, Value};

/// The file's name, and the variable that names another.
const FILE: &str = "essaim.toml";
const VARIABLE: &str = "ESSAIM_CONFIG";
/// The verbs that have a table.
const VERBS: [&str; 3] = ["join", "run", "peers"];

/// What the file says: by verb (none: every command) and option.
#[derive(Debug, Default)]
pub struct Config {
    path: Option<PathBuf>,
    values: BTreeMap<(Option<&'static str>, String), Vec<String>>,
}

impl Config {
    /// Reads the file that `ESSAIM_CONFIG` names, or the one in the user's folder for settings, which may be missing.
    ///
    /// # Errors
    /// It cannot be read, is not TOML, or says what no option of `command` is, in words for a person.
    pub fn read(command: &Command) -> Result<Config, String> {
        use etcetera::BaseStrategy;
        let named = std::env::var_os(VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
        let usual = || Some(etcetera::choose_base_strategy().ok()?.config_dir().join("essaim").join(FILE));
        let Some(path) = named.clone().or_else(usual) else { return Ok(Config::default()) };
        match std::fs::read_to_string(&path) {
            Ok(text) => Config::parse(command, &path, &text),
            Err(error) if error.kind() == io::ErrorKind::NotFound && named.is_none() => {
                Ok(Config { path: Some(path), ..Config::default() })
            }
            Err(error) => Err(format!("cannot read {}: {error}", path.display())),
        }
    }

    fn parse(command: &Command, path: &Path, text: &str) -> Result<Config, String> {
        let table: Table = text.parse().map_err(|error| format!("{} is not TOML: {error}", path.display()))?;
        let mut values = BTreeMap::new();
        let mut take = |verb: Option<&'static str>, of: &Command, key: String, value: Value| {
            let place = verb.map_or_else(String::new, |verb| format!("[{verb}] "));
            let known = options(of).any(|option| option.get_long() == Some(&key));
            if !known {
                let all: Vec<&str> = options(of).filter_map(Arg::get_long).collect();
                let hint = format!("known are {}", all.join(", "));
                return Err(format!("{}: {place}{key} is no option\n  hint: {hint}", path.display()));
            }
            let words = words(value).ok_or_else(|| {
                format!(
                    "{}: {place}{key} is neither text, a number, true or false, nor a list of these",
                    path.display()
                )
            })?;
            values.insert((verb, key), words);
            Ok(())
        };
        for (key, value) in table {
            match (VERBS.into_iter().find(|verb| *verb == key), value) {
                (Some(verb), Value::Table(table)) => {
                    let of = command.find_subcommand(verb).unwrap_or(command);
                    table.into_iter().try_for_each(|(key, value)| take(Some(verb), of, key, value))?;
                }
                (_, value) => take(None, command, key, value)?,
            }
        }
        Ok(Config { path: Some(path.to_owned()), values })
    }

    /// Makes what the file says the defaults of `command`.
    pub fn apply(&self, mut command: Command) -> Command {
        for ((verb, name), words) in &self.values {
            let id = |command: &Command| {
                let option = options(command).find(|option| option.get_long() == Some(name));
                option.map(|option| option.get_id().clone())
            };
            let set = |option: Arg| option.default_values(words.iter().map(|word| ClapStr::from(word.clone())));
            command = match verb {
                None => match id(&command) {
                    Some(id) => command.mut_arg(id, set),
                    None => command,
                },
                Some(verb) => command.mut_subcommand(*verb, |of| match id(&of) {
                    Some(id) => of.mut_arg(id, set),
                    None => of,
                }),
            };
        }
        command
    }

    /// An error of the parser; where it is of a value in the file, it says so.
    pub fn blame(&self, command: &mut Command, error: clap::Error) -> clap::Error {
        let context = |kind| match error.get(kind) {
            Some(ContextValue::String(text)) => Some(text.clone()),
            _ => None,
        };
        let (Some(option), Some(value)) = (context(ContextKind::InvalidArg), context(ContextKind::InvalidValue)) else {
            return error;
        };
        let is_it = |((_, name), words): (&(_, String), &Vec<String>)| {
            option.starts_with(&format!("--{name}")) && words.contains(&value)
        };
        let Some(path) = self.path.as_ref().filter(|_| self.values.iter().any(is_it)) else { return error };
        let why = std::error::Error::source(&error).map_or_else(String::new, |why| format!(": {why}"));
        let words = format!("invalid value '{value}' for '{option}'{why}\n  hint: it stands in {}", path.display());
        command.error(ErrorKind::ValueValidation, words)
    }

    /// Every option with its effective value and where that comes from, as a file that says the same.
    pub fn show(&self, command: &Command, matches: &ArgMatches) -> String {
        let mut text = match &self.path {
            Some(path) if self.values.is_empty() => format!("# {} says nothing.\n", path.display()),
            Some(path) => format!("# What {} says, and what holds otherwise.\n", path.display()),
            None => "# There is no folder for settings here.\n".to_owned(),
        };
        self.show_table(&mut text, None, command, Some(matches));
        for verb in VERBS {
            if let Some(of) = command.find_subcommand(verb) {
                let _ = write!(text, "\n[{verb}]\n");
                self.show_table(&mut text, Some(verb), of, None);
            }
        }
        text
    }

    fn show_table(&self, text: &mut String, verb: Option<&'static str>, of: &Command, matches: Option<&ArgMatches>) {
        for option in options(of) {
            let Some(name) = option.get_long() else { continue };
            let id = option.get_id().as_str();
            let source = matches.and_then(|matches| matches.value_source(id));
            let given = matches.and_then(|matches| matches.get_raw(id));
            let given: Vec<String> = given.into_iter().flatten().map(lossy).collect();
            let in_file = self.values.get(&(verb, name.to_owned()));
            let usual: Vec<String> = option.get_default_values().iter().map(lossy).collect();
            let (words, origin) = match (source, in_file) {
                (Some(ValueSource::CommandLine), _) => (given, "the command line"),
                (Some(ValueSource::EnvVariable), _) => (given, "the environment"),
                (_, Some(words)) => (words.clone(), FILE),
                _ => (usual, "the default"),
            };
            let value = toml(option, &words);
            let _ = match value {
                Some(value) => writeln!(text, "{name} = {value} # {origin}"),
                None => writeln!(text, "# {name} is not set"),
            };
        }
    }
}

fn lossy(word: &(impl AsRef<OsStr> + ?Sized)) -> String {
    word.as_ref().to_string_lossy().into_owned()
}

/// The options that can stand in the file: those with a long name that take a value or are true or false.
fn options(command: &Command) -> impl Iterator<Item = &Arg> {
    let can =
        |option: &&Arg| !matches!(option.get_action(), ArgAction::Help | ArgAction::Version | ArgAction::HelpShort);
    command.get_arguments().filter(|option| option.get_long().is_some()).filter(can)
}

/// The words of a value, as they would stand on the command line.
fn words(value: Value) -> Option<Vec<String>> {
    match value {
        Value::String(text) => Some(vec![text]),
        Value::Integer(number) => Some(vec![number.to_string()]),
        Value::Float(number) => Some(vec![number.to_string()]),
        Value::Boolean(is) => Some(vec![is.to_string()]),
        Value::Array(all) => {
            let all: Option<Vec<Vec<String>>> = all.into_iter().map(words).collect();
            Some(all?.into_iter().flatten().collect())
        }
        Value::Datetime(_) | Value::Table(_) => None,
    }
}

/// A value as the file has it; none where there is none.
fn toml(option: &Arg, words: &[String]) -> Option<String> {
    let one = |word: &String| match word.parse::<i64>() {
        Ok(number) => number.to_string(),
        Err(_) if word == "true" || word == "false" => word.clone(),
        Err(_) => Value::String(word.clone()).to_string(),
    };
    match (option.get_action(), words) {
        (ArgAction::Append, []) => Some("[]".to_owned()),
        (ArgAction::Append, words) => Some(format!("[{}]", words.iter().map(one).collect::<Vec<_>>().join(", "))),
        (_, [word, ..]) => Some(one(word)),
        (ArgAction::SetTrue, []) => Some("false".to_owned()),
        (_, []) => None,
    }
}
