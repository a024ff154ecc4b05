//! Products: the offers that consents and campaigns are about.

use sqlx::FromRow;

use super::{Result, Sql, Tx, on};

/// A row of `product`.
#[derive(Debug, Clone, PartialEq, Eq, FromRow, serde::Serialize)]
pub struct Product {
    /// Key.
    pub id: i64,
    /// Name in files and commands.
    pub slug: String,
    /// Name that people read.
    pub name: String,
    /// Its offer concerns people's profession: default of a campaign's `profession_related`.
    pub for_business: bool,
    /// Everybody may see that there is such a product: in the choices of a recipient, as a form.
    pub public: bool,
}

const ADD: Sql = Sql::same(
    "INSERT INTO product (slug, name, for_business, created_at) VALUES ($1, $2, $3, $4)
     ON CONFLICT (slug) DO NOTHING",
);
const ALL: Sql = Sql::same("SELECT id, slug, name, for_business, public FROM product ORDER BY slug");
const BY_SLUG: Sql = Sql::same("SELECT id, slug, name, for_business, public FROM product WHERE slug = $1");
const BY_ID: Sql = Sql::same("SELECT id, slug, name, for_business, public FROM product WHERE id = $1");
const PUBLISH: Sql = Sql::same("UPDATE product SET public = $2 WHERE slug = $1");

/// Adds a product; false when the slug is taken.
pub async fn add(tx: &mut Tx, slug: &str, name: &str, for_business: bool, now: i64) -> Result<bool> {
    let sql = ADD.on(tx);
    on!(tx, |c| sqlx::query(sql)
        .bind(slug)
        .bind(name)
        .bind(for_business)
        .bind(now)
        .execute(c)
        .await
        .map(|done| done.rows_affected() == 1))
}

/// Shows a product to everybody, or to nobody but those who are written to about it.
pub async fn publish(tx: &mut Tx, slug: &str, public: bool) -> Result<bool> {
    let sql = PUBLISH.on(tx);
    on!(tx, |c| sqlx::query(sql).bind(slug).bind(public).execute(c).await.map(|done| done.rows_affected() == 1))
}

/// Every product, by slug.
pub async fn all(tx: &mut Tx) -> Result<Vec<Product>> {
    let sql = ALL.on(tx);
    on!(tx, |c| sqlx::query_as(sql).fetch_all(c).await)
}

/// The product of this slug.
pub async fn by_slug(tx: &mut Tx, slug: &str) -> Result<Option<Product>> {
    let sql = BY_SLUG.on(tx);
    on!(tx, |c| sqlx::query_as(sql).bind(slug).fetch_optional(c).await)
}

/// The product of this id, as a token names it.
pub async fn by_id(tx: &mut Tx, id: i64) -> Result<Option<Product>> {
    let sql = BY_ID.on(tx);
    on!(tx, |c| sqlx::query_as(sql).bind(id).fetch_optional(c).await)
}
