//! The stories of Ouinon, told on real parts: one binary, a module per story.

#![allow(clippy::unwrap_used)]

mod invariants;
mod needs;
mod postgres;
mod source;
mod store;
mod world;
