//! Proposes plans: which bit-width each layer gets.
//!
//! So far the nouns that cross the room's door ([`plan`], [`seed`]) and the question a searcher asks ([`evaluate`]),
//! and the paper's learning agent, which knows of neither yet (`agent`, with the feature of that name);
//! it is not the place where networks are trained or run.

#![forbid(unsafe_code)]

#[cfg(feature = "agent")]
pub mod agent;
pub mod evaluate;
pub mod plan;
pub mod seed;
