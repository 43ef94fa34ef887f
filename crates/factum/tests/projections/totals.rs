//! A projection that notices being applied twice, or not at all: it counts and adds up. And what its rows must be: a fold of the log.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use factum::projection::{SqlRows, SqlTarget};
use factum::{
    EventStoreExt, ExpectedVersion, GlobalPosition, Handled, NewEvent, Projection, ReadLog, RecordedEvent, SharedStore, StreamId,
};
use futures::TryStreamExt;

use crate::Outcome;

/// Counts and adds up numbers by their last digit.
#[derive(Clone, Default)]
pub(crate) struct Totals {
    /// Adds so much to each number: what a new version does otherwise.
    pub(crate) extra: i64,
    /// Numbers that can't be applied, as long as this is not 0: those that are divisible by it.
    pub(crate) refuses: Arc<AtomicU64>,
}

/// Of each digit the count and the sum.
pub(crate) type Sums = BTreeMap<i64, (i64, i64)>;

impl Totals {
    pub(crate) fn number(&self, event: &RecordedEvent) -> Result<i64, factum::Source> {
        let number: u64 = event.json()?;
        let refuses = self.refuses.load(Ordering::SeqCst);
        if refuses != 0 && number.is_multiple_of(refuses) {
            return Err(format!("{number} is refused").into());
        }
        Ok(i64::try_from(number)? + self.extra)
    }
}

#[async_trait::async_trait]
impl Projection<SqlRows> for Totals {
    fn name(&self) -> &str {
        "totals"
    }

    fn tables(&self) -> &[&'static str] {
        &["totals"]
    }

    async fn create(&self, rows: &mut SqlRows) -> Handled {
        rows.execute("CREATE TABLE {totals} (digit BIGINT PRIMARY KEY, count BIGINT NOT NULL, sum BIGINT NOT NULL)", &[]).await?;
        Ok(())
    }

    async fn apply(&self, event: &RecordedEvent, rows: &mut SqlRows) -> Handled {
        let number = self.number(event)?;
        let add = "INSERT INTO {totals} AS t (digit, count, sum) VALUES ($1, 1, $2)
             ON CONFLICT (digit) DO UPDATE SET count = t.count + 1, sum = t.sum + excluded.sum";
        rows.execute(add, &[(number % 10).into(), number.into()]).await?;
        Ok(())
    }
}

#[async_trait::async_trait]
impl Projection<factum::projection::Draft<Sums>> for Totals {
    fn name(&self) -> &str {
        "totals"
    }

    async fn apply(&self, event: &RecordedEvent, rows: &mut factum::projection::Draft<Sums>) -> Handled {
        let number = self.number(event)?;
        let (count, sum) = rows.entry(number % 10).or_default();
        (*count, *sum) = (*count + 1, *sum + number);
        Ok(())
    }
}

#[cfg(feature = "redis")]
#[async_trait::async_trait]
impl Projection<factum::projection::RedisRows> for Totals {
    fn name(&self) -> &str {
        "totals"
    }

    async fn apply(&self, event: &RecordedEvent, rows: &mut factum::projection::RedisRows) -> Handled {
        let number = self.number(event)?;
        rows.add("count", &(number % 10).to_string(), 1);
        rows.add("sum", &(number % 10).to_string(), number);
        Ok(())
    }
}

/// Appends these numbers.
pub(crate) async fn append(store: &SharedStore, numbers: impl IntoIterator<Item = u64>) -> Outcome<GlobalPosition> {
    let events = numbers.into_iter().map(|number| NewEvent::json("Counted", &number)).collect::<factum::Result<Vec<_>>>()?;
    Ok(store.append_to(&StreamId::new("Number-1")?, ExpectedVersion::Any, events).await?.last_position())
}

/// What the rows must be at some position.
pub(crate) async fn fold(store: &SharedStore, totals: &Totals, up_to: GlobalPosition) -> Outcome<Sums> {
    let mut sums = Sums::new();
    let mut events = store.read_log(ReadLog { up_to: Some(up_to), ..ReadLog::default() });
    while let Some(event) = events.try_next().await? {
        let number = totals.number(&event)?;
        let (count, sum) = sums.entry(number % 10).or_default();
        (*count, *sum) = (*count + 1, *sum + number);
    }
    Ok(sums)
}

/// A fold that goes on where it was: rows never go back.
#[derive(Default)]
pub(crate) struct Folded {
    pub(crate) sums: Sums,
    position: GlobalPosition,
}

impl Folded {
    pub(crate) async fn advance(&mut self, store: &SharedStore, up_to: GlobalPosition) -> Outcome {
        if up_to < self.position {
            return Err(format!("the rows went back from position {} to {up_to}", self.position).into());
        }
        let mut events = store.read_log(ReadLog { after: self.position, up_to: Some(up_to), ..ReadLog::default() });
        while let Some(event) = events.try_next().await? {
            let number = Totals::default().number(&event)?;
            let (count, sum) = self.sums.entry(number % 10).or_default();
            (*count, *sum) = (*count + 1, *sum + number);
        }
        self.position = up_to;
        Ok(())
    }
}

/// What readers see.
pub(crate) async fn rows(target: &SqlTarget) -> Outcome<Sums> {
    Ok(rows_at(target).await?.1)
}

/// What readers see, and where that is, in one look: what was given up may still be carried out between two.
pub(crate) async fn rows_at(target: &SqlTarget) -> Outcome<(GlobalPosition, Sums)> {
    let look = "SELECT p.position, t.digit, t.count, t.sum FROM factum_projections p LEFT JOIN totals t ON p.position > 0
         WHERE p.name = 'totals' AND p.live = 1";
    let mut position = GlobalPosition::START;
    let mut sums = Sums::new();
    for row in target.fetch(look, &[]).await? {
        let numbers: Vec<Option<i64>> = row.iter().map(factum::projection::SqlValue::as_integer).collect();
        position = GlobalPosition::from_number(numbers[0].unwrap_or_default().cast_unsigned());
        if let [_, Some(digit), Some(count), Some(sum)] = numbers[..] {
            sums.insert(digit, (count, sum));
        }
    }
    Ok((position, sums))
}
