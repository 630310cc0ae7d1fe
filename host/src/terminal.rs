//! The only place that touches the terminal: answers to stdout, the conversation to stderr.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::{Duration, Instant};

use anstyle::AnsiColor;

/// Whether the reader of answers has hung up.
static HUNG_UP: AtomicBool = AtomicBool::new(false);

/// Writes an answer to stdout. A reader that hung up is no error: it has what it wanted.
///
/// # Errors
/// Any other failure to write.
pub(crate) fn answer(text: &str) -> io::Result<()> {
    relay(&plain(text))
}

/// `text` without what would steer a terminal: names in it may come from files that nobody has looked into.
fn plain(text: &str) -> String {
    text.chars().filter(|letter| matches!(letter, '\n' | '\t') || !letter.is_control()).collect()
}

/// Writes what somebody else said to stdout, as it is.
///
/// # Errors
/// As [`answer`].
pub(crate) fn relay(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
            HUNG_UP.store(true, Ordering::Relaxed);
            Ok(())
        }
        Err(error) => Err(io::Error::new(
            error.kind(),
            format!(
                "cannot print the answer: {error}; files that it tells of are written; \
                 free some space where standard output goes, or send it elsewhere"
            ),
        )),
        Ok(()) => Ok(()),
    }
}

/// Whether nobody reads answers any more, so that whoever gives one after the other may stop.
pub(crate) fn has_hung_up() -> bool {
    HUNG_UP.load(Ordering::Relaxed)
}

/// How much is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Voice {
    /// Answers and errors.
    Quiet,
    /// Also notes and progress.
    Usual,
    /// Also which files and programs are used.
    Verbose,
}

/// One process has one terminal, so there is one voice.
static VOICE: AtomicU8 = AtomicU8::new(Voice::Usual as u8);

/// From now on as much is said.
pub(crate) fn set_voice(voice: Voice) {
    VOICE.store(voice as u8, Ordering::Relaxed);
}

/// Whether notes are heard.
pub(crate) fn is_quiet() -> bool {
    !speaks(Voice::Usual)
}

fn speaks(voice: Voice) -> bool {
    VOICE.load(Ordering::Relaxed) >= voice as u8
}

/// Says something to the user on stderr, unless asked to be quiet. Nothing depends on it being heard.
pub(crate) fn say(text: &str) {
    if speaks(Voice::Usual) {
        let _ = writeln!(anstream::stderr(), "{}", plain(text));
    }
}

/// Says something that is worth knowing.
pub(crate) fn note(text: &str) {
    if speaks(Voice::Usual) {
        let _ = writeln!(anstream::stderr(), "{}", labelled("note", AnsiColor::Cyan, text));
    }
}

/// Says what went wrong, whatever was asked.
pub(crate) fn error(text: &str) {
    let _ = writeln!(anstream::stderr(), "{}", labelled("error", AnsiColor::Red, text));
}

/// Says what only somebody who looks for a fault wants to know.
pub(crate) fn detail(text: &str) {
    if speaks(Voice::Verbose) {
        let _ = writeln!(anstream::stderr(), "{}", labelled("detail", AnsiColor::BrightBlack, text));
    }
}

/// The stream takes the colour off again where nobody sees it.
fn labelled(label: &str, color: AnsiColor, text: &str) -> String {
    let style = anstyle::Style::new().bold().fg_color(Some(color.into()));
    format!("{style}{label}:{style:#} {}", plain(text))
}

/// Asks which of `options` is meant, where somebody sits at a terminal; `None` where nobody does or wants to say.
#[cfg(feature = "probe")]
pub(crate) fn choice(question: &str, options: &[String]) -> Option<usize> {
    if is_quiet() || !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return None;
    }
    asked(question, options, &mut io::stdin().lock(), &mut anstream::stderr())
}

/// Asks until the answer is one of the numbers, or nothing.
#[cfg(any(feature = "probe", test))]
fn asked(question: &str, options: &[String], from: &mut dyn io::BufRead, to: &mut dyn Write) -> Option<usize> {
    let list: String = options.iter().enumerate().map(|(at, one)| format!("  {}  {}\n", at + 1, plain(one))).collect();
    write!(to, "{question}\n{list}").ok()?;
    loop {
        write!(to, "1 to {}, or nothing to leave it: ", options.len()).and_then(|()| to.flush()).ok()?;
        let mut answer = String::new();
        from.read_line(&mut answer).ok()?;
        match answer.trim() {
            "" => return None,
            number => match number.parse::<usize>() {
                Ok(number) if (1..=options.len()).contains(&number) => return Some(number - 1),
                _ => {}
            },
        }
    }
}

/// A table with aligned columns; the first column to the left, numbers to the right.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let columns = header.len();
    let cell = |row: &Vec<String>, column: usize| row.get(column).map_or(0, |cell| cell.chars().count());
    let width = |column: usize| {
        let widest = rows.iter().map(|row| cell(row, column)).max().unwrap_or(0);
        widest.max(header[column].chars().count())
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded = cells.zip(&widths).enumerate().map(|(column, (cell, &width))| match column {
            0 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    let mut text = line(&mut header.iter().copied());
    for row in rows {
        text += &line(&mut row.iter().map(String::as_str));
    }
    text
}

/// A number with thin groups of three digits.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let start = digits.len() % 3;
    let mut text = digits[..start].to_owned();
    for group in digits.as_bytes()[start..].chunks(3) {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(std::str::from_utf8(group).unwrap_or_default());
    }
    text
}

/// How often progress is said where no bar can be drawn.
const SAID_EVERY: Duration = Duration::from_secs(10);

/// Progress of something with a known number of steps: a bar on a terminal, a line now and then elsewhere.
pub(crate) struct Progress {
    bar: indicatif::ProgressBar,
    what: &'static str,
    /// Whether lines are said where no bar can be drawn.
    spoken: bool,
    said: Instant,
}

impl Progress {
    /// Nothing done yet.
    pub(crate) fn new(what: &'static str) -> Self {
        Self::drawn(what, "{prefix} {wide_bar} {pos}/{len} {msg} {eta}")
    }

    /// Of something that is counted in bytes.
    #[cfg(feature = "fetch")]
    pub(crate) fn bytes(what: &'static str) -> Self {
        Self::drawn(what, "{prefix} {msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}")
    }

    fn drawn(what: &'static str, template: &str) -> Self {
        let terminal = io::stderr().is_terminal() && speaks(Voice::Usual);
        let bar = if terminal { indicatif::ProgressBar::new(0) } else { indicatif::ProgressBar::hidden() };
        let style = indicatif::ProgressStyle::with_template(template);
        bar.set_style(style.unwrap_or_else(|_| indicatif::ProgressStyle::default_bar()));
        bar.set_prefix(what);
        Self { bar, what, spoken: !terminal, said: Instant::now() }
    }

    /// A bar on a terminal, and silence elsewhere.
    pub(crate) fn bar(what: &'static str) -> Self {
        Self { spoken: false, ..Self::new(what) }
    }

    /// `done` of `all` steps are done.
    pub(crate) fn update(&mut self, done: usize, all: usize, note: &str) {
        self.bar.set_length(all as u64);
        self.bar.set_message(note.to_owned());
        self.bar.set_position(done as u64);
        if self.spoken && self.said.elapsed() > SAID_EVERY {
            say(&format!("{} {done}/{all}  {note}", self.what));
            self.said = Instant::now();
        }
    }

    /// Clears the bar.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// A few lines on stdout that are drawn over themselves.
pub(crate) struct Screen(indicatif::ProgressBar);

impl Screen {
    /// An empty one, where stdout is a terminal.
    pub(crate) fn new() -> Option<Self> {
        let target = indicatif::ProgressDrawTarget::stdout();
        if target.is_hidden() {
            return None;
        }
        let style = indicatif::ProgressStyle::with_template("{msg}");
        let style = style.unwrap_or_else(|_| indicatif::ProgressStyle::default_bar());
        Some(Self(indicatif::ProgressBar::with_draw_target(None, target).with_style(style)))
    }

    /// Shows `text` in place of what was there.
    pub(crate) fn draw(&mut self, text: &str) {
        self.0.set_message(text.trim_end().to_owned());
        self.0.tick();
    }

    /// Takes it off again.
    pub(crate) fn clear(&mut self) {
        self.0.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_line_up() {
        let rows = [vec!["conv1".to_owned(), "2".to_owned()], vec!["fc".to_owned(), "1 250".to_owned()]];
        assert_eq!(table(&["layer", "bytes"], &rows), "layer  bytes\nconv1      2\nfc     1 250\n");
    }

    #[test]
    fn a_choice_is_one_of_the_numbers_or_nothing() {
        let options = ["one".to_owned(), "other".to_owned()];
        let typed = |text: &str| {
            let mut said = Vec::new();
            let chosen = asked("which?", &options, &mut text.as_bytes(), &mut said);
            (chosen, String::from_utf8(said).unwrap().matches("1 to 2").count())
        };
        assert_eq!(typed("2\n"), (Some(1), 1));
        assert_eq!(typed("0\nthree\n3\n1\n"), (Some(0), 4));
        assert_eq!(typed("\n1\n"), (None, 1));
        assert_eq!(typed(""), (None, 1));
    }

    #[test]
    fn names_steer_no_terminal() {
        assert_eq!(plain("a\u{1b}[2Jb\r\u{9b}c\td\n"), "a[2Jbc\td\n");
        assert!(labelled("note", AnsiColor::Cyan, "\u{7}x").ends_with(" x"));
    }

    #[test]
    fn groups_of_three() {
        assert_eq!([0, 999, 1000, 1234567].map(grouped), ["0", "999", "1 000", "1 234 567"]);
    }
}
