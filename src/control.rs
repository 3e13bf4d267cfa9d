//! How the owner of a machine talks to the node that runs on it: a socket in the node's home, which only this user
//! may reach; a line of JSON each way.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};

/// The name of the socket.
const NAME: &str = "control";
/// The longest line, bytes.
const LINE: u64 = 64 << 10;
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
}

/// A wish, and where its answer goes.
#[derive(Debug)]
pub struct Asked {
    /// What is wanted.
    pub wish: Wish,
    /// The answer: how the node is then.
    pub answer: oneshot::Sender<serde_json::Value>,
}

/// Listens in the home `dir`, for as long as somebody takes the wishes. The home must be this process's own.
///
/// # Errors
/// The socket cannot be made.
pub fn listen(dir: &Path) -> io::Result<mpsc::Receiver<Asked>> {
    use std::os::unix::fs::PermissionsExt;
    let path = dir.join(NAME);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    let (sender, wishes) = mpsc::channel(16);
    tokio::spawn(async move {
        loop {
            let accepted = tokio::select! {
                () = sender.closed() => break,
                accepted = listener.accept() => accepted,
            };
            // One that went away at once, or no descriptor free: the next may do.
            let Ok((stream, _)) = accepted else {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let sender = sender.clone();
            tokio::spawn(async move {
                // Whoever does not speak is not waited for.
                let _ = tokio::time::timeout(SPEAK_WITHIN, serve(stream, &sender)).await;
            });
        }
        // It is removed when the node starts again, at the latest.
        let _ = std::fs::remove_file(path);
    });
    Ok(wishes)
}

async fn serve(stream: UnixStream, wishes: &mpsc::Sender<Asked>) -> io::Result<()> {
    let this_user = rustix::process::geteuid().as_raw();
    if ![0, this_user].contains(&stream.peer_cred()?.uid()) {
        return Ok(());
    }
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    BufReader::new(read.take(LINE)).read_line(&mut line).await?;
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
    BufReader::new(read.take(LINE)).read_line(&mut line).await?;
    Ok(Some(serde_json::from_str(&line)?))
}
