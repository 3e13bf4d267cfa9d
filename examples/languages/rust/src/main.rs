//! Sums a column of a table by the names in its first one, without the kit: a program as in any other language.
//!
//! The columns are parted by tabs, and counted from 1. A line is the chunk's number, a name, and its sum.

use std::collections::BTreeMap;
use std::env;
use std::error::Error;
use std::io::{self, BufWriter, Write};

fn main() -> Result<(), Box<dyn Error>> {
    let column: usize = env::args().nth(1).ok_or("which column?")?.parse()?;
    let chunk = env::var("ESSAIM_CHUNK")?;
    let mut sums = BTreeMap::<String, i64>::new();
    for (line, number) in io::stdin().lines().zip(1..) {
        let line = line?;
        let fields: Vec<&str> = line.split('\t').collect();
        let value = column.checked_sub(1).and_then(|at| fields.get(at)?.parse::<i64>().ok());
        let value = value.ok_or_else(|| format!("line {number} has no number in column {column}"))?;
        *sums.entry(fields[0].to_owned()).or_default() += value;
    }
    let mut out = BufWriter::new(io::stdout());
    for (name, sum) in sums {
        writeln!(out, "{chunk}\t{name}\t{sum}")?;
    }
    Ok(out.flush()?)
}
