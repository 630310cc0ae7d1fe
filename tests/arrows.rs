//! The house's arrows: which crate may depend on which, read from the manifests as cargo understands them.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// Every arrow there may be, outside of tests.
const ALLOWED: [(&str, &str); 11] = [
    ("releq-device", "releq-format"),
    ("releq-search", "releq-format"),
    ("releq", "releq-format"),
    ("releq", "releq-device"),
    ("releq", "releq-search"),
    ("releq", "releq-probe"),
    ("releq", "releq-report"),
    ("releq-plugin", "releq-cycles"),
    ("releq-firmware", "releq-format"),
    ("releq-firmware", "releq-device"),
    // The board table renders the firmware's linker scripts.
    ("releq-firmware (build)", "releq-device"),
];

/// `(package, what it depends on)` for our own packages, without test dependencies.
fn arrows(manifest: &Path) -> BTreeSet<(String, String)> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline", "--manifest-path"])
        .arg(manifest)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let mut arrows = BTreeSet::new();
    for package in metadata["packages"].as_array().unwrap() {
        for dependency in package["dependencies"].as_array().unwrap() {
            let kind = text(&dependency["kind"]);
            if kind != "dev" && text(&dependency["name"]).starts_with("releq") {
                let build = if kind == "build" { " (build)" } else { "" };
                arrows.insert((format!("{}{build}", text(&package["name"])), text(&dependency["name"])));
            }
        }
    }
    arrows
}

#[test]
fn crates_depend_only_downwards() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = arrows(&root.join("Cargo.toml"));
    found.extend(arrows(&root.join("device/firmware/Cargo.toml")));
    let allowed: BTreeSet<_> = ALLOWED.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect();
    assert_eq!(found, allowed);
}
