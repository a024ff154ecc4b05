//! The only SMTP, MIME and DKIM. Sees `domain` and nothing else of the house.

mod canonical;
pub mod catcher;
pub mod compose;
pub mod dkim;
pub mod dkim_check;
mod headers;
pub mod quoted;
pub mod reading;
pub mod smtp;
