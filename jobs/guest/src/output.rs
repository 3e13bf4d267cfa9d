//! A value as what a program prints: the rules of the crate's first page.

use std::fmt::{self, Display};
use std::io::{self, BufWriter, StdoutLock, Write};

use serde::ser::{Impossible, Serialize, Serializer};

/// Bytes gathered before they leave the sandbox.
const BUFFER: usize = 64 << 10;

/// Standard output, buffered so that printing costs no call out of the sandbox for every line.
/// What is in the buffer goes out when it is dropped; [`Write::flush`] it to hear of an error.
#[must_use]
pub fn stdout() -> BufWriter<StdoutLock<'static>> {
    BufWriter::with_capacity(BUFFER, io::stdout().lock())
}

/// Whether there was anything to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Printed {
    /// Text or bytes, as they were.
    Raw,
    /// One line of JSON, without its newline.
    Json,
    /// `()` or `None`.
    Nothing,
}

/// Prints a value, but for the newline that JSON wants.
///
/// # Errors
/// Where `out` fails, or the value has no form in JSON.
pub(crate) fn print(value: &impl Serialize, mut out: impl Write) -> io::Result<Printed> {
    match value.serialize(Raw(&mut out)) {
        Ok(printed) => Ok(printed),
        Err(NotRaw::Structured) => {
            serde_json::to_writer(out, value)?;
            Ok(Printed::Json)
        }
        Err(NotRaw::Io(error)) => Err(error),
        Err(NotRaw::Custom(why)) => Err(io::Error::other(why)),
    }
}

/// Prints a chunk's or a reduce's result.
///
/// # Errors
/// As for [`print()`].
pub(crate) fn print_result(value: &impl Serialize, mut out: impl Write) -> io::Result<()> {
    if print(value, &mut out)? == Printed::Json {
        out.write_all(b"\n")?;
    }
    out.flush()
}

/// Writes what is text or bytes, and refuses the rest.
struct Raw<W>(W);

/// Why [`Raw`] did not write a value.
#[derive(Debug)]
enum NotRaw {
    Structured,
    Io(io::Error),
    Custom(String),
}

impl Display for NotRaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Structured => f.write_str("neither text nor bytes"),
            Self::Io(error) => error.fmt(f),
            Self::Custom(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for NotRaw {}

impl serde::ser::Error for NotRaw {
    fn custom<T: Display>(why: T) -> Self {
        Self::Custom(why.to_string())
    }
}

/// The methods for what is JSON: each refuses.
macro_rules! structured {
    ($($method:ident($($arg:ty),*) -> $ok:ty;)*) => {$(
        fn $method(self, $(_: $arg),*) -> Result<$ok, NotRaw> {
            Err(NotRaw::Structured)
        }
    )*};
}

type Never = Impossible<Printed, NotRaw>;
type Name = &'static str;

impl<W: Write> Serializer for Raw<W> {
    type Ok = Printed;
    type Error = NotRaw;
    type SerializeSeq = Never;
    type SerializeTuple = Never;
    type SerializeTupleStruct = Never;
    type SerializeTupleVariant = Never;
    type SerializeMap = Never;
    type SerializeStruct = Never;
    type SerializeStructVariant = Never;

    fn serialize_bytes(mut self, bytes: &[u8]) -> Result<Printed, NotRaw> {
        self.0.write_all(bytes).map_err(NotRaw::Io)?;
        Ok(Printed::Raw)
    }

    fn serialize_str(self, text: &str) -> Result<Printed, NotRaw> {
        self.serialize_bytes(text.as_bytes())
    }

    fn serialize_unit(self) -> Result<Printed, NotRaw> {
        Ok(Printed::Nothing)
    }

    fn serialize_none(self) -> Result<Printed, NotRaw> {
        Ok(Printed::Nothing)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Printed, NotRaw> {
        value.serialize(self)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: Name, value: &T) -> Result<Printed, NotRaw> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: Name,
        _: u32,
        _: Name,
        _: &T,
    ) -> Result<Printed, NotRaw> {
        Err(NotRaw::Structured)
    }

    structured! {
        serialize_bool(bool) -> Printed;
        serialize_i8(i8) -> Printed;
        serialize_i16(i16) -> Printed;
        serialize_i32(i32) -> Printed;
        serialize_i64(i64) -> Printed;
        serialize_i128(i128) -> Printed;
        serialize_u8(u8) -> Printed;
        serialize_u16(u16) -> Printed;
        serialize_u32(u32) -> Printed;
        serialize_u64(u64) -> Printed;
        serialize_u128(u128) -> Printed;
        serialize_f32(f32) -> Printed;
        serialize_f64(f64) -> Printed;
        serialize_char(char) -> Printed;
        serialize_unit_struct(Name) -> Printed;
        serialize_unit_variant(Name, u32, Name) -> Printed;
        serialize_seq(Option<usize>) -> Never;
        serialize_tuple(usize) -> Never;
        serialize_tuple_struct(Name, usize) -> Never;
        serialize_tuple_variant(Name, u32, Name, usize) -> Never;
        serialize_map(Option<usize>) -> Never;
        serialize_struct(Name, usize) -> Never;
        serialize_struct_variant(Name, u32, Name, usize) -> Never;
    }
}

#[cfg(test)]
mod tests {
    use serde_bytes::ByteBuf as Bytes;

    use super::*;

    fn printed(value: impl Serialize) -> Vec<u8> {
        let mut out = Vec::new();
        print_result(&value, &mut out).expect("a Vec takes all");
        out
    }

    #[test]
    fn text_goes_out_as_it_is_and_the_rest_as_json() {
        #[derive(serde::Serialize)]
        struct Name(&'static str);

        assert_eq!(printed("a\n\"b\""), b"a\n\"b\"");
        assert_eq!(printed(Bytes::from(*b"\xff\0")), b"\xff\0");
        assert_eq!(printed(Some("a")), b"a");
        assert_eq!(printed(Name("a")), b"a");
        assert_eq!(printed(()), b"");
        assert_eq!(printed(None::<u64>), b"");
        assert_eq!(printed(42), b"42\n");
        assert_eq!(printed(Some(0.5)), b"0.5\n");
        assert_eq!(printed((1, "a")), b"[1,\"a\"]\n");
        assert_eq!(printed(vec!["a"]), b"[\"a\"]\n");
    }

    #[test]
    fn an_error_of_the_writer_or_the_value_is_kept() {
        let mut full = [0u8; 2];
        let error = print(&"abc", full.as_mut_slice()).expect_err("no room");
        assert_eq!(error.kind(), io::ErrorKind::WriteZero);
        let odd = std::collections::BTreeMap::from([((1, 2), 3)]);
        let error = print(&odd, Vec::new()).expect_err("not JSON");
        assert!(error.to_string().contains("key must be a string"), "{error}");
    }
}
