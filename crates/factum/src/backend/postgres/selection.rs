//! Queries as SQL.
//!
//! A query is a choice of alternatives. Each becomes a *lane* of its own, so that each is read in the order of positions out of the one
//! index that fits it; the lanes are then merged. One statement for all alternatives would make the server read and sort far more.

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query as Statement;
use sqlx::{Arguments, AssertSqlSafe, PgConnection, Postgres, Row};

use super::database::Names;
use super::row;
use crate::{Direction, EventType, GlobalPosition, Query, QueryItem, RecordedEvent};

/// With more lanes than this, one pass over everything is as good.
const LANES_MAX: usize = 64;

/// Which part of the log to look at, both ends inclusive.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    pub(super) from: i64,
    pub(super) to: i64,
    pub(super) direction: Direction,
    pub(super) events: i64,
}

/// Whether truncated events are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// Those that can be read.
    Readable,
    /// All that were recorded.
    Recorded,
}

impl Which {
    fn condition(self) -> &'static str {
        match self {
            Self::Readable => "e.data IS NOT NULL",
            Self::Recorded => "true",
        }
    }
}

/// One alternative, with one type at most.
struct Lane<'a> {
    item: &'a QueryItem,
    event_type: Option<&'a EventType>,
}

/// The statement that reads the events in a range that match: the columns of the event, then its stream's name.
pub(super) fn events<'a>(names: &Names, query: &Query, range: Range, which: Which) -> Statement<'a, Postgres, PgArguments> {
    let mut sql = Sql::new(range, which);
    let (columns, order) = (row::COLUMNS, order(range.direction));
    let select = format!("SELECT {columns}, {} FROM {{s}}.events e", row::STREAM_NAME);
    let lanes = lanes(query);
    match lanes.as_slice() {
        // The most frequent one keeps its plan.
        _ if query.is_all() => {
            let kept = which.condition();
            sql.text += &format!("{select} WHERE e.position BETWEEN $1 AND $2 AND {kept} ORDER BY e.position {order} LIMIT $3");
            return sql.statement(names, true);
        }
        [lane] if lane.item.tags.is_empty() => {
            sql.text += &format!("{select} WHERE e.position BETWEEN $1 AND $2 AND ");
            sql.conditions(lane);
            sql.text += &format!(" ORDER BY e.position {order} LIMIT $3");
        }
        lanes if lanes.len() <= LANES_MAX => {
            sql.text += &format!("{select} JOIN (SELECT DISTINCT position FROM (");
            for (number, lane) in lanes.iter().enumerate() {
                sql.text += if number == 0 { "" } else { " UNION ALL " };
                sql.lane(lane, order);
            }
            sql.text += &format!(") u ORDER BY position {order} LIMIT $3) p ON p.position = e.position ORDER BY e.position {order}");
        }
        lanes => {
            sql.text += &format!("{select} WHERE e.position BETWEEN $1 AND $2 AND (");
            for (number, lane) in lanes.iter().enumerate() {
                sql.text += if number == 0 { "" } else { " OR " };
                sql.conditions(lane);
            }
            sql.text += &format!(") ORDER BY e.position {order} LIMIT $3");
        }
    }
    sql.statement(names, false)
}

/// The last event after a position that matches, settled or not. Whoever asks keeps all others from appending.
pub(super) async fn last_match(
    connection: &mut PgConnection,
    names: &Names,
    query: &Query,
    after: GlobalPosition,
) -> sqlx::Result<Option<GlobalPosition>> {
    let from = row::number(after.number()).saturating_add(1);
    let range = Range { from, to: i64::MAX, direction: Direction::Backward, events: 1 };
    let found = events(names, query, range, Which::Recorded).fetch_optional(connection).await?;
    found.map(|found| Ok(row::position(found.try_get(0)?))).transpose()
}

/// The event in a row of [`events`].
pub(super) fn event(row: &PgRow) -> sqlx::Result<RecordedEvent> {
    row::event(row, row::stream(row, row::COLUMNS_COUNT)?)
}

fn order(direction: Direction) -> &'static str {
    match direction {
        Direction::Forward => "ASC",
        Direction::Backward => "DESC",
    }
}

fn lanes(query: &Query) -> Vec<Lane<'_>> {
    let of_item = |item: &'_ QueryItem| -> Vec<Option<usize>> {
        if item.types.is_empty() { vec![None] } else { (0..item.types.len()).map(Some).collect() }
    };
    let mut lanes = Vec::new();
    for item in &query.items {
        for number in of_item(item) {
            lanes.push(Lane { item, event_type: number.map(|number| &item.types[number]) });
        }
    }
    lanes
}

/// A statement while it is written.
struct Sql {
    text: String,
    which: Which,
    arguments: PgArguments,
}

impl Sql {
    fn new(range: Range, which: Which) -> Self {
        let mut sql = Self { text: String::new(), which, arguments: PgArguments::default() };
        for number in [range.from, range.to, range.events] {
            sql.arguments.add(number).expect("a number can be sent");
        }
        sql
    }

    fn statement<'a>(self, names: &Names, persistent: bool) -> Statement<'a, Postgres, PgArguments> {
        let AssertSqlSafe(text) = names.sql(&self.text);
        // A plan that was made for any text does not know which texts are rare.
        sqlx::query_with(AssertSqlSafe(text), self.arguments).persistent(persistent)
    }

    /// Adds a text as an argument, and says where it stands.
    fn bind(&mut self, text: &str) -> String {
        self.arguments.add(text).expect("a text can be sent");
        format!("${}", self.arguments.len())
    }

    /// The positions of a lane's events, in order.
    fn lane(&mut self, lane: &Lane<'_>, order: &str) {
        match lane.item.tags.split_first() {
            // A tag is the rarest of all that can be asked for, so it leads.
            Some((first, _)) => {
                let tag = self.bind(first.as_str());
                self.text += &format!(
                    "(SELECT t.position FROM {{s}}.tags t JOIN {{s}}.events e ON e.position = t.position
                      WHERE t.tag = {tag} AND t.position BETWEEN $1 AND $2 AND "
                );
                self.conditions(lane);
                self.text += &format!(" ORDER BY t.position {order} LIMIT $3)");
            }
            None => {
                self.text += "(SELECT e.position FROM {s}.events e WHERE e.position BETWEEN $1 AND $2 AND ";
                self.conditions(lane);
                self.text += &format!(" ORDER BY e.position {order} LIMIT $3)");
            }
        }
    }

    /// What must hold of an event `e`.
    fn conditions(&mut self, lane: &Lane<'_>) {
        let mut conditions = vec![self.which.condition().to_owned()];
        if let Some(category) = &lane.item.category {
            conditions.push(format!("e.category = {}", self.bind(category.as_str())));
        }
        if let Some(prefix) = lane.item.stream_prefix.as_deref().filter(|prefix| !prefix.is_empty()) {
            let bound = self.bind(prefix);
            match prefix.find('-') {
                // All these streams are of one category, which has an index.
                Some(dash) if dash > 0 => {
                    conditions.push(format!("e.category = {} AND {} ^@ {bound}", self.bind(&prefix[..dash]), row::STREAM_NAME));
                }
                // As far as the prefix goes, a stream's category is its id.
                _ => conditions.push(format!("e.category ^@ {bound}")),
            }
        }
        if let Some(event_type) = lane.event_type {
            conditions.push(format!("e.type = {}", self.bind(event_type.as_str())));
        }
        for tag in &lane.item.tags {
            let tag = self.bind(tag.as_str());
            conditions.push(format!("EXISTS (SELECT FROM {{s}}.tags x WHERE x.tag = {tag} AND x.position = e.position)"));
        }
        self.text += "(";
        self.text += &conditions.join(" AND ");
        self.text += ")";
    }
}
