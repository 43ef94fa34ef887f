//! A record that holds JSON, read and written with compare-and-set: what all readers keep their state in.

use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::{Record, RecordName, RecordVersion, RecordWrite, SharedStore};

/// The record of that name, which holds a `T`.
pub(crate) struct JsonRecord<T> {
    store: SharedStore,
    name: RecordName,
    content: PhantomData<fn() -> T>,
}

impl<T> Clone for JsonRecord<T> {
    fn clone(&self) -> Self {
        Self { store: self.store.clone(), name: self.name.clone(), content: PhantomData }
    }
}

impl<T: Serialize + DeserializeOwned> JsonRecord<T> {
    pub(crate) fn new(store: &SharedStore, name: impl AsRef<str>) -> Result<Self> {
        Ok(Self { store: store.clone(), name: RecordName::new(name)?, content: PhantomData })
    }

    /// What it holds, and at which version; `None` if it is not there.
    pub(crate) async fn get(&self) -> Result<Option<(RecordVersion, T)>> {
        let Some(Record { version, value }) = self.store.record(&self.name).await? else { return Ok(None) };
        let content = serde_json::from_slice(&value).map_err(|error| Error::Corrupt {
            reason: format!("record {} can't be read; was it written by another version of Factum?", self.name),
            source: Some(error.into()),
        })?;
        Ok(Some((version, content)))
    }

    /// Writes it, if it is still at `version`.
    pub(crate) async fn set(&self, version: RecordVersion, content: &T) -> Result<RecordVersion> {
        let value = serde_json::to_vec(content).expect("the readers' records can be written as JSON");
        self.store.write_record(RecordWrite::set(self.name.clone(), value).expecting(version)).await
    }

    /// Changes what is there, as often as it takes: `change` says `None` where there is nothing to change, and may be asked again.
    pub(crate) async fn update<R>(&self, mut change: impl FnMut(&mut T) -> Option<R>) -> Result<Option<R>>
    where
        T: Default,
    {
        loop {
            let (version, mut content) = self.get().await?.unwrap_or_default();
            let Some(answer) = change(&mut content) else { return Ok(None) };
            match self.set(version, &content).await {
                Ok(_) => return Ok(Some(answer)),
                Err(Error::RecordConflict { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }
}
