//! A campaign made ready to be judged and sent: its file read, its product found, its message
//! frozen and compiled, its signer loaded.

use crate::{
    app::App,
    domain::{
        address::covering_domains,
        campaign_file::CampaignFile,
        campaigns::{CampaignKind, Terms},
        content::{self, Controller, Frozen, Message},
        located::Problems,
        templates::RenderError,
        windows::Windows,
    },
    keys::{self, KeyError, Keys},
    mail::{
        compose::{ComposeError, FeedbackId},
        dkim::{self, Signer},
        quoted,
    },
    pipeline::buffers::Buffers,
    store::{
        self, Tx,
        campaigns::Campaign,
        products::{self, Product},
    },
};

/// A campaign as the stages use it. Made once, shared by all.
pub struct Compiled {
    /// Key; 0 while it is not stored.
    pub id: i64,
    /// What its file says.
    pub file: CampaignFile,
    /// What `decide` reads of it.
    pub terms: Terms,
    /// Its product.
    pub product: Product,
    /// Its message.
    pub message: Message,
    /// Signs for the sender's domain, when there is a key.
    pub signer: Option<Signer>,
    /// Why the key that there is cannot sign.
    pub key_fault: Option<dkim::KeyError>,
    /// What it is called in its messages' Feedback-ID, when configured.
    pub feedback_id: Result<Option<FeedbackId>, ComposeError>,
    /// What its messages are written into.
    pub buffers: Buffers,
}

/// Why a campaign cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// What is written is wrong.
    #[error("{0}")]
    Written(Problems),
    /// Its product does not exist.
    #[error("there is no product {0:?}; add it with `ouinon product add {0}`")]
    NoProduct(String),
    /// Its frozen message does not compile.
    #[error("the message does not compile: {0}")]
    Message(#[from] RenderError),
    /// The signing key cannot be used.
    #[error("DKIM key of {domain}: {error}")]
    Dkim {
        /// Which domain.
        domain: String,
        /// What is wrong.
        error: dkim::KeyError,
    },
    /// The key files cannot be read.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The database fails.
    #[error("database: {0}")]
    Store(#[from] sqlx::Error),
}

impl Compiled {
    /// Why it must not be sent although it can be read: mail whose key cannot sign would leave unsigned
    /// unnoticed. Of a weak key it is known (H05): a warning, like having none.
    pub fn unsendable(&self) -> Option<&dkim::KeyError> {
        self.key_fault.as_ref().filter(|fault| !matches!(fault, dkim::KeyError::Weak(_)))
    }

    /// The campaign, if it may be sent.
    pub fn sendable(self) -> Result<Compiled, Unusable> {
        match self.unsendable() {
            None => Ok(self),
            Some(fault) => {
                Err(Unusable::Dkim { domain: self.file.from.address.domain().to_owned(), error: fault.clone() })
            }
        }
    }

    /// Compiles a stored campaign: as it was frozen at launch, or as its file stands.
    pub async fn of_row(app: &App, tx: &mut Tx, row: &Campaign) -> Result<Compiled, Unusable> {
        let file = CampaignFile::parse(&row.source, Some(row.format)).map_err(Unusable::Written)?;
        let frozen = serde_json::from_str::<Frozen>(&row.frozen).ok();
        same_keys(app, tx).await?;
        let mut compiled = Compiled::new(app, tx, file, frozen).await?;
        compiled.id = row.id;
        Ok(compiled)
    }

    /// Compiles a file that is not stored.
    pub async fn of_file(app: &App, tx: &mut Tx, file: CampaignFile) -> Result<Compiled, Unusable> {
        Compiled::new(app, tx, file, None).await
    }

    async fn new(app: &App, tx: &mut Tx, file: CampaignFile, frozen: Option<Frozen>) -> Result<Compiled, Unusable> {
        let product = products::by_slug(tx, &file.product).await?;
        let product = product.ok_or_else(|| Unusable::NoProduct(file.product.clone()))?;
        Compiled::with(app, file, product, frozen)
    }

    /// Compiles a file that is not stored, about a product that need not be either.
    pub fn about(app: &App, file: CampaignFile, product: Product) -> Result<Compiled, Unusable> {
        Compiled::with(app, file, product, None)
    }

    fn with(app: &App, file: CampaignFile, product: Product, frozen: Option<Frozen>) -> Result<Compiled, Unusable> {
        let frozen = match frozen {
            Some(frozen) => frozen,
            None => content::freeze(&file, &product.name, &controller(app)).map_err(Unusable::Written)?,
        };
        let (signer, key_fault) = match signer(app, file.from.address.domain()) {
            Ok(signer) => (signer, None),
            // A campaign whose key cannot sign can be looked at; preflight says so, and nothing is sent.
            Err(Unusable::Dkim { error, .. }) => (None, Some(error)),
            Err(error) => return Err(error),
        };
        let postal_known = !app.config.controller.postal_address.is_empty();
        Ok(Compiled {
            id: 0,
            terms: file.terms(postal_known, product.for_business),
            signer,
            key_fault,
            message: message(frozen)?,
            feedback_id: feedback_id(app, &file, &product),
            buffers: Buffers::default(),
            product,
            file,
        })
    }
}

fn feedback_id(app: &App, file: &CampaignFile, product: &Product) -> Result<Option<FeedbackId>, ComposeError> {
    let Some(sender) = &app.config.smtp.feedback_sender_id else { return Ok(None) };
    FeedbackId::new(&[&file.slug, file.kind.as_str(), &product.slug], sender).map(Some)
}

/// Its HTML encoded once for everybody, unless another encoding suits it better.
fn message(frozen: Frozen) -> Result<Message, RenderError> {
    let is_quoted = quoted::suits(&frozen.html);
    let message = Message::new(frozen)?;
    Ok(if is_quoted { message.encoded_by(quoted::push) } else { message })
}

/// Another host may have made a key since this process started: mail without it would be signed otherwise
/// here than there.
async fn same_keys(app: &App, tx: &mut Tx) -> Result<(), Unusable> {
    let noted = store::keys::all(tx).await?;
    let lacking: Vec<_> = noted.into_iter().filter(|print| !app.keys.fingerprints.contains(print)).collect();
    if lacking.is_empty() {
        return Ok(());
    }
    let folder = App::keys_folder(&app.config);
    Ok(Keys::read(&folder)?.compare(&folder, &lacking)?)
}

impl Compiled {
    /// When its messages may leave: its own windows, and those of the installation, which service mail
    /// does not wait for.
    pub fn windows<'a>(&'a self, app: &'a App) -> Vec<&'a Windows> {
        windows_of(app, &self.file)
    }
}

/// When the messages of a file may leave.
pub fn windows_of<'a>(app: &'a App, file: &'a CampaignFile) -> Vec<&'a Windows> {
    let common = Some(&app.config.schedule).filter(|_| file.kind != CampaignKind::Service);
    common.into_iter().chain([&file.windows]).filter(|windows| windows.is_any()).collect()
}

/// On whose behalf messages are sent, as far as it is configured.
fn controller(app: &App) -> Controller {
    let some = |text: &str| Some(text.to_owned()).filter(|t| !t.is_empty());
    let c = &app.config.controller;
    Controller {
        name: c.name.clone(),
        postal_address: some(&c.postal_address),
        contact: some(&c.contact),
        retention_months: app.config.rules.retention_months,
    }
}

/// The signer of the sender's domain, or of the nearest parent that has a key: DMARC's relaxed
/// alignment accepts it (H-4).
pub(super) fn signer(app: &App, domain: &str) -> Result<Option<Signer>, Unusable> {
    let folder = App::keys_folder(&app.config);
    for domain in covering_domains(domain) {
        let Some(files) = keys::dkim::of_domain(&folder, domain)? else { continue };
        return Signer::from_files(domain, &files.selector, &files.rsa, &files.ed25519)
            .map(Some)
            .map_err(|error| Unusable::Dkim { domain: domain.to_owned(), error });
    }
    Ok(None)
}
