//! A blob that is coming, in two files: its bytes, each at its place, and the hashes of its tree, which verify them.
//!
//! Nothing else is on disk, no list of what is here above all: after a crash a list could claim what never reached the
//! disk, unless each piece waited for two syncs. Instead every piece is verified anew when the files are opened, as
//! fast as they can be read; what is missing costs nothing, as its hashes are zero.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bao_tree::blake3::Hash;
use bao_tree::io::sync::Outboard;
use bao_tree::{BaoTree, TreeNode};
use bytes::Bytes;
use coordinator_free::pieces::Layout;
use essaim_jobs::{BlobRef, IntervalSet};

use super::tree;
use crate::blob::{Blob, PieceError, Pieces};

/// See the module. Only one may be open on the same files.
#[derive(Debug)]
pub struct Partial {
    name: BlobRef,
    layout: Layout,
    data: Arc<File>,
    hashes: Hashes,
    paths: [PathBuf; 2],
    have: Mutex<IntervalSet>,
}

impl Partial {
    /// Opens what is there of the blob `name` in `dir`, or begins it. Reads and verifies all of it.
    ///
    /// # Errors
    /// The files'; [`io::ErrorKind::FileTooLarge`] for a blob that is too large to be moved in pieces.
    pub fn open(dir: &Path, name: BlobRef) -> io::Result<Partial> {
        let layout = Layout::of(name.len).ok_or(io::ErrorKind::FileTooLarge)?;
        let paths = ["part", "tree"].map(|kind| dir.join(format!("{}.{kind}", Partial::stem(&name))));
        let open = |path| OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let [data, hashes] = [open(&paths[0])?, open(&paths[1])?];
        let tree = tree::of(name);
        // Sparse where the system can: a disk that fills up is noticed when a piece is written.
        data.set_len(name.len)?;
        hashes.set_len(tree.outboard_size())?;
        let hashes = Hashes { root: tree::root(name), tree, file: hashes };
        let mut have = IntervalSet::new();
        for piece in 0..layout.pieces() {
            if tree::encode(&layout, piece, &data, &hashes).is_ok() {
                have.insert(piece..piece + 1);
            }
        }
        Ok(Partial { name, layout, data: Arc::new(data), hashes, paths, have: Mutex::new(have) })
    }

    /// How its files are called, but for their endings.
    pub(super) fn stem(name: &BlobRef) -> String {
        format!("{}-{}", name.id, name.len)
    }

    /// Its files: the bytes, and the hashes.
    pub(super) fn paths(&self) -> &[PathBuf; 2] {
        &self.paths
    }

    /// Whether all of it is here.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.have().len() == u64::from(self.layout.pieces())
    }

    /// The whole blob, once it is here.
    #[must_use]
    pub fn blob(&self) -> Option<Blob> {
        let whole = || Blob::File { file: Arc::clone(&self.data), offset: 0, len: self.name.len };
        self.is_complete().then(whole)
    }

    /// Waits until everything that was written is safe, should the machine lose its power.
    ///
    /// # Errors
    /// The files'.
    pub fn sync(&self) -> io::Result<()> {
        self.data.sync_data()?;
        self.hashes.file.sync_data()
    }

    /// Takes the files off the disk. Whoever has them open may go on reading.
    ///
    /// # Errors
    /// The system's.
    pub fn remove(&self) -> io::Result<()> {
        self.paths.iter().try_for_each(std::fs::remove_file)
    }

    fn lock(&self) -> MutexGuard<'_, IntervalSet> {
        self.have.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pieces for Partial {
    fn name(&self) -> BlobRef {
        self.name
    }

    fn have(&self) -> IntervalSet {
        self.lock().clone()
    }

    fn has(&self, piece: u32) -> bool {
        self.lock().contains(piece)
    }

    fn encode(&self, piece: u32) -> io::Result<Bytes> {
        if !self.has(piece) {
            return Err(io::ErrorKind::NotFound.into());
        }
        tree::encode(&self.layout, piece, &*self.data, &self.hashes).map(Bytes::from)
    }

    fn write(&self, piece: u32, encoded: &[u8]) -> Result<(), PieceError> {
        if self.has(piece) {
            return Ok(());
        }
        let known = piece < self.layout.pieces();
        let decoded = if known { tree::decode(self.name, &self.layout, piece, encoded) } else { None };
        let (bytes, pairs) = decoded.ok_or(PieceError::Wrong(piece))?;
        let disk = |error| PieceError::Disk(piece, error);
        // The same bytes may be written twice at once, never different ones: they are verified.
        self.data.write_all_at(&bytes, self.layout.range(piece).start).map_err(disk)?;
        for (node, pair) in pairs {
            self.hashes.save(node, &pair).map_err(disk)?;
        }
        self.lock().insert(piece..piece + 1);
        Ok(())
    }
}

/// The inner nodes of the tree in a file, in pre-order, 64 bytes each.
#[derive(Debug)]
struct Hashes {
    root: Hash,
    tree: BaoTree,
    file: File,
}

impl Hashes {
    fn save(&self, node: TreeNode, (left, right): &(Hash, Hash)) -> io::Result<()> {
        let Some(at) = self.tree.pre_order_offset(node) else { return Ok(()) };
        let pair: Vec<u8> = [*left.as_bytes(), *right.as_bytes()].concat();
        self.file.write_all_at(&pair, at * 64)
    }
}

impl Outboard for &Hashes {
    fn root(&self) -> Hash {
        self.root
    }

    fn tree(&self) -> BaoTree {
        self.tree
    }

    fn load(&self, node: TreeNode) -> io::Result<Option<(Hash, Hash)>> {
        let Some(at) = self.tree.pre_order_offset(node) else { return Ok(None) };
        let mut pair = [0; 64];
        self.file.read_exact_at(&mut pair, at * 64)?;
        let [mut left, mut right] = [[0; 32]; 2];
        left.copy_from_slice(&pair[..32]);
        right.copy_from_slice(&pair[32..]);
        Ok(Some((Hash::from_bytes(left), Hash::from_bytes(right))))
    }
}

#[cfg(test)]
#[path = "pieces_tests.rs"]
mod tests;
