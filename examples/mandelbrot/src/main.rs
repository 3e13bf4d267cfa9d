//! A picture of the Mandelbrot set, in the valley of the sea horses.
//!
//! ```text
//! essaim run examples/mandelbrot 0..1080 > mandelbrot.png
//! essaim run examples/mandelbrot 0..2160 -- 3840 2160 > large.png
//! ```
//!
//! A chunk is a range of rows. With no swarm: `echo 0..1080 | cargo run -p mandelbrot > m.png`.

use std::io::Write;
use std::ops::Range;

use essaim_guest::Bytes;

essaim_guest::main!(map: rows, reduce: write_png);

const CENTRE: (f64, f64) = (-0.743_643_887, 0.131_825_904);
const WIDTH: f64 = 0.006;
const MOST_STEPS: u32 = 3_000;
const SAMPLES: u32 = 2;
/// Colours evenly spaced on a closed ring.
const RING: [[f64; 3]; 5] =
    [[0.0, 7.0, 100.0], [32.0, 107.0, 203.0], [237.0, 255.0, 255.0], [255.0, 170.0, 0.0], [0.0, 2.0, 0.0]];

/// Width and height in pixels: the program's arguments, or a screen's.
fn size() -> (u32, u32) {
    let size = |n| std::env::args().nth(n).map(|arg| arg.parse().expect("a number of pixels"));
    (size(1).unwrap_or(1920), size(2).unwrap_or(1080))
}

fn rows(range: Range<u32>) -> Bytes {
    let (width, height) = size();
    let at = |pixel: u32, sample: u32, pixels: u32| {
        let pixel = f64::from(pixel) + f64::from(sample) / f64::from(SAMPLES);
        (pixel - f64::from(pixels) / 2.0) * WIDTH / f64::from(width)
    };
    let mut image = Vec::new();
    for (row, column) in range.flat_map(|row| (0..width).map(move |column| (row, column))) {
        let mut sum = [0.0; 3];
        for sample in 0..SAMPLES * SAMPLES {
            let (across, down) = (at(column, sample % SAMPLES, width), at(row, sample / SAMPLES, height));
            let colour = colour(escape(CENTRE.0 + across, CENTRE.1 - down));
            sum = [0, 1, 2].map(|channel| sum[channel] + colour[channel]);
        }
        image.extend(sum.map(|channel| (channel / f64::from(SAMPLES * SAMPLES)).round() as u8));
    }
    image.into()
}

/// After how many steps, and what part of one, the point escapes; `None` if it never does.
fn escape(x: f64, y: f64) -> Option<f64> {
    let (mut a, mut b) = (0.0_f64, 0.0_f64);
    for steps in 0..MOST_STEPS {
        let (aa, bb) = (a * a, b * b);
        if aa + bb > 1e4 {
            return Some(f64::from(steps) + 1.0 - ((aa + bb).ln() / 2.0).log2());
        }
        (a, b) = (aa - bb + x, 2.0 * a * b + y);
    }
    None
}

fn colour(escape: Option<f64>) -> [f64; 3] {
    let Some(steps) = escape else { return RING[4] };
    let place = (steps.max(1.0).ln() * 3.0).rem_euclid(5.0);
    let [from, to] = [0, 1].map(|next| RING[(place as usize + next) % 5]);
    [0, 1, 2].map(|channel| from[channel] + (to[channel] - from[channel]) * place.fract())
}

fn write_png(parts: impl Iterator<Item = Bytes>) {
    let (width, height) = size();
    let mut png = png::Encoder::new(essaim_guest::stdout(), width, height);
    png.set_color(png::ColorType::Rgb);
    let mut png = png.write_header().and_then(|png| png.into_stream_writer()).expect("a header");
    for rows in parts {
        png.write_all(&rows).expect("no more rows than the height");
    }
    png.finish().expect("as many rows as the height");
}
