//! What a recipient sees and does: each page of the links, told as journeys.

pub mod acts;
mod preferences;
mod requests;
mod subscribe;
mod unsubscribe;
