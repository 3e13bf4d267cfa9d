//! What a guest can open: the files that its job mounts, read-only, in folders that their names imply. There is no
//! folder of the host behind it, so no path leads out: names are looked up in a list.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::errno;

/// The most descriptors that a guest may have open.
const DESCRIPTORS: usize = 1_024;
/// The longest path, bytes.
const PATH_BYTES: usize = 4_096;
/// The first three are streams; then comes the root folder, where there is one.
pub(super) const ROOT: u32 = 3;

/// A file that the programs of a job may read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataFile {
    /// Its path in the guest's root folder, as `model/weights.bin`.
    pub name: String,
    /// Its length, bytes.
    pub len: u64,
    /// Where it is read from.
    #[serde(skip)]
    pub file: Handle,
}

impl DataFile {
    /// All of a file that is open for reading and does not change any more.
    ///
    /// # Errors
    /// Its length is not known.
    pub fn of(name: String, file: Arc<File>) -> io::Result<DataFile> {
        Ok(DataFile { name, len: file.metadata()?.len(), file: Handle(Some(file)) })
    }
}

/// An open file. None where it is not known here: after a journey to another process, to which it goes by other means.
#[derive(Debug, Clone, Default)]
pub struct Handle(pub(crate) Option<Arc<File>>);

impl PartialEq for Handle {
    fn eq(&self, other: &Handle) -> bool {
        match (&self.0, &other.0) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            _ => false,
        }
    }
}

impl Eq for Handle {}

impl Handle {
    /// Reads from `at` on; no bytes at the end.
    pub(crate) fn read_at(&self, into: &mut [u8], at: u64) -> io::Result<usize> {
        let file = self.0.as_ref().ok_or(io::ErrorKind::NotFound)?;
        #[cfg(unix)]
        return std::os::unix::fs::FileExt::read_at(&**file, into, at);
        #[cfg(windows)]
        return std::os::windows::fs::FileExt::seek_read(&**file, into, at);
    }
}

/// What a path or a descriptor stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    /// A folder: its path, without a slash at either end; the root's is empty.
    Dir(String),
    /// The file of this number.
    File(usize),
}

/// An open descriptor.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) node: Node,
    /// Where the next read of a file begins.
    pub(super) position: u64,
}

/// The files and open descriptors of one guest.
#[derive(Debug)]
pub(super) struct Files {
    data: Arc<[DataFile]>,
    /// Numbered from [`ROOT`] on.
    open: Vec<Option<Open>>,
}

impl Files {
    /// With the root folder open, if there is anything in it.
    pub(super) fn new(data: &Arc<[DataFile]>) -> Files {
        let root = || Some(Open { node: Node::Dir(String::new()), position: 0 });
        let open = if data.is_empty() { Vec::new() } else { vec![root()] };
        Files { data: Arc::clone(data), open }
    }

    pub(super) fn get(&mut self, descriptor: u32) -> Result<&mut Open, i32> {
        let at = descriptor.checked_sub(ROOT).ok_or(errno::BADF)? as usize;
        self.open.get_mut(at).and_then(Option::as_mut).ok_or(errno::BADF)
    }

    pub(super) fn is_open(&self, descriptor: u32) -> bool {
        let at = descriptor.checked_sub(ROOT).map(|at| at as usize);
        at.and_then(|at| self.open.get(at)).is_some_and(Option::is_some)
    }

    /// The descriptor of `node`, newly opened: the lowest that is free.
    pub(super) fn open(&mut self, node: Node) -> Result<u32, i32> {
        let free = self.open.iter().position(Option::is_none).unwrap_or(self.open.len());
        if free >= DESCRIPTORS {
            return Err(errno::MFILE);
        }
        let opened = Some(Open { node, position: 0 });
        match self.open.get_mut(free) {
            Some(place) => *place = opened,
            None => self.open.push(opened),
        }
        Ok(ROOT + free as u32)
    }

    pub(super) fn close(&mut self, descriptor: u32) -> Result<(), i32> {
        self.get(descriptor)?;
        self.open[(descriptor - ROOT) as usize] = None;
        Ok(())
    }

    /// Makes `to` what `from` was, and closes `from`. Streams stay what they are.
    pub(super) fn renumber(&mut self, from: u32, to: u32) -> Result<(), i32> {
        self.get(to)?;
        self.get(from)?;
        let moved = self.open[(from - ROOT) as usize].take();
        self.open[(to - ROOT) as usize] = moved;
        Ok(())
    }

    pub(super) fn len(&self, node: &Node) -> u64 {
        match node {
            Node::Dir(_) => 0,
            Node::File(number) => self.data[*number].len,
        }
    }

    /// A number of its own for each file and folder.
    pub(super) fn inode(&self, node: &Node) -> u64 {
        match node {
            // Folders are known by the first file in them.
            Node::Dir(path) => {
                let inside = self.data.iter().position(|file| file.name.starts_with(path));
                (1 << 32) + ((inside.unwrap_or(0) as u64) << 16) + path.len() as u64
            }
            Node::File(number) => *number as u64 + 1,
        }
    }

    /// Reads from the file `node`, at `at`.
    pub(super) fn read(&self, node: &Node, into: &mut [u8], at: u64) -> Result<usize, i32> {
        let Node::File(number) = node else { return Err(errno::ISDIR) };
        let file = &self.data[*number];
        // What the job's other chunks see is this long, whatever became of the file.
        let left = usize::try_from(file.len.saturating_sub(at)).unwrap_or(usize::MAX);
        let most = into.len().min(left);
        file.file.read_at(&mut into[..most], at).map_err(|_| errno::IO)
    }

    /// What `path` stands for, seen from an open folder.
    pub(super) fn find(&mut self, folder: u32, path: &[u8]) -> Result<Node, i32> {
        let Node::Dir(start) = self.get(folder)?.node.clone() else { return Err(errno::NOTDIR) };
        if path.len() > PATH_BYTES {
            return Err(errno::NAMETOOLONG);
        }
        let path = std::str::from_utf8(path).map_err(|_| errno::NOENT)?;
        if path.is_empty() {
            return Err(errno::NOENT);
        }
        if path.starts_with('/') {
            return Err(errno::NOTCAPABLE);
        }
        let mut found = self.node(&start)?;
        let mut parts: Vec<&str> = start.split('/').filter(|part| !part.is_empty()).collect();
        let mut must_be_folder = false;
        for part in path.split('/') {
            must_be_folder = part.is_empty() || part == "." || part == "..";
            if found != Node::Dir(parts.join("/")) {
                return Err(errno::NOTDIR);
            }
            match part {
                "" | "." => {}
                // Above the root there is nothing.
                ".." => parts.pop().map(|_| ()).ok_or(errno::NOTCAPABLE)?,
                name => parts.push(name),
            }
            found = self.node(&parts.join("/"))?;
        }
        if must_be_folder && matches!(found, Node::File(_)) { Err(errno::NOTDIR) } else { Ok(found) }
    }

    /// What has this path from the root.
    fn node(&self, path: &str) -> Result<Node, i32> {
        if let Some(number) = self.data.iter().position(|file| file.name == path) {
            return Ok(Node::File(number));
        }
        let inside = |file: &DataFile| file.name.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'));
        let is_dir = path.is_empty() || self.data.iter().any(inside);
        if is_dir { Ok(Node::Dir(path.to_owned())) } else { Err(errno::NOENT) }
    }

    /// What stands in a folder, by name.
    pub(super) fn list(&self, folder: &str) -> Vec<(String, Node)> {
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let rest = self.data.iter().filter_map(|file| file.name.strip_prefix(&prefix));
        let names: BTreeSet<&str> = rest.filter_map(|rest| rest.split('/').next()).collect();
        let node = |name: &str| Some((name.to_owned(), self.node(&format!("{prefix}{name}")).ok()?));
        names.into_iter().filter_map(node).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn files() -> Files {
        let file = |name: &str| {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(name.as_bytes()).unwrap();
            DataFile::of(name.to_owned(), Arc::new(file)).unwrap()
        };
        Files::new(&["a.txt", "model/b.bin", "model/deep/c"].map(file).into_iter().collect())
    }

    #[test]
    fn paths_lead_to_files_and_folders_and_never_out() {
        let mut files = files();
        let dir = |path: &str| Ok(Node::Dir(path.to_owned()));
        for (path, node) in [
            ("a.txt", Ok(Node::File(0))),
            ("model/b.bin", Ok(Node::File(1))),
            ("./model/../model/./deep/c", Ok(Node::File(2))),
            ("model//deep/", dir("model/deep")),
            (".", dir("")),
            ("model", dir("model")),
            ("mod", Err(errno::NOENT)),
            ("a.txt/", Err(errno::NOTDIR)),
            ("a.txt/..", Err(errno::NOTDIR)),
            ("b.bin", Err(errno::NOENT)),
            ("model/x/../b.bin", Err(errno::NOENT)),
            ("", Err(errno::NOENT)),
            ("..", Err(errno::NOTCAPABLE)),
            ("model/../..", Err(errno::NOTCAPABLE)),
            ("../../../etc/passwd", Err(errno::NOTCAPABLE)),
            ("/etc/passwd", Err(errno::NOTCAPABLE)),
            ("/a.txt", Err(errno::NOTCAPABLE)),
        ] {
            assert_eq!(files.find(ROOT, path.as_bytes()), node, "{path:?}");
        }
        assert_eq!(files.find(ROOT, &[b'x'; 5_000]), Err(errno::NAMETOOLONG));
        assert_eq!(files.find(ROOT, b"\xff"), Err(errno::NOENT));
        assert_eq!(files.find(9, b"a.txt"), Err(errno::BADF));
        assert_eq!(files.find(1, b"a.txt"), Err(errno::BADF));
        let model = files.open(Node::Dir("model".into())).unwrap();
        assert_eq!(files.find(model, b"deep/c"), Ok(Node::File(2)));
        assert_eq!(files.find(model, b"../a.txt"), Ok(Node::File(0)));
        let names: Vec<String> = files.list("model").into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["b.bin", "deep"]);
    }

    #[test]
    fn descriptors_are_few_and_used_again() {
        let mut files = files();
        let opened: Vec<u32> = std::iter::from_fn(|| files.open(Node::File(0)).ok()).collect();
        assert_eq!(opened, (ROOT + 1..ROOT + 1_024).collect::<Vec<_>>());
        files.close(10).unwrap();
        assert_eq!(files.close(10), Err(errno::BADF));
        assert_eq!(files.open(Node::File(1)), Ok(10));
        files.renumber(10, 5).unwrap();
        assert!(!files.is_open(10));
        assert_eq!(files.get(5).unwrap().node, Node::File(1));
    }

    #[test]
    fn a_guest_without_data_has_no_folder() {
        let mut files = Files::new(&Arc::default());
        assert_eq!(files.find(ROOT, b"."), Err(errno::BADF));
    }
}
