//! An enum's variant, or a struct, as a name and JSON: what serde would write as `{"Name": {…}}`, apart.
//!
//! So an event's type is the variant's name and its data the variant's fields, with no second declaration and no intermediate value.

use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, IgnoredAny, IntoDeserializer, VariantAccess, Visitor};
use serde::ser::{
    self, Impossible, Serialize, SerializeStruct, SerializeStructVariant, SerializeTupleStruct, SerializeTupleVariant, Serializer,
};
use serde_json::ser::{CompactFormatter, Compound};

const SHAPE: &str = "an event type is an enum in serde's default form, or a struct, without #[serde(tag)], #[serde(untagged)] or, on a \
                     struct, #[serde(flatten)]";

/// The names that values of `T` can have.
pub(super) fn names<T: DeserializeOwned>() -> Result<Vec<&'static str>, String> {
    match T::deserialize(Probe) {
        Err(Probed::Names(names)) => Ok(names),
        Err(Probed::Other) | Ok(_) => Err(format!("{}: {SHAPE}", std::any::type_name::<T>())),
    }
}

/// The name of a value, and the rest of it as JSON.
pub(super) fn write<T: Serialize>(value: &T) -> Result<(&'static str, Vec<u8>), serde_json::Error> {
    let mut bytes = Vec::with_capacity(128);
    let name = value.serialize(Writer { json: &mut serde_json::Serializer::new(&mut bytes) })?;
    Ok((name, bytes))
}

/// The value of that name, whose rest is `content`.
pub(super) fn read<'de, T: DeserializeOwned, D: Deserializer<'de>>(name: &str, content: D) -> Result<T, D::Error> {
    T::deserialize(Named { name, content })
}

type Json<'a> = serde_json::Serializer<&'a mut Vec<u8>>;

struct Writer<'s, 'a> {
    json: &'s mut Json<'a>,
}

/// Writes the fields, and knows the name.
struct Fields<'s, 'a> {
    name: &'static str,
    fields: Compound<'s, &'a mut Vec<u8>, CompactFormatter>,
}

macro_rules! no_name {
    ($($method:ident: $type:ty),* $(,)?) => {
        $(fn $method(self, _: $type) -> Result<Self::Ok, Self::Error> { Err(ser::Error::custom(SHAPE)) })*
    };
}

impl<'s, 'a> Serializer for Writer<'s, 'a> {
    type Ok = &'static str;
    type Error = serde_json::Error;
    type SerializeSeq = Impossible<Self::Ok, Self::Error>;
    type SerializeTuple = Impossible<Self::Ok, Self::Error>;
    type SerializeTupleStruct = Fields<'s, 'a>;
    type SerializeTupleVariant = Fields<'s, 'a>;
    type SerializeMap = Impossible<Self::Ok, Self::Error>;
    type SerializeStruct = Fields<'s, 'a>;
    type SerializeStructVariant = Fields<'s, 'a>;

    fn serialize_struct(self, name: &'static str, fields: usize) -> Result<Fields<'s, 'a>, Self::Error> {
        Ok(Fields { name, fields: self.json.serialize_struct(name, fields)? })
    }

    fn serialize_struct_variant(self, _: &'static str, _: u32, name: &'static str, fields: usize) -> Result<Fields<'s, 'a>, Self::Error> {
        Ok(Fields { name, fields: self.json.serialize_struct(name, fields)? })
    }

    fn serialize_tuple_struct(self, name: &'static str, fields: usize) -> Result<Fields<'s, 'a>, Self::Error> {
        Ok(Fields { name, fields: self.json.serialize_tuple_struct(name, fields)? })
    }

    fn serialize_tuple_variant(self, _: &'static str, _: u32, name: &'static str, fields: usize) -> Result<Fields<'s, 'a>, Self::Error> {
        Ok(Fields { name, fields: self.json.serialize_tuple_struct(name, fields)? })
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Result<Self::Ok, Self::Error> {
        value.serialize(self.json).map(|()| name)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
        value: &T,
    ) -> Result<Self::Ok, Self::Error> {
        value.serialize(self.json).map(|()| name)
    }

    // What has no fields is an empty object, so that it can get some.
    fn serialize_unit_struct(self, name: &'static str) -> Result<Self::Ok, Self::Error> {
        SerializeStruct::end(self.json.serialize_struct(name, 0)?).map(|()| name)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, name: &'static str) -> Result<Self::Ok, Self::Error> {
        SerializeStruct::end(self.json.serialize_struct(name, 0)?).map(|()| name)
    }

    no_name! {
        serialize_bool: bool, serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64, serialize_f32: f32, serialize_f64: f64,
        serialize_char: char, serialize_str: &str, serialize_bytes: &[u8],
    }

    fn serialize_none(self) -> Result<Self::Ok, Self::Error> {
        Err(ser::Error::custom(SHAPE))
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Result<Self::Ok, Self::Error> {
        Err(ser::Error::custom(SHAPE))
    }

    fn serialize_unit(self) -> Result<Self::Ok, Self::Error> {
        Err(ser::Error::custom(SHAPE))
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self::SerializeSeq, Self::Error> {
        Err(ser::Error::custom(SHAPE))
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, Self::Error> {
        Err(ser::Error::custom(SHAPE))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, Self::Error> {
        Err(ser::Error::custom(SHAPE))
    }
}

macro_rules! named_fields {
    ($($trait:ident)*) => {
        $(impl $trait for Fields<'_, '_> {
            type Ok = &'static str;
            type Error = serde_json::Error;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), Self::Error> {
                SerializeStruct::serialize_field(&mut self.fields, key, value)
            }

            fn end(self) -> Result<Self::Ok, Self::Error> {
                SerializeStruct::end(self.fields).map(|()| self.name)
            }
        })*
    };
}

macro_rules! numbered_fields {
    ($($trait:ident)*) => {
        $(impl $trait for Fields<'_, '_> {
            type Ok = &'static str;
            type Error = serde_json::Error;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Self::Error> {
                SerializeTupleStruct::serialize_field(&mut self.fields, value)
            }

            fn end(self) -> Result<Self::Ok, Self::Error> {
                SerializeTupleStruct::end(self.fields).map(|()| self.name)
            }
        })*
    };
}

named_fields! { SerializeStruct SerializeStructVariant }
numbered_fields! { SerializeTupleStruct SerializeTupleVariant }

/// A name, and the rest as another deserializer has it.
struct Named<'n, D> {
    name: &'n str,
    content: D,
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Named<'_, D> {
    type Error = D::Error;

    fn deserialize_enum<V: Visitor<'de>>(self, _: &'static str, _: &'static [&'static str], visitor: V) -> Result<V::Value, D::Error> {
        visitor.visit_enum(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.content.deserialize_struct(name, fields, visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(self, name: &'static str, len: usize, visitor: V) -> Result<V::Value, D::Error> {
        self.content.deserialize_tuple_struct(name, len, visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, D::Error> {
        self.content.deserialize_newtype_struct(name, visitor)
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, D::Error> {
        <IgnoredAny as de::Deserialize>::deserialize(self.content)?;
        visitor.visit_unit()
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, D::Error> {
        Err(de::Error::custom(SHAPE))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit seq tuple map identifier ignored_any
    }
}

impl<'de, 'n, D: Deserializer<'de>> EnumAccess<'de> for Named<'n, D> {
    type Error = D::Error;
    type Variant = Content<D>;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Content<D>), D::Error> {
        let name: StrDeserializer<'n, D::Error> = self.name.into_deserializer();
        Ok((seed.deserialize(name)?, Content(self.content)))
    }
}

/// The fields of a variant.
struct Content<D>(D);

impl<'de, D: Deserializer<'de>> VariantAccess<'de> for Content<D> {
    type Error = D::Error;

    fn unit_variant(self) -> Result<(), D::Error> {
        <IgnoredAny as de::Deserialize>::deserialize(self.0).map(|IgnoredAny| ())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, D::Error> {
        seed.deserialize(self.0)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_tuple(len, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_struct("", fields, visitor)
    }
}

/// Asks a type what it wants to be read from, and reads nothing.
struct Probe;

#[derive(Debug)]
enum Probed {
    Names(Vec<&'static str>),
    Other,
}

impl fmt::Display for Probed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SHAPE)
    }
}

impl std::error::Error for Probed {}

impl de::Error for Probed {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self::Other
    }
}

impl<'de> Deserializer<'de> for Probe {
    type Error = Probed;

    fn deserialize_enum<V: Visitor<'de>>(self, _: &'static str, names: &'static [&'static str], _: V) -> Result<V::Value, Probed> {
        Err(Probed::Names(names.to_vec()))
    }

    fn deserialize_struct<V: Visitor<'de>>(self, name: &'static str, _: &'static [&'static str], _: V) -> Result<V::Value, Probed> {
        Err(Probed::Names(vec![name]))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(self, name: &'static str, _: usize, _: V) -> Result<V::Value, Probed> {
        Err(Probed::Names(vec![name]))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, _: V) -> Result<V::Value, Probed> {
        Err(Probed::Names(vec![name]))
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, name: &'static str, _: V) -> Result<V::Value, Probed> {
        Err(Probed::Names(vec![name]))
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Probed> {
        Err(Probed::Other)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit seq tuple map identifier ignored_any
    }
}
