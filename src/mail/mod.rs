//! The only SMTP, MIME and DKIM. Sees `domain` and nothing else of the house.

pub mod smtp;
