//! Reading JSON of any shape into typed places without ever failing on a type: a value of another
//! type is skipped and leaves its place empty. Only text that is no JSON is an error.

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{SeqAccess, Visitor},
};

use crate::event::audit::Text;

/// A place for text.
#[derive(Debug, Default, Clone)]
pub struct Str<'a>(pub Option<Text<'a>>);

impl<'a> Str<'a> {
    /// Takes the text out.
    pub fn take(&mut self) -> Option<Text<'a>> {
        self.0.take()
    }
}

/// A place for an integer.
#[derive(Debug, Default, Clone, Copy)]
pub struct Int(pub Option<i64>);

/// A place for a flag, where null differs from absent: a patch sets null to remove a field.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Flag {
    /// The field is not there.
    #[default]
    Absent,
    /// The field is null or of another type.
    Null,
    /// The field is a boolean.
    Is(bool),
}

impl Flag {
    /// The boolean, if it is one.
    pub fn value(self) -> Option<bool> {
        match self {
            Self::Is(value) => Some(value),
            Self::Absent | Self::Null => None,
        }
    }
}

/// A place for a list; `None` if there is none.
#[derive(Debug, Clone)]
pub struct Items<T>(pub Option<Vec<T>>);

impl<T> Default for Items<T> {
    fn default() -> Self {
        Self(None)
    }
}

/// The visitor methods that skip a value of another type, yielding the given empty value.
macro_rules! skip_others {
    ($empty:expr; $($method:ident: $type:ty),*) => {
        $(fn $method<E>(self, _: $type) -> Result<Self::Value, E> { Ok($empty) })*
    };
    ($empty:expr; unit) => {
        fn visit_unit<E>(self) -> Result<Self::Value, E> { Ok($empty) }
        fn visit_none<E>(self) -> Result<Self::Value, E> { Ok($empty) }
    };
    ($empty:expr; seq) => {
        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            while seq.next_element::<serde::de::IgnoredAny>()?.is_some() {}
            Ok($empty)
        }
    };
    ($empty:expr; map) => {
        fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            while map.next_entry::<serde::de::IgnoredAny, serde::de::IgnoredAny>()?.is_some() {}
            Ok($empty)
        }
    };
}
pub(crate) use skip_others;

impl<'de: 'a, 'a> Deserialize<'de> for Str<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Str<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("anything")
            }
            fn visit_borrowed_str<E>(self, v: &'de str) -> Result<Self::Value, E> {
                Ok(Str(Some(Cow::Borrowed(v))))
            }
            fn visit_str<E>(self, v: &str) -> Result<Self::Value, E> {
                Ok(Str(Some(Cow::Owned(v.to_owned()))))
            }
            skip_others!(Str(None); visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64);
            skip_others!(Str(None); unit);
            skip_others!(Str(None); seq);
            skip_others!(Str(None); map);
        }
        deserializer.deserialize_any(V)
    }
}

impl<'de> Deserialize<'de> for Int {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Int;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("anything")
            }
            fn visit_i64<E>(self, v: i64) -> Result<Self::Value, E> {
                Ok(Int(Some(v)))
            }
            fn visit_u64<E>(self, v: u64) -> Result<Self::Value, E> {
                Ok(Int(i64::try_from(v).ok()))
            }
            skip_others!(Int(None); visit_bool: bool, visit_f64: f64, visit_str: &str);
            skip_others!(Int(None); unit);
            skip_others!(Int(None); seq);
            skip_others!(Int(None); map);
        }
        deserializer.deserialize_any(V)
    }
}

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Flag;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("anything")
            }
            fn visit_bool<E>(self, v: bool) -> Result<Self::Value, E> {
                Ok(Flag::Is(v))
            }
            skip_others!(Flag::Null; visit_i64: i64, visit_u64: u64, visit_f64: f64, visit_str: &str);
            skip_others!(Flag::Null; unit);
            skip_others!(Flag::Null; seq);
            skip_others!(Flag::Null; map);
        }
        deserializer.deserialize_any(V)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Items<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for V<T> {
            type Value = Items<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("anything")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Items(Some(items)))
            }
            skip_others!(Items(None); visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64, visit_str: &str);
            skip_others!(Items(None); unit);
            skip_others!(Items(None); map);
        }
        deserializer.deserialize_any(V(PhantomData))
    }
}

/// Declares a struct of places and how its JSON fields are named.
macro_rules! lenient {
    (
        $(#[$doc:meta])*
        pub struct $name:ident<'a> {
            $($key:literal => $field:ident: $type:ty,)*
        }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Default, Clone)]
        pub struct $name<'a> {
            $(#[doc = concat!("`", $key, "`.")] pub $field: $type,)*
        }

        impl<'de: 'a, 'a> serde::Deserialize<'de> for $name<'a> {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct V;
                impl<'de> serde::de::Visitor<'de> for V {
                    type Value = $name<'de>;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("anything")
                    }
                    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                        let mut value = $name::default();
                        while let Some($crate::event::lenient::Key(key)) = map.next_key()? {
                            match key.as_ref() {
                                $($key => value.$field = map.next_value()?,)*
                                _ => { map.next_value::<serde::de::IgnoredAny>()?; }
                            }
                        }
                        Ok(value)
                    }
                    $crate::event::lenient::skip_others!($name::default(); visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64, visit_str: &str);
                    $crate::event::lenient::skip_others!($name::default(); unit);
                    $crate::event::lenient::skip_others!($name::default(); seq);
                }
                deserializer.deserialize_any(V)
            }
        }
    };
}
pub(crate) use lenient;

/// A field name, borrowed where nothing is escaped in it.
pub(crate) struct Key<'a>(pub(crate) Text<'a>);

impl<'de: 'a, 'a> Deserialize<'de> for Key<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Key(Str::deserialize(deserializer)?.0.unwrap_or_default()))
    }
}
