//! What the demonstration says, in French and in English.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    time::{Duration, Instant},
};

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use indicatif::ProgressBar;

use super::{
    Results, Sent,
    mailbox::{How, Left},
    scene::Scene,
};
use crate::{
    cli::output,
    domain::lang::Lang,
    pipeline::{
        preflight::Preflight,
        report::{Report, Status},
    },
    web::demo::Imported,
};

/// Says what happens: on stdout, or nowhere when a script wants JSON there.
pub struct Teller {
    lang: Lang,
    out: Box<dyn Write>,
    bar: Option<ProgressBar>,
    last_line: Option<Instant>,
    started: Instant,
    chapter: usize,
}

/// Cells of a bar on a terminal.
const BAR: usize = 60;
/// Columns of what is told.
const WIDTH: u16 = 100;
/// Refused lines that are shown.
const SHOWN: usize = 3;
/// How often the progress is said where no bar can be drawn.
const LINE: Duration = Duration::from_secs(1);

impl Teller {
    /// A teller; silent on stdout with `json`.
    pub fn new(lang: Lang, json: bool) -> Teller {
        let out: Box<dyn Write> = if json { Box::new(io::sink()) } else { Box::new(io::stdout()) };
        Teller { lang, out, bar: None, last_line: None, started: Instant::now(), chapter: 0 }
    }

    /// What this is, and that nothing can go wrong.
    pub fn open(&mut self, scene: &Scene) -> io::Result<()> {
        let mail = scene.catcher.address();
        let (fr, en) = (
            format!(
                "Ouinon, démonstration. Dossier jetable, SQLite, clés toutes neuves, et un serveur de courrier\n\
                 ({mail}) qui ne livre rien : personne ne recevra quoi que ce soit."
            ),
            format!(
                "Ouinon, demonstration. A scratch folder, SQLite, keys made for it, and a mail server\n\
                 ({mail}) that delivers nothing: nobody will receive anything."
            ),
        );
        writeln!(self.out, "{}", self.lang.pick(fr, en))
    }

    /// What the import did.
    pub fn imported(&mut self, import: &Imported) -> io::Result<()> {
        let lang = self.lang;
        self.heading("Un vieux fichier est lu", "An old file is read")?;
        let n = |n: u64| lang.number(n);
        writeln!(
            self.out,
            "  {}",
            lang.pick(
                format!(
                    "{} lignes = {} nouvelles personnes + {} complétées + {} déjà connues + {} refusées",
                    n(import.lines),
                    n(import.new),
                    n(import.changed),
                    n(import.unchanged),
                    n(import.refused)
                ),
                format!(
                    "{} lines = {} new people + {} completed + {} known already + {} refused",
                    n(import.lines),
                    n(import.new),
                    n(import.changed),
                    n(import.unchanged),
                    n(import.refused)
                ),
            )
        )?;
        let mut by_code: BTreeMap<&str, usize> = BTreeMap::new();
        for refusal in &import.refusals {
            *by_code.entry(&refusal.code).or_default() += 1;
        }
        let by_code: Vec<String> = by_code.iter().map(|(code, n)| format!("{n} {code}")).collect();
        writeln!(self.out, "  {}", lang.pick("refusées :", "refused:"))?;
        self.paragraph(&by_code.join(", "))?;
        writeln!(self.out, "  {}", lang.pick("par exemple :", "for example:"))?;
        for refusal in import.refusals.iter().take(SHOWN) {
            let place = lang.pick("ligne", "line");
            self.paragraph(&format!("{place} {}, {}: {}", refusal.line, refusal.column_name, refusal.message))?;
        }
        Ok(())
    }

    /// Who gets a campaign, who does not, and why.
    pub fn foreseen(&mut self, p: &Preflight) -> io::Result<()> {
        self.forecast(p)?;
        writeln!(self.out)?;
        self.reasons(p.send.by_basis.iter().map(|(code, n)| (*code, *n)))?;
        writeln!(self.out, "  {}", self.lang.pick("et ceux-ci non :", "and these do not:"))?;
        self.reasons(p.block.by_reason.iter().map(|(code, n)| (*code, *n)))
    }

    /// The same of the next campaign: what is not as it was.
    pub fn foreseen_next(&mut self, p: &Preflight, before: &Preflight) -> io::Result<()> {
        self.forecast(p)?;
        writeln!(self.out, "  {}", self.lang.pick("de plus que la première fois :", "more than the first time:"))?;
        let was = |code: &str| before.block.by_reason.get(code).copied().unwrap_or(0);
        let more = p.block.by_reason.iter().map(|(code, n)| (*code, n - was(code)));
        self.reasons(more.filter(|(_, n)| *n != 0))
    }

    fn forecast(&mut self, p: &Preflight) -> io::Result<()> {
        let lang = self.lang;
        self.heading(&format!("Qui reçoit « {} »", p.campaign), &format!("Who gets \"{}\"", p.campaign))?;
        writeln!(self.out, "  {}", output::bar(p.send.total, p.asked, BAR))?;
        let (send, block, asked) = (lang.number(p.send.total), lang.number(p.block.total), lang.number(p.asked));
        let (fr, en) = (
            format!("{send} personnes la reçoivent + {block} ne la reçoivent pas = {asked}"),
            format!("{send} people get it + {block} do not = {asked}"),
        );
        writeln!(self.out, "  {}", lang.pick(fr, en))
    }

    fn reasons<'a>(&mut self, counts: impl Iterator<Item = (&'a str, i64)>) -> io::Result<()> {
        let mut table = output::reasons(counts, self.lang);
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(WIDTH);
        for line in table.lines() {
            writeln!(self.out, "{}", line.trim_end())?;
        }
        Ok(())
    }

    /// Wraps a text, further in than what it belongs to.
    fn paragraph(&mut self, text: &str) -> io::Result<()> {
        let mut table = Table::new();
        table
            .load_style(presets::NOTHING)
            .add_row(["  ", text])
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(WIDTH);
        for line in table.lines() {
            writeln!(self.out, "{}", line.trim_end())?;
        }
        Ok(())
    }

    /// How far sending is: a bar on a terminal, else a line now and then.
    pub fn sending(&mut self, status: &Status, total: i64) {
        let bar = self.bar.get_or_insert_with(|| output::progress(Some(total.unsigned_abs()), "SMTP"));
        bar.set_position(status.accepted.unsigned_abs());
        let due = self.last_line.is_none_or(|at| at.elapsed() >= LINE);
        if bar.is_hidden() && due && status.accepted > 0 {
            self.last_line = Some(Instant::now());
            let of = self.lang.pick("sur", "of");
            // Nobody reads the progress of a run whose stderr is gone.
            let _ = writeln!(io::stderr(), "  SMTP {} {of} {total}", status.accepted);
        }
    }

    /// Sending is over.
    pub fn sending_ended(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        self.last_line = None;
    }

    /// What became of a campaign.
    pub fn sent(&mut self, sent: &Sent) -> io::Result<()> {
        let lang = self.lang;
        let s = &sent.report.status;
        let n = |n: i64| lang.number(n);
        let rate = n(s.rate_per_minute as i64);
        let (seconds, caught) = (sent.seconds, n(sent.caught as i64));
        let (fr, en) = (
            format!("Partie par SMTP en {seconds:.1} s (au plus {rate} par minute) ; {caught} messages attrapés."),
            format!("Left over SMTP in {seconds:.1} s (at most {rate} a minute); {caught} messages caught."),
        );
        writeln!(self.out, "  {}", lang.pick(fr, en))?;
        self.states(s)
    }

    /// Where everybody stands: the states that sum to the asked.
    fn states(&mut self, s: &Status) -> io::Result<()> {
        let lang = self.lang;
        let n = |n: i64| lang.number(n);
        let states = [
            (s.accepted, "acceptés", "accepted"),
            (s.blocked, "bloqués", "blocked"),
            (s.bounced, "rejetés", "bounced"),
            (s.deferred, "différés", "deferred"),
            (s.unknown, "inconnus", "unknown"),
            (s.cancelled, "annulés", "cancelled"),
        ];
        let states: Vec<String> = states
            .into_iter()
            .filter(|(count, ..)| *count > 0)
            .map(|(count, fr, en)| format!("{} {}", n(count), lang.pick(fr, en)))
            .collect();
        writeln!(self.out, "  {} {} = {}", n(s.asked), lang.pick("demandés", "asked"), states.join(" + "))
    }

    /// Who unsubscribed, and how.
    pub fn left(&mut self, left: &[Left]) -> io::Result<()> {
        let lang = self.lang;
        self.heading(
            "Sept personnes s’en vont, par le lien de leur message",
            "Seven people leave, by the link in their message",
        )?;
        writeln!(
            self.out,
            "  {}",
            lang.pick(
                "Un antivirus a d’abord ouvert les sept liens : rien n’a changé.",
                "A scanner opened the seven links first: nothing changed."
            )
        )?;
        self.refusals(left)
    }

    /// Who unsubscribed while the message was on its way to them.
    pub fn left_while_queued(&mut self, left: &[Left]) -> io::Result<()> {
        let (fr, en) = ("Pendant que la file avançait :", "While the queue moved on:");
        writeln!(self.out, "  {}", self.lang.pick(fr, en))?;
        self.refusals(left)
    }

    fn refusals(&mut self, left: &[Left]) -> io::Result<()> {
        for l in left {
            let how = match l.how {
                How::OneClick => self.lang.pick("un clic dans la messagerie", "one click in the mailbox"),
                How::OneClickMultipart => self.lang.pick("un clic, l’autre encodage", "one click, the other encoding"),
                How::PageProduct => {
                    self.lang.pick("sur la page : seulement ce produit", "on the page: only this product")
                }
                How::OneClickWhileQueued => self.lang.pick(
                    "un clic : son message attendait, il ne part pas",
                    "one click: their message was waiting, and stays",
                ),
            };
            writeln!(self.out, "    {} {:<42} {how}", l.status, l.address)?;
        }
        Ok(())
    }

    /// Both reports, side by side.
    pub fn reports(&mut self, campaigns: &[Sent]) -> io::Result<()> {
        let lang = self.lang;
        self.heading("Les deux comptes rendus", "Both reports")?;
        let mut header = vec![""];
        header.extend(campaigns.iter().map(|sent| sent.report.status.campaign.as_str()));
        let mut table = output::table(&header);
        let mut row = |name: &str, count: &dyn Fn(&Report) -> i64| {
            let mut cells = vec![format!("  {name}")];
            cells.extend(campaigns.iter().map(|sent| lang.number(count(&sent.report))));
            table.add_row(cells);
        };
        let codes = |counts: fn(&Report) -> &BTreeMap<String, i64>| -> Vec<String> {
            let mut most: BTreeMap<&String, i64> = BTreeMap::new();
            for (code, n) in campaigns.iter().flat_map(|sent| counts(&sent.report)) {
                let known = most.entry(code).or_default();
                *known = (*known).max(*n);
            }
            let mut codes: Vec<(&String, i64)> = most.into_iter().collect();
            codes.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
            codes.into_iter().map(|(code, _)| code.clone()).collect()
        };
        row(lang.pick("demandés", "asked"), &|r| r.status.asked);
        row(lang.pick("acceptés", "accepted"), &|r| r.status.accepted);
        for code in codes(|r| &r.by_basis) {
            row(&format!("  {code}"), &|r| r.by_basis.get(&code).copied().unwrap_or(0));
        }
        row(lang.pick("bloqués", "blocked"), &|r| r.status.blocked);
        for code in codes(|r| &r.status.by_reason) {
            row(&format!("  {code}"), &|r| r.status.by_reason.get(&code).copied().unwrap_or(0));
        }
        row(lang.pick("désinscriptions", "unsubscribes"), &|r| r.unsubscribes);
        for column in 1..=campaigns.len() {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        for line in table.lines() {
            writeln!(self.out, "{}", line.trim_end())?;
        }
        Ok(())
    }

    /// Whether every sum holds; those that do not are named.
    pub fn end(&mut self, results: &Results) -> io::Result<()> {
        let lang = self.lang;
        let broken: Vec<_> = results.checks.iter().filter(|check| !check.holds).collect();
        self.heading("Tout se recoupe", "Everything adds up")?;
        let seconds = self.started.elapsed().as_secs_f64();
        let (held, all) = (results.checks.len() - broken.len(), results.checks.len());
        let (fr, en) = (
            format!(
                "{held} vérifications sur {all} tiennent (sommes, destinataires, signatures DKIM) ; {seconds:.0} s."
            ),
            format!("{held} checks of {all} hold (sums, recipients, DKIM signatures); {seconds:.0} s."),
        );
        writeln!(self.out, "  {}", lang.pick(fr, en))?;
        for check in broken {
            // Also where stdout is for JSON.
            writeln!(io::stderr(), "  {}: {} ({})", lang.pick("faux", "wrong"), check.what, check.numbers)?;
        }
        Ok(())
    }

    /// Where to look, and how to end.
    pub fn stay(&mut self, url: &str) -> io::Result<()> {
        let (fr, en) = (
            format!("\nLe récit et le courrier : {url}   (Ctrl-C pour finir)"),
            format!("\nThe story and the mail: {url}   (Ctrl-C to end)"),
        );
        writeln!(self.out, "{}", self.lang.pick(fr, en))?;
        self.out.flush()
    }

    fn heading(&mut self, fr: &str, en: &str) -> io::Result<()> {
        self.chapter += 1;
        writeln!(self.out, "\n{}. {}", self.chapter, self.lang.pick(fr, en))
    }
}
