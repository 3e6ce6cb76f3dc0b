//! Field masks on maps: `labels` replaces all, `labels.<key>` one entry.

use std::collections::BTreeMap;

/// Does what `path` says if it is about the map `field`, else returns `false`. An entry that `new` lacks
/// is removed.
pub(crate) fn update_map<V: Clone>(
    field: &str,
    path: &str,
    current: &mut BTreeMap<String, V>,
    new: &BTreeMap<String, V>,
) -> bool {
    if path == field {
        current.clone_from(new);
        return true;
    }
    let Some(key) = path.strip_prefix(field).and_then(|rest| rest.strip_prefix('.')) else { return false };
    match new.get(key) {
        Some(value) => current.insert(key.to_owned(), value.clone()),
        None => current.remove(key),
    };
    true
}

/// Drops entries with an empty value: setting one means removing it.
pub(crate) fn drop_empty(map: &mut BTreeMap<String, String>) {
    map.retain(|_, value| !value.is_empty());
}
