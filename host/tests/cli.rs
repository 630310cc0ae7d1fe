//! The command as a user meets it when something is wrong: every message and exit code, in one snapshot.
//!
//! `cargo insta review`, or INSTA_UPDATE=always, takes a changed table.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use releq::signing::PrivateKey;
use releq_format::bits::{BitWidth, Levels};
use releq_format::graph::{KernelHint, LayerRecord, Op, Region, Storage, TensorRecord, Weights};
use releq_format::image::{Header, Image, ImageBuffer, ImageBuilder, SelfTest};
use releq_format::pack::Layout;
use releq_format::quant::Channel;

fn releq(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_releq"));
    command.current_dir(directory).env_clear().stdin(Stdio::null());
    command
}

/// What was typed, how it ended, and all it said; `dir` is where it ran.
fn transcript(directory: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let output = releq(directory).args(arguments).envs(environment.iter().copied()).output().unwrap();
    let code = output.status.code().map_or("killed".to_owned(), |code| code.to_string());
    let mut text = format!("$ releq {}\nexit {code}\n", arguments.join(" "));
    for stream in [&output.stdout, &output.stderr] {
        text += &String::from_utf8_lossy(stream);
    }
    let here = fs::canonicalize(directory).unwrap();
    text.replace(&here.display().to_string(), "DIR").replace(&directory.display().to_string(), "DIR")
}

const TINY: &[u8] = include_bytes!("../../format/golden/v1/tiny.rlq");

/// An image of one dense layer with more weights than the boards' model region holds.
fn too_large() -> Vec<u8> {
    let input = TensorRecord {
        height: 1,
        width: 1,
        channels: 60_000,
        bits: BitWidth::EIGHT,
        zero_point: 0,
        storage: Storage::Bits8,
        offset: 0,
    };
    let output = TensorRecord { channels: 100, storage: Storage::Logits, offset: 60_000, ..input };
    let mut builder = ImageBuilder::new();
    let codes = builder.section(&vec![0; 100 * 60_000]);
    let channels = builder.channels(&vec![Channel { bias: 0, multiplier: 1 }; 100]);
    let bits = BitWidth::EIGHT;
    let weights = Weights { bits, levels: Levels::TwosComplement, layout: Layout::Bytes, shift: 0, codes, channels };
    let op = Op::Dense { weights };
    let scratch = Region { offset: 60_400, bytes: 0 };
    builder.layer(&LayerRecord { name: "fc1", op, inputs: [0, 0], output, scratch, kernel: KernelHint::REFERENCE });
    let unit = 1f32.to_bits();
    let header = Header {
        name: "wide",
        input,
        input_scale: unit,
        normalisation: &vec![0; 8 * 60_000],
        logit_scale: unit,
        self_test: SelfTest { seed: 0, digest: 0 },
        layers: 0,
    };
    builder.finish(header, 60_400).unwrap().to_vec()
}

/// A length-delimited protobuf field.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    assert!(bytes.len() < 128, "one length byte");
    [&[number << 3 | 2, bytes.len() as u8][..], bytes].concat()
}

/// An ONNX model of one node, `Erf` called `gelu/erf`, on a 1×1×28×28 input.
fn unsupported_onnx() -> Vec<u8> {
    let sizes = [1u8, 1, 28, 28].map(|size| field(1, &[1 << 3, size])).concat();
    let tensor = [vec![1 << 3, 1], field(2, &sizes)].concat();
    let input = [field(1, b"x"), field(2, &field(1, &tensor))].concat();
    let node = [field(1, b"x"), field(2, b"y"), field(3, b"gelu/erf"), field(4, b"Erf")].concat();
    let graph = [field(1, &node), field(2, b"net"), field(11, &input), field(12, &field(1, b"y"))].concat();
    [vec![1 << 3, 8], field(7, &graph), field(8, &[2 << 3, 17])].concat()
}

/// A safetensors file of another tool with LeNet's first weights and a batch norm's counter.
fn weights_alone() -> Vec<u8> {
    let header = r#"{"bn1.num_batches_tracked":{"dtype":"I64","shape":[],"data_offsets":[2000,2008]},"conv1.weight":{"dtype":"F32","shape":[20,1,5,5],"data_offsets":[0,2000]}}"#;
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[0; 2008]].concat()
}

/// A file of LeNet with a weight that is no number, and one whose last numbers are too large to be added up.
fn overflowing(lenet: &releq::network::Network, directory: &Path) {
    let mut large = lenet.clone();
    large.parameters.get_mut("fc2.weight").unwrap().data.fill(f32::MAX);
    releq::checkpoint::save(&large, &directory.join("overflowing.safetensors")).unwrap();
    let mut bytes = fs::read(directory.join("lenet.safetensors")).unwrap();
    let last = bytes.len() - 4;
    bytes[last..].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(directory.join("diverged.safetensors"), bytes).unwrap();
}

/// Four MNIST files, the training images cut short.
fn truncated_idx(directory: &Path) {
    fs::create_dir(directory).unwrap();
    let images = |count: u32| [&[0, 0, 8, 3][..], &count.to_be_bytes(), &[0, 0, 0, 28, 0, 0, 0, 28]].concat();
    let labels = |count: u32| [&[0, 0, 8, 1][..], &count.to_be_bytes(), &vec![0; count as usize]].concat();
    for (name, bytes) in [
        ("train-images-idx3-ubyte", [images(9), vec![7; 1000]].concat()),
        ("train-labels-idx1-ubyte", labels(9)),
        ("t10k-images-idx3-ubyte", [images(1), vec![7; 784]].concat()),
        ("t10k-labels-idx1-ubyte", labels(1)),
    ] {
        fs::write(directory.join(name), bytes).unwrap();
    }
}

fn fill(directory: &Path) {
    fs::write(directory.join("tiny.rlq"), TINY).unwrap();
    let mut flipped = TINY.to_vec();
    flipped[TINY.len() / 2] ^= 4;
    fs::write(directory.join("flipped.rlq"), flipped).unwrap();
    let mut newer = TINY.to_vec();
    newer[4] = 9;
    fs::write(directory.join("newer.rlq"), newer).unwrap();
    fs::write(directory.join("short.rlq"), &TINY[..60]).unwrap();
    fs::write(directory.join("poem.rlq"), "Shall I compare thee to a summer's day? ".repeat(9)).unwrap();
    fs::write(directory.join("wide.rlq"), too_large()).unwrap();
    fs::write(directory.join("erf.onnx"), unsupported_onnx()).unwrap();
    fs::write(directory.join("plain.safetensors"), weights_alone()).unwrap();
    let lenet = releq::zoo::build("lenet", [1, 28, 28], 10, 1).unwrap();
    releq::checkpoint::save(&lenet, &directory.join("lenet.safetensors")).unwrap();
    overflowing(&lenet, directory);
    let key = PrivateKey::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/keys/test.key")).unwrap();
    key.write(&directory.join("ours")).unwrap();
    PrivateKey::generate().unwrap().write(&directory.join("others")).unwrap();
    let tiny = ImageBuffer::from(TINY);
    fs::write(directory.join("signed.rlq"), &key.sign(&Image::open(&tiny).unwrap())[..]).unwrap();
    fs::write(directory.join("poem.onnx"), "Thou art more lovely and more temperate").unwrap();
    fs::write(directory.join("poem.tflite"), "So long lives this, and this gives life to thee").unwrap();
    fs::write(directory.join("cut.tflite"), b"\x40\0\0\0TFL3 and no more").unwrap();
    fs::create_dir(directory.join("floats")).unwrap();
    let floats = b"\x93NUMPY\x01\0\x3A\0{'descr': '<f4', 'fortran_order': False, 'shape': (1, 4)}\n";
    for name in ["x_test.npy", "y_test.npy"] {
        fs::write(directory.join("floats").join(name), floats).unwrap();
    }
    fs::write(directory.join("own.csv"), "b1,b2,top1\n2,2,50\n2,8,90\n8,2,80\n8,8,99\n").unwrap();
    fs::write(directory.join("torn.csv"), "b1,b2,top1\n2,2,50\n2,8\n").unwrap();
    fs::create_dir(directory.join("run")).unwrap();
    fs::write(directory.join("run/episodes.jsonl"), "").unwrap();
    fs::create_dir(directory.join("torn")).unwrap();
    fs::write(directory.join("torn/result.json"), "{").unwrap();
    truncated_idx(&directory.join("cut"));
    fs::create_dir_all(directory.join("spoken/recordings")).unwrap();
    fs::write(directory.join("spoken/recordings/7_ann_5.wav"), b"RIFF\0\0\0\0WAVE").unwrap();
    fs::create_dir(directory.join("packed")).unwrap();
    fs::write(directory.join("packed/recordings.tar"), "Rough winds do shake the darling buds of May".repeat(30))
        .unwrap();
    fs::create_dir(directory.join("runners")).unwrap();
    fs::write(directory.join("runners/virt-m4.elf"), "no program").unwrap();
}

#[test]
fn every_refusal_says_what_why_and_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    fill(here);
    let runners = here.join("runners").display().to_string();
    let absent = here.join("qemu").display().to_string();
    let emulator = [("RELEQ_RUNNERS", runners.as_str()), ("RELEQ_QEMU", absent.as_str())];
    let cases: &[&[&str]] = &[
        &["inspect", "missing.rlq"],
        &["inspect", "flipped.rlq"],
        &["inspect", "newer.rlq"],
        &["inspect", "short.rlq"],
        &["inspect", "poem.rlq"],
        &["inspect", "wide.rlq", "--board", "virt-m4"],
        &["run", "wide.rlq", "--board", "virt-m4"],
        &["run", "tiny.rlq", "--board", "virt-m9"],
        &["run", "tiny.rlq", "--data", "glyphs"],
        &["run", "erf.onnx"],
        &["run", "tiny.rlq", "--limit", "0"],
        &["import", "missing.onnx"],
        &["import", "erf.onnx"],
        &["import", "erf.onnx", "--json"],
        &["import", "poem.onnx"],
        &["import", "poem.tflite"],
        &["import", "cut.tflite"],
        &["import", "erf.onnx", "--scale", "0.5"],
        &["eval", "missing.onnx"],
        &["eval", "poem.rlq"],
        &["eval", "tiny.rlq", "--data", "noise"],
        &["eval", "tiny.rlq", "--data", "floats"],
        &["ptq", "missing.tflite", "-o", "new.rlq"],
        &["ptq", "poem.tflite", "--bits", "9", "-o", "new.rlq"],
        &["train", "--model", "lenet", "--data", "noise", "-o", "new.safetensors"],
        &["import", "plain.safetensors"],
        &["import", "plain.safetensors", "--network", "lenet"],
        &["import", "plain.safetensors", "--network", "vgg11"],
        &["import", "plain.safetensors", "--network", "resnet50"],
        &["train", "--network", "autoencoder", "-o", "new.safetensors"],
        &["train", "--model", "lenet", "--data", "cut", "-o", "new.safetensors"],
        &["train", "--model", "dscnn", "--data", "spoken", "-o", "new.safetensors"],
        &["train", "--model", "dscnn", "--data", "packed", "-o", "new.safetensors"],
        &["train", "--model", "lenet", "--data", "nowhere", "-o", "new.safetensors"],
        &["train", "--model", "lenet", "--data", "glyphs", "-o", "no/new.safetensors"],
        &["train", "--network", "resnet50", "-o", "new.safetensors"],
        // Below a file there is no directory, whoever asks.
        &["train", "--model", "lenet", "--data", "glyphs", "-o", "tiny.rlq/new.safetensors"],
        &["import", "lenet.safetensors", "-o", "tiny.rlq/new.safetensors"],
        &["ptq", "lenet.safetensors", "-o", "tiny.rlq/new.rlq"],
        &["quantize", "lenet.safetensors", "--bits", "2", "-o", "tiny.rlq/new.rlq"],
        &["search", "lenet.safetensors", "--data", "glyphs", "-o", "tiny.rlq/new"],
        &["search", "lenet.safetensors", "--data", "glyphs", "-o", "tiny.rlq"],
        &["report", "run", "-o", "tiny.rlq/new.html"],
        &["eval", "diverged.safetensors", "--data", "glyphs"],
        &["search", "overflowing.safetensors", "--data", "glyphs", "-o", "nowhere"],
        &[
            "train",
            "--model",
            "lenet",
            "--data",
            "glyphs",
            "--epochs",
            "0.05",
            "--rate",
            "1e30",
            "-o",
            "new.safetensors",
        ],
        &["quantize", "missing.onnx", "--bits", "2", "-o", "new.rlq"],
        &["quantize", "missing.onnx", "--bits", "2,9", "-o", "new.rlq"],
        &["quantize", "missing.onnx", "--bits", "two", "-o", "new.rlq"],
        &["bench", "--suite", "kernels", "--board", "virt-m9"],
        &["bench", "--suite", "kernels", "--board", "native"],
        &["bench", "--suite", "kernels", "--board", "virt-m4", "--op", "conv9x9"],
        &["bench", "--suite", "kernels", "--board", "virt-m4", "--a", "3"],
        &["bench", "--suite", "speed", "--board", "virt-m4"],
        &["bench", "--board", "virt-m4"],
        &["bench", "missing.rlq", "--board", "virt-m4"],
        &["bench", "wide.rlq", "--board", "virt-m4"],
        &["bench", "tiny.rlq", "--board", "nucleo-f446re", "--probe", "ffff:ffff"],
        &["bench", "tiny.rlq", "--board", "virt-m4", "--runs", "0"],
        &["bench", "tiny.rlq", "--board", "virt-m4", "--volts", "3"],
        &["bench", "tiny.rlq", "--board", "virt-m4", "--suite", "kernels"],
        &["bench", "tiny.rlq", "--board", "virt-m4", "--export-csv", "no/new.csv"],
        &["board", "info", "virt-m9"],
        &["flash", "missing.rlq", "--board", "nucleo-f446re"],
        &["flash", "flipped.rlq", "--board", "nucleo-f446re"],
        &["flash", "wide.rlq", "--board", "nucleo-f446re"],
        &["flash", "tiny.rlq", "--board", "virt-m9"],
        &["flash", "tiny.rlq", "--board", "virt-m4", "--dry-run"],
        // Nobody has a probe of this name, not even where tests run beside a board.
        &["flash", "tiny.rlq", "--board", "nucleo-f446re", "--probe", "ffff:ffff"],
        &["flash", "tiny.rlq", "--board", "nucleo-f446re", "--probe", "the blue one"],
        &["flash", "tiny.rlq", "--board", "nucleo-f446re", "--chip", "STM32F4", "--probe", "ffff:ffff"],
        &["flash", "tiny.rlq", "--board", "nucleo-f446re", "--chip", "STM32F999", "--probe", "ffff:ffff"],
        &["run", "tiny.rlq", "--board", "nucleo-f446re", "--data", "squares", "--probe", "ffff:ffff"],
        &["monitor", "--board", "nucleo-f446re", "--probe", "ffff:ffff"],
        &["monitor", "--board", "virt-m4"],
        &["monitor", "--board", "nucleo-f446re", "--serial", "no/port"],
        &["monitor", "--board", "nucleo-f446re", "--for", "ever"],
        &["flash", "tiny.rlq", "--board", "nucleo-f446re", "--serial", "no/port"],
        &["worker", "--connect", "127.0.0.1:1", "--token", "none"],
        &["cost", "missing.rlq"],
        &["cost", "tiny.rlq", "--board", "virt-m9"],
        &["cost", "tiny.rlq", "--board", "virt-m3"],
        &["cost", "tiny.rlq", "--prices", "own.csv"],
        &["calibrate", "--board", "virt-m9", "-o", "."],
        &["calibrate", "--board", "virt-m4", "-o", "no"],
        &["calibrate", "--board", "virt-m4", "--from", "own.csv", "-o", "."],
        &["replay", "missing.csv"],
        &["replay", "torn.csv", "--float", "99"],
        &["replay", "own.csv"],
        &["replay", "own.csv", "--float", "990"],
        &["replay", "own.csv", "--float", "99", "--agent", "oracle"],
        &["replay", "own.csv", "--float", "99", "--contest", "pareto"],
        &["replay", "own.csv", "--float", "99", "--race", "--agent", "random"],
        &["search", "missing.onnx", "-o", "new"],
        &["search", "missing.onnx", "--agent", "oracle", "-o", "new"],
        &["search", "missing.onnx", "--table", "new.csv", "-o", "new"],
        &["search", "missing.onnx", "--weights", "8..2", "-o", "new"],
        &["search", "missing.onnx", "--weights", "0..8", "-o", "new"],
        &["search", "missing.onnx", "--preset", "haq", "-o", "new"],
        &["search", "missing.onnx", "--actors", "0", "-o", "new"],
        &["search", "missing.onnx", "--board", "virt-m9", "-o", "new"],
        &["search", "missing.onnx", "--activations", "2..9", "-o", "new"],
        &["search", "missing.onnx", "--minimize", "instructions", "-o", "new"],
        &["search", "missing.onnx", "--minimize", "instructions", "--board", "virt-m3", "-o", "new"],
        &["search", "missing.onnx", "--measure", "virt-m9", "-o", "new"],
        &["search", "missing.onnx", "--measure", "virt-m3", "-o", "new"],
        &["search", "missing.onnx", "--max-flash", "64GiB", "-o", "new"],
        &["search", "missing.onnx", "--max-latency", "15", "-o", "new"],
        &["search", "missing.onnx", "--max-instructions", "few", "-o", "new"],
        &["search", "missing.onnx", "--clock", "fast", "-o", "new"],
        &["search", "lenet.safetensors", "--max-flash", "50KiB", "-o", "new"],
        &["search", "lenet.safetensors", "--max-ram", "10KiB", "-o", "new"],
        &["search", "lenet.safetensors", "--max-instructions", "1M", "-o", "new"],
        &["search", "lenet.safetensors", "--max-latency", "5ms", "--clock", "168MHz", "-o", "new"],
        &[
            "search",
            "lenet.safetensors",
            "--weights",
            "3,8",
            "--max-flash",
            "170kB",
            "--max-instructions",
            "2.2M",
            "-o",
            "new",
        ],
        &["search", "lenet.safetensors", "--board", "virt-m7", "--max-latency", "5ms", "-o", "new"],
        &["search", "lenet.safetensors", "--board", "virt-m3", "--max-instructions", "9M", "-o", "new"],
        &["data", "list", "--all"],
        &["data", "fetch", "imagenet"],
        &["data", "fetch", "mnist"],
        &["data", "fetch", "mnist", "--from", "ftp://example.org"],
        &["data", "fetch", "mnist", "--to", "tiny.rlq"],
        &["data", "fetch", "mnist", "--to", "new", "--from", "http://127.0.0.1:1/mnist/"],
        &["data", "verify"],
        &["data", "verify", "elsewhere"],
        &["data", "verify", "run"],
        &["data", "verify", "cut"],
        &["watch", "missing"],
        &["watch", "tiny.rlq"],
        &["watch", "."],
        &["watch", "run"],
        &["watch", "torn"],
        &["export", "missing", "-o", "new.rlq"],
        &["export", ".", "--pick", "best", "-o", "new.rlq"],
        &["why", "."],
        &["report", "missing"],
        &["report", "."],
        &["report", "tiny.rlq"],
        &["report", "run", "missing.json", "-o", "new.html"],
        &["report", "run", "own.csv", "-o", "new.html"],
        &["report", "run", "-o", "no/new.html"],
        &["report", "torn"],
        &["keygen", "ours"],
        &["keygen", "no/new"],
        &["sign", "tiny.rlq", "--key", "missing"],
        &["sign", "tiny.rlq", "--key", "poem.rlq"],
        &["sign", "tiny.rlq", "--key", "ours.pub"],
        &["sign", "flipped.rlq", "--key", "ours"],
        &["sign", "erf.onnx", "--key", "ours"],
        &["sign", "tiny.rlq", "--key", "ours", "-o", "no/new.rlq"],
        &["verify", "tiny.rlq", "--key", "ours.pub"],
        &["verify", "signed.rlq", "--key", "others.pub"],
        &["verify", "flipped.rlq", "--key", "ours.pub"],
        &["verify", "poem.rlq", "--key", "ours.pub"],
        &["verify", "short.rlq", "--key", "ours.pub"],
        &["verify", "signed.rlq", "--key", "ours"],
        &["verify", "signed.rlq"],
        &["inspect", "signed.rlq", "--key", "ours"],
    ];
    // A set the network takes, so that runs reach the board: the tiny golden network's inputs are 2×2.
    two_by_two(&here.join("squares"));
    let mut table = cases.iter().fold(String::new(), |mut table, arguments| {
        writeln!(table, "{}", transcript(here, arguments, &[])).unwrap();
        table
    });
    for environment in [&emulator[..], &emulator[1..]] {
        let environment: Vec<(&str, &str)> = match environment.len() {
            2 => environment.to_vec(),
            _ => vec![("RELEQ_RUNNERS", "empty"), environment[0]],
        };
        let run = ["run", "tiny.rlq", "--board", "virt-m4", "--data", "squares"];
        writeln!(table, "{}", transcript(here, &run, &environment)).unwrap();
    }
    assert!(
        !here.join("new").exists()
            && !here.join("new.rlq").exists()
            && !here.join("new.html").exists()
            && !here.join("new.safetensors").exists()
    );
    insta::assert_snapshot!(table);
}

/// One test image as large as the tiny golden network takes.
fn two_by_two(directory: &Path) {
    fs::create_dir(directory).unwrap();
    let images = [&[0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 2][..], &[1, 2, 3, 4]].concat();
    let labels = [0, 0, 8, 1, 0, 0, 0, 1, 0];
    for split in ["train", "t10k"] {
        fs::write(directory.join(format!("{split}-images-idx3-ubyte")), &images).unwrap();
        fs::write(directory.join(format!("{split}-labels-idx1-ubyte")), labels).unwrap();
    }
}

/// Nobody gets half of an answer without being told.
#[cfg(target_os = "linux")]
#[test]
fn an_answer_that_finds_no_room_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    fill(directory.path());
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let output = releq(directory.path()).args(["inspect", "tiny.rlq"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "error: cannot print the answer: No space left on device (os error 28); files that it tells of are written; \
         free some space where standard output goes, or send it elsewhere\n"
    );
}

#[test]
fn a_reader_that_hangs_up_is_no_error() {
    let directory = tempfile::tempdir().unwrap();
    fill(directory.path());
    let mut child = releq(directory.path()).args(["inspect", "tiny.rlq"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
}

/// Keys are made once, signing again changes nothing, and the verdict is the exit code.
#[test]
fn an_image_is_signed_and_verified() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    fill(here);
    let exit = |arguments: &[&str]| releq(here).args(arguments).output().unwrap().status.code().unwrap();
    assert_eq!((exit(&["keygen", "new"]), exit(&["keygen", "new"])), (0, 2));
    let read = |name: &str| fs::read(here.join(name)).unwrap();
    for _ in 0..2 {
        assert_eq!(exit(&["sign", "tiny.rlq", "--key", "ours"]), 0);
        assert_eq!(read("tiny.rlq"), read("signed.rlq"));
    }
    assert_eq!(exit(&["sign", "tiny.rlq", "--key", "new", "-o", "again.rlq"]), 0);
    assert_eq!(read("tiny.rlq"), read("signed.rlq"));
    let verify = |image: &str, key: &str| exit(&["verify", image, "--key", key]);
    assert_eq!([verify("tiny.rlq", "ours.pub"), verify("again.rlq", "new.pub")], [0, 0]);
    assert_eq!([verify("tiny.rlq", "new.pub"), verify("again.rlq", "ours.pub")], [1, 1]);
    assert_eq!(exit(&["verify", "again.rlq", "--key", "ours.pub", "--key", "new.pub"]), 0);
    let mut table = String::new();
    for arguments in [
        &["verify", "signed.rlq", "--key", "others.pub", "--key", "ours.pub"][..],
        &["verify", "signed.rlq", "--key", "ours.pub", "--json"],
        &["inspect", "signed.rlq"],
        &["inspect", "signed.rlq", "--key", "ours.pub"],
        &["sign", "signed.rlq", "--key", "ours", "--json"],
    ] {
        writeln!(table, "{}", transcript(here, arguments, &[])).unwrap();
    }
    insta::assert_snapshot!(table);
}

/// Files and the environment set options, flags prevail, and what cannot be used is named with its file.
#[test]
fn settings_are_layered_and_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    fill(here);
    let below = here.join("below");
    fs::create_dir(&below).unwrap();
    let write = |name: &str, text: &str| fs::write(here.join(name), text).unwrap();
    let mut table = String::new();
    let mut type_in = |arguments: &[&str], environment: &[(&str, &str)]| {
        let text = transcript(&below, arguments, environment).replace("DIR", "BELOW");
        writeln!(table, "{}", text.replace(&fs::canonicalize(here).unwrap().display().to_string(), "DIR")).unwrap();
    };
    type_in(&["config"], &[]);
    write("releq.toml", "board = 'virt-m4'\n[inspect]\nboard = 'virt-m0'\n[cost]\njson = true\n");
    type_in(&["config"], &[]);
    type_in(&["inspect", "../tiny.rlq"], &[]);
    write("releq.local.toml", "[inspect]\nboard = 'virt-m7'\n");
    type_in(&["config", "--json"], &[("RELEQ_RUNS", "9")]);
    type_in(&["inspect", "../wide.rlq"], &[]);
    type_in(&["inspect", "../wide.rlq", "--board", "virt-m3"], &[("RELEQ_BOARD", "virt-m33")]);
    write("releq.local.toml", "[profile.lab]\nboard = 'virt-m7'\n[profile.lab.inspect]\njson = true\n");
    type_in(&["config", "--profile", "lab"], &[]);
    type_in(&["inspect", "../tiny.rlq", "--profile=lab"], &[]);
    type_in(&["inspect", "../tiny.rlq", "--board", "virt-m3"], &[("RELEQ_PROFILE", "lab")]);
    type_in(&["inspect", "../tiny.rlq", "--profile", "home"], &[]);
    write("releq.local.toml", "[profile.lab]\nbored = 1\n");
    type_in(&["inspect", "../tiny.rlq"], &[]);
    write("releq.local.toml", "[profile]\nboard = 'virt-m3'\n");
    type_in(&["inspect", "../tiny.rlq"], &[]);
    for text in ["[inspect]\nbored = 1\n", "[fly]\nboard = 1\n", "speed = {}\n", "a = 1979-05-27\n", "a =\n"] {
        write("releq.local.toml", text);
        type_in(&["inspect", "../tiny.rlq"], &[]);
    }
    write("releq.local.toml", "[bench]\nruns = 'many'\n");
    type_in(&["bench", "../tiny.rlq"], &[]);
    insta::assert_snapshot!(table);
}

/// What `releq config --default` prints is a file that sets nothing, and one that sets what holds anyway once its values
/// are uncommented.
#[test]
fn the_default_file_is_one() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let default = releq(here).args(["config", "--default"]).output().unwrap();
    let text = String::from_utf8(default.stdout).unwrap();
    fs::write(here.join("releq.toml"), &text).unwrap();
    assert!(transcript(here, &["config"], &[]).contains("nothing is set"));
    let line = |line: &str| match line.strip_prefix("# ") {
        Some(setting) if setting.split_once(" = ").is_some_and(|(name, _)| !name.contains(' ')) => setting.to_owned(),
        _ => line.to_owned(),
    };
    fs::write(here.join("releq.toml"), text.lines().map(|text| line(text) + "\n").collect::<String>()).unwrap();
    let settings = transcript(here, &["config"], &[]);
    assert!(settings.contains("exit 0") && settings.contains("search --episodes"), "{settings}");
}

#[test]
fn completions_and_pages_know_every_verb() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let stdout = |arguments: &[&str]| {
        let output = releq(here).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let help = stdout(&["--help"]);
    let (_, verbs) = help.split_once("Commands:\n").unwrap();
    let verbs: Vec<&str> = verbs.lines().map_while(|line| line.split_whitespace().next()).collect();
    let (bash, man) = (stdout(&["completions", "bash"]), stdout(&["man"]));
    assert!(verbs.len() > 20 && verbs.iter().all(|verb| bash.contains(verb)));
    assert!(verbs.iter().filter(|verb| **verb != "help").all(|verb| man.contains(&format!("releq\\-{verb}"))), "{man}");
    stdout(&["man", "-o", "."]);
    assert!(here.join("releq-search.1").exists());
}

#[test]
fn quiet_leaves_answers_and_errors() {
    let directory = tempfile::tempdir().unwrap();
    fill(directory.path());
    let stderr = |arguments: &[&str], environment: &[(&str, &str)]| {
        let output = releq(directory.path()).args(arguments).envs(environment.iter().copied()).output().unwrap();
        String::from_utf8(output.stderr).unwrap()
    };
    let eval = ["eval", "lenet.safetensors", "--data", "glyphs", "--limit", "4"];
    assert!(stderr(&eval, &[]).starts_with("note: using glyphs"));
    assert_eq!(stderr(&[&eval[..], &["-q"]].concat(), &[]), "");
    let refused = ["-q", "inspect", "missing.rlq"];
    assert!(stderr(&refused, &[]).starts_with("error: "));
    assert!(stderr(&refused, &[("CLICOLOR_FORCE", "1")]).contains("\u{1b}["));
    assert!(!stderr(&[&refused[..], &["--color", "never"]].concat(), &[("CLICOLOR_FORCE", "1")]).contains('\u{1b}'));
}

#[test]
fn json_is_one_document_and_stdout_holds_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    fill(directory.path());
    let output = releq(directory.path()).args(["inspect", "tiny.rlq", "--json"]).output().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["schema"], 1);
    let [bytes, budget] = ["bytes", "budget_bytes"].map(|name| report[name].as_u64().unwrap());
    assert_eq!(bytes, TINY.len() as u64);
    assert!(bytes <= budget, "the format allows {budget}");
    for name in ["arena_bytes", "scratch_bytes", "layers", "crc"] {
        assert!(!report[name].is_null(), "{name}");
    }
}

/// A dry run needs no board: it says what is erased at most.
#[cfg(feature = "probe")]
#[test]
fn a_dry_run_without_a_probe_says_the_most() {
    use releq_probe::mock::elf::{elf, loaded};

    let directory = tempfile::tempdir().unwrap();
    fill(directory.path());
    let runner = elf(&[loaded(".text", 0x0800_0000, &[7; 40_000])], None);
    fs::write(directory.path().join("runners/nucleo-f446re.elf"), runner).unwrap();
    let flash = ["flash", "tiny.rlq", "--board", "nucleo-f446re", "--dry-run"];
    if !releq_probe::list().is_empty() {
        eprintln!("skipped: a debug probe is plugged in, and would be asked");
        return;
    }
    insta::assert_snapshot!(transcript(directory.path(), &flash, &[("RELEQ_RUNNERS", "runners")]));
}

#[test]
fn a_replay_lists_every_plan_it_looked_up() {
    let directory = tempfile::tempdir().unwrap();
    fill(directory.path());
    let replay = |agent: &str, contest: &str| -> serde_json::Value {
        let arguments =
            ["replay", "own.csv", "--float", "99", "--seeds", "2", "--json", "--agent", agent, "--contest", contest];
        serde_json::from_slice(&releq(directory.path()).args(arguments).output().unwrap().stdout).unwrap()
    };
    let report = replay("descent", "floor");
    assert_eq!(
        (&report["schema"], &report["agent"], &report["optimum"]),
        (&1.into(), &"descent".into(), &"8,8".into())
    );
    assert_eq!(report["runs"][1]["lookups"], serde_json::json!(["8,8"]));
    assert_eq!(report["median_evaluations"], 1.0);
    assert_eq!(replay("ppo-surrogate", "all").as_array().unwrap().len(), 3);
}
