//! `--joblog FILE`: a line a chunk as it is sealed, in the columns of GNU parallel.
//!
//! Not all of these are known here. `JobRuntime` is what the chunk took on the processor, by its peer's word for a whole
//! batch of chunks; `Starttime` that much before its output was safe here; both are `-` for what an earlier life or an
//! earlier job had. `Exitval` of what failed is 1 for whatever happened, and there are no signals.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use essaim_jobs::IntervalSet;

use super::label::{Label, Labels};
use super::{Leg, Unwritten, unwritten};
use crate::cli::fail::Fail;
use crate::store::Sealed;

const HEADER: &str = "Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n";

/// The log, open for writing at its end.
pub struct JobLog {
    file: BufWriter<File>,
    path: PathBuf,
    /// The numbers of chunks that have their line.
    known: IntervalSet,
}

impl JobLog {
    /// Begins a log; or goes on, `again`, with one that is there.
    ///
    /// # Errors
    /// It cannot be written, or is something else.
    pub fn open(path: &Path, again: bool) -> Result<JobLog, Fail> {
        JobLog::begin(path, again).map_err(|error| {
            let hint = "--joblog takes a file that you can write to; one that is to be gone on with must be such a log";
            Fail::new(format!("cannot write the log {}: {error}", path.display()), hint)
        })
    }

    /// Begins it once more: it was another job's.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn anew(&mut self) -> Result<(), Fail> {
        *self = JobLog::open(&self.path, false)?;
        Ok(())
    }

    fn begin(path: &Path, again: bool) -> io::Result<JobLog> {
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(!again).open(path)?;
        let (known, end) = if again { read(&file)? } else { (IntervalSet::new(), 0) };
        // Half a line is written once more.
        file.set_len(end)?;
        file.seek(SeekFrom::Start(end))?;
        if end == 0 {
            file.write_all(HEADER.as_bytes())?;
        }
        Ok(JobLog { file: BufWriter::new(file), path: path.to_owned(), known })
    }

    /// Writes on a thread of its own, which is told of the legs and ends with them.
    pub fn start(mut self) -> (JoinHandle<Result<(), Unwritten>>, SyncSender<Leg>) {
        let (tell, legs) = sync_channel::<Leg>(1);
        let thread = std::thread::spawn(move || legs.iter().try_for_each(|leg| self.follow(&leg)).map_err(failed));
        (thread, tell)
    }

    /// Writes of one leg until it has no more.
    fn follow(&mut self, leg: &Leg) -> io::Result<()> {
        let mut labels = Labels::new(leg.clone());
        for nth in 0..leg.manifest.chunks as usize {
            if !leg.outputs.has_nth(nth) {
                self.file.flush()?;
            }
            let Some((chunk, sealed)) = leg.outputs.wait_nth(nth) else { break };
            let number = leg.number(chunk);
            if !self.known.contains(number) {
                self.known.insert(number..number + 1);
                self.file.write_all(line(leg, number, &sealed, &labels.of(chunk)).as_bytes())?;
            }
        }
        self.file.flush()
    }
}

fn failed(error: io::Error) -> Unwritten {
    match unwritten(error) {
        Unwritten::Full(_) => Unwritten::Full("cannot write the log: the disk is full".into()),
        other => other,
    }
}

/// The chunks that a log has, and the end of its last whole line; an error where it is no log.
fn read(file: &File) -> io::Result<(IntervalSet, u64)> {
    let (mut known, mut end) = (IntervalSet::new(), 0);
    let mut reader = BufReader::new(file);
    let mut line = Vec::new();
    let other = || io::Error::new(io::ErrorKind::InvalidData, "it is no log of a job");
    while reader.read_until(b'\n', &mut line)? > 0 && line.ends_with(b"\n") {
        let number =
            line.split(|byte| *byte == b'\t').next().and_then(|seq| std::str::from_utf8(seq).ok()?.parse().ok());
        match number {
            Some(number) if end > 0 => known.insert(number..u32::saturating_add(number, 1)),
            None if end == 0 && line == HEADER.as_bytes() => {}
            _ => return Err(other()),
        }
        end += line.len() as u64;
        line.clear();
    }
    // Nothing of another file is to be lost, be it short.
    if end == 0 && !HEADER.as_bytes().starts_with(&line) { Err(other()) } else { Ok((known, end)) }
}

fn line(leg: &Leg, number: u32, sealed: &Sealed, label: &Label) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = |time: Duration| format!("{:.3}", time.as_secs_f64());
    let unknown = || "-".to_owned();
    let begun = sealed.cpu.map_or_else(unknown, |took| seconds(now.saturating_sub(took)));
    let took = sealed.cpu.map_or_else(unknown, |took| format!("{:.6}", took.as_secs_f64()));
    let sent = label.bytes.map_or_else(unknown, |bytes| bytes.to_string());
    let received = if sealed.failed { 0 } else { sealed.bytes.len() };
    let (host, exit) = (sealed.worker.short(), u8::from(sealed.failed));
    let (name, input) = (leg.manifest.name.as_str().escape_debug(), label.line());
    format!("{number}\t{host}\t{begun}\t{took}\t{sent}\t{received}\t{exit}\t0\t{name} {input}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_gone_on_with_after_its_last_whole_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let open = |again| JobLog::open(&path, again).map(|log| log.known.iter().collect::<Vec<_>>());
        assert!(open(true).unwrap().is_empty(), "a new one");
        std::fs::write(&path, format!("{HEADER}3\tx\n0\ty\n17")).unwrap();
        assert_eq!(open(true).unwrap(), [0, 3]);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{HEADER}3\tx\n0\ty\n"));
        assert!(open(false).unwrap().is_empty());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), HEADER);
        for other in ["something else\n", "short", "3\tx\n", &format!("{HEADER}{HEADER}")] {
            std::fs::write(&path, other).unwrap();
            assert!(open(true).is_err(), "{other:?}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), other, "it stays as it is");
        }
    }
}
