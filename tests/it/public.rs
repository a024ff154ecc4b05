//! What a recipient sees and does: each page of the links, told as journeys.

mod acts;
mod preferences;
mod requests;
mod unsubscribe;
