//! `ouinon explain ADDRESS --product P`

use std::process::ExitCode;

use clap::Args;
use jiff::Timestamp;

use super::{Failure, output};
use crate::{
    app::App,
    domain::{address::Address, campaigns::CampaignKind},
    pipeline::explain::{Explanation, explain},
    store::products,
};

/// Whom, about what, and when.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// The person's address
    address: String,
    /// Slug of the product
    #[arg(long)]
    product: String,
    /// Kind of campaign: marketing, repermission or service
    #[arg(long, default_value = "marketing")]
    kind: CampaignKind,
    /// Instant to judge at (RFC 3339); now when left out
    #[arg(long, value_name = "INSTANT")]
    at: Option<Timestamp>,
}

/// Prints the decision, its sentence, rules and evidence, and what would change it.
pub async fn run(app: &App, args: ExplainArgs, json: bool) -> anyhow::Result<ExitCode> {
    let address = Address::parse(&args.address).map_err(|e| Failure::Input(format!("{:?}: {e}", args.address)))?;
    let mut tx = app.db.read().await?;
    let product = products::by_slug(&mut tx, &args.product).await?;
    drop(tx);
    let product = product.ok_or_else(|| {
        Failure::Input(format!("there is no product {:?}; `ouinon product list` shows those there are", args.product))
    })?;
    let explanation = explain(app, &address, &product, args.kind, args.at.unwrap_or(app.now())).await?;
    if json {
        output::json(&explanation)?
    } else {
        print(&explanation)
    }
    Ok(ExitCode::SUCCESS)
}

fn print(e: &Explanation) {
    let lang = output::lang();
    say!("{}: {}", e.decision, e.code);
    say!("{}", lang.pick(&e.sentence.fr, &e.sentence.en));
    say!("{}: {} ({})", lang.pick("règles", "rules"), e.rule_ids.join(", "), e.rules_version);
    if let Some(remedy) = &e.remedy {
        say!("{}: {}", lang.pick("ce qui le changerait", "what would change it"), lang.pick(&remedy.fr, &remedy.en));
    }
    match &e.evidence {
        None => say!("{}", lang.pick("aucun contact n'a cette adresse", "no contact has this address")),
        Some(c) => {
            say!("{}: {}, {}, {}", lang.pick("contact", "contact"), c.kind, c.relationship, c.address_kind);
            say!(
                "{}: {} ({}), {} {}",
                lang.pick("source", "source"),
                c.source_kind,
                c.source,
                lang.pick("recueillie le", "collected on"),
                c.collected_at
            );
        }
    }
    for consent in &e.consents {
        let at = consent.at.and_then(|at| Timestamp::from_millisecond(at).ok()).map(|at| at.to_string());
        say!(
            "{} {}: {} {} {}",
            consent.purpose,
            consent.product,
            consent.state,
            at.unwrap_or_else(|| "-".to_owned()),
            consent.proof
        );
    }
    for s in &e.suppressions {
        say!(
            "suppression {} {}: {} {}",
            s.scope,
            s.value.as_deref().unwrap_or_default(),
            s.reason,
            s.at.as_deref().unwrap_or("-")
        );
    }
}
