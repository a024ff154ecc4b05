//! `ouinon product …`

use std::process::ExitCode;

use clap::Subcommand;

use super::{Failure, output};
use crate::{
    app::App,
    domain::import::vocabulary::fold,
    store::products::{self, Product},
};

/// What can be done with products.
#[derive(Debug, Subcommand)]
pub enum ProductCommand {
    /// Add a product: the offer that consents and campaigns are about
    Add {
        /// Its name in files and commands: a-z, 0-9, - and _
        slug: String,
        /// The name that people read; the slug when left out
        #[arg(long)]
        name: Option<String>,
        /// Its offer concerns people's profession
        #[arg(long)]
        for_business: bool,
        /// Not shown to everybody: in no list of choices, and no subscription form
        #[arg(long)]
        not_public: bool,
    },
    /// List the products
    List,
}

/// Runs a product command.
pub async fn run(app: &App, command: ProductCommand, json: bool) -> anyhow::Result<ExitCode> {
    match command {
        ProductCommand::Add { slug, name, for_business, not_public } => {
            add(app, &slug, name.as_deref(), for_business, !not_public, json).await
        }
        ProductCommand::List => list(app, json).await,
    }
}

async fn add(
    app: &App,
    slug: &str,
    name: Option<&str>,
    for_business: bool,
    public: bool,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    if !(1..=64).contains(&slug.len()) || !slug.bytes().all(allowed) || slug.starts_with('-') {
        return Err(
            Failure::Input(format!("{slug:?} is no slug: 1 to 64 of a-z, 0-9, - and _, not starting with -")).into()
        );
    }
    let name = name.map_or(slug, str::trim);
    if name.is_empty() || name.chars().count() > 200 || name.contains(char::is_control) {
        return Err(Failure::Input("--name: expected one line of 1 to 200 characters".into()).into());
    }
    let mut tx = app.db.write().await?;
    // An import column `consent_<slug>` must name one product only.
    if let Some(same) = products::all(&mut tx).await?.iter().find(|p| fold(&p.slug) == fold(slug)) {
        return Err(Failure::Input(format!("there is a product {:?} already", same.slug)).into());
    }
    products::add(&mut tx, slug, name, for_business, app.now().as_millisecond()).await?;
    if !public {
        products::publish(&mut tx, slug, false).await?;
    }
    let added = products::by_slug(&mut tx, slug).await?;
    tx.commit().await?;
    match added {
        Some(product) if json => output::json(&product)?,
        _ => say!("added {slug}"),
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(app: &App, json: bool) -> anyhow::Result<ExitCode> {
    let mut tx = app.db.read().await?;
    let products = products::all(&mut tx).await?;
    if json {
        output::json(&products)?;
        return Ok(ExitCode::SUCCESS);
    }
    if products.is_empty() {
        say!("no products yet; add one: ouinon product add crm --name CRM --for-business");
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = output::table(&["slug", "name", "for business", "public"]);
    let word = |yes: bool| if yes { "yes".to_owned() } else { "no".to_owned() };
    for Product { slug, name, for_business, public, .. } in products {
        table.add_row([slug, name, word(for_business), word(public)]);
    }
    say!("{table}");
    Ok(ExitCode::SUCCESS)
}

/// The product of a slug that the operator wrote.
pub async fn find(app: &App, slug: &str) -> anyhow::Result<Product> {
    let mut tx = app.db.read().await?;
    let found = products::by_slug(&mut tx, slug).await?;
    Ok(found.ok_or_else(|| {
        Failure::Input(format!("there is no product {slug:?}; `ouinon product list` shows those there are"))
    })?)
}
