//! Golden files: one for each version of each event that was ever stored, so that no change makes one unreadable unnoticed.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::difference::{self, pretty};
use crate::domain::{Codec, Event, Shape};
use crate::{GlobalPosition, RecordedEvent, StreamId, StreamVersion, Timestamp};

/// The golden files of the events of one kind.
///
/// A file says how an event was stored, and what that is today. [`Golden::check`] fails if one can't be read any more or is read as
/// something else, if an event of today is stored in another shape without a new schema version, and if a version has no file. So each
/// kind of event has a folder of its own: a file of a type that is gone from the code stands for events that are still stored. Files
/// that are missing are written with `FACTUM_GOLDEN=write`; look at them, and keep them with your tests.
///
/// ```no_run
/// # use factum::Event;
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize)]
/// # enum UserEvent { UserRegistered { email: String } }
/// # impl Event for UserEvent {}
/// # fn samples() -> Vec<UserEvent> { Vec::new() }
/// // In a test, with one event of each type:
/// factum::testing::Golden::<UserEvent>::in_folder("tests/golden").check(samples());
/// ```
#[derive(Debug)]
pub struct Golden<E> {
    folder: PathBuf,
    events: PhantomData<fn() -> E>,
}

/// A file.
#[derive(Serialize, Deserialize)]
struct Stored {
    #[serde(rename = "type")]
    event_type: String,
    schema_version: u32,
    data: Value,
    /// What it is today.
    today: Vec<Today>,
}

#[derive(Serialize, Deserialize)]
struct Today {
    #[serde(rename = "type")]
    event_type: String,
    data: Value,
}

impl<E: Event> Golden<E> {
    /// Those in a folder, which is relative to the crate under test.
    pub fn in_folder(folder: impl AsRef<Path>) -> Self {
        Self { folder: folder.as_ref().to_owned(), events: PhantomData }
    }

    /// Checks all files, and that each type and version has one. `samples` are events of today, one of each type.
    ///
    /// # Panics
    /// With all that is wrong, and what to do about it.
    #[track_caller]
    pub fn check(&self, samples: impl IntoIterator<Item = E>) {
        let is_writing = std::env::var_os("FACTUM_GOLDEN").is_some_and(|text| text == "write");
        let wrong = self.problems(samples, is_writing);
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    fn problems(&self, samples: impl IntoIterator<Item = E>, is_writing: bool) -> Vec<String> {
        let codec = Codec::<E>::new();
        let mut wrong = Vec::new();
        let mut wanted: BTreeSet<String> = codec.types().map(|name| file_name(name, codec.upcasters().current_version(name))).collect();
        wanted.extend(codec.upcasters().stored().map(|(name, version)| file_name(name, version)));
        for sample in samples {
            if let Err(problem) = self.check_sample(&codec, &sample, is_writing) {
                wrong.push(problem);
            }
        }
        match self.files() {
            Ok(files) => wanted.extend(files),
            Err(problem) => wrong.push(problem),
        }
        for file in wanted {
            match self.read(&file) {
                Ok(Some(stored)) => wrong.extend(check_stored(&codec, &file, &stored).err()),
                Ok(None) => wrong.push(format!(
                    "{} is missing: an event of that version may be stored somewhere; write it by hand, or give a sample of today and set \
                     FACTUM_GOLDEN=write",
                    self.folder.join(file).display()
                )),
                Err(problem) => wrong.push(problem),
            }
        }
        wrong.sort();
        wrong.dedup();
        wrong
    }

    /// Checks that a sample is stored as its golden file says, or writes the file.
    fn check_sample(&self, codec: &Codec<E>, sample: &E, is_writing: bool) -> Result<(), String> {
        let new = codec.encode(sample, Uuid::nil()).map_err(|error| error.to_string())?;
        let data: Value = serde_json::from_slice(&new.data).map_err(|error| error.to_string())?;
        let event_type = new.event_type.as_str().to_owned();
        let version = codec.upcasters().current_version(&event_type);
        let file = file_name(&event_type, version);
        match self.read(&file)? {
            Some(stored) => {
                let (expected, actual) = (outline(&stored.data), outline(&data));
                difference::between(&expected, &actual).map_or(Ok(()), |difference| {
                    Err(format!(
                        "{event_type} is stored in another shape, and still as schema version {version}; add an upcaster from it, and a \
                         golden file of the new version (where a field may be missing, give a sample that has it):\n{difference}"
                    ))
                })
            }
            None if is_writing => {
                let today = vec![Today { event_type: event_type.clone(), data: data.clone() }];
                let text = pretty(&Stored { event_type, schema_version: version, data, today }) + "\n";
                let path = self.folder.join(file);
                let written = fs::create_dir_all(&self.folder).and_then(|()| fs::write(&path, text));
                written.map_err(|error| format!("{} can't be written: {error}", path.display()))
            }
            None => Ok(()),
        }
    }

    /// The files that are there.
    fn files(&self) -> Result<Vec<String>, String> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries.collect::<Result<Vec<_>, _>>(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        };
        let entries = entries.map_err(|error| format!("{} can't be read: {error}", self.folder.display()))?;
        let names = entries.into_iter().map(|entry| entry.file_name().to_string_lossy().into_owned());
        Ok(names.filter(|name| name.ends_with(".json")).collect())
    }

    fn read(&self, file: &str) -> Result<Option<Stored>, String> {
        let path = self.folder.join(file);
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| format!("{}: {error}", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("{} can't be read: {error}", path.display())),
        }
    }
}

/// Checks that what is stored is read, and as what the file says.
fn check_stored<E: Event>(codec: &Codec<E>, file: &str, stored: &Stored) -> Result<(), String> {
    if file != file_name(&stored.event_type, stored.schema_version) {
        return Err(format!("{file} is about version {} of {}", stored.schema_version, stored.event_type));
    }
    let shape = Shape::new(stored.event_type.as_str(), stored.data.clone()).at_version(stored.schema_version);
    let events = codec.decode(&recorded(&shape)).map_err(|error| format!("{file}: {error}"))?;
    let expected: String = stored.today.iter().map(|today| format!("{} {}\n", today.event_type, pretty(&today.data))).collect();
    let expected = if expected.is_empty() { "nothing\n".to_owned() } else { expected };
    match difference::between(&expected, &difference::shown(codec, &events)) {
        None => Ok(()),
        Some(difference) => Err(format!("{file} is read as something else than it says:\n{difference}")),
    }
}

/// The event as a store would give it.
fn recorded(shape: &Shape) -> RecordedEvent {
    let metadata = if shape.schema_version == 1 { String::new() } else { format!("{{\"schema_version\":{}}}", shape.schema_version) };
    RecordedEvent {
        position: GlobalPosition::from_number(1),
        stream: StreamId::new("golden").expect("it is a short name"),
        version: StreamVersion::FIRST,
        id: Uuid::nil(),
        event_type: shape.event_type.parse().unwrap_or_else(|error| panic!("{error}")),
        recorded_at: Timestamp::UNIX_EPOCH,
        occurred_at: None,
        data: serde_json::to_vec(&shape.data).expect("a JSON value can be written").into(),
        metadata: metadata.into(),
        tags: Vec::new(),
    }
}

fn file_name(event_type: &str, version: u32) -> String {
    let plain = |c: char| if c.is_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '_' };
    format!("{}.v{version}.json", event_type.chars().map(plain).collect::<String>())
}

/// The shape of data without its values: which fields, and of what kind. A list is as its first item.
fn outline(data: &Value) -> String {
    let mut text = String::new();
    add_outline(data, "data", &mut text);
    text
}

fn add_outline(value: &Value, path: &str, text: &mut String) {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "text",
        Value::Array(items) => {
            if let Some(first) = items.first() {
                add_outline(first, &format!("{path}[]"), text);
            }
            "list"
        }
        Value::Object(fields) => {
            for (field, value) in fields {
                add_outline(value, &format!("{path}.{field}"), text);
            }
            "object"
        }
    };
    writeln!(text, "{path}: {kind}").expect("a text can be written to");
}
