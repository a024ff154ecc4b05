//! Old lists that were sorted for a re-permission, and their lines.

use serde::Serialize;
use sqlx::FromRow;

use super::{Result, Sql, Tx, on};
use crate::domain::{address::AddressHash, repermission::Group, words::words};

words! {
    /// Where a plan stands.
    PlanState {
        /// Its lines are being written.
        Building = "building",
        /// It is whole.
        Ready = "ready",
    }
}

/// A row of `repermission_plan`.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Plan {
    /// Key.
    pub id: i64,
    /// Slug of the product that the question is about.
    pub product: String,
    /// Where it stands.
    #[sqlx(try_from = "String")]
    pub state: PlanState,
    /// When it was made, in milliseconds.
    pub made_at: i64,
    /// The instant that it was decided for, in milliseconds.
    pub as_of: i64,
    /// What was read, how, and the counts (JSON).
    pub document: String,
    /// The campaign that asks, once it is sent.
    pub campaign_id: Option<i64>,
    /// How the question is sent (JSON); empty before.
    pub waves: String,
    /// How many may be asked.
    pub askable: i64,
    /// With how many of them the sending has dealt.
    pub asked: i64,
    /// The wave under way, from 1; 0 before the first.
    pub wave: i64,
    /// When that wave had gone out, in milliseconds.
    pub wave_ended_at: Option<i64>,
    /// The stop that was reached; empty while none was.
    pub stopped_by: String,
    /// When the refusals of the list were recorded, in milliseconds.
    pub applied_at: Option<i64>,
    /// When the data of its people were forgotten, in milliseconds.
    pub forgotten_at: Option<i64>,
}

/// A line, to be written.
#[derive(Debug, Clone, Serialize)]
pub struct NewLine {
    /// Its place among the lines of all files, from 1.
    pub position: i64,
    /// Which file, from 1.
    pub file: i64,
    /// Line of that file.
    pub line: i64,
    /// Its group.
    pub sorted_into: Group,
    /// Code of the basis or reason.
    pub code: &'static str,
    /// Ids of the rules, separated by spaces.
    pub rules: String,
    /// Keyed hash of the address, if there is one.
    pub address_hash: Option<AddressHash>,
    /// What is kept of a person who may be asked (JSON); else empty.
    pub person: String,
    /// The refusals that the line holds (JSON); else empty.
    pub refusals: String,
}

/// A line that may be asked.
#[derive(Debug, Clone, FromRow)]
pub struct Askable {
    /// Its place.
    pub position: i64,
    /// Keyed hash of the address.
    #[sqlx(try_from = "Vec<u8>")]
    pub address_hash: AddressHash,
    /// What is kept of the person (JSON).
    pub person: String,
}

/// A line that holds refusals.
#[derive(Debug, Clone, FromRow)]
pub struct Refusing {
    /// Its place.
    pub position: i64,
    /// Keyed hash of the address.
    #[sqlx(try_from = "Vec<u8>")]
    pub address_hash: AddressHash,
    /// The refusals (JSON).
    pub refusals: String,
}

/// A line and what was decided of it.
#[derive(Debug, Clone, FromRow)]
pub struct Line {
    /// Its place.
    pub position: i64,
    /// Which file, from 1.
    pub file: i64,
    /// Line of that file.
    pub line: i64,
    /// Its group.
    #[sqlx(try_from = "String")]
    pub sorted_into: Group,
    /// Code of the basis or reason.
    pub code: String,
    /// Ids of the rules.
    pub rules: String,
    /// Keyed hash of the address, if there is one.
    pub address_hash: Option<Vec<u8>>,
    /// What was decided when the question was to be sent: a code, or empty.
    pub asked: String,
}

/// What a person said to a question.
#[derive(Debug, Clone, FromRow)]
pub struct Word {
    /// Whose.
    #[sqlx(try_from = "Vec<u8>")]
    pub address_hash: AddressHash,
    /// Yes, unsubscribe or complaint.
    pub kind: String,
    /// `objection` for a no; else empty.
    pub class: String,
    /// When, in milliseconds.
    pub at: i64,
    /// Relationship when the question was sent; empty when nobody knows.
    pub relationship: String,
    /// What became of the delivery.
    pub state: String,
    /// Consumer or business; empty when the contact is gone.
    pub contact_kind: String,
}

/// Whom a question reached.
#[derive(Debug, Clone, FromRow)]
pub struct Reached {
    /// Relationship when it was sent.
    pub relationship: String,
    /// Consumer or business; empty when the contact is gone.
    pub contact_kind: String,
    /// How many.
    pub n: i64,
    /// When the last of them got it, in milliseconds.
    pub last: Option<i64>,
}

const ADD: Sql = Sql::same(
    "INSERT INTO repermission_plan (product, state, made_at, as_of, document, campaign_id, waves, askable, asked,
     wave, wave_ended_at, stopped_by, applied_at, forgotten_at)
     VALUES ($1, 'building', $2, $3, '', NULL, '', 0, 0, 0, NULL, '', NULL, NULL) RETURNING id",
);
const ADD_LINES: Sql = Sql::twin(
    "INSERT INTO repermission_line (plan_id, position, file, line, sorted_into, code, rules, address_hash, person,
     refusals, asked)
     SELECT $1, value ->> 'position', value ->> 'file', value ->> 'line', value ->> 'sorted_into', value ->> 'code',
     value ->> 'rules', unhex(value ->> 'address_hash'), value ->> 'person', value ->> 'refusals', ''
     FROM json_each($2)",
    "INSERT INTO repermission_line (plan_id, position, file, line, sorted_into, code, rules, address_hash, person,
     refusals, asked)
     SELECT $1, r.position, r.file, r.line, r.sorted_into, r.code, r.rules, decode(r.address_hash, 'hex'), r.person,
     r.refusals, '' FROM json_to_recordset(CAST($2 AS json)) AS r(position bigint, file bigint, line bigint,
     sorted_into text, code text, rules text, address_hash text, person text, refusals text)",
);
const FINISH: Sql =
    Sql::same("UPDATE repermission_plan SET state = 'ready', document = $2, askable = $3 WHERE id = $1");
const DROP_UNFINISHED: Sql = Sql::same("DELETE FROM repermission_plan WHERE state = 'building' AND made_at < $1");
const DROP: Sql = Sql::same("DELETE FROM repermission_plan WHERE id = $1 AND state = 'building'");
const BY_ID: Sql = Sql::same("SELECT * FROM repermission_plan WHERE id = $1 AND state = 'ready'");
const ALL: Sql = Sql::same("SELECT * FROM repermission_plan WHERE state = 'ready' ORDER BY id");
const OF_CAMPAIGN: Sql = Sql::same("SELECT * FROM repermission_plan WHERE campaign_id = $1");
const LINES: Sql = Sql::same(
    "SELECT position, file, line, sorted_into, code, rules, address_hash, asked FROM repermission_line
     WHERE plan_id = $1 AND position > $2 ORDER BY position LIMIT $3",
);
const ASKABLE: Sql = Sql::same(
    "SELECT position, address_hash, person FROM repermission_line
     WHERE plan_id = $1 AND position > $2 AND sorted_into = 'askable' ORDER BY position LIMIT $3",
);
const REFUSING: Sql = Sql::same(
    "SELECT position, address_hash, refusals FROM repermission_line
     WHERE plan_id = $1 AND position > $2 AND refusals <> '' AND address_hash IS NOT NULL ORDER BY position LIMIT $3",
);
const START: Sql = Sql::same(
    "UPDATE repermission_plan SET campaign_id = $2, waves = $3 WHERE id = $1 AND campaign_id IS NULL AND state = 'ready'",
);
const APPLIED: Sql = Sql::same("UPDATE repermission_plan SET applied_at = $2 WHERE id = $1");
const ASKED: Sql = Sql::twin(
    "UPDATE repermission_line SET asked = r.code, person = ''
     FROM (SELECT CAST(value ->> 0 AS INTEGER) AS position, value ->> 1 AS code FROM json_each($2)) AS r
     WHERE repermission_line.plan_id = $1 AND repermission_line.position = r.position",
    "UPDATE repermission_line SET asked = r.code, person = ''
     FROM (SELECT CAST(value ->> 0 AS BIGINT) AS position, value ->> 1 AS code
     FROM json_array_elements(CAST($2 AS json)) AS value) AS r
     WHERE repermission_line.plan_id = $1 AND repermission_line.position = r.position",
);
const MORE_ASKED: Sql = Sql::same("UPDATE repermission_plan SET asked = asked + $2 WHERE id = $1");
const ASKED_ELSEWHERE: Sql = Sql::twin(
    "SELECT address_hash FROM delivery INDEXED BY delivery_address WHERE campaign_id = $1
     AND state IN ('queued', 'claimed', 'submitting', 'deferred', 'unknown')
     AND address_hash IN (SELECT unhex(value) FROM json_each($2))",
    "SELECT address_hash FROM delivery WHERE campaign_id = $1
     AND state IN ('queued', 'claimed', 'submitting', 'deferred', 'unknown')
     AND address_hash IN (SELECT decode(value, 'hex') FROM json_array_elements_text(CAST($2 AS json)))",
);
const OTHERS: Sql = Sql::same(
    "SELECT id FROM campaign WHERE kind = 'repermission' AND product = $1 AND id <> $2
     AND state IN ('running', 'paused', 'finished', 'cancelled') ORDER BY id",
);
const ASKED_COUNT: Sql = Sql::same(
    "SELECT asked, CAST(COUNT(*) AS BIGINT) FROM repermission_line
     WHERE plan_id = $1 AND sorted_into = 'askable' GROUP BY asked ORDER BY asked",
);
const ENDS: Sql = Sql::same(
    "SELECT state, bounce_class, CAST(COUNT(*) AS BIGINT) FROM delivery
     WHERE campaign_id = $1 AND state IN ('accepted', 'bounced') GROUP BY state, bounce_class",
);
const REFUSALS: Sql = Sql::same(
    "SELECT kind, CAST(COUNT(DISTINCT address_hash) AS BIGINT) FROM event
     WHERE campaign_id = $1 AND kind IN ('unsubscribe', 'complaint') GROUP BY kind",
);
const WORDS: Sql = Sql::twin(
    "SELECT e.address_hash, e.kind, e.class, e.at, COALESCE(d.relationship, '') AS relationship,
     COALESCE(d.state, '') AS state, COALESCE(c.kind, '') AS contact_kind
     FROM event e LEFT JOIN delivery d INDEXED BY delivery_address ON d.campaign_id = e.campaign_id AND d.address_hash = e.address_hash
     LEFT JOIN contact c ON c.id = d.contact_id
     WHERE e.campaign_id = $1 AND e.kind IN ('yes', 'unsubscribe', 'complaint') ORDER BY e.at, e.id",
    "SELECT e.address_hash, e.kind, e.class, e.at, COALESCE(d.relationship, '') AS relationship,
     COALESCE(d.state, '') AS state, COALESCE(c.kind, '') AS contact_kind
     FROM event e LEFT JOIN delivery d ON d.campaign_id = e.campaign_id AND d.address_hash = e.address_hash
     LEFT JOIN contact c ON c.id = d.contact_id
     WHERE e.campaign_id = $1 AND e.kind IN ('yes', 'unsubscribe', 'complaint') ORDER BY e.at, e.id",
);
const REACHED: Sql = Sql::same(
    "SELECT d.relationship, COALESCE(c.kind, '') AS contact_kind, CAST(COUNT(*) AS BIGINT) AS n,
     MAX(d.ended_at) AS last FROM delivery d LEFT JOIN contact c ON c.id = d.contact_id
     WHERE d.campaign_id = $1 AND d.state = 'accepted' GROUP BY d.relationship, COALESCE(c.kind, '')",
);
const ANSWERED: Sql = Sql::twin(
    "SELECT l.position, CASE WHEN d.contact_id IN (SELECT w.contact_id FROM on_wire w WHERE w.campaign_id = $2)
     THEN 'submitting' ELSE d.state END AS state, d.ended_at FROM repermission_line l
     CROSS JOIN delivery d INDEXED BY delivery_address ON d.campaign_id = $2 AND d.address_hash = l.address_hash
     WHERE l.plan_id = $1 AND l.position > $3 AND l.sorted_into = 'askable' ORDER BY l.position LIMIT $4",
    "SELECT l.position, d.state, d.ended_at FROM repermission_line l
     JOIN delivery d ON d.campaign_id = $2 AND d.address_hash = l.address_hash
     WHERE l.plan_id = $1 AND l.position > $3 AND l.sorted_into = 'askable' ORDER BY l.position LIMIT $4",
);
const OLD: Sql = Sql::same(
    "SELECT id FROM repermission_plan WHERE made_at < $1 AND campaign_id IS NULL AND forgotten_at IS NULL
     AND state = 'ready' ORDER BY id",
);
const IS_LEAVING: Sql = Sql::twin(
    "SELECT EXISTS (SELECT 1 FROM delivery INDEXED BY delivery_queued WHERE campaign_id = $1 AND state = 'queued')
     OR EXISTS (SELECT 1 FROM delivery INDEXED BY delivery_in_hand WHERE campaign_id = $1
     AND worker_id IS NOT NULL)",
    "SELECT EXISTS (SELECT 1 FROM delivery WHERE campaign_id = $1 AND state = 'queued')
     OR EXISTS (SELECT 1 FROM delivery WHERE campaign_id = $1 AND worker_id IS NOT NULL)",
);
const WAVE: Sql = Sql::same("UPDATE repermission_plan SET wave = $2, wave_ended_at = NULL WHERE id = $1");
const WAVE_ENDED: Sql =
    Sql::same("UPDATE repermission_plan SET wave_ended_at = $2 WHERE id = $1 AND wave_ended_at IS NULL");
const STOPPED: Sql = Sql::same("UPDATE repermission_plan SET stopped_by = $2 WHERE id = $1");
const FORGET: Sql = Sql::same("UPDATE repermission_line SET person = '' WHERE plan_id = $1 AND person <> ''");
const FORGOTTEN: Sql =
    Sql::same("UPDATE repermission_plan SET forgotten_at = $2 WHERE id = $1 AND forgotten_at IS NULL");
const FORGET_PERSON: Sql =
    Sql::same("UPDATE repermission_line SET person = '' WHERE address_hash = $1 AND person <> ''");

/// Starts a plan and returns its id.
pub async fn add(tx: &mut Tx, product: &str, made_at: i64, as_of: i64) -> Result<i64> {
    let sql = ADD.on(tx);
    on!(tx, |c| sqlx::query_scalar(sql).bind(product).bind(made_at).bind(as_of).fetch_one(c).await)
}

/// Adds lines to a plan that is being built.
pub async fn add_lines(tx: &mut Tx, plan: i64, lines: &[NewLine]) -> Result<()> {
    let (sql, rows) = (ADD_LINES.on(tx), super::json(lines));
    on!(tx, |c| sqlx::query(sql).bind(plan).bind(rows).execute(c).await.map(|_| ()))
}

/// Makes a plan whole.
pub async fn finish(tx: &mut Tx, plan: i64, document: &str, askable: i64) -> Result<()> {
    let sql = FINISH.on(tx);
    on!(tx, |c| sqlx::query(sql).bind(plan).bind(document).bind(askable).execute(c).await.map(|_| ()))
}

/// Drops what was begun before `before` and never became whole.
pub async fn drop_unfinished(tx: &mut Tx, before: i64) -> Result<()> {
    let sql = DROP_UNFINISHED.on(tx);
    on!(tx, |c| sqlx::query(sql).bind(before).execute(c).await.map(|_| ()))
}

/// Drops a plan that is not whole, with its lines.
pub async fn drop_plan(tx: &mut Tx, plan: i64) -> Result<()> {
    let sql = DROP.on(tx);
    on!(tx, |c| sqlx::query(sql).bind(plan).execute(c).await.map(|_| ()))
}

/// The plan of this id, if it is whole.
pub async fn by_id(tx: &mut Tx, id: i64) -> Result<Option<Plan>> {
    let sql = BY_ID.on(tx);
    on!(tx, |c| sqlx::query_as(sql).bind(id).fetch_optional(c).await)
}

/// Every whole plan, oldest first.
pub async fn all(tx: &mut Tx) -> Result<Vec<Plan>> {
    let sql = ALL.on(tx);
    on!(tx, |c| sqlx::query_as(sql).fetch_all(c).await)
}

/// The plan whose question a campaign puts, if it is one of those.
pub async fn of_campaign(tx: &mut Tx, campaign: i64) -> Result<Option<Plan>> {
    let sql = OF_CAMPAIGN.on(tx);
    on!(tx, |c| sqlx::query_as(sql).bind(campaign).fetch_optional(c).await)
}

/// The next lines after a place.
pub async fn lines(tx: &mut Tx, plan: i64, after: i64, limit: i64) -> Result<Vec<Line>> {
    let sql = LINES.on(tx);
    on!(tx, |c| sqlx::query_as(sql).bind(plan).bind(after).bind(limit).fetch_all(c).await)
}

/// The next lines after a place that may be asked.
pub async fn askable(tx: &mut Tx, plan: i64, after: i64, limit: i64) -> Result<Vec<Askable>> {
    let sql = ASKABLE.on(tx);
    on!(tx, |c| sqlx::query_as(sql).bind(plan).bind(after).bind(limit).fetch_all(c).await)
}

/// The next lines after a place that hold refusals.
pub async fn refusing(tx: &mut Tx, plan: i64, after: i64, limit: i64) -> Result<Vec<Refusing>> {
    let sql = REFUSING.on(tx);
    on!(tx, |c| sqlx::query_as(sql).bind(plan).bind(after).bind(limit).fetch_all(c).await)
}

/// Notes which campaign puts the question, and how. False when one does already (RP-6).
pub async fn start(tx: &mut Tx, plan: i64, campaign: i64, waves: &str) -> Result<bool> {
    let sql = START.on(tx);
    on!(tx, |c| sqlx::query(sql).bind(plan).bind(campaign).bind(waves).execute(c).await.map(|d| d.rows_affected() == 1))
}

/// Notes that the refusals of the list are recorded.
pub async fn applied(tx: &mut Tx, plan: i64, now: i64) -> Result<()> {
    let sql = APPLIED.on(tx);
    on!(tx, |c| sqlx::query(sql).bind(plan).bind(now).execute(c).await.map(|_| ()))
}

/// Notes what was decided of lines when the question was to be sent, and forgets what was kept of them.
pub async fn asked(tx: &mut Tx, plan: i64, decided: &[(i64, &str)]) -> Result<()> {
    let (sql, rows) = (ASKED.on(tx), super::json(decided));
    on!(tx, |c| sqlx::query(sql).bind(plan).bind(rows).execute(c).await.map(|_| ()))?;
    more_asked(tx, plan, decided.len() as i64).await
}

async fn more_asked(tx: &mut Tx, plan: i64, count: i64) -> Result<()> {
    let sql = MORE_ASKED.on(tx);
    on!(tx, |c| sqlx::query(sql).bind(plan).bind(count).execute(c).await.map(|_| ()))
}

/// Which of these people a question about the product is on its way to, by another campaign, or may
/// have reached without anybody knowing (RP-6).
pub async fn asked_elsewhere(
    tx: &mut Tx,
    product: &str,
    campaign: i64,
    hashes: &[AddressHash],
) -> Result<Vec<AddressHash>> {
    let mut found = Vec::new();
    for other in other_questions(tx, product, campaign).await? {
        let (sql, list) = (ASKED_ELSEWHERE.on(tx), super::json(hashes));
        let rows: Vec<Vec<u8>> = on!(tx, |c| sqlx::query_scalar(sql).bind(other).bind(list).fetch_all(c).await)?;
        found.extend(rows.into_iter().filter_map(|hash| AddressHash::try_from(hash).ok()));
    }
    Ok(found)
}

/// The other campaigns that ask about a product.
async fn other_questions(tx: &mut Tx, product: &str, campaign: i64) -> Result<Vec<i64>> {
    let sql = OTHERS.on(tx);
    on!(tx, |c| sqlx::query_scalar(sql).bind(product).bind(campaign).fetch_all(c).await)
}

/// How many of the askable were decided how when the question was to be sent; the empty code: not yet.
pub async fn asked_count(tx: &mut Tx, plan: i64) -> Result<Vec<(String, i64)>> {
    let sql = ASKED_COUNT.on(tx);
    on!(tx, |c| sqlx::query_as(sql).bind(plan).fetch_all(c).await)
}

/// Begins a wave.
pub async fn begin_wave(tx: &mut Tx, plan: i64, wave: i64) -> Result<()> {
    let sql = WAVE.on(tx);
    on!(tx, |c| sqlx::query(sql).bind(plan).bind(wave).execute(c).await.map(|_| ()))
}

/// Notes when a wave had gone out.
pub async fn end_wave(tx: &mut Tx, plan: i64, now: i64) -> Result<()> {
    let sql = WAVE_ENDED.on(tx);
    on!(tx, |c| sqlx::query(sql).bind(plan).bind(now).execute(c).await.map(|_| ()))
}

/// Notes which stop was reached; empty: a person lets it go on.
pub async fn stopped(tx: &mut Tx, plan: i64, by: &str) -> Result<()> {
    let sql = STOPPED.on(tx);
    on!(tx, |c| sqlx::query(sql).bind(plan).bind(by).execute(c).await.map(|_| ()))
}

/// Forgets what is kept of the people of a plan; returns of how many.
pub async fn forget(tx: &mut Tx, plan: i64, now: i64) -> Result<u64> {
    forgotten(tx, plan, now).await?;
    let sql = FORGET.on(tx);
    on!(tx, |c| sqlx::query(sql).bind(plan).execute(c).await.map(|done| done.rows_affected()))
}

async fn forgotten(tx: &mut Tx, plan: i64, now: i64) -> Result<()> {
    let sql = FORGOTTEN.on(tx);
    on!(tx, |c| sqlx::query(sql).bind(plan).bind(now).execute(c).await.map(|_| ()))
}

/// Forgets what plans keep of one person (GD-4).
pub async fn forget_person(tx: &mut Tx, hash: AddressHash) -> Result<()> {
    let sql = FORGET_PERSON.on(tx);
    on!(tx, |c| sqlx::query(sql).bind(hash.0.as_slice()).execute(c).await.map(|_| ()))
}

/// How the deliveries of a campaign ended so far: state, class of the bounce, how many.
pub async fn ends(tx: &mut Tx, campaign: i64) -> Result<Vec<(String, String, i64)>> {
    let sql = ENDS.on(tx);
    on!(tx, |c| sqlx::query_as(sql).bind(campaign).fetch_all(c).await)
}

/// How many people refused after a campaign's message, and how many complained.
pub async fn refusals(tx: &mut Tx, campaign: i64) -> Result<(i64, i64)> {
    let sql = REFUSALS.on(tx);
    let rows: Vec<(String, i64)> = on!(tx, |c| sqlx::query_as(sql).bind(campaign).fetch_all(c).await)?;
    let of = |kind: &str| rows.iter().find(|(k, _)| k == kind).map_or(0, |(_, n)| *n);
    Ok((of("unsubscribe"), of("complaint")))
}

/// Everything that people said to a campaign's question, in the order in which they said it.
pub async fn words(tx: &mut Tx, campaign: i64) -> Result<Vec<Word>> {
    let sql = WORDS.on(tx);
    on!(tx, |c| sqlx::query_as(sql).bind(campaign).fetch_all(c).await)
}

/// Whom a campaign's question reached.
pub async fn reached(tx: &mut Tx, campaign: i64) -> Result<Vec<Reached>> {
    let sql = REACHED.on(tx);
    on!(tx, |c| sqlx::query_as(sql).bind(campaign).fetch_all(c).await)
}

/// What became of the question to the next lines after a place: place, state, when it ended.
pub async fn answered(
    tx: &mut Tx,
    plan: i64,
    campaign: i64,
    after: i64,
    limit: i64,
) -> Result<Vec<(i64, String, Option<i64>)>> {
    let sql = ANSWERED.on(tx);
    on!(tx, |c| sqlx::query_as(sql).bind(plan).bind(campaign).bind(after).bind(limit).fetch_all(c).await)
}

/// The plans made before `before` that were never sent and still keep people's data.
pub async fn old(tx: &mut Tx, before: i64) -> Result<Vec<i64>> {
    let sql = OLD.on(tx);
    on!(tx, |c| sqlx::query_scalar(sql).bind(before).fetch_all(c).await)
}

/// Whether anything waits for its first turn or is on its way; what is deferred is not.
pub async fn is_leaving(tx: &mut Tx, campaign: i64) -> Result<bool> {
    let sql = IS_LEAVING.on(tx);
    on!(tx, |c| sqlx::query_scalar(sql).bind(campaign).fetch_one(c).await)
}
