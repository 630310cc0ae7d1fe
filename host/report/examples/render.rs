//! Writes the report of a run without the rest of releq: `cargo run -p releq-report --example render RUN OUT.html [BENCH] [IMAGE]`,
//! where IMAGE is what `releq inspect --json` printed. For whoever works on the page.

use std::error::Error;
use std::path::Path;

use releq_report::{html, read, text};

fn main() -> Result<(), Box<dyn Error>> {
    let paths: Vec<String> = std::env::args().skip(1).collect();
    let [run, output, others @ ..] = &paths[..] else { return Err("give RUN OUT.html [BENCH] [IMAGE]".into()) };
    let mut run = read::run(Path::new(run))?;
    run.bench = others.first().map(|path| read::bench(Path::new(path))).transpose()?;
    if let Some(image) = others.get(1) {
        run.image = Some(serde_json::from_slice(&std::fs::read(image)?)?);
    }
    std::fs::write(output, html::page(&run)?)?;
    print!("{}", text::summary(&run));
    Ok(())
}
