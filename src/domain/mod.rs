//! What the business means, as pure functions and values.
//!
//! Never sees async, SQL, HTTP, SMTP, files, the environment or the clock.

pub mod address;
pub mod audience;
pub mod bounces;
pub mod campaign_file;
pub mod campaigns;
pub mod consents;
pub mod contact_view;
pub mod contacts;
pub mod content;
pub mod dates;
pub mod decision_table;
pub mod eligibility;
pub mod import;
pub mod lang;
pub mod limits;
pub mod located;
pub mod merge;
pub mod providers;
pub mod pushback;
pub mod regimes;
pub mod repermission;
pub mod replies;
pub mod requests;
pub mod retry;
pub mod rulebook;
pub mod stops;
pub mod suppressions;
pub mod templates;
pub mod tokens;
pub mod tracking;
pub mod windows;
pub mod wordings;
pub mod words;
