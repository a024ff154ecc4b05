//! The mailbox provider of the sample's people: it reads the headers of a caught message and posts to
//! its one-click link, as RFC 8058 says.

use std::time::Duration;

use anyhow::{Context, ensure};
use serde::Serialize;

use crate::mail::{catcher::Caught, reading};

/// How a person unsubscribes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// The mailbox's button, `application/x-www-form-urlencoded`.
    OneClick,
    /// The mailbox's button, `multipart/form-data`.
    OneClickMultipart,
    /// Our page, "only this".
    PageProduct,
    /// The mailbox's button, while the next campaign has the person queued.
    OneClickWhileQueued,
}

/// Somebody who unsubscribed.
#[derive(Debug, Serialize)]
pub struct Left {
    /// Whose message it was.
    pub address: String,
    /// How.
    pub how: How,
    /// What the server answered.
    pub status: u16,
}

/// An HTTP client that goes straight to where it is told.
pub fn client() -> anyhow::Result<reqwest::Client> {
    let builder = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    Ok(builder.timeout(Duration::from_secs(15)).build()?)
}

/// Opens the link of a message as a scanner does. Nothing may come of it.
pub async fn scan(client: &reqwest::Client, caught: &Caught) -> anyhow::Result<()> {
    let answer = client.get(link(caught)?).send().await?;
    ensure!(answer.status().is_success(), "the unsubscribe page answers {}", answer.status());
    Ok(())
}

/// Unsubscribes the reader of a message.
pub async fn press(client: &reqwest::Client, caught: &Caught, how: How) -> anyhow::Result<Left> {
    const BOUNDARY: &str = "b8f1c2d4-mailbox";
    let (kind, body) = match how {
        How::OneClick | How::OneClickWhileQueued => {
            ("application/x-www-form-urlencoded".to_owned(), "List-Unsubscribe=One-Click".to_owned())
        }
        How::OneClickMultipart => (
            format!("multipart/form-data; boundary={BOUNDARY}"),
            format!(
                "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\nOne-Click\r\n\
                 --{BOUNDARY}--\r\n"
            ),
        ),
        How::PageProduct => ("application/x-www-form-urlencoded".to_owned(), "choice=product".to_owned()),
    };
    let request = client.post(link(caught)?).header("Content-Type", kind).body(body);
    let answer = request.send().await.context("the unsubscribe link does not answer")?;
    Ok(Left { address: recipient(caught).to_owned(), how, status: answer.status().as_u16() })
}

/// Whom a caught message went to.
pub fn recipient(caught: &Caught) -> &str {
    caught.to.first().map_or("", String::as_str)
}

fn link(caught: &Caught) -> anyhow::Result<String> {
    reading::read(&caught.bytes)
        .and_then(|reading| reading.one_click)
        .with_context(|| format!("message {} offers no one-click", caught.number))
}
