//! The acts of a recipient: following links, and filling in the forms of the pages.

use ouinon::{
    domain::{
        contacts::ContactKind,
        eligibility::{self, Outcome},
        tokens::{Purpose, Token},
    },
    pipeline::preferences,
    store::{contacts, facts, products, suppressions, suppressions::Entry},
};

use crate::{
    http::{self, Answer, Served},
    store::{contact, hash},
    world::World,
};

/// The recipient of these stories: a professional whom the sender may write to about CRM.
pub const PERSON: &str = "marie@example.net";

/// A professional, two public products and a hidden one, and the pages served.
pub async fn opened(world: &World) -> Served {
    world
        .tx(async |tx| {
            for (slug, name) in [("crm", "CRM"), ("erp", "ERP"), ("secret", "Secret")] {
                products::add(tx, slug, name, true, 1).await?;
            }
            products::publish(tx, "secret", false).await?;
            let mut contact = contact(world, PERSON);
            contact.kind = ContactKind::Business;
            contacts::save(tx, &[contact]).await
        })
        .await;
    http::serve(&world.app).await
}

/// The path of a link about CRM, of this purpose.
pub async fn link(world: &World, purpose: Purpose) -> String {
    let product = world.tx(async |tx| products::by_slug(tx, "crm").await).await.expect("the product");
    let token = Token {
        purpose,
        address: hash(world, PERSON),
        product: product.id as u32,
        campaign: 41,
        product_scope: false,
        test: false,
    };
    format!("/{}/{}", letter(purpose), world.app.keys.tokens.sign(&token))
}

fn letter(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Unsubscribe => "o",
        Purpose::Preferences => "p",
        Purpose::Why => "w",
        Purpose::View => "v",
        Purpose::Confirm => "c",
        Purpose::Receipt => "u",
        Purpose::Answer | Purpose::Click | Purpose::Open => panic!("not a page of these stories"),
    }
}

/// The first link of a page that starts with this.
pub fn found(page: &Answer, start: &str) -> String {
    let at = page.body.find(start).unwrap_or_else(|| panic!("{start} is on the page: {}", page.body));
    let rest = &page.body[at..];
    rest[..rest.find(['"', '?', '<']).expect("it ends")].to_owned()
}

/// The fields of the only form that holds `name`, as a browser without script would send them.
pub fn fields(page: &Answer, name: &str) -> Vec<(String, String)> {
    let holds = |form: &&str| form.contains(&format!("name=\"{name}\""));
    let form = page.body.split("<form").skip(1).map(|f| f.split("</form>").next().expect("a form ends")).find(holds);
    let form = form.unwrap_or_else(|| panic!("a form with {name}: {}", page.body));
    let mut fields = Vec::new();
    for tag in form.split('<').filter(|tag| tag.starts_with("input") || tag.starts_with("option")) {
        let tag = tag.split('>').next().expect("a tag ends");
        let of = |attribute: &str| {
            let start = format!("{attribute}=\"");
            tag.find(&start).map(|at| unescaped(tag[at + start.len()..].split('"').next().expect("a value ends")))
        };
        let ticked = tag.ends_with(" checked");
        let sent = match of("type").as_deref() {
            Some("checkbox" | "radio") => ticked,
            None => tag.ends_with(" selected"),
            Some(_) => true,
        };
        if sent {
            let name = of("name").unwrap_or_else(|| "language".to_owned());
            fields.push((name, of("value").unwrap_or_default()));
        }
    }
    fields
}

fn unescaped(text: &str) -> String {
    text.replace("&#60;", "<").replace("&#62;", ">").replace("&#34;", "\"").replace("&#39;", "'").replace("&#38;", "&")
}

/// A form as it is posted.
pub fn form(fields: &[(String, String)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

/// Every suppression there is.
pub async fn list(world: &World) -> Vec<Entry> {
    world.tx(async |tx| suppressions::page(tx, 0, 100).await).await
}

/// The code that marketing about a product would meet now.
pub async fn code(world: &World, product: &str) -> &'static str {
    code_of(world, PERSON, product).await
}

/// The same for anybody.
pub async fn code_of(world: &World, address: &str, product: &str) -> &'static str {
    let terms = ouinon::domain::campaigns::Terms {
        kind: ouinon::domain::campaigns::CampaignKind::Marketing,
        product: product.into(),
        profession_related: true,
        sector: ouinon::domain::campaigns::Sector::None,
        has_promo: true,
        art14_notice: false,
        elements: ouinon::domain::campaigns::Elements { identity: true, optout: true, postal: true },
        tracking: ouinon::domain::campaigns::TrackingRequest::Individual,
    };
    let hash = hash(world, address);
    let person = world
        .tx(async |tx| {
            let contact = contacts::by_hash(tx, hash).await?.expect("the contact");
            facts::of(tx, &[contact], product).await
        })
        .await
        .remove(0);
    let decision = eligibility::decide(&world.app.rules, &terms, &person, world.app.now());
    match decision.outcome {
        Outcome::Send(_) if decision.tracking == eligibility::Tracking::Individual => "TRACKED",
        outcome => outcome.code(),
    }
}

/// The date in so many days.
pub fn in_days(world: &World, days: i32) -> String {
    use jiff::ToSpan;
    preferences::today(&world.app).saturating_add(days.days()).to_string()
}

/// Holds for every page: what the browser is told, and what never stands on it.
pub fn assert_calm(page: &Answer, status: u16) {
    assert_eq!(page.status, status, "{}", page.body);
    assert_eq!(page.header("cache-control"), Some("no-store"));
    assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
    assert!(page.header("x-robots-tag").is_some_and(|robots| robots.contains("noindex")));
    assert!(page.header("content-security-policy").is_some_and(|csp| csp.starts_with("default-src 'none'")));
    assert_eq!((page.header("set-cookie"), page.header("location")), (None, None));
    for never in ["<script", "style=", PERSON, "http://", "https://"] {
        assert!(!page.body.contains(never), "{never} is not on the page: {}", page.body);
    }
}

/// One message about CRM, sent for real and caught: the mail server, the pages, and what the mailbox shows.
pub async fn mailed(world: &mut World) -> (crate::sending::Sending, ouinon::mail::reading::Reading) {
    let post = crate::sending::Sending::open(world, ouinon::mail::catcher::Settings::default()).await;
    world.product("crm").await;
    let mut person = contact(world, PERSON);
    person.kind = ContactKind::Business;
    person.first_name = "Marie".into();
    person.source = "le salon de Lyon".into();
    world.tx(async |tx| contacts::save(tx, &[person]).await).await;
    world.create(&crate::sending::campaign("autumn", "rate = \"60000/min\"")).await;
    world.launch("autumn").await;
    world.send("autumn").await;
    let caught = post.caught();
    let reading = ouinon::mail::reading::read(&caught[PERSON].bytes).expect("a message");
    (post, reading)
}

/// The path of the link of a page (`p`, `w` …) in a caught message.
pub fn link_in(reading: &ouinon::mail::reading::Reading, letter: char) -> String {
    let start = format!("/{letter}/");
    let links = reading.text.split(['(', ')']).filter_map(|word| word.strip_prefix("http://"));
    let mut paths =
        links.filter_map(|link| link.find('/').map(|at| &link[at..])).filter(|path| path.starts_with(&start));
    paths.next().unwrap_or_else(|| panic!("a link to {start}: {}", reading.text)).to_owned()
}
