//! Names of tables: a version of a projection has tables of its own, and readers see those of one version through a view.

use crate::error::{Error, Result};

/// The table that a version of a projection fills.
pub(super) fn table(table: &str, version: u32) -> String {
    format!("{table}_v{version}")
}

/// Checks the name of a table, which stands in statements as it is.
pub(super) fn check(table: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if table.is_empty() || table.len() > 50 || !table.chars().all(plain) || table.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(Error::invalid(format!(
            "{table:?} can't be the name of a projection's table; use lower case letters, digits and _, 50 at most, a letter first"
        )));
    }
    Ok(())
}
