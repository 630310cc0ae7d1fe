//! The command that does a run again, from what its record says it was asked.

use crate::run::{Asked, Outcome, Run};

/// The command and what must be known beside it; none where the run does not say what it was asked.
pub(crate) fn command(run: &Run) -> Option<(String, Vec<String>)> {
    let asked = run.asked.as_ref()?;
    let mut words = vec!["releq search".to_owned(), quoted(&asked.model)];
    let mut option = |name: &str, value: Option<String>| {
        words.extend(value.map(|value| format!("--{name} {}", quoted(&value))));
    };
    option("data", asked.data.clone());
    option("val", asked.val.clone());
    asked.boards.iter().for_each(|board| option("board", Some(board.name.clone())));
    option("clock", asked.boards.iter().find_map(|board| board.clock).map(|hertz| format!("{hertz}Hz")));
    option("weights", list(&asked.weights));
    option("activations", list(&asked.activations));
    let outcome = run.outcome.as_ref();
    match outcome.and_then(|outcome| outcome.measured_on.clone()) {
        Some(board) => option("measure", Some(board)),
        None => option("minimize", some(&asked.minimize)),
    }
    option("preset", some(&asked.preset));
    option("quantizer", some(&asked.quantizer).filter(|_| asked.preset == "paper"));
    option("agent", some(&asked.agent));
    option("episodes", asked.episodes.map(|number| number.to_string()));
    option("actors", asked.actors.map(|number| number.to_string()));
    option("max-loss", asked.max_loss.map(|points| points.to_string()));
    limits(asked).into_iter().for_each(|(name, value)| option(name, value));
    option("short", asked.short.map(|number| number.to_string()));
    option("long", asked.long.map(|number| number.to_string()));
    option("epochs", outcome.and_then(|outcome| outcome.epochs).map(|number| number.to_string()));
    let baselines = outcome.and_then(|outcome| outcome.baselines).filter(|number| *number > 0);
    option("baselines", baselines.map(|number| number.to_string()));
    option("seed", asked.seed.map(|number| number.to_string()));
    words.extend(asked.pin_ends.then(|| "--pin-ends".to_owned()));
    words.push("-o NEW-RUN".to_owned());
    Some((words.join(" \\\n    "), notes(asked, outcome)))
}

fn limits(asked: &Asked) -> [(&'static str, Option<String>); 4] {
    let budgets = &asked.budgets;
    let nanos = budgets.latency.map(|time| u128::from(time.secs) * 1_000_000_000 + u128::from(time.nanos));
    [
        ("max-flash", budgets.flash.map(|bytes| bytes.to_string())),
        ("max-ram", budgets.ram.map(|bytes| bytes.to_string())),
        ("max-instructions", budgets.instructions.map(|count| count.to_string())),
        ("max-latency", nanos.map(|nanos| format!("{}us", nanos as f64 / 1e3))),
    ]
}

fn notes(asked: &Asked, outcome: Option<&Outcome>) -> Vec<String> {
    let mut notes = Vec::new();
    if let (Some(images), None) = (asked.last, outcome.and_then(|outcome| outcome.epochs)) {
        notes.push(format!(
            "This run does not say how many --epochs its chosen plan was fine-tuned: give as many passes over the \
             tuning images as make {images} images."
        ));
    }
    if let Some(version) = outcome.and_then(|outcome| outcome.version.as_ref()) {
        notes.push(format!(
            "The same releq (this run's is {version}), model, data and --actors give the same plan; \
             the digest of all of them was {}.",
            asked.key
        ));
    }
    notes
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned()).filter(|text| !text.is_empty())
}

fn list(widths: &[u8]) -> Option<String> {
    some(&widths.iter().map(u8::to_string).collect::<Vec<_>>().join(","))
}

/// As one word of a POSIX shell.
fn quoted(word: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./,:=+@%".contains(letter);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::{Budgets, Latency};

    #[test]
    fn words_stay_words() {
        let words = ["a/b.onnx", "my model", "$(rm)", "it's", ""].map(quoted);
        assert_eq!(words, ["a/b.onnx", "'my model'", "'$(rm)'", r"'it'\''s'", "''"]);
    }

    #[test]
    fn what_was_asked_is_asked_again() {
        let asked = Asked {
            model: "lenet.onnx".to_owned(),
            preset: "paper".to_owned(),
            quantizer: "wrpn".to_owned(),
            weights: vec![2, 8],
            pin_ends: true,
            budgets: Budgets {
                flash: Some(65_536),
                latency: Some(Latency { secs: 0, nanos: 15_500_000 }),
                ..Budgets::default()
            },
            ..Asked::default()
        };
        let run = Run { asked: Some(asked), ..Run::default() };
        let words = command(&run).unwrap().0.replace(" \\\n   ", "");
        assert_eq!(
            words,
            "releq search lenet.onnx --weights 2,8 --preset paper --quantizer wrpn --max-flash 65536 \
             --max-latency 15500us --pin-ends -o NEW-RUN"
        );
        assert_eq!(command(&Run::default()), None);
    }
}
