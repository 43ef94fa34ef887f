//! Rebuilding beside the running version: fill new tables, compare them with the old at the same position, switch readers over in one
//! transaction, drop the old.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::TryStreamExt;

use super::{SqlRows, SqlTarget, SqlValue, gone, names, number, of, signed};
use crate::GlobalPosition;
use crate::error::{Error, Result};
use crate::projection::projector::Running;
use crate::projection::target::{Build, Target};
use crate::projection::versions::{found, live_and_newest, live_build, not_level, to_build};
use crate::projection::{BuildState, Comparison, EXAMPLES, PATIENCE, Projection, Projector, Rebuild, TableDifference, Versions};
use crate::subscription::ParkedEvent;

/// So many events may be missing when both versions are brought to one position, while the old one has to wait.
const BEHIND_MAX: usize = 2_000;

impl<P: Projection<SqlRows>> Rebuild<P, SqlTarget> {
    /// Compares both versions at one position, while neither can move.
    ///
    /// # Errors
    /// As [`Projector::run_to_end`]; [`Error::Unavailable`] if the old version does not run and is behind.
    pub async fn compare(&mut self) -> Result<Comparison> {
        let (mut rows, at) = self.at_one_position().await?;
        let comparison = difference(&mut rows, &self.running.build, self.now, at).await?;
        self.projector.target.keep(rows).await?;
        self.running.claim.position = at;
        Ok(comparison)
    }

    /// Lets readers see the new version instead of the old one, from one moment to the next, with both at the same position. Whoever runs
    /// the old one is told so, and ends.
    ///
    /// # Errors
    /// As [`Rebuild::compare`].
    pub async fn switch(mut self) -> Result<Projector<P, SqlTarget>> {
        let (mut rows, _) = self.at_one_position().await?;
        show(&mut rows, &self.running.build).await?;
        self.projector.target.keep(rows).await?;
        Ok(self.projector)
    }

    /// A transaction in which both versions are locked and at the same position.
    async fn at_one_position(&mut self) -> Result<(SqlRows, GlobalPosition)> {
        let begun = Instant::now();
        loop {
            self.catch_up().await?;
            let Running { build, claim, .. } = &self.running;
            let mut rows = self.projector.target.transaction(build).await?;
            let lock = "UPDATE factum_projections SET position = position WHERE name = $1 AND version = $2 RETURNING position";
            let old = rows.fetch(lock, &[build.name.as_str().into(), self.now.into()]).await?.pop().ok_or_else(|| gone(build))?;
            let at = GlobalPosition::from_number(number(&old[0]));
            if at < claim.position {
                drop(rows);
                if begun.elapsed() > PATIENCE {
                    let name = &build.name;
                    return Err(Error::Unavailable {
                        reason: format!("version {} of projection {name} is behind at position {at} and does not move; run it", self.now),
                        source: None,
                    });
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
            let events: Vec<_> = self.projector.store.read_log(self.missing(at)).try_collect().await?;
            if events.len() > BEHIND_MAX {
                continue;
            }
            let step = "UPDATE factum_projections SET position = $4 WHERE name = $1 AND version = $2 AND fence = $3";
            let [name, version] = of(build);
            if rows.execute(step, &[name, version, signed(claim.fence), signed(at.number())]).await? == 0 {
                return Err(super::fenced(build, claim.fence, claim.fence + 1));
            }
            match self.projector.projection.apply_all(&events, &mut rows).await {
                Ok(()) => return Ok((rows, at)),
                // What fails is seen to as everywhere: one by one, with retries, parked or an error.
                Err(_) => {
                    drop(rows);
                    self.projector.apply(&mut self.running, &events, at).await?;
                }
            }
        }
    }
}

#[async_trait]
impl Versions for SqlTarget {
    async fn builds(&self, name: &str) -> Result<Vec<BuildState>> {
        let select = "SELECT version, position, live, tables FROM factum_projections WHERE name = $1 ORDER BY version";
        let build = |row: Vec<SqlValue>| {
            let version = u32::try_from(number(&row[0])).unwrap_or_default();
            let tables = row[3].as_text().unwrap_or_default().split(',').filter(|table| !table.is_empty());
            let tables = tables.map(|table| names::table(table, version)).collect();
            BuildState { version, position: GlobalPosition::from_number(number(&row[1])), is_live: number(&row[2]) == 1, tables }
        };
        Ok(self.fetch(select, &[name.into()]).await?.into_iter().map(build).collect())
    }

    async fn ask_for_rebuild(&self, name: &str) -> Result<u32> {
        let version = to_build(name, &self.builds(name).await?, self.asked_for(name).await?)?;
        let build = Build { name: name.to_owned(), version, tables: Vec::new() };
        let mut rows = self.transaction(&build).await?;
        rows.execute("INSERT INTO factum_rebuilds (name, version) VALUES ($1, $2) ON CONFLICT DO NOTHING", &of(&build)).await?;
        self.keep(rows).await?;
        Ok(version)
    }

    async fn compare(&self, name: &str, patience: Duration) -> Result<Comparison> {
        let (mut rows, build, now, position) = self.level(name, patience).await?;
        let comparison = difference(&mut rows, &build, now, position).await?;
        self.keep(rows).await?;
        Ok(comparison)
    }

    async fn switch(&self, name: &str, patience: Duration) -> Result<(u32, GlobalPosition)> {
        let (mut rows, build, _, position) = self.level(name, patience).await?;
        show(&mut rows, &build).await?;
        self.keep(rows).await?;
        Ok((build.version, position))
    }

    async fn drop_version(&self, name: &str, version: u32) -> Result<()> {
        let build = Build { name: name.to_owned(), version, tables: Vec::new() };
        let mut rows = self.transaction(&build).await?;
        let remove = "DELETE FROM factum_projections WHERE name = $1 AND version = $2 AND live = 0 RETURNING tables";
        let asked = rows.execute("DELETE FROM factum_rebuilds WHERE name = $1 AND version = $2", &of(&build)).await?;
        let Some(row) = rows.fetch(remove, &of(&build)).await?.pop() else {
            if asked > 0 {
                return self.keep(rows).await;
            }
            return Err(Error::invalid(format!("version {version} of projection {name} is not there, or is the one that readers see")));
        };
        rows.execute("DELETE FROM factum_parked WHERE name = $1 AND version = $2", &of(&build)).await?;
        for table in row[0].as_text().unwrap_or_default().split(',').filter(|table| !table.is_empty()) {
            rows.execute(&format!("DROP TABLE IF EXISTS {}", names::table(table, version)), &[]).await?;
        }
        self.keep(rows).await
    }

    async fn parked_events(&self, name: &str) -> Result<Vec<ParkedEvent>> {
        self.parked(&live_build(self, name).await?).await
    }

    async fn replay_parked(&self, name: &str, which: Option<GlobalPosition>) -> Result<usize> {
        found(name, which, self.ask_for_replay(&live_build(self, name).await?, which, true).await?)
    }

    async fn skip_parked(&self, name: &str, position: GlobalPosition) -> Result<()> {
        let build = live_build(self, name).await?;
        let mut rows = self.transaction(&build).await?;
        let removed = rows.remove_parked(&build, position).await?;
        self.keep(rows).await?;
        found(name, Some(position), usize::try_from(removed).unwrap_or(usize::MAX)).map(drop)
    }
}

impl SqlTarget {
    /// A transaction in which the newest version and the one that readers see are locked and at the same position.
    async fn level(&self, name: &str, patience: Duration) -> Result<(SqlRows, Build, u32, GlobalPosition)> {
        let begun = Instant::now();
        loop {
            let builds = self.builds(name).await?;
            let (live, version) = live_and_newest(name, &builds)?;
            let mut rows = self.transaction(&Build { name: name.to_owned(), version, tables: Vec::new() }).await?;
            let lock = "UPDATE factum_projections SET position = position WHERE name = $1 RETURNING version, position, tables";
            let mut positions = (None, None);
            let mut tables = Vec::new();
            for row in rows.fetch(lock, &[name.into()]).await? {
                let position = GlobalPosition::from_number(number(&row[1]));
                if number(&row[0]) == u64::from(live) {
                    positions.0 = Some(position);
                } else if number(&row[0]) == u64::from(version) {
                    positions.1 = Some(position);
                    tables = row[2].as_text().unwrap_or_default().split(',').map(str::to_owned).collect();
                }
            }
            match positions {
                (Some(now), Some(new)) if now == new => {
                    return Ok((rows, Build { name: name.to_owned(), version, tables }, live, now));
                }
                (now, new) if begun.elapsed() >= patience => {
                    return Err(not_level(name, (live, now.unwrap_or_default()), (version, new.unwrap_or_default())));
                }
                _ => drop(rows),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Compares the tables of a build with those of the version `now`.
async fn difference(rows: &mut SqlRows, build: &Build, now_version: u32, position: GlobalPosition) -> Result<Comparison> {
    let mut tables = Vec::new();
    for table in &build.tables {
        let (now, new) = (names::table(table, now_version), names::table(table, build.version));
        let mut examples = Vec::new();
        let mut counts = [0; 4];
        for (count, sql) in counts.iter_mut().zip([
            format!("SELECT COUNT(*) FROM {now}"),
            format!("SELECT COUNT(*) FROM {new}"),
            format!("SELECT COUNT(*) FROM (SELECT * FROM {now} EXCEPT SELECT * FROM {new}) d"),
            format!("SELECT COUNT(*) FROM (SELECT * FROM {new} EXCEPT SELECT * FROM {now}) d"),
        ]) {
            *count = rows.fetch(&sql, &[]).await?.first().map(|row| number(&row[0])).unwrap_or_default();
        }
        for (mark, one, other) in [('-', &now, &new), ('+', &new, &now)] {
            for row in rows.fetch(&format!("SELECT * FROM {one} EXCEPT SELECT * FROM {other} LIMIT {EXAMPLES}"), &[]).await? {
                let values: Vec<String> = row.iter().map(SqlValue::to_string).collect();
                examples.push(format!("{mark} {}", values.join(", ")));
            }
        }
        let [rows_now, rows_new, only_now, only_new] = counts;
        tables.push(TableDifference { table: table.clone(), rows_now, rows_new, only_now, only_new, examples });
    }
    Ok(Comparison { position, tables })
}

/// Makes a build the one that readers see, once this is kept, and ends whoever runs another one.
async fn show(rows: &mut SqlRows, build: &Build) -> Result<()> {
    let retire = "UPDATE factum_projections SET live = 0, fence = fence + 1 WHERE name = $1 AND version <> $2";
    rows.execute(retire, &of(build)).await?;
    rows.execute("UPDATE factum_projections SET live = 1 WHERE name = $1 AND version = $2", &of(build)).await?;
    rows.execute("DELETE FROM factum_rebuilds WHERE name = $1 AND version <= $2", &of(build)).await?;
    rows.to_show = Some(build.clone());
    Ok(())
}
