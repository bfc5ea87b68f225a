//! Weighted draws in constant time: the alias method (Walker 1977, in Vose's form, 1991).
//!
//! Each of `n` columns is as high as the mean weight and holds at most two indices. In whole numbers:
//! a column is `sum` high and an index fills `weight * n` of height, so no rounding tilts the shares.

use super::draws::Draws;

/// Draws an index with a chance in proportion to its weight.
#[derive(Debug)]
pub(super) struct Alias {
    sum: u64,
    columns: Vec<Column>,
}

#[derive(Debug, Clone, Copy)]
struct Column {
    /// Below this height stands the column's own index.
    height: u64,
    /// Above it stands this one.
    other: usize,
}

impl Alias {
    /// `None` if all weights are 0.
    pub(super) fn new(weights: &[u32]) -> Option<Self> {
        let count = weights.len() as u64;
        // The sum of 2^32 weights below 2^32 fits, and so does each height below, for a pool of fewer
        // than 2^32 members.
        let sum: u64 = weights.iter().map(|&weight| u64::from(weight)).sum();
        if sum == 0 {
            return None;
        }
        let mut columns: Vec<Column> = (0..)
            .zip(weights)
            .map(|(other, &weight)| Column { height: u64::from(weight) * count, other })
            .collect();
        let (mut small, mut large): (Vec<_>, Vec<_>) =
            (0..columns.len()).partition(|&index| columns[index].height < sum);
        while let (Some(low), Some(&high)) = (small.pop(), large.last()) {
            columns[low].other = high;
            columns[high].height -= sum - columns[low].height;
            if columns[high].height < sum {
                large.pop();
                small.push(high);
            }
        }
        Some(Self { sum, columns })
    }

    pub(super) fn draw(&self, draws: &mut Draws) -> usize {
        let index = draws.below(self.columns.len());
        let height = (u128::from(draws.next()) * u128::from(self.sum)) >> 64;
        let column = self.columns[index];
        if height < u128::from(column.height) { index } else { column.other }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::random;
    use super::*;

    #[test]
    fn draws_by_weight() {
        let weights = [7, 0, 1, 2, 90];
        let alias = Alias::new(&weights).unwrap();
        let mut draws = Draws::of(&random(7));
        let mut shares = [0_u32; 5];
        for _ in 0..100_000 {
            shares[alias.draw(&mut draws)] += 1;
        }
        assert_eq!(shares[1], 0);
        for (share, weight) in shares.into_iter().zip(weights) {
            assert!(share.abs_diff(weight * 1_000) < 500, "{shares:?}");
        }
    }

    /// The heights of each index over all columns are exactly its weight.
    #[test]
    fn no_rounding_tilts_the_shares() {
        for weights in [vec![1], vec![3, 1, 1], vec![u32::MAX; 5], vec![u32::MAX, 1, 0, 17]] {
            let alias = Alias::new(&weights).unwrap();
            let mut heights = vec![0; weights.len()];
            for (index, column) in alias.columns.iter().enumerate() {
                heights[index] += column.height;
                heights[column.other] += alias.sum - column.height;
            }
            let count = weights.len() as u64;
            let expected: Vec<_> =
                weights.iter().map(|&weight| u64::from(weight) * count).collect();
            assert_eq!(heights, expected);
        }
        assert!(Alias::new(&[0, 0]).is_none() && Alias::new(&[]).is_none());
    }
}
