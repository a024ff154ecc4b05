//! `ouinon form …`

use std::{path::PathBuf, process::ExitCode};

use clap::Subcommand;

use super::{Failure, output, product};
use crate::{
    app::App,
    domain::{
        lang::Lang,
        wordings::{self as texts, Shown},
    },
    pipeline::{subscribe, wordings},
    store::{self, products::Product},
    web,
};

/// What can be done with the subscription form of a product.
#[derive(Debug, Subcommand)]
pub enum FormCommand {
    /// Where the form is, and every text that people agreed to by it
    Show {
        /// Slug of the product
        product: String,
    },
    /// The form as HTML, to be copied into a page of your own: no script, nothing to load
    Snippet {
        /// Slug of the product
        product: String,
        /// The language of the form
        #[arg(long, default_value = "fr")]
        lang: Lang,
    },
    /// Choose the text that people agree to from now on; earlier ones are kept as proof
    Wording {
        /// Slug of the product
        product: String,
        /// The language of the text
        #[arg(long)]
        lang: Lang,
        /// The text
        #[arg(long, required_unless_present = "file", conflicts_with = "file")]
        text: Option<String>,
        /// A file that holds the text
        #[arg(long)]
        file: Option<PathBuf>,
    },
}

/// Runs a form command.
pub async fn run(app: &App, command: FormCommand, json: bool) -> anyhow::Result<ExitCode> {
    match command {
        FormCommand::Show { product } => show(app, &product, json).await,
        FormCommand::Snippet { product, lang } => snippet(app, &product, lang, json).await,
        FormCommand::Wording { product, lang, text, file } => {
            let text = match (text, file) {
                (Some(text), _) => text,
                (None, Some(path)) => {
                    std::fs::read_to_string(&path).map_err(|e| Failure::Input(format!("{}: {e}", path.display())))?
                }
                (None, None) => String::new(),
            };
            wording(app, &product, lang, &text, json).await
        }
    }
}

async fn show(app: &App, slug: &str, json: bool) -> anyhow::Result<ExitCode> {
    let product = public(app, slug).await?;
    let mut tx = app.db.read().await?;
    let kept = store::wordings::of_name(&mut tx, &texts::form(&product.slug)).await?;
    let mut in_force = Vec::new();
    for lang in [Lang::Fr, Lang::En] {
        in_force.push(subscribe::wording(app, &mut tx, &product, lang).await?);
    }
    let url = app.config.public.url.as_deref().map(|base| format!("{base}/s/{}", product.slug));
    if json {
        let texts: Vec<_> = in_force
            .iter()
            .map(|s| serde_json::json!({ "language": s.lang, "sha256": s.hash(), "text": s.text }))
            .collect();
        let out = serde_json::json!({ "product": product.slug, "url": url, "wordings": texts, "kept": kept });
        output::json(&out)?;
        return Ok(ExitCode::SUCCESS);
    }
    say!("{}", url.unwrap_or_else(|| "public.url is not configured: the form has no address yet".into()));
    for shown in in_force {
        say!("\n{}: {}", shown.lang, shown.text);
    }
    say!("\n{} texts are kept as proof", kept.len());
    Ok(ExitCode::SUCCESS)
}

async fn snippet(app: &App, slug: &str, lang: Lang, json: bool) -> anyhow::Result<ExitCode> {
    let product = public(app, slug).await?;
    let base = app.config.public.url.clone().ok_or_else(|| {
        Failure::Input("public.url is not configured: set it in ouinon.toml, so that the form has an address".into())
    })?;
    let mut tx = app.db.write().await?;
    let shown = subscribe::wording(app, &mut tx, &product, lang).await?;
    // Whoever copies the form shows this text for a long time: it must be known when it comes back.
    let kept = wordings::keep(&mut tx, &shown, app.now()).await?;
    tx.commit().await?;
    let html = web::public::snippet(&base, &product, &shown);
    if json {
        let out = serde_json::json!({
            "product": product.slug, "language": lang, "version": kept.version, "sha256": kept.hash, "html": html,
        });
        output::json(&out)?;
    } else {
        say!("{html}");
    }
    Ok(ExitCode::SUCCESS)
}

async fn wording(app: &App, slug: &str, lang: Lang, text: &str, json: bool) -> anyhow::Result<ExitCode> {
    let product = public(app, slug).await?;
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if text.is_empty() || text.chars().count() > texts::MAX_CHARS || text.contains(char::is_control) {
        let most = texts::MAX_CHARS;
        return Err(Failure::Input(format!("the text has 1 to {most} characters, and none that cannot be read")).into());
    }
    let mut tx = app.db.write().await?;
    let shown = Shown { name: texts::form(&product.slug), lang, text };
    let chosen = wordings::choose(&mut tx, &shown, app.now()).await?;
    tx.commit().await?;
    if json {
        output::json(&chosen)?;
    } else {
        say!("version {} is in force ({lang})", chosen.version);
    }
    Ok(ExitCode::SUCCESS)
}

/// A product that has a form: one that everybody may see.
async fn public(app: &App, slug: &str) -> anyhow::Result<Product> {
    let product = product::find(app, slug).await?;
    if product.public {
        return Ok(product);
    }
    Err(Failure::Refused(format!("the product {slug:?} is not public: it has no form")).into())
}
