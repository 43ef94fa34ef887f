//! Stores by URL: what a command may expect of one before it opens it.

use std::path::PathBuf;

use factum::SharedStore;

use crate::failure::Failure;

/// Where the events are when nobody says otherwise.
pub(crate) const DEFAULT: &str = "file:./factum-data";

/// Opens a store for a command that only reads: beside whoever writes to it, and never making one.
pub(crate) async fn open_to_read(url: &str) -> Result<SharedStore, Failure> {
    refuse_memory(url)?;
    let Some(file) = FileUrl::of(url) else { return Ok(factum::connect(&unmade(url)).await?) };
    file.require()?;
    Ok(factum::connect(&file.with_option("read_only=true")).await?)
}

/// Opens a store for a command that writes, making it if it is not there. The second value says whether it was made.
pub(crate) async fn open_to_write(url: &str) -> Result<(SharedStore, bool), Failure> {
    refuse_memory(url)?;
    let file = FileUrl::of(url);
    if let Some(file) = &file {
        file.refuse_other_content()?;
    }
    let made = file.is_some_and(|file| !file.path.exists());
    Ok((factum::connect(url).await?, made))
}

/// Opens a store for the server, making it if it is not there. In a directory it takes the longest appends that there are, because what its
/// clients ask for together is one.
pub(crate) async fn open_to_serve(url: &str) -> Result<SharedStore, Failure> {
    if url.starts_with("memory:") {
        return Ok(factum::connect(url).await?);
    }
    let url = if FileUrl::of(url).is_some() { with_option(url, "append_events_max=60000") } else { url.to_owned() };
    Ok(open_to_write(&url).await?.0)
}

/// Whether a store can be written to by several processes: a directory refuses the second one itself, and memory has only one.
pub(crate) fn is_shared(url: &str) -> bool {
    FileUrl::of(url).is_none() && !url.starts_with("memory:")
}

/// Opens a store for a command that changes what is there, and so never makes one.
pub(crate) async fn open_to_change(url: &str) -> Result<SharedStore, Failure> {
    refuse_memory(url)?;
    let Some(file) = FileUrl::of(url) else { return Ok(factum::connect(&unmade(url)).await?) };
    file.require()?;
    Ok(factum::connect(&file.with_option("create=false")).await?)
}

/// Opens a store, making it or bringing it up to date.
pub(crate) async fn open_to_init(url: &str) -> Result<SharedStore, Failure> {
    if url.starts_with("postgres") {
        return Ok(factum::connect(&with_option(url, "create=true")).await?);
    }
    Ok(open_to_write(url).await?.0)
}

/// The directory of a store of the embedded engine, which must be there; `doing` is what only such a store can do.
pub(crate) fn directory(url: &str, doing: &str) -> Result<PathBuf, Failure> {
    let Some(file) = FileUrl::of(url) else {
        let url = shown(url);
        return Err(Failure::usage(format!("{url} is not a directory of events, so there is nothing to {doing}; use --store file:PATH")));
    };
    file.require()?;
    Ok(file.path)
}

/// The same URL, which makes no store where there is none.
fn unmade(url: &str) -> String {
    if url.starts_with("redis") { with_option(url, "create=false") } else { url.to_owned() }
}

/// A URL as it may be shown: without its password.
pub(crate) fn shown(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let place = rest.split_once(['/', '?']).map_or(rest, |(place, _)| place);
    match place.rsplit_once('@').map(|(credentials, _)| credentials) {
        Some(credentials) if credentials.contains(':') => {
            let user = credentials.split_once(':').map_or("", |(user, _)| user);
            format!("{scheme}://{user}:***{}", &rest[credentials.len()..])
        }
        _ => url.to_owned(),
    }
}

/// Adds an option, unless the URL says something about it already.
fn with_option(url: &str, option: &str) -> String {
    let name = |option: &'_ str| option.split_once('=').map_or(option, |(name, _)| name).to_owned();
    let options = url.split_once('?').map_or("", |(_, options)| options);
    if options.split('&').any(|given| name(given) == name(option)) {
        return url.to_owned();
    }
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}{option}")
}

/// `file:PATH?OPTIONS`, taken apart.
struct FileUrl<'a> {
    url: &'a str,
    path: PathBuf,
}

impl<'a> FileUrl<'a> {
    fn of(url: &'a str) -> Option<Self> {
        let rest = url.strip_prefix("file:")?;
        let path = rest.split_once('?').map_or(rest, |(path, _)| path);
        // `file:///a` and `file:/a` are one place, `file:a` is relative.
        let path = path.strip_prefix("//").unwrap_or(path);
        Some(Self { url, path: PathBuf::from(path) })
    }

    fn require(&self) -> Result<(), Failure> {
        if self.path.exists() {
            return Ok(());
        }
        let path = self.path.display();
        Err(Failure::could_not(format!(
            "there is no store at {path}; append or import makes one, or name another with --store file:PATH or FACTUM_STORE"
        )))
    }

    /// Refuses a directory that someone keeps something else in, which a store should not be mixed with.
    fn refuse_other_content(&self) -> Result<(), Failure> {
        let has_files = std::fs::read_dir(&self.path).is_ok_and(|mut entries| entries.next().is_some());
        if !has_files || self.path.join("log").is_dir() {
            return Ok(());
        }
        let path = self.path.display();
        Err(Failure::could_not(format!("{path} is no store, but there is something in it; name a new directory with --store file:PATH")))
    }

    fn with_option(&self, option: &str) -> String {
        with_option(self.url, option)
    }
}

fn refuse_memory(url: &str) -> Result<(), Failure> {
    if url.starts_with("memory:") {
        return Err(Failure::usage(
            "memory: is empty when a command starts and gone when it ends; use --store file:PATH, or `factum import --dry-run` to only check a file",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_added_once() {
        for (url, opened) in [
            ("file:./x", "file:./x?read_only=true"),
            ("file:x?create=false", "file:x?create=false&read_only=true"),
            ("file:x?read_only=false", "file:x?read_only=false"),
        ] {
            assert_eq!(FileUrl::of(url).map(|file| file.with_option("read_only=true")).as_deref(), Some(opened));
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        for (url, expected) in [
            ("redis://ann:secret@host:1/0?name=x", "redis://ann:***@host:1/0?name=x"),
            ("redis://:sec@ret@host", "redis://:***@host"),
            ("redis://host:1", "redis://host:1"),
            ("file:./a@b:c", "file:./a@b:c"),
        ] {
            assert_eq!(shown(url), expected);
        }
    }

    #[test]
    fn a_file_url_names_a_path() {
        for (url, path) in [("file:./a/b", "./a/b"), ("file:///a/b", "/a/b"), ("file:/a?x=1", "/a")] {
            assert_eq!(FileUrl::of(url).map(|file| file.path), Some(PathBuf::from(path)));
        }
    }
}
