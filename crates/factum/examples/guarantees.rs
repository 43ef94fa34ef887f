//! Prints the table of guarantees: every check, played against every store, as Markdown.

use std::sync::Arc;

use factum::conformance::{InMemory, Subject, guarantees};

#[tokio::main]
async fn main() -> factum::Result<()> {
    #[cfg(feature = "embedded")]
    let directory = tempfile::tempdir().map_err(|error| factum::Error::Unavailable {
        reason: "a temporary directory can't be made".to_owned(),
        source: Some(error.into()),
    })?;
    let stores: Vec<Arc<dyn Subject>> = vec![
        Arc::new(InMemory),
        #[cfg(feature = "embedded")]
        Arc::new(factum::conformance::InDirectory::new(directory.path())),
    ];
    print!("{}", guarantees(&stores).await?);
    Ok(())
}
