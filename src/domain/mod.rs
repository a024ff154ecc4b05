//! What the business means, as pure functions and values.
//!
//! Never sees async, SQL, HTTP, SMTP, files, the environment or the clock.

pub mod address;
pub mod campaigns;
pub mod consents;
pub mod contacts;
pub mod dates;
pub mod eligibility;
pub mod lang;
pub mod replies;
pub mod suppressions;
pub mod tokens;
pub mod words;
