//! What an event takes on disk, with its names, its id and the index; the space that is filled with zeros ahead does not count.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::Outcome;
use crate::page_cache;
use crate::report::{Figure, Report, Row};
use crate::workbench::{Million, Workbench};

pub(crate) fn measure(workbench: &mut Workbench, report: &mut Report) -> Outcome {
    let million = workbench.million()?;
    let Some(folder) = &million.folder else { return Ok(()) };
    let mut bytes = 0;
    for path in page_cache::files(folder)? {
        bytes += bytes_used(&path)?;
    }
    let each = Figure::Bytes(bytes as f64 / Million::EVENTS as f64);
    report.add(Row::new("disk per event, one per append", each).beside("bound", Figure::Bytes(380.0)).at_least(1.0));
    Ok(())
}

/// The file's length without the zeros at its end.
fn bytes_used(path: &Path) -> Outcome<u64> {
    let file = File::open(path)?;
    let mut end = file.metadata()?.len();
    let mut piece = vec![0; 1 << 20];
    while end > 0 {
        let start = end.saturating_sub(piece.len() as u64);
        let piece = &mut piece[..usize::try_from(end - start)?];
        file.read_exact_at(piece, start)?;
        if let Some(last) = piece.iter().rposition(|byte| *byte != 0) {
            return Ok(start + last as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_at_the_end_do_not_count() {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        for (bytes, used) in [(vec![], 0), (vec![0; 5], 0), (vec![0, 1, 0, 0], 2), ([vec![7], vec![0; 3 << 20]].concat(), 1)] {
            std::fs::write(file.path(), bytes).expect("it can be written");
            assert_eq!(bytes_used(file.path()).expect("it can be read"), used);
        }
    }
}
