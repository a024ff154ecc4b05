//! How fast, when, and when no longer: limits that many workers share, providers that push back.

mod groups;
mod many;
mod stops;
mod town;
