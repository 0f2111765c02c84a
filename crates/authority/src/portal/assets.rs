use std::path::Path;

use ring::digest::{SHA256, digest};

/// A file that the pages refer to, served from memory.
#[derive(Clone, Debug)]
pub struct Asset {
    /// Its path on the portal, which changes with its bytes, so that it may be cached for a year.
    pub path: String,
    /// `Content-Type`.
    pub content_type: &'static str,
    /// `ETag`, quotes included.
    pub etag: String,
    /// The contents.
    pub bytes: Vec<u8>,
}

/// What an administration may replace: colours and sizes, the logo, the footer.
///
/// Its files are the operator's and go into pages as they are.
#[derive(Clone, Debug)]
pub struct Theme {
    /// CSS custom properties; `theme/tokens.css` lists those that the stylesheet needs.
    pub tokens_css: String,
    /// The mark in the header, which must be legible on a light and on a dark ground.
    pub logo_svg: String,
    /// HTML of the footer's own part, in French.
    pub footer_fr: String,
    /// The same in English.
    pub footer_en: String,
}

/// A theme folder cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("theme file {file} cannot be read")]
pub struct ThemeError {
    /// Which of the four files.
    pub file: &'static str,
    /// Why.
    #[source]
    pub source: std::io::Error,
}

impl Default for Theme {
    fn default() -> Self {
        Self {
            tokens_css: include_str!("../../theme/tokens.css").to_owned(),
            logo_svg: include_str!("../../theme/logo.svg").to_owned(),
            footer_fr: include_str!("../../theme/footer.fr.html").to_owned(),
            footer_en: include_str!("../../theme/footer.en.html").to_owned(),
        }
    }
}

impl Theme {
    /// The theme in a folder that holds the same four files as the one that is built in.
    pub fn load(folder: &Path) -> Result<Self, ThemeError> {
        let read = |file: &'static str| {
            std::fs::read_to_string(folder.join(file)).map_err(|source| ThemeError { file, source })
        };
        Ok(Self {
            tokens_css: read("tokens.css")?,
            logo_svg: read("logo.svg")?,
            footer_fr: read("footer.fr.html")?,
            footer_en: read("footer.en.html")?,
        })
    }
}

/// The stylesheet (the theme's tokens, then ours), the logo and the script.
pub(super) fn compile(theme: &Theme) -> Vec<Asset> {
    let css = format!(
        "{}\n{}",
        theme.tokens_css,
        include_str!("../../templates/portal.css")
    );
    vec![
        asset("portal", "css", "text/css; charset=utf-8", css.into_bytes()),
        asset(
            "logo",
            "svg",
            "image/svg+xml",
            theme.logo_svg.clone().into_bytes(),
        ),
        asset(
            "effect",
            "js",
            "text/javascript; charset=utf-8",
            include_bytes!("../../templates/effect.js").to_vec(),
        ),
    ]
}

fn asset(stem: &str, extension: &str, content_type: &'static str, bytes: Vec<u8>) -> Asset {
    let hash: String = (digest(&SHA256, &bytes).as_ref().iter().take(8))
        .map(|b| format!("{b:02x}"))
        .collect();
    Asset {
        path: format!("/static/{stem}.{hash}.{extension}"),
        content_type,
        etag: format!("\"{hash}\""),
        bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_byte_changes_the_path() {
        let theme = Theme::default();
        let changed = Theme {
            logo_svg: format!("{} ", theme.logo_svg),
            ..theme.clone()
        };
        let (a, b) = (compile(&theme), compile(&changed));
        assert_eq!(a[0].path, b[0].path);
        assert_ne!(a[1].path, b[1].path);
        assert!(
            a.iter()
                .all(|f| f.path.starts_with("/static/") && f.etag.starts_with('"'))
        );
    }

    #[test]
    fn a_theme_without_a_file_is_refused_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("tokens.css"), ":root{}").unwrap();
        assert_eq!(Theme::load(folder.path()).unwrap_err().file, "logo.svg");
    }
}
