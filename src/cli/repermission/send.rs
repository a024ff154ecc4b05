//! `ouinon repermission send PLAN`

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;

use crate::{
    app::App,
    cli::{Failure, output},
    domain::{
        campaign_file::Rate,
        lang::Lang,
        repermission::waves::{Share, Waves},
    },
    pipeline::repermission::send::{self, Asking, SendError, Words},
};

/// How the question is put. Only the askable people of the plan get it; there is no force flag.
#[derive(Debug, Args)]
pub struct SendArgs {
    /// The plan, as `plan` printed it
    plan: String,
    /// Who asks: "Name <address>"; by default the controller of ouinon.toml
    #[arg(long, value_name = "MAILBOX")]
    from: Option<String>,
    /// Where replies go, if not there
    #[arg(long, value_name = "MAILBOX")]
    reply_to: Option<String>,
    /// Subject of your own
    #[arg(long, value_name = "TEXT")]
    subject: Option<String>,
    /// Markdown of your own above the question; the answers, the notice and the right to object are put in
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// One language for everybody, fr or en; by default each person's own
    #[arg(long, value_name = "LANG")]
    language: Option<Lang>,
    /// Messages per time, like 600/min
    #[arg(long, value_name = "RATE", value_parser = Rate::parse)]
    rate: Option<Rate>,
    /// Share of the askable in each wave
    #[arg(long, value_name = "SHARE", default_value = "100%", value_parser = Share::parse)]
    wave: Share,
    /// Time between two waves, like 1h or 30min
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = seconds)]
    pause: u64,
    /// Pause when so many of those who got it unsubscribed or said no (from 100 on)
    #[arg(long, value_name = "SHARE", default_value = "5%", value_parser = Share::parse)]
    stop_unsubscribes: Share,
    /// Pause when so many of those who got it complained (from 100 on)
    #[arg(long, value_name = "SHARE", default_value = "0.1%", value_parser = Share::parse)]
    stop_complaints: Share,
    /// Pause when more than so many attempts met a dead mailbox (from 100 on)
    #[arg(long, value_name = "SHARE", default_value = "2%", value_parser = Share::parse)]
    stop_hard_bounces: Share,
}

/// Reads `90s`, `30min`, `1h`, `2d`, or a bare number of seconds.
fn seconds(text: &str) -> Result<u64, String> {
    const SHAPE: &str = "a time is a whole number and a unit, like 30min, 1h or 2d";
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let unit = match text[digits..].trim() {
        "" | "s" | "sec" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        "d" | "j" => 86_400,
        _ => return Err(SHAPE.to_owned()),
    };
    let number: u64 = text[..digits].parse().map_err(|_| SHAPE.to_owned())?;
    number.checked_mul(unit).filter(|s| *s <= 365 * 86_400).ok_or_else(|| SHAPE.to_owned())
}

fn words(path: &Path) -> Result<Words, Failure> {
    let name = path.display().to_string();
    match fs::read_to_string(path) {
        Ok(text) => Ok(Words { name, text }),
        Err(error) => Err(Failure::Input(format!("--body {name}: {error}"))),
    }
}

/// Starts to ask; the serving process sends.
pub async fn run(app: &App, args: SendArgs, json: bool) -> anyhow::Result<ExitCode> {
    let lang = output::lang();
    let body = args.body.as_deref().map(words).transpose()?;
    let asking = Asking {
        from: args.from,
        reply_to: args.reply_to,
        subject: args.subject,
        body,
        language: args.language,
        rate: args.rate,
        waves: Waves {
            wave: if args.wave == Share(0) {
                return Err(Failure::Input("--wave: 0% would never end".into()).into());
            } else {
                args.wave
            },
            pause_s: args.pause,
            stop_unsubscribes: args.stop_unsubscribes,
            stop_complaints: args.stop_complaints,
            stop_hard_bounces: args.stop_hard_bounces,
        },
    };
    let sent = send::send(app, &args.plan, &asking, lang).await.map_err(failure)?;
    if json {
        output::json(&sent)?;
        return Ok(ExitCode::SUCCESS);
    }
    for warning in &sent.warnings {
        eprintln!("{}: {}", warning.code, warning.message);
    }
    let n = lang.number(sent.askable);
    match lang {
        Lang::Fr => {
            say!("{n} personnes seront interrogées en {} vague(s), par la campagne {}.", sent.waves, sent.campaign)
        }
        Lang::En => say!("{n} people will be asked in {} wave(s), by campaign {}.", sent.waves, sent.campaign),
    }
    say!("{}", lang.pick("`ouinon serve` envoie ; suivre :", "`ouinon serve` sends; follow it with:"));
    say!("  ouinon repermission report {}", sent.plan);
    Ok(ExitCode::SUCCESS)
}

/// The exit code tells a rule's refusal from a mistake.
pub fn failure(error: SendError) -> anyhow::Error {
    match error {
        error if error.is_refused() => Failure::Refused(error.to_string()).into(),
        error if error.is_bad_input() => Failure::Input(error.to_string()).into(),
        error => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        for (text, expected) in [("90", 90), ("90s", 90), ("30min", 1800), ("1h", 3600), ("2 d", 172_800)] {
            assert_eq!(seconds(text), Ok(expected), "{text}");
        }
        for text in ["", "h", "1w", "-1h", "1.5h", "99999999999999999999h", "9999d"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
