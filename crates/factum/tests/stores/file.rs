//! The embedded store, in a temporary directory.

use std::sync::Arc;

use factum::conformance::{InDirectory, Subject};
use factum::{Result, SharedStore};
use tempfile::TempDir;

use super::Stores;

struct Temporary {
    subject: InDirectory,
    _directory: TempDir,
}

pub(super) fn add(stores: &mut Stores) {
    let directory = TempDir::new().expect("a temporary directory can be made");
    stores.here.push(Arc::new(Temporary { subject: InDirectory::new(directory.path()), _directory: directory }));
}

#[async_trait::async_trait]
impl Subject for Temporary {
    fn name(&self) -> &str {
        self.subject.name()
    }

    async fn open(&self, place: &str) -> Result<SharedStore> {
        self.subject.open(place).await
    }

    async fn discard(&self, place: &str) {
        self.subject.discard(place).await;
    }
}
