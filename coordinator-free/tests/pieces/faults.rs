//! Worlds in which things go wrong.
