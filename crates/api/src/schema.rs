//! The type table: for every API type its fields in the order in which they are written, with what the codecs, the
//! patches, apply and validation need to know of each.

use crate::names::{Key, Name};
use crate::tables::types::{KINDS, TYPES};

/// A type's number.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct TypeId(pub u16);

/// What a value is made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ty {
    /// A leaf.
    Scalar(Scalar),
    /// A struct of the table.
    Object(u16),
    /// A list.
    List(&'static Ty),
    /// An object with free keys.
    Map(&'static Ty),
}

/// A leaf's form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar {
    /// Text.
    String,
    /// Boolean.
    Bool,
    /// 32-bit integer.
    Int32,
    /// 64-bit integer.
    Int64,
    /// Double.
    Double,
    /// Base64 text in JSON.
    Bytes,
    /// RFC 3339, whole seconds.
    Time,
    /// RFC 3339, microseconds.
    MicroTime,
    /// Go's duration text.
    Duration,
    /// A resource quantity.
    Quantity,
    /// An integer or a text.
    IntOrString,
    /// Any JSON object (`RawExtension`).
    Raw,
    /// Any JSON (`FieldsV1`).
    Fields,
    /// Any JSON.
    Json,
    /// A JSON schema or a boolean.
    SchemaOrBool,
    /// A JSON schema or a list of them.
    SchemaOrArray,
    /// A JSON schema or a list of strings.
    SchemaOrStringArray,
}

/// How apply and merge see a list.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ListKind {
    /// One value.
    Atomic,
    /// A set of scalars.
    Set,
    /// Objects told apart by these members.
    Map(&'static [Name]),
}

/// A struct's field.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// JSON name.
    pub name: Name,
    /// What it holds.
    pub ty: Ty,
    /// Protobuf number (within the struct that declares it).
    pub tag: u32,
    /// Written even when empty.
    pub always: bool,
    /// A pointer: absent and zero differ.
    pub optional: bool,
    /// In OpenAPI's required list.
    pub required: bool,
    /// List topology.
    pub list: ListKind,
    /// A map owned as one value.
    pub atomic: bool,
    /// Strategic merge: lists are merged.
    pub patch_merge: bool,
    /// Strategic merge: `$retainKeys` applies.
    pub retain_keys: bool,
    /// Strategic merge: the key of list elements.
    pub merge_key: Option<Name>,
    /// Default of the schema, as JSON text.
    pub default: Option<&'static str>,
    /// Allowed values.
    pub values: &'static [&'static str],
    /// The feature gate that guards it.
    pub gate: Option<&'static str>,
}

/// What a field is unless it says otherwise.
pub const NO_FIELD: Field = Field {
    name: Name(0),
    ty: Ty::Scalar(Scalar::String),
    tag: 0,
    always: false,
    optional: false,
    required: false,
    list: ListKind::Atomic,
    atomic: false,
    patch_merge: false,
    retain_keys: false,
    merge_key: None,
    default: None,
    values: &[],
    gate: None,
};

/// A place in a protobuf message.
#[derive(Clone, Copy, Debug)]
pub enum Layout {
    /// The field with this index.
    Field(usize),
    /// An inlined struct, a message of its own on the wire.
    Inline(u16),
}

/// A union: its discriminator, and its members with the discriminator's value for each.
pub type Union = (Option<Name>, &'static [(Name, &'static str)]);

/// A struct.
#[derive(Debug)]
pub struct Type {
    /// OpenAPI name.
    pub name: &'static str,
    /// Owned as one value.
    pub atomic: bool,
    /// Unions among its fields.
    pub unions: &'static [Union],
    /// Protobuf numbers in ascending order.
    pub layout: &'static [(u32, Layout)],
    /// Fields in JSON order, inlined structs' included.
    pub fields: &'static [Field],
}

impl Type {
    /// The type with this number.
    pub fn of(id: u16) -> &'static Type {
        &TYPES[id as usize]
    }

    /// Its number, if it is one of the table's.
    pub fn id(&'static self) -> Option<u16> {
        let at = std::ptr::from_ref(self).addr().checked_sub(TYPES.as_ptr().addr())? / size_of::<Type>();
        (at < TYPES.len()).then_some(at as u16)
    }

    /// The type of an OpenAPI name.
    pub fn named(name: &str) -> Option<&'static Type> {
        TYPES.binary_search_by(|t| t.name.cmp(name)).ok().map(|i| &TYPES[i])
    }

    /// The type of a kind.
    pub fn of_kind(group: &str, version: &str, kind: &str) -> Option<&'static Type> {
        KINDS.binary_search_by(|k| (k.0, k.1, k.2).cmp(&(group, version, kind))).ok().map(|i| Type::of(KINDS[i].3))
    }

    /// All types, sorted by name.
    pub fn all() -> &'static [Type] {
        TYPES
    }

    /// All kinds: (group, version, kind, type).
    pub fn kinds() -> &'static [(&'static str, &'static str, &'static str, u16)] {
        KINDS
    }

    /// A field and its position.
    pub fn field(&self, name: Name) -> Option<(usize, &'static Field)> {
        self.fields.iter().enumerate().find(|(_, f)| f.name == name)
    }

    /// The field of a key.
    pub fn field_of(&self, key: &Key) -> Option<&'static Field> {
        self.field(key.name()?).map(|(_, f)| f)
    }

    /// Go's name of the type: the last part of the OpenAPI name.
    pub fn go_name(&self) -> &'static str {
        self.name.rsplit('.').next().unwrap_or(self.name)
    }

    /// Go's package-qualified name, as in `v1.Pod`.
    pub fn go_qualified(&self) -> &'static str {
        let mut dots = self.name.rmatch_indices('.');
        dots.next();
        dots.next().map_or(self.name, |(i, _)| &self.name[i + 1..])
    }
}

impl Ty {
    /// The struct, if it is one.
    pub fn object(self) -> Option<&'static Type> {
        match self {
            Ty::Object(id) => Some(Type::of(id)),
            _ => None,
        }
    }
}
