//! A bit-width per layer chosen by hand: quantize, fine-tune, lower, and compare the integer engine with floats.
//!
//! `cargo run --example plan_by_hand -- lenet.onnx 2,2,3,2 mnist`

use std::error::Error;
use std::ops::ControlFlow;
use std::path::PathBuf;

use releq::data::{self, Which};
use releq::target::native;
use releq::train::fit;
use releq::train::integer::IntegerModel;
use releq::train::model::Model;
use releq::train::quantize::{Recipe, quantize};
use releq::{checkpoint, lower};
use releq_format::image::Image;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let model = PathBuf::from(arguments.next().ok_or("usage: plan_by_hand MODEL [PLAN] [DATA] [EPOCHS]")?);
    let plan = arguments.next().unwrap_or_else(|| "2,2,3,2".into()).parse()?;
    let source = data::locate(arguments.next().as_deref(), None)?;
    let epochs = arguments.next().map_or(Ok(1.0), |epochs| epochs.parse())?;

    let network = checkpoint::load(&model)?;
    let (train, test) = (source.load(Which::Train)?, source.load(Which::Test)?);
    println!("float      {:.2} %", 100.0 * fit::accuracy(&Model::new(&network)?, &test)?);

    let recipe = Recipe::learned(epochs, 1);
    let started = std::time::Instant::now();
    let quantized = quantize(&network, &plan, &train, &recipe, None, &mut |_| ControlFlow::Continue(()))?;
    println!("quantized  in {:.1} s", started.elapsed().as_secs_f64());

    let lowered = lower::lower(&quantized)?;
    let expected = IntegerModel::new(&lowered.integers).answers(&test)?;
    println!("quantized  {:.2} %", 100.0 * fit::correct(&expected, &test) as f64 / test.len() as f64);

    let image = Image::open(&lowered.image)?;
    let started = std::time::Instant::now();
    let integer = native::answers(&image, &test)?;
    let agree = integer.iter().zip(&expected).filter(|(one, other)| one == other).count();
    println!(
        "integer    {:.2} %, agrees on {agree} of {}, {} bytes, arena {}, {:.1} s",
        100.0 * fit::correct(&integer, &test) as f64 / test.len() as f64,
        test.len(),
        image.len(),
        image.arena_bytes(),
        started.elapsed().as_secs_f64(),
    );
    Ok(())
}
