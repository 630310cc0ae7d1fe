//! Writes the seeds: golden images, and what passes between a host and a server. `seeds FOLDER`.

use std::error::Error;
use std::fs;
use std::path::Path;

use releq_format::wire::{Description, FaultCode, MAX_FRAME, PROTOCOL, Request, Response, Unit, encode};
use releq_fuzz::GOLDEN;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args_os().nth(1).ok_or("usage: seeds FOLDER")?;
    let folder = Path::new(&folder);
    save(&folder.join("image"), GOLDEN.iter().map(|image| image.to_vec()))?;
    save(&folder.join("wire"), frames().into_iter())?;
    // A server reads bytes as steps, so anything is a conversation; images are long ones.
    save(&folder.join("server"), GOLDEN.iter().map(|image| image.to_vec()))
}

fn save(folder: &Path, seeds: impl Iterator<Item = Vec<u8>>) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(folder)?;
    for (index, seed) in seeds.enumerate() {
        fs::write(folder.join(format!("seed-{index:02}")), seed)?;
    }
    Ok(())
}

/// A frame of each request and each answer, and the body of each.
fn frames() -> Vec<Vec<u8>> {
    let bytes = &GOLDEN[0][..64];
    let requests = [
        Request::Describe,
        Request::Open { length: 228, crc: 1 },
        Request::WriteInput { offset: 0, bytes },
        Request::Infer { runs: 3 },
        Request::ReadLogits { first: 0 },
        Request::ReadLayers { first: 0 },
        Request::ReadRuns,
        Request::SelfTest,
        Request::Spin { loops: 100 },
        Request::ReadKernel { layer: 0 },
        Request::WriteModel { offset: 0, bytes },
        Request::CheckModel { offset: 0, length: 228 },
        Request::ReadStack,
        Request::Reset,
    ];
    let about = Description {
        protocol: PROTOCOL,
        version: "0.1.0",
        board: "virt-m4",
        unit: Unit::Instructions,
        arena_bytes: 1 << 20,
        model_bytes: 1 << 20,
        writable: true,
        max_layers: 128,
        overhead: 7,
    };
    let responses = [
        Response::Description(about),
        Response::Opened { input_bytes: 4, outputs: 2, layers: 2 },
        Response::Done,
        Response::Inferred { top1: 1, steady: true },
        Response::Logits { bytes },
        Response::Layers { bytes },
        Response::SelfTested { passed: Some(true) },
        Response::Spun { count: 200 },
        Response::Fault { code: FaultCode::Garbled, detail: 0 },
        Response::Kernel { name: "packed::CONV2D" },
        Response::Runs { bytes },
        Response::Checksum { crc: 1 },
        Response::Stack { used: Some((1000, 4096)) },
    ];
    let requests = requests.iter().flat_map(both);
    requests.chain(responses.iter().flat_map(both)).collect()
}

/// A message as its frame and as its body.
fn both<M: serde::Serialize>(message: &M) -> [Vec<u8>; 2] {
    let mut frame = [0; MAX_FRAME];
    let length = encode(1, message, &mut frame).expect("it fits");
    let body = postcard::to_allocvec(&(1u32, message)).expect("a vector takes any message");
    [frame[..length].to_vec(), body]
}
