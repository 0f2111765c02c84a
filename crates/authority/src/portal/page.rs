//! A page and its template.
//!
//! This stands beside the pages, in one folder with them: askama 0.16 names a template by a path from the file in which the
//! derive is written, and the compiler reads it from the file in which the macro is called (askama-rs/askama#706). A
//! workspace other than this one, as that of `tests/fuzz`, would not find it.

/// Ties a page to its template and its place in the navigation.
macro_rules! page {
    ($page:ident, $path:tt, $section:ident) => {
        const _: () = {
            #[derive(askama::Template)]
            #[template(path = $path)]
            struct Sheet<'a> {
                site: &'a $crate::portal::Site,
                frame: &'a $crate::portal::Frame,
                section: $crate::portal::Section,
                l: $crate::portal::Lang,
                page: &'a $page,
            }

            impl $crate::portal::Page for $page {
                fn html(
                    &self,
                    site: &$crate::portal::Site,
                    frame: &$crate::portal::Frame,
                ) -> Result<String, askama::Error> {
                    use askama::Template as _;
                    let section = $crate::portal::Section::$section;
                    Sheet {
                        site,
                        frame,
                        section,
                        l: frame.lang,
                        page: self,
                    }
                    .render()
                }
            }
        };
    };
}
pub(super) use page;
