//! Reports of a finished run and of one that is still going on, and of runs that no search leaves behind.
//!
//! The fixtures are cut from real runs of LeNet on MNIST and of a network of 20 layers; their race and confusion matrix
//! are made up. `cargo insta review`, or INSTA_UPDATE=always, takes a changed snapshot.

use std::fmt::Write;
use std::path::Path;

use releq_report::run::{
    Asked, Diverged, Episode, Evaluated, Layer, Measurement, Outcome, Rival, Run, Standing, State,
};
use releq_report::{Document, html, read, text};

fn fixture(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixture").join(name)
}

fn finished() -> Run {
    let mut run = read::run(&fixture("finished")).unwrap();
    run.name = "runs/lenet".to_owned();
    run.bench = Some(read::bench(&fixture("bench.json")).unwrap());
    run.image = Some(serde_json::from_slice(&std::fs::read(fixture("image.json")).unwrap()).unwrap());
    run
}

fn unfinished() -> Run {
    Run { name: "runs/deep".to_owned(), ..read::run(&fixture("unfinished")).unwrap() }
}

/// Tags without content, and those that close themselves.
const VOID: [&str; 2] = ["meta", "!doctype"];

/// Headings, and how many of everything stand under each; panics where tags do not match.
fn outline(page: &str) -> String {
    let (mut open, mut outline) = (Vec::new(), String::new());
    let mut counts = std::collections::BTreeMap::new();
    let flush = |outline: &mut String, counts: &mut std::collections::BTreeMap<String, usize>| {
        for (tag, count) in std::mem::take(counts) {
            writeln!(outline, "    {count:3} {tag}").unwrap();
        }
    };
    let body = &page[page.find("</style>").unwrap()..];
    let (mut rest, mut heading) = (body.strip_prefix("</style>").unwrap(), None::<usize>);
    open.extend(["html", "head"]);
    while let Some(start) = rest.find('<') {
        if let Some(level) = heading.take() {
            flush(&mut outline, &mut counts);
            writeln!(outline, "{}{}", "  ".repeat(level - 1), &rest[..start]).unwrap();
        }
        let end = start + rest[start..].find('>').expect("a tag ends");
        let tag = &rest[start + 1..end];
        let name = tag.split([' ', '/']).find(|name| !name.is_empty()).unwrap_or_default();
        if let Some(closed) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(closed), "tags match");
        } else if !tag.ends_with('/') && !VOID.contains(&name) {
            open.push(name);
            *counts.entry(name.to_owned()).or_insert(0) += 1;
        }
        heading = ["h1", "h2", "h3"].iter().position(|heading| *heading == tag).map(|level| level + 1);
        rest = &rest[end + 1..];
    }
    flush(&mut outline, &mut counts);
    assert!(open.is_empty(), "{open:?} are left open");
    outline
}

/// What any page promises.
fn check(page: &str) {
    outline(page);
    for elsewhere in ["http", "src=", "url(", "<script", "<link", "<iframe", "@import", "NaN", "inf<", "href=\"/"] {
        assert!(!page.contains(elsewhere), "{elsewhere}");
    }
    let charts = page.matches("<svg ").count();
    assert_eq!(page.matches("role=\"img\" aria-label=\"").count(), charts);
    for chart in page.split("<svg ").skip(1) {
        let title = chart.split_once("><title>").and_then(|(_, rest)| rest.split_once("</title>")).unwrap().0;
        assert!(title.len() > 10 && title.ends_with('.'), "a chart has a title: {title}");
    }
}

fn page(run: &Run) -> String {
    let page = html::page(run).unwrap();
    check(&page);
    page
}

#[test]
fn a_finished_run_in_the_terminal() {
    insta::assert_snapshot!(text::summary(&finished()));
}

#[test]
fn an_unfinished_run_in_the_terminal() {
    insta::assert_snapshot!(text::summary(&unfinished()));
}

#[test]
fn a_finished_run_as_a_page() {
    let page = page(&finished());
    assert!(page.len() < 200_000);
    insta::assert_snapshot!(outline(&page));
}

#[test]
fn an_unfinished_run_as_a_page() {
    let page = page(&unfinished());
    assert!(page.contains("This run is not finished"));
    insta::assert_snapshot!(outline(&page));
}

#[test]
fn an_unfinished_run_says_what_it_was_asked() {
    let run = Run { asked: finished().asked, ..unfinished() };
    assert_eq!(run.state(), State::Unfinished);
    let page = page(&run);
    assert!(page.contains("weight bits to choose from") && !page.contains("Not in this run: a search writes down"));
    assert!(page.contains("give as many passes over the tuning images as make"));
    let mut later = finished();
    later.later = later.asked.clone();
    for text in [html::page(&later).unwrap(), text::summary(&later)] {
        assert!(text.to_lowercase().contains("a later search here was asked something else, and has no result yet"));
    }
}

#[test]
fn the_document_says_what_the_page_shows() {
    let run = finished();
    let document = serde_json::to_value(Document::of(&run)).unwrap();
    assert_eq!((&document["schema"], &document["state"]), (&1.into(), &"finished".into()));
    assert_eq!(document["outcome"]["plan"], "2:4,2:4,2:8,2:8");
    assert!(document["repeat"].as_str().unwrap().contains("--epochs 0.2"));
    assert_eq!(document["bench"]["board"], "virt-m4");
    let unfinished = serde_json::to_value(Document::of(&unfinished())).unwrap();
    assert_eq!((&unfinished["state"], &unfinished["repeat"]), (&"unfinished".into(), &serde_json::Value::Null));
}

#[test]
fn a_run_of_an_older_version_says_what_it_does_not_know() {
    let mut run = finished();
    let outcome = run.outcome.as_mut().unwrap();
    (outcome.confusion, outcome.epochs, run.bench, run.image) = (None, None, None, None);
    let page = page(&run);
    assert!(page.contains("Not in this run: its version of releq kept no answers"));
    assert!(page.contains("This run does not say how many --epochs"));
    assert!(page.contains("Name what <code>releq bench --export-json</code> wrote"));
}

#[test]
fn another_image_is_measured_beside_its_own_predictions() {
    let mut run = finished();
    run.bench.as_mut().unwrap().images[0].crc = "another".to_owned();
    let page = page(&run);
    assert!(page.contains("None of these images is that of the chosen plan") && page.contains("Layers of runs"));
    assert!(!text::summary(&run).contains("error"));
}

/// A plan that diverged is named with its reason, and stands nowhere among those that may be chosen.
#[test]
fn what_diverged_is_said_and_not_drawn() {
    let mut run = finished();
    let dots = page(&run).matches("<title>").count();
    let why = "training diverged at step 3: the loss is NaN; lower the learning rate or raise the bit-widths";
    let diverged = Some(why.to_owned());
    let images = Some(128);
    let plan = "1:2,1:2,1:2,1:2".to_owned();
    run.measurements.push(Measurement {
        plan: plan.clone(),
        images,
        diverged: diverged.clone(),
        ..Measurement::default()
    });
    let outcome = run.outcome.as_mut().unwrap();
    outcome.evaluated.push(Evaluated {
        plan: plan.clone(),
        loss: Some(100.0),
        value: None,
        diverged: diverged.clone(),
    });
    run.front.as_mut().unwrap().diverged.push(Diverged { plan: plan.clone(), why: why.to_owned() });
    assert_eq!(run.diverged(), [(plan.as_str(), images, why)]);
    assert!(text::summary(&run).contains(&format!("diverged {plan}, never chosen: {why}\n")));
    // A reason may name what is no number; the page itself never does.
    let page = html::page(&run).unwrap();
    outline(&page);
    assert!(page.contains("Plans that diverged") && page.contains(why));
    assert_eq!(page.matches("<title>").count(), dots, "it has no dot");
    run.comparison.push(Rival { kind: "random".to_owned(), plan: Some(plan), diverged, ..Rival::default() });
    assert!(text::summary(&run).contains("random, diverged"));
}

#[test]
fn nothing_and_next_to_nothing_are_reported() {
    page(&Run::default());
    let raced = Run { race: vec![Standing::default()], ..Run::default() };
    assert_eq!(raced.state(), State::Raced);
    page(&raced);
    page(&Run { outcome: Some(Outcome::default()), ..Run::default() });
    let one = Episode { plan: "3".to_owned(), policy: vec![vec![Some(1.0)]], ..Episode::default() };
    page(&Run { episodes: vec![one], asked: Some(Asked::default()), ..Run::default() });
    for run in [Run::default(), raced] {
        assert!(!text::summary(&run).is_empty());
    }
}

#[test]
fn what_is_no_number_is_a_dash() {
    for nothing in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let mut run = finished();
        for episode in &mut run.episodes[1..] {
            (episode.accuracy, episode.value, episode.rewards) = (Some(nothing), Some(nothing), vec![Some(nothing)]);
            episode.state_of_quantization = Some(nothing);
            episode.policy.iter_mut().flatten().for_each(|chance| *chance = Some(nothing));
        }
        let outcome = run.outcome.as_mut().unwrap();
        (outcome.loss, outcome.final_top1, outcome.loss_interval) = (Some(nothing), Some(nothing), Some([nothing; 2]));
        outcome.evaluated.iter_mut().for_each(|one| one.loss = Some(nothing));
        outcome.layers.iter_mut().for_each(|layer| layer.cost = Some(nothing));
        run.comparison.iter_mut().for_each(|rival| rival.loss = Some(nothing));
        run.race.iter_mut().for_each(|standing| standing.anytime = vec![Some(nothing); 3]);
        run.front.as_mut().unwrap().points.iter_mut().for_each(|point| point.loss = Some(nothing));
        page(&run);
        assert!(!text::summary(&run).contains("NaN"));
    }
}

#[test]
fn names_stay_names_whatever_they_hold() {
    const HOSTILE: &str = "</title></svg><script>alert(1)</script>\"' onload=x \u{1b}[2J`&amp;";
    let mut run = finished();
    run.name = HOSTILE.to_owned();
    let outcome = run.outcome.as_mut().unwrap();
    for name in [&mut outcome.model, &mut outcome.data, &mut outcome.agent, &mut outcome.plan] {
        *name = HOSTILE.to_owned();
    }
    (outcome.greedy, outcome.version, outcome.measured_on) =
        (Some(HOSTILE.into()), Some(HOSTILE.into()), Some(HOSTILE.into()));
    outcome.boards.iter_mut().for_each(|board| board.board = HOSTILE.to_owned());
    for layer in &mut outcome.layers {
        (layer.name, layer.kernel, layer.op) = (HOSTILE.into(), HOSTILE.into(), HOSTILE.into());
    }
    outcome.evaluated.push(Evaluated { plan: HOSTILE.to_owned(), loss: Some(0.1), ..Evaluated::default() });
    let asked = run.asked.as_mut().unwrap();
    for name in [&mut asked.model, &mut asked.agent, &mut asked.preset, &mut asked.minimize, &mut asked.key] {
        *name = HOSTILE.to_owned();
    }
    run.race.push(Standing { agent: HOSTILE.into(), plan: HOSTILE.into(), ..Standing::default() });
    run.comparison.push(Rival { kind: HOSTILE.into(), plan: Some(HOSTILE.into()), ..Rival::default() });
    run.measurements.iter_mut().filter_map(|one| one.cost.as_mut()).for_each(|cost| cost.unit = HOSTILE.to_owned());
    run.front.as_mut().unwrap().points[0].plan = HOSTILE.to_owned();
    let page = html::page(&run).unwrap();
    outline(&page);
    assert!(!page.contains("<script") && !page.contains("</title></svg>") && !page.contains("\" onload"));
    assert!(!text::summary(&run).contains('\u{1b}'));
}

/// A run of a network with `layers` layers, whose policy settles.
fn deep(layers: usize, episodes: usize) -> Run {
    let bits = |layer: usize, episode: usize| 2 + (layer * 5 + (episodes - episode) * 7 / episodes) % 7;
    let plan = |episode| (0..layers).map(|layer| bits(layer, episode).to_string()).collect::<Vec<_>>().join(",");
    let episode = |episode: usize| {
        let settled = episode as f64 / episodes as f64;
        let wobble = (episode * 7919 % 101) as f64 / 101.0;
        let chances = |layer: usize| {
            let chance = |action: usize| {
                if action == layer % 7 { 1.0 / 7.0 + 6.0 / 7.0 * settled } else { (1.0 - settled) / 7.0 }
            };
            (0..7).map(|action| Some(chance(action))).collect()
        };
        Episode {
            plan: plan(episode),
            accuracy: Some(0.7 + 0.2 * settled + 0.05 * wobble),
            state_of_quantization: Some(0.9 - 0.5 * settled + 0.1 * wobble),
            value: Some(settled + wobble / 5.0),
            rewards: vec![Some(settled + wobble / 5.0)],
            policy: (0..layers).map(chances).collect(),
        }
    };
    let evaluated = |episode: usize| Evaluated {
        plan: plan(episode),
        loss: Some(5.0 - 4.0 * episode as f64 / episodes as f64 + (episode * 31 % 17) as f64 / 17.0),
        ..Evaluated::default()
    };
    let layer = |layer: usize| Layer {
        name: format!("layer{}.conv{}", layer / 2, layer % 2),
        op: "conv2d".to_owned(),
        w: Some(bits(layer, episodes) as u8),
        cost: Some((1 + layer * 37 % 19) as f64 * 1e6),
        ..Layer::default()
    };
    Run {
        name: "runs/deep".to_owned(),
        asked: Some(Asked { weights: (2..=8).collect(), activations: vec![8], ..Asked::default() }),
        outcome: Some(Outcome {
            plan: plan(episodes),
            layers: (0..layers).map(layer).collect(),
            evaluated: (0..episodes).map(evaluated).collect(),
            ..Outcome::default()
        }),
        episodes: (0..episodes).map(episode).collect(),
        ..Run::default()
    }
}

#[test]
fn one_layer_and_two_hundred_fit_a_page() {
    for (layers, episodes) in [(1, 5), (20, 3000), (50, 3000), (200, 1500)] {
        let page = page(&deep(layers, episodes));
        assert!(page.len() < 1_000_000, "{layers} layers: {} bytes", page.len());
        // To be looked at, where somebody asks for it.
        if let Some(directory) = std::env::var_os("RELEQ_REPORT_PAGES") {
            std::fs::write(Path::new(&directory).join(format!("{layers}.html")), page).unwrap();
        }
    }
}
