//! The only SMTP, MIME, DKIM and DNS. Sees `domain` and nothing else of the house.

mod canonical;
pub mod catcher;
pub mod compose;
pub mod dkim;
pub mod dkim_check;
pub mod dns;
mod headers;
pub mod incoming;
pub mod published;
pub mod quoted;
pub mod reading;
pub mod smtp;
