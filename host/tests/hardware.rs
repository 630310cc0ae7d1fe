//! What a plan takes is known before it is trained: flash and RAM of any plan are those of the image that is built.

use std::time::Instant;

use proptest::prelude::*;
use releq::data::{self, Dataset, Which};
use releq::hardware::blueprint::Blueprint;
use releq::hardware::{Hardware, Place};
use releq::lower::lower;
use releq::network::Network;
use releq::train::quantize::{Method, Recipe, quantize};
use releq::zoo;
use releq_device::board::Board;
use releq_format::image::{Image, ImageBuffer};
use releq_search::plan::{BitPlan, LayerBits};

/// A few drawn digits; for networks of colours, the same noise that ranges can be learned from.
fn images(shape: [usize; 3]) -> Dataset {
    let noise = data::locate(Some("noise"), None).unwrap().shaped(shape).load(Which::Train).unwrap();
    noise.slice(0..16)
}

/// The image of `network`, quantized as a search does it, on real scales and ranges, but without a step of training.
fn built(network: &Network, plan: &BitPlan, method: Method, images: &Dataset) -> ImageBuffer {
    let recipe = match method {
        Method::Learned => Recipe::learned(0.0, 1),
        method => Recipe::authors(method, 0.0, 1),
    };
    let recipe = Recipe { calibration_images: 16, ..recipe };
    let quantized =
        quantize(network, plan, images, &recipe, None, &mut |_| std::ops::ControlFlow::Continue(())).unwrap();
    lower(&quantized).unwrap().image
}

fn plan(widths: &[(u8, u8)]) -> BitPlan {
    BitPlan::new(widths.iter().map(|&(weights, activations)| LayerBits { weights, activations }).collect()).unwrap()
}

fn same(name: &str, method: Method, plans: &[BitPlan], images: &Dataset) -> Result<(), TestCaseError> {
    let network = zoo::build(name, images.shape, 10, 7).unwrap();
    let board = Place::new(Board::by_name("virt-m4").unwrap(), None);
    let hardware = Hardware::new(&network, method, vec![board]).unwrap();
    for plan in plans {
        let image = built(&network, plan, method, images);
        let (drawn, own) = (hardware.taken(plan), hardware.taken_by(&Image::open(&image).unwrap()));
        prop_assert_eq!((drawn.flash, drawn.ram), (own.flash, own.ram), "{} {} {:?}", name, plan, method);
        // Times are predictions, but of the same work, down to how sums without a ReLU are centred; some has no price.
        let [drawn, own] = [drawn, own].map(|taken| taken.times[0].map(|time| time.instructions));
        prop_assert_eq!(drawn.is_some(), own.is_some(), "{} {}", name, plan);
        let apart = drawn.zip(own).map_or(0.0, |(drawn, own)| (drawn / own - 1.0).abs());
        prop_assert!(apart < 0.02, "{name} {plan} {method:?}: {drawn:?} {own:?}");
    }
    Ok(())
}

fn widths(layers: usize, narrowest: u8) -> impl Strategy<Value = BitPlan> {
    proptest::collection::vec((narrowest..=8u8, 1..=8u8), layers).prop_map(|widths| plan(&widths))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn lenets_flash_and_ram_are_known_to_the_byte(plan in widths(4, 1)) {
        same("lenet", Method::Learned, &[plan], &images([1, 28, 28]))?;
    }

    #[test]
    fn resnets_flash_and_ram_are_known_to_the_byte(plan in widths(10, 1)) {
        same("resnet8", Method::Learned, &[plan], &images([3, 32, 32]))?;
    }

    #[test]
    fn published_quantizers_are_known_too(plan in widths(5, 2)) {
        same("simplenet", Method::Dorefa, std::slice::from_ref(&plan), &images([3, 32, 32]))?;
        same("simplenet", Method::Wrpn, &[plan], &images([3, 32, 32]))?;
    }
}

#[test]
fn shortcuts_without_parameters_and_separable_layers_are_known() {
    let images = images([3, 32, 32]);
    for name in ["resnet20", "mobilenetv1-0.25"] {
        let layers = zoo::build(name, images.shape, 10, 7).unwrap().graph.weighted().len();
        let mixed: Vec<(u8, u8)> =
            (0..layers).map(|layer| (1 + (5 * layer % 8) as u8, 8 - (layer % 3) as u8)).collect();
        same(name, Method::Learned, &[plan(&mixed)], &images).unwrap();
    }
}

/// A search weighs thousands of plans between two trainings.
#[test]
fn a_plan_is_weighed_within_a_millisecond() {
    let network = zoo::build("resnet8", [3, 32, 32], 10, 7).unwrap();
    let blueprint = Blueprint::of(&network, Method::Learned).unwrap();
    let plans: Vec<BitPlan> = (0..512)
        .map(|index| {
            plan(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9].map(|layer: u32| (2 + ((index >> (layer % 9)) % 7) as u8, 8)))
        })
        .collect();
    plans.iter().for_each(|plan| drop(blueprint.draw(plan)));
    let started = Instant::now();
    plans.iter().for_each(|plan| drop(blueprint.draw(plan)));
    let each = started.elapsed() / plans.len() as u32;
    println!("{each:?} a plan of ResNet-8");
    assert!(each.as_micros() < 1000, "{each:?}");
}
