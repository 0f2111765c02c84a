//! What auditors read with SQL: views over the logs, in words, without anything that opens or finds anybody.
//!
//! One definition gives the views of PostgreSQL (schema `audit`), those of a SQLite snapshot (`audit_…`), the comments
//! in the database and the dictionary for people.

mod grant;
mod snapshot;
mod view;

pub use grant::{GrantError, InvalidRoleName, RoleName, audit_grant};
pub use snapshot::{SnapshotError, audit_snapshot};

use view::{Dialect, VIEWS, View};

/// The dictionary of the views, as Markdown.
pub fn dictionary() -> String {
    let mut text = String::new();
    for view in VIEWS {
        text += &format!(
            "### audit.{}\n\n{}\n\n| colonne | type | contenu |\n| --- | --- | --- |\n",
            view.name, view.comment
        );
        for column in view.columns {
            text += &format!("| `{}` | {} | {} |\n", column.name, column.kind, column.comment);
        }
        text += "\n";
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

/// Makes the views, or makes them anew, with their comments where the database keeps any.
fn definitions(dialect: Dialect) -> String {
    let mut sql = String::new();
    for view in VIEWS {
        sql += &view.definition(dialect);
    }
    sql
}

impl View {
    fn definition(&self, dialect: Dialect) -> String {
        let columns: Vec<&str> = self.columns.iter().map(|column| column.name).collect();
        let (columns, select) = (columns.join(", "), (self.select)(dialect));
        match dialect {
            Dialect::Sqlite => format!("CREATE VIEW audit_{} ({columns}) AS {select};\n", self.name),
            Dialect::Postgres => {
                let name = format!("audit.{}", self.name);
                // The owner's rights read the tables, the reader's none; a reader's function sees no row before the
                // view's own conditions.
                let mut sql =
                    format!("CREATE VIEW {name} ({columns}) WITH (security_barrier = true) AS {select};\n");
                sql += &format!("COMMENT ON VIEW {name} IS {};\n", literal(self.comment));
                for column in self.columns {
                    let comment = literal(column.comment);
                    sql += &format!("COMMENT ON COLUMN {name}.{} IS {comment};\n", column.name);
                }
                sql
            }
        }
    }
}

/// A text as SQL writes it.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_view_and_every_column_is_explained_once() {
        for view in VIEWS {
            assert!(!view.comment.is_empty(), "{}", view.name);
            let mut names: Vec<&str> = view.columns.iter().map(|column| column.name).collect();
            assert!(
                view.columns
                    .iter()
                    .all(|column| !column.comment.is_empty() && !column.kind.is_empty())
            );
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), view.columns.len(), "{}", view.name);
        }
        assert_eq!(literal("l'heure"), "'l''heure'");
    }

    #[test]
    fn the_page_of_the_repository_is_the_generated_one() {
        let page = include_str!("../../../migrations/README.md");
        assert!(page.ends_with(&dictionary()), "run: unefois db dictionary");
    }
}
