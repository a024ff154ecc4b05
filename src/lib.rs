//! Ouinon sends email campaigns only to people who may receive them.
//!
//! To a professional, what is not *non* is *oui* (opt-out); to a consumer, what is not *oui*
//! is *non* (opt-in). The floors, from the top: `cli`, then `web` and `worker`, then
//! `pipeline`, then `store` and `mail`, then `domain`; imports go downwards only.
//! `ARCHITECTURE.md` describes the rooms.

#![recursion_limit = "256"]

// A message's buffers come and go on every thread; the system's allocator spends a tenth of the sending on them. Linked, it
// takes the place of `malloc`, for C as for Rust. As `#[global_allocator]` it would be asked for aligned memory every time,
// which costs it more of both, time and room.
use mimalloc as _;

pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod cpu;
pub mod domain;
pub mod journal;
pub mod keys;
pub mod mail;
pub mod meters;
#[cfg(test)]
mod needs;
pub mod pipeline;
pub mod store;
pub mod web;
pub mod worker;
