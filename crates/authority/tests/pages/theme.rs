//! The colours of the theme.

use unefois_authority::portal::Theme;
/// Every pair of colours that carries text or the edge of a field, by WCAG 2.2's formula.
#[test]
fn contrast_of_the_theme_in_light_and_dark() {
    const TEXT: [(&str, &[&str]); 9] = [
        (
            "ink",
            &[
                "paper",
                "surface",
                "accent-soft",
                "danger-soft",
                "warn-soft",
                "ok-soft",
            ],
        ),
        ("ink-soft", &["paper", "surface"]),
        ("accent", &["paper", "surface", "accent-soft"]),
        ("accent-strong", &["paper", "surface", "accent-soft"]),
        ("on-accent", &["accent", "accent-strong"]),
        ("danger", &["paper", "surface", "danger-soft"]),
        ("on-danger", &["danger"]),
        ("ok", &["paper", "surface", "ok-soft"]),
        ("warn", &["paper", "surface", "warn-soft"]),
    ];
    const EDGES: [(&str, &[&str]); 2] = [
        ("line-strong", &["paper", "surface"]),
        ("focus", &["paper", "surface", "danger-soft"]),
    ];
    let css = Theme::default().tokens_css;
    let (light, dark) = css.split_once("@media (prefers-color-scheme: dark)").unwrap();
    for (scheme, block) in [("light", light), ("dark", dark)] {
        let colour = |name: &str| {
            let hex = block
                .split_once(&format!("--{name}: #"))
                .unwrap_or_else(|| panic!("{scheme}: {name}"))
                .1;
            u32::from_str_radix(&hex[..6], 16).unwrap()
        };
        for (pairs, least) in [(&TEXT[..], 4.5), (&EDGES[..], 3.0)] {
            for (front, grounds) in pairs {
                for ground in *grounds {
                    let ratio = contrast(colour(front), colour(ground));
                    assert!(ratio >= least, "{scheme}: {front} on {ground} is {ratio:.2}");
                }
            }
        }
    }
    assert!(
        (contrast(0x00_00_00, 0xff_ff_ff) - 21.0).abs() < 1e-9,
        "the formula itself"
    );
}

fn contrast(a: u32, b: u32) -> f64 {
    let luminance = |colour: u32| {
        let channel = |shift: u32| {
            let c = f64::from((colour >> shift) & 0xff) / 255.0;
            if c <= 0.040_45 {
                c / 12.92
            } else {
                ((c + 0.055) / 1.055).powf(2.4)
            }
        };
        0.2126 * channel(16) + 0.7152 * channel(8) + 0.0722 * channel(0)
    };
    let (high, low) = (luminance(a).max(luminance(b)), luminance(a).min(luminance(b)));
    (high + 0.05) / (low + 0.05)
}
