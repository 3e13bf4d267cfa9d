//! One function of the author's, which returns a value or a `Result` of one.

use std::fmt::{self, Display};

use crate::failure::Failure;

/// A function as it was given.
pub struct Step<I, Given>(Box<dyn Fn(I) -> Given>);

/// A function that gives a value or fails, whatever it was before.
pub type Settled<I, O> = Box<dyn Fn(I) -> Result<O, Failure>>;

impl<I: 'static, Given: 'static> Step<I, Given> {
    /// The author's function.
    pub fn new(f: impl Fn(I) -> Given + 'static) -> Self {
        Self(Box::new(f))
    }
}

/// What is done with a function that returns no `Result`.
///
/// Rust has no way to say "any type but `Result`" in a trait. But where a type has a method of its own and a trait's of
/// the same name, its own is called: so [`main!`](crate::main!) calls `settle`, and gets this one for all types but one.
pub trait Settle<I, O> {
    /// The function, which never fails.
    fn settle(self) -> Settled<I, O>;
}

impl<I: 'static, O: 'static> Settle<I, O> for Step<I, O> {
    fn settle(self) -> Settled<I, O> {
        Box::new(move |input| Ok((self.0)(input)))
    }
}

impl<I: 'static, O: 'static, E: 'static> Step<I, Result<O, E>> {
    /// The function, whose error ends the program.
    #[must_use]
    pub fn settle(self) -> Settled<I, O>
    where
        E: Display,
    {
        Box::new(move |input| (self.0)(input).map_err(Failure::said))
    }
}

impl<I, Given> fmt::Debug for Step<I, Given> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Step").finish_non_exhaustive()
    }
}
