//! Sound as an image: a second of speech becomes 49 rows of 10 cepstral coefficients, a row every 20 ms.
//!
//! The form is that of MLPerf Tiny's keyword spotter (arXiv 1711.07128): windows of 30 ms, 40 triangular bands from 20 Hz
//! to 4 kHz that are equally wide on the mel scale, the levels of the bands in dB, and the first ten terms of their cosine
//! transform. The first says how loud a window is, the others the shape of its spectrum, from coarse to fine.
//!
//! Everything is computed in doubles without vector instructions, so that machines agree to the last byte unless a value
//! lies within rounding of half a step.

use std::f64::consts::PI;
use std::sync::Arc;

use realfft::num_complex::Complex64;
use realfft::{RealFftPlanner, RealToComplex};

/// Samples a second.
pub const RATE: u32 = 8000;
/// Rows of an image: windows that fit into a second.
pub const FRAMES: usize = (RATE as usize - WINDOW) / STEP + 1;
/// Columns of an image.
pub const COEFFICIENTS: usize = 10;

/// Bands whose levels are transformed.
const BANDS: usize = 40;
/// Samples of a window, and from one to the next.
const WINDOW: usize = 240;
const STEP: usize = 160;
/// Samples a window is filled up to with zeros, so that the narrowest bands have bins of their own.
const FILLED: usize = 512;
/// Where the bands begin and end, Hz.
const EDGES: [f64; 2] = [20.0, 4000.0];
/// Levels below this count as this, dB of a sine between -1 and 1.
const FLOOR: f64 = -70.0;
/// What one step of each coefficient's bytes is, dB: the finer ones vary less. Speech rarely goes beyond.
const STEPS: [f64; COEFFICIENTS] = [1.25, 1.0, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25];
/// The bytes that stand for 0.
const ZEROS: [f64; COEFFICIENTS] = [0.0, 128.0, 128.0, 128.0, 128.0, 128.0, 128.0, 128.0, 128.0, 128.0];

/// What turns sound into images; made once for many.
pub struct Spectrogram {
    fourier: Arc<dyn RealToComplex<f64>>,
    /// Hann's, such that the bins of a sine between -1 and 1 have a power of 1 together.
    window: Vec<f64>,
    /// For each band its first bin and the weights from there on.
    bands: Vec<(usize, Vec<f64>)>,
    /// For each coefficient the share of each band.
    cosines: Vec<[f64; BANDS]>,
}

impl Default for Spectrogram {
    fn default() -> Self {
        let hann = |at: usize| 0.5 - 0.5 * (2.0 * PI * at as f64 / WINDOW as f64).cos();
        let squares: f64 = (0..WINDOW).map(|at| hann(at) * hann(at)).sum();
        let unit = (4.0 / (FILLED as f64 * squares)).sqrt();
        Self {
            fourier: RealFftPlanner::new().plan_fft_forward(FILLED),
            window: (0..WINDOW).map(|at| unit * hann(at)).collect(),
            bands: (0..BANDS).map(band).collect(),
            cosines: (0..COEFFICIENTS).map(cosine).collect(),
        }
    }
}

impl Spectrogram {
    /// [`FRAMES`] × [`COEFFICIENTS`] bytes, row by row, of sound at [`RATE`]. The first of each row is 0 in silence and
    /// grows with loudness; of the others, 128 stands for 0.
    ///
    /// Sound is brought to one length and one level: a recording that is shorter than a second gets as much silence before
    /// it as behind it, of a longer one the loudest second is taken, and then it is as loud as its largest sample allows.
    pub fn image(&self, samples: &[i16]) -> Vec<u8> {
        self.levels(&second(samples)).iter().flat_map(|levels| self.row(levels)).collect()
    }

    /// The levels of all bands in each window of `sound`, dB of a sine between -1 and 1.
    fn levels(&self, sound: &[f64]) -> Vec<[f64; BANDS]> {
        let (mut frame, mut bins) = (self.fourier.make_input_vec(), self.fourier.make_output_vec());
        let level = |samples: &[f64]| {
            frame.fill(0.0);
            for ((filled, sample), weight) in frame.iter_mut().zip(samples).zip(&self.window) {
                *filled = sample * weight;
            }
            // Its one error is a length that does not fit, and these are its own.
            let _ = self.fourier.process(&mut frame, &mut bins);
            std::array::from_fn(|band| {
                let (first, weights) = &self.bands[band];
                let power = |(weight, bin): (&f64, &Complex64)| weight * bin.norm_sqr();
                let power: f64 = weights.iter().zip(&bins[*first..]).map(power).sum();
                (10.0 * power.log10()).max(FLOOR)
            })
        };
        sound.windows(WINDOW).step_by(STEP).map(level).collect()
    }

    fn row(&self, levels: &[f64; BANDS]) -> [u8; COEFFICIENTS] {
        std::array::from_fn(|index| {
            let share = |(share, level): (&f64, &f64)| share * (level - FLOOR);
            let coefficient: f64 = self.cosines[index].iter().zip(levels).map(share).sum();
            (ZEROS[index] + coefficient / STEPS[index]).round().clamp(0.0, 255.0) as u8
        })
    }
}

/// The second of `samples` that becomes an image, its largest sample 1.
fn second(samples: &[i16]) -> Vec<f64> {
    let length = RATE as usize;
    let loud = if samples.len() > length { &samples[loudest(samples, length)..][..length] } else { samples };
    let largest = loud.iter().map(|sample| sample.unsigned_abs()).max().unwrap_or(0).max(1);
    let mut second = vec![0.0; length];
    let before = (length - loud.len()) / 2;
    for (place, &sample) in second[before..].iter_mut().zip(loud) {
        *place = f64::from(sample) / f64::from(largest);
    }
    second
}

/// Where the loudest `length` samples begin, the first of equals.
fn loudest(samples: &[i16], length: usize) -> usize {
    let square = |sample: i16| i64::from(sample) * i64::from(sample);
    let mut energy: i64 = samples[..length].iter().map(|&sample| square(sample)).sum();
    let mut best = (energy, 0);
    for (begin, (&gone, &new)) in samples.iter().zip(&samples[length..]).enumerate() {
        energy += square(new) - square(gone);
        if energy > best.0 {
            best = (energy, begin + 1);
        }
    }
    best.1
}

/// The triangle of one band: its first bin, and the weights of the bins from there on. Each begins at the middle of the one
/// before, so that between the first middle and the last all weights of a bin are 1 together.
fn band(index: usize) -> (usize, Vec<f64>) {
    let [low, high] = EDGES.map(mel);
    let width = (high - low) / (BANDS + 1) as f64;
    let begin = low + width * index as f64;
    let hertz = |bin: usize| bin as f64 * f64::from(RATE) / FILLED as f64;
    let weight = |bin: usize| 1.0 - ((mel(hertz(bin)) - begin) / width - 1.0).abs();
    let bins = (0..=FILLED / 2).map(|bin| (bin, weight(bin))).filter(|(_, weight)| *weight > 0.0);
    let (bins, weights): (Vec<usize>, Vec<f64>) = bins.unzip();
    (bins.first().copied().unwrap_or(0), weights)
}

/// Pitch as it is heard, in mels.
fn mel(hertz: f64) -> f64 {
    2595.0 * (1.0 + hertz / 700.0).log10()
}

/// One row of the orthonormal cosine transform.
fn cosine(index: usize) -> [f64; BANDS] {
    let scale = (if index == 0 { 1.0 } else { 2.0 } / BANDS as f64).sqrt();
    std::array::from_fn(|band| scale * (PI * index as f64 * (band as f64 + 0.5) / BANDS as f64).cos())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `length` samples of a sine of `hertz`.
    fn tone(hertz: f64, length: usize, loudness: f64) -> Vec<i16> {
        let sample = |at: usize| loudness * (2.0 * PI * hertz * at as f64 / f64::from(RATE)).sin();
        (0..length).map(|at| sample(at).round() as i16).collect()
    }

    fn middle(band: usize) -> f64 {
        let [low, high] = EDGES.map(mel);
        let pitch = low + (high - low) / (BANDS + 1) as f64 * (band + 1) as f64;
        700.0 * (10f64.powf(pitch / 2595.0) - 1.0)
    }

    fn rows(image: &[u8]) -> Vec<&[u8]> {
        image.chunks_exact(COEFFICIENTS).collect()
    }

    #[test]
    fn a_tone_lights_its_band_and_no_power_is_lost() {
        let front = Spectrogram::default();
        for band in 0..BANDS {
            let sound = second(&tone(middle(band), RATE as usize, 30_000.0));
            let levels = front.levels(&sound);
            assert_eq!(levels.len(), FRAMES);
            for levels in &levels[1..FRAMES - 1] {
                let brightest = (0..BANDS).max_by(|&one, &other| levels[one].total_cmp(&levels[other])).unwrap();
                assert_eq!(brightest, band, "{} Hz: {levels:?}", middle(band));
                let power: f64 = levels.iter().map(|level| 10f64.powf(level / 10.0)).sum();
                assert!((0.6..1.1).contains(&power), "{} Hz: {power}", middle(band));
                // What lies far beside it hears nothing of it.
                let far = |other: usize| middle(other) / middle(band) > 2.0 && middle(other) > middle(band) + 300.0;
                assert!((0..BANDS).filter(|&other| far(other)).all(|other| levels[other] < -50.0), "{levels:?}");
            }
        }
    }

    #[test]
    fn silence_is_flat_and_the_lowest_there_is() {
        let front = Spectrogram::default();
        let silence = front.image(&[]);
        assert_eq!(silence.len(), FRAMES * COEFFICIENTS);
        let row = [[0].as_slice(), &[128; COEFFICIENTS - 1]].concat();
        assert!(rows(&silence).iter().all(|found| *found == row), "{silence:?}");
        assert_eq!(front.image(&[0; 1000]), silence);
        assert_eq!(front.image(&[0; 20_000]), silence);
    }

    /// From nothing over odd lengths to recordings of several seconds.
    #[test]
    fn every_length_becomes_one_image_with_the_sound_in_its_middle() {
        let front = Spectrogram::default();
        for length in [1, 2, 79, 239, 241, 3999, 7999, 8000, 8001, 18_262] {
            let image = front.image(&tone(1000.0, length, 9000.0));
            assert_eq!(image.len(), FRAMES * COEFFICIENTS, "{length}");
        }
        let image = front.image(&tone(1000.0, 1601, 9000.0));
        let loud: Vec<usize> = (0..FRAMES).filter(|&row| rows(&image)[row][0] > 0).collect();
        assert_eq!((loud[0], loud[loud.len() - 1]), (19, 29), "{loud:?}");
    }

    #[test]
    fn the_loudest_second_of_a_longer_recording_is_taken() {
        let front = Spectrogram::default();
        let word = tone(700.0, 8000, 20_000.0);
        let hum = tone(300.0, 5001, 200.0);
        let long = [hum.as_slice(), &word, &hum].concat();
        assert_eq!(loudest(&long, 8000), 5001);
        assert_eq!(front.image(&long), front.image(&word));
    }

    #[test]
    fn loudness_changes_nothing() {
        let front = Spectrogram::default();
        let quiet: Vec<i16> =
            tone(440.0, 3000, 1000.0).iter().zip(tone(900.0, 3000, 500.0)).map(|(a, b)| a + b).collect();
        let loud: Vec<i16> = quiet.iter().map(|sample| 16 * sample).collect();
        assert_eq!(front.image(&quiet), front.image(&loud));
        assert_eq!(front.image(&[i16::MIN; 100]).len(), FRAMES * COEFFICIENTS);
    }

    /// A cosine of the bands' levels is one coefficient and nothing else.
    #[test]
    fn coefficients_are_the_cosine_transform() {
        let front = Spectrogram::default();
        let levels = std::array::from_fn(|band| -30.0 + 4.0 * (PI * 3.0 * (band as f64 + 0.5) / BANDS as f64).cos());
        let row = front.row(&levels);
        let expected = |index: usize, value: f64| (ZEROS[index] + value / STEPS[index]).round() as u8;
        for (index, &byte) in row.iter().enumerate() {
            let value = match index {
                0 => 40.0 * (BANDS as f64).sqrt(),
                3 => 4.0 * (BANDS as f64 / 2.0).sqrt(),
                _ => 0.0,
            };
            assert_eq!(byte, expected(index, value), "{index}");
        }
    }
}
