//! Identifiers: newtypes over 32 bytes, so that no two kinds are ever mixed up.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub [u8; 32]);

        impl $name {
            /// The first eight hexadecimal digits: enough for people to tell two apart.
            #[must_use]
            pub fn short(&self) -> String {
                self.0[..4].iter().map(|b| format!("{b:02x}")).collect()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.short())
            }
        }
    };
}

id! {
    /// A job: the BLAKE3 hash of its canonical manifest.
    JobId
}
id! {
    /// Bytes, named by their BLAKE3 hash.
    BlobId
}
id! {
    /// A node's ed25519 public key, which is also its transport identity.
    NodeId
}
id! {
    /// An author's ed25519 public key; not the transport key of any node.
    AuthorId
}

impl BlobId {
    /// Names `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> BlobId {
        BlobId(*blake3::hash(bytes).as_bytes())
    }
}

/// A blob's name and its length in bytes, so that its reader can bound what it accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BlobRef {
    /// The name.
    pub id: BlobId,
    /// Bytes.
    pub len: u64,
}

impl BlobRef {
    /// Names `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> BlobRef {
        BlobRef { id: BlobId::of(bytes), len: bytes.len() as u64 }
    }

    /// Names all that `reader` gives.
    ///
    /// # Errors
    /// The reader's.
    pub fn of_reader(reader: impl std::io::Read) -> std::io::Result<BlobRef> {
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(reader)?;
        Ok(BlobRef { id: BlobId(*hasher.finalize().as_bytes()), len: hasher.count() })
    }

    /// Whether `bytes` are what this names.
    #[must_use]
    pub fn names(&self, bytes: &[u8]) -> bool {
        self.len == bytes.len() as u64 && self.id == BlobId::of(bytes)
    }
}
