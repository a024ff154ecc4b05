//! The recipients' pages in a real browser: from a caught mail, on a phone, by the keyboard alone, without
//! script, in French and English; then every page again by axe-core. The pictures are kept.

mod driver;
mod journeys;
mod looks;
