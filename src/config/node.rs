//! The tree of one file: values with their places, in the order of the file.
//!
//! Two trees are equal when they mean the same; where the values stand does not matter.

use std::borrow::Cow;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use toml::value::Datetime;

/// A value and the bytes where it stands.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) span: Range<usize>,
    pub(super) value: Value,
}

#[derive(Debug, Clone)]
pub(super) enum Value {
    String(String),
    Integer(i128, String),
    Float(f64, String),
    Flag(bool),
    Datetime(Datetime),
    Array(Vec<Node>),
    Table(Table),
    /// What no type of ours holds: an integer beyond 128 bits, or what only begins like one.
    Beyond(String),
}

/// The entries in the order of the file.
#[derive(Debug, Clone, Default)]
pub(super) struct Table(pub(super) Vec<Entry>);

#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) span: Range<usize>,
    pub(super) node: Node,
}

impl Table {
    pub(super) fn find(&self, key: &str) -> Option<&Entry> {
        self.0.iter().find(|entry| entry.key == key)
    }

    /// Takes over what was parsed; the parser has bounded its depth.
    pub(super) fn from_parsed(parsed: &DeTable<'_>) -> Self {
        let entry = |(key, value): (&Spanned<Cow<'_, str>>, _)| Entry {
            key: key.get_ref().to_string(),
            span: key.span(),
            node: Node::from_parsed(value),
        };
        let mut entries: Vec<Entry> = parsed.iter().map(entry).collect();
        entries.sort_by_key(|entry| entry.span.start);
        Self(entries)
    }
}

impl Node {
    pub(super) fn from_parsed(parsed: &Spanned<DeValue<'_>>) -> Self {
        let value = match parsed.get_ref() {
            DeValue::String(text) => Value::String(text.to_string()),
            DeValue::Integer(number) => {
                match i128::from_str_radix(number.as_str(), number.radix()) {
                    Ok(value) => Value::Integer(value, value.to_string()),
                    Err(_) => Value::Beyond(number.to_string()),
                }
            }
            DeValue::Float(number) => match number.as_str().parse() {
                Ok(value) => Value::Float(value, number.to_string()),
                Err(_) => Value::Beyond(number.to_string()),
            },
            DeValue::Boolean(flag) => Value::Flag(*flag),
            DeValue::Datetime(moment) => Value::Datetime(*moment),
            DeValue::Array(items) => Value::Array(items.iter().map(Self::from_parsed).collect()),
            DeValue::Table(table) => Value::Table(Table::from_parsed(table)),
        };
        Self { span: parsed.span(), value }
    }

    /// The form that serde reads, with the places kept.
    pub(super) fn to_parsed(&self) -> Spanned<DeValue<'_>> {
        let number = |text| DeValue::parse(text).map(Spanned::into_inner);
        let value = match &self.value {
            Value::String(text) | Value::Beyond(text) => DeValue::String(text.into()),
            Value::Integer(_, text) | Value::Float(_, text) => {
                number(text).unwrap_or_else(|_| DeValue::String(text.into()))
            }
            Value::Flag(flag) => DeValue::Boolean(*flag),
            Value::Datetime(moment) => DeValue::Datetime(*moment),
            Value::Array(items) => DeValue::Array(items.iter().map(Self::to_parsed).collect()),
            Value::Table(table) => DeValue::Table(table.to_parsed()),
        };
        Spanned::new(self.span.clone(), value)
    }

    /// What it is, for a message.
    pub(super) fn kind(&self) -> &'static str {
        match self.value {
            Value::String(_) => "a string",
            Value::Integer(..) | Value::Beyond(_) => "an integer",
            Value::Float(..) => "a float",
            Value::Flag(_) => "a boolean",
            Value::Datetime(_) => "a date",
            Value::Array(_) => "a list",
            Value::Table(_) => "a table",
        }
    }

    /// Calls `change` with every string below, and where it stands.
    pub(super) fn each_string(&mut self, change: &mut dyn FnMut(&mut String, &Range<usize>)) {
        match &mut self.value {
            Value::String(text) => change(text, &self.span),
            Value::Array(items) => items.iter_mut().for_each(|item| item.each_string(change)),
            Value::Table(table) => table.each_string(change),
            _ => {}
        }
    }

    fn each_beyond(&self, see: &mut dyn FnMut(&str, &Range<usize>)) {
        match &self.value {
            Value::Beyond(text) => see(text, &self.span),
            Value::Array(items) => items.iter().for_each(|item| item.each_beyond(see)),
            Value::Table(table) => table.each_beyond(see),
            _ => {}
        }
    }
}

impl Table {
    /// Calls `see` with every value that no type holds, and where it stands.
    pub(super) fn each_beyond(&self, see: &mut dyn FnMut(&str, &Range<usize>)) {
        self.0.iter().for_each(|entry| entry.node.each_beyond(see));
    }

    fn to_parsed(&self) -> DeTable<'_> {
        let entry = |entry: &'_ Entry| entry.span.clone();
        let mut parsed = DeTable::new();
        for item in &self.0 {
            let key = Spanned::new(entry(item), Cow::Borrowed(item.key.as_str()));
            parsed.insert(key, item.node.to_parsed());
        }
        parsed
    }

    pub(super) fn each_string(&mut self, change: &mut dyn FnMut(&mut String, &Range<usize>)) {
        self.0.iter_mut().for_each(|entry| entry.node.each_string(change));
    }
}

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        match (&self.value, &other.value) {
            (Value::String(a), Value::String(b)) => a == b,
            (Value::Integer(a, _), Value::Integer(b, _)) => a == b,
            (Value::Float(a, _), Value::Float(b, _)) => a.to_bits() == b.to_bits(),
            (Value::Flag(a), Value::Flag(b)) => a == b,
            (Value::Datetime(a), Value::Datetime(b)) => a == b,
            (Value::Array(a), Value::Array(b)) => a == b,
            (Value::Table(a), Value::Table(b)) => a == b,
            (Value::Beyond(a), Value::Beyond(b)) => a == b,
            _ => false,
        }
    }
}

/// The order of keys means nothing.
impl PartialEq for Table {
    fn eq(&self, other: &Self) -> bool {
        let same = |entry: &Entry| other.find(&entry.key).is_some_and(|it| it.node == entry.node);
        self.0.len() == other.0.len() && self.0.iter().all(same)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> Table {
        Table::from_parsed(DeTable::parse(text).unwrap().get_ref())
    }

    #[test]
    fn equal_means_the_same_value_wherever_it_stands() {
        let one = table("a = 0x10\nb = { c = [1.5, \"x\"], d = true }\n");
        let two = table("# moved\n[b]\nd = true\nc = [1.50, 'x']\n");
        assert_eq!(one.find("b").unwrap().node, two.find("b").unwrap().node);
        assert_eq!(one, table("b.d = true\nb.c = [1.5, 'x']\na = 16"));
        assert_ne!(one, two);
        assert_ne!(table("a = 1"), table("a = 1.0"));
        assert_ne!(table("a = [1, 2]"), table("a = [2, 1]"));
    }

    #[test]
    fn an_integer_that_no_type_holds_is_equal_to_itself() {
        let text = format!("a = {}\n", "9".repeat(50));
        assert_eq!(table(&text), table(&text));
        assert_ne!(table(&text), table(&format!("a = {}\n", "8".repeat(50))));
    }

    #[test]
    fn entries_keep_the_order_of_the_file() {
        let keys: Vec<String> = table("z = 1\na = 2\nm = 3").0.into_iter().map(|e| e.key).collect();
        assert_eq!(keys, ["z", "a", "m"]);
    }

    #[test]
    fn what_serde_reads_is_what_was_parsed() {
        let table = table("a = 0x1_0\nb = -1.5e3\nc = 1979-05-27\nd = [{ e = 'x' }]");
        let again = Table::from_parsed(&table.to_parsed());
        assert_eq!(table, again);
    }
}
