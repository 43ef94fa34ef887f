//! The store under test, as the table sees it.

use std::sync::Arc;

use async_trait::async_trait;

use crate::backend::Memory;
use crate::{Result, SharedStore};

/// A store under test.
#[async_trait]
pub trait Subject: Send + Sync {
    /// What to call it in reports.
    fn name(&self) -> &str;

    /// Opens the store at `place`.
    ///
    /// # Behavior
    /// - A place that was not opened before holds an empty store, separate from all others.
    /// - A place that was opened before, and closed since, holds what it held then, if the store is persistent.
    /// - A place is 33 characters, a letter and hexadecimal digits in lower case, so it can be a file name, a schema or a key prefix.
    async fn open(&self, place: &str) -> Result<SharedStore>;

    /// Called when nobody will open `place` again.
    async fn discard(&self, place: &str) {
        let _ = place;
    }
}

/// The store in memory, under test.
#[derive(Clone, Copy, Debug)]
pub struct InMemory;

#[async_trait]
impl Subject for InMemory {
    fn name(&self) -> &str {
        "memory"
    }

    async fn open(&self, _place: &str) -> Result<SharedStore> {
        Ok(Arc::new(Memory::new()))
    }
}

/// The embedded store under test, each place a directory in one directory.
#[cfg(feature = "embedded")]
#[derive(Clone, Debug)]
pub struct InDirectory {
    directory: std::path::PathBuf,
}

#[cfg(feature = "embedded")]
impl InDirectory {
    /// Stores in `directory`, which must exist.
    pub fn new(directory: impl Into<std::path::PathBuf>) -> Self {
        Self { directory: directory.into() }
    }
}

#[cfg(feature = "embedded")]
#[async_trait]
impl Subject for InDirectory {
    fn name(&self) -> &str {
        "file"
    }

    async fn open(&self, place: &str) -> Result<SharedStore> {
        crate::connect(&format!("file:{}", self.directory.join(place).display())).await
    }

    async fn discard(&self, place: &str) {
        // What remains costs space in a temporary directory and nothing else.
        let _ = std::fs::remove_dir_all(self.directory.join(place));
    }
}
