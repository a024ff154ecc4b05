//! What makes one message tracked: the addresses of its pixel and links, as far as they were decided.

use super::prepare::{Permit, link};
use crate::{
    app::App,
    domain::{
        address::AddressHash,
        campaigns::CampaignKind,
        contacts::TrackingConsent,
        content::Tracks,
        eligibility::Tracking,
        tokens::{Purpose, Token},
    },
    pipeline::compile::Compiled,
    store::contacts::Contact,
};

/// The addresses of a message's pixel and links.
pub(super) struct Marks {
    pixel: Option<String>,
    click: Option<String>,
}

impl Marks {
    /// As it was decided for this person; never in a re-permission (RP-7). `base`: where links lead.
    pub(super) fn new(
        app: &App,
        campaign: &Compiled,
        contact: &Contact,
        permit: &Permit,
        base: &str,
        test: bool,
    ) -> Marks {
        let link_of = |page, purpose, address| {
            let token = Token {
                purpose,
                address,
                product: campaign.product.id as u32,
                campaign: campaign.id as u32,
                product_scope: false,
                test,
            };
            link(app, base, page, &token)
        };
        let pixel = |address| Some(link_of("/i/", Purpose::Open, address));
        if campaign.file.kind == CampaignKind::Repermission {
            return Marks { pixel: None, click: None };
        }
        match permit.tracking {
            Tracking::Individual => {
                let click = (!campaign.message.frozen().links.is_empty())
                    .then(|| link_of("/l/", Purpose::Click, contact.address_hash) + "/");
                Marks { pixel: pixel(contact.address_hash), click }
            }
            Tracking::LastOpenDay => Marks { pixel: pixel(contact.address_hash), click: None },
            // The same for everybody, with nobody's hash in it; not for whoever said no to tracking.
            Tracking::None if campaign.file.count_opens && permit.consent != TrackingConsent::Withdrawn => {
                Marks { pixel: pixel(AddressHash::NOBODY), click: None }
            }
            Tracking::None => Marks { pixel: None, click: None },
        }
    }

    pub(super) fn links(&self) -> Tracks<'_> {
        Tracks { click_url: self.click.as_deref(), pixel_url: self.pixel.as_deref() }
    }
}
