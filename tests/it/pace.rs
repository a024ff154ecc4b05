//! How fast, when, and when no longer: limits that many workers share, providers that push back.

mod deaths;
mod exchangers;
mod groups;
mod hours;
mod late;
mod many;
mod quick;
mod seen;
mod stops;
mod town;
mod turns;
