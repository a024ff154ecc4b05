//! The stages, one file each. A stage owns its transactions and reads as a list of named steps.
//!
//! `import → contacts, consents → enqueue (decide) → deliveries → deliver (claim → decide → render →
//! compose → decide again → submit → record) → events → suppressions → the next decide`.

pub mod audience;
pub mod buffers;
pub mod campaigns;
pub mod compile;
pub mod contacts;
pub mod deliver;
pub mod doctor;
pub mod enqueue;
pub mod erase;
pub mod exchangers;
pub mod explain;
pub mod import;
pub mod inactive;
pub mod metrics;
pub mod pace;
pub mod preferences;
pub mod preflight;
pub mod press;
pub mod preview;
pub mod repermission;
pub mod report;
pub mod requests;
pub mod stops;
pub mod subscribe;
pub mod suppress;
pub mod suppression_import;
pub mod suppression_list;
pub mod system_mail;
pub mod track;
pub mod wordings;
