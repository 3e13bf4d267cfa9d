//! The socket between a node and a sandbox process, over which open files can go: a process that may open nothing is
//! given what it is to read.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};

/// A process starts no other that could inherit the files; where it can be said at once, it is.
#[cfg(target_os = "linux")]
const FLAGS: RecvFlags = RecvFlags::CMSG_CLOEXEC;
#[cfg(not(target_os = "linux"))]
const FLAGS: RecvFlags = RecvFlags::empty();

/// The most files that are given at once.
pub(super) const FILES: usize = essaim_jobs::bounds::MOUNTS;

/// Writes `bytes`, with open files to go along.
pub(super) fn send(mut to: &UnixStream, bytes: &[u8], files: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut sent = 0;
    if !files.is_empty() {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(files)) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{} files at once", files.len())));
        }
        // The files go with the first byte.
        sent = rustix::net::sendmsg(to, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?;
    }
    to.write_all(&bytes[sent..])
}

/// The receiving end: a reader that puts files aside as they come.
pub(super) struct Receiver<F> {
    from: F,
    files: VecDeque<File>,
}

impl<F: AsFd> Receiver<F> {
    pub(super) fn new(from: F) -> Receiver<F> {
        Receiver { from, files: VecDeque::new() }
    }

    /// The file that came first of those that were not taken.
    pub(super) fn file(&mut self) -> Option<File> {
        self.files.pop_front()
    }
}

impl<F: AsFd> Read for Receiver<F> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let pieces = &mut [IoSliceMut::new(into)];
        let received = rustix::net::recvmsg(&self.from, pieces, &mut control, FLAGS)?;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(files) = message {
                self.files.extend(files.map(|file: OwnedFd| File::from(file)));
            }
        }
        Ok(received.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_go_along_with_bytes() {
        let (one, other) = UnixStream::pair().unwrap();
        let file = |text: &str| {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(text.as_bytes()).unwrap();
            file
        };
        let files = [file("first"), file("second"), file("third")];
        send(&one, b"alone", &[]).unwrap();
        send(&one, b"two", &[files[0].as_fd(), files[1].as_fd()]).unwrap();
        send(&one, b"one", &[files[2].as_fd()]).unwrap();
        let mut receiver = Receiver::new(other);
        let mut bytes = [0; 11];
        receiver.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"alonetwoone");
        for expected in ["first", "second", "third"] {
            let file = receiver.file().unwrap();
            let mut text = vec![0; expected.len()];
            std::os::unix::fs::FileExt::read_exact_at(&file, &mut text, 0).unwrap();
            assert_eq!(text, expected.as_bytes());
        }
        assert!(receiver.file().is_none());
    }

    #[test]
    fn too_many_files_are_refused() {
        let (one, _other) = UnixStream::pair().unwrap();
        let file = tempfile::tempfile().unwrap();
        let error = send(&one, b"x", &vec![file.as_fd(); 300]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
