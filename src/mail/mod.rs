//! The only SMTP, MIME and DKIM. Sees `domain` and nothing else of the house.

mod canonical;
pub mod catcher;
pub mod compose;
pub mod dkim;
mod headers;
pub mod smtp;
