//! Which events: the filter that `log` and `export` share.

use clap::Args;
use factum::{Category, EventType, Query, QueryItem, Tag};

/// Which events of the log.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Filter {
    /// Only streams of this category, the text before the first `-` of a stream's name; may be given several times
    #[arg(long, value_name = "CATEGORY")]
    pub(crate) category: Vec<Category>,
    /// Only events of this type; given several times, any of them
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) types: Vec<EventType>,
    /// Only events with this tag; given several times, all of them
    #[arg(long = "tag", value_name = "TAG")]
    pub(crate) tags: Vec<Tag>,
}

impl Filter {
    /// The filter as the store understands it.
    pub(crate) fn query(&self) -> Query {
        let item = QueryItem { types: self.types.clone(), tags: self.tags.clone(), ..QueryItem::default() };
        if self.category.is_empty() {
            return if item == QueryItem::default() { Query::all() } else { Query::item(item) };
        }
        let items = self.category.iter().map(|category| QueryItem { category: Some(category.clone()), ..item.clone() });
        Query { items: items.collect() }
    }
}
