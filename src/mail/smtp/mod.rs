//! A thin SMTP client for one message to one recipient at a time (RFC 5321, 2920, 3207, 4954, 6531).
//!
//! Its answers tell apart what may be tried again and what must not: once the final dot may have
//! left, only the server's own word counts, and a lost reply is `Unknown` for ever.
//! Deliberately absent: a pool, retries, logging. One task owns one connection; a submission that
//! is dropped half-way leaves the connection unusable, so replies are never told to the wrong message.

mod auth;
mod connection;
mod reply;
mod server;
#[cfg(test)]
mod stories;
mod submit;
mod tls;
mod wire;

pub use connection::{Capabilities, ConnectError, Connection, Timeouts};
pub use reply::ReplyError;
pub use server::{Server, ServerUrlError};
pub use submit::{Begun, Envelope, SubmitOutcome};
pub use tls::{RootsError, client_config};
pub use wire::SmtpError;
