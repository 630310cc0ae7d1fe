//! Writes the seeds of checkpoints, data sets and settings: `host-seeds FOLDER`. Those of models are what the workbench's
//! own tests import (`RELEQ_SEEDS=FOLDER cargo test -p releq --lib import`).

use std::error::Error;
use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use lzma_rust2::{XzOptions, XzWriter};
use releq_fuzz_host::checkpoint;
use releq_fuzz_host::network::{Graph, InputSpec, Network, Node, Op, Source, Tensor, Window};

type Fallible<T> = Result<T, Box<dyn Error>>;

fn main() -> Fallible<()> {
    let folder = std::env::args_os().nth(1).ok_or("usage: host-seeds FOLDER")?;
    let folder = Path::new(&folder);
    save(&folder.join("safetensors"), &checkpoints()?)?;
    let images = [&[0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 2][..], &[7; 8]].concat();
    let labels = [0, 0, 8, 1, 0, 0, 0, 2, 0, 1].to_vec();
    save(&folder.join("idx"), &both(&[(0, images), (1, labels.clone()), (2, labels)])?)?;
    save(&folder.join("npy"), &both(&arrays())?)?;
    let record: Vec<u8> = (0..2 * 3073).map(|at| if at % 3073 == 0 { (at / 3073) as u8 } else { at as u8 }).collect();
    let (plain, packed) = (marked(0, &record), marked(1, &xz(&record)?));
    save(&folder.join("cifar"), &[plain, packed])?;
    save(&folder.join("settings"), &SETTINGS.map(|text| text.as_bytes().to_vec()))
}

const SETTINGS: [&str; 6] = [
    "board = 'virt-m4'\n[run]\nlimit = 3\njson = true\n[search]\nmax-loss = 0.5\nmean = [0.1, 0.2]\nboard = ['a', 'b']\n",
    "[search]\nmax-loss = 1e999\nmean = '1,2,,3'\nboard = \"\\u0041\"\n",
    "# nothing\n\"board\" = '''\nmany\nlines'''\njson = false\nlimit = -1\n",
    "[run]\nlimit = 1979-05-27\n[run.deeper]\nlimit = inf\n",
    "[profile.lab]\nboard = 'virt-m7'\n[profile.lab.run]\nlimit = 2\n[profile.far]\njson = true\n",
    "[profile]\nboard = 'a'\n[profile.x.profile]\nboard = 'b'\n",
];

fn save(folder: &Path, seeds: &[Vec<u8>]) -> Fallible<()> {
    fs::create_dir_all(folder)?;
    for (index, seed) in seeds.iter().enumerate() {
        fs::write(folder.join(format!("seed-{index:02}")), seed)?;
    }
    Ok(())
}

/// The input that gives a target `bytes` as its file number `choice`.
fn marked(choice: u8, bytes: &[u8]) -> Vec<u8> {
    [&[choice], bytes].concat()
}

/// Each file plain and packed.
fn both(files: &[(u8, Vec<u8>)]) -> Fallible<Vec<Vec<u8>>> {
    let mut seeds = Vec::new();
    for (choice, bytes) in files {
        let mut gz = GzEncoder::new(Vec::new(), Compression::default());
        gz.write_all(bytes)?;
        // The first number from 128 on that chooses the same file.
        let packed = (128..=u8::MAX).find(|packed| packed % 3 == *choice).unwrap_or(u8::MAX);
        seeds.extend([marked(*choice, bytes), marked(packed, &gz.finish()?)]);
    }
    Ok(seeds)
}

fn xz(bytes: &[u8]) -> Fallible<Vec<u8>> {
    let mut writer = XzWriter::new(Vec::new(), XzOptions::with_preset(0))?;
    writer.write_all(bytes)?;
    Ok(writer.finish()?)
}

fn arrays() -> Vec<(u8, Vec<u8>)> {
    let npy = |version: u8, element: &str, shape: &str, content: &[u8]| {
        let header = format!("{{'descr': '{element}', 'fortran_order': False, 'shape': ({shape}), }}\n");
        let length = (header.len() as u32).to_le_bytes();
        let length = if version == 1 { &length[..2] } else { &length[..] };
        [b"\x93NUMPY", &[version, 0][..], length, header.as_bytes(), content].concat()
    };
    let wide: Vec<u8> = [3i64, 250].iter().flat_map(|label| label.to_le_bytes()).collect();
    vec![
        (0, npy(1, "|u1", "2, 2, 3, 1", &[9; 12])),
        (0, npy(2, "|i1", "2, 4", &[0x80; 8])),
        (1, npy(1, "<i8", "2, 1", &wide)),
        (1, npy(3, "<i4", "2,", &wide[..8])),
        (2, npy(1, "|u1", "3,", &[0, 1, 2])),
    ]
}

/// A network of every kind of layer with parameters, as a checkpoint and as bare weights; and some of LeNet's.
fn checkpoints() -> Fallible<Vec<Vec<u8>>> {
    let path = std::env::temp_dir().join(format!("releq-fuzz-seed-{}.safetensors", std::process::id()));
    checkpoint::save(&small(), &path)?;
    let whole = fs::read(&path)?;
    fs::remove_file(&path)?;
    let length = u64::from_le_bytes(*whole.first_chunk().ok_or("a length")?) as usize;
    let (header, tensors) = (&whole[8..8 + length], &whole[8 + length..]);
    let lenet = r#"{"conv1.weight":{"dtype":"F32","shape":[20,1,5,5],"data_offsets":[0,2000]}}"#;
    let counter = r#"{"bn1.num_batches_tracked":{"dtype":"I64","shape":[],"data_offsets":[0,8]},"net.0.bias":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}}"#;
    Ok(vec![
        [&[0], header, &[0], tensors].concat(),
        marked(128, &whole),
        [&[0], lenet.as_bytes(), &[0; 2001]].concat(),
        [&[8], counter.as_bytes(), &[0; 17]].concat(),
    ])
}

fn small() -> Network {
    let node = |name: &str, op, inputs: &[Source]| Node { name: name.to_owned(), op, inputs: inputs.to_vec() };
    let of = |index| [Source::Node(index)];
    let nodes = vec![
        node("c", Op::Conv { out: 2, window: Window::square(3, 1, 1), groups: 1, bias: false }, &[Source::Input]),
        node("b", Op::BatchNorm { eps: 1e-5 }, &of(0)),
        node("r", Op::ClippedRelu { ceiling: 6.0 }, &of(1)),
        node("d", Op::Conv { out: 2, window: Window::square(1, 1, 0), groups: 2, bias: true }, &of(2)),
        node("s", Op::Shortcut { stride: [2, 2], before: 1, after: 0 }, &of(3)),
        node("m", Op::MaxPool { window: Window::square(1, 1, 0) }, &of(4)),
        node("a", Op::Add, &[Source::Node(4), Source::Node(5)]),
        node("j", Op::Concat, &[Source::Node(4), Source::Node(6)]),
        node("f", Op::Flatten, &of(7)),
        node("o", Op::Dense { out: 2, bias: true }, &of(8)),
    ];
    let graph = Graph { name: "n".to_owned(), input: InputSpec::unit([1, 2, 2]), nodes, held_out: 1 };
    let shapes = graph.shapes().unwrap_or_default();
    let mut network = Network { parameters: Default::default(), graph };
    for node in &network.graph.nodes {
        let input = network.graph.shape_of(node.inputs[0], &shapes);
        for (part, shape) in node.op.parts(input) {
            let data = vec![0.5; shape.iter().product()];
            network.parameters.insert(format!("{}.{part}", node.name), Tensor { shape, data });
        }
    }
    network
}
