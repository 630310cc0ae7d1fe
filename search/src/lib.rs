//! Proposes plans: which bit-width each layer gets.
//!
//! The nouns that cross the room's door come first ([`plan`], [`space`], [`network`]). What is asked of a plan is an
//! [`objective`], from a [`reward`] or an accuracy floor; how good one is, an [`evaluate::Evaluator`] answers, such as a
//! recorded [`table`]. A [`searcher::Searcher`] looks plans up in a [`ledger`], which charges it; the [`rivals`] are
//! those without a policy, `learners` (with the feature `agent`) those whose policy is the paper's `agent`, and a [`race`]
//! compares them. Between evaluations a [`surrogate`] imagines accuracy, a policy
//! sees [`state`]s, and a [`record`] keeps what happened. Everything random comes from one [`seed`].
//!
//! Beside accuracy a plan has a [`cost`] on some hardware, and may have to keep a [`budget`] there; what then is left to
//! choose from is a [`pareto`] front.
//!
//! It is not the place where networks are trained or run.

#![forbid(unsafe_code)]

#[cfg(feature = "agent")]
pub mod agent;
pub mod budget;
pub mod cost;
pub mod evaluate;
#[cfg(feature = "agent")]
pub mod learners;
pub mod ledger;
pub mod network;
pub mod objective;
pub mod pareto;
pub mod plan;
pub mod race;
pub mod record;
pub mod reward;
pub mod rivals;
pub mod searcher;
pub mod seed;
pub mod space;
pub mod state;
pub mod surrogate;
pub mod table;
