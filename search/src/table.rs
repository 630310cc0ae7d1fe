//! Recorded accuracy: a table of plans and what each scored, so that searchers race without training anything.
//!
//! A table is a CSV file of one plan a row, weight bits (or weight and activation bits, `2:4`) then top-1 in percent, under
//! a header such as `b1,b2,b3,b4,top1`; a column `deviation` after it holds the deviation of that between trainings. What its rows do not say, the float accuracy and the layers' sizes, stands in a sidecar: a JSON
//! file `<stem>.json` or `table.json` next to it ([`Sidecar`]), or one of those this crate carries for the tables of
//! ReLeQ's authors (`lenet`, `cifar`, `svhn`, `vgg11`).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::evaluate::{Evaluator, Score};
use crate::network::Network;
use crate::objective::Objective;
use crate::plan::{BITS, BitPlan, LayerBits};
use crate::space::Space;

/// Accuracies of plans, all with equally many layers.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    accuracies: BTreeMap<BitPlan, f64>,
    deviations: BTreeMap<BitPlan, f64>,
    space: Space,
}

/// What a table's rows do not say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sidecar {
    /// The network and data set.
    pub network: String,
    /// Where the table and these numbers come from, one line each.
    pub source: Vec<String>,
    /// Accuracy of the float network, 0 to 1, by the same code on the same images.
    pub float_accuracy: f64,
    /// The layers that the table's columns stand for.
    pub layers: Network,
}

/// Why a table or its sidecar could not be read, or does not know a plan.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The file could not be read.
    #[error("{} could not be read: {cause}; check the path", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The first line names no columns.
    #[error("line 1 is `{0}`, which is no header; write one column a layer and the accuracy, like b1,b2,b3,b4,top1")]
    Header(String),
    /// A row with too few or too many fields.
    #[error("line {line} has {found} fields, but the header names {named}; give every layer's bits and the accuracy")]
    Fields {
        /// The line, counted from 1.
        line: usize,
        /// Fields in it.
        found: usize,
        /// Columns of the header.
        named: usize,
    },
    /// A width that is none.
    #[error("line {line} has `{field}` for bits; write a whole number from 1 to 8")]
    Bits {
        /// The line, counted from 1.
        line: usize,
        /// The field.
        field: String,
    },
    /// An accuracy that is none.
    #[error("line {line} has `{field}` for accuracy; write top-1 in percent, from 0 to 100")]
    Accuracy {
        /// The line, counted from 1.
        line: usize,
        /// The field.
        field: String,
    },
    /// A plan that an earlier row has.
    #[error("line {line} repeats plan {plan}; keep one row for each plan")]
    Repeated {
        /// The line, counted from 1.
        line: usize,
        /// The plan.
        plan: BitPlan,
    },
    /// Nothing after the header.
    #[error("the table has no row; add at least one plan and its accuracy below the header")]
    Empty,
    /// A plan that the table was asked for and does not have.
    #[error("the table has no row for plan {0}; record it, or search a table that is complete")]
    Missing(BitPlan),
    /// A sidecar that is no sidecar.
    #[error("the sidecar {} is not usable: {cause}; see the crate's tables/lenet.json for one that is", path.display())]
    Sidecar {
        /// The file.
        path: PathBuf,
        /// What is wrong, with its line.
        cause: serde_json::Error,
    },
    /// A sidecar for another table.
    #[error("the sidecar describes {described} layers, but the table has {columns}; give each column its layer")]
    Mismatch {
        /// Layers in the sidecar.
        described: usize,
        /// Columns of bits.
        columns: usize,
    },
    /// No sidecar anywhere.
    #[error("no sidecar was found for {}; write {}.json beside it, with its float accuracy and layers", path.display(), path.with_extension("").display())]
    NoSidecar {
        /// The table.
        path: PathBuf,
    },
}

impl Table {
    /// Reads the table at `path`.
    ///
    /// # Errors
    /// [`TableError`]
    pub fn read(path: &Path) -> Result<Self, TableError> {
        let text = fs::read_to_string(path).map_err(|cause| TableError::Read { path: path.to_owned(), cause })?;
        Self::parse(&text)
    }

    /// Reads a table from its text.
    ///
    /// # Errors
    /// [`TableError`], naming the line.
    pub fn parse(text: &str) -> Result<Self, TableError> {
        let mut lines = text.lines().zip(1..).map(|(line, number)| (line.trim(), number));
        let header = lines.next().map_or("", |(line, _)| line);
        let named = columns(header)?;
        let deviated = header.rsplit(',').next().is_some_and(|last| last.trim() == DEVIATION);
        let (mut accuracies, mut deviations) = (BTreeMap::new(), BTreeMap::new());
        for (line, number) in lines.filter(|(line, _)| !line.is_empty()) {
            let (plan, accuracy, deviation) = row(line, number, named, deviated)?;
            if accuracies.contains_key(&plan) {
                return Err(TableError::Repeated { line: number, plan });
            }
            deviations.extend(deviation.map(|deviation| (plan.clone(), deviation)));
            accuracies.insert(plan, accuracy);
        }
        let layers = named - 1 - usize::from(deviated);
        let space = spanned(&accuracies, layers).ok_or(TableError::Empty)?;
        Ok(Self { accuracies, deviations, space })
    }

    /// A table of plans with the mean and the deviation of their accuracies, both 0 to 1; none without a row.
    pub fn new(rows: impl IntoIterator<Item = (BitPlan, f64, f64)>) -> Option<Self> {
        let (mut accuracies, mut deviations) = (BTreeMap::new(), BTreeMap::new());
        for (plan, accuracy, deviation) in rows {
            accuracies.insert(plan.clone(), accuracy);
            deviations.insert(plan, deviation);
        }
        let layers = accuracies.keys().next()?.layers().len();
        Some(Self { space: spanned(&accuracies, layers)?, accuracies, deviations })
    }

    /// The table as [`parse`](Self::parse) reads it, in percent to three places.
    pub fn to_csv(&self) -> String {
        let columns = (1..=self.space.layers()).map(|layer| format!("b{layer},")).collect::<String>();
        let deviated = !self.deviations.is_empty();
        let header = format!("{columns}top1{}\n", if deviated { format!(",{DEVIATION}") } else { String::new() });
        let row = |(plan, accuracy): (&BitPlan, &f64)| {
            let deviation =
                self.deviations.get(plan).map_or(String::new(), |deviation| format!(",{:.3}", 100.0 * deviation));
            format!("{plan},{:.3}{deviation}\n", 100.0 * accuracy)
        };
        header + &self.accuracies.iter().map(row).collect::<String>()
    }

    /// Deviation of a plan's accuracy between trainings, 0 to 1, where the table has it.
    pub fn deviation(&self, plan: &BitPlan) -> Option<f64> {
        self.deviations.get(plan).copied()
    }

    /// The space its rows span: for each layer, the widths of its weights and of its activations that occur.
    pub fn space(&self) -> &Space {
        &self.space
    }

    /// Whether every plan of its space has a row.
    pub fn is_complete(&self) -> bool {
        self.accuracies.len() as u128 == self.space.count()
    }

    /// Every plan and its accuracy, 0 to 1, in the plans' order.
    pub fn accuracies(&self) -> &BTreeMap<BitPlan, f64> {
        &self.accuracies
    }

    /// The plan of the largest value and that value; the first in the plans' order among equals.
    pub fn optimum(&self, objective: &Objective) -> (BitPlan, f64) {
        let valued = self.accuracies.iter().map(|(plan, &accuracy)| (plan, objective.value(plan, accuracy)));
        let best = valued.reduce(|best, next| if next.1 > best.1 { next } else { best });
        best.map_or((self.space.widest(), f64::NEG_INFINITY), |(plan, value)| (plan.clone(), value))
    }
}

impl Evaluator for &Table {
    type Error = TableError;

    fn evaluate(&mut self, plan: &BitPlan) -> Result<Score, TableError> {
        let accuracy = self.accuracies.get(plan).ok_or_else(|| TableError::Missing(plan.clone()))?;
        Ok(Score { accuracy: *accuracy })
    }
}

/// The number of columns that a header names.
fn columns(header: &str) -> Result<usize, TableError> {
    let fields: Vec<&str> = header.split(',').map(str::trim).collect();
    let numbers = fields.iter().any(|field| field.parse::<f64>().is_ok() || field.is_empty());
    let least = if fields.last() == Some(&DEVIATION) { 3 } else { 2 };
    if fields.len() < least || numbers { Err(TableError::Header(header.to_owned())) } else { Ok(fields.len()) }
}

/// Name of the column that may follow the accuracy.
const DEVIATION: &str = "deviation";

/// A plan, its accuracy and, where there is such a column, the deviation of that.
fn row(text: &str, line: usize, named: usize, deviated: bool) -> Result<(BitPlan, f64, Option<f64>), TableError> {
    let fields: Vec<&str> = text.split(',').map(str::trim).collect();
    if fields.len() != named {
        return Err(TableError::Fields { line, found: fields.len(), named });
    }
    let (bits, numbers) = fields.split_at(named - 1 - usize::from(deviated));
    let layers = bits.iter().map(|field| layer(field, line)).collect::<Result<_, _>>()?;
    let accuracy = percent(numbers[0], line)?;
    let deviation = numbers.get(1).map(|field| percent(field, line)).transpose()?;
    Ok((BitPlan::from_checked(layers), accuracy, deviation))
}

/// A field of 0 to 100 as a share.
fn percent(field: &str, line: usize) -> Result<f64, TableError> {
    let percent = field.parse().ok().filter(|percent| (0.0..=100.0).contains(percent));
    percent.map(|percent: f64| percent / 100.0).ok_or_else(|| TableError::Accuracy { line, field: field.to_owned() })
}

/// A layer's bits, as plans write them.
fn layer(field: &str, line: usize) -> Result<LayerBits, TableError> {
    let error = || TableError::Bits { line, field: field.to_owned() };
    let plan: BitPlan = field.parse().map_err(|_| error())?;
    plan.layers().first().copied().ok_or_else(error)
}

/// The widths that occur in each of `layers` columns; activations that all have 8 bits are no choice.
fn spanned(rows: &BTreeMap<BitPlan, f64>, layers: usize) -> Option<Space> {
    let occurring = |of: fn(&LayerBits) -> u8, layer: usize| -> Vec<u8> {
        let widths: BTreeSet<u8> = rows.keys().map(|plan| of(&plan.layers()[layer])).collect();
        widths.into_iter().collect()
    };
    let weights = (0..layers).map(|layer| occurring(|bits| bits.weights, layer)).collect();
    let activations = (0..layers).map(|layer| (layer + 1, occurring(|bits| bits.activations, layer)));
    let mut searched = activations.filter(|(_, widths)| *widths != [*BITS.end()]);
    searched.try_fold(Space::new(weights).ok()?, |space, (layer, widths)| space.handing_on(layer, &widths).ok())
}

/// Sidecars of the tables that ReLeQ's authors published, by the tables' stems.
const CARRIED: [(&str, &str); 4] = [
    ("lenet", include_str!("../tables/lenet.json")),
    ("cifar", include_str!("../tables/cifar.json")),
    ("svhn", include_str!("../tables/svhn.json")),
    ("vgg11", include_str!("../tables/vgg11.json")),
];

impl Sidecar {
    /// The sidecar of the table at `path`: `<stem>.json` beside it, else `table.json` beside it, else the carried one.
    ///
    /// # Errors
    /// [`TableError`] if there is none, or the one found cannot be read.
    pub fn of(path: &Path) -> Result<Self, TableError> {
        let beside = [path.with_extension("json"), path.with_file_name("table.json")];
        if let Some(found) = beside.into_iter().find(|candidate| candidate.is_file()) {
            let text = fs::read_to_string(&found).map_err(|cause| TableError::Read { path: found.clone(), cause })?;
            return serde_json::from_str(&text).map_err(|cause| TableError::Sidecar { path: found, cause });
        }
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        Self::carried(stem).ok_or_else(|| TableError::NoSidecar { path: path.to_owned() })
    }

    /// The sidecar this crate carries for the authors' table `stem`, if it is one of theirs.
    pub fn carried(stem: &str) -> Option<Self> {
        let (_, text) = CARRIED.iter().find(|(name, _)| *name == stem)?;
        serde_json::from_str(text).ok()
    }

    /// Checks that it has one layer for each column of `table`.
    ///
    /// # Errors
    /// [`TableError::Mismatch`]
    pub fn fits(&self, table: &Table) -> Result<(), TableError> {
        let (described, columns) = (self.layers.layers().len(), table.space.layers());
        if described == columns { Ok(()) } else { Err(TableError::Mismatch { described, columns }) }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::network::StateOfQuantization;
    use crate::objective::{Contest, Goal};
    use crate::reward::Reward;

    /// The authors' table `stem`, if the data directory is there.
    pub(crate) fn recorded(stem: &str) -> Option<(Table, Sidecar)> {
        let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
        let data = std::env::var_os("RELEQ_DATA").map_or(beside, PathBuf::from);
        let path = data.join(format!("oracles/{stem}.csv"));
        if !path.is_file() {
            println!("skipped: no data at {}", path.display());
            return None;
        }
        Some((Table::read(&path).unwrap(), Sidecar::of(&path).unwrap()))
    }

    fn parse(text: &str) -> String {
        Table::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn errors_name_line_cause_and_remedy() {
        assert_eq!(
            parse("2,2,50"),
            "line 1 is `2,2,50`, which is no header; write one column a layer and the accuracy, like b1,b2,b3,b4,top1"
        );
        assert_eq!(
            parse("b1,b2,top1\n2,2,50\n\n2,50"),
            "line 4 has 2 fields, but the header names 3; give every layer's bits and the accuracy"
        );
        assert_eq!(parse("b1,top1\n9,50"), "line 2 has `9` for bits; write a whole number from 1 to 8");
        assert_eq!(parse("b1,top1\n2,NaN"), "line 2 has `NaN` for accuracy; write top-1 in percent, from 0 to 100");
        assert_eq!(parse("b1,top1\n2,50\n2,50"), "line 3 repeats plan 2; keep one row for each plan");
        assert_eq!(parse("b1,top1\n"), "the table has no row; add at least one plan and its accuracy below the header");
    }

    #[test]
    fn a_table_with_deviations_comes_back() {
        let plans = ["1,2", "2,2"].map(|plan| plan.parse::<BitPlan>().unwrap());
        let rows = plans.iter().cloned().zip([0.9, 0.95]).map(|(plan, accuracy)| (plan, accuracy, 0.00125));
        let table = Table::new(rows).unwrap();
        assert_eq!(table.to_csv(), "b1,b2,top1,deviation\n1,2,90.000,0.125\n2,2,95.000,0.125\n");
        let read = Table::parse(&table.to_csv()).unwrap();
        assert_eq!((read.space(), read.deviation(&plans[0])), (table.space(), Some(0.00125)));
        assert_eq!(Table::parse("b1,top1\n2,50").unwrap().deviation(&"2".parse().unwrap()), None);
        assert!(matches!(Table::parse("b1,deviation\n2,50"), Err(TableError::Header(_))));
    }

    #[test]
    fn a_table_with_activations_comes_back() {
        let text = "b1,b2,b3,top1\n2:4,2:8,3:8,90.000\n2:8,2:8,3:8,95.000\n";
        let table = Table::parse(text).unwrap();
        assert_eq!(
            table.space(),
            &Space::new(vec![vec![2], vec![2], vec![3]]).unwrap().handing_on(1, &[4, 8]).unwrap()
        );
        assert!(table.is_complete());
        assert_eq!(table.to_csv(), text.replace("2:8,2:8,3:8", "2,2,3"));
        assert_eq!(Table::parse(&table.to_csv()).unwrap(), table);
        assert_eq!(parse("b1,top1\n2:9,50"), "line 2 has `2:9` for bits; write a whole number from 1 to 8");
    }

    #[test]
    fn a_missing_plan_is_an_error_that_names_it() {
        let table = Table::parse("b1,b2,top1\r\n2,2,50\r\n3,3,60\r\n").unwrap();
        assert!(!table.is_complete());
        assert_eq!((&table).evaluate(&"3,3".parse().unwrap()).unwrap().accuracy, 0.6);
        let missing = (&table).evaluate(&"2,3".parse().unwrap()).unwrap_err().to_string();
        assert_eq!(missing, "the table has no row for plan 2,3; record it, or search a table that is complete");
    }

    #[test]
    fn a_sidecar_beside_the_table_wins_over_a_carried_one() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("lenet.csv");
        assert_eq!(Sidecar::of(&path).unwrap().float_accuracy, 0.998);
        let mut own = Sidecar::carried("lenet").unwrap();
        own.float_accuracy = 0.9938;
        fs::write(room.path().join("table.json"), serde_json::to_string(&own).unwrap()).unwrap();
        assert_eq!(Sidecar::of(&path).unwrap(), own);
        fs::write(room.path().join("lenet.json"), "{\n  \"network\": 3\n}").unwrap();
        let message = Sidecar::of(&path).unwrap_err().to_string();
        assert!(message.contains("line 2") && message.contains("lenet.json"), "{message}");
        assert!(matches!(Sidecar::of(Path::new("nowhere/own.csv")), Err(TableError::NoSidecar { .. })));
        let two = Table::parse("b1,b2,top1\n2,2,50").unwrap();
        assert!(matches!(own.fits(&two), Err(TableError::Mismatch { described: 4, columns: 2 })));
    }

    #[test]
    fn every_carried_sidecar_fits_its_table() {
        for (stem, _) in CARRIED {
            assert!(Sidecar::carried(stem).is_some(), "{stem}");
            if let Some((table, sidecar)) = recorded(stem) {
                sidecar.fits(&table).unwrap();
                assert_eq!(table.is_complete(), stem == "lenet");
            }
        }
    }

    #[test]
    fn optima_of_the_complete_table() {
        let Some((table, sidecar)) = recorded("lenet") else { return };
        let value = |text: &str, objective: &Objective| {
            let plan: BitPlan = text.parse().unwrap();
            objective.value(&plan, table.accuracies()[&plan])
        };
        for (contest, optimum) in
            [(Contest::Paper, "2,2,3,2"), (Contest::Floor, "2,3,3,4"), (Contest::Authors, "2,2,3,3")]
        {
            let objective = contest.objective(table.space(), sidecar.layers.clone(), sidecar.float_accuracy);
            assert_eq!(table.optimum(&objective).0.to_string(), optimum, "{contest}");
        }
        let paper = Contest::Paper.objective(table.space(), sidecar.layers.clone(), sidecar.float_accuracy);
        for (text, golden) in [("2,2,3,2", 0.2184), ("2,3,2,2", 0.2128), ("2,2,3,3", 0.2066)] {
            assert!((value(text, &paper) - golden).abs() < 5e-5, "{text}");
        }
        let goal = Goal::Reward(Reward::paper());
        let energy = Objective::new(goal, StateOfQuantization::Energy, sidecar.layers, sidecar.float_accuracy);
        assert_eq!(table.optimum(&energy).0.to_string(), "3,2,2,4");
        assert!((value("3,2,2,4", &energy) - 0.2386).abs() < 5e-5);
    }

    #[test]
    fn optimum_of_simplenet_under_the_logs_reward() {
        let Some((table, sidecar)) = recorded("cifar") else { return };
        let goal = Goal::Reward(Reward::log(2));
        let objective = Objective::new(goal, StateOfQuantization::Mean, sidecar.layers, sidecar.float_accuracy);
        let (plan, value) = table.optimum(&objective);
        assert_eq!(plan.to_string(), "4,4,5,5,3");
        assert!((value - 0.5361).abs() < 5e-5, "{value}");
    }
}
