//! What every page shares, and the pages that say what cannot be done.

use askama::Template;
use axum::{
    extract::{RawQuery, State},
    http::{HeaderMap, StatusCode, header},
    response::{Html, IntoResponse, Response},
};

use super::{Public, language};
use crate::domain::lang::{Lang, french_of};

/// The frame of a page.
pub struct Shell {
    /// The language it speaks.
    pub lang: Lang,
    /// The path of the public URL, which every link of ours starts with.
    pub prefix: String,
    /// Name of the sender, if configured.
    pub sender: String,
    /// Where one can write to the sender, if configured.
    pub contact: String,
}

impl Shell {
    /// The frame in a language.
    pub fn new(public: &Public, lang: Lang) -> Shell {
        let config = &public.app.config;
        let uri = config.public.url.as_deref().and_then(|url| url.parse::<axum::http::Uri>().ok());
        Shell {
            lang,
            prefix: uri.map(|u| u.path().trim_end_matches('/').to_owned()).unwrap_or_default(),
            sender: config.controller.name.clone(),
            contact: config.controller.contact.clone(),
        }
    }

    /// The sender, in the middle of a sentence.
    pub fn the_sender(&self) -> &str {
        if self.sender.is_empty() { self.lang.pick("cet expéditeur", "this sender") } else { &self.sender }
    }

    /// "of the sender", in the middle of a sentence.
    pub fn of_the_sender(&self) -> String {
        let sender = self.the_sender();
        self.lang.pick(french_of(sender), format!("from {sender}"))
    }

    /// A yes was recorded, and does not suffice.
    pub fn noted_but_not_sent(&self) -> &'static str {
        self.lang.pick(
            "Votre accord est noté, mais autre chose empêche encore l’envoi à cette adresse. Écrivez à l’expéditeur pour qu’il le règle.",
            "Your agreement is recorded, but something else still keeps mail from this address. Write to the sender to have it settled.",
        )
    }

    /// The language that the page can be switched to.
    pub fn other_lang(&self) -> Lang {
        self.lang.pick(Lang::En, Lang::Fr)
    }

    /// The other language, by its own name.
    pub fn other_lang_name(&self) -> &'static str {
        self.other_lang().pick("Français", "English")
    }
}

/// A page of a title and a few sentences.
#[derive(Template)]
#[template(path = "public/notice.html")]
struct Notice {
    shell: Shell,
    title: &'static str,
    sentences: Vec<String>,
    switchable: bool,
}

/// Renders a page.
pub fn render(page: &impl Template) -> Response {
    match page.render() {
        Ok(html) => Html(html).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page cannot be rendered");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// `/`: what this place is, to whoever strays here.
pub async fn home(State(public): State<Public>, RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    let default = public.app.config.controller.language;
    let shell = Shell::new(&public, language::choose(query.as_deref(), None, &headers, default));
    let lang = shell.lang;
    let sentence = lang.pick(
        format!("Cette adresse sert les liens des messages {}.", shell.of_the_sender()),
        format!("This address serves the links in messages {}.", shell.of_the_sender()),
    );
    let way_on = lang.pick(
        "Pour ne plus recevoir ces messages, ouvrez le lien de désabonnement qui se trouve dans chacun d’eux.",
        "To stop receiving these messages, open the unsubscribe link that each of them holds.",
    );
    let title = lang.pick("Rien à voir ici", "Nothing to see here");
    render(&Notice { shell, title, sentences: vec![sentence, way_on.to_owned()], switchable: true })
}

/// 404: no such page, or a link that is not ours; nobody learns which.
pub fn not_found(public: &Public, headers: &HeaderMap) -> Response {
    let sentences = |lang: Lang| {
        vec![lang.pick(
            "Il a pu être coupé en chemin : ouvrez-le de nouveau depuis le message, ou copiez-le en entier.",
            "It may have been cut on its way: open it again from the message, or copy all of it.",
        )]
    };
    let title = |lang: Lang| lang.pick("Ce lien ne mène nulle part", "This link leads nowhere");
    notice(public, headers, StatusCode::NOT_FOUND, title, sentences)
}

/// 429: a network that sent many forms. Says nothing of any address.
pub fn too_many(public: &Public, lang: Lang) -> Response {
    let sentence = lang.pick(
        "Trop de demandes viennent du même réseau. Réessayez dans une heure.",
        "Too many requests come from the same network. Please try again in an hour.",
    );
    let title = lang.pick("Pas pour l’instant", "Not right now");
    let page =
        Notice { shell: Shell::new(public, lang), title, sentences: vec![sentence.to_owned()], switchable: false };
    let mut response = (StatusCode::TOO_MANY_REQUESTS, render(&page)).into_response();
    response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("3600"));
    response
}

/// 410: a message of which something that it was made of is gone.
pub fn no_longer_there(shell: Shell) -> Response {
    let lang = shell.lang;
    let sentence = lang.pick(
        "Nous n’avons plus de quoi le reconstituer : vos coordonnées ou ce message ont été effacés.",
        "We no longer hold what it was made of: your details or the message were erased.",
    );
    let way_on = lang.pick(
        "Les liens de désabonnement du message, eux, restent valables.",
        "The unsubscribe links in the message stay valid all the same.",
    );
    let title = lang.pick("Ce message n’est plus là", "This message is no longer here");
    let page = Notice { shell, title, sentences: vec![sentence.to_owned(), way_on.to_owned()], switchable: true };
    (StatusCode::GONE, render(&page)).into_response()
}

/// 405.
pub fn not_allowed(public: &Public, headers: &HeaderMap) -> Response {
    let title = |lang: Lang| lang.pick("Cela n’est pas possible ici", "This cannot be done here");
    notice(public, headers, StatusCode::METHOD_NOT_ALLOWED, title, |_| vec![])
}

/// 400: a POST that asks for nothing (U07).
pub fn nothing_asked(public: &Public, headers: &HeaderMap) -> Response {
    let title = |lang: Lang| lang.pick("Rien n’a été changé", "Nothing was changed");
    let sentences = |lang: Lang| {
        vec![lang.pick(
            "La demande ne disait pas ce qu’il faut arrêter. Ouvrez de nouveau le lien du message et choisissez.",
            "The request did not say what to stop. Open the link in the message again and choose.",
        )]
    };
    notice(public, headers, StatusCode::BAD_REQUEST, title, sentences)
}

/// 413 (U12).
pub fn too_large(public: &Public, headers: &HeaderMap) -> Response {
    let title = |lang: Lang| lang.pick("La demande est trop grande", "The request is too large");
    notice(public, headers, StatusCode::PAYLOAD_TOO_LARGE, title, |_| vec![])
}

/// 200 while the database is away: what was refused is promised, the rest is not done (`is_all`: there is
/// no rest).
pub fn refusals_noted(public: &Public, headers: &HeaderMap, is_all: bool) -> Response {
    let title = |lang: Lang| lang.pick("C’est noté", "It is noted");
    let sentences = |lang: Lang| {
        let mut said = vec![lang.pick(
            "Ce que vous avez décoché ne vous sera plus envoyé. Un message déjà parti peut encore vous parvenir.",
            "What you switched off will not be sent any more. A message that had already left may still reach you.",
        )];
        if !is_all {
            said.push(lang.pick(
                "Vos autres choix n’ont pas pu être enregistrés : réessayez dans une minute.",
                "Your other choices could not be recorded: please try again in a minute.",
            ));
        }
        said
    };
    notice(public, headers, StatusCode::OK, title, sentences)
}

/// 429: one network looks at too many pages.
pub fn too_fast(public: &Public, headers: &HeaderMap) -> Response {
    let title = |lang: Lang| lang.pick("Un peu trop vite", "A little too fast");
    let sentences = |lang: Lang| {
        vec![lang.pick(
            "Trop de pages ont été demandées depuis votre réseau. Réessayez dans quelques secondes.",
            "Too many pages were asked for from your network. Please try again in a few seconds.",
        )]
    };
    let mut response = notice(public, headers, StatusCode::TOO_MANY_REQUESTS, title, sentences);
    response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("5"));
    response
}

/// 403: a POST in the clear (U19).
pub fn plain_http_refused(public: &Public, headers: &HeaderMap) -> Response {
    let title = |lang: Lang| lang.pick("Cette page demande https", "This page needs https");
    let sentences = |lang: Lang| {
        vec![lang.pick(
            "La demande est arrivée en clair (http) et n’a rien changé.",
            "The request came in the clear (http) and changed nothing.",
        )]
    };
    notice(public, headers, StatusCode::FORBIDDEN, title, sentences)
}

/// 503, and what failed into the log; 500 where the mistake is ours.
pub fn database_failed(public: &Public, headers: &HeaderMap, error: &sqlx::Error) -> Response {
    tracing::error!(%error, "the database fails");
    match error {
        sqlx::Error::WorkerCrashed => failed(public, headers),
        _ => unavailable(public, headers),
    }
}

/// 503: what was asked for is not done; the link goes on working, and the answer says when to try again.
pub fn unavailable(public: &Public, headers: &HeaderMap) -> Response {
    let title = |lang: Lang| lang.pick("Pas pour l’instant", "Not right now");
    let sentences = |lang: Lang| {
        vec![lang.pick(
            "Votre demande n’a pas pu être enregistrée. Le lien reste valable : réessayez dans une minute.",
            "Your request could not be recorded. The link stays valid: please try again in a minute.",
        )]
    };
    let mut response = notice(public, headers, StatusCode::SERVICE_UNAVAILABLE, title, sentences);
    response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("60"));
    response
}

/// 500.
pub fn failed(public: &Public, headers: &HeaderMap) -> Response {
    let title = |lang: Lang| lang.pick("Une erreur est survenue", "Something went wrong");
    let sentences = |lang: Lang| {
        vec![lang.pick(
            "Elle vient de nous, et rien n’a été changé. Réessayez dans une minute.",
            "The mistake is ours, and nothing was changed. Please try again in a minute.",
        )]
    };
    notice(public, headers, StatusCode::INTERNAL_SERVER_ERROR, title, sentences)
}

fn notice(
    public: &Public,
    headers: &HeaderMap,
    status: StatusCode,
    title: impl Fn(Lang) -> &'static str,
    sentences: impl Fn(Lang) -> Vec<&'static str>,
) -> Response {
    let lang = language::choose(None, None, headers, public.app.config.controller.language);
    let sentences = sentences(lang).into_iter().map(str::to_owned).collect();
    let page = Notice { shell: Shell::new(public, lang), title: title(lang), sentences, switchable: false };
    (status, render(&page)).into_response()
}
