//! One file per stage; the pipeline owns the transactions.

pub mod erase;
pub mod suppress;
