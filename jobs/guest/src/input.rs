//! A chunk's bytes as a value of the type that the map takes: the rules of the crate's first page.
//!
//! It is a serde deserializer, so the type asks for what it wants, and never gets a guess.

use std::borrow::Cow;
use std::fmt::Display;
use std::str::FromStr;

use serde::de::value::{MapDeserializer, SeqDeserializer, StrDeserializer};
use serde::de::{Deserialize as _, DeserializeOwned, Deserializer, Error as _, IgnoredAny, IntoDeserializer, Visitor};
use serde_json::Error;
use serde_json::de::IoRead;

/// Reads a chunk.
///
/// # Errors
/// Says what the type would have taken, where the chunk is something else.
pub(crate) fn decode<I: DeserializeOwned>(chunk: Vec<u8>) -> Result<I, Error> {
    I::deserialize(Value(Cow::Owned(chunk)))
}

/// A chunk, or one of the TAB-parted values in it.
struct Value<'a>(Cow<'a, [u8]>);

impl Value<'_> {
    /// Without the white space around it.
    fn trimmed(&self) -> &[u8] {
        self.0.trim_ascii()
    }

    fn text(&self) -> Result<&str, Error> {
        std::str::from_utf8(self.trimmed()).map_err(Error::custom)
    }

    fn parse<T: FromStr<Err: Display>>(&self, expected: &str) -> Result<T, Error> {
        self.text()?.parse().map_err(|why| Error::custom(format_args!("expected {expected}: {why}")))
    }

    /// The values between the TABs; `None` where there is no TAB.
    fn fields(&self) -> Option<impl Iterator<Item = Value<'_>>> {
        let line = self.0.strip_suffix(b"\n").unwrap_or(&self.0);
        line.contains(&b'\t').then(|| line.split(|&byte| byte == b'\t').map(|field| Value(Cow::Borrowed(field))))
    }

    /// Hands the whole of it to serde_json, by way of the given method.
    fn json<T>(
        &self,
        read: impl FnOnce(&mut serde_json::Deserializer<IoRead<&[u8]>>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        // Not `from_slice`: that lends the text to the value, which is to own all it has.
        let mut json = serde_json::Deserializer::from_reader(self.trimmed());
        let value = read(&mut json)?;
        json.end()?;
        Ok(value)
    }

    /// TAB-parted values for a tuple, struct or list.
    fn sequence<'de, V: Visitor<'de>>(fields: impl Iterator<Item = Self>, visitor: V) -> Result<V::Value, Error> {
        let mut fields = SeqDeserializer::new(fields);
        let value = visitor.visit_seq(&mut fields)?;
        fields.end()?;
        Ok(value)
    }
}

impl IntoDeserializer<'_, Error> for Value<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// The methods for plain values: `str::parse`, then the visitor's check of the bounds.
macro_rules! parsed {
    ($($method:ident $visit:ident $expected:literal)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            visitor.$visit(self.parse($expected)?)
        }
    )*};
}

impl<'de> Deserializer<'de> for Value<'_> {
    type Error = Error;

    parsed! {
        deserialize_bool visit_bool "true or false"
        deserialize_i8 visit_i8 "an integer of 8 bits"
        deserialize_i16 visit_i16 "an integer of 16 bits"
        deserialize_i32 visit_i32 "an integer of 32 bits"
        deserialize_i64 visit_i64 "an integer of 64 bits"
        deserialize_i128 visit_i128 "an integer of 128 bits"
        deserialize_u8 visit_u8 "a positive integer of 8 bits"
        deserialize_u16 visit_u16 "a positive integer of 16 bits"
        deserialize_u32 visit_u32 "a positive integer of 32 bits"
        deserialize_u64 visit_u64 "a positive integer of 64 bits"
        deserialize_u128 visit_u128 "a positive integer of 128 bits"
        deserialize_f32 visit_f32 "a number"
        deserialize_f64 visit_f64 "a number"
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        // As it is, white space included; or as it is printed.
        let mut chars = std::str::from_utf8(&self.0).unwrap_or_default().chars();
        match (chars.next(), chars.next()) {
            (Some(char), None) => visitor.visit_char(char),
            (Some('"'), Some(_)) => self.json(|json| json.deserialize_char(visitor)),
            _ => visitor.visit_char(self.parse("one character")?),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let text = String::from_utf8(self.0.into_owned())
            .map_err(|error| Error::custom(format_args!("expected UTF-8 text: {error}; take `Bytes` instead")))?;
        visitor.visit_string(text)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_byte_buf(self.0.into_owned())
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.trimmed().is_empty() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.fields() {
            Some(fields) => Value::sequence(fields, visitor),
            None => self.json(|json| json.deserialize_seq(visitor)),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Error> {
        match self.fields() {
            Some(fields) => Value::sequence(fields, visitor),
            None => self.json(|json| json.deserialize_tuple(len, visitor)),
        }
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.fields() {
            Some(fields) => Value::sequence(fields, visitor),
            None => self.json(|json| json.deserialize_tuple_struct(name, len, visitor)),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        if name == "Range"
            && let Some((start, end)) = self.text()?.split_once("..")
        {
            // A person who runs the program by hand writes 1_000_000, as on the command line.
            let value = |end: &str| Value(Cow::Owned(end.replace('_', "").into_bytes()));
            let ends = [("start", value(start)), ("end", value(end))];
            return visitor.visit_map(MapDeserializer::new(ends.into_iter()));
        }
        match self.fields() {
            Some(fields) => Value::sequence(fields, visitor),
            None => self.json(|json| json.deserialize_struct(name, names, visitor)),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.json(|json| json.deserialize_map(visitor))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        if self.trimmed().first().is_some_and(|first| b"{\"".contains(first)) {
            return self.json(|json| json.deserialize_enum(name, variants, visitor));
        }
        let variant: StrDeserializer<'_, Error> = self.text()?.into_deserializer();
        visitor.visit_enum(variant)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let is_json = self.json(|json| IgnoredAny::deserialize(json)).is_ok();
        if is_json { self.json(|json| json.deserialize_any(visitor)) } else { self.deserialize_str(visitor) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fmt::Debug;
    use std::ops::Range;

    use serde::Deserialize;
    use serde_bytes::ByteBuf as Bytes;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Point {
        x: f64,
        name: String,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Seed(u64);

    #[derive(Debug, PartialEq, Deserialize)]
    enum Mode {
        Fast,
        Exact(u8),
    }

    #[track_caller]
    fn fits<I: DeserializeOwned + PartialEq + Debug>(chunk: impl AsRef<[u8]>, value: I) {
        let found: I = decode(chunk.as_ref().to_vec()).expect("a chunk that fits");
        assert_eq!(found, value);
    }

    #[track_caller]
    fn refused<I: DeserializeOwned + Debug>(chunk: impl AsRef<[u8]>, why: &str) {
        let error = decode::<I>(chunk.as_ref().to_vec()).expect_err("a chunk that does not fit");
        assert!(error.to_string().contains(why), "{error}");
    }

    #[test]
    fn text_and_bytes_are_the_chunk_itself() {
        for text in ["", " 1..2\n", "{\"a\": 1}", "a\tb\n", "[1]"] {
            fits(text, text.to_owned());
            fits(text, Bytes::from(text));
        }
        fits(b"\xff\n", Bytes::from(*b"\xff\n"));
        refused::<String>(b"ab\xff", "take `Bytes`");
    }

    #[test]
    fn plain_values_are_parsed() {
        fits("42", 42u64);
        fits(" -7\n", -7i8);
        fits("340282366920938463463374607431768211455", u128::MAX);
        fits("1e3", 1000.0);
        fits("true", true);
        fits("é", 'é');
        fits("anything", ());
        fits("", None::<u64>);
        fits("\n", None::<u64>);
        fits("5", Some(5u64));
        fits("9", Seed(9));
        refused::<u8>("256", "integer of 8 bits: number too large");
        refused::<u64>("-1", "positive integer");
        refused::<u64>("1 2", "invalid digit");
        refused::<f64>("", "expected a number");
    }

    #[test]
    fn ranges_are_a_dot_dot_b() {
        fits("3..10", 3u64..10);
        fits("0..4294967295\n", 0..u32::MAX);
        fits("0..1_000_000", 0..1_000_000);
        fits("{\"start\":1,\"end\":2}", 1u64..2);
        refused::<Range<u64>>("3..=10", "invalid digit");
        refused::<Range<u8>>("3..1000", "number too large");
        refused::<Range<u64>>("3", "invalid type");
        refused::<Range<u64>>("a word", "expected value");
    }

    #[test]
    fn tabs_part_the_values_of_a_tuple() {
        fits("1\ttwo words \n", (1u64, "two words ".to_owned()));
        fits("0..5\t \t7", (0u64..5, None::<u8>, Seed(7)));
        fits("[1,\"a\"]", (1u64, "a".to_owned()));
        fits("a\tb\tc", vec!["a".to_owned(), "b".to_owned(), "c".to_owned()]);
        fits("[1, 2]", vec![1, 2]);
        fits("2.5\tx", Point { x: 2.5, name: "x".into() });
        refused::<(u64, u64)>("1\t2\t3", "invalid length 3");
        refused::<(u64, u64, u64)>("1\t2", "invalid length 2");
        refused::<(u64, u64)>("1\tx", "invalid digit");
        refused::<(u64, u64)>("1", "expected a tuple");
    }

    #[test]
    fn what_is_left_is_json() {
        fits(" {\"name\":\"a\\tb\",\"x\":1}\n", Point { x: 1.0, name: "a\tb".into() });
        fits("{\"a\":1}", BTreeMap::from([("a".to_owned(), 1)]));
        fits("Fast\n", Mode::Fast);
        fits("\"Fast\"", Mode::Fast);
        fits("{\"Exact\":3}", Mode::Exact(3));
        fits("{\"a\":[1]}", serde_json::json!({"a": [1]}));
        fits("a word", serde_json::json!("a word"));
        refused::<Mode>("Slow", "unknown variant");
        refused::<Point>("{\"x\":1}", "missing field");
        refused::<BTreeMap<String, u64>>("{\"a\":1} x", "trailing characters");
    }
}
