//! How figures, and what others have written, stand in the page.

use super::super::report::{Run, Spread};
use crate::cli::say::count;

/// What is said where there is no figure.
pub const NONE: &str = "–";

/// Text that is nothing but text, also within an attribute.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            char if char.is_control() => out.push(' '),
            char => out.push(char),
        }
    }
    out
}

/// At most so many characters of it, escaped.
pub fn short(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return escape(text);
    }
    let start: String = text.chars().take(most.saturating_sub(1)).collect();
    format!("{}…", escape(start.trim_end()))
}

/// Three digits, or all of those before the point.
pub fn three(figure: f64) -> String {
    match figure {
        figure if !figure.is_finite() => NONE.to_owned(),
        figure if figure.abs() < 9.995 => format!("{figure:.2}"),
        figure if figure.abs() < 99.95 => format!("{figure:.1}"),
        figure => format!("{figure:.0}"),
    }
}

/// `1.97×`.
pub fn times(factor: f64) -> String {
    if factor.is_finite() { format!("{}×", three(factor)) } else { NONE.to_owned() }
}

/// A share of one, in whole percent; in tenths where it is small. For HTML.
pub fn percent(share: f64) -> String {
    // What is nothing is not less than that.
    match share * 100.0 + 0.0 {
        percent if !percent.is_finite() => NONE.to_owned(),
        percent if percent > 0.0 && percent < 0.05 => "&lt;0.1 %".to_owned(),
        percent if percent > 0.0 && percent < 9.95 => format!("{percent:.1} %"),
        percent => format!("{percent:.0} %"),
    }
}

/// A time in the unit in which it is read best.
pub fn seconds(time: f64) -> String {
    let (factor, unit) = unit(time);
    if time == 0.0 { "0 s".to_owned() } else { format!("{} {unit}", three(time * factor)) }
}

/// `4.02–4.11 s`: the ends in one unit, that of the later.
pub fn between(from: f64, to: f64) -> String {
    let (factor, unit) = unit(to);
    format!("{}–{} {unit}", three(from * factor), three(to * factor))
}

/// What a second is in the unit for such a time, and its sign.
pub fn unit(time: f64) -> (f64, &'static str) {
    match time.abs() {
        time if time < 0.000_999_5 => (1e6, "µs"),
        time if time < 0.999_5 => (1e3, "ms"),
        _ => (1.0, "s"),
    }
}

/// A median, and below it in small what it lies between.
pub fn spread(spread: Option<&Spread>) -> String {
    let Some(Spread { median, least, most }) = spread else { return NONE.to_owned() };
    format!("{} <small>{}</small>", seconds(*median), between(*least, *most))
}

/// `2 peers`; with weak scaling `2 peers, ×2`.
pub fn peers(run: &Run) -> String {
    let peers = count(run.peers.into(), "peer");
    if run.times == 1 { peers } else { format!("{peers}, ×{}", run.times) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_only_text() {
        assert_eq!(escape("<b a='1' b=\"2\">&\n"), "&lt;b a=&#39;1&#39; b=&quot;2&quot;&gt;&amp; ");
        assert_eq!([short("n-body", 6), short("n-body & more", 9)], ["n-body", "n-body &amp;…"]);
    }

    #[test]
    fn figures_are_as_exact_as_anybody_reads_them() {
        assert_eq!([three(1.966), three(9.999), three(123.4), three(f64::NAN)], ["1.97", "10.0", "123", NONE]);
        assert_eq!(
            [percent(0.934), percent(0.004), percent(-0.0), percent(f64::INFINITY)],
            ["93 %", "0.4 %", "0 %", NONE]
        );
        assert_eq!(
            [seconds(0.0), seconds(0.000_042), seconds(0.25), seconds(0.999_9)],
            ["0 s", "42.0 µs", "250 ms", "1.00 s"]
        );
        assert_eq!(between(0.95, 1.04), "0.95–1.04 s");
    }
}
