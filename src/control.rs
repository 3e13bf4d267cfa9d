//! How the owner of a machine talks to the node that runs on it: a socket in the node's home, which only this user
//! may reach; a line of JSON each way.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use essaim_jobs::JobId;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};

/// The name of the socket.
const NAME: &str = "control";
/// The longest line that a node takes, and the longest answer, bytes.
const LINE: u64 = 64 << 10;
const ANSWER: u64 = 1 << 20;
/// How long one that has connected may take to say what it wants.
const SPEAK_WITHIN: Duration = Duration::from_secs(5);

/// What an owner may want.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wish {
    /// Lend nothing until further notice; what runs stands still.
    Pause,
    /// Go on.
    Resume,
    /// End what runs, hand back the rest, and leave.
    Finish,
    /// Say how it goes.
    Status,
    /// Say all that there is to look at: itself, its jobs, who works on them, and how far their chunks are.
    Look,
    /// Say which jobs of its author it follows, and how far they are.
    Jobs,
    /// End this one, if it follows it.
    Cancel(JobId),
    /// Say what stands in the way of this one, or of one of its chunks, if it follows it.
    Explain(JobId, Option<u32>),
    /// Say how the last jobs of its author have ended.
    Ended,
}

/// A wish, and where its answer goes; null is for one that does not concern this node.
#[derive(Debug)]
pub struct Asked {
    /// What is wanted.
    pub wish: Wish,
    /// The answer: how the node is then.
    pub answer: oneshot::Sender<serde_json::Value>,
}

/// What an owner has asked.
#[derive(Debug)]
pub struct Wishes {
    asked: mpsc::Receiver<Asked>,
    listening: JoinHandle<()>,
}

impl Wishes {
    /// The next wish. None when nobody can ask any more.
    pub async fn next(&mut self) -> Option<Asked> {
        self.asked.recv().await
    }

    /// Takes no more wishes, and returns when whoever was answered has the answer.
    pub async fn close(self) {
        drop(self.asked);
        // It only ends otherwise with the process.
        let _ = self.listening.await;
    }
}

/// Listens in the home `dir`, until the wishes are closed. The home must be this process's own.
///
/// # Errors
/// The socket cannot be made.
pub fn listen(dir: &Path) -> io::Result<Wishes> {
    use std::os::unix::fs::PermissionsExt;
    let path = dir.join(NAME);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    let (sender, asked) = mpsc::channel(16);
    let listening = tokio::spawn(async move {
        let mut speaking = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = sender.closed() => break,
                Some(_) = speaking.join_next() => continue,
                accepted = listener.accept() => accepted,
            };
            // One that went away at once, or no descriptor free: the next may do.
            let Ok((stream, _)) = accepted else {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let sender = sender.clone();
            // Whoever does not speak, or does not listen, is not waited for.
            speaking.spawn(async move { tokio::time::timeout(SPEAK_WITHIN, serve(stream, &sender)).await });
        }
        while speaking.join_next().await.is_some() {}
        // It is removed when the node starts again, at the latest.
        let _ = std::fs::remove_file(path);
    });
    Ok(Wishes { asked, listening })
}

async fn serve(stream: UnixStream, wishes: &mpsc::Sender<Asked>) -> io::Result<()> {
    let this_user = rustix::process::geteuid().as_raw();
    if ![0, this_user].contains(&stream.peer_cred()?.uid()) {
        return Ok(());
    }
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    let mut said = BufReader::new(read.take(LINE));
    tokio::select! {
        () = wishes.closed() => return Err(ErrorKind::BrokenPipe.into()),
        read = said.read_line(&mut line) => read?,
    };
    let answer = match serde_json::from_str(&line) {
        Ok(wish) => {
            let (answer, answered) = oneshot::channel();
            let sent = wishes.send(Asked { wish, answer }).await;
            sent.map_err(|_| ErrorKind::BrokenPipe)?;
            answered.await.map_err(|_| ErrorKind::BrokenPipe)?
        }
        Err(error) => serde_json::json!({ "error": error.to_string() }),
    };
    write.write_all(format!("{answer}\n").as_bytes()).await
}

/// Tells the node in the home `dir` what is wanted; the answer is how it is then. None when no node runs there.
///
/// # Errors
/// It does not answer, or not sensibly.
pub async fn ask(dir: &Path, wish: Wish) -> io::Result<Option<serde_json::Value>> {
    let path: PathBuf = dir.join(NAME);
    let stream = match UnixStream::connect(path).await {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => return Ok(None),
        other => other?,
    };
    let (read, mut write) = stream.into_split();
    write.write_all(format!("{}\n", serde_json::to_string(&wish)?).as_bytes()).await?;
    let mut line = String::new();
    if BufReader::new(read.take(ANSWER)).read_line(&mut line).await? == 0 {
        return Err(io::Error::new(ErrorKind::UnexpectedEof, "it is leaving"));
    }
    Ok(Some(serde_json::from_str(&line)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A runtime of its own, as a process has: what runs on it ends with it.
    fn block_on<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    #[test]
    fn the_last_wish_is_answered_before_the_node_is_gone() {
        let home = tempfile::tempdir().unwrap();
        let (ready, listens) = std::sync::mpsc::sync_channel(1);
        let dir = home.path();
        std::thread::scope(|threads| {
            threads.spawn(move || {
                block_on(async {
                    let mut wishes = listen(dir).unwrap();
                    ready.send(()).unwrap();
                    let Asked { wish, answer } = wishes.next().await.unwrap();
                    assert_eq!(wish, Wish::Finish);
                    answer.send(serde_json::json!("bye")).unwrap();
                    wishes.close().await;
                });
            });
            listens.recv().unwrap();
            assert_eq!(block_on(ask(dir, Wish::Finish)).unwrap(), Some("bye".into()));
        });
    }

    #[test]
    fn who_connects_and_says_nothing_does_not_keep_a_node_from_leaving() {
        let home = tempfile::tempdir().unwrap();
        block_on(async {
            let wishes = listen(home.path()).unwrap();
            let mut silent = UnixStream::connect(home.path().join(NAME)).await.unwrap();
            let close = tokio::time::timeout(SPEAK_WITHIN / 2, wishes.close());
            close.await.expect("it waits for one that says nothing");
            // It may not even have been taken up.
            let kind = silent.read_u8().await.unwrap_err().kind();
            assert!(matches!(kind, ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset), "{kind}");
        });
    }
}
