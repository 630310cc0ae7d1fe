//! The paper's table of results, made anew: which networks, the commands that search them, and what hardware makes of
//! the plans they end in.
//!
//! Every step is a `releq` command that anyone could type, resumes by itself, and leaves a file that says it is done.
//! A row is read off those files; what is not there is unfinished, never estimated.

pub mod entry;
pub mod hardware;
pub mod published;
pub mod row;
pub mod steps;
