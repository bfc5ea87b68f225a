//! "did you mean": the known word that is nearest to a wrong one, and text as messages show it.

use std::borrow::Cow;

/// Longest text of a value that a message repeats.
const SHOWN: usize = 80;
/// Words longer than this are not compared; nobody mistypes them by two letters.
const COMPARED: usize = 64;

/// The known word nearest to `word`, if it is near enough to be meant.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let meant = fold(word);
    let allowed = (meant.len() / 3).clamp(1, 3);
    known
        .into_iter()
        .map(|candidate| (fold(candidate), candidate))
        // A long enough beginning of a word is as good as the word.
        .map(|(letters, candidate)| match meant.len() > 2 && letters.starts_with(&meant) {
            true => (1, candidate),
            false => (distance(&meant, &letters), candidate),
        })
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// "did you mean `x`?", if something is near enough.
pub(crate) fn did_you_mean<'a>(
    word: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    nearest(word, known).map(|found| format!("did you mean `{found}`?"))
}

/// People write max-connections and maxConnections; both are near max_connections.
fn fold(word: &str) -> Vec<char> {
    let letters = word.chars().filter(|letter| !matches!(letter, '_' | '-'));
    letters.flat_map(char::to_lowercase).take(COMPARED).collect()
}

/// Letters to insert, delete, replace or swap with their neighbour (optimal string alignment).
fn distance(from: &[char], to: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for (row, left) in from.iter().enumerate() {
        let mut line = vec![row + 1];
        for (column, right) in to.iter().enumerate() {
            let replaced = last[column] + usize::from(left != right);
            let mut least = replaced.min(last[column + 1] + 1).min(line[column] + 1);
            let swapped = row > 0 && column > 0;
            if swapped && *left == to[column - 1] && from[row - 1] == *right {
                least = least.min(before[column - 1] + 1);
            }
            line.push(least);
        }
        before = std::mem::replace(&mut last, line);
    }
    last.last().copied().unwrap_or(from.len())
}

/// A value as messages show it: in backticks, on one line, cut when long.
pub(crate) fn quoted(value: &str) -> String {
    let mut shown: String = value.chars().take(SHOWN).flat_map(escaped).collect();
    if value.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}

/// Text that may come from a file or name one, on one line.
pub(crate) fn on_one_line(text: &str) -> Cow<'_, str> {
    match text.contains(char::is_control) {
        false => Cow::Borrowed(text),
        true => Cow::Owned(text.chars().flat_map(escaped).collect()),
    }
}

/// Control characters would break the line, or the reader's terminal.
fn escaped(letter: char) -> Vec<char> {
    match letter.is_control() {
        true => letter.escape_default().collect(),
        false => vec![letter],
    }
}

/// "`a`, `b` or `c`".
pub(crate) fn listed<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let words: Vec<String> = words.into_iter().map(|word| format!("`{word}`")).collect();
    match words.split_last() {
        None => "none".to_owned(),
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        let known = ["address", "pool", "max_connections", "rate"];
        let find = |word| nearest(word, known);
        assert_eq!(find("adress"), Some("address"));
        assert_eq!(find("addressess"), Some("address"));
        assert_eq!(find("max-connections"), Some("max_connections"));
        assert_eq!(find("maxConnections"), Some("max_connections"));
        assert_eq!(find("polo"), Some("pool"));
        assert_eq!(find("rtae"), Some("rate"));
        assert_eq!(find("max"), Some("max_connections"));
        assert_eq!(find("frontend"), None);
        assert_eq!(find(""), None);
    }

    #[test]
    fn shown_values_stay_on_one_line() {
        assert_eq!(quoted("a\nb\u{1b}"), "`a\\nb\\u{1b}`");
        assert_eq!(quoted(&"x".repeat(100)).chars().count(), 83);
        assert_eq!(listed(["a", "b", "c"]), "`a`, `b` or `c`");
    }
}
