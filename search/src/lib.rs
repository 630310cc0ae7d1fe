//! Proposes plans: which bit-width each layer gets.
//!
//! So far the nouns that cross the room's door ([`plan`], [`seed`]) and the question a searcher asks ([`evaluate`]);
//! it is not the place where networks are trained or run.

#![forbid(unsafe_code)]

pub mod evaluate;
pub mod plan;
pub mod seed;
