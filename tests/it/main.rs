//! The stories of Ouinon, told on real parts: one binary, a module per story.

#![allow(clippy::unwrap_used)]

mod browser;
mod campaign;
mod container;
mod crash;
mod decisions;
mod defects;
mod demo;
mod dns;
mod doctor;
mod faults;
mod fuzz;
mod http;
mod import;
mod invariants;
mod journal;
mod journey;
mod judges;
#[path = "../../src/needs.rs"]
mod needs;
mod one_click;
mod pace;
mod people;
mod postgres;
mod program;
mod public;
mod race;
mod repermission;
mod same_keys;
mod sending;
mod serving;
mod source;
mod store;
mod suppression_files;
mod suppressions;
mod tidy;
mod tracking;
mod world;
