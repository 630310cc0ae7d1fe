//! Budgets decide before anything is trained, hold on the image that is built, and cost a new board no training.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use releq::cost::nominal;
use releq::hardware::budget::Asked;
use releq::hardware::{Hardware, Place};
use releq::network::Network;
use releq::train::quantize::Method;
use releq::zoo;
use releq_device::board::Board;
use releq_search::budget::Limits;
use releq_search::plan::BitPlan;
use releq_search::space::Space;

fn lenet() -> &'static Network {
    static LENET: OnceLock<Network> = OnceLock::new();
    LENET.get_or_init(|| zoo::build("lenet", [1, 28, 28], 10, 1).unwrap())
}

/// LeNet on a Cortex-M4 at 168 MHz.
fn within(asked: Asked) -> Hardware {
    let places = vec![Place::new(Board::by_name("virt-m4").unwrap(), Some(168e6))];
    let limits = asked.limits(&places).unwrap();
    Hardware::new(lenet(), Method::Learned, places).unwrap().within(limits)
}

fn plan(text: &str) -> BitPlan {
    text.parse().unwrap()
}

/// What the message says would do, does; a byte, an instruction or a microsecond less does not.
#[test]
fn the_nearest_budget_is_the_least_that_would_do() {
    let space = Space::same(&[2, 3, 4, 8], 4).unwrap();
    let asked: [fn(f64) -> Asked; 4] = [
        |most| Asked { flash: Some(most as u64), ..Asked::default() },
        |most| Asked { ram: Some(most as u64), ..Asked::default() },
        |most| Asked { instructions: Some(most), ..Asked::default() },
        |most| Asked { latency: Some(Duration::from_secs_f64(most / 1e6)), ..Asked::default() },
    ];
    for asked in asked {
        let refusal = within(asked(1.0)).feasible(&space).unwrap_err();
        let text = refusal.to_string();
        let option = text.split("would do is --max-").nth(1).and_then(|rest| rest.split([' ', ',']).nth(1)).unwrap();
        let least: f64 = option.trim_end_matches("us").parse().unwrap();
        let hardware = within(asked(least));
        let found = hardware.feasible(&space).unwrap();
        assert!(space.contains(&found) && hardware.excess(&found) <= 0.0, "{text}");
        assert_eq!(hardware.excess(&refusal.nearest), 0.0, "{text}");
        assert!(within(asked(least - 2.0)).feasible(&space).is_err(), "{text}");
        for named in ["layer `", "give that"] {
            assert!(text.contains(named), "{text}");
        }
    }
}

/// Little flash wants narrow weights, which take long: each budget can be kept, both cannot.
#[test]
fn budgets_that_exclude_each_other_are_told_apart() {
    let space = Space::same(&[3, 8], 4).unwrap();
    let hardware = within(Asked::default());
    let [small, fast] = ["3,3,3,3", "8,8,8,8"].map(|text| hardware.taken(&plan(text)));
    let instructions = fast.times[0].unwrap().instructions;
    assert!(small.times[0].unwrap().instructions > instructions);
    let both = Asked { flash: Some(small.flash), instructions: Some(instructions), ..Asked::default() };
    let refusal = within(both).feasible(&space).unwrap_err().to_string();
    assert!(refusal.contains("together, though each alone can be kept"), "{refusal}");
    assert!(refusal.contains("nearest plan"), "{refusal}");
    let alone = Asked { instructions: None, ..both };
    assert_eq!(within(alone).feasible(&space).unwrap(), plan("3,3,3,3"));
}

#[test]
fn limits_bind_only_where_a_plan_breaks_them() {
    let space = Space::same(&[2, 4, 8], 4).unwrap();
    let widest = within(Asked::default()).taken(&space.widest()).flash;
    let flash = |most| within(Asked { flash: Some(most), ..Asked::default() });
    assert!(!flash(widest).binds(&space) && flash(widest - 1).binds(&space));
}

fn releq(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_releq"));
    command.current_dir(directory).env("CANDLE_NUM_THREADS", "1").args(arguments).stdin(Stdio::null());
    command.output().unwrap()
}

fn document(path: &Path) -> serde_json::Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

const SMALL: [&str; 18] = [
    "search",
    "net.safetensors",
    "--data",
    "glyphs",
    "--agent",
    "descent",
    "--weights",
    "2,4,8",
    "--episodes",
    "4",
    "--short",
    "64",
    "--long",
    "128",
    "--epochs",
    "0.01",
    "-o",
    "run",
];

fn measured(directory: &Path) -> usize {
    fs::read_to_string(directory.join("run/measurements.jsonl")).unwrap().lines().count()
}

/// One search within budgets: its image keeps them, another board is answered from what is known, and points of its front
/// become images, once fine-tuned and then from the shelf.
#[test]
fn a_run_answers_for_other_boards_and_other_points() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let train = ["train", "--model", "lenet", "--data", "glyphs", "--epochs", "0.05", "-o", "net.safetensors"];
    assert!(releq(here, &train).status.success());

    // Refused before the data is looked for.
    let refused = [&SMALL[..2], &["--data", "nowhere", "--max-flash", "50KiB", "-o", "never"]].concat();
    let output = releq(here, &refused);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("error: no plan keeps --max-flash 51200: "));
    assert!(!here.join("never").exists());

    let budgets = ["--max-flash", "150KiB", "--max-instructions", "9M"];
    let found = releq(here, &[&SMALL[..], &budgets].concat());
    assert_eq!(found.status.code(), Some(0), "{}", String::from_utf8_lossy(&found.stderr));
    let (result, once) = (document(&here.join("run/result.json")), measured(here));
    let image = fs::read(here.join("run/model.rlq")).unwrap();
    assert!(image.len() <= 150 * 1024);
    let budgets = result["budgets"].as_array().unwrap();
    assert_eq!((budgets.len(), &budgets[0]["got"]), (2, &(image.len() as f64).into()));
    assert!(budgets.iter().all(|budget| budget["kept"] == true && budget["margin"].as_f64().unwrap() >= 0.0));
    assert!(result["max_loss"].is_null(), "budgets alone ask for the least loss");

    // The same run for another board and other budgets trains nothing.
    let other = ["--board", "virt-m7", "--board", "virt-m33", "--max-flash", "300KiB"];
    let found = releq(here, &[&SMALL[..], &other].concat());
    assert_eq!(found.status.code(), Some(0), "{}", String::from_utf8_lossy(&found.stderr));
    assert_eq!(measured(here), once);
    let front = document(&here.join("run/front.json"));
    let points = front["points"].as_array().unwrap();
    assert!(!points.is_empty() && points.iter().all(|point| point["boards"].as_array().unwrap().len() == 2));

    let export = ["export", "run", "--pick", "smallest", "-o", "small.rlq", "--json"];
    let [first, again] = [0, 1].map(|_| {
        let output = releq(here, &export);
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        (report, fs::read(here.join("small.rlq")).unwrap())
    });
    assert_eq!((&again.0["trained"], &first.1), (&false.into(), &again.1));
    let least =
        points.iter().filter(|point| point["within"] == true).map(|point| point["flash"].as_u64().unwrap()).min();
    assert_eq!(first.1.len() as u64, least.unwrap());
    assert_eq!(measured(here), once);
    let missed = releq(here, &["export", "run", "--pick", "smallest", "-o", "small.rlq", "--max-flash", "50KiB"]);
    assert_eq!(missed.status.code(), Some(1));

    // Bytes of a change are those of the images.
    let why: serde_json::Value = serde_json::from_slice(&releq(here, &["why", "run", "--json"]).stdout).unwrap();
    let chosen: BitPlan = why["plan"].as_str().unwrap().parse().unwrap();
    let size = |plan: &BitPlan| nominal::image(lenet(), plan).unwrap().image.len() as i64;
    let changes = why["changes"].as_array().unwrap();
    assert!(changes.len() >= 4);
    for change in changes {
        let layer = ["conv1", "conv2", "fc1", "fc2"].iter().position(|name| change["layer"] == *name).unwrap();
        let mut widths: Vec<String> = chosen.weights().map(|bits| bits.to_string()).collect();
        widths[layer] = change["to"].to_string();
        assert_eq!(change["flash"], size(&plan(&widths.join(","))) - size(&chosen), "{change}");
        assert!(change["deviation"].as_f64().unwrap() >= 0.0);
    }
}
