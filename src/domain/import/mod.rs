//! Reading what others wrote: columns, words, dates and lines of a file of contacts.
//!
//! Nothing is guessed: a value is read in one way only, or it is refused with its place.

pub mod columns;
pub mod countries;
pub mod dates;
pub mod headers;
pub mod lines;
pub mod roles;
pub mod sensitive;
pub mod vocabulary;
