//! A search that is going on: where it is in numbers, as a compact screen, and each measurement as a line.

use serde::Serialize;

use crate::figures::learning::QUANTITIES;
use crate::number::{count, fixed, time};
use crate::plan::Plan;
use crate::run::{Episode, Measurement, Run};
use crate::text::{EIGHTHS, plain, sparkline};

/// Where a search is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Now<'r> {
    /// What it does, in a few words; what its last measurement was for, where it does not say.
    pub doing: Option<&'r str>,
    /// Plans evaluated by the searcher.
    pub done: Option<u64>,
    /// Its budget.
    pub of: Option<u64>,
    /// Fine-tunes measured, those of earlier commands included.
    pub measured: usize,
    /// Fine-tunes a minute since the search began, where it has measured any.
    pub per_minute: Option<f64>,
    /// How long it has been going on, seconds.
    pub seconds: Option<u64>,
    /// The plan of the largest value so far.
    pub best: Option<Best<'r>>,
}

/// A plan and what is thought of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Best<'r> {
    /// The plan.
    pub plan: &'r str,
    /// Value under the objective.
    pub value: Option<f64>,
    /// Accuracy on the validation images, predicted where there is a forecast, 0 to 1.
    pub accuracy: Option<f64>,
    /// State of Quantization, 1 with 8 bits everywhere.
    pub state_of_quantization: Option<f64>,
}

impl<'r> Now<'r> {
    /// Where the search of `run` is at `clock`, seconds since 1970.
    pub fn of(run: &'r Run, clock: u64) -> Self {
        let stage = run.stage.as_ref();
        let last = run.measurements.last().map(|one| one.stage.as_str());
        let seconds = stage.and_then(|stage| clock.checked_sub(stage.started?));
        let new = stage.and_then(|stage| (run.measurements.len() as u64).checked_sub(stage.known?));
        let rate = |new: u64, seconds: u64| (new > 0 && seconds > 0).then(|| 60.0 * new as f64 / seconds as f64);
        Self {
            doing: stage.map(|stage| stage.doing.as_str()).or(last),
            done: stage.and_then(|stage| stage.done),
            of: stage.and_then(|stage| stage.of),
            measured: run.measurements.len(),
            per_minute: new.zip(seconds).and_then(|(new, seconds)| rate(new, seconds)),
            seconds,
            best: run.best().map(Best::of),
        }
    }

    /// `search, 12 of 32 plans evaluated`.
    pub fn stage(&self) -> String {
        let evaluated = match (self.done, self.of) {
            (Some(done), Some(of)) => format!(", {} of {} plans evaluated", count(Some(done)), count(Some(of))),
            _ => String::new(),
        };
        plain(&format!("{}{evaluated}", self.doing.unwrap_or("beginning")))
    }

    /// `19 fine-tunes, 8.4 a minute, for 3 min`.
    fn measured(&self) -> String {
        let rate = self.per_minute.map_or(String::new(), |rate| format!(", {} a minute", fixed(Some(rate), 1)));
        let since =
            self.seconds.map_or(String::new(), |seconds| format!(", running for {}", time(Some(seconds as f64))));
        format!("{}{rate}{since}", fine_tunes(self.measured))
    }
}

/// So many of them.
pub fn fine_tunes(measured: usize) -> String {
    if measured == 1 {
        "1 fine-tune".to_owned()
    } else {
        plain(&format!("{} fine-tunes", count(Some(measured as u64))))
    }
}

impl<'r> Best<'r> {
    fn of(episode: &'r Episode) -> Self {
        Self {
            plan: &episode.plan,
            value: episode.value,
            accuracy: episode.accuracy,
            state_of_quantization: episode.state_of_quantization,
        }
    }
}

/// The search of `run` at `clock`, seconds since 1970, for a terminal of a hundred columns.
pub fn screen(run: &Run, clock: u64) -> String {
    let now = Now::of(run, clock);
    let mut lines = vec![("stage", now.stage()), ("measured", now.measured())];
    if let Some(Best { plan, value, accuracy, .. }) = &now.best {
        let accuracy = fixed(accuracy.map(|share| 100.0 * share), 2);
        lines.push(("best so far", format!("{plan}   value {}   accuracy {accuracy} %", fixed(*value, 3))));
        lines.extend(strips(plan));
    }
    lines.extend(curve(&run.episodes));
    lines.extend(run.measurements.last().map(|last| ("last", measurement(last))));
    let text: String = lines.iter().map(|(name, text)| format!("{name:<11}  {text}\n")).collect();
    plain(&format!("{}\n{text}", title(run)))
}

/// The directory, and what is searched in it.
fn title(run: &Run) -> String {
    let Some(asked) = run.later.as_ref().or(run.asked.as_ref()) else { return run.name.clone() };
    let model = asked.model.rsplit(['/', '\\']).next().unwrap_or_default();
    let data = asked.data.as_deref().unwrap_or("the first data found");
    format!("{}: {model} on {data}, searched by {}", run.name, asked.agent)
}

/// One measurement as a line.
pub fn measurement(one: &Measurement) -> String {
    let accuracy = fixed(one.accuracy.map(|share| 100.0 * share), 2);
    let cost = one.cost.as_ref().map_or(String::new(), |cost| {
        let instructions = cost.measured.or(cost.predicted).map(|cost| cost.round() as u64);
        let basis = if cost.measured.is_some() { "counted" } else { "predicted" };
        format!("   {} {} {basis} on {}", count(instructions), cost.unit, cost.board)
    });
    let [stage, plan] = [&one.stage, &one.plan];
    let seconds = fixed(one.seconds, 1);
    plain(&format!("{stage:<6}  {plan}   {accuracy} %   {} images in {seconds} s{cost}", count(one.images)))
}

/// Bits of each layer as heights, and as numbers: weights, and codes where any has other than 8 bits.
fn strips(plan: &str) -> Vec<(&'static str, String)> {
    let Some(plan) = Plan::parse(plan) else { return Vec::new() };
    let strip = |bits: Vec<u8>| {
        let heights: String = bits.iter().map(|&bits| EIGHTHS[usize::from(bits.clamp(1, 8)) - 1]).collect();
        format!("{heights}  {}", bits.iter().map(u8::to_string).collect::<String>())
    };
    let mut strips = vec![("weights", strip(plan.0.iter().map(|layer| layer.weights).collect()))];
    if plan.has_activations() {
        strips.push(("codes", strip(plan.0.iter().map(|layer| layer.activations).collect())));
    }
    strips
}

/// Rewards over episodes, or for searchers without any the State of Quantization of the best so far.
fn curve(episodes: &[Episode]) -> Option<(&'static str, String)> {
    let [reward, ..] = &QUANTITIES;
    let rewards = reward.values(episodes);
    let (name, values) = match rewards.iter().any(|value| value.is_finite()) {
        true => ("reward", rewards),
        false => ("best cost", best_costs(episodes)),
    };
    let finite: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    let [first, last] = [finite.first()?, finite.last()?].map(|end| fixed(Some(*end), 2));
    Some((name, format!("{}  {first} → {last}", sparkline(&values))))
}

/// After each episode, what the plan of the largest value costs.
fn best_costs(episodes: &[Episode]) -> Vec<f64> {
    let mut best: (f64, f64) = (f64::NEG_INFINITY, f64::NAN);
    let cost = |episode: &Episode| {
        let value = episode.value.unwrap_or(f64::NEG_INFINITY);
        if value > best.0 {
            best = (value, episode.state_of_quantization.unwrap_or(f64::NAN));
        }
        best.1
    };
    episodes.iter().map(cost).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::{Asked, Stage};

    fn running() -> Run {
        let episode = |plan: &str, value: f64| Episode {
            plan: plan.to_owned(),
            value: Some(value),
            accuracy: Some(0.98),
            state_of_quantization: Some(value / 2.0),
            rewards: vec![Some(-value), Some(2.0 * value)],
            ..Episode::default()
        };
        let measurement = |plan: &str| Measurement {
            stage: "search".to_owned(),
            plan: plan.to_owned(),
            images: Some(3000),
            accuracy: Some(0.9725),
            seconds: Some(4.08),
            cost: None,
            diverged: None,
        };
        Run {
            name: "runs/lenet".to_owned(),
            asked: Some(Asked { model: "/models/lenet.onnx".into(), agent: "ppo".into(), ..Asked::default() }),
            stage: Some(Stage {
                doing: "search".into(),
                done: Some(2),
                of: Some(32),
                known: Some(1),
                started: Some(1000),
            }),
            episodes: vec![episode("2:4,8:8", 0.5), episode("2:8,3:4", 0.8), episode("8:8,8:8", 0.1)],
            measurements: vec![measurement("8,8"), measurement("2:8,3:4"), measurement("8:8,8:8\u{1b}[2J")],
            ..Run::default()
        }
    }

    #[test]
    fn a_screen_has_what_is_known() {
        let mut run = running();
        insta::assert_snapshot!(screen(&run, 1060));
        assert_eq!(Now::of(&run, 1060).per_minute, Some(2.0));
        // At its first second, or by a clock that was set back, nothing is said of speed.
        assert_eq!([1000, 900].map(|clock| Now::of(&run, clock).per_minute), [None, None]);
        run.episodes.iter_mut().for_each(|episode| episode.rewards.clear());
        assert!(screen(&run, 1060).contains("best cost    ▁██  0.25 → 0.40"), "{}", screen(&run, 1060));
        run.stage = None;
        assert_eq!(Now::of(&run, 1060).stage(), "search");
        let beginning = Run { name: "runs/new".to_owned(), ..Run::default() };
        assert_eq!(screen(&beginning, 1060), "runs/new\nstage        beginning\nmeasured     0 fine-tunes\n");
    }
}
