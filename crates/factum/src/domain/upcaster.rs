//! Upcasters: a chain from the shape that an event was stored in to the one of today, applied whenever it is read.
//!
//! What is stored never changes; what changes is how it is read. Each step takes one event type from one schema version to the next,
//! or to another type, or to several events, or to none. Steps know one event and nothing around it, so that a reader that stops between
//! any two events, and one that starts there, see the same.
//!
//! So to merge is to make several fields one ([`Shape::merge_fields`]), or several types one, by a step from each. Two events in a row
//! are not made one while reading: either may be the last that a reader has seen, another's event may stand between them, and a version
//! would have no event. Where today's type wants what two events said, each becomes that type with what it knows, as
//! `Option` fields, and `evolve` puts them together.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::error::Source;

/// An event as it was stored, on its way to today.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// Its type.
    pub event_type: String,
    /// The version of its type's schema.
    pub schema_version: u32,
    /// Its data.
    pub data: Value,
}

/// The steps from earlier shapes to those of today.
///
/// ```
/// use factum::{Shape, Upcasters};
/// use serde_json::json;
///
/// let upcasters = Upcasters::new()
///     .from("UserRegistered", 1, |shape| shape.rename_field("mail", "email"))
///     .from("UserRegistered", 2, |shape| shape.default_field("locale", "en"))
///     .from("UserMoved", 1, |shape| {
///         let (street, city) = (shape.data["street"].clone(), shape.data["city"].clone());
///         vec![Shape::new("StreetChanged", json!({"street": street})), Shape::new("CityChanged", json!({"city": city}))]
///     })
///     .rename_type("UserDeleted", "UserClosed")
///     .drop_type("UserPinged");
///
/// assert_eq!(upcasters.current_version("UserRegistered"), 3);
/// let today = upcasters.upcast(Shape::new("UserRegistered", json!({"mail": "a@b.c"})))?;
/// assert_eq!(today[0].data, json!({"email": "a@b.c", "locale": "en"}));
/// assert_eq!(upcasters.upcast(Shape::new("UserPinged", json!({})))?, []);
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Default)]
pub struct Upcasters {
    /// The steps of a type; the step from version v stands at v - 1.
    steps: HashMap<String, Vec<Option<Step>>>,
}

type Step = Arc<dyn Fn(Shape) -> Result<Vec<Shape>, Source> + Send + Sync>;

/// What a step may return: one shape, several, none, or a reason why it can't.
pub trait IntoShapes {
    /// The shapes.
    ///
    /// # Errors
    /// The reason why there are none.
    fn into_shapes(self) -> Result<Vec<Shape>, Source>;
}

impl IntoShapes for Shape {
    fn into_shapes(self) -> Result<Vec<Self>, Source> {
        Ok(vec![self])
    }
}

impl IntoShapes for Vec<Shape> {
    fn into_shapes(self) -> Result<Self, Source> {
        Ok(self)
    }
}

impl IntoShapes for Option<Shape> {
    fn into_shapes(self) -> Result<Vec<Shape>, Source> {
        Ok(self.into_iter().collect())
    }
}

impl<S: IntoShapes, E: Into<Source>> IntoShapes for Result<S, E> {
    fn into_shapes(self) -> Result<Vec<Shape>, Source> {
        self.map_err(Into::into)?.into_shapes()
    }
}

impl Upcasters {
    /// So many steps one event takes at most; more go round in a circle.
    const STEPS_MAX: u32 = 1_000;

    /// No steps: every event is stored as it is today.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with a step for events of `event_type` that were stored in that version of their schema. A result of the same type has the
    /// next version.
    ///
    /// # Panics
    /// If there is such a step already, or `version` is 0.
    #[must_use]
    pub fn from<S: IntoShapes>(mut self, event_type: &str, version: u32, step: impl Fn(Shape) -> S + Send + Sync + 'static) -> Self {
        assert!(version > 0, "schema versions of {event_type} begin with 1");
        let steps = self.steps.entry(event_type.to_owned()).or_default();
        let place = version as usize - 1;
        if steps.len() <= place {
            steps.resize(place + 1, None);
        }
        assert!(steps[place].is_none(), "there are two steps from version {version} of {event_type}");
        steps[place] = Some(Arc::new(move |shape| step(shape).into_shapes()));
        self
    }

    /// The same with a step from version 1 of `event_type` to version 1 of the type `to`.
    #[must_use]
    pub fn rename_type(self, event_type: &str, to: &str) -> Self {
        let to = to.to_owned();
        self.from(event_type, 1, move |shape| Shape::new(to.as_str(), shape.data))
    }

    /// The same, reading nothing where version 1 of `event_type` was stored.
    #[must_use]
    pub fn drop_type(self, event_type: &str) -> Self {
        self.from(event_type, 1, |_| None)
    }

    /// The version of the schema that events of `event_type` are stored in today.
    pub fn current_version(&self, event_type: &str) -> u32 {
        1 + self.steps.get(event_type).map_or(0, |steps| u32::try_from(steps.len()).expect("versions are u32"))
    }

    /// What `shape` is today.
    ///
    /// # Errors
    /// Which step failed, and why; or that the steps go round in a circle.
    pub fn upcast(&self, shape: Shape) -> Result<Vec<Shape>, String> {
        let mut today = Vec::new();
        let mut open = vec![shape];
        let mut taken = 0;
        while let Some(shape) = open.pop() {
            let Some(step) = self.step(&shape) else {
                today.push(shape);
                continue;
            };
            taken += 1;
            let (event_type, version) = (shape.event_type.clone(), shape.schema_version);
            if taken > Self::STEPS_MAX {
                return Err(format!("the upcasters go round in a circle at version {version} of {event_type}"));
            }
            let mut next = step(shape).map_err(|error| format!("the step from version {version} of {event_type} failed: {error}"))?;
            for shape in &mut next {
                if shape.event_type == event_type && shape.schema_version <= version {
                    shape.schema_version = version + 1;
                }
            }
            open.extend(next.into_iter().rev());
        }
        Ok(today)
    }

    /// Whether events of `event_type` may have been stored in another shape.
    pub(super) fn has_steps(&self, event_type: &str) -> bool {
        self.steps.contains_key(event_type)
    }

    /// The types and versions that steps begin at.
    #[cfg(feature = "testing")]
    pub(crate) fn stored(&self) -> impl Iterator<Item = (&str, u32)> {
        self.steps.iter().flat_map(|(event_type, steps)| (1..).zip(steps).map(|(version, _)| (event_type.as_str(), version)))
    }

    /// A version that no step leads on from, though a later one has a step.
    pub(super) fn gap(&self) -> Option<(&str, u32)> {
        self.steps.iter().find_map(|(event_type, steps)| {
            let place = steps.iter().position(Option::is_none)?;
            Some((event_type.as_str(), u32::try_from(place).expect("versions are u32") + 1))
        })
    }

    fn step(&self, shape: &Shape) -> Option<&Step> {
        let place = (shape.schema_version as usize).checked_sub(1)?;
        self.steps.get(&shape.event_type)?.get(place)?.as_ref()
    }
}

impl std::fmt::Debug for Upcasters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let versions = |(event_type, steps): (&String, &Vec<Option<Step>>)| (event_type.clone(), steps.len() + 1);
        f.debug_map().entries(self.steps.iter().map(versions)).finish()
    }
}

impl Shape {
    /// Version 1 of an event type.
    pub fn new(event_type: impl Into<String>, data: Value) -> Self {
        Self { event_type: event_type.into(), schema_version: 1, data }
    }

    /// The same, in that version of its schema.
    #[must_use]
    pub fn at_version(mut self, version: u32) -> Self {
        self.schema_version = version;
        self
    }

    /// The same with a field of another name, if it has it.
    #[must_use]
    pub fn rename_field(mut self, from: &str, to: &str) -> Self {
        if let Some(value) = self.fields().and_then(|fields| fields.remove(from)) {
            self.set(to, value);
        }
        self
    }

    /// The same with a field that has this value where it had none.
    #[must_use]
    pub fn default_field(mut self, field: &str, value: impl Into<Value>) -> Self {
        if let Some(fields) = self.fields() {
            fields.entry(field).or_insert_with(|| value.into());
        }
        self
    }

    /// The same without a field.
    #[must_use]
    pub fn remove_field(mut self, field: &str) -> Self {
        _ = self.fields().and_then(|fields| fields.remove(field));
        self
    }

    /// The same with several fields made one.
    #[must_use]
    pub fn merge_fields(mut self, from: &[&str], to: &str, merge: impl FnOnce(Vec<Value>) -> Value) -> Self {
        if let Some(fields) = self.fields() {
            let values = from.iter().map(|field| fields.remove(*field).unwrap_or_default()).collect();
            let merged = merge(values);
            self.set(to, merged);
        }
        self
    }

    /// The same with one field made several.
    #[must_use]
    pub fn split_field<const N: usize>(mut self, from: &str, split: impl FnOnce(Value) -> [(&'static str, Value); N]) -> Self {
        if let Some(value) = self.fields().and_then(|fields| fields.remove(from)) {
            for (field, value) in split(value) {
                self.set(field, value);
            }
        }
        self
    }

    /// The same with other data.
    #[must_use]
    pub fn map(mut self, change: impl FnOnce(Value) -> Value) -> Self {
        self.data = change(self.data);
        self
    }

    fn fields(&mut self) -> Option<&mut Map<String, Value>> {
        self.data.as_object_mut()
    }

    fn set(&mut self, field: &str, value: Value) {
        if let Some(fields) = self.fields() {
            fields.insert(field.to_owned(), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn steps_are_taken_in_order_from_the_version_stored() {
        let upcasters =
            Upcasters::new().from("A", 1, |shape| shape.rename_field("a", "b")).from("A", 2, |shape| shape.default_field("c", 3));
        let upcast = |version, data| upcasters.upcast(Shape::new("A", data).at_version(version)).expect("it works")[0].clone();
        let today = Shape::new("A", json!({"b": 1, "c": 3})).at_version(3);
        assert_eq!(upcast(1, json!({"a": 1})), today);
        assert_eq!(upcast(2, json!({"b": 1})), today);
        assert_eq!(upcast(3, json!({"b": 1, "c": 3})), today);
        // A later version's field is not touched by an earlier step.
        assert_eq!(upcast(2, json!({"a": 1})).data, json!({"a": 1, "c": 3}));
    }

    #[test]
    fn one_event_becomes_several_in_order_and_each_goes_on_by_itself() {
        let upcasters = Upcasters::new()
            .from("AB", 1, |_| vec![Shape::new("A", json!(1)), Shape::new("Gone", json!(2)), Shape::new("B", json!(3))])
            .from("A", 1, |shape| shape.map(|data| json!({"was": data})))
            .drop_type("Gone");
        let today = upcasters.upcast(Shape::new("AB", json!({}))).expect("it works");
        assert_eq!(today, [Shape::new("A", json!({"was": 1})).at_version(2), Shape::new("B", json!(3))]);
    }

    #[test]
    fn fields_are_split_and_merged() {
        let name = Shape::new("A", json!({"first": "Ann", "last": "Lee"}));
        let merged = name.merge_fields(&["first", "last"], "name", |parts| {
            json!(format!("{} {}", parts[0].as_str().unwrap_or(""), parts[1].as_str().unwrap_or("")))
        });
        assert_eq!(merged.data, json!({"name": "Ann Lee"}));
        let split = merged.split_field("name", |name| {
            let (first, last) = name.as_str().and_then(|name| name.split_once(' ')).unwrap_or_default();
            [("first", json!(first)), ("last", json!(last))]
        });
        assert_eq!(split.data, json!({"first": "Ann", "last": "Lee"}));
    }

    #[test]
    fn two_types_are_merged_into_one_each_with_what_it_knows() {
        let upcasters = Upcasters::new()
            .rename_type("StreetChanged", "AddressChanged")
            .from("CityChanged", 1, |shape| Shape::new("AddressChanged", shape.rename_field("name", "city").data));
        let today = |event_type, data| upcasters.upcast(Shape::new(event_type, data)).expect("it works");
        assert_eq!(today("StreetChanged", json!({"street": "a"})), [Shape::new("AddressChanged", json!({"street": "a"}))]);
        assert_eq!(today("CityChanged", json!({"name": "b"})), [Shape::new("AddressChanged", json!({"city": "b"}))]);
    }

    #[test]
    fn a_failing_step_and_a_circle_say_so() {
        let failing = Upcasters::new().from("A", 1, |_| Err::<Shape, _>("no such customer"));
        let error = failing.upcast(Shape::new("A", json!({}))).expect_err("it fails");
        assert_eq!(error, "the step from version 1 of A failed: no such customer");
        let circle = Upcasters::new().rename_type("A", "B").rename_type("B", "A");
        assert!(circle.upcast(Shape::new("A", json!({}))).expect_err("it fails").contains("circle"));
    }
}
