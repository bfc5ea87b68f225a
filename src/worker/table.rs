//! What a worker has many of, each under a key that no other has had.

use slab::Slab;

/// Generations count round in so many bits.
const GENERATIONS: u32 = (1 << 31) - 1;

/// A place in the table and which of its lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) index: usize,
    pub(super) generation: u32,
}

/// Entries by their keys.
#[derive(Debug)]
pub(super) struct Table<T> {
    places: Slab<Place<T>>,
    next_generation: u32,
}

#[derive(Debug)]
struct Place<T> {
    generation: u32,
    entry: T,
}

impl<T> Table<T> {
    pub(super) fn new() -> Self {
        Self { places: Slab::new(), next_generation: 0 }
    }

    /// The key that the next entry will have.
    pub(super) fn next_key(&self) -> Key {
        Key { index: self.places.vacant_key(), generation: self.next_generation }
    }

    /// Adds an entry under `next_key`.
    pub(super) fn insert(&mut self, entry: T) {
        self.places.insert(Place { generation: self.next_generation, entry });
        self.next_generation = (self.next_generation + 1) % GENERATIONS;
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let place = self.places.get_mut(key.index);
        place.filter(|it| it.generation == key.generation).map(|it| &mut it.entry)
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<T> {
        self.get_mut(key)?;
        self.places.try_remove(key.index).map(|it| it.entry)
    }

    /// The key of what is at `index` now.
    pub(super) fn key_at(&self, index: usize) -> Option<Key> {
        self.places.get(index).map(|it| Key { index, generation: it.generation })
    }

    pub(super) fn keys(&self) -> Vec<Key> {
        let key = |(index, it): (usize, &Place<T>)| Key { index, generation: it.generation };
        self.places.iter().map(key).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_finds_its_entry_and_never_one_that_came_after_it() {
        let mut table = Table::new();
        let one = table.next_key();
        table.insert("one");
        assert_eq!(table.get_mut(one), Some(&mut "one"));
        assert_eq!(table.remove(one), Some("one"));
        let two = table.next_key();
        table.insert("two");
        assert_eq!(two.index, one.index, "the place is taken again");
        assert_eq!(table.get_mut(one), None);
        assert_eq!(table.remove(one), None);
        assert_eq!((table.key_at(two.index), table.keys()), (Some(two), vec![two]));
        assert_eq!((table.remove(two), table.len()), (Some("two"), 0));
    }
}
