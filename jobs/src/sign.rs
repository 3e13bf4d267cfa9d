//! ed25519 signatures with domain separation: a signature on one kind of statement is never valid on another.

use std::fmt;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::wire::encode;

pub use memo::Memory;

/// A statement that can be signed.
pub trait Signable: Serialize {
    /// Sets this kind of statement apart from every other; includes its version.
    const DOMAIN: &'static str;
}

/// A secret key and its public half. The 32 bytes of its seed come from outside: nothing here draws randomness.
#[derive(Clone)]
pub struct Keypair(SigningKey);

impl Keypair {
    /// The key that `seed` determines.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Keypair {
        Keypair(SigningKey::from_bytes(seed))
    }

    /// The public half, 32 bytes.
    #[must_use]
    pub fn public(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }
}

impl fmt::Debug for Keypair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keypair(secret)")
    }
}

/// A signature that does not fit its statement and signer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not fit the statement and its signer")]
pub struct SignatureError;

/// A statement, who made it, and the signature that proves it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed<T> {
    /// What is stated.
    pub body: T,
    /// The public key of who states it.
    pub signer: [u8; 32],
    halves: [[u8; 32]; 2],
}

impl<T: Signable> Signed<T> {
    /// Signs `body` with `keypair`.
    #[must_use]
    pub fn sign(body: T, keypair: &Keypair) -> Signed<T> {
        let digest = digest(&body);
        let signature = keypair.0.sign(&digest);
        let (signer, halves) = (keypair.public(), [*signature.r_bytes(), *signature.s_bytes()]);
        let _valid = memo::recall((signer, digest, halves), || Ok(()));
        Signed { body, signer, halves }
    }

    /// Checks the signature; whether the signer may state this is for the caller to judge.
    ///
    /// # Errors
    /// [`SignatureError`] when it does not fit, or the signer is no valid key.
    pub fn verify(&self) -> Result<(), SignatureError> {
        let digest = digest(&self.body);
        memo::recall((self.signer, digest, self.halves), || self.verify_digest(&digest))
    }

    fn verify_digest(&self, digest: &[u8; 32]) -> Result<(), SignatureError> {
        let key = VerifyingKey::from_bytes(&self.signer).map_err(|_| SignatureError)?;
        let signature = Signature::from_components(self.halves[0], self.halves[1]);
        key.verify_strict(digest, &signature).map_err(|_| SignatureError)
    }
}

/// In a simulated world every member verifies the same few statements, in one thread: three quarters of its time.
/// The answer depends on signer, digest and signature alone, so it may as well be remembered; of what was signed here
/// it is known from the beginning, as far as the library that signs can be relied on.
mod memo {
    use std::cell::RefCell;
    use std::collections::HashMap;
    use std::marker::PhantomData;

    use super::SignatureError;

    /// Answers kept, at most.
    const ANSWERS: usize = 1 << 14;

    type Question = ([u8; 32], [u8; 32], [[u8; 32]; 2]);
    type Answer = Result<(), SignatureError>;

    thread_local! {
        static KNOWN: RefCell<Option<HashMap<Question, Answer>>> = const { RefCell::new(None) };
    }

    /// While this lives, its thread remembers which signatures fit: for simulators, where one thread is many members. A
    /// node never makes one.
    #[derive(Debug)]
    #[must_use = "what is remembered is forgotten with it"]
    pub struct Memory(PhantomData<*const ()>);

    impl Memory {
        /// Begins to remember on this thread.
        #[expect(clippy::new_without_default, reason = "it does something to its thread")]
        pub fn new() -> Memory {
            KNOWN.set(Some(HashMap::new()));
            Memory(PhantomData)
        }
    }

    impl Drop for Memory {
        fn drop(&mut self) {
            KNOWN.set(None);
        }
    }

    pub(super) fn recall(question: Question, verify: impl FnOnce() -> Answer) -> Answer {
        KNOWN.with_borrow_mut(|known| {
            let Some(known) = known else { return verify() };
            if known.len() >= ANSWERS {
                known.clear();
            }
            *known.entry(question).or_insert_with(verify)
        })
    }
}

fn digest<T: Signable>(body: &T) -> [u8; 32] {
    blake3::derive_key(T::DOMAIN, &encode(body))
}
