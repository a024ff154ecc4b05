//! Which text is shown, and keeping the one that somebody said yes to (GD-2).

use jiff::Timestamp;

use crate::{
    domain::wordings::{Evidence, Shown},
    store::{
        self, Tx,
        wordings::{self, Wording},
    },
};

/// The text in force: the one that an operator chose, else the program's `own`.
pub async fn in_force(tx: &mut Tx, own: Shown) -> store::Result<Shown> {
    Ok(match wordings::chosen(tx, &own.name, own.lang.as_str()).await? {
        Some(chosen) => Shown { text: chosen.text, ..own },
        None => own,
    })
}

/// The text of this hash, if it is in force or was once; a page may have been open for a while.
pub async fn shown_once(tx: &mut Tx, own: Shown, hash: &str) -> store::Result<Option<Shown>> {
    let in_force = in_force(tx, own).await?;
    if in_force.hash() == hash {
        return Ok(Some(in_force));
    }
    let kept = wordings::by_hash(tx, &in_force.name, in_force.lang.as_str(), hash).await?;
    Ok(kept.map(|kept| Shown { text: kept.text, ..in_force }))
}

/// Keeps a text for as long as the proofs that name it, and says which version it is.
pub async fn keep(tx: &mut Tx, shown: &Shown, now: Timestamp) -> store::Result<Wording> {
    let (lang, hash) = (shown.lang.as_str(), shown.hash());
    wordings::add(tx, &shown.name, lang, &hash, &shown.text, now.as_millisecond()).await?;
    let kept = wordings::by_hash(tx, &shown.name, lang, &hash).await?;
    kept.ok_or(sqlx::Error::RowNotFound)
}

/// Makes a text the one in force from now on.
pub async fn choose(tx: &mut Tx, shown: &Shown, now: Timestamp) -> store::Result<Wording> {
    let kept = keep(tx, shown, now).await?;
    wordings::choose(tx, &kept.name, &kept.language, &kept.hash, now.as_millisecond()).await?;
    Ok(Wording { chosen_at: Some(now.as_millisecond()), ..kept })
}

/// What a yes to a kept text on a page is proven by.
pub fn evidence(page: &str, kept: &Wording, facts: &[(&str, String)]) -> String {
    let Wording { name, language, hash, version, .. } = kept;
    Evidence { page, wording: name, version: *version, lang: language, hash, facts }.to_string()
}
