//! What goes wrong while a campaign is sent. After each story: no address got two copies, nobody is
//! lost, and the sending went on by itself.

mod away;
mod comings;
pub(crate) mod deaths;
mod lossy;
pub(crate) mod run;
mod servers;
