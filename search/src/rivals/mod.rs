//! The searchers without a policy, each an honest rival: an agent that loses to one of them is not worth its training.

use crate::searcher::Searcher;

mod climb;
mod descent;
mod enumeration;
mod evolution;
mod exhaustive;
mod local;
mod random;
mod uniform;

pub use descent::{Ascent, Descent};
pub use enumeration::Enumeration;
pub use evolution::Evolution;
pub use exhaustive::Exhaustive;
pub use local::Local;
pub use random::Random;
pub use uniform::Uniform;

/// A rival, freshly made.
pub type Made = Box<dyn Searcher>;
