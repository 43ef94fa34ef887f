//! The stores that the table is played against: those that this build has, on servers that this machine has.

use std::sync::Arc;

use factum::conformance::{InMemory, Subject};

#[cfg(feature = "embedded")]
mod file;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "redis")]
mod redis;

/// Stores under test. Dropping them stops their servers and deletes their files.
pub(crate) struct Stores {
    /// Those that can be tried.
    pub here: Vec<Arc<dyn Subject>>,
    /// Those that can't, and why.
    pub missing: Vec<Missing>,
}

/// A store whose server this machine lacks.
pub(crate) struct Missing {
    /// What its column would be called.
    pub name: &'static str,
    /// What to do about it.
    pub reason: String,
}

/// All stores, in the order of their columns.
pub(crate) fn all() -> Stores {
    let kinds: &[fn(&mut Stores)] = &[
        |stores| stores.here.push(Arc::new(InMemory)),
        #[cfg(feature = "embedded")]
        file::add,
        #[cfg(feature = "postgres")]
        postgres::add,
        #[cfg(feature = "redis")]
        redis::add,
    ];
    let mut stores = Stores { here: Vec::new(), missing: Vec::new() };
    kinds.iter().for_each(|add| add(&mut stores));
    stores
}
